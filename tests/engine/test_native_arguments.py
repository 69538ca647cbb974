"""The native module looks at everything that it is given: a mistake in Python is a ValueError,
never a memory error.
"""

import numpy as np
import pytest

from chainrule import losses
from chainrule.descent import optimizer
from chainrule.engine import Batches, Problem, native
from chainrule.engine.native import NativeEngine, _padded
from chainrule.network import Network

pytestmark = pytest.mark.skipif(not native.is_built(), reason="the native engine was not built")

SAMPLES, BATCH = 10, 4
BATCHES = 3


class Call:
    """A native engine and arguments that suit it, to spoil one at a time."""

    def __init__(self, network="5 tanh, batchnorm, 3", how="adam", loss=None):
        network = Network(network, 6)
        self.problem = Problem(network, loss or losses.CategoricalCrossEntropy(), optimizer(how))
        random = np.random.default_rng(0)
        x, y = random.normal(size=(SAMPLES, 6)).astype(np.float32), random.integers(0, 3, SAMPLES)
        engine = NativeEngine(self.problem)
        self.program = engine._program(Batches(x, y, None, np.arange(SAMPLES), BATCH))
        self.predictor = engine._predictor(SAMPLES).made
        self.made = self.program.made
        parameters = _padded(network.draw(), "float32")
        self.states = self.problem.optimizer.start(parameters, network.parameters)
        self.given = {
            "parameters": parameters,
            "statistics": _padded(network.start_statistics(), "float32"),
            "x": x,
            "y": y,
            "weight": np.ones(SAMPLES),
            "order": np.arange(SAMPLES),
            "gradient": np.zeros_like(parameters),
            "update": np.zeros_like(parameters),
            "losses": np.zeros(BATCHES),
            "predictions": np.zeros(SAMPLES * 3, dtype=np.float32),
        }

    def memory(self):
        return [stage.held(self.states) for stage in self.program.stages]

    def run(self, batch=BATCH, lend=True, **spoilt):
        g = self.given | spoilt
        if lend:
            self.made.lend(self.memory())
        return self.made.run(
            g["parameters"], g["statistics"], g["x"], g["y"], g["weight"], g["order"], batch, 0, 10.0, g["losses"],
            g["gradient"], g["update"],
        )  # fmt: skip

    def differentiate(self, **spoilt):
        g = self.given | {"order": np.arange(BATCH)} | spoilt
        return self.made.differentiate(
            g["parameters"], g["statistics"], g["x"], g["y"], g["weight"], g["order"], 0, g["gradient"]
        )

    def predict(self, **spoilt):
        g = self.given | spoilt
        return self.predictor.predict(g["parameters"], g["statistics"], g["x"], g["predictions"])


@pytest.fixture(scope="module")
def call():
    return Call()


SPOILT = {
    "shorter": lambda a: a[:-1],
    "empty": lambda a: a[:0],
    "of another type": lambda a: a.astype(np.float64 if a.dtype == np.float32 else np.float32),
    "with gaps": lambda a: np.repeat(a, 2)[::2],
    "of two axes": lambda a: a[None],
    "read only": lambda a: read_only(a),
    "no array": lambda a: a.tolist(),
}
VECTORS = {
    "run": ["parameters", "statistics", "gradient", "update", "losses"],
    "differentiate": ["parameters", "statistics", "gradient"],
    "predict": ["parameters", "statistics", "predictions"],
}


def read_only(array):
    view = array.view()
    view.setflags(write=False)
    return view


def test_what_suits_is_taken(call):
    assert call.run() == (BATCHES, native.COMPLETE)
    assert call.differentiate()[1] is True
    assert call.predict() is True
    assert call.run(gradient=None, update=None, weight=None, order=None) == (BATCHES, native.COMPLETE)
    assert call.run(losses=np.zeros(BATCHES + 5)) == (BATCHES, native.COMPLETE)


@pytest.mark.parametrize("how", SPOILT)
@pytest.mark.parametrize(("name", "vector"), [(name, vector) for name in VECTORS for vector in VECTORS[name]])
def test_a_vector_that_does_not_suit(name, vector, how, call):
    with pytest.raises(ValueError, match=vector):
        getattr(call, name)(**{vector: SPOILT[how](call.given[vector])})


@pytest.mark.parametrize("name", VECTORS)
def test_a_vector_that_is_missing(name, call):
    for vector in {*VECTORS[name]} - {"gradient", "update"}:
        with pytest.raises(TypeError):
            getattr(call, name)(**{vector: None})


@pytest.mark.parametrize("name", ["run", "differentiate"])
def test_targets_and_weights_are_as_many_as_samples(name, call):
    for array in ("x", "y", "weight"):
        for spoilt in (call.given[array][:-1], call.given[array][:0]):
            with pytest.raises(ValueError, match="has the length"):
                getattr(call, name)(**{array: spoilt})


@pytest.mark.parametrize("row", [-1, SAMPLES, 2**62, -(2**63)])
@pytest.mark.parametrize("name", ["run", "differentiate"])
def test_a_row_that_there_is_not(name, row, call):
    with pytest.raises(ValueError, match="order has a row"):
        getattr(call, name)(order=np.array([0, 1, row]))


@pytest.mark.parametrize(
    ("array", "value"),
    [
        ("x", np.zeros((SAMPLES, 5), np.float32)),
        ("x", np.zeros((SAMPLES, 7), np.float32)),
        ("x", np.zeros((SAMPLES, 12), np.float32)[:, ::2]),
        ("x", np.zeros((6, SAMPLES), np.float32).T),
        ("x", np.zeros((SAMPLES, 6), np.float16)),
        ("x", np.float32(1)),
        ("y", np.zeros((SAMPLES, 2), np.int64)),
        ("y", np.zeros(SAMPLES, complex)),
        ("weight", np.ones((SAMPLES, 2))),
        ("order", np.arange(SAMPLES, dtype=np.int32)),
    ],
)
def test_samples_of_another_form(array, value, call):
    with pytest.raises(ValueError, match=array):
        call.run(**{array: value})


def test_mini_batches_that_the_engine_was_not_made_for(call):
    for batch in (0, -1, BATCH + 1, SAMPLES):
        with pytest.raises(ValueError, match="mini-batches of this size"):
            call.run(batch=batch)
    with pytest.raises(ValueError, match="mini-batches of this size"):
        call.differentiate(order=np.arange(SAMPLES))
    with pytest.raises(ValueError, match="not so many predictions"):
        call.made.prediction(BATCH + 1)


OPTIMIZERS = [
    *("sgd", "momentum", "nesterov", "adagrad", "adadelta", "rmsprop", "rprop", "adam", "amsgrad", "nadam", "radam"),
    *("adamax", "lion", "muon", "lbfgs", "adam accumulate=2 average=0.9 clip=1"),
]


@pytest.mark.parametrize("how", OPTIMIZERS)
def test_every_optimizers_memory_must_suit(how):
    call = Call(how=how)
    call.run()
    for k, (vectors, count, scale) in enumerate(call.memory()):
        spoilt = [
            *(([*vectors[:j], v[:-1], *vectors[j + 1 :]], count, scale) for j, v in enumerate(vectors)),
            *(([*vectors[:j], v.astype("float64"), *vectors[j + 1 :]], count, scale) for j, v in enumerate(vectors)),
            ([*vectors, vectors[-1] if vectors else call.given["parameters"]], count, scale),
            (vectors, np.zeros(()) if count is None else None, scale),
            (vectors, count, np.zeros((), np.int64) if scale is None else None),
            *([] if count is None else [(vectors, count.astype("float64"), scale), (vectors, count[None], scale)]),
            (vectors, count),
        ]
        for held in spoilt:
            memory = call.memory()
            memory[k] = held
            with pytest.raises(ValueError, match=f"stage {k}'s"):
                call.made.lend(memory)
            with pytest.raises(ValueError, match="memory was not lent"):
                call.run(lend=False)
    with pytest.raises(ValueError, match="optimizer's memory has the length"):
        call.made.lend(call.memory()[:-1])


def test_memory_is_lent_for_one_run(call):
    call.run()
    with pytest.raises(ValueError, match="memory was not lent"):
        call.run(lend=False)


def test_an_engine_must_be_finished_first():
    made = native.native.Engine32("", 4, 1)
    made.value(1, 6, -1, False)
    made.value(1, 3, -1, True)
    made.dense(0, 1, 0, 18, False, False, False)
    vector, x = _padded(np.zeros(21), "float32"), np.zeros((4, 6), np.float32)
    with pytest.raises(ValueError, match="not finished"):
        made.predict(vector, vector[:0], x, np.zeros(12, np.float32))
    with pytest.raises(ValueError, match="outside of the vectors"):
        made.finish(1, 20, 0, False)
    made.finish(1, 21, 0, False)
    assert made.predict(vector, vector[:0], x, np.zeros(12, np.float32))
    with pytest.raises(ValueError, match="not finished for training"):
        made.differentiate(vector, vector[:0], x, x, None, np.arange(4), 0, vector)


def test_stages_penalties_tables_and_schedules_lack_nothing(call):
    made = native.native.Engine32("", 4, 1)
    with pytest.raises(ValueError, match="outside of the parameters"):
        made.arrays([(-1, 3, 0)])
    with pytest.raises(ValueError, match="unfinished row"):
        made.arrays([(0, 5, 2)])
    made.arrays([(0, 6, 2)])
    for rule, numbers, on in ((12, [0.9], []), (23, [0.0], []), (99, [], []), (-1, [], []), (0, [], [1, 1])):
        with pytest.raises(ValueError, match=r"stage|rule|L-BFGS"):
            made.stage(rule, numbers, on, None)
    with pytest.raises(ValueError, match="list of arrays"):
        made.penalty(0.1, 0.1, [1, 1])
    for stage, rates in ((0, [0.1]), (99, [0.1])):
        with pytest.raises(ValueError, match=r"no table|no such stage"):
            call.made.table(stage, 0, rates)
    for kind, numbers in ((1, []), (1, [0.0, 0.5]), (3, [1.0]), (5, [3.0]), (6, []), (7, [0.0]), (8, []), (-1, [])):
        with pytest.raises(ValueError, match=r"schedule|warm-up"):
            native.native.Schedule(kind, 0.1, numbers, None)


def test_class_weights_and_targets_fit_the_loss():
    for weights, classes, width in (([1.0, 2.0], True, 1), ([], True, 3), ([], False, 1)):
        made = native.native.Engine32("", 4, 1)
        made.value(1, 6, -1, False)
        made.value(1, 3, -1, True)
        made.dense(0, 1, 0, 18, False, False, False)
        made.loss(0, 0.0, weights, classes, width)
        with pytest.raises(ValueError, match=r"class|target"):
            made.finish(1, 21, 0, True)
