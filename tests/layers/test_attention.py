"""Attention, positions and tied weights: derivatives against two oracles, masks, and what a graph
records.
"""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import engines
from attention_layers import CASES, COVERED, Run, attention, rotary
from chainrule.backprop import differentiate, forward_pass
from chainrule.descent import optimizer
from chainrule.engine import Batches, Position, Problem
from chainrule.engine.native import NativeEngine
from chainrule.engine.numpy import NumpyEngine
from chainrule.errors import ChainruleError
from chainrule.explain import explain, lines
from chainrule.gradient_check import central_difference
from chainrule.layers import (
    KINDS,
    Context,
    Dense,
    DotProductAttention,
    Embedding,
    Input,
    MaskedSoftmax,
    MultiHeadAttention,
    Reshape,
    Rotary,
    Tanh,
    TiedDense,
    Transformer,
    TransformerBlock,
    total,
)
from chainrule.layers.blocks import PictureBlock
from chainrule.layers.settings import Block
from chainrule.losses import HalfSquares, MeanSquaredError
from chainrule.network import Network, pack
from chainrule.runs.recipe import from_json, to_json
from chainrule.tape import Unit


def test_every_composite_of_settings_for_sequences_has_an_oracle():
    blocks = {kind for kind in KINDS if issubclass(kind, Block) and not issubclass(kind, PictureBlock)}
    assert blocks <= COVERED


def check_with_jax(run, close):
    def near(actual, expected):
        expected = np.asarray(expected)
        assert actual.shape == expected.shape
        np.testing.assert_allclose(actual, expected, rtol=0, atol=close * max(1, np.abs(expected).max(initial=0)))

    output, gradient, dxs = run.by_jax()
    assert run.tape.output.dtype == run.network.dtype
    near(run.tape.output, output)
    for name, array in run.network.parameters.views(run.gradient):
        near(array, gradient[name])
    for dx, expected, is_whole in zip(run.dxs, dxs, run.is_whole, strict=True):
        near(dx, np.zeros(dx.shape) if is_whole else expected)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", CASES)
def test_backward_is_what_jax_differentiates(name, dtype):
    check_with_jax(Run(*CASES[name], dtype=dtype), {"float64": 1e-10, "float32": 2e-5}[dtype])


@pytest.mark.parametrize("name", CASES)
def test_backward_is_what_nudging_measures(name):
    run, random = Run(*CASES[name], samples=2), np.random.default_rng(0)
    for place in random.permutation(run.parameters.size)[:12]:
        nudge = np.eye(1, run.parameters.size, place)[0]

        def value(h, nudge=nudge):
            return float(np.sum(run.forward(run.parameters + h * nudge, run.xs).output * run.dy))

        assert central_difference(value) == pytest.approx(run.gradient[place], rel=1e-7, abs=1e-7)
    for which, x in enumerate(run.xs):
        for place in random.permutation(x.size)[:12] if not run.is_whole[which] else ():
            nudge = np.eye(1, x.size, place).reshape(x.shape)

            def value(h, which=which, nudge=nudge):
                xs = [x + h * nudge if k == which else x for k, x in enumerate(run.xs)]
                return float(np.sum(run.forward(run.parameters, xs).output * run.dy))

            assert central_difference(value) == pytest.approx(run.dxs[which].ravel()[place], rel=1e-7, abs=1e-7)


@pytest.mark.parametrize("name", CASES)
def test_terms_add_up_to_every_delta_and_gradient(name):
    run, random = Run(*CASES[name], samples=2), np.random.default_rng(0)
    tape, layout = run.tape, run.network.parameters

    def check(terms, expected):
        assert total(terms) == pytest.approx(expected, rel=1e-10, abs=1e-10)
        for group in terms:
            arrived = tape.arrived(group.node)
            assert group.at.shape == (len(group.local), arrived.ndim)
            np.testing.assert_array_equal(arrived[tuple(group.at.T)], group.upstream)

    for place in random.permutation(layout.size)[:40]:
        entry = layout.entry_at(place)
        index = tuple(int(k) for k in np.unravel_index(place - entry.start, entry.shape))
        check(tape.terms(entry.owner, entry.own_name, index), run.gradient[place])
    for node in run.network.nodes[:-1]:
        arrived = tape.arrived(node.name)
        for place in random.permutation(arrived.size)[:8]:
            index = tuple(int(k) for k in np.unravel_index(place, arrived.shape))
            check(tape.feeds(Unit(node.name, index)), arrived[index])


@st.composite
def attentions(draw):
    """A MultiHeadAttention of any settings, and the shapes of what it is called on."""
    groups, each = draw(st.integers(1, 3)), draw(st.integers(1, 2))
    is_rotary, causal = draw(st.booleans()), draw(st.booleans())
    heads, width = groups * each, draw(st.sampled_from([2, 4] if is_rotary else [1, 2, 3]))
    features, time = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    shapes = [(time, features)]
    if draw(st.booleans()):
        shapes.append((draw(st.integers(time if causal else 1, 6)), draw(st.integers(1, 4))))
    shapes += [()] * draw(st.booleans())
    layer = MultiHeadAttention(heads, heads * width, groups, causal, 0.0, is_rotary, draw(st.booleans()))
    return layer, shapes


@settings(max_examples=10, deadline=None)  # campaigns/sequence_graphs.py draws many more
@given(attentions(), st.integers(0, 99), st.sampled_from(["float64", "float32"]))
def test_attention_of_any_settings_agrees_with_jax(drawn, seed, dtype):
    layer, shapes = drawn
    run = Run(layer, shapes, lambda p, *xs: attention(p, "attention_1", layer, *xs), seed, dtype)
    check_with_jax(run, {"float64": 1e-10, "float32": 2e-5}[dtype])


@st.composite
def transformers(draw):
    """A small transformer of any settings, and the shapes of what it is called on."""
    heads = draw(st.sampled_from([1, 2]))
    layer = Transformer(
        draw(st.integers(1, 2)), draw(st.sampled_from([None, 4])), heads, draw(st.sampled_from([None, 3])),
        draw(st.sampled_from(["gelu", "swiglu", "tanh"])), draw(st.sampled_from(["layer_norm", "rms_norm"])),
        draw(st.sampled_from([None, 1])), draw(st.booleans()), draw(st.sampled_from([0.0, 0.3])),
        draw(st.sampled_from(["learned", "sinusoidal", "rotary", "none"])), None, draw(st.booleans()),
    )  # fmt: skip
    return layer, [(draw(st.integers(1, 4)), 4), *[()] * draw(st.booleans())]


def steps_of(engine, position, batches):
    return [
        (record.gradient.tobytes(), record.after.parameters.tobytes()) for record in engine.steps(position, batches)
    ]


@given(transformers(), st.integers(0, 99), st.sampled_from(["float32", "float64"]))
def test_steps_of_transformers_are_replayed_bit_for_bit_and_explained(drawn, seed, dtype):
    layer, shapes = drawn
    inputs, random = [Input(shape) for shape in shapes], np.random.default_rng(seed)
    network = Network(inputs=inputs, outputs=Dense(2)(layer(*inputs)), dtype=dtype)
    time = shapes[0][0]
    xs = [random.normal(size=(3, *shape)) if shape else random.integers(0, time + 1, 3) for shape in shapes]
    x, y = pack(xs).reshape(3, *network.input_shape), random.normal(size=(3, time, 2))
    problem = Problem(network, MeanSquaredError(), optimizer("adam 0.01"), seed=seed)
    parameters = network.draw(seed)
    position = Position(
        0, parameters, network.start_statistics(), problem.optimizer.start(parameters, network.parameters)
    )
    batches, gradients = Batches(x.astype(dtype), y, None, np.array([0, 1, 2, 1, 0]), 2), []
    for kind in (NumpyEngine, NativeEngine)[: len(engines.NAMES)]:
        engine = kind(problem)
        taken = list(engine.steps(position, batches))
        assert steps_of(kind(problem), position, batches) == steps_of(engine, position, batches)
        chunks = list(engine.chunks(position, batches))
        assert chunks[-1].after.parameters.tobytes() == taken[-1].after.parameters.tobytes()
        gradients.append(taken[0].gradient)
    scale = max(float(np.abs(gradients[0]).max()), 1e-3)
    tolerance = 1e-11 if dtype == "float64" else 1e-4
    np.testing.assert_allclose(gradients[-1], gradients[0], rtol=0, atol=tolerance * scale)

    weight = network.parameters.name_of(seed * 7919 % network.parameters.size)
    e = explain(network, parameters, x, y, "mse", "adam 0.01", weight, seed=seed)
    assert sum(term.product for term in e.samples) == pytest.approx(e.gradient, rel=1e-10, abs=1e-10)
    assert e.rounding.explains, e.rounding
    assert "nan" not in "\n".join(lines(e))


class TestMasks:
    def test_a_causal_output_does_not_depend_on_later_positions(self):
        network = Network([Transformer(2, 8, heads=2, causal=True)], (6, 8), dtype="float64")
        x = np.random.default_rng(0).normal(size=(2, 6, 8))
        changed = x.copy()
        changed[:, 4:] = np.random.default_rng(1).normal(size=(2, 2, 8))
        before, after = (network.predict(network.draw(), each) for each in (x, changed))
        np.testing.assert_array_equal(before[:, :4], after[:, :4])
        assert np.all(before[:, 4:] != after[:, 4:])

    def test_what_is_beyond_a_length_does_not_count_and_gets_no_derivative(self):
        x, lengths = Input((5, 4)), Input(())
        network = Network(inputs=[x, lengths], outputs=MultiHeadAttention(2)(x, lengths), dtype="float64")
        random, counts = np.random.default_rng(0), np.array([5, 3, 1])
        xs, parameters = random.normal(size=(3, 5, 4)), network.draw()
        short = Network([MultiHeadAttention(2)], (3, 4), dtype="float64").predict(parameters, xs[1:2, :3])
        np.testing.assert_allclose(network.predict(parameters, (xs, counts))[1:2, :3], short, rtol=1e-12)
        y = np.zeros((3, 5, 4))
        y[1, 3:] = network.predict(parameters, (xs, counts))[1, 3:]  # these queries have no loss
        result = differentiate(network, HalfSquares(), parameters, (xs, counts), y, wants_input=True)
        dx = result.input[:, :20].reshape(3, 5, 4)
        assert np.all(dx[1, 3:] == 0)
        assert np.all(dx[1, :3] != 0)

    def test_a_query_that_sees_nothing_gets_nothing(self):
        z, lengths = Input((2, 3)), Input(())
        network = Network(inputs=[z, lengths], outputs=MaskedSoftmax()(z, lengths), dtype="float64")
        scores = np.random.default_rng(0).normal(size=(2, 2, 3))
        weights = network.predict(network.draw(), (scores, np.array([0, 2])))
        assert np.all(weights[0] == 0)
        np.testing.assert_allclose(weights[1].sum(axis=-1), 1)
        tape = forward_pass(network, network.draw(), (scores, np.array([0, 2])))
        tape.backward(np.ones((2, 2, 3)), wants_input=True)
        assert not np.isnan(tape.arriving[0]).any()

    def test_fewer_queries_than_keys_belong_to_the_last_positions(self):
        layer = MaskedSoftmax(causal=True)
        np.testing.assert_array_equal(layer.visible((1, 2, 4), None), [[1, 1, 1, 0], [1, 1, 1, 1]])

    def test_large_scores_and_hidden_infinities_do_no_harm(self):
        network = Network([MaskedSoftmax(causal=True)], (2, 2), dtype="float64")
        weights = network.predict(network.draw(), np.array([[[1000.0, np.inf], [-1000.0, 1000.0]]]))
        np.testing.assert_array_equal(weights, [[[1, 0], [0, 1]]])

    def test_why_a_score_is_unused_is_said(self):
        network = Network([MultiHeadAttention(1, causal=True)], (3, 2), dtype="float64")
        tape = forward_pass(network, network.draw(), np.ones((1, 3, 2)))
        tape.backward(np.ones((1, 3, 2)))
        hidden = Unit("attention_1.heads.scaled", (0, 0, 1, 2))
        assert [len(group.local) for group in tape.feeds(hidden)] == [0]
        assert tape.why_unused(hidden) == "position 1 doesn't see position 2: the mask hides it"
        assert tape.why_unused(Unit("attention_1.heads.scaled", (0, 0, 2, 1))) == ""


def test_rotary_scores_depend_on_the_distance_alone():
    random = np.random.default_rng(0)
    q, k = random.normal(size=(2, 8))
    same = np.broadcast_to(q, (1, 6, 8)), np.broadcast_to(k, (1, 6, 8))
    layer = Rotary()
    (turned_q, _), (turned_k, _) = (layer.forward({}, np.ascontiguousarray(x), Context()) for x in same)
    scores = turned_q[0] @ turned_k[0].T
    for distance in range(-5, 6):
        diagonal = np.diagonal(scores, distance)
        np.testing.assert_allclose(diagonal, diagonal[0], rtol=1e-12)
    np.testing.assert_allclose(turned_q, rotary(same[0]), rtol=1e-12)


def test_dropped_weights_are_keyed_by_step_and_head_and_keep_the_mean():
    network = Network([MultiHeadAttention(2, dropout=0.5)], (64, 4), dtype="float64")
    x, parameters = np.random.default_rng(0).normal(size=(8, 64, 4)), network.draw()

    def masks(step):
        tape = forward_pass(network, parameters, x, context=Context(training=True, seed=1, step=step))
        kept = tape.values[network.graph.numbers["attention_1.heads.dropout"]]
        return kept / tape.values[network.graph.numbers["attention_1.heads.softmax"]]

    first = masks(0)
    np.testing.assert_array_equal(first, masks(0))
    assert np.any(first != masks(1))
    assert np.any(first[:, 0] != first[:, 1])
    assert set(np.unique(np.round(first, 9))) == {0, 2}
    assert first.mean() == pytest.approx(1, abs=0.05)


class TestRecord:
    """Which nodes are an attention stands in the graph."""

    def test_a_call_names_what_it_reads_and_returns(self):
        x, other, lengths = Input((3, 4)), Input((5, 4)), Input(())
        y = MultiHeadAttention(2, dropout=0.1)(x, other, lengths)
        graph = Network(inputs=[x, other, lengths], outputs=Dense(1)(y)).graph
        inner, outer = graph.calls
        assert (outer.name, inner.name) == ("attention_1", "attention_1.heads")
        assert (type(outer.layer), type(inner.layer)) == (MultiHeadAttention, DotProductAttention)
        assert inner.layer.dropout == 0.1
        named = ["attention_1.query_heads", "attention_1.key_heads", "attention_1.value_heads"]
        assert list(inner.inputs[:3]) == [graph.numbers[name] for name in named]
        assert graph.shapes[inner.inputs[3]] == ()
        assert graph.nodes[inner.start].name == "attention_1.heads.transpose_1"
        assert graph.nodes[inner.stop - 1].name == "attention_1.heads"
        assert inner.output == graph.numbers["attention_1.heads"]
        inside = range(len(graph.input_shapes) + inner.start, len(graph.input_shapes) + inner.stop)
        outside = [node for k, node in enumerate(graph.nodes) if not inner.start <= k < inner.stop]
        assert {k for node in outside for k in node.inputs} & set(inside) == {inner.output}

    def test_what_the_output_does_not_need_is_left_out(self):
        attention = MultiHeadAttention(2)

        def calls(x):
            unused = attention(x)
            assert unused.shape == x.shape
            return Tanh()(TransformerBlock(1)(x))

        network = Network(inputs=(x := Input((3, 4))), outputs=calls(x))
        assert [call.layer.kind for call in network.graph.calls] == [
            "DotProductAttention", "MultiHeadAttention", "FeedForward", "TransformerBlock",
        ]  # fmt: skip
        assert network.graph.calls[-1].stop == len(network.nodes) - 1

    def test_a_second_call_is_another_one_of_the_same_weights(self):
        layer, x = MultiHeadAttention(2), Input((3, 4))
        network = Network(inputs=x, outputs=layer(layer(x)))
        assert [call.name for call in network.graph.calls if call.layer.kind == "MultiHeadAttention"] == [
            "attention_1", "attention_1@2",
        ]  # fmt: skip
        assert network.parameters.size == Network([layer], (3, 4)).parameters.size


class TestTied:
    text = "embedding 7 4, transformer 1 heads=2 causal=true, tied_dense embedding_1"

    def test_the_gradients_of_both_uses_add_up(self):
        network = Network(self.text, 5, dtype="float64")
        tokens, y = np.array([[0, 3, 3, 1, 6], [2, 3, 0, 0, 5]]), np.random.default_rng(0).normal(size=(2, 5, 7))
        parameters = network.draw()
        result = differentiate(network, HalfSquares(), parameters, tokens, y)
        groups = result.tape.terms("embedding_1", "W", (3, 2))
        assert [group.node for group in groups] == ["embedding_1", "tied_dense_1"]
        assert [len(group.local) for group in groups] == [3, 10]
        gradient = network.parameters.view(result.gradient, "embedding_1.W")
        assert total(groups) == pytest.approx(gradient[3, 2], rel=1e-10)
        # Apart, the two matrices have gradients of which the sum is that of the one they share.
        apart = Network("embedding 7 4, transformer 1 heads=2 causal=true, dense 7 bias=false", 5, dtype="float64")
        matrix = network.parameters.view(parameters, "embedding_1.W")
        both = differentiate(apart, HalfSquares(), np.concatenate([parameters, matrix.T.ravel()]), tokens, y)
        lookup, product = (apart.parameters.view(both.gradient, name) for name in ("embedding_1.W", "dense_1.W"))
        np.testing.assert_allclose(gradient, lookup + product.T, rtol=1e-10, atol=1e-12)

    def test_a_layer_is_named_or_given(self):
        embedding, x = Embedding(7, 4), Input(5)
        by_object = Network(inputs=x, outputs=TiedDense(embedding)(Tanh()(embedding(x))))
        by_name = Network("embedding 7 4, tanh, tied_dense embedding_1", 5)
        in_list = Network([embedding, Tanh(), TiedDense(embedding)], 5)
        assert by_object.layers == by_name.layers == in_list.layers
        for network in (by_object, by_name, in_list):
            assert from_json(json.loads(json.dumps(to_json(network)))) == network
            assert [entry.name for entry in network.parameters.entries] == ["embedding_1.W"]

    @engines.needs_native
    @pytest.mark.parametrize("text", ["tied_dense dense_1", "tanh, tied_dense dense_1, 2"])
    def test_both_engines_add_up_the_gradients_of_what_is_shared(self, text):
        """The bias of the first layer has one use, its matrix two."""
        network, random = Network(f"3, {text}", 4, dtype="float64"), np.random.default_rng(0)
        problem, parameters = Problem(network, MeanSquaredError(), optimizer("adam 0.01")), network.draw()
        states = problem.optimizer.start(parameters, network.parameters)
        position = Position(0, parameters, network.start_statistics(), states)
        y = random.normal(size=(6, *network.output_shape))
        batches = Batches(random.normal(size=(6, 4)), y, None, np.arange(6), 2)
        for one, other in zip(
            *(kind(problem).steps(position, batches) for kind in (NumpyEngine, NativeEngine)), strict=True
        ):
            np.testing.assert_allclose(one.gradient, other.gradient, rtol=1e-11, atol=1e-14)

    @pytest.mark.parametrize(
        ("make", "message"),
        [
            (lambda: Network("3 tanh, tied_dense dense_2", 4), "no layer of this name is called before it"),
            (lambda: TiedDense(Dense(3))(Input(4)), "uses the weights of 'dense', but no layer of this name"),
            (lambda: Network("tied_dense", 4), "takes the layer whose weights it uses, or its name, not None"),
            (lambda: Network("3 tanh, 4, tied_dense dense_1", 4), "takes 3 inputs, one for each column of the matrix"),
            (lambda: Network("layer_norm, tied_dense layer_norm_1", 4), "whose weights it uses has no matrix W"),
        ],
    )
    def test_what_does_not_fit_is_named(self, make, message):
        with pytest.raises(ChainruleError, match=message):
            make()


@pytest.mark.parametrize(
    "text",
    ["attention 2 causal=true", "attention 4 8 kv_heads=2 rotary=true bias=false dropout=0.1",
     "transformer 2 8 heads=2 causal=True", "transformer 1 positions=rotary norm=rms_norm activation=swiglu",
     "transformer_block 2 16 relu", "feed_forward 16 swiglu", "learned_positions 20", "sinusoidal_positions 100",
     "rotary", "masked_softmax true"],
)  # fmt: skip
def test_a_text_names_layers_for_sequences_and_a_recipe_keeps_them(text):
    network = Network(f"{text}, 3", (8, 8))
    assert network.output_shape == (8, 3)
    assert from_json(json.loads(json.dumps(to_json(network)))) == network


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Network("transformer 2, 3", 10), r"but gets the shape \(10,\) .*; put an embedding before it"),
        (lambda: Network("transformer 2 heads=3, 3", (5, 4)), "4 units can't be divided among 3 heads"),
        (lambda: Network("transformer 2 activation=geluu", (5, 4)), "unknown activation 'geluu'; did you mean 'gelu'"),
        (lambda: Network("transformer positions=rotry", (5, 4)), "unknown kind of positions 'rotry'"),
        (lambda: Network("transformer norm=batch", (5, 4)), "unknown normalization 'batch'"),
        (lambda: Network("transformer 0", (5, 4)), "transformer: blocks is 0; it takes an integer above 0"),
        (lambda: Network("transformer hidden=2.5", (5, 4)), "hidden is 2.5; it takes an integer above 0"),
        (lambda: Network("transformer 1 length=3", (5, 4)), "has 3 positions, but gets a sequence of 5"),
        (lambda: Network("attention 4 kv_heads=3", (5, 4)), "4 heads can't share 3 heads of keys and values"),
        (lambda: Network("attention 2 dropout=1", (5, 4)), "dropout is 1; it must be at least 0 and less than 1"),
        (lambda: Network("attention 2 rotary=true", (5, 6)), r"an even number of features, but gets .* \(2, 5, 3\)"),
        (lambda: MultiHeadAttention(2, causal=1), "causal is 1; it is True or False"),
        (lambda: MultiHeadAttention(2)(Input(4)), r"takes a sequence of the shape \(time, features\), then"),
        (lambda: MultiHeadAttention(2)(Input((5, 4)), Input(4)), r"not \(5, 4\), \(4,\)"),
        (lambda: MultiHeadAttention(2)(Input((5, 4)), *[Input((5, 4))] * 2), "then, if it attends to another one"),
        (lambda: MultiHeadAttention(2, causal=True)(Input((5, 4)), Input((3, 4))), "5 queries for 3 keys"),
        (lambda: DotProductAttention()(*map(Input, [(2, 3, 4), (2, 5, 3), (2, 5, 4)])), "takes queries, keys and"),
        (lambda: DotProductAttention(dropout=-1), "dropout is -1"),
        (lambda: MaskedSoftmax()(Input((3, 3)), Input(3)), r"a number of keys for each sample, of shape \(\)"),
        (lambda: MaskedSoftmax()(Input(3)), r"takes scores of the shape \(..., queries, keys\)"),
        (lambda: MaskedSoftmax("yes"), "causal is 'yes'; it is True or False"),
        (lambda: Rotary(1), "base is 1; it must be above 1"),
        (lambda: Network("learned_positions 0", (5, 4)), "length is 0; it takes an integer above 0"),
        (lambda: Network("learned_positions", 4), r"takes a sequence of the shape \(time, features\)"),
        (lambda: Network("sinusoidal_positions", 4), r"takes a sequence of the shape \(time, features\)"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(make, message):
    with pytest.raises(ChainruleError, match=message):
        make()


def test_a_cost_counts_each_weight_at_each_position():
    graph = Network([MultiHeadAttention(2)], (5, 4)).graph
    costs = {node.name: node.layer.cost(node.built) for node in graph.nodes}
    assert costs["attention_1.query"] == 6 * 5 * 16
    assert all(np.isfinite(cost) and cost >= 0 for cost in costs.values())


def test_attention_is_the_same_for_one_head_and_for_a_reshaped_input():
    """A list may reshape what it gets into a sequence."""
    network = Network([Reshape((4, 3)), MultiHeadAttention(1)], 12, dtype="float64")
    flat = np.random.default_rng(0).normal(size=(2, 12))
    same = Network([MultiHeadAttention(1)], (4, 3), dtype="float64").predict(network.draw(), flat.reshape(2, 4, 3))
    np.testing.assert_array_equal(network.predict(network.draw(), flat), same)


@pytest.mark.parametrize(
    "layer", [MaskedSoftmax(), MultiHeadAttention(1), TransformerBlock(1), Transformer(1, heads=1)]
)
def test_layers_that_take_lengths_say_so(layer):
    assert layer.takes_lengths
    assert layer(Input((3, 4)), Input(())).shape == (3, 4)
