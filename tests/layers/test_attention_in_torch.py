"""PyTorch's own attention and transformer block with the same weights, where it is installed."""

import numpy as np
import pytest

from chainrule.backprop import backward_pass, forward_pass
from chainrule.layers import DotProductAttention, Input, MultiHeadAttention, TransformerBlock
from chainrule.network import Network, pack

torch = pytest.importorskip("torch", exc_type=ImportError)


def tensor(array):
    return torch.tensor(np.asarray(array), dtype=torch.float64)


def load_attention(theirs, arrays, prefix):
    """Give PyTorch's attention these arrays: it keeps the three projections in one matrix."""
    with torch.no_grad():
        parts = [arrays[f"{prefix}.{name}.W"].T for name in ("query", "key", "value")]
        theirs.in_proj_weight.copy_(tensor(np.concatenate(parts)))
        biases = [arrays[f"{prefix}.{name}.b"] for name in ("query", "key", "value")]
        theirs.in_proj_bias.copy_(tensor(np.concatenate(biases)))
        theirs.out_proj.weight.copy_(tensor(arrays[f"{prefix}.output.W"].T))
        theirs.out_proj.bias.copy_(tensor(arrays[f"{prefix}.output.b"]))


def hidden(lengths, keys):
    """PyTorch's mask: True where a key is hidden."""
    return torch.arange(keys) >= torch.tensor(lengths)[:, None]


def drawn(network, seed=0):
    noise = 0.1 * np.random.default_rng(seed).normal(size=network.parameters.size)
    parameters = network.draw(seed) + noise
    return parameters, dict(network.parameters.views(parameters))


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("crosses", [False, True])
def test_multi_head_attention_is_that_of_pytorch(causal, crosses):
    random, time, lengths = np.random.default_rng(0), 5, np.array([5, 3, 1])
    xs = [random.normal(size=(3, time, 8)) for _ in range(1 + crosses)]
    inputs = [Input((time, 8)) for _ in xs] + [Input(())]
    network = Network(inputs=inputs, outputs=MultiHeadAttention(4, causal=causal)(*inputs), dtype="float64")
    parameters, arrays = drawn(network)
    theirs = torch.nn.MultiheadAttention(8, 4, batch_first=True, dtype=torch.float64)
    load_attention(theirs, arrays, "attention_1")
    given = [tensor(x).requires_grad_() for x in xs]
    query, source = given[0], given[-1]
    expected, _ = theirs(
        query, source, source, key_padding_mask=hidden(lengths, time), need_weights=False,
        attn_mask=torch.ones(time, time).triu(1).bool() if causal else None,
    )  # fmt: skip
    tape = forward_pass(network, parameters, pack((*xs, lengths)))
    np.testing.assert_allclose(tape.output, expected.detach(), rtol=0, atol=1e-12)
    dy = random.normal(size=tape.output.shape)
    expected.backward(tensor(dy))
    gradient, dx = backward_pass(network, tape, dy, wants_input=True)
    ours = dict(network.parameters.views(gradient))
    for k, name in enumerate(("query", "key", "value")):
        their_gradient = theirs.in_proj_weight.grad[8 * k : 8 * k + 8].T
        np.testing.assert_allclose(ours[f"attention_1.{name}.W"], their_gradient, rtol=0, atol=1e-11)
    np.testing.assert_allclose(ours["attention_1.output.W"], theirs.out_proj.weight.grad.T, rtol=0, atol=1e-11)
    np.testing.assert_allclose(dx[:, : time * 8].reshape(3, time, 8), query.grad, rtol=0, atol=1e-11)


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_grouped_dot_products_are_those_of_pytorch(groups):
    random = np.random.default_rng(1)
    shapes = [(4, 5, 6), (groups, 5, 6), (groups, 5, 3)]
    q, k, v = (random.normal(size=(2, *shape)) for shape in shapes)
    inputs = [Input(shape) for shape in shapes]
    network = Network(inputs=inputs, outputs=DotProductAttention(causal=True)(*inputs), dtype="float64")
    expected = torch.nn.functional.scaled_dot_product_attention(
        tensor(q), tensor(k), tensor(v), is_causal=True, enable_gqa=groups < 4
    )
    np.testing.assert_allclose(network.predict(network.draw(), (q, k, v)), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("activation", ["gelu", "relu"])
def test_a_block_is_that_of_pytorch(activation):
    random, lengths = np.random.default_rng(2), np.array([4, 2])
    x = random.normal(size=(2, 4, 8))
    inputs = [Input((4, 8)), Input(())]
    network = Network(inputs=inputs, outputs=TransformerBlock(2, 16, activation)(*inputs), dtype="float64")
    parameters, arrays = drawn(network)
    theirs = torch.nn.TransformerEncoderLayer(
        8, 2, 16, dropout=0.0, activation=activation, batch_first=True, norm_first=True, dtype=torch.float64
    )
    load_attention(theirs.self_attn, arrays, "transformer_block_1.attention")
    with torch.no_grad():
        pairs = {"feed_forward.hidden": theirs.linear1, "feed_forward.output": theirs.linear2}
        for name, linear in pairs.items():
            linear.weight.copy_(tensor(arrays[f"transformer_block_1.{name}.W"].T))
            linear.bias.copy_(tensor(arrays[f"transformer_block_1.{name}.b"]))
        for name, norm in {"attention_norm": theirs.norm1, "feed_forward_norm": theirs.norm2}.items():
            norm.weight.copy_(tensor(arrays[f"transformer_block_1.{name}.scale"]))
            norm.bias.copy_(tensor(arrays[f"transformer_block_1.{name}.offset"]))
    given = tensor(x).requires_grad_()
    expected = theirs(given, src_key_padding_mask=hidden(lengths, 4))
    tape = forward_pass(network, parameters, pack((x, lengths)))
    np.testing.assert_allclose(tape.output, expected.detach(), rtol=0, atol=1e-12)
    dy = random.normal(size=x.shape)
    expected.backward(tensor(dy))
    gradient, dx = backward_pass(network, tape, dy, wants_input=True)
    np.testing.assert_allclose(dx[:, :32].reshape(2, 4, 8), given.grad, rtol=0, atol=1e-11)
    hidden_gradient = dict(network.parameters.views(gradient))["transformer_block_1.feed_forward.hidden.W"]
    np.testing.assert_allclose(hidden_gradient, theirs.linear1.weight.grad.T, rtol=0, atol=1e-11)
