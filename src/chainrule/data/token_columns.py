"""Columns of text as sequences of tokens, which a network reads one after another.

A column becomes the numbers of its tokens, and how many there are. 0 stands for a token that is
unknown, and fills what is left of a row; the others count from 1. Tokens are words and marks of
punctuation in lower case, characters, or byte pairs. All are learned from the training set.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from chainrule.arrays import Array
from chainrule.data.columns import NUMBERS, prose
from chainrule.data.encoders import Encoder, EncoderRecipe, cleaned
from chainrule.data.tokens import BYTES, CHARACTERS, MOST, PAIRS, Tokens, fit_tokens
from chainrule.errors import RunError, at_least, require, require_package, setting, unknown

if TYPE_CHECKING:
    import polars as pl

WORDS = "words"
KINDS = (WORDS, CHARACTERS, PAIRS)
SIZES = {WORDS: 20_000, CHARACTERS: 1000, PAIRS: 4000}
"""The tokens of a vocabulary, at most."""
LEAST = 2
"""How often a word or a character occurs in the training set, at least, to be a token of its own:
from the others the network learns what to make of an unknown one.
"""
SHARE, LONGEST = 0.99, 256
"""So many tokens of a cell are read that this share of the cells is read whole, but at most LONGEST
unless more are asked for.
"""
MOST_LENGTH = 10_000
LETTERS = 64
"""A cell has at least one token for so many characters, about; the rest of a longer one is not
looked at.
"""
FROM = 10_000
"""With so many training rows, texts of several words are tokens unless something else is asked
for.
"""
UNKNOWN = "unknown"

_WORD = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True)
class Wanted:
    """How columns of text are to be read as tokens.

    Attributes:
        kind: "words", "characters" or "bpe"; None for words where texts have several, or else
            characters
        size: the tokens of a vocabulary, at most; None for the default of the kind
        length: how many tokens of a cell are read, at most; None for what nearly all cells have
        only_prose: whether it is about texts of several words alone
    """

    kind: str | None = None
    size: int | None = None
    length: int | None = None
    only_prose: bool = False


def wanted(text: str | None, tokens: str | None, length: int | None) -> Wanted | None:
    """What `text`, `tokens` and `length` ask for; None if columns of text are to become an input
    for each word. Raises SettingError for anything else.
    """
    if text not in (None, "tokens", "words"):
        raise unknown("way to read columns of text", text, ("tokens", "words"))
    if text != "tokens":
        given = [name for name, value in (("tokens", tokens), ("length", length)) if value is not None]
        require(not given, f"leave {' and '.join(map(setting, given))} out, or choose {setting('text', 'tokens')}")
        return None
    if length is not None:
        length = at_least(f"the length is {length!r}; it takes at least 1 token", length, 1)
        require(length <= MOST_LENGTH, f"the length is {length:,}; at most {MOST_LENGTH:,} tokens of a cell are read")
    if tokens is None:
        return Wanted(length=length)
    name, _, size = tokens.strip().partition(" ") if isinstance(tokens, str) else (tokens, "", "")
    if name not in KINDS:
        raise unknown("kind of tokens", tokens, KINDS)
    least = BYTES if name == PAIRS else 1
    fits = not size or (size.strip().isdecimal() and least < int(size) <= MOST)
    example = f"{name} {SIZES[name]}"
    rule = f"write {name!r}, or {example!r} for so many, more than {least} and at most {MOST:,}"
    require(fits, f"the tokens are {tokens!r}; {rule}")
    return Wanted(name, int(size) if size else None, length)


@dataclass(frozen=True)
class TokenColumn(Encoder):
    """A text as a sequence of tokens.

    Attributes:
        kind: "words", "characters" or "bpe"
        symbols: the tokens, in the order of their numbers, which count from 1
        length: how many tokens of a cell are read, at most
        merges: of byte pairs, which two tokens become one, in this order

    Examples:
        >>> import polars as pl
        >>> column = TokenColumn("words", ("good", "not"), 4)
        >>> [each.tolist() for each in column.encode("reviews", pl.Series(["Not good!", None]))]
        [[2.0, 0.0], [1.0, 0.0], [0.0, 0.0], [0.0, 0.0], [3.0, 0.0]]
    """

    role: ClassVar[str] = "tokens"
    is_index: ClassVar[bool] = True
    kind: str
    symbols: tuple[str, ...]
    length: int
    merges: tuple[tuple[str, str], ...] = ()

    @property
    def width(self) -> int:
        """How many numbers there are, with the one for unknown tokens."""
        return len(self.symbols) + 1

    @property
    def about(self) -> str:
        """Its tokens, in a line."""
        what = "byte pairs" if self.kind == PAIRS else self.kind
        return f"up to {self.length:,} tokens of a cell are read: {len(self.symbols):,} {what}, and one for all others"

    def as_json(self) -> EncoderRecipe:
        recipe: EncoderRecipe = {"role": "tokens", "tokens": self.kind, "length": self.length}  # type: ignore[typeddict-item]
        recipe["vocabulary"] = list(self.symbols)
        if self.merges:
            recipe["merges"] = list(self.merges)
        return recipe

    def names(self, column: str) -> list[str]:
        return [*(f"{column}[{t}]" for t in range(self.length)), f"{column} (length)"]

    def encode(self, name: str, values: pl.Series) -> Iterator[Array]:
        texts = cleaned(values).fill_null("").to_list()
        encoded = np.zeros((self.length, len(texts)), np.float32)
        lengths = np.zeros(len(texts))
        for row, numbers in enumerate(self._numbers(texts)):
            lengths[row] = len(numbers)
            encoded[: len(numbers), row] = numbers
        return iter([*encoded, lengths])

    def shown(self, number: int) -> str:
        """A token in quotes, such as 'great'; what is unknown without."""
        if number == 0:
            return UNKNOWN
        symbol = self.symbols[number - 1]
        return self._pairs.shown(number - 1) if self.kind == PAIRS else repr(symbol)

    def positions(self, numbers: Array) -> list[str]:
        """The tokens at each position of a prepared cell, which are followed by their number."""
        valid = int(numbers[-1])
        return [self.shown(int(n)) if t < valid else "after the end" for t, n in enumerate(numbers[:-1])]

    def problem(self) -> str | None:
        """Why these are no tokens; None if they are."""
        if self.kind == PAIRS:
            return self._pairs.problem()
        are_known = len({*self.symbols}) == len(self.symbols) > 0 and all(self.symbols) and not self.merges
        return None if are_known and len(self.symbols) <= MOST else "its tokens are not different texts"

    def _numbers(self, texts: Sequence[str]) -> Iterator[list[int]]:
        """The numbers of each text's tokens, as many as are read."""
        if self.kind == PAIRS:
            for text in texts:
                yield [n + 1 for n in self._pairs.encode(_begin(text, self.length))[: self.length].tolist()]
            return
        known = {symbol: k for k, symbol in enumerate(self.symbols, start=1)}
        for text in texts:
            yield [known.get(token, 0) for token in islice(pieces(self.kind, _begin(text, self.length)), self.length)]

    @cached_property
    def _pairs(self) -> Tokens:
        return Tokens(PAIRS, self.symbols, self.merges)


def pieces(kind: str, text: str) -> Iterable[str]:
    """The words of a text with its marks of punctuation, in lower case, or its characters. Accents
    are a part of their letter, however they are written (Unicode's composed form, NFC).

    Examples:
        >>> list(pieces("words", "Isn't it GREAT?"))
        ['isn', "'", 't', 'it', 'great', '?']
    """
    text = unicodedata.normalize("NFC", text)
    return (found[0] for found in _WORD.finditer(text.lower())) if kind == WORDS else text


def _begin(text: str, length: int) -> str:
    """What is looked at of a text of which so many tokens are read."""
    return text if len(text) <= LETTERS * length else text[: LETTERS * length]


def fit(wanted: Wanted, texts: pl.Series) -> TokenColumn | None:
    """The tokens of a column, of which these are the texts of the training set; None if it is not
    to be read as tokens.
    """
    if wanted.only_prose and not prose(texts):
        return None
    kind = wanted.kind or (WORDS if prose(texts) else CHARACTERS)
    known = texts.drop_nulls().to_list()
    limit = min(wanted.length or LONGEST, max(8, NUMBERS // max(len(texts), 1)))
    begun, size = [_begin(text, limit) for text in known], wanted.size or SIZES[kind]
    if kind == PAIRS:
        require_package("tokenizers", "text", setting("tokens", PAIRS))
        pairs = fit_tokens("", "\n".join(begun), f"{PAIRS} {size}")
        column = TokenColumn(kind, pairs.symbols, limit, pairs.merges)
    else:
        counts = Counter(token for text in begun for token in islice(pieces(kind, text), limit))
        often = sorted((token for token, count in counts.items() if count >= LEAST), key=lambda t: (-counts[t], t))
        column = TokenColumn(kind, tuple(often[:size]) or tuple(sorted(counts)[:size]), limit)
    if wanted.length is not None or not begun:
        return column
    lengths = [len(numbers) for numbers in column._numbers(begun)]
    return TokenColumn(kind, column.symbols, max(1, int(np.quantile(lengths, SHARE, method="higher"))), column.merges)


def from_json(recipe: Any) -> TokenColumn:
    """The inverse of `as_json`; raises RunError for what doesn't fit together."""
    merges = tuple((first, second) for first, second in recipe.get("merges", ()))
    column = TokenColumn(recipe.get("tokens", ""), tuple(recipe.get("vocabulary", ())), recipe.get("length", 0), merges)
    fits = column.kind in KINDS and 1 <= column.length <= MOST_LENGTH
    if not fits or (problem := column.problem()):
        raise RunError(f"{problem if fits else 'it has no kind of tokens, or no length'}; it was altered")
    return column
