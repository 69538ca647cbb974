"""Which text a value of a network comes from."""

from __future__ import annotations

from chainrule.layers.graph import Graph, Node


def text_of(graph: Graph, node: Node) -> int | None:
    """Which of the texts that a network embeds, in this order, a node depends on; None unless it
    is exactly one.
    """
    texts = list(dict.fromkeys(one.owner for one in graph.nodes if one.layer.takes_tokens))
    first, waiting, seen = len(graph.input_shapes), [node], {node.name}
    found: set[str] = set()
    while waiting:
        one = waiting.pop()
        found |= {one.owner} if one.layer.takes_tokens else set()
        before = [graph.nodes[k - first] for k in one.inputs if k >= first]
        waiting += [other for other in before if other.name not in seen]
        seen |= {other.name for other in before}
    return texts.index(found.pop()) if len(found) == 1 else None
