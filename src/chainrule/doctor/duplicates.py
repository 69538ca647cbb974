"""Samples that are in the training set and in a held-out set as well."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from chainrule.arrays import Array, Samples
from chainrule.doctor.case import Case
from chainrule.doctor.finding import Finding, Remedy, listed, share
from chainrule.doctor.remedies import without_rows

PART, FEWEST = 0.05, 2
"""The share of a held-out set's samples, and their number, from which copies are a finding."""
MOST = 200_000
"""The most samples that are compared."""


def find(case: Case) -> Iterator[Finding]:
    """Whether held-out samples are copies of training samples."""
    data = case.data
    if data.target.tokens or data.target.season or len(data.training.x) > MOST:
        return  # windows of a text or a series overlap on purpose
    training = hashes(data.training)
    rows: dict[bytes, list[int]] = {}
    for row, key in enumerate(training):
        rows.setdefault(key, []).append(row)
    for name, samples in (("test", data.test), ("validation", data.validation)):
        if samples is None or not len(samples.x) or len(samples.x) > MOST:
            continue
        copies = [(row, rows[key]) for row, key in enumerate(hashes(samples)) if key in rows]
        if len(copies) >= max(FEWEST, PART * len(samples.x)):
            yield _finding(case, name, samples, copies)
            return


def hashes(samples: Samples) -> list[bytes]:
    """The inputs of each sample, as what tells them apart."""
    x, parts = samples.x, list[bytes]()
    for first in range(0, len(x), 2000):
        part = np.ascontiguousarray(np.asarray(x[first : first + 2000]) + 0.0)  # -0 is 0
        parts += [row.tobytes() for row in part] if part[:1].nbytes <= 256 else [_digest(row) for row in part]
    return parts


def _digest(row: Array) -> bytes:
    from hashlib import blake2b

    return blake2b(row.tobytes(), digest_size=16).digest()


def _finding(case: Case, name: str, samples: Samples, copies: list[tuple[int, list[int]]]) -> Finding:
    numbers = getattr(case.data, f"{name}_rows")
    pairs = [(int(row if numbers is None else numbers[row]) + 1, case.source_row(of[0])) for row, of in copies]
    y, known = np.asarray(samples.y), np.asarray(case.data.training.y)
    same = sum(bool(np.any([np.array_equal(y[row], known[other]) for other in of])) for row, of in copies)
    shown = listed([f"{row} (training row {of})" for row, of in pairs], 3)
    words = (
        f"{share(len(copies), len(samples.x))} samples of the {name} set are copies of training samples, {same:,} of"
        f" them with the same target, so what is measured on it is too good. Rows {shown}."
    )
    evidence = {"set": name, "copies": pairs[:1000], "share": len(copies) / len(samples.x), "same_target": same}
    rows = np.unique([row for _, of in copies for row in of])
    remedy = Remedy(
        "remove the copies before splitting, or keep them together (split=group:COLUMN); tried here: the training"
        " samples among them are left out",
        without_rows(rows) if len(rows) < len(case.data.training.x) // 2 else None, honest=True,
    )  # fmt: skip
    severity = "serious" if len(copies) > 0.2 * len(samples.x) else "warning"
    return Finding("duplicates across splits", words, f"row {pairs[0][0]}", severity, evidence, (0,), remedy)
