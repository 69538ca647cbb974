"""Where a number stopped being finite: the first layer, and the first of its quantities, in the order in which a step
computes them.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from chainrule.arrays import Array
from chainrule.backprop import forward_pass
from chainrule.data import Part
from chainrule.engine import Done, Work
from chainrule.errors import NonFiniteError
from chainrule.layers.base import Context, leaves


def diagnose(work: Work, done: Done, data: Part) -> NonFiniteError | None:
    """The error that names the first quantity that is not finite; None if all are."""
    for layer, quantity, array in _quantities(work, done, data):
        if not np.isfinite(array).all():
            remedy = "try a smaller learning rate, or limit the gradient (clip=1 after the optimizer's name)"
            if quantity == "the input":
                remedy = "correct the data"
            return NonFiniteError(done.before.step, layer, quantity, remedy)
    return None


def _quantities(work: Work, done: Done, data: Part) -> Iterator[tuple[str, str, Array]]:
    """(layer, quantity, array) of all that a step computes, in its order."""
    network, x, y = work.network, data.x[done.rows], data.y[done.rows]
    weight = None if data.weight is None else data.weight[done.rows]
    yield "the network", "the input", x
    outputs: list[tuple[str, Array]] = []
    context = Context(True, work.seed, done.before.step, watch=lambda place, _, y: outputs.append((place, y)))
    with np.errstate(all="ignore"):
        forward = forward_pass(network, done.before.parameters, x, done.before.statistics, context)
        for place, output in outputs:
            yield place, "the output", output
        yield "the loss", "the value", np.array(work.loss.value(forward.prediction, y, weight))
        slopes = work.loss.derivative(forward.prediction, y, weight)
        yield "the loss", "the derivative", slopes
        for place, layer, params, saved, arriving in leaves(network.root, forward.params, forward.saved, slopes):
            yield place, "the derivative that arrives at the output", arriving
            _, gradients = layer.backward(params, saved, arriving, wants_input=False)
            for name, gradient in gradients.items():
                yield place, f"the gradient of {name}", gradient
    for name, array in network.parameters.views(done.gradient):
        yield name.rpartition(".")[0], f"the gradient of {name.rpartition('.')[2]}", array
    for name, array in network.parameters.views(done.after.parameters):
        yield name.rpartition(".")[0], f"the new {name.rpartition('.')[2]}", array
