"""The page's server: on this machine only unless asked otherwise, and it trusts no request.

Everything lies below a path that begins with a random token. Whoever doesn't know it gets nothing; neither does a
request whose Host is not ours (DNS rebinding) or whose Origin is another page (cross-site requests). The page may run
no script but the server's own files.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import secrets
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope
from starlette.types import Send as AsgiSend
from starlette.websockets import WebSocket, WebSocketDisconnect

from chainrule.data import Dataset, load
from chainrule.errors import ChainruleError
from chainrule.play.samples import TEST, VALIDATION, named
from chainrule.play.session import Session
from chainrule.runs import Run

PAGE = Path(__file__).parent / "page"
MOST_SESSIONS = 8
MOST_UPLOAD = 20_000_000
"""Bytes of a file that is dropped onto the page."""
MOST_UPLOADS = 4
MOST_MESSAGE = 500_000
"""Bytes of a message from the page."""
MOST_BEHIND = 400
"""Messages that may wait for a slow page; frames never do, so these are answers. One that doesn't read them is left."""
IDLE = 30 * 60
"""Seconds after which a page that asks for nothing loses its session."""
KINDS = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:;"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Guard:
    """Lets a request in only with the token, our own Host, and no foreign Origin."""

    def __init__(self, app: ASGIApp, token: str, hosts: frozenset[str]) -> None:
        self._app, self._token, self._hosts = app, token, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: AsgiSend) -> None:
        """Answer a foreign request, hand on our own."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        problem = self._problem(scope)
        if problem is None:
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": problem})
        else:
            await PlainTextResponse(problem, 403, HEADERS)(scope, receive, send)

    def _problem(self, scope: Scope) -> str | None:
        headers: dict[str, str] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name.decode("latin-1").lower(), value.decode("latin-1"))
        if headers.get("host", "") not in self._hosts:
            return "this server answers under its own address only"
        origin = headers.get("origin")
        if origin is not None and origin not in {f"http://{host}" for host in self._hosts}:
            return "this server answers its own page only"
        if origin is None and scope["type"] == "websocket":
            return "this server answers its own page only"
        given = scope["path"].split("/", 2)[1] if scope["path"].count("/") >= 1 else ""
        if not secrets.compare_digest(given.encode(), self._token.encode()):
            return "the address lacks its token; open the one that 'chainrule play' printed"
        return None


class Play:
    """What the server keeps: its sessions, and the files that were dropped onto pages."""

    def __init__(self, given: Dataset | None, run: Run | None) -> None:
        self.given, self.run = given, run
        self.sessions: set[Session] = set()
        self.uploads: dict[str, Dataset] = {}

    async def config(self, request: Request) -> Response:
        """What the page can choose from."""
        return Response(json.dumps(choices(self.given, self.run)), media_type="application/json", headers=HEADERS)

    async def file(self, request: Request) -> Response:
        """One of the page's own files."""
        name = request.path_params.get("name") or "index.html"
        if name == "plotly.js" and has_plotly():
            return FileResponse(plotly_script(), media_type="text/javascript", headers=HEADERS)
        path = PAGE / name
        if name not in page_files() or path.suffix not in KINDS:
            return PlainTextResponse("there is no such file", 404, HEADERS)
        return FileResponse(path, media_type=KINDS[path.suffix], headers=HEADERS)

    async def upload(self, request: Request) -> Response:
        """A CSV or Parquet file, read as `chainrule train` reads it; answers with a name for it."""
        kind = request.query_params.get("kind", "")
        if kind not in ("csv", "tsv", "parquet"):
            return _refused("drop a CSV, TSV or Parquet file")
        said = request.headers.get("content-length", "")
        if said.isdigit() and int(said) > MOST_UPLOAD:
            return _refused(f"the file is larger than {MOST_UPLOAD // 1_000_000} MB", 413)
        with tempfile.TemporaryDirectory() as place:
            path = Path(place, f"dropped.{kind}")
            size = 0
            with path.open("wb") as file:
                async for chunk in request.stream():
                    size += len(chunk)
                    if size > MOST_UPLOAD:
                        return _refused(f"the file is larger than {MOST_UPLOAD // 1_000_000} MB", 413)
                    file.write(chunk)
            target = request.query_params.get("target") or None
            try:
                data = await run_in_threadpool(load, path, target=target, validation=VALIDATION, test=TEST)
            except ChainruleError as error:
                return _refused(str(error).replace(str(path), "the file"))
            except MemoryError:
                return _refused("there is not enough memory for this file")
        while len(self.uploads) >= MOST_UPLOADS:
            del self.uploads[next(iter(self.uploads))]
        name = secrets.token_urlsafe(12)
        self.uploads[name] = data
        answer = {"upload": name, "rows": len(data.training.x), "target": data.target.name, "task": data.task}
        return Response(json.dumps(answer), media_type="application/json", headers=HEADERS)

    async def socket(self, socket: WebSocket) -> None:
        """A page's connection: commands in, frames out."""
        if len(self.sessions) >= MOST_SESSIONS:
            await socket.accept()
            await socket.close(1013, f"there are {MOST_SESSIONS} pages open already; close one")
            return
        await socket.accept()
        given = self.uploads.get(socket.query_params.get("upload", ""), self.given)
        loop, waiting = asyncio.get_running_loop(), asyncio.Queue[bytes | None](MOST_BEHIND)

        def put(message: bytes | None) -> None:
            try:
                waiting.put_nowait(message)
            except asyncio.QueueFull:
                sender.cancel()

        def hand_over(message: bytes) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(put, message)

        async def deliver() -> None:
            while (message := await waiting.get()) is not None:
                await socket.send_bytes(message)

        sender = asyncio.create_task(deliver())
        session = Session(hand_over, given, self.run)
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
        """Take commands until the page leaves, sends what it shouldn't, or is idle for too long."""
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
                await socket.close(1007, "a message is a JSON object of no more than half a megabyte")
                return
            if not session.command(message):
                await socket.close(1008, "too many commands at once")
                return


def _refused(message: str, status: int = 400) -> Response:
    return Response(json.dumps({"error": message}), status, HEADERS, "application/json")


def page_files() -> set[str]:
    """The page's own files by name."""
    return {path.relative_to(PAGE).as_posix() for path in PAGE.rglob("*") if path.is_file()}


def has_plotly() -> bool:
    """Whether the extra `charts` is installed, without which the page draws no loss surface."""
    return importlib.util.find_spec("plotly") is not None


def plotly_script() -> Path:
    """plotly.js as plotly's own wheel carries it."""
    import plotly

    return Path(plotly.__file__).parent / "package_data" / "plotly.min.js"


def choices(given: Dataset | None, run: Run | None) -> dict[str, Any]:
    """What the page can choose from."""
    from chainrule import distributions, losses
    from chainrule.data import plane as planes
    from chainrule.descent import optimizers, schedules
    from chainrule.layers import KINDS as LAYERS
    from chainrule.play.settings import FEATURES, Settings, options_of

    return {
        "planes": {name: (f.__doc__ or "").splitlines()[0] for name, f in planes.NAMED.items()},
        "builtin": named(),
        "features": list(FEATURES),
        "activations": sorted(kind.__name__.lower() for kind in LAYERS if kind.elementwise),
        "distributions": [name for name in distributions.NAMED if name != "constant"],
        "losses": {name: list(loss.tasks) for name, loss in losses.NAMED.items()},  # type: ignore[attr-defined]
        "optimizers": {name: options_of(name) for name in optimizers.NAMED if name != "gradient_descent"},
        "schedules": list(schedules.NAMED),
        "defaults": Settings().as_json(),
        "surface": has_plotly(),
        "given": None if given is None else {"name": given.name, "target": given.target.name},
        "run": None if run is None else {"name": str(run.folder), "steps": run.manifest["steps"]},
    }


def warm_up() -> None:
    """Load and run once all that the first page will need, so that it is quick."""
    from chainrule.explain.page import levels
    from chainrule.explain.scheme import draw
    from chainrule.play import frames
    from chainrule.play.settings import Settings
    from chainrule.play.trainer import Trainer

    trainer = Trainer(Settings())
    frames.packed(*frames.built(trainer))
    trainer.advance(2)
    frames.packed(*frames.frame(trainer, {}, full=True))
    explanation = trainer.explain("dense_1.W[0, 0]")
    draw(explanation)
    levels(explanation)


def application(token: str, hosts: frozenset[str], given: Dataset | None = None, run: Run | None = None) -> Starlette:
    """The server as an ASGI application."""
    play = Play(given, run)

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
            WebSocketRoute("/{token}/socket", play.socket),
            Route("/{token}/{name:path}", play.file),
        ],
        lifespan=lifespan,
    )
    app.state.play = play
    app.add_middleware(Guard, token=token, hosts=hosts)
    return app


def serve(
    host: str,
    port: int,
    given: Dataset | None = None,
    run: Run | None = None,
    ready: Callable[[str], None] = lambda _: None,
) -> None:
    """Serve until interrupted; `ready` is told the address."""
    import socket as sockets

    import uvicorn

    listener = sockets.socket(sockets.AF_INET6 if ":" in host else sockets.AF_INET)
    listener.setsockopt(sockets.SOL_SOCKET, sockets.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise ChainruleError(
            f"the page can't be served on {host}, port {port} ({error.strerror}); choose another --port"
        ) from None
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
        application(token, hosts, given, run), log_level="error", ws_max_size=MOST_MESSAGE + 1000,
        ws="websockets-sansio",
        limit_concurrency=64, timeout_graceful_shutdown=2, access_log=False, server_header=False,
    )  # fmt: skip
    Server(config).run([listener])


def _own_addresses() -> set[str]:
    """This machine's own addresses, as far as they are known."""
    import socket as sockets

    with contextlib.suppress(OSError):
        name = sockets.gethostname()
        return {name, *(str(info[4][0]) for info in sockets.getaddrinfo(name, None, sockets.AF_INET))}
    return set()
