"""The JAX engine against the definitions, with the layers and losses of test_native.py.

Tolerances are relative to the largest number of an array: 1e-5 in float32, 1e-12 in float64. Each
operation is computed without compiling whole programs, which takes long; some networks are compiled.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from chainrule import layers, losses
from chainrule.arrays import Scaled
from chainrule.descent import optimizer, optimizers
from chainrule.engine import Batches, Problem
from chainrule.engine.jax import JaxEngine, engine
from chainrule.engine.numpy import NumpyEngine
from chainrule.errors import ShapeError
from chainrule.layers import Dense, Embedding, Flatten, Input, TiedDense
from chainrule.losses import MeanSquaredError
from chainrule.network import Network
from engine_cases import CLOSE, EVERYTHING, WIDE, Half, near, normal, position_of
from waiting import WAIT


def agree(network, loss, x, y, weight=None, penalties=(), chain="sgd 0.1"):
    """Compare a step and a prediction of the engine with the definitions'."""
    problem = Problem(network, loss, optimizer(chain), penalties, seed=7)
    at = position_of(problem)
    batch = Batches(x, y, weight, np.random.default_rng(2).permutation(len(x)), len(x))
    [expected] = NumpyEngine(problem).steps(at, batch)
    tried = JaxEngine(problem)
    [actual] = tried.steps(at, batch)
    near(actual.loss, expected.loss, network.dtype)
    near(actual.gradient, expected.gradient, network.dtype)
    near(actual.after.statistics, expected.after.statistics, network.dtype)
    near(actual.after.parameters, expected.after.parameters, network.dtype)
    predicted = tried.predict(at.parameters, x, at.statistics)
    near(predicted, network.predict(at.parameters, x, at.statistics), network.dtype)
    return tried, actual, expected


@pytest.mark.parametrize("dtype", CLOSE)
def test_layers(dtype):
    """All of them side by side: each after a Dense of its own, whose gradient comes through it."""
    every = layers.Branches([[Dense(9), make(), Flatten()] for make in WIDE.values()])
    network = Network([every, Dense(4)], 5, dtype)
    x, y = normal(0, 7, 5, dtype=dtype), normal(1, 7, 4, dtype=dtype)
    tried, actual, expected = agree(network, losses.MeanSquaredError(), x, y)
    assert tried.notes == ()
    entries = network.parameters.entries
    for owner in {entry.owner for entry in entries}:
        places = np.concatenate([np.r_[entry.place] for entry in entries if entry.owner == owner])
        scale = max(float(np.abs(expected.gradient[places]).max()), 1e-3)
        atol = CLOSE[dtype] * scale
        np.testing.assert_allclose(actual.gradient[places], expected.gradient[places], rtol=0, atol=atol, err_msg=owner)


def test_embeddings_and_shared_layers():
    x, shared, embedding = Input((6,)), Dense(4, activation="tanh"), Embedding(9, 4)
    z = embedding(x)
    z = layers.Add()(shared(z), layers.Multiply()(z, shared(shared(z))))
    network = Network(inputs=x, outputs=Dense(2)(Flatten()(TiedDense(embedding)(z))), dtype="float64")
    tokens = np.random.default_rng(0).integers(0, 9, (5, 6))
    assert agree(network, MeanSquaredError(), tokens, normal(1, 5, 2))[0].notes == ()


def whole(dtype="float32", chain="momentum 0.05 clip=1"):
    """A training of everything, with dropout and batch norm, whose last mini-batch is smaller."""
    problem = Problem(
        Network(EVERYTHING, 21, dtype), losses.CategoricalCrossEntropy(), optimizer(chain), (losses.l2(0.1),), seed=5
    )
    x, y = normal(0, 200, 21, dtype=dtype), np.random.default_rng(1).integers(0, 5, 200)
    weight = np.random.default_rng(3).random(200)
    return problem, position_of(problem), Batches(x, y, weight, np.random.default_rng(2).permutation(200), 30)


def test_a_training_takes_the_steps_of_the_definition_bit_for_bit_again(monkeypatch):
    problem, at, batches = whole()
    monkeypatch.setattr(engine, "SLICE", WAIT)
    tried = JaxEngine(problem)
    chunks, records = list(tried.chunks(at, batches)), list(tried.steps(at, batches))
    assert 1 < len(chunks) < len(batches)
    for expected, actual in zip(NumpyEngine(problem).steps(at, batches), records, strict=True):
        near(actual.loss, expected.loss, "float32")
        near(actual.gradient, expected.gradient, "float32", 5)  # rounding adds up over the steps
        near(actual.after.parameters, expected.after.parameters, "float32", 20)
        near(actual.after.statistics, expected.after.statistics, "float32")
    np.testing.assert_array_equal(np.concatenate([chunk.losses for chunk in chunks]), [one.loss for one in records])
    last = records[-1]
    for after in (chunks[-1].after, chunks[-1].last.after):  # in a chunk, and replayed from its beginning
        np.testing.assert_array_equal(after.parameters, last.after.parameters)
        np.testing.assert_array_equal(after.statistics, last.after.statistics)
        for state, other in zip(after.states, last.after.states, strict=True):
            assert {name: array.tolist() for name, array in state.items()} == {k: a.tolist() for k, a in other.items()}
    [again] = JaxEngine(problem).steps(records[3].before, batches.cut(3, 4))  # another engine, a single step
    np.testing.assert_array_equal(again.gradient, records[3].gradient)
    np.testing.assert_array_equal(again.update, records[3].update)


class Cube(layers.activations.Activation):
    """A user's layer."""

    def value(self, z):
        return z**3

    def derivative(self, z, a):
        return 3 * z * z


class Wave(layers.activations.Activation):
    """A user's layer, whose outputs are bounded."""

    def value(self, z):
        return np.sin(z)

    def derivative(self, z, a):
        return np.cos(z)


class Broken(Cube):
    """A user's layer that can't go back."""

    def backward(self, params, saved, dy, wants_input=True):
        raise RuntimeError("broken layer")


class Odd(MeanSquaredError):  # noqa: N818
    """A user's loss."""

    def row_losses(self, prediction, target):
        return 2 * super().row_losses(prediction, target)

    def row_slopes(self, prediction, target):
        return 2 * super().row_slopes(prediction, target)


@pytest.mark.parametrize(
    ("inner", "loss", "chain", "note"),
    [
        (Cube(), Odd(), "momentum 0.01", ("Cube is not known to JAX: each step calls", "Odd is not known to JAX")),
        (
            Wave(),
            MeanSquaredError(),
            optimizers.chain(Half()),
            ("Wave is not", "Half is not known to JAX: the optimizer"),
        ),
    ],
)
def test_what_jax_does_not_know_runs_by_its_definition_and_a_note_says_so(inner, loss, chain, note):
    network = Network([Dense(6), layers.BatchNorm(), inner, Dense(2)], 4, "float64")
    problem = Problem(network, loss, optimizer(chain), (losses.l2(0.1),), seed=7)
    at, batches = position_of(problem), Batches(normal(0, 40, 4), normal(1, 40, 2), None, np.arange(40), 8)
    tried = JaxEngine(problem)
    *_, last = tried.chunks(at, batches)
    *_, expected = NumpyEngine(problem).steps(at, batches)
    near(last.after.parameters, expected.after.parameters, "float64")
    near(last.after.statistics, expected.after.statistics, "float64")
    np.testing.assert_array_equal(last.last.after.parameters, last.after.parameters)
    for part, message in zip(note, tried.notes, strict=True):
        assert part in message


def small(*hidden, loss=None, outputs=2, inputs=(3,)):
    """A problem that is quick to compile."""
    return Problem(Network([*hidden, Dense(outputs)], inputs), loss or MeanSquaredError(), optimizer("sgd 0.1"))


def test_an_error_in_a_users_layer_propagates():
    problem = small(Dense(6), Broken())
    batches = Batches(normal(0, 40, 3), normal(1, 40, 2), None, np.arange(40), 8)
    with pytest.raises(RuntimeError, match="broken layer"):
        list(JaxEngine(problem).chunks(position_of(problem), batches))


def test_a_non_finite_number_is_located_at_its_step(monkeypatch):
    problem, tried = small(Dense(6, activation="tanh")), None
    tried = JaxEngine(problem)
    for bad in (0, 7, 19):
        x, y = normal(0, 40, 3, dtype="float32"), normal(1, 40, 2, dtype="float32")
        x[2 * bad + 1, 1] = np.inf
        monkeypatch.setattr(engine, "SLICE", WAIT)
        chunks = list(tried.chunks(position_of(problem), Batches(x, y, None, np.arange(40), 2)))
        first = next(k for k, chunk in enumerate(chunks) if not chunk.finite)
        assert sum(len(chunk.losses) for chunk in chunks[:first]) == bad
        assert len(chunks[first].losses) == 1
        if bad:
            *_, good = tried.steps(position_of(problem), Batches(x, y, None, np.arange(2 * bad), 2))
            np.testing.assert_array_equal(chunks[first].before.parameters, good.after.parameters)


def test_invalid_input_is_reported_by_the_definition():
    x, y, order = normal(0, 40, 3), normal(1, 40, 2), np.arange(40)
    classes, categories = np.zeros(40, np.int64), np.zeros((40, 2))
    classes[33], categories[21, 1] = 6, 9
    problem = small()
    of_classes = small(loss=losses.CategoricalCrossEntropy(), outputs=6)
    of_categories = small(Embedding(4, 3), Flatten(), inputs=(2,))
    for tried, batches, error, message in (
        (of_classes, Batches(x, classes, None, order, 4), ShapeError, "distinguishes 6 classes"),
        (of_categories, Batches(categories, y, None, order, 4), ShapeError, "whole numbers from 0 to 3"),
        (problem, Batches(x[:, :2], y, None, order, 4), ShapeError, "samples of shape"),
        (problem, Batches(x, y[:, :1], None, order, 4), ShapeError, "the target has the shape"),
        (problem, Batches(x, y, np.ones((40, 2)), order, 4), ShapeError, "sample weights have the shape"),
        (problem, Batches(x, y, None, np.array([0, 99]), 2), ValueError, "a row that is out of range"),
    ):
        with pytest.raises(error, match=message):
            list(JaxEngine(tried).chunks(position_of(tried), batches))
    network = of_categories.network
    with pytest.raises(ShapeError, match="whole numbers from 0 to 3"):
        JaxEngine(of_categories).predict(network.draw(), categories, network.start_statistics())


def test_samples_of_any_kind_are_read_the_same():
    problem = small()
    tried, at, y = JaxEngine(problem), position_of(problem), normal(1, 30, 2, dtype="float32")
    x = np.random.default_rng(0).integers(0, 2, (30, 3))
    ends = {}
    for kind in ("float32", "float64", "uint8", "int64", "float16", "bool", ">f4"):
        *_, last = tried.chunks(at, Batches(x.astype(kind), y, None, np.arange(30), 8))
        ends[kind] = last.after.parameters
    bytes_of_x = Scaled(x.astype(np.uint8), np.ones(3, np.float32), np.zeros(3, np.float32))
    *_, last = tried.chunks(at, Batches(bytes_of_x, y, None, np.arange(30), 8))
    for after in (*ends.values(), last.after.parameters):
        np.testing.assert_array_equal(after, ends["float32"])
    empty = Batches(np.zeros((0, 3)), np.zeros((0, 2)), None, np.arange(0), 8)
    assert list(tried.chunks(at, empty)) == []
    assert tried.predict(at.parameters, empty.x, at.statistics).shape == (0, 2)


def test_products_in_bfloat16_keep_weights_in_float32():
    problem, at, batches = whole()
    batch = batches.cut(0, 1)
    [actual], [expected] = (
        JaxEngine(problem, compute="bfloat16").steps(at, batch),
        NumpyEngine(problem).steps(at, batch),
    )
    assert actual.after.parameters.dtype == actual.gradient.dtype == np.float32
    difference = np.linalg.norm(actual.gradient - expected.gradient) / np.linalg.norm(expected.gradient)
    assert 1e-4 < difference < 0.05  # eight bits of a number are kept


def test_the_precision_of_the_users_own_jax_stays():
    with jax.enable_x64(False):
        problem = small()
        batch = Batches(normal(0, 8, 3), normal(1, 8, 2), None, np.arange(8), 8)
        for _ in JaxEngine(problem).chunks(position_of(problem), batch):
            assert jnp.ones(1, float).dtype == np.float32
        assert jnp.ones(1, float).dtype == np.float32
