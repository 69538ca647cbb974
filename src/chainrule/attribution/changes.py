"""What would change a prediction: the smallest step along the gradient that does, and the smallest
change of one column alone. Every candidate is predicted by the run itself.

Along the gradient all numbers move together, in proportion to the derivative of what is wanted with
respect to each (in standard deviations of the training set), on a straight line, until the
prediction changes. Numbers stay within the range of the training set, and whole where all are whole
there; only if nothing within it changes the prediction, it is left. Categories, dates, texts and
missing values stay; a column alone can be a category, which takes each of its other values. A token
is replaced by another: by the one that the derivative with respect to its embedding favours
(Ebrahimi et al., 2018, "HotFlip").
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from chainrule.arrays import Array
from chainrule.attribution.baselines import is_standardized
from chainrule.attribution.domain import domain_of
from chainrule.attribution.function import Function, Point
from chainrule.attribution.outputs import PROBABILITY, QUANTITY, Outputs
from chainrule.attribution.subject import Part, Subject, shown
from chainrule.data import Dataset, Prepared
from chainrule.data.columns import shortened
from chainrule.data.token_columns import TokenColumn
from chainrule.errors import require, setting
from chainrule.runs import Trained
from chainrule.tape import Tape

BOUND = 5.0
"""How far a number may move, in standard deviations."""
STEPS, ROUNDS, FINER = 128, 6, 17
"""How many steps are tried on a line, and how often, in how many parts, the first that changes the
prediction is narrowed down.
"""
MARGINS = (0.0, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2)
"""How much farther a step may go for the prediction to change in spite of rounding."""
CANDIDATES = 5
"""How many other classes are aimed at: the most probable ones."""
REPLACED = 256
"""How many replacements of a token are predicted: those that the derivative favours most."""


LEAST = 1e-6
"""The least change of a quantity that can be asked for, in standard deviations; the most is one
divided by it.
"""

Goal = tuple[Callable[[Tape], Array], Callable[[Array], Array]]
"""The derivative to follow, of a tape; and which outputs reach what is wanted."""


@dataclass(frozen=True)
class Moved:
    """A part of a sample that changes.

    Attributes:
        name: the part
        before, after: its values, as text; `after` is empty for the largest change among several
            numbers
        by: of a number by how much, in the user's own unit; None for others
        deviations: the same in standard deviations of the training set
        range: of a number its range in the training set, in the user's own unit; None if it is
            unknown
        is_inside: whether the number is within that range
    """

    name: str
    before: str
    after: str
    by: float | None = None
    deviations: float | None = None
    range: tuple[float, float] | None = None
    is_inside: bool = True


@dataclass(frozen=True)
class Change:
    """A change of a sample that changes what is predicted for it.

    Attributes:
        how: "along the gradient", "one column" or "one token"
        before, after: what is predicted, as text
        moved: what changes, the largest first
        distance: how far, in standard deviations: the square root of the sum of squares; None where
            a value is exchanged
        verified: whether the run predicts it for the values of `moved` as they are given here, from
            the beginning: prepared and predicted
        x: (*input_shape) what the network then reads
    """

    how: str
    before: str
    after: str
    moved: tuple[Moved, ...]
    distance: float | None
    verified: bool
    x: Array

    @property
    def is_inside(self) -> bool:
        """Whether all numbers stay within their ranges in the training set."""
        return all(m.is_inside for m in self.moved)


@dataclass(frozen=True)
class Changes:
    """What was searched, and what was found.

    Attributes:
        wanted: to what change of the prediction it is to lead
        along: the smallest step along the gradient that changes it; None if there is none
        alone: for each column that can change it alone, the smallest change: those within the
            training set's range first, the nearest of them first
        tokens: the replacement of one token that changes it the most probably; None if none does
        searched: what was searched, in sentences, and what stayed
        measure: what distances are counted in
    """

    wanted: str
    along: Change | None
    alone: tuple[Change, ...]
    tokens: Change | None
    searched: tuple[str, ...]
    measure: str


class Search:
    """A search for what changes a prediction.

    Args:
        trained: the trained network
        function: the same as a function
        sample: the sample
        outputs: everything that is predicted of it
        focus: the output that is to change
        by: of a quantity by how much, in its own unit; None for a standard deviation of the target,
            up and down
        own: what the network was trained on, if it is there
    """

    def __init__(
        self, trained: Trained, function: Function, sample: Subject, outputs: Outputs, focus: int,
        by: float | None = None, own: Dataset | None = None,
    ) -> None:  # fmt: skip
        self._trained, self._function, self._sample = trained, function, sample
        self._outputs, self._focus, self._by = outputs, focus, by
        self._x = np.asarray(sample.x, np.float32)
        raw = self._raw(self._x[None])
        self._decided, self._value = self._decisions(raw)[0], outputs.values(raw.astype(np.float64))[0, focus]

        self._domain = domain_of(trained.preparation, sample, own)
        self._spread = _spread(outputs, focus, own)

    def run(self) -> tuple[Changes, ...]:
        """The search: of a quantity for a higher and a lower one, unless one is asked for."""
        goals, name = self._goals(), self._outputs.known[self._focus].name
        if not self._is_quantity:
            return (self._towards(f"another prediction than {self._decided}", goals),)
        about = ", its standard deviation in the training set" * (self._by is None and self._spread is not None)
        words = [f"a {'higher' if sign > 0 else 'lower'} {name} (by {abs(self._amount):.6g}{about})"
                 for sign in self._signs]  # fmt: skip
        return tuple(self._towards(wanted, [goal]) for wanted, goal in zip(words, goals, strict=True))

    def _towards(self, wanted: str, goals: list[Goal]) -> Changes:
        """The search for a change of the prediction."""
        movable, reach = self._movable(), [goal for _, goal in goals]
        along = None
        if movable.any():
            for inside in (True, False):
                found = [one for aim, goal in goals if (one := self._along(aim, goal, movable, inside)) is not None]
                if along := min(found, key=lambda c: c.distance or 0.0, default=None):
                    break
        alone, tokens = self._alone(reach), self._one_token(goals)
        return Changes(wanted, along, tuple(alone), tokens, tuple(self._searched(movable)), self._measure)

    @property
    def _measure(self) -> str:
        preparation = self._trained.preparation
        is_scaled = preparation is not None and is_standardized(preparation)
        return "standard deviations" if is_scaled else "units of the network's inputs"

    # What is wanted

    @property
    def _is_quantity(self) -> bool:
        return self._outputs.known[self._focus].kind == QUANTITY

    @property
    def _amount(self) -> float:
        return (self._spread or 1.0) if self._by is None else self._by

    @property
    def _signs(self) -> list[float]:
        return [1.0, -1.0] if self._by is None else [float(np.sign(self._by))]

    def check(self) -> None:
        """Raise SettingError for a change that is not wanted of a quantity, or that is out of all
        proportion.
        """
        by, output = self._by, self._outputs.known[self._focus]
        if by is None:
            return
        require(self._is_quantity, f"a change by {by:g} is for a quantity, not a {output.kind} ({setting('change')})")
        least, most = (share * (self._spread or 1.0) for share in (LEAST, 1 / LEAST))
        rule = f"of {shortened(output.name)} it is {least:.3g} to {most:.3g}, or {-most:.3g} to {-least:.3g}"
        require(least <= abs(by) <= most, f"the change is {by:g}; {rule} ({setting('change')})")

    def _goals(self) -> list[Goal]:
        """What to aim at: the derivative to follow, of a tape; and which outputs reach it."""
        function, outputs, focus = self._function, self._outputs, self._focus
        if self._is_quantity:
            return [(self._slope_of({focus: sign}), self._moved_by(sign)) for sign in self._signs]
        values = outputs.values(function.tape_at(function.point(self._sample.x)).output)[0]
        is_probability = outputs.known[focus].kind == PROBABILITY
        weight = 1 / np.maximum(values, 1e-300) if is_probability else np.ones_like(values)
        if outputs.target.task == "multilabel" or len(outputs.known) == 1:
            sign = -1.0 if self._is_positive(values[focus]) else 1.0
            return [(self._slope_of({focus: sign * weight[focus]}), self._is_other)]
        # From what is predicted, which a threshold may have decided, to each of the other classes.
        own = focus
        others = [int(k) for k in np.argsort(-values) if k != own][:CANDIDATES]
        return [(self._slope_of({k: weight[k], own: -weight[own]}), self._is_other) for k in others]

    def _is_positive(self, value: float) -> bool:
        return bool(value > (0.5 if self._outputs.known[self._focus].kind == PROBABILITY else 0.0))

    def _slope_of(self, factors: dict[int, float]) -> Callable[[Tape], Array]:
        """The derivative of a weighted sum of what is predicted with respect to the network's
        outputs.
        """
        through = self._outputs.through
        return lambda tape: np.sum([factor * through(tape.output, k) for k, factor in factors.items()], axis=0)

    def _moved_by(self, sign: float) -> Callable[[Array], Array]:
        return lambda raw: (
            sign * (self._outputs.values(raw.astype(np.float64))[:, self._focus] - self._value) >= abs(self._amount)
        )

    def _is_other(self, raw: Array) -> Array:
        return np.array([label != self._decided for label in self._decisions(raw)])

    def _decisions(self, raw: Array) -> list[str]:
        """What the run decides for each sample, as text: of a quantity its value."""
        outputs = self._outputs
        if outputs.target.task == "regression":
            return [shown(float(v)) for v in outputs.values(raw.astype(np.float64))[:, self._focus]]
        decided = self._trained.decoded(raw)
        for k in outputs.position:
            decided = decided[:, k]
        if outputs.target.task == "multilabel":
            name = outputs.target.columns[outputs.known[self._focus].column]
            return [name if row[outputs.known[self._focus].column] else f"not {name}" for row in decided]
        return [str(label) for label in decided.tolist()]

    def _raw(self, x: Array) -> Array:
        """(samples, outputs) what the run predicts, in its own precision."""
        return self._trained.predictor()(np.ascontiguousarray(x, np.float32))

    # Along the gradient

    def _movable(self) -> Array:
        """(entries,) which may move: numbers, pixels and steps, if they are not missing."""
        movable = np.zeros(self._x.size, bool)
        for part in self._sample.parts:
            if part.kind in ("pixel", "step") or (part.unit and part.number is not None):
                entries = part.entries[:1] if self._sample.kind == "series" else part.entries
                movable[entries if part.kind in ("pixel", "step") else part.entries[:1]] = True
        return movable & ~self._function.fixed

    def _along(
        self, aim: Callable[[Tape], Array], goal: Callable[[Array], Array], movable: Array, inside: bool
    ) -> Change | None:
        tape = self._function.tape_at(self._function.point(self._sample.x))
        slope = np.where(movable, self._function.slopes(tape, aim(tape))[0].ravel(), 0.0)
        size = float(np.linalg.norm(slope))
        if not size or not np.isfinite(size):
            return None
        direction = (slope / size).reshape(self._x.shape)
        most = BOUND / float(np.abs(direction).max())

        def line(shares: Array) -> Array:
            return self._allowed(self._x + shares.reshape(-1, *(1,) * self._x.ndim) * direction, inside)

        share = self._first(line, goal, most)
        if share is None:
            return None
        return self._change("along the gradient", line, share, goal)

    def _allowed(self, moved: Array, inside: bool) -> Array:
        """(samples, *input_shape) moved samples as they may be: whole numbers and the bytes of
        pictures, and within the range of the training set.
        """
        low, high = self._limits()
        flat, x = np.clip(moved, low, high).reshape(len(moved), -1), self._x.ravel().astype(np.float64)
        flat = self._domain.rounded(x, self._domain.clipped(x, flat) if inside else flat)
        return flat.reshape(moved.shape).astype(np.float32)

    def _limits(self) -> tuple[Any, Any]:
        """Between which numbers a picture's pixels may be: those of bytes, if it has such."""
        source, preparation = self._sample.source, self._trained.preparation
        if source is None or preparation is None or source.is_table or source.features.dtype != np.uint8:
            return -np.inf, np.inf
        low = (0 - preparation.mean) / preparation.deviation  # type: ignore[operator]
        return low, low + 255 / preparation.deviation  # type: ignore[operator]

    def _first(self, line: Callable[[Array], Array], goal: Callable[[Array], Array], most: float) -> float | None:
        """The smallest share of a line, as far as it is divided, that is a success."""
        shares = np.linspace(0.0, most, STEPS + 1)
        for k in range(1, ROUNDS + 2):
            found = np.flatnonzero(goal(self._raw(line(shares))))
            if not len(found):
                return None if k == 1 else float(shares[-1])
            first = int(found[0])
            if k == ROUNDS + 1 or first == 0:
                return float(shares[first])
            shares = np.linspace(shares[first - 1], shares[first], FINER)
        return None

    # One column alone

    def _alone(self, goals: list[Callable[[Array], Array]]) -> list[Change]:
        if self._sample.kind not in ("table", "numbers", "arrays"):
            return []
        found = []
        for part in self._sample.parts:
            change = None
            if part.options:
                change = self._exchanged(part, goals)
            elif part.unit and part.number is not None and not self._function.fixed[part.entries[0]]:
                change = self._one_number(part, goals)
            if change is not None:
                found.append(change)
        return sorted(found, key=lambda c: (not c.is_inside, c.distance is None, c.distance or 0.0))

    def _one_number(self, part: Part, goals: list[Callable[[Array], Array]]) -> Change | None:
        """A number by the least that changes the prediction, within its range if that is enough."""

        def goal(raw: Array) -> Array:
            return np.any([each(raw) for each in goals], axis=0)

        for inside in (True, False):
            best: tuple[float, Callable[[Array], Array]] | None = None
            for sign in (1.0, -1.0):

                def line(shares: Array, sign: float = sign, inside: bool = inside) -> Array:
                    x = np.repeat(self._x[None].astype(np.float64), len(shares), axis=0)
                    x.reshape(len(shares), -1)[:, part.entries[0]] += sign * shares
                    return self._allowed(x, inside)

                share = self._first(line, goal, BOUND)
                if share is not None and (best is None or share < best[0]):
                    best = (share, line)
            if best is not None:
                return self._change("one column", best[1], best[0], goal)
        return None

    def _exchanged(self, part: Part, goals: list[Callable[[Array], Array]]) -> Change | None:
        """A category with another of its values, if that changes the prediction."""
        import polars as pl

        source, preparation = self._sample.source, self._trained.preparation
        if source is None or preparation is None or not source.is_table:
            return None
        options = [option for option in part.options if option is not None and option != part.value]
        frame = source.features[np.zeros(len(options), np.intp)]
        frame = frame.with_columns(pl.Series(part.name, options))
        x = np.asarray(preparation.apply(replace(source, features=frame, target=None, weight=None, names=None)))
        raw = self._raw(x)
        fits = np.flatnonzero(np.any([goal(raw) for goal in goals], axis=0))
        if not len(fits):
            return None
        decided = self._decisions(raw)
        k = int(fits[0])
        moved = Moved(part.name, part.value, str(options[k]))
        return Change("one column", self._decided, decided[k], (moved,), None, True, x[k])

    # One token

    def _one_token(self, goals: list[Goal]) -> Change | None:
        found = [one for aim, goal in goals for lookup in range(len(self._function.lookups))
                 if (one := self._replaced(lookup, aim, goal)) is not None]  # fmt: skip
        return found[0] if found else None

    def _replaced(self, number: int, aim: Callable[[Tape], Array], goal: Callable[[Array], Array]) -> Change | None:
        function = self._function
        lookup = function.lookups[number]
        texts = [] if self._trained.preparation is None else self._trained.preparation.texts_as_tokens
        tokens = None if self._trained.preparation is None else self._trained.preparation.tokens
        if not texts and tokens is None:
            return None
        (matrix,) = function.params[lookup.owner].values()
        point: Point = function.point(self._sample.x)
        tape = function.tape_at(point)
        rows = self._function.slopes(tape, aim(tape))[1][number]
        slopes = rows.reshape(-1, rows.shape[-1])
        numbers = self._x.ravel()[lookup.entries.ravel()].astype(np.intp)
        gains = slopes @ matrix.T - (slopes * point.embedded[number].reshape(len(numbers), -1)).sum(axis=1)[:, None]
        valid = self._valid(lookup.entries)
        gains[~valid] = -np.inf
        gains[np.arange(len(numbers)), numbers] = -np.inf
        best = np.argsort(-gains, axis=None)[: min(REPLACED, int(np.isfinite(gains).sum()))]
        if not len(best):
            return None
        positions, others = np.unravel_index(best, gains.shape)
        x = np.repeat(self._x[None], len(best), axis=0)
        x.reshape(len(best), -1)[np.arange(len(best)), lookup.entries.ravel()[positions]] = others
        raw = self._raw(x)
        fits = np.flatnonzero(goal(raw))
        if not len(fits):
            return None
        k = int(fits[0])
        at, other = int(positions[k]), int(others[k])
        column = self._column_of(lookup.entries.ravel()[at])
        name, word = (column[0], column[1].shown) if column else ("", tokens.shown if tokens else str)
        before, after = word(int(numbers[at])), word(other)
        moved = Moved(f"{name}[{at}]" if name else f"position {at}", before, after)
        return Change("one token", self._decided, self._decisions(raw)[k], (moved,), None, True, x[k])

    def _valid(self, entries: Array) -> Array:
        """Which positions have a token, not what fills the text up."""
        valid = np.ones(entries.size, bool)
        for part in self._sample.parts:
            if part.kind == "tokens":
                inside = np.isin(entries.ravel(), part.entries[:-1])
                length = int(self._x.ravel()[part.entries[-1]])
                valid &= ~inside | (entries.ravel() < part.entries[0] + length)
        return valid

    def _column_of(self, entry: int) -> tuple[str, TokenColumn] | None:
        """The column of text that an entry is a token of."""
        preparation = self._trained.preparation
        assert preparation is not None
        columns = dict(preparation.texts_as_tokens)
        for part in self._sample.parts:
            if part.kind == "tokens" and entry in part.entries:
                return part.name, columns[part.name]
        return None

    # What was found

    def _change(self, how: str, line: Callable[[Array], Array], share: float, goal: Callable[[Array], Array]) -> Change:
        """A change of numbers, predicted for the values as the user has them: to rounding farther
        on the line, if it takes that.
        """
        verified = False
        for margin in MARGINS:
            x = line(np.array([share * (1 + margin)]))[0]
            again = self._again(x)
            if verified := bool(goal(again)[0]):
                break
        distance = float(np.linalg.norm(x.astype(np.float64) - self._x))
        return Change(how, self._decided, self._decisions(again)[0], tuple(self._moved(x)), distance, verified, x)

    def _moved(self, x: Array) -> list[Moved]:
        """Which parts differ, the largest difference in standard deviations first."""
        found = []
        difference = (x.astype(np.float64) - self._x).ravel()
        units = self._domain.unit
        for part in self._sample.parts:
            by = difference[part.entries]
            if not by.any():
                continue
            unit = units[part.entries[0]]
            if len(part.entries) == 1 or part.kind == "number":
                own = part.number
                after = None if own is None else self._number(part, float(by[0] * unit))
                moved = float(by[0] * unit) if own is None or after is None else after - own
                words, entry = "" if after is None else shown(after), int(part.entries[0])
                ends, inside = self._domain.of(entry), after is None or self._domain.has(entry, after)
                found.append(Moved(part.name, part.value, words, moved, float(by[0]), ends, inside))
            else:
                k = int(np.argmax(np.abs(by)))
                amount = float(by[k] * units[part.entries[k]])
                found.append(Moved(part.name, part.value, "", amount, float(by[k])))
        return sorted(found, key=lambda m: -abs(m.deviations or 0.0))

    def _number(self, part: Part, by: float) -> float:
        """A number that moves, in the user's own unit."""
        assert part.number is not None
        moved = part.number + by
        return float(round(moved)) if self._domain.whole[part.entries[0]] else moved

    def _again(self, x: Array) -> Array:
        """What the run predicts for the changed sample in the user's own units."""
        source, preparation = self._sample.source, self._trained.preparation
        if source is None or preparation is None:
            return self._trained.raw(x[None].view(Prepared))
        return self._trained.raw(replace(source, features=self._as_read(x), target=None, weight=None))

    def _as_read(self, x: Array) -> Any:
        """The changed sample in the form of its source."""
        import polars as pl

        source, preparation = self._sample.source, self._trained.preparation
        assert source is not None
        assert preparation is not None
        difference = (x.astype(np.float64) - self._x).ravel() * self._domain.unit
        if not source.is_table:
            raw = np.asarray(source.features, np.float64)
            return raw + difference.reshape(raw.shape)
        frame, columns = source.features, []
        for part in self._sample.parts:
            by = difference[part.entries[0]]
            if part.number is not None and part.kind in ("number", "feature") and by:
                # A network for arrays, such as an imported one, knows columns by their order.
                name = part.name if part.name in frame.columns else frame.columns[part.entries[0]]
                columns.append(pl.Series(name, [self._number(part, by)]))
        return frame.with_columns(columns)

    def _searched(self, movable: Array) -> list[str]:
        """What was searched, and what stayed."""
        lines = []
        kept = [shortened(part.name) for part in self._sample.parts
                if part.kind in ("category", "date", "text", "tokens") or part.value == "missing"]  # fmt: skip
        what = {"pictures": "pixels", "series": "past values of the target", "sequences": "numbers"}
        are_columns = self._sample.kind in ("table", "numbers", "arrays")
        if movable.any():
            of = what.get(self._sample.kind, "columns of numbers")
            lines.append(f"all {of} together, along the gradient, each by at most {BOUND:g} {self._measure}")
        if kept and movable.any():
            names = ", ".join(kept[:4]) + (f" and {len(kept) - 4} more" if len(kept) > 4 else "")
            lines[-1] += f"; these stay: {names}"
        if are_columns:
            lines.append(f"each column alone: numbers by at most {BOUND:g} {self._measure}, categories with every"
                         " other value")  # fmt: skip
        if self._function.lookups:
            lines.append(f"one token replaced by another, the {REPLACED} that the derivative favours most")
        if movable.any() and are_columns:
            is_known = np.isfinite(self._domain.low[movable]).all()
            within = "numbers first within their range in the training set, then beyond it"
            lines.append(within if is_known else "the training set is not there, so the ranges of numbers are unknown")
        return lines


def _spread(outputs: Outputs, focus: int, own: Dataset | None) -> float | None:
    """The standard deviation of a quantity in the training set; None if it is unknown."""
    target, column = outputs.target, outputs.known[focus].column
    if outputs.known[focus].kind != QUANTITY:
        return None
    fitted = abs(target.deviation[column])
    if fitted != 1 or own is None:
        return None if fitted == 1 else fitted
    found = float(np.asarray(own.training.y, np.float64).reshape(len(own.training.y), -1)[:, column].std())
    return found or None
