"""The layers, losses and optimizers that engines are compared on, each with its definition."""

import numpy as np

from chainrule import layers, losses
from chainrule.descent import adaptive, optimizers, schedules, stages
from chainrule.engine import Position
from chainrule.engine.lowering.loss import LOSSES
from chainrule.engine.lowering.network import LAYERS
from chainrule.layers import Branches, Dense, Dropout, Flatten, Reshape, Residual, Sequential

CLOSE = {"float32": 1e-5, "float64": 1e-12}
"""How close numbers are, relative to the largest of an array."""


def near(actual, expected, dtype, times=1):
    scale = max(float(np.max(np.abs(expected), initial=0)), 1e-3)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=times * CLOSE[dtype] * scale)


def normal(seed, *shape, dtype="float64"):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


CLASSES = {
    "cross entropy": lambda k: losses.CategoricalCrossEntropy(),
    "smoothed": lambda k: losses.CategoricalCrossEntropy(0.1, tuple(range(1, k + 1))),
    "focal": lambda k: losses.Focal(2.0, tuple(range(1, k + 1))),
    "focal 0": lambda k: losses.Focal(0.0),
    "hinge": lambda k: losses.Hinge(),
    "squared hinge": lambda k: losses.SquaredHinge(),
    "kullback leibler": lambda k: losses.KullbackLeibler(),
    "ordinal": lambda k: losses.Ordinal(),
    "ordinal, weighted": lambda k: losses.Ordinal(tuple(range(1, k + 1))),
}
QUANTITIES = {
    **{
        kind.__name__: kind
        for kind in LOSSES
        if not issubclass(kind, losses.CategoricalCrossEntropy | losses.Focal | losses.Hinge | losses.KullbackLeibler)
        and kind is not losses.Ordinal
    },
    "one quantile": lambda: losses.Quantiles((0.3,)),
    "four quantiles": lambda: losses.Quantiles((0.1, 0.2, 0.3, 0.9)),
    "gaussian without a floor": lambda: losses.GaussianNegativeLogLikelihood(0.0),
    "gaussian with a high floor": lambda: losses.GaussianNegativeLogLikelihood(0.5),
}

CHAINS = [
    *(name for name in optimizers.NAMED if name not in ("muon", "lbfgs", "lamb")),
    "radam 0.01 0.5 0.6",
    "adam 0.01 schedule=one-cycle warmup=3 accumulate=3 average=0.9",
    optimizers.sgd(0.5).first(stages.ClipValue(0.01)).then(stages.Plateau()),
]
NORMS = ["sgd clip=0.05", "lamb", "adam clip=0.1 accumulate=2", optimizers.momentum(0.1).first(stages.ClipNorm(0.05))]


MATRICES = [
    "muon",
    "muon accumulate=2 clip=0.1 average=0.9",
    optimizers.chain(
        adaptive.ForMatrices(
            (stages.WeightDecay(0.1), stages.ClipGlobalNorm(0.05), adaptive.Orthogonalize(iterations=2)),
            (stages.ClipNorm(0.02), adaptive.ForMatrices((stages.Momentum(),), (adaptive.ScaleByLion(),))),
        ),
        adaptive.Orthogonalize(),
        stages.LearningRate(schedules.Cosine(0.1, 5)),
    ),
]
CURVED = ["lbfgs", optimizers.lbfgs(memory=2, trials=3), optimizers.lbfgs().first(stages.Momentum())]


def all_stages(chain):
    for stage in chain:
        yield stage
        if isinstance(stage, adaptive.ForMatrices):
            yield from all_stages([*stage.matrices, *stage.rest])


SCHEDULES = [
    schedules.Constant(0.3),
    schedules.Step(0.3, 7, 0.5),
    schedules.Exponential(0.3, 0.01, 50),
    schedules.Cosine(0.3, 40, 0.1),
    schedules.Cosine(0.3, 10, 0.1, restarts=True, stretch=1.5),
    schedules.Polynomial(0.3, 40, 2.0, 0.1),
    schedules.OneCycle(0.3, 60),
    schedules.WarmUp(5, schedules.Cosine(0.3, 40)),
    schedules.WarmUp(5, schedules.WarmUp(3, schedules.Step(0.3, 4))),
]


def position_of(problem, seed=1):
    weights = problem.network.draw(seed)
    weights = weights + 0.1 * np.random.default_rng(seed).normal(size=weights.shape).astype(weights.dtype)
    states = problem.optimizer.start(weights, problem.network.parameters)
    return Position(3, weights, problem.network.start_statistics(), states)


WIDE = {
    **{kind.__name__: kind for kind in LAYERS if issubclass(kind, layers.activations.Activation)},
    "GELU by tanh": lambda: layers.GELU(tanh=True),
    "LeakyReLU 0.3": lambda: layers.LeakyReLU(0.3),
    "Sine 3": lambda: layers.Sine(3.0),
    **{
        kind.__name__: kind
        for kind in (layers.PReLU, layers.Softmax, layers.LogSoftmax, layers.LayerNorm, layers.RMSNorm)
    },
    "BatchNorm": layers.BatchNorm,
    "Dropout": lambda: Dropout(0.3),
    "ChannelDropout": lambda: layers.ChannelDropout(0.3),
    "Dropout 0": lambda: Dropout(0.0),
    "Residual": lambda: Residual([Dense(9, activation="relu"), Dense(9), layers.Tanh()]),
    "Residual of nothing": lambda: Residual([]),
    "Branches": lambda: Branches([[Dense(3, activation="tanh"), Dense(5)], Dense(2), layers.Tanh()]),
    "Branches added": lambda: Branches([Dense(4), [Dense(4, activation="relu"), Dense(4)]], merge="add"),
    "Sequential": lambda: Sequential([Dense(6, activation="relu"), Dense(4, bias=False)]),
    "Expand": lambda: layers.Expand(5),
    "Expand some": lambda: layers.Expand(17, on=(0, 3, 8)),
    "Reshape": lambda: Reshape((3, 3)),
    "Flatten": Flatten,
}
"""Layers that accept the output of a Dense(9)."""

EVERYTHING = [
    Dense(48, activation="relu"), Dense(40), layers.BatchNorm(), layers.GELU(tanh=True), Dropout(0.2),
    Residual([Dense(40, activation="tanh"), layers.LayerNorm()]), layers.PReLU(),
    Branches([Dense(9), [Dense(33, activation="relu"), Dense(8)]]), layers.Softmax(), Dense(5),
]  # fmt: skip


class Odd(losses.Loss):
    """A user's loss."""

    def samples(self, prediction, target):
        return ((prediction - losses.base.like(prediction, target)) ** 4).sum(axis=1)

    def slopes(self, prediction, target):
        return 4 * (prediction - losses.base.like(prediction, target)) ** 3


class Half(stages.Stage):
    """A user's stage of an optimizer."""

    def apply(self, g, state, point):
        return g / 2, state
