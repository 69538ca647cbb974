"""Lowering of a network, a loss and an optimizer to the native engine's operations.

Each layer, loss and stage with a kernel has an entry in a table here, by its exact type: a
subclass may compute something else. A layer without a kernel becomes a call of its Python
definition; a loss or a stage without one raises NoKernel, and the engine falls back to Python.
"""

from __future__ import annotations

from chainrule.engine.base import Problem
from chainrule.engine.lowering.descent import LoweredStage, is_table, lower_descent, without_kernels
from chainrule.engine.lowering.loss import LOSSES, lower_loss
from chainrule.engine.lowering.missing import NoKernel
from chainrule.engine.lowering.network import Lowering, has_kernel


def notes(problem: Problem) -> tuple[str, ...]:
    """Messages for the user: what has no kernel, and what runs instead."""
    if type(problem.loss) not in LOSSES:
        return (f"{type(problem.loss).__name__} has no kernel: everything runs by its definition",)
    lowering = Lowering(None, problem)
    slow = [node for node in problem.network.nodes if not has_kernel(lowering, node)]
    shared = sorted({node.owner for node in slow if lowering.is_shared(node)})
    without = sorted({node.layer.kind for node in slow if not lowering.is_shared(node)})
    messages = [f"{kind} has no kernel: it runs by its definition, among the others" for kind in without]
    messages += [f"{owner} is used several times: it runs by its definition, among the others" for owner in shared]
    stages = sorted(set().union(*(without_kernels(stage) for stage in problem.optimizer.stages)))
    if stages:
        messages.append(f"no kernel for {', '.join(stages)}: the optimizer's step runs by its definition")
    return tuple(messages)


__all__ = ["LoweredStage", "Lowering", "NoKernel", "is_table", "lower_descent", "lower_loss", "notes"]
