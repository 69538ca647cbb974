"""The learning rate over time: a schedule is a function of how many updates have been made.

Where `steps` is left out it means the whole training; `train` fills it in.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Self

from chainrule import kinds
from chainrule.errors import SettingError, require, unknown
from chainrule.kinds import Kind


def _positive(name: str, rate: float) -> None:
    require(math.isfinite(rate) and rate >= 0, f"{name}: the learning rate is {rate}; it must be a number of 0 or more")


def _steps(name: str, steps: int | None) -> None:
    require(steps is None or steps >= 1, f"{name}: it runs over {steps} steps; it needs at least 1")


@dataclass(frozen=True)
class Schedule(Kind, register=False):
    """The learning rate as a function of the number of updates made so far."""

    def __call__(self, step: int) -> float:
        """The learning rate of the update after `step` others."""
        raise NotImplementedError

    def worked(self, step: int) -> str:
        """How that learning rate comes about, with the numbers put in; nothing where it never changes."""
        return ""

    def over(self, steps: int) -> Self:
        """The same, for a training of so many updates where it was left open."""
        return replace(self, steps=steps) if getattr(self, "steps", 0) is None else self  # type: ignore[call-arg]


@dataclass(frozen=True)
class Constant(Schedule):
    """Always the same."""

    notation = "constant"

    rate: float = 0.001

    def __post_init__(self) -> None:
        _positive("constant", self.rate)

    def __call__(self, step: int) -> float:
        return self.rate


@dataclass(frozen=True)
class Step(Schedule):
    """Times `factor` after every `every` updates."""

    notation = "step"

    rate: float = 0.001
    every: int = 1000
    factor: float = 0.1

    def __post_init__(self) -> None:
        _positive("step", self.rate)
        _steps("step", self.every)

    def __call__(self, step: int) -> float:
        return self.rate * self.factor ** (step // self.every)

    def worked(self, step: int) -> str:
        return f"{self.rate:g} x {self.factor:g}^{step // self.every}"


@dataclass(frozen=True)
class Exponential(Schedule):
    """Times `factor` over the course of `steps` updates, by the same share at each."""

    notation = "exponential"

    rate: float = 0.001
    factor: float = 0.01
    steps: int | None = None

    def __post_init__(self) -> None:
        _positive("exponential", self.rate)
        _steps("exponential", self.steps)
        require(self.factor > 0, f"exponential: the factor is {self.factor}; it must be positive")

    def __call__(self, step: int) -> float:
        return self.rate * float(self.factor ** (step / (self.steps or 1)))

    def worked(self, step: int) -> str:
        return f"{self.rate:g} x {self.factor:g}^({step} / {self.steps or 1})"


@dataclass(frozen=True)
class Cosine(Schedule):
    """Down to `end` times the rate along half a cosine in `steps` updates (Loshchilov and Hutter, 2017).

    With `restarts` it then starts anew, each time `stretch` as long as before, until training ends; without, it stays
    down.
    """

    notation = "cosine"

    rate: float = 0.001
    steps: int | None = None
    end: float = 0.0
    restarts: bool = False
    stretch: float = 1.0

    def __post_init__(self) -> None:
        _positive("cosine", self.rate)
        _steps("cosine", self.steps)
        require(
            self.stretch >= 1,
            f"cosine: a restart lasts {self.stretch} times as long as the one before; it takes 1 or more",
        )

    def __call__(self, step: int) -> float:
        position, length = self._place(step)
        return self.rate * (self.end + (1 - self.end) * (1 + math.cos(math.pi * (position / length))) / 2)

    def _place(self, step: int) -> tuple[float, float]:
        """How far along the half cosine, and how long that is."""
        length, position = float(self.steps or 1), float(step)
        while self.restarts and position >= length:
            position -= length
            length *= self.stretch
        return min(position, length), length

    def worked(self, step: int) -> str:
        position, length = self._place(step)
        wave = f"(1 + cos(pi x {position:g} / {length:g})) / 2"
        return f"{self.rate:g} x " + (f"({self.end:g} + {1 - self.end:g} x {wave})" if self.end else wave)


@dataclass(frozen=True)
class Polynomial(Schedule):
    """Down to `end` times the rate as (1 - share of the steps)^power; a straight line for power 1."""

    notation = "polynomial"

    rate: float = 0.001
    steps: int | None = None
    power: float = 1.0
    end: float = 0.0

    def __post_init__(self) -> None:
        _positive("polynomial", self.rate)
        _steps("polynomial", self.steps)

    def __call__(self, step: int) -> float:
        share = min(step / (self.steps or 1), 1.0)
        return self.rate * (self.end + (1 - self.end) * float((1 - share) ** self.power))

    def worked(self, step: int) -> str:
        steps = self.steps or 1
        power = f"(1 - {min(step, steps)} / {steps})" + (f"^{self.power:g}" if self.power != 1 else "")
        return f"{self.rate:g} x " + (f"({self.end:g} + {1 - self.end:g} x {power})" if self.end else power)


@dataclass(frozen=True)
class WarmUp(Schedule):
    """A straight line from 0 up in `warmup` updates, then another schedule from its beginning (Goyal et al., 2017)."""

    warmup: int
    then: Schedule

    def __post_init__(self) -> None:
        _steps("warm-up", self.warmup)

    def __call__(self, step: int) -> float:
        if step < self.warmup:
            return self.then(0) * (step + 1) / (self.warmup + 1)
        return self.then(step - self.warmup)

    def worked(self, step: int) -> str:
        if step < self.warmup:
            return f"{self.then(0):g} x {step + 1} / {self.warmup + 1}, warming up,"
        return self.then.worked(step - self.warmup)

    def over(self, steps: int) -> Self:
        return replace(self, then=self.then.over(max(steps - self.warmup, 1)))


@dataclass(frozen=True)
class OneCycle(Schedule):
    """Up to the rate and down far below where it began, along cosines (Smith and Topin, 2019).

    It starts at rate / start, peaks after a share of `rise` of the steps, and ends at rate / start / finish.
    """

    notation = "one-cycle"

    rate: float = 0.01
    steps: int | None = None
    rise: float = 0.3
    start: float = 25.0
    finish: float = 1e4

    def __post_init__(self) -> None:
        _positive("one-cycle", self.rate)
        _steps("one-cycle", self.steps)
        require(0 < self.rise < 1, f"one-cycle: it rises for a share of {self.rise}; it lies between 0 and 1")
        require(
            self.start > 0 and self.finish > 0, "one-cycle: start and finish divide the rate; both must be positive"
        )

    def __call__(self, step: int) -> float:
        return _along_cosine(*self._stretch(step))

    def _stretch(self, step: int) -> tuple[float, float, float]:
        """From where to where it goes now, and which share of that way is done."""
        share = min(step / max((self.steps or 1) - 1, 1), 1.0)
        first, last = self.rate / self.start, self.rate / self.start / self.finish
        if share < self.rise:
            return first, self.rate, share / self.rise
        return self.rate, last, (share - self.rise) / (1 - self.rise)

    def worked(self, step: int) -> str:
        begin, end, share = self._stretch(step)
        return f"{end:g} + ({begin:g} - {end:g}) x (1 + cos(pi x {share:.4g})) / 2"


def _along_cosine(begin: float, end: float, share: float) -> float:
    return end + (begin - end) * (1 + math.cos(math.pi * share)) / 2


NAMED: dict[str, type[Schedule]] = kinds.named(Schedule)


def schedule(what: float | Schedule) -> Schedule:
    """The schedule that is meant: one itself, or a number for a constant learning rate."""
    if isinstance(what, Schedule):
        return what
    if isinstance(what, int | float):
        require(math.isfinite(what) and what >= 0, f"the learning rate is {what}; it must be a number of 0 or more")
        return Constant(float(what))
    raise SettingError(f"{what!r} is no learning rate; give a number or a schedule")


def named(name: str, rate: float, **settings: Any) -> Schedule:
    """The schedule of this name with this learning rate."""
    if name not in NAMED:
        raise unknown("schedule", name, NAMED)
    return NAMED[name](rate, **settings)  # type: ignore[call-arg]
