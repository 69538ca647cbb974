"""How the columns of a table become inputs, compared with skrub's vectorizer and scikit-learn's
imputer and scaler, which prepared tables in earlier versions.
"""

import datetime
import json

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import earlier
from chainrule.data import Preparation, find_samples, load
from chainrule.data.columns import MANY, NUMBERS, TEXT, most_inputs
from chainrule.data.encoders import FORMATS, Category, Date, Number, Text, from_json
from chainrule.errors import ChainruleError, DataError, RunError
from chainrule.runs import Recorder, Run, train

RANDOM = np.random.default_rng(0)
ROWS = 120
DAY = datetime.datetime(2024, 1, 1)


def table(**columns):
    return pl.DataFrame({**columns, "y": RANDOM.normal(size=ROWS)})


def some(values, k=7):
    """These values, every k-th of which is missing."""
    return [None if row % k == 0 else value for row, value in enumerate(values)]


MIXED = table(
    size=RANDOM.normal(size=ROWS),
    age=some(RANDOM.integers(0, 90, ROWS).tolist()),
    lift=some([True, False] * (ROWS // 2)),
    kind=RANDOM.choice(["flat", "house", "boat"], ROWS),
    city=some(RANDOM.choice(["Bern", "Zug"], ROWS).tolist()),
    side=RANDOM.choice(["left", "right"], ROWS),
    sold=some([DAY.date() + datetime.timedelta(days=17 * k) for k in range(ROWS)]),
    seen=[DAY + datetime.timedelta(hours=5 * k) for k in range(ROWS)],
    built=[f"{k % 12 + 1:02d}/{k % 28 + 1:02d}/20{k % 20 + 10}" for k in range(ROWS)],
    note=some([f"{RANDOM.choice(['near the station', 'by the sea', 'with a garden'])} {k}" for k in range(ROWS)]),
)


@pytest.fixture(scope="module")
def by_skrub():
    """The preparation of this table by skrub and scikit-learn."""
    return earlier.preparation(MIXED)


def same_inputs(name):
    """Whether two versions agree on this input: not on the indicators of a date, which has one now,
    or a text's directions, which are the same up to their signs.
    """
    return not name.startswith(("note_", "sold (missing)"))


def test_a_table_is_prepared_as_by_skrub_and_scikit_learn(by_skrub):
    ours = load(MIXED)
    before = dict(zip(by_skrub.names, by_skrub.apply(find_samples(MIXED)).T, strict=True))
    x = dict(zip(ours.preparation.names, ours.preparation.apply(find_samples(MIXED)).T, strict=True))
    renamed = {"city (missing)": "city_None", "age (missing)": "missingindicator_age"}
    renamed["lift (missing)"] = "missingindicator_lift"
    for name in filter(same_inputs, x):
        # skrub counts the seconds since 1970 in float32.
        tolerance = 1e-3 if name.endswith("seconds") else 1e-4
        np.testing.assert_allclose(x[name], before[renamed.get(name, name)], atol=tolerance, err_msg=name)
    np.testing.assert_array_equal(x["sold (missing)"], before["missingindicator_sold_year"])
    for name in (f"note_{k:02d}" for k in range(10)):
        assert abs(np.corrcoef(x[name], before[name])[0, 1]) > 0.99, name


def test_each_column_has_the_role_that_skrub_gives_it(by_skrub):
    ours, theirs = load(MIXED).preparation.uses, by_skrub.uses
    roles = [{use.name: use.role for use in uses} for uses in (ours, theirs)]
    assert roles[0] == roles[1]
    assert roles[0] == {
        "size": "number", "age": "number", "lift": "number", "kind": "category", "city": "category",
        "side": "category", "sold": "date", "seen": "date", "built": "date", "note": "text",
    }  # fmt: skip
    assert [use.use for use in ours if use.name in ("side", "sold")] == [
        "1 input: whether it is right",
        "4 inputs: year, month, day, total seconds; a missing value becomes the mean, and one more input says that it"
        " is missing",
    ]


def test_a_preparation_is_read_as_it_was_written():
    fitted = load(MIXED).preparation
    again = Preparation.from_contents(fitted.contents())
    assert again.uses == fitted.uses
    np.testing.assert_array_equal(again.apply(find_samples(MIXED)), fitted.apply(find_samples(MIXED)))
    assert set(fitted.contents()) == {"preparation.json", "preparation.safetensors"}


@given(st.lists(st.one_of(st.none(), st.floats(-1e30, 1e30)), min_size=30, max_size=60))
def test_numbers_are_standardized_and_a_missing_one_is_marked(values):
    known = [value for value in values if value is not None]
    if len(set(known)) < 2 or np.std(known) < 1e-3 * np.max(np.abs(known)):
        return
    frame = pl.DataFrame({"x": pl.Series(values, dtype=pl.Float64), "y": np.arange(len(values)) / 7})
    data = load(frame)
    chosen = [values[row] for row in data.rows]
    known = np.array([value for value in chosen if value is not None])
    if not len(known) or known.std() == 0:
        return
    x = np.asarray(data.training.x)
    missing = np.array([value is None for value in chosen])
    filled = np.array([known.mean() if value is None else value for value in chosen])
    np.testing.assert_allclose(x[:, 0], (filled - known.mean()) / filled.std(), rtol=1e-4, atol=1e-5)
    assert (x[missing, 0] == 0).all()
    assert x.shape[1] == 1 + missing.any()
    if missing.any() and not missing.all():
        assert len(np.unique(x[missing, 1])) == len(np.unique(x[~missing, 1])) == 1


def test_large_numbers_that_differ_little_keep_their_differences():
    x = np.asarray(load(table(x=[1e15 + k for k in range(ROWS)])).training.x)
    assert len(np.unique(x)) == len(x)


def test_a_category_that_was_not_seen_is_none_of_the_values():
    encoder = Category(("a", "b", "c", None))
    encoded = np.array([*encoder.encode("t", pl.Series(["b", "d", None]))])
    np.testing.assert_array_equal(encoded.T, [[0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1]])
    assert encoder.input_names("x") == ["x_a", "x_b", "x_c", "x (missing)"]
    assert Category(("a", "b")).input_names("x") == ["x_b"]


@pytest.mark.parametrize("written", [written for written in FORMATS if written])
def test_dates_are_recognized_however_they_are_written(written):
    moments = [DAY + datetime.timedelta(days=37 * k, minutes=61 * k) for k in range(ROWS)]
    column = pl.Series([moment.strftime(written) for moment in moments])
    (fitted,) = load(table(x=column)).preparation.encoders
    assert isinstance(fitted, Date)
    expected = moments if "%M" in written else [datetime.datetime.combine(m.date(), datetime.time()) for m in moments]
    seconds = Date(fitted.written, ("total_seconds",)).encode("t", column)[0]
    np.testing.assert_array_equal(seconds // 60, [int((m - datetime.datetime(1970, 1, 1)).total_seconds()) // 60
                                                  for m in expected])  # fmt: skip


def test_years_of_two_digits(tmp_path):
    days = [DAY.date() - datetime.timedelta(days=40 * k) for k in range(ROWS)]
    years = []
    for written in ("%d/%m/%Y", "%d/%m/%y", "%d.%m.%y", "%d-%m-%y"):
        table(x=[day.strftime(written) for day in days]).write_csv(tmp_path / "t.csv")
        data = load(tmp_path / "t.csv")
        np.testing.assert_array_equal(load(pl.read_csv(tmp_path / "t.csv")).training.x, data.training.x)
        years.append(data.preparation.apply(find_samples(tmp_path / "t.csv", texts=data.preparation.texts))[:, 0])
    assert all((found == years[0]).all() for found in years)
    trained = train("2 tanh", load(table(x=days)), epochs=1)
    with pytest.raises(DataError, match="row 1, column 'x': '01-01-24' is not a date, as in the training data"):
        trained.predict(tmp_path / "t.csv")


def test_words_are_not_dates():
    for words in (["may", "june", "july"], ["1-2", "3-4", "5-6"], ["10:15", "11:15", "12:15"], ["A1", "B2", "C3"]):
        (fitted,) = load(table(x=words * (ROWS // 3))).preparation.encoders
        assert isinstance(fitted, Category)


def test_a_column_that_differs_in_other_rows_alone_is_left_out():
    rows = load(table(x=RANDOM.normal(size=ROWS))).rows
    values = np.zeros(ROWS)
    values[np.setdiff1d(np.arange(ROWS), rows)] = 1.0
    data = load(table(x=values, z=RANDOM.normal(size=ROWS)))
    assert data.preparation.left_out == (("x", "it does not differ within the training set"),)
    assert "left out x: it does not differ within the training set" in data.notes
    with pytest.raises(
        DataError, match=r"no column is left to learn from .'x': it does not differ within the training"
    ):
        load(table(x=values))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"role": "category", "values": ["a"]}, "the values of a category must be several and differ"),
        ({"role": "category", "values": ["a", None, "b"]}, "the values of a category"),
        ({"role": "category", "values": ["a", "b", "a"]}, "the values of a category"),
        ({"role": "date", "parts": []}, "with the parts"),
        ({"role": "date", "parts": ["year"], "written": "%Q"}, "dates written as '%Q'"),
        ({"role": "text", "vocabulary": ["abc"]}, "a text needs a vocabulary"),
        ({"role": "date", "parts": ["year", "month"]}, "does not prepare samples of the run's shape"),
        ({"role": "date", "parts": ["year", "year"]}, "with the parts"),
        ({"role": "number"}, "a column of the kind 'text' can't be a number"),
        (None, "it has 1 columns and 0 encoders"),
    ],
)
def test_an_altered_encoder_is_refused(change, problem):
    files = load(table(x=RANDOM.normal(size=ROWS))).preparation.contents()
    about = json.loads(files["preparation.json"])
    about["encoders"] = [] if change is None else [change]
    if change is not None:
        about["columns"][0][1] = "date" if change["role"] == "date" and "written" not in change else "text"
    with pytest.raises(RunError, match=problem):
        Preparation.from_contents(files | {"preparation.json": json.dumps(about).encode()})


def test_the_arrays_of_a_text_fit_its_vocabulary():
    fitted = load(MIXED.select("note", "y")).preparation
    (text,) = fitted.encoders
    assert isinstance(text, Text)
    without = [*text.encode("t", pl.Series([None, ""], dtype=pl.String))]
    both = np.array([*text.encode("t", pl.Series(["", "by the sea"]))])
    np.testing.assert_array_equal(without, both[:, [0, 0]])
    files = fitted.contents()
    about = json.loads(files["preparation.json"])
    for vocabulary in (
        text.vocabulary[1:],
        ("a", *text.vocabulary[1:], "b"),
        (*text.vocabulary[1:], text.vocabulary[1]),
    ):
        about["encoders"][0]["vocabulary"] = vocabulary
        with pytest.raises(RunError, match="was altered"):
            Preparation.from_contents(files | {"preparation.json": json.dumps(about).encode()})


def test_an_encoder_for_each_role_is_enough():
    assert {type(encoder) for encoder in load(MIXED).preparation.encoders} == {Number, Category, Date, Text}


# Many inputs for one column


def reviews(rows=400, seed=0):
    """Reviews, of which a word or a pair of words says what they think."""
    random = np.random.default_rng(seed)
    common = [f"{a}{b}" for a in ("the ", "a ", "one ") for b in ("film", "plot", "actor", "scene", "story", "end")]
    good, bad = ("wonderful", "moving", "not bad"), ("dull", "tedious", "not good")
    label = random.random(rows) < 0.5
    texts = [" ".join([*random.choice(common, 4), random.choice(good if one else bad)]) for one in label]
    return pl.DataFrame({"review": texts, "label": np.where(label, "good", "bad")})


def test_each_word_of_a_text_is_an_input_as_in_scikit_learn():
    from sklearn.feature_extraction.text import TfidfVectorizer

    data = load(reviews())
    names = data.input_names
    assert {"review_dull", "review_not good"} <= {*names}
    assert data.preparation.uses[0].use == f"{len(names)} inputs, one for each word or pair of words"
    texts = reviews()["review"].to_list()
    training = [texts[row] for row in data.rows]
    theirs = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2, token_pattern=r"\b\w+\b").fit(training)
    expected = theirs.transform(training).toarray()
    assert [f"review_{word}" for word in theirs.get_feature_names_out()] == names
    np.testing.assert_allclose(data.training.x, expected - expected.mean(axis=0), atol=1e-6)
    again = Preparation.from_contents(data.preparation.contents())
    np.testing.assert_array_equal(again.apply(find_samples(reviews(seed=1))),
                                  data.preparation.apply(find_samples(reviews(seed=1))))  # fmt: skip


def test_what_words_say_is_learned():
    trained = train(data=load(reviews(rows=600), test=0.2))
    assert trained.evaluate()["accuracy"] > 0.97


def test_words_with_directions_of_an_earlier_version_are_read():
    words = Text(("a", "b"), np.ones(2), np.array([[1.0, 1.0]]), words=True)
    again = from_json(words.as_json(), words.arrays)
    (encoded,) = again.encode("t", pl.Series(["a b", "b"]))
    np.testing.assert_allclose(encoded, [2**0.5, 1.0])


def shops(rows=2000, values=200, seed=0):
    random = np.random.default_rng(0)
    effect, slope = random.normal(size=(2, values))
    random = np.random.default_rng(seed)
    shop, x = random.integers(0, values, rows), random.normal(size=rows)
    y = effect[shop] + slope[shop] * x + 0.2 * random.normal(size=rows)
    return pl.DataFrame({"shop": [f"shop {k}" for k in shop], "x": x, "y": y})


def test_each_of_many_values_that_recur_is_an_input_of_its_own():
    data = load(shops())
    category, _ = data.preparation.encoders
    assert isinstance(category, Category)
    assert category.is_sparse
    assert len(category.values) == 200
    at = data.input_names.index("shop_shop 7")
    frame = pl.DataFrame({"shop": ["shop 7", "shop 8", "unknown"], "x": [0.0, 0.0, 0.0]})
    x = data.preparation.apply(find_samples(frame))
    assert x[0, at] - x[1, at] == pytest.approx(1.0)  # not scaled, so that a rare value counts less
    assert x[2, at] == x[1, at]
    again = Preparation.from_contents(data.preparation.contents())
    np.testing.assert_array_equal(again.apply(find_samples(frame)), x)


def test_values_that_seldom_recur_are_parts_of_words():
    (fitted, _) = load(shops(rows=300)).preparation.encoders
    assert isinstance(fitted, Text)


def test_the_effect_of_each_of_many_values_is_learned():
    trained = train(data=load(shops(rows=4000), test=0.2))
    assert trained.evaluate()["r2"] > 0.85  # without the shops at most 0, with their means alone about 0.5


def test_the_inputs_of_a_text_are_bounded_by_the_rows():
    assert most_inputs(1000) == MANY
    assert most_inputs(100_000) * 100_000 <= NUMBERS
    assert most_inputs(10**9) == TEXT


# Runs of earlier versions


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A run on a table as an earlier version recorded it, which stopped after an epoch, and one that
    didn't.
    """
    tmp_path = tmp_path_factory.mktemp("recorded")
    MIXED.write_csv(tmp_path / "t.csv")
    files = earlier.contents(tmp_path / "t.csv")
    data = load(tmp_path / "t.csv", preparation=Preparation.from_contents(files))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Preparation, "contents", lambda _: files)
        for name, epochs in (("stopped", 1), ("whole", 3)):
            train("5 tanh", data, optimizer="adam", epochs=epochs, patience=None, callbacks=[Recorder(tmp_path / name)])
    return tmp_path


def test_a_run_of_an_earlier_version_is_resumed_bit_for_bit(recorded):
    trained = Run.open(recorded / "stopped").resume(epochs=3)
    whole = Run.open(recorded / "whole")
    np.testing.assert_array_equal(trained.parameters, whole.trained.parameters)
    np.testing.assert_array_equal(trained.predict(MIXED), whole.trained.predict(recorded / "t.csv"))
    assert (recorded / "stopped" / "preparation.skops").exists()


def test_its_data_is_prepared_as_it_was(recorded):
    run = Run.open(recorded / "whole")
    expected = run.load_data()
    data = run.own_data(load(recorded / "t.csv"))
    np.testing.assert_array_equal(data.training.x, expected.training.x)
    np.testing.assert_array_equal(data.test.x, expected.test.x)
    assert run.own_data(expected) is expected


def test_without_skrub_it_says_what_it_needs(recorded, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ChainruleError, match=r"needs skrub: pip install 'chainrule\[earlier\]'"):
        Run.open(recorded / "whole")


def test_texts_of_several_words_are_told_apart_by_words():
    texts = [f"the film was {'good' if k % 2 else 'bad'} and number {k}, they say" for k in range(120)]
    data = load(pl.DataFrame({"review": texts, "liked": [k % 2 for k in range(120)]}), target="liked")
    (encoder,) = data.preparation.encoders
    assert encoder.words
    assert {"good", "bad", "was good"} <= {*encoder.vocabulary}
    again = Preparation.from_contents(data.preparation.contents())
    assert again.encoders[0].words
    source = find_samples(pl.DataFrame({"review": texts[:9]}))
    np.testing.assert_array_equal(again.apply(source), data.preparation.apply(source))


def test_a_texts_inputs_keep_their_proportions():
    data = load(pl.DataFrame({"name": [f"street {k}" for k in range(90)], "y": np.arange(90.0)}), target="y")
    (encoder,) = data.preparation.encoders
    assert not encoder.words
    deviations = np.asarray(data.training.x, np.float64).std(axis=0)
    assert np.sqrt(np.mean(deviations**2)) == pytest.approx(1)
    assert deviations.max() > 1.5 * deviations.min()


def test_pixels_in_columns_share_a_deviation_and_other_numbers_do_not():
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (80, 70)) * (random.random((80, 70)) < np.linspace(0.05, 0.8, 70))
    columns = {f"pixel_{k}": pixels[:, k] for k in range(70)}
    y = np.arange(80.0)
    (deviation,) = {*load(pl.DataFrame({**columns, "y": y}), target="y").preparation.deviation}
    assert deviation > 1
    for other in (random.normal(size=80), pixels[:, 0] * 1000):  # not whole, and much brighter than the rest
        preparation = load(pl.DataFrame({**columns, "other": other, "y": y}), target="y").preparation
        assert len({*preparation.deviation}) > 60
