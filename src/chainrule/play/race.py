"""Up to four settings from the same start, side by side on one surface."""

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


class Race:
    """Trainers of the same network that differ in optimizer, learning rate or distribution."""

    def __init__(self, settings: Settings, entrants: Sequence[dict[str, Any]], given: Dataset | None) -> None:
        require(2 <= len(entrants) <= MOST, f"{len(entrants)} settings: a race is between 2 and {MOST}")
        self.trainers, self.names = [], []
        for entrant in entrants:
            told = settings.as_json()
            told |= {key: entrant[key] for key in ("optimizer", "learning_rate") if key in entrant}
            told["options"] = []  # those of another optimizer
            mine = Settings.from_json(told)
            weights = str(entrant.get("weights", ""))
            if weights:
                layers = tuple(replace(layer, weights=weights) for layer in mine.layers)
                mine = replace(mine, layers=layers, output_weights=weights)
            self.trainers.append(Trainer(mine, given))
            self.names.append(f"{mine.optimizer} {mine.learning_rate:g}{f', {weights}' if weights else ''}")
        self.failed: list[str] = [""] * len(self.trainers)

    def advance(self, count: int) -> None:
        """Let every one take so many steps; one whose loss is no longer finite is out."""
        for k, trainer in enumerate(self.trainers):
            if not self.failed[k]:
                try:
                    trainer.advance(count)
                except NonFiniteError as error:
                    self.failed[k] = str(error)

    @property
    def step(self) -> int:
        return max(trainer.step for trainer in self.trainers)

    def frame(self) -> dict[str, Any]:
        """Where everyone stands."""
        return {
            "type": "race",
            "step": self.step,
            "names": self.names,
            "failed": self.failed,
            "losses": [trainer.training_loss() for trainer in self.trainers],
            "held": [trainer.measure().get("loss") for trainer in self.trainers],
        }

    def surface(self, grid: int) -> tuple[dict[str, Any], dict[str, Array]]:
        """One surface that fits all paths best, and every path on it."""
        paths = [trainer.path() for trainer in self.trainers]
        first = self.trainers[0]
        steps = np.concatenate([steps for steps, _ in paths])
        points = np.concatenate([points for _, points in paths])
        found = surface_of(first.plan, first.data.training.thinned(SHOWN), steps, points, grid=grid)
        ends = np.cumsum([len(steps) for steps, _ in paths])[:-1]
        arrays = {f"path {k}": path.astype(np.float32) for k, path in enumerate(np.split(found.path, ends))}
        header = {"type": "race surface", "names": self.names, "variance": found.variance, "axes": list(found.names)}
        return header, {
            "across": found.across.astype(np.float32), "along": found.along.astype(np.float32),
            "loss": found.loss.astype(np.float32), **arrays,
        }  # fmt: skip
