"""Influence: which training rows taught a network what it predicts."""

from chainrule.influence.teaching import Teachers, teachers

__all__ = ["Teachers", "teachers"]
