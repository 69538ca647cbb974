"""`explain`: of a run's step, of a network without any run, or of the published worked example."""

from __future__ import annotations

from pathlib import Path
from typing import Any, overload

import numpy as np

from chainrule.arrays import Array, Vector
from chainrule.data import Dataset, Samples
from chainrule.descent import Optimizer
from chainrule.descent import optimizer as named_optimizer
from chainrule.engine import Position, Problem
from chainrule.engine.numpy import NumpyEngine
from chainrule.errors import SettingError
from chainrule.explain.chain import DEPTH
from chainrule.explain.explanation import Explanation
from chainrule.losses import Loss
from chainrule.losses import loss as named_loss
from chainrule.network import Network
from chainrule.runs import Run


@overload
def explain(
    what: Run | str | Path,
    weight: str,
    /,
    step: int | None = None,
    *,
    data: Dataset | None = None,
    sample: int | None = None,
    depth: int = DEPTH,
) -> Explanation: ...


@overload
def explain(
    what: Network,
    parameters: Vector,
    /,
    x: Array,
    y: Array,
    loss: str | Loss,
    optimizer: str | Optimizer,
    weight: str,
    *,
    sample: int | None = None,
    depth: int = DEPTH,
    **also: Any,
) -> Explanation: ...


def explain(what: Any, /, *arguments: Any, **options: Any) -> Explanation:
    """Why a weight changed as it did: `explain(run, weight, step)` of a recorded run, or `explain(network, parameters,
    x, y, loss, optimizer, weight)` of a network's first step on a batch, without any run.

    Of a run, which may be its folder: `weight` is a name such as "dense_1.W[3, 2]"; `step` counts from 0 and is the
    last by default; `data` is the run's data, if it is at hand already. Of a network: `parameters` are its weights, one
    flat vector; `x` and `y` the batch, of shape (samples, *input_shape) and what the loss takes; `loss` and `optimizer`
    themselves or their names; and there may be `penalties`, `seed`, and `sample_weight` of shape (samples,).

    Of both: `sample` is which sample's delta to open, by its number in the training part, and by default the one that
    counts most; `depth` how many sums to open on the way to the loss.

    Raises:
        RunError: for a step that the run does not have
        SettingError: for a weight or a sample that there isn't, with what there is

    Examples:
        >>> network = Network("2 tanh, 1", input_shape=1, dtype="float64")
        >>> x, y = np.ones((1, 1)), np.zeros((1, 1))
        >>> e = explain(network, network.draw(), x, y, "mse", "sgd", "dense_1.W[0, 1]")
        >>> abs(sum(term.product for term in e.samples) - e.gradient) < 1e-12
        True
    """
    return (_of_network if isinstance(what, Network) else _of_run)(what, *arguments, **options)


def _of_run(
    run: Run | str | Path, weight: str, step: int | None = None, *, data: Dataset | None = None, **shown: Any
) -> Explanation:
    run = run if isinstance(run, Run) else Run.open(run)
    run.trained.plan.network.parameters.find(weight)  # what there isn't should be known before anything is read
    data = run.load_data() if data is None else data
    step = run.manifest["steps"] - 1 if step is None else step
    record = run.at(step, data)
    problem = run.timeline(data).problem_at(step)
    return Explanation(problem, record, data.training, weight, data=data, **shown)


def _of_network(
    network: Network,
    parameters: Vector,
    x: Array,
    y: Array,
    loss: str | Loss,
    optimizer: str | Optimizer,
    weight: str,
    *,
    sample: int | None = None,
    depth: int = DEPTH,
    sample_weight: Array | None = None,
    **also: Any,
) -> Explanation:
    part = Samples(np.asarray(x), np.asarray(y), None if sample_weight is None else np.asarray(sample_weight))
    if len(part.x) != len(part.y):
        raise SettingError(f"there are {len(part.x)} samples but {len(part.y)} targets; there must be one for each")
    made = named_optimizer(optimizer)
    problem = Problem(network, named_loss(loss), made, **also)
    parameters = np.asarray(parameters, dtype=network.dtype)
    position = Position(0, parameters, network.start_statistics(), made.start(parameters, network.parameters))
    record = NumpyEngine(problem).step(position, part, np.arange(len(part.x)))
    return Explanation(problem, record, part, weight, sample=sample, depth=depth)


def worked_example(weight: str = "dense_1.W[0, 0]") -> Explanation:
    """A published worked example (Mazur, 2015, "A step by step backpropagation example"), which many have learned from.

    Two inputs, two hidden and two output units, all sigmoids; half the sum of squares; learning rate 0.5. Its weights
    w1 to w8 are here dense_1.W[0, 0], [1, 0], [0, 1], [1, 1] and dense_2.W[0, 0], [1, 0], [0, 1], [1, 1].
    """
    network = Network("2 sigmoid, 2 sigmoid", input_shape=2, dtype="float64")
    first, second = [0.15, 0.25, 0.20, 0.30, 0.35, 0.35], [0.40, 0.50, 0.45, 0.55, 0.60, 0.60]
    x, y = np.array([[0.05, 0.10]]), np.array([[0.01, 0.99]])
    return explain(network, np.array([*first, *second]), x, y, "half_squares", "sgd 0.5", weight)
