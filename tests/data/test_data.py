"""Reading, splitting and preparing data, fitted on the training set only."""

import datetime
import io
import zipfile

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import earlier
from chainrule.data import BUILTIN, Preparation, Source, find, find_samples, load, plane_set
from chainrule.data.pipelines import TRUSTED
from chainrule.data.splits import divide as split
from chainrule.data.targets import infer_task
from chainrule.errors import DataError, RunError, SettingError

RANDOM = np.random.default_rng(0)
ROWS = 120


def mixed(rows=ROWS):
    """A table with columns of every type, and a numeric target."""
    words = ["a quiet street", "near the station", "by the sea", "in the old town", "with a garden"]
    day = datetime.date(2020, 1, 1)
    return pl.DataFrame(
        {
            "size": RANDOM.normal(size=rows),
            "rooms": RANDOM.integers(1, 6, rows),
            "age": [None if k % 7 == 0 else float(k) for k in range(rows)],
            "kind": RANDOM.choice(["flat", "house", "boat"], rows),
            "lift": RANDOM.choice([True, False], rows),
            "sold": [day + datetime.timedelta(days=int(k)) for k in RANDOM.integers(0, 900, rows)],
            "seen": [datetime.datetime(2021, 1, 1, 12) + datetime.timedelta(hours=k) for k in range(rows)],
            "about": [f"{RANDOM.choice(words)}, number {k}" for k in range(rows)],
            "price": RANDOM.normal(size=rows) * 1000 + 5000,
        }
    )


@pytest.mark.parametrize("name", [name for name, builtin in BUILTIN.items() if builtin.text is None])
def test_every_built_in_data_set_is_standardized(name):
    data = load(name)
    x = data.training.x
    assert x.dtype == np.float32
    # Of series the rows are, of which those in the middle are in more windows than those at the ends.
    assert abs(x.mean()) < (0.1 if BUILTIN[name].series else 1e-3)
    assert x.std() == pytest.approx(1, abs=0.2)
    assert len(data.validation.x) > 0
    assert len(data.test.x) > 0


@pytest.mark.parametrize("kind", ["csv", "tsv", "parquet", "semicolons"])
def test_all_file_formats_give_the_same_table(kind, tmp_path):
    frame = mixed()
    path = tmp_path / {"tsv": "data.tsv", "parquet": "data.parquet"}.get(kind, "data.csv")
    if kind == "parquet":
        frame.write_parquet(path)
    else:
        frame.write_csv(path, separator={"csv": ",", "tsv": "\t", "semicolons": ";"}[kind])
    data, expected = load(path, target="price"), load(frame, target="price")
    np.testing.assert_allclose(data.training.x, expected.training.x, atol=1e-5)
    np.testing.assert_allclose(data.training.y, expected.training.y)
    assert data.preparation.columns == expected.preparation.columns
    assert data.target.task == "regression"


def test_pandas_and_polars_give_the_same_data():
    frame = mixed()
    pandas = pd.DataFrame({name: frame[name].to_list() for name in frame.columns})
    pandas["seen"] = pd.to_datetime(pandas["seen"])
    a, b = load(frame, target="price"), load(pandas, target="price")
    np.testing.assert_allclose(a.training.x, b.training.x, atol=1e-5)


def test_missing_values_are_imputed_and_marked():
    frame = pl.DataFrame(
        {
            "a": [None if k % 3 == 0 else float(k) for k in range(60)],
            "b": RANDOM.normal(size=60),
            "y": RANDOM.normal(size=60),
        }
    )
    data = load(frame, target="y")
    assert data.training.x.shape[1] == 3
    assert np.isfinite(data.training.x).all()


def test_quoted_separators_and_line_breaks_do_not_split_fields(tmp_path):
    path = tmp_path / "data.csv"
    rows = "".join(f'{k},"a, or ""b""\nor c",{k % 2}\n' for k in range(30))
    path.write_text("number,text,y\n" + rows)
    data = load(path)
    assert data.input_names == ["number"]
    assert data.notes == ["columns: 1 number (number)", "left out text: every row has the same value"]


def test_byte_order_mark_and_blank_lines_are_ignored(tmp_path):
    path = tmp_path / "data.csv"
    path.write_bytes(
        b"\xef\xbb\xbfa,y\r\n" + b"".join(b"%d,%d\r\n" % (k, k % 2) for k in range(30)) + b"\r\n\r\n7,1\r\n\r\n"
    )
    data = load(path)
    assert data.preparation.columns == (("a", "number"),)
    assert sum(len(samples.x) for samples in (data.training, data.validation, data.test)) == 31


@given(
    st.integers(10, 200),
    st.sampled_from([0.0, 0.1, 0.25]),
    st.sampled_from([0.0, 0.2]),
    st.integers(2, 4),
    st.integers(0, 99),
)
def test_a_split_is_a_stratified_partition(rows, validation, test, classes, seed):
    y = np.random.default_rng(seed).integers(0, classes, rows)
    source = Source("s", np.zeros((rows, 1)), y, task="classification")
    subsets = split(source, validation, test, seed)
    np.testing.assert_array_equal(np.sort(np.concatenate(subsets)), np.arange(rows))
    assert [len(subset) for subset in subsets[1:]] == [
        max(round(validation * rows), bool(validation)),
        max(round(test * rows), bool(test)),
    ]
    for subset in subsets:
        for label in range(classes):
            assert abs((y[subset] == label).sum() - (y == label).sum() * len(subset) / rows) <= 2
    for again, subset in zip(split(source, validation, test, seed), subsets, strict=True):
        np.testing.assert_array_equal(again, subset)


def test_the_preparation_is_fitted_on_the_training_set_only():
    frame = mixed()
    rows = split(find(frame, target="price"), 0.1, 0.2, 0)
    changed = frame.with_columns(
        pl.Series("size", np.where(np.isin(np.arange(ROWS), rows[0]), frame["size"].to_numpy(), 1e6)),
        pl.Series("price", np.where(np.isin(np.arange(ROWS), rows[0]), frame["price"].to_numpy(), 1e9)),
    )
    a, b = load(frame, target="price"), load(changed, target="price")
    np.testing.assert_array_equal(a.training.x, b.training.x)
    np.testing.assert_array_equal(a.training.y, b.training.y)
    assert a.target == b.target


def test_a_regression_target_is_standardized_and_restored():
    data = load("diabetes")
    assert abs(data.training.y.mean()) < 1e-12
    assert data.training.y.std() == pytest.approx(1)
    target = find("diabetes").target
    np.testing.assert_allclose(data.target.decode(data.target.encode(target, "t"))[:, 0], target)


@pytest.mark.parametrize(
    ("target", "task"),
    [
        (np.array(["a", "b"] * 10), "classification"),
        (np.array([True, False] * 10), "classification"),
        (np.arange(20) % 3, "classification"),
        (np.arange(20.0) % 2, "classification"),
        (np.arange(200), "regression"),
        (np.arange(20) / 7, "regression"),
        (np.full((20, 2), 0.5), "regression"),
        (np.ones((20, 2)), "multilabel"),
    ],
)
def test_the_task_is_inferred_from_the_target(target, task):
    assert infer_task(Source("s", np.zeros((len(target), 1)), target), target) == task


@pytest.mark.parametrize("is_table", [True, False])
def test_a_saved_preparation_gives_the_same_result(is_table):
    source = find(mixed(), target="price") if is_table else find("digits")
    data = load(source)
    loaded = Preparation.from_contents(data.preparation.contents())
    np.testing.assert_array_equal(loaded.apply(source), data.preparation.apply(source))
    assert loaded.target == data.target
    assert (loaded.kind, loaded.shape, loaded.columns) == (
        data.preparation.kind,
        data.preparation.shape,
        data.preparation.columns,
    )


def test_only_trusted_classes_are_loaded():
    import skops.io

    contents = earlier.contents(mixed())
    assert set(skops.io.get_untrusted_types(data=contents["preparation.skops"])) <= set(TRUSTED)
    evil = dict(contents)
    from sklearn.preprocessing import FunctionTransformer

    evil["preparation.skops"] = skops.io.dumps(FunctionTransformer(func=zipfile.ZipFile.extractall))
    with pytest.raises(RunError, match="not trusted"):
        Preparation.from_contents(evil)


def test_pickles_are_never_loaded(tmp_path):
    class Evil:
        def __reduce__(self):
            return (pytest.fail, ("a pickle was loaded",))

    path = tmp_path / "data.npz"
    with zipfile.ZipFile(path, "w") as archive:
        array = io.BytesIO()
        np.lib.format.write_array(array, np.array([Evil()], dtype=object), allow_pickle=True)
        archive.writestr("x.npy", array.getvalue())
    with pytest.raises(DataError, match="not an NPZ file of plain arrays"):
        find(path)


def test_unseen_categories_are_accepted():
    data = load(mixed(), target="price")
    new = (
        mixed(3)
        .with_columns(pl.Series("kind", ["castle", "flat", None]), pl.Series("age", [None, 1.0, 2.0]))
        .drop("price")
    )
    assert np.isfinite(data.preparation.apply(find_samples(new))).all()


def test_the_order_of_columns_and_extra_columns_are_ignored():
    frame = mixed()
    data = load(frame, target="price")
    shuffled = frame.select(reversed(frame.columns)).with_columns(extra=1)
    np.testing.assert_array_equal(
        data.preparation.apply(find_samples(shuffled)), data.preparation.apply(find_samples(frame))
    )


def test_images_in_subfolders_by_class(tmp_path):
    for label, colour in (("dark", 30), ("light", 220)):
        (tmp_path / label).mkdir()
        for k in range(15):
            pixels = np.clip(RANDOM.normal(colour, 10, (6, 8)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / label / f"{k}.png")
    data = load(tmp_path)
    assert data.training.x.shape[1:] == (6, 8)
    assert data.target.classes == ("dark", "light")
    assert load(tmp_path, image_size=(3, 4)).input_shape == (3, 4)
    samples = find_samples(tmp_path / "light" / "0.png")
    assert samples.features.shape == (1, 6, 8)
    Image.new("RGB", (8, 6), (10, 200, 30)).save(tmp_path / "dark" / "coloured.png")
    assert load(tmp_path).input_shape == (6, 8, 3)


def test_npz_arrays_may_have_any_of_the_usual_names(tmp_path):
    x, y = RANDOM.normal(size=(30, 2)), RANDOM.integers(0, 2, 30)
    np.savez(tmp_path / "data.npz", images=x, labels=y)
    source = find(tmp_path / "data.npz")
    np.testing.assert_array_equal(source.features, x)
    np.testing.assert_array_equal(source.target, y)


def test_different_data_has_different_fingerprints():
    frame = mixed()
    assert find(frame, target="price").fingerprint == find(frame, target="price").fingerprint
    assert find(frame, target="price").fingerprint != find(frame.reverse(), target="price").fingerprint
    assert find("digits").fingerprint == find("digits").fingerprint
    assert plane_set("moons").fingerprint != plane_set("moons", seed=1).fingerprint


@pytest.mark.parametrize("name", ["spirals", "circles", "moons", "xor", "gaussians", "sine", "diagonal"])
def test_toy_data_sets_have_the_requested_size_and_noise(name):
    clean, noisy = plane_set(name, samples=101, noise=0.0), plane_set(name, samples=101, noise=0.5)
    assert clean.features.shape == (101, 2)
    assert np.abs(clean.features).max() < 1.5
    assert (noisy.features - clean.features).std() == pytest.approx(0.5, rel=0.2)
    if clean.task == "classification":
        assert np.bincount(clean.target).min() >= 40


def test_the_two_features_near_a_diagonal_make_the_loss_a_ravine():
    data = load("diagonal")
    x = np.asarray(data.training.x, dtype=float)
    curvatures = np.linalg.eigvalsh(x.T @ x / len(x))
    assert curvatures[1] / curvatures[0] > 50


def test_invalid_settings_of_toy_data_sets():
    with pytest.raises(SettingError, match="did you mean 'moons'"):
        plane_set("moon")
    with pytest.raises(SettingError, match="the settings are samples, noise and seed"):
        plane_set("moons", size=3)
    with pytest.raises(SettingError, match="can't be negative"):
        plane_set("moons", noise=-1)


def test_class_labels_match_as_numbers_or_as_text():
    target = load((RANDOM.normal(size=(20, 2)), np.arange(20) % 2)).target
    np.testing.assert_array_equal(target.encode(np.array(["0", "1"]), "file"), [0, 1])
    with pytest.raises(DataError, match="row 1, column 'y': '2' is not one of the classes 0, 1"):
        target.encode(np.array(["2"]), "file")


def test_invalid_data_is_rejected():
    with pytest.raises(DataError, match="can't use int as data"):
        find(3)
    with pytest.raises(DataError, match="one finite number"):
        load("iris", weight=np.full(150, np.nan))
    with pytest.raises(DataError, match="3 weights"):
        load("iris", weight=np.ones(3))


def test_feature_names_of_a_table(tmp_path):
    rows = [f"{k},{'Bern' if k % 2 else 'Zug'},{3 * k}" for k in range(30)]
    (tmp_path / "houses.csv").write_text("rooms,city,price\n" + "\n".join(rows))
    data = load(tmp_path / "houses.csv", target="price")
    assert data.preparation.names[0] == "rooms"
    assert len(data.preparation.names) == data.input_shape[0]
    assert load("iris").preparation.names == []
    assert load("iris").sample(0).values["petal width (cm)"] == 0.2
