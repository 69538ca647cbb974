"""Where a number stopped being finite: the first layer, and the first of its quantities, in the order in which a step
computes them.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from chainrule.arrays import Array
from chainrule.backprop import forward_pass
from chainrule.data import Samples
from chainrule.engine import Problem, StepRecord
from chainrule.errors import NonFiniteError


def diagnose(problem: Problem, record: StepRecord, data: Samples) -> NonFiniteError | None:
    """The error that names the first quantity that is not finite; None if all are."""
    for layer, quantity, array in _quantities(problem, record, data):
        if not np.isfinite(array).all():
            remedy = "try a smaller learning rate, or limit the gradient (clip=1 after the optimizer's name)"
            if quantity == "the input":
                remedy = "correct the data"
            return NonFiniteError(record.before.step, layer, quantity, remedy)
    return None


def _quantities(problem: Problem, record: StepRecord, data: Samples) -> Iterator[tuple[str, str, Array]]:
    """(layer, quantity, array) of all that a step computes, in its order."""
    network, (x, y, weight) = problem.network, data.take(record.rows)
    yield "the network", "the input", x
    context = problem.context(record.before.step)
    with np.errstate(all="ignore"):
        tape = forward_pass(network, record.before.parameters, x, record.before.statistics, context)
        for node, output in zip(network.nodes, tape.values[1:], strict=True):
            yield node.name, "the output", output
        yield "the loss", "the value", np.array(problem.loss.value(tape.output, y, weight))
        slopes = problem.loss.derivative(tape.output, y, weight)
        yield "the loss", "the derivative", slopes
        tape.backward(slopes)
        for node, arriving in reversed(list(zip(network.nodes, tape.arriving[1:], strict=True))):
            if arriving is not None:
                yield node.name, "the derivative that arrives at the output", arriving
            for name, gradient in tape.gradients.get(node.name, {}).items():
                yield node.name, f"the gradient of {name}", gradient
    for what, vector in (("the gradient of", record.gradient), ("the new", record.after.parameters)):
        for entry in network.parameters.entries:
            yield entry.owner, f"{what} {entry.own_name}", vector[entry.place]
