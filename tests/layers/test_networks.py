"""Composites that create their layers from settings: blocks of convolutional networks, and named
networks.
"""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import chainrule
from by_jax import derivatives
from chainrule import distributions, layers
from chainrule.backprop import backward_pass, forward_pass
from chainrule.errors import SettingError, ShapeError
from chainrule.gradient_check import check_gradient
from chainrule.layers import (
    KINDS,
    Context,
    Conv,
    Conv2d,
    ConvTranspose,
    Dense,
    DepthwiseConv,
    Input,
    LeNet,
    MaxPool,
    ReLU,
    ResidualBlock,
    ResNet8,
    ResNet18,
    SeparableBlock,
    SeparableNet,
    SqueezeExcitation,
    Upsample,
    ZeroPad,
)
from chainrule.layers.blocks import PictureBlock
from chainrule.layers.networks import PictureNetwork
from chainrule.layers.notation import parse
from chainrule.losses import HalfSquares
from chainrule.network import Network
from chainrule.play.export import _repr
from chainrule.runs.recipe import from_json, to_json


def conv(p, x, stride=1, groups=1):
    z = jax.lax.conv_general_dilated(
        x, p["W"], (stride, stride), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=groups
    )
    return z + p.get("b", 0)


def norm(p, x):
    mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2))
    return p["scale"] * (x - mean) / jnp.sqrt(variance + 1e-5) + p["offset"]


def dense(p, x):
    return x @ p["W"] + p["b"]


def pool(x):
    return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")


relu = jax.nn.relu


def residual_block(p, x, stride=1):
    y = relu(norm(p["batch_norm_1"], conv(p["conv_1"], x, stride)))
    y = norm(p["batch_norm_2"], conv(p["conv_2"], y))
    if "conv_3" in p:
        x = norm(p["batch_norm_3"], conv(p["conv_3"], x, stride))
    return relu(x + y)


def separable_block(p, x, stride=1):
    x = relu(norm(p["batch_norm_1"], conv(p["depthwise_conv_1"]["conv_1"], x, stride, groups=x.shape[-1])))
    return relu(norm(p["batch_norm_2"], conv(p["conv_1"], x)))


def squeeze_excitation(p, x):
    gate = jax.nn.sigmoid(dense(p["dense_2"], relu(dense(p["dense_1"], x.mean((1, 2))))))
    return x * gate[:, None, None]


def lenet(p, x):
    x = pool(relu(conv(p["conv_2"], pool(relu(conv(p["conv_1"], x))))))
    return relu(dense(p["dense_2"], relu(dense(p["dense_1"], x.reshape(len(x), -1)))))


def resnet8(p, x):
    x = relu(norm(p["batch_norm_1"], conv(p["conv_1"], x)))
    for k, stride in enumerate((1, 2, 2), start=1):
        x = residual_block(p[f"residual_block_{k}"], x, stride)
    return x.mean((1, 2))


def resnet18(p, x):
    x = relu(norm(p["batch_norm_1"], conv(p["conv_1"], x)))
    for k, stride in enumerate((1, 1, 2, 1, 2, 1, 2, 1), start=1):
        x = residual_block(p[f"residual_block_{k}"], x, stride)
    return x.mean((1, 2))


def separable_net(p, x):
    x = relu(norm(p["batch_norm_1"], conv(p["conv_1"], x)))
    for k, stride in enumerate((1, 2, 1, 2, 1), start=1):
        x = separable_block(p[f"separable_block_{k}"], x, stride)
    return x.mean((1, 2))


ORACLES = {
    "depthwise convolution": (DepthwiseConv(3, padding="same", multiplier=2), (4, 5, 3),
                              lambda p, x: conv(p["conv_1"], x, groups=3)),
    "squeeze and excitation": (SqueezeExcitation(2), (3, 4, 6), squeeze_excitation),
    "residual block": (ResidualBlock(3), (4, 5, 3), residual_block),
    "residual block with a stride": (ResidualBlock(4, 2), (4, 5, 3), lambda p, x: residual_block(p, x, 2)),
    "separable block": (SeparableBlock(4, 2), (5, 4, 3), lambda p, x: separable_block(p, x, 2)),
    "lenet": (LeNet(), (8, 8, 1), lenet),
    "resnet8": (ResNet8(2), (7, 8, 3), resnet8),
    "resnet18": (ResNet18(2), (8, 8, 1), resnet18),
    "separable network": (SeparableNet(2), (7, 8, 2), separable_net),
}  # fmt: skip
"""A composite, the shape of a sample, and the same function of nested parameters in JAX."""


def test_every_block_for_pictures_has_an_oracle():
    assert {type(layer) for layer, *_ in ORACLES.values()} == {kind for kind in KINDS if issubclass(kind, PictureBlock)}


def nested(network, vector):
    tree = {}
    for name, array in network.parameters.views(vector):
        _, *path, last = name.split(".")
        node = tree
        for part in path:
            node = node.setdefault(part, {})
        node[last] = array
    return tree


@pytest.mark.parametrize("name", ORACLES)
def test_backward_is_what_jax_differentiates(name):
    layer, shape, oracle = ORACLES[name]
    random = np.random.default_rng(0)
    network = Network([layer], shape, dtype="float64")
    parameters = network.draw() + 0.05 * random.normal(size=network.parameters.size)
    x = random.normal(size=(3, *shape))
    tape = forward_pass(network, parameters, x, context=Context(training=True))
    dy = random.normal(size=tape.output.shape)
    gradient, dx = backward_pass(network, tape, dy, wants_input=True)

    p = nested(network, parameters)
    output, by_jax, jax_dx = derivatives(oracle, dy, p, x)
    np.testing.assert_allclose(tape.output, output, rtol=1e-9, atol=1e-9)
    close = {"rtol": 1e-7, "atol": 1e-7 * max(1, np.abs(gradient).max())}
    jax.tree.map(
        lambda ours, theirs: np.testing.assert_allclose(ours, theirs, **close), nested(network, gradient), by_jax
    )
    np.testing.assert_allclose(dx, jax_dx, **close)


@pytest.mark.parametrize("text", ["lenet", "resnet8 2", "separablenet 2", "squeeze_excitation 2, flatten"])
def test_whole_networks_pass_the_gradient_check(text):
    random = np.random.default_rng(1)
    x, y = random.normal(size=(4, 8, 8)), random.normal(size=(4, 2))
    check = check_gradient(Network(f"{text}, 2", (8, 8)), HalfSquares(), x, y, entries=2)
    assert check.error < 1e-6, check


def test_named_networks_take_pictures_without_channels_and_colours():
    for kind in KINDS:
        if issubclass(kind, PictureNetwork):
            assert Network(f"{kind.notation}, 10", (16, 16)).output_shape == (10,)
            assert Network(f"{kind.notation}, 10", (16, 20, 3)).output_shape == (10,)


def test_a_large_picture_is_first_made_smaller():
    shapes = [node.built.output_shape for node in Network([ResNet18(4)], (64, 96, 3)).nodes]
    assert shapes[0] == (32, 48, 4)
    assert shapes[3] == (16, 24, 4)


def test_a_block_is_named_by_its_text_and_shares_its_weights_when_it_is_called_twice():
    x, block = Input((4, 4, 3)), ResidualBlock(3)
    network = Network(inputs=x, outputs=block(block(x)))
    assert network.parameters.size == Network([block], (4, 4, 3)).parameters.size
    assert "resnet8_1.conv_1.W" in [entry.name for entry in Network("resnet8, 2", (8, 8)).parameters.entries]


@pytest.mark.parametrize("make", [lambda: ResNet8(0), lambda: ResidualBlock(4, 0), lambda: SqueezeExcitation(0.5)])
def test_settings_of_blocks_are_checked(make):
    with pytest.raises(SettingError, match="it takes an integer above 0"):
        make()


@pytest.mark.parametrize(
    "text",
    ["conv 8 3x5 relu stride=2 padding=same", "conv 8 3 padding=1x2 dilation=2 groups=2", "average_pool", "lenet",
     "conv_transpose 4 3 stride=2", "max_pool 3x2 stride=1 padding=same", "adaptive_max_pool 2x3",
     "global_average_pool", "upsample 2 bilinear", "zero_pad 1x0 2x2", "group_norm 4", "rms_norm",
     "channel_dropout 0.2", "resnet8 8", "depthwise_conv 3 relu", "squeeze_excitation 4",
     "residual_block 8 stride=2", "separablenet"],
)  # fmt: skip
def test_layers_named_in_a_text_are_kept_by_a_recipe(text):
    (layer,) = parse(text)
    assert from_json(json.loads(json.dumps(to_json(layer)))) == layer
    assert eval(_repr(layer), {**vars(layers), "distributions": distributions}) == layer  # in exported code


def test_a_text_says_what_the_classes_say():
    assert parse("conv 8 3x5 relu stride=2 padding=same") == [Conv(8, (3, 5), "relu", stride=2, padding="same")]
    assert parse("conv2d 8 3 padding=1x2, MaxPool 2, max-pool 3 1") == [
        Conv2d(8, 3, padding=(1, 2)),
        MaxPool(2),
        MaxPool(3, 1),
    ]
    assert parse("zero_pad 1x0 2x2, upsample 2 bilinear") == [ZeroPad((1, 0), (2, 2)), Upsample(2, "bilinear")]
    assert Network("conv 8 3 relu, flatten, 2", (5, 5)).layers[1:3] == (Conv(8, 3, name=None), ReLU())


@pytest.mark.parametrize(
    ("text", "message"),
    [("conv 8", "conv needs kernel"), ("conv 8 3y3", "'3y3' should be a number"),
     ("conv 8 3 relo", "did you mean 'relu'"),
     ("conv 8 3 3", "an activation is a name or a layer, not 3"),
     ("conv 8 3 padding=big", "padding is 'big'; it is valid, same, causal, or a number"),
     ("conf 8 3", "did you mean 'conv'"),
     ("max_pol 2", "did you mean 'max_pool'"), ("conv 8 3 strides=2", "did you mean 'stride'")],
)  # fmt: skip
def test_texts_that_name_no_layer_are_refused(text, message):
    with pytest.raises(SettingError) as error:
        parse(text)
    assert message in str(error.value)


def test_a_text_trains_on_pictures_and_an_output_with_positions_is_refused():
    data = chainrule.load("digits")
    trained = chainrule.train("conv 8 3x3 relu, max_pool 2, flatten", data, epochs=3, optimizer="adam 0.01")
    assert trained.evaluate()["accuracy"] > 0.9
    with pytest.raises(
        ShapeError, match=r"has the shape \(6, 6, 10\).*; put flatten, or global_average_pool, before the"
    ):
        chainrule.train("conv 8 3x3 relu", data)


def test_a_convolution_costs_a_multiply_add_for_each_weight_and_position():
    layer, dense = Conv(8, 3, padding="same"), Dense(8)
    assert layer.cost(layer.build((5, 4, 2))) == 20 * 9 * dense.cost(dense.build((2,)))
    grouped = Conv(8, 3, padding="same", groups=2)
    assert grouped.cost(grouped.build((5, 4, 2))) == layer.cost(layer.build((5, 4, 2))) / 2
    up = ConvTranspose(8, 3, stride=2, padding="same")
    assert up.cost(up.build((5, 4, 2))) == layer.cost(layer.build((5, 4, 2)))


def test_a_table_is_no_picture():
    with pytest.raises(
        ShapeError, match=r"layer lenet_1.conv_1: takes \(height, width, channels\), but gets the shape \(13,\)"
    ):
        Network("lenet, 2", 13)
