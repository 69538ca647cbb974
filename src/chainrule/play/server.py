"""The page's server: reachable from this machine only by default, and it trusts no request.

All paths begin with a random token, without which every request is refused. So is a request with
another Host (DNS rebinding) or from another Origin (cross-site requests). The page may run no
scripts but the server's own files.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import importlib.util
import json
import re
import secrets
import socket as sockets
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp, Message, Receive, Scope
from starlette.types import Send as AsgiSend
from starlette.websockets import WebSocket, WebSocketDisconnect

from chainrule.data import Dataset
from chainrule.data.formats import is_table
from chainrule.errors import ChainruleError
from chainrule.play.samples import named
from chainrule.play.session import Session
from chainrule.play.upload import Choice, Upload
from chainrule.runs import Run

PAGE = Path(__file__).parent / "page"
MOST_SESSIONS = 8
"""The maximum number of open pages."""
MOST_UPLOAD = 20_000_000
"""The maximum size of an uploaded file in bytes."""
MOST_UPLOADS = 4
"""The number of uploaded files that are kept."""
MOST_MESSAGE = 500_000
"""The maximum size of a message from the page in characters."""
MOST_BEHIND = 400
"""The maximum number of messages that wait for a slow page. A frame is sent only after the previous
one was drawn, so these are answers; a page that doesn't read them is disconnected.
"""
IDLE = 30 * 60
"""Seconds without a command after which a page is disconnected."""
CONTENT_TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:;"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
Report = Callable[[], str]
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Guard:
    """ASGI middleware that refuses requests without the token, or with another Host or Origin, and
    gives every answer the headers that confine it.

    Args:
        app: the application that it protects
        token: the first part of every path
        hosts: the values of Host that are accepted, such as "127.0.0.1:8000"
    """

    def __init__(self, app: ASGIApp, token: str, hosts: frozenset[str]) -> None:
        self._app, self._token, self._hosts = app, token, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: AsgiSend) -> None:
        """Pass a legitimate request on to the application; refuse any other."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        problem = self._problem(scope)

        async def confined(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
            await send(message)

        if problem is None:
            await self._app(scope, receive, confined)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": problem})
        else:
            await PlainTextResponse(problem, 403, {"Connection": "close"})(scope, receive, confined)

    def _problem(self, scope: Scope) -> str | None:
        """Why a request is refused; None if it is legitimate."""
        headers: dict[str, str] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name.decode("latin-1").lower(), value.decode("latin-1"))
        if headers.get("host", "") not in self._hosts:
            return "this server answers only at its own address"
        origin = headers.get("origin")
        required = scope["type"] == "websocket"  # browsers always send it there
        if (origin is not None or required) and origin not in {f"http://{host}" for host in self._hosts}:
            return "this server answers only its own page"
        token = scope["path"].partition("/")[2].partition("/")[0]
        if not secrets.compare_digest(token.encode(), self._token.encode()):
            return "the address lacks its token; open the one that 'chainrule play' printed"
        return None


class Play:
    """The server's endpoints and its state.

    Attributes:
        dataset: the data set that was opened with the command, if any
        run: the recorded run that was opened with the command, if any
        report: makes the report on that run, as HTML
        sessions: the sessions of the open pages
        uploads: the uploaded files by their random names
    """

    def __init__(self, dataset: Dataset | None, run: Run | None, report: Report | None) -> None:
        self.dataset, self.run, self.report = dataset, run, report
        self._reporting = threading.Lock()
        self.sessions: set[Session] = set()
        self.uploads: dict[str, Upload] = {}

    async def config(self, request: Request) -> Response:
        """The choices that the page offers."""
        return _json(choices(self.dataset, self.run))

    async def file(self, request: Request) -> Response:
        """One of the page's own files."""
        name = request.path_params.get("name") or "index.html"
        if name == "plotly.js" and has_plotly():
            return FileResponse(plotly_script(), media_type="text/javascript")
        path = PAGE / name
        if name not in page_files() or path.suffix not in CONTENT_TYPES:
            return PlainTextResponse("no such file", 404)
        return FileResponse(path, media_type=CONTENT_TYPES[path.suffix])

    async def upload(self, request: Request) -> Response:
        """Read a file of a table as `chainrule train` does; answer with its preview."""
        kind = request.query_params.get("kind", "")
        if not re.fullmatch(r"[a-z]{1,8}(\.(gz|zst))?", kind) or not is_table(Path(f"dropped.{kind}")):
            return _refused("drop a CSV, TSV, Parquet, Arrow or Excel file")
        length = request.headers.get("content-length", "")
        too_large = f"the file is larger than {MOST_UPLOAD // 1_000_000} MB"
        if length.isdigit() and int(length) > MOST_UPLOAD:
            return _refused(too_large, 413)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, f"dropped.{kind}")
            size = 0
            try:
                with path.open("wb") as file:
                    async for chunk in request.stream():
                        size += len(chunk)
                        if size > MOST_UPLOAD:
                            return _refused(too_large, 413)
                        file.write(chunk)
            except ClientDisconnect:
                return _refused("the upload was aborted")
            name = request.query_params.get("name", "")[:80] or path.name
            try:
                upload = await run_in_threadpool(Upload.read, path, name)
            except ChainruleError as error:
                return _refused(str(error).replace(str(path), "the file"))
        while len(self.uploads) >= MOST_UPLOADS:
            del self.uploads[next(iter(self.uploads))]
        key = secrets.token_urlsafe(12).replace(".", "_")
        self.uploads[key] = upload
        return await self._previewed(key, Choice(len(upload.targets) - 1))

    async def preview(self, request: Request) -> Response:
        """The preview of an uploaded file, for the choice that its name gives."""
        key, _, choice = request.query_params.get("upload", "").partition(".")
        if key not in self.uploads:
            return _refused("the file is no longer on the server; drop it onto the page again", 404)
        return await self._previewed(key, Choice.from_words(choice))

    async def _previewed(self, key: str, choice: Choice) -> Response:
        """The preview of an upload; its "upload" is its name without a choice."""
        try:
            found = await run_in_threadpool(self.uploads[key].preview, choice)
        except ChainruleError as error:
            return _refused(str(error))
        return _json({"upload": key, **found})

    async def _opened(self, upload: str) -> Dataset | None:
        """The data of an upload such as "name.2": with its third column as the target."""
        key, _, choice = upload.partition(".")
        if key not in self.uploads:
            return self.dataset
        with contextlib.suppress(ChainruleError):
            return await run_in_threadpool(self.uploads[key].dataset, Choice.from_words(choice))
        return None

    async def write_report(self, request: Request) -> Response:
        """The report on the recorded run; only one is made at a time."""
        if self.report is None:
            return _refused("a report is about a recorded run; open one by 'chainrule play RUN'", 404)
        if not self._reporting.acquire(blocking=False):
            return _refused("a report is being made already; wait for it", 409)
        try:
            content = await run_in_threadpool(self.report)
        except ChainruleError as error:
            return _refused(str(error))
        finally:
            self._reporting.release()
        return Response(content, headers={"Content-Disposition": "attachment; filename=report.html"})

    async def socket(self, socket: WebSocket) -> None:
        """A page's connection: commands in, frames out."""
        await socket.accept()
        if len(self.sessions) >= MOST_SESSIONS:
            await socket.close(1013, f"{MOST_SESSIONS} pages are open already; close one")
            return
        dataset = await self._opened(socket.query_params.get("upload", ""))
        loop, waiting = asyncio.get_running_loop(), asyncio.Queue[bytes](MOST_BEHIND)

        def put(message: bytes) -> None:
            try:
                waiting.put_nowait(message)
            except asyncio.QueueFull:
                sender.cancel()

        def send(message: bytes) -> None:
            with contextlib.suppress(RuntimeError):  # the event loop is closed
                loop.call_soon_threadsafe(put, message)

        async def deliver() -> None:
            while True:
                await socket.send_bytes(await waiting.get())

        sender = asyncio.create_task(deliver())
        session = Session(send, dataset, self.run)
        self.sessions.add(session)
        try:
            await self._listen(socket, session, sender)
        finally:
            self.sessions.discard(session)
            sender.cancel()
            await run_in_threadpool(session.close)
            with contextlib.suppress(RuntimeError, WebSocketDisconnect):
                await socket.close()

    async def _listen(self, socket: WebSocket, session: Session, sender: asyncio.Task[None]) -> None:
        """Queue commands until the page is closed, sends nonsense, or is idle for too long."""
        while not sender.done():
            try:
                text = await asyncio.wait_for(socket.receive_text(), 60)
            except TimeoutError:
                if time.monotonic() - session.used_at > IDLE:
                    await socket.close(1001, "the page was idle for too long; reload it")
                    return
                continue
            except (WebSocketDisconnect, KeyError, RuntimeError):
                return
            try:
                message = json.loads(text) if len(text) <= MOST_MESSAGE else None
            except (ValueError, RecursionError):
                message = None
            if not isinstance(message, dict):
                await socket.close(1007, "a message must be a JSON object of at most half a megabyte")
                return
            if not session.command(message):
                await socket.close(1008, "too many commands at once")
                return


def _json(content: dict[str, Any], status: int = 200) -> Response:
    return Response(json.dumps(content), status, media_type="application/json")


def _unavailable(_request: Request, error: Exception) -> Response:
    """The answer where the operating system refused, such as on a full disk."""
    reason = getattr(error, "strerror", None) or str(error)
    return _refused(f"the server can't do this now: {reason.lower()}", 507)


def _failed(_request: Request, _error: Exception) -> Response:
    """The answer where chainrule itself failed; the terminal has the details."""
    return PlainTextResponse("chainrule itself failed; see the terminal for details", 500, HEADERS)


def _refused(message: str, status: int = 400) -> Response:
    return _json({"error": message}, status)


def page_files() -> set[str]:
    """The names of the page's own files."""
    return {path.relative_to(PAGE).as_posix() for path in PAGE.rglob("*") if path.is_file()}


def has_plotly() -> bool:
    """Whether plotly, which draws the loss surface, is installed (the extra `charts`)."""
    return importlib.util.find_spec("plotly") is not None


def plotly_script() -> Path:
    """The copy of plotly.js in the plotly package."""
    import plotly

    return Path(plotly.__file__).parent / "package_data" / "plotly.min.js"


def choices(dataset: Dataset | None, run: Run | None) -> dict[str, Any]:
    """The choices that the page offers, and its default settings."""
    from chainrule import distributions, losses
    from chainrule.data import plane as planes
    from chainrule.descent import optimizers, schedules
    from chainrule.layers import KINDS as LAYERS
    from chainrule.play.compare import CHOICES, USUAL
    from chainrule.play.frames import EXTENT
    from chainrule.play.settings import FEATURES, FIRST, Settings, options_of
    from chainrule.play.toys import TOYS

    return {
        "planes": {name: (draw.__doc__ or "").splitlines()[0] for name, draw in planes.NAMED.items()},
        "builtin": named(),
        "sequences": {name: {"about": toy.about, "settings": toy.settings} for name, toy in TOYS.items()},
        "features": list(FEATURES),
        "extent": EXTENT,
        "activations": sorted(kind.__name__.lower() for kind in LAYERS if kind.elementwise),
        "distributions": [name for name in distributions.NAMED if name != "constant"],
        "losses": {name: list(loss.tasks) for name, loss in losses.NAMED.items()},  # type: ignore[attr-defined]
        "optimizers": {name: options_of(name) for name in optimizers.NAMED if name != "gradient_descent"},
        "schedules": list(schedules.NAMED),
        "compared": {"usual": list(USUAL), "others": [name for name in CHOICES if name not in USUAL]},
        "defaults": Settings().as_json(),
        "first": FIRST.as_json(),
        "lessons": json.loads((PAGE / "lessons.json").read_text("utf-8")),
        "surface": has_plotly(),
        "given": None if dataset is None else {"name": dataset.name, "target": dataset.target.name},
        "run": None if run is None else {"name": str(run.folder), "steps": run.manifest["steps"]},
    }


def warm_up() -> None:
    """Load and run everything that a page needs once, so that the first page opens quickly."""
    from chainrule.explain.page import levels
    from chainrule.explain.scheme import draw
    from chainrule.play import frames
    from chainrule.play.settings import Settings
    from chainrule.play.trainer import Trainer

    trainer = Trainer(Settings())
    frames.pack(*frames.description(trainer))
    trainer.advance(2)
    frames.pack(*frames.frame(trainer, {}, full=True))
    explanation = trainer.explain("dense_1.W[0, 0]")
    draw(explanation)
    levels(explanation)


def application(
    token: str, hosts: frozenset[str], dataset: Dataset | None = None, run: Run | None = None,
    report: Report | None = None,
) -> Starlette:  # fmt: skip
    """The server as an ASGI application.

    Args:
        token: the first part of every path
        hosts: the values of Host that are accepted
        dataset: the data set that the page opens with, if any
        run: the recorded run that the page opens with, if any
        report: makes the report on that run, as HTML
    """
    play = Play(dataset, run, report)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        for session in list(play.sessions):
            session.close()

    app = Starlette(
        routes=[
            Route("/{token}/", play.file),
            Route("/{token}/config.json", play.config),
            Route("/{token}/upload", play.upload, methods=["POST"]),
            Route("/{token}/preview", play.preview),
            Route("/{token}/report", play.write_report, methods=["POST"]),
            WebSocketRoute("/{token}/socket", play.socket),
            Route("/{token}/{name:path}", play.file),
        ],
        lifespan=lifespan,
        exception_handlers={Exception: _failed, OSError: _unavailable},
    )
    app.state.play = play
    app.add_middleware(Guard, token=token, hosts=hosts)
    return app


def serve(
    host: str, port: int, dataset: Dataset | None, run: Run | None, ready: Callable[[str], None],
    report: Report | None = None,
) -> None:  # fmt: skip
    """Serve the page until interrupted.

    Args:
        host: the address to listen on
        port: the port; 0 for any free one
        dataset: the data set that the page opens with, if any
        run: the recorded run that the page opens with, if any
        ready: called with the page's URL as soon as the server accepts connections
        report: makes the report on that run, as HTML

    Raises:
        ChainruleError: if the port is not available
    """
    import uvicorn

    from chainrule.play.connections import Connection

    # With its protocol named, asyncio sends small messages at once instead of waiting for more
    # (TCP_NODELAY).
    family = sockets.AF_INET6 if ":" in host else sockets.AF_INET
    listener = sockets.socket(family, sockets.SOCK_STREAM, sockets.IPPROTO_TCP)
    listener.setsockopt(sockets.SOL_SOCKET, sockets.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        other = "--port" if error.errno in (errno.EADDRINUSE, errno.EACCES) else "--host"
        problem = f"can't serve the page on {host}, port {port} ({error.strerror}); choose another {other}"
        raise ChainruleError(problem) from None
    port = listener.getsockname()[1]
    warm_up()
    token = secrets.token_urlsafe(24)
    names = {"127.0.0.1", "localhost", host} if host != "0.0.0.0" else {"127.0.0.1", "localhost", *_own_addresses()}
    hosts = frozenset(f"{name}:{port}" for name in names)
    shown = "127.0.0.1" if host == "0.0.0.0" else host

    class Server(uvicorn.Server):
        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            ready(f"http://{shown}:{port}/{token}/")

    config = uvicorn.Config(
        application(token, hosts, dataset, run, report), log_level="error", ws_max_size=MOST_MESSAGE + 1000,
        http=Connection, ws="websockets-sansio", limit_concurrency=64, timeout_graceful_shutdown=2, access_log=False,
        server_header=False,
    )  # fmt: skip
    Server(config).run([listener])


def _own_addresses() -> set[str]:
    """This machine's own names and addresses, as far as they can be looked up."""
    with contextlib.suppress(OSError):
        name = sockets.gethostname()
        return {name, *(str(info[4][0]) for info in sockets.getaddrinfo(name, None, sockets.AF_INET))}
    return set()
