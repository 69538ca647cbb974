"""Which process this is: as the process manager says, and MPI."""

import pytest

from chainrule import processes
from chainrule.errors import SettingError
from chainrule.mpirun import COUNTS, LOCAL
from chainrule.processes import Processes


@pytest.fixture
def start(monkeypatch):
    """start(), where no process manager says anything."""
    for name in (*COUNTS, *COUNTS.values(), *LOCAL):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(processes, "_world", Processes())
    return processes.start


def test_without_mpirun_there_is_one_process(start):
    assert start() == Processes(0, 1, None)
    assert (processes.rank(), processes.count(), processes.is_first()) == (0, 1, True)
    assert start().broadcast({"stop": False}) == {"stop": False}
    start().wait()


@pytest.mark.parametrize(("rank", "count"), COUNTS.items())
def test_one_process_needs_no_mpi(start, monkeypatch, rank, count):
    monkeypatch.setenv(rank, "0")
    monkeypatch.setenv(count, "1")
    monkeypatch.setattr(processes, "require_package", None)
    assert start() == Processes()


def test_several_processes_need_mpi4py(start, monkeypatch):
    monkeypatch.setenv("PMI_RANK", "1")
    monkeypatch.setenv("PMI_SIZE", "2")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SettingError, match=r"needs mpi4py: pip install 'chainrule\[mpi\]'"):
        start()
