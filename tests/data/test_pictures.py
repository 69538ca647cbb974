"""Folders of pictures: what is read from files is what the array holds, and trains to the same bits."""

import numpy as np
import pytest
from PIL import Image

from chainrule.cli import run
from chainrule.data import find
from chainrule.runs import Run, train

RANDOM = np.random.default_rng(0)


def written(folder, x, y, suffix=".png"):
    """Write pictures into a subfolder for each class; those of the folder, in its order, as a pair."""
    for k, (picture, label) in enumerate(zip(x, y, strict=True)):
        (folder / str(label)).mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(folder / str(label) / f"{k:05d}{suffix}")
    order = np.lexsort((np.arange(len(y)), y))
    return x[order], y[order]


def pictures(what, count):
    """So many pictures of a set, evenly spaced, and their classes."""
    if what == "colours":
        return RANDOM.integers(0, 256, (count, 16, 18, 3), dtype=np.uint8), np.arange(count) % 3
    source = find(what)
    rows = np.linspace(0, len(source) - 1, count).astype(int)
    return source.features[rows], source.target[rows]


def assert_same(one, other):
    """Two trainings with the same history, weights, predictions and scores, bit for bit."""
    assert one.history == other.history
    assert one.parameters.tobytes() == other.parameters.tobytes()
    assert one.raw(one.data.test).tobytes() == other.raw(other.data.test).tobytes()
    assert one.evaluate() == other.evaluate()


@pytest.mark.parametrize("engine", ["native", "numpy"])
@pytest.mark.parametrize(("what", "count"), [("digits", 600), ("mnist-5k", 300), ("colours", 90)])
def test_a_folder_of_pictures_trains_to_the_bits_of_the_array(tmp_path, what, count, engine):
    x, y = written(tmp_path, *pictures(what, count))
    settings = {"epochs": 2, "seed": 3, "engine": engine, "patience": None}
    assert_same(train(tmp_path, **settings), train((x, y), **settings))


def test_a_folder_gives_the_array_itself_whatever_the_lossless_format(tmp_path):
    x, y = pictures("colours", 12)
    for suffix in (".png", ".bmp", ".tif"):
        expected, _ = written(tmp_path / suffix, x, y, suffix)
        found = find(tmp_path / suffix)
        np.testing.assert_array_equal(found.features, expected)
        assert found.features.dtype == np.uint8


def test_the_command_gives_the_same_for_a_folder_and_an_npz_file(tmp_path):
    x, y = written(tmp_path / "folder", *pictures("mnist-5k", 200))
    np.savez(tmp_path / "array.npz", x=x, y=y)
    for name in ("folder", "array.npz"):
        assert run(["train", str(tmp_path / name), "-o", str(tmp_path / f"of-{name}"), "--epochs", "1"]) == 0
    one, other = (Run.open(tmp_path / f"of-{name}").trained for name in ("folder", "array.npz"))
    assert one.parameters.tobytes() == other.parameters.tobytes()
    assert one.raw(tmp_path / "folder").tobytes() == other.raw(tmp_path / "array.npz").tobytes()
