"""Augmentation: random changes of the samples of each mini-batch, which training alone sees."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import numpy as np

from chainrule import notation
from chainrule.arrays import Array, Samples
from chainrule.augmentation.base import Augmentation, Warp
from chainrule.augmentation.brightness import Brightness
from chainrule.augmentation.crop import Crop
from chainrule.augmentation.cutout import Cutout
from chainrule.augmentation.flip import Flip
from chainrule.augmentation.mixup import Mixup
from chainrule.augmentation.rotate import Rotate
from chainrule.augmentation.scale import Scale
from chainrule.augmentation.shift import Shift
from chainrule.augmentation.warp import warped
from chainrule.errors import SettingError
from chainrule.kinds import named

NAMED = named(Augmentation)
"""The augmentations by name."""

NONE = "none"


def augmentations(what: str | Augmentation | Sequence[Any]) -> tuple[Augmentation, ...]:
    """Make augmentations from a text, "shift 2, rotate 10", or from several; "none" is none.

    Examples:
        >>> augmentations("shift 2, rotate 10")
        (Shift(pixels=2), Rotate(degrees=10))
    """
    if isinstance(what, Augmentation):
        return (what,)
    if isinstance(what, str):
        parts = [] if what.strip() == NONE else [part.strip() for part in what.split(",")]
        return tuple(notation.make("augmentation", notation.parse("augmentation", part), NAMED) for part in parts)
    if not isinstance(what, Sequence):
        raise SettingError(f"the augmentation is {what!r}; pass a text, such as 'shift 2, rotate 10'")
    return tuple(one for part in what for one in augmentations(part))


def augment(samples: Samples, chosen: Sequence[Augmentation], seed: int, step: int) -> Samples:
    """The samples of a mini-batch as a training step uses them.

    Neighbours that move pixels are combined, so that pixels are interpolated once.
    """
    count = len(samples.x)
    for moves, group in groupby(enumerate(chosen), lambda pair: isinstance(pair[1], Warp)):
        each = [(one, one.draw(count, seed, step, place)) for place, one in group]
        if moves:
            samples = samples._replace(x=_moved(np.asarray(samples.x), each))
            continue
        for one, u in each:
            samples = one.apply(samples, u)
    return samples


def _moved(x: Array, warps: Sequence[tuple[Any, Array]]) -> Array:
    """The pictures after several warps."""
    height, width = x.shape[1:3]
    total: Array | None = None
    for one, u in warps:
        maps = one.maps((height, width), u)
        total = maps if total is None else _composed(total, maps)
    assert total is not None
    return warped(x, total, all(one.is_exact for one, _ in warps))


def _composed(first: Array, then: Array) -> Array:
    """The maps of two warps as one: pixel p shows point first(then(p)).

    Written out, so that its rounding does not depend on a library of matrix products.
    """
    m, t = first[:, :, :2, None], first[:, :, 2]
    product = m[:, :, 0] * then[:, None, 0] + m[:, :, 1] * then[:, None, 1]
    product[:, :, 2] += t
    return np.asarray(product)


__all__ = [
    "NAMED", "Augmentation", "Brightness", "Crop", "Cutout", "Flip", "Mixup", "Rotate", "Scale", "Shift", "Warp",
    "augment", "augmentations",
]  # fmt: skip
