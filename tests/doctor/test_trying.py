"""Remedies that are tried, and the command."""

import json

import numpy as np
import pytest

from chainrule.cli import run as command
from chainrule.doctor import Finding, Remedy, try_remedy
from chainrule.doctor.case import Case
from chainrule.doctor.diagnosis import examined
from chainrule.doctor.trial import judged
from chainrule.errors import SettingError
from faults import FAULTY, plain, rows, trained

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


def test_the_data_of_a_run_on_arrays_is_passed(tmp_path, capsys):
    x, y = rows()
    trained(plain(data=(x, y), optimizer="sgd 1e-5", epochs=3), tmp_path / "run")
    np.savez(tmp_path / "xy.npz", x=x, y=y)
    np.savez(tmp_path / "other.npz", x=x + 1, y=y)
    folder = str(tmp_path / "run")
    assert command(["doctor", folder, str(tmp_path / "xy.npz")]) == 0
    assert "learning rate too small" in capsys.readouterr().out
    assert command(["doctor", folder]) == command(["doctor", folder, str(tmp_path / "other.npz")]) == 2
    missing, other = capsys.readouterr().err.splitlines()
    assert "pass the data as well" in missing
    assert "its values differ" in other


def test_of_an_imported_network_is_said_what_can_not_be_looked_at(tmp_path, capsys):
    from chainrule.interchange import export, from_onnx

    run, _ = trained(plain(data="iris", epochs=2), tmp_path / "run")
    export(run.trained, tmp_path / "model.onnx")
    from_onnx(tmp_path / "model.onnx").save(tmp_path / "imported")
    imported = str(tmp_path / "imported")
    assert command(["doctor", imported, "iris", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert "the learning rate" in found["left_out"]
    assert {"leakage", "over- and underfitting", "dead, saturated or duplicate units"} <= set(found["checks"])
    assert command(["doctor", imported, "iris", "--try"]) == command(["doctor", imported]) == 2
    repeats, missing = capsys.readouterr().err.splitlines()
    assert "this network was imported" in repeats
    assert "without data" in missing


def test_a_few_huge_losses_do_not_hide_that_nearly_all_samples_are_better(tmp_path):
    run, data = trained(plain(epochs=3), tmp_path / "run")
    case = Case.of(run, run.own_data(data))
    before = np.concatenate([np.full(95, 2.0), [1.0, 5000.0]])
    after = np.concatenate([np.full(95, 0.5), [30.0, 2.0]])
    one = Finding("k", "w", "the training", "note", {}, (0,), Remedy("r"))
    scores = {"loss": float(before.mean())}, {"loss": float(after.mean())}
    assert judged(case, one, *scores, before, after).helped
    assert judged(case, one, {"loss": 0.97012}, {"loss": 0.96991}, before, before - 1e-6).words == (
        "It makes hardly a difference, less than 1 % of the loss, on the validation set: loss 0.9701 -> 0.9699."
    )
