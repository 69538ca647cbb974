"""The chain rule of one weight in textbook notation, for the layers between it and the loss."""

from __future__ import annotations

from collections.abc import Sequence

from chainrule.explain.trace import Trace
from chainrule.layers.graph import Node


def rules(trace: Trace, weight: str) -> list[tuple[str, str]]:
    """The rules in LaTeX, each with its owner: the gradient of the weight, the rule of each layer
    between it and the loss, and the derivative of the loss.
    """
    array, _, index = weight.partition("[")
    owner, _, name = array.rpartition(".")
    layer = trace.network.graph.node(owner).layer
    places = index.rstrip("]").split(",")
    indices = zip(layer.letters(name, len(places)), places, strict=True)
    numbers = r",\; ".join(f"{letter} = {number.strip()}" for letter, number in indices)
    gradient = rf"{layer.formulas.parameters[name]} \qquad ({numbers})"
    between = {
        node.name if node.time is None else f"{node.owner} at each time step": node.layer.formulas.input
        for node in _downstream(trace, owner)
    }
    value, slope = trace.problem.loss.formula
    at, sums = ("n", r"\sum_n") if trace.tape.output.ndim < 3 else ("{np}", r"\sum_n \sum_p")  # p is the position
    derivative = rf"\frac{{\partial L}}{{\partial y_{at}}} = \frac{{w_{at}}}{{N}} \cdot \Big({slope}\Big)"
    loss = rf"L = \frac{{1}}{{N}} {sums} w_{at} \ell_{at}, \quad \ell_{at} = {value}, \quad {derivative}"
    return [(weight, gradient), *between.items(), ("loss", loss)]


def latex(rules: Sequence[tuple[str, str]]) -> str:
    r"""The rules as an `aligned` block."""
    escaped = [(owner.replace("_", r"\_"), formula) for owner, formula in rules]
    lines = [rf"\text{{{owner}:}} \quad & {formula}" for owner, formula in escaped]
    return "\\begin{aligned}\n" + " \\\\\n".join(lines) + "\n\\end{aligned}"


def _downstream(trace: Trace, owner: str) -> list[Node]:
    """The nodes that depend on this layer's output, in order."""
    graph = trace.network.graph
    reached = {graph.numbers[node.name] for node in graph.nodes if node.owner == owner}
    nodes = []
    for node in graph.nodes:
        if reached & set(node.inputs):
            reached.add(graph.numbers[node.name])
            nodes.append(node)
    return nodes
