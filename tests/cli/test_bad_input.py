"""Invalid input gives a one-line error that names the problem, exit code 2 and no files."""

import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from chainrule.cli import run

ROWS = 40


def table(**columns):
    """A small table whose last column is the target."""
    random = np.random.default_rng(0)
    data = {
        "size": [f"{v:.3f}" for v in random.normal(size=ROWS)],
        "colour": random.choice(["red", "green", "blue"], ROWS).tolist(),
        "price": [f"{v:.3f}" for v in random.normal(size=ROWS)],
    }
    data.update(columns)
    header = ",".join(data)
    return "\n".join([header, *(",".join(str(c) for c in row) for row in zip(*data.values(), strict=True))]) + "\n"


def with_cell(column, row, value):
    lines = table().splitlines()
    cells = lines[row].split(",")
    cells[lines[0].split(",").index(column)] = value
    lines[row] = ",".join(cells)
    return "\n".join(lines) + "\n"


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def refused(arguments, capsys):
    """The message of a command that must fail: one line on stderr, exit code 2, no files."""
    before = sorted(str(p) for p in Path().rglob("*"))
    code = run([str(a) for a in arguments])
    output = capsys.readouterr()
    assert code == 2, output
    assert output.out == ""
    lines = output.err.strip().splitlines()
    assert len(lines) == 1, output.err
    assert lines[0].startswith("chainrule: ")
    assert sorted(str(p) for p in Path().rglob("*")) == before
    return lines[0]


CSV = {
    "an empty file": ("", "data.csv: the file is empty"),
    "a header without rows": ("a,b\n", "data.csv: there is a header but no rows"),
    "one column": ("a\n1\n2\n", "data.csv: it takes two columns"),
    "a single class": (table(price=["cheap"] * ROWS), "column 'price': every row has the class 'cheap'"),
    "a single value": (table(price=["2.5"] * ROWS), "column 'price': every row has the value 2.5"),
    "text in a numeric target": (
        with_cell("price", 7, "cheap"),
        "data.csv, row 7, column 'price': 'cheap' is not a number",
    ),
    "text among numbers": (
        with_cell("size", 7, "small"),
        "data.csv, row 7, column 'size': 'small' is not a number, but nearly all",
    ),
    "a missing target": (with_cell("price", 5, ""), "data.csv, row 5, column 'price': the target is missing"),
    "NaN in the target": (
        with_cell("price", 5, "nan"),
        "data.csv, row 5, column 'price': the target is missing or NaN",
    ),
    "infinity in the target": (
        with_cell("price", 5, "inf"),
        "data.csv, row 5, column 'price': the target is not finite",
    ),
    "NaN in a feature": (with_cell("size", 9, "NaN"), "data.csv, row 9, column 'size': nan is not a finite number"),
    "infinity in a feature": (
        with_cell("size", 9, "-inf"),
        "data.csv, row 9, column 'size': -inf is not a finite number",
    ),
    "a row too long": (with_cell("size", 3, "1,2"), "data.csv, line 4: 4 fields, but the header has 3"),
    "a row too short": (table() + "1,2\n", f"data.csv, line {ROWS + 2}: 2 fields, but the header has 3"),
    "a row too long, quoted": (
        with_cell("colour", 3, '"a,b",c'),
        "data.csv, line 4: 4 fields, but the header has 3",
    ),
    "constant columns alone": (
        table(size=["1"] * ROWS, colour=["red"] * ROWS),
        "data.csv: no column is left to learn from ('size': every row has the same value; 'colour': every",
    ),
    "a column without a name": (table().replace("colour", ""), "data.csv, line 1: column 2 has no name"),
    "a duplicate name": (table().replace("colour", "size"), "data.csv, line 1: two columns are named 'size'"),
    "dates as the target": (
        table(price=[f"2024-01-{k % 28 + 1:02d}" for k in range(ROWS)]),
        "column 'price': a date or time can't be the target",
    ),
    "null bytes": ("a,b\n1,\x00\n", "data.csv: it contains null bytes"),
    "a class for each row": (
        table(price=[f"house {k}" for k in range(ROWS)]),
        f"{ROWS} classes in {ROWS} rows are too many",
    ),
    "three rows": ("a,b\n1,2\n3,4.5\n2,2.5\n", "3 rows leave fewer than 2 to train on"),
}


@pytest.mark.parametrize("name", CSV)
def test_invalid_tables(name, capsys):
    content, message = CSV[name]
    Path("data.csv").write_text(content)
    assert message in refused(["train", "data.csv"], capsys)


def test_a_file_in_another_encoding(capsys):
    Path("data.csv").write_bytes(table(colour=["rött"] * ROWS).encode("latin1"))
    message = refused(["train", "data.csv"], capsys)
    assert "data.csv, line 2: not UTF-8 (byte 0xf6)" in message
    assert "iconv" in message


def test_a_million_columns(capsys):
    Path("data.csv").write_text(",".join(f"c{k}" for k in range(1_000_000)) + "\n" + "1," * 999_999 + "1\n")
    assert "it has 1,000,000 columns; at most 20,000 are supported" in refused(["train", "data.csv"], capsys)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing.csv"], "nothing.csv: there is no such file"),
        (["digit"], "did you mean 'digits'"),
        (["data.doc"], "can't read .doc files"),
        (["data.parquet"], "not a readable Parquet file"),
        (["data.npz"], "not an NPZ file of plain arrays"),
        (
            ["good.csv", "--target", "prize"],
            "good.csv: it has no column 'prize', which is the target; did you mean 'price'?",
        ),
        (["good.csv", "--drop", "sise"], "unknown column 'sise'; did you mean 'size'?"),
        (["good.csv", "--target", "price", "--drop", "price"], "can't be both the target and dropped"),
        (["good.csv", "--task", "regresion"], "did you mean 'regression'"),
        (["good.csv", "--validation", "more.csv"], "more.csv: there is no such file"),
        (["good.csv", "--validation", "1.5"], "the validation share is 1.5"),
        (["good.csv", "--test", "-1"], "the test share is -1"),
        (["iris", "--batch-size", "500"], "iris: a batch of 500 is more than the 105 rows to train on"),
        (["iris", "--batch-size", "0"], "the batch size is 0"),
        (["iris", "--epochs", "0"], "0 epochs: training takes at least 1"),
        (["iris", "--epochs", "many"], "invalid value for '--epochs'"),
        (["iris", "--epochs"], "requires an argument"),
        (["iris", "--epoch", "3"], "no such option"),
        (["iris", "--optimizer", "adm"], "unknown optimizer 'adm'; did you mean 'adam'?"),
        (["iris", "--optimizer", "adam -0.1"], "the learning rate is -0.1"),
        (["iris", "--network", "64 rleu"], "unknown activation 'rleu'; did you mean 'relu'?"),
        (["iris", "--network", "drop 0.2"], "unknown layer 'drop'; did you mean 'dropout'?"),
        (["iris", "--network", "8, reshape 3 3"], "layer reshape_1: takes as many numbers as the shape (3, 3) has"),
        (["iris", "--network", "8, residual(4)"], "layer residual_1: the layers inside turn the shape (8,) into (4,)"),
        (["iris", "--network", "8 relu -> 7"], "layer dense_2: the network's output has the shape (7,)"),
        (["iris", "--network", "-> relu"], "the network has nothing to learn"),
        (["iris", "--loss", "msee"], "did you mean 'mse'"),
        (["iris", "--loss", "mse"], "is for regression, but the target asks for classification"),
        (["diabetes", "--loss", "cross_entropy"], "is for classification, but the target asks for regression"),
        (["iris", "--task", "regression"], "is not a number, which regression needs"),
        (["diabetes", "--task", "classification"], "are too many to learn"),
        (["iris", "--patience", "soon"], "--patience 'soon'"),
        (
            ["iris", "--interval", "0.9"],
            "--interval is for a quantity, which species (classification, 3 classes) is not",
        ),
        (["iris", "--split", "time:x", "--no-shuffle"], "the split 'time:x' can't be combined with --no-shuffle"),
        (["iris", "--monitor", "f1", "--validation", "0"], "set rows aside (--validation 0.1)"),
        (["iris", "--patience", "0"], "at least 1; to never stop early, set --patience none"),
        (["iris", "--penalty", "l3 1"], "--penalty 'l3 1'"),
        (["iris", "--penalty", "l2 -1"], "neither can be negative"),
        (["iris", "--image-size", "big"], "--image-size 'big'"),
        (["iris", "--output", "taken"], "taken: it exists already"),
        (["iris", "--output", "good.csv/run"], "can't be written"),
        (["iris", "--resume", "taken"], "own data and settings; leave DATA out"),
        (["iris", "--limit", "0"], "--limit 0: pass a number of megabytes greater than 0"),
        (["iris", "--limit", "nan"], "--limit nan: pass a number of megabytes greater than 0"),
        (["--resume", "nowhere"], "nowhere: there is no such run"),
        (["--resume", "taken"], "taken: it is no run"),
        ([], "train: no data"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_invalid_arguments_of_train(arguments, message, capsys):
    Path("good.csv").write_text(table())
    Path("taken").mkdir()
    for name in ("data.doc", "data.parquet", "data.npz"):
        Path(name).write_text("something else")
    assert message in refused(["train", *arguments], capsys)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            {"x": np.array([[1.0, np.nan], [2, 3]]), "y": [0, 1]},
            "data.npz, x, row 0, column 1: nan is not a finite number",
        ),
        ({"x": np.array([[1.0, np.inf], [2, 3]]), "y": [0, 1]}, "data.npz, x, row 0, column 1: inf"),
        ({"x": np.ones((4, 2)), "y": [0.5, np.nan, 1, 2]}, "data.npz, y, row 1: nan"),
        ({"x": np.ones((4, 2)), "y": [0, 1]}, "4 samples but 2 targets"),
        ({"z": np.ones((4, 2))}, "no array named 'x'"),
        ({"x": np.ones((4, 2))}, "there are no targets"),
        ({"x": np.ones((0, 2)), "y": []}, "there are no samples"),
        ({"x": np.array(["a", "b"]), "y": [0, 1]}, "must be a numeric array"),
        ({"x": np.ones((4, 2)), "y": [1, 1, 1, 1]}, "every row has the class 1"),
    ],
)
def test_invalid_arrays(arrays, message, capsys):
    np.savez("data.npz", **arrays)
    assert message in refused(["train", "data.npz"], capsys)


def test_pickled_arrays_are_not_loaded(capsys):
    np.savez("data.npz", x=np.array([object()], dtype=object), y=[0])
    assert "not an NPZ file of plain arrays" in refused(["train", "data.npz"], capsys)


def test_invalid_images(capsys):
    assert "there are no images" in refused(["train", Path.cwd()], capsys)
    for label, size in (("cat", 8), ("dog", 9)):
        Path(label).mkdir()
        Image.new("L", (size, size)).save(Path(label) / "one.png")
    message = refused(["train", Path.cwd()], capsys)
    assert "dog/one.png: 9 x 9 pixels" in message
    assert "--image-size" in message
    assert "choose a smaller size" in refused(["train", Path.cwd(), "--image-size", "9999999x9999999"], capsys)
    for content, problem in ((b"not an image", "its format is unknown"), (b"", "it is empty")):
        (Path("cat") / "two.png").write_bytes(content)
        expected = f"cat/two.png: not a readable image ({problem}); replace or remove it"
        assert expected in refused(["train", Path.cwd()], capsys)


def test_sizes_of_pictures_are_width_x_height_everywhere(capsys):
    for label in ("cat", "dog"):
        Path(label).mkdir()
        for k in range(4):
            Image.new("L", (9, 5), 30 * k).save(Path(label) / f"{k}.png")
    arguments = ["train", ".", "--epochs", "1", "--test", "0", "--network", "2", "--output"]
    assert run([*arguments, "runs/a"]) == 0
    assert "8 samples of 9 x 5 pixels" in capsys.readouterr().err
    assert run([*arguments, "runs/b", "--image-size", "7x3"]) == 0
    assert "8 samples of 7 x 3 pixels" in capsys.readouterr().err
    for name, size, colour in (("tall", (5, 9), "L"), ("red", (9, 5), "RGB")):
        Path(name).mkdir()
        Image.new(colour, size).save(Path(name) / "new.png")
    line = refused(["predict", "runs/a", "tall"], capsys)
    assert "tall: 5 x 9 pixels, but 9 x 5 in the training data; resize the pictures" in line
    assert refused(["predict", "runs/a", "none.png"], capsys) == "chainrule: none.png: there is no such file"
    Path("empty.png").touch()
    line = refused(["predict", "runs/a", "empty.png"], capsys)
    assert "empty.png: not a readable image (it is empty); replace or remove it" in line
    assert "red: pictures in colour, but in grey in the training data" in refused(["predict", "runs/a", "red"], capsys)
    assert run(["predict", "runs/b", "tall"]) == 0  # resized as in training


def test_a_folder_without_write_permission(capsys, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert "no permission" in refused(["train", "iris", "--output", "run"], capsys)


@pytest.fixture
def trained():
    """A run of one epoch."""
    assert run(["train", "iris", "--epochs", "1", "--output", "run", "--json"]) == 0
    return Path("run")


@pytest.fixture
def _quiet(trained, capsys):
    capsys.readouterr()


def test_a_full_disk(capsys, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    code = run(["train", "iris", "--epochs", "1", "--output", "run"])
    assert code == 2
    assert "the disk is full" in capsys.readouterr().err.splitlines()[-1]
    assert list(Path().rglob("*")) == []


def test_a_disk_that_fills_up_during_training_leaves_the_last_complete_state(trained, capsys, monkeypatch):
    before = {p.name: p.read_bytes() for p in trained.iterdir()}
    fsync, calls = os.fsync, []

    def nearly_full(handle):
        calls.append(handle)
        if len(calls) > 3:  # the recipe, its manifest and one file of the next state still fit
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(handle)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", nearly_full)
        assert run(["train", "--resume", "run", "--epochs", "3"]) == 2
    assert "the disk is full" in capsys.readouterr().err.splitlines()[-1]
    after = {p.name: p.read_bytes() for p in trained.iterdir()}
    assert {name for name in after if name.startswith(("state-", "history-"))} == {
        name for name in before if name.startswith(("state-", "history-"))
    }
    assert all(after[name] == before[name] for name in after if name.startswith(("state-", "history-")))
    assert run(["evaluate", "run", "iris"]) == 0
    assert run(["train", "--resume", "run", "--epochs", "3"]) == 0


@pytest.mark.parametrize("file", ["recipe.json", "state-*", "history-*", "preparation.json", "preparation.safetensors"])
@pytest.mark.parametrize("damage", ["missing", "cut", "altered", "empty"])
@pytest.mark.usefixtures("_quiet")
def test_a_damaged_run(file, damage, trained, capsys):
    (path,) = trained.glob(file)
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        middle = len(content) // 2
        altered = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        path.write_bytes({"cut": content[:middle], "altered": altered, "empty": b""}[damage])
    message = refused(["evaluate", "run", "iris"], capsys)
    assert path.name in message
    assert ("missing" if damage == "missing" else "cut or altered") in message


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 99, "chainrule": "9.0"}, "written by chainrule 9.0, in a format that is newer"),
        ({"files": {"../../etc/passwd": "0"}}, "names a file outside the run"),
        ({"files": {}}, "it names no file recipe"),
        ({"format": "one"}, "not a manifest version"),
        ({"planned": "all"}, "can't be read"),
        ({"steps": None}, "can't be read"),
    ],
)
@pytest.mark.usefixtures("_quiet")
def test_an_invalid_manifest(change, message, trained, capsys):
    path = trained / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    assert message in refused(["show", "run"], capsys)


@pytest.mark.usefixtures("_quiet")
def test_a_truncated_or_missing_manifest(trained, capsys):
    path = trained / "manifest.json"
    path.write_bytes(path.read_bytes()[:-30])
    assert "manifest.json: it can't be read" in refused(["show", "run"], capsys)
    path.unlink()
    assert "it has no manifest.json" in refused(["show", "run"], capsys)


@pytest.mark.usefixtures("_quiet")
def test_arrays_that_do_not_match_the_run(trained, capsys):
    Path("data.csv").write_text(table())
    assert "it has 3 columns, but the training data has 4" in refused(["predict", "run", "data.csv"], capsys)
    assert "samples of shape (13,), but (4,) in the training data" in refused(["predict", "run", "wine"], capsys)
    assert "written as CSV or JSON" in refused(["predict", "run", "iris", "-o", "x.xlsx"], capsys)
    assert "can't be written" in refused(["predict", "run", "iris", "-o", "data.csv/x.csv"], capsys)


def test_tables_that_do_not_match_the_run(capsys):
    Path("data.csv").write_text(table())
    assert run(["train", "data.csv", "--epochs", "1", "--output", "run", "--json"]) == 0
    capsys.readouterr()
    Path("new.csv").write_text("size,price\n1,2\n")
    assert "new.csv: column 'colour', which the training data has, is missing" in refused(
        ["predict", "run", "new.csv"], capsys
    )
    Path("new.csv").write_text("size,colour\n1,red\nlarge,red\n")
    assert "new.csv, row 2, column 'size': 'large' is not a number" in refused(["predict", "run", "new.csv"], capsys)
    Path("new.csv").write_text("size,colour,price\n1,red,much\n2,blue,3\n")
    assert "new.csv, row 1, column 'price': 'much' is not a number" in refused(["evaluate", "run", "new.csv"], capsys)
    Path("new.csv").write_text("size,colour,price\n1,red,inf\n2,blue,3\n")
    assert "new.csv, row 1, column 'price': the target is not finite" in refused(["evaluate", "run", "new.csv"], capsys)
    Path("new.csv").write_text("size,colour\n1,red\n")
    assert "new.csv: it has no column 'price', which is the target; its columns are" in refused(
        ["evaluate", "run", "new.csv"], capsys
    )


@pytest.mark.usefixtures("_quiet")
def test_a_run_is_not_resumed_on_different_data(capsys):
    Path("data.csv").write_text(table())
    assert run(["train", "data.csv", "--epochs", "1", "--output", "other", "--json"]) == 0
    capsys.readouterr()
    Path("data.csv").write_text(with_cell("size", 1, "7"))
    assert "data.csv: it has changed since the run" in refused(["train", "--resume", "other", "--epochs", "2"], capsys)
    assert "it has 1 epochs already" in refused(["train", "--resume", "run"], capsys)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["check"], "either a RUN or a --network"),
        (["check", "--network", "relu"], "no weights to check"),
        (["check", "--network", "3", "--inputs", "0"], "--inputs 1 or more"),
        (["shwo", "run"], "no such command"),
        (["explain"], "which run?"),
        (["explain", "nowhere", "dense_1.W[0, 0]"], "there is no such run"),
        (["explain", "--example", "--format", "pdf"], "unknown format 'pdf'"),
        (["explain", "--example", "a", "b"], "takes no run"),
        (["explain", "--example", "dense_9.W[0, 0]"], "did you mean"),
        (["show"], "missing argument"),
    ],
)
def test_invalid_arguments_of_other_commands(arguments, message, capsys):
    assert message in refused(arguments, capsys).lower() or message in refused(arguments, capsys)


@pytest.mark.usefixtures("_quiet")
def test_explaining_an_unknown_weight_step_or_sample_lists_the_valid_ones(capsys):
    assert "takes at least 340 pixels" in refused(["explain", "run", "--format", "svg", "--width", "100"], capsys)
    assert "did you mean 'dense_1.W'" in refused(["explain", "run", "dense_1.w[0, 0]"], capsys)
    assert "its indices are [0 to 35, 0 to 63]" in refused(["explain", "run", "dense_1.W[36, 0]"], capsys)
    assert "it has steps 0 to 3" in refused(["explain", "run", "dense_1.W[0, 0]", "--step", "4"], capsys)
    assert "sample 9999 is not in the batch" in refused(
        ["explain", "run", "dense_1.W[0, 0]", "--sample", "9999"], capsys
    )
