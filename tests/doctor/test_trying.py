"""Remedies that are tried, and the command."""

import json

import pytest

from chainrule.cli import run as command
from chainrule.doctor import try_remedy
from chainrule.doctor.case import Case
from chainrule.doctor.diagnosis import examined
from chainrule.errors import SettingError
from faults import FAULTY, plain, trained

HELPS = (
    "dead units", "saturated units", "vanishing gradients", "exploding gradients", "learning rate too small",
    "learning rate too large", "overfitting", "underfitting", "updates below rounding",
    "penalty larger than the loss",
)  # fmt: skip
"""Those whose remedy lowers the validation loss of the training that has the fault."""


def tried(kind, folder):
    run, data = trained(FAULTY[kind](), folder / "run")
    case = Case.of(run, run.own_data(data))
    one = next(one for one in examined(case, only=kind).findings if one.kind == kind)
    return try_remedy(case, one)


@pytest.mark.parametrize("kind", HELPS)
def test_a_remedy_that_helps_is_said_to(kind, tmp_path):
    trial = tried(kind, tmp_path)
    assert trial.helped
    assert trial.after["loss"] < trial.before["loss"]
    assert trial.words.startswith("It helped, on the ")


def test_what_makes_no_difference_is_said_to(tmp_path):
    """Half the learning rate at the edge of stability: the loss was falling anyway."""
    trial = tried("edge of stability", tmp_path)
    assert not trial.helped
    assert trial.words.startswith(("No difference beyond noise", "It makes hardly a difference", "It made it worse"))


def test_without_a_leak_the_loss_is_higher_and_honest(tmp_path):
    trial = tried("leakage", tmp_path)
    assert trial.helped is None
    assert trial.after["loss"] > trial.before["loss"]
    assert trial.words.startswith("Without it")


def test_a_trial_is_the_same_every_time(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first, second = (tried("learning rate too small", tmp_path / name) for name in "ab")
    assert first.as_json() == second.as_json()


def test_ctrl_c_ends_a_trial_without_a_verdict(tmp_path):
    run, data = trained(FAULTY["learning rate too small"](), tmp_path / "run")
    case = Case.of(run, run.own_data(data))
    one = next(one for one in examined(case).findings if one.kind == "learning rate too small")

    def press(event):
        if event.progress.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        try_remedy(case, one, [press])


def test_what_no_training_can_try_is_refused(tmp_path):
    run, data = trained(FAULTY["shift between splits"](), tmp_path / "run")
    case = Case.of(run, run.own_data(data))
    one = next(one for one in examined(case).findings if one.kind == "shift between splits")
    with pytest.raises(SettingError, match="no training can try"):
        try_remedy(case, one)


@pytest.fixture(scope="module")
def slow(tmp_path_factory):
    """The folder of a run with too small a learning rate."""
    folder = tmp_path_factory.mktemp("runs") / "slow"
    trained(plain(data="iris", optimizer="sgd 0.00001", epochs=10), folder)
    return str(folder)


def test_the_command_prints_findings_and_ends_well(slow, capsys):
    assert command(["doctor", slow]) == 0
    out = capsys.readouterr().out
    assert "learning rate too small" in out
    assert "Remedy: " in out


@pytest.mark.parametrize(("severity", "code"), [("serious", 1), ("warning", 1), ("note", 1)])
def test_it_fails_on_request(slow, severity, code, capsys):
    assert command(["doctor", slow, "--fail-on", severity]) == code
    assert command(["doctor", slow, "--only", "leakage", "--fail-on", severity]) == 0


def test_json_has_the_findings_and_the_trials(slow, capsys):
    assert command(["doctor", slow, "--json", "--try", "--only", "learning rate too small"]) == 0
    found = json.loads(capsys.readouterr().out)
    (one,) = found["findings"]
    assert one["kind"] == "learning rate too small"
    assert one["can_be_tried"]
    assert found["trials"][0]["helped"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--fail-on", "bad"], "unknown severity 'bad'"),
        (["--only", "measles"], "unknown kind of finding 'measles'"),
        (["--threads", "2"], "only --try trains; leave --threads out"),
    ],
)
def test_what_is_not_understood_is_refused(slow, arguments, message, capsys):
    assert command(["doctor", slow, *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1
