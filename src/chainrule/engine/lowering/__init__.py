"""A network, its loss and its optimizer as the native engine takes them: a list of operations on numbered values.

Each layer, loss and stage that has a kernel is lowered by an entry in a table here, which must know its very type: what
derives from it may mean something else. A layer without a kernel becomes a call of its own definition; a loss or a
stage without one raises NoKernel, and the engine finds another way.
"""

from __future__ import annotations

from chainrule.engine.base import Problem
from chainrule.engine.lowering.descent import LoweredStage, is_table, lower_descent, native_schedule, without_kernels
from chainrule.engine.lowering.loss import LOSSES, lower_loss
from chainrule.engine.lowering.missing import NoKernel
from chainrule.engine.lowering.network import Lowering, has_kernel


def notes(problem: Problem) -> tuple[str, ...]:
    """What of this has no kernel, and what is done instead, for people."""
    to = Lowering(None, problem)
    slow = [node for node in problem.network.nodes if not has_kernel(to, node)]
    shared = sorted({node.owner for node in slow if to.is_shared(node)})
    without = sorted({node.layer.kind for node in slow if not to.is_shared(node)})
    said = [f"{kind} has no kernel: it runs by its definition, among the others" for kind in without]
    said += [f"{owner} is used several times: it runs by its definition, among the others" for owner in shared]
    if type(problem.loss) not in LOSSES:
        return (f"{type(problem.loss).__name__} has no kernel: everything runs by its definition",)
    stages = sorted(set().union(*(without_kernels(stage) for stage in problem.optimizer.stages)))
    if stages:
        said.append(f"{', '.join(stages)} without a kernel: the optimizer's step runs by its definition")
    return tuple(said)


__all__ = [
    "LoweredStage",
    "Lowering",
    "NoKernel",
    "is_table",
    "lower_descent",
    "lower_loss",
    "native_schedule",
    "notes",
]
