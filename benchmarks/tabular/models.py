"""The models that are compared, each with its defaults: chainrule, boosting, MLPs and linear models.

A model is a function from training rows, test rows and a seed to what it predicts for the test
rows: quantities, or (rows, classes) probabilities in the order of the sorted classes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import accuracy_score, r2_score, roc_auc_score

from tabular.sets import Table

Predicted = Any
Model = Callable[[Table, pd.DataFrame, pd.DataFrame, int], Predicted]


def score(table: Table, test: pd.DataFrame, predicted: Predicted) -> float:
    """The table's metric."""
    truth = test[table.target]
    if table.metric == "r2":
        return float(r2_score(truth, predicted))
    if table.metric == "auc":
        return float(roc_auc_score(truth == max(truth), predicted[:, 1]))
    return float(accuracy_score(truth, np.unique(truth)[predicted.argmax(axis=1)]))


def chainrule(table: Table, training: pd.DataFrame, test: pd.DataFrame, seed: int) -> Predicted:
    """Our defaults."""
    import chainrule

    task = "regression" if table.metric == "r2" else "classification"
    data = chainrule.load(training, target=table.target, task=task, test=0.0, seed=seed)
    trained = chainrule.train(data=data, seed=seed)
    x = test.drop(columns=table.target)
    return trained.predict(x) if table.metric == "r2" else trained.probabilities(x)


def boosting(table: Table, training: pd.DataFrame, test: pd.DataFrame, seed: int) -> Predicted:
    """scikit-learn's histogram boosting; categories that it can take as they are stay so."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    kind = HistGradientBoostingRegressor if table.metric == "r2" else HistGradientBoostingClassifier
    return _fitted(kind(random_state=seed), table, training, test, vectorized="categories")


def mlp(table: Table, training: pd.DataFrame, test: pd.DataFrame, seed: int) -> Predicted:
    """scikit-learn's MLP."""
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    kind = MLPRegressor if table.metric == "r2" else MLPClassifier
    return _fitted(kind(random_state=seed), table, training, test, vectorized="numbers")


def linear(table: Table, training: pd.DataFrame, test: pd.DataFrame, seed: int) -> Predicted:
    """Ridge regression with a chosen penalty, or logistic regression."""
    from sklearn.linear_model import LogisticRegression, RidgeCV

    is_quantity = table.metric == "r2"
    model = RidgeCV(np.logspace(-3, 3, 13)) if is_quantity else LogisticRegression(max_iter=1000, random_state=seed)
    return _fitted(model, table, training, test, vectorized="numbers")


def realmlp(table: Table, training: pd.DataFrame, test: pd.DataFrame, seed: int) -> Predicted:
    """RealMLP with tuned defaults (Holzmüller et al., 2024)."""
    from pytabkit import RealMLP_TD_Classifier, RealMLP_TD_Regressor

    kind = RealMLP_TD_Regressor if table.metric == "r2" else RealMLP_TD_Classifier
    model = kind(device="cpu", random_state=seed, n_threads=1)
    return _fitted(model, table, training, test, vectorized="categories", missing="mean")


def _fitted(
    model: Any, table: Table, training: pd.DataFrame, test: pd.DataFrame, vectorized: str, missing: str | None = None
) -> Predicted:
    """What a model with scikit-learn's interface predicts, once it is fitted.

    Args:
        model: the model
        table: what to predict
        training, test: the rows
        vectorized: "numbers" for numbers alone, standardized, or "categories" for columns of few
            values as categories
        missing: "mean" to replace missing numbers by the column's mean even so
    """
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from skrub import TableVectorizer, ToCategorical

    x, y = training.drop(columns=table.target), training[table.target].to_numpy()
    later = test.drop(columns=table.target)
    few = ToCategorical() if vectorized == "categories" else None
    steps: list[Any] = [TableVectorizer(low_cardinality=few) if few else TableVectorizer()]
    if vectorized == "numbers":
        steps += [SimpleImputer(), StandardScaler()]
    vectorizer = make_pipeline(*steps).fit(x)
    x, later = vectorizer.transform(x), vectorizer.transform(later)
    if missing == "mean":
        means = x.select_dtypes("number").mean()
        x, later = x.fillna(means), later.fillna(means)
    model.fit(x, y)
    return model.predict(later) if table.metric == "r2" else model.predict_proba(later)


MODELS: dict[str, Model] = {
    "chainrule": chainrule,
    "realmlp": realmlp,
    "boosting": boosting,
    "linear": linear,
    "mlp": mlp,
}
"""Every model, by name."""
