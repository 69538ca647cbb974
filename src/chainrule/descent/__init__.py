"""Gradient descent: what is done with derivatives. Stages, the optimizers made of them, and schedules of the learning
rate.
"""

from chainrule.descent import adaptive, optimizers, quasi_newton, schedules, stages
from chainrule.descent.optimizers import Optimizer, chain, optimizer
from chainrule.descent.stages import Point, Stage, State

KINDS: tuple[type, ...] = (
    Optimizer,
    *schedules.KINDS,
    *(
        stages.LearningRate,
        stages.Plateau,
        stages.WeightDecay,
        stages.ClipValue,
        stages.ClipNorm,
        stages.ClipGlobalNorm,
        stages.Accumulate,
    ),
    *(
        stages.Average,
        stages.Momentum,
        adaptive.ScaleByAdagrad,
        adaptive.ScaleByAdadelta,
        adaptive.ScaleByRMS,
        adaptive.ScaleByRprop,
    ),
    *(
        adaptive.ScaleByAdam,
        adaptive.ScaleByAdamax,
        adaptive.ScaleByLion,
        adaptive.TrustRatio,
        adaptive.Orthogonalize,
        adaptive.ForMatrices,
    ),
    *(quasi_newton.ScaleByLBFGS, quasi_newton.StrongWolfe),
)
"""Everything that an optimizer is made of. A new stage is added here."""

__all__ = [
    "KINDS",
    "Optimizer",
    "Point",
    "Stage",
    "State",
    "adaptive",
    "chain",
    "optimizer",
    "optimizers",
    "schedules",
    "stages",
]
