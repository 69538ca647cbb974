"""Explanations: the chain rule that made a weight's gradient, and the arithmetic that made its update."""

from chainrule.explain.entry import explain, explain_network, worked_example
from chainrule.explain.explanation import Explanation, explain_done, strongest
from chainrule.explain.text import gradient_line, lines, update_line

__all__ = [
    "Explanation", "explain", "explain_done", "explain_network", "gradient_line", "lines", "strongest", "update_line",
    "worked_example",
]  # fmt: skip
