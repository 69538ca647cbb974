"""What validation chose is part of the plan, kept in a run, and shown."""

import pytest

import chainrule
from chainrule.cli import run
from chainrule.errors import RunError
from chainrule.runs.recipe import from_json, to_json
from chainrule.training import defaults
from chainrule.training.selection import Selection


def test_the_candidates_and_their_losses_are_kept_and_shown(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(["train", "diabetes", "--epochs", "4"]) == 0
    shown = capsys.readouterr()
    assert "chosen by validation, " in shown.err
    opened = chainrule.Run.open("runs/diabetes-1")
    selection = opened.trained.plan.selection
    every = max(selection.trainings)
    finalists = [loss for loss, tried in zip(selection.losses, selection.trainings, strict=True) if tried == every]
    assert selection.losses[selection.chosen] == min(finalists)
    assert len(selection.candidates) == len(selection.losses) >= len(defaults.DECAYS)
    assert selection.brief in shown.out
    assert run(["show", "runs/diabetes-1"]) == 0
    assert str(selection) in " ".join(capsys.readouterr().out.split())
    assert run(["train", "--resume", "runs/diabetes-1", "--epochs", "6"]) == 0
    assert chainrule.Run.open("runs/diabetes-1").trained.plan.selection == selection


def test_what_was_given_was_not_chosen():
    assert chainrule.train("diabetes", epochs=2, optimizer="adam 0.01").plan.selection is None
    assert chainrule.train("8 tanh", "diabetes", epochs=2).plan.selection is None


def test_a_candidate_that_diverged_is_written_and_read():
    selection = Selection("model", ("a", "b", "c"), (None, 0.5, 0.7), 1, (3, 3, 1), 300)
    assert from_json(to_json(selection)) == selection
    assert (
        str(selection)
        == "b, by the loss on held-out rows: a (diverged), b (0.5), c (0.7 after 1 of 3 folds); 7 trainings on 300 rows"
    )
    assert selection.brief == "b (0.5 on held-out rows); of 3 candidates"
    close = Selection("model", ("a", "b", "c"), (0.4, 0.3, 0.1), 1, (3, 3, 1), 300)
    assert close.brief == "b (0.3 on held-out rows), then a (0.4); of 3 candidates"
    with pytest.raises(RunError, match="don't fit"):
        from_json({**to_json(selection), "losses": ["a"]})
