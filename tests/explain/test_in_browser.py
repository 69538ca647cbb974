"""The page of an explanation in a browser: on a wide screen, on a phone, and printed."""

import numpy as np
import pytest

from chainrule.explain import explain, worked_example
from chainrule.explain.page import page
from chainrule.network import Network

LEVELS = range(1, 7)


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The worked example, and a weight of a larger network with Adam, clipping and a schedule."""
    folder, random = tmp_path_factory.mktemp("pages"), np.random.default_rng(0)
    network = Network("30 relu, batchnorm, residual(30 tanh), 10", 8)
    x, y = random.normal(size=(32, 8)), random.integers(0, 10, 32)
    optimizer = "adam 0.01 schedule=cosine clip=1"
    large = explain(network, network.draw(), x, y, "cross_entropy", optimizer, "dense_1.W[2, 3]")
    explanations = {"small": worked_example(), "large": large}
    for name, explanation in explanations.items():
        (folder / f"{name}.html").write_text(page(explanation))
    return {name: (folder / f"{name}.html", explanation) for name, explanation in explanations.items()}


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("name", ["small", "large"])
def test_levels_open_and_close_by_click(pages, open_page, name, width):
    browser_page = open_page(pages[name][0], width)
    for k in LEVELS:
        level = browser_page.locator(f"#level-{k}")
        content = level.locator("> :not(summary)").first
        was_open = k <= 2
        assert content.is_visible() is was_open
        level.locator("> summary").click()
        assert content.is_visible() is not was_open
        level.locator("> summary").click()
        assert content.is_visible() is was_open


def test_a_link_of_the_chain_closes_the_links_inside_it(pages, open_page):
    browser_page = open_page(pages["small"][0], 1280)
    browser_page.locator("#level-3 > summary").click()
    loss = browser_page.locator("#level-3 .leaf").first
    assert loss.is_visible()
    browser_page.locator("#level-3 details > summary").first.click()
    assert not loss.is_visible()


@pytest.mark.parametrize("width", [1280, 830, 390])
@pytest.mark.parametrize("name", ["small", "large"])
def test_nothing_overflows_the_screen(pages, open_page, name, width):
    browser_page = open_page(pages[name][0], width)
    for k in LEVELS[2:]:
        browser_page.locator(f"#level-{k} > summary").click()
    assert browser_page.evaluate("document.documentElement.scrollWidth") <= width
    shown = [svg.bounding_box() for svg in browser_page.locator("svg").all() if svg.is_visible()]
    assert len(shown) == 1  # the one that fits
    assert 0.9 * width < shown[0]["width"] < width < 3 * shown[0]["height"]


def test_numbers_are_shown_and_formulas_typeset(pages, open_page):
    path, e = pages["small"]
    browser_page = open_page(path, 1280)
    browser_page.locator("#level-5 > summary").click()
    browser_page.locator("#level-6 > summary").click()
    assert "0.1497807" in browser_page.locator("#level-1").inner_text()
    assert f"{e.gradient:.12g}" in browser_page.locator("#level-6").inner_text()
    fractions = browser_page.locator("#level-5 mfrac")
    assert fractions.count() > 5
    # A typeset fraction is taller than a line of text.
    assert fractions.first.bounding_box()["height"] > 20


def test_closed_levels_open_for_printing_and_close_again(pages, open_page):
    browser_page = open_page(pages["small"][0], 1280)
    count = "window.closed = document.querySelectorAll('details:not([open])').length"
    browser_page.evaluate(f"() => addEventListener('beforeprint', () => {{ {count}; }})")
    content = browser_page.pdf(format="A4", landscape=True)
    assert content.startswith(b"%PDF")
    assert browser_page.evaluate("window.closed") == 0
    assert [browser_page.locator(f"#level-{k}").get_attribute("open") is not None for k in LEVELS] == [True] * 2 + [
        False
    ] * 4
