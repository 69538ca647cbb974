"""Why a prediction is as it is: derivatives, attributions, paths, and what would change it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from chainrule.arrays import Array
from chainrule.attribution.baselines import Baseline, baseline_of
from chainrule.attribution.changes import Changes, Search
from chainrule.attribution.function import Function
from chainrule.attribution.integrated import TOLERANCE, Integral, integrate
from chainrule.attribution.outputs import Outputs, outputs_of
from chainrule.attribution.routes import Routes, routes
from chainrule.attribution.subject import Part, Sampled, Subject, subject
from chainrule.data import Dataset, Prepared
from chainrule.errors import DataError, is_number, require, setting
from chainrule.runs import Run, Trained
from chainrule.summary import Shown, Summary, Table
from chainrule.threads import undivided

LISTED, EXPLAINED = 12, 4
"""Of how many outputs the derivatives are computed, and up to how many have attributions, unless
more are asked for; of more, the three largest.
"""
TRACED = 3
"""From how many inputs paths are listed."""


@dataclass(frozen=True, repr=False)
class Why(Shown):
    """Why a prediction is as it is. Everything is computed in float64.

    Attributes:
        sample: the sample, as the user knows it and as the network reads it
        baseline: what it is compared with
        outputs: what is predicted; the first is the prediction
        values: (outputs,) the values
        predicted: the prediction of the run, as text
        slopes: (outputs, *input_shape) the derivative of each output with respect to each entry of
            the sample; of a token 0, since there is nothing between two tokens
        integral: the attributions, of the first so many outputs
        paths: from the inputs with the largest attributions, to the first output
        changes: what would change the prediction, of a quantity upwards and downwards; empty if
            that was not searched
        rounding: by how much the outputs differ at most from the run's own, in float32
        units: (*input_shape) how much of the user's own unit one of the network's is
    """

    sample: Subject
    baseline: Baseline
    outputs: Outputs
    values: Array
    predicted: str
    slopes: Array
    integral: Integral
    paths: tuple[Routes, ...]
    changes: tuple[Changes, ...]
    rounding: float
    units: Array = field(repr=False)

    @property
    def explained(self) -> int:
        """The number of outputs that have attributions."""
        return len(self.integral.start)

    @property
    def attributions(self) -> Array:
        """(outputs, *input_shape) how much each entry of the sample adds to each output, in its
        unit, from the baseline on.
        """
        return self.integral.attributions

    def of_parts(self, output: int = 0) -> Array:
        """(parts,) the attribution of each part of the sample: a column of the table, a pixel, a
        step or a token.
        """
        flat = self.integral.attributions[output].ravel()
        return np.array([flat[part.entries].sum() for part in self.sample.parts])

    def slope_of(self, part: Part, output: int = 0) -> float | None:
        """The derivative with respect to a number, by the user's own unit, of a time step of series
        with respect to what is forecast; None for what is no number.
        """
        is_number = part.unit and (len(part.entries) == 1 or part.kind == "number")
        if not is_number and self.sample.kind != "series":
            return None
        entry = part.entries[0]
        return float(self.slopes[output].ravel()[entry] / self.units.ravel()[entry])

    @property
    def strongest(self) -> list[int]:
        """The parts, by the size of their attributions to the first output."""
        return np.argsort(-np.abs(self.of_parts()), kind="stable").tolist()

    def summary(self) -> Summary:
        """The prediction, and what the parts add to it."""
        own = self.of_parts()
        rows = [[self.sample.parts[k].name, self.sample.parts[k].value, f"{own[k]:+.4g}"] for k in self.strongest]
        facts = {
            self.outputs.names[0]: f"{self.integral.end[0]:.6g}",
            f"at {self.baseline.name}": f"{self.integral.start[0]:.6g}",
            "completeness error": f"{self.integral.error[0]:.2g}",
        }
        table = Table("what each adds", ("", "value", self.outputs.names[0]), rows, "llr")
        return Summary(f"Why {self.predicted}", f"{self.sample.name}, row {self.sample.row}", facts, table)

    def as_json(self, most: int | None = None) -> dict[str, Any]:
        """Everything, as plain values, with the `most` strongest units of each layer and paths, by
        default 20.
        """
        from chainrule.attribution.fields import MOST, as_json

        return as_json(self, MOST if most is None else most)


def why(
    trained: Trained | Run,
    data: Sampled = None,
    row: int = 1,
    *,
    baseline: str | int | None = None,
    of: str | Sequence[str] | None = None,
    position: int | None = None,
    change: float | None = None,
    search: bool = True,
    tolerance: float = TOLERANCE,
    progress: Callable[[int, int], object] | None = None,
) -> Why:
    """Why a network predicts what it does for a sample.

    Args:
        trained: the trained network, or its run
        data: samples in any form that `predict` takes, or a Dataset; by default what the network
            was trained on
        row: which of them, counted from 1; of series the window that ends with this step of the
            data, of a text the window of this number
        baseline: what the sample is compared with: "mean" (of the training set), "zero" (a black
            picture), or the number of another row; by default "zero" for pictures, else "mean"
        of: the outputs to explain, by their names, classes or columns; by default all, or the
            three largest of many
        position: of a network that predicts at each position, the one that is explained, counted
            from 0; by default the last
        change: what change of a quantity to search for, in its unit, such as -10; by default a
            standard deviation of the target
        search: whether to search for what would change the prediction
        tolerance: the completeness error to aim at, as a share of the output's size
        progress: called with the number of points so far, and the most there may be

    Returns:
        derivatives, integrated gradients (Sundararajan, Taly and Yan, 2017), paths and changes

    Raises:
        DataError: for a row that is not there
        SettingError: for an unknown output or baseline

    Examples:
        >>> import chainrule
        >>> trained = chainrule.train("8 tanh", "iris", epochs=20)
        >>> found = chainrule.why(trained, "iris", row=1)
        >>> found.outputs.names[0], found.sample.parts[2].name
        ('probability of setosa', 'petal length (cm)')
        >>> difference = found.integral.end - found.integral.start
        >>> bool(abs(found.of_parts().sum() - difference[0]) < 1e-9)
        True
    """
    require(is_number(tolerance, above=0), f"the tolerance is {tolerance!r}; it is a number above 0")
    wanted = f"the change is {change!r}; it is a finite number other than 0"
    require(change is None or (is_number(change) and math.isfinite(change) and change != 0), wanted)
    own = trained.data if isinstance(trained, Trained) else _own_data(trained, data)
    trained = trained if isinstance(trained, Trained) else trained.trained
    data = own if data is None else data
    function, sample = Function.of(trained), subject(trained, data, row)
    point, start = function.point(sample.x), baseline_of(trained, function, sample, data, baseline)
    tape = function.tape_at(point)
    every = outputs_of(trained.target, trained.plan.loss, tape.output.shape[-1], _position(tape.output.shape, position))
    run = trained.raw(np.asarray(sample.x, np.float32)[None].view(Prepared))
    order, explained = _chosen(every, every.values(tape.output)[0], trained, run, of)
    outputs = every.only(order)
    with undivided():
        slopes = [function.slopes(tape, outputs.through(tape.output, k))[0][0] for k in range(len(order))]
    search_for = Search(trained, function, sample, every, order[0], change, own)
    search_for.check()
    integral = integrate(function, outputs.only(range(explained)), start.point, point, tolerance, progress)
    units = np.broadcast_to(_unit(trained), sample.x.shape)
    found = Why(
        sample, start, outputs, outputs.values(tape.output)[0], _predicted(trained, run, every), np.array(slopes),
        integral, (), search_for.run() if search else (),
        float(np.abs(outputs.values(run.astype(np.float64)) - outputs.values(tape.output)).max()), units,
    )  # fmt: skip
    function.slopes(tape, outputs.through(tape.output, 0))
    traced = [_entry(found, k) for k in found.strongest[:TRACED]]
    return replace(found, paths=tuple(routes(function, tape, entry) for entry in traced))


def _own_data(run: Run, data: Sampled) -> Dataset | None:
    """What a run was trained on. Where other data is explained it is only needed for the ranges of
    columns, and may be missing.
    """
    if data is None:
        return run.load_data()
    if run.trained.preparation is None or run.trained.preparation.kind not in ("table", "numbers"):
        return None
    try:
        return run.load_data()
    except DataError:
        return None


def _unit(trained: Trained) -> Any:
    preparation = trained.preparation
    return 1.0 if preparation is None or preparation.deviation is None else preparation.deviation


def _entry(found: Why, part: int) -> int:
    """The entry of a part with the largest attribution."""
    entries = found.sample.parts[part].entries
    return int(entries[np.argmax(np.abs(found.integral.attributions[0].ravel()[entries]))])


def _position(shape: tuple[int, ...], position: int | None) -> tuple[int, ...]:
    """Which position is explained."""
    if len(shape) < 3:
        require(position is None, f"the network predicts once for a sample; leave {setting('position')} out")
        return ()
    last = shape[1] - 1
    chosen = last if position is None else position
    rule = f"the network predicts at the positions 0 to {last}"
    require(len(shape) == 3, "explained are predictions at the positions of a sequence, not of several axes")
    require(isinstance(chosen, int) and 0 <= chosen <= last, f"the position is {position!r}; {rule}")
    return (chosen,)


def _chosen(
    every: Outputs, values: Array, trained: Trained, run: Array, of: str | Sequence[str] | None
) -> tuple[list[int], int]:
    """The outputs in their order, the prediction first, and how many of them have attributions."""
    if of is not None:
        names = [of] if isinstance(of, str) else list(of)
        numbers = [every.find(str(name)) for name in names]
        require(len(set(numbers)) == len(numbers) > 0, f"the outputs are {names}; name each once ({setting('of')})")
        rest = [k for k in range(len(every.known)) if k not in numbers]
        return (numbers + rest)[: max(LISTED, len(numbers))], len(numbers)
    if every.target.task == "regression":
        order = list(range(len(every.known)))
        return order[:LISTED], min(len(order), EXPLAINED)
    order = np.argsort(-values, kind="stable").tolist()
    if every.target.is_class:
        decided = trained.decoded(run)
        label = decided[(0, *every.position)] if every.position else decided[0]
        names = [str(name) for name in every.target.classes][-len(every.known) :]
        first = names.index(str(label)) if str(label) in names else order[0]
        order = [first, *(k for k in order if k != first)]
    return order[:LISTED], len(order) if len(order) <= EXPLAINED else EXPLAINED - 1


def _predicted(trained: Trained, run: Array, every: Outputs) -> str:
    """The prediction, as text."""
    target, decided = trained.target, trained.decoded(run)[0]
    if every.position:
        decided = decided[every.position]
    if target.task == "multilabel":
        return ", ".join(name for name, is_on in zip(target.columns, decided, strict=True) if is_on) or "no label"
    if target.task == "regression":
        return ", ".join(f"{value:.6g}" for value in np.ravel(decided)[:6]) + (", ..." if np.size(decided) > 6 else "")
    tokens = None if trained.preparation is None else trained.preparation.tokens
    return repr(str(decided)) if tokens is not None else str(decided)
