"""The scheme and the page: well-formed, whole, and with the numbers of the explanation in them."""

import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from chainrule.explain import explain_network, worked_example
from chainrule.explain.page import page
from chainrule.explain.scheme import MOST, draw, graph
from chainrule.network import Network

RANDOM = np.random.default_rng(0)
SVG = "{http://www.w3.org/2000/svg}"


def of(text, weight="dense_1.W[0, 0]", width=3):
    network = Network(text, width, dtype="float64")
    x = RANDOM.normal(size=(4, width))
    y = RANDOM.normal(size=(4, *network.output_shape))
    return explain_network(network, network.draw(), x, y, "mse", "adam", weight)


def texts(svg):
    return [element.text for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def test_the_example_shows_every_unit_every_local_derivative_and_the_step():
    said = texts(draw(worked_example()))
    for part in (
        *("dense_1[0]", "sigmoid_1[0]", "dense_2[0]", "dense_2[1]", "sigmoid_2[0]", "sigmoid_2[1]", "loss L"),
        *(
            "\u2202z/\u2202w = 0.05",
            "f\u2032(z) = 0.2413",
            "w = 0.4",
            "w = 0.5",
            "f\u2032(z) = 0.1868",
            "f\u2032(z) = 0.1755",
        ),
        *("\u2202L/\u2202y = 0.7414", "\u2202L/\u2202y = -0.2171", "dL/dw = 0.000438568"),
        "dense_1.W[0, 0]:  0.15 - 0.000219284 = 0.149780716",
    ):
        assert part in said, part


def test_what_colour_says_dashes_say_too():
    lines = list(ElementTree.fromstring(draw(worked_example())).iter(f"{SVG}line"))
    kinds = {(line.get("stroke"), line.get("stroke-dasharray")) for line in lines}
    assert len({colour for colour, _ in kinds}) == len({dash for _, dash in kinds}) == 2


def test_of_a_large_layer_the_strongest_are_shown_and_the_rest_added_up():
    e = of("30 tanh, 30 tanh, 2")
    drawn = graph(e.trace, e.chain.unit, e.chain.local_derivative)
    total = e.chain.delta * e.chain.local_derivative
    wide = next(column for column in drawn.columns if column.layer == "dense_2")
    assert (len(wide.units), wide.others) == (MOST, 30 - MOST)
    shown = sum(flow for _, target, _, flow in drawn.arrows if target in wide.units)
    assert shown + wide.rest == pytest.approx(total, rel=1e-9)


def test_of_a_small_network_the_flows_of_all_paths_add_up():
    e = of("3 tanh, residual(3 sigmoid), branches(2 | 1 tanh), 2")
    drawn = graph(e.trace, e.chain.unit, e.chain.local_derivative)
    assert sum(flow for _, flow in drawn.last) == pytest.approx(e.chain.delta * e.chain.local_derivative, rel=1e-9)


@pytest.mark.parametrize(
    "text", ["2 relu, 1", "3 tanh, batchnorm, layernorm, 2", "3 prelu, residual(3 gelu), branches(2 | 2), 1"]
)
@pytest.mark.parametrize("weight", ["dense_1.W[1, 1]", "dense_1.b[0]"])
def test_every_picture_is_well_formed_and_every_page_stands_alone(text, weight):
    e = of(text, weight)
    assert texts(draw(e))
    html = page(e)
    assert [int(k) for k in re.findall(r'<details id="level-(\d)"', html)] == [1, 2, 3, 4, 5, 6]
    assert html.count("<math") == e.latex.count(r":} \quad & ")
    assert not re.search(r'(src|href)="', html)
    assert "<script" not in html
    assert "nan" not in html
    assert len(html) < 1_000_000


def test_names_cannot_smuggle_markup_into_a_page():
    e = worked_example()
    e.as_json()  # all is worked out before the name is changed
    e.weight = "<script>alert(1)</script>"
    assert "<script" not in page(e)
    assert "<script" not in draw(e)


def test_a_notebook_shows_it():
    assert "<svg" in worked_example()._repr_html_()
