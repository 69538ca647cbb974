"""How many steps back in time a gradient comes from: whether it vanishes or explodes.

A recurrent layer uses a weight at every time step, and each use has its terms. What a use
contributes has passed through all steps from there to the loss, and each multiplies it by the
derivatives of a cell: where these are less than 1 it vanishes, where they are more it explodes
(Bengio et al., 1994; Pascanu et al., 2013).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from chainrule.arrays import Array
from chainrule.explain.trace import Trace
from chainrule.layers.graph import CompositeCall, Graph
from chainrule.tape import Tape


@dataclass(frozen=True)
class StepsBack:
    """What a gradient owes to the uses of its weight so many time steps before the loss.

    Attributes:
        back: the number of steps; 0 for the step that the loss reads
        product: the sum of the terms of these uses; over all numbers of steps they add up to the
            gradient, without penalties
        share: the share of these uses in the sizes of the products, each that of a sample, from 0
            to 1. Unlike products, sizes do not cancel
        delta: the length of the derivative of the loss with respect to what the weight feeds, the
            mean over the samples that have such a step
    """

    back: int
    product: float
    share: float
    delta: float


def steps_back(trace: Trace, place: int, position: int | None = None) -> list[StepsBack]:
    """How much of a weight's gradient comes from how many steps back, nearest first; nothing for a
    weight that is outside of recurrent layers.

    Args:
        trace: the step
        place: the index of the weight in the flat parameter vector
        position: of the loss at this position of the network's output alone; by default of all of
            the loss or, where it has positions, of the loss at those of `loss_positions`, steps
            being counted from each

    Examples:
        >>> from chainrule import Network
        >>> from chainrule.explain import explain
        >>> network = Network("simple_rnn 4, 1", (6, 2), dtype="float64")
        >>> x, y = np.ones((3, 6, 2)), np.ones((3, 1))
        >>> e = explain(network, network.draw(), x, y, "mse", "sgd", "simple_rnn_1.state.U[0, 1]")
        >>> found = e.steps_back()
        >>> [step.back for step in found], abs(sum(step.product for step in found) - e.gradient) < 1e-15
        ([0, 1, 2, 3, 4, 5], True)
    """
    entry = trace.network.parameters.entry_at(place)
    call = scan_of(trace.network.graph, entry.owner)
    if call is None:
        return []
    index = tuple(int(k) for k in np.unravel_index(place - entry.start, entry.shape))
    positions = loss_positions(trace) if position is None else [position]
    tapes = [_of_position(trace, one) for one in positions] or [trace.tape]
    found = [(*by_step(tape, call, entry.owner, entry.own_name, index), _ends(tape, call)) for tape in tapes]
    products, deltas, ends = (np.concatenate(each) for each in zip(*found, strict=True))
    return _counted(products, deltas, ends)


POSITIONS = 8
"""Of a loss with more positions, steps are counted from so many: each takes a backward pass."""


def loss_positions(trace: Trace) -> list[int]:
    """The positions of the loss from which steps are counted, up to POSITIONS of them, with equal
    distances up to the last one; empty where the loss has no positions.
    """
    if trace.tape.output.ndim != 3:
        return []
    count = trace.tape.output.shape[1]
    return sorted({count - 1 - int(back) for back in np.linspace(0, count, POSITIONS, endpoint=False)})


def scan_of(graph: Graph, owner: str) -> CompositeCall | None:
    """The call with time steps that a layer belongs to, if it belongs to one; the first, if its
    weights are used in several.
    """
    first = graph.numbers[owner] - len(graph.input_shapes)
    within = (call for call in graph.calls if call.start <= first < call.stop)
    return next((call for call in within if times_of(graph, call)), None)


def times_of(graph: Graph, call: CompositeCall) -> list[int]:
    """The time steps of a call, in the order in which it takes them."""
    times = (node.time for node in graph.nodes[call.start : call.stop])
    return list(dict.fromkeys(time for time in times if time is not None))


def _of_position(trace: Trace, position: int) -> Tape:
    """A tape with the derivatives of the loss at this position alone."""
    tape = trace.tape
    alone = Tape(tape.graph, tape.params, tape.inputs, trace.problem.context(trace.step), like=tape)
    slopes = trace.problem.loss.derivative(tape.output, trace.batch.y, trace.batch.weight)
    kept = np.zeros_like(slopes)
    kept[:, position] = slopes[:, position]
    alone.backward(kept, wants_gradients=False)
    return alone


def by_step(tape: Tape, call: CompositeCall, owner: str, name: str, index: tuple[int, ...]) -> tuple[Array, Array]:
    """(samples, steps) the products of a weight's uses, and the lengths of the deltas there."""
    times = times_of(tape.graph, call)
    order = np.argsort(times)  # the place of each time step in the order of the scan
    shape = len(tape.output), len(times)
    products, deltas = np.zeros(shape), np.zeros(shape)
    for node, group in zip(tape.graph.uses[owner], tape.terms(owner, name, index), strict=True):
        step = order[group.at[:, 1] if node.time is None else np.full(len(group.at), node.time)]
        np.add.at(products, (group.at[:, 0], step), group.products)
        lengths = np.square(tape.arrived(node.name)).sum(axis=-1)
        if node.time is None:
            deltas[:, order] += lengths
        else:
            deltas[:, order[node.time]] += lengths
    return products, np.sqrt(deltas)


def _ends(tape: Tape, call: CompositeCall) -> Array:
    """(samples,) the last step of each sample, in the order of the scan, at which the loss depends
    on it; -1 if it does at none.
    """
    graph, times = tape.graph, times_of(tape.graph, call)
    arrives = np.zeros((len(tape.output), len(times)), dtype=bool)
    place = {time: k for k, time in enumerate(times)}
    for node in graph.nodes[call.start : call.stop]:
        if node.time is not None and node.built.parameters:
            arrives[:, place[node.time]] |= (tape.arrived(node.name) != 0).any(axis=-1)
    return np.where(arrives.any(axis=1), len(times) - 1 - arrives[:, ::-1].argmax(axis=1), -1)


def _counted(products: Array, deltas: Array, ends: Array) -> list[StepsBack]:
    """The products and deltas of each number of steps before a sample's end."""
    size, found = np.abs(products).sum(), []
    for back in range(int(ends.max(initial=-1)) + 1):
        samples = np.flatnonzero(ends >= back)
        own = products[samples, ends[samples] - back]
        share = float(np.abs(own).sum() / size) if size else 0.0
        found.append(StepsBack(back, float(own.sum()), share, float(deltas[samples, ends[samples] - back].mean())))
    return found


def binned(steps: Sequence[StepsBack]) -> list[tuple[int, int, StepsBack]]:
    """The same in a few rows, each of twice as many steps as the one before: the first and the last
    number of steps of each, and what they add up to, with the mean delta.
    """
    rows, first = [], 0
    while first < len(steps):
        last = min(max(first, 2 * first - 1), len(steps) - 1)
        part = steps[first : last + 1]
        delta = sum(step.delta for step in part) / len(part)
        total = StepsBack(first, sum(s.product for s in part), sum(s.share for s in part), delta)
        rows.append((first, last, total))
        first = last + 1
    return rows


def factor(steps: Sequence[StepsBack]) -> float | None:
    """By how much the delta is multiplied in a step back, on average, from the first number of
    steps to the last at which it is not 0; None where there are no two of them.
    """
    known = [step for step in steps if step.delta > 0]
    if len(known) < 2:
        return None
    return float((known[-1].delta / known[0].delta) ** (1 / (known[-1].back - known[0].back)))
