"""The parts of the live page, and how to get to each: for screenshots, and for tests that measure
what is on them.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from playwright.sync_api import Page, expect


def linked(state: dict[str, Any]) -> str:
    """The fragment of the address that opens the page in this state."""
    return base64.urlsafe_b64encode(json.dumps(state).encode()).decode().rstrip("=")


OPENING = ""
"""The fragment of the address that opens the page as everyone first sees it: 2-3-1."""
CONVOLUTIONS = "conv 8 3x3 relu, max_pool 2, conv 12 3x3 relu padding=same, flatten"
"""The network of the recorded run on pictures."""
USUAL = "e30"
"""That of the settings' defaults, 8-8 on spirals."""
READER = linked({
    "settings": {
        "data": {"kind": "builtin", "name": "digits"},
        "layers": [{"units": 32, "activation": "relu", "weights": "", "dropout": 0}],
        "optimizer": "adam", "learning_rate": 0.003, "batch_size": 32,
    },
    "step": 300,
})  # fmt: skip
"""That of a network that has learned to read digits."""


def _sequences(name: str, network: str) -> str:
    """The fragment of sequences that the page generates."""
    data = {"kind": "sequence", "name": name}
    settings = {"data": data, "network": network, "optimizer": "adam", "learning_rate": 0.01, "batch_size": 16}
    return linked({"settings": settings, "step": 60})


ADDITION = _sequences("addition", "lstm 3")
"""That of numbers of which two are marked, after 60 steps."""
RHYME = _sequences("house", "embedding 27 24, transformer 2 heads=2 causal=true")
"""That of a rhyme, after 60 steps."""


@dataclass(frozen=True)
class Part:
    """A part of the page.

    Attributes:
        words: what it shows, for the caption
        go: brings an opened page there, or the page of the part that it comes `after`
        fragment: of the address to open
        at: a selector of what to scroll to
        of: the page of a recorded "run", of one on "pictures", a "saved" page, or neither
        on_phones: whether phones have it, too
        after: the name of the part whose page it goes on from; if empty, the page is opened anew
    """

    words: str
    go: Callable[[Page], None]
    fragment: str = OPENING
    at: str = ""
    of: str = ""
    on_phones: bool = True
    after: str = ""


def settled(page: Page) -> None:
    """Wait until the page has drawn the result of every command it sent."""
    page.wait_for_function("() => document.body.dataset.answered === document.body.dataset.asked")


def press(page: Page, *phases: str) -> None:
    """Press phases of the loop."""
    for phase in phases:
        page.click(f"#phase-{phase}")
        settled(page)


def choose(page: Page, selector: str, value: str) -> None:
    """Choose an option of the settings, which fold away."""
    page.evaluate("() => { document.getElementById('settings').open = true; }")
    page.select_option(selector, value)
    settled(page)


def learn(page: Page, steps: int) -> None:
    """Train for at least this many steps."""
    reached = "(step) => Number(document.getElementById('now-step').textContent.replaceAll(',', '')) >= step"
    page.click("#run")
    page.wait_for_function(reached, arg=steps)
    page.locator("#run").evaluate("(button) => button.textContent === 'Pause' && button.click()")
    settled(page)


def select(page: Page, name: str, *, tab: str = "") -> None:
    """Select a weight or unit on the stage, and open a tab of the inspector."""
    kind = "weight" if "." in name else "unit"
    page.locator(f'#stage [data-{kind}="{name}"]').first.dispatch_event("click")
    page.wait_for_function("(name) => document.getElementById('explained').dataset.of === name", arg=name)
    if tab:
        page.click(f"#tab-{tab}")
    settled(page)


STEP = ("forward", "loss", "backward", "backward", "update")
"""One step of a network with two layers of weights."""


def _minute(clicks: int) -> Callable[[Page], None]:
    def go(page: Page) -> None:
        page.click("#first-minute")
        for _ in range(clicks - 1):
            page.click("#next")
            settled(page)
        page.wait_for_function("() => !document.querySelector('#stage-picture .later')")

    return go


def _inspected(name: str, tab: str = "") -> Callable[[Page], None]:
    def go(page: Page) -> None:
        for _ in range(3):
            page.click("#step")
            settled(page)
        press(page, *STEP)
        select(page, name, tab=tab)

    return go


def _tab(name: str) -> Callable[[Page], None]:
    def go(page: Page) -> None:
        page.click(f"#tab-{name}")
        settled(page)

    return go


def _life(page: Page) -> None:
    page.click("#tab-history")
    page.wait_for_selector("#life table")
    settled(page)


def _why(page: Page) -> None:
    page.click("#epoch")
    settled(page)
    page.click("#why-ask")
    page.wait_for_selector("#why details")


def _taught(page: Page) -> None:
    page.click("#epoch")
    page.click("#taught-open:enabled")
    page.wait_for_selector("#taught details")


def _plane(page: Page) -> None:
    learn(page, 300)
    page.click("#lens-plane")
    settled(page)


def _digits(page: Page) -> None:
    choose(page, "#data-set", "builtin:digits")
    choose(page, "#set-optimizer", "adam")
    learn(page, 200)


def _unit_of_many(page: Page) -> None:
    _digits(page)
    press(page, "forward", "loss", "backward")


def _weights(page: Page) -> None:
    page.click("#lens-weights")
    settled(page)


def _learned(page: Page) -> None:
    page.click("#pin")
    choose(page, "#set-optimizer", "sgd")
    learn(page, 300)
    page.evaluate("() => { document.getElementById('settings').open = false; }")


def _settings(page: Page) -> None:
    page.evaluate("() => { document.getElementById('settings').open = true; }")


def _numbers(page: Page) -> None:
    choose(page, "#data-set", "builtin:diabetes")
    page.evaluate("() => { document.getElementById('settings').open = false; }")
    press(page, "forward", "loss", "backward", "backward", "backward", "update")


def _surface(page: Page) -> None:
    page.click("#surface-toggle")
    page.wait_for_function("() => document.getElementById('surface-words').textContent.includes('%')")
    page.wait_for_function("() => document.getElementById('surface-space').childElementCount > 0")


def _optimizers(page: Page) -> None:
    page.click("#optimizers-toggle")
    page.locator(".optimizers").wait_for()
    settled(page)


def _race(page: Page) -> None:
    page.fill("#race-target", "90")
    page.click("#race-start")
    page.wait_for_function("() => document.getElementById('race-end')?.textContent.includes('wins')")
    settled(page)


def _lesson(number: int) -> Callable[[Page], None]:
    def go(page: Page) -> None:
        page.select_option("#lesson", str(number))
        settled(page)
        page.locator("#lesson-box .answer").first.click()
        settled(page)

    return go


def _tried(page: Page) -> None:
    _lesson(12)(page)
    for attempt in range(2):
        page.click(f"[data-try='{attempt}']")
        page.wait_for_function(
            "(attempt) => document.querySelector(`[data-try='${attempt}'] small`).textContent.includes('first')",
            arg=attempt,
        )
        settled(page)


def _file(page: Page) -> None:
    """Drop a table onto the page, which previews it."""
    rows = [
        f"{40 + 3 * (k % 17)},{k % 5},{'north' if k % 3 else 'south'},note {k},{90 + 7 * (k % 17)}" for k in range(80)
    ]
    content = "living_area_in_square_metres,rooms,side_of_the_river,remark,price\n" + "\n".join(rows)
    page.evaluate("() => { document.getElementById('settings').open = true; }")
    page.set_input_files("#file", {"name": "houses.csv", "mimeType": "text/csv", "buffer": content.encode()})
    page.locator("#preview tbody th").first.wait_for()


def _table(page: Page) -> None:
    page.click("#train-on-file")
    page.wait_for_function("() => document.getElementById('data-words')?.textContent.includes('price')")
    settled(page)
    page.evaluate("() => { document.getElementById('settings').open = false; }")
    press(page, "forward", "loss", "backward", "backward", "backward")


def _points(page: Page) -> None:
    choose(page, "#data-set", "drawn:")


def _kernel(page: Page) -> None:
    """The lesson about a kernel, with one of its weights selected."""
    _lesson(15)(page)
    press(page, "forward", "loss", "backward", "backward")
    select(page, "conv_1.W[0, 2, 0, 0]")


def _convolution(page: Page) -> None:
    """The same network without the lesson, after a step, with a position selected."""
    page.click("#end-lesson")
    settled(page)
    press(page, *STEP)
    select(page, "conv_1[1, 2, 0]")


def _drawing(page: Page) -> None:
    """A seven, drawn with the mouse, for a network that has learned to read."""
    page.locator("#pad").scroll_into_view_if_needed()
    box = page.locator("#pad").bounding_box()
    assert box is not None
    for k, (x, y) in enumerate(((0.25, 0.15), (0.75, 0.15), (0.42, 0.88))):
        page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=8)
        if not k:
            page.mouse.down()
    page.mouse.up()
    settled(page)
    page.select_option("#pad-label", "7")
    settled(page)


def _take(page: Page) -> None:
    page.click("#take")
    page.click("#take-chainrule")
    page.wait_for_function("() => document.querySelector('#take-dialog pre')?.textContent.includes('chainrule')")


def _projector(page: Page) -> None:
    press(page, *STEP)
    page.click("#projector")


def _recorded(page: Page) -> None:
    page.locator("#slider").fill("40")
    settled(page)
    select(page, "dense_1.W[0, 1]", tab="history")
    page.wait_for_function("() => document.getElementById('history-words')?.textContent.includes('all')")


def _place(page: Page, name: str) -> dict[str, float]:
    """Where a position of a map is on the stage; `?` is any channel."""
    names = [name.replace("?", str(k)) for k in range(64)]
    find = "async (names) => { const m = await import('./maps.js'); return names.map(m.placeOnMaps).find(Boolean); }"
    found: dict[str, float] = page.evaluate(find, names)
    return found


def _mapped(page: Page) -> None:
    page.click("#lens-maps")
    for _ in range(40):
        page.click("#step")
    press(page, "forward")
    page.locator("#maps").click(position=_place(page, "max_pool_1[1, 1, ?]"))
    page.locator("#explained h3").first.wait_for()
    settled(page)


def _pushed(page: Page) -> None:
    press(page, "loss", "backward", "backward", "backward", "backward")
    page.fill("#choose-index", "1, 1, 0, 3")
    page.press("#choose-index", "Enter")
    page.locator("#scheme .pushes").wait_for()
    settled(page)


def _point(page: Page, canvas: str, *keys: str) -> None:
    """Walk over a canvas with the keyboard, and open what is reached."""
    page.locator(canvas).focus()
    for key in (*keys, "Enter"):
        page.keyboard.press(key)
    page.wait_for_function("() => document.getElementById('explained').dataset.of")
    page.locator(canvas).blur()
    settled(page)


def _tried_once(page: Page, steps: int) -> None:
    """Click what a lesson has to try, and wait until it has taken its steps."""
    page.click("[data-try='0']")
    expect(page.locator("#now-step")).to_have_text(str(steps))
    expect(page.locator("#run")).to_have_text("Run")
    settled(page)


def _attention(page: Page) -> None:
    """The lesson about attention, at its end."""
    _lesson(17)(page)
    _tried_once(page, 150)
    press(page, "forward")
    _point(page, "#attention", "ArrowDown", *["ArrowLeft"] * 4)


def _attended(page: Page) -> None:
    """A transformer that reads a rhyme, with the derivatives of its attention weights."""
    press(page, "forward", "loss", *["backward"] * 24)
    page.select_option("#edges", "gradients")
    settled(page)


def _time(page: Page) -> None:
    """The lesson about time, with its weight selected."""
    _lesson(16)(page)
    press(page, "forward", "loss", "backward", "backward")
    _point(page, "#unrolled", *["ArrowDown"] * 3)


def _over_time(page: Page) -> None:
    """An LSTM and sequences of different lengths, with a gate selected."""
    press(page, "forward", "loss", *["backward"] * 2)
    _point(page, "#unrolled", *["ArrowDown"] * 3)


def _open(page: Page) -> None:
    """Nothing to do."""


PARTS = {
    "opened": Part("The page as it opens", _open),
    "first-minute": Part("The first minute, at its end", _minute(8)),
    "picture": Part("A weight in the inspector", _inspected("dense_1.W[0, 1]")),
    "history": Part("The life of a weight", _life, after="picture"),
    "why": Part("Why this prediction", _why),
    "taught": Part("Who taught a row", _taught),
    "level": Part("The chain rule of a weight, a level of `explain`", _tab("level-4"), after="history"),
    "optimizers": Part("The same gradient through several optimizers", _optimizers, at="#optimizers", after="level"),
    "unit": Part("A unit in the inspector", lambda page: select(page, "dense_1[1]"), after="optimizers"),
    "sample-8-8": Part("One sample in a network of two hidden layers", lambda page: press(page, "forward"), USUAL),
    "plane": Part("Whole plane: what each unit gives for every point", _plane, after="sample-8-8"),
    "unit-of-many": Part("A large network, seen from one of its units", _unit_of_many, USUAL),
    "weights": Part("Weights of the first layer on digits", _weights, after="unit-of-many"),
    "numbers": Part("A table: one row on its way through the network", _numbers, USUAL),
    "results": Part(
        "Output, curves, gradient sizes and draws, beside a pinned run", _learned, at=".results", after="plane"
    ),
    "settings": Part("All settings", _settings, USUAL, "#settings"),
    "preview": Part("A file that was dropped, before training", _file, after="settings"),
    "table": Part("A table of one's own", _table, after="preview"),
    "points": Part("Points of one's own", _points, USUAL, "#settings"),
    "surface": Part("The loss surface with the path so far", _surface, at="#surface-panel", after="results"),
    "race": Part("A race, at its end", _race, at="#race", after="surface"),
    "lesson": Part("A lesson", _lesson(4)),
    "tries": Part("A lesson with something to try", _tried),
    "kernel": Part("The lesson about a kernel", _kernel),
    "convolution": Part("One sample in a small convolution, after a step", _convolution, after="kernel"),
    "time": Part("The lesson about a gradient through time", _time),
    "over-time": Part("Over time: the gates and states of an LSTM, and what comes back", _over_time, ADDITION),
    "attention-lesson": Part("The lesson about attention, at its end", _attention),
    "attention": Part("Attention: what a position takes from which, and its derivatives", _attended, RHYME),
    "drawing": Part("A digit drawn by hand, predicted and explained", _drawing, READER, "#batch"),
    "take-away": Part("What to take away", _take),
    "projector": Part("For a lecture", _projector, on_phones=False),
    "recorded": Part("A recorded run, with a weight through all its steps", _recorded, of="run"),
    "maps": Part("Feature maps: what a pooled number reads, and which input won", _mapped, of="pictures"),
    "pushes": Part("A kernel's weight: where the sample pushed it up, and where down", _pushed, after="maps"),
    "kernels": Part("Kernels as pictures", _weights, after="pushes"),
    "saved": Part("A file to hand out", _inspected("dense_1.W[0, 1]"), of="saved"),
}
"""The parts by name."""


def chains() -> list[list[str]]:
    """The names of the parts, each list to be gone through on one page."""
    found: list[list[str]] = []
    for name, part in PARTS.items():
        if part.after:
            next(chain for chain in found if chain[-1] == part.after).append(name)
        else:
            found.append([name])
    return found


def go(page: Page, address: str, part: Part) -> None:
    """Go to a part.

    Args:
        page: a window; at the part that this one comes after, if there is such a part
        address: of the page that the part is `of`
        part: the part
    """
    if not part.after:
        page.goto("about:blank")  # or only the fragment would change
        page.goto(f"{address.split('#')[0]}#{part.fragment}")
        page.wait_for_function("() => document.getElementById('now-loss').textContent !== '-'")
        settled(page)
    part.go(page)
    page.mouse.move(0, 0)
    show(page, part)


def show(page: Page, part: Part) -> None:
    """Scroll to where the part is."""
    page.evaluate("(at) => { scrollTo(0, 0); if (at) document.querySelector(at).scrollIntoView(); }", part.at)
