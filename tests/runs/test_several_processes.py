"""Several processes at once: each training gets a folder of its own, and a run is written to by one
of them.
"""

import signal
import subprocess
import sys

import pytest

from chainrule.cli import run as command
from chainrule.data import load
from chainrule.errors import RunError
from chainrule.runs import Recorder, Run
from chainrule.training import train

COMMAND = "import sys; from chainrule.cli import run; sys.exit(run(sys.argv[1:]))"

# Training stops at its first step until a line comes in.
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

# A new run stops where it has everything but its name.
STARTED = """
import sys
from chainrule.cli import run
from chainrule.runs import folder

def write(path, content):
    if path.name == folder.MANIFEST:
        print("ready", flush=True)
        sys.stdin.readline()
    written(path, content)

written, folder.write_whole = folder.write_whole, write
sys.exit(run(sys.argv[1:]))
"""


@pytest.fixture
def started(tmp_path, monkeypatch):
    """Starts Python with this code and these arguments; whatever still runs at the end is killed."""
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
    """A run of two epochs."""
    train("4 tanh", "iris", epochs=2, callbacks=[Recorder(tmp_path / "run")])
    return tmp_path / "run"


def test_a_run_in_use_is_refused_in_a_line_and_stays_whole(started, recorded, capsys):
    first = started(RESUMED)
    assert first.stdout.readline() == "under way\n"
    second = started(COMMAND, "train", "--resume", "run", "--epochs", "30")
    out, err = second.communicate(timeout=120)
    assert (second.returncode, out) == (2, "")
    assert err == "chainrule: run: the run is in use by another process; wait until that one ends, or stop it\n"
    for arguments in (["show", "run"], ["predict", "run", "iris"], ["explain", "run", "dense_1.W[0, 0]"]):
        assert command(arguments) == 0, "reading takes no lock"
    out, err = first.communicate("go on\n", timeout=120)
    assert (first.returncode, err) == (0, "")
    assert Run.open(recorded).trained.progress.epoch == 30
    assert {path.name for path in recorded.iterdir()} == {"manifest.json", *Run.open(recorded).manifest["files"]}


def test_a_killed_process_leaves_no_lock(started, recorded):
    child = started(RESUMED)
    assert child.stdout.readline() == "under way\n"
    with pytest.raises(RunError, match="in use by another process"):
        Run.open(recorded).resume(epochs=3)
    child.send_signal(signal.SIGKILL)
    child.wait(timeout=120)
    assert (recorded / ".lock").exists()
    assert Run.open(recorded).resume(epochs=3).progress.epoch == 3
    assert not (recorded / ".lock").exists()


def test_two_that_resume_at_once(started, recorded):
    children = [started(COMMAND, "train", "--resume", "run", "--epochs", "40") for _ in range(2)]
    ends = [child.communicate(timeout=120) for child in children]
    assert sorted(child.returncode for child in children) == [0, 2]
    (refused,) = (err for child, (_, err) in zip(children, ends, strict=True) if child.returncode)
    assert refused.count("\n") == 1
    assert any(said in refused for said in ("in use", "has gone on", "has 40 epochs already"))
    assert Run.open(recorded).trained.progress.epoch == 40


def test_a_run_that_went_on_must_be_opened_again(recorded):
    before = Run.open(recorded)
    Run.open(recorded).resume(epochs=4)
    with pytest.raises(RunError, match="gone on since it was opened; open it again"):
        before.resume(epochs=3)
    assert Run.open(recorded).resume(epochs=5).progress.epoch == 5


def test_an_error_while_training_lets_go_of_the_run(tmp_path, recorded):
    def fail(event):
        raise ZeroDivisionError

    for training in (
        lambda: train("4 tanh", "iris", epochs=2, callbacks=[Recorder(tmp_path / "new"), fail]),
        lambda: Run.open(recorded).resume(epochs=4, callbacks=[fail]),
    ):
        with pytest.raises(ZeroDivisionError) as kept:  # holds on to the frames, and so to the recorder
            training()
    assert kept
    for folder in (tmp_path / "new", recorded):
        assert Run.open(folder).resume(epochs=4).progress.epoch == 4


def test_each_of_three_trainings_has_a_folder_of_its_own(started, tmp_path):
    children = [started(STARTED, "train", "iris", "--epochs", "1", "--json") for _ in range(3)]
    for child in children:
        assert child.stdout.readline() == "ready\n"
    for child in children:
        child.stdin.write("go on\n")
        child.stdin.flush()
    for child in children:
        _, err = child.communicate(timeout=120)
        assert (child.returncode, err) == (0, "")
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["iris-1", "iris-2", "iris-3"]
    for path in (tmp_path / "runs").iterdir():
        assert Run.open(path).trained.progress.epoch == 1


def test_of_two_trainings_with_one_name_the_second_is_refused(started):
    first, second = (started(STARTED, "train", "iris", "--epochs", "1", "--output", "run") for _ in range(2))
    for child in (first, second):
        assert child.stdout.readline() == "ready\n"
    _, err = first.communicate("go on\n", timeout=120)
    assert first.returncode == 0, err
    _, err = second.communicate("go on\n", timeout=120)
    assert second.returncode == 2
    assert err.splitlines()[-1].startswith("chainrule: run: it exists already; choose another folder")


def test_a_recorder_numbers_runs(tmp_path):
    data = load("iris")
    (tmp_path / "iris-2").mkdir()
    found = []
    for _ in range(2):
        recorder = Recorder(tmp_path / "iris", numbered=True)
        train("4 tanh", data, epochs=1, callbacks=[recorder])
        found.append(recorder.folder.name)
    assert found == ["iris-1", "iris-3"]
