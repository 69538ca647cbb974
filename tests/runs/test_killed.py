"""A training on a disk that is killed within an epoch goes on within it, to the same bits."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import chainrule
from chainrule.engine import native
from chainrule.runs import Run, follow, recorder
from chainrule.training import Stepped
from chainrule.training.blocks import Blocks
from on_disk import on_disk
from trainings import assert_same

KILLED_AT, STEPS = 45, 19
"""The step at which it is killed, and those of an epoch."""


def data(folder):
    """300 rows in files."""
    return on_disk(chainrule.load("digits"), folder)


def plan(of_disk):
    network = "8 relu, dropout 0.2, batchnorm"
    return chainrule.training.make_plan(network, of_disk, epochs=4, batch_size=16, optimizer="adam 0.01")


def train(folder, of_disk, callbacks=()):
    divided = replace(plan(of_disk), blocks=Blocks(160, 7))
    return follow(divided, of_disk, chainrule.training.start(divided), [chainrule.Recorder(folder), *callbacks])


def kill_within_an_epoch(folder, files):
    """Train, with a state after each step, until this process is killed."""
    native.SLICE = recorder.CHECKPOINT_SPACING = recorder.WITHIN_EPOCH = 0.0

    def kill(event):
        if isinstance(event, Stepped) and event.progress.position.step == KILLED_AT:
            os.kill(os.getpid(), signal.SIGKILL)

    train(folder, data(files), [kill])


@pytest.fixture
def killed(tmp_path):
    code = f"import sys; sys.path[:0] = [{str(Path(__file__).parent)!r}, {str(Path(__file__).parents[1])!r}]\n"
    code += "import test_killed\nfrom pathlib import Path\n"
    code += "test_killed.kill_within_an_epoch(*map(Path, sys.argv[1:]))"
    arguments = [str(tmp_path / "run"), str(tmp_path / "files")]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    return Run.open(tmp_path / "run")


def test_it_goes_on_within_the_epoch_bit_for_bit(killed, tmp_path):
    of_disk = data(tmp_path / "files")
    length = killed.trained.plan.steps_per_epoch(len(of_disk.training.x))
    assert killed.manifest["steps"] == KILLED_AT
    assert KILLED_AT % length
    assert killed.trained.progress.seen == KILLED_AT % length * 16
    rows = killed.at(KILLED_AT - 1, of_disk).rows
    resumed = killed.resume(of_disk)
    whole = train(tmp_path / "whole", of_disk)
    assert_same(resumed, whole)
    done = Run.open(tmp_path / "run")
    assert done.at(KILLED_AT - 1, of_disk).rows.tolist() == rows.tolist()
    for step in (0, KILLED_AT, done.manifest["steps"] - 1):
        one, other = (run.at(step, of_disk) for run in (done, Run.open(tmp_path / "whole")))
        assert one.after.parameters.tobytes() == other.after.parameters.tobytes()
