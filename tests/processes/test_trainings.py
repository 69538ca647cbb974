"""Whole trainings on several ranks, which are threads here, beside the same on one process."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from chainrule.data import load
from chainrule.descent import optimizer, stages
from chainrule.engine.native import NativeEngine
from chainrule.processes import ALONE, Processes
from chainrule.training import loop, plan_for
from chainrule.training.divided import FEWEST, divided
from engines import needs_native

pytestmark = needs_native
RANKS = 3


def pictures(folder):
    random = np.random.default_rng(0)
    for label in ("dark", "light"):
        (folder / label).mkdir(parents=True)
        for k in range(20):
            levels = random.integers(0, 128, (6, 6, 3), dtype=np.uint8) + (128 if label == "light" else 0)
            Image.fromarray(levels).save(folder / label / f"{k}.png")
    return folder


def table(folder):
    folder.mkdir()
    random = np.random.default_rng(0)
    for part in range(3):
        rows = random.normal(size=(40, 3))
        lines = [f"{a:.6f},{b:.6f},{'pq'[int(c > 0)]},{a - b:.6f}" for a, b, c in rows]
        (folder / f"{part}.csv").write_text("\n".join(["a,b,c,y", *lines]))
    return folder


def sequences(path):
    random = np.random.default_rng(0)
    lengths = np.where(np.arange(60) % 2, 1, 9)  # in a mini-batch one rank has far more positions than another
    x = random.normal(size=(60, 9, 2))
    x[np.arange(9) >= lengths[:, None]] = np.nan
    np.savez(path, x=x, y=np.nansum(x[..., 0], axis=1), lengths=lengths)
    return path


OF_IRIS = {"network": "6 tanh, dropout 0.2", "epochs": 3, "batch_size": 16}
TRAININGS = {
    "class weights": (OF_IRIS | {"class_weight": "balanced"}, None, {}),
    "monitored": (OF_IRIS | {"monitor": "accuracy", "patience": 2, "metrics": ["roc_auc"], "epochs": 6}, None, {}),
    "accumulated": (OF_IRIS | {"optimizer": "adam 0.01 accumulate=3 average=0.9 clip=0.1 schedule=cosine"}, None, {}),
    "plateau": (OF_IRIS | {"optimizer": optimizer("sgd 0.5").then(stages.Plateau(patience=1)), "epochs": 6}, None, {}),
    "mini-batches smaller than the ranks": (OF_IRIS | {"batch_size": 2, "epochs": 1}, None, {}),
    "batch norm over mini-batches of two": ({"network": "4 tanh, batchnorm", "batch_size": 2, "epochs": 1}, None, {}),
    "threshold": ({"network": "4 relu", "epochs": 2, "threshold": "f1"}, "breast-cancer", {}),
    "penalties": (OF_IRIS | {"penalties": ["l1 0.01", "l2 0.01"]}, None, {}),
    "augmented pictures": (
        {"network": "conv 4 3x3, batchnorm, relu, flatten", "epochs": 2, "batch_size": 7, "augment": "shift 1, flip"},
        pictures, {"image_size": (6, 6)},
    ),
    "streamed": ({"network": "5 tanh", "epochs": 2, "batch_size": 7}, table, {"target": "y", "memory": 4000}),
    "very different lengths": ({"network": "lstm 4", "epochs": 2, "batch_size": 7}, sequences, {}),
}  # fmt: skip


@pytest.mark.parametrize("name", TRAININGS)
def test_a_training_on_ranks_is_that_of_one_process(name, tmp_path, monkeypatch):
    monkeypatch.setenv("CHAINRULE_CACHE", str(tmp_path / "cache"))
    settings, source, reading = TRAININGS[name]
    where = tmp_path / ("data.npz" if source is sequences else "data")
    data = load((source or "iris") if not callable(source) else source(where), **reading)
    plan = plan_for(data=data, dtype="float64", engine="native", **settings)
    alone, together = (loop.run(replace(plan, ranks=ranks), data, loop.start(plan)) for ranks in (1, RANKS))
    assert together.reason == alone.reason
    assert len(together.progress.history) == len(alone.progress.history) > 0
    for ours, theirs in zip(together.progress.history, alone.progress.history, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-9)
    assert together.threshold == pytest.approx(alone.threshold) if alone.threshold else together.threshold is None
    position, expected = together.progress.position, alone.progress.position
    np.testing.assert_allclose(position.statistics, expected.statistics, rtol=1e-6, atol=1e-9)
    if "batchnorm" not in settings["network"]:  # before it, rounding alone moves biases
        np.testing.assert_allclose(position.parameters, expected.parameters, rtol=1e-6, atol=1e-9)
    for ours, theirs in zip(position.states, expected.states, strict=True):
        assert ours.keys() == theirs.keys()


@pytest.mark.parametrize("network", ["9 relu, 5 tanh", "conv 3 3x3, batchnorm, relu, flatten"])
@pytest.mark.parametrize("ranks", [2, 3, 4])
def test_predictions_that_ranks_divide_have_the_bits_of_one(network, ranks):
    data = load("iris") if "conv" not in network else load("digits")
    plan = plan_for(network, data)
    rows = np.random.default_rng(0).integers(0, len(data.training.x), ranks * FEWEST + 1)
    x, start = np.asarray(data.training.x)[rows], loop.start(plan).position
    engine, taken = NativeEngine(plan.problem(1), 1), []

    class Rank(Processes):
        def joined(self, rows, counts):
            assert len(rows) == counts[self.rank]
            taken.append(rows)
            return rows

    def predict(x):
        return engine.predict(start.parameters, x, start.statistics)

    for rank in range(ranks):
        divided(predict, Rank(rank, ranks), "native")(x)
    np.testing.assert_array_equal(np.concatenate(taken), predict(x))
    assert divided(predict, ALONE, "native") is divided(predict, Rank(0, 2), "jax") is predict
    assert len(divided(predict, Rank(0, ranks), "native")(x[:-2])) == len(x) - 2  # too few
