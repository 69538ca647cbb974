"""Explanations: products add up to the gradient, deltas are those of the backward pass, the update
is that of training, and the wording is correct.
"""

import json
import math
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chainrule.data import Samples, load
from chainrule.descent import optimizer, optimizers, stages
from chainrule.engine import Position, Problem
from chainrule.engine.numpy import NumpyEngine
from chainrule.errors import RunError, SettingError
from chainrule.explain import Explanation, explain, gradient_line, lines, update_line, worked_example
from chainrule.explain.chain import open_link
from chainrule.explain.page import page
from chainrule.explain.scheme import draw
from chainrule.layers import (
    GRU,
    KINDS,
    LSTM,
    AdaptiveAveragePool,
    AdaptiveMaxPool,
    Add,
    AveragePool,
    BatchNorm,
    Bidirectional,
    Branches,
    ChannelDropout,
    Composite,
    Concatenate,
    Conv,
    Conv1d,
    Conv2d,
    Conv3d,
    ConvTranspose,
    ConvTranspose2d,
    Dense,
    DepthwiseConv,
    DotProductAttention,
    Dropout,
    Embedding,
    Expand,
    FeedForward,
    Fixed,
    Flatten,
    GlobalAveragePool,
    GlobalMaxPool,
    GroupNorm,
    Layer,
    LayerNorm,
    Learned,
    LearnedPositions,
    LeNet,
    LogSoftmax,
    Mask,
    MaskedSoftmax,
    MatMul,
    MaxPool,
    MultiHeadAttention,
    Multiply,
    PReLU,
    ReLU,
    Reshape,
    Residual,
    ResidualBlock,
    ResNet8,
    ResNet18,
    RMSNorm,
    Rotary,
    Scale,
    Scan,
    Seasonal,
    SeparableBlock,
    SeparableNet,
    Sequential,
    Sigmoid,
    SimpleRNN,
    SinusoidalPositions,
    Slice,
    Softmax,
    SqueezeExcitation,
    Step,
    Tanh,
    TiedDense,
    Transformer,
    TransformerBlock,
    Transpose,
    UnitNorm,
    Upsample,
    ValidMax,
    ValidMean,
    While,
    ZeroPad,
    Zeros,
    activation,
)
from chainrule.losses import NAMED, Penalty, l2
from chainrule.network import Network
from chainrule.runs import Recorder, Run, train
from chainrule.runs.state import position_from_bytes, position_to_bytes
from chainrule.training import Plan, Stepped

SMOOTH = [
    *("elu", "gelu", "gelutanh", "silu", "mish", "softplus", "softsign", "sigmoid", "tanh", "sine"),
    *("softmax", "logsoftmax", "selu"),
]
KINKED = ["relu", "leakyrelu", "hardsigmoid", "hardswish", "hardtanh", "step", "prelu", "relu6"]


def layer(draw, width):
    """A layer of any kind that keeps the width."""
    kind = draw(st.integers(0, 14))
    if kind == 12:
        return Sequential([Reshape((1, width, 1)), *draw(on_pictures()), Flatten(), Dense(width)])
    if kind == 13:
        return Sequential([Dense(16), Reshape((4, 4, 1)), *draw(on_pictures()), Flatten(), Dense(width)])
    if kind == 14:
        return Sequential([Dense(8), Reshape((2, 4)), draw(st.sampled_from(ON_SEQUENCES)), Flatten(), Dense(width)])
    if kind == 0:
        return Dense(width)
    if kind == 1:
        return activation(draw(st.sampled_from(SMOOTH)))
    if kind == 2:
        return activation(draw(st.sampled_from(KINKED)))
    if kind == 3:
        return Dropout(0.3)
    if kind == 4:
        return draw(st.sampled_from([BatchNorm(), Sequential([Dense(width), PReLU()])]))
    if kind == 5:
        return Residual([Dense(width), activation(draw(st.sampled_from(SMOOTH)))])
    if kind == 6:
        return Branches([[Dense(width), Sigmoid()], Residual([])], merge="add")
    if kind == 7:
        return Branches([[Dense(1)], [Dense(width - 1), Residual([Dense(width - 1)])]])
    if kind == 8:
        return LayerNorm()
    if kind == 9:
        return Sequential([Reshape((1, width)), Expand(2, on=tuple(range(0, width, 2))), Flatten(), Dense(width)])
    return Mixed(Dense(width)) if kind == 10 else OneHead(Dense(2 * width), Dense(2 * width), Dense(2 * width))


ON_SEQUENCES = (
    MultiHeadAttention(2, causal=True, dropout=0.3), MultiHeadAttention(2, kv_heads=1, rotary=True), Rotary(),
    TransformerBlock(1), TransformerBlock(2, 3, "swiglu", "rms_norm", causal=True), FeedForward(3, "tanh"),
    Transformer(1, heads=2), Transformer(1, 2, heads=1, positions="sinusoidal"), LearnedPositions(3),
    SinusoidalPositions(), Sequential([Dense(2), MaskedSoftmax(causal=True)]),
    Sequential([Dense(3), Tanh(), TiedDense("dense_1")]),
)  # fmt: skip
"""Layers on a sequence of two positions and four features."""


@st.composite
def on_pictures(draw):
    """Layers on a picture of two or more pixels, of which one is a convolution."""
    convolution = draw(
        st.sampled_from([
            Conv(2, (1, 2), stride=(1, draw(st.integers(1, 2))), padding=draw(st.sampled_from(["valid", "same"]))),
            Conv(2, 3, padding=draw(st.sampled_from(["same", 2])), dilation=draw(st.integers(1, 2))),
            Conv2d(4, 2, padding="same", activation="tanh"),
            ConvTranspose(2, 2, stride=2), ConvTranspose2d(2, 3, padding="same"),
            DepthwiseConv(2, padding="same", multiplier=2),
            ResidualBlock(2), SeparableBlock(2),
        ])
    )  # fmt: skip
    others = st.sampled_from([
        MaxPool(2, padding="same"), MaxPool(3, 1, "same"), AveragePool(2, padding="same"), AdaptiveMaxPool(2),
        AdaptiveAveragePool(2), Upsample(2), Upsample(2, "bilinear"), ZeroPad(1), ZeroPad((0, 1), (1, 0)), BatchNorm(),
        GroupNorm(2), RMSNorm(), ChannelDropout(0.3), SqueezeExcitation(2), Conv(2, 1, groups=2),
    ])  # fmt: skip
    last = draw(st.sampled_from([[], [GlobalMaxPool()], [GlobalAveragePool()]]))
    return [convolution, *draw(st.lists(others, max_size=2)), *last]


@dataclass(frozen=True)
class Mixed(Composite):
    """Products, scales, slices, and a layer used twice."""

    inner: Layer

    def wire(self, x):
        first = self.inner(x)
        gated = Sigmoid()(first) * self.inner(first) - x / 2
        return Concatenate()(gated[:1], gated[1:])


@dataclass(frozen=True)
class OneHead(Composite):
    """One attention head over two positions, whose mean is added to the input."""

    query: Layer
    key: Layer
    value: Layer

    def wire(self, x):
        width = x.shape[0]
        q, k, v = (layer(x).reshape(2, width) for layer in (self.query, self.key, self.value))
        attended = Softmax()(q @ k.transpose() / width**0.5) @ v
        return x + (attended[:1] + attended[1:]).reshape(width) / 2


@st.composite
def steps(draw, dtype="float64"):
    """A step of a random network, loss and optimizer, and a random weight."""
    seed = draw(st.integers(0, 2**20))
    random = np.random.default_rng(seed)
    width, outputs, samples = draw(st.integers(2, 4)), draw(st.integers(2, 3)), draw(st.integers(2, 5))
    name = draw(st.sampled_from(sorted(NAMED)))
    layers = [Dense(width), *(layer(draw, width) for _ in range(draw(st.integers(1, 4))))]
    if embedded := draw(st.booleans()):
        layers = [Embedding(4, 2), Flatten(), *layers]
    x = random.integers(0, 4, (samples, 3)) if embedded else random.normal(size=(samples, 3))
    kind = NAMED[name]()
    y = random.normal(size=(samples, outputs)) if kind.task == "regression" else random.integers(0, outputs, samples)
    columns = outputs if kind.task == "classification" else kind.outputs(outputs)
    if name == "binary_cross_entropy":
        y = np.eye(outputs)[y]
    layers.append(Dense(columns))
    network = Network(layers, 3, dtype=dtype)
    chain = optimizer(draw(st.sampled_from(sorted(optimizers.NAMED))))
    weight = random.uniform(0.2, 2, samples) if draw(st.booleans()) else None
    penalties = (Penalty(0.01, 0.1),) if draw(st.booleans()) else ()
    problem = Problem(network, kind, chain, penalties, seed)
    parameters = (network.draw(seed) + 0.1 * random.normal(size=network.parameters.size)).astype(dtype)
    position = Position(
        draw(st.integers(0, 9)), parameters, network.start_statistics(), chain.start(parameters, network.parameters)
    )
    record = NumpyEngine(problem).step(position, Samples(x, y, weight), np.arange(samples))
    place = draw(st.integers(0, network.parameters.size - 1))
    return problem, record, Samples(x, y, weight), network.parameters.name_of(place)


def opened(link):
    """The link and all below it; terms that several units share, once."""
    pending, seen = [link], set()
    while pending:
        link = pending.pop()
        yield link
        if link.terms and id(link.terms) not in seen:
            seen.add(id(link.terms))
            pending += link.terms


@given(steps())
@settings(max_examples=200)
def test_any_step_of_any_network_is_explained(step):
    _, record, *_ = step
    e = Explanation(*step)
    scale = max(1.0, float(np.abs(record.gradient).max()))
    assert e.gradient == record.gradient[e.place]
    assert sum(t.product for t in e.samples) + sum(v for _, v in e.penalties) == pytest.approx(
        e.gradient, rel=1e-10, abs=1e-10 * scale
    )
    for link in opened(open_link(e.trace, e.samples[0].uses[0], depth=9)) if e.samples else ():
        backward = e.trace.tape.arrived(link.unit.node)[link.unit.index]
        assert link.delta == backward
        if link.loss is None and link.terms:
            total = sum(t.local_derivative * t.delta for t in link.terms) + link.rest
            assert total == pytest.approx(backward, rel=1e-10, abs=1e-10 * scale)
    if e.has_all_paths:
        data = sum(t.product for t in e.samples)
        assert sum(path.product for path in e.paths) == pytest.approx(data, rel=1e-9, abs=1e-10 * scale)
    products = [math.prod(path.factors) for path in e.paths]
    np.testing.assert_allclose(products, [path.product for path in e.paths], rtol=1e-10, atol=1e-300)
    assert e.stages[0].input == record.gradient[e.place]
    assert e.stages[-1].output == record.update[e.place]
    for before, after in zip(e.stages, e.stages[1:], strict=False):
        assert before.output == after.input
    assert "nan" not in " ".join(lines(e))
    assert json.loads(json.dumps(e.as_json()))["weight"] == e.weight


@given(steps(), st.floats(-0.1, 0.1))
@settings(max_examples=100)
def test_what_a_nudged_weight_does_not_reach_need_not_be_computed_again(step, h):
    e = Explanation(*step)
    trace, nudged = e.trace, e.trace.parameters.copy()
    nudged[e.place] += h
    assert trace.nudged_loss(e.place, h) == trace.total_loss(nudged)
    expected = trace.problem.differentiate(nudged, trace.batch, trace.statistics, trace.step, wants_input=True).tape
    tape = trace.nudged(e.place, h)
    for name in trace.network.graph.numbers:
        np.testing.assert_array_equal(tape.arrived(name), expected.arrived(name))


@given(steps(dtype="float32"))
@settings(max_examples=100)
def test_any_step_has_a_page_and_a_scheme(step):
    e = Explanation(*step)
    svg = draw(e)
    assert ElementTree.fromstring(svg).tag.endswith("svg")  # well-formed
    assert "nan" not in svg
    html = page(e)
    assert html.count('<details id="level-') == 6
    assert "<merror" not in html
    assert "\\frac" not in html.replace(e.weight, "")  # every formula was typeset


@given(steps())
@settings(max_examples=200)
def test_the_gradient_equals_the_central_difference_away_from_kinks(step):
    e = Explanation(*step)
    loss, h = partial(e.trace.nudged_loss, e.place), 1e-5
    left, right = (loss(0) - loss(-h)) / h, (loss(h) - loss(0)) / h
    scale = float(np.sqrt(np.mean(e.trace.result.gradient**2)))
    if abs(right - left) > 1e-3 * max(abs(left), abs(right), scale):
        return  # the one-sided differences disagree: a kink lies between them
    assert e.gradient == pytest.approx(e.proof.numerical_gradient, rel=1e-6, abs=1e-6 * scale + 1e-10)


@given(steps(dtype="float32"))
@settings(max_examples=200)
def test_the_float32_gradient_of_training_differs_by_rounding_only(step):
    e = Explanation(*step)
    assert e.training_gradient == step[1].gradient[e.place]
    assert e.rounding.explains, e.rounding


@given(steps(dtype="float32"))
@settings(max_examples=200)
def test_a_step_replayed_from_its_checkpoint_is_identical_bit_for_bit(step):
    problem, record, samples, _ = step
    plan = Plan(
        problem.network, problem.loss, problem.optimizer, 1, len(samples.x), problem.seed, tuple(problem.penalties)
    )
    restored = position_from_bytes(position_to_bytes(record.before), plan)
    replayed = NumpyEngine(problem).step(restored, samples, record.rows)
    assert replayed.gradient.tobytes() == record.gradient.tobytes()
    assert replayed.update.tobytes() == record.update.tobytes()
    assert replayed.after.parameters.tobytes() == record.after.parameters.tobytes()


def test_a_wrong_gradient_is_not_mistaken_for_rounding():
    data, seen = load("iris"), []
    train("6 tanh", data, epochs=1, callbacks=[seen.append])
    record, plan = (
        [record for event in seen if isinstance(event, Stepped) for record in event.chunk.steps()][-1],
        seen[0].plan,
    )
    e = Explanation(plan.problem(len(data.training.x)), record, data.training, "dense_1.W[0, 0]")
    assert e.rounding.explains
    assert e.rounding.bound < 0.01 * abs(e.gradient)
    wrong = replace(record, gradient=record.gradient * np.float32(1.05))
    e = Explanation(plan.problem(len(data.training.x)), wrong, data.training, "dense_1.W[0, 0]")
    assert not e.rounding.explains
    assert "more than" in "\n".join(lines(e))


def test_random_networks_cover_every_kind_of_layer():
    activations = {type(activation(name)) for name in SMOOTH + KINKED}
    others = {
        Dense, Embedding, Expand, Flatten, Dropout, BatchNorm, LayerNorm, Sequential, PReLU, Residual, Branches,
        Reshape, Sigmoid, Softmax, LogSoftmax,
        *(Add, Multiply, MatMul, Concatenate, Scale, Slice, Transpose),  # in composites
        Conv, Conv2d, ConvTranspose, ConvTranspose2d, DepthwiseConv, ResidualBlock, SeparableBlock, MaxPool,
        AveragePool,
        AdaptiveMaxPool, AdaptiveAveragePool, GlobalMaxPool, GlobalAveragePool, Upsample, ZeroPad, GroupNorm, RMSNorm,
        ChannelDropout, SqueezeExcitation,
        *(Conv1d, Conv3d),  # Conv with another number of axes
        *(LeNet, ResNet8, ResNet18, SeparableNet),  # of these layers
        *(MultiHeadAttention, DotProductAttention, MaskedSoftmax, TransformerBlock, Transformer, FeedForward),
        *(LearnedPositions, SinusoidalPositions, Rotary, TiedDense),
        *(Bidirectional, GRU, LSTM, Scan, SimpleRNN, While, Zeros),  # tests/layers/test_recurrence.py
        *(Mask, ValidMax, ValidMean),  # tests/layers/test_lengths.py
        Seasonal,  # tests/training/test_forecasts.py
        *(Fixed, Learned, UnitNorm),  # of networks made elsewhere: tests/layers/test_derivatives.py
    }  # fmt: skip
    assert set(KINDS) == activations | others


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A float32 run with dropout, batch norm, a residual and a penalty, and its steps."""
    folder, seen, data = tmp_path_factory.mktemp("runs") / "run", [], load("iris")
    network = "6 relu, dropout 0.2, batchnorm, residual(6 tanh)"
    train(network, data, epochs=4, penalties=[l2(0.01)], callbacks=[Recorder(folder), seen.append])
    return (
        Run.open(folder),
        data,
        [record for event in seen if isinstance(event, Stepped) for record in event.chunk.steps()],
    )


def test_the_update_of_a_run_is_that_of_training(recorded):
    run, data, records = recorded
    for step in (0, 5, len(records) - 1):
        for place in (0, 17, run.trained.plan.network.parameters.size - 1):
            weight = run.trained.plan.network.parameters.name_of(place)
            e = explain(run, weight, step, data=data)
            assert e.training_gradient == records[step].gradient[place]
            assert e.update == records[step].update[place]
            assert e.value_after == records[step].after.parameters[place]
            assert e.stages[-1].output == e.update
            assert e.gradient == pytest.approx(e.training_gradient, rel=1e-3, abs=1e-6)


def test_the_last_step_is_explained_by_default(recorded):
    run, data, records = recorded
    assert explain(run, "dense_1.W[0, 0]", data=data).step == len(records) - 1
    assert explain(run.folder, "dense_1.W[0, 0]").step == len(records) - 1


def test_invalid_arguments_are_refused_with_the_valid_ones(recorded):
    run, data, _ = recorded
    with pytest.raises(SettingError, match="did you mean"):
        explain(run, "dense_7.W[0, 0]", data=data)
    with pytest.raises(SettingError, match="0 to 3, 0 to 5"):
        explain(run, "dense_1.W[4, 0]", data=data)
    with pytest.raises(RunError, match="it has steps 0 to 15"):
        explain(run, "dense_1.W[0, 0]", 99, data=data)
    with pytest.raises(SettingError, match="is not in the batch of step 3; its samples are"):
        explain(run, "dense_1.W[0, 0]", 3, data=data, sample=1000)
    with pytest.raises(SettingError, match="takes at least 1"):
        explain(run, "dense_1.W[0, 0]", data=data, depth=0)


def test_the_chosen_sample_is_opened(recorded):
    run, data, records = recorded
    row = int(records[3].rows[4])
    assert explain(run, "dense_1.W[0, 0]", 3, data=data, sample=row).chain.row == row


def small(layers, weights, weight, x=((1.0, 1.0),)):
    network = Network(layers, 2, dtype="float64")
    return explain(network, np.array(weights, dtype=float), np.array(x), np.ones((len(x), 1)), "mse", "sgd 0.1", weight)


@pytest.mark.parametrize(
    ("between", "weights", "words"),
    [
        (ReLU(), [-1, -1, 0, 1, 0], "dead: silent for every sample"),
        (Sigmoid(), [20, 20, 0, 1, 0], "saturated: its derivative is only"),
        (Step(), [1, 1, 0, 1, 0], "a step is flat everywhere"),
    ],
)
def test_a_unit_that_blocks_the_gradient_has_a_note(between, weights, words):
    e = small([Dense(1), between, Dense(1)], weights, "dense_1.W[0, 0]")
    assert words in "\n".join(lines(e))
    assert abs(e.gradient) < 1e-3


def test_a_unit_that_is_silent_for_one_sample_is_not_dead():
    e = small([Dense(1), ReLU(), Dense(1)], [1, 1, 0, 1, 0], "dense_1.W[0, 0]", x=((1.0, 1.0), (-1.0, -1.0)))
    (quiet,) = [t for t in e.samples if t.row == 1]
    assert quiet.product == 0
    e = small([Dense(1), ReLU(), Dense(1)], [1, 1, 0, 1, 0], "dense_1.W[0, 0]", x=((1.0, 1.0), (-1.0, -1.0)))
    e._sample = 1
    assert "silent for this sample" in "\n".join(lines(e))


def test_a_dropped_unit_has_a_note():
    network = Network([Dense(8), Dropout(0.9), Dense(1)], 1, dtype="float64")
    texts = []
    for unit in range(8):
        e = explain(network, network.draw(), np.ones((1, 1)), np.zeros((1, 1)), "mse", "sgd", f"dense_1.W[0, {unit}]")
        texts.append("\n".join(lines(e)))
    assert any("dropped in this step" in text for text in texts)


def test_accumulated_mini_batches_are_explained():
    data, seen = load("iris"), []
    trained = train("4 tanh", data, epochs=1, optimizer="sgd 0.1 accumulate=3", callbacks=[seen.append])
    records = [record for event in seen if isinstance(event, Stepped) for record in event.chunk.steps()]
    problem = trained.plan.problem(len(data.training.x))
    waiting = Explanation(problem, records[1], data.training, "dense_1.W[0, 0]")
    assert waiting.stages[-1].output is None
    assert "no step yet" in waiting.stages[0].formula
    assert waiting.value_before == waiting.value_after
    taken = Explanation(problem, records[2], data.training, "dense_1.W[0, 0]")
    assert "of the 2 mini-batches before" in taken.stages[0].formula
    assert taken.stages[-1].output == taken.update != 0


@pytest.mark.parametrize("name", optimizers.NAMED)
def test_the_formula_of_each_stage_ends_in_its_output(name):
    """The output of a stage is among the numbers of its formula."""
    data, seen = load("iris"), []
    extras = "" if name == "lbfgs" else " clip=0.01 average=0.9"
    chain = optimizer(name + extras).then(stages.Plateau())
    train("4 tanh", data, epochs=2, optimizer=chain, dtype="float64", callbacks=[seen.append])
    record = [record for event in seen if isinstance(event, Stepped) for record in event.chunk.steps()][-1]
    problem = seen[0].plan.problem(len(data.training.x))
    e = Explanation(problem, record, data.training, "dense_1.W[1, 2]")
    for stage in e.stages:
        tokens = stage.formula.replace("(", " ").replace(")", " ").replace(";", " ").split()
        numbers = [float(word) for word in tokens if word.lstrip("-").replace(".", "").replace("e-", "").isdigit()]
        assert (
            any(n == pytest.approx(stage.output, rel=1e-4, abs=1e-12) for n in numbers) or "u = g;" in stage.formula
        ), stage


class TestTheWorkedExample:
    """The numbers that Mazur (2015) published, digit for digit."""

    @pytest.mark.parametrize(
        ("weight", "after"),
        [
            ("dense_1.W[0, 0]", 0.149780716),
            ("dense_1.W[1, 0]", 0.19956143),
            ("dense_1.W[0, 1]", 0.24975114),
            ("dense_1.W[1, 1]", 0.29950229),
            ("dense_2.W[0, 0]", 0.35891648),
            ("dense_2.W[1, 0]", 0.408666186),
            ("dense_2.W[0, 1]", 0.511301270),
            ("dense_2.W[1, 1]", 0.561370121),
        ],
    )
    def test_weights_after_one_step(self, weight, after):
        assert worked_example(weight).value_after == pytest.approx(after, abs=5e-10 if len(str(after)) > 10 else 5e-9)

    def test_the_loss(self):
        assert worked_example().proof.loss_before == pytest.approx(0.298371109, abs=5e-10)

    def test_the_hidden_weights_delta_and_both_its_paths(self):
        e = worked_example()
        assert e.gradient == pytest.approx(0.000438568, abs=5e-10)
        activation = e.chain.terms[0]
        assert str(activation.unit) == "sigmoid_1[0]"
        assert activation.delta == pytest.approx(0.036350306, abs=5e-10)
        assert activation.local_derivative == pytest.approx(0.241300709, abs=5e-10)
        # The published products are of rounded factors, hence the tolerance in the last place.
        through = {str(t.unit): t.local_derivative * t.delta for t in activation.terms}
        assert through["dense_2[0]"] == pytest.approx(0.055399425, abs=1e-9)
        assert through["dense_2[1]"] == pytest.approx(-0.019049119, abs=1e-9)
        assert e.has_all_paths
        assert [" > ".join(str(unit) for unit in path.units) for path in e.paths] == [
            "dense_1[0] > sigmoid_1[0] > dense_2[0] > sigmoid_2[0]",
            "dense_1[0] > sigmoid_1[0] > dense_2[1] > sigmoid_2[1]",
        ]

    def test_the_gradient_and_update_lines(self):
        e = worked_example()
        assert gradient_line(e) == "dL/d dense_1.W[0, 0] = +0.0004386 (sample 0) = 0.0004386"
        assert update_line(e) == "dense_1.W[0, 0]: 0.15 - 0.0002193 = 0.1497807"


def test_of_too_many_paths_the_strongest_are_listed():
    network = Network("40 tanh, 40 tanh, 40 tanh, 3", 5, dtype="float64")
    random = np.random.default_rng(0)
    x, y = random.normal(size=(8, 5)), random.normal(size=(8, 3))
    e = explain(network, network.draw(), x, y, "mse", "adam", "dense_1.W[0, 0]")
    assert not e.has_all_paths
    assert len(e.paths) > 10
    sizes = [abs(path.product) for path in e.paths]
    assert sizes == sorted(sizes, reverse=True)


def test_the_symbols_cover_every_layer_up_to_the_loss():
    network = Network("3 tanh, layernorm, 2", 2, dtype="float64")
    e = explain(network, network.draw(), np.ones((1, 2)), np.ones((1, 2)), "mse", "adam", "dense_1.W[0, 0]")
    for place in ("dense\\_1.W[0, 0]", "tanh\\_1", "layer\\_norm\\_1", "dense\\_2", "loss"):
        assert rf"\text{{{place}:}}" in e.latex


def test_the_symbols_leave_out_layers_off_the_paths():
    layers = [Dense(2), Branches([[Dense(2), Sigmoid()], [Dense(3), ReLU()]]), Residual([Dense(5)]), Dense(1)]
    network = Network(layers, 2, dtype="float64")
    x, y = np.ones((2, 2)), np.ones((2, 1))
    e = explain(network, network.draw(), x, y, "mse", "adam", "branches_1.branch_1.dense_1.W[1, 0]")
    assert [place for place, _ in e.rules] == [
        "branches_1.branch_1.dense_1.W[1, 0]",
        "branches_1.branch_1.sigmoid_1",
        "branches_1",
        "residual_1.dense_1",
        "residual_1",
        "dense_2",
        "loss",
    ]
    assert "i = 1" in e.rules[0][1]
    assert "j = 0" in e.rules[0][1]


def test_the_weight_of_a_sample_is_a_separate_factor():
    network = Network("3 tanh, 1", 2, dtype="float64")
    x, y = np.ones((2, 2)), np.ones((2, 1))
    weighted = {"sample_weight": np.array([1.0, 2.5])}
    e = explain(network, network.draw(), x, y, "mse", "sgd", "dense_1.W[0, 0]", **weighted)
    light, heavy = sorted(e.samples, key=lambda term: term.row)
    assert (light.weight, heavy.weight) == (1.0, 2.5)
    assert heavy.product == pytest.approx(2.5 * light.product)
    last = list(opened(e.chain))[-1]
    assert last.loss.sample_weight * last.loss.slope / last.loss.samples == pytest.approx(last.delta)
    text = "\n".join(lines(e))
    assert "the sample's weight in its delta is 2.5" in text
    assert "2.5 (the sample's weight) x" in text


def test_a_penalty_is_a_separate_term():
    network = Network("3 tanh, 1", 2, dtype="float64")
    x, y = np.ones((2, 2)), np.ones((2, 1))
    penalties = {"penalties": (Penalty(0.01, 0.1), l2(0.5, on="*.b"))}
    e = explain(network, network.draw(), x, y, "mse", "sgd", "dense_1.W[0, 0]", **penalties)
    names = [name for name, _ in e.penalties]
    assert [name.partition(",")[0] for name in names] == ["L1 penalty", "L2 penalty"]
    assert e.data_gradient + sum(value for _, value in e.penalties) == pytest.approx(e.gradient, rel=1e-12)
    assert e.as_json()["samples"][-1]["product"] == e.penalties[-1][1]


def test_a_sample_is_shown_as_it_was_read(tmp_path):
    rows = [f"{k},{'Bern' if k % 2 else 'Basel'},{100 + 3 * k + k % 5}" for k in range(40)]
    (tmp_path / "houses.csv").write_text("rooms,city,price\n" + "\n".join(rows) + "\n")
    data, seen = load(tmp_path / "houses.csv", target="price"), []
    plan = train("4 tanh", data, epochs=1, callbacks=[seen.append]).plan
    record = next(record for event in seen if isinstance(event, Stepped) for record in event.chunk.steps())
    e = Explanation(plan.problem(len(data.training.x)), record, data.training, "dense_1.W[0, 0]", data=data)
    for term in e.samples:
        sample = e.read(term.row)
        rooms, city, price = rows[sample.row - 1].split(",")
        assert sample.values == {"rooms": int(rooms), "city": city}
        assert (sample.target, sample.source) == (float(price), str(tmp_path / "houses.csv"))
    first = e.read(e.samples[0].row)
    assert f"row {first.row} of {first.source}: rooms {first.values['rooms']}" in "\n".join(lines(e))
    assert e.as_json()["samples"][0]["row"] == first.row
    assert e.about == "the weight from input 0 (rooms) to unit 0 of dense_1"


def test_a_weight_behind_joined_branches_names_the_input_that_arrives_unchanged(tmp_path):
    towns = [f"town {k % 50}" for k in range(400)]
    rows = [f"{k % 7},{town},{3 * k % 11 + k % 50}" for k, town in enumerate(towns)]
    (tmp_path / "houses.csv").write_text("rooms,town,price\n" + "\n".join(rows) + "\n")
    data, seen = load(tmp_path / "houses.csv", target="price"), []
    layers = [Branches([[Dense(2), Sigmoid()], []]), Dense(1)]
    plan = train(layers, data, epochs=1, callbacks=[seen.append]).plan
    record = next(record for event in seen if isinstance(event, Stepped) for record in event.chunk.steps())
    number = data.input_names.index("town_town 7")
    for unit, source in ((1, "unit 1"), (2 + number, f"input {number} (town_town 7)")):
        weight = f"dense_1.W[{unit}, 0]"
        e = Explanation(plan.problem(len(data.training.x)), record, data.training, weight, data=data)
        assert e.about == f"the weight from {source} to unit 0 of dense_1"


def test_an_image_is_shown_in_the_page():
    data, seen = load("digits"), []
    plan = train("4 tanh", data, epochs=1, callbacks=[seen.append]).plan
    record = next(record for event in seen if isinstance(event, Stepped) for record in event.chunk.steps())
    e = Explanation(plan.problem(len(data.training.x)), record, data.training, "dense_1.W[20, 0]", data=data)
    assert e.read(e.samples[0].row).picture.shape == (8, 8)
    assert e.about == "the weight from pixel 20 (row 2, column 4) to unit 0 of dense_1"
    assert 'src="data:image/png;base64,' in page(e)


def test_a_term_of_0_has_its_reason():
    e = small([Dense(1), ReLU(), Dense(1)], [1, 1, 0, 1, 0], "dense_1.W[0, 0]", x=((0.0, 2.0), (-1.0, -1.0)))
    text = "\n".join(lines(e))
    assert "none: its input is 0" in text
    assert "none: its delta is 0" in text


@pytest.mark.parametrize(
    ("chain", "numbers"),
    [
        ("sgd 0.1 schedule=cosine", "0.1 x (1 + cos(pi x 2 / 4)) / 2 = 0.05"),
        ("sgd 0.1 schedule=polynomial", "0.1 x (1 - 2 / 4) = 0.05"),
        ("sgd 0.1 schedule=exponential", "0.1 x 0.01^(2 / 4) = 0.01"),
        ("sgd 0.1 warmup=4", "0.1 x 3 / 5, warming up, = 0.06"),
        ("sgd 0.1 clip=0.001", "u = g x min(1, 0.001 / "),
    ],
)
def test_the_learning_rate_is_derived_from_its_schedule(chain, numbers):
    data, seen = load("iris"), []
    plan = train("4 tanh", data, epochs=1, optimizer=chain, callbacks=[seen.append]).plan
    record = [record for event in seen if isinstance(event, Stepped) for record in event.chunk.steps()][2]
    e = Explanation(plan.problem(len(data.training.x)), record, data.training, "dense_1.W[0, 0]")
    assert numbers in " ".join(stage.formula for stage in e.stages)


@pytest.mark.parametrize(
    ("weight", "about"),
    [
        ("dense_1.W[1, 2]", "the weight from input 1 to unit 2 of dense_1"),
        ("dense_1.b[2]", "the bias of unit 2 of dense_1"),
        ("dense_2.W[2, 0]", "the weight from unit 2 to unit 0 of dense_2"),
        ("layer_norm_1.scale[1]", ""),
    ],
)
def test_the_units_that_a_weight_connects_are_named(weight, about):
    network = Network("3 tanh, layernorm, 1", 2, dtype="float64")
    e = explain(network, network.draw(), np.ones((1, 2)), np.ones((1, 1)), "mse", "sgd", weight)
    assert e.about == about
    assert about in "\n".join(lines(e))
