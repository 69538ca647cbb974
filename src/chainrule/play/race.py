"""Up to four settings, trained from the same start and drawn on one loss surface, until one of
them reaches a target loss.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from chainrule.data import Dataset
from chainrule.errors import NonFiniteError, require
from chainrule.play.frames import Message
from chainrule.play.settings import Settings
from chainrule.play.surface import Path, surface_message, surface_over
from chainrule.play.trainer import Trainer

MOST = 4
"""The maximum number of entrants."""
TARGET = 0.2
"""The target loss as a share of the loss at the start, unless another is chosen."""
CHECK = 10
"""Steps between two looks at the losses, which decide the race."""


class Race:
    """Trainers of the same network that differ in optimizer, learning rate or distribution.

    It ends when an entrant's loss over the whole training set is at most the target, when all are
    out, or after the planned epochs.

    Args:
        settings: the settings that all entrants share
        entrants: 2 to 4 dicts with any of the keys "optimizer", "learning_rate" and "weights"
        dataset: the data set that was opened or uploaded, if any
        target: the target, as a share of the mean loss at the start, above 0 and below 1

    Attributes:
        trainers: a trainer for each entrant
        names: a name for each entrant, made from its settings
        losses: the training loss of each
        failed: for each entrant, why it stopped; empty while it is in the race
        starts, start: the loss of each at the start, and their mean
        target: the target loss
        limit: the number of steps after which the race ends in any case
        winner: the number of the entrant that won; None before that, and if none did
        ended: why the race ended; empty while it goes on
    """

    def __init__(
        self, settings: Settings, entrants: Sequence[dict[str, Any]], dataset: Dataset | None, target: float = TARGET
    ) -> None:
        require(2 <= len(entrants) <= MOST, f"{len(entrants)} settings: a race is between 2 and {MOST}")
        require(0 < target < 1, f"a target of {100 * target:g} %: it must be above 0 and below 100 %")
        self.trainers, self.names = [], []
        for entrant in entrants:
            changes = {key: entrant[key] for key in ("optimizer", "learning_rate") if key in entrant}
            # The page's options belong to its own optimizer, so an entrant has the default ones.
            own = Settings.from_json(settings.as_json() | changes | {"options": []})
            weights = str(entrant.get("weights", ""))
            if weights:
                require(not own.network, "a network given as text keeps its distributions; race optimizers, or rates")
                layers = tuple(replace(layer, weights=weights) for layer in own.layers)
                own = replace(own, layers=layers, output_weights=weights)
            self.trainers.append(Trainer(own, dataset))
            self.names.append(f"{own.optimizer} {own.learning_rate:g}{f', {weights}' if weights else ''}")
        self.failed: list[str] = [""] * len(self.trainers)
        self.losses = [0.0] * len(self.trainers)
        for k in range(len(self.trainers)):
            self._measure(k)
        self.starts = list(self.losses)
        finite = [loss for loss, problem in zip(self.losses, self.failed, strict=True) if not problem]
        require(bool(finite), "no setting has a finite loss at the start; choose smaller weights")
        self.start = float(np.mean(finite))
        self._share, self.target = target, target * self.start
        self.limit = self.trainers[0].steps_planned
        self.winner: int | None = None
        self.ended = ""

    @property
    def step(self) -> int:
        """The number of steps taken so far."""
        return max(trainer.step for trainer in self.trainers)

    def advance(self) -> None:
        """Take the next CHECK steps with each trainer, and see whether that ends the race; one with
        an infinite or NaN loss drops out.
        """
        count = min(CHECK, self.limit - self.step)
        for k, trainer in enumerate(self.trainers):
            if not self.failed[k]:
                try:
                    trainer.advance(count)
                    self._measure(k)
                except NonFiniteError as error:
                    self.failed[k] = str(error)
        self._judge()

    def _measure(self, k: int) -> None:
        """Update an entrant's loss; it is out if that is not finite."""
        with np.errstate(all="ignore"):  # checked next
            self.losses[k] = self.trainers[k].training_loss()
        if not math.isfinite(self.losses[k]):
            self.failed[k] = f"step {self.trainers[k].step}: the loss of the training set is not finite"

    def _judge(self) -> None:
        """End the race if it is decided."""
        racing = [k for k, problem in enumerate(self.failed) if not problem]
        best = min(racing, key=lambda k: self.losses[k], default=None)
        goal = f"a training loss of {self.target:.4g} ({self._share:.0%} of the {self.start:.4g} at the start)"
        if best is None:
            self.ended = f"Nobody wins: all settings are out after {self.step:,} steps."
        elif self.losses[best] <= self.target:
            self.winner = best
            self.ended = f"{self.names[best]} wins: it is the first to reach {goal}, after {self.step:,} steps."
        elif self.step >= self.limit:
            planned = f"the planned {self.trainers[0].plan.epochs:,} epochs ({self.limit:,} steps)"
            self.ended = f"Nobody wins: no setting reached {goal} within {planned}. {self.names[best]} came closest."

    def frame(self) -> dict[str, Any]:
        """The header of a frame that shows the losses of all entrants."""
        goal = f"The first to reach a training loss of {self.target:.4g} ({self._share:.0%} of the {self.start:.4g} at"
        order = sorted(range(len(self.names)), key=lambda k: (bool(self.failed[k]), self.losses[k]))
        return {
            "type": "race",
            "step": self.step,
            "names": self.names,
            "failed": self.failed,
            "losses": self.losses,
            "starts": self.starts,
            "target": self.target,
            "order": order,
            "winner": self.winner,
            "ended": self.ended,
            "words": self.ended or f"{goal} the start) wins. The race ends after {self.limit:,} steps at the latest.",
        }

    def surface(self) -> Message:
        """The message that draws the surface that fits all paths best, with every path."""
        entrants = zip(self.names, self.trainers, strict=True)
        paths = [Path(name, *trainer.path(), colour=k).thinned() for k, (name, trainer) in enumerate(entrants)]
        return surface_message("race surface", surface_over(self.trainers[0], paths), paths, "")
