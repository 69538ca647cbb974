"""Several processes at once: each training has its own folder, and a run a single writer."""

import select
import signal
import subprocess
import sys

import pytest

from chainrule.cli import run as command
from chainrule.data import load
from chainrule.errors import RunError
from chainrule.runs import Recorder, Run, loader, train
from engines import without_note
from waiting import WAIT

COMMAND = "import sys; from chainrule.cli import run; sys.exit(run(sys.argv[1:]))"

# Pauses at its first step until it reads a line.
RESUMED = """
import sys
from chainrule.runs import Run
from chainrule.training import Stepped

def wait(event):
    if isinstance(event, Stepped) and not waited:
        waited.append(event)
        print("under way", flush=True)
        sys.stdin.readline()

waited = []
Run.open("run").resume(epochs=30, callbacks=[wait])
"""

# Pauses before it writes the manifest of a new run, until it reads a line.
STARTED = """
import sys
from chainrule.cli import run
from chainrule.runs import folder

def write(path, content, *remedy):
    if path.name == folder.MANIFEST:
        print("ready", flush=True)
        sys.stdin.readline()
    written(path, content, *remedy)

written, folder.write_whole = folder.write_whole, write
sys.exit(run(sys.argv[1:]))
"""


@pytest.fixture
def started(tmp_path, monkeypatch):
    """Starts Python with this code and arguments; kills what still runs at the end."""
    monkeypatch.chdir(tmp_path)
    children = []

    def start(code, *arguments):
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        children.append(subprocess.Popen([sys.executable, "-c", code, *arguments], text=True, **pipes))
        return children[-1]

    yield start
    for child in children:
        child.kill()
        child.communicate()


@pytest.fixture
def recorded(tmp_path):
    """The folder of a run of two epochs."""
    train("4 tanh", "iris", epochs=2, callbacks=[Recorder(tmp_path / "run")])
    return tmp_path / "run"


def test_a_run_in_use_is_refused_with_one_line_and_stays_intact(started, recorded, capsys):
    first = started(RESUMED)
    assert first.stdout.readline() == "under way\n"
    second = started(COMMAND, "train", "--resume", "run", "--epochs", "30")
    out, err = second.communicate(timeout=WAIT)
    assert (second.returncode, out) == (2, "")
    assert err == "chainrule: run: the run is in use by another process; wait until that one ends, or stop it\n"
    for arguments in (["show", "run"], ["predict", "run", "iris"], ["explain", "run", "dense_1.W[0, 0]"]):
        assert command(arguments) == 0, "reading needs no lock"
    out, err = first.communicate("go on\n", timeout=WAIT)
    assert (first.returncode, err) == (0, "")
    assert Run.open(recorded).trained.progress.epoch == 30
    assert {path.name for path in recorded.iterdir()} == {"manifest.json", *Run.open(recorded).manifest["files"]}


def test_a_killed_process_leaves_no_lock(started, recorded):
    child = started(RESUMED)
    assert child.stdout.readline() == "under way\n"
    with pytest.raises(RunError, match="in use by another process"):
        Run.open(recorded).resume(epochs=3)
    child.send_signal(signal.SIGKILL)
    child.wait(timeout=WAIT)
    assert (recorded / ".lock").exists()
    assert Run.open(recorded).resume(epochs=3).progress.epoch == 3
    assert not (recorded / ".lock").exists()


def test_of_two_processes_that_resume_at_once_one_is_refused(started, recorded):
    children = [started(COMMAND, "train", "--resume", "run", "--epochs", "40") for _ in range(2)]
    outputs = [child.communicate(timeout=WAIT) for child in children]
    assert sorted(child.returncode for child in children) == [0, 2]
    (refused,) = (err for child, (_, err) in zip(children, outputs, strict=True) if child.returncode)
    assert refused.count("\n") == 1
    assert any(reason in refused for reason in ("in use", "was resumed after", "has 40 epochs already"))
    assert Run.open(recorded).trained.progress.epoch == 40


def test_a_run_that_is_written_to_while_it_is_opened_is_read_again(recorded, monkeypatch):
    before, read = Run.open(recorded), loader._preparation

    def written_meanwhile(*arguments):
        monkeypatch.setattr(loader, "_preparation", read)
        before.resume(epochs=5)
        return read(*arguments)

    monkeypatch.setattr(loader, "_preparation", written_meanwhile)
    assert Run.open(recorded).trained.progress.epoch == 5


def test_a_run_that_was_resumed_must_be_opened_again(recorded):
    before = Run.open(recorded)
    Run.open(recorded).resume(epochs=4)
    with pytest.raises(RunError, match="was resumed after it was opened; open it again"):
        before.resume(epochs=3)
    assert Run.open(recorded).resume(epochs=5).progress.epoch == 5


def test_an_error_during_training_releases_the_lock(tmp_path, recorded):
    def fail(event):
        raise ZeroDivisionError

    for training in (
        lambda: train("4 tanh", "iris", epochs=2, callbacks=[Recorder(tmp_path / "new"), fail]),
        lambda: Run.open(recorded).resume(epochs=4, callbacks=[fail]),
    ):
        with pytest.raises(ZeroDivisionError) as raised:  # keeps the stack frames alive, and so the recorder
            training()
    assert raised
    for folder in (tmp_path / "new", recorded):
        assert Run.open(folder).resume(epochs=4).progress.epoch == 4


def test_each_of_three_trainings_gets_its_own_folder(started, tmp_path):
    children = [started(STARTED, "train", "iris", "--epochs", "1", "--json") for _ in range(3)]
    for child in children:
        assert child.stdout.readline() == "ready\n"
    for child in children:
        child.stdin.write("go on\n")
        child.stdin.flush()
    for child in children:
        _, err = child.communicate(timeout=WAIT)
        assert (child.returncode, without_note(err)) == (0, "")
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["iris-1", "iris-2", "iris-3"]
    for path in (tmp_path / "runs").iterdir():
        assert Run.open(path).trained.progress.epoch == 1


def test_of_two_trainings_with_the_same_name_the_second_is_refused(started):
    first, second = (started(STARTED, "train", "iris", "--epochs", "1", "--output", "run") for _ in range(2))
    (reader, _, _) = select.select([first.stdout, second.stdout], [], [], WAIT)
    if first.stdout not in reader or first.stdout.readline() != "ready\n":
        first, second = second, first
        assert first.stdout.readline() == "ready\n"
    _, err = second.communicate("go on\n", timeout=WAIT)
    assert second.returncode == 2
    assert err.splitlines()[-1].startswith("chainrule: run: it exists already; choose another folder")
    _, err = first.communicate("go on\n", timeout=WAIT)
    assert first.returncode == 0, err


def test_a_recorder_numbers_runs(tmp_path):
    data = load("iris")
    (tmp_path / "iris-2").mkdir()
    names = []
    for _ in range(2):
        recorder = Recorder(tmp_path / "iris", numbered=True)
        train("4 tanh", data, epochs=1, callbacks=[recorder])
        names.append(recorder.folder.name)
    assert names == ["iris-1", "iris-3"]
