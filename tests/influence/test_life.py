"""The life of a weight: its parts add up to how far it moved, and are what training without a
sample's gradient says they are.
"""

import math
from dataclasses import replace

import numpy as np
import pytest

from chainrule import distributions, train
from chainrule.data import from_arrays, load
from chainrule.engine import Position
from chainrule.engine.numpy import NumpyEngine
from chainrule.errors import RunError, SettingError
from chainrule.explain import explain
from chainrule.influence import life
from chainrule.influence.draw import draw_of
from chainrule.layers import Dense, Embedding, GlobalAveragePool, Input, TiedDense, TransformerBlock
from chainrule.network import Network
from chainrule.runs import Recorder, Run

RNG = np.random.default_rng(0)
TABLE = from_arrays(RNG.normal(size=(24, 3)), RNG.integers(3, size=24))
PICTURES = from_arrays(RNG.normal(size=(12, 6, 6, 1)), RNG.integers(2, size=12))
SERIES = from_arrays(RNG.normal(size=(12, 5, 2)), RNG.normal(size=(12, 1)))


def recorded(folder, network, data, **settings):
    settings = {"dtype": "float64", "epochs": 3, "batch_size": 5, "patience": None, "optimizer": "adam 0.01", **settings}
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


@pytest.mark.parametrize("optimizer", [
    "sgd 0.1", "momentum 0.1", "nesterov 0.1", "adam 0.01", "adamw 0.01 weight_decay=0.1", "lion", "lamb", "rprop",
    "adadelta", "muon", "lbfgs", "adam 0.01 clip=0.1 accumulate=2 average=0.9 schedule=cosine",
])  # fmt: skip
def test_parts_add_up_for_every_kind_of_optimizer(tmp_path, optimizer):
    run = recorded(tmp_path / "run", "4 tanh", TABLE, optimizer=optimizer, penalties="elastic 0.001 0.01", batch_size=None)
    found = life(run, "dense_1.W[1, 2]", TABLE)
    check_sums(found)
    assert set(found.others) == {"elastic net", *(["weight decay"] if "lamb" in optimizer or "lion" in optimizer or "w " in optimizer else [])}
    assert [one.steps for one in found.by_epoch] == [run.manifest["steps"] // 3] * 3


@pytest.mark.parametrize(("network", "data", "weight"), [
    ("conv 3 3 relu, max_pool 2, flatten, 4 tanh", PICTURES, "conv_1.W[1, 2, 0, 1]"),
    ("conv 3 3, batch_norm, relu, global_average_pool", PICTURES, "batch_norm_1.scale[1]"),
    ("lstm 3", SERIES, "lstm_1.U[1, 4]"),
    ("gru 3, dropout 0.2", SERIES, "gru_1.W[1, 4]"),
    ("4 tanh, 3 relu", TABLE, "dense_2.b[1]"),
])  # fmt: skip
def test_every_kind_of_layer(tmp_path, network, data, weight):
    run = recorded(tmp_path / "run", network, data, epochs=2)
    names = [entry.name for entry in run.trained.plan.network.parameters.entries]
    check_sums(life(run, weight if weight.partition("[")[0] in names else f"{names[0]}[{', '.join('0' * len(run.trained.plan.network.parameters.entries[0].shape))}]", data))


def test_shared_weights_and_attention(tmp_path):
    tokens = RNG.integers(6, size=(10, 7))
    embedding, x = Embedding(6, 4), Input(7)
    y = TransformerBlock(2)(embedding(x))
    network = Network(inputs=x, outputs=TiedDense(embedding)(y), dtype="float64")
    data = from_arrays(tokens, tokens, task="classification")
    run = recorded(tmp_path / "run", network, data, epochs=2, optimizer="muon 0.01")
    for weight in ("embedding_1.W[2, 1]", next(e.name for e in network.parameters.entries if len(e.shape) == 1) + "[0]"):
        found = life(run, weight, data)
        check_sums(found)
        assert not found.by_class  # a sample has a class at each position
