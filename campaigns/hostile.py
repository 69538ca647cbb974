"""Hostile requests and messages to the live page's server, after which it must go on answering
honest pages.

    python campaigns/hostile.py [--count N] [--seed S]

Half are HTTP requests with mutated methods, paths, headers and bodies, with and without the token;
half are WebSocket messages: known commands with missing, wrong, huge and deeply nested arguments.
Beside them, 200 connections stay silent. Every answer must be a refusal or a proper answer: no 500,
no traceback, the process alive. Prints what was tried and what was good; exits with 1 on a finding,
which is written to campaigns/findings/.
"""

from __future__ import annotations

import argparse
import http.client
import json
import random
import socket
import struct
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.sync.client import connect

WAIT = 60
SILENT = 200
FINDINGS = Path(__file__).parent / "findings"
COMMANDS = (
    *("settings", "view", "run", "pause", "step", "epoch", "back", "go to", "reset", "phase", "open", "set weight"),
    *("export", "race", "pin", "unpin", "compare", "run read", "shown"),
)
KEYS = (
    *("settings", "step", "edits", "view", "speed", "until", "phase", "weight", "layer", "unit", "value", "kind"),
    *("entrants", "target", "optimizers", "number", "run"),
)


@contextmanager
def serving() -> Iterator[tuple[str, str, subprocess.Popen[str]]]:
    """A server: its host with port, its token, its process."""
    code = "from chainrule.cli import main; main()"
    command = [sys.executable, "-c", code, "play", "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            _, _, host, token, _ = process.stdout.readline().strip().split("/")
            yield host, token, process
        finally:
            process.terminate()


def value(draw: random.Random, depth: int = 0) -> Any:
    """A value that a command does not expect."""
    plain = (
        None, True, 0, -1, 2**70, 1e308, float("nan"), float("inf"), "", "x" * draw.choice((1, 300, 10_000)), "\ud800",
        "dense_1.W[0, 0]", "dense_9.W[7]", "__class__", "../../etc/passwd", "<script>", "adam 1e999", "sgd 0.1",
    )  # fmt: skip
    if depth < 3 and draw.random() < 0.3:
        inner = [value(draw, depth + 1) for _ in range(draw.randrange(4))]
        return inner if draw.random() < 0.5 else {draw.choice(KEYS): one for one in inner}
    if draw.random() < 0.03:
        nested: Any = 0
        for _ in range(draw.choice((50, 900))):
            nested = [nested]
        return nested
    return draw.choice(plain)


def message(draw: random.Random) -> str | bytes:
    """A message: mostly a command with arguments that make no sense."""
    if draw.random() < 0.1:
        return draw.choice((b"", b"\x00\xff", "no json", "[1]", "3", "[" * 100_000, '{"a":' * 50_000, "x" * 400_000))
    return json.dumps({"type": draw.choice((*COMMANDS, "nonsense")), **{
        draw.choice(KEYS): value(draw) for _ in range(draw.randrange(5))
    }})  # fmt: skip


def request(draw: random.Random, host: str, token: str) -> bytes:
    """A request, as bytes."""
    method = draw.choice(("GET", "POST", "PUT", "HEAD", "OPTIONS", "TRACE", "CONNECT", "G\x00T", "get"))
    base = draw.choice((f"/{token}/", f"/{token}/", "/", "/wrong/", f"/{token}"))
    path = base + draw.choice((
        "", "config.json", "main.js", "upload?kind=csv", "upload?kind=parquet&name=%ff", "preview?upload=x.1",
        "preview?upload=" + "9" * 5000, "../../etc/passwd", "%2e%2e/%2e%2e/etc/passwd", "%00", "socket", "plotly.js",
        "a" * draw.choice((10, 70_000)),
    ))  # fmt: skip
    headers = {"Host": draw.choice((host, host, host, "evil.example", "", "127.0.0.1")), "Connection": "close"}
    if draw.random() < 0.3:
        headers["Origin"] = draw.choice((f"http://{host}", "null", "http://evil.example", "\xff"))
    body = draw.choice((b"", b"a,b\n1,2\n", b"PAR1" + bytes(40) + b"PAR1", draw.randbytes(draw.choice((1, 5000)))))
    if draw.random() < 0.8:
        headers["Content-Length"] = str(draw.choice((len(body), len(body), len(body) + 50, 10**12, -1)))
    if draw.random() < 0.1:
        headers["Transfer-Encoding"] = "chunked"
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {text}" for name, text in headers.items()), "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


def answer(host: str, content: bytes) -> bytes:
    """The beginning of the answer to these bytes; empty if the connection is closed without one."""
    name, port = host.split(":")
    with socket.create_connection((name, int(port)), timeout=WAIT) as connection:
        with suppress(OSError):
            connection.sendall(content)
            connection.shutdown(socket.SHUT_WR)
        with suppress(OSError):
            return connection.recv(4000)
        return b""


def header_of(frame: bytes) -> dict[str, Any]:
    """The header of a message from the server."""
    (length,) = struct.unpack("<I", frame[:4])
    return dict(json.loads(frame[4 : 4 + length]))


def honest(host: str, token: str) -> bool:
    """Whether an honest page is answered, and can train a step."""
    connection = http.client.HTTPConnection(host, timeout=WAIT)
    connection.request("GET", f"/{token}/")
    page = connection.getresponse()
    if page.status != 200 or b"chainrule" not in page.read():
        return False
    connection.close()
    with connect(f"ws://{host}/{token}/socket", origin=f"http://{host}", open_timeout=WAIT) as live:  # type: ignore[arg-type]
        live.send(json.dumps({"type": "settings", "settings": {}}))
        for command in ("step", ""):
            while header_of(bytes(live.recv(timeout=WAIT)))["type"] != "frame":  # type: ignore[arg-type]
                pass
            live.send(json.dumps({"type": "shown"}))
            if command:
                live.send(json.dumps({"type": command}))
    return True


def talked(host: str, token: str, messages: list[str | bytes]) -> None:
    """Send messages over one connection, and read what comes until it ends or is quiet."""
    url = f"ws://{host}/{token}/socket"
    options: Any = {"origin": f"http://{host}", "open_timeout": WAIT, "close_timeout": 5}
    ends = suppress(ConnectionClosed, InvalidStatus, WebSocketException, OSError, TimeoutError)
    with ends, connect(url, **options) as live:
        live.send(json.dumps({"type": "settings", "settings": {}}))
        for one in messages:
            live.send(one)
        for _ in range(2 * len(messages)):
            live.recv(timeout=0.5)


def main() -> int:
    """Try, and say what was tried and what was good."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--count", type=int, default=1000)
    options.add_argument("--seed", type=int, default=0)
    chosen = options.parse_args()
    draw, tried, found = random.Random(chosen.seed), Counter[str](), []
    with serving() as (host, token, process), ExitStack() as stack:
        name, port = host.split(":")
        for _ in range(SILENT):
            stack.enter_context(socket.create_connection((name, int(port)), timeout=WAIT))
        for number in range(0, chosen.count, 20):
            for _ in range(10):
                content = request(draw, host, token)
                got = answer(host, content)
                tried["requests"] += 1
                if b" 500 " in got[:20] or (
                    got and b"content-security-policy" not in got.lower() and b" 400 " not in got[:20]
                ):
                    found.append({"request": content.decode("latin-1")[:3000], "answer": got.decode("latin-1")[:300]})
            messages = [message(draw) for _ in range(10)]
            talked(host, token, messages)
            tried["messages"] += len(messages)
            if process.poll() is not None or not honest(host, token):
                found.append({"after": number, "messages": [str(one)[:2000] for one in messages]})
                break
            tried["honest pages in between"] += 1
        process.terminate()
        assert process.stderr is not None
        said = process.stderr.read()
        stack.close()
    # A malformed command is logged with its traceback, for those who look for a mistake in the page.
    crashes = [part for part in said.split("Traceback")[1:] if "the command" not in said and "play" in part]
    found += [{"traceback": crash[-1500:]} for crash in crashes]
    for kind, count in tried.items():
        print(f"{kind:<26}{count:>7,}")
    print(f"{'findings':<26}{len(found):>7,}")
    if found:
        FINDINGS.mkdir(exist_ok=True)
        (FINDINGS / f"hostile-{chosen.seed}.json").write_text(json.dumps(found, indent=1))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
