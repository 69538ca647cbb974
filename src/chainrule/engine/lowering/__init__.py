"""Lowering of a network, a loss and an optimizer to what the native engine runs.

A network becomes a list of operations (`Op`), first one for each node, then rewritten by a few
small functions (rewrites.py). Each layer, loss and stage with a kernel has an entry in a table
here, by its exact type: a subclass may compute something else. A layer without a kernel becomes a
call of its Python definition; a loss or a stage without one raises NoKernel, and the engine falls
back to Python.
"""

from __future__ import annotations

from chainrule.engine.base import Problem
from chainrule.engine.lowering.continued import lower_continued
from chainrule.engine.lowering.descent import LoweredStage, is_table, lower_descent, without_kernels
from chainrule.engine.lowering.loss import LOSSES, lower_loss
from chainrule.engine.lowering.missing import NoKernel
from chainrule.engine.lowering.network import Target, is_shared, lower_network, pieces
from chainrule.engine.lowering.records import Op, Program
from chainrule.layers import Graph, Scan


def notes(problem: Problem) -> tuple[str, ...]:
    """Messages for the user: what has no kernel, and what runs instead."""
    if type(problem.loss) not in LOSSES:
        return (f"{type(problem.loss).__name__} has no kernel: everything runs by its definition",)
    kinds, shared = without_operation(problem.network.graph)
    messages = [f"{kind} has no kernel: it runs by its definition, among the others" for kind in kinds]
    messages += [f"{owner} is used several times: it runs by its definition, among the others" for owner in shared]
    stages = sorted(set().union(*(without_kernels(stage) for stage in problem.optimizer.stages)))
    if stages:
        messages.append(f"no kernel for {', '.join(stages)}: the optimizer's step runs by its definition")
    return tuple(messages)


def without_operation(graph: Graph, target: Target | None = None) -> tuple[list[str], list[str]]:
    """The kinds of layers, and of cells, that an engine has no operation for; and the names of
    layers that it can't compute because they are used several times.
    """
    without = [piece for piece in pieces(graph) if not piece.has_kernel(graph, target)]
    slow = [piece.nodes[0] for piece in without if piece.call is None]
    scans = sorted({piece.layer.cell.kind for piece in without if isinstance(piece.layer, Scan)})
    shared = sorted({node.owner for node in slow if is_shared(graph, node)})
    return sorted({node.layer.kind for node in slow if node.owner not in shared}) + scans, shared


__all__ = [
    "LoweredStage",
    "NoKernel",
    "Op",
    "Program",
    "is_table",
    "lower_continued",
    "lower_descent",
    "lower_loss",
    "lower_network",
    "notes",
    "without_operation",
]
