"""The line search of L-BFGS (`descent.quasi_newton.StrongWolfe`) as one loop of JAX, in which each
turn evaluates the loss once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from chainrule.descent.quasi_newton import StrongWolfe


class Trial(NamedTuple):
    """The loss at one point, as quasi_newton.Trial; all are float64."""

    step: Any
    value: Any
    slope: Any


class Search(NamedTuple):
    """A search between two evaluations.

    Attributes:
        used: how many there were
        zooms: whether an interval brackets a solution
        found: the step length, if it is known; else NaN
        step: the next one to try while nothing is bracketed
        low, high, third: the best trial so far, the other end, and a third
    """

    used: Any
    zooms: Any
    found: Any
    step: Any
    low: Trial
    high: Trial
    third: Trial


def search(stage: StrongWolfe, along: Callable[[Any], Trial], start: Trial) -> Any:
    """The step length that the definition finds; 0 if the start does not go downhill."""
    one = jnp.ones_like(start.step)
    nothing = jnp.where(start.slope < 0, jnp.nan, jnp.zeros_like(one))
    begin = Search(jnp.int32(0), jnp.asarray(False), nothing, one, start, start, start)

    def goes_on(at: Search) -> Any:
        return (at.used < stage.trials) & jnp.isnan(at.found)

    def body(at: Search) -> Search:
        now = along(jnp.where(at.zooms, _between(at.low, at.high, at.third), at.step))
        at = at._replace(used=at.used + 1)
        at = _choose(at.zooms, _zoomed(stage, start, now, at), _widened(stage, start, now, at))
        is_narrow = at.zooms & (jnp.abs(at.high.step - at.low.step) <= 1e-5) & (at.low.step > 0)
        return at._replace(found=jnp.where(is_narrow & jnp.isnan(at.found), at.low.step, at.found))

    last = lax.while_loop(goes_on, body, begin)
    return jnp.where(jnp.isnan(last.found), last.low.step, last.found)


def _choose(condition: Any, one: Any, other: Any) -> Any:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), one, other)


def _decreases(stage: StrongWolfe, start: Trial, now: Trial) -> Any:
    return now.value <= start.value + stage.decrease * now.step * start.slope


def _is_flat(stage: StrongWolfe, start: Trial, now: Trial) -> Any:
    return jnp.abs(now.slope) <= -stage.curvature * start.slope


def _widened(stage: StrongWolfe, start: Trial, now: Trial, at: Search) -> Search:
    """After a trial while nothing is bracketed: `low` is the trial before it."""
    fails = ~_decreases(stage, start, now) | ((at.used > 1) & (now.value >= at.low.value))
    found = jnp.where(~fails & _is_flat(stage, start, now), now.step, jnp.nan)
    failed = at._replace(zooms=jnp.asarray(True), high=now, third=start)
    rises = at._replace(zooms=jnp.asarray(True), low=now, high=at.low, third=start, found=found)
    falls = at._replace(low=now, step=2 * at.step, found=found)
    return _choose(fails, failed, _choose(now.slope >= 0, rises, falls))


def _zoomed(stage: StrongWolfe, start: Trial, now: Trial, at: Search) -> Search:
    """After a trial within the interval."""
    fails = ~_decreases(stage, start, now) | (now.value >= at.low.value)
    failed = at._replace(third=at.high, high=now)
    turns = now.slope * (at.high.step - at.low.step) >= 0
    good = _choose(turns, at._replace(third=at.high, high=at.low), at._replace(third=at.low))
    found = jnp.where(_is_flat(stage, start, now), now.step, jnp.nan)
    return _choose(fails, failed, good._replace(low=now, found=found))


def _between(low: Trial, high: Trial, third: Trial) -> Any:
    """The next step length to try, as quasi_newton._between."""
    left, right = jnp.minimum(low.step, high.step), jnp.maximum(low.step, high.step)
    width, step = right - left, (low.step + high.step) / 2
    for minimum, margin in ((_parabola_minimum(low, high), 0.1), (_cubic_minimum(low, high, third), 0.2)):
        fits = (left + margin * width < minimum) & (minimum < right - margin * width)  # False for NaN
        step = jnp.where(fits, minimum, step)
    return step


def _cubic_minimum(a: Trial, b: Trial, c: Trial) -> Any:
    """The minimum of the cubic through a, with a's slope, b and c; not finite if it has none."""
    db, dc = b.step - a.step, c.step - a.step
    denominator = (db * dc) ** 2 * (db - dc)
    rise_b, rise_c = b.value - a.value - a.slope * db, c.value - a.value - a.slope * dc
    cubic = (dc**2 * rise_b - db**2 * rise_c) / denominator
    square = (-(dc**3) * rise_b + db**3 * rise_c) / denominator
    root = jnp.sqrt(square**2 - 3 * cubic * a.slope)
    return jnp.where(denominator == 0, jnp.nan, a.step + (-square + root) / (3 * cubic))


def _parabola_minimum(a: Trial, b: Trial) -> Any:
    """The minimum of the parabola through a, with a's slope, and b; not finite if it has none."""
    db = b.step - a.step
    return a.step - a.slope / (2 * ((b.value - a.value - a.slope * db) / db**2))
