"""The live page's server trusts nobody: what has no right is refused with a clear answer, and the server goes on."""

import http.client
import json
import select
import struct
from contextlib import ExitStack

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from chainrule.cli import run as command
from chainrule.play.server import MOST_SESSIONS, MOST_UPLOAD
from waiting import WAIT, until


def parts(address):
    """Host with port, and token."""
    _, _, host, token, _ = address.split("/")
    return host, token


def ask(address, path=None, method="GET", body=None, **headers):
    """The status, the body and the headers of an answer; a path of None is the page's own."""
    host, token = parts(address)
    connection = http.client.HTTPConnection(host, timeout=WAIT)
    try:
        connection.request(method, f"/{token}/" if path is None else path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode("utf-8", "replace"), dict(answer.getheaders())
    finally:
        connection.close()


def socket(address, **also):
    host, token = parts(address)
    waits = {"open_timeout": WAIT, "ping_timeout": WAIT, "close_timeout": WAIT}
    options = {"origin": f"http://{host}", **waits, **also}
    return connect(
        f"ws://{host}/{also.pop('token', token)}/socket", **{k: v for k, v in options.items() if k != "token"}
    )


def told(message):
    """The header of a message."""
    (length,) = struct.unpack("<I", message[:4])
    return json.loads(message[4 : 4 + length])


def next_of(connection, kind):
    """The header of the next message of this kind."""
    while True:
        header = told(connection.recv(timeout=WAIT))
        if header["type"] == kind:
            return header


def goes_on(address):
    """Whether a new page is served and can train."""
    status, body, _ = ask(address)
    assert status == 200
    assert "chainrule" in body
    with socket(address) as connection:
        connection.send(json.dumps({"type": "settings", "settings": {}}))
        assert next_of(connection, "built")["weights"] == 105
        assert next_of(connection, "frame")["step"] == 0
    return True


def test_the_page_and_what_it_may_do(address):
    status, body, headers = ask(address)
    assert (status, body[:15]) == (200, "<!doctype html>")
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["referrer-policy"] == "no-referrer"
    assert "<script>" not in body
    assert "style=" not in body


@pytest.mark.parametrize("path", ["/", "/index.html", "/wrong/", "/config.json", "/x/config.json", "//", "/%00/"])
def test_without_the_token_there_is_nothing(address, path):
    status, body, _ = ask(address, path)
    assert status == 403
    assert body == "the address lacks its token; open the one that 'chainrule play' printed"


def test_no_token_no_socket(address):
    for token in ("wrong", parts(address)[1][:-1], ""):
        with pytest.raises(InvalidStatus), socket(address, token=token):
            pass
    assert goes_on(address)


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1", "127.0.0.1.evil.example:1", ""])
def test_a_foreign_host_is_refused(address, host):
    status, body, _ = ask(address, Host=host)
    assert status in (400, 403)
    if status == 403:
        assert body == "this server answers under its own address only"


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://127.0.0.1", "http://127.0.0.1:1"])
def test_a_foreign_origin_is_refused(address, origin):
    status, body, _ = ask(address, Origin=origin)
    assert (status, body) == (403, "this server answers its own page only")
    status, _, _ = ask(address, f"/{parts(address)[1]}/upload?kind=csv", "POST", b"a,b\n1,2\n", Origin=origin)
    assert status == 403
    with pytest.raises(InvalidStatus), socket(address, origin=origin):
        pass


def test_a_socket_without_an_origin_is_refused(address):
    with pytest.raises(InvalidStatus), socket(address, origin=None):
        pass


@pytest.mark.parametrize(
    "name",
    ["../server.py", "..%2fserver.py", "%2e%2e/server.py", "/etc/passwd", "%2fetc%2fpasswd", "....//server.py",
     "tsconfig.json", "index.html%00.js", "..\\server.py", "plotly.js/../../server.py", "C:/Windows/win.ini"],
)  # fmt: skip
def test_no_path_reaches_the_file_system(address, name):
    status, body, _ = ask(address, f"/{parts(address)[1]}/{name}")
    assert status in (403, 404)
    assert "import" not in body
    assert "root:" not in body


def answer_of(connection):
    """The status and the error that a raw connection answers with."""
    answer = http.client.HTTPResponse(connection.sock)
    answer.begin()
    return answer.status, json.loads(answer.read())["error"]


def test_a_gigabyte_is_refused_before_it_is_read(address):
    host, token = parts(address)
    connection = http.client.HTTPConnection(host, timeout=WAIT)
    connection.putrequest("POST", f"/{token}/upload?kind=csv")
    connection.putheader("Content-Length", str(10**9))
    connection.endheaders()
    assert answer_of(connection) == (413, "the file is larger than 20 MB")
    connection.close()
    assert goes_on(address)


def test_a_file_of_unknown_size_is_refused_once_it_is_too_large(address):
    host, token = parts(address)
    connection = http.client.HTTPConnection(host, timeout=WAIT)
    connection.putrequest("POST", f"/{token}/upload?kind=csv")
    connection.putheader("Transfer-Encoding", "chunked")
    connection.endheaders()
    chunk, sent = b"x" * 100_000, 0
    while not select.select([connection.sock], [], [], 0)[0]:
        connection.send(b"%x\r\n%b\r\n" % (len(chunk), chunk))
        sent += len(chunk)
        assert sent < 10 * MOST_UPLOAD
    assert answer_of(connection) == (413, "the file is larger than 20 MB")
    connection.close()
    assert goes_on(address)


@pytest.mark.parametrize(
    ("kind", "content", "answer"),
    [
        ("csv", b"", "the file"),
        ("csv", b"a,b\n1,2\n", "the file"),
        ("parquet", b"PAR1 no such thing", "the file"),
        ("exe", b"MZ", "drop a CSV, TSV or Parquet file"),
        ("../csv", b"a,b", "drop a CSV, TSV or Parquet file"),
        ("csv", b"\xff\xfe\x00\x01" * 50, "the file"),
    ],
)
def test_a_file_that_can_t_be_used_says_why(address, kind, content, answer):
    from urllib.parse import quote

    path = f"/{parts(address)[1]}/upload?kind={quote(kind, safe='')}"
    status, body, _ = ask(address, path, "POST", content)
    assert status == 400
    assert answer in json.loads(body)["error"]
    assert "/tmp" not in body
    assert "Traceback" not in body


HOSTILE = [
    {"type": "settings", "settings": {"layers": [{"units": 10**9}]}},
    {"type": "settings", "settings": {"layers": [{"units": 256}] * 50}},
    {"type": "settings", "settings": {"layers": "x" * 1000}},
    {"type": "settings", "settings": {"data": {"kind": "builtin", "name": "/etc/passwd"}}},
    {"type": "settings", "settings": {"data": {"kind": "plane", "samples": 10**12}}},
    {"type": "settings", "settings": {"data": {"kind": "drawn", "points": [["a", {}, []]] * 9}}},
    {"type": "settings", "settings": {"learning_rate": "nan", "batch_size": -1}},
    {"type": "settings", "settings": {"optimizer": "__import__('os')"}},
    {"type": "settings", "settings": {"unknown": 1, "seed": 1e400}},
    {"type": "settings", "settings": {"output_weights": "scipy.stats 1 2"}},
    {"type": "settings", "settings": None},
    {"type": "open", "weight": "dense_1.W[99, 99]"},
    {"type": "open", "weight": ["x"]},
    {"type": "open", "layer": "nowhere", "unit": 3},
    {"type": "open", "layer": "dense_1", "unit": "x"},
    {"type": "view", "view": 3},
    {"type": "set weight", "weight": "dense_1.W[0, 0]", "value": "1e999"},
    {"type": "phase", "phase": "__class__"},
    {"type": "go to", "step": -5},
    {"type": "go to", "step": 10**30},
    {"type": "export", "kind": "../../etc/passwd"},
    {"type": "race", "entrants": [{}] * 100},
    {"type": "race", "entrants": "all"},
    {"type": "_work"},
    {"type": {"a": 1}},
    {"no": "type"},
]


@pytest.mark.parametrize("message", HOSTILE, ids=lambda message: json.dumps(message)[:60])
def test_hostile_messages_are_answered(address, message):
    with socket(address) as connection:
        connection.send(json.dumps({"type": "settings", "settings": {}}))
        next_of(connection, "built")
        connection.send(json.dumps({"type": "shown"}))
        connection.send(json.dumps(message))
        header = next_of(connection, "error")
        assert len(header["message"]) > 20
        assert "Traceback" not in header["message"]
        connection.send(json.dumps({"type": "shown"}))
        connection.send(json.dumps({"type": "step"}))
        assert next_of(connection, "frame")["step"] in (0, 1)


@pytest.mark.parametrize(
    "content", ["", "no json", "[1]", "3", "[" * 100_000, '{"a":' * 50_000, b"\x00\xff", "x" * 400_000]
)
def test_malformed_messages_end_the_connection_only(address, content):
    with socket(address) as connection:
        connection.send(content)
        with pytest.raises(ConnectionClosed):
            connection.recv(timeout=WAIT)
    assert goes_on(address)


def ends(connection, *messages):
    """Send these until the server ends the connection."""
    try:
        for message in messages:
            connection.send(message)
        while True:
            connection.recv(timeout=WAIT)
    except ConnectionClosed:
        return True


def test_a_message_that_is_too_large_ends_the_connection(address):
    with socket(address) as connection:
        assert ends(connection, json.dumps({"type": "x" * 2_000_000}))
    assert goes_on(address)


def test_a_flood_of_commands_ends_the_connection(address):
    with socket(address) as connection:
        assert ends(connection, *[json.dumps({"type": "settings", "settings": {}})] * 20_000)
    assert goes_on(address)


def opened_or_why_not(stack, address):
    """An open connection's number of weights, or the reason why there is none."""
    try:
        connection = stack.enter_context(socket(address))
        connection.send(json.dumps({"type": "settings", "settings": {}}))
        return next_of(connection, "built")["weights"]
    except ConnectionClosed as error:
        return error.rcvd.reason
    except InvalidStatus as error:
        return error.response.status_code


def test_a_hundred_connections(address):
    with ExitStack() as stack:
        answers = [opened_or_why_not(stack, address) for _ in range(100)]
        full = f"there are {MOST_SESSIONS} pages open already; close one"
        assert 1 <= answers.count(105) <= MOST_SESSIONS
        # Uvicorn itself answers 503 where there are more than it takes at all.
        assert set(answers) <= {105, full, 503}

    def opens():
        with ExitStack() as stack:
            return opened_or_why_not(stack, address) == 105

    until(opens)


def test_pages_have_sessions_of_their_own(address):
    with socket(address) as one, socket(address) as other:
        for connection, name in ((one, "moons"), (other, "xor")):
            connection.send(json.dumps({"type": "settings", "settings": {"data": {"name": name}}}))
            assert next_of(connection, "built")["data"] == name
            next_of(connection, "frame")
            connection.send(json.dumps({"type": "shown"}))
        one.send(json.dumps({"type": "step"}))
        assert next_of(one, "frame")["step"] == 1
        other.send(json.dumps({"type": "view", "view": {}}))
        assert next_of(other, "frame")["step"] == 0


def test_never_more_than_one_frame_is_under_way(address):
    with socket(address) as connection:
        connection.send(json.dumps({"type": "settings", "settings": {}}))
        next_of(connection, "frame")
        connection.send(json.dumps({"type": "run"}))
        no_frame_before(connection, 101)  # the first frame was not drawn yet, so there is no other
        connection.send(json.dumps({"type": "shown"}))
        reached = next_of(connection, "frame")["step"]
        assert reached > 100
        no_frame_before(connection, reached + 100)


def no_frame_before(connection, step):
    """Ask for explanations until training has reached this step: no frame comes among them."""
    reached = -1
    while reached < step:
        connection.send(json.dumps({"type": "open", "weight": "dense_1.W[0, 0]"}))
        header = told(connection.recv(timeout=WAIT))
        assert header["type"] == "explanation"
        reached = header["step"]


def test_a_frame_holds_the_numbers_that_it_says(address):
    with socket(address) as connection:
        connection.send(json.dumps({"type": "settings", "settings": {}}))
        next_of(connection, "built")
        content = connection.recv(timeout=WAIT)
        (length,) = struct.unpack("<I", content[:4])
        (weights,) = [a for a in json.loads(content[4 : 4 + length])["arrays"] if a["name"] == "weights"]
        start = 4 + length + weights["at"]
        assert start % 4 == 0
        values = np.frombuffer(content[start : start + 4 * 105], dtype="<f4")
        from chainrule.play.settings import Settings
        from chainrule.play.trainer import Trainer

        assert np.array_equal(values, Trainer(Settings()).position.parameters)


def test_what_the_command_line_refuses(capsys, tmp_path):
    (tmp_path / "bad.csv").write_text("a\n1\n")
    for arguments, answer in (
        (["play", "--port", "99999"], "a port is a number"),
        (["play", "nowhere"], "there is no such file"),
        (["play", "digits"], "choose it on the page"),
        (["play", str(tmp_path / "bad.csv")], "two columns or more"),
    ):
        assert command(arguments) == 2
        assert answer in capsys.readouterr().err


def test_a_port_that_is_taken(address, capsys):
    assert command(["play", "--no-browser", "--port", parts(address)[0].split(":")[1]]) == 2
    assert "choose another --port" in capsys.readouterr().err


def test_to_others_it_is_served_with_a_warning(serve):
    import subprocess
    import sys

    code = "from chainrule.cli import main; main()"
    words = [sys.executable, "-c", code, "play", "--no-browser", "--host", "0.0.0.0"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            found = process.stdout.readline().strip()
            status, _, _ = ask(found)
            foreign, _, _ = ask(found, Host="evil.example:80")
        finally:
            process.terminate()
        assert "others on your network can reach it" in process.stderr.read()
    assert (status, foreign) == (200, 403)
