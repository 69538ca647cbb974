"""A digit drawn by hand, as a picture like those of a data set: as large, as central, as thick."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.arrays import Array, Samples, Shape
from chainrule.data import Dataset
from chainrule.data.source import Source
from chainrule.errors import require

MOST_POINTS, MOST_SEGMENTS = 5000, 500
"""The maximum number of points of a drawing, and how many lines between them are drawn."""
THICKNESS = 0.14
"""The width of the pen, as a share of a digit's height: about that of the digits of MNIST."""
FINE = 96
"""Places along each side at which it is measured whether there is ink."""
SIMILAR = 1000
"""The number of pictures whose size and place a drawing is given."""

Strokes = Sequence[Sequence[Sequence[float]]]
"""The lines of a drawing, each a sequence of points (x, y) from the left and the top."""


@dataclass(frozen=True)
class Style:
    """How the digits of a data set lie in their pictures.

    Attributes:
        shape: the height and the width of a picture
        paper, ink: the numbers of a pixel without ink, and of one full of it
        side: how long the larger side of a digit is, in pixels
        centre: (2,) the mean centre of mass of the ink, in pixels from the left and the top
    """

    shape: Shape
    paper: float
    ink: float
    side: float
    centre: Array


@dataclass(frozen=True)
class Own:
    """A sample that the user drew or chose, in place of the mini-batch's.

    Attributes:
        x: (1, ...) the prepared sample
        label: the number of the class that the user says it is; None if unknown
        row: its row in the training set; None if it was drawn
        y: (1, ...) its target, if it is a row
    """

    x: Array
    label: int | None = None
    row: int | None = None
    y: Array | None = None

    @property
    def is_known(self) -> bool:
        """Whether there is a target, and so a loss."""
        return self.label is not None or self.y is not None

    def samples(self, predicted: int | None) -> Samples:
        """It as samples for a network; of unknown class, with the one that is predicted."""
        if self.y is not None:
            return Samples(self.x, self.y)
        return Samples(self.x, np.array([predicted if self.label is None else self.label]))


def can_be_drawn(data: Dataset) -> bool:
    """Whether the samples are grey pictures of the ten digits."""
    shape, is_read = data.input_shape, data.source is not None and isinstance(data.source.features, np.ndarray)
    is_picture = len(shape) == 2 and min(shape) >= 8 and is_read and data.preparation is not None
    return is_picture and [str(label) for label in data.target.classes] == list("0123456789")


def own_sample(data: Dataset, style: Style, strokes: Any, label: Any) -> Own:
    """A drawing as a sample of a data set, prepared as its others are.

    Raises SettingError if the drawing or the label is not one.
    """
    is_class = type(label) is int and 0 <= label < data.target.width
    require(label is None or is_class, f"there is no class {label!r}")
    assert data.preparation is not None
    raw = drawn(checked(strokes), style)
    assert data.source is not None
    raw = np.rint(raw).astype(data.source.features.dtype) if data.source.features.dtype.kind in "iu" else raw
    return Own(np.asarray(data.preparation.apply(Source("drawing", raw[None], None))), label)


def checked(strokes: Any) -> list[Array]:
    """The lines, each of shape (points, 2). Raises SettingError unless the drawing has any."""
    lines = [np.array(line, dtype=float).reshape(-1, 2) for line in strokes]
    count = sum(len(line) for line in lines)
    require(len(lines) <= MOST_SEGMENTS, f"a drawing of {len(lines)} lines: the page allows {MOST_SEGMENTS}")
    require(0 < count <= MOST_POINTS, f"a drawing of {count} points: the page allows 1 to {MOST_POINTS}")
    require(all(np.isfinite(line).all() and (abs(line) <= 100).all() for line in lines), "a point lies off the page")
    return [line for line in lines if len(line)]


def style_of(pictures: Array) -> Style:
    """How these pictures, of shape (samples, height, width), look."""
    some = np.asarray(pictures[:: max(1, len(pictures) // SIMILAR)], dtype=float)
    low, high = float(some.min()), float(some.max())
    edges = np.concatenate([some[:, [0, -1]].ravel(), some[:, :, [0, -1]].ravel()])
    paper, ink = (low, high) if np.median(edges) <= (low + high) / 2 else (high, low)
    share = (some - paper) / ((ink - paper) or 1.0)
    sides = np.maximum(*(_extent(share.max(axis=axis) > 0.25) for axis in (1, 2)))
    mass = share.sum(axis=(1, 2)) + 1e-9
    down, right = (share.sum(axis=axis) @ (np.arange(share.shape[3 - axis]) + 0.5) / mass for axis in (2, 1))
    centre = np.array([right.mean(), down.mean()])
    return Style(some.shape[1:], paper, ink, float(sides[sides > 0].mean()), centre)


def _extent(has_ink: Array) -> Array:
    """(samples,) from the first to the last place with ink, of (samples, places)."""
    first, last = has_ink.argmax(axis=1), has_ink.shape[1] - has_ink[:, ::-1].argmax(axis=1)
    return np.where(has_ink.any(axis=1), last - first, 0)


def drawn(lines: Sequence[Array], style: Style) -> Array:
    """(height, width) the drawing in a data set's style, in the numbers of its pictures.

    It is scaled until its larger side is as long as theirs, and moved until its centre of mass lies
    where theirs does, though never over the edge. A pixel has as much ink as the pen covers of it.
    """
    starts, ends = _segments(lines)
    points, pen = np.concatenate([starts, ends]), THICKNESS * style.side
    low, size = points.min(axis=0), np.ptp(points, axis=0)
    scale = (style.side - pen) / max(float(size.max()), 1e-9) if size.max() > 1e-9 else 0.0
    starts, ends = (scale * (one - low) for one in (starts, ends))
    lengths = np.linalg.norm(ends - starts, axis=1) + 1e-9
    mass = lengths @ ((starts + ends) / 2) / lengths.sum()
    height, width = style.shape
    most = np.array([width, height]) - scale * size - pen / 2
    at = np.clip(style.centre - mass, np.minimum(pen / 2, most), np.maximum(pen / 2, most))
    return style.paper + (style.ink - style.paper) * _covered(starts + at, ends + at, pen / 2, style.shape)


def _segments(lines: Sequence[Array]) -> tuple[Array, Array]:
    """(segments, 2) where the lines between the points begin, and where they end; a line of one
    point is one of no length.
    """
    every = max(1, -(-sum(len(line) for line in lines) // MOST_SEGMENTS))
    kept = [np.concatenate([line[::every], line[-1:]]) for line in lines]
    return np.concatenate([line[:-1] for line in kept]), np.concatenate([line[1:] for line in kept])


def _covered(starts: Array, ends: Array, radius: float, shape: Shape) -> Array:
    """(height, width) the share of each pixel that lies within a radius of a segment."""
    fine = max(2, FINE // max(shape))
    down, right = ((np.arange(side * fine) + 0.5) / fine for side in shape)
    places = np.stack(np.meshgrid(right, down), axis=-1)  # (fine height, fine width, 2)
    nearest = np.full(places.shape[:2], np.inf)
    for start, end in zip(starts, ends, strict=True):
        along = end - start
        t = np.clip((places - start) @ along / max(float(along @ along), 1e-12), 0, 1)
        nearest = np.minimum(nearest, ((places - start - t[..., None] * along) ** 2).sum(axis=-1))
    ink = nearest <= radius**2
    return ink.reshape(shape[0], fine, shape[1], fine).mean(axis=(1, 3))
