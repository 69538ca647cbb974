"""Columns of text as tokens: read, embedded beside other columns, explained, recorded, and refused."""

import json

import numpy as np
import polars as pl
import pytest

import chainrule
from chainrule.cli import run as main
from chainrule.data import Preparation, load, token_columns
from chainrule.errors import DataError, RunError, SettingError, ShapeError
from chainrule.explain import Explanation
from chainrule.runs import Run


def reviews(rows=120, seed=0):
    """Reviews that are good unless "not" stands before "good", with a number and a category."""
    random = np.random.default_rng(seed)
    words = np.array(["the", "phone", "has", "a", "nice", "screen", "and", "it", "rings"])
    texts, labels = [], []
    for _ in range(rows):
        begin = " ".join(random.choice(words, random.integers(4, 9)))
        is_good = bool(random.integers(2))
        texts.append(f"{begin} {'is' if is_good else 'not'} good.")
        labels.append("good" if is_good else "bad")
    price, shop = random.normal(30, 9, rows), random.choice(["north", "south"], rows)
    return pl.DataFrame({"review": texts, "price": price, "shop": shop, "label": labels})


def explained(trained, weight):
    problem, samples = trained.plan.problem(len(trained.data.training.x)), trained.data.training
    return Explanation(problem, trained.last, samples, weight, data=trained.data)


@pytest.fixture(scope="module")
def trained():
    return chainrule.train(reviews(), target="label", text="tokens", epochs=8)


def test_words_are_read_in_their_order_beside_other_columns(trained):
    data, frame = trained.data, reviews()
    (name, column), start = data.texts_as_tokens[0], data.input_shape[0] - data.texts_as_tokens[0][1].length - 1
    assert (name, column.kind, start) == ("review", "words", 2)  # after the price and the shop
    row = data.rows[0]
    numbers = np.asarray(data.training.x[0])[start:]
    words = list(token_columns.pieces("words", frame["review"][int(row)]))
    assert data.positions_of(0)[: len(words)] == [repr(word) for word in words]
    assert data.positions_of(0)[len(words) :] == ["after the end"] * (column.length - len(words))
    assert numbers[-1] == len(words)
    assert trained.evaluate()["accuracy"] > 0.9
    assert any("up to" in note and "words, and one for all others" in note for note in data.notes)


def test_any_cell_can_be_predicted(trained):
    cells = ["is good.", None, "", "zzz qqq", "\U0001f44d e\u0301 \x00 not good", "x" * 10**6, "good " * 3 * 10**5]
    frame = pl.DataFrame({"review": cells, "price": [1.0] * 7, "shop": ["north"] * 7})
    raw = trained.raw(frame)
    assert np.isfinite(raw).all()
    assert raw[1] == raw[2]  # a missing text is an empty one
    assert trained.predict(frame[:1])[0] == "good"
    one = trained.raw(frame[4:5].with_columns(review=pl.lit("\U0001f44d \u00e9 \x00 not good")))
    assert one[0] == raw[4]  # however an accent is written


def test_an_explanation_names_the_tokens(trained):
    column = trained.data.texts_as_tokens[0][1]
    row = column.symbols.index("not") + 1
    e = explained(trained, f"embedding_1.W[{row}, 2]")
    assert "the row of 'not'" in e.about
    unit = e.samples[0].first.unit
    assert e.named_place(unit).endswith("'not'")
    assert e.gradient == pytest.approx(e.proof.numerical_gradient, rel=1e-4, abs=1e-9)


def test_a_run_is_opened_resumed_and_used(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    reviews().write_csv("reviews.csv")
    words = ["--target", "label", "--text", "tokens", "--network", "gru 6, 8 relu", "--epochs", "2", "-o", "run"]
    assert main(["train", "reviews.csv", *words]) == 0
    opened = Run.open("run")
    assert opened.data["settings"]["text"] == "tokens"
    before = opened.trained.predict("reviews.csv")
    assert main(["evaluate", "run"]) == 0
    assert main(["predict", "run", "reviews.csv"]) == 0
    capsys.readouterr()
    assert main(["explain", "run", "embedding_1.W[3, 1]", "--step", "2"]) == 0
    assert "the row of" in capsys.readouterr().out
    assert main(["check", "run"]) == 0
    assert main(["train", "--resume", "run", "--epochs", "3"]) == 0
    contents = opened.trained.preparation.contents()
    again = Preparation.from_contents(contents)
    assert again.texts_as_tokens == opened.trained.preparation.texts_as_tokens
    assert (before == opened.trained.predict(reviews().drop("label"))).all()
    about = json.loads(contents["preparation.json"])
    for change in ({"length": 0}, {"vocabulary": ["a", "a"]}, {"tokens": "bpe"}, {"merges": [["a", "b"]]}):
        encoder = {**about["encoders"][-1], **change}
        altered = {**about, "encoders": [*about["encoders"][:-1], encoder]}
        with pytest.raises(RunError):
            Preparation.from_contents({**contents, "preparation.json": json.dumps(altered).encode()})


@pytest.mark.parametrize("tokens", ["characters", "words 9", "bpe 300"])
def test_other_tokens_and_lengths(tokens):
    pytest.importorskip("tokenizers")
    data = load(reviews(60), target="label", text="tokens", tokens=tokens, length=7)
    column = data.texts_as_tokens[0][1]
    assert column.length == 7
    assert column.kind == tokens.partition(" ")[0]
    assert len(column.symbols) <= 300
    x = data.training.x[:, -8:]
    assert (x[:, -1] == 7).all()
    assert x[:, :-1].max() < column.width


def test_several_columns_have_networks_of_their_own():
    frame = reviews(60).with_columns(pl.col("review").reverse().alias("other"))
    trained = chainrule.train("gru 3, 4 relu", frame, target="label", text="tokens", epochs=1)
    owners = {entry.owner.partition(".")[0] for entry in trained.plan.network.parameters.entries}
    assert owners == {"embedding_1", "embedding_2", "gru_1", "gru_2", "dense_1", "dense_2"}
    assert trained.data.positions_of(0, 0) != trained.data.positions_of(0, 1)
    e = explained(trained, "embedding_2.W[1, 0]")
    assert repr(trained.data.texts_as_tokens[1][1].symbols[0]) in e.about


def test_many_rows_are_tokens_by_default(monkeypatch):
    monkeypatch.setattr(token_columns, "FROM", 50)
    data = load(reviews(), target="label")
    assert data.texts_as_tokens
    assert any('choose text="words"' in note for note in data.notes)
    assert not load(reviews(), target="label", text="words").texts_as_tokens
    monkeypatch.setattr(token_columns, "FROM", 5000)
    assert not load(reviews(), target="label").texts_as_tokens


def test_an_estimator_takes_a_column_of_text():
    frame = reviews()
    model = chainrule.Classifier("gru 4, 4 relu", text="tokens", epochs=2).fit(frame.drop("label"), frame["label"])
    assert model.predict_proba(frame.drop("label")).shape == (120, 2)
    assert model.get_params()["text"] == "tokens"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"text": "token"}, "unknown way to read columns of text 'token'; did you mean 'tokens'"),
        ({"text": "tokens", "tokens": "syllables"}, "unknown kind of tokens 'syllables'"),
        ({"text": "tokens", "tokens": "bpe 9"}, "the tokens are 'bpe 9'; write 'bpe'"),
        ({"text": "tokens", "length": 0}, "the length is 0; it takes at least 1 token"),
        ({"text": "words", "length": 9}, 'leave length=... out, or choose text="tokens"'),
        ({"text": "tokens", "drop": ["review"]}, "no column is a text to read as tokens"),
    ],
)
def test_what_can_not_be_read_so_is_said(settings, message):
    with pytest.raises((DataError, SettingError)) as raised:
        load(reviews(), target="label", **settings)
    assert message.replace("=...", "") in str(raised.value).replace("=...", "")


def test_networks_that_leave_positions_are_refused():
    with pytest.raises(ShapeError, match="end them with one that leaves one row of numbers"):
        chainrule.train("gru 4 all=true, 8 relu", reviews(), target="label", text="tokens")
