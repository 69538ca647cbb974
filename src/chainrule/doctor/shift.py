"""Shift: held-out samples, or their targets, are distributed otherwise than the training set.

Each input is compared by the test of Kolmogorov and Smirnov, and classes by Pearson's chi-squared
test, with Bonferroni's correction for the number of comparisons. With many samples every test finds
differences that don't matter, so one must be large as well.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from chainrule.arrays import Array, Samples
from chainrule.doctor.case import Case
from chainrule.doctor.finding import Finding, Remedy, listed, number

LEVEL = 1e-3
"""The probability, after the correction, of finding a shift where there is none."""
DISTANCE = 0.15
"""The largest distance between the two distribution functions from which a shift matters."""
FEWEST = 20
"""The fewest held-out samples to compare."""
MOST = 5000
"""The most inputs that are compared."""


def find(case: Case) -> Iterator[Finding]:
    """Whether the held-out sets differ from the training set."""
    data = case.data
    if data.target.tokens or data.target.positions or data.target.season:
        return
    for name, samples in (("test", data.test), ("validation", data.validation)):
        if samples is None or len(samples.x) < FEWEST:
            continue
        found = shifted(case, samples)
        if found:
            yield _finding(name, len(samples.x), found)
            return


def shifted(case: Case, samples: Samples) -> list[tuple[str, float, float]]:
    """What is shifted: the name, the distance and the corrected probability of each, the largest
    distance first.
    """
    own = case.flat("training")
    new = np.asarray(samples.thinned(case.most).x)
    new = new.reshape(len(new), -1)
    columns = [k for k in range(own.shape[1]) if own.shape[1] <= MOST]
    compared = len(columns) + 1
    rows = [(case.input_name(k), *kolmogorov_smirnov(own[:, k], new[:, k])) for k in columns]
    y, target = np.asarray(case.data.training.y), case.data.target
    if target.is_class:
        rows.append((f"target {target.name}", *chi_squared(y, np.asarray(samples.y), target.width)))
    elif target.task == "regression":
        first = (np.asarray(part).reshape(len(part), -1)[:, 0] for part in (y, samples.y))
        rows.append((f"target {target.name}", *kolmogorov_smirnov(*first)))
    found = [(name, distance, min(1.0, p * compared)) for name, distance, p in rows]
    return sorted((one for one in found if one[2] < LEVEL and one[1] > DISTANCE), key=lambda one: -one[1])


def kolmogorov_smirnov(first: Array, second: Array) -> tuple[float, float]:
    """The largest distance between two distribution functions, and how probable it is at least for
    samples of the same distribution (asymptotically; ties make it more probable).

    Examples:
        >>> distance, p = kolmogorov_smirnov(np.arange(100.0), np.arange(100.0) + 50)
        >>> round(distance, 2), p < 1e-9
        (0.5, True)
    """
    a, b = np.sort(first), np.sort(second)
    both = np.concatenate([a, b])
    apart = np.searchsorted(a, both, side="right") / len(a) - np.searchsorted(b, both, side="right") / len(b)
    distance = float(np.abs(apart).max())
    return distance, _beyond_kolmogorov(math.sqrt(len(a) * len(b) / (len(a) + len(b))) * distance)


def chi_squared(first: Array, second: Array, classes: int) -> tuple[float, float]:
    """Half the sum of the differences between the shares of classes, and how probable such counts
    are if the shares are the same.

    Examples:
        >>> distance, p = chi_squared(np.repeat([0, 1], 50), np.zeros(100, int), 2)
        >>> distance, p < 1e-9
        (0.5, True)
    """
    counts = np.array([np.bincount(y.reshape(-1).astype(int), minlength=classes) for y in (first, second)], float)
    counts = counts[:, counts.sum(axis=0) > 0]
    shares = counts / counts.sum(axis=1, keepdims=True)
    expected = counts.sum(axis=1, keepdims=True) * counts.sum(axis=0) / counts.sum()
    statistic = float(((counts - expected) ** 2 / expected).sum())
    freedom = counts.shape[1] - 1
    return float(np.abs(shares[0] - shares[1]).sum() / 2), _beyond_chi_squared(statistic, freedom) if freedom else 1.0


def _beyond_kolmogorov(t: float) -> float:
    """The probability that a variable with Kolmogorov's distribution is larger, by its series.
    (SciPy has it, too, but importing it takes longer than all comparisons.)
    """
    if t < 0.2:
        return 1.0
    return min(1.0, 2 * sum((-1) ** (k - 1) * math.exp(-2 * k * k * t * t) for k in range(1, 51)))


def _beyond_chi_squared(x: float, freedom: int) -> float:
    """The probability that a variable with so many degrees of freedom is larger: for an even number
    a Poisson distribution's first terms, for an odd one erfc and similar terms.
    """
    half, even = x / 2, freedom % 2 == 0
    total = 0.0 if even else math.erfc(math.sqrt(half))
    term = math.exp(-half) if even else math.exp(-half) * math.sqrt(half) / math.gamma(1.5)
    for k in range(freedom // 2):
        total += term
        term *= half / (k + (1 if even else 1.5))
    return min(total, 1.0)


def _finding(name: str, count: int, found: list[tuple[str, float, float]]) -> Finding:
    places = [f"{place} (distance {number(distance)})" for place, distance, _ in found]
    words = (
        f"The {name} set ({count:,} samples) is distributed otherwise than the training set: {listed(places, 4)}. What"
        " is measured on it tells little about samples like those of training, and the other way round."
    )
    evidence = {
        "set": name, "shifted": [one[0] for one in found], "distance": [one[1] for one in found],
        "p": [one[2] for one in found],
    }  # fmt: skip
    remedy = Remedy(
        "if new samples will be like the training set, split by chance; if they will be like the held-out set (later in"
        " time, another group), train on samples like them, or leave out the columns that shift"
    )
    return Finding("shift between splits", words, found[0][0], "warning", evidence, (0,), remedy)
