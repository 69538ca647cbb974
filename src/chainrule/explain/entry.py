"""`explain`: for a step of a run, a network without a run, or the worked example."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, overload

import numpy as np

from chainrule.arrays import Array, Vector
from chainrule.data import Data, Dataset, Samples
from chainrule.descent import Optimizer
from chainrule.descent import optimizer as named_optimizer
from chainrule.engine import Position, Problem
from chainrule.engine.numpy import NumpyEngine
from chainrule.errors import require, setting
from chainrule.explain.chain import DEPTH
from chainrule.explain.explanation import Explanation, telling_weight
from chainrule.losses import Loss
from chainrule.losses import loss as named_loss
from chainrule.network import Network
from chainrule.runs import Run


@overload
def explain(
    what: Run | str | Path, weight: str | None = None, /, step: int | None = None, *,
    data: Data | Dataset | None = None, loss: str | Loss | None = None, sample: int | None = None, depth: int = DEPTH,
) -> Explanation: ...  # fmt: skip


@overload
def explain(
    what: Network, parameters: Vector, /, x: Array, y: Array, loss: str | Loss, optimizer: str | Optimizer,
    weight: str, *, sample: int | None = None, depth: int = DEPTH, **also: Any,
) -> Explanation: ...  # fmt: skip


def explain(what: Any, /, *arguments: Any, **options: Any) -> Explanation:
    """Explain why a weight changed as it did.

    `explain(run, weight, step)` explains a step of a recorded run. `explain(network, parameters,
    x, y, loss, optimizer, weight)` explains a network's first step on a batch, without a run.

    Args of a run:
        run: the run, or its folder
        weight: the name of the weight, such as "dense_1.W[3, 2]"; by default the weight of the
            first layer with the largest gradient in this step
        step: the step, counted from 0; by default the last
        data: the run's data, in a form of `Run.own_data`, if no file holds it or it is loaded. Of
            an imported network data of your own, on whose first 32 training samples the first step
            of gradient descent is explained
        loss: of an imported network another loss than its own

    Args of a network:
        network: the network
        parameters: its weights as one flat vector
        x, y: inputs of shape (samples, *input_shape), and targets as the loss takes them
        loss, optimizer: instances, or their names
        weight: as for a run
        penalties, seed: as in `Problem`
        sample_weight: (samples,) weights of the samples in the loss

    Args of both:
        sample: the row in the training set of the sample whose delta to open; by default the one
            with the largest contribution
        depth: how many sums to open on the way to the loss

    Raises:
        RunError: for a step that the run does not have
        SettingError: for an unknown weight or sample; the message lists those that exist

    Examples:
        >>> network = Network("2 tanh, 1", input_shape=1, dtype="float64")
        >>> x, y = np.ones((1, 1)), np.zeros((1, 1))
        >>> e = explain(network, network.draw(), x, y, "mse", "sgd", "dense_1.W[0, 1]")
        >>> abs(sum(term.product for term in e.samples) - e.gradient) < 1e-12
        True
    """
    return (_of_network if isinstance(what, Network) else _of_run)(what, *arguments, **options)


def _of_run(
    run: Run | str | Path,
    weight: str | None = None,
    step: int | None = None,
    *,
    data: Data | Dataset | None = None,
    loss: str | Loss | None = None,
    **shown: Any,
) -> Explanation:
    run = run if isinstance(run, Run) else Run.open(run)
    layout = run.trained.plan.network.parameters
    if weight is not None:
        layout.find(weight)  # an unknown weight fails before the data is loaded
    if run.is_imported:
        return _of_next_step(run, weight, step, data, loss, **shown)
    require(loss is None, "the loss of a recorded step is that of its run; a loss is for an imported network")
    data = run.own_data(data)
    step = run.manifest["steps"] - 1 if step is None else step
    record = run.at(step, data)  # which fails for a step that the run does not have
    problem = run.timeline(data).problem_at(step)
    return Explanation(
        problem,
        record,
        data.training,
        weight or telling_weight(record, layout),
        data=data,
        **shown,
        threshold=run.trained.threshold,
    )


MOST_SAMPLES = 32
"""The samples of the mini-batch with which an imported network is explained."""


def _of_next_step(
    run: Run, weight: str | None, step: int | None, data: Data | Dataset | None, loss: str | Loss | None, **shown: Any
) -> Explanation:
    """The first step that gradient descent would take from an imported network's weights, on the
    first samples of the data.
    """
    require(step is None, f"{run.folder}: it was imported, and has no steps; leave {setting('step')} out")
    data, trained = run.own_data(data), run.trained
    chosen = trained.plan.loss if loss is None else named_loss(loss)
    samples, layout = data.training, trained.plan.network.parameters
    count = min(len(samples.x), MOST_SAMPLES)
    problem = replace(trained.plan.problem(count), loss=chosen)
    states = problem.optimizer.start(trained.parameters, layout)
    position = Position(0, trained.parameters, trained.statistics, states)
    record = NumpyEngine(problem).step(position, samples.take(np.arange(count)), np.arange(count))
    weight = weight or telling_weight(record, layout)
    return Explanation(problem, record, samples, weight, data=data, **shown, threshold=trained.threshold)


def _of_network(
    network: Network, parameters: Vector, x: Array, y: Array, loss: str | Loss, optimizer: str | Optimizer,
    weight: str, *, sample: int | None = None, depth: int = DEPTH, sample_weight: Array | None = None, **also: Any,
) -> Explanation:  # fmt: skip
    samples = Samples(np.asarray(x), np.asarray(y), None if sample_weight is None else np.asarray(sample_weight))
    count, targets = len(samples.x), len(samples.y)
    require(count == targets, f"there are {count} samples but {targets} targets; each sample needs one")
    problem = Problem(network, named_loss(loss), named_optimizer(optimizer), **also)
    parameters = np.asarray(parameters, dtype=network.dtype)
    states = problem.optimizer.start(parameters, network.parameters)
    position = Position(0, parameters, network.start_statistics(), states)
    record = NumpyEngine(problem).step(position, samples, np.arange(count))
    return Explanation(problem, record, samples, weight, sample=sample, depth=depth)


def worked_example(weight: str = "dense_1.W[0, 0]") -> Explanation:
    """A well-known worked example (Mazur, 2015, "A step by step backpropagation example").

    Two inputs, two hidden units and two output units, all sigmoid; half the sum of squares;
    learning rate 0.5. Its weights w1 to w8 are dense_1.W[0, 0], [1, 0], [0, 1], [1, 1] and
    dense_2.W[0, 0], [1, 0], [0, 1], [1, 1].
    """
    network = Network("2 sigmoid, 2 sigmoid", input_shape=2, dtype="float64")
    first, second = [0.15, 0.25, 0.20, 0.30, 0.35, 0.35], [0.40, 0.50, 0.45, 0.55, 0.60, 0.60]
    x, y = np.array([[0.05, 0.10]]), np.array([[0.01, 0.99]])
    return explain(network, np.array([*first, *second]), x, y, "half_squares", "sgd 0.5", weight)
