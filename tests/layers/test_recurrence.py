"""Recurrence: cells over time beside the same in jax.lax.scan and in PyTorch; random networks of
scans; every product of a step explained, and every step replayed.
"""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import engines
from chainrule.backprop import backward_pass, differentiate, forward_pass
from chainrule.descent import optimizer
from chainrule.engine import Batches, Position, Problem
from chainrule.engine.lowering import lower_network, notes
from chainrule.engine.native import NativeEngine
from chainrule.engine.numpy import NumpyEngine
from chainrule.errors import SettingError, ShapeError
from chainrule.explain import explain
from chainrule.gradient_check import check_gradient
from chainrule.layers import (
    GRU,
    LSTM,
    Bidirectional,
    Cell,
    Context,
    Dense,
    GlobalAveragePool,
    Input,
    Scan,
    SimpleRNN,
    Slice,
    Tanh,
    total,
)
from chainrule.layers.notation import parse
from chainrule.losses import HalfSquares, MeanSquaredError
from chainrule.network import Network, pack
from chainrule.runs.recipe import from_json, to_json
from chainrule.tape import Unit
from sequences import CELLS, check_gradients, networks


@given(networks())
@settings(max_examples=8, deadline=None)  # more of them: campaigns/sequence_graphs.py
def test_backward_is_what_jax_differentiates(drawn):
    check_gradients(drawn)


@given(networks())
@settings(max_examples=15, deadline=None)
def test_terms_add_up_to_every_delta_and_gradient(drawn):
    network, parameters, x, y, _ = drawn
    result = differentiate(network, HalfSquares(), parameters, x, y, wants_input=True)
    tape, layout = result.tape, network.parameters
    for entry in layout.entries:
        expected = layout.view(result.gradient, entry.name)
        for index in np.ndindex(entry.shape):
            sum_of_terms = total(tape.terms(entry.owner, entry.own_name, index))
            assert sum_of_terms == pytest.approx(expected[index], rel=1e-10, abs=1e-10)
    for node in network.nodes[:-1]:
        arrived = tape.arrived(node.name)
        for index in np.ndindex(arrived[:1].shape):
            feeds = tape.feeds(Unit(node.name, index))
            assert total(feeds) == pytest.approx(arrived[index], rel=1e-10, abs=1e-10)
            assert {term.time for term in feeds} <= {None, *range(5)}


@given(networks(), st.sampled_from(["float32", "float64"]))
@settings(max_examples=20, deadline=None)
def test_steps_are_replayed_bit_for_bit_on_both_engines(drawn, dtype):
    network, parameters, x, y, _ = drawn
    network = Network(network.layers, network.input_shape, dtype, network.calls)
    problem = Problem(network, MeanSquaredError(), optimizer("adam 0.01"))
    parameters = parameters.astype(dtype)
    states = problem.optimizer.start(parameters, network.parameters)
    position = Position(0, parameters, network.start_statistics(), states)
    batches = Batches(x.astype(dtype), y.astype(dtype), None, np.array([0, 1, 2, 1, 0]), 2)
    gradients = []
    for kind in (NumpyEngine, NativeEngine)[: len(engines.NAMES)]:
        taken, again = (list(kind(problem).steps(position, batches)) for _ in range(2))
        assert [one.gradient.tobytes() for one in taken] == [one.gradient.tobytes() for one in again]
        (*_, chunk) = kind(problem).chunks(position, batches)
        assert chunk.after.parameters.tobytes() == taken[-1].after.parameters.tobytes()
        prediction = kind(problem).predict(parameters, batches.x, position.statistics)
        np.testing.assert_allclose(prediction, network.predict(parameters, batches.x), rtol=0, atol=1e-4)
        gradients.append(taken[0].gradient)
    scale = max(float(np.abs(gradients[0]).max()), 1e-3)
    np.testing.assert_allclose(
        gradients[-1], gradients[0], rtol=0, atol=scale * (1e-12 if dtype == "float64" else 2e-5)
    )


@given(networks())
@settings(max_examples=10, deadline=None)
def test_a_recipe_keeps_a_scan(drawn):
    network = drawn[0]
    again = from_json(json.loads(json.dumps(to_json(network))))
    assert again == network
    np.testing.assert_array_equal(again.draw(3), network.draw(3))


# The same in PyTorch


def torch_state(network, vector, name, ours, torch):
    """Weights as PyTorch's recurrent layers take them."""
    p = dict(network.parameters.views(vector))
    W, b, U = p[f"{ours}.input.W"], p[f"{ours}.input.b"], p[f"{ours}.state.U"]
    b_U = p.get(f"{ours}.state.b", np.zeros_like(b))
    arrays = {"weight_ih": W.T, "weight_hh": U.T, "bias_ih": b, "bias_hh": b_U}
    return {f"{key}_{name}": torch.tensor(np.ascontiguousarray(array)) for key, array in arrays.items()}


@pytest.mark.parametrize("two", [False, True], ids=["one way", "bidirectional"])
@pytest.mark.parametrize("kind", CELLS)
def test_it_computes_what_pytorch_computes_with_the_same_weights(kind, two):
    torch = pytest.importorskip("torch")
    steps, features, units, samples = 6, 3, 4, 5
    cell, x, lengths = CELLS[kind](units), Input((steps, features)), Input(1)
    last, every = (Scan(cell, all, name="scan") for all in (False, True))
    if two:
        last, every = (Bidirectional(scan, name="scan") for scan in (last, every))
    random = np.random.default_rng(0)
    values, counts = random.normal(size=(samples, steps, features)), np.array([6, 1, 4, 6, 2])
    make = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}.get(kind, torch.nn.RNN)
    also = {"nonlinearity": "relu"} if kind.endswith("relu") else {}
    theirs = make(features, units, batch_first=True, bidirectional=two, dtype=torch.float64, **also)
    for ours, all in ((last, False), (every, True)):
        network = Network(inputs=[x, lengths], outputs=ours(x, lengths.reshape()), dtype="float64")
        vector = network.draw() + 0.3 * np.random.default_rng(1).normal(size=network.parameters.size)
        ways = {"l0": "scan.forward", "l0_reverse": "scan.backward"} if two else {"l0": "scan"}
        state = {}
        for name, own in ways.items():
            state |= torch_state(network, vector, name, own, torch)
        theirs.load_state_dict(state)
        taken = torch.tensor(values, requires_grad=True)
        packed = torch.nn.utils.rnn.pack_padded_sequence(taken, counts, batch_first=True, enforce_sorted=False)
        outputs, ends = theirs(packed)
        outputs, _ = torch.nn.utils.rnn.pad_packed_sequence(outputs, batch_first=True, total_length=steps)
        ends = ends[0] if kind == "lstm" else ends
        expected = outputs if all else ends.permute(1, 0, 2).reshape(samples, -1)
        valid = (np.arange(steps) < counts[:, None])[..., None] if all else np.ones((samples, 1))
        tape = forward_pass(network, vector, pack((values, counts)))
        np.testing.assert_allclose(tape.output * valid, expected.detach().numpy() * valid, rtol=1e-10, atol=1e-10)
        dy = random.normal(size=tape.output.shape) * valid
        theirs.zero_grad()
        expected.backward(torch.tensor(dy))
        gradient, dx = backward_pass(network, tape, dy, wants_input=True)
        mine = {}
        for name, own in ways.items():
            mine |= torch_state(network, gradient, name, own, torch)
        for name, parameter in theirs.named_parameters():
            if kind == "gru" or not name.startswith("bias_hh"):
                np.testing.assert_allclose(mine[name], parameter.grad, rtol=1e-10, atol=1e-10)
        np.testing.assert_allclose(dx[:, :-1].reshape(values.shape), taken.grad, rtol=1e-10, atol=1e-10)


# Dropout keyed by time


@pytest.mark.parametrize("cell", [SimpleRNN(50, 0.4), LSTM(50, 0.4), GRU(50, 0.4)], ids=lambda cell: cell.word)
def test_each_time_step_has_a_mask_of_its_own_that_can_be_drawn_again(cell):
    network = Network([Scan(cell, all=True)], (6, 2), dtype="float64")
    x = np.random.default_rng(0).normal(size=(40, 6, 2))
    training = Context(training=True, seed=3, step=7)
    tape, again = (forward_pass(network, network.draw(), x, context=training) for _ in range(2))
    np.testing.assert_array_equal(tape.output, again.output)
    masks = {node.time: tape.of(node)[1] for node in network.nodes if ".dropout_1" in node.name}
    assert list(masks) == list(range(6))
    assert all((masks[0] != masks[t]).any() for t in range(1, 6))
    shares = [np.mean(mask == 0) for mask in masks.values()]
    assert np.mean(shares) == pytest.approx(0.4, abs=0.01)
    other = forward_pass(network, network.draw(), x, context=Context(training=True, seed=3, step=8))
    assert (other.output != tape.output).any()
    calm = forward_pass(network, network.draw(), x).output
    np.testing.assert_array_equal(calm, Network([Scan(type(cell)(50), all=True)], (6, 2), "float64").predict(
        network.draw(), x))  # fmt: skip


@pytest.mark.parametrize("cell", [SimpleRNN(3, 0.3), LSTM(3, 0.3), GRU(3, 0.3)], ids=lambda cell: cell.word)
def test_with_dropout_the_derivative_is_that_of_a_central_difference(cell):
    random = np.random.default_rng(0)
    network = Network([Scan(cell), Dense(2)], (5, 2))
    check = check_gradient(network, HalfSquares(), random.normal(size=(4, 5, 2)), random.normal(size=(4, 2)))
    assert check.error < 1e-7, check


@engines.needs_native
def test_dropout_masks_are_those_of_the_definition_in_the_native_engine():
    network = Network("lstm 5 all=true recurrent_dropout=0.5, global_average_pool, 2", (7, 3), "float64")
    problem = Problem(network, MeanSquaredError(), optimizer("sgd 0.1"), seed=5)
    parameters, random = network.draw(), np.random.default_rng(0)
    position = Position(
        3, parameters, network.start_statistics(), problem.optimizer.start(parameters, network.parameters)
    )
    batches = Batches(random.normal(size=(4, 7, 3)), random.normal(size=(4, 2)), None, np.arange(4), 4)
    (ours,), (native,) = (list(kind(problem).steps(position, batches)) for kind in (NumpyEngine, NativeEngine))
    np.testing.assert_allclose(native.gradient, ours.gradient, rtol=0, atol=1e-13)


# What the graph keeps


def test_the_graph_keeps_calls_and_time_steps():
    network = Network("bidirectional(lstm 4 all=true), gru 3, 2", (5, 2))
    calls = {call.name: call for call in network.graph.calls}
    assert list(calls) == ["bidirectional_1.forward", "bidirectional_1.backward", "bidirectional_1", "gru_1"]
    for name, call in calls.items():
        nodes = network.nodes[call.start : call.stop]
        assert all(node.name == name or node.name.startswith(f"{name}.") for node in nodes)
        assert network.graph.numbers[nodes[-1].name] == call.output
        outside = [node for node in network.nodes if node not in nodes]
        inner = {network.graph.numbers[node.name] for node in nodes[:-1]}
        assert not inner & {k for node in outside for k in node.inputs}
    assert calls["gru_1"].inputs == (calls["bidirectional_1"].output,)
    assert isinstance(calls["bidirectional_1.backward"].layer, Scan)
    back = [node.time for node in network.nodes if node.owner == "bidirectional_1.backward.state"]
    assert back == [4, 3, 2, 1, 0]
    assert network.graph.node("gru_1.input").time is None


def test_the_inputs_of_all_time_steps_are_one_product():
    nodes = Network("lstm 4, 2", (50, 3)).nodes
    assert [node.name for node in nodes if "input" in node.name] == ["lstm_1.input"]
    assert nodes[0].built.output_shape == (50, 16)
    counts = [len(Network("lstm 4, 2", (steps, 3)).nodes) for steps in (1, 2, 3, 50)]
    assert counts[1] - counts[0] == counts[2] - counts[1] == (counts[3] - counts[0]) / 49


def test_lowering_makes_one_operation_of_a_scan():
    network = Network("8 relu, lstm 4 all=true, gru 3, 2", (6, 2))
    problem = Problem(network, MeanSquaredError(), optimizer("sgd 0.1"))
    cells = ["dense", "scan", "dense", "scan"]
    assert [op.name for op in lower_network(problem).ops] == ["dense", *cells, "dense"]
    assert notes(problem) == ()


def test_a_cell_of_ones_own_has_its_weights_once():
    class Leaky(Cell):
        """h = 0.9 h + 0.1 tanh(x + V tanh(U h))."""

        gates = ("h",)

        def step(self, x, *state):
            (h,) = state
            return (h * 0.9 + 0.1 * Tanh()(x + Dense(self.units)(Tanh()(self.recurrent(h)))),)

    network = Network([Scan(Leaky(3)), Dense(1)], (4, 2), dtype="float64")
    names = [entry.name for entry in network.parameters.entries]
    assert names == ["leaky_1.input.W", "leaky_1.input.b", "leaky_1.state.U", "leaky_1.dense_1.W", "leaky_1.dense_1.b",
                     "dense_1.W", "dense_1.b"]  # fmt: skip
    assert [node.name for node in network.graph.uses["leaky_1.dense_1"]][:2] == ["leaky_1.dense_1", "leaky_1.dense_1@2"]
    random = np.random.default_rng(0)
    check = check_gradient(network, HalfSquares(), random.normal(size=(3, 4, 2)), random.normal(size=(3, 1)))
    assert check.error < 1e-7, check


def test_a_scan_that_is_called_twice_shares_its_weights():
    left, right, shared = Input((4, 2)), Input((4, 2)), LSTM(3, name="twin")
    network = Network(inputs=[left, right], outputs=Dense(1)(shared(left) * shared(right)), dtype="float64")
    assert [entry.owner for entry in network.parameters.entries][:3] == ["twin.input", "twin.input", "twin.state"]
    random = np.random.default_rng(0)
    x, y = random.normal(size=(3, 16)), random.normal(size=(3, 1))
    assert check_gradient(network, HalfSquares(), x, y).error < 1e-7
    e = explain(network, network.draw(), x, y, "mse", "sgd", "twin.state.U[0, 5]")
    parts = [use.product for term in e.samples for use in term.uses]
    assert sum(parts) == pytest.approx(e.gradient, rel=1e-10, abs=1e-12)


# Settings, texts and mistakes


def test_a_text_says_what_the_classes_say():
    assert parse("lstm 128") == [Scan(LSTM(128))]
    assert parse("gru 64 all=True reversed=true") == [Scan(GRU(64), all=True, reversed=True)]
    assert parse("simple_rnn 32 relu recurrent_dropout=0.2") == [Scan(SimpleRNN(32, 0.2, "relu"))]
    assert parse("bidirectional(lstm 8 all=true)") == [Bidirectional(Scan(LSTM(8), all=True))]
    text, layers = Network("lstm 8 all=true, gru 4", (5, 2)), Network([Scan(LSTM(8), all=True), GRU(4)], (5, 2))
    assert text == layers


def test_initial_weights_suit_a_cell():
    network = Network([LSTM(16)], (3, 5), dtype="float64")
    p = dict(network.parameters.views(network.draw()))
    assert p["lstm_1.input.b"].reshape(4, 16).tolist() == [[0] * 16, [1] * 16, [0] * 16, [0] * 16]
    for gate in np.split(p["lstm_1.state.U"], 4, axis=1):
        np.testing.assert_allclose(gate.T @ gate, np.eye(16), atol=1e-12)
    assert np.abs(p["lstm_1.input.W"]).max() <= np.sqrt(6 / (5 + 16))
    assert [e.name for e in network.parameters.entries if e.regularized] == ["lstm_1.input.W", "lstm_1.state.U"]


@pytest.mark.parametrize(
    ("text", "message"),
    [("lstm", "lstm needs units"), ("lstm 0", "lstm: 0 units; it takes a whole number above 0"),
     ("gru 4 0.5", "all is '0.5'; it is true or false"), ("lstm 4 every=true", "unknown setting of lstm 'every'"),
     ("gru 4 recurrent_dropout=1", "recurrent_dropout is 1; it must be at least 0 and less than 1"),
     ("simple_rnn 4 tanhh", "did you mean 'tanh'"), ("bidirectional lstm 4", "holds layers in parentheses"),
     ("bidirectional(lstm 4, gru 4)", "holds one layer that scans"), ("bidirectional(64)", "one layer that scans"),
     ("lstn 4", "did you mean 'lstm'")],
)  # fmt: skip
def test_texts_that_name_no_scan_are_refused(text, message):
    with pytest.raises(SettingError) as error:
        parse(text)
    assert message in str(error.value)


def test_what_is_no_sequence_is_refused():
    with pytest.raises(
        ShapeError, match=r"layer gru_1: takes \(time, features\), but gets the shape \(4,\) .*all=True"
    ):
        Network("lstm 4, gru 4", (5, 2))
    with pytest.raises(ShapeError, match=r"takes \(time, features\), but gets the shape \(3, 4, 2\)"):
        Network("gru 4", (3, 4, 2))
    assert Network("lstm 4", 20).nodes[0].built.output_shape == (20, 1)  # a series of one feature
    with pytest.raises(SettingError, match="scan: it takes a cell, such as LSTM"):
        Scan(Dense(3))
    with pytest.raises(SettingError, match="bidirectional: it takes one layer that scans"):
        Bidirectional(Dense(3))
    x = Input((5, 2))
    with pytest.raises(ShapeError, match="one number for each sample as its second input"):
        LSTM(3)(x, Input(5))


def test_the_state_stops_at_the_end_of_a_sample():
    x, lengths = Input((6, 2)), Input(1)
    outputs = Scan(LSTM(3), all=True, name="scan")(x, lengths.reshape())
    network = Network(inputs=[x, lengths], outputs=outputs, dtype="float64")
    values = np.random.default_rng(0).normal(size=(2, 6, 2))
    y = network.predict(network.draw(), pack((values, np.array([[4], [0]]))))
    np.testing.assert_array_equal(y[0, 3:], np.repeat(y[0, 3:4], 3, axis=0))
    np.testing.assert_array_equal(y[1], 0)
    values[0, 4:] = 99
    again = network.predict(network.draw(), pack((values, np.array([[4], [0]]))))
    np.testing.assert_array_equal(again[0], y[0])
    assert isinstance(network.nodes[0].layer, Slice)
    assert GlobalAveragePool().build((6, 3)).output_shape == (3,)
