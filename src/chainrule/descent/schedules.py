"""Learning-rate schedules: the learning rate as a function of the number of updates so far.

Where `steps` is None, the schedule spans the whole training; `train` fills it in.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Self

from chainrule import kinds
from chainrule.errors import SettingError, require, unknown
from chainrule.kinds import Kind


@dataclass(frozen=True)
class Schedule(Kind, register=False):
    """A learning rate as a function of the number of updates so far."""

    def __post_init__(self) -> None:
        """Raise SettingError if the rate or a number of updates is out of range."""
        name, rate = type(self).__name__, getattr(self, "rate", 0.0)
        require(math.isfinite(rate) and rate >= 0, f"{name}: rate is {rate}; it must be finite and not negative")
        for setting in ("steps", "every", "warmup"):
            updates = getattr(self, setting, None)
            require(updates is None or updates >= 1, f"{name}: {setting} is {updates}; it must be at least 1")

    def __call__(self, step: int) -> float:
        """The learning rate of the update that follows `step` others."""
        raise NotImplementedError

    def derivation(self, step: int) -> str:
        """That learning rate's formula, worked out; empty if the rate is constant."""
        return ""

    def over(self, steps: int) -> Self:
        """The schedule with an open number of steps set to this one."""
        return replace(self, steps=steps) if getattr(self, "steps", 0) is None else self  # type: ignore[call-arg]


@dataclass(frozen=True)
class Constant(Schedule):
    """A constant learning rate."""

    notation = "constant"

    rate: float = 0.001

    def __call__(self, step: int) -> float:
        return self.rate


@dataclass(frozen=True)
class Step(Schedule):
    """Multiplies the rate by `factor` every `every` updates.

    Attributes:
        rate: the initial learning rate
        every: the number of updates between two changes
        factor: what the rate is multiplied by
    """

    notation = "step"

    rate: float = 0.001
    every: int = 1000
    factor: float = 0.1

    def __call__(self, step: int) -> float:
        return self.rate * self.factor ** (step // self.every)

    def derivation(self, step: int) -> str:
        return f"{self.rate:g} x {self.factor:g}^{step // self.every}"


@dataclass(frozen=True)
class Exponential(Schedule):
    """Exponential decay: multiplies the rate by `factor` over `steps` updates.

    Attributes:
        rate: the initial learning rate
        factor: what the rate has been multiplied by after `steps` updates
        steps: the number of updates; None for the whole training
    """

    notation = "exponential"

    rate: float = 0.001
    factor: float = 0.01
    steps: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.factor > 0, f"Exponential: factor is {self.factor}; it must be positive")

    def __call__(self, step: int) -> float:
        return self.rate * float(self.factor ** (step / (self.steps or 1)))

    def derivation(self, step: int) -> str:
        return f"{self.rate:g} x {self.factor:g}^({step} / {self.steps or 1})"


@dataclass(frozen=True)
class Cosine(Schedule):
    """Cosine annealing from the rate to `end` times the rate (Loshchilov and Hutter, 2017).

    Attributes:
        rate: the initial learning rate
        steps: the number of updates of the first cycle; None for the whole training
        end: the final rate, as a fraction of the initial one
        restarts: whether to start again after each cycle (warm restarts) rather than stay at the
            end
        stretch: the length of each cycle relative to the one before, at least 1
    """

    notation = "cosine"

    rate: float = 0.001
    steps: int | None = None
    end: float = 0.0
    restarts: bool = False
    stretch: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.stretch >= 1, f"Cosine: stretch is {self.stretch}; it must be at least 1")

    def __call__(self, step: int) -> float:
        position, length = self._position(step)
        return self.rate * (self.end + (1 - self.end) * (1 + math.cos(math.pi * (position / length))) / 2)

    def _position(self, step: int) -> tuple[float, float]:
        """The position within the current cycle, and the cycle's length, in updates."""
        length, position = float(self.steps or 1), float(step)
        while self.restarts and position >= length:
            position -= length
            length *= self.stretch
        return min(position, length), length

    def derivation(self, step: int) -> str:
        position, length = self._position(step)
        wave = f"(1 + cos(pi x {position:g} / {length:g})) / 2"
        return f"{self.rate:g} x " + (f"({self.end:g} + {1 - self.end:g} x {wave})" if self.end else wave)


@dataclass(frozen=True)
class Polynomial(Schedule):
    """Polynomial decay from the rate to `end` times the rate, as (1 - step / steps)^power.

    Attributes:
        rate: the initial learning rate
        steps: the number of updates; None for the whole training
        power: the exponent; 1 decays linearly
        end: the final rate, as a fraction of the initial one
    """

    notation = "polynomial"

    rate: float = 0.001
    steps: int | None = None
    power: float = 1.0
    end: float = 0.0

    def __call__(self, step: int) -> float:
        progress = min(step / (self.steps or 1), 1.0)
        return self.rate * (self.end + (1 - self.end) * float((1 - progress) ** self.power))

    def derivation(self, step: int) -> str:
        steps = self.steps or 1
        power = f"(1 - {min(step, steps)} / {steps})" + (f"^{self.power:g}" if self.power != 1 else "")
        return f"{self.rate:g} x " + (f"({self.end:g} + {1 - self.end:g} x {power})" if self.end else power)


@dataclass(frozen=True)
class WarmUp(Schedule):
    """Linear warm-up (Goyal et al., 2017).

    Attributes:
        warmup: the number of updates over which the rate rises from 0
        then: the schedule that follows, from its beginning
    """

    warmup: int
    then: Schedule

    def __call__(self, step: int) -> float:
        if step < self.warmup:
            return self.then(0) * (step + 1) / (self.warmup + 1)
        return self.then(step - self.warmup)

    def derivation(self, step: int) -> str:
        if step < self.warmup:
            return f"{self.then(0):g} x {step + 1} / {self.warmup + 1}, warming up,"
        return self.then.derivation(step - self.warmup)

    def over(self, steps: int) -> Self:
        return replace(self, then=self.then.over(max(steps - self.warmup, 1)))


@dataclass(frozen=True)
class OneCycle(Schedule):
    """The one-cycle policy: up to the peak, then down far below the initial rate, along cosines
    (Smith and Topin, 2019).

    Attributes:
        rate: the peak learning rate
        steps: the number of updates; None for the whole training
        rise: the fraction of the updates before the peak, between 0 and 1
        start: the peak rate divided by the initial one
        finish: the initial rate divided by the final one
    """

    notation = "one-cycle"

    rate: float = 0.01
    steps: int | None = None
    rise: float = 0.3
    start: float = 25.0
    finish: float = 1e4

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 < self.rise < 1, f"OneCycle: rise is {self.rise}; it must be between 0 and 1")
        require(self.start > 0 and self.finish > 0, "OneCycle: start and finish divide the rate; they must be positive")

    def __call__(self, step: int) -> float:
        begin, end, progress = self._phase(step)
        return end + (begin - end) * (1 + math.cos(math.pi * progress)) / 2

    def _phase(self, step: int) -> tuple[float, float, float]:
        """The rates at the ends of the current phase, and the fraction of it that has passed."""
        progress = min(step / max((self.steps or 1) - 1, 1), 1.0)
        first, last = self.rate / self.start, self.rate / self.start / self.finish
        if progress < self.rise:
            return first, self.rate, progress / self.rise
        return self.rate, last, (progress - self.rise) / (1 - self.rise)

    def derivation(self, step: int) -> str:
        begin, end, progress = self._phase(step)
        return f"{end:g} + ({begin:g} - {end:g}) x (1 + cos(pi x {progress:.4g})) / 2"


NAMED: dict[str, type[Schedule]] = kinds.named(Schedule)
"""The schedules by name."""


def schedule(what: float | Schedule) -> Schedule:
    """Return a schedule as it is, and a number as a constant learning rate."""
    if isinstance(what, Schedule):
        return what
    if isinstance(what, int | float):
        require(math.isfinite(what) and what >= 0, f"the learning rate is {what}; it must be finite and not negative")
        return Constant(float(what))
    raise SettingError(f"{what!r} is not a learning rate; pass a number or a schedule")


def named(name: str, rate: float, **settings: Any) -> Schedule:
    """The schedule of this name, with this learning rate."""
    if name not in NAMED:
        raise unknown("schedule", name, NAMED)
    return NAMED[name](rate, **settings)  # type: ignore[call-arg]
