"""Who taught it, as lines of text."""

from __future__ import annotations

from collections.abc import Iterator

from chainrule.arrays import Array
from chainrule.influence.subject import worded
from chainrule.influence.teaching import Teachers

MOST = 10
"""How many helpful rows are shown, and how many harmful ones."""
LONGEST = 14
"""The characters of a target that are shown."""


def lines(found: Teachers, most: int = MOST) -> Iterator[str]:
    """The rows that lowered the loss most and those that raised it most, and the sum of it all."""
    yield f"Who taught {found.name}?"
    if found.shown:
        yield f"Its {found.shown}."
    start = "at the start" if found.is_complete else f"before step {found.first:,}"
    yield f"Loss: {found.loss_start:.6g} {start}, {found.loss_end:.6g} at the end, after {found.stop:,} steps."
    yield ""
    yield from _beside(found, found.helpful[:most], found.harmful[:most])
    yield ""
    yield from _sum(found)
    if found.approximation is not None:
        about = found.approximation
        yield ""
        yield (
            f"The usual approximation from {len(about.steps)} checkpoints (TracInCP): its sum is"
            f" {about.effects.sum():+.6g}, its error {about.error:.1%} of the effects (root mean square),"
            f" its correlation with them {about.correlation:.3g};"
        )
        yield f"of the {about.most} most helpful and the {about.most} most harmful rows it finds {about.shared}."
    if not found.is_complete:
        yield ""
        yield f"Interrupted: steps 0 to {found.first - 1:,} are missing. The same command computes all of them."


def _beside(found: Teachers, helpful: Array, harmful: Array) -> Iterator[str]:
    """Two tables side by side."""
    head = f"{'row':>9}  {'target':<{LONGEST}} {'effect':>11}"
    yield f"{'lowered it most':<{len(head)}}     {'raised it most'}"
    yield f"{head}     {head}"
    for k in range(max(len(helpful), len(harmful))):
        left, right = (_row(found, int(of[k])) if k < len(of) else " " * len(head) for of in (helpful, harmful))
        yield f"{left}     {right}".rstrip()


def _row(found: Teachers, number: int) -> str:
    target = found.targets[number]
    shown = "" if target is None else worded(target)
    short = shown if len(shown) <= LONGEST else shown[: LONGEST - 3] + "..."
    return f"{found.rows[number]:>9}  {short:<{LONGEST}} {found.effects[number]:>+11.4g}"


def _sum(found: Teachers) -> Iterator[str]:
    """What adds up to the change."""
    helpful, harmful = found.helpful, found.harmful
    parts = {
        f"{len(helpful):,} rows that lowered it": found.effects[helpful].sum(),
        f"{len(harmful):,} rows that raised it": found.effects[harmful].sum(),
        **found.parts,
        "remainder (not linear in a step)": found.remainder,
        "rounding": found.rounding,
    }
    for name, part in parts.items():
        yield f"{name:<34} {part:>+13.6g}"
    yield f"{'change of the loss':<34} {found.change:>+13.6g}"
