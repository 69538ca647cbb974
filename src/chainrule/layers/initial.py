"""Which distribution suits weights for which none is given: that of the activation after them."""

from __future__ import annotations

from dataclasses import replace

from chainrule import distributions
from chainrule.layers.graph import Graph
from chainrule.layers.operators import Add


def with_distributions(graph: Graph) -> Graph:
    """The same graph, in which weights without a distribution get the one that suits the activation
    after them.
    """
    nodes = []
    for node in graph.nodes:
        initial = None
        if any(p.distribution is None for p in node.built.parameters.values()):
            initial = _initial(graph, graph.numbers[node.name])
        if initial is not None:
            chosen = distributions.of(initial)
            parameters = {
                name: replace(p, distribution=chosen) if p.distribution is None else p
                for name, p in node.built.parameters.items()
            }
            node = replace(node, built=replace(node.built, parameters=parameters))
        nodes.append(node)
    return replace(graph, nodes=tuple(nodes))


def _initial(graph: Graph, number: int) -> str | None:
    """The initializer suggested by the first layer after this value that changes its scale."""
    while True:
        readers = graph.readers[number]
        ways = [node for node, _ in readers if not isinstance(node.layer, Add)] or [node for node, _ in readers[:1]]
        if len(ways) != 1:
            return None
        if not ways[0].layer.passes_scale:
            return ways[0].layer.initial
        number = graph.numbers[ways[0].name]
