"""What the native engine watches of a weight is what the whole record of each step says."""

import numpy as np
import pytest

from chainrule import train
from chainrule.data import from_arrays
from chainrule.influence.reading import _recorded, _watched
from chainrule.runs import Recorder, Run
from engines import needs_native

pytestmark = needs_native

RNG = np.random.default_rng(1)
TABLE = from_arrays(RNG.normal(size=(24, 3)), RNG.integers(3, size=24))
SERIES = from_arrays(RNG.normal(size=(12, 5, 2)), RNG.normal(size=(12, 1)))


def timeline(folder, network, data, **settings):
    settings = {"dtype": "float64", "epochs": 3, "batch_size": 5, "patience": None, **settings}
    train(network, data, callbacks=[Recorder(folder)], engine="native", **settings)
    run = Run.open(folder)
    return run.timeline(data), run.trained.plan.network.parameters, run.manifest["steps"]


def check_same(found, expected, within):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        for name in ("step", "before", "after", "gradient", "subtracted", "penalties"):
            assert getattr(one, name) == getattr(other, name), name
        assert (one.rows == other.rows).all()
        np.testing.assert_allclose(one.terms, other.terms, rtol=within, atol=within)
        for form, whole in zip(one.forms, other.forms, strict=True):
            assert (form.name, form.ends) == (whole.name, whole.ends)
            for name in ("gain", "carry", "keep", "take", "offset"):
                assert getattr(form, name) == pytest.approx(getattr(whole, name), rel=within, abs=within)


@pytest.mark.parametrize("optimizer", [
    "sgd 0.1", "nesterov 0.1", "adam 0.01", "adamw 0.01 weight_decay=0.1", "lion", "adadelta", "amsgrad",
    "adam 0.01 accumulate=2 average=0.9 schedule=cosine",
])  # fmt: skip
@pytest.mark.parametrize("weight", ["dense_1.W[1, 2]", "dense_2.b[1]"])
def test_a_watched_weight_has_the_numbers_of_the_records(tmp_path, optimizer, weight):
    line, layout, steps = timeline(
        tmp_path / "run", "4 relu, 5 relu", TABLE, optimizer=optimizer, penalties="elastic 0.001 0.01"
    )
    place, start = layout.find(weight), line.position(0)
    found = list(_watched(line, start, steps, place))
    assert len(found) == steps
    check_same(found, list(_recorded(line, start, steps, place)), 1e-11)


@pytest.mark.parametrize(("network", "data", "weight"), [
    ("300 relu, 300 relu", TABLE, "dense_2.W[10, 20]"),
    ("dense 4, batchnorm, relu, dropout 0.2", TABLE, "dense_1.W[1, 2]"),
    ("5 tanh, flatten", SERIES, "dense_1.W[1, 2]"),
])  # fmt: skip
def test_other_networks_in_single_precision(tmp_path, network, data, weight):
    line, layout, steps = timeline(tmp_path / "run", network, data, dtype="float32", optimizer="adam 0.01")
    place, start = layout.find(weight), line.position(0)
    found = list(_watched(line, start, steps, place))
    assert len(found) == steps
    check_same(found, list(_recorded(line, start, steps, place)), 2e-5)
    for step in found:
        assert step.terms.sum() == pytest.approx(step.gradient, abs=1e-5)


@pytest.mark.parametrize(("network", "settings", "weight"), [
    ("4 relu", {"optimizer": "lamb"}, "dense_1.W[1, 2]"),
    ("4 relu", {"optimizer": "adam clip=1"}, "dense_1.W[1, 2]"),
    ("4, batchnorm, relu", {}, "batch_norm_1.scale[1]"),
])  # fmt: skip
def test_what_is_not_watched_is_left_to_the_records(tmp_path, network, settings, weight):
    line, layout, steps = timeline(tmp_path / "run", network, TABLE, **settings)
    assert not list(_watched(line, line.position(0), steps, layout.find(weight)))
