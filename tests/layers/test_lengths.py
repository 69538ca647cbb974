"""Masks, and pooling over valid positions: against differences, and against samples cut short."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainrule.errors import ShapeError
from chainrule.layers import Dense, Embedding, GlobalAveragePool, GlobalMaxPool, Input, Mask, ValidMax, ValidMean
from chainrule.layers.base import total
from chainrule.layers.notation import parse
from chainrule.network import Network, of_sequences, of_texts


@given(st.integers(1, 4), st.integers(1, 5), st.integers(1, 3), st.integers(0, 99))
def test_derivatives_and_terms_are_those_of_the_definition(count, steps, features, seed):
    random = np.random.default_rng(seed)
    x, lengths = random.normal(size=(count, steps, features)), random.integers(0, steps + 1, count).astype(float)
    for layer in (Mask(), ValidMax(), ValidMean()):
        y, saved = layer.forward({}, x, lengths, None)
        dy = random.normal(size=y.shape)
        (dx, of_lengths), _ = layer.backward({}, saved, dy)
        assert not of_lengths.any()
        for index in np.ndindex(x.shape):
            nudge = np.zeros_like(x)
            nudge[index] = 1e-6
            above, below = (layer.forward({}, x + sign * nudge, lengths, None)[0] for sign in (1, -1))
            assert dx[index] == pytest.approx((dy * (above - below)).sum() / 2e-6, abs=1e-7)
            assert total([layer.input_terms({}, saved, dy, index)]) == pytest.approx(dx[index], abs=1e-12)


@pytest.mark.parametrize("text", ["conv 4 3 relu padding=same, global_max_pool", "conv 4 3 padding=same, gru 3",
                                  "conv 4 3 padding=same, conv 4 3 tanh padding=causal, global_average_pool",
                                  "attention 2, global_max_pool"])  # fmt: skip
@pytest.mark.parametrize("engine", ["numpy", "native"])
def test_what_fills_a_sequence_up_changes_nothing(text, engine):
    from chainrule.descent import optimizer
    from chainrule.engine import Problem, make_engine
    from chainrule.losses import loss

    random, layers = np.random.default_rng(0), parse(text)
    long = of_texts([Dense(2)], [(9, Embedding(7, 6))], layers, others=2, dtype="float64")
    short = of_texts([Dense(2)], [(4, Embedding(7, 6))], layers, others=2, dtype="float64")
    weights = long.draw(1)
    assert long.parameters.ranges == short.parameters.ranges
    tokens, others = random.integers(1, 7, (5, 9)), random.normal(size=(5, 2))
    lengths = np.array([[4], [3], [1], [2], [4]])
    whole = np.concatenate([others, tokens, lengths], axis=1)
    cut = np.concatenate([others, tokens[:, :4], lengths], axis=1)
    outputs = [
        make_engine(engine, Problem(network, loss("mse"), optimizer("sgd"))).predictor(weights, np.zeros(0))(x)
        for network, x in ((long, whole), (short, cut))
    ]
    np.testing.assert_allclose(outputs[0], outputs[1], atol=1e-12)


def test_a_sample_without_positions_is_0_and_shapes_are_checked():
    x, lengths = np.ones((1, 3, 2)), np.zeros(1)
    for layer in (ValidMax(), ValidMean()):
        assert not layer.forward({}, x, lengths, None)[0].any()
    for pool, masked in ((GlobalMaxPool, ValidMax), (GlobalAveragePool, ValidMean)):
        symbol = pool()(Input((3, 2)), Input(()))
        assert isinstance(symbol.layer, masked)
        with pytest.raises(ShapeError, match="use lengths of the shape"):
            pool()(Input((3, 2, 2)), Input(()))
    network = of_sequences(parse("conv 4 3 padding=same, global_max_pool, 2"), (5, 2))
    assert [node.layer.word for node in network.nodes][-4:] == ["mask", "conv", "valid_max", "dense"]
    with pytest.raises(ShapeError, match="end them with one such as gru 64"):
        of_texts([Dense(2)], [(4, Embedding(7, 6))], parse("gru 4 all=true"))
    assert isinstance(network, Network)
