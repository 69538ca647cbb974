"""Draws the animation of one step of learning, light and dark, from a page with a recording.

One weight is highlighted throughout, and the line under the network spells out the arithmetic that
leads to its derivative and to its next value.

python docs/pictures/step.py
"""

from __future__ import annotations

import io
import shutil
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright

from chainrule.play.saving import saved_page

HERE = Path(__file__).parent.absolute()
WEIGHT, UNIT, OUTPUT = "dense_1.W[1, 2]", "dense_1[2]", "dense_2[0]"
"""The weight, the unit that it leads to, and the output."""
WIDTH, SCALE = 830, 1.5
"""The picture's width in CSS pixels, as wide as a README, and pixels per CSS pixel."""
FLOW = 6
"""Pictures of a signal on its way along the lines between two layers."""
STYLE = f"""
header, #batch, #inspector, #first, main, .wide, #message, #phase-data, #phase-weights {{ display: none !important; }}
#loop > .arrow:nth-of-type(-n + 1), #loop > .arrow:nth-child(-n + 4) {{ display: none; }}
body, .instrument {{ padding: 0; margin: 0; background: var(--panel); }}
.instrument {{ grid-template-columns: minmax(0, 1fr) !important; padding: 0 .8rem .6rem !important; }}
#loop > * {{ min-width: 0; }}
#stage {{ position: relative; border: 0; padding: 0; }}
#line {{ height: 7rem; }}
#slice-picture {{ position: absolute; right: 0; bottom: 0; width: 35%; }}
#stage svg {{ overflow: visible; }}
[data-weight="{WEIGHT}"] > rect {{ stroke: var(--lit-line); stroke-width: 2.4; fill: var(--lit); }}
[data-edge="{WEIGHT}"] path:not(.touch) {{ stroke: var(--lit-line); stroke-width: 3; }}
"""
ABOUTS = "() => [...document.querySelectorAll('#loop small')].map((small) => small.textContent)"


def main() -> None:
    """Draw both pictures."""
    program = next(filter(None, map(shutil.which, ("chromium-headless-shell", "chromium"))))
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        file = Path(folder, "step.html")
        file.write_text(saved_page(steps=(0, 1)))
        browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        for scheme in ("light", "dark"):
            page = browser.new_page(
                viewport={"width": WIDTH, "height": 800}, color_scheme=scheme, device_scale_factor=SCALE
            )
            page.goto(file.as_uri())
            expect(page.locator("#stage-picture svg")).to_be_visible()
            frames = step(page)
            images = [Image.open(io.BytesIO(content)).convert("RGB") for content, _ in frames]
            durations = [duration for _, duration in frames]
            target = HERE / f"step-{scheme}.webp"
            images[0].save(target, save_all=True, append_images=images[1:], duration=durations, loop=0,
                           lossless=True, quality=80, method=6)  # fmt: skip
            print(target.name, images[0].size, len(images), f"{target.stat().st_size / 1e3:.0f} kB")
            page.close()
        browser.close()


def step(page: Page) -> list[tuple[bytes, int]]:
    """The pictures of a step, each with the milliseconds that it stays."""
    page.add_style_tag(content=STYLE)
    page.evaluate("() => document.getElementById('stage').append(document.getElementById('slice-picture'))")
    abouts = page.evaluate(ABOUTS)
    frames: list[tuple[bytes, int]] = []

    def show(selected: str, duration: int, hidden: str = "", slice_too: bool = False) -> None:
        """Select a unit or weight, hide a layer's numbers, and take a picture."""
        kind = "weight" if "." in selected else "unit"
        page.click(f'#stage [data-{kind}="{selected}"] > rect')
        expect(page.locator("#explained")).to_have_attribute("data-of", selected)
        numbers = f'[data-unit^="{hidden}"] :is(text:not(.name), circle)'
        _style(page, "hidden", f"{numbers} {{ visibility: hidden; }}" if hidden else "")
        _style(page, "slice", "" if slice_too else "#slice-picture { visibility: hidden; }")
        page.evaluate(
            "(abouts) => [...document.querySelectorAll('#loop small')].forEach((s, k) => (s.textContent = abouts[k]))",
            abouts,
        )
        page.mouse.move(0, 0)
        page.evaluate("() => document.activeElement.blur()")
        frames.append((_picture(page), duration))

    def flow(layer: str, forward: bool) -> None:
        """A signal along the lines that lead to a layer: to the right in the forward pass, else to the left."""
        for k in range(FLOW):
            offset = (-1 if forward else 1) * k * 16 / FLOW
            colour = "lit-line" if forward else "plus"
            _style(
                page,
                "flow",
                f"""[data-edge^="{layer}"] path:not(.touch) {{
                stroke-dasharray: 6 10 !important; stroke-dashoffset: {offset:.2f}; stroke: var(--{colour}) !important;
                stroke-width: 4px; }}""",
            )
            frames.append((_picture(page), 90))
        _style(page, "flow", "")

    def press(phase: str) -> None:
        page.click(f"#phase-{phase}")
        page.wait_for_function("() => document.body.dataset.answered === document.body.dataset.asked")

    show(WEIGHT, 1600)
    press("forward")
    show(UNIT, 0, hidden="dense")
    frames.pop()
    flow("dense_1", forward=True)
    show(UNIT, 2200, hidden="dense_2")
    flow("dense_2", forward=True)
    show(OUTPUT, 1800)
    press("loss")
    show(OUTPUT, 2000)
    press("backward")
    show(OUTPUT, 2200)
    flow("dense_2", forward=False)
    press("backward")
    show(UNIT, 2800)
    show(WEIGHT, 3600, slice_too=True)
    press("update")
    show(WEIGHT, 4200, slice_too=True)
    return frames


def _style(page: Page, name: str, css: str) -> None:
    """Set the page's style sheet of this name."""
    page.evaluate(
        """([name, css]) => {
            const sheet = document.getElementById(`style-${name}`) ?? document.head.appendChild(
                Object.assign(document.createElement("style"), { id: `style-${name}` }));
            sheet.textContent = css;
        }""",
        [name, css],
    )


def _picture(page: Page) -> bytes:
    """The loop, the stage and the line."""
    bottom = page.locator("#line").bounding_box()
    assert bottom is not None
    return page.screenshot(clip={"x": 0, "y": 0, "width": WIDTH, "height": bottom["y"] + bottom["height"] + 8})


if __name__ == "__main__":
    main()
