"""Names, shapes and flat storage."""

import numpy as np
import pytest

from chainrule.errors import ChainruleError
from chainrule.layers import Branches, Dense, Dropout, Embedding, Flatten, ReLU, Residual, Sequential
from chainrule.network import Network


def test_parameters_are_views_into_one_flat_vector():
    network = Network("3 tanh, 1", 2)
    vector = np.arange(network.parameters.size, dtype=np.float32)
    params = network.params(vector)
    params["dense_1"]["W"][1, 2] = -1
    assert vector[network.parameters.find("dense_1.W[1, 2]")] == -1
    for place in range(vector.size):
        assert network.parameters.find(network.parameters.name_of(place)) == place


def test_layers_are_named_by_kind_and_place_or_by_the_user():
    layers = [
        Dense(3, activation="relu"),
        Dropout(0.1),
        Dense(3, name="middle"),
        Residual([Dense(3), ReLU()]),
        Branches([[Dense(2)], Dense(1)]),
        Dense(1),
    ]
    network = Network(layers, 2)
    assert [node.name for node in network.nodes] == [
        *("dense_1", "relu_1", "dropout_1", "middle", "residual_1.dense_1", "residual_1.relu_1", "residual_1"),
        *("branches_1.branch_1.dense_1", "branches_1.branch_2", "branches_1", "dense_3"),
    ]  # fmt: skip
    assert network.output_shape == (1,)


def test_text_and_layers_make_the_same_network():
    text = "flatten, 64 relu, dropout 0.2, residual(64 gelu, 64), branches(8 tanh | 4), 10"
    layers = [
        Flatten(),
        Dense(64, activation="relu"),
        Dropout(0.2),
        Residual([Dense(64, activation="gelu"), Dense(64)]),
        Branches([Sequential([Dense(8, activation="tanh")]), Sequential([Dense(4)])]),
        Dense(10),
    ]
    assert Network(text, (8, 8)) == Network(layers, (8, 8))


@pytest.mark.parametrize(
    ("layers", "shape", "message"),
    [
        (
            "relu, reshape 3 3",
            8,
            "layer reshape_1: takes as many numbers as the shape \\(3, 3\\) has, but gets the shape \\(8,\\)",
        ),
        ("4, residual(3)", 2, "layer residual_1: the layers inside turn the shape \\(4,\\) into \\(3,\\)"),
        ([Branches([[Dense(2)], [Flatten()]], merge="add")], (3, 2), "layer branches_1: can't add"),
        ("64 rleu", 2, "did you mean 'relu'"),
        ("drpout 0.1", 2, "did you mean 'dropout'"),
        ("-3 relu", 2, "-3 units"),
        ("3.5", 2, "is no layer"),
        ("residual(3", 2, "missing its partner"),
        ("dropout 1.5", 2, "the rate is 1.5"),
        ("dropout much", 2, "'much' should be a number"),
        ("relu 1 2 3", 2, "relu takes no values"),
        ([3], 2, "3 is no layer"),
        (7, 2, "a list of layers or a text"),
        ([Dense(3, name="a"), Dense(3, name="a")], 2, "two layers are called 'a'"),
        ([Dense(3, name="a.b")], 2, "can't be called 'a.b'"),
        ("3", (0,), "every size must be above 0"),
    ],
)
def test_what_does_not_fit_is_named(layers, shape, message):
    with pytest.raises(ChainruleError, match=message):
        Network(layers, shape)


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        ("dense_9.W[0, 0]", "there is no parameter 'dense_9.W'; did you mean .*there are"),
        ("dense_1.W[2, 0]", r"its indices are \[0 to 1, 0 to 2\]"),
        ("dense_1.W", "its indices are"),
        ("what is this", "is no weight's name"),
    ],
)
def test_a_weight_that_does_not_exist_is_refused_with_what_there_is(weight, message):
    with pytest.raises(ChainruleError, match=message):
        Network("3 tanh, 1", 2).parameters.find(weight)


def test_input_of_another_shape_is_refused():
    network = Network("3", 2)
    with pytest.raises(ChainruleError, match=r"takes samples of shape \(2,\)"):
        network.predict(network.draw(), np.ones((4, 3)))
    with pytest.raises(ChainruleError, match="has 9 parameters"):
        network.params(np.ones(4))


def test_embedding_indices_out_of_range_are_refused_with_the_layers_name():
    network = Network([Embedding(3, 2)], 1)
    with pytest.raises(ChainruleError, match="layer embedding_1: its inputs must be whole numbers from 0 to 2"):
        network.predict(network.draw(), np.array([[3]]))


def test_prediction_in_parts_is_the_same():
    network = Network("3 tanh, batchnorm, 2", 2, dtype="float64")
    x = np.random.default_rng(0).normal(size=(10, 2))
    np.testing.assert_allclose(
        network.predict(network.draw(), x, batch_size=3), network.predict(network.draw(), x), rtol=1e-14
    )
