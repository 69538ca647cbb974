"""Up to four settings, trained from the same start and drawn on one loss surface."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from chainrule.arrays import Array
from chainrule.data import Dataset
from chainrule.errors import NonFiniteError, require
from chainrule.explain.surface import surface_of
from chainrule.play.settings import Settings
from chainrule.play.trainer import SHOWN, Trainer

MOST = 4
"""The maximum number of entrants."""


class Race:
    """Trainers of the same network that differ in optimizer, learning rate or distribution.

    Args:
        settings: the settings that all entrants share
        entrants: 2 to 4 dicts with any of the keys "optimizer", "learning_rate" and "weights"
        dataset: the data set that was opened or uploaded, if any

    Attributes:
        trainers: a trainer for each entrant
        names: a name for each entrant, made from its settings
        failed: for each entrant, why it stopped; empty while it is in the race
    """

    def __init__(self, settings: Settings, entrants: Sequence[dict[str, Any]], dataset: Dataset | None) -> None:
        require(2 <= len(entrants) <= MOST, f"{len(entrants)} settings: a race is between 2 and {MOST}")
        self.trainers, self.names = [], []
        for entrant in entrants:
            changes = {key: entrant[key] for key in ("optimizer", "learning_rate") if key in entrant}
            # The page's options belong to its own optimizer, so an entrant has the default ones.
            own = Settings.from_json(settings.as_json() | changes | {"options": []})
            weights = str(entrant.get("weights", ""))
            if weights:
                layers = tuple(replace(layer, weights=weights) for layer in own.layers)
                own = replace(own, layers=layers, output_weights=weights)
            self.trainers.append(Trainer(own, dataset))
            self.names.append(f"{own.optimizer} {own.learning_rate:g}{f', {weights}' if weights else ''}")
        self.failed: list[str] = [""] * len(self.trainers)

    def advance(self, count: int) -> None:
        """Take `count` steps with each trainer; one with an infinite or NaN loss drops out."""
        for k, trainer in enumerate(self.trainers):
            if not self.failed[k]:
                try:
                    trainer.advance(count)
                except NonFiniteError as error:
                    self.failed[k] = str(error)

    def frame(self) -> dict[str, Any]:
        """The header of a frame that shows the losses of all entrants."""
        return {
            "type": "race",
            "step": max(trainer.step for trainer in self.trainers),
            "names": self.names,
            "failed": self.failed,
            "losses": [trainer.training_loss() for trainer in self.trainers],
            "held": [trainer.measure().get("loss") for trainer in self.trainers],
        }

    def surface(self, grid: int) -> tuple[dict[str, Any], dict[str, Array]]:
        """The header and arrays of the surface that fits all paths best, with every path."""
        all_steps, all_points = zip(*(trainer.path() for trainer in self.trainers), strict=True)
        first = self.trainers[0]
        steps, points = np.concatenate(all_steps), np.concatenate(all_points)
        surface = surface_of(first.plan, first.data.training.thinned(SHOWN), steps, points, grid=grid)
        ends = np.cumsum([len(steps) for steps in all_steps])[:-1]
        header = {"type": "race surface", "names": self.names, "variance": surface.variance, "axes": surface.names}
        arrays = {"across": surface.across, "along": surface.along, "loss": surface.loss}
        return header, arrays | {f"path {k}": path for k, path in enumerate(np.split(surface.path, ends))}
