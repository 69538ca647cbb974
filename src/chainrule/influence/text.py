"""Who taught it, as lines of text."""

from __future__ import annotations

from collections.abc import Iterator

from chainrule.arrays import Array
from chainrule.influence.approximation import Approximation
from chainrule.influence.subject import worded
from chainrule.influence.teaching import Teachers

MOST = 10
"""How many helpful rows are shown, and how many harmful ones."""
LONGEST = 14
"""The characters of a target that are shown."""


NOTES = {
    "weight decay": "weight decay: the optimizer pulls weights toward 0, whatever the rows say.",
    "penalties": "penalties: the same of L1 and L2.",
    "statistics": "statistics: BatchNorm's running mean and variance moved, which changes predictions, too.",
    "set by hand": "set by hand: weights that you changed between two steps.",
    "earlier steps": "earlier steps: what the missing steps did in the others through the optimizer's state.",
}
"""What the parts are that belong to no row."""


def lines(found: Teachers, most: int = MOST) -> Iterator[str]:
    """The rows that lowered the loss most and those that raised it most, and the sum of it all."""
    yield f"Who taught {found.name}?"
    if found.shown:
        yield f"Its {found.shown}."
    start = "at the start" if found.is_complete else f"before step {found.first:,}"
    loss = "Loss" if found.is_single else "Mean loss"
    yield f"{loss}: {found.loss_start:.6g} {start}, {found.loss_end:.6g} at the end, after {found.stop:,} steps."
    if not found.is_complete:
        yield f"INTERRUPTED: steps 0 to {found.first - 1:,} are missing. The same command computes all of them."
    yield ""
    yield "Effect of a row: how far its share of all updates moved this loss; below 0 it helped."
    if found.finds_errors:
        yield "Rows on the right worked against what the network learned from the others: look at their labels first."
    yield ""
    yield from _beside(found, found.helpful[:most], found.harmful[:most])
    yield ""
    yield from _sum(found)
    if found.approximation is not None:
        yield ""
        yield from _compared(found.approximation)


def _beside(found: Teachers, helpful: Array, harmful: Array) -> Iterator[str]:
    """Two tables side by side."""
    head = f"{'row':>9}  {'target':<{LONGEST}} {'effect':>11}"
    right = "raised it most: probable label errors" if found.finds_errors else "raised it most"
    yield f"{'lowered it most':<{len(head)}}     {right}"
    yield f"{head}     {head}"
    for k in range(max(len(helpful), len(harmful))):
        left, right = (_row(found, int(of[k])) if k < len(of) else " " * len(head) for of in (helpful, harmful))
        yield f"{left}     {right}".rstrip()


def _compared(about: Approximation) -> Iterator[str]:
    """How good the usual approximation is."""
    rank, scaled = about.rank_correlation, about.scaled_error
    yield f"The usual approximation of these effects, from {len(about.steps)} checkpoints (TracInCP):"
    yield f"order: rank correlation {rank:.3g}; {about.shared} of the {2 * about.most} rows at both ends are the same."
    yield (
        f"size: error {about.error:.1%} of the effects (root mean square); {scaled:.1%} if all are multiplied by"
        f" {about.scale:.4g}, which fits best."
    )


def _row(found: Teachers, number: int) -> str:
    target = found.targets[number]
    shown = "" if target is None else worded(target)
    short = shown if len(shown) <= LONGEST else shown[: LONGEST - 3] + "..."
    return f"{found.rows[number]:>9}  {short:<{LONGEST}} {found.effects[number]:>+11.4g}"


def _sum(found: Teachers) -> Iterator[str]:
    """What adds up to the change, and what its parts are."""
    helpful, harmful = found.helpful, found.harmful
    raised, lowered = float(found.effects[harmful].sum()), float(found.effects[helpful].sum())
    parts = {
        f"{len(helpful):,} rows that lowered it": lowered,
        f"{len(harmful):,} rows that raised it": raised,
        **found.parts,
        "remainder (not linear in a step)": found.remainder,
        "rounding": found.rounding,
    }
    for name, part in parts.items():
        yield f"{name:<34} {part:>+13.6g}"
    yield f"{'change of the loss':<34} {found.change:>+13.6g}"
    notes = [NOTES[name] for name in found.parts if name in NOTES]
    if min(raised, -lowered) > abs(found.change):
        notes.insert(0, "Rows pull in opposite directions and cancel, so effects may be larger than the change.")
    if "statistics" in found.parts:
        notes.append("BatchNorm normalizes a row by its whole batch, so effects also depend on the batch's other rows.")
    if notes:
        yield ""
        yield from notes
