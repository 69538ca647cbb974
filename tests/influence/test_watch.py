"""What the native engine watches of a weight is what the whole record of each step says."""

import numpy as np
import pytest

from chainrule import train
from chainrule.data import from_arrays
from chainrule.influence.reading import _recorded, _watched
from chainrule.layers import (
    BatchNorm,
    Dense,
    Embedding,
    Expand,
    Input,
    LayerNorm,
    LearnedPositions,
    ReLU,
    RMSNorm,
    TiedDense,
    TransformerBlock,
)
from chainrule.network import Network
from chainrule.runs import Recorder, Run
from engines import needs_native

pytestmark = needs_native

RNG = np.random.default_rng(1)
TABLE = from_arrays(RNG.normal(size=(24, 3)), RNG.integers(3, size=24))
SERIES = from_arrays(RNG.normal(size=(12, 5, 2)), RNG.normal(size=(12, 1)))


def timeline(folder, network, data, **settings):
    settings = {"epochs": 3, "batch_size": 5, "patience": None, "engine": "native", **settings}
    if not isinstance(network, Network):
        settings = {"dtype": "float64", **settings}
    train(network, data, callbacks=[Recorder(folder)], **settings)
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
    "adam 0.01 accumulate=2 average=0.9 schedule=cosine", "lamb", "adam 0.01 clip=0.01 accumulate=2",
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


PICTURES = from_arrays(RNG.normal(size=(12, 6, 6, 2)), RNG.integers(2, size=12))
FIRST_TWO = Expand(3, (0, 2))  # of three inputs


def tokens():
    """A transformer with the embedding's matrix at both ends, and learned positions."""
    embedding, x = Embedding(6, 4), Input(7)
    y = TransformerBlock(2)(LearnedPositions()(embedding(x)))
    numbers = RNG.integers(6, size=(10, 7))
    network = Network(inputs=x, outputs=TiedDense(embedding)(y), dtype="float64")
    return network, from_arrays(numbers, numbers, task="classification")


NORM = "batch_norm, relu"
# Networks in which every operation with weights occurs, in each of its forms.
NETWORKS = {
    "winograd": ("conv 8 3 relu, conv 8 3 padding=valid, flatten", PICTURES),
    "strides and groups": ("conv 4 3 stride=2 groups=2, relu, conv 6 2 relu, flatten", PICTURES),
    "read normalized": (f"conv 8 3 padding=same, {NORM}, conv 8 3, {NORM}, conv 4 1, {NORM},"
                        f" depthwise_conv 3 padding=same, {NORM}, conv 3 1 relu, global_average_pool", PICTURES),
    "transposed": ("conv 4 3 stride=2 relu, conv_transpose 3 3 stride=2, group_norm 3, prelu, flatten", PICTURES),
    "table": ([FIRST_TWO, Dense(4), BatchNorm(), ReLU(), LayerNorm(), Dense(3), RMSNorm(), Dense(3)], TABLE),
    "lstm": ("lstm 3", SERIES),
    "gru": ("gru 3", SERIES),
    "rnn": ("simple_rnn 3", SERIES),
    "tokens": (None, None),
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_every_operation_with_weights_knows_its_samples(tmp_path, name):
    network, data = tokens() if name == "tokens" else NETWORKS[name]
    line, layout, steps = timeline(tmp_path / "run", network, data, epochs=1, optimizer="adam 0.01", batch_size=7)
    start = line.position(0)
    for entry in layout.entries:
        place = entry.start + entry.size // 2
        found = list(_watched(line, start, steps, place))
        assert len(found) == steps, entry.name
        check_same(found, list(_recorded(line, start, steps, place)), 1e-10)


def test_steps_in_numpy_are_left_to_the_records(tmp_path):
    line, layout, steps = timeline(tmp_path / "run", "4 relu", TABLE, engine="numpy")
    assert not list(_watched(line, line.position(0), steps, layout.find("dense_1.W[1, 2]")))
