"""The scheme measured in a browser: nothing overlaps or is cut off at any width, in light and dark."""

import pytest

from chainrule.explain import svg, worked_example
from chainrule.explain.scheme import draw
from pictured import MEASURED, inside, of, overlap

NETWORKS = {
    "example": worked_example,
    "deep": lambda: of("2 tanh, 2 tanh, 2 tanh, 2 tanh, 1"),
    "wide": lambda: of("30 tanh, 30 tanh, 5", loss="cross_entropy"),
    "branches": lambda: of("3 prelu, residual(3 gelu), branches(2 | 2), 1"),
    "samples": lambda: of("9 relu, batchnorm, residual(9 tanh), 4", "dense_1.b[2]", optimizer="momentum 0.1 clip=1"),
}


@pytest.fixture(scope="module")
def explained():
    return {name: make() for name, make in NETWORKS.items()}


@pytest.mark.parametrize(
    ("width", "font"), [(1280, "Helvetica"), (830, "Helvetica"), (390, "Helvetica"), (390, "DejaVu Sans")]
)
def test_nothing_overlaps_or_is_cut_off(explained, open_page, tmp_path, width, font):
    pictures = "".join(draw(e, width).replace("Helvetica, Arial", font) for e in explained.values())
    (tmp_path / "all.html").write_text(f'<!doctype html><meta charset="utf-8"><body style="margin:0">{pictures}')
    page = open_page(tmp_path / "all.html", width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for name, measured in zip(explained, page.evaluate(MEASURED), strict=True):
        texts = measured["texts"]
        assert len(texts) > 40, name
        assert len(measured["cards"]) > len(measured["labels"]) / 2 > 1, name
        for k, text in enumerate(texts):
            assert inside(text["box"], measured["box"]), (name, text)
            for other in texts[:k]:
                assert not overlap(text["box"], other["box"]), (name, text, other)
        for card in measured["cards"]:
            assert all(inside(text["box"], card["outline"]) for text in card["texts"]), (name, card)
        solid = [card["outline"] for card in measured["cards"]]
        for k, box in enumerate(solid + [label["box"] for label in measured["labels"]]):
            assert not any(overlap(box, other) for other in solid[:k] if other != box), (name, box)
        for number in measured["numbers"]:
            own = {text["words"] for text in number["texts"]}
            assert all(inside(t["box"], number["outline"]) for t in number["texts"] if len(t["words"]) > 1), (name, own)


@pytest.mark.parametrize("width", [1280, 390])
def test_every_box_and_every_arrow_has_its_symbol_in_the_formula(explained, open_page, tmp_path, width):
    (tmp_path / "example.svg").write_text(draw(explained["example"], width))
    (measured,) = open_page(tmp_path / "example.svg", width).evaluate(MEASURED)
    factors = {factor["symbol"] for factor in measured["factors"]}
    assert {label["symbol"] for label in measured["labels"]} == factors - {"\u2202L/\u2202w"}
    symbols = {symbol.removeprefix("\u2202") for factor in factors for symbol in factor.split("/")}
    assert {card["symbol"] for card in measured["cards"]} == symbols


def test_it_is_as_dark_as_the_reader_wants(explained, open_page, tmp_path):
    (tmp_path / "example.svg").write_text(draw(explained["example"]))
    page = open_page(tmp_path / "example.svg", 1280)
    fills = "() => ['.f-paper', '.f-ink'].map(name => getComputedStyle(document.querySelector(name)).fill)"
    for scheme, expected in (("light", 0), ("dark", 1)):
        page.emulate_media(color_scheme=scheme)
        colours = [svg.PALETTE[name][expected].lstrip("#") for name in ("paper", "ink")]
        rgb = [f"rgb({', '.join(str(int(c[k : k + 2], 16)) for k in (0, 2, 4))})" for c in colours]
        assert page.evaluate(fills) == rgb


def luminance(colour):
    parts = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize(
    ("text", "grounds"),
    [("ink", ["paper", "card", "ground"]), ("soft", ["paper", "card"]), ("plus", ["paper", "card", "back"]),
     ("minus", ["paper", "card"]), ("descent", ["paper", "ground"])],
)  # fmt: skip
def test_text_has_enough_contrast(text, grounds, dark):
    for ground in grounds:
        low, high = sorted(luminance(svg.PALETTE[name][dark]) for name in (text, ground))
        assert (high + 0.05) / (low + 0.05) >= 4.5, (text, ground)
