"""The chain rule of one weight in the textbook's notation, for the layers that lie between it and the loss."""

from __future__ import annotations

from collections.abc import Sequence

from chainrule.explain.trace import Trace
from chainrule.layers.graph import Node


def rules(trace: Trace, weight: str) -> list[tuple[str, str]]:
    """The weight's gradient, then the rule of each layer on the way to the loss, then the loss's own derivative: where
    each belongs, and the rule in LaTeX.
    """
    array, _, index = weight.partition("[")
    owner, _, name = array.rpartition(".")
    layer = trace.network.graph.node(owner).layer
    here = zip(("i", "j") if "," in index else ("j",), index.rstrip("]").split(","), strict=False)
    numbers = r",\; ".join(f"{letter} = {number.strip()}" for letter, number in here)
    found = [(f"{weight}", rf"{layer.formulas.parameters[name]} \qquad ({numbers})")]
    found += [(node.name, node.layer.formulas.input) for node in _on_the_way(trace, owner)]
    value, slope = trace.problem.loss.formula
    begin = rf"\frac{{\partial L}}{{\partial y_n}} = \frac{{w_n}}{{N}} \cdot \Big({slope}\Big)"
    return [*found, ("loss", rf"L = \frac{{1}}{{N}} \sum_n w_n \ell_n, \quad \ell_n = {value}, \quad {begin}")]


def latex(found: Sequence[tuple[str, str]]) -> str:
    r"""These rules as an `aligned` block."""
    lines = [rf"\text{{{_text(place)}:}} \quad & {formula}" for place, formula in found]
    return "\\begin{aligned}\n" + " \\\\\n".join(lines) + "\n\\end{aligned}"


def _on_the_way(trace: Trace, owner: str) -> list[Node]:
    """The nodes that what comes out of this layer passes through, in order."""
    graph = trace.network.graph
    reached = {graph.numbers[node.name] for node in graph.nodes if node.owner == owner}
    found = []
    for node in graph.nodes:
        if reached & set(node.inputs):
            reached.add(graph.numbers[node.name])
            found.append(node)
    return found


def _text(place: str) -> str:
    return place.replace("_", r"\_")
