"""Waiting processes hear of each other, and notice who is silent, stopped, or does not come."""

import json
import os
import signal
import sys

import pytest

from chainrule import heartbeats
from chainrule.heartbeats import BEAT, Link, Mark, Watch
from waiting import until

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")


@pytest.fixture
def met():
    """met(count): the watches of so many ranks, which have met."""
    links = []

    def make(count, patience=1e9):
        links.extend(Link(rank == 0, is_local=True) for rank in range(count))
        own = [Watch(rank, count, f"rank {rank}", 0, link, 6.0, patience) for rank, link in enumerate(links)]
        for watch in own:
            watch._meet(json.dumps(links[0].address).encode())

        def have_heard():
            for watch in own:
                watch._tell()
                watch._listen()
            return len(own[0]._heard) == count - 1 and all(0 in watch._heard for watch in own[1:])

        until(have_heard)
        return own

    yield make
    for link in links:
        link.messages.close()


def later(watch, seconds):
    """What a watch finds after so many seconds in which it looked around, but heard nothing."""
    began = watch._looked
    for k in range(1, int(seconds) + 1):
        found = watch._problem(began + k)
        if found:
            return found
    return None


def test_who_is_not_heard_of_is_lost(met):
    first, second, third = met(3)
    assert later(first, 5) is later(second, 5) is None
    assert "rank 1 has not been heard of for 6 s" in later(first, 8).text
    assert later(second, 8).text.startswith("rank 0 has not been heard of")
    assert not later(second, 8).is_known
    assert later(third, 8).is_known  # the second one says so


def test_who_was_never_heard_of_is_not_watched(met):
    first, _ = met(2)
    first._heard.clear()
    assert later(first, 60) is None


def test_a_waiting_process_that_was_stopped_with_all_others_begins_anew(met):
    first, _ = met(2)
    assert first._problem(first._looked + 1000) is None
    assert later(first, 5) is None
    assert later(first, 8) is not None


def test_another_jobs_messages_are_not_heard(met):
    first, second = met(2)
    first._heard.clear()
    host, port, token = second._address
    second._address = host, port, "another"
    second._tell()
    second._address = host, port, token
    until(lambda: first.link.messages.recvfrom(100), BlockingIOError)  # it has arrived
    second.link.messages.sendto(b"another{}", first.link.messages.getsockname())
    first._listen()
    assert first._heard == {}


def test_a_rank_that_does_not_come_is_named(met):
    first, *_ = met(3, patience=5.0)
    first._heard[1].waits, first._heard[2].waits = 6.0, 0.0
    first.link.mark.waits()
    found = first._not_come().text
    assert found == "the other ranks have waited for rank 0, rank 2 for 5 s, which are alive"
    first._heard[2].waits = 3.0
    assert first._not_come().text == "the other ranks have waited for rank 0 for 5 s, which is alive"
    first._heard[1].waits = 4.0
    assert first._not_come() is None


def test_a_mark_counts_what_it_waits_at_a_stretch(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(heartbeats.time, "monotonic", lambda: now[0])
    mark = Mark()
    assert mark.seconds == 0
    for _ in range(10):
        mark.waits()
        now[0] += BEAT / 2
    assert mark.seconds == pytest.approx(4.5)
    now[0] += BEAT
    assert mark.seconds == 0
    mark.waits()
    assert mark.seconds == 0
    assert not mark.has_left
    mark.leave()
    assert mark.has_left


def test_seconds_are_those_of_the_environment(monkeypatch):
    for text, expected in (("", 6.0), ("2.5", 2.5), ("0", float("inf")), ("soon", 6.0)):
        monkeypatch.setenv("CHAINRULE_SILENCE", text)
        assert heartbeats.seconds(heartbeats.SILENCE) == expected


@pytest.mark.filterwarnings("ignore:This process", "ignore:os.fork")  # is multi-threaded, say Python and JAX
def test_a_rank_that_is_stopped_and_continued_is_noticed():
    link, child = Link(True, is_local=True), os.fork()
    if not child:
        os.kill(os.getpid(), signal.SIGSTOP)
        os._exit(3)
    watch = Watch(0, 2, "rank 0", child, link, 6.0, 1e9)
    until(lambda: watch._look_at_child() is None and watch._stopped is not None)
    assert f"rank 0 (process {child}) has been stopped for 6 s" in later(watch, 8).text
    os.kill(child, signal.SIGCONT)
    status = []
    until(lambda: status.append(watch._look_at_child()) or status[-1] is not None)
    assert os.waitstatus_to_exitcode(status[-1]) == 3
    link.messages.close()
