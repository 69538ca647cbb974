"""Tokens: the pieces of a text that a language model reads and predicts, as numbers.

Tokens are characters; or pairs of bytes, of which the most frequent become one token again and
again (byte-pair encoding: Sennrich et al., 2016; of bytes: Radford et al., 2019), so that every
text has tokens, whatever its characters.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np

from chainrule.arrays import Array
from chainrule.errors import DataError, require, require_package, setting, unknown

Kind = Literal["characters", "bpe"]
CHARACTERS: Kind = "characters"
PAIRS: Kind = "bpe"
KINDS: tuple[Kind, ...] = (CHARACTERS, PAIRS)
BYTES = 256
PAIRS_BY_DEFAULT = 1000
"""The tokens of a vocabulary of byte pairs, of which 256 are the bytes."""
MOST = 2**16
"""The most tokens of a vocabulary; each is an output of the network."""
PIECE = 1_000_000
"""Characters that are encoded at a time."""


def _alphabet() -> tuple[str, ...]:
    """The character by which each byte is written in a vocabulary of byte pairs: its own if that is
    visible in Latin-1, else one of those from 256 on (Radford et al., 2019).
    """
    visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(BYTES, 2 * BYTES))
    return tuple(chr(byte if byte in visible else next(others)) for byte in range(BYTES))


ALPHABET = _alphabet()
OF_CHARACTER = {character: byte for byte, character in enumerate(ALPHABET)}


def chosen(text: Any) -> tuple[Kind, int]:
    """The kind of tokens and the size of the vocabulary that a text such as "bpe 2000" asks for.

    Raises SettingError for anything else.
    """
    name, _, size = text.strip().partition(" ") if isinstance(text, str) else ("", "", "")
    kind = next((kind for kind in KINDS if kind == name), None)
    if kind is None:
        raise unknown("kind of tokens", text, KINDS)
    allowed = f"a vocabulary of byte pairs has more than {BYTES} tokens, the bytes, and at most {MOST:,}"
    fits = not size or (kind == PAIRS and size.strip().isdecimal() and BYTES < int(size) <= MOST)
    require(fits, f"the tokens are {text!r}; write 'characters', 'bpe', or 'bpe {PAIRS_BY_DEFAULT}': {allowed}")
    return kind, int(size) if size else PAIRS_BY_DEFAULT


@dataclass(frozen=True)
class Tokens:
    """A vocabulary: which tokens there are, and the number of each.

    Attributes:
        kind: "characters" or "bpe"
        symbols: the tokens as they are written in a vocabulary, in the order of their numbers: the
            characters; or the bytes of each token, each written by a character of ALPHABET
        merges: for "bpe", which two tokens become one, in the order in which they do

    Examples:
        >>> tokens = Tokens("characters", (" ", "a", "b"))
        >>> tokens.encode("ab ba").tolist(), tokens.decode([1, 2])
        ([1, 2, 0, 2, 1], 'ab')
    """

    kind: Kind
    symbols: tuple[str, ...]
    merges: tuple[tuple[str, str], ...] = ()

    @property
    def word(self) -> str:
        """What a token is called: character or token."""
        return "character" if self.kind == CHARACTERS else "token"

    @property
    def dtype(self) -> np.dtype[Any]:
        """The smallest type that holds every number."""
        return np.min_scalar_type(len(self.symbols) - 1)

    def encode(self, text: str, name: str = "the text") -> Array:
        """(tokens,) the numbers of a text's tokens; raises DataError, with the line, for a
        character that is no token.
        """
        if self.kind == PAIRS:
            ids = [number for piece in _pieces(text) for number in self._tokenizer.encode(piece).ids]
            return np.array(ids, dtype=self.dtype)
        codes, known = _codes(text), _codes("".join(self.symbols))
        order = np.argsort(known)
        places = np.minimum(np.searchsorted(known, codes, sorter=order), len(known) - 1)
        numbers = order[places]
        wrong = np.flatnonzero(known[numbers] != codes)
        if len(wrong):
            first = int(wrong[0])
            line = text.count("\n", 0, first) + 1
            problem = f"the character {text[first]!r} is not in the vocabulary of the text that was trained on"
            otherwise = f"leave it out, or train with tokens of bytes ({setting('tokens', PAIRS)})"
            raise DataError(f"{name}, line {line}: {problem}; {otherwise}")
        return numbers.astype(self.dtype)

    def decode(self, numbers: Sequence[int] | Array) -> str:
        """The text of these tokens; bytes that are no whole character become U+FFFD."""
        symbols = "".join(self.symbols[int(number)] for number in numbers)
        return symbols if self.kind == CHARACTERS else _bytes(symbols).decode(errors="replace")

    def pieces(self, numbers: Iterable[int]) -> Iterator[str]:
        """The text of these tokens, piece by piece: a character once all of its bytes are there."""
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        for number in numbers:
            symbol = self.symbols[number]
            yield symbol if self.kind == CHARACTERS else decoder.decode(_bytes(symbol))
        yield decoder.decode(b"", final=True)

    def shown(self, number: int) -> str:
        """A token in quotes, such as 'e' or ' the'."""
        return repr(self.text(number))

    def text(self, number: int) -> str:
        """A token's characters; bytes that are no whole character in hexadecimal."""
        symbol = self.symbols[int(number)]
        return symbol if self.kind == CHARACTERS else _bytes(symbol).decode(errors="backslashreplace")

    def problem(self) -> str | None:
        """Why these are no tokens; None if they are."""
        known = {*self.symbols}
        if len(known) != len(self.symbols) or len(known) < 2:
            return "its tokens are not different texts"
        if self.kind == CHARACTERS:
            fits = not self.merges and all(len(symbol) == 1 for symbol in self.symbols)
            return None if fits else "its tokens are not characters"
        are_bytes = known.issuperset(ALPHABET) and all(symbol and OF_CHARACTER.keys() >= {*symbol} for symbol in known)
        are_merged = all({first, second, first + second} <= known for first, second in self.merges)
        return None if are_bytes and are_merged else "its tokens are not pairs of bytes"

    @cached_property
    def _tokenizer(self) -> Any:
        require_package("tokenizers", "text", f"a text in byte pairs ({setting('tokens', PAIRS)})")
        from tokenizers import Tokenizer, models, pre_tokenizers

        numbers = {symbol: k for k, symbol in enumerate(self.symbols)}
        tokenizer = Tokenizer(models.BPE(numbers, list(self.merges)))
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        return tokenizer


def lengths(kind: Kind, symbols: Sequence[str]) -> Array:
    """(tokens,) how many characters begin in each token: those of a text add up to its length."""
    if kind == CHARACTERS:
        return np.ones(len(symbols))
    return np.array([sum(byte & 0xC0 != 0x80 for byte in _bytes(symbol)) for symbol in symbols], dtype=float)


def fit_tokens(text: str, training: str, wanted: str) -> Tokens:
    """The vocabulary of a text: all of its characters; or the byte pairs that are most frequent in
    the part of it that is trained on.

    Raises SettingError for unknown tokens, or if a package is missing.
    """
    kind, size = chosen(wanted)
    if kind == CHARACTERS:
        return Tokens(kind, tuple(map(chr, np.unique(_codes(text)).tolist())))
    require_package("tokenizers", "text", f"{setting('tokens', PAIRS)}")
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(vocab_size=size, initial_alphabet=list(ALPHABET), show_progress=False)
    tokenizer.train_from_iterator(_pieces(training), trainer)
    numbers = tokenizer.get_vocab()
    merges = _merges(tokenizer)
    return Tokens(kind, tuple(sorted(numbers, key=numbers.__getitem__)), merges)


def _merges(tokenizer: Any) -> tuple[tuple[str, str], ...]:
    import json

    return tuple((first, second) for first, second in json.loads(tokenizer.to_str())["model"]["merges"])


def _codes(text: str) -> Array:
    """(characters,) the code points of a text."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")


def _bytes(symbols: str) -> bytes:
    return bytes(OF_CHARACTER[character] for character in symbols)


def _pieces(text: str) -> Iterator[str]:
    """A text in pieces, each of which ends with a line, if a line ends there."""
    start = 0
    while start < len(text):
        stop = text.rfind("\n", start, start + PIECE) + 1 if start + PIECE < len(text) else len(text)
        stop = stop if stop > start else start + PIECE
        yield text[start:stop]
        start = stop
