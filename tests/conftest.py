"""Shared by all tests: JAX in float64 as an oracle, Hypothesis without deadlines, a browser."""

import os
import shutil

import pytest
from hypothesis import settings

from waiting import WAIT

os.environ["JAX_ENABLE_X64"] = "1"  # read when a test imports JAX
if "PYTEST_XDIST_WORKER" in os.environ:  # workers enough for all cores
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# What JAX computes here takes milliseconds; what takes long is to compile it.
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true --xla_cpu_multi_thread_eigen=false"
    " intra_op_parallelism_threads=1",
)
settings.register_profile("chainrule", deadline=None, max_examples=25, derandomize=True)
settings.load_profile("chainrule")

BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
"""The programs to try, in this order. The shell has no windows, tabs and menus to draw, and so
takes a quarter of the processor time that Chromium takes for a page.
"""


def pytest_xdist_auto_num_workers(config):
    """With `-n auto`, more workers than cores: a test of a page often waits for the browser."""
    return (os.cpu_count() or 1) * 3 // 2


# Without these, Chromium contacts Google's servers.
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]


@pytest.fixture(scope="session")
def chromium():
    """Headless Chromium, driven by Playwright. Without it, page tests are skipped; in CI they
    fail.
    """
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        if os.environ.get("CI"):
            pytest.fail("CI needs Chromium: apt-get install chromium")
        pytest.skip("page tests need Chromium: apt-get install chromium")
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=1000 * WAIT)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=QUIET, timeout=1000 * WAIT)
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium):
    """Opens a file in a window; fails if a script fails, or if the page uses the network."""
    problems, contexts = [], []

    def open_file(path, width):
        context = chromium.new_context(viewport={"width": width, "height": 900})
        contexts.append(context)
        context.set_default_timeout(1000 * WAIT)
        page = context.new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda request: problems.append(request.url) if request.url.startswith("http") else None)
        page.goto(path.absolute().as_uri())
        return page

    yield open_file
    for context in contexts:
        context.close()
    assert not problems
