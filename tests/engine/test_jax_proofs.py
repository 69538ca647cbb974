"""What is proved of the native engine, of the JAX engine: bits, what callers may rely on, networks of
any shape, and what users write themselves.

Programs that are compiled once serve several tests; a network that is compiled for one example is
compiled without optimizations.
"""

import threading
from dataclasses import dataclass

import jax
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from chainrule import layers, losses
from chainrule.descent import optimizer
from chainrule.engine import Batches, Problem
from chainrule.engine.base import is_finite
from chainrule.engine.jax import JaxEngine, engine
from chainrule.engine.jax.program import lower
from chainrule.engine.jax.tables import OPERATIONS
from chainrule.engine.lowering.declared import DECLARED
from chainrule.engine.lowering.network import LAYERS
from chainrule.engine.numpy import NumpyEngine
from chainrule.errors import ShapeError
from chainrule.layers import LSTM, BatchNorm, Conv, ConvTranspose, Dense, Dropout, Flatten, Input, Scan
from chainrule.network import Network
from chainrule.runs import Recorder, Run, train
from chainrule.training import Stepped
from engine_cases import WIDE, Half, Odd, near, normal, position_of
from jax_cases import agree
from waiting import WAIT

ROWS, SIZE = 24, 4


@pytest.fixture(scope="module")
def shared():
    """An engine that is compiled once, for samples whose order matters and depend on each other."""
    network = Network([Dense(6, activation="tanh"), BatchNorm(), Dropout(0.3), Dense(3)], 4)
    how = optimizer("adam 0.01 clip=1 accumulate=2 average=0.9")
    return JaxEngine(Problem(network, losses.CategoricalCrossEntropy(), how, (losses.l2(0.01),), seed=5))


def batches_of(x=None, y=None, weight=None):
    """Mini-batches in a random order, some rows twice, with a weight of each sample."""
    random = np.random.default_rng(2)
    x = normal(0, ROWS, 4, dtype="float32") if x is None else x
    y = random.integers(0, 3, ROWS) if y is None else y
    weight = random.random(ROWS) if weight is None else weight
    return Batches(x, y, weight, random.integers(0, ROWS, ROWS), SIZE)


def bits(position):
    """All the numbers of a position."""
    arrays = [position.parameters, position.statistics, *(a for state in position.states for a in state.values())]
    return position.step, [np.asarray(array).tobytes() for array in arrays]


# Bits


@settings(max_examples=8, deadline=None)
@given(cuts=st.sets(st.integers(1, ROWS // SIZE - 1)), slice_of=st.sampled_from([0.0, WAIT]))
def test_calls_of_any_number_of_steps_give_the_same_bits(shared, cuts, slice_of):
    """And so does a training that is ended between any two steps, and resumed."""
    batches, at = batches_of(), position_of(shared.problem)
    records = list(shared.steps(at, batches))
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(engine, "SLICE", slice_of)
        chunks, here = [], at
        for start, stop in zip([0, *sorted(cuts)], [*sorted(cuts), len(batches)], strict=True):
            parts = list(shared.chunks(here, batches.cut(start, stop)))
            chunks, here = [*chunks, *parts], parts[-1].after
    assert bits(here) == bits(records[-1].after)
    assert np.concatenate([chunk.losses for chunk in chunks]).tolist() == [record.loss for record in records]
    assert bits(chunks[-1].last.after) == bits(here)


def test_what_was_handed_out_stays_and_what_is_handed_in_is_only_read(shared, monkeypatch):
    monkeypatch.setattr(engine, "SLICE", 0.0)
    shared = JaxEngine(shared.problem)  # whose pace is not known yet
    at, batches = position_of(shared.problem), batches_of()
    states = [array for state in at.states for array in state.values() if isinstance(array, np.ndarray)]
    for array in (at.parameters, at.statistics, *states, batches.x, batches.y, batches.weight, batches.order):
        array.flags.writeable = False
    before = bits(at)
    kept = [(chunk, bits(chunk.before), bits(chunk.after)) for chunk in shared.chunks(at, batches)]
    records = list(shared.steps(at, batches))
    assert len(kept) > 1
    assert bits(at) == before
    for chunk, start, end in kept:
        first = chunk.before.step - at.step
        assert start == bits(chunk.before) == bits(records[first].before)
        assert end == bits(chunk.after) == bits(records[first + len(chunk.losses) - 1].after)


def test_samples_of_any_layout_are_read_the_same(shared, tmp_path):
    plain = batches_of()
    np.save(tmp_path / "x.npy", plain.x)
    at = position_of(shared.problem)
    *_, expected = shared.chunks(at, plain)
    x = plain.x
    for layout in (
        np.asfortranarray(x), np.repeat(x, 2, axis=0)[::2], x[::-1][::-1], np.load(tmp_path / "x.npy", mmap_mode="r"),
    ):  # fmt: skip
        *_, last = shared.chunks(at, Batches(layout, plain.y, plain.weight, plain.order, SIZE))
        assert bits(last.after) == bits(expected.after)


def test_predictions_in_several_threads_have_the_same_bits(shared):
    """As pages and estimators make them."""
    at, x = position_of(shared.problem), normal(1, 40, 4, dtype="float32")
    expected, found = shared.predict(at.parameters, x, at.statistics), []
    threads = [
        threading.Thread(
            target=lambda: found.append(JaxEngine(shared.problem).predict(at.parameters, x, at.statistics))
        )
        for _ in range(4)
    ]
    for one in threads:
        one.start()
    for one in threads:
        one.join(WAIT)
    assert [one.tobytes() for one in found] == [expected.tobytes()] * 4


# Numbers that are not finite


@pytest.mark.parametrize(("bad", "chain"), [(3e38, "sgd 0.1"), (1.0, "sgd 1e39")])
def test_a_step_is_finite_as_it_is_by_the_definition(bad, chain):
    """Where the loss is not, or the gradient of a finite loss, or only the weights after the update."""
    problem = Problem(Network([Dense(3, activation="relu"), Dense(2)], 3), losses.MeanAbsoluteError(), optimizer(chain))
    x, y = normal(0, 12, 3, dtype="float32"), normal(1, 12, 2, dtype="float32")
    x[7, 1] = bad
    at, batches = position_of(problem), Batches(x, y, None, np.arange(12), 4)
    ends = []
    with np.errstate(all="ignore"):
        for tried in (JaxEngine(problem), NumpyEngine(problem)):
            chunks = list(tried.chunks(at, batches.cut(0, 2)))
            ends.append([chunk.finite for chunk in chunks for _ in chunk.losses])
        records = [next(tried.steps(at, batches.cut(1, 2))) for tried in (JaxEngine(problem), NumpyEngine(problem))]
        assert is_finite(records[0]) == is_finite(records[1])
    first = [flags.index(False) if False in flags else None for flags in ends]
    assert first[0] == first[1]


def test_nan_is_predicted_where_the_definition_predicts_it(shared):
    at, x = position_of(shared.problem), np.full((2, 4), np.nan, np.float32)
    assert np.isnan(shared.predict(at.parameters, x, at.statistics)).all()
    relu = Network([Dense(4), layers.ReLU(), Dense(2)], 3)
    found = JaxEngine(Problem(relu, losses.MeanSquaredError(), optimizer("sgd"))).predict(
        relu.draw(), x[:, :3], relu.start_statistics()
    )
    assert np.isnan(found).all()


# Networks of any shape


def test_every_layer_that_the_native_engine_computes_has_an_operation():
    assert set(DECLARED.layers) >= set(LAYERS)
    network = Network([layers.Branches([[Dense(9), make(), Flatten()] for make in WIDE.values()])], 5)
    assert {op.name for op in lower(Problem(network, losses.HalfSquares(), optimizer("sgd"))).ops} <= set(OPERATIONS)


few = settings(max_examples=4, derandomize=True, deadline=None)
"""Each example is compiled, which takes half a second."""
SHAPES = st.integers(1, 40)
DTYPES = st.sampled_from(["float32", "float64"])


@st.composite
def graphs(draw):
    """A graph of layers with one and two inputs, some of them used twice."""
    x = Input(draw(SHAPES))
    values, used = [Dense(draw(SHAPES))(x)], []
    for _ in range(draw(st.integers(2, 6))):
        value = values[draw(st.integers(0, len(values) - 1))]
        other = values[draw(st.integers(0, len(values) - 1))]
        kind = draw(st.sampled_from(["dense", "again", "add", "multiply", "concatenate", "slice", "norm", "gelu"]))
        fits = value.shape == other.shape
        match kind:
            case "dense":
                used.append((Dense(draw(SHAPES), draw(st.sampled_from([None, "tanh", "relu"]))), value.shape))
                values.append(used[-1][0](value))
            case "again" if any(shape == value.shape for _, shape in used):
                values.append(next(layer for layer, shape in used if shape == value.shape)(value))
            case "add" if fits:
                values.append(value + other)
            case "multiply" if fits:
                values.append(value * other)
            case "concatenate":
                values.append(layers.Concatenate()(value, other))
            case "slice":
                values.append(value[draw(st.integers(0, value.shape[0] - 1)) :])
            case "norm":
                values.append(draw(st.sampled_from([layers.LayerNorm, BatchNorm, layers.RMSNorm]))()(value))
            case _:
                values.append(layers.GELU()(value))
    together = layers.Concatenate()(*values) if len(values) > 1 else values[0]
    return Network(inputs=x, outputs=Dense(draw(SHAPES))(together), dtype="float64")


@few
@given(network=graphs(), rows=st.sampled_from([3, 7, 16, 17]))
def test_graphs(network, rows):
    agree(network, normal(0, rows, *network.input_shape))


@pytest.mark.parametrize("kind", [Conv, ConvTranspose])
@few
@given(data=st.data(), axes=st.sampled_from([1, 2, 2, 3]), groups=st.sampled_from([1, 1, 2, 3]), dtype=DTYPES)
def test_convolutions(kind, data, axes, groups, dtype):
    sizes = st.tuples(*[st.integers(1, 4)] * axes)
    named = ["valid", "same", *["causal"] * (kind is Conv)]
    padding = data.draw(st.one_of(st.sampled_from(named), st.tuples(*[st.integers(0, 2)] * axes)))
    channels, units = (groups * data.draw(st.integers(1, 6)) for _ in range(2))
    layer = kind(
        units, data.draw(sizes), stride=data.draw(sizes), padding=padding, groups=groups, bias=data.draw(st.booleans()),
        dilation=data.draw(st.tuples(*[st.integers(1, 3)] * axes)),
    )  # fmt: skip
    shape = (*data.draw(st.tuples(*[st.integers(1, 8)] * axes)), channels)
    try:
        layer.build(shape)
    except ShapeError:
        assume(False)
    before = [Conv(channels, (1,) * axes), layers.Tanh()]  # so that the gradient of its input is needed
    agree(Network([*before, layer, Flatten(), Dense(2)], shape, dtype))


@settings(few, max_examples=3)
@given(
    heads=st.integers(1, 3), shared_by=st.integers(1, 2), width=st.integers(1, 4), time=st.integers(1, 9),
    causal=st.booleans(), rotary=st.booleans(), dropout=st.sampled_from([0.0, 0.3]), dtype=DTYPES, data=st.data(),
)  # fmt: skip
def test_attention_and_scans_of_any_lengths(heads, shared_by, width, time, causal, rotary, dropout, dtype, data):
    x, count = Input((time, 3)), Input(1)
    lengths = count.reshape()
    attention = layers.MultiHeadAttention(
        heads * shared_by, heads * shared_by * 2 * width, heads, causal=causal, rotary=rotary, dropout=dropout
    )
    cell = data.draw(st.sampled_from([layers.SimpleRNN, LSTM, layers.GRU]))(width, dropout)
    scanned = Scan(cell, all=True, reversed=data.draw(st.booleans()))(x, lengths)
    outputs = Dense(2)(Flatten()(attention(scanned, lengths)))
    network = Network(inputs=[x, count], outputs=outputs, dtype=dtype)
    values = normal(0, 3, *network.input_shape)
    values[:, -1] = data.draw(st.lists(st.integers(0, time), min_size=3, max_size=3))
    agree(network, values)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_large_shapes(dtype):
    network = Network([Dense(1024, activation="relu"), Dense(33)], 70, dtype)
    agree(network, normal(0, 257, 70))


@pytest.mark.parametrize(
    ("text", "shape"),
    [("resnet18 2, 3", (9, 8, 2)), ("embedding 11 8, transformer 2 heads=2 causal=true dropout=0.2, 11", (6,))],
)
def test_deep_networks(text, shape):
    network = Network(text, shape, dtype="float64")
    x = np.random.default_rng(0).integers(0, 11, (4, *shape)) if "embedding" in text else normal(0, 4, *shape)
    agree(network, x)


# What users write


class Cube(layers.Layer):
    """A layer with a parameter and a running statistic, in plain NumPy."""

    def build(self, input_shape):
        weights = layers.Parameter(input_shape[-1:], Dense(1, weights=0.3).weights)
        return layers.Built(input_shape, {"s": weights}, {"seen": ((1,), 0.0)})

    def forward(self, params, x, context):
        return params["s"] * x**3, x

    def backward(self, params, saved, dy, wants_input=True):
        ds = (dy * saved**3).reshape(-1, saved.shape[-1]).sum(axis=0)
        return (dy * params["s"] * 3 * saved**2 if wants_input else None), {"s": ds}

    def updated_statistics(self, params, saved):
        return {"seen": params["seen"] + len(saved)}


@dataclass(frozen=True)
class Peephole(LSTM):
    """A cell."""

    def step(self, x, *state):
        h, c = super().step(x, *state)
        return h + c, c


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_layers_and_cells_in_numpy_within_a_compiled_step(dtype):
    x, count = Input((4, 3)), Input(1)
    branches = [
        Scan(Peephole(3), all=True)(Dense(3)(x)),
        Scan(LSTM(3), all=True)(x, count.reshape()),
        Cube()(Dense(3)(x)),
        layers.UnitNorm()(Dense(3)(x)),
        layers.Clip(-0.3, 0.4)(Dense(3)(x)),
    ]
    outputs = Dense(2)(Flatten()(layers.Concatenate()(*branches)))
    network = Network(inputs=[x, count], outputs=outputs, dtype=dtype)
    values = normal(0, 3, *network.input_shape)
    values[:, -1] = [0, 4, 2]
    agree(network, values, python=True)


def test_everything_of_the_user_at_once():
    network = Network([Dense(6), Cube(), Flatten(), Dense(2)], 4, "float64")
    how = optimizer("adam 0.01").first(Half())
    problem = Problem(network, Odd(), how, (losses.l2(0.01),), seed=7)
    at, batches = position_of(problem), Batches(normal(0, 16, 4), normal(1, 16, 2), None, np.arange(16), 8)
    tried = JaxEngine(problem)
    actual, expected = list(tried.steps(at, batches)), list(NumpyEngine(problem).steps(at, batches))
    for one, other in zip(actual, expected, strict=True):
        near(one.gradient, other.gradient, "float64")
        near(one.after.parameters, other.after.parameters, "float64")
        np.testing.assert_array_equal(one.after.statistics, other.after.statistics)
    *_, last = tried.chunks(at, batches)
    assert bits(last.after) == bits(actual[-1].after)
    assert len(tried.notes) == 3


class Fails(Cube):
    """Raises what it is told to, forward or backward."""

    raises: tuple[str, type[BaseException]] | None = None

    def forward(self, params, x, context):
        self._fail("forward")
        return super().forward(params, x, context)

    def backward(self, params, saved, dy, wants_input=True):
        self._fail("backward")
        return super().backward(params, saved, dy, wants_input)

    def _fail(self, where):
        if Fails.raises is not None and Fails.raises[0] == where:
            raise Fails.raises[1]("users")


@pytest.mark.parametrize("where", ["forward", "backward"])
@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_what_a_users_layer_raises_is_raised_and_the_engine_goes_on_afterwards(where, error, monkeypatch):
    problem = Problem(Network([Dense(3), Fails(), Dense(2)], 3), losses.MeanSquaredError(), optimizer("sgd 0.1"))
    at, batches = position_of(problem), Batches(normal(0, 8, 3), normal(1, 8, 2), None, np.arange(8), 4)
    tried, was = JaxEngine(problem), jax.config.jax_enable_x64
    *_, expected = tried.chunks(at, batches)
    monkeypatch.setattr(Fails, "raises", (where, error))
    with pytest.raises(error, match="users"):
        list(tried.chunks(at, batches))
    assert jax.config.jax_enable_x64 == was
    monkeypatch.setattr(Fails, "raises", None)
    *_, last = tried.chunks(at, batches)
    assert bits(last.after) == bits(expected.after)


# Whole trainings

IRIS = {"batch_size": 35, "seed": 1, "optimizer": "adam 0.05", "patience": None, "dtype": "float64"}


def test_a_training_equals_that_of_the_definition():
    """With class weights, a penalty, metrics and a learning rate that depends on what is validated."""
    choices = {
        **IRIS, "class_weight": "balanced", "penalties": "l2 0.001", "metrics": ["accuracy", "f1"], "epochs": 4,
        "optimizer": "momentum 0.1 schedule=cosine clip=1 accumulate=2",
    }  # fmt: skip
    one, other = (train("4 tanh, dropout 0.2, batchnorm", "iris", engine=name, **choices) for name in ("jax", "numpy"))
    assert [list(row) for row in one.history] == [list(row) for row in other.history]
    for row, expected in zip(one.history, other.history, strict=True):
        assert row == pytest.approx(expected, rel=1e-9)
    near(one.parameters, other.parameters, "float64")


def test_a_training_that_was_stopped_or_has_failed_goes_on_with_the_same_bits(tmp_path):
    whole = train("4 tanh", "iris", engine="jax", epochs=3, **IRIS)

    def ended(end):
        def callback(event):
            if isinstance(event, Stepped) and event.chunk.after.step >= 3:
                end(event)

        return callback

    def fail(event):
        raise ZeroDivisionError("callback")

    train("4 tanh", "iris", engine="jax", epochs=3, **IRIS,
          callbacks=[Recorder(tmp_path / "stopped"), ended(lambda event: event.stop())])  # fmt: skip
    with pytest.raises(ZeroDivisionError, match="callback"):
        train("4 tanh", "iris", engine="jax", epochs=3, **IRIS, callbacks=[Recorder(tmp_path / "failed"), ended(fail)])
    for name in ("stopped", "failed"):
        run = Run.open(tmp_path / name)
        assert run.trained.progress.position.step < 9
        resumed = run.resume(epochs=3)
        assert resumed.parameters.tobytes() == whole.parameters.tobytes()
        assert Run.open(tmp_path / name).at(4).after.step == 5


def test_a_network_is_continued_from_position_to_position():
    network = Network("embedding 7 6, transformer 1 heads=2 causal=true, 7", 5, dtype="float64")
    tried = JaxEngine(Problem(network, losses.CategoricalCrossEntropy(), optimizer("sgd")))
    weights, tokens = network.draw(1), np.random.default_rng(0).integers(7, size=(2, 5))
    continuation = tried.continuation(weights, network.start_statistics(), 2)
    found = np.concatenate([continuation.read(tokens[:, k : k + 1]) for k in range(5)], axis=1)
    np.testing.assert_allclose(found, tried.predict(weights, tokens, network.start_statistics()), atol=1e-12)
