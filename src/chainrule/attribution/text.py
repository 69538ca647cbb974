"""Why a prediction is as it is, as text."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from chainrule.attribution.changes import Change, Changes
from chainrule.attribution.cuts import Cut
from chainrule.attribution.fields import entry_name
from chainrule.attribution.reasons import Why
from chainrule.attribution.routes import Routes
from chainrule.explain.paths import COUNTABLE
from chainrule.summary import Table, one_line, short
from chainrule.tape import Unit

SHOWN = 3
"""How many units of a layer, and paths, are listed, unless more are asked for."""
CUTS = 3
"""Up to how many layers are listed."""
NAME = 60
"""Longer names are cut."""

MOST = 20
"""The parts that are listed; the others are added up."""
MOVED = 5
"""The parts of a change that are listed."""
BAR = 12
"""The characters of the longest bar."""


def called(name: object, most: int = NAME) -> str:
    """A name, which may be as long as a user's column has it, cut and in one line."""
    return short(one_line(name), most)


def lines(w: Why, most: int = SHOWN) -> list[str]:
    """Everything, as lines, with so many units of each layer and paths."""
    found = [*head(w), "", *attributions(w), "", *sums(w)]
    if w.explained > 1:
        found += ["", *each_output(w)]
    found += ["", *derivatives(w, most)]
    for one in w.changes:
        found += ["", *changes(one)]
    searched = dict.fromkeys(line for one in w.changes for line in one.searched)
    return [*found, *([""] * bool(searched)), *(f"Searched: {line}." for line in searched)]


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


def derivatives(w: Why, most: int = SHOWN) -> list[str]:
    """How the derivatives with respect to the inputs that add most come about."""
    found = [derivatives_title(w)]
    for one in w.paths:
        found += ["", derivative_line(w, one)]
        for cut in listed_cuts(one):
            found += [f"  {line}" for line in Table("cut", *cut_table(w, one, cut, most), "lrrr").lines(most + 3)]
        found += [f"  {line}" for line in path_lines(w, one, most)]
    return found


def derivatives_title(w: Why) -> str:
    """What the tables and paths are of."""
    which = f"the {len(w.paths)} inputs that add most" if len(w.paths) > 1 else "the input that adds most"
    return f"How the derivative of {called(w.outputs.names[0])} comes about, by the chain rule, for {which}:"


def derivative_line(w: Why, one: Routes) -> str:
    """The derivative by the user's unit, as the network's."""
    name, unit = called(entry_name(w, one.entry)), float(w.units.ravel()[one.entry])
    if one.of:
        return f"{name}, through {one.of} of its embedding: {one.derivative:+.6g}, a sum:"
    if unit == 1:
        return f"{name}: {one.derivative:+.6g}, a sum:"
    own = f"{one.derivative / unit:+.6g} by its unit x {unit:.6g}, the standard deviation it is divided by"
    return f"{name}: {own} = {one.derivative:+.6g} by a standard deviation, a sum:"


def listed_cuts(one: Routes) -> list[Cut]:
    """The layers that are listed of those that all paths pass through: the first ones, and the
    last.
    """
    return [*one.cuts] if len(one.cuts) <= CUTS else [*one.cuts[: CUTS - 1], one.cuts[-1]]


def cut_table(w: Why, one: Routes, cut: Cut, most: int) -> tuple[tuple[str, ...], list[list[str]]]:
    """What comes through the units of a layer, that is head and rows: the strongest, the others,
    and the sum.
    """
    products = cut.products
    rows = [
        [unit_name(w, one, cut.units[k]), f"{cut.from_input[k]:.4g}", f"{cut.to_output[k]:.4g}", f"{products[k]:+.5g}"]
        for k in range(min(most, len(products)))
    ]
    if len(products) > most:
        rows.append([f"{len(products) - most:,} more", "", "", f"{products[most:].sum():+.5g}"])
    rows.append(["sum", "", "", f"{products.sum():+.6g}"])
    return (f"through {cut.node}", "d unit / d input", "x d output / d unit", "= product"), rows


def path_lines(w: Why, one: Routes, most: int = SHOWN) -> Iterable[str]:
    """The strongest paths from an input, and what the others add up to."""
    count = f"{len(one.paths):,}" if one.is_complete else f"more than {COUNTABLE:,}, the strongest by a beam search"
    yield f"paths: {count}; along each the product of the local derivatives"
    step = w.outputs.last_step
    for path in one.paths[:most]:
        units, factors = one.computed(path)
        names = " -> ".join([*(unit_name(w, one, unit) for unit in units), called(w.outputs.names[0])])
        product = " x ".join(f"{factor:.4g}" for factor in factors)
        yield f"{path.product:+.5g} = {product}{f' ({step})' * bool(step)}: {names}"
    others = len(one.paths) - most
    if others > 0 or not one.is_complete:
        yield f"{one.rest(most):+.5g} in {f'{others:,} other paths' if one.is_complete else 'all others'}"


def unit_name(w: Why, one: Routes, unit: Unit) -> str:
    """A unit, of a copy what it is a copy of; an output of the network with its class."""
    number, index = one.origin(unit)
    first = len(one.graph.input_shapes)
    if number < first:
        return called(entry_name(w, int(np.ravel_multi_index(index, one.graph.shapes[number])) if index else 0))
    own = Unit(one.graph.nodes[number - first].name, (0, *index))
    label = w.outputs.unit_name(index[-1]) if number == len(one.graph.shapes) - 1 else ""
    return f"{own} ({called(label)})" if label else str(own)


def changes(found: Changes) -> list[str]:
    """What would change the prediction."""
    listed = []
    if found.along is not None:
        listed += [f"  along the gradient, {found.along.distance:.4g} {found.measure}: {_changed(found.along)}"]
        listed += [f"    {line}" for line in moved_lines(found.along)]
    for one in found.alone[:MOVED]:
        listed.append(f"  {moved_lines(one)[0]}, alone: {_changed(one)}")
    if len(found.alone) > MOVED:
        listed.append(f"  {len(found.alone) - MOVED:,} more columns, each alone")
    if found.tokens is not None:
        listed.append(f"  {moved_lines(found.tokens)[0]}: {_changed(found.tokens)}")
    return [f"What would lead to {called(found.wanted, 160)}:", *(listed or ["  nothing that was searched"])]


def _changed(one: Change) -> str:
    checked = "predicted by the run" if one.verified else "not confirmed by the run in the user's own units"
    return f"{called(one.before)} -> {called(one.after)} ({checked})"


def moved_lines(one: Change) -> list[str]:
    """What changes, the largest first."""
    found = []
    for m in one.moved[:MOVED]:
        by = "" if m.by is None else f" ({m.by:+.4g})"
        line = f"{called(m.name)}: {called(m.before)}{f' -> {called(m.after)}' * bool(m.after)}{by}"
        if m.range is not None and not m.is_inside:
            line += f", outside the {m.range[0]:g} to {m.range[1]:g} of the training set"
        found.append(line)
    others = len(one.moved) - MOVED
    return [*found, *([f"and {others:,} more, by less"] if others > 0 else [])]
