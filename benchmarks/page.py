"""The live page in headless Chromium: time to the first picture, frames and steps per second, the
response to a click, and whether memory stays flat.

    python benchmarks/page.py [MINUTES]

Runs at full speed for MINUTES (default 10) to check that neither the server nor the page grows.
Exits with 1 if a target is missed: the first picture within 1 s, 30 frames and 2,000 steps per
second on spirals, 15 frames per second on digits, a response within 100 ms, and at most a tenth
more memory than after the first tenth of the time.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

COUNT = """() => new Promise((done) => {
  const number = () => Number(document.getElementById("now-step").textContent.replaceAll(",", ""));
  const first = number(), began = performance.now();
  let frames = 0;
  // A frame is drawn when the page writes its step.
  new MutationObserver(() => { frames += 1; }).observe(document.getElementById("now-step"), { childList: true });
  setTimeout(() => {
    const seconds = (performance.now() - began) / 1000;
    done([frames / seconds, (number() - first) / seconds]);
  }, 4000);
})"""


def settings(page: Any, choose: dict[str, str]) -> None:
    """Select these options in the page's forms, by CSS selector."""
    for selector, value in choose.items():
        page.select_option(selector, value)
        page.wait_for_timeout(600)


def long(page: Any) -> None:
    """Plan so many epochs that a run does not stop by itself."""
    page.fill("#set-epochs", "100000")
    page.press("#set-epochs", "Enter")
    page.wait_for_timeout(600)


def speeds(page: Any) -> tuple[float, float]:
    """Frames and steps per second at full speed."""
    page.click("#run")
    page.wait_for_timeout(1500)
    frames, steps = page.evaluate(COUNT)
    page.click("#run")
    page.wait_for_timeout(300)
    return frames, steps


def click_times(page: Any) -> list[float]:
    """Milliseconds from a click on a weight to its explanation on the page."""
    taken = []
    for k in range(9):
        page.fill("#choose-index", f"{k % 2}, {k % 8}")
        taken.append(
            page.evaluate("""() => new Promise((done) => {
              const box = document.getElementById("explained"), began = performance.now();
              new MutationObserver((_, watch) => { watch.disconnect(); done(performance.now() - began); }).observe(
                box, { childList: true, subtree: true });
              document.querySelector("#choose button").click();
            })""")
        )
        page.wait_for_timeout(150)
    return taken[1:]


def resident(process: int) -> float:
    """The resident memory of a process in megabytes."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def flatness(page: Any, server: int, minutes: float) -> tuple[list[float], list[float]]:
    """Megabytes of the server and of the page's script at every tenth of this time, at full
    speed.
    """
    session = page.context.new_cdp_session(page)
    session.send("HeapProfiler.enable")
    page.click("#run")
    of_server, of_page = [], []
    for k in range(11):
        session.send("HeapProfiler.collectGarbage")
        of_server.append(resident(server))
        of_page.append(session.send("Runtime.getHeapUsage")["usedSize"] / 1e6)
        said = f"the server holds {of_server[-1]:.0f} MB, the page {of_page[-1]:.1f} MB"
        print(f"  after {k * minutes / 10:4.1f} minutes {said}", file=sys.stderr, flush=True)
        if k < 10:
            page.wait_for_timeout(minutes * 6000)
    page.click("#run")
    return of_server, of_page


def main() -> int:
    """Measure and print."""
    from playwright.sync_api import expect, sync_playwright

    minutes = float(sys.argv[1]) if len(sys.argv) > 1 else 10.0
    code = "from chainrule.cli import main; main()"
    command = [sys.executable, "-c", code, "play", "--no-browser"]
    passed = True
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server, sync_playwright() as driver:
        try:
            assert server.stdout is not None
            address = server.stdout.readline().strip()
            browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            first = []
            for _ in range(3):
                page = browser.new_page(viewport={"width": 1280, "height": 800})
                began = time.perf_counter()
                page.goto(address)
                expect(page.locator("#now-loss")).not_to_have_text("-")
                first.append(time.perf_counter() - began)
                page.close()
            page = browser.new_page(viewport={"width": 1280, "height": 800})
            page.goto(address)
            expect(page.locator("#now-loss")).not_to_have_text("-")
            for feature in ("x1^2", "x2^2"):
                page.get_by_label(feature, exact=True).check()
                page.wait_for_timeout(300)
            settings(page, {"#set-loss": "cross_entropy"})
            long(page)
            frames, steps = speeds(page)
            clicks = click_times(page)
            print(f"first picture            {max(first):6.2f} s      (target 1)")
            print(f"4-8-8-2 on spirals       {frames:6.0f} frames (target 30), {steps:,.0f} steps per second (2,000)")
            said = f"{statistics.median(clicks):6.0f} ms, at most {max(clicks):.0f}"
            print(f"a click on a weight      {said} (target 100)")
            passed &= max(first) <= 1 and frames >= 30 and steps >= 2000 and max(clicks) <= 100
            settings(page, {"#data-set": "builtin:digits"})
            while page.locator(".layer").count() > 2:
                page.get_by_label("Remove this layer (2)").click()
                page.wait_for_timeout(500)
            page.locator(".layer input").first.fill("64")
            page.locator(".layer input").first.press("Enter")
            page.wait_for_timeout(800)
            long(page)
            frames, steps = speeds(page)
            print(f"64-64-10 on digits       {frames:6.0f} frames (target 15), {steps:,.0f} steps per second")
            passed &= frames >= 15
            page.goto("about:blank")
            page.goto(address)
            expect(page.locator("#now-loss")).not_to_have_text("-")
            long(page)
            of_server, of_page = flatness(page, server.pid, minutes)
            print(f"{minutes:g} minutes at full speed: the server held {of_server[1]:.0f} to {of_server[-1]:.0f} MB,")
            print(f"the page {of_page[1]:.1f} to {of_page[-1]:.1f} MB")
            passed &= of_server[-1] <= 1.1 * of_server[1] and of_page[-1] <= 1.1 * of_page[1] + 1
            browser.close()
        finally:
            server.terminate()
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
