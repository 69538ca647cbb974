"""Permutation importance: by how much a metric gets worse when a column's values are exchanged
between the rows (Breiman, 2001, "Random forests"; Fisher, Rudin and Dominici, 2019, "All models are
wrong, but many are useful").

It says what a network's predictions depend on over a whole data set, not what causes the target;
columns that say the same share it, because each stands in for the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule import generators
from chainrule.arrays import Array, Samples
from chainrule.data import Data, Dataset, Preparation
from chainrule.errors import DataError, SettingError, at_least, setting
from chainrule.rows import in_memory
from chainrule.runs import Run, Trained
from chainrule.runs.inputs import labelled
from chainrule.summary import Shown, Summary, Table
from chainrule.training import metrics as measures
from chainrule.training.catalog import by_default
from chainrule.training.metrics import Choice, Chosen, greater_is_better, name_of

NUMBERS = 4_000_000
"""About how many numbers are predicted from at a time."""
BLOCKS = 7
"""Along each side of a picture, so many blocks of pixels count as one column each."""
AFFORDED = 1e11
"""About how many multiply-adds a report or the page affords."""
MOST_ROWS, FEWEST_ROWS, MOST_REPEATS = 2000, 40, 10
"""The most rows that they predict, the fewest if there are so many, and the most repeats."""


@dataclass(frozen=True)
class Importance:
    """How important a column is, by one metric.

    Attributes:
        column: the column
        metric: the metric
        repeats: (repeats,) by how much it gets worse, each time
    """

    column: str
    metric: str
    repeats: Array

    @property
    def mean(self) -> float:
        """The mean over the repeats."""
        return float(self.repeats.mean())

    @property
    def deviation(self) -> float | None:
        """The standard deviation over the repeats; None for one repeat."""
        return float(self.repeats.std()) if len(self.repeats) > 1 else None

    @property
    def spread(self) -> str:
        """The deviation as text; empty for one repeat."""
        return "" if self.deviation is None else f"\u00b1 {self.deviation:.2g}"


@dataclass(frozen=True, repr=False)
class Importances(Shown):
    """The permutation importance of each column.

    Attributes:
        name: the data
        samples: the number of rows
        metrics: the value of each metric before anything is exchanged
        columns: the importances, of each metric the largest first
    """

    name: str
    samples: int
    metrics: dict[str, float]
    columns: tuple[Importance, ...]

    def of(self, metric: str) -> list[Importance]:
        """The importances by one metric, the largest first."""
        return [one for one in self.columns if one.metric == metric]

    @property
    def over(self) -> str:
        """Over how many repeats the means are."""
        count = len(self.columns[0].repeats)
        return f"{count:,} repeats" if count > 1 else "one repeat, which has no deviation"

    def summary(self) -> Summary:
        """A row for each column, by the first metric."""
        (first, value), *_ = self.metrics.items()
        own = self.of(first)
        rows = [[one.column, f"{one.mean:.4g}", one.spread] for one in own]
        about = f"{self.name}, {self.samples:,} rows, {self.over}"
        table = Table("columns", ("column", f"{first} worse by", "deviation"), rows, "lrr")
        return Summary("Permutation importance", about, {first: f"{value:.6g}"}, table)

    def as_json(self) -> dict[str, Any]:
        """Everything, as plain values."""
        return {
            "data": self.name,
            "samples": self.samples,
            "metrics": self.metrics,
            "columns": [
                {"column": one.column, "metric": one.metric, "mean": one.mean, "deviation": one.deviation,
                 "repeats": one.repeats.tolist()}
                for one in self.columns
            ],
        }  # fmt: skip


def importance(
    trained: Trained | Run,
    data: Data | Dataset | Samples | None = None,
    metrics: Choice | Sequence[Choice] | None = None,
    repeats: int = 10,
    seed: int = 0,
    *,
    threads: int | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> Importances:
    """The permutation importance of each column of a table, feature of an array or of time steps,
    or block of a picture.

    Args:
        trained: the trained network, or its run
        data: what to measure on, in a form that `evaluate` takes; by default the test set
        metrics: by which metrics; by default the first of those that `evaluate` measures
        repeats: how often the values of each column are exchanged
        seed: of the permutations
        threads: the most threads to predict with
        progress: called with the number of predicted permutations so far, and of all

    Raises:
        DataError: for data without targets, or without a test set
        SettingError: for a metric that the target does not have, and for texts, which have no
            columns

    Examples:
        >>> import chainrule
        >>> trained = chainrule.train("8 tanh", "iris", epochs=40)
        >>> found = chainrule.importance(trained, "iris", repeats=5)
        >>> len(found.of("accuracy"))  # the columns, those that matter most first
        4
    """
    repeats = at_least(f"{repeats!r} repeats: it takes at least 1 ({setting('repeats')})", repeats, 1)
    name = "the test set" if data is None else str(data) if isinstance(data, str) else getattr(data, "name", "the data")
    if isinstance(trained, Run):
        data = trained.load_data() if data is None else data
        trained = trained.trained
    samples = _samples(trained, data)
    chosen = by_default(trained.target)[:1] if metrics is None else measures.check(metrics, trained.target)
    x = np.asarray(samples.x)
    groups = columns_of(trained.preparation, x.shape[1:])
    found = permuted(
        trained.predictor(threads), x, groups, _scorer(trained, samples, chosen), _orders(len(x), repeats, seed),
        progress,
    )  # fmt: skip
    base, scores = found
    rows = []
    for k, metric in enumerate(chosen):
        sign = 1.0 if greater_is_better(metric) else -1.0
        own = [Importance(column, name_of(metric), sign * (base[k] - scores[c, :, k])) for c, column in
               enumerate(groups)]  # fmt: skip
        rows += sorted(own, key=lambda one: -one.mean)
    values = {name_of(metric): float(base[k]) for k, metric in enumerate(chosen)}
    return Importances(name, len(x), values, tuple(rows))


def affordable(trained: Trained, samples: Samples) -> tuple[Samples, int]:
    """So many of the samples, evenly spaced, and so many repeats that measuring takes seconds."""
    network = trained.plan.network
    cost = sum(node.layer.cost(node.built) for node in network.nodes) or 1
    each = cost * len(columns_of(trained.preparation, network.input_shape))
    rows = min(len(samples.x), MOST_ROWS)
    repeats = int(np.clip(AFFORDED / (each * rows), 1, MOST_REPEATS))
    return samples.thinned(int(np.clip(AFFORDED / (each * repeats), min(FEWEST_ROWS, rows), rows))), repeats


def permuted(
    predict: Callable[[Array], Array],
    x: Array,
    groups: dict[str, Array],
    score: Callable[[Array], Array],
    orders: Array,
    progress: Callable[[int, int], object] | None = None,
) -> tuple[Array, Array]:
    """(metrics,) the scores, and (columns, repeats, metrics) those with each column permuted.

    Args:
        predict: the network
        x: (rows, ...) the samples
        groups: for each column the entries of a flattened sample
        score: (metrics,) of predictions
        orders: (repeats, rows) the row from which each row gets its values
        progress: called with the number of predicted permutations so far, and of all
    """
    flat = x.reshape(len(x), -1)
    base = score(predict(x))
    every = [(c, r) for c in range(len(groups)) for r in range(len(orders))]
    found = np.empty((len(groups), len(orders), len(base)))
    entries = list(groups.values())
    at_once = max(1, NUMBERS // max(flat.size, 1))
    for k in range(0, len(every), at_once):
        some = every[k : k + at_once]
        changed = np.repeat(flat[None], len(some), axis=0)
        for place, (c, r) in enumerate(some):
            changed[place][:, entries[c]] = flat[orders[r]][:, entries[c]]
        raw = predict(changed.reshape(-1, *x.shape[1:]))
        for (c, r), own in zip(some, raw.reshape(len(some), len(x), *raw.shape[1:]), strict=True):
            found[c, r] = score(own)
        if progress is not None:
            progress(min(k + at_once, len(every)), len(every))
    return base, found


def _orders(rows: int, repeats: int, seed: int) -> Array:
    own = generators.seed(seed)
    return np.stack([generators.generator(own, "importance", repeat).permutation(rows) for repeat in range(repeats)])


def _samples(trained: Trained, data: Any) -> Samples:
    if data is None:
        data = trained.data
    if isinstance(data, Dataset):
        data = data.test if data.test is not None else data.validation
    if data is None:
        raise DataError("there is no test set; pass the data to measure on")
    if trained.target.tokens:
        raise SettingError("a text has no columns whose values could be exchanged")
    return in_memory(labelled(trained.preparation, trained.target, data), MOST_ROWS)


def _scorer(trained: Trained, samples: Samples, chosen: Sequence[Chosen]) -> Callable[[Array], Array]:
    """What measures predictions."""
    y, plan = np.asarray(samples.y), trained.plan

    def score(raw: Array) -> Array:
        measured = measures.measure(chosen, trained.target, plan.loss, raw, y, samples.weight, trained.threshold)
        return np.array([measured[name_of(metric)] for metric in chosen])

    return score


def columns_of(preparation: Preparation | None, shape: tuple[int, ...]) -> dict[str, Array]:
    """For each column the entries of a flattened sample of this shape that it becomes."""
    entries = np.arange(int(np.prod(shape))).reshape(shape)
    if preparation is not None and preparation.encoders:
        groups, first = dict[str, Array](), 0
        for (column, _), encoder in zip(preparation.columns, preparation.encoders, strict=True):
            count = len(encoder.input_names(column))
            groups[column] = entries[..., first : first + count].ravel()
            first += count
        return groups
    if preparation is not None and preparation.kind == "pictures":
        return dict(_blocks(entries))
    if preparation is not None and preparation.sequence is not None:
        steps, features = preparation.sequence
        inside = entries[:-1].reshape(steps, features)
        return {f"feature {k}": inside[:, k] for k in range(features)}
    names = () if preparation is None else preparation.names or preparation.features
    names = names if len(names) == shape[-1] else [f"x[{k}]" for k in range(shape[-1])]
    return {name: entries[..., k].ravel() for k, name in enumerate(names)}


def _blocks(entries: Array) -> Iterator[tuple[str, Array]]:
    """Blocks of a picture's pixels."""
    height, width = entries.shape[:2]
    rows, columns = (np.array_split(np.arange(size), min(BLOCKS, size)) for size in (height, width))
    for r in rows:
        for c in columns:
            name = f"{_range('row', r)}, {_range('column', c)}"
            yield name, entries[r[0] : r[-1] + 1, c[0] : c[-1] + 1].ravel()


def _range(what: str, numbers: Array) -> str:
    first, last = numbers[0], numbers[-1]
    return f"{what} {first}" if first == last else f"{what}s {first}-{last}"
