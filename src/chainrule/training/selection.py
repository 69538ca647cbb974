"""What validation chose for a plan, among which candidates, and what that took."""

from __future__ import annotations

from dataclasses import dataclass

from chainrule.kinds import Kind


@dataclass(frozen=True)
class Selection(Kind):
    """A choice among candidates by their loss on rows held out of the training set.

    Attributes:
        what: what was chosen, such as "model"
        candidates: each in words, such as "network with decay 6", the weight decay over the whole
            training, or "linear model with penalty 10", as ridge regression counts it
        losses: the mean loss of each on the folds that it was tried on, without outliers; None if
            it was not finite
        chosen: the number of the one that was chosen, from 0: the one with the least loss of those
            that were tried on all folds
        trainings: how many trainings each took, one for each fold that it was tried on
        rows: on how many rows of the training set
    """

    what: str
    candidates: tuple[str, ...]
    losses: tuple[float | None, ...]
    chosen: int
    trainings: tuple[int, ...]
    rows: int

    def __str__(self) -> str:
        """Which one, the loss of each, and what that took, in one line."""
        results = zip(self.candidates, self.losses, self.trainings, strict=True)
        tried = ", ".join(f"{name} ({self._result(loss, folds)})" for name, loss, folds in results)
        return (
            f"{self.name}, by the loss on held-out rows: {tried}; {sum(self.trainings)} trainings on {self.rows:,} rows"
        )

    @property
    def brief(self) -> str:
        """Which one, with the next best, in a line that fits a terminal."""
        most = max(self.trainings)
        tried = zip(self.losses, self.trainings, self.candidates, strict=True)
        whole = sorted((loss, name) for loss, folds, name in tried if loss is not None and folds == most)
        others = [f"{name} ({loss:.4g})" for loss, name in whole if name != self.name]
        loss = self.losses[self.chosen]
        value = "" if loss is None else f" ({loss:.4g} on held-out rows)"
        following = f", then {others[0]}" if others else ""
        return f"{self.name}{value}{following}; of {len(self.candidates)} candidates"

    def _result(self, loss: float | None, folds: int) -> str:
        most, value = max(self.trainings), "diverged" if loss is None else f"{loss:.4g}"
        return value if folds == most else f"{value} after {folds} of {most} folds"

    @property
    def name(self) -> str:
        """The one that was chosen."""
        return self.candidates[self.chosen]
