"""One weight of one step, in two lines: its gradient as a sum of products, and its update."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from chainrule.arrays import Array
from chainrule.backprop import forward_pass
from chainrule.data import Dataset
from chainrule.engine import Done
from chainrule.layers.base import Context
from chainrule.training import Plan


@dataclass(frozen=True)
class Summary:
    """What happened to one weight in one step.

    Attributes:
        weight: its name
        step: which step, counting from 0
        gradient: its derivative, as it was used
        products: (K,) the terms of the chain rule that the derivative of the data's loss is the sum of
        samples: (K,) which training row each is for
        penalty: what penalties add to the gradient
        before, update, after: its value, what was subtracted, and its value then
    """

    weight: str
    step: int
    gradient: float
    products: Array
    samples: Array
    penalty: float
    before: float
    update: float
    after: float


def summarize(plan: Plan, data: Dataset, done: Done, weight: str | None = None) -> Summary:
    """The summary of a step for one weight; by default the one that the step moved most."""
    network, part = plan.network, data.training
    layout = network.parameters
    place = int(np.argmax(np.abs(done.update))) if weight is None else layout.find(weight)
    name = layout.name_of(place)
    context = Context(True, plan.seed, done.before.step)
    forward = forward_pass(network, done.before.parameters, part.x[done.rows], done.before.statistics, context)
    weights = None if part.weight is None else part.weight[done.rows]
    slopes = plan.loss.derivative(forward.prediction, part.y[done.rows], weights)
    array, _, index = name.partition("[")
    terms = network.root.parameter_terms(
        forward.params, forward.saved, slopes, array, tuple(int(k) for k in index[:-1].split(","))
    )
    penalty = sum(float(p.gradient(done.before.parameters, layout)[place]) for p in plan.penalties)
    return Summary(
        weight=name,
        step=done.before.step,
        gradient=float(done.gradient[place]),
        products=np.concatenate([group.products for group in terms]),
        samples=done.rows[np.concatenate([group.at[:, 0] for group in terms])],
        penalty=penalty,
        before=float(done.before.parameters[place]),
        update=float(done.update[place]),
        after=float(done.after.parameters[place]),
    )


def gradient_line(summary: Summary, most: int = 2) -> str:
    """dL/dw = its largest products, the rest, and their sum."""
    order = np.argsort(-np.abs(summary.products), kind="stable")
    shown = [f"{summary.products[k]:+.4g} (sample {summary.samples[k]})" for k in order[:most]]
    rest = float(summary.products[order[most:]].sum())
    others = len(order) - most
    parts = [*shown, *([f"{rest:+.4g} ({others} more)"] if others > 0 else [])]
    if summary.penalty:
        parts.append(f"{summary.penalty:+.4g} (penalty)")
    return f"dL/d {summary.weight} = {' '.join(parts)} = {summary.gradient:.4g}"


def update_line(summary: Summary) -> str:
    """Before, what was subtracted, after."""
    sign = "-" if summary.update >= 0 else "+"
    return f"{summary.weight}: {summary.before:.6g} {sign} {abs(summary.update):.4g} = {summary.after:.6g}"
