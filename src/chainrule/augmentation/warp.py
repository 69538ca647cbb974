"""Reading pictures at other points: bilinear interpolation, with the edges repeated outside."""

from __future__ import annotations

import numpy as np

from chainrule.arrays import Array


def warped(x: Array, maps: Array, is_exact: bool = False) -> Array:
    """The pictures read at the points that maps give.

    At a point (y, x) between pixels a picture has the mean of the four around it, weighted by
    (1 - |y - row|) (1 - |x - column|); a point outside has the value of the nearest edge.

    Args:
        x: (samples, height, width) or (samples, height, width, channels)
        maps: (samples, 2, 3) of each sample, [M t] as in `Warp`
        is_exact: whether all points are pixels, so that nothing is interpolated
    """
    height, width = x.shape[1:3]
    rows = _points(maps[:, 0], height, width, (height - 1) / 2, height - 1)
    columns = _points(maps[:, 1], height, width, (width - 1) / 2, width - 1)
    first = np.arange(len(x), dtype=np.int32)[:, None, None] * (height * width)
    pixels = x.reshape(-1, *x.shape[3:])
    if is_exact:
        return pixels.take(first + rows.astype(np.int32) * width + columns.astype(np.int32), axis=0)
    above, left = (_below(points, last) for points, last in ((rows, height - 1), (columns, width - 1)))
    at = first + above * width + left
    down, right = (width if height > 1 else 0), (1 if width > 1 else 0)
    y, z = ((points - start).astype(x.dtype) for points, start in ((rows, above), (columns, left)))
    if x.ndim > 3:
        y, z = y[..., None], z[..., None]

    def between(at: Array) -> Array:
        start = pixels.take(at, axis=0)
        return start + z * (pixels.take(at + right, axis=0) - start)

    top = between(at)
    return top + y * (between(at + down) - top)


def _points(line: Array, height: int, width: int, centre: float, last: int) -> Array:
    """(samples, height, width) one coordinate of the point that each pixel shows, in the picture.

    In float64 the coordinates of exact maps are exact.
    """
    i = (np.arange(height) - (height - 1) / 2)[None, :, None]
    j = (np.arange(width) - (width - 1) / 2)[None, None, :]
    by_row, by_column, shift = line[:, :, None, None].transpose(1, 0, 2, 3)
    points = (by_row * i + (shift + centre)) + by_column * j
    return np.clip(points, 0, last, out=points)


def _below(points: Array, last: int) -> Array:
    """The pixel before each point, such that there is one after it."""
    return np.minimum(points.astype(np.int32), max(last - 1, 0))
