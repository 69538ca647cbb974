"""Pooling as other tools have it: by windows of one size, at equal distances."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.arrays import Shape
from chainrule.errors import SettingError


def regular_windows(layer: Any, positions: Shape) -> tuple[list[int], list[int], list[int], list[int]]:
    """Size, stride, and padding before and after along each axis of so many positions; raises
    SettingError for windows of different sizes.
    """
    sizes, strides, before, after = [], [], [], []
    for n, places in zip(positions, layer.places(positions), strict=True):
        kernel = places.shape[1]
        starts = np.array([p[p >= 0][0] - int(np.flatnonzero(p >= 0)[0]) for p in places])
        steps = np.diff(starts)
        step = int(steps[0]) if len(steps) else kernel
        at = starts[:, None] + np.arange(kernel)
        expected = np.where((at >= 0) & (at < n), at, -1)
        if (len(steps) and (steps != step).any()) or (expected != places).any():
            raise SettingError("whose windows have different sizes")
        sizes.append(kernel)
        strides.append(step)
        before.append(int(-starts[0]))
        after.append(max(0, int(starts[-1]) + kernel - n))
    return sizes, strides, before, after
