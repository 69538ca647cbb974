"""Inputs, or targets, that are not scaled: very large, very small, or very different from each
other.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from chainrule.arrays import Array
from chainrule.doctor.case import Case
from chainrule.doctor.finding import Finding, Remedy, listed, number
from chainrule.doctor.remedies import of_inputs

LARGE = 10.0
"""The root mean square of an input from which it is too large; prepared ones have about 1."""
APART = 100.0
"""How many times the deviation of one input is that of another from which they are too far apart.
"""
SPREAD = 50.0
"""The size of the largest value, in deviations, from which the other values of an input are too
close together.
"""


def find(case: Case) -> Iterator[Finding]:
    """Inputs that are not scaled."""
    if case.data.target.tokens or case.data.texts_as_tokens or case.network.nodes[0].layer.takes_tokens:
        return  # numbers of tokens have no scale
    x = case.flat("training").astype(np.float64)
    sizes, deviations = np.sqrt((x * x).mean(axis=0)), x.std(axis=0)
    varied = deviations > 1e-12
    if not varied.any():
        return
    large = np.flatnonzero(sizes > LARGE)
    apart = float(deviations[varied].max() / deviations[varied].min())
    is_table = x.shape[1] == len(case.data.input_names) or len(case.data.input_shape) == 1
    if len(large) or (is_table and apart > APART and case.data.preparation is None):
        yield _unscaled(case, sizes, deviations, large, apart)
        return
    if is_table:
        yield from _squashed(case, x, deviations)


def _unscaled(case: Case, sizes: Array, deviations: Array, large: Array, apart: float) -> Finding:
    worst = int(np.argmax(sizes)) if len(large) else int(np.argmax(deviations))
    place = case.input_name(worst)
    words = (
        f"The inputs are not scaled: the root mean square of {place} is {number(float(sizes[worst]))}, and the"
        " deviations"
        f" of the inputs differ by a factor of {number(apart)}. A learning rate that suits one does not suit another."
    )
    mean, deviation = _moments(case)
    remedy = Remedy(
        "scale each input to mean 0 and deviation 1, as chainrule does with files, frames and (x, y)",
        of_inputs(lambda x: ((x - mean) / deviation).astype(np.float32)),
    )
    evidence = {
        "size": float(sizes[worst]), "factor": apart, "large": [case.input_name(int(k)) for k in large[:20]],
        "inputs_too_large": len(large),
    }  # fmt: skip
    return Finding("unscaled inputs", words, place, "warning", evidence, (0,), remedy)


def _moments(case: Case) -> tuple[Array, Array]:
    x = np.asarray(case.data.training.x, np.float64)
    deviation = x.std(axis=0)
    return x.mean(axis=0), np.where(deviation > 1e-12, deviation, 1.0)


def _squashed(case: Case, x: Array, deviations: Array) -> Iterator[Finding]:
    """Inputs with a value so far away that all others are close together."""
    with np.errstate(all="ignore"):
        far = np.abs(x - x.mean(axis=0)).max(axis=0) / np.where(deviations > 1e-12, deviations, np.inf)
    suspects = [int(k) for k in np.argsort(-far) if far[k] > SPREAD and len(np.unique(x[:, k])) > 3]
    if not suspects:
        return
    names = [case.input_name(k) for k in suspects]
    words = (
        f"{listed(names, 4)}: one value is {number(float(far[suspects[0]]))} deviations away from the mean, so all"
        " others are squashed into a small range."
    )
    low, high = np.quantile(x, 0.001, axis=0), np.quantile(x, 0.999, axis=0)
    low, high = (bound.reshape(case.data.input_shape) for bound in (low, high))
    remedy = Remedy(
        "look at that value: correct it, or take the logarithm of the column; tried here: values beyond the 0.1 % at"
        " either end are clipped",
        of_inputs(lambda x: np.clip(x, low, high).astype(np.float32)),
    )
    row = int(np.argmax(np.abs(x[:, suspects[0]] - x[:, suspects[0]].mean())))
    evidence = {"deviations": far[suspects].tolist(), "inputs": names, "row": case.source_row(int(case.rows[row]))}
    yield Finding("unscaled inputs", words, names[0], "warning", evidence, (0,), remedy)
