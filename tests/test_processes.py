"""Which process this is: as the process manager says, and MPI."""

import pytest

from chainrule import processes
from chainrule.errors import SettingError
from chainrule.processes import RANKS, Processes


@pytest.fixture
def world(monkeypatch):
    """world(), asked anew, where no process manager says anything."""
    for name in (*RANKS, *RANKS.values()):
        monkeypatch.delenv(name, raising=False)
    processes.world.cache_clear()
    yield processes.world
    processes.world.cache_clear()


def test_without_mpirun_there_is_one_process(world):
    assert world() == Processes(0, 1, None)
    assert (processes.rank(), processes.count(), processes.is_first()) == (0, 1, True)
    assert world().broadcast({"stop": False}) == {"stop": False}
    world().wait()


@pytest.mark.parametrize(("rank", "count"), RANKS.items())
def test_one_process_needs_no_mpi(world, monkeypatch, rank, count):
    monkeypatch.setenv(rank, "0")
    monkeypatch.setenv(count, "1")
    monkeypatch.setattr(processes, "require_package", None)
    assert world() == Processes()


def test_several_processes_need_mpi4py(world, monkeypatch):
    monkeypatch.setenv("PMI_RANK", "1")
    monkeypatch.setenv("PMI_SIZE", "2")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SettingError, match=r"needs mpi4py: pip install 'chainrule\[mpi\]'"):
        world()
