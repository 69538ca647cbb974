"""Every stage's linear form: shares of a gradient, carried through the stages and through time, add
up to the update, and carried backward they have the same effects.
"""

from dataclasses import dataclass

import numpy as np
import pytest

from chainrule.descent import Point, chain, linear, optimizer, optimizers, stages
from chainrule.descent.optimizers import NAMED
from chainrule.layout import Layout

LAYOUT = Layout.of({"dense_1.W": (4, 3), "dense_1.b": (3,), "dense_2.W": (2, 5)}, {"dense_1.W", "dense_2.W"})
SAMPLES, STEPS = 5, 12
LINEAR = ("sgd", "gradient_descent", "gd", "momentum", "nesterov")
TEXTS = [
    *NAMED,
    "sgd 0.1 schedule=cosine warmup=3 accumulate=3 average=0.9",
    "momentum 0.1 accumulate=2",
    "adam clip=0.5",
    "lamb accumulate=2 clip=0.1",
    "muon clip=0.3 average=0.9",
]


@dataclass(frozen=True)
class Squared(stages.Stage):
    """A user's stage, which says nothing of shares."""

    formula = "u = g |g|"

    def apply(self, g, state, point):
        return g * np.abs(g), state


OWN = {
    "own": chain(Squared(), stages.LearningRate()),
    "clipped": chain(stages.ClipValue(0.4), stages.ClipNorm(0.5), stages.Plateau(), stages.LearningRate()),
    "averaged": optimizers.lbfgs().then(stages.Average(0.9)),
}


def taken(chosen, dtype="float64"):
    """Steps on a sum of five losses: the linear forms, the shares of each gradient, and the step."""
    rng = np.random.default_rng(3)
    mixes = rng.normal(size=(SAMPLES, LAYOUT.size, LAYOUT.size)) / 4
    weights = rng.normal(size=LAYOUT.size).astype(dtype)

    def shares(w):
        z = mixes @ w
        return np.einsum("sij,si->sj", mixes, 2 * z / (1 + z**2))

    def evaluate(w):
        return float(np.log1p((mixes @ w) ** 2).sum()), shares(w).sum(axis=0).astype(dtype)

    states = chosen.start(weights, LAYOUT)
    for _ in range(STEPS):
        loss, gradient = evaluate(weights)
        own, point = shares(weights), Point(weights, LAYOUT, loss, gradient, evaluate)
        step = chosen.step(gradient, states, point)
        yield linear.linear_forms(chosen, gradient, states, step.states, point, update=step.update), own, step, states
        weights, states = step.parameters, step.states


def forward(steps):
    """Each sample's share of each update, and what belongs to no sample."""
    carried, none = {}, {}
    for forms, shares, step, _ in steps:
        outputs, rest = shares, np.zeros(LAYOUT.size)
        for k, form in enumerate(forms):
            before = carried.get(k, np.zeros_like(shares))
            pairs = [form.forward(g, c) for g, c in zip(outputs, before, strict=True)]
            outputs, carried[k] = (np.array(part) for part in zip(*pairs, strict=True))
            rest, none[k] = form.forward(rest, none.get(k, np.zeros(LAYOUT.size)))
            rest = rest + form.offset
        yield (outputs, rest, step.update) if not forms[-1].ends else (0 * shares, 0 * rest, step.update)


def chosen(name):
    return OWN[name] if name in OWN else optimizer(name)


@pytest.mark.parametrize("name", [*TEXTS, *OWN])
def test_shares_add_up_to_every_update(name):
    moved = 0.0
    for shares, rest, update in forward(taken(chosen(name))):
        np.testing.assert_allclose(shares.sum(axis=0) + rest, update, rtol=0, atol=1e-9)
        moved += np.abs(update).sum()
    assert moved > 0


@pytest.mark.parametrize("name", [*TEXTS, *OWN])
def test_effects_carried_backward_are_those_carried_forward(name):
    steps = list(taken(chosen(name)))
    directions = np.random.default_rng(4).normal(size=(len(steps), LAYOUT.size))
    expected, none = np.zeros(SAMPLES), 0.0
    for (shares, rest, _), direction in zip(forward(steps), directions, strict=True):
        expected += shares @ direction
        none += rest @ direction
    back, found, offsets = linear.Backward(), np.zeros(SAMPLES), 0.0
    for (forms, shares, *_), direction in reversed(list(zip(steps, directions, strict=True))):
        effect = back.step(forms, direction)
        found += shares @ effect.gradient
        offsets += sum(effect.offsets.values())
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)
    assert offsets == pytest.approx(none, abs=1e-9)


@pytest.mark.parametrize("name", [*TEXTS, *OWN])
def test_a_single_place_is_as_among_all(name):
    rule = chosen(name)
    if any(stage.mixes_entries for stage in rule.stages):
        pytest.skip("its entries depend on each other")
    rng, weights = np.random.default_rng(5), np.random.default_rng(6).normal(size=LAYOUT.size)
    states = rule.start(weights, LAYOUT)
    for _ in range(4):
        gradient, point = rng.normal(size=LAYOUT.size), Point(weights, LAYOUT)
        step = rule.step(gradient, states, point)
        given = rule, gradient, states, step.states, point
        everywhere = linear.linear_forms(*given)
        for place in (0, 13, 20):
            for one, form in zip(linear.linear_forms(*given, slice(place, place + 1)), everywhere, strict=True):
                for part in ("gain", "carry", "keep", "take", "offset"):
                    whole = np.broadcast_to(getattr(form, part), LAYOUT.size)
                    np.testing.assert_allclose(getattr(one, part), whole[place], rtol=1e-12)
        weights, states = step.parameters, step.states


@pytest.mark.parametrize("name", LINEAR)
def test_linear_stages_need_no_numbers_of_the_step(name):
    for (forms, *_), (others, *_) in zip(taken(chosen(name)), taken(chosen(name), "float32"), strict=True):
        for form, other in zip(forms, others, strict=True):
            assert (form.gain, form.carry, form.keep, form.take) == (other.gain, other.carry, other.keep, other.take)


def test_weight_decay_is_told_apart():
    name = "adamw 0.01 weight_decay=0.3"
    effects = [linear.Backward().step(forms, np.ones(LAYOUT.size)) for forms, *_ in taken(optimizer(name))]
    assert all(effect.offsets.keys() == {"weight decay"} for effect in effects)
    _, _, step, _ = next(iter(taken(optimizer(name))))
    weights = step.parameters + step.update
    decayed = sum(weights[entry.place].sum() for entry in LAYOUT.matching(None))
    assert effects[0].offsets["weight decay"] == pytest.approx(0.01 * 0.3 * decayed)


def test_in_float32_shares_add_up_to_rounding():
    for name in ("adam", "momentum", "muon"):
        for shares, rest, update in forward(taken(chosen(name), "float32")):
            np.testing.assert_allclose(shares.sum(axis=0) + rest, update, rtol=1e-4, atol=1e-5)
