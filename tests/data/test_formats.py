"""Compressed files, Arrow and Excel, and several files by a pattern: the same data in every form."""

import datetime
import gzip
import io
import zipfile

import fastexcel
import numpy as np
import polars as pl
import pytest
import xlsxwriter
from backports import zstd

from chainrule.cli import run
from chainrule.data import find, find_samples, load
from chainrule.data.barrier import Limits, read_in_child
from chainrule.data.formats import name_for_run
from chainrule.data.source import fingerprint
from chainrule.errors import DataError, SettingError
from chainrule.play.upload import Choice, Upload
from chainrule.runs import Recorder, Run, train

ROWS = 40
RANDOM = np.random.default_rng(0)
DAY = datetime.datetime(2024, 1, 31)
TABLE = pl.DataFrame({
    "size": RANDOM.normal(size=ROWS).round(6),
    "rooms": [None if k % 9 == 4 else k % 5 for k in range(ROWS)],
    "kind": ["flat" if k % 3 else "house, \"old\"" for k in range(ROWS)],
    "lift": [k % 2 == 0 for k in range(ROWS)],
    "sold": [(DAY + datetime.timedelta(days=k)).date() for k in range(ROWS)],
    "seen": [DAY + datetime.timedelta(hours=7 * k) for k in range(ROWS)],
    "at": [datetime.time(k % 24, 30) for k in range(ROWS)],
    "price": RANDOM.normal(size=ROWS).round(3),
})  # fmt: skip


def bytes_of(write, *arguments, **options):
    content = io.BytesIO()
    write(content, *arguments, **options)
    return content.getvalue()


CSV = TABLE.write_csv().encode()
TSV = TABLE.write_csv(separator="\t").encode()
CONTENTS = {
    "t.csv": CSV,
    "t.csv.gz": gzip.compress(CSV),
    "t.CSV.GZ": gzip.compress(CSV[:100]) + gzip.compress(CSV[100:]),
    "t.csv.zst": zstd.compress(CSV),
    "t.tsv.gz": gzip.compress(TSV),
    "t.arrow": bytes_of(TABLE.write_ipc),
    "t.feather": bytes_of(TABLE.write_ipc, compression="zstd"),
    "t.ipc": bytes_of(TABLE.write_ipc_stream),
    "t.xlsx": bytes_of(TABLE.write_excel),
    "t.parquet": bytes_of(TABLE.write_parquet),
}


def workbook(path, **sheets):
    """A workbook of these sheets, each a list of rows."""
    with xlsxwriter.Workbook(path) as book:
        for name, rows in sheets.items():
            sheet = book.add_worksheet(name)
            for k, row in enumerate(rows):
                sheet.write_row(k, 0, row)
    return path


@pytest.mark.parametrize("name", CONTENTS)
def test_every_form_of_a_table_is_the_same_table(name, tmp_path):
    expected, path = find(TABLE), tmp_path / name
    path.write_bytes(CONTENTS[name])
    source = find(path)
    assert source.features.schema == expected.features.schema | {"seen": source.features.schema["seen"]}
    assert source.features.equals(expected.features, null_equal=True)
    np.testing.assert_array_equal(source.target, expected.target)
    np.testing.assert_array_equal(load(path).training.x, load(TABLE).training.x)
    assert find_samples(path).features.shape == (ROWS, 8)
    upload = Upload.read(path, name)
    assert upload.preview(Choice(7))["problem"] == ""
    np.testing.assert_array_equal(upload.dataset(Choice(7)).source.target, expected.target)


def test_a_compressed_file_has_the_fingerprint_of_what_is_in_it(tmp_path):
    for name in ("t.csv", "t.csv.gz", "t.csv.zst"):
        (tmp_path / name).write_bytes(CONTENTS[name])
        assert find(tmp_path / name).fingerprint == fingerprint(CSV)


@pytest.mark.parametrize("name", ["t.csv.gz", "t.csv.zst", "t.arrow", "t.feather", "t.ipc", "t.xlsx"])
@pytest.mark.parametrize("cut", ["no content", "a byte", "half"])
def test_a_file_that_was_cut_off_is_refused(name, cut, tmp_path):
    path, content = tmp_path / name, CONTENTS[name]
    path.write_bytes(content[: {"no content": 0, "a byte": 1, "half": len(content) // 2}[cut]])
    for read in (find, find_samples, lambda path: Upload.read(path, "t")):
        with pytest.raises(DataError, match=rf"{name}: [^\n]*(empty|not a readable|can't be|crashes)") as raised:
            read(path)
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("t.parquet.gz", r"\.parquet files are compressed already; decompress it, and pass t\.parquet"),
        ("t.gz", r"can't read \.gz files that don't say what is compressed, as t\.csv\.gz does"),
        ("t.png.zst", r"can't read \.png\.zst files; use CSV"),
        ("t.doc", r"can't read \.doc files; use CSV, TSV, Parquet, Arrow, Excel"),
    ],
)
def test_other_formats_are_refused(name, problem, tmp_path):
    (tmp_path / name).write_bytes(gzip.compress(CSV) if name.endswith(".gz") else zstd.compress(CSV))
    with pytest.raises(DataError, match=problem):
        find(tmp_path / name)


@pytest.mark.parametrize("compress", [gzip.compress, zstd.compress])
def test_a_bomb_is_refused_before_it_fills_the_memory(compress, tmp_path, monkeypatch):
    monkeypatch.setattr("chainrule.data.formats.read_bytes.__defaults__", (Limits(10**6, 400_000_000),))
    path = tmp_path / f"bomb.csv.{'gz' if compress is gzip.compress else 'zst'}"
    path.write_bytes(compress(b"a,b\n" + b"1,2\n" * 30_000_000))
    with pytest.raises(DataError, match=r"it is more than 0.1 GB once decompressed; use fewer rows, or Parquet$"):
        find(path)
    with pytest.raises(DataError, match=r"it is more than 0.1 GB once decompressed"):
        read_in_child(path, "csv", path.read_bytes(), Limits(10**6, 400_000_000, in_child=True))


def test_bombs_of_arrow_and_excel_end_in_their_own_process(tmp_path):
    large = pl.DataFrame({"a": np.zeros(50_000_000)})
    arrow, limits = bytes_of(large.write_ipc, compression="zstd"), Limits(100_000_000, 300_000_000)
    with pytest.raises(DataError, match=r"takes more than 0.3 GB of memory|can't be decoded"):
        read_in_child(tmp_path / "a.arrow", "arrow", arrow, limits)
    with pytest.raises(DataError, match=r"a.arrow: 50,000,000 x 1 is more than 1,000 numbers; use fewer rows"):
        read_in_child(tmp_path / "a.arrow", "arrow", arrow, Limits(1000, 10**9))
    corners = tmp_path / "corners.xlsx"
    with xlsxwriter.Workbook(corners) as book:
        sheet = book.add_worksheet()
        sheet.write(0, 0, "a")
        sheet.write(1_048_575, 16_383, 1)
    with pytest.raises(
        DataError, match=r"corners.xlsx: (decoding it crashes, or takes more|1,048,576 x 16,384 is more)"
    ):
        find(corners)
    bomb = io.BytesIO(CONTENTS["t.xlsx"])
    with zipfile.ZipFile(bomb, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/media/zeros.bin", bytes(110_000_000))
    with pytest.raises(DataError, match=r"t.xlsx: it is more than 0.1 GB once decompressed"):
        read_in_child(tmp_path / "t.xlsx", "excel", bomb.getvalue(), Limits(10**6, 400_000_000))


def test_feather_of_version_1_is_named(tmp_path):
    (tmp_path / "old.feather").write_bytes(b"FEA1....FEA1")
    with pytest.raises(DataError, match=r"it is a Feather file of version 1; save it as version 2"):
        find(tmp_path / "old.feather")


def test_nested_columns_of_arrow_files_are_refused_by_name(tmp_path):
    table = TABLE.with_columns(tags=pl.Series([[k] for k in range(ROWS)])).select("tags", pl.exclude("tags"))
    for name, write in (("n.arrow", table.write_ipc), ("n.ipc", table.write_ipc_stream)):
        (tmp_path / name).write_bytes(bytes_of(write))
        with pytest.raises(DataError, match=f"{name}, column 'tags': its values are lists, .* which are no inputs"):
            load(tmp_path / name)
        assert "tags" not in load(tmp_path / name, drop="tags").input_names


def test_a_workbook_keeps_its_types(tmp_path):
    path = tmp_path / "types.xlsx"
    with xlsxwriter.Workbook(path) as book:
        sheet = book.add_worksheet("data")
        day, time = book.add_format({"num_format": "yyyy-mm-dd"}), book.add_format({"num_format": "hh:mm"})
        sheet.write_row(2, 1, ["", "count", "part", "yes", "day", "at", "mixed", "error", "blank", "y"])
        for k in range(30):
            row = k + 3 + (k > 20)  # with a blank row
            sheet.write_row(row, 1, [k, k, k / 4])
            sheet.write_boolean(row, 4, k % 2 == 0)
            sheet.write_datetime(row, 5, DAY + datetime.timedelta(days=k), day)
            sheet.write_number(row, 6, k / 30, time)
            sheet.write_row(row, 7, [k if k % 2 else "x"])
            sheet.write_formula(row, 8, "=1/0", None, "#DIV/0!" if k == 2 else k)
            sheet.write(row, 10, k * 1.5)
    frame = find_samples(path).features
    assert frame.height == 30
    types = dict(zip(frame.columns, map(str, frame.dtypes), strict=True))
    assert types == {"": "Int64", "count": "Int64", "part": "Float64", "yes": "Boolean", "day": "Date", "at": "Time",
                     "mixed": "String", "error": "Int64", "blank": "String", "y": "Float64"}  # fmt: skip
    assert frame["mixed"].to_list()[:4] == ["x", "1", "x", "3"]
    assert frame["error"].null_count() == 1
    assert frame["day"][1] == datetime.date(2024, 2, 1)
    assert [use.name for use in load(path).columns if use.role == "left out"] == ["", "blank"]


@pytest.mark.parametrize(
    ("sheets", "problem"),
    [
        ({"one": [["a", "b"], [1, 2]], "two": [["c"], [1]]}, "several sheets have cells: 'one', 'two'; save the one"),
        ({"one": []}, "there is nothing in its sheets"),
        ({"one": [["a", "b"]]}, "there is a header but no rows"),
        ({"one": [["a", "", "c"], [1, 2, 3]]}, "row 1: column 2 has no name; name every column"),
        ({"one": [["a", "a", "c"], [1, 2, 3]]}, "row 1: two columns are named 'a'; rename one of them"),
    ],
)
def test_workbooks_that_are_no_single_table_are_refused(sheets, problem, tmp_path):
    with pytest.raises(DataError, match=problem):
        find(workbook(tmp_path / "book.xlsx", **sheets))


def test_empty_sheets_beside_the_table_are_no_matter(tmp_path):
    path = workbook(tmp_path / "book.xlsx", empty=[], data=[["a", "b"], *([k, k % 2] for k in range(20))])
    assert find(path).features.shape == (20, 1)


def test_what_is_missing_is_named(tmp_path, monkeypatch):
    (tmp_path / "t.xlsx").write_bytes(CONTENTS["t.xlsx"])
    (tmp_path / "t.csv.zst").write_bytes(CONTENTS["t.csv.zst"])
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(
        SettingError, match=r"t.xlsx: reading Excel files needs fastexcel: pip install 'chainrule\[excel\]'"
    ):
        find(tmp_path / "t.xlsx")
    monkeypatch.setitem(__import__("sys").modules, "backports", None)
    monkeypatch.setitem(__import__("sys").modules, "compression", None)
    with pytest.raises(SettingError, match=r"reading .zst files needs backports.zstd: pip install 'chainrule\[zstd\]'"):
        find(tmp_path / "t.csv.zst")


# Several files


def test_files_by_a_pattern_are_one_table(tmp_path):
    (tmp_path / "s-1.csv").write_bytes(TABLE[:15].write_csv().encode())
    (tmp_path / "s-2.csv.gz").write_bytes(
        gzip.compress(TABLE[15:30].select(reversed(TABLE.columns)).write_csv().encode())
    )
    (tmp_path / "s-3.parquet").write_bytes(bytes_of(TABLE[30:].write_parquet))
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    pattern = tmp_path / "s-*"
    source = find(pattern)
    assert source.features.equals(TABLE.drop("price"), null_equal=True)
    assert source.fingerprint == find(pattern).fingerprint != find(tmp_path / "s-1.csv").fingerprint
    assert find(tmp_path / "s-[1].csv").fingerprint == find(tmp_path / "s-1.csv").fingerprint
    assert len(find_samples(str(pattern)).features) == ROWS
    (tmp_path / "s-1.csv").write_bytes(TABLE[:14].write_csv().encode())
    assert find(pattern).fingerprint != source.fingerprint


def test_columns_of_several_files_are_read_as_in_one(tmp_path):
    (tmp_path / "m-1.csv").write_text("a,b,c,y\n" + "1,,2024-01-01,1\n2,,2024-01-02,0\n" * 10)
    (tmp_path / "m-2.csv").write_text("a,b,c,y\n" + "1.5,x,n/a,0\n2,x,?,1\n" * 10)
    features = find(tmp_path / "m-*.csv").features
    assert list(map(str, features.dtypes)) == ["Float64", "String", "String"]
    assert features["a"].to_list()[:3] == [1.0, 2.0, 1.0]
    assert features["b"].null_count() == 20
    assert features["c"].to_list()[:2] == ["2024-01-01", "2024-01-02"]


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        ({}, r"p-\*: no file matches this pattern"),
        ({"p-1.csv": "a,b\n1,2\n", "p-2.csv": "a,c\n1,2\n"}, r"p-2.csv: it has no column 'b', unlike .*p-1.csv"),
        ({"p-1.csv": "a,b\n1,2\n", "p-2.csv": "a,b,c\n1,2,3\n"}, r"p-2.csv: it has another column 'c', unlike .*p-1"),
        ({"p-1.csv": "a,b\n1,2\n", "p-2.npz": "PK"}, r"p-2.npz: a pattern \(p-\*\) takes files of tables alone"),
        ({"p-1.csv": "a,b\n1,2\n", "p-2.csv": "a,b\n1,2,3\n"}, r"p-2.csv, line 2: 3 fields, but the header has 2"),
        ({"p-1.csv": "a,b\n1,2\n", "p-2.csv": ""}, r"p-2.csv: the file is empty"),
    ],
)
def test_files_that_are_no_single_table_are_refused(files, problem, tmp_path):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=problem):
        find(tmp_path / "p-*")


def test_the_name_of_a_file_may_look_like_a_pattern(tmp_path):
    (tmp_path / "a[1].csv").write_bytes(CSV)
    (tmp_path / "a1.csv").write_text("a,b\n1,2\n")
    assert len(find(tmp_path / "a[1].csv")) == ROWS


@pytest.mark.parametrize("folder", ["plain", "odd [1] name"])
def test_a_run_finds_its_pattern_again_also_where_both_were_moved(folder, tmp_path, monkeypatch):
    here = tmp_path / folder
    here.mkdir()
    monkeypatch.chdir(here)
    for k in range(2):
        (here / f"s-{k}.csv").write_bytes(TABLE[20 * k : 20 * k + 20].write_csv().encode())
    trained = train("4 relu", "s-*.csv", epochs=2, callbacks=[Recorder("run")])
    monkeypatch.chdir(tmp_path)
    np.testing.assert_array_equal(Run.open(here / "run").load_data().training.x, trained.data.training.x)
    here.rename(tmp_path / "moved")
    np.testing.assert_array_equal(Run.open(tmp_path / "moved/run").load_data().training.x, trained.data.training.x)
    (tmp_path / "moved/s-1.csv").unlink()
    with pytest.raises(DataError, match=r"it has changed since the run .* was trained on it"):
        Run.open(tmp_path / "moved/run").load_data()
    (tmp_path / "moved/s-0.csv").unlink()
    with pytest.raises(DataError, match=r"there is no such file or folder, which the run"):
        Run.open(tmp_path / "moved/run").load_data()


def test_commands_take_every_form(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name, content in CONTENTS.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "s-1.csv").write_bytes(CSV)
    (tmp_path / "s-2.csv.zst").write_bytes(zstd.compress(CSV))
    assert run(["train", "s-*.csv*", "--epochs", "2", "--validation", "t.xlsx"]) == 0
    assert (tmp_path / "runs/s-1/manifest.json").exists()
    expected = None
    for name in CONTENTS:
        capsys.readouterr()
        assert run(["predict", "runs/s-1", name]) == 0
        assert run(["evaluate", "runs/s-1", name, "--json"]) == 0
        answer = capsys.readouterr().out
        expected = expected or answer
        assert answer == expected
    assert run(["train", "q-*.csv"]) == 2
    assert capsys.readouterr().err.strip() == "chainrule: q-*.csv: no file matches this pattern"


def test_runs_are_named_after_what_they_are_trained_on():
    names = {
        "a/b.csv": "b",
        "b.csv.gz": "b",
        "sales-*.csv.zst": "sales",
        "*.csv": "run",
        "x y.tsv": "x y",
        "iris": "iris",
    }
    assert {what: name_for_run(what) for what in names} == names


def test_fastexcel_reads_what_it_wrote():
    assert fastexcel.read_excel(CONTENTS["t.xlsx"]).sheet_names == ["Sheet1"]
