"""Gradient descent: what is done with derivatives. Stages, the optimizers made of them, and schedules of the learning
rate.
"""

from chainrule.descent import adaptive, optimizers, quasi_newton, schedules, stages
from chainrule.descent.optimizers import Optimizer, chain, optimizer
from chainrule.descent.stages import Point, Stage, State

__all__ = [
    "Optimizer",
    "Point",
    "Stage",
    "State",
    "adaptive",
    "chain",
    "optimizer",
    "optimizers",
    "quasi_newton",
    "schedules",
    "stages",
]
