"""Units that do nothing: dead, saturated, or the same as another of their layer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from chainrule.arrays import Array
from chainrule.doctor.case import Case
from chainrule.doctor.finding import Finding, Remedy, share
from chainrule.doctor.remedies import drawn_anew, slower, smooth
from chainrule.engine import Position
from chainrule.layers import Node
from chainrule.layers.graph import Graph

FEW, MANY = 0.25, 0.6
"""The shares of a layer's units from which it is a finding, and a serious one."""
LEFT = 0.1
"""The share of the best constant prediction's loss that must be left: the default networks for
digits and shapes end with 53 % and 91 % of their last hidden units dead, and no error left to learn
from: what is there is enough.
"""
FLAT = 1e-3
"""A local derivative below this is saturated, as explanations say (Activation.note)."""
ALWAYS = 0.98
"""The share of samples for which a unit is flat when it is called saturated."""
SAME = 1e-3
"""Units whose pre-activations differ by less than this, relative to their size, up to a factor, are
the same.
"""
MOST_COMPARED = 1024
"""The most units of a layer that are compared with each other."""


def find(case: Case) -> Iterator[Finding]:
    """Layers of which many units are dead, saturated or duplicates."""
    if case.loss(case.final) < LEFT * case.naive_loss:
        return
    flat = flat_units(case, case.final)
    for layer, found in flat.items():
        for kind, units in found["units"].items():
            if len(units) >= FEW * found["of"]:
                yield _flat(case, layer, kind, units, found)
    for layer, (alike, of) in duplicates(case, case.final).items():
        dead = flat[layer]["units"]["dead"].tolist() if layer in flat else []
        units = [unit for unit in alike if unit not in dead]
        if len(units) >= FEW * of:
            yield _duplicate(case, layer, units, of)


def flat_units(case: Case, at: Position) -> dict[str, dict[str, Any]]:
    """By layer with weights: how many units it has ("of"), and which are dead and saturated
    ("units"), with what the activation says of one ("why").
    """
    tape, graph, found = case.tape(at), case.network.graph, dict[str, dict[str, Any]]()
    for node in graph.nodes[:-1]:
        if not node.layer.elementwise or node.time is not None:
            continue
        params, saved, _ = tape.of(node)
        outputs = tape.values[graph.numbers[node.name]]
        with np.errstate(all="ignore"):
            local = np.abs(node.layer.input_derivative(params, saved, np.ones_like(outputs)))
        rows, units = local.reshape(-1, local.shape[-1]), outputs.shape[-1]
        values = outputs.reshape(-1, units)
        dead = (rows == 0).all(axis=0)
        silent = dead & (np.ptp(values, axis=0) == 0)
        flat = ((rows < FLAT).mean(axis=0) >= ALWAYS) & ~silent
        if np.isfinite(values).all():
            names = {"dead": np.flatnonzero(silent), "saturated": np.flatnonzero(flat & varies(values, silent))}
            why = {kind: node.layer.note(0.0, values[:, which[0]]) for kind, which in names.items() if len(which)}
            found[owner_of(graph, node)] = {"of": units, "units": names, "why": why}
    return found


def varies(values: Array, silent: Array) -> Array:
    """(units,) whether a unit that is flat could be anything else: not a rectifier that is silent
    for most samples and speaks for some, which is what rectifiers are for.
    """
    return ~silent & ~((values == 0).mean(axis=0) > 0.5)


def owner_of(graph: Graph, node: Node) -> str:
    """The layer with weights whose units these are, found through layers that keep units."""
    while not node.built.parameters or node.layer.keeps_units:
        before = node.inputs[0] - len(graph.input_shapes)
        if before < 0 or not node.layer.keeps_units:
            return node.name
        node = graph.nodes[before]
    return node.name


def _flat(case: Case, layer: str, kind: str, units: Array, found: dict[str, Any]) -> Finding:
    part = len(units) / found["of"]
    names, why = units.tolist(), found["why"].get(kind, "")
    because = f" ({why.removeprefix(f'{kind}: ')})" if why else ""
    what = "give 0 for every sample" if kind == "dead" else "are flat for nearly every sample"
    since = _since(case, layer, kind, len(units))
    words = (
        f"{share(len(names), found['of'])} units of {layer} are {kind}: they {what}, so that no derivative comes"
        f" through and they can't learn{because}."
    )
    if case.steps:
        words += f" They have been so since step {since:,}."
    evidence = {"units": names, "of": found["of"], "share": part, "since": since}
    return Finding(
        f"{kind} units", words, place_of(layer, len(names), found["of"]), "serious" if part >= MANY else "warning",
        evidence, (since, case.steps), _remedy(kind, since), f"{layer}[{names[0]}]", since == 0,
    )  # fmt: skip


def place_of(layer: str, count: int, of: int) -> str:
    """Some units of a layer in words: "dense_2, 18 of 64 units"."""
    return f"{layer}, {f'all {of:,}' if count == of else f'{count:,} of {of:,}'} units"


def _since(case: Case, layer: str, kind: str, count: int) -> int:
    """The earliest step looked at since which at least half as many units have been so, by
    bisection: units don't recover.
    """
    low, high = 0, len(case.points) - 1
    while low < high:
        middle = (low + high) // 2
        found = flat_units(case, case.points[middle]).get(layer)
        if found is not None and 2 * len(found["units"][kind]) >= count:
            high = middle
        else:
            low = middle + 1
    return case.points[high].step


def _remedy(kind: str, since: int) -> Remedy:
    if since > 0:  # they were not drawn so; large steps made them so
        words = f"take smaller steps: the units were not {kind} at the start; train with a tenth of the learning rate"
        return Remedy(words, slower(0.1), {"learning_rate": 0.1})
    name, passes = ("leaky_relu", "negative inputs") if kind == "dead" else ("relu", "large inputs")
    words = f"draw the weights from the default distribution, which suits the activation, and use {name}, which passes"
    return Remedy(f"{words} derivatives on for {passes}, too", smooth(name), {"activation": name, "weights": ""})


def duplicates(case: Case, at: Position) -> dict[str, tuple[list[int], int]]:
    """By layer with weights: the units that are the same as an earlier one up to a factor, and how
    many units it has.
    """
    tape, graph, found = case.tape(at), case.network.graph, dict[str, tuple[list[int], int]]()
    for node in graph.nodes[:-1]:
        units = node.built.output_shape[-1] if node.built.output_shape else 1
        of_weights = any(p.regularized and len(p.shape) > 1 for p in node.built.parameters.values())
        if not of_weights or node.time is not None or not 1 < units <= MOST_COMPARED:
            continue
        z = np.asarray(tape.values[graph.numbers[node.name]], np.float64).reshape(-1, units)
        if node.built.parameters and np.isfinite(z).all():
            found[node.name] = (_repeated(z[:: max(1, len(z) // 2000)]), units)
    return found


def _repeated(z: Array) -> list[int]:
    """The columns that are an earlier column times a number, but for a difference of SAME: in what
    they are on average, and in how they vary.
    """
    same = np.ones((z.shape[1], z.shape[1]), bool)
    for part in (z, z - z.mean(axis=0)):
        sizes = np.sqrt((part * part).sum(axis=0))
        zero = sizes <= 1e-6 * np.sqrt((z * z).sum(axis=0))
        unit = part / np.where(zero, 1, sizes)
        alike = np.abs(unit.T @ unit) > 1 - SAME**2 / 2
        alike[np.ix_(zero, zero)] = True
        same &= alike
    return np.flatnonzero(np.tril(same, -1).any(axis=1)).tolist()


def _duplicate(case: Case, layer: str, units: list[int], of: int) -> Finding:
    alike = "all its units are" if len(units) == of - 1 else f"{share(len(units), of)} units of it are"
    words = (
        f"Units of {layer} are the same: {alike} multiples of another one for every sample, so they get the same"
        " derivatives and stay alike. The layer computes no more than a smaller one would."
    )
    remedy = Remedy(
        "draw the weights at random, from the default distribution: equal weights never part",
        drawn_anew, {"weights": ""},
    )  # fmt: skip
    evidence = {"units": units, "of": of, "share": len(units) / of, "unlike": of - len(units)}
    part = len(units) / of
    at_first = duplicates(case, case.points[0]).get(layer, ([], of))[0]
    return Finding(
        "duplicate units", words, place_of(layer, len(units), of), "serious" if part >= MANY else "warning", evidence,
        (case.steps,), remedy, f"{layer}[{units[0]}]", 2 * len(at_first) >= len(units),
    )  # fmt: skip
