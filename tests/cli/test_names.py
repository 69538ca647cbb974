"""The help of train and the command names list everything that can be named."""

import json
import re

import pytest

from chainrule import distributions, losses
from chainrule.cli import names, run
from chainrule.descent import optimizer, optimizers, schedules
from chainrule.layers.notation import COMPOSITES, named, parse
from chainrule.training import catalog

EVERY = {*named(), *losses.NAMED, *optimizers.NAMED, *schedules.NAMED, *distributions.NAMED, "l1", "l2", "elastic"}
EVERY |= {*catalog.METRICS}


def test_the_help_of_train_lists_every_name_in_80_columns(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert run(["train", "--help"]) == 0
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 80
    listed = set(re.findall(r"[\w-]+", shown.partition("layers: ")[2]))
    assert EVERY - listed == {"gd"}  # short for gradient_descent
    assert set(COMPOSITES) <= listed


def test_names_are_listed_with_their_settings(capsys):
    assert run(["names"]) == 0
    shown = capsys.readouterr().out
    for line in (
        "  adam learning_rate=0.001 beta1=0.9 beta2=0.999 epsilon=1e-08",
        "      Bias-corrected momentum over the root mean square (Kingma and Ba, 2015)",
        "  huber delta=1", "  cosine rate=0.001 [steps] end=0 restarts=False stretch=1", "  l1 STRENGTH [on]",
        "  roc_auc", "activations (--network)",
    ):  # fmt: skip
        assert line in shown.splitlines()


@pytest.mark.parametrize("group", names.OPTIONS)
def test_each_group_alone_and_as_json(group, capsys):
    assert run(["names", group]) == 0
    (heading, *_) = capsys.readouterr().out.splitlines()
    assert heading.startswith(f"{group} (")
    assert run(["names", group, "--json"]) == 0
    assert list(json.loads(capsys.readouterr().out)) == [group]


def test_what_is_listed_can_be_made(capsys):
    """Each name with its settings in order and with their defaults, as a text."""
    assert run(["names", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    makers = {"losses": losses.loss, "penalties": losses.penalty, "optimizers": optimizer, "layers": parse}
    makers |= {"activations": parse, "distributions": distributions.of}
    numbers = {"UNITS": "3", "COUNT": "4", "SIZES": "2 2", "AXES": "1 0", "START": "0", "STOP": "1"}
    numbers |= {"CHANNELS": "3", "KERNEL": "3", "HEADS": "2", "HIDDEN": "3"}
    for group, make in makers.items():
        for name, entry in listed[group].items():
            assert entry["about"], name
            given = [numbers.get(setting, "0.5") for setting in entry["settings"] if setting.isupper()]
            own = [s for s in entry["settings"] if "=" in s and not s.endswith(")")]
            if "(" not in name and name != "tied_dense":  # which names another layer of its network
                assert make(" ".join([name, *given, *own])) is not None, name


def test_each_metric_says_what_it_is_and_for_which_targets(capsys):
    assert run(["names", "metrics", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["metrics"]
    assert listed.keys() == catalog.METRICS.keys() == {name for own in catalog.OWN.values() for name in own}
    for name, entry in listed.items():
        tasks = entry["about"].rpartition("(for ")[2].removesuffix(")").split(", ")
        assert set(tasks) == {task for task, own in catalog.OWN.items() if name in own}
        assert len(entry["about"]) > len(f" (for {', '.join(tasks)})") + 5


def test_an_unknown_group_is_an_error(capsys):
    assert run(["names", "loses"]) == 2
    assert "did you mean 'losses'?" in capsys.readouterr().err
