"""Transformers: blocks of attention and of a feed-forward network, each with a way around it."""

from __future__ import annotations

from dataclasses import dataclass

from chainrule.errors import unknown
from chainrule.layers.activations import SiLU, activation
from chainrule.layers.attention import MultiHeadAttention
from chainrule.layers.dense import Dense
from chainrule.layers.dropout import Dropout
from chainrule.layers.normalization import LayerNorm, RMSNorm
from chainrule.layers.positions import LearnedPositions, SinusoidalPositions
from chainrule.layers.settings import Block
from chainrule.layers.symbols import Symbol

NORMS: dict[str, type[LayerNorm]] = {"layer_norm": LayerNorm, "rms_norm": RMSNorm}
POSITIONS = ("learned", "sinusoidal", "rotary", "none")


@dataclass(frozen=True)
class FeedForward(Block):
    """Two Dense layers, applied to each position: `hidden` with an activation, and `output`, which
    leads back to the features of x (Vaswani et al., 2017, section 3.3).

    With the activation "swiglu", the hidden units are multiplied by a `gate`: SiLU(x @ gate.W) *
    (x @ hidden.W) (Shazeer, 2020).

    Attributes:
        hidden: the number of hidden units
        activation: the name of an activation, or "swiglu"
        bias: whether the Dense layers have biases

    Examples:
        >>> from chainrule.layers import Input
        >>> FeedForward(128, "swiglu")(Input((10, 32))).shape
        (10, 32)
    """

    hidden: int
    activation: str = "gelu"
    bias: bool = True

    accepts_images = True

    def __post_init__(self) -> None:
        self.require_integers("hidden")
        self.require_booleans("bias")
        if self.activation != "swiglu":
            activation(self.activation)

    def wire(self, x: Symbol) -> Symbol:
        h = Dense(self.hidden, bias=self.bias, name="hidden")(x)
        if self.activation == "swiglu":
            h = SiLU()(Dense(self.hidden, bias=self.bias, name="gate")(x)) * h
        else:
            h = activation(self.activation)(h)
        return Dense(x.shape[-1], bias=self.bias, name="output")(h)


@dataclass(frozen=True)
class TransformerBlock(Block):
    """x + attention(norm(x)), and then x + feed_forward(norm(x)), with a normalization before each
    part (Xiong et al., 2020, "pre-LN").

    x of shape (samples, time, features) keeps its shape. A second, optional input has the number of
    valid positions of each sample, of shape (samples,).

    Attributes:
        heads: the number of heads
        hidden: the hidden units of the feed-forward network; by default 4 for each feature, and
            with "swiglu" 8/3, so that there are as many weights
        activation: the activation of the feed-forward network, or "swiglu"
        norm: "layer_norm" or "rms_norm"
        kv_heads: the number of heads of keys and values; by default as many as heads
        causal: whether a position takes only from positions up to its own
        dropout: the rate for weights of attention, and for what each of the two parts adds to x
        rotary: whether queries and keys are turned by their positions (see Rotary)
        bias: whether the Dense layers have biases

    Examples:
        >>> from chainrule.layers import Input
        >>> TransformerBlock(4, causal=True)(Input((10, 32))).shape
        (10, 32)
    """

    heads: int = 4
    hidden: int | None = None
    activation: str = "gelu"
    norm: str = "layer_norm"
    kv_heads: int | None = None
    causal: bool = False
    dropout: float = 0.0
    rotary: bool = False
    bias: bool = True

    accepts_images = True
    takes_lengths = True

    def __post_init__(self) -> None:
        FeedForward(1 if self.hidden is None else self.hidden, self.activation, self.bias)
        if not isinstance(self.norm, str) or self.norm not in NORMS:
            raise unknown("normalization", self.norm, NORMS)
        self.attention()  # these check the other settings

    def attention(self) -> MultiHeadAttention:
        """The block's attention."""
        return MultiHeadAttention(
            self.heads, kv_heads=self.kv_heads, causal=self.causal, dropout=self.dropout, rotary=self.rotary,
            bias=self.bias, name="attention",
        )  # fmt: skip

    def wire(self, x: Symbol, *lengths: Symbol) -> Symbol:
        norm, features = NORMS[self.norm], x.shape[-1]
        x = x + self._dropped(self.attention()(norm(name="attention_norm")(x), *lengths))
        hidden = self.hidden or (-(-features // 3) * 8 if self.activation == "swiglu" else 4 * features)
        feed_forward = FeedForward(hidden, self.activation, self.bias, name="feed_forward")
        return x + self._dropped(feed_forward(norm(name="feed_forward_norm")(x)))

    def _dropped(self, y: Symbol) -> Symbol:
        return Dropout(self.dropout)(y) if self.dropout else y


@dataclass(frozen=True)
class Transformer(Block):
    """Positions, blocks, and a normalization: a network for sequences, up to the output layer
    (Vaswani et al., 2017; with causal=True it is that of Radford et al., 2019, "GPT-2").

    x has the shape (samples, time, features): numbers, or the output of an Embedding. A second,
    optional input has the number of valid positions of each sample, of shape (samples,). The output
    has the shape (samples, time, width).

    Attributes:
        blocks: the number of blocks
        width: the features of the blocks. Where x has others, a Dense layer leads to them; by
            default they are those of x
        heads, hidden, activation, norm, kv_heads, causal, dropout, bias: see TransformerBlock
        positions: "learned", "sinusoidal", "rotary" or "none"
        length: the largest number of positions, where they are learned; by default those of x

    Examples:
        >>> from chainrule import Network
        >>> gpt = "embedding 65 128, transformer 4 heads=4 causal=true, tied_dense embedding_1"
        >>> Network(gpt, 64).output_shape
        (64, 65)
        >>> Network("transformer 2 32 heads=2, global_average_pool, 3", (24, 7)).output_shape
        (3,)
    """

    blocks: int = 4
    width: int | None = None
    heads: int = 4
    hidden: int | None = None
    activation: str = "gelu"
    norm: str = "layer_norm"
    kv_heads: int | None = None
    causal: bool = False
    dropout: float = 0.0
    positions: str = "learned"
    length: int | None = None
    bias: bool = True

    accepts_images = True
    takes_lengths = True

    def __post_init__(self) -> None:
        given = [name for name in ("width", "length") if getattr(self, name) is not None]
        self.require_integers("blocks", *given)
        if self.positions not in POSITIONS:
            raise unknown("kind of positions", self.positions, POSITIONS)
        self.block(1)  # which checks the other settings

    def block(self, number: int) -> TransformerBlock:
        """A block, named by its number."""
        return TransformerBlock(
            self.heads, self.hidden, self.activation, self.norm, self.kv_heads, self.causal, self.dropout,
            self.positions == "rotary", self.bias, name=f"block_{number}",
        )  # fmt: skip

    def wire(self, x: Symbol, *lengths: Symbol) -> Symbol:
        if len(x.shape) != 2:
            hint = "; put an embedding before it, such as embedding 65 128" if len(x.shape) == 1 else ""
            raise self.misfit(x.shape, "a sequence of the shape (time, features)", hint)
        if self.width not in (None, x.shape[-1]):
            x = Dense(self.width, name="input")(x)
        if self.positions == "learned":
            x = LearnedPositions(self.length, name="positions")(x)
        elif self.positions == "sinusoidal":
            x = SinusoidalPositions(name="positions")(x)
        if self.dropout:
            x = Dropout(self.dropout)(x)
        for number in range(1, self.blocks + 1):
            x = self.block(number)(x, *lengths)
        return NORMS[self.norm](name="norm")(x)
