"""Takes the documentation's screenshots of every part of the live page, at two widths, light and
dark.

python docs/pictures/play.py
"""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

import chainrule
from chainrule.runs import Recorder
from parts import CONVOLUTIONS, PARTS, chains, go

HERE = Path(__file__).parent.absolute()
COMMAND = [sys.executable, "-c", "from chainrule.cli import main; main()", "play"]


@contextmanager
def serving(*arguments: str) -> Iterator[str]:
    """The address of a page's server, which ends with the block."""
    with subprocess.Popen([*COMMAND, "--no-browser", *arguments], stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            yield server.stdout.readline().strip()
        finally:
            server.terminate()


def main() -> None:
    """Go to each part in each kind of window, and take a screenshot."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        chainrule.train("3 tanh", "moons", epochs=10, callbacks=[Recorder(folder / "moons-1")])
        chainrule.train(CONVOLUTIONS, "digits", epochs=2, callbacks=[Recorder(folder / "digits-1")])
        subprocess.run([*COMMAND, "--save", str(folder / "step.html")], check=True)
        addresses = {
            "": stack.enter_context(serving()),
            "run": stack.enter_context(serving(str(folder / "moons-1"))),
            "pictures": stack.enter_context(serving(str(folder / "digits-1"))),
            "saved": (folder / "step.html").as_uri(),
        }
        browser = stack.enter_context(sync_playwright()).chromium.launch(
            executable_path=shutil.which("chromium-headless-shell") or shutil.which("chromium"), args=["--no-sandbox"]
        )
        for width in (1280, 390):
            for scheme in ("light", "dark"):
                page = browser.new_page(
                    viewport={"width": width, "height": 800}, color_scheme=scheme, reduced_motion="reduce"
                )
                for name in (name for chain in chains() for name in chain):
                    part = PARTS[name]
                    if width == 390 and not part.on_phones:
                        continue
                    go(page, addresses[part.of], part)
                    page.evaluate("() => document.activeElement.blur()")
                    page.wait_for_timeout(400)
                    screenshot = Image.open(io.BytesIO(page.screenshot()))
                    path = HERE / "play" / f"{name}-{width}-{scheme}.webp"
                    screenshot.convert("RGB").save(path, quality=50, method=6)
                page.close()
        browser.close()


if __name__ == "__main__":
    main()
