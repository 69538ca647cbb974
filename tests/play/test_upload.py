"""A dropped file: how its columns were read, what becomes of each, and the choice of a target."""

import datetime
import json

import polars as pl
import pytest

from chainrule.errors import DataError
from chainrule.play import upload as uploads
from chainrule.play.upload import Choice, Upload

ROWS = 120
FRAME = pl.DataFrame({
    "size": [k % 7 + 0.5 for k in range(ROWS)],
    "colour": ["red" if k % 2 else "blue" for k in range(ROWS)],
    "town": [f"t{k % 5}" for k in range(ROWS)],
    "note": [f"text number {k}" + "x" * 100 for k in range(ROWS)],
    "day": [datetime.date(2020, 1, 1) + datetime.timedelta(days=k) for k in range(ROWS)],
    "sold": [bool(k % 3) for k in range(ROWS)],
    "rent": [None if k % 4 == 0 else k for k in range(ROWS)],
    "price": [3.5 * (k % 7) + k % 2 + 0.25 for k in range(ROWS)],
})  # fmt: skip
PRICE = FRAME.columns.index("price")


def test_what_becomes_of_each_column_is_what_the_network_gets():
    upload = Upload("houses.csv", FRAME)
    found = upload.preview(Choice(PRICE))
    columns = {column["name"]: column for column in found["columns"]}
    assert list(columns) == FRAME.columns
    assert {name: column["type"] for name, column in columns.items()} == {
        "size": "number", "colour": "text", "town": "text", "note": "text", "day": "date", "sold": "true or false",
        "rent": "number", "price": "number",
    }  # fmt: skip
    uses = {name: column["use"] for name, column in columns.items()}
    assert uses["size"] == "1 input, scaled to mean 0 and standard deviation 1"
    assert uses["colour"] == "1 input: whether it is red"
    assert uses["town"] == "5 inputs, one for each value"
    assert uses["note"] == "30 inputs, computed from the letters of the text"
    assert uses["day"] == "4 inputs: year, month, day, total seconds"
    assert uses["rent"].endswith("; a missing value becomes the mean, and one more input says that it is missing")
    assert uses["price"] == "predicted: a number, scaled to mean 0 and standard deviation 1"
    assert sum(int(use.split()[0]) for use in uses.values() if "input" in use) + 1 == len(
        upload.dataset(Choice(PRICE)).input_names
    )
    assert (
        f"The network gets {len(upload.dataset(Choice(PRICE)).input_names)} inputs and predicts price" in found["words"]
    )
    assert columns["rent"]["missing"] == ROWS // 4
    assert columns["rent"]["values"] == ("1", "2", "3", "5")
    assert all(len(value) <= 40 for value in columns["note"]["values"])
    assert found["problem"] == ""
    json.dumps(found)  # it can be sent


def test_a_target_that_cannot_be_learned_says_why_and_another_can_be_chosen():
    upload = Upload("houses.csv", FRAME)
    found = upload.preview(Choice(FRAME.columns.index("note")))
    assert "houses.csv, column 'note': 120 classes in 120 rows are too many to learn" in found["problem"]
    assert [column["use"] for column in found["columns"]] == [""] * 8
    assert "the target is missing or NaN" in upload.preview(Choice(FRAME.columns.index("rent")))["problem"]
    assert upload.preview(Choice(FRAME.columns.index("sold")))["columns"][5]["use"] == "predicted: one of 2 classes"
    for nowhere in (-1, 8, 99999):
        with pytest.raises(DataError, match="no such column"):
            upload.dataset(Choice(nowhere))
        assert "no such column" in upload.preview(Choice(nowhere))["problem"]


def test_whole_numbers_that_are_taken_for_classes_are_announced():
    upload = Upload(
        "t.csv", pl.DataFrame({"size": [k / 7 for k in range(ROWS)], "visits": [k % 5 for k in range(ROWS)]})
    )
    words = upload.preview(Choice(1))["words"]
    assert "predicts visits, one of 5 classes. If these whole numbers are a quantity, open the file with" in words
    assert "If these" not in upload.preview(Choice(0))["words"]


def test_what_is_previewed_and_kept_is_bounded(monkeypatch):
    monkeypatch.setattr(uploads, "MOST_COLUMNS", 3)
    upload = Upload("houses.csv", FRAME)
    found = upload.preview(Choice(3))
    assert found["targets"] == ["size", "colour", "town", "price"]
    assert [column["name"] for column in found["columns"]] == ["size", "colour", "town"]
    assert found["more"] == 5
    assert found["words"]
    for target in range(4):
        upload.preview(Choice(target))
    assert len(upload._prepared) == 2


def test_a_column_is_read_as_the_user_wants():
    upload = Upload("houses.csv", FRAME)
    towns, rooms, sold = (FRAME.columns.index(name) for name in ("town", "rent", "sold"))
    found = upload.preview(Choice(PRICE, {rooms: "category", sold: "number"}))
    assert found["problem"] == ""
    assert found["read"] == {rooms: "category", sold: "number"}
    assert set(found["kinds"]) == {"number", "category", "date", "time", "boolean"}
    assert [found["columns"][k]["use"].partition(",")[0] for k in (rooms, sold)] == [
        "30 inputs",
        "1 input",
    ]
    assert upload.dataset(Choice(PRICE, {rooms: "category"})).columns[rooms].role == "text"
    assert upload.dataset(Choice(PRICE)).columns[rooms].role == "number"
    problem = upload.preview(Choice(PRICE, {towns: "number"}))["problem"]
    assert problem == "houses.csv, row 1, column 'town': 't0' is not a number, which it is read as"
    assert "no such column" in upload.preview(Choice(PRICE, {99: "number"}))["problem"]


def test_a_choice_is_text_in_the_name_of_a_file():
    for choice in (Choice(3), Choice(0, {2: "number"}), Choice(12, {0: "category", 345: "boolean"})):
        assert Choice.from_words(choice.words) == choice
    assert Choice.from_words("2.1number-xx-3spam-4date") == Choice(2, {1: "number", 4: "date"})
    for nothing in ("", ".", "x", "-1", "²", "123456"):
        assert Choice.from_words(nothing) == Choice(-1)
