"""Learning-rate schedules as functions of JAX: the rate, in float64, of a number of updates."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax import lax

from chainrule.descent import schedules
from chainrule.engine.lowering import NoKernel


def lower(schedule: schedules.Schedule) -> Callable[[Any], Any]:
    """The rate of the update that follows so many others; raises NoKernel for a user's schedule."""
    if type(schedule) is schedules.WarmUp:
        then = lower(schedule.then)
        first, warmup = schedule.then(0), schedule.warmup
        return lambda n: jnp.where(n < warmup, first * (n + 1) / (warmup + 1), then(jnp.maximum(n - warmup, 0)))
    if type(schedule) not in SCHEDULES:
        raise NoKernel(type(schedule).__name__)
    return lambda n: SCHEDULES[type(schedule)](schedule, n)


def _step(s: Any, n: Any) -> Any:
    return s.rate * jnp.float64(s.factor) ** (n // s.every)


def _exponential(s: Any, n: Any) -> Any:
    return s.rate * jnp.float64(s.factor) ** (n / (s.steps or 1))


def _cosine(s: Any, n: Any) -> Any:
    position, length = n.astype(jnp.float64), jnp.float64(s.steps or 1)
    if s.restarts:
        position, length = lax.while_loop(
            lambda at: at[0] >= at[1], lambda at: (at[0] - at[1], at[1] * s.stretch), (position, length)
        )
    wave = (1 + jnp.cos(math.pi * (jnp.minimum(position, length) / length))) / 2
    return s.rate * (s.end + (1 - s.end) * wave)


def _polynomial(s: Any, n: Any) -> Any:
    progress = jnp.minimum(n / (s.steps or 1), 1.0)
    return s.rate * (s.end + (1 - s.end) * (1 - progress) ** s.power)


def _one_cycle(s: Any, n: Any) -> Any:
    progress = jnp.minimum(n / max((s.steps or 1) - 1, 1), 1.0)
    first, last = s.rate / s.start, s.rate / s.start / s.finish
    rises = progress < s.rise
    begin, end = jnp.where(rises, first, s.rate), jnp.where(rises, s.rate, last)
    within = jnp.where(rises, progress / s.rise, (progress - s.rise) / (1 - s.rise))
    return end + (begin - end) * (1 + jnp.cos(math.pi * within)) / 2


SCHEDULES: dict[type[schedules.Schedule], Callable[[Any, Any], Any]] = {
    schedules.Constant: lambda s, n: s.rate,
    schedules.Step: _step,
    schedules.Exponential: _exponential,
    schedules.Cosine: _cosine,
    schedules.Polynomial: _polynomial,
    schedules.OneCycle: _one_cycle,
}
"""All schedules but WarmUp, which has another in it."""
