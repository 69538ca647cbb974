"""The layers: what each computes, its derivative, and the terms of its chain rule."""

from chainrule.kinds import kinds_of
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
from chainrule.layers.base import Built, Context, Formulas, Layer, Parameter, Terms, total
from chainrule.layers.blocks import DepthwiseConv, ResidualBlock, SeparableBlock, SqueezeExcitation
from chainrule.layers.combinators import Branches, Residual, Sequential
from chainrule.layers.convolution import Conv, Conv1d, Conv2d, Conv3d, ConvTranspose, ConvTranspose2d
from chainrule.layers.dense import Dense
from chainrule.layers.dropout import ChannelDropout, Dropout
from chainrule.layers.embedding import Embedding
from chainrule.layers.expand import Expand
from chainrule.layers.graph import Composite, Graph, Input, Node
from chainrule.layers.networks import LeNet, ResNet8, ResNet18, SeparableNet
from chainrule.layers.normalization import BatchNorm, GroupNorm, LayerNorm, RMSNorm
from chainrule.layers.operators import Add, Concatenate, MatMul, Multiply, Scale
from chainrule.layers.pooling import (
    AdaptiveAveragePool,
    AdaptiveMaxPool,
    AveragePool,
    GlobalAveragePool,
    GlobalMaxPool,
    MaxPool,
)
from chainrule.layers.recurrence import GRU, LSTM, Bidirectional, Cell, Scan, SimpleRNN, While, Zeros
from chainrule.layers.resizing import Upsample, ZeroPad
from chainrule.layers.shaping import Flatten, Reshape, Slice, Transpose
from chainrule.layers.softmax import LogSoftmax, Softmax
from chainrule.layers.symbols import Symbol

KINDS: tuple[type[Layer], ...] = tuple(kinds_of(Layer))
"""Every layer there is."""

__all__ = [
    "ELU", "GELU", "GRU", "KINDS", "LSTM", "SELU", "AdaptiveAveragePool", "AdaptiveMaxPool", "Add", "AveragePool",
    "BatchNorm", "Bidirectional", "Branches", "Built", "Cell", "ChannelDropout", "Composite", "Concatenate", "Context",
    "Conv", "Conv1d", "Conv2d", "Conv3d", "ConvTranspose", "ConvTranspose2d", "Dense", "DepthwiseConv", "Dropout",
    "Embedding", "Expand", "Flatten", "Formulas", "GlobalAveragePool", "GlobalMaxPool", "Graph", "GroupNorm",
    "HardSigmoid", "HardSwish", "HardTanh", "Input", "Layer", "LayerNorm", "LeNet", "LeakyReLU", "LogSoftmax", "MatMul",
    "MaxPool", "Mish", "Multiply", "Node", "PReLU", "Parameter", "RMSNorm", "ReLU", "ResNet8", "ResNet18", "Reshape",
    "Residual", "ResidualBlock", "Scale", "Scan", "SeparableBlock", "SeparableNet", "Sequential", "SiLU", "Sigmoid",
    "SimpleRNN", "Sine", "Slice", "Softmax", "Softplus", "Softsign", "SqueezeExcitation", "Step", "Symbol", "Tanh",
    "Terms", "Transpose", "Upsample", "While", "ZeroPad", "Zeros", "activation", "total",
]  # fmt: skip
