"""Weights of recorded language models explained as text, JSON and page: samples, then positions by
their token, then heads; and how many steps back a gradient comes from.
"""

import json

import pytest

import chainrule
from chainrule.data import Text
from chainrule.explain import explain, lines
from chainrule.explain.page import page
from chainrule.runs import Recorder

RHYME = "Row, row\nrow your boat.\n" * 20
NETWORKS = {
    "transformer": "embedding 16 8, transformer 1 heads=2 causal=true, tied_dense embedding_1",
    "lstm": "embedding 16 8, lstm 6 all=true",
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run of each network, of one epoch."""
    made = {}
    for name, network in NETWORKS.items():
        made[name] = tmp_path_factory.mktemp("runs") / name
        size = len(set(RHYME))
        text, own = Text("rhyme", RHYME), network.replace("embedding 16", f"embedding {size}")
        chainrule.train(own, text, length=10, epochs=1, callbacks=[Recorder(made[name])])
        made[name] = (made[name], text)
    return made


def said(run, weight):
    """The explanation as text, page and JSON."""
    path, text = run
    e = explain(path, weight, data=text)
    return e, "\n".join(lines(e)), page(e), json.loads(json.dumps(e.as_json()))


BLOCK = "transformer_1.block_1"


@pytest.mark.parametrize(
    "weight",
    ["embedding_1.W[3, 2]", "transformer_1.positions.W[4, 1]", f"{BLOCK}.attention_norm.scale[2]",
     f"{BLOCK}.attention.query.W[1, 5]", f"{BLOCK}.attention.key.W[1, 5]", f"{BLOCK}.attention.value.b[2]"],
)  # fmt: skip
def test_weights_before_attention_say_which_token_attends_to_which(runs, weight):
    e, text, html, fields = said(runs["transformer"], weight)
    (layer,) = fields["attention"]
    sample = layer["samples"][0]
    names = e.names_of(sample["sample"])
    position = sample["positions"][0]
    key = position["heads"][0]["keys"][0]
    assert position["name"] == names[position["position"]]
    assert key["name"] == names[key["key"]]
    attends = f"attends to position {key['key']} {key['name']} with the weight {key['weight']:.4g}"
    assert attends in text
    assert attends in html.replace("&#x27;", "'")
    assert f"position {position['position']} {position['name']}" in text
    assert {name[0] for name in names} == {"'"}  # spaces and ends of lines are visible
    assert "attends to" in html
    assert "Head " in html  # the scheme
    assert layer["pairs"][0]["key_name"] == names[layer["pairs"][0]["key"]]


@pytest.mark.parametrize(
    "weight",
    [f"{BLOCK}.attention.output.W[3, 1]", f"{BLOCK}.feed_forward.hidden.W[1, 2]", "transformer_1.norm.scale[3]"],
)
def test_weights_after_attention_say_at_which_tokens_they_are_used(runs, weight):
    _, text, html, fields = said(runs["transformer"], weight)
    use = fields["samples"][0]["uses"][0]
    assert use["place"].startswith("position ")
    assert use["place"] in text
    assert use["place"] in html.replace("&#x27;", "'")
    assert "attention" not in fields


@pytest.mark.parametrize("weight", ["lstm_1.state.U[2, 7]", "lstm_1.input.W[1, 20]", "lstm_1.input.b[4]"])
def test_gates_say_how_many_steps_back_their_gradient_comes_from(runs, weight):
    e, text, html, fields = said(runs["lstm"], weight)
    steps = fields["steps_back"]
    assert [step["back"] for step in steps] == list(range(10))
    assert fields["steps_back_of_positions"] == e.loss_positions
    assert e.loss_positions[-1] == 9
    assert len(e.loss_positions) == 8
    assert sum(step["share"] for step in steps) == pytest.approx(1)
    for shown in (text, html):
        assert "Steps are counted from the position of a loss, here at" in shown
        assert "steps back" in shown
        assert f"{steps[0]['product']:.6g}" in shown
        assert "every step multiplies it by" in shown
    alone = [e.steps_back(position) for position in e.loss_positions]
    for back, step in enumerate(steps):
        own = sum(found[back].product for found in alone if back < len(found))
        assert own == pytest.approx(step["product"], rel=1e-9, abs=1e-15)


def test_a_row_of_an_embedding_says_its_token(runs):
    row = sorted(set(RHYME)).index("o")
    for name in NETWORKS:
        _, text, _, fields = said(runs[name], f"embedding_1.W[{row}, 2]")
        assert "the row of 'o'" in fields["about"]
        assert fields["samples"][0]["uses"][0]["place"] in text
