"""Explanations of attention: the gradient by pairs of positions, and units past their copies."""

import itertools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_layers import masked_softmax
from chainrule.explain import explain, lines
from chainrule.explain.page import page
from chainrule.layers import (
    Dense,
    DotProductAttention,
    Flatten,
    Input,
    MultiHeadAttention,
    Reshape,
    Tanh,
    Transformer,
    Transpose,
)
from chainrule.network import Network


def explained(network, weight, samples=2, seed=0):
    random = np.random.default_rng(seed)
    x = random.normal(size=(samples, *network.input_shape))
    y = random.normal(size=(samples, *network.output_shape))
    return explain(network, network.draw(seed), x, y, "mse", "sgd 0.1", weight)


ATTENDING = Network([MultiHeadAttention(2, causal=True)], (3, 2), "float64")
SHARING = Network([MultiHeadAttention(2, kv_heads=1, causal=True)], (3, 2), "float64")


@pytest.mark.parametrize("network", [ATTENDING, SHARING])
@pytest.mark.parametrize("name", ["query.W[1, 0]", "key.W[1, 0]", "value.W[0, 0]", "value.b[0]"])
def test_what_comes_through_pairs_of_positions_adds_up_to_the_gradient(network, name):
    e = explained(network, f"attention_1.{name}", samples=1)
    (layer,) = e.attention
    assert layer.layer == "attention_1.heads"
    assert layer.product == pytest.approx(e.gradient, rel=1e-6, abs=1e-12)
    assert layer.others == 0
    assert sum(pair.product for pair in layer.pairs) == pytest.approx(layer.product)
    assert all(pair.key <= pair.query for pair in layer.pairs)
    sizes = [abs(pair.product) for pair in layer.pairs]
    assert sizes == sorted(sizes, reverse=True)


@pytest.mark.parametrize("name", ["query.W[1, 0]", "key.W[0, 0]", "value.W[0, 0]"])
def test_a_pair_has_the_paths_that_lead_through_it(name):
    """The paths through a weight of attention, and those from a value to an output."""
    e = explained(ATTENDING, f"attention_1.{name}", samples=1)
    assert e.has_all_paths
    by_pair = {}
    for path in e.paths:
        units = {unit.node: unit for unit in path.units}
        sample, head, query, *_ = units["attention_1.heads"].index
        key = units["attention_1.heads.softmax" if "query" in name or "key" in name else "attention_1.value"].index
        which = (sample, head, query, key[3] if len(key) == 4 else key[1])
        by_pair[which] = by_pair.get(which, 0.0) + path.product
    (layer,) = e.attention
    found = {(p.row, p.head, p.query, p.key): p.product for p in layer.pairs}
    for which, product in found.items():
        assert by_pair.get(which, 0.0) == pytest.approx(product, rel=1e-6, abs=1e-9)
    assert sum(by_pair.values()) == pytest.approx(e.gradient, rel=1e-9)


def test_pairs_are_what_jax_differentiates():
    """A weight before queries, keys and values, which reaches the loss by all three."""
    x = Input((3, 2))
    z = Tanh()(Dense(2, name="first")(x))
    heads = [Transpose((1, 0, 2))(part.reshape(3, 1, 2)) for part in (z, z, z)]
    y = DotProductAttention(name="heads")(*heads)
    network = Network(inputs=x, outputs=y, dtype="float64")
    random = np.random.default_rng(0)
    samples, target = random.normal(size=(2, 3, 2)), random.normal(size=(2, 1, 3, 2))
    e = explain(network, network.draw(), samples, target, "mse", "sgd", "first.W[1, 0]")
    arrays = dict(network.parameters.views(network.draw()))

    def parts(w):
        z = jnp.tanh(samples @ jnp.asarray(arrays["first.W"]).at[1, 0].set(w) + arrays["first.b"])
        return masked_softmax((z @ z.swapaxes(1, 2) / jnp.sqrt(2))[:, None])[:, 0], z

    at = float(arrays["first.W"][1, 0])
    (a, v), (da, dv) = jax.jvp(parts, (at,), (1.0,))
    arriving = 2 * (a @ v - target[:, 0]) / 6 / 2
    expected = np.asarray(da * (arriving @ v.swapaxes(1, 2)) + a * (arriving @ dv.swapaxes(1, 2)))
    (layer,) = e.attention
    assert len(layer.pairs) == expected.size
    for pair in layer.pairs:
        assert pair.product == pytest.approx(expected[pair.row, pair.query, pair.key], rel=1e-6, abs=1e-10)
        assert pair.weight == pytest.approx(float(a[pair.row, pair.query, pair.key]), rel=1e-12)


def test_the_bias_of_all_keys_changes_no_attention():
    """It adds the same to all scores of a query, which the softmax does not notice."""
    e = explained(SHARING, "attention_1.key.b[0]")
    assert e.gradient == pytest.approx(0, abs=1e-12)
    assert e.attention == []


def test_text_page_and_json_say_which_position_attends_to_which():
    network = Network([Transformer(2, heads=2, causal=True), Dense(1)], (5, 4))
    e = explained(network, "transformer_1.block_1.attention.value.W[1, 2]", samples=3)
    first, second = e.attention
    assert (first.layer, second.layer) == (
        "transformer_1.block_1.attention.heads", "transformer_1.block_2.attention.heads",
    )  # fmt: skip
    assert first.product == pytest.approx(e.gradient, rel=1e-6)  # all of it, as the weight is within
    assert abs(second.product - e.gradient) > 1e-9  # a part of it goes around
    text = "\n".join(lines(e))
    sample = first.samples.parts[0]
    position = sample.parts[0]
    head = position.parts[0]
    key = head.parts[0]
    assert 0 < key.weight <= 1
    for said in (f"sample {sample.number}", f"position {position.number}", f"head {head.number}",
                 f"attends to position {key.number} with the weight {key.weight:.4g}"):  # fmt: skip
        assert said in text
        assert said in page(e)
    assert "100.0%  through transformer_1.block_1.attention.heads, as positions attend" in text
    kept = json.loads(json.dumps(e.as_json(most=3)))["attention"]
    assert [len(layer["pairs"]) for layer in kept] == [3, 3]
    assert sum(kept[0]["heads"]) == pytest.approx(kept[0]["product"])
    group = {**kept[0], "rest": kept[0]["other_samples"]}
    for level in ("samples", "positions", "heads", "keys"):  # each level adds up to the one above
        parts = group[level]
        assert sum(part["product"] for part in parts) + group["rest"]["sum"] == pytest.approx(group["product"])
        group = parts[0]
    total = sum(each["product"] for each in kept[0]["pairs"]) + kept[0]["rest"]["sum"]
    assert total == pytest.approx(kept[0]["product"])


def test_a_weight_after_attention_has_nothing_to_say_of_it():
    network = Network([MultiHeadAttention(1), Dense(1)], (3, 2))
    e = explained(network, "attention_1.output.W[0, 0]")
    assert e.attention == []
    assert "attention" not in e.as_json()
    assert "attends" not in "\n".join(lines(e))


def test_copies_of_a_unit_are_passed_over():
    network = Network([Dense(4), Reshape((2, 2)), Transpose(), Flatten(), Dense(1), Flatten()], 3, "float64")
    e = explained(network, "dense_1.W[0, 1]")
    (link,) = e.chain.terms
    assert (str(e.chain.unit), str(link.unit)) == ("dense_1[1]", "dense_2[0]")
    assert link.loss is not None  # of flatten_2[0], which is a copy
    assert {tuple(unit.node for unit in path.units) for path in e.paths} == {("dense_1", "dense_2")}
    assert e.has_all_paths
    assert sum(path.product for path in e.paths) == pytest.approx(e.gradient)


def test_a_delta_is_opened_once():
    network = Network([MultiHeadAttention(1), Dense(2, activation="tanh")], (3, 2))
    e = explain(
        network, network.draw(), np.random.default_rng(0).normal(size=(1, 3, 2)), np.zeros((1, 3, 2)), "mse", "sgd",
        "attention_1.query.W[0, 0]", depth=4,
    )  # fmt: skip
    text = "\n".join(lines(e))
    opened = [
        (before.split(" = ")[0].strip(), after.strip())
        for before, after in itertools.pairwise(text.splitlines())
        if before.strip().startswith("delta attention_1.heads[") and "opened" not in before
    ]
    assert opened
    assert len({unit for unit, _ in opened}) == len(opened)
    assert "(opened above)" in text


def test_a_row_of_a_tied_embedding_is_explained_by_sample_then_use():
    network = Network("embedding 5 4, transformer 1 heads=2 causal=true, tied_dense embedding_1", 3, "float64")
    tokens, y = np.array([[1, 2, 1], [3, 3, 0]]), np.random.default_rng(0).normal(size=(2, 3, 5))
    e = explain(network, network.draw(), tokens, y, "mse", "sgd", "embedding_1.W[1, 2]")
    assert [str(use) for use in e.where] == [
        "embedding_1, at 2 positions of 1 sample", "tied_dense_1, at 3 positions of each of 2 samples",
    ]  # fmt: skip
    first = next(term for term in e.samples if term.row == 0)
    assert first.count == 5
    assert {use.unit.node for use in first.uses} == {"embedding_1", "tied_dense_1"}
    assert {use.unit.index for use in first.uses if use.unit.node == "embedding_1"} == {(0, 0, 2), (0, 2, 2)}
    assert sum(term.product for term in e.samples) == pytest.approx(e.gradient, rel=1e-10)
    assert "5 uses, the sum" in "\n".join(lines(e))
    unused = explain(network, network.draw(), tokens, y, "mse", "sgd", "embedding_1.W[4, 2]")  # as an input
    assert [str(use) for use in unused.where] == ["tied_dense_1, at 3 positions of each of 2 samples"]
