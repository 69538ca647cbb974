"""The estimators as scikit-learn uses them: its own checks, searches, pipelines and ensembles."""

import pickle
import subprocess
import sys

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import sparse
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_iris
from sklearn.ensemble import BaggingClassifier, StackingClassifier
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, HalvingRandomSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils.estimator_checks import check_estimator

import chainrule
from chainrule import Classifier, Regressor
from chainrule.cli import run as command
from chainrule.explain import explain

FAST = {"network": "8 tanh", "optimizer": "adam 0.02", "epochs": 20}
IRIS = load_iris(return_X_y=True, as_frame=True)
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(200, 3))
Y = X @ [1.0, -2.0, 0.5]
HOUSES = pd.DataFrame({"size": X[:, 0], "city": RANDOM.choice(["Bern", "Basel"], 200)})
HOUSES.loc[3, "size"] = None
PRICE = pd.Series(100 + 10 * X[:, 0] + 20 * (HOUSES["city"] == "Bern"), name="price")
NOT_APPLICABLE = {
    "check_array_api_input",  # needs an environment variable, and an estimator that supports it
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("estimator", [Classifier(), Regressor()], ids=lambda estimator: type(estimator).__name__)
def test_every_check_of_scikit_learn_passes(estimator):
    results = check_estimator(estimator, on_fail=None, on_skip=None)
    assert len(results) > 50
    failed = {r["check_name"]: repr(r["exception"]) for r in results if r["status"] not in ("passed", "skipped")}
    assert failed == {}
    assert {r["check_name"] for r in results if r["status"] == "skipped"} <= NOT_APPLICABLE


def test_chainrule_alone_does_not_import_scikit_learn():
    code = "import sys, chainrule; chainrule.train; assert 'sklearn' not in sys.modules; chainrule.Classifier()"
    subprocess.run([sys.executable, "-c", code + "; assert 'sklearn' in sys.modules"], check=True)


def test_an_estimator_is_cloned_with_its_settings_and_has_those_of_train():
    classifier = Classifier("3 relu", class_weight="balanced", penalties=("l2 0.001",), read={"a": "category"})
    assert clone(classifier).get_params() == classifier.get_params()
    of_train, own = dict(chainrule.train.__kwdefaults__), classifier.get_params()
    # X, y, sample_weight, random_state, score, warm_start
    called_otherwise = {"data", "target", "weight", "seed", "test", "start"}
    of_others = {"image_size", "memory", "cache", "samples", "time", "horizon", "series", "season"}
    assert set(of_train) - called_otherwise - of_others == set(own) - {"warm_start", "random_state"}
    assert set(own) - set(Regressor().get_params()) == {"class_weight", "threshold", "order"}
    other_defaults = {name for name in set(of_train) & set(own) if of_train[name] != Classifier().get_params()[name]}
    assert other_defaults == {"validation", "dtype", "progress"}
    assert is_classifier(classifier)
    assert is_regressor(Regressor())


def test_the_settings_are_those_of_train():
    settings = {"network": "5 relu", "loss": "huber 0.5", "optimizer": "sgd 0.05", "epochs": 3, "batch_size": 16}
    settings |= {"penalties": "l2 0.01", "dtype": "float64", "patience": 2, "validation": 0.2, "engine": "numpy"}
    fitted = Regressor(**settings, random_state=4).fit(X, Y)
    trained = chainrule.train((X, Y), **settings, seed=4, test=0)
    np.testing.assert_array_equal(fitted.trained_.parameters, trained.parameters)
    np.testing.assert_array_equal(fitted.predict(X), trained.predict(X))
    assert fitted.loss_curve_ == [record["loss"] for record in trained.history]
    assert fitted.n_iter_ == 3


def test_classes_of_any_kind_and_their_probabilities():
    for labels in (np.array(["no", "yes"]), np.array([False, True]), np.array([-1, 5]), np.array([0.0, 2.0])):
        y = labels[(Y > 0).astype(int)]
        classifier = Classifier(**FAST).fit(X, y)
        assert classifier.classes_.tolist() == labels.tolist()
        assert classifier.predict(X).dtype == labels.dtype
        p = classifier.predict_proba(X)
        np.testing.assert_array_equal(classifier.classes_[p.argmax(axis=1)], classifier.predict(X))
        np.testing.assert_allclose(np.exp(classifier.predict_log_proba(X)), p)
        assert classifier.score(X, y) > 0.9
    hinge = Classifier(**FAST, loss="hinge").fit(X, Y > 0)
    assert hinge.score(X, Y > 0) > 0.9
    assert not hasattr(hinge, "predict_proba")


def test_class_weights_move_the_predictions():
    y = (Y + RANDOM.normal(size=200) > 2).astype(int)
    plain, balanced, heavy = (
        Classifier(**FAST, class_weight=w).fit(X, y).predict(X).mean() for w in (None, "balanced", {1: 50.0})
    )
    assert plain < balanced < heavy


def test_weights_count_like_repeated_rows():
    counts = RANDOM.integers(0, 3, 200)
    settings = {"network": "4 tanh", "batch_size": 1000, "epochs": 20}
    for estimator, y in ((Regressor(**settings), Y), (Classifier(**settings), Y > 0)):
        weighted = clone(estimator).fit(X, y, sample_weight=counts)
        repeated = clone(estimator).fit(X.repeat(counts, axis=0), y.repeat(counts))
        np.testing.assert_allclose(weighted.trained_.raw(X), repeated.trained_.raw(X), atol=1e-7)
        tenfold = clone(estimator).fit(X, y, sample_weight=10.0 * counts)
        np.testing.assert_allclose(tenfold.trained_.raw(X), weighted.trained_.raw(X), atol=1e-7)
    weighted = Regressor(**settings).fit(HOUSES, PRICE, sample_weight=counts)
    rows = np.arange(200).repeat(counts)
    repeated = Regressor(**settings).fit(HOUSES.iloc[rows], PRICE.iloc[rows])
    np.testing.assert_allclose(weighted.predict(HOUSES), repeated.predict(HOUSES), atol=1e-4)


@pytest.mark.parametrize("form", ["pandas", "polars"])
def test_frames_with_columns_of_any_kind(form):
    frame = HOUSES if form == "pandas" else pl.DataFrame(HOUSES.to_dict("list")).fill_nan(None)
    regressor = Regressor(**FAST).fit(frame, PRICE)
    assert regressor.score(frame, PRICE) > 0.8
    assert regressor.feature_names_in_.tolist() == ["size", "city"]
    assert regressor.n_features_in_ == 2
    assert regressor.trained_.target.name == "price"
    assert len(regressor.predict(HOUSES[:1])) == 1
    with pytest.raises(ValueError, match="feature names should match"):
        regressor.predict(HOUSES.rename(columns={"size": "area"}))
    read = Regressor(**FAST, read={"size": "category"}).fit(frame, PRICE)
    assert dict(read.trained_.preparation.columns)["size"] == "category"
    for setting in ({"read": {"x0": "category"}}, {"drop": "x0"}):
        with pytest.raises(ValueError, match="read and drop are about a table's columns"):
            Regressor(**setting).fit(X, Y)


def test_frames_and_arrays_stand_for_each_other():
    numbers = pd.DataFrame(X, columns=["a", "b", "c"])
    on_frame, on_array = (Regressor(**FAST).fit(x, Y) for x in (numbers, X))
    np.testing.assert_allclose(on_frame.predict(numbers), on_array.predict(X), rtol=1e-5)
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        np.testing.assert_allclose(on_frame.predict(X), on_frame.predict(numbers))
    with pytest.warns(UserWarning, match="was fitted without feature names"):
        np.testing.assert_allclose(on_array.predict(numbers), on_array.predict(X))
    mixed = Regressor(**FAST).fit(HOUSES.to_numpy(), PRICE)
    assert mixed.score(HOUSES.to_numpy(), PRICE) > 0.8


def test_several_quantities():
    both = pd.DataFrame({"low": Y, "high": Y + X[:, 0]})
    regressor = Regressor(**FAST).fit(X, both)
    assert regressor.predict(X).shape == (200, 2)
    assert regressor.score(X, both) > 0.8
    assert regressor.n_outputs_ == 2
    assert regressor.trained_.target.names == ("low", "high")
    assert Regressor(**FAST).fit(X, Y[:, None] @ np.ones((1, 1)), sample_weight=None).predict(X).shape == (200,)


test_several_quantities = pytest.mark.filterwarnings("ignore:A column-vector y")(test_several_quantities)


@pytest.mark.parametrize("form", ["csr_matrix", "csr_array", "csc_array", "coo_array"])
def test_sparse_matrices_are_used_as_dense_ones(form, monkeypatch):
    x = np.where(RANDOM.random((200, 30)) < 0.1, RANDOM.normal(size=(200, 30)), 0)
    y = x @ RANDOM.normal(size=30)
    made = getattr(sparse, form)(x)
    for estimator, target in ((Regressor(**FAST), y), (Classifier(**FAST), y > 0)):
        fitted = clone(estimator).fit(made, target)
        inputs = fitted.trained_.data.training.x
        preparation = fitted.trained_.preparation
        np.testing.assert_allclose(inputs, (x - preparation.mean) / preparation.deviation, rtol=1e-4, atol=1e-5)
        predicted = fitted.predict(x.astype(np.float32))
        np.testing.assert_array_equal(fitted.predict(made), predicted)
        monkeypatch.setattr(chainrule.estimators.base, "PART", 7 * 30)  # predicted in parts, the last one shorter
        np.testing.assert_allclose(fitted.predict(made), predicted, rtol=1e-5)
        monkeypatch.undo()
        assert clone(estimator).partial_fit(made, target, **({"classes": [False, True]} if target is not y else {}))
        with pytest.raises(ValueError, match="30 features"):
            fitted.predict(made.tocsr()[:, :29])
    trained = chainrule.train("8 tanh", (made, y), epochs=2)
    assert trained.predict(made).shape == (200,)


def test_rare_columns_of_a_sparse_matrix_are_scaled_together():
    x = np.zeros((400, 5))
    x[:, 0] = RANDOM.normal(10, 3, 400)  # a number among them, as a column transformer leaves it
    x[:200:10, 1], x[:2, 2], x[:30, 3] = 1, 1, 2
    y = x[:, 0] > 10
    fitted = Classifier(**FAST).fit(sparse.csr_array(x), y)
    deviation = fitted.trained_.preparation.deviation
    np.testing.assert_allclose(deviation[0], x[:, 0].std(), rtol=1e-6)
    np.testing.assert_allclose(deviation[1:], np.sqrt(np.mean(x[:, 1:4].std(axis=0) ** 2)) * np.ones(4), rtol=1e-6)
    np.testing.assert_allclose(Classifier(**FAST).fit(x, y).trained_.preparation.deviation[1:4], x[:, 1:4].std(axis=0))


def test_encoders_with_sparse_output_go_before_an_estimator():
    cities = HOUSES[["city"]].assign(kind=RANDOM.choice(list("abc"), 200))
    expensive = PRICE.median() < PRICE
    model = make_pipeline(OneHotEncoder(), Classifier(**FAST))
    assert sparse.issparse(model[0].fit_transform(cities))
    assert model.fit(cities, expensive).score(cities, expensive) > 0.7
    assert cross_val_score(model, cities, expensive, cv=3).min() > 0.6
    texts = [f"{'good' if price else 'bad'} {'house' if k % 2 else 'flat'}" for k, price in enumerate(expensive)]
    assert make_pipeline(TfidfVectorizer(), Classifier(**FAST)).fit(texts, expensive).score(texts, expensive) == 1
    mixed = make_pipeline(make_column_transformer((OneHotEncoder(), ["city"]), remainder="passthrough"), Regressor())
    filled = HOUSES.fillna({"size": 0.0})
    assert mixed.fit(filled, PRICE).score(filled, PRICE) > 0.9


def test_labels():
    y = (X > 0).astype(int)
    classifier = Classifier(**FAST).fit(X, y)
    assert classifier.score(X, y) > 0.8
    np.testing.assert_array_equal(classifier.predict(X), classifier.predict_proba(X) > 0.5)
    np.testing.assert_array_equal(Classifier(**FAST).fit(X, sparse.csr_array(y)).predict(X), classifier.predict(X))
    named = Classifier(**FAST).fit(X, pd.DataFrame(y, columns=["a", "b", "c"]))
    assert named.trained_.target.columns == ("a", "b", "c")
    with pytest.raises(ValueError, match="several columns of classes"):
        Classifier().fit(X, np.arange(400).reshape(200, 2) % 3)
    partial = Classifier(**FAST)
    for _ in range(30):
        partial.partial_fit(X, y)
    assert partial.score(X, y) > 0.8


@pytest.mark.parametrize("dropout", ["", ", dropout 0.1"])
def test_partial_fit_learns_from_one_part_after_the_other(dropout):
    classifier = Classifier("8 tanh" + dropout, optimizer="adam 0.02 schedule=cosine")
    y = np.array(["a", "b", "c"])[np.digitize(Y, [-1, 1])]
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        classifier.partial_fit(X, y)
    for epoch in range(40):
        for rows in np.array_split(np.arange(200), 4):
            classifier.partial_fit(X[rows], y[rows], classes=["a", "b", "c"] if not epoch else None)
    assert classifier.score(X, y) > 0.9
    assert (classifier.n_iter_, len(classifier.loss_curve_)) == (160, 160)
    one = classifier.partial_fit(X[:1], y[:1])
    assert one.n_iter_ == 161
    for classes, labels in ((["a", "b"], y), (None, np.where(y == "a", "d", y))):
        with pytest.raises(ValueError, match=r"not the same as on last call|classes that are not among"):
            classifier.partial_fit(X, labels, classes=classes)
    regressor = Regressor("8 tanh", optimizer="adam 0.02")
    for _ in range(60):
        regressor.partial_fit(HOUSES, PRICE)
    assert regressor.score(HOUSES, PRICE) > 0.8


def test_partial_fit_of_the_whole_set_is_an_epoch_of_training():
    settings = {"network": "4 tanh", "optimizer": "momentum 0.05", "batch_size": 200, "dtype": "float64"}
    partial, whole = Regressor(**settings), Regressor(**settings, epochs=5).fit(X, Y)
    for _ in range(5):
        partial.partial_fit(X, Y)
    np.testing.assert_allclose(partial.trained_.parameters, whole.trained_.parameters)
    assert partial.loss_curve_ == pytest.approx(whole.loss_curve_)


def test_a_warm_start_goes_on_from_the_weights():
    estimator = Classifier(**FAST, warm_start=True).fit(X, Y > 0)
    before = estimator.trained_
    estimator.set_params(epochs=1).fit(X[:100], Y[:100] > 0)
    np.testing.assert_array_equal(estimator.trained_.start.position.parameters, before.parameters)
    assert estimator.trained_.preparation is before.preparation
    assert estimator.loss_curve_[0] < 0.2
    with pytest.raises(ValueError, match="the classes must remain"):
        estimator.fit(X, Y.round().clip(-1, 1))
    with pytest.raises(ValueError, match="the network is not the one that was fitted"):
        estimator.set_params(network="9 tanh").fit(X, Y > 0)
    default = Regressor(warm_start=True, epochs=1).fit(X, Y)
    default.fit(X.repeat(4, axis=0), Y.repeat(4))
    assert default.trained_.plan.network is not None


def test_pickle_and_joblib_keep_everything_but_the_data(tmp_path):
    for estimator, x, y in ((Classifier(**FAST), X, Y > 0), (Regressor(**FAST), HOUSES, PRICE)):
        estimator.fit(x, y)
        joblib.dump(estimator, tmp_path / "estimator.joblib")
        for copy in (pickle.loads(pickle.dumps(estimator)), joblib.load(tmp_path / "estimator.joblib")):
            np.testing.assert_array_equal(copy.predict(x), estimator.predict(x))
            assert copy.trained_.data is None
            assert copy.get_params() == estimator.get_params()
        assert estimator.trained_.data is not None
        copy.partial_fit(x, y)


def test_the_trained_network_is_saved_and_explained(tmp_path):
    classifier = Classifier(**FAST).fit(*IRIS)
    classifier.trained_.save(tmp_path / "iris")
    opened = chainrule.open(tmp_path / "iris")
    assert (opened.predict(IRIS[0]) == classifier.predict(IRIS[0])).all()
    run = chainrule.Run.open(tmp_path / "iris")
    assert "dense_1.W[0, 0]" in explain(run, "dense_1.W[0, 0]", data=classifier.trained_.data)._repr_html_()


def test_what_was_fitted_in_parts_is_saved_with_its_weights_alone(tmp_path, capsys):
    regressor = Regressor(**FAST).partial_fit(X, Y).partial_fit(X, Y).partial_fit(X[:50], Y[:50])
    regressor.trained_.save(tmp_path / "parts")
    np.testing.assert_array_equal(chainrule.open(tmp_path / "parts").predict(X), regressor.predict(X))
    assert command(["show", str(tmp_path / "parts")]) == 0
    assert "complete after 0 epochs, 0 steps" in capsys.readouterr().out
    assert command(["explain", str(tmp_path / "parts")]) == 2
    warm = Regressor(**FAST, warm_start=True).fit(X, Y).fit(X, Y)
    warm.trained_.save(tmp_path / "warm")
    last = chainrule.Run.open(tmp_path / "warm").at(100, warm.trained_.data)
    assert last.before.step == 100


def test_cross_validation():
    assert cross_val_score(Classifier(**FAST), *IRIS, cv=3).mean() > 0.9
    assert cross_val_score(Regressor(**FAST), HOUSES, PRICE, cv=3, scoring="neg_mean_absolute_error").mean() > -5


def test_grid_search_in_two_processes():
    grid = {"network": ["2 tanh", "8 tanh"], "optimizer": ["adam 0.02", "sgd 0.000001"]}
    search = GridSearchCV(Classifier(epochs=10), grid, cv=2, n_jobs=2, error_score="raise").fit(*IRIS)
    assert search.best_params_["optimizer"] == "adam 0.02"
    assert search.score(*IRIS) > 0.8


def test_halving_search_by_epochs_and_by_rows():
    choices = {"network": ["2 tanh", "8 tanh", "16 relu"], "batch_size": [8, 16, 32]}
    for resource in ("epochs", "n_samples"):
        limits = {"max_resources": 8, "min_resources": 2} if resource == "epochs" else {}
        estimator = Classifier(optimizer="adam 0.02", epochs=None if resource == "epochs" else 5)
        search = HalvingRandomSearchCV(
            estimator, choices, n_candidates=4, resource=resource, cv=2, random_state=0, error_score="raise", **limits
        ).fit(*IRIS)
        assert search.best_score_ > 0.5


def test_calibration():
    calibrated = CalibratedClassifierCV(Classifier(**FAST), cv=2).fit(*IRIS)
    np.testing.assert_allclose(calibrated.predict_proba(IRIS[0]).sum(axis=1), 1)
    assert calibrated.score(*IRIS) > 0.9


def test_permutation_importance():
    regressor = Regressor(**FAST).fit(HOUSES.assign(noise=RANDOM.normal(size=200)), PRICE)
    frame = HOUSES.assign(noise=0.0)
    importance = permutation_importance(regressor, frame, PRICE, n_repeats=2, random_state=0).importances_mean
    assert importance[2] < importance[:2].min()


def test_pipelines():
    scaled = make_pipeline(StandardScaler(), Classifier(**FAST)).fit(*IRIS)
    assert scaled.score(*IRIS) > 0.9
    encoded = make_column_transformer((OneHotEncoder(), ["city"]), remainder="drop")
    assert make_pipeline(encoded, Regressor(**FAST)).fit(HOUSES, PRICE).score(HOUSES, PRICE) > 0.3
    as_frame = make_pipeline(StandardScaler().set_output(transform="pandas"), Classifier(**FAST)).fit(*IRIS)
    assert as_frame[-1].feature_names_in_.tolist() == IRIS[0].columns.tolist()


def test_ensembles():
    members = [("net", Classifier(**FAST)), ("line", LogisticRegression(max_iter=1000))]
    assert StackingClassifier(members, cv=2).fit(*IRIS).score(*IRIS) > 0.9
    bagged = BaggingClassifier(Classifier(**FAST), n_estimators=2, random_state=0).fit(*IRIS)
    seeds = {member.random_state for member in bagged.estimators_}
    assert len(seeds) == 2


def test_random_states():
    weights = [Regressor("3", epochs=1, random_state=s).fit(X, Y).trained_.parameters for s in (0, 0, 1)]
    np.testing.assert_array_equal(weights[0], weights[1])
    assert (weights[0] != weights[2]).any()
    state = np.random.RandomState(0)
    first, second = (Regressor("3", epochs=1, random_state=state).fit(X, Y).trained_.parameters for _ in range(2))
    assert (first != second).any()


def test_rows_are_set_aside_for_validation_only_where_they_suffice_for_early_stopping():
    x, y = np.tile(X, (3, 1)), np.tile(Y, 3)
    few, many, chosen = (
        Regressor("3", epochs=1, validation=v).fit(x[:rows], y[:rows]).trained_
        for v, rows in (("auto", 499), ("auto", 500), (0.2, 200))
    )
    sizes = [0 if t.data.validation is None else len(t.data.validation.x) for t in (few, many, chosen)]
    assert sizes == [0, 50, 40]
    assert (few.plan.patience, many.plan.patience) == (None, 25)
    assert (few.plan.network.dtype, many.plan.network.dtype) == ("float64", "float32")
    own = Regressor("3", epochs=1, validation=(X, Y)).fit(X, Y).trained_
    assert len(own.data.validation.x) == 200


@pytest.mark.parametrize(
    ("x", "y", "problem"),
    [
        (X, None, "requires y to be passed"),
        (X, Y[1:] > 0, "inconsistent numbers of samples"),
        (sparse.csr_array((200, 10**7)), Y > 0, "200 x 10,000,000 is more than 100,000,000 numbers; keep fewer"),
        (X, Y, "Unknown label type"),
        (X, np.zeros(200), "every row has the class 0.0; at least two classes"),
    ],
)
def test_what_can_not_be_trained_on_is_a_value_error_or_a_type_error(x, y, problem):
    with pytest.raises((ValueError, TypeError), match=problem):
        Classifier().fit(x, y)
    with pytest.raises(ValueError, match="at least one non-zero number"):
        Regressor().fit(X, Y, sample_weight=np.zeros(200))


RANKS = np.digitize(Y + 0.5 * RANDOM.normal(size=200), [-2, 0, 2])
ORDER = ["superb", "awful", "good", "fair"]


def test_classes_in_order_are_sorted_as_scikit_learn_sorts_them_and_learned_in_their_order():
    y = np.array(ORDER)[RANKS]
    categories = pd.Series(pd.Categorical(y, categories=[*ORDER, "unused"], ordered=True))
    given, inherent = Classifier(**FAST, order=ORDER).fit(X, y), Classifier(**FAST).fit(X, categories)
    for classifier in (given, inherent):
        trained = classifier.trained_
        assert trained.target.task == "ordinal"
        assert trained.target.classes == tuple(ORDER)
        assert classifier.classes_.tolist() == sorted(ORDER)
        np.testing.assert_array_equal(classifier.predict(X), trained.predict(X))
        of_ranks = dict(zip(ORDER, trained.probabilities(X).T, strict=True))
        for label, column in zip(classifier.classes_, classifier.predict_proba(X).T, strict=True):
            np.testing.assert_allclose(column, of_ranks[label], rtol=1e-6)
        scores = classifier.decision_function(X)
        np.testing.assert_array_equal(classifier.classes_[scores.argmax(axis=1)], classifier.predict(X))
        assert classifier.score(X, y) > 0.5
    assert cross_val_score(Classifier(**FAST, order=ORDER), X, y, cv=3, scoring="neg_log_loss").mean() > -1.2
    assert Classifier(**FAST, task="classification").fit(X, categories).trained_.target.task == "classification"
    unseen = Classifier(**FAST, order=[*ORDER, "best"]).fit(X, y)
    assert unseen.classes_.tolist() == sorted([*ORDER, "best"])
    assert unseen.predict_proba(X).shape == (200, 5)
    numbers = Classifier(**FAST, task="ordinal").fit(X, RANKS)
    assert numbers.trained_.target.classes == (0, 1, 2, 3)
    assert Classifier(**FAST, loss="ordinal").fit(X, RANKS).trained_.target.task == "ordinal"
    partial = Classifier(**FAST, order=ORDER)
    for _ in range(20):
        partial.partial_fit(X[:50], y[:50], classes=sorted(ORDER))
    assert partial.score(X, y) > 0.4
    with pytest.raises(ValueError, match=r"the order of the classes .* is not known; list them"):
        Classifier(task="ordinal").fit(X, y)
    with pytest.raises(ValueError, match=r"Classifier: the task is 'regression'; it is one of classification, ordinal"):
        Classifier(task="regression").fit(X, y)


def test_a_regressor_of_few_values_predicts_their_mean_and_intervals():
    stars = Regressor(**FAST, task="ordinal").fit(X, RANKS + 1)
    mean = stars.trained_.probabilities(X) @ [1, 2, 3, 4]
    np.testing.assert_allclose(stars.predict(X), mean, rtol=1e-6)
    assert stars.score(X, RANKS + 1) > 0.7
    lower, point, upper = stars.predict_interval(X, 0.8)
    assert ((lower <= RANKS + 1) & (upper >= RANKS + 1)).mean() > 0.8
    np.testing.assert_array_equal(point, stars.predict(X))


@pytest.mark.parametrize("loss", ["gaussian", "quantiles 0.1 0.5 0.9"])
def test_intervals(loss):
    regressor = Regressor(**FAST, loss=loss).fit(X, Y)
    lower, point, upper = regressor.predict_interval(X, 0.8)
    assert (lower <= point).all()
    assert (point <= upper).all()
    assert 0.5 < ((lower <= Y) & (upper >= Y)).mean() <= 1
    several = Regressor(**FAST, loss=loss).fit(X, X[:, :2])
    assert several.predict_interval(X, 0.8).upper.shape == (200, 2)
    with pytest.raises(ValueError, match=r"predicts no quantiles; for 0.1 and 0.9, train with the loss"):
        Regressor(**FAST).fit(X, Y).predict_interval(X, 0.8)


def test_a_threshold_is_given_or_chosen_on_validation_rows():
    y = np.where(Y + RANDOM.normal(size=200) > 1.5, "yes", "no")
    plain = Classifier(**FAST).fit(X, y)
    for threshold in (0.2, "balanced_accuracy"):
        decided = Classifier(**FAST, threshold=threshold).fit(X, y)
        p, chosen = decided.predict_proba(X)[:, 1], decided.trained_.threshold
        np.testing.assert_array_equal(decided.predict(X) == "yes", p >= chosen)
        np.testing.assert_array_equal(decided.decision_function(X) > 0, p > chosen)
    assert (Classifier(**FAST, threshold=0.2).fit(X, y).predict(X) == "yes").mean() > (plain.predict(X) == "yes").mean()
    assert len(decided.trained_.data.validation.x) == 20
    with pytest.raises(ValueError, match=r"threshold .* no.*; set validation=0.1, or pass validation=\(X, y\)"):
        Classifier(**FAST, threshold="f1", validation=0).fit(X, y)
    with pytest.raises(ValueError, match=r"for partial_fit, pass validation=\(X, y\) of their own"):
        Classifier(**FAST, threshold="f1").partial_fit(X, y, classes=["no", "yes"])
    partial = Classifier(**FAST, threshold="f1", validation=(X, y)).partial_fit(X, y, classes=["no", "yes"])
    first = partial.trained_.threshold
    for _ in range(5):
        partial.partial_fit(X, y)
    assert partial.trained_.threshold != first


def test_decision_functions_agree_with_predictions():
    two, three, labels = Y > 0, np.digitize(Y, [-1, 1]), (X > 0).astype(int)
    for loss in (None, "hinge", "cross_entropy", "focal"):
        classifier = Classifier(**FAST, loss=loss).fit(X, two)
        np.testing.assert_array_equal(classifier.decision_function(X) > 0, classifier.predict(X))
        classifier = Classifier(**FAST, loss=loss).fit(X, three)
        np.testing.assert_array_equal(classifier.decision_function(X).argmax(axis=1), classifier.predict(X))
    classifier = Classifier(**FAST).fit(X, labels)
    np.testing.assert_array_equal(classifier.decision_function(X) > 0, classifier.predict(X))
    for order in (["low", "top"], ["top", "low"]):
        classifier = Classifier(**FAST, order=order).fit(X, np.array(["low", "top"])[two * 1])
        np.testing.assert_array_equal(classifier.decision_function(X) > 0, classifier.predict(X) == "top")
        assert classifier.score(X, np.array(["low", "top"])[two * 1]) > 0.9


def test_what_needs_validation_rows_gets_them_or_says_so():
    for setting in ({"metrics": "mae, rmse"}, {"monitor": "r2"}, {"min_delta": 0.1}, {"patience": 3}):
        fitted = Regressor(**FAST, **setting).fit(X, Y)
        assert len(fitted.trained_.data.validation.x) == 20
        for none in (0, None):
            with pytest.raises(
                ValueError, match=f"{next(iter(setting))} are measured on validation rows, .* set valid"
            ):
                Regressor(**FAST, **setting, validation=none).fit(X, Y)
    measured = Regressor(**FAST, metrics="mae, rmse").fit(X, Y).trained_.history[-1]
    assert {"validation_mae", "validation_rmse"} <= set(measured)
    with pytest.raises(ValueError, match="for partial_fit, pass validation"):
        Regressor(**FAST, metrics="mae").partial_fit(X, Y)
    partial = Regressor(**FAST, metrics="mae", validation=(X, Y)).partial_fit(X, Y).partial_fit(X, Y)
    assert partial.trained_.history[-1]["validation_mae"] > 0


def test_the_rows_to_validate_on_are_split_as_by_train():
    frame = HOUSES.assign(day=np.arange(200), id=np.arange(200)[::-1])
    by_time = Regressor(**FAST, validation=0.2, split="time:day", drop=["day", "id"]).fit(frame, PRICE).trained_
    assert by_time.data.validation_rows.tolist() == list(range(160, 200))
    assert by_time.preparation.features == ("size", "city")
    in_order = Regressor(**FAST, validation=0.2, shuffle=False).fit(X, Y).trained_
    assert in_order.data.validation_rows.tolist() == list(range(160, 200))


def test_threads_and_progress_change_no_result(capsys):
    one = Regressor(**FAST, threads=1, progress=True).fit(X, Y)
    np.testing.assert_array_equal(one.predict(X), Regressor(**FAST).fit(X, Y).predict(X))
    assert one.trained_.threads == 1
    assert "".join(capsys.readouterr())


def test_the_only_value_of_a_target_is_predicted():
    for y in (np.full(200, 0.1), np.full((200, 2), [3.0, -7.0])):
        regressor = Regressor(epochs=3).fit(X, y)
        np.testing.assert_array_equal(regressor.predict(X), y)
        assert regressor.score(X, y) == 1
    for loss in ("huber", "gaussian"):
        np.testing.assert_array_equal(Regressor(loss=loss, epochs=3).fit(X, np.full(200, 5.0)).predict(X), 5)
    many = Regressor(epochs=3, metrics="r2, mae").fit(np.tile(X, (4, 1)), np.full(800, 5.0))
    np.testing.assert_array_equal(many.predict(X), 5)
    learning = Regressor("8 tanh", optimizer="adam 0.02").partial_fit(X, np.full(200, 2.0))
    for _ in range(100):
        learning.partial_fit(X, Y)
    assert learning.score(X, Y) > 0.9


def test_labels_are_balanced():
    y = (X > [1, 1, 0]).astype(int)
    plain, balanced = (Classifier(**FAST, class_weight=w).fit(X, y).predict(X).mean(axis=0) for w in (None, "balanced"))
    assert (balanced[:2] > plain[:2]).all()
    with pytest.raises(ValueError, match="y has one column; several labels take"):
        Classifier(task="multilabel").fit(X, Y > 0)
