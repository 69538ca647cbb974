"""Small sequences for the page: texts that are quickly learned, and numbers to remember.

Each is there for one question. What is a letter predicted from (`house`, `echo`)? How long must a
network remember (`recall`, `addition`)?
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.data import Dataset, Source, Text, load, sequences
from chainrule.data.text_windows import load_text
from chainrule.generators import generator

REMEMBERED, STEPS = 10, 16
"""The time steps of `recall`, and the most of `addition`."""
LETTERS, WORD = "abcd", 4
"""The letters that `echo` is written in, and how many of them make a word."""
WINDOW = 16
"""The characters of a window of the rhyme."""


@dataclass(frozen=True)
class Toy:
    """Sequences that the page generates, and settings that learn them.

    Attributes:
        about: a one-line description
        load: (samples, seed, validation) the data set; of a text so many lines, or all of it
        settings: the page's settings for it, as JSON
        writes_lines: whether each window of a text is a line of its own
    """

    about: str
    load: Callable[[int, int, float], Dataset]
    settings: dict[str, Any]
    writes_lines: bool = False


def echo(samples: int, seed: int = 0) -> Text:
    r"""Lines in which a word of random letters stands twice: only the second one can be known.

    Examples:
        >>> first, second = echo(2).content.split("\n")[0].split(" ")
        >>> len(first), first == second
        (4, True)
    """
    words = generator(seed, "echo").choice(list(LETTERS), (samples, WORD))
    return Text("echo", "".join(f"{word} {word}\n" for word in map("".join, words)))


_BUILT = (
    "the house that Jack built", "the malt that lay in", "the rat that ate", "the cat that killed",
    "the dog that worried", "the cow with the crumpled horn that tossed", "the maiden all forlorn that milked",
    "the man all tattered and torn that kissed", "the priest all shaven and shorn that married",
    "the cock that crowed in the morn that woke", "the farmer sowing his corn that kept",
)  # fmt: skip


def house() -> Text:
    r"""The rhyme of the house that Jack built, which says everything again and adds a line.

    Examples:
        >>> print(*house().content.split("\n\n")[1].splitlines(), sep=" / ")
        This is the malt that lay in / the house that Jack built.
    """
    verses = [["This is " + _BUILT[k], *reversed(_BUILT[:k])] for k in range(len(_BUILT))]
    return Text("house", "".join("\n".join(lines) + ".\n\n" for lines in verses))


def recall(samples: int, seed: int = 0) -> Source:
    """Sequences of random numbers. The target is the first one: it has to be remembered."""
    numbers = generator(seed, "recall").uniform(-1, 1, (samples, REMEMBERED, 1))
    return Source("recall", numbers, numbers[:, 0, 0], "first number", "regression")


def addition(samples: int, seed: int = 0) -> Source:
    """Sequences of different lengths, in which two numbers are marked. The target is their sum
    (Hochreiter and Schmidhuber, 1997, experiment 4).
    """
    random = generator(seed, "addition")
    lengths = random.integers(STEPS // 2, STEPS + 1, samples)
    numbers, marks = random.random((samples, STEPS)), np.zeros((samples, STEPS))
    for marked, length in zip(marks, lengths, strict=True):
        marked[random.choice(length, 2, replace=False)] = 1
    x, y = np.stack([numbers, marks], axis=-1), (numbers * marks).sum(axis=1)
    packed = sequences.packed("addition", x, lengths)
    names = tuple(f"{name} {t}" for t in range(STEPS) for name in ("number", "mark"))
    return Source("addition", packed, y, "sum", "regression", columns=(*names, "length"), sequence=x.shape[1:])


def _of_text(write: Callable[[int, int], Text], length: int) -> Callable[[int, int, float], Dataset]:
    def loaded(samples: int, seed: int, validation: float) -> Dataset:
        return load_text(write(samples, seed), length=length, validation=validation, test=0.0)

    return loaded


def _of_numbers(draw: Callable[[int, int], Source]) -> Callable[[int, int, float], Dataset]:
    def loaded(samples: int, seed: int, validation: float) -> Dataset:
        return load(draw(samples, seed), validation=validation, test=0.0, seed=seed)

    return loaded


_ADAM = {"optimizer": "adam", "learning_rate": 0.01, "batch_size": 16, "epochs": 40}
TOYS: dict[str, Toy] = {
    "house": Toy(
        "a text: the rhyme of the house that Jack built, 1,900 characters",
        _of_text(lambda *_: house(), WINDOW),
        {"network": "embedding 27 24, transformer 2 heads=2 causal=true", **_ADAM, "epochs": 200},
    ),
    "echo": Toy(
        "a text: lines such as 'bdac bdac', in which a word of random letters stands twice",
        _of_text(echo, 2 * WORD + 2),
        {"network": "embedding 6 16, transformer 1 heads=2 causal=true", **_ADAM},
        writes_lines=True,
    ),
    "recall": Toy(
        f"sequences of {REMEMBERED} random numbers; the first one is to be remembered",
        _of_numbers(recall),
        {"network": "lstm 8", **_ADAM, "learning_rate": 0.02},
    ),
    "addition": Toy(
        f"sequences of {STEPS // 2} to {STEPS} numbers, two of them marked; their sum is the target",
        _of_numbers(addition),
        {"network": "lstm 8", **_ADAM, "learning_rate": 0.02},
    ),
}
"""The generated sequences by name."""
