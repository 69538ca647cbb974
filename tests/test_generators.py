"""Random numbers depend on their key alone."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from chainrule.generators import generator, hashed, keep_mask, threshold

KEYS = st.lists(st.one_of(st.integers(0, 5), st.text(max_size=3)), min_size=1, max_size=3)


@given(KEYS, KEYS)
def test_different_keys_give_different_numbers(a, b):
    same = a == b
    assert (generator(*a).random() == generator(*b).random()) == same


@given(st.integers(0, 200), st.floats(0, 0.99), st.integers(0, 9), st.integers(0, 2**40))
def test_a_mask_follows_its_integer_rule(size, rate, seed, step):
    mask = keep_mask((size,), rate, step, seed, "dropout")
    philox = np.random.Philox(key=hashed(seed, "dropout"))
    philox.advance(step * 2**64)  # each step has its own 2^64 draws
    raw = philox.random_raw((size + 1) // 2).tolist() if size else []
    halves = [half for number in raw for half in (number & 0xFFFFFFFF, number >> 32)]
    assert mask.tolist() == [half >= threshold(rate) for half in halves[:size]]


def test_masks_of_different_steps_differ():
    masks = [keep_mask((64,), 0.5, step, 1).tolist() for step in range(20)]
    assert len({tuple(mask) for mask in masks}) == 20


def test_a_mask_may_have_any_shape():
    np.testing.assert_array_equal(keep_mask((3, 5), 0.5, 7, 1).ravel(), keep_mask((15,), 0.5, 7, 1))
