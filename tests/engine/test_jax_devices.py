"""Several devices and several processes, each in processes of their own: JAX knows how many devices
there are from when it starts.
"""

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from chainrule.engine.jax import hosts
from chainrule.engine.jax.placement import Placement, available
from chainrule.errors import SettingError
from waiting import WAIT

PROGRAMS = Path(__file__).parents[1]


def run(program, *arguments):
    """What a program prints, as JSON."""
    command = [sys.executable, PROGRAMS / program, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=5 * WAIT, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def on_eight():
    return run("devices_agree.py", 8)


def test_the_cpu_is_as_many_devices_as_asked_for(on_eight):
    assert on_eight["devices"] == ["cpu", 8]


@pytest.mark.parametrize("what", ["float64 24", "float64 20", "float32 24"])
def test_eight_devices_equal_the_definition(on_eight, what):
    """With mini-batches that they divide evenly (24) and not (20, 12, 10); by rounding alone: each
    sum over the samples of a mini-batch has another order.
    """
    found, bound = on_eight[what], 1e-12 if "64" in what else 1e-5
    assert max(found["differs"]) < bound
    assert found["predicted"] < bound
    assert found["same"]


@pytest.mark.parametrize("size", [24, 20])
def test_each_device_computes_its_own_part_of_a_mask(on_eight, size):
    own, whole, gathers = on_eight[f"own {size}"]
    assert own
    assert not whole
    assert not gathers


def test_more_devices_than_there_are_name_the_remedy(on_eight):
    assert "JAX has 8 here (cpu)" in on_eight["more"]
    assert "XLA_FLAGS=--xla_force_host_platform_device_count=16" in on_eight["more"]


def test_a_replay_with_fewer_devices_takes_those_and_says_so(on_eight):
    count, note = on_eight["fewer"]
    assert count == 8
    assert note.startswith("these steps were planned for 16 cpu devices; 8 of cpu stand in")


@pytest.mark.parametrize("count", [0, -1, 1.5, "2", True])
def test_a_number_of_devices_that_is_none(count):
    with pytest.raises(SettingError, match="devices"):
        available(count)


def test_a_cpu_is_not_divided_into_any_number():
    with pytest.raises(SettingError, match="at most 256"):
        available(1000)


def test_devices_of_a_kind_that_is_not_here_are_replaced():
    placement = Placement(("tpu", 1))
    assert len(placement.chosen) == 1
    assert placement.note is not None


# Several processes


def free():
    """An address that nothing listens at."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return f"127.0.0.1:{probe.getsockname()[1]}"


def ended(commands):
    """The exit code of each of several processes that run at once, what it prints and its errors."""
    environment = {name: value for name, value in os.environ.items() if name != hosts.LOG_LEVEL}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": environment}
    running = [subprocess.Popen([sys.executable, *map(str, one)], **pipes) for one in commands]
    try:
        said = [one.communicate(timeout=5 * WAIT) for one in running]
    finally:
        for one in running:
            one.kill()
            one.wait()
    return [(one.returncode, *of_it) for one, of_it in zip(running, said, strict=True)]


def together(processes, *lost):
    """What processes that train together say, and what the first of them found."""
    at = free()
    done = ended([PROGRAMS / "hosts_agree.py", at, processes, k, *lost] for k in range(processes))
    assert not any(printed for _, printed, _ in done[1:]), done
    assert done[0][1], done
    return done, json.loads(done[0][1])


def equals_the_definition(found):
    assert found["together"] < 1e-12
    assert max(found["alone"]) < 1e-12
    assert found["predicted"] < 1e-12
    assert found["same"]  # all processes have the same bits


def test_two_processes_of_two_devices_equal_the_definition():
    done, found = together(2)
    assert [code for code, *_ in done] == [0, 0]
    assert found["devices"] == ["cpu", 4]
    assert found["said"] == [[0, 0], [1, 70]]
    equals_the_definition(found)


def test_four_processes_equal_the_definition_and_end_in_one_line_when_one_is_lost():
    done, found = together(4, 3)
    assert found["devices"] == ["cpu", 4]
    equals_the_definition(found)
    assert [code for code, *_ in done] == [2, 2, 2, 9]
    for _, _, error in done[:3]:
        assert error.startswith("chainrule: ")
        assert "another process has ended or can't be reached" in error
        assert error.count("\n") == 1


def test_processes_with_different_data_end_in_a_line_each(tmp_path):
    at, commands = free(), []
    for k in range(2):
        rows = "".join(f"{row},{(row + (row == 33) * k) % 3}\n" for row in range(60))
        (tmp_path / f"{k}.csv").write_text(f"a,b\n{rows}")
        settings = {
            "target": "b", "network": "2", "epochs": 1, "engine": "jax", "coordinator": at, "processes": 2,
            "process": k, "output": tmp_path / "run",
        }  # fmt: skip
        options = [f"--{name}={value}" for name, value in settings.items()]
        commands.append(["-m", "chainrule", "train", tmp_path / f"{k}.csv", *options])
    (first, _, said), (other, _, why) = ended(commands)
    assert (first, other) == (2, 2)
    file = tmp_path / "1.csv"
    assert why == f"chainrule: {file}: it is not the data that rank 0 has read: its target has other values\n"
    told = [line for line in said.splitlines() if not re.match(r"/|  ", line)]  # but for what is told of the data
    assert len(told) == 1
    assert "another process has ended or can't be reached" in told[0]
    assert not (tmp_path / "run").exists()


def test_an_address_where_processes_can_t_meet(monkeypatch):
    monkeypatch.delenv(hosts.BINDING, raising=False)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        at = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(SettingError, match=f"{at}: another program listens at port"):
            hosts.join(hosts.Meeting(at, 2, 0))
    for address, message in (
        ("nowhere.invalid:99", "there is no such host and port"),
        ("127.0.0.1:99999", "there is no such host and port|another program|must be"),
        ("192.0.2.1:99", "it must be an address of the machine of process 0"),
    ):
        with pytest.raises(SettingError, match=message):
            hosts.join(hosts.Meeting(address, 2, 0))


def test_the_coordinator_listens_at_its_own_address_alone(monkeypatch):
    monkeypatch.delenv(hosts.BINDING, raising=False)
    at = free()
    assert hosts._bound(hosts.Meeting(at, 2, 0)) == at
    assert hosts._bound(hosts.Meeting(at, 2, 1)) is None
    monkeypatch.setenv(hosts.BINDING, "0.0.0.0:99")
    assert hosts._bound(hosts.Meeting(at, 2, 0)) == "0.0.0.0:99"


def test_where_processes_meet(monkeypatch):
    for name in hosts.VARIABLES.values():
        monkeypatch.delenv(name, raising=False)
    assert hosts.meeting(None, None, None) is None
    assert hosts.meeting("node:1234", 4, 3) == ("node:1234", 4, 3)
    monkeypatch.setenv("JAX_COORDINATOR_ADDRESS", "other:99")
    monkeypatch.setenv("JAX_NUM_PROCESSES", "2")
    monkeypatch.setenv("JAX_PROCESS_ID", "1")
    assert hosts.meeting(None, None, None) == ("other:99", 2, 1)
    assert hosts.meeting(None, None, 0) == ("other:99", 2, 0)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("node:1", 2, None), "process is missing"),
        ((None, 2, 0), "coordinator is missing"),
        (("node", 2, 0), "host:port"),
        (("node:x", 2, 0), "host:port"),
        (("node:1", 2, 2), "counted from 0, up to 1"),
        (("node:1", 2, -1), "whole numbers"),
    ],
)
def test_a_meeting_that_is_incomplete(monkeypatch, given, message):
    for name in hosts.VARIABLES.values():
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(SettingError, match=message):
        hosts.meeting(*given)
