"""Lines of arithmetic, as a person would write them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

MOST_TERMS, LARGEST = 8, 4
"""The maximum number of products that are written out, and how many of a longer sum are."""


def short(number: Any) -> str:
    """A number for people: three decimals, or two figures and a power of ten if it is small."""
    value = float(number)
    size = abs(value)
    text = f"{value:.3f}" if size >= 0.0005 or value == 0 else f"{value:.1e}"
    if size >= 1000:
        text = f"{value:.4g}"
    return text.replace("-", "−")


def enclosed(number: float) -> str:
    """The same, in parentheses if negative."""
    return f"({short(number)})" if number < 0 else short(number)


def added(terms: list[str]) -> str:
    """The terms with plus signs, or minus signs where one is negative."""
    first, *others = terms
    return first + "".join(f" − {term[1:]}" if term.startswith("−") else f" + {term}" for term in others)


def products(pairs: Iterable[tuple[float, float]]) -> list[str]:
    """Each pair as a product; of a long sum the largest ones, and what all the others add up to."""
    pairs = list(pairs)
    rest: list[str] = []
    if len(pairs) > MOST_TERMS:
        pairs.sort(key=lambda pair: -abs(pair[0] * pair[1]))
        pairs, others = pairs[:LARGEST], pairs[LARGEST:]
        rest = [f"{short(sum(w * x for w, x in others))} ({len(others)} more)"]
    return [*(f"{short(w)} × {enclosed(x)}" for w, x in pairs), *rest]


def loss_line(loss: float, name: str, probability: float) -> str:
    """The loss of a sample, as cross-entropy if that is what it is."""
    if probability > 0 and np.isclose(-np.log(probability), loss, rtol=1e-3):
        return f"L = −log {name} = −log {short(probability)} = {short(loss)}"
    return f"L = {short(loss)}"
