"""The scheme and the page: well-formed, complete, and with the numbers of the explanation."""

import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from chainrule.explain import explain, worked_example
from chainrule.explain.page import page
from chainrule.explain.picture import MOST, picture_of
from chainrule.explain.scheme import draw
from chainrule.network import Network

RANDOM = np.random.default_rng(0)
SVG = "{http://www.w3.org/2000/svg}"


def of(text, weight="dense_1.W[0, 0]", width=3):
    network = Network(text, width, dtype="float64")
    x = RANDOM.normal(size=(4, width))
    y = RANDOM.normal(size=(4, *network.output_shape))
    return explain(network, network.draw(), x, y, "mse", "adam", weight)


def texts(svg):
    return [element.text for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def test_the_example_shows_every_unit_every_local_derivative_and_the_step():
    labels = texts(draw(worked_example()))
    for part in (
        *("dense_1[0]", "sigmoid_1[0]", "dense_2[0]", "dense_2[1]", "sigmoid_2[0]", "sigmoid_2[1]", "loss L"),
        *("\u2202z/\u2202w = 0.05", "f\u2032(z) = 0.2413", "w = 0.4", "w = 0.5"),
        *("f\u2032(z) = 0.1868", "f\u2032(z) = 0.1755"),
        *("\u2202L/\u2202a = 0.7414", "\u2202L/\u2202a = \u22120.2171", "dL/dw = 0.0004386"),
        "= 0.05 \u00d7 0.008771",  # multiply along a path
        "= 0.4 \u00d7 0.1385 + 0.5 \u00d7 (\u22120.0381)",  # add where paths meet
        *("weight before", "0.15", "weight after", "0.149780716"),
    ):
        assert part in labels, part


def test_colours_differ_in_dashes_too():
    lines = list(ElementTree.fromstring(draw(worked_example())).iter(f"{SVG}line"))
    kinds = {(line.get("stroke"), line.get("stroke-dasharray")) for line in lines}
    assert len({colour for colour, _ in kinds}) == len({dash for _, dash in kinds}) == 2


def test_a_large_layer_shows_its_strongest_units_and_the_sum_of_the_rest():
    e = of("30 tanh, 30 tanh, 2")
    picture = picture_of(e.trace, e.chain.unit, e.chain.local_derivative)
    total = e.chain.delta * e.chain.local_derivative
    wide = next(column for column in picture.columns if column.layer == "dense_2")
    assert (len(wide.units), wide.others) == (MOST, 30 - MOST)
    shown = sum(a.flow for a in picture.arrows if a.target in wide.units)
    assert shown + wide.rest == pytest.approx(total, rel=1e-9)


def test_the_flows_of_a_small_network_add_up():
    e = of("3 tanh, residual(3 sigmoid), branches(2 | 1 tanh), 2")
    picture = picture_of(e.trace, e.chain.unit, e.chain.local_derivative)
    assert sum(flow for _, flow in picture.ends) == pytest.approx(e.chain.delta * e.chain.local_derivative, rel=1e-9)


@pytest.mark.parametrize(
    "text", ["2 relu, 1", "3 tanh, batchnorm, layernorm, 2", "3 prelu, residual(3 gelu), branches(2 | 2), 1"]
)
@pytest.mark.parametrize("weight", ["dense_1.W[1, 1]", "dense_1.b[0]"])
def test_every_picture_is_well_formed_and_every_page_self_contained(text, weight):
    e = of(text, weight)
    assert texts(draw(e))
    html = page(e)
    assert [int(k) for k in re.findall(r'<details id="level-(\d)"', html)] == [1, 2, 3, 4, 5, 6]
    assert html.count("<math") == len(e.rules) + len(e.stages)
    assert not re.search(r'(src|href)="(?!data:)|url\((?!#)|@import', html)
    assert "nan" not in html
    assert len(html) < 1_000_000


def test_names_are_escaped():
    e = worked_example()
    e.as_json()  # compute everything before the name changes
    e.weight = "<script>alert(1)</script>"
    assert "<script>alert" not in page(e)
    assert "<script>alert" not in draw(e)


def test_the_notebook_representation_has_the_scheme():
    assert "<svg" in worked_example()._repr_html_()


def test_a_deep_network_continues_in_the_next_row():
    e = of("2 tanh, 2 tanh, 2 tanh, 2 tanh, 2 tanh, 2 tanh, 1")
    svg = draw(e)
    assert float(ElementTree.fromstring(svg).get("width")) < 1700
    assert "(the same as above)" in texts(svg)
    picture = picture_of(e.trace, e.chain.unit, e.chain.local_derivative)
    units = {str(unit) for column in picture.columns for unit in column.units}
    assert units <= set(texts(svg))
    derivatives = sum(1 for text in texts(svg) if re.match("w = |f\u2032", text or ""))
    assert derivatives == len(picture.arrows) + 1  # the weight's box starts with w = too


@pytest.mark.parametrize("text", ["4 tanh, 4 tanh, 4 tanh, 3", "9 relu, 9 relu, 9 relu, 5", "3, residual(3 tanh), 2"])
def test_labels_do_not_overlap(text):
    svg = draw(of(text))
    boxes = []
    for box in ElementTree.fromstring(svg).iter(f"{SVG}rect"):
        if box.get("fill") == "white" and box.get("height") == "16":
            x, y, wide = (float(box.get(key)) for key in ("x", "y", "width"))
            boxes.append((x, y, x + wide, y + 16))
    assert len(boxes) > 5
    for k, (x, y, right, bottom) in enumerate(boxes):
        for other in boxes[:k]:
            apart = other[0] >= right or other[2] <= x or other[1] >= bottom - 1 or other[3] <= y + 1
            assert apart, (boxes[k], other)
