"""Lines of arithmetic, as a person would write them.

A number in a line can say which quantity it is, as `‹dense_1[0]|z|0.450›`: what it belongs to and
what it is, as on the stage. The page highlights the same quantity wherever it stands.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

MOST_TERMS, LARGEST = 8, 4
"""The maximum number of products that are written out, and how many of a longer sum are."""


Quantity = tuple[str, str]
"""What a number belongs to (a unit or a weight), and what it is ("z", "value" and so on)."""
NONE: Quantity = ("", "")


def plain(line: str) -> str:
    """A line without the names of its quantities."""
    return re.sub(r"‹[^|›]*\|[^|›]*\|([^›]*)›", r"\1", line)


def short(number: Any, of: Quantity = NONE) -> str:
    """A number for people: three decimals, or two figures and a power of ten if it is small."""
    value = float(number)
    size = abs(value)
    text = f"{value:.3f}" if size >= 0.0005 or value == 0 else f"{value:.1e}"
    if size >= 1000:
        text = f"{value:.4g}"
    text = text.replace("e-0", "e-").replace("e+0", "e+").replace("-", "−")
    return f"‹{of[0]}|{of[1]}|{text}›" if of[0] else text


def enclosed(number: float, of: Quantity = NONE) -> str:
    """The same, in parentheses if negative."""
    return f"({short(number, of)})" if number < 0 else short(number, of)


def added(terms: list[str]) -> str:
    """The terms with plus signs, or minus signs where one is negative."""
    first, *others = terms
    signed = [re.sub(r"^(‹[^›]*?\|)?−", r"−\1", term) for term in others]  # the sign before the name
    return first + "".join(f" − {term[1:]}" if term.startswith("−") else f" + {term}" for term in signed)


def products(pairs: Iterable[tuple[float, float]], of: Sequence[tuple[Quantity, Quantity]] = ()) -> list[str]:
    """Each pair as a product; of a long sum the largest ones, and what all the others add up to.

    `of` says which quantities the pairs are, if that is known.
    """
    pairs = list(pairs)
    named = list(zip(pairs, of or [(NONE, NONE)] * len(pairs), strict=True))
    rest: list[str] = []
    if len(named) > MOST_TERMS:
        named.sort(key=lambda one: -abs(one[0][0] * one[0][1]))
        named, others = named[:LARGEST], named[LARGEST:]
        rest = [f"{short(sum(w * x for (w, x), _ in others))} ({len(others)} more)"]
    return [*(f"{short(w, first)} × {enclosed(x, second)}" for (w, x), (first, second) in named), *rest]


def loss_line(loss: float, name: str, probability: float, unit: str) -> str:
    """The loss of a sample at an output unit, as cross-entropy if that is what it is."""
    value = short(loss, (unit, "loss"))
    if probability > 0 and np.isclose(-np.log(probability), loss, rtol=1e-3):
        return f"L = −log {name} = −log {short(probability)} = {value}"
    return f"L = {value}"
