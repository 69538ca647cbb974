"""The table of the eleven ideas in docs/play.md: each is seen where it says, on the first screen."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from waiting import settled

PAGE = (Path(__file__).parents[2] / "docs/play.md").read_text("utf-8")
ROWS = dict(re.findall(r"^\| (\w[^|]*?) \| ([^|]*?) ?\| [a-zδ]", PAGE, re.MULTILINE))
"""What to click, by the idea."""
CLICKS = {
    "Show me one step": "#first-minute", "Next": "#next", "Forward": "#phase-forward", "Loss": "#phase-loss",
    "Backpropagation": "#phase-backward", "Gradient descent": "#phase-update",
    "a weight": "[data-weight='dense_2.W[0, 0]']",
}  # fmt: skip
FIRST, LAST = "#stage [data-unit^=dense_1]", "#stage [data-unit^=dense_2]"
SEEN = {
    "Input": {"#stage [data-unit^=input] [data-shows=value]": 2},
    "Weights from a distribution": {
        "#stage [data-weight] [data-shows=value]": 13, "#first": "random draws",
        "#line": "drawn from a probability distribution",
    },
    "Activation": {
        f"{FIRST} [data-shows=z]": 3, f"{FIRST} [data-shows=a]": 3, f"{FIRST} .plot circle": 3,
        f"{LAST} [data-shows=prediction]": 1,
    },
    "Loss": {f"{LAST} [data-shows={name}]": 1 for name in ("prediction", "target", "error", "loss")},
    "The optimizer makes the loss smaller": {"#batch-loss": r"0\.\d+, after its own step 0\.\d+"},
    "Why the negative derivative": {
        "#slice .tangent": 1, "#slice [data-shows=gradient]": 1, "#slice .step": 1, "#slice .landing": 1,
        "#slice-words": "against the slope",
    },
    "Backpropagation computes": {f"{LAST} [data-shows=delta]": 1, "#stage [data-shows=gradient]": 4},
    "Gradient descent uses": {"#stage [data-weight] [data-shows=next]": 13},
    "From last to first": {f"{FIRST} [data-shows=delta]": 3, f"{LAST} [data-shows=delta]": 1},
    "Learning rate": {"#line": r"w − η × ∂L/∂w = \S+ − 0\.500 × ", "#set-learning_rate": 1},
    "Adam and other optimizers": {"#line": r"w − u = \S+ − ", "#stage [data-weight] [data-shows=next]": 13},
}  # fmt: skip
"""What is in sight then: so many of these elements, or one with this text."""
IN_SIGHT = """([selector, wanted]) => {
    const seen = [...document.querySelectorAll(selector)].filter((element) => {
        const box = element.getBoundingClientRect();
        return box.width + box.height > 0 && box.left >= 0 && box.top >= 0
            && box.right <= innerWidth && box.bottom <= innerHeight;
    });
    const text = seen.map((element) => element.textContent).join(" ");
    return typeof wanted === "number" ? seen.length === wanted : new RegExp(wanted).test(text);
}"""


def click(page, what):
    """Click what the table says."""
    if what == "Optimizer: adam":
        page.select_option("#set-optimizer", "adam")
    else:
        page.locator(CLICKS[what]).first.click()
    settled(page)


@pytest.fixture
def opened(windows):
    page = windows(viewport={"width": 1280, "height": 800})
    yield page
    page.close()


def test_each_idea_is_seen_within_two_clicks(opened, address):
    page = opened
    assert list(ROWS) == list(SEEN)
    for path in sorted(set(ROWS.values())):
        clicks = re.findall(r"\*(.*?)\*", path)
        assert len(clicks) <= 2
        page.goto(address)
        expect(page.locator("#stage-picture svg")).to_be_visible()
        settled(page)
        for what in clicks:
            click(page, what)
        for idea in (idea for idea, where in ROWS.items() if where == path):
            for selector, wanted in SEEN[idea].items():
                page.wait_for_function(IN_SIGHT, arg=[selector, wanted])
        assert page.evaluate("scrollY") == 0
        if path == "*Gradient descent*":
            before, after = re.findall(r"\d\.\d+", page.inner_text("#batch-loss"))
            assert float(after) < float(before)
        if path == "*Backpropagation*":
            assert page.locator("#stage [data-unit^=dense_1] [data-shows=delta]").count() == 0  # not yet
            assert page.locator("#stage [data-shows=next]").count() == 0
