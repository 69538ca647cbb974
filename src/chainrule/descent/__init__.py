"""Gradient descent: stages that transform the gradient, the optimizers built from them, and
learning-rate schedules.
"""

from chainrule.descent import adaptive, linear, optimizers, quasi_newton, schedules, stages
from chainrule.descent.optimizers import Optimizer, chain, optimizer
from chainrule.descent.stages import Point, Stage, State

__all__ = [
    "Optimizer", "Point", "Stage", "State", "adaptive", "chain", "linear", "optimizer", "optimizers", "quasi_newton",
    "schedules", "stages",
]  # fmt: skip
