"""Metrics: what is measured on predictions, in the target's own units.

A metric is one of chainrule's own (`CLASSIFICATION`, `REGRESSION`), any of scikit-learn's scorers
by its name, or a function. Names mean what they mean in scikit-learn. `precision`, `recall`, `f1`,
`jaccard`, `roc_auc` and `average_precision` of two classes are those of the second one, in sorted
order ("yes" of "no" and "yes"); of more classes, for which some of scikit-learn's scorers are not
defined, they are the mean over the classes ("macro"; of `roc_auc`, of each against the rest).
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from numbers import Real
from reprlib import repr as brief
from typing import Any, Literal, TypeAlias

import numpy as np

from chainrule.arrays import Array
from chainrule.data import Target
from chainrule.errors import SettingError, nearest, require, unknown
from chainrule.kinds import Kind
from chainrule.losses import Loss
from chainrule.training import scores
from chainrule.training.ranks import RANKED
from chainrule.training.scores import Classified
from chainrule.training.threshold import choose, decide

CLASSIFICATION = (
    "accuracy", "balanced_accuracy", "precision", "recall", "f1", "roc_auc", "average_precision", "log_loss",
    "calibration_error",
)  # fmt: skip
REGRESSION = ("r2", "mae", "rmse")
MULTILABEL = ("accuracy", "f1", "roc_auc", "hamming_loss")
ORDINAL = ("accuracy", "rank_mae", "quadratic_kappa", "balanced_accuracy", "log_loss")
NAMES = {"classification": CLASSIFICATION, "ordinal": ORDINAL, "regression": REGRESSION, "multilabel": MULTILABEL}
PER_CLASS = ("precision", "recall", "f1", "jaccard")
"""Metrics of one class, which are averaged over several."""
AVERAGES = ("macro", "micro", "weighted")
LOWER = ("loss", "log_loss", "calibration_error", "hamming_loss", "mae", "rmse", "rank_mae")
"""Those of which less is better."""
NEGATED = {
    "neg_log_loss": "log_loss",
    "neg_mean_absolute_error": "mae",
    "neg_root_mean_squared_error": "rmse",
}
"""scikit-learn's scorers whose negative value chainrule defines."""
OF_PROBABILITIES = ("roc_auc", "roc_auc_ovr", "average_precision", "log_loss", "neg_log_loss", "calibration_error")
"""Those that judge probabilities instead of classes."""
MINIMIZED = ("_error", "_loss", "_deviance")
"""What the names of scikit-learn's functions end with if less is better."""

_OF_CLASSES = (
    *CLASSIFICATION, "jaccard", "neg_log_loss", "roc_auc_ovr",
    *(f"{name}_{average}" for name in PER_CLASS for average in AVERAGES),
)  # fmt: skip
OWN = {
    "classification": _OF_CLASSES,
    "ordinal": (*ORDINAL, *(name for name in _OF_CLASSES if name not in ORDINAL)),
    "regression": (*REGRESSION, "neg_mean_absolute_error", "neg_root_mean_squared_error"),
    "multilabel": MULTILABEL,
}  # fmt: skip
"""What is measured without scikit-learn, by task."""


@dataclass(frozen=True)
class Metric(Kind):
    """A metric of your own: a function of the true and the predicted targets.

    A function can be passed as it is; this says what its name can't.

    Args:
        function: takes the true and the predicted targets: classes by their labels, or quantities
            in their own units, of shape (samples,), or (samples, outputs) for several; and
            `sample_weight`, if it has this parameter and the samples have weights. Or what
            scikit-learn's `make_scorer` returns. None in a run that was opened without it
        name: what it is called; by default the function's name
        greater_is_better: its direction; by default, as in scikit-learn, less is better of a
            function whose name ends in _error, _loss or _deviance
        response_method: what the function is given: "predict" for predictions, "predict_proba" for
            the probabilities of classes: (samples, classes), or (samples,) of the second of two

    Raises:
        SettingError: for what is no function, or has no name

    Examples:
        >>> def cost(truth, guess):
        ...     return ((guess > truth) * 1.0 + (guess < truth) * 5.0).mean()
        >>> Metric(cost, greater_is_better=False).name
        'cost'
    """

    function: Callable[..., Any] | None = field(default=None, compare=False, metadata={"recorded": False})
    name: str = ""
    greater_is_better: bool | None = None
    response_method: Literal["predict", "predict_proba"] = "predict"

    def __post_init__(self) -> None:
        is_function = self.function is None or callable(self.function)
        require(is_function, f"the metric {brief(self.function)} is no function of the true and predicted targets")
        name = self.name or getattr(self.function, "__name__", "")
        remedy = "name it by a word that is no other metric's: Metric(function, name='cost')"
        require(isinstance(name, str) and name.isidentifier(), f"a metric's name is {brief(name)}; {remedy}")
        taken = {"epoch", "loss"}.union(*OWN.values())
        require(name not in taken, f"the metric {name} is another than your function {name}; {remedy}")
        ways, direction = ("predict", "predict_proba"), self.greater_is_better
        require(self.response_method in ways, f"the response_method is {self.response_method!r}; it is one of {ways}")
        require(direction in (None, True, False), f"greater_is_better is {direction!r}; it is True or False")
        object.__setattr__(self, "name", name)
        if direction is None:
            object.__setattr__(self, "greater_is_better", not name.endswith(MINIMIZED))


Chosen: TypeAlias = str | Metric
"""A metric: its name, or a function of the user's own."""
Choice: TypeAlias = str | Metric | Callable[..., Any]
"""What a user may choose as a metric."""


def names(task: str) -> tuple[str, ...]:
    """chainrule's metrics for a task, the default one first."""
    return NAMES[task]


def name_of(metric: Chosen) -> str:
    """A metric's name."""
    return metric if isinstance(metric, str) else metric.name


def greater_is_better(metric: Chosen) -> bool:
    """Whether more of a metric is better; of scikit-learn's scorers it always is."""
    return metric not in LOWER if isinstance(metric, str) else bool(metric.greater_is_better)


def check_threshold_metric(metric: Chosen) -> None:
    """Raise SettingError for a metric of classes that judges probabilities: it does not depend on
    how the classes are decided between.
    """
    name = name_of(metric)
    if isinstance(metric, Metric):
        depends = metric.response_method == "predict"
    elif metric in OWN["classification"]:
        depends = metric not in OF_PROBABILITIES
    else:
        from chainrule.training import scorers

        depends = not scorers.needs_probabilities(metric)
    require(depends, f"{name} does not depend on the threshold; choose it by a metric of classes, such as 'f1'")


def check(chosen: Choice | Sequence[Choice], target: Target) -> tuple[Chosen, ...]:
    """These metrics, or this one, or those that a text names, with commas between them; raises
    SettingError for one that this target does not have.
    """
    if isinstance(chosen, str) and "," in chosen:
        chosen = [name.strip() for name in chosen.split(",")]
    several = (chosen,) if isinstance(chosen, str | Metric) or callable(chosen) else chosen
    example = list(names(target.task)[:2])
    message = f"the metrics are {brief(chosen)}; pass their names, such as {example}, or functions"
    require(isinstance(several, Iterable), message)
    metrics = tuple(check_one(metric, target) for metric in several)
    given = [name_of(metric) for metric in metrics]
    require(len(set(given)) == len(given), f"the metrics are {brief(tuple(given))}; name each once")
    return metrics


def check_one(metric: Choice, target: Target) -> Chosen:
    """This metric; raises SettingError if this target does not have it."""
    if isinstance(metric, Metric):
        require(metric.function is not None, f"the metric {metric.name} has no function; pass one")
        return metric
    if callable(metric):
        return Metric(metric)
    task = target.task
    if isinstance(metric, str) and metric in OWN[task]:
        return metric
    others = [other for other, own in OWN.items() if metric in own]
    if others:
        raise SettingError(f"unknown metric for {task} {metric!r}: it is for {' and '.join(others)}")
    if task == "multilabel":
        raise unknown("metric for multilabel", metric, MULTILABEL)
    from chainrule.training import scorers

    if metric not in scorers.names():
        usable = [name for name in scorers.names() if scorers.misfit(name, target) is None]
        match = nearest(metric, [*OWN[task], *usable]) if isinstance(metric, str) else None
        all_of_them = f"choose one of {', '.join(names(task))}, one of scikit-learn's scorers, or pass a function"
        hint = f"did you mean {match!r}?" if match else all_of_them
        raise SettingError(f"unknown metric for {task} {metric!r}; {hint}")
    misfit = scorers.misfit(metric, target)
    if misfit is not None:
        raise SettingError(f"unknown metric for {task} {metric!r}: {misfit}")
    return metric


def check_recorded(metrics: Sequence[Chosen], task: str) -> None:
    """Raise SettingError for what no recipe has. Names that are scikit-learn's are not looked up,
    so that a run is opened without it.
    """
    other = {name for own in OWN.values() for name in own} - {*OWN[task]}
    given = [name_of(metric) for metric in metrics]
    for name in given:
        require(name.isidentifier() and name not in ("epoch", "loss"), f"a metric is {brief(name)}, which is no name")
        require(name not in other, f"unknown metric for {task} {name!r}")
    require(len(set(given)) == len(given), f"the metrics are {brief(tuple(given))}; name each once")


def with_functions(metrics: Sequence[Chosen], functions: Iterable[Callable[..., Any] | Metric]) -> tuple[Chosen, ...]:
    """The metrics of a recipe, with these functions as those of their names."""
    known = {}
    for function in functions:
        metric = function if isinstance(function, Metric) else Metric(function)
        known[metric.name] = metric.function
    return tuple(
        metric if isinstance(metric, str) else replace(metric, function=known.get(metric.name)) for metric in metrics
    )


def unknown_functions(metrics: Sequence[Chosen]) -> list[str]:
    """The names of those whose function is not known."""
    return [metric.name for metric in metrics if isinstance(metric, Metric) and metric.function is None]


def measure(
    chosen: Sequence[Chosen],
    target: Target,
    loss: Loss,
    prediction: Array,
    y: Array,
    weight: Array | None = None,
    threshold: float | None = None,
) -> dict[str, float]:
    """The value of each of these metrics.

    NaN where a metric is undefined, such as ROC AUC where only one class occurs. A function that a
    run was opened without is left out.

    Args:
        chosen: the metrics
        target: what the numbers in y mean
        loss: turns the network's outputs into classes, probabilities or values
        prediction: (samples, outputs) the network's outputs
        y: (samples, ...) the targets, as the loss takes them
        weight: (samples,) how much each sample counts; by default all count the same. Of
            scikit-learn's scorers, some (such as neg_max_error) are defined without
        threshold: from which probability on the second of two classes is predicted; see `decide`
    """
    known = [metric for metric in chosen if isinstance(metric, str) or metric.function is not None]
    if target.task == "regression":
        truth = target.decode(np.asarray(y).reshape(len(y), -1))
        guess = target.decode(loss.point(prediction).reshape(len(y), -1))
        return {name_of(metric): _of_quantities(metric, truth, guess, weight) for metric in known}
    if target.task == "multilabel":
        labels, guess, shares = np.asarray(y) > 0.5, prediction > 0, loss.probabilities(prediction)
        return {name_of(metric): _of_labels(metric, target, labels, guess, shares, weight) for metric in known}
    classified = classify(target.width, loss, prediction, y, weight, threshold)
    return {name_of(metric): _of_classes(metric, target, classified, weight is not None) for metric in known}


def classify(
    width: int, loss: Loss, prediction: Array, y: Array, weight: Array | None = None, threshold: float | None = None
) -> Classified:
    """The predicted classes of so many, beside the true ones."""
    probabilities = loss.probabilities(prediction)
    if probabilities is not None:
        probabilities = probabilities.astype(np.float64)
        probabilities /= probabilities.sum(axis=1, keepdims=True)
        probabilities = probabilities if np.isfinite(probabilities).all() else None
    truth = np.asarray(y if y.ndim == 1 else loss.classes(y), dtype=np.intp)
    guess = decide(loss, prediction, threshold)
    return Classified(width, truth, guess, probabilities, np.ones(len(truth)) if weight is None else weight)


def best_threshold(
    metric: Chosen, target: Target, loss: Loss, prediction: Array, y: Array, weight: Array | None = None
) -> float:
    """The threshold at which this metric of two classes is best; the arguments are those of
    `measure`.
    """
    classified, sign = classify(2, loss, prediction, y, weight), 1 if greater_is_better(metric) else -1
    probabilities = loss.probabilities(prediction)
    assert probabilities is not None

    def score(threshold: float) -> float:
        decided = replace(classified, guess=decide(loss, prediction, threshold))
        return sign * _of_classes(metric, target, decided, weight is not None)

    return choose(score, probabilities[:, 1])


def _of_classes(metric: Chosen, target: Target, classified: Classified, weighted: bool) -> float:
    c, weight = classified, classified.weight if weighted else None
    if isinstance(metric, Metric):
        labels = target.decode(np.arange(c.width))
        return _of_function(metric, labels, labels[c.truth], labels[c.guess], c.probabilities, weight)
    if metric in NEGATED:
        return -_of_classes(NEGATED[metric], target, c, weighted)
    bare, _, average = metric.rpartition("_")
    if metric in PER_CLASS:
        return c.averaged(metric, "binary" if c.width == 2 else "macro")
    if bare in PER_CLASS and average in AVERAGES:
        return c.averaged(bare, average)
    if metric in RANKED:
        return RANKED[metric](c.truth, c.guess, c.weight)
    if metric == "accuracy":
        return float(np.average(c.truth == c.guess, weights=c.weight))
    if metric in CLASSIFICATION or metric == "roc_auc_ovr":
        return float(getattr(c, metric.removesuffix("_ovr"))())
    from chainrule.training import scorers

    return scorers.of_classes(metric, np.arange(c.width), c.truth, c.guess, c.probabilities, weight)


def _of_labels(
    metric: Chosen, target: Target, truth: Array, guess: Array, probabilities: Array | None, weight: Array | None
) -> float:
    """A metric of several labels, (samples, labels), each of which applies or does not.

    The accuracy counts samples of which every label is right; F1 and ROC AUC are means over the
    labels; the Hamming loss is the share of single labels that are wrong.
    """
    if isinstance(metric, Metric):
        return _of_function(metric, None, target.decode(truth), target.decode(guess), probabilities, weight)
    if metric == "accuracy":
        return float(np.average((truth == guess).all(axis=1), weights=weight))
    if metric == "hamming_loss":
        return float(np.average((truth != guess).mean(axis=1), weights=weight))
    weight = np.ones(len(truth)) if weight is None else weight
    if metric == "f1":
        both, either = weight @ (truth & guess), weight @ (truth.astype(float) + guess)
        return float(np.mean(2 * both / np.maximum(either, np.finfo(float).tiny)))
    if probabilities is None or not np.isfinite(probabilities).all():
        return math.nan
    labels = range(truth.shape[1])
    return float(np.mean([scores.areas(truth[:, k], probabilities[:, k], weight).roc for k in labels]))


def _of_quantities(metric: Chosen, truth: Array, guess: Array, weight: Array | None) -> float:
    if isinstance(metric, str) and metric in NEGATED:
        return -scores.regression(NEGATED[metric], truth, guess, weight)
    if isinstance(metric, str) and metric in REGRESSION:
        return scores.regression(metric, truth, guess, weight)
    if not np.isfinite(guess).all():
        return math.nan
    truth, guess = (values[:, 0] if values.shape[1] == 1 else values for values in (truth, guess))
    if isinstance(metric, Metric):
        return _of_function(metric, None, truth, guess, None, weight)
    from chainrule.training import scorers

    return scorers.of_quantities(metric, truth, guess, weight)


def _of_function(
    metric: Metric, labels: Array | None, truth: Array, guess: Array, probabilities: Array | None, weight: Array | None
) -> float:
    function = metric.function
    assert function is not None
    if type(function).__module__.startswith("sklearn.metrics"):  # from make_scorer
        from chainrule.training import scorers

        if labels is None:
            return scorers.of_quantities(function, truth, guess, weight)
        return scorers.of_classes(function, labels, truth, guess, probabilities, weight)
    if metric.response_method == "predict_proba":
        if probabilities is None:
            return math.nan
        is_of_two = labels is not None and len(labels) == 2
        guess = probabilities[:, 1] if is_of_two else probabilities
    weights = {"sample_weight": weight} if weight is not None and _takes_weights(function) else {}
    value = function(truth, guess, **weights)
    require(isinstance(value, Real), f"the metric {metric.name} returned {brief(value)}; it must return a number")
    return float(value) if math.isfinite(value) else math.nan


def _takes_weights(function: Callable[..., Any]) -> bool:
    try:
        return "sample_weight" in inspect.signature(function).parameters
    except ValueError:  # some functions in C have no signature
        return False


def default(task: str, loss: Loss) -> tuple[str, ...]:
    """The metric shown during training; raises SettingError if the loss is for another task."""
    tasks = " and ".join(loss.tasks)
    require(task in loss.tasks, f"the loss {type(loss).__name__} is for {tasks}, but the target asks for {task}")
    return names(task)[:1]
