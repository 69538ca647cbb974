"""Leakage: one column says the target, which it will hardly do when it counts.

That a column says nearly everything is no proof: of iris, each of two columns does. It is suspect
if all other columns together are far behind it, because a target that can be measured in several
ways shows in several columns. Both are measured on rows that nothing was fitted to: the column
alone by a model of one feature, the others by the better of nearest neighbours and a linear model.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from chainrule.arrays import Array
from chainrule.data import Dataset
from chainrule.doctor.case import Case
from chainrule.doctor.finding import Change, Finding, Remedy
from chainrule.doctor.remedies import of_inputs
from chainrule.training import Plan

ALL = 0.985
"""How much of what there is to know a column must say to be found whatever the others say: 0 as
much as the most frequent class or the mean, 1 everything. In the built-in tables the most is 0.97
(iris: petal length).
"""
ALONE = 0.8
"""How much it must say, at the lower end of a one-sided interval of 95 %, where the others are far
behind.
"""
BEHIND, CERTAIN = 3.0, 2.5
"""How many times its errors those of all other columns together must be, and by how many standard
errors of the difference, row by row.
"""
BINS, IN_BIN = 32, 8
"""The parts that a column is divided into, at most, and the fewest rows to fit in each."""
FEWEST, FEW = 40, 400
"""The fewest training rows to judge by, and how many are few for parts of a column, so that the
nearest rows are asked, too.
"""
COLUMNS = 3
"""The fewest columns: of two, one may well say it all, as of points of the plane."""
MOST = 5000
"""The most inputs that are looked at."""
NEIGHBOURS = 5
"""The nearest rows that predict by the other columns."""
SHIFTED, PAIRS = 0.9999, 10
"""The correlation with the target of another row from which a column is that target, and the fewest
pairs of rows.
"""


@dataclass(frozen=True, eq=False)
class Told:
    """What some inputs say of the target of rows that the model was not fitted to.

    Attributes:
        errors: (rows,) 0 or 1 for a class, the square for a quantity
        base: the mean error of the most frequent class or the mean
        of_class: whether the target is a class
    """

    errors: Array
    base: float
    of_class: bool

    @property
    def share(self) -> float:
        """How much they say: 0 nothing, 1 all."""
        return 1 - float(self.errors.mean()) / max(self.base, 1e-300)

    @property
    def least(self) -> float:
        """The lower end of the share's one-sided interval of 95 %: Wilson's for classes."""
        n, mean, z = len(self.errors), float(self.errors.mean()), 1.645
        if self.of_class:
            root = z * np.sqrt(mean * (1 - mean) / n + z * z / (4 * n * n))
            most = (mean + z * z / (2 * n) + root) / (1 + z * z / n)
        else:
            most = mean + z * float(self.errors.std()) / np.sqrt(n)
        return 1 - float(most) / max(self.base, 1e-300)


def find(case: Case) -> Iterator[Finding]:
    """Whether one column says it all, or what no other says."""
    target = case.data.target
    if target.positions or target.season or target.task == "multilabel" or len(case.training.x) < FEWEST:
        return
    x, known = case.flat("training"), columns(case)
    if len(known) < COLUMNS or x.shape[1] > MOST:
        return
    alone = [told(case, x[:, inputs]) for _, inputs in known]
    best, second = sorted(range(len(known)), key=lambda k: -alone[k].share)[:2]
    (name, inputs), said = known[best], alone[best]
    evidence = {"column": name, "told": said.share, "at_least": said.least, "next": alone[second].share}
    about = f"alone {name} says {100 * said.share:.1f} % of what there is to know about {target.name}"
    other_row = _row_beside(case, inputs) if said.least > 0.5 else ""
    if other_row:
        words = f"it is the target of {other_row}"
        evidence["target_of"] = other_row
    elif said.share >= ALL:
        words = f"the next best column says {100 * alone[second].share:.0f} %"
    elif said.least >= ALONE:
        rest = others(case, np.delete(x, inputs, axis=1), alone[second])
        if not _far_behind(said, rest):
            return
        words = f"all others together say {100 * rest.share:.0f} %"
        evidence["others"] = rest.share
    else:
        return
    words = f"Leakage: {about}; {words}. Is it known before {target.name} is, and not made from it?"
    remedy = Remedy(f"leave {name} out (drop)", _dropped(inputs), honest=True)
    if other_row == "the row before":
        way = "or, if rows follow each other in time and it is known by then, hold out the latest (split=time:COLUMN)"
        remedy = replace(remedy, words=f"{remedy.words}, {way}; tried here: without it")
    severity = "serious" if said.share >= ALL or other_row else "warning"
    yield Finding("leakage", words, name, severity, evidence, (0,), remedy)


def _far_behind(said: Told, rest: Told) -> bool:
    apart = rest.errors - said.errors
    certain = apart.mean() > CERTAIN * apart.std() / np.sqrt(len(apart))
    return bool(certain and rest.errors.mean() >= BEHIND * said.errors.mean())


# One column


def told(case: Case, x: Array) -> Told:
    """What the inputs of one column say: each half of the rows is predicted by the other."""
    y, classes = _target(case)
    halves = np.arange(len(x)) % 2 == 0
    base = np.mean([_errors(_usual(y[fit], classes), y[~fit], classes).mean() for fit in (halves, ~halves)])
    parts = [x] if len(np.unique(x, axis=0)) <= BINS else [x[:, k : k + 1] for k in range(x.shape[1])]
    models = (_by_parts, _by_neighbours) if len(x) <= FEW else (_by_parts,)
    found = []
    for part in parts:
        for model in models:
            errors = np.empty(len(x))
            for fit in (halves, ~halves):
                errors[~fit] = _errors(model(part, y, classes, fit), y[~fit], classes)
            found.append(Told(errors, float(base), classes > 0))
    return max(found, key=lambda one: one.share)


def _target(case: Case) -> tuple[Array, int]:
    """(rows,) the class or first quantity of each row, and the number of classes, or 0."""
    y = np.asarray(case.training.y)
    classes = case.data.target.width if case.data.target.is_class else 0
    return (y.reshape(-1).astype(int), classes) if classes else (y.reshape(len(y), -1)[:, 0].astype(np.float64), 0)


def _targets(y: Array, classes: int) -> Array:
    """(rows, outputs) indicators of the classes, or the quantity."""
    return np.asarray(np.eye(classes)[y] if classes else y[:, None])


def _usual(y: Array, classes: int) -> float:
    return float(np.bincount(y).argmax() if classes else y.mean())


def _errors(guess: Array | float, y: Array, classes: int) -> Array:
    return np.asarray(guess != y, float) if classes else np.asarray((guess - y) ** 2)


def _by_parts(x: Array, y: Array, classes: int, fit: Array) -> Array:
    """The guess for the rows outside of `fit`: the most frequent class, or a line, in each part of
    the column, or for each of its few values.
    """
    values, part = np.unique(x, axis=0, return_inverse=True)
    part, count = part.reshape(-1), len(values)
    if count > BINS:
        bins = max(2, min(BINS, int(fit.sum()) // IN_BIN))
        edges = np.unique(np.quantile(x[fit, 0], np.linspace(0, 1, bins + 1)[1:-1]))
        part, count = np.searchsorted(edges, x[:, 0], side="right"), len(edges) + 1
    usual = _usual(y[fit], classes)
    if classes:
        votes = np.zeros((count, classes))
        np.add.at(votes, (part[fit], y[fit]), 1)
        return np.asarray(np.where(votes.sum(axis=1) > 0, votes.argmax(axis=1), usual)[part[~fit]])
    column, sums = x[:, 0].astype(np.float64), np.bincount(part[fit], minlength=count)
    mean = np.where(sums > 0, np.bincount(part[fit], y[fit], count) / np.maximum(sums, 1), usual)
    center = np.bincount(part[fit], column[fit], count) / np.maximum(sums, 1)
    dx, dy = column - center[part], y - mean[part]
    square = np.bincount(part[fit], (dx * dx)[fit], count)
    slope = np.where(sums > 3, np.bincount(part[fit], (dx * dy)[fit], count) / np.maximum(square, 1e-12), 0)
    return np.asarray((mean[part] + slope[part] * dx)[~fit])


def _by_neighbours(x: Array, y: Array, classes: int, fit: Array) -> Array:
    """The guess for the rows outside of `fit`: what the rows with the nearest values have."""
    guess = _nearest(x[fit].astype(np.float64), _targets(y[fit], classes), x[~fit].astype(np.float64))
    return np.asarray(guess.argmax(axis=1) if classes else guess[:, 0])


# All others


def others(case: Case, x: Array, single: Told) -> Told:
    """What all these inputs together say: the most of what the nearest rows, a linear model and the
    best single column do.
    """
    y, classes = _target(case)
    deviation = x.std(axis=0)
    x = ((x - x.mean(axis=0)) / np.where(deviation > 1e-12, deviation, 1)).astype(np.float64)
    targets = _targets(y, classes)
    halves = np.arange(len(x)) % 2 == 0
    found = [single]
    for model in (_nearest, _linear):
        errors = np.empty(len(x))
        for fit in (halves, ~halves):
            guess = model(x[fit], targets[fit], x[~fit])
            errors[~fit] = _errors(guess.argmax(axis=1) if classes else guess[:, 0], y[~fit], classes)
        found.append(Told(errors, single.base, classes > 0))
    return max(found, key=lambda one: one.share)


def _nearest(x: Array, y: Array, new: Array) -> Array:
    squares = (x * x).sum(axis=1)[None] - 2 * new @ x.T
    nearest = np.argpartition(squares, min(NEIGHBOURS, len(x) - 1), axis=1)[:, :NEIGHBOURS]
    return np.asarray(y[nearest].mean(axis=1))


def _linear(x: Array, y: Array, new: Array) -> Array:
    """Ridge regression of the targets, of classes on indicators (Hoerl and Kennard, 1970)."""
    mean = y.mean(axis=0)
    weights = np.linalg.solve(x.T @ x + np.eye(x.shape[1]), x.T @ (y - mean))
    return np.asarray(new @ weights + mean)


# Other rows


def _row_beside(case: Case, inputs: Array) -> str:
    """Whose target a column is, "the row before" or "the row after"; empty if it is neither, and
    for the row before, which may be known, if the rows are held out in their order.
    """
    data = case.data
    settings: dict[str, object] = dict(data.settings or {})
    if data.rows is None or data.target.is_class:
        return ""
    x = np.asarray(data.training.x).reshape(len(data.training.x), -1)[:, inputs]
    y = np.asarray(data.training.y).reshape(len(data.training.y), -1)[:, 0]
    in_order = str(settings.get("split") or "").startswith("time:") or settings.get("shuffle") is False
    order = np.argsort(data.rows)
    pairs = np.flatnonzero(np.diff(data.rows[order]) == 1)
    first, after = order[pairs], order[pairs + 1]
    if len(pairs) < PAIRS:
        return ""
    for name, at, of in (("the row after", first, after), ("the row before", after, first)):
        for k in range(x.shape[1]):
            known = np.ptp(x[at, k]) > 0 and np.ptp(y[of]) > 0
            if known and abs(np.corrcoef(x[at, k], y[of])[0, 1]) > SHIFTED:
                return "" if in_order and name == "the row before" else name
    return ""


def columns(case: Case) -> list[tuple[str, Array]]:
    """The columns of the user's table, each with its inputs; other inputs one by one."""
    data, width = case.data, case.flat("training").shape[1]
    preparation = data.preparation
    if preparation is None or preparation.kind != "table" or preparation.pipeline is not None:
        return [(case.input_name(k), np.array([k])) for k in range(width)]
    found, first = list[tuple[str, Array]](), 0
    for (column, _), encoder in zip(preparation.columns, preparation.encoders, strict=True):
        count = len(encoder.input_names(column))
        if first + count <= width and count:
            found.append((f"column {column}", np.arange(first, first + count)))
        first += count
    return found or [(case.input_name(k), np.array([k])) for k in range(width)]


def _dropped(inputs: Array) -> Change:
    """The inputs set to 0, their mean, so that nothing can be learned from them."""

    def without(x: Array) -> Array:
        flat = np.array(x, copy=True).reshape(len(x), -1)
        flat[:, inputs] = 0
        return flat.reshape(x.shape)

    blanked = of_inputs(without)

    def change(plan: Plan, data: Dataset) -> tuple[Plan, Dataset]:
        plan, data = blanked(plan, data)
        return plan, replace(data, fingerprint=f"{data.fingerprint} without {inputs.tolist()}")

    return change
