"""What a file may take: large ones are refused before the memory is, and what is kept is small."""

import io
import json
import zipfile

import numpy as np
import polars as pl
import pytest
import scipy.sparse
import skops.io
from PIL import Image

import earlier
from chainrule.cli import run
from chainrule.data import Preparation, find, find_samples, load, pictures
from chainrule.data.barrier import Limits
from chainrule.data.columns import check_prepared
from chainrule.data.picture_files import PictureFiles
from chainrule.errors import ChainruleError, DataError, RunError
from chainrule.play import upload as uploads
from chainrule.play.upload import Choice, Upload
from chainrule.runs import Recorder, Run, train

ROWS = 60
RANDOM = np.random.default_rng(0)
NUMBERS = RANDOM.normal(size=ROWS)


def words(count, letters=12):
    """Texts of random letters."""
    return ["".join(map(chr, row)) for row in RANDOM.integers(97, 123, (count, letters))]


def test_a_table_whose_metadata_exceeds_the_budget_is_not_decoded(tmp_path):
    path = tmp_path / "large.parquet"
    column = pl.Series([0], dtype=pl.Int8).new_from_index(0, 5_000_000)
    pl.DataFrame({f"c{k}": column.alias(f"c{k}") for k in range(41)}).write_parquet(path, row_group_size=2_000_000)
    for read, most in (
        (find, "200,000,000"),
        (find_samples, "200,000,000"),
        (lambda path: Upload.read(path, "large.parquet"), "10,000,000"),
    ):
        with pytest.raises(DataError, match=rf"large.parquet: 5,000,000 x 41 is more than {most} numbers; use fewer"):
            read(path)


def test_arrays_of_small_numbers_are_counted_by_number(tmp_path, monkeypatch):
    monkeypatch.setattr("chainrule.data.files.FILE", Limits(1000, 10**9))
    np.savez_compressed(tmp_path / "data.npz", x=np.zeros((500, 5), dtype=np.int8), y=np.arange(500))
    with pytest.raises(DataError, match=r"data.npz: 2,500 x 1 is more than 1,000 numbers"):
        find(tmp_path / "data.npz")


def test_what_a_table_becomes_is_limited():
    categories = pl.DataFrame({f"c{k}": [f"v{j % 39}" for j in range(1000)] for k in range(50)})
    check_prepared("t", categories, Limits(0, 40_000_000))
    with pytest.raises(
        DataError, match=r"t: preparing 1,000 rows of 1,950 inputs.*more than 0.03 GB of memory; use few"
    ):
        check_prepared("t", categories, Limits(0, 30_000_000))
    texts = pl.DataFrame({"a": words(1000), "b": words(1000), "n": np.arange(1000)})
    check_prepared("t", texts, Limits(0, 1_500_000))
    with pytest.raises(DataError, match=r"1,000 rows of 62 inputs, from up to 12,000 letters in a column"):
        check_prepared("t", texts, Limits(0, 1_300_000))
    check_prepared("t", texts.with_columns(pl.lit("x").alias("a"), pl.lit("x").alias("b")), Limits(0, 200_000))


def test_what_an_upload_becomes_is_limited(monkeypatch):
    upload = Upload("t.csv", pl.DataFrame({"a": words(ROWS), "b": NUMBERS}))
    monkeypatch.setattr(uploads, "UPLOAD", Limits(10**7, 10_000))
    assert "t.csv: preparing 60 rows" in upload.preview(Choice(1))["problem"]
    monkeypatch.setattr(uploads, "UPLOAD", Limits(10**7, 10**9))
    assert upload.preview(Choice(1))["problem"] == ""


def test_pictures_that_do_not_fit_are_not_decoded_when_they_are_found(tmp_path, monkeypatch):
    for k in range(24):
        folder = tmp_path / "ab"[k % 2]
        folder.mkdir(exist_ok=True)
        Image.new("RGB", (120, 120), (k, 200, 40)).save(folder / f"{k}.png")
    monkeypatch.setattr("chainrule.data.memory.free", lambda: 24 * 120 * 120 * 3)
    with monkeypatch.context() as patched:
        patched.setattr(Image.Image, "load", lambda *_: pytest.fail("a picture was decoded"))
        for read in (find, find_samples):
            assert isinstance(read(tmp_path).features, PictureFiles)
    np.testing.assert_array_equal(find(tmp_path).features[:], find(tmp_path, memory="1GB").features)
    assert pictures.read_pictures(tmp_path, (10, 10)).features.shape == (24, 10, 10, 3)


def test_a_large_picture_is_no_warning(tmp_path, monkeypatch, recwarn):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 30)
    Image.new("L", (6, 6)).save(tmp_path / "one.png")
    assert find_samples(tmp_path / "one.png").features.shape == (1, 6, 6)
    assert not recwarn.list


# Pipelines of earlier versions in skops

NOTES = pl.DataFrame({"note": words(ROWS), "n": NUMBERS, "y": NUMBERS})


@pytest.fixture(scope="module")
def contents():
    return earlier.contents(NOTES)


def test_parts_of_words_are_read_from_an_array_and_from_a_dictionary(contents):
    read = [Preparation.from_contents(files) for files in (contents, earlier.contents(NOTES, numbered=True))]
    one, other = (found.pipeline.fitted.steps[0][1].transformers_["note"].vectorizer_.vocabulary_ for found in read)
    assert one == other
    np.testing.assert_array_equal(*(found.apply(find_samples(NOTES)) for found in read))


def changed(content, files):
    """An archive with these files in place of its own."""
    written = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as before, zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as after:
        for name in {*before.namelist(), *files}:
            after.writestr(name, files[name] if name in files else before.read(name))
    return written.getvalue()


def bomb():
    """A sparse matrix as an archive within the archive, a thousandth of its size."""
    content = io.BytesIO()
    scipy.sparse.save_npz(content, scipy.sparse.csr_matrix(np.zeros((1, 1))))
    return changed(content.getvalue(), {"data.npy": bytes(50_000_000)})


@pytest.mark.parametrize(
    "files",
    [
        {"schema.json": lambda: b"[" + b"[]," * 1_000_000 + b"[]]"},
        {"schema.json": lambda: b'{"a": "' + b"a" * 60_000_000 + b'"}'},
        {"0.npy": lambda: bytes(120_000_000)},
        {"0.npz": bomb},
    ],
    ids=["many values", "a long text", "a large array", "an archive within"],
)
def test_an_archive_that_takes_too_much_memory_is_not_decoded(files, contents, monkeypatch):
    hostile = changed(contents["preparation.skops"], {name: make() for name, make in files.items()})
    assert len(hostile) < 1_000_000
    monkeypatch.setattr("chainrule.data.pipelines.FILE", Limits(10**9, 50_000_000))
    monkeypatch.setattr(skops.io, "loads", lambda *_, **__: pytest.fail("it was decoded"))
    with pytest.raises(ChainruleError, match=r"preparation.skops can't be read|it takes more than 0.05 GB of memory"):
        Preparation.from_contents(contents | {"preparation.skops": hostile})


def test_an_archive_within_the_limit_with_other_classes_is_not_trusted(contents):
    schema = json.dumps({"__module__": "os", "__class__": "system", "__loader__": "ObjectNode"}).encode()
    with pytest.raises(RunError, match=r"classes that are not trusted; it is not loaded .os.system"):
        Preparation.from_contents(
            contents | {"preparation.skops": changed(contents["preparation.skops"], {"schema.json": schema})}
        )


# Runs on columns of every kind


def test_a_run_on_columns_of_every_kind_is_read_again(tmp_path, capsys):
    hours = pl.datetime_range(pl.datetime(2024, 1, 1), pl.datetime(2024, 1, 3, 11), "1h", eager=True)
    frame = pl.DataFrame({
        "number": NUMBERS, "boolean": [k % 2 == 0 for k in range(ROWS)], "date": hours.dt.date(), "time": hours,
        "clock": hours.dt.time(), "duration": hours - hours[0], "text": words(ROWS),
        "category": pl.Series([f"c{k % 3}" for k in range(ROWS)]).cast(pl.Categorical), "y": 2 * NUMBERS,
    })  # fmt: skip
    path = tmp_path / "data.parquet"
    frame.write_parquet(path)
    trained = train("3 tanh", load(path), epochs=1, callbacks=[Recorder(tmp_path / "run")])
    assert [kind for _, kind in trained.preparation.columns] == frame.columns[:-1]
    again = Run.open(tmp_path / "run").trained
    np.testing.assert_array_equal(again.predict(path), trained.predict(frame))
    for arguments in (["show", "run"], ["evaluate", "run"], ["explain", "run"], ["predict", "run", "data.parquet"]):
        assert run([str(tmp_path / a) if a.startswith(("run", "data")) else a for a in arguments]) == 0
    assert "1 category" in capsys.readouterr().out
