"""Integrated gradients: how much of the difference from a baseline each input makes.

The attribution of input i is (x_i - b_i) times the mean of the output's derivative with respect to
it on the straight line from the baseline b to x; the attributions add up to f(x) - f(b), because
the derivatives along the line do (completeness: Sundararajan, Taly and Yan, 2017, "Axiomatic
attribution for deep networks").

The integral is computed piece by piece with a Gauss-Kronrod rule (Kronrod, 1965) of 15 points. What
a piece's attributions should add up to is known, f at its end less f at its beginning, so its error
is known as well. A piece whose error is too large is divided where the derivative of a unit jumps,
as at the kink of a ReLU (`Layer.jumps`), otherwise in the middle. Between two kinks of a network
whose layers are piecewise linear its outputs are linear, and only what the loss makes of them, such
as probabilities, is not: there the network's derivatives are needed at one point alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from chainrule.arrays import Array
from chainrule.attribution.function import Function, Point
from chainrule.attribution.outputs import Outputs
from chainrule.tape import Tape
from chainrule.threads import undivided

TOLERANCE = 1e-9
"""The completeness error that is aimed at, as a share of the output's size."""
NESTED = 1e-5
"""How far the attributions may differ from those of the Gauss rule that is part of Kronrod's, as a
share of the output's size: a bound on the error of each, where completeness only tells the sum's.
"""
MOST, WORK = 60_000, 5e11
"""The most points, and about the most multiply-adds that they may take, with at least FEWEST."""
FEWEST = 170
NARROWEST = 1e-14
"""Pieces are not divided further."""
STRAIGHT = 1e-13
"""How far a linear output may be from the mean of those at the ends of a piece, as a share of its
size.
"""

_NODES = np.array([
    0.991455371120812639206854697526329, 0.949107912342758524526189684047851,
    0.864864423359769072789712788640926, 0.741531185599394439863864773280788,
    0.586087235467691130294144691693013, 0.405845151377397166906606412076961,
    0.207784955007898467600689403773245, 0.0,
])  # fmt: skip
_KRONROD = np.array([
    0.022935322010529224963732008058970, 0.063092092629978553290700663189204,
    0.104790010322250183839876322541518, 0.140653259715525918745189590510238,
    0.169004726639267902826583426598550, 0.190350578064785409913256402421014,
    0.204432940075298892414161999234649, 0.209482141084727828012999174891714,
])  # fmt: skip
_GAUSS = np.array([
    0.129484966168869693270611432679082, 0.279705391489276667901467771423780,
    0.381830050505118944950369775488975, 0.417959183673469387755102040816327,
])  # fmt: skip
ENDS_AND_NODES = np.concatenate([[0.0], (1 - _NODES) / 2, (1 + _NODES[-2::-1]) / 2, [1.0]])
"""(17,) the ends of a piece, and between them the nodes, as shares of its length."""
KRONROD = np.concatenate([[0.0], _KRONROD, _KRONROD[-2::-1], [0.0]]) / 2
GAUSS = np.zeros(17)
GAUSS[[2, 4, 6, 8, 10, 12, 14]] = np.concatenate([_GAUSS, _GAUSS[-2::-1]]) / 2


@dataclass(frozen=True)
class Integral:
    """Integrated gradients of some outputs.

    Attributes:
        attributions: (outputs, *input_shape) what each entry of the sample makes of the difference
        start, end: (outputs,) the outputs at the baseline, and for the sample
        tolerance: (outputs,) the completeness error that was aimed at
        nested: (outputs,) by how much the attribution of an entry differs at most from that of the
            Gauss rule: an estimate of the error of each, on the large side
        points: the number of points
        pieces: the number of pieces of the line
    """

    attributions: Array
    start: Array
    end: Array
    tolerance: Array
    nested: Array
    points: int
    pieces: int

    @property
    def error(self) -> Array:
        """(outputs,) the completeness error: the sum of the attributions less the difference."""
        sums = self.attributions.reshape(len(self.start), -1).sum(axis=1)
        return sums - (self.end - self.start)

    @property
    def is_reached(self) -> bool:
        """Whether every completeness error is within its tolerance."""
        return bool((np.abs(self.error) <= self.tolerance).all())


@dataclass
class _Piece:
    """A piece of the line, with its parts of the attributions."""

    begin: float
    end: float
    attributions: Array = field(repr=False)  # (outputs, entries)
    error: Array  # (outputs,); infinite before the piece is integrated
    nested: Array  # (outputs,)
    divide_at: list[float]  # where, in ascending order


def integrate(
    function: Function,
    outputs: Outputs,
    baseline: Point,
    sample: Point,
    tolerance: float = TOLERANCE,
    progress: Callable[[int, int], object] | None = None,
) -> Integral:
    """Integrated gradients from a baseline to a sample.

    Args:
        function: the network
        outputs: what is explained
        baseline, sample: where the line begins and ends
        tolerance: the completeness error to aim at, as a share of the larger of |f(x)| and |f(b)|
        progress: called with the number of points so far, and the most there may be
    """
    with undivided():  # the products are small, and other programs may use the cores
        return _integrate(function, outputs, baseline, sample, tolerance, progress)


def _integrate(
    function: Function, outputs: Outputs, baseline: Point, sample: Point, tolerance: float,
    progress: Callable[[int, int], object] | None,
) -> Integral:  # fmt: skip
    line = _Line(function, outputs, baseline, sample, progress)
    first = outputs.values(function.tape_at(baseline).output)[0]
    last = outputs.values(function.tape_at(sample).output)[0]
    size = np.maximum(np.maximum(np.abs(first), np.abs(last)), np.abs(last - first))
    wanted = tolerance * np.where(size > 0, size, 1.0)
    nested = NESTED / TOLERANCE * wanted
    pieces = line.pieces([(0.0, 1.0)])
    while True:
        room = (line.most - line.points) // (2 * len(ENDS_AND_NODES))
        worst = _worst(pieces, wanted, nested)[: max(room, 0)]
        if not worst:
            break
        parts = [part for p in worst for part in pairwise([p.begin, *p.divide_at, p.end])]
        gone = {id(p) for p in worst}
        pieces = [p for p in pieces if id(p) not in gone] + line.pieces(parts)
    left = [(p.begin, p.end) for p in pieces if np.isinf(p.error[0])]
    pieces = [p for p in pieces if not np.isinf(p.error[0])] + line.curved(left)
    pieces.sort(key=lambda p: p.begin)
    total = np.sum([p.attributions for p in pieces], axis=0)
    attributions = total.reshape(len(first), *sample.x.shape)
    return Integral(
        attributions, first, last, wanted, np.sum([p.nested for p in pieces], axis=0), line.points, len(pieces)
    )


def _worst(pieces: list[_Piece], wanted: Array, nested: Array) -> list[_Piece]:
    """The pieces to divide, the largest errors first: those without which the errors of the others
    add up to half of what is wanted.
    """
    found: dict[int, _Piece] = {}
    for sizes, most in (
        (np.abs([p.error for p in pieces]) / wanted, 1.0), (np.array([p.nested for p in pieces]) / nested, 1.0)
    ):  # fmt: skip
        own = sizes.max(axis=1)
        if own.sum() <= most:
            continue
        order = np.argsort(own, kind="stable")
        few = order[np.cumsum(own[order]) > most / 2][::-1]
        found |= {k: pieces[k] for k in few.tolist() if pieces[k].end - pieces[k].begin > NARROWEST}
    return list(found.values())


class _Line:
    """The straight line from a baseline to a sample.

    Attributes:
        points: at how many points the network was evaluated
        most: the most there may be
    """

    def __init__(
        self, function: Function, outputs: Outputs, baseline: Point, sample: Point,
        progress: Callable[[int, int], object] | None = None,
    ) -> None:  # fmt: skip
        self._function, self._outputs, self._ends = function, outputs, (baseline, sample)
        self._change = (
            (sample.x - baseline.x)[None],
            [(b - a)[None] for a, b in zip(baseline.embedded, sample.embedded, strict=True)],
        )
        work = WORK / max(function.cost * (1 + len(outputs.known)) / 2, 1.0)
        self.points, self.most = 0, int(min(MOST, max(FEWEST, work)))
        self._progress = progress

    def _tell(self) -> None:
        """Tell how far it is."""
        if self._progress is not None:
            self._progress(self.points, self.most)

    def pieces(self, spans: list[tuple[float, float]]) -> list[_Piece]:
        """These pieces of the line, several at a time."""
        found, curved = list[_Piece](), list[tuple[float, float]]()
        at_once = max(1, self._function.at_once // 3)
        for k in range(0, len(spans), at_once):
            found += self._straight(spans[k : k + at_once], curved)
            self._tell()
        return found + self.curved(curved)

    def curved(self, spans: list[tuple[float, float]]) -> list[_Piece]:
        """The same of those on which nothing need be linear."""
        found, at_once = list[_Piece](), max(1, self._function.at_once // len(ENDS_AND_NODES))
        for k in range(0, len(spans), at_once):
            found += self._some(spans[k : k + at_once])
            self._tell()
        return found

    def _straight(self, spans: list[tuple[float, float]], curved: list[tuple[float, float]]) -> list[_Piece]:
        """Pieces on which the network's outputs are linear; those with kinks, which are to be
        divided there; all others are added to `curved`.
        """
        function, outputs = self._function, self._outputs
        begins, ends = np.array(spans).T
        at = np.stack([begins, (begins + ends) / 2, ends], axis=1)
        tape = function.tape(*self._ends[0].towards(self._ends[1], at.ravel()))
        self.points += at.size
        raw = tape.output.reshape(len(spans), 3, *tape.output.shape[1:])
        bent = np.abs(raw[:, 1] - (raw[:, 0] + raw[:, 2]) / 2).reshape(len(spans), -1).max(axis=1)
        straight = bent <= STRAIGHT * np.abs(raw).reshape(len(spans), -1).max(axis=1)
        jumps = self._jumps(tape, at)
        found = []
        for k in np.flatnonzero(~straight).tolist():
            if jumps[k]:
                unknown = np.full(len(outputs.known), np.inf)
                found.append(_Piece(*spans[k], np.zeros((len(unknown), 0)), unknown, unknown, jumps[k]))
            else:
                curved.append(spans[k])
        chosen = np.flatnonzero(straight)
        return found + (self._linear([spans[k] for k in chosen], at[chosen, 1], raw[chosen]) if len(chosen) else [])

    def _linear(self, spans: list[tuple[float, float]], middles: Array, raw: Array) -> list[_Piece]:
        """Pieces between whose ends, (pieces, 3, ...) with the middle, the network's outputs are
        linear.
        """
        function, outputs = self._function, self._outputs
        tape = function.tape(*self._ends[0].towards(self._ends[1], middles))
        self.points += len(middles)
        shares = ENDS_AND_NODES.reshape(-1, *(1,) * (raw.ndim - 2))
        inner = raw[:, :1] + shares * (raw[:, 2] - raw[:, 0])[:, None]
        flat = inner.reshape(-1, *raw.shape[2:])
        values = outputs.values(raw.reshape(-1, *raw.shape[2:])).reshape(len(spans), 3, -1)
        parts = []
        for number in range(len(outputs.known)):
            through = outputs.through(flat, number).reshape(inner.shape)
            parts.append(self._changes(tape, np.einsum("n,pn...->p...", KRONROD, through)))
        widths = np.array([end - begin for begin, end in spans])
        attributions = np.stack(parts, axis=1) * widths[:, None, None]
        errors = attributions.sum(axis=2) - (values[:, 2] - values[:, 0])
        return [
            _Piece(begin, end, attributions[k], errors[k], np.abs(errors[k]), [(begin + end) / 2])
            for k, (begin, end) in enumerate(spans)
        ]

    def _jumps(self, tape: Tape, at: Array) -> list[list[float]]:
        """Where, within each piece, the derivative of a unit jumps: `at` has the pieces' points."""
        found = [np.zeros(0)]
        for node, saved in zip(tape.graph.nodes, tape.saved, strict=True):
            found.append(node.layer.jumps(tape.values[node.inputs[0]], saved))
        where = np.concatenate(found)
        where = where[np.isfinite(where)]
        points = at.shape[1]
        k = np.floor(where).astype(int)
        inside = k % points < points - 1  # not from one piece to the next
        k, share = k[inside], (where - np.floor(where))[inside]
        flat = at.ravel()
        places, pieces = flat[k] + share * (flat[k + 1] - flat[k]), k // points
        return [self._apart(np.unique(places[pieces == piece]), *at[piece, [0, -1]]) for piece in range(len(at))]

    @staticmethod
    def _apart(places: Array, begin: float, end: float) -> list[float]:
        """Those that are far enough from each other, and from the ends."""
        kept, last = [], begin
        for place in places.tolist():
            if place - last > NARROWEST and end - place > NARROWEST:
                kept.append(place)
                last = place
        return kept

    def _some(self, spans: list[tuple[float, float]]) -> list[_Piece]:
        function, outputs, count = self._function, self._outputs, len(ENDS_AND_NODES)
        begins, ends = np.array(spans).T
        at = begins[:, None] + (ends - begins)[:, None] * ENDS_AND_NODES
        at[:, -1] = ends
        tape = function.tape(*self._ends[0].towards(self._ends[1], at.ravel()))
        self.points += at.size
        values = outputs.values(tape.output).reshape(len(spans), count, -1)
        # (outputs, pieces, nodes, entries): how much each entry changes each output along the line
        rates = np.stack([self._rates(tape, k).reshape(len(spans), count, -1) for k in range(len(outputs.known))])
        widths, jumps = (ends - begins)[:, None], self._jumps(tape, at)
        found = []
        for k, (begin, end) in enumerate(spans):
            kronrod = np.einsum("n,one->oe", KRONROD, rates[:, k]) * widths[k]
            gauss = np.einsum("n,one->oe", GAUSS, rates[:, k]) * widths[k]
            error = kronrod.sum(axis=1) - (values[k, -1] - values[k, 0])
            nested = np.abs(kronrod - gauss).max(axis=1, initial=0.0)
            found.append(_Piece(begin, end, kronrod, error, nested, jumps[k] or [(begin + end) / 2]))
        return found

    def _rates(self, tape: Tape, number: int) -> Array:
        """(points, entries) how fast each entry changes an output along the line."""
        return self._changes(tape, self._outputs.through(tape.output, number))

    def _changes(self, tape: Tape, dy: Array) -> Array:
        """(points, entries) the same of the sum of the network's outputs, each times dy."""
        function = self._function
        of_inputs, of_rows = function.slopes(tape, dy)
        of_change, rows_change = self._change
        changed = [rows * change for rows, change in zip(of_rows, rows_change, strict=True)]
        return function.gathered(of_inputs * of_change, changed).reshape(len(of_inputs), -1)
