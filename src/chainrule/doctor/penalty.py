"""A penalty larger than the loss, so that weights are kept small before the data is fitted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from chainrule.doctor.case import Case
from chainrule.doctor.finding import Finding, Remedy, number
from chainrule.doctor.remedies import planned

LARGER = 1.0
"""The penalty as a multiple of the training loss."""
LEFT = 0.2
"""The share of the best constant prediction's loss that must be left: a loss that is nearly 0 is
smaller than any penalty.
"""


def find(case: Case) -> Iterator[Finding]:
    """Whether the penalties are larger than the loss that is left."""
    if not case.plan.penalties or case.status == "diverged":
        return
    penalties, losses = (np.array([of(point) for point in case.points]) for of in (case.penalty, case.loss))
    with np.errstate(all="ignore"):
        ratios = penalties / losses
    k = int(np.nanargmax(ratios))
    if not ratios[k] > LARGER or losses[-1] < LEFT * case.naive_loss:
        return
    value, loss, step = float(penalties[k]), float(losses[k]), case.points[k].step
    words = (
        f"The penalty is larger than the loss: {number(value)} beside a training loss of {number(loss)} at step"
        f" {step:,},"
        f" so training shrinks the weights before it fits the data. At the end the loss is {number(float(losses[-1]))};"
        f" the best constant prediction has {number(case.naive_loss)}."
    )
    weaker = tuple(replace(one, l1=one.l1 / 100, l2=one.l2 / 100) for one in case.plan.penalties)
    remedy = Remedy("train with a hundredth of the penalty", planned(penalties=weaker), {"penalty": 0.01})
    evidence = {
        "penalty": penalties.tolist(), "loss": losses.tolist(), "constant": case.naive_loss, "ratio": float(ratios[k]),
    }  # fmt: skip
    steps = tuple(point.step for point in case.points)
    yield Finding("penalty larger than the loss", words, "the training", "warning", evidence, steps, remedy)
