"""The edge of stability: steps as long as the curvature of the loss lets them be.

Gradient descent on a quadratic function settles along an eigenvector of the Hessian only if its
eigenvalue is below 2 / learning rate. Cohen et al. (2021) observe that full-batch training raises
the largest one, the sharpness, until it is there, and then stays at the edge, where the loss falls
unevenly. With momentum the limit is 2 (1 + mu) / learning rate; for Adam it holds for the
preconditioned Hessian, and is 2 (1 + beta1) / (1 - beta1) / learning rate (Cohen et al., 2022). Of
optimizers whose stages don't say how they act on a quadratic (`Stage.stability`), and where
mini-batches are less than a quarter of the training set, so that noise keeps training away from the
edge, nothing is claimed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from chainrule.arrays import Array
from chainrule.doctor.case import Case
from chainrule.doctor.finding import Finding, Remedy, number
from chainrule.doctor.hessian import hessian_product, largest_eigenvalue
from chainrule.doctor.remedies import slower
from chainrule.engine import Position

EDGE = 0.9
"""The sharpness, as a share of the limit, from which a training is at the edge."""
SAMPLES, LEAST = 1000, 64
"""The most training samples of which the loss is differentiated twice, and the fewest that are
enough: a larger network is not looked at.
"""
PART = 0.25
"""The share of the training set that a mini-batch must have."""
AT = 2
"""The number of steps at which it is measured."""


@dataclass(frozen=True)
class Sharpness:
    """The sharpness before a step.

    Attributes:
        step: the step
        value: the largest eigenvalue, of the Hessian with the optimizer's preconditioner
        limit: the value above which steps don't settle
        residual: the relative residual of the eigenvalue
    """

    step: int
    value: float
    limit: float
    residual: float

    @property
    def share(self) -> float:
        """The value as a share of the limit."""
        return self.value / self.limit


def find(case: Case) -> Iterator[Finding]:
    """Whether the training is at the edge of stability."""
    whole = case.whole
    if case.status == "diverged" or len(case.records) < AT or case.plan.batch_size < PART * whole:
        return
    brisk = [record.before for record in case.brisk if record.before.step > 0]
    if not brisk or action(case, brisk[-1]) is None:
        return
    places = np.unique(np.linspace(len(brisk) // 2, len(brisk) - 1, AT).astype(int))
    measured = [sharpness for k in places if (sharpness := sharpness_at(case, brisk[k])) is not None]
    at_edge = [one for one in measured if one.share >= EDGE]
    if 2 * len(at_edge) < len(measured) + 1:
        return
    worst = max(at_edge, key=lambda one: one.share)
    kind = "preconditioned sharpness" if np.ndim(_gain(case, brisk[-1])) else "sharpness"
    words = (
        f"The training is at the edge of stability: at step {worst.step:,} the {kind}, the largest eigenvalue of the"
        f" Hessian, is {number(worst.value)}, {number(worst.share)} times the limit of {number(worst.limit)} that the"
        " learning rate sets. Longer steps would not settle, and the loss falls unevenly."
    )
    evidence = {
        "sharpness": [one.value for one in measured], "limit": [one.limit for one in measured],
        "share": [one.share for one in measured], "residual": [one.residual for one in measured],
    }  # fmt: skip
    remedy = Remedy(
        "train with half the learning rate, or let it fall with a schedule such as cosine; the edge is no fault as long"
        " as the loss keeps falling",
        slower(0.5), {"learning_rate": 0.5},
    )  # fmt: skip
    yield Finding(
        "edge of stability", words, "the training", "note", evidence, tuple(one.step for one in measured), remedy
    )


def action(case: Case, at: Position) -> tuple[Array | float, float] | None:
    """What the optimizer multiplies gradients of a quadratic by, (weights,) or one number, and the
    limit of that times an eigenvalue; None where that is not known.
    """
    optimizer, limit = case.timeline.problem_at(at.step).optimizer, 2.0
    gain: Array | float = 1.0
    for stage, state in zip(optimizer.stages, at.states, strict=True):
        known = stage.stability(state)
        if known is None or (known.limit != 2.0 and limit != 2.0):  # of two memories nothing is known
            return None
        gain, limit = gain * known.gain, limit if known.limit == 2.0 else known.limit
    return gain, limit


def _gain(case: Case, at: Position) -> Array | float:
    known = action(case, at)
    return 1.0 if known is None else known[0]


def sharpness_at(case: Case, at: Position) -> Sharpness | None:
    """The sharpness before a step; None where the optimizer's limit is not known, or the network
    is too large.
    """
    known = action(case, at)
    count = min(SAMPLES, case.affordable, len(case.data.training.x))
    if known is None or count < min(LEAST, len(case.data.training.x)):
        return None
    samples = case.data.training.thinned(count)
    gain, limit = known
    rate = float(np.max(gain))
    if rate <= 0:
        return None
    # Of D H, as of D^(1/2) H D^(1/2); a common factor is divided out, so that it is in units of H.
    common = case.timeline.problem_at(at.step).optimizer.rate(at.states) or rate
    root = np.sqrt(np.broadcast_to(gain / common, at.parameters.shape))
    product = hessian_product(case.timeline.problem_at(at.step), at, samples)
    found = largest_eigenvalue(product, at.parameters.size, root=root)
    return Sharpness(at.step, found.value, limit / common, found.residual)
