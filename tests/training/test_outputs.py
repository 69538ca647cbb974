"""Predictions that say more than one value: quantiles, a mean with a deviation, ordered classes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk

from chainrule import train
from chainrule.data import Samples, from_arrays, load
from chainrule.data.settings import Settings
from chainrule.errors import DataError, RunError, SettingError
from chainrule.explain import Explanation
from chainrule.explain.page import page
from chainrule.explain.scheme import draw
from chainrule.explain.text import lines
from chainrule.losses import GaussianNegativeLogLikelihood, Ordinal, Quantiles
from chainrule.runs import Recorder, Run
from chainrule.runs.recipe import from_json, to_json
from chainrule.training.ranks import RANKED
from chainrule.typed import misfit
from engines import NAMES

RANDOM = np.random.default_rng(0)
X = RANDOM.uniform(-1, 1, (1500, 2))
DEVIATION = 20 * (1.2 + X[:, 0])
Y = 500 + 100 * X[:, 1] + DEVIATION * RANDOM.normal(size=1500)
RANKS = np.searchsorted([-0.8, -0.3, 0.3, 0.8], X[:, 0] + X[:, 1] / 2 + 0.3 * RANDOM.normal(size=1500))
GRADES = np.array(["awful", "poor", "fair", "good", "great"])
ORDER = GRADES.tolist()
LEARNING = {"optimizer": "adam 0.01", "epochs": 30, "seed": 1}


@pytest.fixture(scope="module")
def quantiles():
    return train("16 tanh", (X, Y), loss="quantiles 0.05 0.25 0.5 0.75 0.95", **LEARNING)


@pytest.fixture(scope="module")
def gaussian():
    return train("16 tanh", (X, Y), loss="gaussian", **LEARNING)


@pytest.fixture(scope="module")
def ordinal():
    return train("16 tanh", load((X, GRADES[RANKS]), order=ORDER), **LEARNING)


def true_quantile(level):
    return 500 + 100 * X[:, 1] + DEVIATION * stats.norm.ppf(level)


def test_quantiles_of_noise_that_depends_on_the_sample_are_found_and_never_cross(quantiles):
    found = quantiles.quantiles(X)
    assert found.shape == (1500, 5)
    assert (np.diff(found, axis=1) >= 0).all()
    for level, column in zip(quantiles.plan.loss.levels, found.T, strict=True):
        assert np.mean(column >= Y) == pytest.approx(level, abs=0.05)
        assert np.abs(column - true_quantile(level)).mean() < 12  # in units in which the target deviates by 63
    np.testing.assert_array_equal(quantiles.predict(X), found[:, 2])


def test_an_interval_has_the_coverage_that_evaluate_reports(quantiles):
    lower, point, upper = quantiles.interval(quantiles.data.test, 0.5)
    held_out = quantiles.held_out("test")
    covered = (lower <= held_out.targets) & (held_out.targets <= upper)
    scores = quantiles.evaluate()
    assert scores["coverage_0.5"] == pytest.approx(covered.mean())
    assert scores["interval_width_0.5"] == pytest.approx((upper - lower).mean())
    assert 0.8 < scores["coverage_0.9"] < 0.98
    expected = [
        sk.mean_pinball_loss(held_out.targets, column, alpha=level)
        for level, column in zip(quantiles.plan.loss.levels, quantiles.quantiles(quantiles.data.test).T, strict=True)
    ]
    assert scores["pinball"] == pytest.approx(np.mean(expected))
    assert scores["pinball"] == pytest.approx(scores["loss"] * quantiles.target.deviation[0], rel=1e-5)
    np.testing.assert_array_equal(point, held_out.predictions)


def test_a_gaussian_predicts_the_deviation_in_the_units_of_the_target(gaussian):
    assert np.abs(gaussian.deviation(X) / DEVIATION - 1).mean() < 0.25
    lower, point, upper = gaussian.interval(X, 0.8)
    np.testing.assert_allclose(upper - point, gaussian.deviation(X) * stats.norm.ppf(0.9), rtol=1e-5)
    np.testing.assert_allclose(point - lower, upper - point, rtol=1e-5)
    held_out, scores = gaussian.held_out("test"), gaussian.evaluate()
    deviation = gaussian.deviation(gaussian.data.test)
    expected = -stats.norm.logpdf(held_out.targets, held_out.predictions, deviation).mean()
    assert scores["negative_log_likelihood"] == pytest.approx(expected, rel=1e-5)
    assert 0.8 < scores["coverage_0.9"] < 0.98


def test_without_noise_the_deviation_ends_at_the_floor_and_training_stays_finite():
    y = 3 * X[:, 0] - X[:, 1]
    trained = train("16 tanh", (X, y), loss="gaussian 0.05", optimizer="adam 0.01", epochs=60)
    assert trained.deviation(X).min() >= 0.05 * y.std() * 0.9
    assert np.median(trained.deviation(X)) < 0.15 * y.std()


@pytest.mark.parametrize("loss", ["quantiles 0.1 0.5 0.9", "gaussian"])
def test_several_quantities_have_intervals_of_their_own(loss):
    y = np.column_stack([Y, -10 * Y + 7, X[:, 0]])
    trained = train("8 tanh", (X, y), loss=loss, epochs=3)
    lower, point, upper = trained.interval(X, 0.8)
    assert lower.shape == point.shape == upper.shape == y.shape
    assert (lower <= point).all()
    assert (point <= upper).all()
    assert trained.quantiles(X, (0.1, 0.5)).shape == (1500, 2, 3)
    assert all(np.isfinite(value) for value in trained.evaluate().values())
    if loss == "gaussian":
        assert trained.deviation(X).shape == y.shape


def test_what_a_network_does_not_predict_is_refused_with_what_to_train(quantiles, gaussian):
    with pytest.raises(SettingError, match=r"0.75 and 0.95; for 0.1 and 0.9, train with the loss 'quantiles 0.1 0.5 0"):
        quantiles.interval(X, 0.8)
    with pytest.raises(SettingError, match="Quantiles predicts no deviation; train with 'gaussian'"):
        quantiles.deviation(X)
    classes = train("4 tanh", (X, GRADES[RANKS]), epochs=1)
    with pytest.raises(SettingError, match="is no quantity and has no quantiles"):
        classes.interval(X, 0.8)
    for share in (0, 1, 90, "0.9", None):
        with pytest.raises(SettingError, match="pass a share between 0 and 1"):
            gaussian.interval(X, share)
    for levels in (0.5, [0.5, 1], "0.5"):
        with pytest.raises(SettingError, match="pass numbers between 0 and 1"):
            gaussian.quantiles(X, levels)
    with pytest.raises(SettingError, match=r"MeanSquaredError predicts no quantiles; for 0.05 and 0.95, train with"):
        train("4 tanh", (X, Y), epochs=1).interval(X, 0.9)


def test_one_quantile_is_a_quantile_too():
    trained = train("8 tanh", (X, Y), loss="quantile 0.9", epochs=5)
    np.testing.assert_array_equal(trained.quantiles(X)[:, 0], trained.predict(X))
    assert trained.evaluate()["pinball"] > 0


# Ordered classes


def test_classes_in_order_are_predicted_with_probabilities(ordinal):
    assert ordinal.target.task == "ordinal"
    assert ordinal.target.classes == tuple(ORDER)
    assert isinstance(ordinal.plan.loss, Ordinal)
    assert ordinal.plan.network.output_shape == (4,)
    probabilities = ordinal.probabilities(X)
    assert probabilities.shape == (1500, 5)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(ordinal.predict(X), GRADES[probabilities.argmax(axis=1)])
    scores, held_out = ordinal.evaluate(), ordinal.held_out("test")
    truth, guess = (np.array([ORDER.index(label) for label in of]) for of in (held_out.targets, held_out.predictions))
    assert scores["rank_mae"] == pytest.approx(np.abs(truth - guess).mean())
    assert scores["quadratic_kappa"] == pytest.approx(sk.cohen_kappa_score(truth, guess, weights="quadratic"))
    assert scores["log_loss"] == pytest.approx(scores["loss"], rel=1e-5)
    assert scores["rank_mae"] < 0.5
    assert scores["quadratic_kappa"] > 0.8


def test_an_interval_of_classes_in_order_holds_at_least_its_share_of_the_probability(ordinal):
    lower, point, upper = ordinal.interval(X, 0.6)
    first, last = (np.array([ORDER.index(label) for label in ends]) for ends in (lower, upper))
    np.testing.assert_array_equal(point, ordinal.predict(X))
    cumulated = np.cumsum(ordinal.probabilities(X), axis=1, dtype=np.float64)
    for rank, level in ((first, 0.2), (last, 0.8)):
        up_to = cumulated[np.arange(1500), rank]
        below = np.where(rank > 0, cumulated[np.arange(1500), rank - 1], 0)
        assert ((below < level) & ((up_to >= level) | (rank == 4))).all()
    ranks = ordinal.target.encode(ordinal.data.source.target, "y")
    assert ((first <= ranks) & (ranks <= last)).mean() >= 0.6
    assert (first < last).mean() > 0.3


def test_metrics_of_ranks_equal_those_of_scikit_learn_with_weights():
    truth, guess, weight = RANKS[:60], RANKS[60:120], RANDOM.uniform(0, 3, 60)
    kappa = RANKED["quadratic_kappa"](truth, guess, weight)
    assert kappa == pytest.approx(sk.cohen_kappa_score(truth, guess, weights="quadratic", sample_weight=weight))
    mae = RANKED["rank_mae"](truth, guess, weight)
    assert mae == pytest.approx(sk.mean_absolute_error(truth, guess, sample_weight=weight))
    assert np.isnan(RANKED["quadratic_kappa"](truth * 0, truth * 0, weight))


def test_the_order_comes_from_numbers_or_is_given():
    assert load((X, RANKS), task="ordinal").target.classes == (0, 1, 2, 3, 4)
    assert load((X, RANKS * 0.5), task="ordinal").target.classes == (0, 0.5, 1, 1.5, 2)
    assert load((X, RANKS), order=["4", 3, 2, 1, 0]).target.classes == (4, 3, 2, 1, 0)
    unseen = load((X, GRADES[RANKS]), order=[*ORDER, "superb"])
    assert unseen.target.classes[-1] == "superb"
    assert train("4 tanh", unseen, epochs=2).probabilities(X).shape == (1500, 6)
    assert train("4 tanh", (X, RANKS), loss="ordinal", epochs=1).target.task == "ordinal"
    assert train("4 tanh", from_arrays(X, RANKS, task="ordinal"), epochs=1).target.task == "ordinal"
    two = train("4 tanh", load((X, np.array(["no", "yes"])[RANKS // 3]), order=["no", "yes"]), epochs=2)
    assert two.plan.network.output_shape == (1,)
    assert two.probabilities(X).shape == (1500, 2)


def test_an_order_that_is_not_known_or_not_possible_is_refused():
    with pytest.raises(DataError, match="the order of the classes awful, fair, good, great, poor is not known; list"):
        load((X, GRADES[RANKS]), task="ordinal")
    with pytest.raises(DataError, match="the order awful, poor lacks 'fair'; list every class, from the lowest"):
        load((X, GRADES[RANKS]), order=["awful", "poor"])
    with pytest.raises(SettingError, match="the classes have an order, but the task is regression"):
        load((X, RANKS), order=[0, 1, 2, 3, 4], task="regression")
    for order in ("low", ["low"], ["low", "low"], [1, "1"], {"low", "high"}, 3, [None, 1], [[1], [2]]):
        with pytest.raises(SettingError, match="list each class once, from the lowest to the highest"):
            load((X, GRADES[RANKS]), order=order)
    with pytest.raises(
        SettingError, match="CategoricalCrossEntropy is for classification, but the target asks for ord"
    ):
        train("4 tanh", load((X, RANKS), task="ordinal"), loss="cross_entropy", epochs=1)


def test_class_weights_fit_ordered_classes():
    balanced = train("4 tanh", load((X, GRADES[RANKS]), order=ORDER), class_weight="balanced", epochs=2)
    assert len(balanced.plan.loss.class_weights) == 5
    by_label = train("4 tanh", load((X, GRADES[RANKS]), order=ORDER), class_weight={"great": 3.0}, epochs=1)
    assert by_label.plan.loss.class_weights == (1, 1, 1, 1, 3)


# Recorded, resumed and explained


def data_for(loss):
    return load((X[:300], GRADES[RANKS[:300]]), order=ORDER) if loss == "ordinal" else load((X[:300], Y[:300]))


@pytest.mark.parametrize("engine", NAMES)
@pytest.mark.parametrize("loss", ["quantiles 0.1 0.5 0.9", "gaussian", "ordinal"])
def test_a_run_is_read_again_and_resumed_bit_for_bit(loss, engine, tmp_path):
    data = data_for(loss)
    settings = {"loss": loss, "optimizer": "adam 0.01", "patience": None, "engine": engine}
    whole = train("8 tanh, batchnorm", data, epochs=6, **settings)
    train("8 tanh, batchnorm", data, epochs=2, callbacks=[Recorder(tmp_path / "run")], **settings)
    resumed = Run.open(tmp_path / "run").resume(data, epochs=6)
    np.testing.assert_array_equal(resumed.parameters, whole.parameters)
    opened = Run.open(tmp_path / "run").trained
    assert opened.plan.loss == whole.plan.loss
    assert opened.target == whole.target
    np.testing.assert_array_equal(opened.predict(X[:300]), whole.predict(X[:300]))
    if loss == "ordinal":
        np.testing.assert_array_equal(opened.probabilities(X[:300]), whole.probabilities(X[:300]))
    else:
        np.testing.assert_array_equal(opened.interval(X[:300], 0.8), whole.interval(X[:300], 0.8))


@pytest.mark.parametrize(
    ("loss", "said"),
    [("quantiles 0.1 0.5 0.9", "quantile 0.1 = "), ("gaussian", "deviation = "), ("ordinal", "P(class > 0) = ")],
)
def test_every_weight_before_such_a_loss_is_explained(loss, said):
    data = data_for(loss)
    trained = train("5 tanh", data, loss=loss, epochs=2, engine="numpy")
    problem = trained.plan.problem(len(data.training.x))
    last = trained.last
    for weight in ("dense_1.W[1, 2]", "dense_2.W[3, 0]", "dense_2.b[1]"):
        explanation = Explanation(problem, last, data.training, weight)
        assert explanation.gradient == pytest.approx(explanation.proof.numerical_gradient, rel=1e-5, abs=1e-8)
        assert explanation.rounding.explains
        text = "\n".join(lines(explanation))
        assert "the derivative of the loss" in text
    explanation = Explanation(problem, last, data.training, "dense_2.b[1]" if loss == "gaussian" else "dense_2.b[0]")
    assert said in "\n".join(lines(explanation))
    for drawn in (draw(explanation), page(explanation)):
        assert said.split("(")[0].strip(" =") in drawn


def test_a_gaussian_of_an_earlier_version_has_no_floor():
    recorded = to_json(GaussianNegativeLogLikelihood())
    del recorded["floor"]
    assert from_json(recorded) == GaussianNegativeLogLikelihood(0.0)
    assert from_json(to_json(GaussianNegativeLogLikelihood())) == GaussianNegativeLogLikelihood()


@pytest.mark.parametrize("levels", [[0.9, 0.1], [], ["0.5"], 0.5, [True]])
def test_altered_levels_are_refused(levels):
    with pytest.raises((RunError, SettingError)):
        from_json({**to_json(Quantiles()), "levels": levels})


def test_a_run_of_a_file_keeps_the_order(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = zip(X[:90], GRADES[RANKS[:90]], strict=True)
    Path("grades.csv").write_text("a,b,grade\n" + "".join(f"{a},{b},{grade}\n" for (a, b), grade in rows))
    trained = train("4 tanh", load("grades.csv", order=ORDER), epochs=2, callbacks=[Recorder("run")])
    run = Run.open("run")
    settings = run.data["settings"]
    assert settings["order"] == ORDER
    assert load(**settings).target == trained.target
    assert replace(run.trained, data=run.load_data()).evaluate() == trained.evaluate()
    assert misfit(settings, Settings) is None
    assert misfit({**settings, "order": [None, "good"]}, Settings).startswith("order[0] is None")


@pytest.mark.parametrize("loss", ["gaussian", "quantiles 0.05 0.5 0.95"])
def test_scores_of_an_interval_are_those_of_its_loss(loss):
    trained = train("8 tanh", "diabetes", loss=loss, epochs=20)
    scores, expected = trained.interval_scores(), trained.evaluate()
    assert scores == pytest.approx({name: expected[name] for name in ("coverage_0.9", "interval_width_0.9")}, rel=1e-5)
    lower, _, upper = trained.interval("diabetes", 0.9)
    whole = trained.interval_scores("diabetes", 0.9)
    truth = np.concatenate([trained.held_out(part).targets for part in ("validation", "test")])
    assert len(truth) < len(lower)
    assert whole["interval_width_0.9"] == pytest.approx((upper - lower).mean())


def test_an_interval_of_classes_in_order_is_scored_in_ranks(ordinal):
    lower, _, upper = ordinal.interval(X, 0.6)
    lowest, highest = (np.array([ORDER.index(label) for label in labels]) for labels in (lower, upper))
    scores = ordinal.interval_scores((X, GRADES[RANKS]), 0.6)
    assert scores["coverage_0.6"] == pytest.approx(((lowest <= RANKS) & (highest >= RANKS)).mean())
    assert scores["interval_width_0.6"] == pytest.approx((highest - lowest).mean())


def test_scores_of_an_interval_count_weights():
    trained = train("8 tanh", "diabetes", loss="gaussian", epochs=5)
    test = trained.data.test
    weight = np.arange(len(test.x), dtype=np.float64)
    raw_lower, _, raw_upper = trained.interval(test, 0.5)
    expected = np.average(raw_upper - raw_lower, weights=weight)
    weighted = trained.interval_scores(Samples(test.x, test.y, weight), 0.5)
    assert weighted["interval_width_0.5"] == pytest.approx(expected)
    with pytest.raises(SettingError, match="has no quantiles"):
        train("4 tanh", "iris", epochs=1).interval_scores()
