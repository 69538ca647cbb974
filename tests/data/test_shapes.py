"""The generated pictures of shapes, colours and textures."""

import numpy as np
import pytest

from chainrule.cli import run
from chainrule.data import load
from chainrule.data.shapes import COLOURS, SHAPES, TEXTURES, shapes
from chainrule.errors import SettingError
from chainrule.runs import train


def test_every_class_is_there_equally_often_and_the_seed_decides():
    source = shapes(samples=270, seed=3)
    names, counts = np.unique(source.target, return_counts=True)
    assert set(names) == {f"{t} {c} {s}" for t in TEXTURES for c in COLOURS for s in SHAPES}
    assert set(counts) == {10}
    np.testing.assert_array_equal(source.features, shapes(samples=270, seed=3).features)
    assert (source.features != shapes(samples=270, seed=4).features).mean() > 0.9


def test_the_named_set_has_4000_pictures(capsys):
    data = load("shapes")
    assert data.sizes == {"training": 2800, "validation": 400, "test": 800}
    assert data.input_shape == (32, 32, 3)
    assert run(["data"]) == 0
    assert "shapes" in capsys.readouterr().out


def test_the_figure_has_its_colour():
    source = shapes(samples=2700, noise=0)
    colour = np.array([COLOURS.index(name.split()[1]) for name in source.target])
    pixels = source.features.reshape(len(source), -1, 3).astype(int)
    excess = pixels - pixels.mean(axis=2, keepdims=True)
    assert (excess.max(axis=1).argmax(axis=1) == colour).mean() > 0.9  # the channel that stands out most


def test_shapes_have_the_same_area_so_that_a_mean_does_not_tell_them():
    source = shapes(samples=2700, noise=0)
    shape = np.array([SHAPES.index(name.split()[2]) for name in source.target])
    means = source.features.mean(axis=(1, 2, 3))
    assert np.ptp([means[shape == k].mean() for k in range(3)]) < 0.1 * means.std()


def test_neither_pixels_nor_a_dense_network_tell_the_classes_as_convolutions_do():
    data = load(shapes(samples=1350, seed=1))
    dense = train("128 relu", data, epochs=10).evaluate()["accuracy"]
    convolved = train(data, epochs=10).evaluate()["accuracy"]
    assert convolved > dense + 0.2


@pytest.mark.parametrize(("wrong", "message"), [({"samples": 1}, "at least 2 are needed"), ({"noise": -1}, "negative")])
def test_wrong_settings_are_refused(wrong, message):
    with pytest.raises(SettingError, match=message):
        shapes(**wrong)
