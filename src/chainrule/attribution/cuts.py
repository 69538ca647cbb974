"""How the derivative of an output with respect to an input comes about, layer by layer.

A layer that everything from the input passes through cuts the network in two. By the chain rule the
derivative is a sum over the layer's units: the derivative of the unit with respect to the input,
times the derivative of the output with respect to the unit. Backpropagation has the second; the
first is carried forward from the input, term by term (forward accumulation: Griewank and Walther,
2008, "Evaluating derivatives", chapter 3).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from chainrule.arrays import Array, Shape
from chainrule.tape import Tape, Unit

MOST = 20_000
"""From how many units derivatives are carried forward, at most; the layers beyond are left out."""
SAME = 1e-9
"""Two layers whose units contribute the same, up to this share, are listed as one, the first."""


@dataclass(frozen=True)
class Cut:
    """A layer through which everything from an input passes.

    Attributes:
        node: its node
        units: its units with a contribution, the strongest first
        from_input: (units,) the derivative of each unit with respect to the input
        to_output: (units,) the derivative of the output with respect to each unit
    """

    node: str
    units: tuple[Unit, ...]
    from_input: Array
    to_output: Array

    @property
    def products(self) -> Array:
        """(units,) what comes through each; the sum is the derivative of the output with respect to
        the input.
        """
        return self.from_input * self.to_output


def cuts(tape: Tape, number: int, index: Shape) -> tuple[Cut, ...]:
    """The layers through which everything from an entry passes, from the input on; of those in a
    row with the same contributions the first, and none with a single unit.

    Args:
        tape: a run on one sample, with the derivatives of the output
        number: the value that the entry is of, an input or what an embedding gives
        index: the entry of it, without the sample
    """
    found = list[Cut]()
    for k, slopes in _passed(tape, number, index):
        arriving = tape.arriving[k]
        if k < len(tape.graph.input_shapes) or arriving is None:
            continue
        products = slopes * arriving[0]
        order = np.argsort(-np.abs(products), axis=None, kind="stable")[: np.count_nonzero(products)]
        if len(order) < 2 or (found and _is_same(products.ravel()[order], found[-1].products)):
            continue
        node = tape.graph.nodes[k - len(tape.graph.input_shapes)]
        at = np.stack(np.unravel_index(order, products.shape), axis=-1).tolist()
        units = tuple(Unit(node.name, (0, *place), node.time) for place in at)
        found.append(Cut(node.name, units, slopes.ravel()[order], arriving[0].ravel()[order]))
    return tuple(found)


def _is_same(products: Array, others: Array) -> bool:
    size = SAME * float(np.abs(products).max())
    return len(products) == len(others) and bool(np.abs(np.sort(products) - np.sort(others)).max() <= size)


def _passed(tape: Tape, number: int, index: Shape) -> list[tuple[int, Array]]:
    """The values that everything from the entry passes through, by their numbers, each with its
    derivatives with respect to the entry.
    """
    graph, carried = tape.graph, 0
    slopes = {number: np.zeros(tape.values[number].shape[1:])}
    slopes[number][index] = 1.0
    passed, farthest = list[tuple[int, Array]](), number  # the farthest value that one before reads
    for k in range(number, len(tape.values)):
        own = slopes.pop(k, None)
        if own is None:
            continue
        if farthest <= k:
            passed.append((k, own))
        at = np.argwhere(own)
        carried += len(at)
        if carried > MOST:
            break
        for place in map(tuple, at.tolist()):
            for terms in tape.feeds_of_value(k, (0, *place)):
                if not np.any(terms.local):
                    continue
                reader = graph.numbers[terms.node]
                into = slopes.setdefault(reader, np.zeros(tape.values[reader].shape[1:]))
                np.add.at(into, tuple(terms.at[:, 1:].T), terms.local * own[place])
                farthest = max(farthest, reader)
    return passed
