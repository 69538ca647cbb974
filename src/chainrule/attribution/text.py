"""Why a prediction is as it is, as text."""

from __future__ import annotations

from collections.abc import Iterable

from chainrule.attribution.changes import Change, Changes
from chainrule.attribution.fields import entry_name
from chainrule.attribution.reasons import Why
from chainrule.attribution.routes import SHOWN, Routes
from chainrule.summary import Table

MOST = 20
"""The parts that are listed; the others are added up."""
MOVED = 5
"""The parts of a change that are listed."""
BAR = 12
"""The characters of the longest bar."""


def lines(w: Why) -> list[str]:
    """Everything, as lines."""
    found = [*head(w), "", *attributions(w), "", *sums(w)]
    if w.explained > 1:
        found += ["", *each_output(w)]
    found += ["", *paths(w)]
    if w.changes is not None:
        found += ["", *changes(w.changes)]
    return found


def head(w: Why) -> list[str]:
    """What was predicted of what."""
    about = f" ({w.sample.about})" if w.sample.about else ""
    truth = f"; in the data it is {w.sample.target}" if w.sample.target else ""
    title = f"Why {w.predicted} is predicted for row {w.sample.row:,} of {w.sample.name}{about}{truth}"
    line = f"{w.outputs.names[0]} = {w.values[0]:.6g}; at the baseline, {w.baseline.name}, it is"
    return [title, "", f"{line} {w.integral.start[0]:.6g}."]


def attributions(w: Why) -> list[str]:
    """What each part adds to the first output, the largest first."""
    own, order = w.of_parts(), w.strongest
    largest = float(abs(own[order[0]])) if len(order) else 0.0
    rows = []
    for k in order[:MOST]:
        part, slope = w.sample.parts[k], w.slope_of(w.sample.parts[k])
        rows.append([
            part.name, part.value, w.baseline.values[k], f"{own[k]:+.6g}", bar(float(own[k]), largest),
            "" if slope is None else f"{slope:+.4g}",
        ])  # fmt: skip
    rest = own[order[MOST:]]
    if len(rest):
        rows.append([f"{len(rest):,} more", "", "", f"{rest.sum():+.6g}", "", ""])
    head = ("", "value", "baseline", "adds", "", "derivative, by its unit")
    return Table("attributions", head, rows, "lrrrlr").lines(MOST + 2)


def bar(value: float, largest: float) -> str:
    """A bar to the left for less, to the right for more."""
    count = round(BAR * abs(value) / largest) if largest else 0
    return f"{'-' * count if value < 0 else '':>{BAR}}|{'+' * count if value > 0 else '':<{BAR}}"


def sums(w: Why) -> list[str]:
    """That the attributions add up, and what was rounded."""
    i = w.integral
    total, difference = float(i.attributions[0].sum()), float(i.end[0] - i.start[0])
    reached = "" if i.is_reached else f", more than the {i.tolerance.max():.1e} that were aimed at"
    return [
        f"Their sum is {total:+.9g}, the difference {difference:+.9g}: completeness error {i.error[0]:+.1e}{reached}"
        f" (integrated gradients at {i.points:,} points, in float64).",
        f"The run itself predicts in float32, which rounds the outputs by {w.rounding:.1e} at most.",
    ]


def each_output(w: Why) -> list[str]:
    """What each part adds to every explained output."""
    names = w.outputs.names[: w.explained]
    each = [w.of_parts(k) for k in range(w.explained)]
    rows = [[w.sample.parts[k].name, *(f"{own[k]:+.4g}" for own in each)] for k in w.strongest[:MOST]]
    if len(w.strongest) > MOST:
        rest = w.strongest[MOST:]
        rows.append([f"{len(rest):,} more", *(f"{own[rest].sum():+.4g}" for own in each)])
    rows.append(["baseline", *(f"{value:.4g}" for value in w.integral.start)])
    rows.append(["sum", *(f"{value:.4g}" for value in w.integral.end)])
    return Table("outputs", ("adds to", *names), rows, "l" + "r" * len(names)).lines(MOST + 4)


def paths(w: Why) -> list[str]:
    """The strongest paths from the inputs that add most."""
    found = [f"Paths to {w.outputs.names[0]}: the product of the local derivatives along each"]
    for one in w.paths:
        found += [f"  {path_title(w, one)}", *(f"    {line}" for line in path_lines(one))]
    return found


def path_title(w: Why, one: Routes) -> str:
    """The derivative that the paths from an input add up to."""
    name = one.of or entry_name(w, one.entry)
    every = f"the sum over {len(one.paths):,} paths" if one.is_complete else "of which the strongest paths are"
    unit = "" if one.of else " (scaled)"
    return f"d/d {name}{unit} = {one.derivative:+.6g}, {every}"


def path_lines(one: Routes) -> Iterable[str]:
    """The strongest paths from an input, and what the others add up to."""
    for path in one.paths[:SHOWN]:
        units = " -> ".join(str(unit) for unit in path.units)
        factors = " x ".join(f"{factor:.4g}" for factor in path.factors)
        yield f"{path.product:+.5g} = {factors}: {units}"
    others = len(one.paths) - SHOWN
    if others > 0 or not one.is_complete:
        count = f"{others:,} other paths" if one.is_complete else "all others"
        yield f"{one.rest:+.5g} in {count}"


def changes(found: Changes) -> list[str]:
    """What would change the prediction."""
    listed = [f"What would change it ({found.wanted}):"]
    if found.along is not None:
        listed += [f"  along the gradient, {found.along.distance:.4g} standard deviations: {_changed(found.along)}"]
        listed += [f"    {line}" for line in moved_lines(found.along)]
    for one in found.alone[:MOVED]:
        listed.append(f"  {moved_lines(one)[0]}, alone: {_changed(one)}")
    if found.tokens is not None:
        listed.append(f"  {moved_lines(found.tokens)[0]}: {_changed(found.tokens)}")
    return [*listed, *(f"  searched: {line}" for line in found.searched)]


def _changed(one: Change) -> str:
    checked = "predicted by the run" if one.verified else "not confirmed by the run in the user's own units"
    return f"{one.before} -> {one.after} ({checked})"


def moved_lines(one: Change) -> list[str]:
    """What changes, the largest first."""
    found = []
    for m in one.moved[:MOVED]:
        by = "" if m.by is None else f" ({m.by:+.4g})"
        found.append(f"{m.name}: {m.before} -> {m.after}{by}" if m.after else f"{m.name}: {m.before}{by}")
    others = len(one.moved) - MOVED
    return [*found, *([f"and {others:,} more, by less"] if others > 0 else [])]
