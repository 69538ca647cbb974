"""Weights that are used at many positions: samples that open into positions, paths through pooling,
strides, groups and residual connections, and short JSON.
"""

import base64
import io
import json
import math
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from PIL import Image

from chainrule.data import load
from chainrule.explain import explain, lines
from chainrule.explain.chain import open_link
from chainrule.explain.page import page
from chainrule.explain.painting import painted, painting
from chainrule.explain.patch import patch_of, words
from chainrule.explain.picture import short
from chainrule.explain.scheme import draw
from chainrule.layers import Conv, Dense, Expand, Flatten, Input, MaxPool
from chainrule.network import Network
from chainrule.runs import Recorder, Run, train
from chainrule.tape import Unit
from chainrule.training import Stepped

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """A recorded run of a small convolutional network, and its steps."""
    folder, seen, data = tmp_path_factory.mktemp("runs") / "run", [], load("digits")
    network = "conv 4 3x3 relu, max_pool 2, depthwise_conv 2x2, residual(conv 4 1x1 relu), flatten, 12 relu"
    train(network, data, epochs=1, batch_size=64, callbacks=[Recorder(folder), seen.append])
    steps = [record for event in seen if isinstance(event, Stepped) for record in event.chunk.steps()]
    return Run.open(folder), data, steps


def test_a_step_of_a_convolutional_network_is_replayed_to_the_bit(digits):
    run, data, steps = digits
    for step in (0, len(steps) // 2, len(steps) - 1):
        replayed = run.at(step, data)
        assert replayed.gradient.tobytes() == steps[step].gradient.tobytes()
        assert replayed.after.parameters.tobytes() == steps[step].after.parameters.tobytes()


@pytest.mark.parametrize("weight", ["conv_1.W[1, 2, 0, 3]", "conv_1.b[1]", "depthwise_conv_1.conv_1.W[0, 1, 0, 2]",
                                    "residual_1.conv_1.W[0, 0, 3, 1]"])  # fmt: skip
def test_a_kernels_weight_is_explained_sample_by_sample_and_position_by_position(digits, weight):
    run, data, steps = digits
    e = explain(run, weight, 7, data=data)
    positions = 36 if weight.startswith("conv_1") else 4
    assert [(use.samples, use.times) for use in e.where] == [(64, 64 * positions)]
    assert sum(term.product for term in e.samples) == pytest.approx(e.gradient, rel=1e-10)
    for term in e.samples:
        assert term.count == len(term.uses) == positions
        assert len({use.unit.index for use in term.uses}) == positions
        assert {use.unit.sample for use in term.uses} == {use.unit.sample for use in term.uses[:1]}
        assert sum(use.product for use in term.uses) == pytest.approx(term.product, rel=1e-10, abs=1e-14)
        sizes = [abs(use.product) for use in term.uses]
        assert sizes == sorted(sizes, reverse=True)
    assert e.gradient == pytest.approx(e.proof.numerical_gradient, rel=1e-6)
    assert e.training_gradient == steps[7].gradient[e.place]
    assert e.rounding.explains
    assert e.rounding.bound < 1e-3 * max(np.abs(steps[7].gradient))
    text = "\n".join(lines(e))
    assert f"at {positions} positions of each of 64 samples." in text
    assert f"{positions} positions, the sum" in text
    assert "nan" not in text
    assert draw(e).startswith("<svg")
    assert f"<summary>{positions} positions</summary>" in page(e)


def test_the_indices_of_a_kernel_have_letters_and_words(digits):
    run, data, _ = digits
    e = explain(run, "conv_1.W[1, 2, 0, 3]", 7, data=data)
    assert r"k_1 = 1,\; k_2 = 2,\; i = 0,\; j = 3" in e.latex
    assert e.about == "the weight at row 1, column 2 of the kernel from channel 0 to channel 3 of conv_1"
    e = explain(run, "depthwise_conv_1.conv_1.W[0, 1, 0, 2]", 7, data=data)
    assert "from channel 0 of group 2 to channel 2" in e.about


def picture(network, x, weight, **settings):
    """An explanation of a network of fixed weights."""
    return explain(network, np.ones(network.parameters.size), x, np.zeros((len(x), 1)), "half_squares", "sgd 1", weight,
                   **settings)  # fmt: skip


def test_paths_lead_through_the_input_that_won():
    network = Network([Conv(1, 1, bias=False), MaxPool(2), Flatten(), Dense(1, bias=False)], (2, 4, 1), "float64")
    x = np.array([[1.0, 4.0, 2.0, 0.0], [3.0, 2.0, 1.0, 5.0]]).reshape(1, 2, 4, 1)
    e = picture(network, x, "conv_1.W[0, 0, 0, 0]")
    ways = [[str(unit) for unit in path.units] for path in e.paths]
    assert ways == [
        ["conv_1[1, 3, 0]", "max_pool_1[0, 1, 0]", "dense_1[0]"],
        ["conv_1[0, 1, 0]", "max_pool_1[0, 0, 0]", "dense_1[0]"],
    ]
    assert e.has_all_paths
    assert sum(path.product for path in e.paths) == pytest.approx(e.gradient)
    assert e.gradient == pytest.approx((5 + 4) * 9)  # the derivative of y^2 / 2, y = 5 w + 4 w
    winner, loser = e.samples[0].uses[0], e.samples[0].uses[-1]
    assert (winner.local, winner.delta) == (5, 9)
    assert loser.delta == 0
    assert e.chain.terms[0].note == "the largest of its window"


def test_an_input_that_did_not_win_says_which_did():
    """All weights of one channel but the winner's: the chain of a loser ends at the pooling."""
    network = Network([Conv(1, 1), MaxPool(2), Flatten(), Dense(1)], (2, 2, 1), "float64")
    x = np.array([[[[1.0], [4.0]], [[3.0], [2.0]]]])
    e = picture(network, x, "conv_1.W[0, 0, 0, 0]")
    loser = open_link(e.trace, e.samples[0].uses[-1])
    assert loser.delta == 0
    assert loser.unused == "max_pool_1 takes the largest of its window, which is [0, 1, 0]"
    assert not loser.terms


def test_an_input_that_no_window_holds_says_so():
    network = Network([Conv(1, 1), MaxPool(2), Flatten(), Dense(1)], (3, 3, 1), "float64")
    e = picture(network, np.ones((1, 3, 3, 1)), "conv_1.W[0, 0, 0, 0]")
    assert e.trace.tape.why_unused(Unit("conv_1", (0, 2, 1, 0))) == "no window of max_pool_1 holds it"
    network = Network([Dense(2), Expand(2, on=(0,)), Dense(1)], 3, "float64")
    e = picture(network, np.ones((1, 3)), "dense_1.W[0, 1]")
    assert "= 0: expand_1 leaves it out" in "\n".join(lines(e))
    assert "<svg" in draw(e)


def test_a_weight_reaches_the_loss_around_and_through_a_residual_block():
    x = Input((2, 2, 1))
    first = Conv(1, 1, bias=False, name="first")(x)
    summed = first + Conv(1, 1, bias=False, name="inner")(first)
    network = Network(inputs=x, outputs=Dense(1, bias=False)(Flatten()(summed)), dtype="float64")
    e = picture(network, np.ones((1, 2, 2, 1)), "first.W[0, 0, 0, 0]")
    through = {tuple(unit.node for unit in path.units) for path in e.paths}
    assert through == {("first", "add_1", "dense_1"), ("first", "inner", "add_1", "dense_1")}
    assert len(e.paths) == 2 * 4
    assert sum(path.product for path in e.paths) == pytest.approx(e.gradient)


def test_a_stride_and_groups_leave_only_the_paths_there_are():
    network = Network(
        [Conv(2, 2, stride=2, groups=2, bias=False), Flatten(), Dense(1, bias=False)], (4, 4, 2), "float64"
    )
    random = np.random.default_rng(0)
    e = picture(network, random.normal(size=(1, 4, 4, 2)), "conv_1.W[1, 0, 0, 1]")
    assert sorted(path.units[0].index for path in e.paths) == [(0, i, j, 1) for i in range(2) for j in range(2)]
    x = e.trace.batch.x[0]
    assert sorted(use.local for use in e.samples[0].uses) == sorted(x[1::2, 0::2, 1].ravel())  # of its own group


def test_a_weight_used_at_25000_places_has_short_json_and_an_exact_rest():
    random = np.random.default_rng(0)
    network = Network(
        "conv 8 3x3 relu padding=same, max_pool 2, conv 8 3x3 relu, globalaveragepool, 3", (28, 28), "float32"
    )
    x, y = random.normal(size=(32, 28, 28)), random.integers(0, 3, 32)
    e = explain(network, network.draw(), x, y, "cross_entropy", "adam", "conv_1.W[1, 1, 0, 2]")
    assert e.where[0].times == 32 * 28 * 28 == 25_088
    fields = e.as_json()
    assert len(json.dumps(fields, indent=1)) < 200_000
    total = fields["rest"]["sum"] + sum(sample["product"] for sample in fields["samples"])
    assert total == pytest.approx(fields["gradient"], rel=1e-10)
    assert fields["rest"]["count"] + len(fields["samples"]) == 32
    for sample in fields["samples"]:
        assert sample["rest"]["count"] + len(sample["uses"]) == 28 * 28
        uses = sum(use["product"] for use in sample["uses"])
        assert uses + sample["rest"]["sum"] == pytest.approx(sample["product"], rel=1e-10, abs=1e-14)
    more = e.as_json(most=10)
    assert len(more["samples"]) == 10
    assert len(more["samples"][0]["uses"]) == 2
    assert sum(len(sample["uses"]) for sample in e.as_json(most=None)["samples"]) == 25_088
    assert e.rounding.explains


def test_a_deep_network_has_short_json_and_exact_deltas():
    random = np.random.default_rng(0)
    network = Network("resnet8 8, 5", (16, 16, 3), "float64")
    x, y = random.normal(size=(8, 16, 16, 3)), random.integers(0, 5, 8)
    e = explain(
        network, network.draw(), x, y, "cross_entropy", "adam", "resnet8_1.residual_block_1.conv_2.W[0, 1, 0, 2]"
    )
    fields = e.as_json()
    assert len(json.dumps(fields, indent=1)) < 200_000

    def check(link):
        if not link["terms"]:
            return
        assert len(link["terms"]) <= 4
        products = sum(term["local_derivative"] * term["delta"] for term in link["terms"])
        assert products + link["rest"]["sum"] == pytest.approx(link["delta"], rel=1e-9, abs=1e-15)
        for term in link["terms"]:
            check(term)

    check(fields["chain"])
    assert len(json.dumps(e.as_json(most=None))) > 200_000


def test_the_scheme_tells_one_use_from_its_sample_and_the_others():
    random = np.random.default_rng(2)
    network = Network("conv 2 3x3 relu, max_pool 2, flatten, 1", (6, 6), "float64")
    x, y = random.normal(size=(4, 6, 6)), random.normal(size=(4, 1))
    e = explain(network, network.draw(seed=0), x, y, "mse", "sgd 0.1", "conv_1.W[1, 2, 0, 1]")
    own = next(term for term in e.samples if term.row == e.chain.row)
    drawn = re.sub(r"<[^>]+>", " ", draw(e)).replace("\u2212", "-")
    drawn = re.sub(r"\s+", " ", drawn)
    assert f"sample {e.chain.row} at {e.chain.unit}, one of the 16 uses of the weight for this sample" in drawn
    numbers = [e.chain.product, own.product - e.chain.product, e.gradient - own.product, e.gradient]
    for name, value in zip(
        (f"at {e.chain.unit}", "15 other uses", "3 other samples", "gradient"), numbers, strict=True
    ):
        assert name in drawn
        assert short(value).replace("\u2212", "-") in drawn
    assert sum(numbers[:3]) == pytest.approx(e.gradient, rel=1e-12)


def test_padding_is_no_use_of_a_weight():
    network = Network([Conv(1, 3, padding="same", bias=False), Flatten(), Dense(1, bias=False)], (4, 4, 1), "float64")
    e = picture(network, np.ones((2, 4, 4, 1)), "conv_1.W[0, 0, 0, 0]")
    assert e.where[0].times == 2 * 9  # the first place of the kernel lies on padding in a row and a column
    assert str(e.where[0]) == "conv_1, at 9 positions of each of 2 samples"
    assert math.isclose(e.gradient, e.proof.numerical_gradient, rel_tol=1e-7)


CASES = [
    ("conv 3 3x3 stride=2 padding=same, tanh", (7, 6, 2), "conv_1.W[0, 2, 1, 2]"),
    ("conv 4 3x3 dilation=2 padding=1 groups=2", (7, 6, 4), "conv_1.W[2, 0, 1, 3]"),
    ("conv_transpose 3 3x2 stride=2, relu", (4, 3, 2), "conv_transpose_1.W[1, 1, 0, 2]"),
    ("conv 2 2x2, relu, conv 3 5x5 padding=same", (6, 6, 1), "conv_2.W[4, 1, 1, 0]"),
    ("conv1d 3 4 bias=false", (9, 2), "conv1d_1.W[3, 1, 2]"),
    ("conv3d 2 2 padding=same", (3, 4, 4, 1), "conv3d_1.W[1, 0, 1, 0, 1]"),
]
"""Networks, shapes of samples, and a weight of a kernel."""


def explained(text, shape, weight):
    random, network = np.random.default_rng(0), Network(f"{text}, flatten, 2", shape, dtype="float64")
    x, y = random.normal(size=(3, *shape)), random.normal(size=(3, 2))
    return explain(network, network.draw(1) + 0.01, x, y, "mse", "sgd 0.1", weight)


@pytest.mark.parametrize(("text", "shape", "weight"), CASES)
def test_the_scheme_draws_patch_times_kernel(text, shape, weight):
    e = explained(text, shape, weight)
    patch = patch_of(e.trace, e.chain.unit, e.weight_index)
    assert patch.sum + patch.rest + (patch.bias or 0.0) == pytest.approx(patch.value, rel=1e-9)
    assert patch.value == e.trace.tape.value(e.chain.unit)
    assert patch.weights[patch.own] == e.value_before
    assert patch.inputs[patch.own] == e.chain.local_derivative
    kernel = math.prod(e.trace.tape.params[e.weight.split(".")[0]]["W"].shape[:-1])
    assert patch.weights.size + patch.others <= kernel
    for width in (340, 830):
        drawn = ElementTree.fromstring(draw(e, width))
        for name, numbers in (("patch", patch.inputs), ("kernel", patch.weights)):
            (grid,) = [group for group in drawn.iter(f"{SVG}g") if group.get("class") == name]
            cells = [rect for rect in grid if rect.get("data-cell")]
            assert len(cells) == numbers.size
            words = [element.text for element in grid.iter(f"{SVG}text")][1:]
            scale = 1 if np.abs(numbers).max() >= 0.1 else 10.0 ** np.floor(np.log10(np.abs(numbers).max()))
            shown = [float(word.replace("\u2212", "-")) * scale for word in words]
            assert shown == pytest.approx(numbers.ravel(), abs=0.0051 * scale)
        texts = [element.text for element in drawn.iter(f"{SVG}text")]
        assert f"= {short(patch.value)} = {letter_of(e)}" in texts


def letter_of(e):
    return f"{e.trace.node(e.chain.unit).layer.output_symbol}\u2081"


def test_padding_in_a_patch_counts_as_0_and_is_named():
    e = explained("conv 2 3x3 padding=same", (4, 4, 1), "conv_1.W[1, 1, 0, 0]")
    corner = patch_of(e.trace, Unit("conv_1", (0, 0, 0, 1)))
    assert (corner.rows, corner.columns) == ((-1, 0, 1), (-1, 0, 1))
    assert not corner.inputs[0].any()
    assert not corner.inputs[:, 0].any()
    assert "rows 0\u20131 and padding and columns 0\u20131 and padding" in words(corner)
    outside = explained("conv 2 1x1 padding=1", (2, 2, 1), "conv_1.W[0, 0, 0, 0]")
    assert "rows of padding and columns 0:" in words(patch_of(outside.trace, Unit("conv_1", (0, 0, 1, 0))))
    assert patch_of(e.trace, Unit("flatten_1", (0, 3))) is None


@pytest.mark.parametrize(("text", "shape", "weight"), CASES[:4])
def test_a_painting_has_each_product_at_its_input_as_a_push(text, shape, weight):
    e = explained(text, shape, weight)
    node = e.trace.network.graph.node(e.weight.split(".")[0])
    read = e.trace.tape.values[node.inputs[0]]
    for term in e.samples:
        one = painting(e, term)
        assert one.pushes.sum() == pytest.approx(-term.product, rel=1e-9)
        # An input's share: what the gradient loses without it, the deltas as they are.
        params, dy = e.trace.tape.params[node.name], e.trace.tape.arrived(node.name)
        for at in np.ndindex(*one.pushes.shape):
            alone = np.zeros_like(read)
            alone[(term.unit.sample, *at, one.channel)] = read[(term.unit.sample, *at, one.channel)]
            _, gradients = node.layer.backward(params, alone, dy)
            assert one.pushes[at] == pytest.approx(-gradients["W"][e.weight_index], rel=1e-9, abs=1e-15)
        if weight.startswith("conv_2"):
            assert one.over == f"channel {one.channel} of relu_1"
            np.testing.assert_array_equal(one.inputs, read[term.unit.sample, ..., one.channel])
        else:
            assert one.over == "the picture"


def test_a_painting_is_blue_where_the_weight_was_pushed_up_and_orange_where_down():
    e = explained("conv 2 3x3", (6, 6, 1), "conv_1.W[1, 2, 0, 1]")
    one = painting(e, e.samples[0])
    (image,) = painted([one], 64)
    encoded = re.search(r'base64,([^"]+)"', image)[1]
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(encoded)))).astype(int)
    strong = np.abs(one.pushes) > 0.5 * np.abs(one.pushes).max()
    bluer = pixels[..., 2] > pixels[..., 0]
    assert strong.any()
    np.testing.assert_array_equal(bluer[strong], one.pushes[strong] > 0)
    html = page(e)
    assert "pushed the weight up" in html
    assert html.count("where sample") == len(e.samples)
    bias = explained("conv 2 3x3", (6, 6, 1), "conv_1.b[1]")
    assert painting(bias, bias.samples[0]) is None
