"""Of each sample of a step, its part of a gradient: the terms of the chain rule, added up by the
sample for which the weight is used.
"""

from __future__ import annotations

import numpy as np

from chainrule.arrays import Array, Vector
from chainrule.engine import Problem, StepRecord
from chainrule.tape import Tape
from chainrule.training import Timeline


class SampleTerms:
    """Computes the parts of the samples by the definitions of the layers, in the precision of
    training, which is also what their sum is rounded to.

    Args:
        timeline: the steps
        place: the place of the weight in the flat vector
    """

    def __init__(self, timeline: Timeline, place: int) -> None:
        network = timeline.plans[0][1].network
        self._timeline, self._network = timeline, network
        entry = network.parameters.entry_at(place)
        self._owner, self._name = entry.owner, entry.own_name
        self._index = tuple(int(k) for k in np.unravel_index(place - entry.start, entry.shape))
        uses = [k for k, node in enumerate(network.nodes) if node.owner == entry.owner]
        self._first = min(uses)

    def of_weight(self, problem: Problem, record: StepRecord) -> Array:
        """(rows,) each sample's part of the weight's gradient, in the order of the mini-batch."""
        tape = self._run(problem, record, self._first)
        found = np.zeros(len(record.rows))
        for group in tape.terms(self._owner, self._name, self._index):
            products = group.upstream.astype(np.float64) * group.local
            found += np.bincount(group.at[:, 0], products, len(found))
        return found

    def along(self, problem: Problem, record: StepRecord, direction: Vector) -> Array:
        """(rows,) the product of each sample's part of the whole gradient with a direction."""
        tape = self._run(problem, record, None)
        return tape.sample_products(self._network.params(direction.astype(self._network.dtype)))

    def _run(self, problem: Problem, record: StepRecord, until: int | None) -> Tape:
        """The step's forward and backward pass, up to what is needed."""
        batch, step = problem.gather(self._timeline.samples, record.rows, record.before.step), record.before.step
        params = self._network.params(record.before.parameters, record.before.statistics)
        tape = Tape(self._network.graph, params, [self._network.fit_input(batch.x)], problem.context(step))
        dy = problem.loss.derivative(tape.output, batch.y, batch.weight)
        tape.backward(dy, wants_gradients=False, until=until)
        return tape
