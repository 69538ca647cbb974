"""What validation chose for a plan, among which candidates, and what that took."""

from __future__ import annotations

from dataclasses import dataclass

from chainrule.kinds import Kind


@dataclass(frozen=True)
class Selection(Kind):
    """A choice among candidates by their loss on rows held out of the training set.

    Attributes:
        what: what was chosen, such as "total decay", the weight decay over the whole training
        candidates: each in words
        losses: the mean loss of each; None if it was not finite
        chosen: the number of the one with the least loss, from 0
        trainings: how many trainings that took
        rows: on how many rows of the training set
    """

    what: str
    candidates: tuple[str, ...]
    losses: tuple[float | None, ...]
    chosen: int
    trainings: int
    rows: int

    def __str__(self) -> str:
        """Which one, the loss of each, and what that took, in one line."""
        shown = ["diverged" if loss is None else f"{loss:.4g}" for loss in self.losses]
        tried = ", ".join(f"{name} ({loss})" for name, loss in zip(self.candidates, shown, strict=True))
        least = f"{self.candidates[self.chosen]}, by the loss on held-out rows: {tried}"
        return f"{least}; {self.trainings} trainings on {self.rows:,} rows"
