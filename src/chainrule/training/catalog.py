"""chainrule's own metrics: which there are, for which targets, what each means, and how its value
is an average where there are several classes, labels or quantities.
"""

from __future__ import annotations

from typing import NamedTuple

from chainrule.data import Target

CLASSES = ("classification", "ordinal")
LABELS = ("multilabel",)
QUANTITIES = ("regression",)
TEXTS = ("text",)


class Own(NamedTuple):
    """A metric of chainrule's own.

    Attributes:
        tasks: for which targets it is defined: the tasks, and "text" for the tokens of a text
        about: what it is, in a few words
        greater: whether more of it is better
        of_probabilities: whether it judges probabilities instead of predicted classes
        has_unit: whether it has the unit of the target
    """

    tasks: tuple[str, ...]
    about: str
    greater: bool = True
    of_probabilities: bool = False
    has_unit: bool = False


PER_CLASS = {
    "precision": "of the samples predicted as a class, the share that are of it",
    "recall": "of the samples of a class, the share that are predicted as it",
    "f1": "the harmonic mean of precision and recall",
    "jaccard": "the samples rightly predicted as a class, as a share of those that are of it or predicted as it",
}
"""Metrics of one class or label, which are averaged over several."""
AVERAGES = {
    "macro": "the mean over the classes or labels",
    "micro": "of all decisions about classes or labels, counted together",
    "weighted": "the mean over the classes or labels, weighted by their samples",
    "samples": "the mean over the samples, each with its labels",
}

METRICS = {
    "accuracy": Own((*CLASSES, *LABELS), "the share of samples predicted right; of labels, with every label right"),
    "balanced_accuracy": Own(CLASSES, "the mean recall of the classes that occur"),
    **{name: Own((*CLASSES, *LABELS), f"{about}; of two classes the second, else macro")
       for name, about in PER_CLASS.items()},
    **{f"{name}_{average}": Own(LABELS if average == "samples" else (*CLASSES, *LABELS), f"{name}, {about}")
       for name in PER_CLASS for average, about in AVERAGES.items()},
    "hamming_loss": Own(LABELS, "the share of single labels that are predicted wrong", greater=False),
    "roc_auc": Own((*CLASSES, *LABELS), "the area under the ROC curve; of two classes the second, else macro,"
                   " each against the rest", of_probabilities=True),
    "roc_auc_ovr": Own((*CLASSES, *LABELS), "the same as roc_auc", of_probabilities=True),
    "average_precision": Own((*CLASSES, *LABELS), "the area under the steps of the precision-recall curve; of two"
                             " classes the second, else macro", of_probabilities=True),
    "log_loss": Own(CLASSES, "the mean negative logarithm of the true class's probability", greater=False,
                    of_probabilities=True),
    "bits_per_character": Own(TEXTS, "of a text, -log2 of the probabilities of its tokens, divided by the"
                              " number of its characters", greater=False, of_probabilities=True),
    "neg_log_loss": Own(CLASSES, "minus log_loss", of_probabilities=True),
    "calibration_error": Own((*CLASSES, *LABELS), "the expected calibration error (ECE): the mean difference between"
                             " predicted probabilities and how often they come true, in 10 bins of equal width",
                             greater=False, of_probabilities=True),
    "rank_mae": Own(("ordinal",), "by how many ranks the predicted class is off, on average", greater=False),
    "quadratic_kappa": Own(("ordinal",), "Cohen's kappa with quadratic weights: 1 for perfect, 0 for chance"),
    "r2": Own(QUANTITIES, "the share of the variance that is explained; of several quantities the mean"
              " (uniform_average)"),
    "mae": Own(QUANTITIES, "the mean absolute error, in the target's unit", greater=False, has_unit=True),
    "rmse": Own(QUANTITIES, "the root mean squared error, in the target's unit", greater=False, has_unit=True),
    "neg_mean_absolute_error": Own(QUANTITIES, "minus mae", has_unit=True),
    "neg_root_mean_squared_error": Own(QUANTITIES, "minus rmse", has_unit=True),
}  # fmt: skip
"""Every metric that is measured without scikit-learn, by name. Names are scikit-learn's where it
has the metric.
"""

NAMES = {
    "classification": (
        "accuracy", "balanced_accuracy", "precision", "recall", "f1", "roc_auc", "average_precision", "log_loss",
        "calibration_error",
    ),
    "ordinal": ("accuracy", "rank_mae", "quadratic_kappa", "balanced_accuracy", "log_loss"),
    "regression": ("r2", "mae", "rmse"),
    "multilabel": (
        "accuracy", "hamming_loss", "precision", "recall", "f1", "roc_auc", "average_precision", "calibration_error",
    ),
    "text": ("bits_per_character",),
}  # fmt: skip
"""Those that `evaluate` measures by default, by task; during training the first."""
OF_SERIES = ("mae", "rmse")
"""The same of forecasts of time series, which are also compared with the naive one (`naive.py`)."""
OWN = {
    task: (*names, *(name for name, own in METRICS.items() if task in own.tasks and name not in names))
    for task, names in NAMES.items()
}
"""All of them by task, those that are measured by default first."""
LOWER = ("loss", *(name for name, own in METRICS.items() if not own.greater))
"""Those of which less is better."""
OF_PROBABILITIES = tuple(name for name, own in METRICS.items() if own.of_probabilities)
"""Those that judge probabilities instead of classes."""
NEGATED = {
    "neg_log_loss": "log_loss",
    "neg_mean_absolute_error": "mae",
    "neg_root_mean_squared_error": "rmse",
}
"""scikit-learn's scorers whose negative value chainrule defines."""


def names(target: Target) -> tuple[str, ...]:
    """chainrule's metrics for a target, the default one first."""
    if target.positions and target.is_class:
        return (*(NAMES["text"] if target.tokens else ()), "accuracy", "log_loss")
    return OF_SERIES if target.season else NAMES[target.task]


def by_default(target: Target) -> tuple[str, ...]:
    """What `evaluate` measures for a target. Several quantities have units of their own, in which
    nothing can be averaged; the steps of a forecast have the same.
    """
    several = target.task == "regression" and target.width > 1 and not target.season
    return tuple(name for name in names(target) if not (several and METRICS[name].has_unit))


def has_unit(metric: str) -> bool:
    """Whether a metric, or a loss's own score, is in the unit of the target."""
    own = METRICS.get(metric)
    return (
        own.has_unit
        if own
        else metric.startswith(("pinball", "interval_width", "negative_log_likelihood", "naive_mae"))
    )


def is_of_quantities(metric: str) -> bool:
    """Whether it is a metric of quantities of chainrule's own, or a loss's own score."""
    own = METRICS.get(metric)
    return own.tasks == QUANTITIES if own else has_unit(metric) or metric.startswith("coverage")


def average(metric: str, target: Target) -> str | None:
    """How this metric is an average: "binary" (none: it is that of the second of two classes),
    "macro" or "uniform_average", as scikit-learn calls them; None if it is none, or its name says.
    """
    if target.task == "regression":
        return "uniform_average" if target.width > 1 and not target.season and is_of_quantities(metric) else None
    if metric not in PER_CLASS and metric not in ("roc_auc", "average_precision"):
        return None
    return "binary" if target.is_class and target.width == 2 else "macro"
