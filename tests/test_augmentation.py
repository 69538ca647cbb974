"""Augmentation: each one against its formula, and every step the same again."""

import hashlib
import itertools
import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import chainrule
from chainrule.arrays import Samples, Scaled
from chainrule.augmentation import NAMED, Crop, Flip, Mixup, Rotate, Scale, Shift, augment, augmentations
from chainrule.cli import run as command
from chainrule.data import load
from chainrule.engine.native import is_built
from chainrule.errors import RunError, SettingError
from chainrule.estimators import Classifier, Regressor
from chainrule.explain import explain
from chainrule.explain.text import lines
from chainrule.runs import Run
from chainrule.runs.recipe import from_json, to_json

RANDOM = np.random.default_rng(0)
EVERY = "flip, shift 2, rotate 30, scale 0.2, crop 0.7, brightness 0.2, cutout 3, mixup 0.4"


def pictures(count=6, height=7, width=9, channels=None, seed=0):
    shape = (count, height, width) + (() if channels is None else (channels,))
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def augmented(x, text, step=0, y=None):
    y = np.arange(len(x)) % 3 if y is None else y
    return augment(Samples(x, y), augmentations(text), 5, step)


def read_at(picture, y, x):
    """A picture's value between four pixels, as in the definition."""
    height, width = picture.shape[:2]
    y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
    value = 0.0
    for i in range(height):
        for j in range(width):
            value += picture[i, j] * max(0, 1 - abs(y - i)) * max(0, 1 - abs(x - j))
    return value


def by_definition(picture, matrix):
    """A picture read at the points that a map gives, pixel by pixel."""
    height, width = picture.shape[:2]
    up, left = (height - 1) / 2, (width - 1) / 2
    new = np.empty_like(picture)
    for i in range(height):
        for j in range(width):
            y, x = matrix[:, :2] @ [i - up, j - left] + matrix[:, 2] + [up, left]
            new[i, j] = read_at(picture, y, x)
    return new


@pytest.mark.parametrize(
    "one", [Flip("both"), Shift(2), Rotate(40), Scale(0.3), Crop(0.5)], ids=lambda one: one.notation
)
@pytest.mark.parametrize("channels", [None, 3])
def test_a_warp_reads_each_pixel_where_its_formula_says(one, channels):
    x = pictures(channels=channels)
    u = one.draw(len(x), 5, 3, 0)
    expected = [by_definition(*pair) for pair in zip(x, one.maps(x.shape[1:3], u), strict=True)]
    np.testing.assert_allclose(one.apply(Samples(x, np.zeros(6)), u).x, expected, atol=2e-6)


@settings(max_examples=30, deadline=None)
@given(height=st.integers(1, 8), width=st.integers(1, 8), step=st.integers(0, 10**9))
def test_warps_of_any_size_read_within_the_picture(height, width, step):
    x = pictures(3, height, width)
    changed = augmented(x, "flip both, shift 3, rotate 90, scale 0.5, crop 0.3", step).x
    assert changed.shape == x.shape
    assert changed.min() >= x.min() - 1e-6
    assert changed.max() <= x.max() + 1e-6


def test_neighbouring_warps_are_one():
    x = pictures(1, 12, 12)
    shift, turn = Shift(2), Rotate(25)
    first, then = (one.maps((12, 12), one.draw(1, 5, 0, k))[0] for k, one in enumerate((shift, turn)))
    both = [np.vstack([matrix, [0, 0, 1]]) for matrix in (first, then)]
    expected = by_definition(x[0], (both[0] @ both[1])[:2])
    np.testing.assert_allclose(augmented(x, "shift 2, rotate 25").x[0], expected, atol=2e-6)


def test_known_changes():
    x = np.arange(12.0, dtype=np.float32).reshape(1, 3, 4)
    flipped = [augmented(x, "flip", step).x[0] for step in range(20)]
    assert {tuple(one[0]) for one in flipped} == {(0, 1, 2, 3), (3, 2, 1, 0)}
    shifted = {augmented(x, "shift 1", step).x[0, 1, 1] for step in range(60)}
    assert shifted == {0, 1, 2, 4, 5, 6, 8, 9, 10}  # the pixel and its eight neighbours
    brighter = augmented(x, "brightness 0.5").x - x
    assert np.ptp(brighter) < 1e-6
    assert 0 < abs(brighter[0, 0, 0]) <= 0.5
    covered = augmented(np.ones((50, 9, 9), np.float32), "cutout 3").x
    assert {*np.sum(covered == 0, axis=(1, 2))} <= {4, 6, 9}
    assert set(np.unique(covered)) == {0, 1}


def test_mixup_mixes_samples_and_their_targets_alike():
    x, y = np.eye(8, dtype=np.float32), np.eye(8, dtype=np.float32)
    mixed = augment(Samples(x, y), (Mixup(1.0),), 0, 0)
    np.testing.assert_array_equal(mixed.x, mixed.y)
    assert np.count_nonzero(mixed.x, axis=1).tolist() == [2] * 8  # each with another one
    np.testing.assert_allclose(mixed.x.sum(axis=1), 1, rtol=1e-6)
    shares = np.concatenate([Mixup(0.3).draw(500, 0, step, 0)[:, 0] for step in range(100)])
    from scipy.special import betaincinv

    assert abs(np.var(betaincinv(0.3, 0.3, shares)) - 1 / (4 * (2 * 0.3 + 1))) < 0.002  # that of the distribution


def test_a_step_depends_on_seed_and_step_alone():
    x = pictures(20)
    y = np.eye(3, dtype=np.float32)[np.arange(20) % 3]
    for text in EVERY.split(", "):
        first, again, later = (augmented(x, text, step, y) for step in (7, 7, 8))
        np.testing.assert_array_equal(first.x, again.x)
        np.testing.assert_array_equal(first.y, again.y)
        assert not np.array_equal(first.x, later.x)
        assert not np.array_equal(first.x, augment(Samples(x, y), augmentations(text), 6, 7).x)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("turn 3", "turn"), ("shift", "needs pixels"), ("shift 0", "whole number"), ("rotate 200", "at most 180"),
        ("crop 1", "at most 0.999"), ("scale 2", "at most 0.95"), ("flip up", "horizontal"), ("cutout 0", "at least 1"),
        ("brightness -1", "greater than 0"), ("mixup 0", "greater than 0"),
    ],
)  # fmt: skip
def test_wrong_settings_are_refused(text, problem):
    with pytest.raises(SettingError, match=problem):
        augmentations(text)


def test_what_does_not_fit_the_data_is_refused():
    with pytest.raises(SettingError, match="it changes pictures"):
        chainrule.train("4 relu", "iris", augment="shift 1", epochs=1)
    with pytest.raises(SettingError, match="Focal can't take targets that are mixed"):
        chainrule.train("4 relu", "iris", augment="mixup", loss="focal", epochs=1)


@pytest.mark.parametrize("engine", ["numpy", "native"])
def test_every_step_is_replayed_bit_for_bit(engine, tmp_path):
    if engine == "native" and not is_built():
        pytest.skip("the native engine is not built")
    data = load("digits")
    small = replace(data, training=data.training.take(np.arange(200)), rows=data.rows[:200])
    kept = []

    def keep(event):
        if isinstance(event, chainrule.training.Stepped):
            kept.extend(event.chunk.steps())

    trained = chainrule.train(
        "conv 4 3x3 relu, flatten", small, augment=EVERY, epochs=3, batch_size=30, engine=engine, callbacks=[keep]
    )
    assert len(kept) == 21
    for before, after in itertools.pairwise(kept):  # replays agree with what was trained
        np.testing.assert_array_equal(before.after.parameters, after.before.parameters)
    np.testing.assert_array_equal(kept[-1].after.parameters, trained.progress.position.parameters)
    plain = chainrule.train("conv 4 3x3 relu, flatten", small, epochs=3, batch_size=30, engine=engine)
    assert not np.array_equal(plain.parameters, trained.parameters)
    assert from_json(to_json(trained.plan)) == trained.plan
    older = {key: value for key, value in to_json(trained.plan).items() if key != "augment"}
    assert from_json(older) == replace(trained.plan, augment=())


def test_both_engines_train_on_the_same_pictures():
    if not is_built():
        pytest.skip("the native engine is not built")
    settings = {"augment": EVERY, "epochs": 1, "batch_size": 60, "dtype": "float64", "seed": 3}
    by = [
        chainrule.train("conv 4 3x3 relu, flatten", "digits", engine=name, **settings) for name in ("numpy", "native")
    ]
    np.testing.assert_allclose(by[0].progress.position.parameters, by[1].progress.position.parameters, atol=1e-9)
    assert math.isclose(by[0].history[0]["validation_loss"], by[1].history[0]["validation_loss"], rel_tol=1e-9)


def test_a_recorded_step_is_explained_with_the_pictures_it_used(tmp_path):
    from chainrule.runs import Recorder

    folder = tmp_path / "run"
    trained = chainrule.train(
        "conv 2 3x3 relu, flatten", "digits", augment="shift 2, rotate 15", epochs=1, batch_size=100,
        callbacks=[Recorder(folder)],
    )  # fmt: skip
    run = Run.open(folder)
    assert run.trained.plan == trained.plan
    explanation = explain(run, "conv_1.W[0, 0, 0, 1]", step=5)
    assert abs(explanation.gradient - explanation.training_gradient) < 1e-5
    batch = run.load_data().training.take(explanation.trace.rows)
    expected = augment(batch, trained.plan.augment, trained.plan.seed, 5)
    np.testing.assert_array_equal(explanation.trace.batch.x, expected.x)
    assert any("augmented its samples (shift 2, rotate 15)" in line for line in lines(explanation))
    row = int(explanation.trace.rows[0])
    shown = explanation.read(row).picture
    assert shown.dtype == np.uint8
    assert np.array_equal(run.load_data().as_read(expected.x[0]), shown)
    assert not np.array_equal(run.load_data().sample(row).picture, shown)


def test_estimators_mix_rows_and_refuse_what_is_for_pictures():
    x = RANDOM.normal(size=(80, 4))
    y = np.where(x[:, 0] > 0, "up", "down")
    mixed = Classifier("8 relu", augment="mixup 0.3", epochs=3).fit(x, y)
    assert mixed.trained_.plan.augment == (Mixup(0.3),)
    plain = Classifier("8 relu", epochs=3).fit(x, y)
    assert not np.array_equal(plain.trained_.parameters, mixed.trained_.parameters)
    mixed.partial_fit(x, y)
    assert mixed.trained_.plan.augment == (Mixup(0.3),)
    assert Regressor("8 relu", augment="mixup", epochs=3).fit(x, x[:, 1]).trained_.plan.augment == (Mixup(),)
    with pytest.raises(SettingError, match="it changes pictures, but the samples have 4 inputs; leave it out"):
        Classifier(augment="shift 2").fit(x, y)


def test_a_search_is_one_of_its_augmentation(tmp_path):
    pytest.importorskip("optuna")
    data, storage = load("moons"), tmp_path / "study.jsonl"
    tuned = chainrule.tune(data, 2, storage=storage, augment="mixup 0.4", epochs=2)
    assert tuned.train().plan.augment == (Mixup(0.4),)
    with pytest.raises(SettingError, match="another augment"):
        chainrule.tune(data, 2, storage=storage, epochs=2)


def test_the_command_line_takes_it_and_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["train", "digits", "--network", "8 relu", "--epochs", "1"]
    assert command([*words, "--augment", "flip, shift 1", "--output", "moved"]) == 0
    assert command([*words, "--output", "unmoved"]) == 0
    assert Run.open("moved").trained.plan.augment == (Flip(), Shift(1))
    assert Run.open("unmoved").trained.plan.augment == ()
    capsys.readouterr()
    assert command(["show", "moved"]) == 0
    assert "flip horizontal, shift 1" in capsys.readouterr().out
    assert command(["train", "iris", "--augment", "shift 1", "--output", "refused"]) == 2
    assert "it changes pictures" in capsys.readouterr().err
    assert command(["names", "augmentations"]) == 0
    assert set(NAMED) <= set(capsys.readouterr().out.split())


def test_a_run_with_an_augmentation_that_does_not_suit_its_samples_is_refused(tmp_path):
    folder = tmp_path / "run"
    chainrule.train("4 relu", "iris", epochs=1, augment="mixup", callbacks=[chainrule.Recorder(folder)])
    manifest = json.loads((folder / "manifest.json").read_text())
    (name,) = [name for name in manifest["files"] if name.startswith("recipe")]
    recipe = json.loads((folder / name).read_text())
    recipe["plan"]["augment"] = [{"kind": "augmentation.Shift", "pixels": 1}]
    (folder / name).write_text(json.dumps(recipe))
    manifest["files"][name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(RunError, match="it changes pictures"):
        Run.open(folder)


def test_pictures_that_are_kept_as_bytes_compute_like_arrays():
    raw = RANDOM.integers(0, 256, (5, 3, 4), dtype=np.uint8)
    kept = Scaled(raw, np.array([[0.5]], dtype=np.float32), np.array([[-3.0]], dtype=np.float32))
    expected = raw.astype(np.float32) * np.float32(0.5) - np.float32(3)
    assert len(kept) == 5
    assert (kept.shape, kept.ndim, kept.size, kept.dtype) == ((5, 3, 4), 3, 60, expected.dtype)
    for one, other in (
        (kept[2], expected[2]), (kept[1:3], expected[1:3]), (kept[[3, 0]], expected[[3, 0]]),
        (kept[1, :, 2], expected[1, :, 2]), (kept.take([4, 1]), expected[[4, 1]]), (kept + 1, expected + 1),
        (np.concatenate([kept, kept]), np.concatenate([expected, expected])), (np.asarray(kept), expected),
        (np.split(kept, [2])[1], expected[2:]), (kept.mean(axis=0), expected.mean(axis=0)), (2 - kept, 2 - expected),
    ):  # fmt: skip
        np.testing.assert_array_equal(one, other)


def test_every_augmentation_has_a_formula():
    for kind in NAMED.values():
        assert kind.formula
        assert kind.__doc__
