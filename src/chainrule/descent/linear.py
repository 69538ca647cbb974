"""A stage's step as a linear function of the gradients, so that each gradient has a share of it.

Backpropagation adds up what each sample contributes to a gradient. To follow these contributions
into the update, each stage says what it did in one step as a linear function of its input g and of
what it carries along, c, with everything else held fixed at its actual value:

    u = mix(gain * g + carry * c) + offset,    c' = keep * c + take * g

Sums go through it term by term. Where a stage is linear (the learning rate, momentum, accumulation,
weight decay) this is the stage itself. Where it is not, it is the definition of a share:

- a divisor such as Adam's sqrt(v) + epsilon, a clip's factor, a trust ratio or a step length is
  held fixed: it depends on the gradient, but scales every share alike;
- a sign (Lion, Rprop) and a clipped entry are split in proportion: the gain is output over input;
- Muon's Newton-Schulz iterations multiply the momentum by a matrix that is a polynomial of it, and
  L-BFGS the gradient by an estimate of the inverse Hessian: both matrices are held fixed.

So the shares of a step add up to its update, apart from rounding. A stage that says nothing (a
user's own) is split in proportion; what it makes of an input of 0 belongs to no share.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from chainrule.arrays import Array, Vector

if TYPE_CHECKING:
    from chainrule.descent.optimizers import Optimizer
    from chainrule.descent.stages import Point, Stage, State

ALL = slice(None)
NONE: Mapping[int, float] = {}

Factor = Any
"""One number for all entries, or an array with one for each."""


class Mix(NamedTuple):
    """A linear map of a whole vector.

    Attributes:
        forward: the map
        back: its transpose, which carries directions backward
    """

    forward: Callable[[Vector], Vector]
    back: Callable[[Vector], Vector]


@dataclass(frozen=True)
class Linear:
    """A stage's step with all but g and c held fixed.

    Attributes:
        gain, carry: the factors of g and c in the output
        keep, take: the factors of c and g in the next c; c is 0 before the first step
        offset: what the stage adds to the output: it belongs to no sample
        name: what the offset is
        mix: what is applied to the weighted sum, if entries are mixed
        ends: whether the stage ended the step without an update
    """

    gain: Factor = 1.0
    carry: Factor = 0.0
    keep: Factor = 0.0
    take: Factor = 0.0
    offset: Factor = 0.0
    name: str = ""
    mix: Mix | None = None
    ends: bool = False

    def forward(self, g: Factor, c: Factor) -> tuple[Factor, Factor]:
        """A share's output and its part of the next c, from its input and its part of c."""
        u = self.gain * g + self.carry * c
        return (u if self.mix is None else self.mix.forward(u)), self.keep * c + self.take * g

    def back(self, u: Factor, c: Factor) -> tuple[Factor, Factor]:
        """The same backward: from how much something depends on the output and on the next c, how
        much on the input and on c.
        """
        u = u if self.mix is None else self.mix.back(u)
        return self.gain * u + self.take * c, self.carry * u + self.keep * c

    def single(self) -> Linear:
        """The form of a single place, with numbers in place of arrays."""
        parts = (self.gain, self.carry, self.keep, self.take, self.offset)
        gain, carry, keep, take, offset = (
            part if isinstance(part, float) else float(np.asarray(part).item()) for part in parts
        )
        return Linear(gain, carry, keep, take, offset, self.name, self.mix, self.ends)

    def within(self, mask: Array) -> Linear:
        """The same where the mask is 1, and no change elsewhere."""
        rest = 1 - mask
        mix = self.mix
        if mix is not None:  # elsewhere the input passes by the map
            own = mix
            mix = Mix(lambda x: own.forward(mask * x) * mask + rest * x, lambda x: own.back(mask * x) * mask + rest * x)
        carry, keep, take, offset = (mask * part for part in (self.carry, self.keep, self.take, self.offset))
        return Linear(mask * self.gain + rest, carry, keep, take, offset, self.name, mix)


@dataclass(frozen=True)
class Seen:
    """What a stage saw in a step, at some places of the flat vector.

    Attributes:
        stage: the stage
        before, after: its state before and after the step
        point: where the step started
        g: its input there, in float64
        places: the places; all by default
        incoming: gives its whole input, in the precision of training
        outgoing: its whole output, if that is known
        factor: by what it multiplied the input, if it does no more than that, and it is known
    """

    stage: Stage
    before: State
    after: State
    point: Point
    g: Vector
    places: slice
    incoming: Callable[[], Vector] = field(repr=False)
    outgoing: Vector | None = field(default=None, repr=False)
    factor: float | None = None

    def was(self, name: str) -> Vector:
        """An array of the state before the step, at the places, in float64."""
        return self.cut(self.before[name])

    def now(self, name: str) -> Vector:
        """The same after the step."""
        return self.cut(self.after[name])

    def cut(self, vector: Vector) -> Vector:
        """A vector at the places, in float64."""
        return np.asarray(vector[self.places], dtype=np.float64)

    @cached_property
    def whole(self) -> Vector:
        """Its whole input, in the precision of training."""
        return self.incoming()

    @cached_property
    def result(self) -> Vector | None:
        """Its whole output, in the precision of training; None if it ended the step."""
        if self.outgoing is not None:
            return self.outgoing
        if self.factor is not None:
            return self.whole * self.whole.dtype.type(self.factor)
        return self.stage.apply(self.whole, self.before, self.point)[0]

    def by_array(self, factor: Callable[[Vector, Vector], float]) -> Vector:
        """A factor of each parameter array, from its input and its parameters, at the places."""
        if self.factor is not None:
            return np.full(self.g.shape, self.factor)
        factors = np.ones(self.point.layout.size)
        for entry in self.point.layout.entries:
            start, stop, _ = self.places.indices(len(factors))
            if entry.start < stop and entry.start + entry.size > start:
                factors[entry.place] = factor(self.whole[entry.place], self.point.parameters[entry.place])
        return factors[self.places]

    def proportional(self, otherwise: float = 0.0) -> Linear:
        """The output over the input, entry by entry; where the input is 0, `otherwise`."""
        if self.result is None:
            return Linear(gain=0.0, ends=True)
        return Linear(ratio(self.cut(self.result), self.g, otherwise))


def ratio(output: Vector, input: Vector, otherwise: float = 0.0) -> Vector:
    """output / input; where the input is 0, `otherwise`."""
    return np.divide(output, input, out=np.full_like(output, otherwise), where=input != 0)


def linear_forms(
    optimizer: Optimizer,
    gradient: Vector,
    before: Sequence[State],
    after: Sequence[State],
    point: Point,
    places: slice = ALL,
    update: Vector | None = None,
    factors: Mapping[int, float] = NONE,
) -> list[Linear]:
    """What each stage did in a step, up to one that ended it.

    Args:
        optimizer: the optimizer
        gradient: (parameters,) the step's gradient, penalties included
        before, after: the state of each stage before and after the step
        point: where the step started
        places: the places of the flat vector; some alone only if no stage mixes entries
            (`mixes_entries`)
        update: (parameters,) the step's update, if it is known: so no line search is repeated
        factors: by what stages that do no more than that multiplied, by their place in the chain,
            where it is known; needed if the vectors are of some entries alone (`has_common_factor`)
    """
    forms: list[Linear] = []
    g: Vector = np.asarray(gradient[places], dtype=np.float64)
    seen: Seen | None = None
    for k, (stage, was, now) in enumerate(zip(optimizer.stages, before, after, strict=True)):
        outgoing = update if k + 1 == len(optimizer.stages) else None
        seen = Seen(stage, was, now, point, g, places, _incoming(seen, gradient), outgoing, factors.get(k))
        own = stage.linear(seen)
        forms += own
        if own[-1].ends:
            break
        g = stage.output(own, seen)
    return forms


def _incoming(before: Seen | None, gradient: Vector) -> Callable[[], Vector]:
    def whole() -> Vector:
        if before is None:
            return gradient
        assert before.result is not None
        return before.result

    return whole


class Effect(NamedTuple):
    """What followed from one step, for the whole of a training.

    Attributes:
        gradient: how much the step's gradient changed what is asked about: each entry's factor, so
            that a share g of the gradient has the effect (g * gradient).sum()
        offsets: what belongs to no sample, by the name of its stage
    """

    gradient: Vector
    offsets: dict[str, float]


@dataclass
class Backward:
    """Carries directions backward through the steps of a training, last step first.

    Something changes by (direction * update).sum() in each step. What a step's gradient
    contributed to that in this step, and in all later ones through what stages carry along, is its
    effect. As all that is carried is a vector for each stage, no sample needs a state of its own.
    """

    _carried: dict[int, Factor] = field(default_factory=dict, init=False)

    def step(self, forms: Sequence[Linear], direction: Vector) -> Effect:
        """The effect of the step before those already given.

        Args:
            forms: what its stages did
            direction: how much a change of its update matters; 1 at a weight and 0 elsewhere for
                how far that weight moves
        """
        u: Factor = direction if not forms[-1].ends else direction * 0.0
        offsets: dict[str, float] = {}
        for k in reversed(range(len(forms))):
            form = forms[k]
            if form.name:
                offsets[form.name] = offsets.get(form.name, 0.0) + float(np.sum(form.offset * u))
            u, self._carried[k] = form.back(u, self._carried.get(k, 0.0))
        return Effect(u, offsets)
