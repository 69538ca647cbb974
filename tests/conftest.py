"""What all tests share: JAX in float64 as an independent oracle, hypothesis without a clock, and a browser."""

import os
import shutil

import pytest
from hypothesis import settings

from waiting import WAIT

os.environ["JAX_ENABLE_X64"] = "1"  # JAX reads these when it is imported, which only the tests that need it do
if "PYTEST_XDIST_WORKER" in os.environ:  # there is a worker for each core
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")
settings.register_profile("chainrule", deadline=None, max_examples=25, derandomize=True)
settings.load_profile("chainrule")

# Chromium would otherwise look for its maker's servers.
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]


@pytest.fixture(scope="session")
def chromium():
    """A headless Chromium, driven by Playwright; where there is none, tests of pages are skipped, but never in CI."""
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        if os.environ.get("CI"):
            pytest.fail("CI needs Chromium: apt-get install chromium")
        pytest.skip("no Chromium on this machine: the pages are not tested (apt-get install chromium)")
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=1000 * WAIT)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=QUIET, timeout=1000 * WAIT)
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium):
    """Opens a file at a width; fails if the page asks for anything else, or if a script of its fails."""
    troubles, contexts = [], []

    def opened(path, width):
        context = chromium.new_context(viewport={"width": width, "height": 900})
        contexts.append(context)
        context.set_default_timeout(1000 * WAIT)
        page = context.new_page()
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("request", lambda request: troubles.append(request.url) if request.url.startswith("http") else None)
        page.goto(path.absolute().as_uri())
        return page

    yield opened
    for context in contexts:
        context.close()
    assert not troubles
