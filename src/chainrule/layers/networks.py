"""Named networks for pictures, up to the output layer: `chainrule train digits --network lenet`.

Each is a composite whose `wire` is the whole network. Samples have the shape (height, width,
channels), or (height, width) where the network is given as text or in a list.
"""

from __future__ import annotations

from dataclasses import dataclass

from chainrule.arrays import Shape
from chainrule.layers.activations import ReLU
from chainrule.layers.blocks import PictureBlock, ResidualBlock, SeparableBlock
from chainrule.layers.convolution import Conv
from chainrule.layers.dense import Dense
from chainrule.layers.normalization import BatchNorm
from chainrule.layers.pooling import GlobalAveragePool, MaxPool
from chainrule.layers.shaping import Flatten
from chainrule.layers.symbols import Symbol


@dataclass(frozen=True)
class PictureNetwork(PictureBlock, register=False):
    """A network for pictures."""

    def lacks_channels(self, input_shape: Shape) -> bool:
        return len(input_shape) == 2


@dataclass(frozen=True)
class LeNet(PictureNetwork):
    """Two convolutions, each with a pooling, and two Dense layers (LeCun et al., 1998, LeNet-5).

    As usual today, it has ReLU and the largest of each window instead of sigmoids and means, and
    padding, so that pictures of 8 x 8 pixels are enough.

    Examples:
        >>> from chainrule import Network
        >>> Network("lenet, 10", (28, 28)).parameters.size
        107786
    """

    notation = "lenet"

    def wire(self, x: Symbol) -> Symbol:
        x = MaxPool(2)(Conv(6, (5, 5), "relu", padding="same")(x))
        x = MaxPool(2)(Conv(16, (5, 5), "relu", padding="same")(x))
        return Dense(84, "relu")(Dense(120, "relu")(Flatten()(x)))


@dataclass(frozen=True)
class ResNet8(PictureNetwork):
    """A convolution and three residual blocks, each but the first of which halves the picture and
    doubles the channels (He et al., 2016, for n = 1).

    Attributes:
        channels: the channels of the first block

    Examples:
        >>> from chainrule import Network
        >>> Network("resnet8, 10", (32, 32, 3)).output_shape
        (10,)
    """

    notation = "resnet8"

    channels: int = 16

    def __post_init__(self) -> None:
        self.require_integers("channels")

    def wire(self, x: Symbol) -> Symbol:
        x = ReLU()(BatchNorm()(Conv(self.channels, (3, 3), padding="same", bias=False)(x)))
        x = ResidualBlock(self.channels)(x)
        x = ResidualBlock(2 * self.channels, stride=2)(x)
        x = ResidualBlock(4 * self.channels, stride=2)(x)
        return GlobalAveragePool()(x)


@dataclass(frozen=True)
class ResNet18(PictureNetwork):
    """A convolution and eight residual blocks in four stages (He et al., 2016).

    Pictures of 64 pixels or more are first made a quarter as wide and high, by a 7 x 7 convolution
    and a pooling, as in the paper; smaller ones keep their size in a 3 x 3 convolution.

    Attributes:
        channels: the channels of the first stage; each of the others has twice as many as the last
    """

    notation = "resnet18"

    channels: int = 64

    def __post_init__(self) -> None:
        self.require_integers("channels")

    def wire(self, x: Symbol) -> Symbol:
        is_large = min(x.shape[:-1]) >= 64
        kernel, stride = ((7, 7), 2) if is_large else ((3, 3), 1)
        x = ReLU()(BatchNorm()(Conv(self.channels, kernel, stride=stride, padding="same", bias=False)(x)))
        if is_large:
            x = MaxPool(3, 2, "same")(x)
        for stage in range(4):
            x = ResidualBlock(2**stage * self.channels, stride=1 if stage == 0 else 2)(x)
            x = ResidualBlock(2**stage * self.channels)(x)
        return GlobalAveragePool()(x)


@dataclass(frozen=True)
class SeparableNet(PictureNetwork):
    """A convolution and five depthwise-separable blocks, two of which halve the picture: a small
    network in the manner of MobileNet (Howard et al., 2017).

    Attributes:
        channels: the channels of the first convolution
    """

    notation = "separablenet"

    channels: int = 32

    def __post_init__(self) -> None:
        self.require_integers("channels")

    def wire(self, x: Symbol) -> Symbol:
        x = ReLU()(BatchNorm()(Conv(self.channels, (3, 3), padding="same", bias=False)(x)))
        x = SeparableBlock(2 * self.channels)(x)
        x = SeparableBlock(4 * self.channels, stride=2)(x)
        x = SeparableBlock(4 * self.channels)(x)
        x = SeparableBlock(8 * self.channels, stride=2)(x)
        x = SeparableBlock(8 * self.channels)(x)
        return GlobalAveragePool()(x)
