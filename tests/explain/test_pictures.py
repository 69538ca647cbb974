"""The scheme and the page: well-formed, complete, and with the numbers of the explanation."""

import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from chainrule.explain import explain, worked_example
from chainrule.explain.page import page
from chainrule.explain.picture import MOST, factor, picture_of, short
from chainrule.explain.scheme import draw
from chainrule.network import Network
from pictured import of

SVG = "{http://www.w3.org/2000/svg}"


def texts(svg):
    return [element.text for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def test_the_example_shows_every_unit_every_local_derivative_and_the_step():
    labels = texts(draw(worked_example()))
    for part in (
        *("dense_1[0]", "sigmoid_1[0]", "dense_2[0]", "dense_2[1]", "sigmoid_2[0]", "sigmoid_2[1]", "loss"),
        *("\u2202z\u2081", "\u2202w", "0.05", "0.2413", "0.4", "0.5", "0.1868", "0.1755", "0.7414", "\u22120.2171"),
        *("= 0.05 \u00d7 0.008771", "= 0.0004386"),  # multiply along a path
        *("= w \u00d7 \u2202L/\u2202z\u2082[0]", "+ w \u00d7 \u2202L/\u2202z\u2082[1]"),  # add where paths meet
        *("= 0.4 \u00d7 0.1385", "+ 0.5 \u00d7 (\u22120.0381)", "= 0.03635"),
        "= 0.0006684 + (\u22120.0002298) = 0.0004386",
        *("w before", "0.15", "w after", "0.149780716"),
    ):
        assert part in labels, part


def test_forward_sums_have_their_bias_and_outputs_their_target_and_error():
    labels = texts(draw(worked_example()))
    for part in (
        *("z = 0.15 \u00d7 0.05", "+ 0.2 \u00d7 0.1", "+ 0.35 (bias)", "= 0.3775", "a = f(0.3775)", "= 0.5933"),
        *("target t = 0.01", "target t = 0.99", "error = a \u2212 t", "= \u22120.2171", "L = 0.298371"),
    ):
        assert part in labels, part
    classes = texts(draw(of("4 relu, 3", loss="cross_entropy")))
    assert {"target t = 1", "target t = 0", "error = p \u2212 t"} <= set(classes)


def test_the_learning_rate_and_the_step_are_shown_separately():
    labels = texts(draw(worked_example()))
    assert labels[labels.index("learning rate") + 1] == "0.5"
    assert labels[labels.index("the step") + 1] == "0.0002193"


@pytest.mark.parametrize("weight", ["dense_1.W[1, 2]", "dense_2.W[0, 1]", "dense_1.b[0]"])
def test_the_numbers_are_those_of_the_explanation(weight):
    e = of("3 tanh, 2 sigmoid, 2", weight)
    labels = texts(draw(e))
    for number in (e.chain.product, e.training_gradient, e.gradient - e.chain.product, *path_products(e)[:1]):
        assert any(short(number) in label for label in labels), number
    for number in (e.value_before, e.update, e.value_after):
        assert any(short(number, 9) in label for label in labels), number
    picture = picture_of(e.trace, e.chain.unit, e.chain.local_derivative)
    for unit in (unit for column in picture.columns for unit in column.units):
        assert f"= {short(e.trace.tape.value(unit))}" in labels
        assert f"= {short(e.trace.tape.delta(unit))}" in labels


def path_products(e):
    """The products of the paths of the sample that is drawn."""
    return [path.product for path in e.paths if path.units[0] == e.chain.unit]


def test_a_sum_with_many_terms_has_the_weights_own_and_the_sum_of_the_rest():
    e = of("3 tanh, 2", "dense_1.W[5, 0]", width=40)
    labels = texts(draw(e))
    own = f"{factor(e.value_before)} \u00d7 {factor(e.chain.local_derivative)}"
    assert any(own in label for label in labels)
    assert any("(38 more)" in label for label in labels)


def test_colours_differ_in_dashes_too():
    lines = [
        element
        for element in ElementTree.fromstring(draw(worked_example())).iter(f"{SVG}path")
        if element.get("fill") == "none"
    ]
    kinds = {(line.get("class"), line.get("stroke-dasharray")) for line in lines}
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


@pytest.mark.parametrize("width", [1280, 830, 390])
def test_a_deep_network_continues_in_the_next_row(width):
    e = of("2 tanh, 2 tanh, 2 tanh, 2 tanh, 2 tanh, 2 tanh, 1")
    drawn = draw(e, width)
    assert float(ElementTree.fromstring(drawn).get("width")) == width
    assert "the same as above" in texts(drawn)
    picture = picture_of(e.trace, e.chain.unit, e.chain.local_derivative)
    units = {str(unit) for column in picture.columns for unit in column.units}
    assert units <= set(texts(drawn))


def test_an_arrow_that_passes_over_boxes_leaves_one_row_and_enters_another():
    e = of("3, residual(3 tanh), 2")
    for width, times in ((1800, 1), (390, 2)):
        assert sum("\u2202y\u2081[0]/\u2202z\u2081 = 1" in (text or "") for text in texts(draw(e, width))) == times


def test_a_weight_without_a_gradient():
    e = worked_example()
    e.__dict__["chain"] = None  # no sample uses it
    assert any("its gradient is 0" in text for text in texts(draw(e, 390)))
    network = Network("2 relu, 1", 1, dtype="float64")
    parameters = np.array([-1.0, -1, 0, 0, 1, 1, 0])
    dead = explain(network, parameters, np.ones((1, 1)), np.zeros((1, 1)), "mse", "sgd", "dense_1.W[0, 0]")
    assert "= 0: every path contains a local derivative of 0" in texts(draw(dead))
