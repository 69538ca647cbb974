"""What an augmentation is: a random change of the samples of a mini-batch, drawn anew in each step.

The random numbers of a step are keyed like dropout's, by (seed, place in the list, step), so that
every step can be replayed bit for bit, on either engine and however the steps were divided.
"""

from __future__ import annotations

from dataclasses import fields
from typing import ClassVar

import numpy as np

from chainrule.arrays import Array, Samples, Shape
from chainrule.errors import SettingError, is_number, require
from chainrule.generators import uniform
from chainrule.kinds import Kind


class Augmentation(Kind, register=False):
    """A random change of samples; a frozen dataclass of settings."""

    numbers: ClassVar[int] = 1
    """How many uniform random numbers it takes for each sample."""
    needs_pictures: ClassVar[bool] = True
    """Whether samples must be pictures: (height, width) or (height, width, channels)."""
    mixes_targets: ClassVar[bool] = False
    """Whether it changes the targets, too."""
    formula: ClassVar[str] = ""
    """What it computes, in LaTeX."""

    @property
    def text(self) -> str:
        """It in the notation, such as "shift 2"."""
        settings = (getattr(self, field.name) for field in fields(self))  # type: ignore[arg-type]
        return " ".join([str(self.notation), *(f"{value:g}" if is_number(value) else str(value) for value in settings)])

    def check(self, shape: Shape) -> None:
        """Raise SettingError if it can't change samples of this shape."""
        name, sizes = self.notation, " x ".join(map(str, shape))
        if self.needs_pictures and len(shape) not in (2, 3):
            raise SettingError(
                f"augmentation {name}: it changes pictures, but the samples have {sizes} inputs; leave it out"
            )

    def apply(self, samples: Samples, u: Array) -> Samples:
        """The changed samples, from u, (samples, numbers) uniform random numbers in [0, 1)."""
        raise NotImplementedError

    def draw(self, count: int, seed: int, step: int, place: int) -> Array:
        """(count, numbers) its random numbers in a step."""
        return uniform(count * self.numbers, step, seed, "augment", place).reshape(count, self.numbers)


class Warp(Augmentation, register=False):
    """An augmentation that moves pixels: pixel p of the new picture shows point M p + t of the old
    one, where p = (row, column) is measured from the centre of the picture.
    """

    is_exact: ClassVar[bool] = False
    """Whether all points are pixels."""
    formula = r"x'_{p} = x_{M p + t}"

    def maps(self, size: tuple[int, int], u: Array) -> Array:
        """(samples, 2, 3) the matrix [M t] of each sample, for pictures of (height, width)."""
        raise NotImplementedError

    def apply(self, samples: Samples, u: Array) -> Samples:
        from chainrule.augmentation.warp import warped

        height, width = samples.x.shape[1:3]
        return samples._replace(x=warped(np.asarray(samples.x), self.maps((height, width), u), self.is_exact))


def linear(count: int, scale: Array | float = 1.0) -> Array:
    """(count, 2, 3) maps that multiply by a scale: the identity, for 1."""
    maps = np.zeros((count, 2, 3))
    maps[:, 0, 0] = maps[:, 1, 1] = scale
    return maps


def signed(u: Array, most: float) -> Array:
    """Uniform random numbers in [-most, most)."""
    return (2 * u - 1) * most


def require_number(name: str, what: str, value: object, least: float = 0, most: float = float("inf")) -> None:
    """Raise SettingError unless the value is a number greater than `least`, at most `most`."""
    is_right = is_number(value, above=least) and value <= most  # type: ignore[operator]
    limit = f" and at most {most:g}" if most < float("inf") else ""
    require(
        is_right, f"augmentation {name}: the {what} is {value!r}; it must be a number greater than {least:g}{limit}"
    )
