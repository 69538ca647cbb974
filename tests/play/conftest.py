"""A server of the live page in a process of its own, and the page as a person opens it."""

import subprocess
import sys
from contextlib import contextmanager

import pytest
from playwright.sync_api import expect

from waiting import WAIT, settled

CODE = "from chainrule.cli import main; main()"


@contextmanager
def serving(*arguments, without=""):
    """The address of a server with these arguments, on which a package may be missing; it ends with the block."""
    missing = f"import sys; sys.modules[{without!r}] = None; " if without else ""
    command = [sys.executable, "-c", missing + CODE, "play", "--no-browser", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()
            process.wait()


@pytest.fixture(scope="session")
def serve():
    """Starts a server with these arguments, as a context."""
    return serving


@pytest.fixture(scope="session")
def address():
    """The address of a server without data of its own."""
    with serving() as found:
        assert found.startswith("http://127.0.0.1:")
        yield found


@pytest.fixture
def visit(chromium):
    """Opens an address, in a window of a size; fails if a script fails or anything is asked of another server."""
    troubles, contexts = [], []

    def visited(address, width=1280, height=800, **also):
        context = chromium.new_context(viewport={"width": width, "height": height}, accept_downloads=True, **also)
        contexts.append(context)
        context.set_default_timeout(1000 * WAIT)
        page = context.new_page()
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("console", lambda message: troubles.append(message.text) if is_trouble(message) else None)
        page.on("request", lambda request: troubles.append(request.url) if foreign(request.url, address) else None)
        page.goto(address)
        expect(page.locator("#now-loss")).not_to_have_text("-")
        settled(page)
        return page

    yield visited
    for context in contexts:
        context.close()
    assert not troubles


def is_trouble(message):
    """Whether the browser complains; of an answer that refuses something it does so by itself."""
    return message.type == "error" and "the server responded with a status of 400" not in message.text


def foreign(url, address):
    """Whether a request goes anywhere but to the server."""
    return not url.startswith((address.split("#")[0], "data:", "blob:"))
