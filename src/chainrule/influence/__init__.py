"""Influence: the life of a weight, and which training rows taught a network what it predicts."""

from chainrule.influence.lives import Life, life
from chainrule.influence.teaching import Teachers, teachers

__all__ = ["Life", "Teachers", "life", "teachers"]
