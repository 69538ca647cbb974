"""How a language model writes: token after token, each drawn from the distribution that the network
predicts after those before it.

Token m of a text is predicted from tokens s to m - 1, its context. It has all tokens before it, as
long as a network with positions or attention has seen so many in training, in a window. When the
window is full, the context is cut to its newer half, and grows again: so s is a multiple of half
the window, and what has been computed for a token serves for as many tokens as follow it until
then. A network that only carries a state from token to token needs no such limit: s is 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from chainrule.arrays import Array, Vector
from chainrule.data.tokens import Tokens
from chainrule.engine import Engine, Predictor
from chainrule.engine.continuation import Continuation, most_positions
from chainrule.errors import DataError, SettingError, at_least, is_number, require, setting
from chainrule.generators import generator
from chainrule.losses import Loss
from chainrule.network import Network

TEMPERATURE = 0.8
MOST_TEMPERATURE = 100.0
MOST_TOKENS = 10_000_000
"""The most tokens that are written at a time; a random number is drawn for each beforehand."""
LOW = 0.05


class Written(NamedTuple):
    """A token that was drawn.

    Attributes:
        number: the token
        probability: what the network predicted for it, at temperature 1
    """

    number: int
    probability: float


def first_tokens(tokens: Tokens, prompt: Any) -> list[int]:
    """The tokens of a prompt; of an empty one a line feed, after which a line begins, or else the
    first token of the vocabulary. Raises DataError for a character that is no token.
    """
    require(isinstance(prompt, str), f"the prompt is {prompt!r}; pass a text")
    if prompt:
        return [int(number) for number in tokens.encode(prompt, "the prompt")]
    return [int(tokens.encode("\n")[0])] if "\n" in tokens.symbols or tokens.merges else [0]


def first_of_context(count: int, most: int | None) -> int:
    """The first of `count` tokens that the next one is predicted from, of `most` at most.

    Examples:
        >>> [first_of_context(count, 8) for count in (1, 8, 9, 12, 13)], first_of_context(13, None)
        ([0, 0, 4, 4, 8], 0)
    """
    if most is None or count <= most:
        return 0
    half = max(1, most // 2)
    return -(-(count - most) // half) * half


class Reader:
    """Predicts what comes next in texts. It reads each token once, where the network can be
    continued (see engine/continuation.py); otherwise the network sees the whole context for each
    token.

    Attributes:
        texts: how many texts it reads at the same time
        most: the most tokens of a context; None without a limit
    """

    def __init__(self, network: Network, predict: Predictor, continuation: Continuation | None, texts: int = 1) -> None:
        self.texts = texts
        self._predict, self._continuation, self._window = predict, continuation, network.input_shape[0]
        self.most = self._window if continuation is None else most_positions(network)
        self._start = self._read = 0

    @classmethod
    def of(cls, engine: Engine, network: Network, parameters: Vector, statistics: Vector, texts: int = 1) -> Reader:
        """The reader of a network with these parameters and statistics."""
        continuation = engine.continuation(parameters, statistics, texts)
        return cls(network, engine.predictor(parameters, statistics), continuation, texts)

    @property
    def keeps(self) -> bool:
        """Whether it keeps what it has computed for a token."""
        return self._continuation is not None

    @property
    def note(self) -> str:
        """A message for the user, if it takes more time than it could."""
        again = (
            "the network computes all positions again for each token: it could not be continued from one to the next"
        )
        return "" if self.keeps else again

    def begin(self) -> None:
        """Read new texts."""
        self._start = self._read = 0
        if self._continuation is not None:
            self._continuation.forget()

    def next(self, known: Array) -> Array:
        """(texts, outputs) the network's outputs after these tokens, (texts, count), which begin
        with those of the call before.
        """
        start = first_of_context(known.shape[1], self.most)
        if self._continuation is None:
            context = known[:, start:]
            x = np.zeros((self.texts, self._window), np.int64)
            x[:, : context.shape[1]] = context  # a causal network does not look at what is behind
            return self._predict(x)[:, context.shape[1] - 1]
        if start != self._start:
            self._start = self._read = start
            self._continuation.forget()
        new, self._read = known[:, self._read :], known.shape[1]
        return self._continuation.read(new)[:, -1]


def write(
    reader: Reader, loss: Loss, context: Sequence[int], length: Any, temperature: Any, top: Any, keys: Sequence[Any]
) -> Iterator[tuple[Written, ...]]:
    """Draw tokens that continue a text: for each key a text of its own, and always the same one.

    Args:
        reader: predicts what comes next in as many texts as there are keys
        loss: turns the network's outputs into probabilities
        context: the tokens to continue, at least one
        length: how many to draw
        temperature: probabilities are raised to the power of its inverse before a token is drawn:
            below 1 likely tokens become likelier (Ackley et al., 1985); 0 takes the likeliest
        top: how many tokens are drawn from, the likeliest ones (Fan et al., 2018); None for all
        keys: of the random numbers of each text

    Returns the next token of each text, again and again.

    Raises:
        SettingError: for a length below 1 or above MOST_TOKENS, a temperature below 0, or a `top`
            below 1
        DataError: if the network predicts no finite probabilities
    """
    count = at_least(f"the length is {length!r}; it takes at least 1 token", length, 1)
    require(count <= MOST_TOKENS, f"the length is {count:,}; it takes at most {MOST_TOKENS:,} tokens")
    fits = is_number(temperature, 0) and temperature <= MOST_TEMPERATURE
    rule = f"it must be a number from 0 to {MOST_TEMPERATURE:g}"
    require(fits, f"{setting('temperature')} is {temperature!r}; {rule}")
    if top is not None:
        top = at_least(f"{setting('top_k')} is {top!r}; it takes at least 1 token", top, 1)
    return _written(reader, loss, context, count, temperature, top, keys)


def _written(
    reader: Reader, loss: Loss, context: Sequence[int], count: int, temperature: float, top: int | None,
    keys: Sequence[Any],
) -> Iterator[tuple[Written, ...]]:  # fmt: skip
    known = np.empty((len(keys), len(context) + count), np.int64)
    known[:, : len(context)] = context
    uniform = [generator(*key).random(count).tolist() for key in keys]
    reader.begin()
    for k, size in enumerate(range(len(context), known.shape[1])):
        probabilities = loss.probabilities(reader.next(known[:, :size]))
        if probabilities is None:
            raise SettingError(f"the loss {type(loss).__name__} predicts no probabilities, which tokens are drawn by")
        drawn = []
        for text, own in enumerate(probabilities):
            number = _drawn(own, temperature, top, uniform[text][k])
            known[text, size] = number
            drawn.append(Written(number, float(own[number])))
        yield tuple(drawn)


def _drawn(probabilities: Array, temperature: float, top: int | None, uniform: float) -> int:
    """A token by these probabilities, and a random number in [0, 1)."""
    if temperature < LOW:  # so low that powers of other probabilities might underflow
        likeliest = probabilities.argmax()
        if temperature == 0 and math.isfinite(probabilities[likeliest]):
            return int(likeliest)
        probabilities = probabilities / probabilities[likeliest]
    shares = probabilities.astype(np.float64)
    if top is not None and top < len(shares):
        shares[np.argpartition(shares, -top)[:-top]] = 0
    if temperature not in (0, 1):
        shares **= 1 / temperature
    sums = shares.cumsum()
    whole = float(sums[-1])
    if not math.isfinite(whole):
        raise DataError("the network's probabilities are not finite, so no token can be drawn")
    return int(sums.searchsorted((1 - uniform) * whole))  # above 0, so of a token with a share


def is_time_to_write(epoch: int, epochs: int) -> bool:
    """Whether a sample is written after this epoch: the first, the second, the fourth and so on,
    and the last.
    """
    return epoch == epochs or math.log2(epoch).is_integer()
