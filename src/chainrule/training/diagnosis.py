"""Find the first quantity that is not finite, in the order in which a step computes them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from chainrule.arrays import Array
from chainrule.backprop import forward_pass
from chainrule.data import Samples
from chainrule.engine import Problem, StepRecord
from chainrule.errors import NonFiniteError

REMEDY = "try a smaller learning rate, or clip the gradient (clip=1 after the optimizer's name)"


def diagnose(problem: Problem, record: StepRecord, data: Samples) -> None:
    """Raise NonFiniteError, which names the first quantity that is not finite, if there is one."""
    for layer, quantity, array in _quantities(problem, record, data):
        if not np.isfinite(array).all():
            remedy = "correct the data" if quantity == "the input" else REMEDY
            raise NonFiniteError(record.before.step, layer, quantity, remedy)


def _quantities(problem: Problem, record: StepRecord, data: Samples) -> Iterator[tuple[str, str, Array]]:
    """(layer, quantity, array) of everything that a step computes, in its order."""
    network, (x, y, weight) = problem.network, problem.gather(data, record.rows, record.before.step)
    yield "the network", "the input", np.asarray(x)
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
                yield node.name, "the derivative with respect to the output", arriving
            for name, gradient in tape.gradients.get(node.name, {}).items():
                yield node.name, f"the gradient of {name}", gradient
    for prefix, vector in (("the gradient of", record.gradient), ("the new", record.after.parameters)):
        for entry in network.parameters.entries:
            yield entry.owner, f"{prefix} {entry.own_name}", vector[entry.place]
