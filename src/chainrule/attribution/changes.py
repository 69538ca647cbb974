"""What would change a prediction: the smallest step along the gradient that does, and the smallest
change of one column alone. Every candidate is predicted by the run itself.

Along the gradient all numbers move together, in proportion to the derivative of what is wanted with
respect to each (in standard deviations of the training set), on a straight line, until the
prediction changes. Categories, dates, texts and missing values stay; a column alone can be a
category, which takes each of its other values. A token is replaced by another: by the one that the
derivative with respect to its embedding favours (Ebrahimi et al., 2018, "HotFlip").
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from chainrule.arrays import Array
from chainrule.attribution.function import Function, Point
from chainrule.attribution.outputs import PROBABILITY, QUANTITY, Outputs
from chainrule.attribution.subject import Part, Subject, shown
from chainrule.data import Prepared
from chainrule.data.token_columns import TokenColumn
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


@dataclass(frozen=True)
class Moved:
    """A part of a sample that changes.

    Attributes:
        name: the part
        before, after: its values, as text; `after` is empty for the largest change among several
            numbers
        by: of a number by how much, in the user's own unit; None for others
        deviations: the same in standard deviations of the training set
    """

    name: str
    before: str
    after: str
    by: float | None = None
    deviations: float | None = None


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


@dataclass(frozen=True)
class Changes:
    """What was searched, and what was found.

    Attributes:
        wanted: what change of the prediction
        along: the smallest step along the gradient that changes it; None if there is none
        alone: for each column that can change it alone, the smallest change, the nearest first
        tokens: the replacement of one token that changes it the most probably; None if none does
        searched: what was searched, in sentences, and what stayed
    """

    wanted: str
    along: Change | None
    alone: tuple[Change, ...]
    tokens: Change | None
    searched: tuple[str, ...]


class Search:
    """A search for what changes a prediction.

    Args:
        trained: the trained network
        function: the same as a function
        sample: the sample
        outputs: everything that is predicted of it
        focus: the output that is to change
        by: of a quantity by how much, in its own unit; None for a standard deviation of the target,
            up or down
    """

    def __init__(
        self, trained: Trained, function: Function, sample: Subject, outputs: Outputs, focus: int,
        by: float | None = None,
    ) -> None:  # fmt: skip
        self._trained, self._function, self._sample = trained, function, sample
        self._outputs, self._focus, self._by = outputs, focus, by
        self._x = np.asarray(sample.x, np.float32)
        raw = self._raw(self._x[None])
        self._decided, self._value = self._decisions(raw)[0], outputs.values(raw.astype(np.float64))[0, focus]

    def run(self) -> Changes:
        """The search."""
        along, reached = None, True
        movable = self._movable()
        goals = self._goals()
        if movable.any():
            found = [one for aim, goal in goals if (one := self._along(aim, goal, movable)) is not None]
            along, reached = min(found, key=lambda c: c.distance or 0.0, default=None), bool(found)
        alone = self._alone([goal for _, goal in goals])
        tokens = self._one_token(goals)
        return Changes(self._wanted, along, tuple(alone), tokens, tuple(self._searched(movable, reached, alone)))

    # What is wanted

    @property
    def _is_quantity(self) -> bool:
        return self._outputs.known[self._focus].kind == QUANTITY

    @property
    def _amount(self) -> float:
        target = self._outputs.target
        column = self._outputs.known[self._focus].column
        return abs(target.deviation[column]) if self._by is None else self._by

    @property
    def _wanted(self) -> str:
        name = self._outputs.known[self._focus].name
        if not self._is_quantity:
            return f"another prediction than {self._decided}"
        if self._by is not None:
            return f"{name} {self._amount:+.6g}"
        return f"{name} \u00b1 {self._amount:.6g}, a standard deviation of the training set"

    def _goals(self) -> list[tuple[Callable[[Tape], Array], Callable[[Array], Array]]]:
        """What to aim at: the derivative to follow, of a tape; and which outputs reach it."""
        function, outputs, focus = self._function, self._outputs, self._focus
        if self._is_quantity:
            signs = [np.sign(self._by)] if self._by else [1.0, -1.0]
            return [(self._slope_of({focus: sign}), self._moved_by(sign)) for sign in signs]
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

    def _along(self, aim: Callable[[Tape], Array], goal: Callable[[Array], Array], movable: Array) -> Change | None:
        tape = self._function.tape_at(self._function.point(self._sample.x))
        slope = np.where(movable, self._function.slopes(tape, aim(tape))[0].ravel(), 0.0)
        size = float(np.linalg.norm(slope))
        if not size or not np.isfinite(size):
            return None
        direction = (slope / size).reshape(self._x.shape)
        low, high = self._limits()
        most = BOUND / float(np.abs(direction).max())

        def line(shares: Array) -> Array:
            moved = self._x + shares.reshape(-1, *(1,) * self._x.ndim) * direction
            return np.clip(moved, low, high).astype(np.float32)

        share = self._first(line, goal, most)
        if share is None:
            return None
        return self._change("along the gradient", line, share, goal)

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
        return sorted(found, key=lambda c: (c.distance is None, c.distance or 0.0))

    def _one_number(self, part: Part, goals: list[Callable[[Array], Array]]) -> Change | None:
        entry = part.entries[0]
        best: tuple[float, Callable[[Array], Array]] | None = None

        def goal(raw: Array) -> Array:
            return np.any([each(raw) for each in goals], axis=0)

        for sign in (1.0, -1.0):

            def line(shares: Array, sign: float = sign) -> Array:
                x = np.repeat(self._x[None], len(shares), axis=0)
                x.reshape(len(shares), -1)[:, entry] += sign * shares
                return x

            share = self._first(line, goal, BOUND)
            if share is not None and (best is None or share < best[0]):
                best = (share, line)
        return None if best is None else self._change("one column", best[1], best[0], goal)

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

    def _one_token(self, goals: list[tuple[Callable[[Tape], Array], Callable[[Array], Array]]]) -> Change | None:
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
        units = self._units()
        for part in self._sample.parts:
            by = difference[part.entries]
            if not by.any():
                continue
            unit = units[part.entries[0]]
            if len(part.entries) == 1 or part.kind == "number":
                before = part.number
                words = "" if before is None else shown(before + float(by[0]) * float(unit))
                found.append(Moved(part.name, part.value, words, float(by[0] * unit), float(by[0])))
            else:
                k = int(np.argmax(np.abs(by)))
                amount = float(by[k] * units[part.entries[k]])
                found.append(Moved(part.name, part.value, "", amount, float(by[k])))
        return sorted(found, key=lambda m: -abs(m.deviations or 0.0))

    def _units(self) -> Array:
        """(entries,) how much of the user's unit each number of the network's is."""
        preparation = self._trained.preparation
        if preparation is None or preparation.deviation is None:
            return np.ones(self._x.size)
        return np.broadcast_to(preparation.deviation, self._x.shape).ravel()

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
        difference = (x.astype(np.float64) - self._x).ravel() * self._units()
        if not source.is_table:
            raw = np.asarray(source.features, np.float64)
            return raw + difference.reshape(raw.shape)
        frame, columns = source.features, []
        for part in self._sample.parts:
            by = difference[part.entries[0]]
            if part.number is not None and part.kind in ("number", "feature") and by:
                # A network for arrays, such as an imported one, knows columns by their order.
                name = part.name if part.name in frame.columns else frame.columns[part.entries[0]]
                columns.append(pl.Series(name, [part.number + by]))
        return frame.with_columns(columns)

    def _searched(self, movable: Array, reached: bool, alone: list[Change]) -> list[str]:
        """What was searched, and what stayed."""
        lines = []
        kept = [part.name for part in self._sample.parts
                if part.kind in ("category", "date", "text", "tokens") or part.value == "missing"]  # fmt: skip
        what = {"pictures": "pixels", "series": "past values of the target", "sequences": "numbers"}
        if movable.any():
            of = what.get(self._sample.kind, "columns of numbers")
            lines.append(f"all {of} together, along the gradient, each by at most {BOUND:g} standard deviations")
            if not reached:
                lines[-1] += ": nothing on this line changes the prediction so"
        if self._sample.kind in ("table", "numbers", "arrays"):
            lines.append(
                f"each column alone: numbers by at most {BOUND:g} standard deviations, categories with every other"
                " value" + ("" if alone else ": none changes the prediction so")
            )
        if self._function.lookups:
            lines.append(f"one token replaced by another, the {REPLACED} that the derivative favours most")
        if kept and movable.any():
            names = ", ".join(kept[:4]) + (f" and {len(kept) - 4} more" if len(kept) > 4 else "")
            lines.append(f"along the gradient these stay: {names}")
        return lines
