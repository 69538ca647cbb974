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
    "check_classifiers_multilabel_output_format_decision_function",  # there is no decision_function
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
    others = {"seed", "test", "data", "target", "drop", "task", "image_size", "threshold", "weight", "order"}
    others |= {"split", "shuffle", "threads", "progress"}
    assert set(chainrule.train.__kwdefaults__) - others <= set(classifier.get_params())
    assert set(classifier.get_params()) - set(Regressor().get_params()) == {"class_weight"}
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
    with pytest.raises(ValueError, match="read says what to read a table's columns as"):
        Regressor(read={"x0": "category"}).fit(X, Y)


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
        (sparse.csr_array(X), Y > 0, "dense data is required"),
        (X, Y, "Unknown label type"),
        (X, np.zeros(200), "every row has the class 0.0; at least two classes"),
    ],
)
def test_what_can_not_be_trained_on_is_a_value_error_or_a_type_error(x, y, problem):
    with pytest.raises((ValueError, TypeError), match=problem):
        Classifier().fit(x, y)
    with pytest.raises(ValueError, match="at least one non-zero number"):
        Regressor().fit(X, Y, sample_weight=np.zeros(200))
