"""Arrays in files of NPY: read some rows at a time, to what they are in memory."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import chainrule
from chainrule import cli
from chainrule.arrays import Samples
from chainrule.data import from_arrays, load
from chainrule.data.dataset import prepare
from chainrule.data.files import source_from_arrays
from chainrule.data.preparation import fit_preparation
from chainrule.data.streamed import array_files, array_loading, array_samples, cache, divisions
from chainrule.data.streamed.array_files import ArrayFile
from chainrule.data.targets import fit_target
from chainrule.errors import DataError, SettingError
from chainrule.rows import Rows
from chainrule.runs import Run, follow
from chainrule.threads import in_threads
from chainrule.training import make_plan, start

ROWS, SMALL = 900, 10_000
RANDOM = np.random.default_rng(0)
LABEL = RANDOM.integers(0, 3, ROWS)
ONE_HOT = np.eye(3)[LABEL]


@pytest.fixture(autouse=True)
def small_parts(tmp_path, monkeypatch):
    """Few rows at a time, so that small arrays have several parts; and a cache of its own."""
    monkeypatch.setattr(array_files, "CHUNK_BYTES", 4000)
    monkeypatch.setattr(array_samples, "BYTES", 1000)
    monkeypatch.setattr(divisions, "GROUP", 250)
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))


def saved(folder, **arrays):
    """A folder with these arrays, each in a file of its name."""
    folder.mkdir(exist_ok=True)
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    return folder


def numbers(*shape, dtype="f4"):
    x = np.random.default_rng(1).normal(50, 9, (ROWS, *shape))
    x.reshape(ROWS, -1)[:, 0] += 20 * LABEL
    return x.astype(dtype)


KINDS = {
    "numbers": (numbers(5), LABEL, {}),
    "whole numbers, weighted": (numbers(4, dtype="i2"), LABEL.astype("f4") * 1.5, {"weight": RANDOM.random(ROWS)}),
    "one number": (numbers(dtype="f8"), np.array(["a", "b", "c"])[LABEL], {}),
    "big-endian": (numbers(3, dtype=">f4"), LABEL > 0, {}),
    "bytes of pictures": (numbers(6, 7, dtype="u1"), LABEL, {}),
    "in colour": (numbers(6, 7, 3, dtype="u1"), numbers(2), {}),
    "pictures of numbers": (numbers(6, 6), ONE_HOT, {}),
    "several channels": (numbers(4, 4, 5), LABEL, {"samples": "pictures"}),
    "sequences": (numbers(4, 3), ONE_HOT[:, :2], {"task": "multilabel"}),
    "sequences of one feature": (numbers(9), LABEL[:, None], {"samples": "sequences"}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_arrays_are_fitted_and_prepared_as_in_memory(tmp_path, kind):
    """Means and deviations up to the rounding of sums; samples bit for bit."""
    x, y, settings = KINDS[kind]
    folder = saved(tmp_path / "data", x=x, y=y, **{name: settings[name] for name in ("weight",) if name in settings})
    settings = {name: value for name, value in settings.items() if name != "weight"}
    data = load(folder, **settings, memory=SMALL)
    assert isinstance(data.training, Rows)
    assert data.on_disk
    assert data.sizes == {"training": 630, "validation": 90, "test": 180}
    whole = load(folder, **settings)
    assert not whole.on_disk
    rows = np.asarray(data.rows)
    target = fit_target(whole.source, rows, scale=True)
    assert data.target == replace(target, mean=data.target.mean, deviation=data.target.deviation)
    np.testing.assert_allclose(data.target.mean, target.mean, rtol=1e-12)
    np.testing.assert_allclose(data.target.deviation, target.deviation, rtol=1e-12)
    fitted = fit_preparation(whole.source, rows, target)
    assert (data.preparation.kind, data.preparation.shape) == (fitted.kind, fitted.shape)
    np.testing.assert_allclose(data.preparation.mean, fitted.mean, rtol=1e-12)
    np.testing.assert_allclose(data.preparation.deviation, fitted.deviation, rtol=1e-12)
    for part, own in ((data.training, rows), (data.test, np.asarray(data.test_rows))):
        expected = prepare(data.preparation, whole.source.take(own))
        some = np.array([5, 3, 3, -1])
        for found, wanted in ((part.read(0, len(own)), expected), (part.take(some), expected.take(some))):
            for one, other in zip(found, wanted, strict=True):
                assert (one is None) == (other is None)
                assert other is None or (one.dtype, np.asarray(one).tobytes()) == (
                    other.dtype,
                    np.asarray(other).tobytes(),
                )
        np.testing.assert_array_equal(part.x[7:9], np.asarray(expected.x)[7:9])
    shown = data.sample(3)
    assert str(shown) == str(whole.source.sample(int(rows[3])))


@pytest.mark.parametrize("kind", ["f8", "i2", ">f4", "u1", "i8", "?"])
@pytest.mark.parametrize("shape", [(1,), (7,), (2, 3, 2)])
def test_numbers_of_any_type_are_standardized_to_the_bits_of_memory(tmp_path, monkeypatch, kind, shape):
    """Some at a time, in several threads, from parts that have rows of other sets and that don't."""
    monkeypatch.setattr(array_samples, "BYTES", 3000)
    monkeypatch.setattr(array_samples, "NUMBERS", 40)
    x = np.random.default_rng(2).normal(50, 9, (ROWS, *shape)).astype(kind if kind != "?" else "f4")
    x = x > 50 if kind == "?" else x
    folder = saved(tmp_path / "data", x=x, y=LABEL, weight=RANDOM.random(ROWS))
    for settings in ({}, {"shuffle": False}):
        data = load(folder, memory=100, **settings)
        whole = load(folder, **settings)
        for part, rows in ((data.training, data.rows), (data.test, data.test_rows)):
            expected = prepare(data.preparation, whole.source.take(np.asarray(rows)))
            found = in_threads(lambda k, part=part: part.read(k, k + 45), range(0, len(part), 45))
            for wanted, *parts in zip(expected, *found, strict=True):
                assert np.concatenate([*map(np.asarray, parts)]).tobytes() == np.asarray(wanted).tobytes()


def test_numbers_that_can_not_be_prepared_are_named_by_their_row(tmp_path):
    x = numbers(3)
    x[[37, 60], [1, 0]] = 3e38, np.nan
    saved(tmp_path / "data", x_train=numbers(3) / 1e3, y_train=LABEL, x_test=x, y_test=LABEL)
    data = load(tmp_path / "data", memory=SMALL)
    for first, row, column in ((0, 38, 1), (30, 38, 1), (38, 61, 0)):
        with pytest.raises(DataError, match=f"row {row}, column {column}: the number is too far"):
            data.test.read(first, ROWS)
    expected = prepare(data.preparation, source_from_arrays(x[61:], LABEL[61:]))
    np.testing.assert_array_equal(data.test.read(61, ROWS).x, expected.x)


@given(st.data())
def test_an_index_gives_what_it_gives_in_memory(tmp_path_factory, data):
    """Of a file, and of a part of a memory map."""
    shape = data.draw(st.tuples(st.integers(1, 9), st.integers(1, 3), st.integers(1, 2)))
    array = np.arange(np.prod(shape), dtype=data.draw(st.sampled_from(["u1", "i8", ">f4", "f8"]))).reshape(shape)
    path = tmp_path_factory.getbasetemp() / "indexed.npy"
    np.save(path, array)
    first = data.draw(st.integers(0, shape[0] - 1))
    row = st.integers(-(shape[0] - first), shape[0] - first - 1)
    index = data.draw(st.one_of(row, st.slices(shape[0] - first), st.lists(row, min_size=1, max_size=5).map(np.array)))
    for found in (ArrayFile.opened(path)[first:], ArrayFile.of_map(np.load(path, mmap_mode="r")[first:])):
        np.testing.assert_array_equal(found[index], array[first:][index])
        np.testing.assert_array_equal(found[index, 0], array[first:][index, 0])
    assert ArrayFile.of_map(np.load(path, mmap_mode="r")).min() == 0


def test_blocks_of_maps_give_the_bits_of_memory(tmp_path):
    """Prepared and as they are; of pictures, whose bytes stay bytes."""
    folder = saved(tmp_path / "data", x=numbers(6, 6, dtype="u1"), y=LABEL)
    x, y = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in "xy")
    for data in (load((x, LABEL), memory=SMALL), from_arrays(x.reshape(ROWS, 36), y, memory=SMALL)):
        plan = make_plan("flatten, 8 relu" if data.input_shape == (6, 6) else "8 relu", data, epochs=2, batch_size=10)
        assert plan.blocks is not None
        trained = follow(plan, data, start(plan))
        sets = {name: None if part is None else Samples(*part.read(0, len(part)))
                for name, part in (("training", data.training), ("validation", data.validation))}  # fmt: skip
        again = follow(plan, replace(data, **sets, test=None), start(plan))
        np.testing.assert_array_equal(trained.parameters, again.parameters)
        assert trained.history == again.history
    assert data.training.read(0, 3).x.dtype == np.uint8


def test_what_fits_into_memory_is_read_into_it(tmp_path):
    folder = saved(tmp_path / "data", X=np.asfortranarray(numbers(3)), labels=LABEL, weights=np.ones(ROWS))
    data = load(folder, memory="1GB")
    assert not data.on_disk
    assert data.training.weight is not None
    assert data.fingerprint == load((numbers(3), LABEL)).fingerprint
    assert not from_arrays(np.load(folder / "X.npy", mmap_mode="r"), LABEL, memory="1GB").on_disk


def test_a_folder_may_have_a_file_for_each_set(tmp_path):
    folder = saved(tmp_path / "data", x_train=numbers(3), y_train=LABEL, x_test=numbers(3)[:50], y_test=LABEL[:50])
    for memory in ("1GB", SMALL):
        data = load(folder, memory=memory)
        assert data.sizes == {"training": 810, "validation": 90, "test": 50}
        assert data.on_disk == (memory == SMALL)
        expected = data.preparation.apply(source_from_arrays(numbers(3)[:50], None))
        np.testing.assert_array_equal(np.asarray(data.test.read(0, 50).x), expected)


def broken(folder, name, change):
    saved(folder, x=numbers(3), y=LABEL)
    change(folder / f"{name}.npy")
    return folder


def write(array):
    return lambda path: np.save(path, array)


def with_number(value, row):
    x = numbers(3)
    x[row, 1] = value
    return x


BROKEN = {
    "objects": ("y", write(np.array([{}] * ROWS)), "not a whole NPY file of numbers"),
    "truncated": ("x", lambda path: path.write_bytes(path.read_bytes()[:-1]), "not a whole NPY file of numbers"),
    "no NPY": ("x", lambda path: path.write_text("x"), "not a whole NPY file of numbers"),
    "Fortran": ("x", write(np.asfortranarray(numbers(3))), "in Fortran order, column by column; save it with"),
    "text": ("x", write(np.array(["a"] * ROWS)), "x must be numbers, not <U1"),
    "one number": ("x", write(np.float64(3)), r"its shape is \(\); it must have a row for each sample"),
    "too few": ("y", write(LABEL[:-1]), "900 samples but 899 targets; each sample needs one"),
    "no number": ("x", write(with_number(np.nan, 333)), "x, row 333, column 1: nan is not a finite number"),
    "no target": ("y", write(np.where(np.arange(ROWS) == 444, np.inf, LABEL)), "y, row 444: inf is not a finite"),
    "constant": ("y", write(np.zeros(ROWS)), "at least two classes are needed"),
    "missing": ("y", lambda path: path.unlink(), "there are no targets; put them beside x.npy as y.npy"),
    "positions": ("y", write(np.zeros((ROWS, 2, 2))), r"y must be numbers or text of shape \(samples,\) or"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_cannot_be_used_is_refused_in_a_line(tmp_path, case):
    name, change, problem = BROKEN[case]
    with pytest.raises(DataError, match=problem) as error:
        load(broken(tmp_path / "data", name, change), memory=SMALL)
    assert "\n" not in str(error.value)


def test_what_arrays_do_not_have_is_refused(tmp_path):
    folder = saved(tmp_path / "data", x=numbers(3), y=LABEL)
    for settings, problem in (
        ({"target": "y", "drop": ["a"]}, "arrays are streamed, without columns to choose from; leave target and drop"),
        ({"weight": "w"}, "leave weight out"),
        ({"split": "time:t"}, "arrays have no columns to split by"),
    ):
        with pytest.raises(SettingError, match=problem):
            load(folder, **settings, memory=SMALL)
    mapped = np.load(folder / "x.npy", mmap_mode="r")
    with pytest.raises(DataError, match="memory map x don't follow one another in its file"):
        load((mapped[:, 1:], LABEL), memory=SMALL)
    data = load((mapped, LABEL), memory=SMALL)
    for looked in (data.training.x, data.source.features):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("chainrule.rows.MOST_BYTES", 1000)
            patch.setattr(array_files, "MOST_BYTES", 1000)
            with pytest.raises(DataError, match="samples at once"):
                np.asarray(looked)


def test_a_run_on_arrays_is_used_and_resumed_on_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    saved(tmp_path / "data", x=numbers(6, 6, dtype="u1"), y=LABEL)
    options = ("--memory", "20KB", "--network", "flatten, 4 relu", "--batch-size", "30", "--epochs", "1")
    assert cli.run(["train", "data", *options, "-o", "run"]) == 0
    assert "streamed: 900 samples of 6 x 6 numbers (uint8) would take about 0.1 MB" in capsys.readouterr().err
    data = Run.open("run").load_data()
    assert data.on_disk
    assert cli.run(["explain", "run", "--step", "3"]) == 0
    np.save("new.npy", numbers(6, 6, dtype="u1")[:70])
    assert cli.run(["predict", "run", "new.npy", "-o", "whole.csv"]) == 0
    capsys.readouterr()
    assert cli.run(["evaluate", "run", "data", "--json"]) == 0
    whole = capsys.readouterr().out
    monkeypatch.setattr(array_loading, "most_memory", lambda memory: 1000)
    assert cli.run(["predict", "run", "new.npy", "-o", "parts.csv"]) == 0
    assert (tmp_path / "parts.csv").read_text() == (tmp_path / "whole.csv").read_text()
    assert cli.run(["evaluate", "run", "data", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["metrics"]["accuracy"]
    assert found == pytest.approx(json.loads(whole)["metrics"]["accuracy"])
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert cli.run(["train", "--resume", "run", "--epochs", "2"]) == 0
    np.save("data/y.npy", LABEL[::-1])
    capsys.readouterr()
    assert cli.run(["train", "--resume", "run", "--epochs", "3"]) == 2
    assert re.search(r"y\.npy has another size, or was written at another time", capsys.readouterr().err)


def test_a_file_that_changes_ends_training_at_the_next_epoch(tmp_path):
    folder = saved(tmp_path / "data", x=numbers(3), y=LABEL)
    data = load(folder, memory=SMALL)
    np.save(folder / "x.npy", numbers(4))
    with pytest.raises(DataError, match=r"x\.npy: it has changed since it was first read; restore it, or train again"):
        chainrule.train("4 relu", data, epochs=2, batch_size=10)
