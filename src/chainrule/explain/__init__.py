"""Explanations: the chain rule behind a weight's gradient, and the arithmetic behind its update."""

from chainrule.explain.entry import explain, worked_example
from chainrule.explain.explanation import Explanation, telling_weight
from chainrule.explain.text import gradient_line, lines, update_line

__all__ = ["Explanation", "explain", "gradient_line", "lines", "telling_weight", "update_line", "worked_example"]
