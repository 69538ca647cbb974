"""Hostile messages of a page about lives, teachers, reasons and the doctor: each is answered by one
clear error, or not at all, and the session goes on, in as many threads and as much memory as before.
"""

import json
import math
import queue
import threading

import pytest

from chainrule.play.session import MOST_SAID, Session
from chainrule.threads import most_threads
from waiting import WAIT, until

HUGE, LONG, NAN = 10**400, "x" * 100_000, math.nan

MALFORMED = [
    *(({"type": kind, "row": row}, "row is")
      for kind in ("teachers", "why", "show row")
      for row in ("5", "", LONG, 1.5, NAN, math.inf, True, [], {}, [3], "__class__", {"row": 3})),
    *(({"type": kind, "row": row}, "there is no row")
      for kind in ("teachers", "why", "show row") for row in (-1, 210, 2**63, 2**64, 10**40)),
    *(({"type": kind}, "unknown command")
      for kind in ("life", "taught", "doctor", "run read", "_why", "__init__", "", LONG, None, 3, [], {})),
    *(({"type": "open", "weight": weight}, "")
      for weight in (LONG, "dense_1.W[99, 99]", "dense_1.W[-1, 0]", "dense_1.W[0]", 5, [], {}, NAN, HUGE)),
    *(({"type": "view", "view": {"history": True, "sample": sample}}, "malformed")
      for sample in ("x", NAN, math.inf, None, [], {})),
]  # fmt: skip
"""Messages, and what the error says."""


class Page:
    """A page without a browser: what it is sent, and what it sends."""

    def __init__(self):
        self.headers = queue.Queue()
        self.session = Session(self.receive)
        self.send({"type": "settings", "settings": {"data": {"kind": "plane", "name": "moons", "samples": 300}}})

    def receive(self, message):
        length = int.from_bytes(message[:4], "little")
        self.headers.put(json.loads(message[4 : 4 + length]))

    def send(self, *messages):
        assert all(self.session.command(message) for message in messages)  # else the server ends the connection

    def next(self, kind, is_meant=lambda header: True):
        """The next message of this kind that is meant; frames are drawn on the way there."""
        while True:
            header = self.headers.get(timeout=WAIT)
            if header["type"] == "frame":
                self.send({"type": "shown"})
            if header["type"] == kind and is_meant(header):
                return header


@pytest.fixture
def page():
    page = Page()
    yield page
    page.session.close()


def test_each_malformed_message_is_answered_by_one_error(page):
    page.next("frame")
    for message, said in MALFORMED:
        page.send(message)
        error = page.next("error")
        assert said in error["message"], (message, error)
        assert len(error["message"]) <= MOST_SAID + 4
        assert "Traceback" not in error["message"]
    page.send({"type": "step", "number": 7})
    errors = []
    page.next("frame", lambda frame: frame["answers"] == 7 and frame["step"] == 1)
    while not page.headers.empty():
        errors += [header for header in [page.headers.get()] if header["type"] == "error"]
    assert not errors  # there was one for each


def test_before_a_step_nothing_has_taught(page):
    page.send({"type": "teachers", "row": 0})
    assert "let it take some steps first" in page.next("error")["message"]
    page.send({"type": "teachers"}, {"type": "why"}, {"type": "why", "row": "shown"})
    answer = page.next("why", lambda header: header["found"])
    assert "is predicted for row" in answer["found"]["title"]


def test_a_flood_of_questions_while_it_trains_neither_stops_training_nor_adds_threads(page):
    page.send({"type": "step"}, {"type": "open", "weight": "dense_1.W[0, 0]"})
    page.send({"type": "view", "view": {"history": True}})
    page.next("frame", lambda frame: frame["step"] == 1)
    before, most = threading.active_count(), 0
    for batch in range(3):
        page.send({"type": "run", "until": 10**9})
        for k in range(30):
            page.send({"type": ("teachers", "why", "open")[k % 3], "row": k + batch, "weight": "dense_1.W[0, 0]"})
        page.send({"type": "pause"}, {"type": "nonsense"})
        page.next("error")
        most = max(most, threading.active_count())
    # A life, teachers and reasons, each in a thread; a life is read by as many more as are allowed.
    assert most <= before + 3 + most_threads()
    page.send({"type": "run", "until": 10**9})
    page.next("frame", lambda frame: frame["step"] > 100)
    page.send({"type": "teachers", "row": 3})
    page.next("taught", lambda header: header["found"] and header["row"] == 3)
    page.send({"type": "why", "row": 4})
    page.next("why", lambda header: header["found"] and header["row"] == 4)


def test_a_page_that_closes_in_the_middle_of_an_answer_leaves_no_thread():
    before = threading.active_count()
    page = Page()
    page.next("frame")
    page.send({"type": "epoch"}, {"type": "teachers", "row": 0}, {"type": "why", "row": 0})
    page.session.close()
    until(lambda: threading.active_count() <= before)
