"""How well a trained language model predicts a text, token by token."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from chainrule.arrays import Array
from chainrule.data import Text
from chainrule.data.text_windows import find_text
from chainrule.data.tokens import Tokens
from chainrule.engine import Predictor
from chainrule.errors import DataError, SettingError
from chainrule.training import Plan
from chainrule.training.generation import first_tokens

WINDOWS = 16
"""Windows that are predicted at a time."""


class TokenRead(NamedTuple):
    """A token of a text, and what was predicted in its place from those before it.

    Attributes:
        number: the token; None after the last one
        probability: its predicted probability; NaN of the first one, before which there is nothing
        likeliest: the token that was predicted to be the likeliest; None in place of the first
        highest: the predicted probability of that one
    """

    number: int | None
    probability: float
    likeliest: int | None
    highest: float

    @property
    def bits(self) -> float:
        """-log2 of the probability."""
        return -math.log2(max(self.probability, np.finfo(float).eps))


class Reading:
    """What a trained network can do that is a language model; see `Trained`."""

    plan: Plan

    @property
    @abstractmethod
    def tokens(self) -> Tokens:
        """The vocabulary of the text that it was trained on."""

    @abstractmethod
    def predictor(self, threads: int | None = None) -> Predictor:
        """What predicts samples as the network takes them, with at most so many threads."""

    def read(self, text: str | Path | Text, threads: int | None = None) -> Iterator[TokenRead]:
        """The tokens of a text, each with its predicted probability, and last what is predicted to
        follow. Each is predicted from the tokens before it: from half a window of them or more,
        except at the beginning.

        Args:
            text: a file, a pattern of several, or a `Text`
            threads: with at most so many

        Raises:
            DataError: for a network that was not trained on a text, for what is no text, and for a
                character that it does not know

        Examples:
            >>> import chainrule
            >>> rhyme = chainrule.data.Text("rhyme", "Row, row, row your boat, gently down the stream. " * 40)
            >>> trained = chainrule.train(rhyme, epochs=5, length=16)
            >>> *known, last = trained.read(chainrule.data.Text("line", "Row, row, ro"))
            >>> trained.tokens.text(last.likeliest), sum(one.bits for one in known[1:]) < 20
            ('w', True)
        """
        tokens = self.tokens
        found = find_text(text, wanted=True)
        assert found is not None
        numbers = tokens.encode(found.content, found.name).astype(np.int64)
        yield TokenRead(int(numbers[0]), math.nan, None, math.nan)
        following = [*numbers[1:].tolist(), None]
        for number, distribution in zip(following, self._distributions(numbers, threads), strict=True):
            likeliest = int(distribution.argmax())
            probability = math.nan if number is None else float(distribution[number])
            yield TokenRead(number, probability, likeliest, float(distribution[likeliest]))

    def next_tokens(self, prompt: str = "", threads: int | None = None) -> Array:
        """(tokens,) the probability of each token of the vocabulary to come next after a prompt, by
        its number; after an empty one, at the beginning of a line.

        Examples:
            >>> import chainrule
            >>> rhyme = chainrule.data.Text("rhyme", "Row, row, row your boat, gently down the stream. " * 40)
            >>> trained = chainrule.train(rhyme, epochs=5, length=16)
            >>> trained.tokens.text(trained.next_tokens("Row, ro").argmax())
            'w'
        """
        (window,) = self.plan.network.input_shape
        numbers = np.array(first_tokens(self.tokens, prompt)[-window:])
        return list(self._distributions(numbers, threads))[-1]

    def _distributions(self, numbers: Array, threads: int | None) -> Iterator[Array]:
        """(tokens,) what is predicted after each of these tokens."""
        (window,), predict, loss = self.plan.network.input_shape, self.predictor(threads), self.plan.loss
        step = max(1, window // 2)
        starts = [0, *range(step, len(numbers) - window + step, step)]
        for k in range(0, len(starts), WINDOWS):
            x = np.zeros((len(starts[k : k + WINDOWS]), window), np.int64)
            for row, start in zip(x, starts[k:], strict=False):
                part = numbers[start : start + window]
                row[: len(part)] = part  # what fills it up is behind, where a causal network does not look
            raw = predict(x)
            if not np.isfinite(raw).all():
                raise DataError("the prediction is not finite; its inputs are too far from the training set's")
            found = loss.probabilities(raw.reshape(-1, raw.shape[-1]))
            if found is None:
                raise SettingError(f"the loss {type(loss).__name__} predicts no probabilities")
            for start, rows in zip(starts[k:], found.reshape(raw.shape), strict=False):
                first = start + window - step if start else 0
                yield from rows[first - start : len(numbers) - start]
