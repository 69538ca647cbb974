"""Gradients that vanish or explode on the way back through the layers, or over time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from chainrule.arrays import Array
from chainrule.doctor.case import Case
from chainrule.doctor.finding import Finding, Remedy, number
from chainrule.doctor.remedies import clipped, drawn_anew, smooth
from chainrule.engine import StepRecord

VANISHED = 1e-3
"""The size of the derivatives that arrive at the first layer with weights, relative to those at the
last, below which they have vanished.
"""
EXPLODED, BURST = 1e3, 100.0
"""How many times the derivatives at the last layer those at an earlier one must be, and the largest
gradient of the steps before it a step's, to have exploded.
"""
MOSTLY = 0.5
"""The share of the steps looked at for which it must be so."""
SAMPLES, LOOKED = 64, 4
"""The most samples, and the steps, of which the derivatives are computed again, layer by layer."""


def find(case: Case) -> Iterator[Finding]:
    """Layers at which derivatives vanish or explode, and steps whose gradients do."""
    if not case.records:
        return
    records = [case.records[k] for k in np.unique(np.linspace(0, len(case.records) - 1, LOOKED).astype(int))]
    names, sizes = arriving(case, records)
    steps = tuple(record.before.step for record in records)
    if len(names) > 1:
        yield from _by_layer(names, sizes, steps)
    yield from _over_time(case)


def arriving(case: Case, records: list[StepRecord]) -> tuple[list[str], Array]:
    """The layers with weights, from first to last, and (layers, steps) the size of the derivatives
    that arrive at each: the root mean square, over samples, of the norm of a sample's.
    """
    graph = case.network.graph
    nodes = [node for node in graph.nodes if node.name == node.owner and any(
        p.regularized and len(p.shape) > 1 for p in node.built.parameters.values()) and node.time is None]  # fmt: skip
    sizes = np.zeros((len(nodes), len(records)))
    for k, record in enumerate(records):
        batch = case.batch(record).thinned(max(8, min(SAMPLES, case.affordable)))
        problem, at = case.timeline.problem_at(record.before.step), record.before
        with np.errstate(all="ignore"):
            tape = problem.differentiate(at.parameters, batch, at.statistics, at.step, wants_input=True).tape
            for j, node in enumerate(nodes):
                derivatives = tape.arrived(node.name).reshape(len(batch.x), -1).astype(np.float64)
                sizes[j, k] = np.sqrt((derivatives**2).sum(axis=1).mean())
    return [node.name for node in nodes], sizes


def _by_layer(names: list[str], sizes: Array, steps: tuple[int, ...]) -> Iterator[Finding]:
    known = (sizes[-1] > 0) & np.isfinite(sizes).all(axis=0)
    if not known.any():
        return
    relative = sizes[:, known] / sizes[-1, known]
    steps = tuple(step for step, is_known in zip(steps, known, strict=True) if is_known)
    lowest, highest = int(np.argmin(np.median(relative, axis=1))), int(np.argmax(np.median(relative, axis=1)))
    by_layer = {name: row.tolist() for name, row in zip(names, relative, strict=True)}
    if (relative[lowest] < VANISHED).mean() > MOSTLY:
        middle = float(np.median(relative[lowest]))
        size = f"are {number(middle)} times as large as those" if middle else "are 0 while there are some"
        words = (
            f"Gradients vanish: the derivatives that arrive at {names[lowest]} {size} at {names[-1]}, the last layer,"
            " so it hardly learns while later layers do."
        )
        remedy = Remedy(
            "use relu, whose derivative is 1 where it passes anything on, with the default distribution of weights; or"
            " fewer layers, or normalization between them",
            smooth("relu"), {"activation": "relu", "weights": ""},
        )  # fmt: skip
        evidence = {"relative": by_layer, "median": middle}
        yield Finding(
            "vanishing gradients", words, names[lowest], "serious", evidence, steps, remedy, names[lowest],
            steps[0] == 0 and bool(relative[lowest][0] < VANISHED),
        )  # fmt: skip
    if (relative[highest] > EXPLODED).mean() > MOSTLY:
        middle = float(np.median(relative[highest]))
        words = (
            f"Gradients explode: the derivatives that arrive at {names[highest]} are {number(middle)} times as large as"
            f" those at {names[-1]}, the last layer."
        )
        remedy = Remedy(
            "draw the weights from the default distribution, which keeps the size of derivatives; or normalization"
            " between the layers",
            drawn_anew, {"weights": ""},
        )  # fmt: skip
        evidence = {"relative": by_layer, "median": middle}
        yield Finding(
            "exploding gradients", words, names[highest], "serious", evidence, steps, remedy, names[highest],
            steps[0] == 0 and bool(relative[highest][0] > EXPLODED),
        )  # fmt: skip


def _over_time(case: Case) -> Iterator[Finding]:
    steps = tuple(record.before.step for record in case.records)
    norms = np.array([np.linalg.norm(record.gradient.astype(np.float64)) for record in case.records])
    before = np.maximum.accumulate(norms)[:-1]
    if len(norms) < 3 or not before[0] > 0:
        return
    with np.errstate(all="ignore"):
        k = int(np.nanargmax(norms[1:] / before)) + 1
    ratio = float(norms[k] / before[k - 1])
    if ratio > BURST:
        words = (
            f"The gradient of step {steps[k]:,} is {number(ratio)} times as large as any looked at before it: a step"
            " like that throws the weights far away."
        )
        evidence = {"norms": norms.tolist(), "ratio": ratio}
        remedy = _clip(float(before[k - 1]))
        yield Finding("exploding gradients", words, f"step {steps[k]:,}", "serious", evidence, steps, remedy)


def _clip(limit: float) -> Remedy:
    limit = float(f"{max(limit, 1e-6):.2g}")
    words = f"clip the gradient to a norm of {limit:g}, about the usual one"
    return Remedy(words, clipped(limit), {"clip": limit})
