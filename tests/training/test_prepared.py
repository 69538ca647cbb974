"""Prepared samples are not prepared again; predictions for held-out sets name their rows."""

import datetime

import numpy as np
import polars as pl
import pytest

import engines
from chainrule.data import Prepared, Samples, from_arrays, load
from chainrule.errors import DataError, SettingError, ShapeError
from chainrule.runs import Recorder, Run, train
from chainrule.training import Stepped

RANDOM = np.random.default_rng(0)


def table():
    rows = 200
    size, kind = RANDOM.uniform(40, 200, rows), RANDOM.choice(["flat", "house"], rows)
    day = datetime.date(2020, 1, 1)
    return pl.DataFrame(
        {
            "size": size,
            "kind": kind,
            "sold": [day + datetime.timedelta(days=k) for k in range(rows)],
            "price": size * 1000 + 50_000 * (kind == "house"),
        }
    )


SETS = {
    "numbers and classes": lambda: "iris",
    "numbers and quantities": lambda: "diabetes",
    "images": lambda: "digits",
    "a table": table,
    "several quantities": lambda: (X, np.stack([3 * X[:, 0] + 7, X.sum(axis=1)], axis=1)),
}
X = RANDOM.normal(5, 3, size=(120, 4))


@pytest.fixture(scope="module", params=SETS)
def trained(request):
    return train("8 tanh", load(SETS[request.param]()), epochs=3, patience=None)


def test_prepared_samples_are_used_as_they_are(trained):
    data = trained.data
    read = data.source.take(data.test_rows)
    for use in (trained.predict, trained.probabilities, trained.raw):
        expected = use(read)
        assert (expected is None) == (use(data.test.x) is None)
        if expected is not None:
            for samples in (data.test.x, data.test, Samples(np.asarray(data.test.x), data.test.y), data.test.x.copy()):
                np.testing.assert_array_equal(use(samples), expected)
    assert trained.evaluate() == trained.evaluate(read)
    for what in (data.test, (data.test.x, data.test.y), [data.test.x, data.test.y], (data.test.x, read.target)):
        assert trained.evaluate(what) == pytest.approx(trained.evaluate(), rel=1e-6)


def test_selected_rows_stay_prepared_and_results_of_arithmetic_do_not(trained):
    x, y = trained.data.test.x, trained.data.test.y
    rows = np.array([3, 1, 4])
    outputs = trained.raw(x)
    for chosen in (slice(5), slice(None, None, 2), rows, np.arange(len(x)) % 3 == 0, rows.tolist()):
        assert isinstance(x[chosen], Prepared)
        assert isinstance(y[chosen], Prepared)
        np.testing.assert_allclose(trained.raw(x[chosen]), outputs[chosen], rtol=1e-5, atol=1e-5)
    for computed in (x + 1, 2 * x, np.exp(x), x @ np.ones((x.shape[-1], 2)), x.mean(axis=0), x > 0, np.asarray(x)):
        assert not isinstance(computed, Prepared)
    for joined in (np.concatenate([x, x[:2]]), np.vstack([x, x]), np.take(x, rows, axis=0), np.split(x, [2])[1]):
        assert isinstance(joined, Prepared)
    assert not isinstance(np.concatenate([x, np.asarray(x)]), Prepared)
    assert isinstance((2 * x).view(Prepared), Prepared)
    changed = x.copy()
    changed[0] = 0
    assert isinstance(changed, Prepared)
    assert not np.shares_memory(changed, x)
    assert isinstance(x.astype(np.float64), Prepared)
    total = np.zeros_like(np.asarray(x))
    np.add(x, x, out=total)
    np.testing.assert_array_equal(total, np.asarray(x) * 2)


def test_prepared_samples_of_another_shape_are_rejected():
    trained = train("4 tanh", load("iris"), epochs=1)
    with pytest.raises(ShapeError, match="samples of shape"):
        trained.predict(load("diabetes").test.x)


def test_plain_arrays_are_samples_as_they_were_read():
    trained = train("8 tanh", load("iris"), epochs=5)
    data = trained.data
    read = data.source.take(data.test_rows).features
    np.testing.assert_array_equal(trained.predict(read), trained.predict(data.test.x))
    np.testing.assert_array_equal(trained.predict(read.tolist()), trained.predict(data.test))
    unscaled = data.test.x * data.preparation.deviation + data.preparation.mean
    np.testing.assert_allclose(trained.raw(unscaled), trained.raw(data.test), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("engine", engines.NAMES)
def test_engines_get_plain_arrays(engine):
    types = set()

    def note_types(event):
        if isinstance(event, Stepped):
            types.update({type(event.chunk.batches.x), type(event.chunk.batches.y)})

    trained = train("4 tanh", load("iris"), epochs=1, engine=engine, callbacks=[note_types])
    assert types == {np.ndarray}
    assert type(trained.raw(trained.data.test)) is np.ndarray
    assert type(trained.predict(trained.data.test)) is np.ndarray


@pytest.mark.parametrize("part", ["test", "validation"])
def test_predictions_for_a_held_out_set(part, trained):
    held_out, data = trained.held_out(part), trained.data
    read = data.source.take(held_out.rows - 1)
    np.testing.assert_array_equal(held_out.targets, read.target)
    np.testing.assert_array_equal(held_out.predictions, trained.predict(read))
    assert held_out.predictions.shape == held_out.targets.shape
    if data.task == "classification":
        np.testing.assert_array_equal(held_out.probabilities, trained.probabilities(read))
    else:
        assert held_out.probabilities is None
    rows = np.concatenate([data.rows, data.validation_rows, data.test_rows])
    np.testing.assert_array_equal(np.sort(rows), np.arange(len(data.source)))


def test_rows_are_numbered_as_in_explanations(tmp_path):
    pl.DataFrame({"place": np.arange(60), "wild": RANDOM.normal(size=60), "kind": ["a", "b", "c"] * 20}).write_csv(
        tmp_path / "data.csv"
    )
    train("4 tanh", load(tmp_path / "data.csv"), epochs=1, callbacks=[Recorder(tmp_path / "run")])
    run = Run.open(tmp_path / "run")
    held_out = run.trained.held_out("test", data := run.load_data())
    for row, target in zip(held_out.rows, held_out.targets, strict=True):
        assert data.source.sample(row - 1).row == row
        assert data.source.sample(row - 1).values["place"] == row - 1
        assert data.source.sample(row - 1).target == target
    with pytest.raises(DataError, match="the data is missing"):
        run.trained.held_out("test")


def test_missing_held_out_sets():
    x, y = RANDOM.normal(size=(30, 2)), RANDOM.integers(0, 2, 30)
    trained = train("4 tanh", from_arrays(x, y, validation=(x[:5], y[:5])), epochs=1)
    with pytest.raises(DataError, match="there is no test set"):
        trained.held_out()
    with pytest.raises(SettingError, match=r"unknown held-out set 'training'; .*validation"):
        trained.held_out("training")
    held_out = trained.held_out("validation")
    assert held_out.rows is None
    np.testing.assert_array_equal(held_out.targets, y[:5])
    other = train("4 tanh", load((x, y), validation=(x[:7], y[:7])), epochs=1)
    assert other.held_out("validation").rows is None, "they are not rows of the training data"
    np.testing.assert_array_equal(other.held_out("validation").targets, y[:7])
    np.testing.assert_array_equal(other.evaluate(other.data.validation), other.evaluate((x[:7], y[:7])))
