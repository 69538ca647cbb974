"""A server of the live page in a separate process, and the page in a browser."""

import os
import subprocess
import sys
import tempfile
from contextlib import contextmanager

import pytest

from chainrule.cli import run
from waiting import WAIT, settled, until

CODE = "from chainrule.cli import main; main()"
SAVED = (0, 1, 2, 3, 350)
"""The steps of the saved page."""


@contextmanager
def serving(*arguments, without="", patience=None, slow=None, errors=None):
    """The address of a server with these arguments, which ends with the block.

    `without` is the name of a package that it can't import, `patience` how many seconds it waits for
    a request, `slow` how many each command takes; what it prints on stderr is added to the list
    `errors`.
    """
    before = f"import sys; sys.modules[{without!r}] = None; " if without else ""
    before += f"from chainrule.play import connections; connections.PATIENCE = {patience}; " if patience else ""
    if slow:
        before += "import threading; from chainrule.play.session import Session; "
        before += f"Session.obey = lambda session, message: threading.Event().wait({slow}); "
    command = [sys.executable, "-c", before + CODE, "play", "--no-browser", *arguments]
    with (
        tempfile.TemporaryFile("w+") as said,  # no pipe: the server would wait once it is full
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said, text=True) as process,
    ):
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()
            try:
                process.wait(WAIT)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
            if errors is not None:
                said.seek(0)
                errors.append(said.read())


@pytest.fixture(scope="session")
def serve():
    """The context manager that starts a server."""
    return serving


@pytest.fixture(scope="session")
def address():
    """The address of a server without data."""
    with serving() as url:
        assert url.startswith("http://127.0.0.1:")
        yield url


@pytest.fixture(scope="session")
def saved(tmp_path_factory):
    """The path of a page that the command saved, with fewer steps than by default."""
    shared = (
        tmp_path_factory.getbasetemp().parent if "PYTEST_XDIST_WORKER" in os.environ else tmp_path_factory.getbasetemp()
    )
    path, begun = shared / "first-step.html", shared / "first-step.begun"
    try:
        begun.touch(exist_ok=False)  # by the first of the workers
    except FileExistsError:
        until(path.exists, patience=10)
        return path
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("chainrule.play.saving.STEPS", SAVED)
        assert run(["play", "--save", str(path)]) == 0
    return path


@pytest.fixture(scope="session")
def windows(chromium):
    """A browser context for windows of a size and kind, which tests share: a new one takes long."""
    contexts = {}

    def window(**options):
        key = str(sorted(options.items()))
        if key not in contexts:
            contexts[key] = chromium.new_context(accept_downloads=True, **options)
            contexts[key].set_default_timeout(1000 * WAIT)
        return contexts[key].new_page()

    return window


@pytest.fixture
def visit(windows):
    """Opens an address in a window; fails if a script fails, or if another server is contacted."""
    problems, pages = [], []

    def open_address(address, width=1280, height=800, **options):
        page = windows(viewport={"width": width, "height": height}, **options)
        pages.append(page)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda message: problems.append(message.text) if is_error(message) else None)
        page.on("request", lambda request: problems.append(request.url) if foreign(request.url, address) else None)
        page.goto(with_defaults(address))
        page.wait_for_function("() => document.getElementById('now-loss').textContent !== '-'")
        settled(page)
        page.evaluate("() => document.getElementById('settings').open = true")
        return page

    yield open_address
    for page in pages:
        page.close()
    assert not problems


def with_defaults(address):
    """The address of the page with its default settings, rather than those that it opens with."""
    return address if "#" in address else f"{address}#e30"


def is_error(message):
    """Whether the browser reports an error, other than for a request that the server refused."""
    return message.type == "error" and "the server responded with a status of 400" not in message.text


def foreign(url, address):
    """Whether a request goes to anything but the server."""
    return not url.startswith((address.split("#")[0], "data:", "blob:"))
