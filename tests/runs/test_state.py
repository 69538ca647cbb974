"""Where training stands, as bytes."""

import numpy as np
import pytest

from chainrule.data import load
from chainrule.errors import RunError
from chainrule.runs import state
from chainrule.training import plan
from chainrule.training.loop import start


def position_of(optimizer):
    made = plan("4 tanh", load("iris"), optimizer=optimizer)
    return made, start(made).position


@pytest.mark.parametrize("optimizer", ["adam", "muon", "lbfgs"])
def test_a_position_comes_back_and_fits_no_other_optimizer(optimizer):
    made, position = position_of(optimizer)
    content = state.position_to_bytes(position)
    again = state.position_from_bytes(content, made)
    for one, other in zip(again.states, position.states, strict=True):
        assert one.keys() == other.keys()
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])
    with pytest.raises(RunError, match="does not fit its optimizer"):
        state.position_from_bytes(content, position_of("momentum")[0])
    if optimizer == "lbfgs":
        with pytest.raises(RunError, match="does not fit its optimizer"):
            state.position_from_bytes(content, position_of("lbfgs memory=3")[0])
