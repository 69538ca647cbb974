"""Metrics: what is measured on predictions, in the target's own units.

A metric is one of chainrule's own (`catalog.METRICS`), any of scikit-learn's scorers by its name,
or a function. Names mean what they mean in scikit-learn. `precision`, `recall`, `f1`, `jaccard`,
`roc_auc` and `average_precision` of two classes are those of the second one, in sorted order ("yes"
of "no" and "yes"). Of more classes, and of labels, for which some of scikit-learn's scorers are not
defined, they are the mean over the classes or labels ("macro"; of `roc_auc`, of each against the
rest). Of several quantities a metric is the mean over them ("uniform_average").
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
from chainrule.errors import SettingError, nearest, require
from chainrule.kinds import Kind
from chainrule.losses import Loss
from chainrule.losses.base import rows_of
from chainrule.training import position_scores, scores
from chainrule.training.catalog import AVERAGES, LOWER, METRICS, NEGATED, OF_PROBABILITIES, OWN, PER_CLASS, names
from chainrule.training.label_scores import Labelled
from chainrule.training.position_scores import PositionScores, score_positions
from chainrule.training.ranks import RANKED
from chainrule.training.scores import Classified
from chainrule.training.threshold import choose, decide

MINIMIZED = ("_error", "_loss", "_deviance")
"""What the names of scikit-learn's functions end with if less is better."""


@dataclass(frozen=True)
class Metric(Kind):
    """A metric of your own: a function of the true and the predicted targets.

    A function can be passed as it is; this says what its name can't.

    Args:
        function: takes the true and the predicted targets: classes by their labels, or quantities
            in their own units, of shape (samples,), or (samples, outputs) for several; labels as 0
            and 1, (samples, labels); and `sample_weight`, if it has this parameter and the samples
            have weights. Or what scikit-learn's `make_scorer` returns. None in a run that was
            opened without it
        name: what it is called; by default the function's name
        greater_is_better: its direction; by default, as in scikit-learn, less is better of a
            function whose name ends in _error, _loss or _deviance
        response_method: what the function is given: "predict" for predictions, "predict_proba" for
            the probabilities of classes: (samples, classes), or (samples,) of the second of two;
            of labels: (samples, labels)

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
    example = list(names(target)[:2])
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
    if isinstance(metric, Metric) or callable(metric):
        metric = metric if isinstance(metric, Metric) else Metric(metric)
        _check_at_positions(metric, target)
        return metric
    task = target.task
    _check_at_positions(metric, target)
    if isinstance(metric, str) and (metric in OWN[task] or (target.tokens and metric in OWN["text"])):
        return metric
    others = [other for other, own in OWN.items() if metric in own]
    if others:
        raise SettingError(f"unknown metric for {task} {metric!r}: it is for {' and '.join(others)}")
    from chainrule.training import scorers

    if metric not in scorers.names():
        usable = [name for name in scorers.names() if scorers.misfit(name, target) is None]
        match = nearest(metric, [*OWN[task], *usable]) if isinstance(metric, str) else None
        all_of_them = f"choose one of {', '.join(names(target))}, one of scikit-learn's scorers, or pass a function"
        hint = f"did you mean {match!r}?" if match else all_of_them
        raise SettingError(f"unknown metric for {task} {metric!r}; {hint}")
    misfit = scorers.misfit(metric, target)
    if misfit is not None:
        raise SettingError(f"unknown metric for {task} {metric!r}: {misfit}")
    return metric


def _check_at_positions(metric: Any, target: Target) -> None:
    """Raise SettingError for a metric of probabilities where there is a class at each position: of
    each, only that of the true class is kept.
    """
    if not (target.positions and target.is_class) or metric in position_scores.NAMES:
        return
    if isinstance(metric, Metric):
        needs = metric.response_method == "predict_proba"
    elif metric in METRICS:
        needs = metric in OF_PROBABILITIES
    else:
        from chainrule.training import scorers

        needs = metric in scorers.names() and scorers.needs_probabilities(metric)
    allowed = f"{', '.join(names(target))} are, and what judges classes, such as f1"
    require(not needs, f"{brief(name_of(metric))} is not measured at positions; {allowed}")


def check_recorded(metrics: Sequence[Chosen], target: Target) -> None:
    """Raise SettingError for what no recipe has. Names that are scikit-learn's are not looked up,
    so that a run is opened without it.
    """
    task, own = target.task, {*OWN[target.task], *(OWN["text"] if target.tokens else ())}
    other = {name for names in OWN.values() for name in names} - own
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
        truth = target.decode(np.asarray(y).reshape(-1, target.width))
        if target.positions:
            prediction, _ = rows_of(prediction, y)
            weight = None if weight is None else _of_rows(weight, target)
        if target.positions and weight is not None:
            truth, prediction, weight = truth[weight > 0], prediction[weight > 0], _uneven(weight[weight > 0])
        guess = target.decode(loss.point(prediction).reshape(len(truth), -1))
        return {name_of(metric): _of_quantities(metric, truth, guess, weight) for metric in known}
    if target.positions and target.is_class:
        return at_positions(known, target, score_positions(loss, prediction, y, weight))
    if target.task == "multilabel":
        labelled = label(loss, prediction, y, weight)
        return {name_of(metric): _of_labels(metric, labelled, weight is not None) for metric in known}
    classified = classify(target.width, loss, prediction, y, weight, threshold)
    return {name_of(metric): of_classes(metric, target, classified, weight is not None) for metric in known}


def at_positions(chosen: Sequence[Chosen], target: Target, scored: PositionScores) -> dict[str, float]:
    """The value of each of these metrics at the positions that count."""
    found = {}
    for metric in chosen:
        if metric in position_scores.NAMES:
            found[name_of(metric)] = scored.metric(name_of(metric), target)
            continue
        classified, is_weighted = scored.classified(target.width), _uneven(scored.weight[scored.weight > 0])
        of_one = replace(target, positions=())
        found[name_of(metric)] = of_classes(metric, of_one, classified, is_weighted is not None)
    return found


def _uneven(weight: Array) -> Array | None:
    """These weights; None if they are all the same."""
    return None if not len(weight) or (weight == weight[0]).all() else weight


def _of_rows(weight: Array, target: Target) -> Array:
    """The weight of each position of each sample."""
    of_positions = weight if weight.ndim > 1 else np.repeat(weight, math.prod(target.positions))
    return of_positions.ravel()


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


def label(loss: Loss, prediction: Array, y: Array, weight: Array | None = None) -> Labelled:
    """The predicted labels, those whose probability is more than 1/2, beside the true ones."""
    probabilities = loss.probabilities(prediction)
    if probabilities is not None:
        probabilities = probabilities.astype(np.float64) if np.isfinite(probabilities).all() else None
    weight = np.ones(len(prediction)) if weight is None else weight
    return Labelled(np.asarray(y) > 0.5, prediction > 0, probabilities, weight)


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
        return sign * of_classes(metric, target, decided, weight is not None)

    return choose(score, probabilities[:, 1])


def of_classes(metric: Chosen, target: Target, classified: Classified, weighted: bool) -> float:
    """The value of a metric of predicted classes; `weighted` says whether their weights differ."""
    c, weight = classified, classified.weight if weighted else None
    if isinstance(metric, Metric):
        labels = target.decode(np.arange(c.width))
        truth, guess = labels[c.truth], labels[c.guess]
        if _is_scorer(metric):
            return _by_scorer("of_classes", metric.function, labels, truth, guess, c.probabilities, weight)
        probabilities = c.probabilities
        if probabilities is not None and c.width == 2:
            probabilities = probabilities[:, 1]
        return _of_function(metric, truth, guess, probabilities, weight)
    if metric in NEGATED:
        return -of_classes(NEGATED[metric], target, c, weighted)
    bare, _, average = metric.rpartition("_")
    if metric in PER_CLASS:
        return c.averaged(metric, "binary" if c.width == 2 else "macro")
    if bare in PER_CLASS and average in AVERAGES:
        return c.averaged(bare, average)
    if metric in RANKED:
        return RANKED[metric](c.truth, c.guess, c.weight)
    if metric == "accuracy":
        return float(np.average(c.truth == c.guess, weights=c.weight))
    if metric in METRICS:
        return float(getattr(c, metric.removesuffix("_ovr"))())
    return _by_scorer("of_classes", metric, np.arange(c.width), c.truth, c.guess, c.probabilities, weight)


def _of_labels(metric: Chosen, labelled: Labelled, weighted: bool) -> float:
    c, weight = labelled, labelled.weight if weighted else None
    name = metric if isinstance(metric, str) else ""
    bare, _, average = name.rpartition("_")
    if name in PER_CLASS:
        return c.averaged(name, "macro")
    if bare in PER_CLASS and average in AVERAGES:
        return c.averaged(bare, average)
    if name in METRICS:
        return float(getattr(c, name.removesuffix("_ovr"))())
    truth, guess = c.truth.astype(np.int64), c.guess.astype(np.int64)
    if isinstance(metric, Metric) and not _is_scorer(metric):
        return _of_function(metric, truth, guess, c.probabilities, weight)
    scorer = metric if isinstance(metric, str) else metric.function
    return _by_scorer("of_labels", scorer, truth, guess, c.probabilities, weight)


def _of_quantities(metric: Chosen, truth: Array, guess: Array, weight: Array | None) -> float:
    if isinstance(metric, str) and metric in NEGATED:
        return -scores.regression(NEGATED[metric], truth, guess, weight)
    if isinstance(metric, str) and metric in METRICS:
        return scores.regression(metric, truth, guess, weight)
    if not np.isfinite(guess).all():
        return math.nan
    truth, guess = (values[:, 0] if values.shape[1] == 1 else values for values in (truth, guess))
    if isinstance(metric, Metric) and not _is_scorer(metric):
        return _of_function(metric, truth, guess, None, weight)
    scorer = metric if isinstance(metric, str) else metric.function
    return _by_scorer("of_quantities", scorer, truth, guess, weight)


def _is_scorer(metric: Metric) -> bool:
    """Whether it is what scikit-learn's make_scorer returns."""
    return type(metric.function).__module__.startswith("sklearn.metrics")


def _by_scorer(kind: str, *arguments: Any) -> float:
    """A scorer's value, by the function of this name in `scorers`, which imports scikit-learn."""
    from chainrule.training import scorers

    return float(getattr(scorers, kind)(*arguments))


def _of_function(
    metric: Metric, truth: Array, guess: Array, probabilities: Array | None, weight: Array | None
) -> float:
    function = metric.function
    assert function is not None
    if metric.response_method == "predict_proba":
        if probabilities is None:
            return math.nan
        guess = probabilities
    weights = {"sample_weight": weight} if weight is not None and _takes_weights(function) else {}
    value = function(truth, guess, **weights)
    require(isinstance(value, Real), f"the metric {metric.name} returned {brief(value)}; it must return a number")
    return float(value) if math.isfinite(value) else math.nan


def _takes_weights(function: Callable[..., Any]) -> bool:
    try:
        return "sample_weight" in inspect.signature(function).parameters
    except ValueError:  # some functions in C have no signature
        return False


def default(target: Target, loss: Loss) -> tuple[str, ...]:
    """The metric shown during training, of a text two; raises SettingError if the loss is for
    another task.
    """
    tasks, task = " and ".join(loss.tasks), target.task
    require(task in loss.tasks, f"the loss {type(loss).__name__} is for {tasks}, but the target asks for {task}")
    return names(target)[: 2 if target.tokens else 1]
