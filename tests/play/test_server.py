"""The live page's server trusts no request: it refuses with a clear answer, and keeps running."""

import datetime
import http.client
import io
import json
import select
import socket as sockets
import struct
from contextlib import ExitStack

import numpy as np
import polars as pl
import pytest
from playwright.sync_api import expect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from chainrule.cli import run as command
from chainrule.play.server import MOST_SESSIONS, MOST_UPLOAD
from engines import without_note
from waiting import WAIT, until


def host_and_token(address):
    """The host with its port, and the token."""
    _, _, host, token, _ = address.split("/")
    return host, token


def ask(address, path=None, method="GET", body=None, **headers):
    """The status, the body and the headers of a response; without a path, of the page itself."""
    host, token = host_and_token(address)
    connection = http.client.HTTPConnection(host, timeout=WAIT)
    try:
        connection.request(method, f"/{token}/" if path is None else path, body, headers)
        response = connection.getresponse()
        return response.status, response.read().decode("utf-8", "replace"), dict(response.getheaders())
    finally:
        connection.close()


def socket(address, **changes):
    """A WebSocket connection, by default with the page's own token and Origin."""
    host, token = host_and_token(address)
    options = {"token": token, "origin": f"http://{host}", **changes}
    url = f"ws://{host}/{options.pop('token')}/socket"
    return connect(url, open_timeout=WAIT, ping_timeout=WAIT, close_timeout=WAIT, **options)


def header_of(message):
    """The header of a message."""
    (length,) = struct.unpack("<I", message[:4])
    return json.loads(message[4 : 4 + length])


def next_of(connection, kind):
    """The header of the next message of this type."""
    while True:
        header = header_of(connection.recv(timeout=WAIT))
        if header["type"] == kind:
            return header


def still_works(address):
    """Whether the server still serves a new page that can train."""
    status, body, _ = ask(address)
    assert status == 200
    assert "chainrule" in body
    with socket(address) as connection:
        connection.send(json.dumps({"type": "settings", "settings": {}}))
        assert next_of(connection, "built")["weights"] == 105
        assert next_of(connection, "frame")["step"] == 0
    return True


def test_the_page_and_its_security_headers(address):
    status, body, headers = ask(address)
    assert (status, body[:15]) == (200, "<!doctype html>")
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["referrer-policy"] == "no-referrer"
    assert "<script>" not in body
    assert "style=" not in body


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("POST", "", 405),
        ("GET", "nowhere.js", 404),
        ("GET", "../secret", 404),
        ("GET", "upload", 404),
        ("GET", "report", 404),
    ],
)
def test_every_answer_is_confined(address, method, path, expected):
    status, _, headers = ask(address, f"/{host_and_token(address)[1]}/{path}", method)
    assert status == expected
    assert "default-src 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"


def test_silent_connections_lock_nobody_out(address):
    host, port = host_and_token(address)[0].split(":")
    with ExitStack() as stack:
        for k in range(200):
            connection = stack.enter_context(sockets.create_connection((host, int(port)), timeout=WAIT))
            if k % 2:
                connection.sendall(b"GET / HTTP/1.1\r\nHost: ")  # and no more
        assert still_works(address)


def test_a_connection_without_a_request_is_closed(serve):
    with ExitStack() as stack:
        address = stack.enter_context(serve(patience=0.5))
        host, port = host_and_token(address)[0].split(":")
        silent, slow = (
            stack.enter_context(sockets.create_connection((host, int(port)), timeout=WAIT)) for _ in range(2)
        )
        slow.sendall(b"GET / HTTP/1.1\r\nHost: ")
        assert silent.recv(100) == slow.recv(100) == b""


def test_an_aborted_upload_is_no_error(serve):
    errors = []
    with serve(errors=errors) as address:
        host, token = host_and_token(address)
        name, port = host.split(":")
        with sockets.create_connection((name, int(port)), timeout=WAIT) as connection:
            request = f"POST /{token}/upload?kind=csv HTTP/1.1\r\nHost: {host}\r\nContent-Length: 5000\r\n\r\na,b\n"
            connection.sendall(request.encode())
        assert still_works(address)
    assert [without_note(said) for said in errors] == ["press Ctrl-C to stop\n"]


@pytest.mark.parametrize("path", ["/", "/index.html", "/wrong/", "/config.json", "/x/config.json", "//", "/%00/"])
def test_without_the_token_every_request_is_refused(address, path):
    status, body, _ = ask(address, path)
    assert status == 403
    assert body == "the address lacks its token; open the one that 'chainrule play' printed"


def test_without_the_token_there_is_no_socket(address):
    for token in ("wrong", host_and_token(address)[1][:-1], ""):
        with pytest.raises(InvalidStatus), socket(address, token=token):
            pass
    assert still_works(address)


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1", "127.0.0.1.evil.example:1", ""])
def test_a_foreign_host_is_refused(address, host):
    status, body, _ = ask(address, Host=host)
    assert status in (400, 403)
    if status == 403:
        assert body == "this server answers only at its own address"


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://127.0.0.1", "http://127.0.0.1:1"])
def test_a_foreign_origin_is_refused(address, origin):
    status, body, _ = ask(address, Origin=origin)
    assert (status, body) == (403, "this server answers only its own page")
    status, _, _ = ask(address, f"/{host_and_token(address)[1]}/upload?kind=csv", "POST", b"a,b\n1,2\n", Origin=origin)
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
    status, body, _ = ask(address, f"/{host_and_token(address)[1]}/{name}")
    assert status in (403, 404)
    assert "import" not in body
    assert "root:" not in body


def refusal(connection):
    """The status and the error of the response on a raw connection."""
    response = http.client.HTTPResponse(connection.sock)
    response.begin()
    return response.status, json.loads(response.read())["error"]


def test_a_large_upload_is_refused_before_it_is_read(address):
    host, token = host_and_token(address)
    connection = http.client.HTTPConnection(host, timeout=WAIT)
    connection.putrequest("POST", f"/{token}/upload?kind=csv")
    connection.putheader("Content-Length", str(10**9))
    connection.endheaders()
    assert refusal(connection) == (413, "the file is larger than 20 MB")
    connection.close()
    assert still_works(address)


def test_an_upload_of_unknown_size_is_refused_once_it_is_too_large(address):
    host, token = host_and_token(address)
    connection = http.client.HTTPConnection(host, timeout=WAIT)
    connection.putrequest("POST", f"/{token}/upload?kind=csv")
    connection.putheader("Transfer-Encoding", "chunked")
    connection.endheaders()
    chunk, sent = b"x" * 100_000, 0
    while not select.select([connection.sock], [], [], 0)[0]:
        connection.send(b"%x\r\n%b\r\n" % (len(chunk), chunk))
        sent += len(chunk)
        assert sent < 10 * MOST_UPLOAD
    assert refusal(connection) == (413, "the file is larger than 20 MB")
    connection.close()
    assert still_works(address)


@pytest.mark.parametrize(
    ("kind", "content", "answer"),
    [
        ("csv", b"", "the file"),
        ("csv", b"a,b\n1,2,3\n", "the file"),
        ("parquet", b"PAR1 no such thing", "the file"),
        ("exe", b"MZ", "drop a CSV, TSV, Parquet, Arrow or Excel file"),
        ("../csv", b"a,b", "drop a CSV, TSV, Parquet, Arrow or Excel file"),
        ("csv", b"\xff\xfe\x00\x01" * 50, "the file"),
    ],
)
def test_an_unusable_file_is_refused_with_a_reason(address, kind, content, answer):
    from urllib.parse import quote

    path = f"/{host_and_token(address)[1]}/upload?kind={quote(kind, safe='')}"
    status, body, _ = ask(address, path, "POST", content)
    assert status == 400
    assert answer in json.loads(body)["error"]
    assert "/tmp" not in body
    assert "Traceback" not in body


def test_a_file_that_can_be_read_but_not_trained_on_is_previewed_with_the_reason(address):
    root = f"/{host_and_token(address)[1]}"
    status, body, _ = ask(address, f"{root}/upload?kind=csv&name=%3Cb%3E.csv", "POST", b"a,b\n1,2\n")
    found = json.loads(body)
    assert (status, found["name"], found["rows"], found["targets"]) == (200, "<b>.csv", 1, ["a", "b"])
    assert (
        found["problem"].startswith("<b>.csv, column 'a': every row has the same value") or "rows" in found["problem"]
    )
    for target, status in (("0", 200), ("7", 200), ("-1", 200), ("x", 200), ("9" * 99, 200)):
        again = ask(address, f"{root}/preview?upload={found['upload']}.{target}")
        assert again[0] == status
        assert json.loads(again[1])["problem"]
    for nowhere in ("", "gone.1", "../etc/passwd", "%00"):
        status, body, _ = ask(address, f"{root}/preview?upload={nowhere}")
        assert status == 404
        assert json.loads(body)["error"] == "the file is no longer on the server; drop it onto the page again"
    assert ask(address, "/wrong/preview?upload=gone.1")[0] == 403


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
    {"type": "run", "until": "soon"},
    {"type": "race", "entrants": [{}, {}], "target": "x"},
    {"type": "compare", "optimizers": ["__class__"]},
    {"type": "compare", "optimizers": 3},
    {"type": "_work"},
    {"type": {"a": 1}},
    {"no": "type"},
]


@pytest.mark.parametrize("message", HOSTILE, ids=lambda message: json.dumps(message)[:60])
def test_hostile_messages_are_answered_with_an_error(address, message):
    with socket(address) as connection:
        connection.send(json.dumps({"type": "settings", "settings": {}}))
        next_of(connection, "frame")
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
def test_malformed_messages_end_only_their_connection(address, content):
    with socket(address) as connection:
        connection.send(content)
        with pytest.raises(ConnectionClosed):
            connection.recv(timeout=WAIT)
    assert still_works(address)


def ends(connection, *messages):
    """Whether the server ends the connection after these messages."""
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
    assert still_works(address)


def test_a_flood_of_commands_ends_the_connection(address):
    with socket(address) as connection:
        assert ends(connection, *[json.dumps({"type": "settings", "settings": {}})] * 20_000)
    assert still_works(address)


def weights_or_refusal(stack, address):
    """The number of weights behind a new connection, or why it was refused."""
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
        answers = [weights_or_refusal(stack, address) for _ in range(100)]
        full = f"{MOST_SESSIONS} pages are open already; close one"
        assert 1 <= answers.count(105) <= MOST_SESSIONS
        # Uvicorn itself answers 503 beyond its own limit.
        assert set(answers) <= {105, full, 503}

    def opens():
        with ExitStack() as stack:
            return weights_or_refusal(stack, address) == 105

    until(opens)


def test_each_page_has_its_own_session(address):
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


@pytest.mark.parametrize("speed", [0, 500])
def test_a_run_stops_at_the_step_it_was_told(address, speed):
    with socket(address) as connection:
        connection.send(json.dumps({"type": "settings", "settings": {}}))
        connection.send(json.dumps({"type": "run", "speed": speed, "until": 7}))
        step = 0
        while step < 7:
            step = next_of(connection, "frame")["step"]
            connection.send(json.dumps({"type": "shown"}))
        connection.send(json.dumps({"type": "step"}))
        assert next_of(connection, "frame")["step"] == 8


def test_at_most_one_frame_is_in_flight(address):
    with socket(address) as connection:
        connection.send(json.dumps({"type": "settings", "settings": {}}))
        next_of(connection, "frame")
        connection.send(json.dumps({"type": "run", "until": 10**9}))  # beyond the planned epochs
        no_frame_before(connection, 11)  # the first frame is not drawn yet
        connection.send(json.dumps({"type": "shown"}))
        reached = next_of(connection, "frame")["step"]
        assert reached > 10
        no_frame_before(connection, reached + 10)


def no_frame_before(connection, step):
    """Ask for explanations until training reaches this step: there is no frame among them."""
    reached = -1
    while reached < step:
        connection.send(json.dumps({"type": "open", "weight": "dense_1.W[0, 0]"}))
        header = {"type": ""}
        while header["type"] != "explanation":  # one that the next question supersedes ends after its slice
            header = header_of(connection.recv(timeout=WAIT))
            assert header["type"] in ("slice", "explanation", "doctor")
        reached = header["step"]


def test_a_frame_holds_the_arrays_that_its_header_lists(address):
    with socket(address) as connection:
        connection.send(json.dumps({"type": "settings", "settings": {}}))
        content = connection.recv(timeout=WAIT)
        while header_of(content)["type"] != "frame":
            content = connection.recv(timeout=WAIT)
        (length,) = struct.unpack("<I", content[:4])
        (weights,) = [a for a in json.loads(content[4 : 4 + length])["arrays"] if a["name"] == "weights"]
        start = 4 + length + weights["at"]
        assert start % 4 == 0
        values = np.frombuffer(content[start : start + 4 * 105], dtype="<f4")
        from chainrule.play.settings import Settings
        from chainrule.play.trainer import Trainer

        assert np.array_equal(values, Trainer(Settings()).position.parameters)


def test_invalid_command_lines(capsys, tmp_path):
    (tmp_path / "bad.csv").write_text("a\n1\n")
    for arguments, answer in (
        (["play", "--port", "99999"], "a port is a number"),
        (["play", "nowhere"], "there is no such file"),
        (["play", "digits"], "choose it on the page"),
        (["play", str(tmp_path / "bad.csv")], "two columns or more"),
        (["play", "--read", "zip=category"], "--read, --tokens and --length are for a file; pass it"),
        (["play", str(tmp_path / "bad.csv"), "--read", "a"], "write it as COLUMN=KIND"),
        (["play", "--save", "a.html", "--drop", "a"], "leave --drop out"),
    ):
        assert command(arguments) == 2
        assert answer in capsys.readouterr().err


def test_a_file_is_read_as_chosen(tmp_path, monkeypatch):
    served = []
    monkeypatch.setattr("chainrule.play.server.serve", lambda host, port, dataset, *_: served.append(dataset))
    rows = [f"{k % 5},{k % 7},{k % 4},{k % 3}" for k in range(60)]
    (tmp_path / "t.csv").write_text("\n".join(["zip,size,code,visits", *rows]))
    chosen = ["--task", "regression", "--read", "zip=category", "--drop", "code"]
    assert command(["play", str(tmp_path / "t.csv"), "--no-browser", *chosen]) == 0
    (data,) = served
    assert data.task == "regression"
    assert {column.name: column.role for column in data.columns} == {"zip": "category", "size": "number"}


def test_a_port_in_use(address, capsys):
    assert command(["play", "--no-browser", "--port", host_and_token(address)[0].split(":")[1]]) == 2
    assert "choose another --port" in capsys.readouterr().err


def test_serving_to_other_machines_comes_with_a_warning(serve):
    import subprocess
    import sys

    code = "from chainrule.cli import main; main()"
    arguments = [sys.executable, "-c", code, "play", "--no-browser", "--host", "0.0.0.0"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            url = process.stdout.readline().strip()
            status, _, _ = ask(url)
            foreign, _, _ = ask(url, Host="evil.example:80")
        finally:
            process.terminate()
        assert "others on your network can reach it" in process.stderr.read()
    assert (status, foreign) == (200, 403)


def test_one_page_too_many_says_so(serve, windows):
    with serve() as address, ExitStack() as stack:
        for _ in range(MOST_SESSIONS):
            stack.enter_context(socket(address))
        page = windows()
        page.goto(address)
        expect(page.locator("#message")).to_contain_text(f"{MOST_SESSIONS} pages are open already; close one")
        page.click("#step")
        expect(page.locator("#message")).to_contain_text("close one")
        page.close()


def test_files_that_crash_a_decoder_or_are_too_large_do_not_end_the_server(address):
    """One damaged byte of a Parquet file, two hundred million cells, and columns of any type."""
    root = f"/{host_and_token(address)[1]}"
    content = io.BytesIO()
    pl.DataFrame({"a": range(40), "b": [k / 3 for k in range(40)]}).write_parquet(content)
    whole = content.getvalue()
    files = [whole[:k] + b"\x13" + whole[k + 1 :] for k in range(10, len(whole) - 4, len(whole) // 8)]
    large = io.BytesIO()
    pl.DataFrame({f"c{k}": pl.Series([True]).new_from_index(0, 5_000_000) for k in range(40)}).write_parquet(large)
    files += [large.getvalue(), whole[:4] + bytes(1000) + whole[-4:]]
    for file in files:
        status, body, _ = ask(address, f"{root}/upload?kind=parquet", "POST", file)
        assert status in (200, 400), body
        assert json.loads(body).get("error", "") or status == 200
    nested = io.BytesIO()
    pl.DataFrame({"tags": [[1]] * 40, "at": [datetime.time(1, k) for k in range(40)],
                  "raw": [b"x"] * 40, "y": [k % 2 for k in range(40)]}).write_parquet(nested)  # fmt: skip
    status, body, _ = ask(address, f"{root}/upload?kind=parquet", "POST", nested.getvalue())
    assert status == 200
    uses = {column["name"]: column["use"] for column in json.loads(body)["columns"]}
    assert uses["tags"].startswith("left out: its values are not numbers, text, dates")
    assert uses["at"].startswith("1 input")
    status, body, _ = ask(address, f"{root}/upload?kind=csv", "POST", b"a;b\r1,5;1\r2,5;0\r" * 20)
    assert status in (200, 400), body
    assert still_works(address)


def test_ending_while_a_page_computes_prints_nothing(serve):
    errors = []
    with ExitStack() as later, serve(slow=4, errors=errors) as address:
        connection = later.enter_context(socket(address))
        connection.send(json.dumps({"type": "settings", "settings": {}}))
        connection.ping().wait(WAIT)  # the command has arrived, and takes longer than the server waits
    assert errors == ["press Ctrl-C to stop\n"]


def test_there_is_a_report_only_on_a_recorded_run(address):
    status, body, _ = ask(address, f"/{host_and_token(address)[1]}/report", "POST")
    assert (status, json.loads(body)["error"]) == (
        404, "a report is about a recorded run; open one by 'chainrule play RUN'",
    )  # fmt: skip
