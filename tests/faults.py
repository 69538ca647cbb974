"""Trainings with a known fault, small enough to train in a test: one for each kind of finding, and
the training without the fault beside it.
"""

from dataclasses import replace

import numpy as np

from chainrule import from_arrays
from chainrule.data import load
from chainrule.layers import Dense
from chainrule.runs import Run, train


def rows(count=300, inputs=4, seed=0):
    """Inputs, and a class that follows from the first two of them smoothly."""
    x = np.random.default_rng(seed).normal(size=(count, inputs))
    return x, (np.sin(2 * x[:, 0]) + x[:, 1] > 0).astype(int)


def blobs(counts, seed=0):
    """Rows of classes around points of their own, with this many rows each."""
    random = np.random.default_rng(seed)
    y = np.repeat(np.arange(len(counts)), counts)
    centers = 2 * np.array([[1, 0], [-1, 0], [0, 0.5]])[: len(counts)]
    order = random.permutation(len(y))
    return (centers[y] + random.normal(size=(len(y), 2)))[order], y[order]


def plain(**settings):
    """The settings of a training that learns what `rows` has, but for these."""
    data = settings.pop("data", None)
    return {
        "data": rows() if data is None else data,
        "network": "16 relu",
        "optimizer": "adam 0.02",
        "epochs": 30,
    } | settings


def _leaky():
    x, y = rows()
    return np.column_stack([x, y * 3.0 + 1]), y


def _copied():
    x, y = rows(200)
    return np.concatenate([x, x[:100]]), np.concatenate([y, y[:100]])


def _far_side():
    """Two classes side by side, and some of the second on the far side of the first: no line parts them."""
    random = np.random.default_rng(0)
    place = random.permutation(np.repeat([-2, 2, -3.5], [250, 250, 90]))
    x = np.column_stack([place + 0.5 * random.normal(size=len(place)), *random.normal(size=(2, len(place)))])
    return x, (place != -2).astype(int)


def flipped(data, share):
    """The data with this share of the training labels changed, and which rows these are."""
    random = np.random.default_rng(1)
    y = np.array(data.training.y)
    wrong = random.choice(len(y), round(share * len(y)), replace=False)
    y[wrong] = (y[wrong] + random.integers(1, 10, len(wrong))) % 10
    return replace(data, training=data.training._replace(y=y)), wrong


def _shifted():
    x, y = rows(400)
    x[300:, 2] += 2.0
    return x, y


def _unscaled():
    x, y = rows()
    return from_arrays(
        x[:200] * [1, 1, 1000, 1], y[:200], validation=(x[200:] * [1, 1, 1000, 1], y[200:]), task="classification"
    )


def _scaled():
    x, y = rows()
    return from_arrays(x[:200], y[:200], validation=(x[200:], y[200:]), task="classification")


def noise(count=600):
    """A quantity that is a linear function of the inputs, and as much noise."""
    random = np.random.default_rng(0)
    x = random.normal(size=(count, 10))
    return x, x @ random.normal(size=10) + 3 * random.normal(size=count)


def _deep(activation, layers=8):
    return ", ".join([f"12 {activation}"] * layers)


FAULTY = {
    "dead units": lambda: plain(network=[Dense(16, activation="relu", biases="constant -20"), Dense(1)]),
    "saturated units": lambda: plain(
        network=[*(Dense(16, activation="sigmoid", weights="normal 0 500") for _ in range(2)), Dense(1)],
        optimizer="sgd 0.1", data=rows(1200),
    ),
    "duplicate units": lambda: plain(
        network=[Dense(16, activation="tanh", weights="constant 0.1"), Dense(1, weights="constant 0.1")], epochs=10,
    ),
    "vanishing gradients": lambda: plain(data=rows(1200), network=_deep("sigmoid"), optimizer="sgd 0.1"),
    "exploding gradients": lambda: plain(
        network=[*(Dense(12, activation="relu", weights="normal 0 4") for _ in range(5)), Dense(1)],
        optimizer="sgd 1e-9", epochs=3,
    ),
    "learning rate too small": lambda: plain(optimizer="sgd 0.00003"),
    "learning rate too large": lambda: plain(optimizer="sgd 100", network="16 tanh"),
    "edge of stability": lambda: plain(optimizer="gradient_descent 1.5", batch_size=210, epochs=600),
    "noisy gradients": lambda: plain(data=noise(), optimizer="sgd 0.15", batch_size=2, network="8 tanh", epochs=20),
    "overfitting": lambda: plain(
        data=noise(), network="128 relu, 128 relu", optimizer="adam 0.01", epochs=100, patience=None, validation=0.3,
    ),
    "underfitting": lambda: plain(data=rows(1500), optimizer="sgd 0.02", epochs=1),
    "classes never learned": lambda: plain(
        data=blobs([200, 200, 8]), optimizer="adam 0.01", network="8 tanh", epochs=20,
    ),
    "rows never learned": lambda: plain(data=_far_side(), network=[Dense(1)], optimizer="adam 0.05"),
    "probable label errors": lambda: plain(
        data=flipped(load("digits", seed=0), 0.06)[0], network="64 relu", optimizer="adam 0.002", epochs=20,
    ),
    "leakage": lambda: plain(data=_leaky(), epochs=10),
    "duplicates across splits": lambda: plain(data=_copied(), epochs=10),
    "shift between splits": lambda: plain(data=_shifted(), shuffle=False, epochs=10),
    "unscaled inputs": lambda: plain(data=_unscaled(), epochs=10),
    "updates below rounding": lambda: plain(optimizer="sgd 1e-9"),
    "penalty larger than the loss": lambda: plain(penalties="l2 0.5", epochs=10),
}  # fmt: skip


HEALTHY = {
    "dead units": lambda: plain(network=[Dense(16, activation="relu"), Dense(1)]),
    "saturated units": lambda: plain(network="16 sigmoid, 16 sigmoid"),
    "duplicate units": lambda: plain(network=[Dense(16, activation="tanh"), Dense(1)], epochs=10),
    "vanishing gradients": lambda: plain(network=_deep("relu"), optimizer="sgd 0.1"),
    "exploding gradients": lambda: plain(network=_deep("relu", 5), epochs=3),
    "learning rate too small": lambda: plain(optimizer="sgd 0.3"),
    "learning rate too large": lambda: plain(optimizer="sgd 0.3", network="16 tanh"),
    "edge of stability": lambda: plain(optimizer="gradient_descent 0.1", batch_size=210, epochs=600),
    "noisy gradients": lambda: plain(data=noise(), optimizer="sgd 0.02", batch_size=64, network="8 tanh", epochs=20),
    "overfitting": lambda: plain(data=noise(), network="128 relu, 128 relu", validation=0.3, patience=5),
    "underfitting": lambda: plain(data=rows(1500), optimizer="adam 0.01", epochs=20),
    "classes never learned": lambda: plain(data=blobs([200, 200, 100]), optimizer="adam 0.02", network="32 tanh"),
    "rows never learned": lambda: plain(data=_far_side(), network="16 relu"),
    "probable label errors": lambda: plain(data="digits", network="64 relu", optimizer="adam 0.002", epochs=20),
    "leakage": lambda: plain(epochs=10),
    "duplicates across splits": lambda: plain(data=rows(200), epochs=10),
    "shift between splits": lambda: plain(data=_shifted(), epochs=10),
    "unscaled inputs": lambda: plain(data=_scaled(), epochs=10),
    "updates below rounding": lambda: plain(optimizer="sgd 0.1"),
    "penalty larger than the loss": lambda: plain(penalties="l2 0.0001", epochs=10),
}  # fmt: skip


def trained(settings, folder):
    """A run in this folder, trained with these settings, and its data."""
    settings = dict(settings)
    result = train(**settings)
    result.save(folder)
    return Run.open(folder), result.data
