"""Parts of convolutional networks, wired from layers: DepthwiseConv, SqueezeExcitation, and the
blocks that residual and depthwise-separable networks repeat.
"""

from __future__ import annotations

from dataclasses import dataclass

from chainrule.arrays import Shape, Sizes
from chainrule.layers.activations import ReLU
from chainrule.layers.base import Layer
from chainrule.layers.convolution import Conv
from chainrule.layers.dense import Dense
from chainrule.layers.normalization import BatchNorm
from chainrule.layers.pooling import GlobalAveragePool
from chainrule.layers.settings import Block
from chainrule.layers.symbols import Symbol


@dataclass(frozen=True)
class PictureBlock(Block, register=False):
    """A block on samples of the shape (positions..., channels)."""

    accepts_images = True

    def lacks_channels(self, input_shape: Shape) -> bool:
        return 1 <= len(input_shape) <= 2


@dataclass(frozen=True)
class DepthwiseConv(PictureBlock):
    """Convolution of each channel on its own: a Conv with as many groups as channels in.

    x of shape (samples, positions..., channels) becomes (samples, positions out..., channels *
    multiplier). Its kernel has the shape (kernel..., 1, channels * multiplier).

    Attributes:
        kernel, activation, stride, padding, dilation, bias: as for Conv
        multiplier: the channels out for each channel in

    Examples:
        >>> from chainrule.layers import Input
        >>> DepthwiseConv(3, padding="same")(Input((28, 28, 16))).shape
        (28, 28, 16)
    """

    kernel: Sizes
    activation: str | Layer | None = None
    stride: Sizes = 1
    padding: str | Sizes = "valid"
    dilation: Sizes = 1
    multiplier: int = 1
    bias: bool = True

    def __post_init__(self) -> None:
        self.require_integers("multiplier")
        conv = self.of(1)
        for name in ("kernel", "stride", "padding", "dilation"):
            object.__setattr__(self, name, getattr(conv, name))

    def of(self, channels: int) -> Conv:
        """The convolution of so many channels."""
        return Conv(
            channels * self.multiplier, self.kernel, self.activation, stride=self.stride, padding=self.padding,
            dilation=self.dilation, groups=channels, bias=self.bias,
        )  # fmt: skip

    def lacks_channels(self, input_shape: Shape) -> bool:
        return self.of(1).lacks_channels(input_shape)

    def wire(self, x: Symbol) -> Symbol:
        return self.of(x.shape[-1])(x)


@dataclass(frozen=True)
class SqueezeExcitation(PictureBlock):
    """Scales each channel by a gate that two Dense layers compute from the means of all channels
    (Hu et al., 2018).

    x of shape (samples, positions..., channels) keeps its shape.

    Attributes:
        reduction: the channels for each unit of the first Dense layer
    """

    reduction: int = 16

    keeps_units = True

    def __post_init__(self) -> None:
        self.require_integers("reduction")

    def wire(self, x: Symbol) -> Symbol:
        channels = x.shape[-1]
        squeezed = Dense(max(1, channels // self.reduction), "relu")(GlobalAveragePool()(x))
        return x * Dense(channels, "sigmoid")(squeezed)


@dataclass(frozen=True)
class ResidualBlock(PictureBlock):
    """Two 3 x 3 convolutions with batch normalization, and a way around them (He et al., 2016).

    x of shape (samples, height, width, channels in) becomes (samples, height / stride, width /
    stride, channels). Where the shape changes, the way around is a 1 x 1 convolution.

    Attributes:
        channels: the number of channels out
        stride: that of the first convolution
    """

    channels: int
    stride: int = 1

    def __post_init__(self) -> None:
        self.require_integers("channels", "stride")

    def wire(self, x: Symbol) -> Symbol:
        y = ReLU()(BatchNorm()(self._conv(3, self.stride)(x)))
        y = BatchNorm()(self._conv(3)(y))
        if y.shape != x.shape:
            x = BatchNorm()(self._conv(1, self.stride)(x))
        return ReLU()(x + y)

    def _conv(self, kernel: int, stride: int = 1) -> Conv:
        """A convolution without a bias, since BatchNorm's offset follows."""
        return Conv(self.channels, kernel, stride=stride, padding="same", bias=False)


@dataclass(frozen=True)
class SeparableBlock(PictureBlock):
    """A depthwise 3 x 3 and then a 1 x 1 convolution, each with batch normalization and ReLU: a
    convolution in two factors, one over positions and one over channels (Howard et al., 2017).

    x of shape (samples, height, width, channels in) becomes (samples, height / stride, width /
    stride, channels).

    Attributes:
        channels: the number of channels out
        stride: that of the depthwise convolution
    """

    channels: int
    stride: int = 1

    def __post_init__(self) -> None:
        self.require_integers("channels", "stride")

    def wire(self, x: Symbol) -> Symbol:
        x = ReLU()(BatchNorm()(DepthwiseConv(3, stride=self.stride, padding="same", bias=False)(x)))
        return ReLU()(BatchNorm()(Conv(self.channels, 1, bias=False)(x)))
