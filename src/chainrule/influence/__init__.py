"""Influence: the life of a weight."""

from chainrule.influence.life import Life, life

__all__ = ["Life", "life"]
