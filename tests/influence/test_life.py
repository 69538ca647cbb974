"""The life of a weight: its parts add up to how far it moved, and are what training without a
sample's gradient says they are.
"""

import math

import numpy as np
import pytest

from chainrule import train
from chainrule.data import from_arrays
from chainrule.descent import Point
from chainrule.descent.optimizers import NAMED
from chainrule.descent.stages import WeightDecay
from chainrule.explain import Explanation
from chainrule.influence import life
from chainrule.influence.life_text import lines
from chainrule.influence.lives import ROUNDED
from chainrule.layers import Embedding, Input, TiedDense, TransformerBlock
from chainrule.layout import Entry, Layout
from chainrule.network import Network
from chainrule.runs import Recorder, Run

RNG = np.random.default_rng(0)
TABLE = from_arrays(RNG.normal(size=(24, 3)), RNG.integers(3, size=24))
PICTURES = from_arrays(RNG.normal(size=(12, 6, 6, 1)), RNG.integers(2, size=12))
SERIES = from_arrays(RNG.normal(size=(12, 5, 2)), RNG.normal(size=(12, 1)))


def recorded(folder, network, data, **settings):
    settings = {
        "dtype": "float64",
        "epochs": 3,
        "batch_size": 5,
        "patience": None,
        "optimizer": "adam 0.01",
        **settings,
    }
    train(network, data, callbacks=[Recorder(folder)], **settings)
    return Run.open(folder)


def check_sums(found, within=1e-9):
    assert math.fsum(found.updates) == pytest.approx(found.end - found.draw.value, abs=1e-15)
    assert math.fsum(one.update for one in found.by_epoch) == pytest.approx(found.moved, abs=1e-15)
    explained = found.of_samples + sum(found.others.values())
    assert explained == pytest.approx(found.moved, abs=within)
    assert math.fsum(found.parts.values()) == pytest.approx(found.moved, abs=1e-15)
    if found.by_class:
        assert sum(one.share for one in found.by_class) == pytest.approx(found.of_samples, abs=1e-12)
    shares = [abs(one.share) for one in found.samples]
    assert shares == sorted(shares, reverse=True)
    assert max(shares) > 0


def adds_to_no_gradient(stage):
    """Whether the stage's first output is not 0 where the gradient is."""
    layout = Layout((Entry("layer.W", (3,), 0),))
    w, g = np.ones(3), np.zeros(3)
    update, _ = stage.apply(g, stage.start(w, layout), Point(w, layout, 0.0, g, lambda at: (0.0, g)))
    return update is not None and bool(update.any())


@pytest.mark.parametrize("optimizer", [
    *NAMED, "lbfgs clip=0.1", "adam 0.01 clip=0.1 accumulate=2 average=0.9 schedule=cosine",
])  # fmt: skip
def test_parts_add_up_for_every_kind_of_optimizer(tmp_path, optimizer):
    run = recorded(
        tmp_path / "run", "4 tanh", TABLE, optimizer=optimizer, penalties="elastic 0.001 0.01", batch_size=None
    )
    found = life(run, "dense_1.W[1, 2]", TABLE)
    check_sums(found)
    own = [type(stage) for stage in run.trained.plan.optimizer.stages if adds_to_no_gradient(stage)]
    assert own in ([], [WeightDecay])  # a new one gets a name of its own
    assert set(found.others) == {"elastic net", *(["weight decay"] if own else [])}
    assert [one.steps for one in found.by_epoch] == [run.manifest["steps"] // 3] * 3


@pytest.mark.parametrize(("network", "data", "weight"), [
    ("conv 3 3 relu, max_pool 2, flatten, 4 tanh", PICTURES, "conv_1.W[1, 2, 0, 1]"),
    ("conv 3 3, batch_norm, relu, global_average_pool", PICTURES, "batch_norm_1.scale[1]"),
    ("lstm 3", SERIES, "lstm_1.state.U[1, 4]"),
    ("gru 3, dropout 0.2", SERIES, "gru_1.input.W[1, 4]"),
    ("4 tanh, 3 relu", TABLE, "dense_2.b[1]"),
])  # fmt: skip
def test_every_kind_of_layer(tmp_path, network, data, weight):
    run = recorded(tmp_path / "run", network, data, epochs=2)
    check_sums(life(run, weight, data))


def test_shared_weights_and_attention(tmp_path):
    tokens = RNG.integers(6, size=(10, 7))
    embedding, x = Embedding(6, 4), Input(7)
    y = TransformerBlock(2)(embedding(x))
    network = Network(inputs=x, outputs=TiedDense(embedding)(y), dtype="float64")
    data = from_arrays(tokens, tokens, task="classification")
    run = recorded(tmp_path / "run", network, data, epochs=2, optimizer="muon 0.01")
    for weight in (
        "embedding_1.W[2, 1]",
        next(e.name for e in network.parameters.entries if len(e.shape) == 1) + "[0]",
    ):
        found = life(run, weight, data)
        check_sums(found)
        assert not found.by_class  # a sample has a class at each position


def test_a_weight_that_only_rounding_moves_has_no_shares(tmp_path):
    run = recorded(tmp_path / "run", "4, batch_norm, tanh", TABLE, dtype="float32", optimizer="adamw 0.01")
    found = life(run, "dense_1.b[0]", TABLE)
    assert found.is_rounded
    assert not found.samples
    assert not found.by_class
    assert found.as_json()["others"]["gradients that are 0 but for rounding"] == found.others[ROUNDED] != 0
    assert math.fsum(found.parts.values()) == pytest.approx(found.moved, abs=1e-15)
    assert "no sample moved it" in [*lines(found)][-1]
    assert not life(run, "dense_1.W[0, 0]", TABLE).is_rounded


def test_the_shares_of_plain_descent_are_the_terms_that_explain_gives(tmp_path):
    run = recorded(tmp_path / "run", "4 tanh", TABLE, optimizer="sgd 0.1", epochs=1, batch_size=None)
    found = life(run, "dense_1.W[1, 2]", TABLE)
    terms, data = np.zeros(24), run.own_data(TABLE)
    timeline = run.timeline(data)
    for record in timeline.records(timeline.position(0), run.manifest["steps"]):
        explained = Explanation(timeline.problem_at(record.before.step), record, data.training, "dense_1.W[1, 2]")
        for one in explained.samples:
            terms[one.row] -= 0.1 * one.product
    for one in found.samples:
        assert one.share == pytest.approx(terms[one.sample], abs=1e-12)


def test_the_density_of_a_draw_integrates_to_its_quantile(tmp_path):
    run = recorded(tmp_path / "run", "4 tanh", TABLE, epochs=1)
    draw = life(run, "dense_1.W[1, 2]", TABLE).draw
    below = draw.at <= draw.value
    at, heights = np.append(draw.at[below], draw.value), np.append(draw.heights[below], draw.density)
    assert np.trapezoid(heights, at) == pytest.approx(draw.quantile, abs=0.01)
