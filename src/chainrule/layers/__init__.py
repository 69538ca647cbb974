"""The layers: what each computes, its derivative, and the terms of its chain rule."""

from chainrule.kinds import kinds_of
from chainrule.layers.activations import (
    ELU,
    GELU,
    SELU,
    Clip,
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
from chainrule.layers.attention import DotProductAttention, MultiHeadAttention
from chainrule.layers.base import Built, Context, Formulas, Layer, Parameter, Terms, total
from chainrule.layers.blocks import DepthwiseConv, ResidualBlock, SeparableBlock, SqueezeExcitation
from chainrule.layers.combinators import Branches, Residual, Sequential
from chainrule.layers.constants import Fixed, Learned
from chainrule.layers.convolution import Conv, Conv1d, Conv2d, Conv3d, ConvTranspose, ConvTranspose2d
from chainrule.layers.dense import Dense, TiedDense
from chainrule.layers.dropout import ChannelDropout, Dropout
from chainrule.layers.embedding import Embedding
from chainrule.layers.expand import Expand
from chainrule.layers.forecasting import Seasonal
from chainrule.layers.graph import Composite, Graph, Input, Node
from chainrule.layers.lengths import Mask, ValidMax, ValidMean
from chainrule.layers.networks import LeNet, ResNet8, ResNet18, SeparableNet
from chainrule.layers.normalization import BatchNorm, GroupNorm, LayerNorm, RMSNorm, UnitNorm
from chainrule.layers.operators import Add, Concatenate, MatMul, Multiply, Scale
from chainrule.layers.pooling import (
    AdaptiveAveragePool,
    AdaptiveMaxPool,
    AveragePool,
    GlobalAveragePool,
    GlobalMaxPool,
    MaxPool,
)
from chainrule.layers.positions import LearnedPositions, Rotary, SinusoidalPositions
from chainrule.layers.recurrence import GRU, LSTM, Bidirectional, Cell, Scan, SimpleRNN, While, Zeros
from chainrule.layers.resizing import Upsample, ZeroPad
from chainrule.layers.shaping import Flatten, Reshape, Slice, Transpose
from chainrule.layers.softmax import LogSoftmax, MaskedSoftmax, Softmax
from chainrule.layers.symbols import Symbol
from chainrule.layers.transformer import FeedForward, Transformer, TransformerBlock

KINDS: tuple[type[Layer], ...] = tuple(kinds_of(Layer))
"""Every layer there is."""

__all__ = [
    "ELU", "GELU", "GRU", "KINDS", "LSTM", "SELU", "AdaptiveAveragePool", "AdaptiveMaxPool", "Add", "AveragePool",
    "BatchNorm", "Bidirectional", "Branches", "Built", "Cell", "ChannelDropout", "Clip", "Composite", "Concatenate",
    "Context", "Conv", "Conv1d", "Conv2d", "Conv3d", "ConvTranspose", "ConvTranspose2d", "Dense", "DepthwiseConv",
    "DotProductAttention", "Dropout", "Embedding", "Expand", "FeedForward", "Fixed", "Flatten", "Formulas",
    "GlobalAveragePool", "GlobalMaxPool", "Graph", "GroupNorm", "HardSigmoid", "HardSwish", "HardTanh", "Input",
    "Layer", "LayerNorm", "LeNet", "LeakyReLU", "Learned", "LearnedPositions", "LogSoftmax", "Mask", "MaskedSoftmax",
    "MatMul", "MaxPool", "Mish", "MultiHeadAttention", "Multiply", "Node", "PReLU", "Parameter", "RMSNorm", "ReLU",
    "ResNet8", "ResNet18", "Reshape", "Residual", "ResidualBlock", "Rotary", "Scale", "Scan", "Seasonal",
    "SeparableBlock", "SeparableNet", "Sequential", "SiLU", "Sigmoid", "SimpleRNN", "Sine", "SinusoidalPositions",
    "Slice", "Softmax", "Softplus", "Softsign", "SqueezeExcitation", "Step", "Symbol", "Tanh", "Terms", "TiedDense",
    "Transformer", "TransformerBlock", "Transpose", "UnitNorm", "Upsample", "ValidMax", "ValidMean", "While",
    "ZeroPad", "Zeros", "activation", "total",
]  # fmt: skip
