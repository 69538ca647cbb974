"""Texts: read, divided into tokens, and into windows of which the end is held out."""

import gzip
import importlib.util
import itertools
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import chainrule
from chainrule.data import Preparation, Text, load
from chainrule.data.text import is_written_as_table
from chainrule.data.tokens import Tokens, fit_tokens, lengths
from chainrule.errors import DataError, SettingError

needs_tokenizers = pytest.mark.skipif(
    importlib.util.find_spec("tokenizers") is None, reason="byte pairs need the extra 'text'"
)
RHYME = "Row, row, row your boat,\ngently down the stream.\n" * 12


@given(st.text(min_size=2))
def test_characters_are_encoded_and_decoded(text):
    text = text.encode(errors="ignore").decode()
    tokens = fit_tokens(text or "ab", text, "characters")
    numbers = tokens.encode(text)
    assert tokens.decode(numbers) == text
    assert "".join(tokens.pieces(numbers.tolist())) == text
    assert list(tokens.symbols) == sorted(set(text or "ab"))
    assert tokens.problem() is None or len(tokens.symbols) < 2


@needs_tokenizers
@given(st.text())
def test_byte_pairs_encode_every_text(text):
    text = text.encode(errors="ignore").decode()
    tokens = fit_tokens(RHYME, RHYME, "bpe 270")
    numbers = tokens.encode(text)
    assert tokens.decode(numbers) == text
    assert "".join(tokens.pieces(numbers.tolist())) == text
    assert lengths("bpe", tokens.symbols)[numbers].sum() == len(text)


@needs_tokenizers
def test_byte_pairs_are_the_most_frequent_ones():
    tokens = fit_tokens(RHYME, RHYME, "bpe 300")
    assert tokens.problem() is None
    assert tokens == fit_tokens(RHYME, RHYME, "bpe 300")
    assert len(tokens.encode(RHYME)) < len(RHYME) / 3
    assert "' boat'" in [tokens.shown(k) for k in range(len(tokens.symbols))]
    assert tokens.text(tokens.symbols.index("Ã")) == "\\xc3"  # a byte that is no character


@pytest.mark.parametrize("wanted", ["words", "bpe 100", "bpe x", "characters 3", 3, "bpe 100000"])
def test_other_tokens_are_refused(wanted):
    with pytest.raises(SettingError, match=r"tokens"):
        load(Text("rhyme", RHYME), tokens=wanted)


def test_windows_are_views_of_the_smallest_numbers_and_targets_are_the_next_tokens():
    text = Text("rhyme", RHYME)
    data = load(text, length=10)
    x, y = np.asarray(data.training.x), np.asarray(data.training.y)
    assert x.dtype == np.uint8
    assert np.shares_memory(x, y)
    assert all(np.may_share_memory(part, data.source.features) for part in (x, data.validation.x, data.test.y))
    tokens = data.preparation.tokens
    for sample, row in enumerate(data.rows):
        assert tokens.decode(x[sample]) == RHYME[row : row + 10]
        assert tokens.decode(y[sample]) == RHYME[row + 1 : row + 11]
        assert eval(data.sample(sample).values["text"]) == RHYME[row : row + 10]


@given(
    size=st.integers(20, 400), length=st.integers(1, 12), validation=st.sampled_from([0.0, 0.1, 0.3]),
    test=st.sampled_from([0.0, 0.2]),
)  # fmt: skip
def test_the_end_is_held_out_and_no_token_is_in_two_sets(size, length, validation, test):
    content = "".join(chr(97 + k % 26) for k in range(size))
    try:
        data = load(Text("letters", content), length=length, validation=validation, test=test)
    except DataError as error:
        assert "are too few for windows of" in str(error)  # noqa: PT017
        return
    read = [set() if rows is None else {k for row in rows.tolist() for k in range(row, row + length + 1)}
            for rows in (data.rows, data.validation_rows, data.test_rows)]  # fmt: skip
    for earlier, later in itertools.pairwise(read):
        assert not earlier & later
        assert not later or not earlier or max(earlier) < min(later)
    ends = [size - round(test * size) - round(validation * size), size - round(test * size), size]
    for tokens, end in zip(read, ends, strict=True):
        assert not tokens or end - length <= max(tokens) + 1 <= end


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "the file is empty"),
        (b"\n", "the file is empty"),
        (b"\xef\xbb\xbf", "the file is empty"),
        (b"a", "1 characters are too few for windows of 8|every character is 'a'"),
        (b"aaaa" * 100, "every character is 'a'; there is nothing to learn"),
        (b"Caf\xe9 au lait, " * 30, "line 1: not UTF-8 \\(byte 0xe9\\); save it as UTF-8"),
        (b"ab\x00" * 100, "it contains null bytes; is it a binary file"),
        (b"\xff\xfea\x00b\xd8", "not UTF-16"),
        (("Row, " * 30).encode("utf-32"), "it contains null bytes; is it a binary file"),
        (b"Too short for the window of", "27 characters are too few for windows of 8; the smallest set has"),
    ],
)
def test_what_is_no_text_to_learn_from_is_refused_in_a_line(content, problem, tmp_path):
    path = tmp_path / "book.txt"
    path.write_bytes(content)
    with pytest.raises(DataError, match=problem) as caught:
        load(path)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_encodings_and_line_ends_give_the_same_text(encoding, end, tmp_path):
    path = tmp_path / "book.txt"
    path.write_bytes(f"Käse\n{RHYME}".replace("\n", end).encode(encoding))
    data = load(path)
    assert data.preparation.tokens.decode(data.training.x[0]) == f"Käse\n{RHYME}"[: data.input_shape[0]]


def test_huge_lines_compressed_files_and_several_files_are_read(tmp_path):
    (tmp_path / "long.txt").write_text("word " * 200_000)
    assert load(tmp_path / "long.txt").sizes["training"] == 10_937
    (tmp_path / "a.md").write_text(RHYME)
    (tmp_path / "b.md").write_text("An end.")
    (tmp_path / "c.txt.gz").write_bytes(gzip.compress(RHYME.encode()))
    both = load(tmp_path / "*.md")
    assert len(both.source) + both.input_shape[0] == len(RHYME) + 1 + len("An end.")
    assert "read 2 files as one text, in the order of their names" in both.notes
    assert load(tmp_path / "c.txt.gz").fingerprint == load(tmp_path / "a.md").fingerprint


def test_a_txt_file_that_is_written_as_a_table_is_one(tmp_path):
    rows = "\n".join(f"{k},{k % 7},{k * 2.5}" for k in range(60))
    table, text = tmp_path / "table.txt", tmp_path / "text.txt"
    table.write_text(f"a,b,c\n{rows}\n")
    text.write_text(RHYME)
    assert load(table).preparation.kind == "table"
    assert load(table, length=16).preparation.kind == "text"
    data = load(text)
    assert data.preparation.kind == "text"
    assert any(note.startswith("it is read as a text; to read it as a table") for note in data.notes)
    with pytest.raises(DataError, match=r"line 1: column 4 has no name"):
        load(text, target="price")


@given(st.lists(st.text(alphabet="ab ,;\t", min_size=1), min_size=1, max_size=6))
def test_only_lines_with_equally_many_separators_are_a_table(lines):
    lines = [line for line in lines if line.strip()]
    counts = {separator: {line.count(separator) for line in lines} for separator in ",;\t"}
    equal = [separator for separator, found in counts.items() if len(found) == 1 and found != {0}]
    joined = "\n".join(lines) + "\n"
    inside = [s for s in equal if joined.replace(f"{s} ", "").replace(f"{s}\n", "").count(s)]
    expected = len(lines) > 1 and bool(inside)
    assert is_written_as_table("\n".join(lines).encode()) == expected


def test_settings_of_tables_and_other_data_are_refused(tmp_path):
    with pytest.raises(SettingError, match=r"rhyme: it is a text, without columns; leave target and split out"):
        load(Text("rhyme", RHYME), target="x", split="time:x")
    with pytest.raises(DataError, match="iris: it is no text, which alone has tokens; leave tokens and length out"):
        load("iris", length=8)
    with pytest.raises(DataError, match="the data: it is no text"):
        load((np.ones((9, 2)), np.ones(9)), tokens="characters")
    with pytest.raises(SettingError, match="the length of a window is 0; it has at least one token"):
        load(Text("rhyme", RHYME), length=0)
    with pytest.raises(SettingError, match=r"the validation share is 1\.5"):
        load(Text("rhyme", RHYME), validation=1.5)
    with pytest.raises(DataError, match="python-docs: it is a text, of which a language model alone is trained"):
        chainrule.data.find("python-docs")


def test_another_text_validates_in_the_same_tokens(tmp_path):
    path = tmp_path / "other.txt"
    path.write_text("Row your boat, row, row, row.\n" * 4)
    data = load(Text("rhyme", RHYME), length=10, validation=path, test=0.0)
    assert data.preparation.tokens.decode(data.validation.x[0]) == "Row your b"
    assert data.validation_fingerprint
    path.write_text("Zow your boat, row, row, row.\n" * 4)
    with pytest.raises(DataError, match=r"other.txt, line 1: the character 'Z' is not in the vocabulary"):
        load(Text("rhyme", RHYME), length=10, validation=path)


@pytest.mark.parametrize("tokens", ["characters", pytest.param("bpe 300", marks=needs_tokenizers)])
def test_a_preparation_is_json(tokens):
    preparation = load(Text("rhyme", RHYME * 4), tokens=tokens, length=8).preparation
    contents = preparation.contents()
    assert contents.keys() == {"preparation.json"}
    assert json.loads(contents["preparation.json"])["target"]["tokens"] == tokens.partition(" ")[0]
    assert Preparation.from_contents(contents) == preparation


@pytest.mark.parametrize(
    ("tokens", "problem"),
    [
        (Tokens("characters", ("a", "a")), "not different"), (Tokens("characters", ("a", "bc")), "not characters"),
        (Tokens("characters", ("a",)), "not different"), (Tokens("bpe", ("a", "b")), "not pairs of bytes"),
        (Tokens("characters", ("a", "b"), (("a", "b"),)), "not characters"),
    ],
)  # fmt: skip
def test_altered_vocabularies_have_a_problem(tokens, problem):
    assert problem in tokens.problem()


def test_the_package_for_byte_pairs_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SettingError, match=r"needs tokenizers: pip install 'chainrule\[text\]'"):
        load(Text("rhyme", RHYME), tokens="bpe")


def test_the_built_in_text_comes_with_python():
    data = load("python-docs")
    assert len(data.source) > 300_000
    assert "The" in data.source.tokens.decode(data.training.x[:50].ravel())
    assert data.settings["what"] == "python-docs"
    assert data.settings["length"] == 64
