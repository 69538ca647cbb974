"""Permutation importance, beside scikit-learn's."""

import numpy as np
import polars as pl
import pytest
from sklearn.base import BaseEstimator
from sklearn.inspection import permutation_importance

import chainrule
from chainrule.attribution.permutation import permuted
from chainrule.errors import SettingError


class Fitted(BaseEstimator):
    """A trained network as scikit-learn takes it."""

    _estimator_type = "classifier"

    def __init__(self, trained=None):
        self.trained = trained
        self.classes_ = None if trained is None else np.array(trained.target.classes)

    def fit(self, x, y):
        return self

    def predict(self, x):
        return self.trained.predict(x)


@pytest.fixture(scope="module")
def trained():
    return chainrule.train("8 tanh", "iris", epochs=30)


def test_the_same_permutations_give_scikit_learns_numbers(trained):
    source = trained.data.source
    x, y, repeats = np.asarray(source.features), np.asarray(source.target), 6
    theirs = permutation_importance(Fitted(trained), x, y, scoring="accuracy", n_repeats=repeats, random_state=3)
    # As scikit-learn draws them: the same for every column, which is shuffled again and again.
    state = np.random.RandomState(np.random.RandomState(3).randint(np.iinfo(np.int32).max + 1))
    order, whole, orders = np.arange(len(x)), np.arange(len(x)), []
    for _ in range(repeats):
        state.shuffle(order)
        whole = whole[order]
        orders.append(whole)
    groups = {str(k): np.array([k]) for k in range(4)}
    accuracy = lambda labels: np.array([(labels == y).mean()])  # noqa: E731
    base, scores = permuted(lambda x: trained.predict(x), x, groups, accuracy, np.array(orders))
    np.testing.assert_allclose(base[0] - scores[:, :, 0], theirs.importances, atol=1e-12)


def test_means_agree_with_scikit_learns_within_their_errors(trained):
    source, repeats = trained.data.source, 40
    x, y = np.asarray(source.features), np.asarray(source.target)
    theirs = permutation_importance(Fitted(trained), x, y, scoring="accuracy", n_repeats=repeats, random_state=0)
    ours = {one.column: one for one in chainrule.importance(trained, "iris", "accuracy", repeats=repeats).columns}
    for k, column in enumerate(source.columns):
        error = np.hypot(theirs.importances_std[k], ours[column].deviation) / np.sqrt(repeats)
        assert abs(ours[column].mean - theirs.importances_mean[k]) <= 5 * error + 1e-12


def test_a_column_counts_as_one_and_lower_metrics_are_turned_round():
    rng = np.random.default_rng(0)
    city = rng.choice(["Bern", "Basel", "Genf"], 150)
    frame = pl.DataFrame({"noise": rng.normal(size=150), "city": city, "price": 100.0 * (city == "Genf")})
    trained = chainrule.train("8 tanh", frame, target="price", task="regression", epochs=20)
    seen = []
    found = chainrule.importance(trained, frame, ["mae", "r2"], repeats=4, progress=lambda *at: seen.append(at))
    for metric in ("mae", "r2"):
        own = found.of(metric)
        assert [one.column for one in own] == ["city", "noise"]
        assert own[0].mean > 10 * abs(own[1].mean)
    assert seen[-1] == (8, 8)
    assert found.as_json()["columns"][0]["repeats"] == found.of("mae")[0].repeats.tolist()
    again = chainrule.importance(trained, frame, ["mae", "r2"], repeats=4)
    assert again.as_json() == found.as_json()


def test_one_repeat_has_no_deviation(trained):
    found = chainrule.importance(trained, "iris", repeats=1)
    assert "\u00b1" not in repr(found)
    assert "one repeat" in repr(found)
    assert found.as_json()["columns"][0]["deviation"] is None
    assert "\u00b1" in repr(chainrule.importance(trained, "iris", repeats=2))


def test_errors(trained):
    with pytest.raises(SettingError, match="it takes at least 1"):
        chainrule.importance(trained, "iris", repeats=0)
    with pytest.raises(SettingError, match="unknown metric"):
        chainrule.importance(trained, "iris", "rmse")
