"""What makes reading fast changes no result: each shortcut against the slow way."""

import re
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainrule.data import find, tables
from chainrule.data.barrier import Limits
from chainrule.data.tables import read_csv
from chainrule.errors import DataError


def slowly(patch):
    """Read without shortcuts: look at each row, and tell types by all of them."""
    patch.setattr(tables, "_by_first_rows", lambda *arguments: None)
    patch.setattr(tables, "_is_regular", lambda *arguments: False)


PIECES = st.lists(st.sampled_from(["a", "1", ",", ",", ",", "\n", "\n", "\r\n", "\r", '"', " ", ";"]), max_size=24)


def outcome(content):
    """The table in a CSV file, or why it is refused."""
    try:
        return read_csv(Path("t.csv"), content)
    except DataError as error:
        return str(error)


def same(one, other):
    if isinstance(one, str) or isinstance(other, str):
        return isinstance(one, str) and isinstance(other, str) and one == other
    return one.schema == other.schema and one.equals(other, null_equal=True)


@given(st.sampled_from(["a,b\n", "a,b,c\r\n", "a\n", "\na,b\n", "a,b\r"]), PIECES)
def test_looking_at_all_rows_at_once_finds_what_looking_at_each_does(header, pieces):
    content = (header + "".join(pieces)).encode()
    fast = outcome(content)
    with pytest.MonkeyPatch.context() as patch:
        slowly(patch)
        assert same(fast, outcome(content))


def test_regular_rows_take_the_fast_way(monkeypatch):
    monkeypatch.setattr(tables, "_check_rows", lambda *arguments: pytest.fail("the slow way"))
    assert read_csv(Path("t.csv"), b"a,b\n1,2\n3,\n").width == 2
    monkeypatch.setattr(tables, "_is_regular", lambda *arguments: pytest.fail("the slow way"))
    for text in ("a,b\n1,2\n", "a,b\n1,2", "a,b\r\n1,2\r\n3,4", "a;b\n1;2\n"):
        assert read_csv(Path("t.csv"), text.encode()).width == 2


@pytest.mark.parametrize("line", ["1,2,3", "1", "", "1,2,", '"1,2"', ",", '"1', "1,2\r3,4"])
@pytest.mark.parametrize("at", [0, 1, 6])
def test_an_odd_row_anywhere_is_found_as_before(line, at, monkeypatch):
    rows = ["5,6"] * 6
    rows.insert(at, line)
    content = "\n".join(["a,b", *rows, ""]).encode()
    fast = outcome(content)
    slowly(monkeypatch)
    assert same(fast, outcome(content))


TOKENS = ["1", "-2", "+3", " 4", "5 ", "6.5", "7e3", "inf", "NaN", "true", "False", "x", "", "NA", "?", "2024-01-02",
          "99999999999999999999", "0x1", "1_0", "01", "1.", ".5", "12:30"]  # fmt: skip


@given(st.lists(st.sampled_from(TOKENS), min_size=2, max_size=8), st.lists(st.sampled_from(TOKENS), max_size=4))
def test_types_told_by_the_first_rows_are_those_told_by_all(first, later):
    rows = [*first, *later]
    content = ("k,v\n" + "".join(f"{k},{token}\n" for k, token in enumerate(rows))).encode()
    with pytest.MonkeyPatch.context() as patch:
        by_all = outcome(content)
        patch.setattr(tables, "SAMPLE", len(first))
        by_first = outcome(content)
    assert same(by_first, by_all), (by_first, by_all)


def test_a_type_that_only_late_rows_tell(monkeypatch):
    monkeypatch.setattr(tables, "SAMPLE", 3)
    late = ["", "", "", "", "7"], ["1", "2", "3", "4", "5.5"], ["1", "2", "3", "4", "x"], ["", "", "", "", ""]
    types = [pl.Int64, pl.Float64, pl.String, pl.String]
    for values, dtype in zip(late, types, strict=True):
        content = ("k,v\n" + "".join(f"{k},{v}\n" for k, v in enumerate(values))).encode()
        assert read_csv(Path("t.csv"), content)["v"].dtype == dtype


def test_marks_of_missing_values_are_found_in_the_rows_not_in_the_header():
    assert read_csv(Path("t.csv"), b"N,n?\n1,a\n2,b\n")["n?"].to_list() == ["a", "b"]
    for mark in tables.MISSING:
        assert read_csv(Path("t.csv"), f"a,b\n1,x\n{mark},y\n".encode())["a"].to_list() == [1, None]
        assert re.search(r"[Nn?]", mark) or mark == ""


WORDS = st.sampled_from(
    [*TOKENS, "$5", "5 %", "-1,5", "1.234,5", "1,234", "3/4/2024", "2024-01-02 03:04", "5 Jan 2024", "1/2/24", "7:8"]
)


@given(st.lists(st.one_of(WORDS, st.text("0aeEinfNA. -:/", max_size=6)), min_size=1, max_size=6))
def test_the_first_values_of_a_text_tell_only_what_it_is_not(texts):
    content = ("k,v\n" + "".join(f'{k},"{text}"\n' for k, text in enumerate(texts))).encode()
    with pytest.MonkeyPatch.context() as patch:
        fast = outcome(content)
        patch.setattr(tables, "first_texts", lambda column: column.clear())
        assert same(fast, outcome(content))


def test_a_small_file_of_too_many_cells_is_refused_before_it_is_parsed(monkeypatch):
    monkeypatch.setattr(tables, "_parsed", lambda *arguments: pytest.fail("it was parsed"))
    with pytest.raises(DataError, match="50 x 2 is more than 99 numbers; use fewer rows"):
        read_csv(Path("t.csv"), b"a,b\n" + b"1,2\n" * 50, Limits(99, 10**9))


def test_rows_of_errors_are_those_of_the_file(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a,b,y\n" + "".join(f"{k},{k % 7},{k % 3}.5\n" for k in range(50)) + "1e39,2,3\n")
    with pytest.raises(DataError, match=r"row 51, column 'a': 1e.?39 is too large"):
        find(path)
