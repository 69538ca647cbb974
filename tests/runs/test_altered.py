"""Altered and killed runs: thinned versions of the campaigns, and what they found before."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from chainrule.cli import run as command
from chainrule.errors import RunError
from chainrule.runs import Recorder, Run, train
from chainrule.runs import folder as files
from chainrule.training import Ended
from waiting import WAIT

CAMPAIGNS = Path(__file__).parents[2] / "campaigns"


def campaign(name, *arguments):
    program = [sys.executable, str(CAMPAIGNS / f"{name}.py"), *arguments]
    return subprocess.run(program, capture_output=True, text=True, timeout=4 * WAIT, check=False)


def test_altered_runs_are_refused_with_one_line_or_give_the_same_result(tmp_path):
    done = campaign("altered_runs", "--count", "2", "--keep", str(tmp_path))  # besides all that was found before
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_campaign_tells_a_silent_acceptance(tmp_path):
    sys.path.insert(0, str(CAMPAIGNS))
    try:
        import altered_runs
    finally:
        sys.path.remove(str(CAMPAIGNS))
    alteration = altered_runs.Alteration("recipe.json", "plan.epochs", "= 7", True)
    before, now = (altered_runs.Outcome(0, out, "", False) for out in ("5", "6"))
    assert altered_runs.judged(alteration, ["show"], before, now) == "accepted with another result"
    assert altered_runs.judged(alteration, ["show"], before, before) == "same"
    hung = altered_runs.Outcome(None, "", "no end", False)
    assert altered_runs.judged(alteration, ["show"], before, hung) == "crash: no end"


def test_killed_trainings_are_resumed_bit_for_bit_and_leave_nothing():
    done = campaign("kills", "--count", "2")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def recorded(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    train("4 tanh", "iris", epochs=2, callbacks=[Recorder("run")])
    return Path("run")


def test_a_resumed_run_is_swept_of_what_killed_processes_left(recorded):
    for name in (".state-00000008.safetensors.abcd_123", ".manifest.json.abcdefgh", "frame-00000099.safetensors"):
        (recorded / name).write_bytes(b"left behind")
    (recorded / "notes.txt").write_text("the user's own")
    Run.open(recorded).resume(epochs=3)
    names = {path.name for path in recorded.iterdir()}
    assert names == {"manifest.json", "notes.txt", *Run.open(recorded).manifest["files"]}


def test_resuming_a_complete_run_is_refused_and_sweeps_what_was_left_at_its_end(recorded):
    before = Run.open(recorded).manifest
    for name in (".lock", "state-00000004.safetensors"):
        (recorded / name).write_bytes(b"left behind")
    with pytest.raises(RunError, match="2 epochs already"):
        Run.open(recorded).resume()
    assert {path.name for path in recorded.iterdir()} == {"manifest.json", *before["files"]}
    assert Run.open(recorded).manifest == before


def test_what_a_killed_process_left_of_a_new_run_is_no_obstacle(tmp_path):
    for name in ("run", "iris-1"):
        (tmp_path / name).mkdir()
        for file in (".lock", "recipe.json", ".history-00000000.json.abcdefgh"):
            (tmp_path / name / file).write_bytes(b"")
    recorder = Recorder(tmp_path / "iris", numbered=True)
    train("4 tanh", "iris", epochs=1, callbacks=[Recorder(tmp_path / "run"), recorder])
    assert recorder.folder.name == "iris-1"
    for name in ("run", "iris-1"):
        names = {path.name for path in (tmp_path / name).iterdir()}
        assert names == {"manifest.json", *Run.open(tmp_path / name).manifest["files"]}


def test_a_folder_with_a_file_of_the_users_is_never_taken_over(tmp_path):
    (tmp_path / "run").mkdir()
    for file in (".lock", "recipe.json", "thesis.txt"):
        (tmp_path / "run" / file).write_bytes(b"")
    with pytest.raises(RunError, match="it exists already"):
        Recorder(tmp_path / "run")


def test_a_run_that_was_killed_after_its_last_epoch_is_completed_by_resuming(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    class Killed(Recorder):
        def __call__(self, event):
            if not isinstance(event, Ended):
                super().__call__(event)

    ticks = iter(range(1000))
    train("4 tanh", "iris", epochs=2, callbacks=[Killed("run", clock=lambda: next(ticks) * 10.0)])
    before = Run.open("run")
    assert (before.manifest["status"], before.manifest["epochs"]) == ("under way", 2)
    assert command(["train", "--resume", "run", "--json"]) == 0
    after = Run.open("run")
    assert (after.manifest["status"], after.manifest["epochs"]) == ("complete", 2)
    assert after.trained.history == before.trained.history
    with pytest.raises(RunError, match="2 epochs already"):
        after.resume()


def test_an_output_file_that_is_a_link_or_a_pipe_stays_one(recorded):
    Path("real.csv").write_text("old")
    Path("link.csv").symlink_to("real.csv")
    assert command(["predict", "run", "iris", "-o", "link.csv"]) == 0
    assert Path("link.csv").is_symlink()
    assert Path("real.csv").read_text().startswith("species")
    Path("null.csv").symlink_to(os.devnull)
    assert command(["predict", "run", "iris", "-o", "null.csv"]) == 0
    assert Path(os.devnull).is_char_device()
    assert Path("null.csv").is_symlink()


def test_a_pipe_in_place_of_a_file_is_not_waited_for(recorded):
    for name in (files.MANIFEST, "recipe.json"):
        content = (recorded / name).read_bytes()
        (recorded / name).unlink()
        os.mkfifo(recorded / name)
        with pytest.raises(RunError, match="not a regular file"):
            Run.open(recorded)
        (recorded / name).unlink()
        (recorded / name).write_bytes(content)


def test_a_message_stays_short_whatever_a_file_holds(recorded):
    manifest = json.loads((recorded / "manifest.json").read_text())
    (recorded / "manifest.json").write_text(json.dumps(manifest | {"status": "x" * 100_000}))
    with pytest.raises(RunError) as error:
        Run.open(recorded)
    assert len(str(error.value)) < 300


def test_names_with_square_brackets_are_shown_as_they_are(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rows = [f"{k / 7:.3f},{k % 5},{k / 3:.2f}" for k in range(40)]
    Path("a[red].csv").write_text("\n".join(["size,[red]rooms,[/]price", *rows]) + "\n")
    assert command(["train", "a[red].csv", "--epochs", "1", "--output", "run[red]"]) == 0
    assert command(["show", "run[red]"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in ("run[red]", "a[red].csv", "[/]price"))
