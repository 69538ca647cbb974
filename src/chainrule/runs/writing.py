"""How a trained language model writes."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Iterator
from typing import Any

from chainrule.arrays import Vector
from chainrule.data import Preparation, Target
from chainrule.data.tokens import Tokens
from chainrule.engine import Engine
from chainrule.errors import DataError, at_least, require, setting
from chainrule.generators import seed as checked_seed
from chainrule.training import Plan
from chainrule.training.causality import require_causal
from chainrule.training.generation import TEMPERATURE, Reader, Written, first_tokens, write

MOST_TEXTS = 100_000
"""The most texts that are written at the same time."""


class Writing:
    """What a trained network can do that is a language model; see `Trained`."""

    plan: Plan
    target: Target
    preparation: Preparation | None

    parameters: Vector
    statistics: Vector
    threads: int | None
    _readers: dict[tuple[int, int, int | None], Reader]

    @abstractmethod
    def _engine(self, threads: int | None) -> Engine:
        """What computes, with at most so many threads."""

    def generate(
        self, prompt: str = "", length: int = 200, temperature: float = TEMPERATURE, seed: int = 0,
        threads: int | None = None, top_k: int | None = None,
    ) -> str:  # fmt: skip
        """The prompt, and how the network continues it: a language model, which was trained on a
        text. What it has computed for a token serves for the next ones, where the network allows it
        (`reader` says so).

        Args:
            prompt: the text to continue; without one, a line begins
            length: how many tokens to write, which are characters unless it was trained on others
            temperature: 1 draws each token by its predicted probability; lower ones prefer likely
                tokens, and 0 takes the likeliest
            seed: of the random numbers
            threads: with at most so many
            top_k: how many tokens to draw from, the likeliest ones; by default all

        Raises:
            DataError: for a network that was not trained on a text, and for a prompt with a
                character that it does not know
            SettingError: for other settings than these, and for a network that is not causal

        Examples:
            >>> import chainrule
            >>> rhyme = chainrule.data.Text("rhyme", "Row, row, row your boat, gently down the stream. " * 40)
            >>> trained = chainrule.train(rhyme, epochs=5, length=16)
            >>> trained.generate("Row", length=5, temperature=0)
            'Row, row'
        """
        written = self.written(prompt, length, temperature, seed, threads, top_k)
        return self._whole(prompt, [one.number for one in written])

    def generate_several(
        self, samples: int, prompt: str = "", length: int = 200, temperature: float = TEMPERATURE, seed: int = 0,
        threads: int | None = None, top_k: int | None = None,
    ) -> list[str]:  # fmt: skip
        """So many different texts that continue the same prompt, written at the same time, which
        takes less time than one after another. The first is that of `generate`.

        Examples:
            >>> import chainrule
            >>> rhyme = chainrule.data.Text("rhyme", "Row, row, row your boat, gently down the stream. " * 40)
            >>> trained = chainrule.train(rhyme, epochs=5, length=16)
            >>> [len(text) for text in trained.generate_several(3, "Row", length=5, temperature=2)]
            [8, 8, 8]
        """
        written = list(self.written_together(samples, prompt, length, temperature, seed, threads, top_k))
        return [self._whole(prompt, [one.number for one in own]) for own in zip(*written, strict=True)]

    def _whole(self, prompt: str, numbers: list[int]) -> str:
        known = self.tokens
        return prompt + known.decode([*known.encode(prompt), *numbers])[len(prompt) :]

    def written(
        self, prompt: str = "", length: int = 200, temperature: float = TEMPERATURE, seed: int = 0,
        threads: int | None = None, top_k: int | None = None,
    ) -> Iterator[Written]:  # fmt: skip
        """The tokens that `generate` adds, one by one, each with its predicted probability."""
        together = self.written_together(1, prompt, length, temperature, seed, threads, top_k)
        return (one for (one,) in together)

    def written_together(
        self, samples: int = 1, prompt: str = "", length: int = 200, temperature: float = TEMPERATURE, seed: int = 0,
        threads: int | None = None, top_k: int | None = None,
    ) -> Iterator[tuple[Written, ...]]:  # fmt: skip
        """The tokens that `generate_several` adds: the next one of each text, again and again."""
        known, first = self.tokens, checked_seed(seed)
        reader = self.reader(samples, threads)
        # Each text has a key of its own; the first one's does not depend on how many there are.
        keys = [(first, "generate"), *((first, "generate", text) for text in range(1, samples))]
        context = first_tokens(known, prompt)
        if not reader.keeps:  # else it predicts without having seen what comes next
            require_causal(self.plan.network, self.target)
        drawn = write(reader, self.plan.loss, context, length, temperature, top_k, keys)
        return self._giving_back(reader, drawn, threads)

    def reader(self, texts: int = 1, threads: int | None = None) -> Reader:
        """What predicts the next tokens of so many texts at the same time, with at most so many
        threads. It remembers what it has read, and so it is the caller's own.
        """
        texts = at_least(f"{setting('samples')} is {texts!r}; it takes at least 1 text", texts, 1)
        require(texts <= MOST_TEXTS, f"{setting('samples')} is {texts:,}; it takes at most {MOST_TEXTS:,} texts")
        reader = self._readers.pop(self._key(texts, threads), None)
        if reader is None:
            network = self.plan.network
            reader = Reader.of(self._engine(threads), network, self.parameters, self.statistics, texts)
        return reader

    def give_back(self, reader: Reader, threads: int | None = None) -> None:
        """Let a reader serve again: the next call of `reader` returns it."""
        self._readers[self._key(reader.texts, threads)] = reader

    def _giving_back(self, reader: Reader, drawn: Iterator[Any], threads: int | None) -> Iterator[Any]:
        yield from drawn
        self.give_back(reader, threads)

    def _key(self, texts: int, threads: int | None) -> tuple[int, int, int | None]:
        return os.getpid(), texts, self.threads if threads is None else threads

    @property
    def tokens(self) -> Tokens:
        """The vocabulary of the text that it was trained on; raises DataError if there is none."""
        tokens = None if self.preparation is None else self.preparation.tokens
        if tokens is None:
            raise DataError(f"it predicts {self.target.described} and continues no text; train it on a text")
        return tokens
