"""The layers: what each computes, its derivative, and the terms of its chain rule."""

from chainrule.layers.activations import (
    ELU,
    GELU,
    SELU,
    HardSigmoid,
    HardSwish,
    HardTanh,
    LeakyReLU,
    Mish,
    PReLU,
    ReLU,
    Sigmoid,
    SiLU,
    Sine,
    Softplus,
    Softsign,
    Step,
    Tanh,
    activation,
)
from chainrule.layers.base import Built, Context, Formulas, Layer, Parameter, Terms, leaves, total
from chainrule.layers.combinators import Branches, Container, Residual, Sequential
from chainrule.layers.dense import Dense
from chainrule.layers.dropout import Dropout
from chainrule.layers.embedding import Embedding
from chainrule.layers.normalization import BatchNorm, LayerNorm
from chainrule.layers.shaping import Flatten, Reshape
from chainrule.layers.softmax import LogSoftmax, Softmax

KINDS: tuple[type[Layer], ...] = (
    *(Dense, Embedding, Dropout, BatchNorm, LayerNorm, Flatten, Reshape, Sequential, Residual, Branches),
    *(
        ReLU,
        LeakyReLU,
        PReLU,
        ELU,
        SELU,
        GELU,
        SiLU,
        Mish,
        Softplus,
        Softsign,
        Sigmoid,
        Tanh,
        HardSigmoid,
        HardSwish,
        HardTanh,
    ),
    *(Softmax, LogSoftmax, Sine, Step),
)
"""Every layer there is. A new one is added here."""

__all__ = [
    "ELU",
    "GELU",
    "KINDS",
    "SELU",
    "BatchNorm",
    "Branches",
    "Built",
    "Container",
    "Context",
    "Dense",
    "Dropout",
    "Embedding",
    "Flatten",
    "Formulas",
    "HardSigmoid",
    "HardSwish",
    "HardTanh",
    "Layer",
    "LayerNorm",
    "LeakyReLU",
    "LogSoftmax",
    "Mish",
    "PReLU",
    "Parameter",
    "ReLU",
    "Reshape",
    "Residual",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Sine",
    "Softmax",
    "Softplus",
    "Softsign",
    "Step",
    "Tanh",
    "Terms",
    "activation",
    "leaves",
    "total",
]  # fmt: skip
