"""Lowering of a network, a loss and an optimizer to what the native engine runs.

A network becomes a list of operations (`Op`), first one for each node, then rewritten by a few
small functions (rewrites.py). Each layer, loss and stage with a kernel has an entry in a table
here, by its exact type: a subclass may compute something else. A layer without a kernel becomes a
call of its Python definition; a loss or a stage without one raises NoKernel, and the engine falls
back to Python.
"""

from __future__ import annotations

from chainrule.engine.base import Problem
from chainrule.engine.lowering.descent import LoweredStage, is_table, lower_descent, without_kernels
from chainrule.engine.lowering.loss import has_kernel as loss_has_kernel
from chainrule.engine.lowering.loss import lower_loss
from chainrule.engine.lowering.missing import NoKernel
from chainrule.engine.lowering.network import has_kernel, is_shared, lower_network
from chainrule.engine.lowering.records import Op, Program


def notes(problem: Problem) -> tuple[str, ...]:
    """Messages for the user: what has no kernel, and what runs instead."""
    shape = problem.network.output_shape
    if not loss_has_kernel(problem.loss, shape):
        name = type(problem.loss).__name__
        if loss_has_kernel(problem.loss, shape[-1:]):
            return (f"{name} at each position has no kernel: training runs by its definition",)
        return (f"{name} has no kernel: everything runs by its definition",)
    graph = problem.network.graph
    slow = [node for node in graph.nodes if not has_kernel(graph, node)]
    shared = sorted({node.owner for node in slow if is_shared(graph, node)})
    without = sorted({node.layer.kind for node in slow if not is_shared(graph, node)})
    messages = [f"{kind} has no kernel: it runs by its definition, among the others" for kind in without]
    messages += [f"{owner} is used several times: it runs by its definition, among the others" for owner in shared]
    stages = sorted(set().union(*(without_kernels(stage) for stage in problem.optimizer.stages)))
    if stages:
        messages.append(f"no kernel for {', '.join(stages)}: the optimizer's step runs by its definition")
    return tuple(messages)


__all__ = [
    "LoweredStage",
    "NoKernel",
    "Op",
    "Program",
    "is_table",
    "lower_descent",
    "lower_loss",
    "lower_network",
    "notes",
]
