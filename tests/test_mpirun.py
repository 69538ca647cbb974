"""What mpirun tells a rank, and how one reports an error and ends."""

import os
import signal
import sys

import pytest

from chainrule import mpirun
from chainrule.heartbeats import Link


@pytest.mark.parametrize(
    ("environment", "place"),
    [
        ({"PMI_RANK": "2", "PMI_SIZE": "4"}, (2, 4)),
        ({"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2"}, (1, 2)),
        ({"PMIX_RANK": "3", "SLURM_NTASKS": "8"}, (3, 8)),
        ({"SLURM_NTASKS": "8", "SLURM_PROCID": "0"}, (0, 1)),  # a batch script's own process is no rank
        ({"PMI_RANK": "x", "PMI_SIZE": "4"}, (0, 1)),
        ({"PMI_RANK": "0", "PMI_SIZE": "1", "OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2"}, (1, 2)),
    ],
)
def test_the_place_of_a_rank_is_what_its_launcher_says(monkeypatch, environment, place):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert mpirun.place() == place


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({}, ""),
        ({"PMI_RANK": "2", "PMI_SIZE": "4"}, ""),
        (
            {"PMI_RANK": "4", "PMI_SIZE": "4"},
            "PMI_RANK is 4 and PMI_SIZE is 4; start it with mpirun, or unset PMI_RANK",
        ),
        ({"PMI_RANK": "x", "PMI_SIZE": "4"}, "PMI_RANK is x and PMI_SIZE is 4"),
        ({"OMPI_COMM_WORLD_RANK": "0"}, "OMPI_COMM_WORLD_RANK is 0 and OMPI_COMM_WORLD_SIZE is missing"),
        ({"PMIX_RANK": "1"}, "PMIX_RANK is 1 and SLURM_NTASKS is missing"),
        ({"SLURM_NTASKS": "8", "SLURM_PROCID": "0"}, ""),
        ({"SLURM_STEP_NUM_TASKS": "8", "SLURM_PROCID": "0"}, "srun has started 8 processes, but not as ranks of MPI"),
        ({"SLURM_STEP_NUM_TASKS": "8", "PMI_RANK": "0", "PMI_SIZE": "8"}, ""),
    ],
)
def test_processes_that_would_train_without_knowing_of_each_other_are_refused(monkeypatch, environment, told):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    found = mpirun.refusal()
    assert told in found
    assert bool(found) == bool(told)


@pytest.mark.parametrize(("ranks", "given", "threads"), [("1", None, 1), ("64", None, 1), ("2", "7", 7)])
def test_ranks_divide_the_cores_of_a_machine_unless_the_user_says_how(monkeypatch, ranks, given, threads):
    for name in mpirun.THREADS:
        monkeypatch.setenv(name, "")  # so that it is restored
        monkeypatch.delenv(name)
    if given is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", given)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {*range(8)}, raising=False)
    for name, value in {"PMI_RANK": "0", "PMI_SIZE": "64", "MPI_LOCALNRANKS": ranks}.items():
        monkeypatch.setenv(name, value)
    mpirun._divide_cores()
    expected = given or str(max(1, 8 // int(ranks)))
    assert os.environ["OMP_NUM_THREADS"] == expected
    assert int(os.environ["OMP_NUM_THREADS"]) >= threads


def test_without_mpirun_an_error_is_printed_as_ever(capsys):
    mpirun.report("a mistake")
    assert capsys.readouterr() == ("", "chainrule: a mistake\n")


def test_the_first_of_several_ranks_reports_at_once_and_another_by_name(monkeypatch, capfd):
    monkeypatch.setenv("PMI_SIZE", "3")
    waited = []
    monkeypatch.setattr(mpirun.time, "sleep", waited.append)
    for rank in ("0", "2"):
        monkeypatch.setenv("PMI_RANK", rank)
        mpirun.report("a mistake")
    first, other = capfd.readouterr().err.splitlines()
    assert first == "chainrule: a mistake"
    assert other.startswith("chainrule: rank 2 of 3 on ")
    assert waited == [mpirun.PATIENCE]


@pytest.mark.filterwarnings("ignore:This process", "ignore:os.fork")  # is multi-threaded, say Python and JAX
@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
@pytest.mark.parametrize(
    ("end", "code", "told"),
    [
        (lambda: os._exit(0), 0, False),
        (lambda: os._exit(2), 2, False),
        (lambda: os.kill(os.getpid(), signal.SIGKILL), 137, True),
    ],
)
def test_the_process_that_waits_ends_as_its_rank_did(monkeypatch, capfd, end, code, told):
    for name, value in {"PMI_RANK": "0", "PMI_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("MPI_LOCALRANKID", raising=False)
    waiting = os.fork()
    if not waiting:
        link = Link(True, is_local=True)
        link.mark.leave()  # it says why it ends
        child = os.fork()
        if not child:
            end()
        try:
            mpirun._wait(child, link)
        finally:
            os._exit(99)
    assert os.waitstatus_to_exitcode(os.waitpid(waiting, 0)[1]) == code
    assert capfd.readouterr().err.count("was ended by SIGKILL, perhaps for lack of memory") == told
