"""Takes the documentation's screenshots of the live page, at two widths, light and dark.

python docs/pictures/play.py
"""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import expect, sync_playwright

HERE = Path(__file__).parent.absolute()
CODE = "from chainrule.cli import main; main()"


def main() -> None:
    """Go through the first minute on each page, and take a screenshot of its last click."""
    command = [sys.executable, "-c", CODE, "play", "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server, sync_playwright() as driver:
        try:
            assert server.stdout is not None
            address = server.stdout.readline().strip()
            browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            for width, height in ((1280, 800), (390, 800)):
                for scheme in ("light", "dark"):
                    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
                    page.goto(address)
                    expect(page.locator("#now-loss")).not_to_have_text("-")
                    page.click("#first-minute")
                    for _ in range(7):
                        page.click("#next")
                        page.wait_for_timeout(1200)  # deltas appear layer by layer
                    expect(page.locator("#explained .scheme svg")).to_be_visible()
                    page.evaluate("() => { document.activeElement.blur(); scrollTo(0, 0); }")
                    page.wait_for_timeout(400)
                    screenshot = Image.open(io.BytesIO(page.screenshot(full_page=width < 720)))
                    screenshot = screenshot.convert("RGB").crop((0, 0, width, min(screenshot.height, 1700)))
                    screenshot.quantize(128).save(HERE / f"play-{width}-{scheme}.png", optimize=True)
                    page.close()
            browser.close()
        finally:
            server.terminate()


if __name__ == "__main__":
    main()
