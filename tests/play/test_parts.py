"""Every part of the page, at the widths of a laptop and a phone, in light and dark: no text overlaps
another or is cut off, and all of it has enough contrast, on canvases and in pictures, too.
"""

import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

import chainrule
from chainrule.runs import Recorder
from parts import CONVOLUTIONS, PARTS, chains, go, show
from waiting import settled

MEASURED = (Path(__file__).parent / "measured.js").read_text()
NEAR = 40
"""Colours of pixels that differ by less, in each of red, green and blue, belong to the text."""
LEAST = 4.5
"""The least contrast between text and its background (WCAG 2, level AA)."""


@pytest.fixture(scope="module")
def recorded(tmp_path_factory, serve):
    folder = tmp_path_factory.mktemp("runs") / "moons-1"
    chainrule.train("3 tanh", "moons", epochs=10, callbacks=[Recorder(folder)])
    with serve(str(folder)) as url:
        yield url


@pytest.fixture(scope="module")
def pictures(tmp_path_factory, serve):
    folder = tmp_path_factory.mktemp("runs") / "digits-1"
    chainrule.train(CONVOLUTIONS, "digits", epochs=2, callbacks=[Recorder(folder)])
    with serve(str(folder)) as url:
        yield url


@pytest.fixture(scope="module")
def window(windows):
    """A window with the scripts that measure what is written."""
    page = windows(viewport={"width": 1280, "height": 800})
    page.add_init_script(MEASURED)
    yield page
    page.close()


def luminance(colours):
    """(...) the relative luminance of (..., 3) colours from 0 to 255 (WCAG 2)."""
    shares = np.asarray(colours) / 255
    linear = np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


def contrast(one, other):
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def rgba(colour):
    """A colour as the browser writes it, and its opacity."""
    if colour.startswith("#"):
        return np.array([int(colour[k : k + 2], 16) for k in (1, 3, 5)]), 1.0
    numbers = [float(number) for number in re.findall(r"[\d.]+", colour)]
    return np.array(numbers[:3]), (numbers[3] if len(numbers) > 3 else 1.0)


def background(pixels, ink):
    """The most frequent colour around a text, apart from its own; None if there is no other."""
    others = pixels[np.abs(pixels - ink).max(axis=1) > NEAR]
    if not len(others):
        return None
    kinds = others // 8 @ [1024, 32, 1]  # similar colours are one
    return others[kinds == np.bincount(kinds).argmax()].mean(axis=0)


def faint(screenshot, texts):
    """The texts with too little contrast."""
    pixels = np.asarray(Image.open(io.BytesIO(screenshot)).convert("RGB")).astype(int)
    found = []
    for text in texts:
        left, top, right, bottom = (round(edge) for edge in text["box"])
        around = pixels[max(0, top) : bottom + 1, max(0, left - 1) : right + 1].reshape(-1, 3)
        if top < 0 or bottom >= len(pixels) or not len(around):
            continue  # it is reached by scrolling
        ink, opacity = rgba(text["colour"])
        behind, opacity = background(around, ink), opacity * text["alpha"]
        if behind is None or contrast(ink * opacity + behind * (1 - opacity), behind) < LEAST:
            found.append(f"{text['within']}: {text['words']}, {text['colour']} on {behind}")
    return found


@pytest.mark.parametrize("chain", chains(), ids=", ".join)
def test_nothing_overlaps_is_cut_off_or_hard_to_read(chain, address, recorded, pictures, saved, window):
    addresses = {"": address, "run": recorded, "pictures": pictures, "saved": saved.as_uri()}
    for part in map(PARTS.get, chain):
        seen_in(window, 1280, "light")
        go(window, addresses[part.of], part)
        for width in (1280, 390) if part.on_phones else (1280,):
            for scheme in ("light", "dark"):
                seen_in(window, width, scheme)
                show(window, part)
                measured, where = window.evaluate("measured()"), f"{part.words}, {width} pixels wide, {scheme}"
                assert len(measured["texts"]) > 20
                assert measured["width"] <= width, where
                for problem in ("overlaps", "cut", "hidden"):
                    assert measured[problem] == [], f"{problem}: {where} {measured[problem]}"
                assert faint(window.screenshot(), measured["texts"]) == [], where


def seen_in(page, width, scheme):
    """Another window; the page draws for it in its next frame."""
    page.set_viewport_size({"width": width, "height": 800})
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    if page.url != "about:blank":
        expect(page.locator("html")).to_have_attribute("data-theme", scheme)
        settled(page)


def test_what_is_wrong_is_noticed(window):
    """The measure itself: texts that overlap, are cut off, or are faint are found."""
    window.goto("about:blank")
    window.set_content("""<style>
        body { background: #fff; color: #000; font: 16px sans-serif; }
        body > * { position: absolute; left: 20px; margin: 0; }
      </style>
      <p style="top: 20px">one text</p>
      <p style="top: 22px; left: 40px">another</p>
      <p style="top: 90px; width: 60px; overflow: hidden; white-space: nowrap">a text that is cut off</p>
      <p style="top: 140px; color: #999">faint</p>
      <canvas style="top: 200px" id="c" width="200" height="40"></canvas>
      <select style="top: 260px; width: 50px"><option>hidden by its control</option></select>""")
    window.evaluate("""() => {
      const pen = document.getElementById("c").getContext("2d");
      pen.fillStyle = "#bbbbbb";
      pen.fillText("written and wiped out", 10, 20);
      pen.clearRect(0, 0, 200, 40);
      pen.fillText("on a canvas, out of it", 150, 20);
    }""")
    measured = window.evaluate("measured()")
    assert [one for one in measured["overlaps"] if "another" in one and "one text" in one]
    assert any("cut off" in one for one in measured["cut"])
    assert any("on a canvas" in one for one in measured["cut"])
    assert not any("wiped" in one["words"] for one in measured["texts"])
    assert [one.split(": ")[1] for one in measured["hidden"]] == ["hidden by its control"]
    found = " ".join(faint(window.screenshot(full_page=True), measured["texts"]))
    assert "faint" in found
    assert "on a canvas" in found
    assert "one text" not in found


def test_the_documentation_shows_every_part():
    docs = Path(__file__).parents[2] / "docs"
    shown = set(re.findall(r"\((pictures/play/[^)#]+)", (docs / "play-pictures.md").read_text()))
    widths = {name: (1280, 390) if part.on_phones else (1280,) for name, part in PARTS.items()}
    assert shown == {
        f"pictures/play/{name}-{width}-{scheme}.webp"
        for name in PARTS
        for width in widths[name]
        for scheme in ("light", "dark")
    }
    for path in shown:
        with Image.open(docs / path) as picture:
            assert picture.width == int(path.split("-")[-2])
