"""Gradient descent: what is done with derivatives. Stages, the optimizers made of them, and schedules of the learning
rate.
"""

from chainrule.descent import optimizers, quasi_newton, schedules, stages
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
        stages.ScaleByAdagrad,
        stages.ScaleByAdadelta,
        stages.ScaleByRMS,
        stages.ScaleByRprop,
    ),
    *(
        stages.ScaleByAdam,
        stages.ScaleByAdamax,
        stages.ScaleByLion,
        stages.TrustRatio,
        stages.Orthogonalize,
        stages.ForMatrices,
    ),
    *(quasi_newton.ScaleByLBFGS, quasi_newton.StrongWolfe),
)
"""Everything that an optimizer is made of. A new stage is added here."""

__all__ = ["KINDS", "Optimizer", "Point", "Stage", "State", "chain", "optimizer", "optimizers", "schedules", "stages"]
