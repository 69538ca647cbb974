"""Every kernel against its definition: random shapes, both precisions, all instruction sets.

Tolerances are relative to the largest number of an array: 1e-5 in float32, 1e-12 in float64.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chainrule import layers, losses
from chainrule.descent import Point, adaptive, optimizer, optimizers, schedules
from chainrule.descent.stages import Stage
from chainrule.engine import Batches, Problem, native
from chainrule.engine.buffers import BufferPool
from chainrule.engine.lowering.descent import STAGES as LOWERED_STAGES
from chainrule.engine.lowering.descent import native_schedule
from chainrule.engine.lowering.loss import LOSSES
from chainrule.engine.lowering.network import LAYERS
from chainrule.engine.native import NativeEngine
from chainrule.engine.numpy import NumpyEngine
from chainrule.errors import ShapeError
from chainrule.kinds import kinds_of
from chainrule.layers import Dense, Dropout, Embedding, Flatten, Layer, ReLU, Reshape
from chainrule.layers.recurrence import GateSums
from chainrule.layers.settings import Block
from chainrule.layers.windows import Windowed
from chainrule.losses import Penalty
from chainrule.network import Network
from engine_cases import (
    CHAINS,
    CLASSES,
    CLOSE,
    CURVED,
    EVERYTHING,
    MATRICES,
    NORMS,
    QUANTITIES,
    SCHEDULES,
    WIDE,
    Half,
    Odd,
    all_stages,
    near,
    normal,
    position_of,
)
from engines import needs_native
from waiting import WAIT

pytestmark = needs_native
PROCESSORS = native.native.processors() if native.is_built() else []
same_everywhere = settings(max_examples=25, derandomize=True, deadline=None)  # kinks would fail
SIZES = st.integers(1, 40)
ROWS = st.sampled_from([1, 2, 3, 7, 15, 16, 17, 33, 50])
DTYPES = st.sampled_from(["float32", "float64"])


def agree(network, loss, x, y, weight=None, penalties=(), chain="sgd 0.1", threads=None):
    """Compare a step and a prediction of both engines."""
    problem = Problem(network, loss, optimizer(chain), penalties, seed=7)
    at = position_of(problem)
    batch = Batches(x, y, weight, np.random.default_rng(2).permutation(len(x)), len(x))
    [expected] = NumpyEngine(problem).steps(at, batch)
    for processor in PROCESSORS:
        engine = NativeEngine(problem, threads, processor)
        [actual] = engine.steps(at, batch)
        assert engine.notes == ()
        near(actual.loss, expected.loss, network.dtype)
        near(actual.gradient, expected.gradient, network.dtype)
        near(actual.after.statistics, expected.after.statistics, network.dtype)
        predicted = engine.predict(at.parameters, x, at.statistics)
        near(predicted, network.predict(at.parameters, x, at.statistics), network.dtype)
    return problem, at, batch


def test_every_layer_has_a_kernel_and_a_test():
    composites = {kind for kind in layers.KINDS if issubclass(kind, layers.Composite)}
    by_definition = {layers.While, layers.Clip, layers.Fixed, layers.Learned, layers.UnitNorm}
    assert set(LAYERS) - {GateSums} == set(layers.KINDS) - composites - by_definition
    tested = {type(make()) for make in WIDE.values()} | {Dense, Embedding}
    in_composites = {layers.Add, layers.Concatenate}
    from_settings = {layers.DotProductAttention, *(k for k in layers.KINDS if issubclass(k, Block))}
    from_settings |= {layers.Bidirectional, layers.Seasonal, layers.GRU, layers.LSTM, layers.Scan, layers.SimpleRNN}
    tested |= {layers.LearnedPositions, layers.SinusoidalPositions, layers.Rotary}  # these in test_sequences.py
    tested |= {layers.Mask, layers.ValidMax, layers.ValidMean, layers.Zeros}
    tested |= {layers.MaskedSoftmax, layers.MatMul, layers.Multiply, layers.Scale, layers.Slice, layers.TiedDense}
    tested |= {layers.Transpose}
    on_positions = {kind for kind in layers.KINDS if issubclass(kind, Windowed)}  # in test_windows.py
    on_positions |= {layers.GroupNorm}
    assert tested >= set(layers.KINDS) - by_definition - in_composites - from_settings - on_positions


@pytest.mark.parametrize("name", WIDE)
@same_everywhere
@given(rows=ROWS, inputs=SIZES, outputs=SIZES, dtype=DTYPES)
def test_layers(name, rows, inputs, outputs, dtype):
    network = Network([Dense(9), WIDE[name](), Flatten(), Dense(outputs)], inputs, dtype)
    agree(network, losses.HalfSquares(), normal(0, rows, inputs, dtype=dtype), normal(1, rows, outputs, dtype=dtype))


@same_everywhere
@given(rows=ROWS, widths=st.lists(SIZES, min_size=2, max_size=5), relu=st.booleans(), dtype=DTYPES)
def test_dense_of_any_shape(rows, widths, relu, dtype):
    hidden = [Dense(width, activation="relu" if relu else None) for width in widths[1:-1]]
    network = Network([*hidden, Dense(widths[-1])], widths[0], dtype)
    x, y = normal(0, rows, widths[0], dtype=dtype), normal(1, rows, widths[-1], dtype=dtype)
    agree(network, losses.HalfSquares(), x, y)


@pytest.mark.parametrize("dtype", CLOSE)
@pytest.mark.parametrize(
    ("rows", "inputs", "hidden", "outputs"), [(130, 1100, 65, 3), (64, 200, 512, 10), (257, 70, 1024, 33)]
)
def test_dense_of_large_shapes(rows, inputs, hidden, outputs, dtype):
    network = Network([Dense(hidden, activation="relu"), Dense(outputs)], inputs, dtype)
    x, y = normal(0, rows, inputs, dtype=dtype), normal(1, rows, outputs, dtype=dtype)
    agree(network, losses.MeanSquaredError(), x, y)


@same_everywhere
@given(rows=ROWS, positions=st.lists(st.integers(1, 4), max_size=2), inputs=SIZES, dtype=DTYPES)
def test_layers_over_positions(rows, positions, inputs, dtype):
    inner = [Dense(7, activation="relu"), layers.LayerNorm(), layers.BatchNorm(), layers.PReLU(), Dropout(0.5)]
    network = Network([*inner, Dense(3)], (*positions, inputs), dtype)
    shape = (rows, *positions)
    agree(network, losses.MeanSquaredError(), normal(0, *shape, inputs, dtype=dtype), normal(1, *shape, 3, dtype=dtype))


@same_everywhere
@given(rows=ROWS, count=st.integers(1, 9), units=SIZES, columns=st.integers(1, 4), dtype=DTYPES)
def test_embedding(rows, count, units, columns, dtype):
    network = Network([Embedding(count, units), Flatten(), Dense(2)], (columns,), dtype)
    x = np.random.default_rng(0).integers(0, count, (rows, columns))
    agree(network, losses.HalfSquares(), x, normal(1, rows, 2, dtype=dtype))


def test_every_loss_has_a_kernel_and_a_test():
    assert set(LOSSES) == {type(make()) for make in losses.NAMED.values()}
    tested = {type(make(3)) for make in CLASSES.values()} | {type(make()) for make in QUANTITIES.values()}
    assert tested == set(LOSSES)


@pytest.mark.parametrize("name", CLASSES)
@same_everywhere
@given(rows=ROWS, classes=st.integers(2, 20), weighted=st.booleans(), soft=st.booleans(), dtype=DTYPES)
def test_losses_of_classes(name, rows, classes, weighted, soft, dtype):
    random = np.random.default_rng(3)
    soft &= not name.startswith("ordinal")
    y = random.dirichlet(np.ones(classes), rows).astype(dtype) if soft else random.integers(0, classes, rows)
    network = Network([Dense(CLASSES[name](classes).outputs(classes) if "ordinal" in name else classes)], 4, dtype)
    weight = random.random(rows).astype(dtype) if weighted else None
    agree(network, CLASSES[name](classes), normal(0, rows, 4, dtype=dtype), y, weight)


@pytest.mark.parametrize("name", ["focal", "hinge", "squared hinge"])
@same_everywhere
@given(rows=ROWS, dtype=DTYPES)
def test_losses_of_two_classes_with_one_output(name, rows, dtype):
    y = np.random.default_rng(3).integers(0, 2, rows)
    agree(Network([Dense(1)], 4, dtype), CLASSES[name](2), normal(0, rows, 4, dtype=dtype), y)


@pytest.mark.parametrize("name", QUANTITIES)
@same_everywhere
@given(rows=ROWS, columns=st.integers(1, 20), weighted=st.booleans(), dtype=DTYPES)
def test_losses_of_quantities(name, rows, columns, weighted, dtype):
    loss = QUANTITIES[name]()
    columns += name == "Cosine"  # a single number has no direction: its slope is rounding error
    y = normal(1, rows, columns, dtype=dtype)
    y = np.abs(np.round(y)).clip(0, 1) if isinstance(loss, losses.BinaryCrossEntropy) else y
    network = Network([Dense(columns * (loss.outputs(3) // 3))], 4, dtype)
    weight = np.random.default_rng(3).random(rows).astype(dtype) if weighted else None
    agree(network, loss, normal(0, rows, 4, dtype=dtype), y, weight)


@same_everywhere
@given(rows=ROWS, columns=st.integers(1, 20), each=st.booleans(), dtype=DTYPES)
def test_labels_have_weights_of_their_own(rows, columns, each, dtype):
    random = np.random.default_rng(5)
    loss = losses.BinaryCrossEntropy(0.1, tuple(random.uniform(0.1, 3, 2 * columns if each else 2).tolist()))
    y = random.integers(0, 2, (rows, columns)).astype(dtype)
    agree(Network([Dense(columns)], 4, dtype), loss, normal(0, rows, 4, dtype=dtype), y)


def test_extreme_logits_stay_finite():
    network = Network([Dense(3, weights=1.0, biases=0.0)], 3, "float64")
    x = np.array([[0, 100, 5000], [-5000, 0, 1], [88, 89, 90.0]])
    for loss in (losses.CategoricalCrossEntropy(), losses.Focal(), losses.Hinge()):
        agree(network, loss, x, np.array([0, 1, 2]))


# Descent


def test_every_stage_has_a_kernel_and_a_test():
    assert set(kinds_of(Stage)) == {*LOWERED_STAGES, adaptive.ForMatrices}
    tested = [optimizer(chain) for chain in [*CHAINS, *NORMS, *MATRICES, *CURVED]]
    assert {type(stage) for chain in tested for stage in all_stages(chain.stages)} >= set(LOWERED_STAGES)


def descended(chain, dtype, penalties=()):
    network = Network([Dense(40, activation="relu"), Dense(3)], 50, dtype)
    problem = Problem(network, losses.CategoricalCrossEntropy(), optimizer(chain).over(12), penalties, seed=7)
    x, y = normal(0, 90, 50, dtype=dtype), np.random.default_rng(1).integers(0, 3, 90)
    at = position_of(problem)
    for record in NativeEngine(problem).steps(at, Batches(x, y, None, np.arange(90), 8)):
        point = Point(record.before.parameters, network.parameters)
        yield problem, record, problem.optimizer.step(record.gradient, record.before.states, point)


@pytest.mark.parametrize("dtype", CLOSE)
@pytest.mark.parametrize("chain", CHAINS, ids=str)
def test_elementwise_descent_equals_the_definition_bit_for_bit(chain, dtype):
    for _, record, expected in descended(chain, dtype):
        np.testing.assert_array_equal(record.update, expected.update)
        np.testing.assert_array_equal(record.after.parameters, expected.parameters)
        for state, other in zip(record.after.states, expected.states, strict=True):
            assert state.keys() == other.keys()
            for name in state:
                np.testing.assert_array_equal(state[name], other[name])


@pytest.mark.parametrize("dtype", CLOSE)
@pytest.mark.parametrize("chain", NORMS, ids=str)
def test_descent_by_norms(chain, dtype):
    for _, record, expected in descended(chain, dtype):
        near(record.update, expected.update, dtype)
        near(record.after.parameters, expected.parameters, dtype)


@pytest.mark.parametrize("dtype", CLOSE)
@pytest.mark.parametrize("chain", MATRICES, ids=str)
def test_descent_of_matrices(chain, dtype):
    for _, record, expected in descended(chain, dtype):
        near(record.update, expected.update, dtype, 10)  # fifteen products in a row
        for state, other in zip(record.after.states, expected.states, strict=True):
            assert state.keys() == other.keys()
            for name in state:
                near(state[name], other[name], dtype)


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (33, 65), (65, 33), (16, 16), (100, 784)])
@pytest.mark.parametrize("processor", PROCESSORS)
def test_orthogonal_matrices_of_any_shape(shape, processor):
    network = Network([Dense(shape[1])], shape[0], "float64")
    problem = Problem(network, losses.HalfSquares(), optimizer("muon 1.0"))
    at, x, y = position_of(problem), normal(0, 20, shape[0]), normal(1, 20, shape[1])
    batch = Batches(x, y, None, np.arange(20), 20)
    [actual] = NativeEngine(problem, processor=processor).steps(at, batch)
    [expected] = NumpyEngine(problem).steps(at, batch)
    near(actual.update, expected.update, "float64", 10)


@pytest.mark.parametrize("dtype", CLOSE)
@pytest.mark.parametrize("chain", CURVED, ids=str)
def test_descent_with_a_line_search(chain, dtype):
    network = Network([Dense(7, activation="tanh"), layers.BatchNorm(), Dropout(0.2), Dense(2)], 4, dtype)
    problem = Problem(network, losses.MeanSquaredError(), optimizer(chain), (losses.l2(0.01),), seed=7)
    x, y = normal(0, 40, 4, dtype=dtype), normal(1, 40, 2, dtype=dtype)
    at, batch = position_of(problem), Batches(x, y, None, np.arange(40), 40)
    for _ in range(9):
        [actual], [expected] = NativeEngine(problem).steps(at, batch), NumpyEngine(problem).steps(at, batch)
        near(actual.loss, expected.loss, dtype)
        near(actual.gradient, expected.gradient, dtype)
        near(actual.update, expected.update, dtype, 100)  # it divides differences
        near(actual.after.statistics, expected.after.statistics, dtype)
        for state, other in zip(actual.after.states, expected.after.states, strict=True):
            assert state.keys() == other.keys()
            for name in state:
                near(state[name], other[name], dtype)
        at = actual.after
    assert 2 <= at.states[-2]["known"] <= problem.optimizer.stages[-2].memory


@pytest.mark.parametrize("dtype", CLOSE)
def test_penalties(dtype):
    network = Network([Dense(40, activation="relu"), Dense(3)], 50, dtype)
    x, y = normal(0, 20, 50, dtype=dtype), np.random.default_rng(1).integers(0, 3, 20)
    both = (Penalty(0.01, 0.1), Penalty(l2=0.3, on="dense_2.*"))
    agree(network, losses.CategoricalCrossEntropy(), x, y, penalties=both, chain="adam clip=0.1")


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
def test_schedules(schedule):
    assert {type(s) for s in SCHEDULES} == set(kinds_of(schedules.Schedule))
    lowered = native_schedule(native.native, schedule)
    assert [lowered(step) for step in range(100)] == pytest.approx([schedule(step) for step in range(100)], rel=1e-14)


# Without a kernel


class Cube(Layer):
    """A user's layer with a parameter and a running statistic."""

    def build(self, input_shape):
        wide = input_shape[-1:]
        return layers.Built(
            input_shape, {"s": layers.Parameter(wide, Dense(1, weights=0.3).weights)}, {"seen": ((1,), 0.0)}
        )

    def forward(self, params, x, context):
        return params["s"] * x**3, x

    def backward(self, params, saved, dy, wants_input=True):
        x = saved
        ds = (dy * x**3).reshape(-1, x.shape[-1]).sum(axis=0)
        return (dy * params["s"] * 3 * x**2 if wants_input else None), {"s": ds}

    def updated_statistics(self, params, saved):
        return {"seen": params["seen"] + len(saved)}


@pytest.mark.parametrize(
    ("inner", "loss", "chain", "note"),
    [
        (Cube(), losses.MeanSquaredError(), "adam 0.01", "Cube has no kernel"),
        (layers.Tanh(), Odd(), "adam 0.01", "Odd has no kernel: everything"),
        (layers.Tanh(), losses.MeanSquaredError(), optimizers.chain(Half()), "no kernel for Half: the optimizer"),
        (
            layers.Tanh(),
            losses.MeanSquaredError(),
            optimizers.chain(adaptive.ForMatrices((Half(),), ())),
            "no kernel for Half",
        ),
    ],
)
def test_without_a_kernel_the_definition_runs_and_a_note_says_so(inner, loss, chain, note):
    network = Network([Dense(6), inner, Dense(5, activation="relu"), Dense(2)], 4, "float64")
    problem = Problem(network, loss, optimizer(chain), seed=7)
    at, batches = position_of(problem), Batches(normal(0, 40, 4), normal(1, 40, 2), None, np.arange(40), 8)
    engine = NativeEngine(problem)
    actual, expected = list(engine.steps(at, batches)), list(NumpyEngine(problem).steps(at, batches))
    for one, other in zip(actual, expected, strict=True):
        near(one.gradient, other.gradient, "float64")
        near(one.after.parameters, other.after.parameters, "float64")
        near(one.after.statistics, other.after.statistics, "float64")
    *_, last = engine.chunks(at, batches)
    np.testing.assert_array_equal(last.after.parameters, actual[-1].after.parameters)
    assert any(note in message for message in engine.notes)


def test_an_error_in_a_users_layer_propagates():
    class Broken(Cube):
        def backward(self, params, saved, dy, wants_input=True):
            raise RuntimeError("broken layer")

    network = Network([Dense(6), Broken(), Dense(2)], 4)
    problem = Problem(network, losses.MeanSquaredError(), optimizer("sgd"))
    batches = Batches(normal(0, 40, 4), normal(1, 40, 2), None, np.arange(40), 8)
    with pytest.raises(RuntimeError, match="broken layer"):
        list(NativeEngine(problem).chunks(position_of(problem), batches))


# The whole engine


@pytest.mark.parametrize("dtype", CLOSE)
@pytest.mark.parametrize("chain", ["adamw 0.01", "lamb clip=0.1", "muon", "lbfgs"])
def test_any_number_of_threads_gives_the_same_bits(dtype, chain, monkeypatch):
    monkeypatch.setattr(native, "MIN_PARALLEL_WORK", 0.0)
    problem = Problem(
        Network(EVERYTHING, 21, dtype), losses.CategoricalCrossEntropy(), optimizer(chain), (losses.l2(0.1),)
    )
    x, y = normal(0, 200, 21, dtype=dtype), np.random.default_rng(1).integers(0, 5, 200)
    at, batches = position_of(problem), Batches(x, y, None, np.random.default_rng(2).permutation(200), 37)
    ended, predicted = [], []
    for threads in (1, 2, 3, 4):
        engine = NativeEngine(problem, threads)
        *_, last = engine.chunks(at, batches)
        ended.append(last.after)
        predicted.append(engine.predict(last.after.parameters, x, last.after.statistics))
    for after, prediction in zip(ended[1:], predicted[1:], strict=True):
        np.testing.assert_array_equal(after.parameters, ended[0].parameters)
        np.testing.assert_array_equal(after.statistics, ended[0].statistics)
        np.testing.assert_array_equal(prediction, predicted[0])


@pytest.mark.parametrize("chain", ["adamw 0.01", "lamb clip=0.1"])
def test_a_watched_run_takes_the_same_steps_with_any_number_of_threads(chain, monkeypatch):
    monkeypatch.setattr(native, "MIN_PARALLEL_WORK", 0.0)
    monkeypatch.setattr(native, "SLICE", 100.0)
    body = [layers.Conv(8, 3), layers.BatchNorm(), ReLU(), layers.Conv(8, 3, activation="relu"), Flatten(),
            Reshape((4, 8)), layers.LSTM(6), layers.LayerNorm(), Dense(5)]  # fmt: skip
    problem = Problem(Network(body, (6, 6, 2)), losses.CategoricalCrossEntropy(), optimizer(chain), (losses.l2(0.1),))
    x, y = normal(0, 90, 6, 6, 2, dtype="float32"), np.random.default_rng(1).integers(0, 5, 90)
    at, batches = position_of(problem), Batches(x, y, None, np.random.default_rng(2).permutation(90), 17)
    *_, expected = (chunk.after for chunk in NativeEngine(problem, 1).chunks(at, batches))
    gradients = [record.gradient for record in NativeEngine(problem, 1).steps(at, batches)]
    for entry in problem.network.parameters.entries:
        place = entry.start + entry.size // 2
        one, *others = (NativeEngine(problem, threads).watch(at, batches, place) for threads in (1, 2, 3))
        early = NativeEngine(problem, 2).watch(at, batches.cut(0, 2), place)
        later = NativeEngine(problem, 2).watch(early.after, batches.cut(2, len(batches)), place)  # resumed
        np.testing.assert_array_equal(one.after.parameters, expected.parameters, entry.name)
        np.testing.assert_array_equal(one.after.statistics, expected.statistics, entry.name)
        np.testing.assert_array_equal(one.gradients, [gradient[place] for gradient in gradients])
        np.testing.assert_array_equal(later.after.parameters, expected.parameters)
        joined = [*early.parts, *later.parts]
        for parts in (*(other.parts for other in others), joined):
            np.testing.assert_array_equal(np.concatenate(parts), np.concatenate(one.parts), entry.name)
        for other in others:
            np.testing.assert_array_equal(other.weights, one.weights)
            np.testing.assert_array_equal(other.updates, one.updates)
            assert other.losses.tolist() == one.losses.tolist()
            assert {k: v.tolist() for k, v in other.factors.items()} == {k: v.tolist() for k, v in one.factors.items()}


def test_buffers_are_reused_once_unreferenced(monkeypatch):
    monkeypatch.setattr(native, "SLICE", 0.0)
    network = Network([Dense(300), Dense(5)], 400)
    assert network.parameters.size > BufferPool.MIN_SIZE
    problem = Problem(network, losses.CategoricalCrossEntropy(), optimizer("adam 0.01"))
    x, y = normal(0, 200, 400, dtype="float32"), np.random.default_rng(1).integers(0, 5, 200)
    at, batches = position_of(problem), Batches(x, y, None, np.arange(200), 10)
    engine = NativeEngine(problem)
    for chunk in engine.chunks(at, batches):
        del chunk
    assert len(engine._buffers.buffers) == 6  # of two positions
    chunks = list(NativeEngine(problem).chunks(at, batches))
    for chunk, record in zip(chunks, NativeEngine(problem).steps(at, batches), strict=True):
        np.testing.assert_array_equal(chunk.before.parameters, record.before.parameters)
        np.testing.assert_array_equal(chunk.after.parameters, record.after.parameters)
        np.testing.assert_array_equal(chunk.after.states[0]["v"], record.after.states[0]["v"])


def test_chunks_of_any_length_give_the_same_bits(monkeypatch):
    problem = Problem(Network(EVERYTHING, 21), losses.CategoricalCrossEntropy(), optimizer("adam 0.01"))
    x, y = normal(0, 200, 21, dtype="float32"), np.random.default_rng(1).integers(0, 5, 200)
    at, batches = position_of(problem), Batches(x, y, None, np.random.default_rng(2).permutation(200), 10)
    monkeypatch.setattr(native, "SLICE", WAIT)  # however busy the machine is
    [whole] = NativeEngine(problem).chunks(at, batches)
    monkeypatch.setattr(native, "SLICE", 0.0)
    chunks = list(NativeEngine(problem).chunks(at, batches))
    assert len(chunks) == 20
    np.testing.assert_array_equal(chunks[-1].after.parameters, whole.after.parameters)
    np.testing.assert_array_equal(np.concatenate([chunk.losses for chunk in chunks]), whole.losses)


@pytest.mark.parametrize("dtype", CLOSE)
@pytest.mark.parametrize(
    "chain", ["adamw 0.01 schedule=cosine", "sgd 0.1 accumulate=3 average=0.9", "lion", "adam clip=1"]
)
def test_large_arrays_are_stepped_in_parts_to_the_same_bits(chain, dtype, monkeypatch):
    monkeypatch.setattr(native, "MIN_PARALLEL_WORK", 0.0)
    network = Network([Dense(300, activation="relu"), Dense(210, activation="relu"), Dense(1), Dense(10)], 130, dtype)
    assert network.parameters.size > 50_000  # LARGE in native/descent.h
    problem = Problem(network, losses.CategoricalCrossEntropy(), optimizer(chain).over(7))
    x, y = normal(0, 60, 130, dtype=dtype), np.random.default_rng(1).integers(0, 10, 60)
    at, batches = position_of(problem), Batches(x, y, None, np.random.default_rng(2).permutation(60), 9)
    *_, single = NativeEngine(problem).steps(at, batches)
    for threads in (1, 2, 3):
        *_, last = NativeEngine(problem, threads).chunks(at, batches)
        np.testing.assert_array_equal(last.after.parameters, single.after.parameters)
        for state, other in zip(last.after.states, single.after.states, strict=True):
            for name in state:
                np.testing.assert_array_equal(state[name], other[name])


def test_dropout_masks_equal_the_definitions_bit_for_bit():
    network = Network([Dense(13, weights=0.0, biases=1.0), Dropout(0.4)], 2, "float64")
    problem = Problem(network, losses.HalfSquares(), optimizer("sgd"), seed=11)
    at, batch = position_of(problem), Batches(normal(0, 50, 2), normal(1, 50, 13), None, np.arange(50), 50)
    [actual], [expected] = NativeEngine(problem).steps(at, batch), NumpyEngine(problem).steps(at, batch)
    near(actual.gradient, expected.gradient, "float64")  # one unit is 2 percent


@pytest.mark.parametrize("bad", [0, 7, 19])
def test_a_non_finite_number_is_located_at_its_step(bad):
    problem = Problem(Network("6 tanh, 2", 3), losses.MeanSquaredError(), optimizer("sgd 0.1"))
    x, y = normal(0, 40, 3, dtype="float32"), normal(1, 40, 2, dtype="float32")
    x[2 * bad + 1, 1] = np.inf
    chunks = list(NativeEngine(problem).chunks(position_of(problem), Batches(x, y, None, np.arange(40), 2)))
    first = next(k for k, chunk in enumerate(chunks) if not chunk.finite)
    assert sum(len(chunk.losses) for chunk in chunks[:first]) == bad
    assert len(chunks[first].losses) == 1
    good = list(NativeEngine(problem).steps(position_of(problem), Batches(x, y, None, np.arange(2 * bad), 2)))
    if bad:
        np.testing.assert_array_equal(chunks[first].before.parameters, good[-1].after.parameters)


def test_an_invalid_class_is_reported_by_the_definition():
    problem = Problem(Network("6 tanh, 2", 3), losses.CategoricalCrossEntropy(), optimizer("sgd 0.1"))
    y = np.zeros(40, dtype=np.int64)
    y[33] = 5
    batches = Batches(normal(0, 40, 3, dtype="float32"), y, None, np.arange(40), 4)
    with pytest.raises(ShapeError, match="classes run from 0 to 5"):
        list(NativeEngine(problem).chunks(position_of(problem), batches))


def test_invalid_shapes_are_reported_by_the_definition():
    problem = Problem(Network("6 tanh, 2", 3), losses.MeanSquaredError(), optimizer("sgd 0.1"))
    x, y, order = normal(0, 40, 3), normal(1, 40, 2), np.arange(40)
    for batches, message in (
        (Batches(x[:, :2], y, None, order, 4), "samples of shape"),
        (Batches(x, y[:, :1], None, order, 4), "the target has the shape"),
        (Batches(x, y, np.ones((40, 2)), order, 4), "sample weights have the shape"),
    ):
        with pytest.raises(ShapeError, match=message):
            list(NativeEngine(problem).chunks(position_of(problem), batches))


def test_an_invalid_category_is_reported_by_the_definition():
    network = Network([Embedding(4, 3), Flatten(), Dense(2)], (2,))
    problem = Problem(network, losses.MeanSquaredError(), optimizer("sgd 0.1"))
    x = np.zeros((40, 2))
    x[21, 1] = 9
    batches = Batches(x, normal(1, 40, 2), None, np.arange(40), 4)
    with pytest.raises(ShapeError, match="whole numbers from 0 to 3"):
        list(NativeEngine(problem).chunks(position_of(problem), batches))
    with pytest.raises(ShapeError, match="whole numbers from 0 to 3"):
        NativeEngine(problem).predict(network.draw(), x, network.start_statistics())


@pytest.mark.parametrize("kind", ["float32", "float64", "uint8", "int32", "int64", "float16", "bool", ">f4", "int16"])
def test_samples_of_any_dtype_and_layout(kind):
    network = Network("6 tanh, 2", 3, "float32")
    problem = Problem(network, losses.MeanSquaredError(), optimizer("sgd 0.1"))
    x = np.random.default_rng(0).integers(0, 2, (300, 3)).astype(kind)
    y = normal(1, 300, 2, dtype="float32")
    at = position_of(problem)
    *_, plain = NativeEngine(problem).chunks(at, Batches(x.astype(np.float32), y, None, np.arange(300), 2))
    for layout in (x, np.asfortranarray(x), np.repeat(x, 2, axis=0)[::2], x[::-1][::-1]):
        *_, last = NativeEngine(problem).chunks(at, Batches(layout, y, None, np.arange(300), 2))
        np.testing.assert_array_equal(last.after.parameters, plain.after.parameters)


def test_a_memory_mapped_file_is_read_in_place(tmp_path):
    x, y = normal(0, 500, 20, dtype="float32"), np.random.default_rng(1).integers(0, 3, 500)
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    problem = Problem(Network("6 tanh, 3", 20), losses.CategoricalCrossEntropy(), optimizer("sgd 0.1"))
    order = np.random.default_rng(2).permutation(500)
    ends = [
        list(NativeEngine(problem).chunks(position_of(problem), Batches(a, y, None, order, 8)))[-1] for a in (x, mapped)
    ]
    np.testing.assert_array_equal(ends[0].after.parameters, ends[1].after.parameters)


def test_each_instruction_set_has_kernels():
    assert PROCESSORS[-1] == "baseline"
    for processor in PROCESSORS:
        assert native.native.Engine32(processor, 1, 1).processor == processor
    with pytest.raises(ValueError, match="does not support z80"):
        native.native.Engine32("z80", 1, 1)


def test_without_any_samples():
    network = Network("6 tanh, 3", 20)
    problem = Problem(network, losses.CategoricalCrossEntropy(), optimizer("sgd 0.1"))
    assert NativeEngine(problem).predict(network.draw(), np.zeros((0, 20)), network.start_statistics()).shape == (0, 3)
    empty = Batches(np.zeros((0, 20)), np.zeros(0, np.int64), None, np.arange(0), 8)
    assert list(NativeEngine(problem).chunks(position_of(problem), empty)) == []


def test_rows_out_of_range_are_an_error():
    problem = Problem(Network("6 tanh, 3", 20), losses.CategoricalCrossEntropy(), optimizer("sgd 0.1"))
    batches = Batches(normal(0, 5, 20, dtype="float32"), np.zeros(5, np.int64), None, np.array([0, 1, 99, 3]), 2)
    with pytest.raises(ValueError, match="order has a row that is out of range"):
        list(NativeEngine(problem).chunks(position_of(problem), batches))


def test_relu_propagates_nan():
    network = Network([Dense(4), ReLU(), Dense(2)], 3)
    problem = Problem(network, losses.MeanSquaredError(), optimizer("sgd"))
    x = np.full((2, 3), np.nan, dtype=np.float32)
    assert np.isnan(NativeEngine(problem).predict(network.draw(), x, network.start_statistics())).all()
