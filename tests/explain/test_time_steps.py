"""A recurrent weight explained: its uses are time steps, and how many steps back a gradient comes
from.
"""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chainrule.backprop import differentiate
from chainrule.explain import explain, lines
from chainrule.explain.page import page
from chainrule.explain.scheme import draw
from chainrule.explain.time_steps import binned, factor, steps_back
from chainrule.layers import Dense, Input, Scan, SimpleRNN
from chainrule.losses import MeanSquaredError
from chainrule.network import Network, pack

CELLS = ("simple_rnn 3", "lstm 3", "gru 3")


def explained(text, steps=7, seed=0, weight="state.U[1, 2]", samples=4):
    network = Network(f"{text}, 2", (steps, 2), dtype="float64")
    random = np.random.default_rng(seed)
    x, y = random.normal(size=(samples, steps, 2)), random.normal(size=(samples, 2))
    layer = text.partition(" ")[0]
    return explain(network, network.draw(seed), x, y, "mse", "sgd", f"{layer}_1.{weight}")


@given(st.sampled_from(CELLS), st.booleans(), st.integers(1, 9), st.integers(0, 99),
       st.sampled_from(["state.U[1, 2]", "input.W[0, 1]", "input.b[2]"]))  # fmt: skip
@settings(max_examples=30)
def test_the_products_of_all_steps_add_up_to_the_gradient(cell, back, steps, seed, weight):
    e = explained(f"{cell} reversed={back}", steps, seed, weight)
    found = e.steps_back()
    assert [step.back for step in found] == list(range(steps))
    assert sum(step.product for step in found) == pytest.approx(e.gradient, rel=1e-10, abs=1e-14)
    assert sum(step.share for step in found) == pytest.approx(1) or e.gradient == 0
    rows = binned(found)
    assert [row[0] for row in rows] == [k for k in (0, 1, 2, 4, 8) if k < steps]
    assert sum(row[2].product for row in rows) == pytest.approx(e.gradient, rel=1e-10, abs=1e-14)


def test_a_use_so_many_steps_back_is_the_term_of_that_time_step():
    for back in (False, True):
        e = explained(f"gru 3 reversed={back}")
        by_time = {group.time: float(group.products.sum()) for group in e.terms}
        for step in e.steps_back():
            assert step.product == by_time[step.back if back else 6 - step.back]


def test_with_lengths_steps_are_counted_from_the_end_of_each_sample():
    x, lengths = Input((6, 2)), Input(1)
    network = Network(inputs=[x, lengths], outputs=Dense(1)(SimpleRNN(3)(x, lengths.reshape())), dtype="float64")
    random = np.random.default_rng(0)
    values, y, counts = random.normal(size=(3, 6, 2)), random.normal(size=(3, 1)), np.array([[6], [2], [4]])
    name, vector = "simple_rnn_1.state.U[0, 1]", network.draw()
    found = explain(network, vector, pack((values, counts)), y, "mse", "sgd", name).steps_back()
    assert len(found) == 6
    expected = np.zeros(6)
    for sample, (count,) in enumerate(counts):  # the same without lengths, sample by sample
        alone = Network("simple_rnn 3, 1", (count, 2), dtype="float64")
        e = explain(alone, vector, values[[sample], :count], y[[sample]], "mse", "sgd", name)
        expected[:count] += [step.product / 3 for step in e.steps_back()]
    np.testing.assert_allclose([step.product for step in found], expected, rtol=1e-10, atol=1e-14)


def test_the_loss_at_one_position_is_counted_from_there():
    network = Network([Scan(SimpleRNN(3), all=True), Dense(1)], (6, 2), dtype="float64")
    random = np.random.default_rng(0)
    x, y, vector = random.normal(size=(3, 6, 2)), random.normal(size=(3, 6, 1)), network.draw()
    e = explain(network, vector, x, y, "mse", "sgd", "simple_rnn_1.state.U[0, 1]")
    total = 0.0
    for position in range(6):
        found = e.steps_back(position)
        assert [step.back for step in found] == list(range(position + 1))
        mine = sum(step.product for step in found)
        only = np.zeros((3, 6, 1))
        loss = MeanSquaredError()
        tape = differentiate(network, loss, vector, x, y).tape
        only[:, position] = loss.derivative(tape.output, y)[:, position]
        tape.backward(only)
        assert mine == pytest.approx(tape.gradients["simple_rnn_1.state"]["U"][0, 1], rel=1e-10, abs=1e-14)
        total += mine
    assert total == pytest.approx(e.gradient, rel=1e-10)


@pytest.mark.parametrize(
    ("scale", "words"), [(0.5, "the gradient vanishes"), (1.0, "it keeps its size"), (2.0, "the gradient explodes")]
)
def test_a_linear_state_shows_vanishing_and_exploding_gradients(scale, words):
    """Where the activation is ReLU and all is positive, a step back multiplies the delta by U."""
    network = Network("simple_rnn 1 relu, 1", (8, 1), dtype="float64")
    vector = network.draw()
    for name, value in (("input.W", 1.0), ("input.b", 0.0), ("state.U", scale)):
        network.parameters.view(vector, f"simple_rnn_1.{name}")[...] = value
    e = explain(network, vector, np.ones((2, 8, 1)), np.zeros((2, 1)), "mse", "sgd", "simple_rnn_1.state.U[0, 0]")
    found = e.steps_back()
    assert factor(found) == pytest.approx(scale)
    deltas = [step.delta for step in found]
    np.testing.assert_allclose(np.divide(deltas[1:], deltas[:-1]), scale)
    said = "\n".join(lines(e))
    assert f"every step multiplies it by {scale:.3g}, on average; {words}." in said
    assert "2 to 3" in said


def test_a_weight_outside_of_recurrent_layers_has_no_steps():
    e = explained("gru 3")
    assert steps_back(e.trace, e.trace.network.parameters.find("dense_1.W[0, 1]")) == []
    plain = explain(Network("3 tanh, 1", 2), Network("3 tanh, 1", 2).draw(), np.ones((2, 2)), np.ones((2, 1)), "mse",
                    "sgd", "dense_1.W[0, 0]")  # fmt: skip
    assert plain.steps_back() == []
    assert "steps back" not in "\n".join(lines(plain))
    assert "steps_back" not in plain.as_json()


def test_an_explanation_names_gates_and_time_steps():
    e = explained("lstm 3", weight="state.U[1, 5]", steps=20)
    assert e.about == "the weight from unit 1 one step before to gate f of unit 2 in lstm_1, at every time step"
    assert str(e.where[0]) == "lstm_1.state, at 20 time steps of each of 4 samples"
    said = "\n".join(lines(e))
    assert "20 time steps, the sum" in said
    assert "through lstm_1.state[5] at time step 19" in said
    assert "@" not in said
    assert r"\text{lstm\_1.c at each time step:}" in said
    assert len(e.rules) < 25
    fields = json.loads(json.dumps(e.as_json()))
    assert [step["back"] for step in fields["steps_back"]] == list(range(20))
    assert max(map(len, said.splitlines())) < 1500
    assert "at time step 19" in page(e)
    assert draw(e).startswith("<svg")
    assert "@" not in draw(e)
    assert e.rounding.explains


def test_one_unit_over_many_steps_is_opened_up_to_a_depth():
    e = explained("simple_rnn 1", steps=400, weight="state.U[0, 0]", samples=1)
    said = "\n".join(lines(e))
    assert "more units at time steps" in said or "it vanishes" in said
    assert said.count("delta simple_rnn_1.state[0]") < 100
