"""Whatever a request or a command raises is answered, and ends neither the server nor a page."""

import asyncio
import errno
import json
import struct
from concurrent.futures import ThreadPoolExecutor

import pytest

from chainrule.play.server import application
from chainrule.play.session import Session
from waiting import WAIT, until


def header_of(message):
    """The header of a message."""
    (length,) = struct.unpack("<I", message[:4])
    return json.loads(message[4 : 4 + length])


def uploaded(content):
    """The status, the headers and the body of the answer to an upload."""
    sent = []

    async def receive():
        return {"type": "http.request", "body": content, "more_body": False}

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http", "method": "POST", "path": "/token/upload", "raw_path": b"/token/upload", "root_path": "",
        "query_string": b"kind=csv", "headers": [(b"host", b"here:1")], "server": ("here", 1), "scheme": "http",
    }  # fmt: skip
    answering = application("token", frozenset(["here:1"]))(scope, receive, send)
    with ThreadPoolExecutor(1) as thread:  # in this one, a browser's event loop may be running
        thread.submit(asyncio.run, answering).result(WAIT)
    return sent[0]["status"], dict(sent[0]["headers"]), json.loads(b"".join(part.get("body", b"") for part in sent[1:]))


def test_a_full_disk_behind_an_upload_is_said(monkeypatch):
    def full():
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("chainrule.play.server.tempfile.TemporaryDirectory", full)
    status, headers, answer = uploaded(b"a,b\n1,2\n")
    assert (status, answer["error"]) == (507, "the server can't do this now: no space left on device")
    assert b"content-security-policy" in headers


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (OSError(errno.EACCES, "Permission denied", "run/frame"), "run/frame: permission denied"),
        (RecursionError("too deep"), "chainrule itself failed"),
        (MemoryError(), "out of memory"),
        (UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed"), "is malformed"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_whatever_a_command_raises_is_answered(error, answer, monkeypatch):
    def fail(*_):
        raise error

    answers = []
    monkeypatch.setitem(Session._HANDLERS, "step", fail)
    session = Session(lambda message: answers.append(header_of(message)), None, None)
    try:
        session.command({"type": "step"})
        until(lambda: answers)
        assert answer in answers[0]["message"]
        session.command({"type": "nonsense"})
        until(lambda: len(answers) > 1)
        assert "unknown command" in answers[-1]["message"]
    finally:
        session.close()


@pytest.mark.parametrize(
    "message",
    [
        {"type": "draw", "strokes": [[[0, 0], [1, 1], [3, 2]]], "label": 1.0},
        {"type": "draw", "strokes": [[[0, 0], [1, 1], [3, 2]]], "label": True},
        {"type": "draw", "strokes": [[[k % 7, k % 5]] for k in range(600)]},
        {"type": "open", "layer": "dense_1", "unit": None},
        {"type": "open", "layer": "dense_1", "unit": [0]},
        {"type": "open", "weight": f"dense_1.W[{'9' * 5000}, 0]"},
    ],
    ids=lambda message: str(message)[:50],
)
def test_a_page_has_frames_after_any_command(message):
    answers = []

    def send(answer):
        answers.append(header_of(answer))
        if answers[-1]["type"] == "frame":
            session.command({"type": "shown"})  # as a page answers

    def kinds():
        return [answer["type"] for answer in answers]

    session = Session(send, None, None)
    try:
        session.command({"type": "settings", "settings": {"data": {"kind": "builtin", "name": "digits"}}})
        until(lambda: "frame" in kinds())
        session.command(message)
        until(lambda: "error" in kinds())
        before = len(answers)
        session.command({"type": "step"})
        until(lambda: "frame" in kinds()[before:])
        assert "error" not in kinds()[before:]
    finally:
        session.close()
