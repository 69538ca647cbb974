"""The defaults that follow from the data; the documentation's page on accuracy shows why these."""

from __future__ import annotations

import math

import numpy as np

from chainrule.data import Dataset
from chainrule.descent import Optimizer
from chainrule.descent import optimizer as named_optimizer
from chainrule.distributions import zeros
from chainrule.layers import Branches, Dense, Dropout, Embedding, Expand, Flatten, Layer, ReLU, Seasonal
from chainrule.layers.notation import parse
from chainrule.losses import Loss, Penalty, Quantiles

EPOCHS = 100
BATCH_SIZE = 32
RATE = 0.003
"""The learning rate of AdamW at the start, from where it falls to 0 along a cosine."""

FEW_ROWS = 1500
FEW, MANY = "64 silu, 64 silu", "64 relu, 64 relu"
"""The hidden layers: with fewer training rows than FEW_ROWS, smooth activations generalize
better.
"""

UNITS, MOST_UNITS, MOST_NUMBERS = 8, 256, 48
"""The units that each number of a table is expanded to: UNITS, fewer if that would be more than
MOST_UNITS in all, and none for more than MOST_NUMBERS numbers.
"""

MOST_SPARSE, EMBEDDED = 500, 16
"""With more inputs for words and for values of large categories than MOST_SPARSE, the network
begins with a Dense of EMBEDDED units that learns some numbers for each of them (as fastText does:
Joulin et al., 2016), instead of 64.
"""

DECAYS = (2.0, 6.0, 18.0)
DECAY = 2.0
"""How much weight decay shrinks weights over the whole training, as a power of 1 / e, if their
gradients are 0. It is not the decay of a step: with more rows there are more steps, and each would
forget what earlier ones have learned. Which decay suits depends on how noisy the data are, and so
validation chooses among DECAYS (choice.py). DECAY is that of networks of the user's own.
"""
SHORT = 600
"""In a training of fewer steps than this, which is short of learning rather than of forgetting,
the decay of a step is that of a training of so many.
"""

STRENGTHS = (1.0, 10.0, 100.0, 1000.0)
"""The penalties of linear models that validation chooses among, as ridge regression counts them:
divided by the rows, the coefficients of half the squares of the weights.
"""

EPOCHS_OF_PICTURES, OF_FEW_PICTURES = 20, 40
"""The epochs of networks for pictures; the second for fewer training rows than FEW_ROWS."""
SIDE = 7
"""Convolutions and pooling halve a picture until its sides are of about so many positions."""
CHANNELS, MOST_CHANNELS, UNITS_OF_PICTURES = 32, 128, 128

SEQUENCES, AT_STEPS = "bidirectional(gru 32)", "lstm 64 all=true"
"""The hidden layers of networks for sequences of numbers, with one target each or with one at each
time step.
"""
READER = "dropout 0.3, conv 128 5 relu padding=same, global_max_pool, dropout 0.5"
"""What reads a column of text, after its embedding, whose weights begin as EMBEDDING."""
EMBEDDING = "normal 0 0.1"
EPOCHS_OF_TOKENS, PATIENCE_OF_TOKENS = 20, 5
"""The epochs of the default network for a table with text as tokens, and after how many without a
better validation loss it stops.
"""
UNITS_OF_SERIES, DROPOUT_OF_SERIES = 64, 0.3
"""Beside the inputs themselves, so that the output layer is linear in both: a forecast is mostly a
sum of what was before.
"""
MOST_APART, SOME_WINDOWS = 100, 1000
"""Where the deviations of windows, of a tenth of them and of another, are further apart than that,
each window has a unit of its own; as many windows are asked.
"""
UNITS_OF_TOKENS = 64
"""The numbers that stand for a token, before layers of the user's own."""
WIDTH_OF_TEXT = 128
OF_TEXT = "transformer 2 heads=4 causal=true"
"""The hidden layers of a language model, after an embedding of WIDTH_OF_TEXT numbers a token."""
EPOCHS_OF_TEXT = 10
"""The epochs of the default network for a text."""
BATCH_SIZE_OF_TEXT = 16
"""A window has a target at each position, so a mini-batch of a few has many."""

PATIENCE = 25
FEWEST_TO_JUDGE = 50
"""With fewer validation rows than this, their loss is too noisy for early stopping."""


def hidden_layers(data: Dataset) -> list[Layer]:
    """The default layers before the output."""
    if data.target.tokens:
        return [Embedding(data.target.width, WIDTH_OF_TEXT), *parse(OF_TEXT)]
    if are_pictures(data):
        return parse(_convolutions(min(data.input_shape[:2])))
    if data.sequence is not None:
        return parse(AT_STEPS if data.target.positions else SEQUENCES)
    if data.target.season:
        hidden = [Dense(UNITS_OF_SERIES), ReLU(), Dropout(DROPOUT_OF_SERIES)]
        return [Flatten(), Branches([[], hidden])]
    return of_numbers(data) + after_numbers(data)


def of_numbers(data: Dataset) -> list[Layer]:
    """The default layers that a table's inputs, but for those of tokens, are read by."""
    embedded: list[Layer] = [Dense(EMBEDDED)] if _sparse(data) > MOST_SPARSE else []
    on = numbers(data)
    if not 0 < len(on) <= MOST_NUMBERS:
        return embedded
    units = min(UNITS, MOST_UNITS // len(on))
    return [Branches([embedded, [Expand(units, on=on), ReLU()]])]


def after_numbers(data: Dataset) -> list[Layer]:
    """The default layers after those of a table's inputs."""
    return parse(FEW if len(data.training.x) < FEW_ROWS else MANY)


def forecast(layers: list[Layer], data: Dataset, loss: Loss) -> list[Layer]:
    """Layers as a correction of the seasonal naive forecast, unless the loss forecasts something
    else than what the network puts out.
    """
    width, season = data.target.width, data.target.season
    first = loss.first_of_point(width)
    if first is None:
        return layers
    scaled = _differ_in_size(data)
    return [Seasonal(layers, width, season, first, scaled, scaled and loss.outputs(width) > width)]


def _differ_in_size(data: Dataset) -> bool:
    """Whether series vary so differently that in a unit of all of them the forecasts of small ones
    would be the errors of large ones.
    """
    some = np.unique(np.linspace(0, len(data.training.x) - 1, SOME_WINDOWS).round().astype(int))
    deviations = np.asarray(data.training.x[some])[:, :, 0].std(axis=1)
    varied = deviations[deviations > 0]
    return len(varied) > 0 and bool(np.quantile(varied, 0.9) > MOST_APART * np.quantile(varied, 0.1))


def loss_of_series() -> Loss:
    """The median of forecasts, and the ends of an interval that holds nine of ten."""
    return Quantiles((0.05, 0.5, 0.95))


def output(data: Dataset, units: int) -> Dense:
    """The output layer: of a correction of the naive forecast it starts at 0."""
    return Dense(units, weights=zeros()) if data.target.season else Dense(units)


def embedding(data: Dataset) -> Layer:
    """What a network of the user's own begins with, if it is for texts."""
    return Embedding(data.target.width, UNITS_OF_TOKENS)


def embeddings(data: Dataset) -> list[tuple[int, Layer]]:
    """Of each column of text that is tokens, how many are read and the layer that embeds them."""
    return [(column.length, Embedding(column.width, UNITS_OF_TOKENS, EMBEDDING)) for _, column in data.texts_as_tokens]


def reader() -> list[Layer]:
    """The layers that read a column of text."""
    return parse(READER)


def _sparse(data: Dataset) -> int:
    """How many inputs are words, or values of large categories."""
    if data.preparation is None:
        return 0
    fitted = zip(data.preparation.encoders, data.preparation.columns, strict=False)
    return sum(len(encoder.input_names(column)) for encoder, (column, _) in fitted if encoder.is_sparse)


def are_pictures(data: Dataset) -> bool:
    """Whether the samples are pictures, in grey or in colour, that are large enough to convolve."""
    shape = data.input_shape
    return (
        not data.target.positions
        and not data.target.season
        and data.sequence is None
        and len(shape) in (2, 3)
        and min(shape[:2]) >= SIDE - 1
        and (len(shape) == 2 or shape[2] in (1, 3, 4))
    )


def takes_long(data: Dataset) -> bool:
    """Whether a training takes too long to try several networks: pictures, texts, sequences."""
    of_steps = data.sequence is not None or bool(data.target.season)
    return bool(data.target.positions or data.texts_as_tokens) or are_pictures(data) or of_steps


def _convolutions(side: int) -> str:
    """Convolutions, each twice as many channels as the one before, with batch normalization, and
    max-pooling; for pictures that are halved only once, two convolutions before it.
    """
    halvings = max(1, min(4, round(math.log2(side / SIDE))))
    widths = [min(CHANNELS * 2**k, MOST_CHANNELS) for k in range(max(2, halvings))]
    each = [f"conv {width} 3x3 padding=same, batch_norm, relu" for width in widths]
    pooled = ", max_pool 2, ".join(each) if halvings > 1 else ", ".join(each)
    return f"{pooled}, max_pool 2, flatten, {UNITS_OF_PICTURES} relu"


def augmentation(data: Dataset) -> str:
    """How pictures are changed: moved by as much as hardly any object is cut off."""
    side = min(data.input_shape[:2])
    return f"shift {side // 14}" if side >= 14 else "none"


def epochs(data: Dataset, is_open: bool) -> int:
    """The number of epochs; is_open says whether the network is the default one."""
    if is_open and data.target.tokens:
        return EPOCHS_OF_TEXT
    if is_open and data.texts_as_tokens:
        return EPOCHS_OF_TOKENS
    if not (is_open and are_pictures(data)):
        return EPOCHS
    return OF_FEW_PICTURES if len(data.training.x) < FEW_ROWS else EPOCHS_OF_PICTURES


def batch_size(data: Dataset) -> int:
    """The samples of a mini-batch."""
    return BATCH_SIZE_OF_TEXT if data.target.tokens else BATCH_SIZE


def numbers(data: Dataset) -> tuple[int, ...]:
    """The inputs that are numbers or parts of dates, with more than two values."""
    if len(data.input_shape) != 1 or data.preparation is None:
        return ()
    x = np.asarray(data.training.x[:1000])
    encoders = data.preparation.encoders
    names = zip(encoders, (column for column, _ in data.preparation.columns), strict=False)
    roles = [encoder.role for encoder, column in names for _ in encoder.input_names(column)]
    suits = [role in ("number", "date") for role in roles] if roles else [True] * x.shape[1]
    return tuple(k for k, suited in enumerate(suits) if suited and len(np.unique(x[:, k])) > 2)


def optimizer(steps: int, decay: float = DECAY) -> Optimizer:
    """AdamW, for a training of so many steps.

    Args:
        steps: the number of updates
        decay: how much weights shrink over the whole training, as in DECAYS, unless it is short
    """
    rates = RATE * max(steps, SHORT) / 2  # the sum of the learning rates, along the cosine
    return named_optimizer(f"adamw {RATE} {decay / rates:.3g} schedule=cosine")


def linear_optimizer() -> Optimizer:
    """L-BFGS: a linear model has few weights and a convex loss, of which it finds the minimum."""
    return named_optimizer("lbfgs")


def penalty(strength: float, rows: int) -> Penalty:
    """A linear model's, for a training on so many rows.

    Args:
        strength: one of STRENGTHS
        rows: the training rows, on which it counts as much as they do in all
    """
    return Penalty(l2=strength / rows)


def patience(data: Dataset) -> int | None:
    """The number of epochs without a better validation loss after which training stops."""
    is_enough = data.validation is not None and len(data.validation.x) >= FEWEST_TO_JUDGE
    return (PATIENCE_OF_TOKENS if data.texts_as_tokens else PATIENCE) if is_enough else None
