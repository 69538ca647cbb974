"""Training under mpirun: who prints, how it ends when a rank fails, and what is left of the run."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from chainrule import mpirun
from chainrule.runs import Run
from chainrule.runs.run import Checkpoints
from chainrule.training import Timeline
from waiting import WAIT, until

MPIRUN = next((str(path) for path in [Path(sys.executable).parent / "mpirun"] if path.exists()), shutil.which("mpirun"))
pytestmark = pytest.mark.skipif(MPIRUN is None or not Path("/proc").exists(), reason="mpirun is not installed")

LONG = ("train", "iris", "--network", "4 relu", "--batch-size", "8", "--epochs", "10000000", "--patience", "none")
"""A training that does not end by itself."""


class Ranks:
    """A command on several ranks, whose output is written to a file."""

    def __init__(self, folder, count, *command):
        self.output = folder / "output"
        environment = {**os.environ, "CHAINRULE_TEST": str(folder), "COLUMNS": "100", "CHAINRULE_SILENCE": "3"}
        for name in mpirun.THREADS:
            environment.pop(name, None)
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [MPIRUN, "-n", str(count), sys.executable, "-m", "chainrule", *command],
                cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        self._mark = f"CHAINRULE_TEST={folder}"

    @property
    def text(self):
        return self.output.read_text(errors="replace")

    def under_way(self):
        """Wait until the run has kept an epoch."""
        manifest = self.output.parent / "runs" / "iris-1" / "manifest.json"
        until(lambda: self.process.poll() is not None or json.loads(manifest.read_text())["epochs"], FileNotFoundError)
        assert self.process.poll() is None, self.text

    def pids(self, rank):
        """The processes of a rank: the one that waits, and the one that works."""
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            try:
                environment = (path / "environ").read_bytes().split(b"\0")
            except OSError:
                continue
            if self._mark.encode() in environment and f"PMI_RANK={rank}".encode() in environment:
                found.append(int(path.name))
        parents = {pid: int(re.search(r"PPid:\t(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) for pid in found}
        waiting = [pid for pid in found if parents[pid] not in found]
        return waiting[0], next(pid for pid in found if parents[pid] == waiting[0])

    def end(self):
        """The exit code and the lines printed."""
        code = self.process.wait(timeout=WAIT)
        return code, self.text.splitlines()

    def left(self):
        """Whether a process is left."""
        return any(self._is_own(path) for path in Path("/proc").glob("[0-9]*"))

    def _is_own(self, path):
        try:
            is_ended = re.search(r"State:\t[ZX]", (path / "status").read_text())
            return not is_ended and self._mark.encode() in (path / "environ").read_bytes().split(b"\0")
        except OSError:
            return False


@pytest.fixture
def ranks(tmp_path):
    """Starts commands on several ranks; ends what still runs."""
    started = []

    def start(count, *command):
        started.append(Ranks(tmp_path, count, *command))
        return started[-1]

    yield start
    for one in started:
        one.process.kill()
        one.process.wait()
        until(lambda one=one: not one.left())


def test_the_first_rank_alone_prints_and_writes(ranks, tmp_path):
    code, lines = ranks(2, "train", "iris", "--epochs", "2", "--network", "4 relu").end()
    assert code == 0
    assert [line for line in lines if line.startswith("iris:")] == [
        "iris: 150 samples of 4 features; target species (classification, 3 classes)"
    ]
    assert sum(line.startswith("run ") for line in lines) == 1
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["iris-1"]
    assert Run.open(tmp_path / "runs" / "iris-1").manifest["status"] == "complete"


def test_ranks_train_together_by_jax(ranks, tmp_path):
    pytest.importorskip("jax")
    code, lines = ranks(2, "train", "iris", "--epochs", "1", "--network", "4", "--engine", "jax").end()
    assert code == 0, lines
    assert sum(line.startswith("run ") for line in lines) == 1
    assert not [line for line in lines if "Gloo" in line]
    assert Run.open(tmp_path / "runs" / "iris-1").trained.plan.devices == ("cpu", 2)


@pytest.mark.parametrize(
    ("command", "code"),
    [("train --help", 0), ("names losses", 0), ("train none.csv", 2), ("train --resume none", 2)],
)
def test_what_every_rank_finds_is_printed_once(ranks, tmp_path, command, code):
    alone = subprocess.run(
        [sys.executable, "-m", "chainrule", *command.split()], cwd=tmp_path, capture_output=True, text=True,
        timeout=WAIT, env={**os.environ, "COLUMNS": "100"}, check=False,
    )  # fmt: skip
    found, lines = ranks(2, *command.split()).end()
    assert found == alone.returncode == code
    assert sorted(lines) == sorted((alone.stdout + alone.stderr).splitlines())


@pytest.mark.parametrize(("count", "rank"), [(2, 1), (4, 3), (2, 0)])
def test_a_killed_rank_ends_all_with_one_line_and_the_run_is_whole(ranks, tmp_path, count, rank):
    training = ranks(count, *LONG)
    training.under_way()
    _, working = training.pids(rank)
    os.kill(working, signal.SIGKILL)
    code, lines = training.end()
    assert code == 128 + signal.SIGKILL
    told = [line for line in lines if not re.match(r"(iris:|  |epoch )", line)]
    assert len(told) == 1
    assert re.fullmatch(
        rf"chainrule: rank {rank} of {count} on \S+ \(process {working}\) was ended by SIGKILL, perhaps for lack of"
        r" memory; the run, if it had begun, keeps its last state, and --resume continues it",
        told[0],
    )
    until(lambda: not training.left())
    epochs = Run.open(tmp_path / "runs" / "iris-1").manifest["epochs"]
    resumed = ranks(2, "train", "--resume", "runs/iris-1", "--epochs", str(epochs + 2))
    assert resumed.end()[0] == 0, resumed.text
    assert Run.open(tmp_path / "runs" / "iris-1").manifest["epochs"] == epochs + 2


@pytest.mark.parametrize("whole_machine", [False, True])
def test_a_stopped_rank_ends_all_with_one_line(ranks, tmp_path, whole_machine):
    training = ranks(2, *LONG)
    training.under_way()
    waiting, working = training.pids(1)
    os.kill(working, signal.SIGSTOP)
    if whole_machine:
        os.kill(waiting, signal.SIGSTOP)
    code, lines = training.end()
    assert code == mpirun.LOST
    (told,) = [line for line in lines if not re.match(r"(iris:|  |epoch )", line)]
    found = "has not been heard of for 3 s" if whole_machine else rf"\(process {working}\) has been stopped for 3 s"
    assert re.match(rf"chainrule: rank 1 of 2 on \S+ {found}", told)
    until(lambda: not training.left())
    assert Run.open(tmp_path / "runs" / "iris-1").manifest["epochs"]


def test_nothing_is_left_in_shared_memory(ranks):
    training = ranks(2, *LONG)
    training.under_way()
    names = {line.split("/dev/shm/")[1] for rank in (0, 1) for line in mapped(training.pids(rank)[1])}
    assert names
    assert all("(deleted)" in name for name in names if name.startswith("mpich"))


def mapped(pid):
    return [line for line in Path(f"/proc/{pid}/maps").read_text().splitlines() if "/dev/shm/" in line]


@pytest.mark.parametrize("command", ["doctor none", "play --help"])
def test_other_commands_run_once(ranks, command):
    code, lines = ranks(3, *command.split()).end()
    assert len([line for line in lines if line.startswith(("chainrule:", " Usage", "iris"))]) == 1
    assert code == (2 if "none" in command else 0)


def test_arguments_that_differ_are_refused_before_anything_is_read(tmp_path):
    command = [sys.executable, "-m", "chainrule", "train", "none.csv", "--seed"]
    training = subprocess.run(
        [MPIRUN, "-n", "1", *command, "1", ":", "-n", "1", *command, "2"], cwd=tmp_path, capture_output=True, text=True,
        timeout=WAIT, check=False,
    )  # fmt: skip
    assert training.returncode == 2
    (line,) = [line for line in training.stderr.splitlines() if line.startswith("chainrule:")]
    assert line.endswith("the arguments are not those of rank 0: train none.csv --seed 2, not train none.csv --seed 1")


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        (
            {"OMPI_COMM_WORLD_RANK": "0", "OMPI_COMM_WORLD_SIZE": "2"},
            "mpirun started 2 processes, but the MPI of mpi4py",
        ),
        ({"PMI_RANK": "2"}, "this is not a rank that mpirun has started: PMI_RANK is 2 and PMI_SIZE is missing"),
    ],
)
def test_the_mpirun_of_another_mpi_starts_no_trainings(tmp_path, environment, told):
    training = subprocess.run(
        [sys.executable, "-m", "chainrule", "train", "iris"], cwd=tmp_path, capture_output=True, text=True,
        timeout=WAIT, check=False, env={**os.environ, **environment},
    )  # fmt: skip
    assert (training.returncode, training.stderr.count("\n")) == (2, 1)
    assert training.stderr.startswith(f"chainrule: {told}")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("count", "options", "told"),
    [
        (1, (), ""),
        (2, ("--engine", "numpy"), "numpy"),
    ],
)
def test_what_several_ranks_can_not_do(ranks, tmp_path, count, options, told):
    code, lines = ranks(count, "train", "iris", "--network", "4 relu", "--epochs", "1", *options).end()
    assert code == (2 if told else 0)
    assert [line for line in lines if line.startswith("chainrule:") and told in line] == [
        line for line in lines if line.startswith("chainrule:")
    ]
    assert (tmp_path / "runs").exists() == (not told)
    assert len([line for line in lines if line.startswith("chainrule:")]) == bool(told)


def test_a_run_keeps_how_many_ranks_took_each_step_and_one_process_repeats_them(ranks, tmp_path):
    network = ("--network", "8 relu, dropout 0.2, batchnorm", "--batch-size", "16")
    for count, command in (
        (3, ("iris", "--epochs", "3", *network)),
        (2, ("--resume", "runs/iris-1", "--epochs", "5")),
        (1, ("--resume", "runs/iris-1", "--epochs", "6")),
    ):
        assert ranks(count, "train", *command).end()[0] == 0
        run = Run.open(tmp_path / "runs" / "iris-1")
        last = run.at(run.manifest["steps"] - 1).after
        np.testing.assert_array_equal(last.parameters, run.trained.progress.position.parameters)
        np.testing.assert_array_equal(last.statistics, run.trained.progress.position.statistics)
    assert run.summary().facts["ranks"] == "3 from step 0, 2 from step 21, 1 from step 35"
    own = Timeline(run.load_data().training, [(0, replace(run.trained.plan, ranks=1))], Checkpoints(run))
    exact, alone = run.at(0), own.record(0)  # from the same weights: one rank agrees within rounding
    assert alone.loss == pytest.approx(exact.loss, rel=1e-5)
    np.testing.assert_allclose(alone.gradient, exact.gradient, rtol=1e-3, atol=1e-5)


def test_a_rank_whose_waiting_process_is_killed_ends_with_all_others(ranks):
    training = ranks(2, *LONG)
    training.under_way()
    waiting, _ = training.pids(1)
    os.kill(waiting, signal.SIGKILL)
    assert training.end()[0] != 0
    until(lambda: not training.left())


def test_ctrl_c_ends_training_as_without_mpirun(ranks, tmp_path):
    training = ranks(2, *LONG)
    training.under_way()
    os.kill(training.process.pid, signal.SIGINT)
    code, lines = training.end()
    assert code == 0
    assert "interrupted" in lines
    assert Run.open(tmp_path / "runs" / "iris-1").manifest["status"] == "interrupted"
    until(lambda: not training.left())


def test_a_rank_without_the_data_says_so_by_name(ranks, tmp_path):
    (tmp_path / "own.csv").write_text("x,y\n" + "".join(f"{k},{2 * k}\n" for k in range(40)))
    script = (
        "import os; from chainrule import __main__; os.environ['PMI_RANK'] == '1' and os.chdir('/'); __main__.main()"
    )
    training = subprocess.run(
        [MPIRUN, "-n", "2", sys.executable, "-c", script, "train", "own.csv", "--target", "y", "--epochs", "2"],
        cwd=tmp_path, capture_output=True, text=True, timeout=WAIT, check=False,
    )  # fmt: skip
    assert training.returncode == 2
    assert re.search(r"^chainrule: rank 1 of 2 on \S+: own\.csv: there is no such file", training.stderr, re.M)
    assert training.stderr.count("chainrule:") == 1
    assert not (tmp_path / "runs").exists()


def test_ranks_that_read_other_data_are_told_what_differs(ranks, tmp_path):
    for rank, rows in enumerate((40, 41)):
        (tmp_path / str(rank)).mkdir()
        (tmp_path / str(rank) / "own.csv").write_text("x,y\n" + "".join(f"{k},{2 * k}\n" for k in range(rows)))
    script = "import os; from chainrule import __main__; os.chdir(os.environ['PMI_RANK']); __main__.main()"
    training = subprocess.run(
        [MPIRUN, "-n", "2", sys.executable, "-c", script, "train", "own.csv", "--target", "y", "--epochs", "2"],
        cwd=tmp_path, capture_output=True, text=True, timeout=WAIT, check=False,
    )  # fmt: skip
    assert training.returncode == 2
    (line,) = [line for line in training.stderr.splitlines() if line.startswith("chainrule:")]
    assert "rank 1 of 2" in line
    assert line.endswith("own.csv: it is not the data that rank 0 has read: it has 41 rows, not 40")
    assert not (tmp_path / "0" / "runs").exists()


def test_an_exception_in_a_users_program_ends_all_ranks(tmp_path):
    script = "from chainrule import processes as p; p.start(); assert p.rank() != 1, 'a mistake'; p.world().wait()"
    training = subprocess.run(
        [MPIRUN, "-n", "2", sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=WAIT,
        check=False,
    )  # fmt: skip
    assert training.returncode == 1
    assert re.fullmatch(r"chainrule: rank 1 of 2 on \S+: AssertionError: a mistake\n", training.stderr)
