"""The loss surface as the page draws it: a picture from above, in three dimensions, and paths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.arrays import Array
from chainrule.explain.axes import Scale, loss_scale, mark_text, round_marks
from chainrule.explain.surface import Surface, surface_of
from chainrule.play.frames import Message
from chainrule.play.trainer import SHOWN, Trainer

GRID, SAMPLES = 19, SHOWN
"""Grid points per side of the surface, and the maximum number of samples whose loss it shows."""
LARGE, COARSE_GRID, FEW_SAMPLES = 1500, 11, 100
"""The same for a network with more than LARGE weights, whose surface takes no longer to compute."""
MOST_POINTS = 60
"""The maximum number of points of each path."""
SIDE, BANDS = 120, 24
"""Pixels per side of the picture from above, and the number of its shades."""


@dataclass(frozen=True)
class Path:
    """A path on a surface.

    Attributes:
        name: what it is the path of
        steps: (points,) the number of steps taken before each point
        points: (points, weights) the weights at each of them
        colour: the number of its colour
        muted: whether it is drawn in a muted style, below the others
    """

    name: str
    steps: Array
    points: Array
    colour: int = 0
    muted: bool = False

    def thinned(self) -> Path:
        """The path through at most MOST_POINTS of its points, with both ends."""
        chosen = np.unique(np.linspace(0, len(self.steps) - 1, MOST_POINTS).round().astype(int))
        return Path(self.name, self.steps[chosen], self.points[chosen], self.colour, self.muted)


def surface_over(trainer: Trainer, paths: Sequence[Path]) -> Surface:
    """The surface of a trainer's loss, in the plane that fits all paths best."""
    steps, points = (np.concatenate(parts) for parts in zip(*((p.steps, p.points) for p in paths), strict=True))
    grid, samples = (COARSE_GRID, FEW_SAMPLES) if points.shape[1] > LARGE else (GRID, SAMPLES)
    return surface_of(trainer.plan, trainer.data.training.thinned(samples), steps, points, grid=grid)


def surface_message(kind: str, surface: Surface, paths: Sequence[Path], words: str) -> Message:
    """The message that draws a surface with paths on it.

    Args:
        kind: the type of the message
        surface: the surface
        paths: the paths, each of which is projected onto it
        words: the caption
    """
    scale = loss_scale(surface.loss)
    heights = scale.place(surface.loss)
    low, high = float(np.nanmin(heights)), float(np.nanmax(heights))
    across, along = surface.across, surface.along
    header: dict[str, Any] = {
        "type": kind, "words": words, "axes": list(surface.names),
        "marks": {
            "across": _marks(across[0], across[-1]), "along": _marks(along[0], along[-1]),
            "loss": [_mark(float(scale.place(mark)), mark, low, high) for mark in scale.marks],
        },
        "paths": [{"name": path.name, "colour": path.colour, "muted": path.muted} for path in paths],
    }  # fmt: skip
    arrays: dict[str, Array] = {"picture": _picture(heights, low, high)}
    arrays |= {"across": across, "along": along, "heights": heights}
    for k, path in enumerate(paths):
        places = surface.project(path.points)
        arrays[f"path {k}"] = places
        arrays[f"shares {k}"] = (places - [across[0], along[0]]) / [across[-1] - across[0], along[-1] - along[0]]
        arrays[f"heights {k}"] = _lifted(surface, scale, places)
    return header, arrays


def _lifted(surface: Surface, scale: Scale, places: Array) -> Array:
    """(points,) where on the axis of the loss the surface is below these places."""
    with np.errstate(all="ignore"):
        return scale.place(surface.below(places))


def _mark(at: float, value: float, low: float, high: float) -> dict[str, Any]:
    """A mark: where it is on its axis, also as a share of the axis, and its text."""
    return {"at": at, "share": (at - low) / (high - low) if high > low else 0.5, "text": mark_text(value)}


def _marks(low: float, high: float) -> list[dict[str, Any]]:
    return [_mark(value, value, low, high) for value in round_marks(float(low), float(high))]


def _picture(heights: Array, low: float, high: float) -> Array:
    """(SIDE, SIDE) the heights from above, from 0 to 255, in bands; the first row is the top."""
    from scipy.ndimage import zoom

    shares = (np.nan_to_num(heights, nan=high, posinf=high, neginf=low) - low) / ((high - low) or 1.0)
    fine = np.clip(zoom(shares, SIDE / len(shares), order=3, mode="nearest"), 0, 1)
    return np.round(np.minimum(np.floor(fine * BANDS), BANDS - 1) * 255 / (BANDS - 1)).astype(np.uint8)[::-1]
