"""The windows of a text as samples of a language model.

A sample is a window of so many tokens, and its target is the same window one token later. Windows
are views of one array, the numbers of all tokens in the smallest type that holds them: they take no
memory, and a mini-batch's are gathered when it is used.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from chainrule.arrays import Array, Samples
from chainrule.data import patterns
from chainrule.data.builtin import BUILTIN
from chainrule.data.dataset import Dataset
from chainrule.data.formats import COMPRESSED, read_bytes
from chainrule.data.preparation import Preparation
from chainrule.data.prepared import prepared
from chainrule.data.source import Source
from chainrule.data.splits import Split, checked_share
from chainrule.data.targets import Target
from chainrule.data.text import Text, is_written_as_table, read_text
from chainrule.data.tokens import CHARACTERS, Tokens, fit_tokens
from chainrule.errors import DataError, at_least, setting

SUFFIXES = (".txt", ".text", ".md", ".rst")
"""The extensions of texts; one that ends in .txt may be a table as well."""
LENGTH = 64
"""The tokens of a window, unless the text is too short for that."""
SHORTEST = 8
"""The tokens of a window, at least, unless fewer are asked for."""


def find_text(what: Any, wanted: bool, as_table: bool = False) -> Text | None:
    """The text that this names; None for other data.

    Args:
        what: as `load` takes it
        wanted: whether it is to be read as a text, whatever its name
        as_table: whether it is to be read as a table, if it can be

    Raises DataError for a file that can't be read as text, and for other data where a text is
    wanted.
    """
    if isinstance(what, Text):
        return what
    if isinstance(what, str | Path) and str(what) in BUILTIN:
        builtin = BUILTIN[str(what)].text
        if builtin is not None:
            return builtin()
    elif isinstance(what, str | Path):
        path = Path(what)
        files = patterns.matching(path) if patterns.is_pattern(path) else [path]
        if files and not path.is_dir() and (wanted or (not as_table and _are_texts(files))):
            return read_text(path, files, patterns.names(path))
    if wanted:
        name = what if isinstance(what, str | Path) else "the data"
        chosen = f"{setting('tokens')} and {setting('length')}"
        raise DataError(f"{name}: it is no text, which alone has tokens; leave {chosen} out")
    return None


def _are_texts(files: list[Path]) -> bool:
    """Whether files are texts by their names, and not written as a table."""
    inner = [file.with_suffix("") if file.suffix.lower() in COMPRESSED else file for file in files]
    suffixes = {file.suffix.lower() for file in inner}
    if not suffixes.issubset(SUFFIXES):
        return False
    return suffixes != {".txt"} or not files[0].is_file() or not is_written_as_table(read_bytes(files[0]))


def windows(numbers: Array, length: int, start: int, stop: int) -> Samples:
    """The windows of the tokens [start, stop), side by side; none if there are too few."""
    count = max(0, (stop - start - 1) // length)
    if not count:
        return Samples(*(prepared(np.empty((0, length), numbers.dtype)) for _ in range(2)))
    every, end = sliding_window_view(numbers, length), start + count * length
    return Samples(prepared(every[start:end:length]), prepared(every[start + 1 : end + 1 : length]))


def of_length(data: Dataset, length: int) -> Dataset:
    """The same text in windows of another length; raises DataError if a set is too short for
    one.
    """
    if length == data.input_shape[0]:
        return data
    parts: list[Samples | None] = []
    places: list[Array | None] = []
    for part, rows in (
        (data.training, data.rows),
        (data.validation, data.validation_rows),
        (data.test, data.test_rows),
    ):
        if part is None:
            parts.append(None)
            places.append(None)
            continue
        numbers = np.append(np.asarray(part.x).ravel(), np.asarray(part.y)[-1, -1])
        own = windows(numbers, length, 0, len(numbers))
        if not len(own.x):
            raise DataError(f"{data.name}: its smallest set has no window of {length:,} tokens; use a shorter one")
        parts.append(own)
        places.append(None if rows is None else int(rows[0]) + length * np.arange(len(own.x)))
    training, validation, test = parts
    assert training is not None
    assert data.preparation is not None
    assert data.source is not None
    target = replace(data.target, positions=(length,))
    tokens = data.source.features[:, 0]
    source = replace(data.source, features=sliding_window_view(np.append(tokens, data.source.features[-1, 1:]), length))
    return replace(
        data, training=training, validation=validation, test=test, target=target, source=source, rows=places[0],
        validation_rows=places[1], test_rows=places[2],
        preparation=replace(data.preparation, shape=(length,), target=target),
        settings=None if data.settings is None else {**data.settings, "length": length},
    )  # fmt: skip


def windows_of(preparation: Preparation, text: Text) -> Samples:
    """The windows of a text in the tokens of a preparation; raises DataError for a text that is
    too short.
    """
    tokens, length = preparation.tokens, preparation.shape[0]
    assert tokens is not None
    numbers = tokens.encode(text.content, text.name)
    samples = windows(numbers, length, 0, len(numbers))
    if not len(samples.x):
        counted = f"it has {len(numbers):,} {tokens.word}s, but a window and its target take {length + 1:,}"
        raise DataError(f"{text.name}: {counted}; use a longer text")
    return samples


def load_text(
    text: Text,
    *,
    tokens: str | None = None,
    length: int | None = None,
    validation: Any = 0.1,
    test: Any = 0.2,
    preparation: Preparation | None = None,
) -> Dataset:
    """The windows of a text, of which the end is held out; `load` says what the arguments are."""
    if length is not None:
        length = at_least(f"the length of a window is {length!r}; it has at least one token", length, 1)
    shares = [checked_share(name, part) if is_share(part) else 0.0
              for name, part in (("validation", validation), ("test", test))]  # fmt: skip
    parts = _parts(text.content, shares)
    fitted = None if preparation is None else preparation.tokens
    vocabulary = fitted or fit_tokens(text.content, parts[0], tokens or CHARACTERS)
    if len(vocabulary.symbols) < 2:
        raise DataError(f"{text.name}: every character is {text.content[0]!r}; there is nothing to learn")
    encoded = [vocabulary.encode(part, text.name) for part in parts]
    if preparation is None:
        length = _length(text, vocabulary, [len(part) for part in encoded if len(part)], length)
        target = Target(
            "classification", f"next {vocabulary.word}", vocabulary.symbols, positions=(length,), tokens=vocabulary.kind
        )
        preparation = Preparation("text", (length,), target, tokens=vocabulary)
    length = preparation.shape[0]
    numbers = np.concatenate(encoded)
    ends = np.cumsum([0, *map(len, encoded)]).tolist()
    found = [windows(numbers, length, start, stop) for start, stop in pairwise(ends)]
    rows: list[Array | None] = [
        np.arange(len(part.x)) * length + start for part, start in zip(found, ends, strict=False)
    ]
    prints = ["", "", ""]
    for k, part in enumerate((validation, test), start=1):
        if not is_share(part):
            other = find_text(part, wanted=True)
            assert other is not None
            found[k], rows[k], prints[k] = windows_of(preparation, other), None, other.fingerprint
    training, held_out, tested = (part if len(part.x) else None for part in found)
    assert training is not None
    used, of_validation, of_test = (own if own is not None and len(own) else None for own in rows)
    source = Source(
        text.name, sliding_window_view(numbers[:-1], length), None, preparation.target.name, "classification",
        text.fingerprint, files=text.files, tokens=vocabulary,
    )  # fmt: skip
    return Dataset(
        training, held_out, tested, preparation.target, preparation, text.name, text.fingerprint, None, source, used,
        of_validation, of_test, prints[1], prints[2], Split("end"),
    )  # fmt: skip


def is_share(part: Any) -> bool:
    """Whether a part of the data is given as a share of it; None is refused as one."""
    return part is None or isinstance(part, int | float)


def _parts(content: str, shares: list[float]) -> list[str]:
    """The characters to train on, to validate on and to test on, in their order."""
    counts = [max(round(share * len(content)), 1) if share else 0 for share in shares]
    second = max(0, len(content) - counts[1])
    first = max(0, second - counts[0])
    return [content[:first], content[first:second], content[second:]]


def _length(text: Text, vocabulary: Tokens, sizes: list[int], wanted: int | None) -> int:
    """The tokens of a window, so that each set has a window and its target; raises DataError if
    there are too few.
    """
    most = min(sizes) - 1
    length = min(LENGTH, most) if wanted is None else wanted
    least = SHORTEST if wanted is None else wanted
    if most < least:
        counted = f"{sum(sizes):,} {vocabulary.word}s are too few for windows of {least:,}"
        of_smallest = f"the smallest set has {min(sizes):,}" if len(sizes) > 1 else ""
        remedy = f"use a longer text, or a shorter {setting('length')}"
        raise DataError(f"{text.name}: {'; '.join(filter(None, [counted, of_smallest, remedy]))}")
    return length
