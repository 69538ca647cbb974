"""The difference between ranks is beneath its bound: a thinned benchmarks/ranks_agree.py."""

import numpy as np
import pytest

from engines import needs_native
from ranks_agree import RANKS, agreement

pytestmark = needs_native


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gradients_of_ranks_are_beneath_the_bound_on_sums_in_another_order(dtype):
    found = agreement("LSTM", dtype, RANKS, weights=5)
    assert found.holds
    assert 0 < found.apart.max() < np.inf
    assert (found.of_sums > 0).mean() > 0.5  # of the state before the first time step there is nothing to add
    assert found.of_sums.max() < 1e3 * found.apart.max()
