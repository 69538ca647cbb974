"""How a language model writes: token after token, each drawn from the distribution that the network
predicts after those before it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from chainrule.arrays import Array
from chainrule.data.tokens import Tokens
from chainrule.engine import Predictor
from chainrule.errors import SettingError, at_least, is_number, require, setting
from chainrule.generators import generator
from chainrule.losses import Loss

TEMPERATURE = 0.8
MOST_TEMPERATURE = 100.0


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


def write(
    predict: Predictor, loss: Loss, window: int, context: list[int], length: Any, temperature: Any, *key: str | int
) -> Iterator[Written]:
    """Draw tokens that continue others; the same ones for the same key.

    A window shorter than that of the network is filled up behind: a causal network does not look
    there.

    Args:
        predict: predicts windows (samples, window)
        loss: turns the network's outputs into probabilities
        window: the tokens of a window
        context: the tokens to continue, at least one
        length: how many to draw
        temperature: probabilities are raised to the power of its inverse before a token is drawn:
            below 1 likely tokens become likelier (Ackley et al., 1985); 0 takes the likeliest
        key: of the random numbers

    Raises:
        SettingError: for a length below 1, or a temperature below 0
    """
    count = at_least(f"the length is {length!r}; it takes at least 1 token", length, 1)
    fits = is_number(temperature, 0) and temperature <= MOST_TEMPERATURE
    rule = f"it must be a number from 0 to {MOST_TEMPERATURE:g}"
    require(fits, f"{setting('temperature')} is {temperature!r}; {rule}")
    random, known = generator(*key), list(context)
    for _ in range(count):
        x, last = np.zeros((1, window), np.int64), known[-window:]
        x[0, : len(last)] = last
        probabilities = loss.probabilities(predict(x)[:, len(last) - 1])
        if probabilities is None:
            raise SettingError(f"the loss {type(loss).__name__} predicts no probabilities, which tokens are drawn by")
        number = _drawn(probabilities[0].astype(np.float64), temperature, random)
        known.append(number)
        yield Written(number, float(probabilities[0, number]))


def _drawn(probabilities: Array, temperature: float, random: np.random.Generator) -> int:
    """A token by these probabilities."""
    if temperature == 0:
        return int(probabilities.argmax())
    with np.errstate(divide="ignore"):
        logarithms = np.log(probabilities) / temperature
    shares = np.cumsum(np.exp(logarithms - logarithms.max()))
    return min(int(np.searchsorted(shares, random.random() * shares[-1], side="right")), len(shares) - 1)


def is_time_to_write(epoch: int, epochs: int) -> bool:
    """Whether a sample is written after this epoch: the first, the second, the fourth and so on,
    and the last.
    """
    return epoch == epochs or math.log2(epoch).is_integer()
