"""Random numbers depend on their key alone."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from chainrule.generators import generator, keep_mask

KEYS = st.lists(st.one_of(st.integers(0, 5), st.text(max_size=3)), min_size=1, max_size=3)


@given(KEYS, KEYS)
def test_different_keys_give_different_numbers(a, b):
    same = a == b
    assert (generator(*a).random() == generator(*b).random()) == same


@given(st.integers(0, 200), st.floats(0, 0.99), st.integers(0, 9))
def test_a_mask_follows_its_rule_in_whole_numbers(size, rate, seed):
    mask = keep_mask((size,), rate, seed, "dropout")
    raw = [generator(seed, "dropout").bit_generator.random_raw((size + 1) // 2)] if size else [np.zeros(0, np.uint64)]
    halves = [half for number in raw[0].tolist() for half in (number & 0xFFFFFFFF, number >> 32)]
    assert mask.tolist() == [half >= int(rate * 2**32) for half in halves[:size]]


def test_a_mask_may_have_any_shape():
    np.testing.assert_array_equal(keep_mask((3, 5), 0.5, 1).ravel(), keep_mask((15,), 0.5, 1))
