"""Explanations: what the chain rule and gradient descent did to one weight."""

from chainrule.explain.summary import Summary, gradient_line, summarize, update_line

__all__ = ["Summary", "gradient_line", "summarize", "update_line"]
