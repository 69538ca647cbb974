"""The scheme of networks for sequences: one head of attention, one cell over time, and the layers
around them. What is drawn adds up, for every kind of weight.
"""

import re

import numpy as np
import pytest

from chainrule.explain import explain
from chainrule.explain.head import head_of
from chainrule.explain.scheme import draw
from chainrule.explain.stations import stations
from chainrule.explain.unrolled import step_of, unrolled_of
from chainrule.layers import GRU, Cell, Dense, Input, MultiHeadAttention, Residual, Scan, SimpleRNN, Tanh
from chainrule.network import Network, pack
from pictured import MEASURED, inside, overlap


def explained(network, weight, loss="mse", tokens=None):
    random = np.random.default_rng(0)
    shape = (3, *network.input_shape)
    x = random.normal(size=shape) if tokens is None else random.integers(0, tokens, shape)
    y = random.normal(size=(3, *network.output_shape))
    return explain(network, network.draw(1), x, y, loss, "adam 0.01", weight)


GPT = Network("embedding 5 8, transformer 2 heads=4 kv_heads=2 causal=true dropout=0.2, tied_dense embedding_1", 6,
              "float64")  # fmt: skip
BEFORE = {
    "query.W[3, 5]": ("queries",), "key.W[3, 1]": ("keys",), "value.W[3, 2]": ("values",), "query.b[5]": ("queries",),
}  # fmt: skip
EVERY = ("queries", "keys", "values")


@pytest.mark.parametrize(
    ("weight", "changes"),
    [*((f"transformer_1.block_2.attention.{name}", changes) for name, changes in BEFORE.items()),
     ("embedding_1.W[2, 3]", EVERY), ("transformer_1.positions.W[1, 2]", EVERY),
     ("transformer_1.block_1.attention_norm.scale[4]", EVERY), ("transformer_1.block_1.feed_forward.hidden.W[0, 3]",
      EVERY)],
)  # fmt: skip
def test_a_head_is_drawn_for_every_weight_before_it(weight, changes):
    e = explained(GPT, weight, tokens=5)
    head = head_of(e)
    assert head.changes == changes
    by_layer = {layer.layer: layer for layer in e.attention}
    sample = next(part for part in by_layer[head.call.name].samples.parts if part.number == head.row)
    position = next(part for part in sample.parts if part.number == head.query)
    (part,) = (part for part in position.parts if part.number == head.head)
    assert head.product == pytest.approx(part.product)  # what the text says of this head and position
    for key in part.parts:
        assert head.parts[key.number] == pytest.approx(key.product)
        assert head.weights[key.number] == key.weight
    np.testing.assert_allclose(head.weights @ head.v, head.y, atol=1e-12)
    np.testing.assert_allclose(head.k @ head.q / np.sqrt(len(head.q)), head.scores, atol=1e-12)
    np.testing.assert_allclose(head.v @ head.dy, head.da, atol=1e-12)
    if changes == ("values",):
        assert not head.by_weight.any()
    if changes in (("queries",), ("keys",)):
        assert not head.by_value.any()
        assert len(head.marked[changes[0]]) == 1
    assert f"Head {head.head} of {head.call.name}" in words(draw(e, 1280))


@pytest.mark.parametrize("index", [(6, 3), (1, 0)])
def test_a_head_is_drawn_for_the_output_projection_that_reads_it(index):
    e = explained(GPT, f"transformer_1.block_1.attention.output.W[{index[0]}, {index[1]}]", tokens=5)
    head = head_of(e)
    assert (head.head, head.own) == divmod(index[0], 2)
    assert head.product == pytest.approx(e.chain.product, rel=1e-12)  # this use of the weight
    assert head.y[head.own] == pytest.approx(e.chain.local_derivative, rel=1e-12)
    bias = explained(GPT, "transformer_1.block_1.attention.output.b[3]", tokens=5)
    assert "The weight is added to what is made of it" in words(draw(bias, 1280))


def test_a_weight_after_all_attention_has_its_units_drawn():
    e = explained(Network("transformer 1 4 heads=2, 3", (4, 4), "float64"), "dense_1.W[1, 2]")
    assert head_of(e) is None
    assert "Head" not in words(draw(e, 1280))
    assert 'data-name="dense_1.W[1, 2]"' in draw(e, 1280)


def words(svg):
    """The text of a picture."""
    return " ".join(re.findall(r">([^<>]+)</text>", svg))


def high(svg):
    return float(re.search(r'viewBox="0 0 \d+ (\d+)"', svg)[1])


def test_a_scheme_is_as_high_for_many_positions_as_for_few():
    for text, weight in (("transformer 2 8 heads=2 causal=true, 1", "transformer_1.block_1.attention.query.W[1, 2]"),
                         ("lstm 4, 1", "lstm_1.state.U[1, 2]")):  # fmt: skip
        few, many = (draw(explained(Network(text, (time, 3), "float64"), weight), 1280) for time in (8, 40))
        assert high(many) < high(few) + 60 < 1200


# The cell over time


class Leaky(Cell):
    """A cell of the user's own."""

    gates = ("h",)

    def step(self, x, h):
        return (0.9 * h + 0.1 * Tanh()(x + self.recurrent(h)),)


CELLS = {
    "lstm": ("lstm 3, 1", "lstm_1", "f", {"i", "f", "g", "o", "tanh_c"}, {"h", "c"}),
    "gru": ("gru 3 reversed=true, 1", "gru_1", "z", {"r", "z", "n"}, {"h"}),
    "simple": ("simple_rnn 3 all=true, global_average_pool, 1", "simple_rnn_1", "", set(), {"h"}),
    "own": ([Scan(Leaky(3), all=True), Dense(1)], "leaky_1", "tanh_1", {"tanh_1"}, {"add_2"}),
}


@pytest.mark.parametrize("kind", CELLS)
@pytest.mark.parametrize("own", ["state.U[0, {}]", "input.W[1, {}]", "input.b[{}]"])
def test_a_cell_is_drawn_over_time(kind, own):
    text, name, gate, gates, states = CELLS[kind]
    network = Network(text, (9, 2), "float64")
    weight = own.format(4 if kind in ("lstm", "gru") else 1)
    e = explained(network, f"{name}.{weight}")
    one = unrolled_of(e)
    whole = next(term.product for term in e.samples if term.row == e.chain.row)
    assert one.parts.sum() == pytest.approx(whole, rel=1e-10)
    assert one.times == list(range(9))[:: -1 if kind == "gru" else 1]
    assert (one.unit, one.gate) == (1, gate or "h")
    steps = [step_of(e, one, k) for k in range(9)]
    for step, after in zip(steps, [*steps[1:], None], strict=True):
        assert (set(step.gates), set(step.states)) == (gates, states)
        assert step.product is None or step.product[0] * step.product[1] == pytest.approx(step.part)
        assert after is not None or not any(step.from_next.values())
    assert f"Unit 1 of {name}, sample {one.row}" in words(draw(e, 1280))
    assert e.trace.tape.graph.node(f"{name}.state").time is not None


def test_what_a_state_is_multiplied_by_is_its_derivative():
    network = Network("lstm 3, 1", (6, 2), "float64")
    e = explained(network, "lstm_1.state.U[0, 1]")
    one = unrolled_of(e)
    for k in range(1, 6):
        step = step_of(e, one, k)
        if "c" in step.factors:
            assert step.factors["c"] == pytest.approx(step.gates["f"])  # the forget gate
    simple = explained(Network("simple_rnn 3, 1", (6, 2), "float64"), "simple_rnn_1.state.U[0, 1]")
    one = unrolled_of(simple)
    U = simple.trace.tape.params["simple_rnn_1.state"]["U"]
    for k in range(1, 6):
        step = step_of(simple, one, k)
        assert step.factors["h"] == pytest.approx(U[1, 1] * (1 - step.states["h"] ** 2))


def test_the_derivative_of_a_state_comes_from_its_step_and_from_the_next():
    """Of a network whose loss reads the last state alone, all of it comes from the next step."""
    e = explained(Network("gru 3, 1", (6, 2), "float64"), "gru_1.state.U[0, 1]")
    one = unrolled_of(e)
    steps = [step_of(e, one, k) for k in range(6)]
    feeds = [(step.arriving["h"], step.from_next["h"]) for step in steps[:-1]]
    assert all(arriving == pytest.approx(from_next) for arriving, from_next in feeds)
    assert steps[-1].arriving["h"] != 0


def test_a_weight_before_a_scan_has_a_part_at_each_step():
    network = Network("embedding 5 4, lstm 3, 1", 7, "float64")
    e = explained(network, "embedding_1.W[2, 1]", tokens=5)
    one = unrolled_of(e)
    used = {use.unit.index[1]: use.product for use in next(t for t in e.samples if t.row == e.chain.row).uses}
    for time, part in zip(one.times, one.parts, strict=True):
        assert part == pytest.approx(used.get(time, 0.0), rel=1e-6, abs=1e-10)
    assert one.gate == ""
    assert "Unit" in words(draw(e, 1280))


def test_a_sample_that_ends_early_is_drawn():
    x, lengths = Input((6, 2)), Input(1)
    network = Network(inputs=[x, lengths], outputs=Dense(1)(GRU(3)(x, lengths.reshape())), dtype="float64")
    random = np.random.default_rng(0)
    samples = pack((random.normal(size=(3, 6, 2)), np.array([[6], [2], [4]])))
    y = random.normal(size=(3, 1))
    e = explain(network, network.draw(), samples, y, "mse", "sgd", "gru_1.state.U[0, 7]", sample=1)
    one = unrolled_of(e)
    assert one.parts[0] == 0  # the state before the first step is 0
    assert one.parts[1] != 0
    assert not one.parts[2:].any()
    assert set(step_of(e, one, 1).states) == {"h"}
    assert "Unit 1 of gru_1, sample 1" in words(draw(e, 1280))


# The layers


def test_shares_are_those_of_the_paths():
    network = Network([Dense(2), Residual([MultiHeadAttention(1)]), Dense(1)], (2, 2), "float64")
    e = explained(network, "dense_1.W[0, 1]")
    assert e.has_all_paths
    sample = e.trace.rows.tolist().index(e.chain.row)
    paths = [path for path in e.paths if path.units[0].sample == sample]
    found = {one.name: one for one in stations(e, head_of(e).call)}
    attended = [path for path in paths if any(unit.node.startswith("residual_1.attention") for unit in path.units)]
    share = sum(path.product for path in attended) / sum(path.product for path in paths)
    assert abs(share - 1) > 0.01
    assert found["residual_1.attention_1"].share == pytest.approx(share, rel=1e-5)
    for name in ("dense_1", "residual_1", "dense_2"):
        assert found[name].share == pytest.approx(1, rel=1e-6)
    names = [*found]
    assert names[found["residual_1"].earlier] == "dense_1"
    assert found["residual_1"].follows


def test_parallel_scans_do_not_follow_each_other():
    e = explained(Network("bidirectional(gru 3), 1", (4, 2), "float64"), "bidirectional_1.backward.state.U[0, 1]")
    found = stations(e, unrolled_of(e).call)
    names = [one.name for one in found]
    assert names == ["bidirectional_1.forward", "bidirectional_1.backward", "bidirectional_1", "dense_1"]
    assert [one.follows for one in found] == [False, False, True, True]
    assert found[2].earlier == 0
    assert found[0].share is None  # it comes before the weight


DRAWN = {
    "head": lambda: explained(GPT, "embedding_1.W[2, 3]", tokens=5),
    "wide head": lambda: explained(
        Network("transformer 1 24 heads=2, global_average_pool, 2", (30, 3), "float64"),
        "transformer_1.block_1.attention.value.W[1, 2]",
    ),
    "cell": lambda: explained(Network("lstm 3, 1", (40, 2), "float64"), "lstm_1.state.U[0, 1]"),
    "projection": lambda: explained(GPT, "transformer_1.block_1.attention.output.W[3, 1]", tokens=5),
    "after": lambda: explained(Network("simple_rnn 3, 4 tanh, 1", (5, 2), "float64"), "dense_1.W[0, 1]"),
    "both ways": lambda: explained(
        Network([Scan(SimpleRNN(3), all=True), MultiHeadAttention(1), Dense(1)], (5, 2), "float64"),
        "simple_rnn_1.state.U[0, 1]",
    ),
}


@pytest.fixture(scope="module")
def every():
    return {name: make() for name, make in DRAWN.items()}


@pytest.mark.parametrize(("width", "font"), [(1280, "Helvetica"), (830, "DejaVu Sans"), (390, "DejaVu Sans")])
def test_nothing_overlaps_or_is_cut_off(every, open_page, tmp_path, width, font):
    pictures = "".join(draw(e, width).replace("Helvetica, Arial", font) for e in every.values())
    (tmp_path / "all.html").write_text(f'<!doctype html><meta charset="utf-8"><body style="margin:0">{pictures}')
    page = open_page(tmp_path / "all.html", width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for name, measured in zip(every, page.evaluate(MEASURED), strict=True):
        for k, text in enumerate(measured["texts"]):
            assert inside(text["box"], measured["box"]), (name, text)
            for other in measured["texts"][:k]:
                assert not overlap(text["box"], other["box"]), (name, text, other)
        for card in measured["cards"]:
            assert all(inside(text["box"], card["outline"]) for text in card["texts"]), (name, card)
