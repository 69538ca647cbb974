"""Printed arithmetic adds up as printed."""

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainrule.explain.digits import difference


@given(st.floats(-1e3, 1e3, width=32), st.floats(-10, 10, width=32), st.sampled_from([1.0, 1e-3, 1e-6]))
def test_a_printed_update_adds_up_as_printed(before, update, scale):
    before, update = np.float32(before), np.float32(update * scale)
    after = np.float32(before - update)
    line = difference(float(before), float(update), float(after))
    first, sign, second, _, third = line.removesuffix(", rounded").split()
    if not line.endswith("rounded"):
        assert Decimal(first) - Decimal(second) * (1 if sign == "-" else -1) == Decimal(third)
        assert Decimal(second) or not update
    assert float(third) == pytest.approx(float(after), rel=1e-5, abs=0.6 * abs(float(update)))
    assert float(second) == pytest.approx(abs(float(update)), rel=0.5)
    if abs(update) >= 1e-3 * max(abs(before), abs(after)):  # what a float32 has precision for
        assert not line.endswith("rounded")
        assert float(second) == pytest.approx(abs(float(update)), rel=1e-2)


def test_digits_of_a_printed_update_that_is_not_finite():
    assert difference(1.0, float("inf"), float("-inf")) == "1 - inf = -inf"
