"""The native module validates its arguments: a mistake is a ValueError, never a memory error."""

import numpy as np
import pytest

from chainrule import losses
from chainrule.descent import optimizer
from chainrule.engine import Batches, Problem, native
from chainrule.engine.buffers import padded
from chainrule.engine.native import NativeEngine
from chainrule.network import Network
from engines import needs_native

pytestmark = needs_native

SAMPLES, BATCH = 10, 4
BATCHES = 3


class Call:
    """A native engine and valid arguments, of which tests replace one at a time."""

    def __init__(self, network="5 tanh, batchnorm, 3", chain="adam", loss=None):
        network = Network(network, 6)
        self.problem = Problem(network, loss or losses.CategoricalCrossEntropy(), optimizer(chain))
        random = np.random.default_rng(0)
        x, y = random.normal(size=(SAMPLES, 6)).astype(np.float32), random.integers(0, 3, SAMPLES)
        engine = NativeEngine(self.problem)
        self.program = engine._training_program(Batches(x, y, None, np.arange(SAMPLES), BATCH))
        self.predictor = engine._program(SAMPLES).engine
        self.engine = self.program.engine
        parameters = padded(network.draw(), "float32")
        self.states = self.problem.optimizer.start(parameters, network.parameters)
        self.arguments = {
            "parameters": parameters,
            "statistics": padded(network.start_statistics(), "float32"),
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
        return [stage.memory(self.states) for stage in self.program.stages]

    def run(self, batch=BATCH, lend=True, **replaced):
        if lend:
            self.engine.lend(self.memory())
        names = ("parameters", "statistics", "x", "y", "weight", "order", "losses", "gradient", "update")
        *samples, losses, gradient, update = ((self.arguments | replaced)[name] for name in names)
        return self.engine.run(*samples, batch, 0, 10.0, losses, gradient, update, replaced.get("watch"))

    def watch(self, place=0):
        """Valid arguments for watching."""
        return place, np.zeros((BATCHES, self.engine.watched)), np.zeros(SAMPLES)

    def differentiate(self, **replaced):
        names = ("parameters", "statistics", "x", "y", "weight", "order", "gradient")
        *samples, gradient = ((self.arguments | {"order": np.arange(BATCH)} | replaced)[name] for name in names)
        return self.engine.differentiate(*samples, 0, gradient)

    def predict(self, **replaced):
        names = ("parameters", "statistics", "x", "predictions")
        return self.predictor.predict(*((self.arguments | replaced)[name] for name in names))


@pytest.fixture(scope="module")
def call():
    return Call()


INVALID = {
    "shorter": lambda a: a[:-1],
    "empty": lambda a: a[:0],
    "of another dtype": lambda a: a.astype(np.float64 if a.dtype == np.float32 else np.float32),
    "with gaps": lambda a: np.repeat(a, 2)[::2],
    "two-dimensional": lambda a: a[None],
    "read-only": lambda a: read_only(a),
    "not an array": lambda a: a.tolist(),
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


def test_valid_arguments_are_accepted(call):
    assert call.run() == (BATCHES, native.COMPLETE)
    assert call.differentiate()[1] is True
    assert call.predict() is True
    assert call.predict(predictions=call.arguments["predictions"].reshape(-1, 1)) is True
    assert call.run(gradient=None, update=None, weight=None, order=None) == (BATCHES, native.COMPLETE)
    assert call.run(losses=np.zeros(BATCHES + 5)) == (BATCHES, native.COMPLETE)


@pytest.mark.parametrize("kind", INVALID)
@pytest.mark.parametrize(("name", "vector"), [(name, vector) for name in VECTORS for vector in VECTORS[name]])
def test_an_invalid_vector(name, vector, kind, call):
    if (vector, kind) == ("predictions", "two-dimensional"):
        return  # predictions may have any shape
    with pytest.raises(ValueError, match=vector):
        getattr(call, name)(**{vector: INVALID[kind](call.arguments[vector])})


@pytest.mark.parametrize("name", VECTORS)
def test_a_missing_vector(name, call):
    for vector in {*VECTORS[name]} - {"gradient", "update"}:
        with pytest.raises(TypeError):
            getattr(call, name)(**{vector: None})


@pytest.mark.parametrize("name", ["run", "differentiate"])
def test_targets_and_weights_must_match_the_samples(name, call):
    for array in ("x", "y", "weight"):
        for invalid in (call.arguments[array][:-1], call.arguments[array][:0]):
            with pytest.raises(ValueError, match="has length"):
                getattr(call, name)(**{array: invalid})


@pytest.mark.parametrize("row", [-1, SAMPLES, 2**62, -(2**63)])
@pytest.mark.parametrize("name", ["run", "differentiate"])
def test_a_row_out_of_range(name, row, call):
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
def test_samples_of_an_invalid_form(array, value, call):
    with pytest.raises(ValueError, match=array):
        call.run(**{array: value})


def test_mini_batches_larger_than_the_engine_allows(call):
    for batch in (0, -1, BATCH + 1, SAMPLES):
        with pytest.raises(ValueError, match="mini-batches of this size"):
            call.run(batch=batch)
    with pytest.raises(ValueError, match="mini-batches of this size"):
        call.differentiate(order=np.arange(SAMPLES))
    with pytest.raises(ValueError, match="there are fewer predictions"):
        call.engine.prediction(BATCH + 1)


def test_what_is_watched_is_validated(call):
    place, numbers, parts = call.watch()
    assert call.run(watch=(place, numbers, parts)) == (BATCHES, native.COMPLETE)
    assert parts.all()
    assert numbers[-1, 0] == call.arguments["parameters"][0]
    for invalid, message in [
        ((-1, numbers, parts), "no parameter"),
        ((call.problem.network.parameters.size, numbers, parts), "no parameter"),
        (("0", numbers, parts), "no parameter"),
        ((place, numbers[1:], parts), "numbers has length"),
        ((place, numbers.astype("float32"), parts), "numbers must be"),
        ((place, read_only(numbers), parts), "numbers must be"),
        ((place, numbers, parts[1:]), "parts has length"),
        ((place, numbers, np.zeros(2 * SAMPLES)[::2]), "parts must be"),
        ((place, numbers), "watch must be"),
    ]:
        with pytest.raises(ValueError, match=message):
            call.run(watch=invalid)
    with pytest.raises(ValueError, match="takes a gradient and an update"):
        call.run(watch=(place, numbers, parts), gradient=None)


OPTIMIZERS = [
    *("sgd", "momentum", "nesterov", "adagrad", "adadelta", "rmsprop", "rprop", "adam", "amsgrad", "nadam", "radam"),
    *("adamax", "lion", "muon", "lbfgs", "adam accumulate=2 average=0.9 clip=1"),
]


@pytest.mark.parametrize("chain", OPTIMIZERS)
def test_every_optimizers_state_is_validated(chain):
    call = Call(chain=chain)
    call.run()
    for k, (vectors, count, scale) in enumerate(call.memory()):
        invalid = [
            *(([*vectors[:j], v[:-1], *vectors[j + 1 :]], count, scale) for j, v in enumerate(vectors)),
            *(([*vectors[:j], v.astype("float64"), *vectors[j + 1 :]], count, scale) for j, v in enumerate(vectors)),
            ([*vectors, vectors[-1] if vectors else call.arguments["parameters"]], count, scale),
            (vectors, np.zeros(()) if count is None else None, scale),
            (vectors, count, np.zeros((), np.int64) if scale is None else None),
            *([] if count is None else [(vectors, count.astype("float64"), scale), (vectors, count[None], scale)]),
            (vectors, count),
        ]
        for lent in invalid:
            memory = call.memory()
            memory[k] = lent
            with pytest.raises(ValueError, match=f"stage {k}'s"):
                call.engine.lend(memory)
            with pytest.raises(ValueError, match="state was not lent"):
                call.run(lend=False)
    with pytest.raises(ValueError, match="optimizer's state has length"):
        call.engine.lend(call.memory()[:-1])


def test_state_is_lent_for_one_run(call):
    call.run()
    with pytest.raises(ValueError, match="state was not lent"):
        call.run(lend=False)


PLACES = {"W": (0, 18), "b": (18, 21)}
SETTINGS = {"relu": False, "slope": False}


def engine_of_a_dense():
    engine = native.native.Engine32("", 4, 1)
    engine.value(1, 6, False)
    engine.value(1, 3, True)
    engine.op("dense", [0], [1], [False], PLACES, {}, SETTINGS)
    return engine


def test_an_engine_must_be_finished_first():
    engine = engine_of_a_dense()
    vector, x = padded(np.zeros(21), "float32"), np.zeros((4, 6), np.float32)
    with pytest.raises(ValueError, match="not finished"):
        engine.predict(vector, vector[:0], x, np.zeros(12, np.float32))
    with pytest.raises(ValueError, match="outside of the vectors"):
        engine.finish(1, 20, 0, False)
    engine.finish(1, 21, 0, False)
    assert engine.predict(vector, vector[:0], x, np.zeros(12, np.float32))
    with pytest.raises(ValueError, match="not finished for training"):
        engine.differentiate(vector, vector[:0], x, x, None, np.arange(4), 0, vector)


@pytest.mark.parametrize(
    ("message", "change"),
    [
        ("there is no operation dence", {"name": "dence"}),
        ("too few inputs", {"inputs": [], "wants": []}),
        ("too few inputs", {"outputs": []}),
        ("before it is written", {"inputs": [1], "parameters": {"W": (0, 9)}}),
        ("written once", {"outputs": [0], "parameters": {"W": (0, 36)}}),
        ("as many rows", {"outputs": [2]}),
        ("wanted derivatives", {"wants": []}),
        ("lacks the array W", {"parameters": {}}),
        ("needs 18 numbers as W", {"parameters": {"W": (0, 17)}}),
        ("W lies outside", {"parameters": {"W": (-18, 0)}}),
        ("lacks the setting slope", {"settings": {"relu": True}}),
        ("needs a number as relu", {"settings": {"relu": "yes", "slope": 0}}),
        ("must be a number, a text or a list", {"settings": {"relu": None}}),
    ],
)
def test_an_invalid_operation(message, change):
    engine = native.native.Engine32("", 4, 1)
    for rows, width in ((1, 6), (1, 3), (2, 3)):
        engine.value(rows, width, True)
    valid = {"name": "dense", "inputs": [0], "outputs": [1], "wants": [False], "parameters": PLACES, "statistics": {}}
    with pytest.raises(ValueError, match=message):
        engine.op(**({**valid, "settings": SETTINGS} | change))
    for values in ({"inputs": [7]}, {"outputs": [-1]}):
        with pytest.raises(IndexError):
            engine.op(**({**valid, "settings": SETTINGS} | values))
    engine.op(**valid, settings=SETTINGS)
    with pytest.raises(ValueError, match="written once"):
        engine.op(**valid, settings=SETTINGS)
    with pytest.raises(ValueError, match="no operation writes the prediction"):
        engine.finish(2, 21, 0, False)


def test_stages_penalties_tables_and_schedules_are_validated(call):
    engine = native.native.Engine32("", 4, 1)
    with pytest.raises(ValueError, match="outside of the parameters"):
        engine.arrays([(-1, 3, 0)])
    with pytest.raises(ValueError, match="whole rows"):
        engine.arrays([(0, 5, 2)])
    engine.arrays([(0, 6, 2)])
    moments = {"beta1": 0.9, "beta2": 0.99, "epsilon": 1e-8}
    for name, settings, on in (
        ("adam", {"beta1": 0.9}, []),
        ("adam", moments, [1, 1]),
        ("lbfgs", {"memory": 0}, []),
        ("adan", moments, []),
    ):
        with pytest.raises(ValueError, match=r"stage|lacks the setting|L-BFGS"):
            engine.stage(name, settings, on, None)
    engine.stage("adam", moments, [1], None)
    with pytest.raises(ValueError, match="list of arrays"):
        engine.penalty(0.1, 0.1, [1, 1])
    with pytest.raises(ValueError, match="no rates"):
        native.native.Table().fill(0, [])
    for name, settings in (
        ("step", {}),
        ("step", {"every": 0.0, "factor": 0.5}),
        ("cosine", {"steps": 1.0}),
        ("warm_up", {"warmup": 3.0}),
        ("one_cycle", {}),
        ("stairs", {"steps": 1.0}),
        ("constant", {"rate": "fast"}),
    ):
        with pytest.raises(ValueError, match=r"schedule|warm-up|lacks the setting|needs a number"):
            native.native.Schedule(name, {"rate": 0.1} | settings, None)
    with pytest.raises(ValueError, match="rate has no schedule"):
        engine.stage("rate", {}, [], None)


def test_class_weights_and_targets_fit_the_loss():
    levels = {"levels": [0.1, 0.5, 0.9], "base": 0}
    plain = {"smoothing": 0, "class_weights": []}
    for name, settings, classes, width in (
        ("categorical", {"smoothing": 0, "class_weights": [1.0, 2.0]}, True, 1),
        ("categorical", plain, True, 3),
        ("categorical", plain, False, 1),
        ("binary", {"smoothing": 0, "class_weights": [1.0, 1.0]}, False, 3),
        ("quantiles", {**levels, "levels": []}, False, 3),
        ("quantiles", {**levels, "levels": [0.1, 0.9]}, False, 1),
        ("quantiles", {**levels, "base": 3}, False, 1),
        ("quantiles", {**levels, "base": -1}, False, 1),
        ("quantiles", {**levels, "base": float("nan")}, False, 1),
        ("quantiles", levels, True, 1),
        ("ordinal", {"class_weights": []}, False, 3),
        ("ordinal", {"class_weights": [1.0, 1.0, 1.0]}, True, 1),
        ("cathegorical", plain, True, 1),
    ):
        with pytest.raises(ValueError, match=r"class|target|base|no loss"):
            train_with(name, settings, width, classes)
    engine = engine_of_a_dense()
    with pytest.raises(ValueError, match="has no loss"):
        engine.finish(1, 21, 0, True)
    train_with("categorical", plain, 1, True)


def train_with(*loss):
    engine = engine_of_a_dense()
    engine.loss(*loss)
    engine.finish(1, 21, 0, True)
