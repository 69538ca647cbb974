"""A report: one page for every kind of data, with the sections that apply, that needs no network."""

import html
import json
from html.parser import HTMLParser

import numpy as np
import polars as pl
import pytest

import chainrule
from chainrule.cli import run as command
from chainrule.data import Text
from chainrule.doctor import diagnose
from chainrule.errors import DataError, SettingError
from chainrule.reports.run_report import SECTIONS
from chainrule.reports.section import LONGEST, number
from chainrule.runs import Run

VOID = {"meta", "link", "img", "br", "input", "image", "hr"}
HOSTILE = "<script>alert(1)</script>\"'&<b>"
LARGEST = 3_000_000


class Checked(HTMLParser):
    """Reads a page, and fails where tags do not match."""

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.open, self.sections, self.links, self.scripts, self.words, self.read = [], [], [], 0, [], []

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.sections += [attributes["id"]] if tag == "section" else []
        self.links += [attributes[name] for name in ("src", "href") if name in attributes]
        self.scripts += tag == "script"
        assert not any(name.startswith("on") for name in attributes)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.links += [value for name, value in attributes if name in ("src", "href")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, words):
        self.words.append(words)
        self.read += [] if self.open and self.open[-1] == "style" else [words]


def checked(report):
    """The page, read; it has no script, loads nothing, and is small."""
    page = Checked()
    page.feed(report.html)
    page.close()
    assert page.open == []
    assert page.scripts == 0
    assert all(link.startswith(("#", "data:")) for link in page.links)
    assert len(report.html.encode()) < LARGEST
    json.dumps(report.as_json(), allow_nan=True)
    return page


def table(rows=90):
    random = np.random.default_rng(0)
    x = random.normal(size=(rows, 2))
    return pl.DataFrame({
        "a": x[:, 0], HOSTILE: x[:, 1], "city": random.choice(["Bern", HOSTILE], rows),
        "label": np.where(x.sum(axis=1) > 0, HOSTILE, "low"), "price": x[:, 0] * 3 + 100, "size": x[:, 1],
        "one": (x[:, 0] > 0).astype(int), "two": (x[:, 1] > 0).astype(int),
    })  # fmt: skip


def pictures(rows=60):
    random = np.random.default_rng(1)
    x, y = random.integers(0, 50, (rows, 8, 8, 1)).astype(np.uint8), np.arange(rows) % 2
    x[y == 1, :, :4] += 200
    return x, y


def series():
    days = pl.date_range(pl.date(2024, 1, 1), pl.date(2024, 9, 30), eager=True)
    return pl.DataFrame({"day": days, "sales": [10.0 + k % 7 for k in range(len(days))]})


SAMPLES = {"importance", "examples"}
COMMON = {"card", "data", "quality", "curves", "surface", "weights", "life", "findings"}
KINDS = {
    "classes": (lambda: chainrule.train("4 tanh", table(), target="label", epochs=3), COMMON | SAMPLES),
    "quantity": (lambda: chainrule.train("4 tanh", table(), target="price", epochs=3),
                 COMMON | SAMPLES | {"residuals"}),
    "quantities": (lambda: chainrule.train("4 tanh", table(), target=["price", "size"], epochs=3),
                   COMMON | SAMPLES | {"residuals"}),
    "labels": (lambda: chainrule.train("4 tanh", table(), target=["one", "two"], epochs=3), COMMON | SAMPLES),
    "pictures": (lambda: chainrule.train("conv 2 3x3 relu, flatten", pictures(), epochs=2), COMMON | SAMPLES),
    "series": (lambda: chainrule.train("4 tanh", series(), time="day", target="sales", horizon=3, epochs=2),
               COMMON | {"importance", "forecasts"}),
    "text": (lambda: chainrule.train("embedding 30 4, transformer 1 heads=2 causal=true",
                                     Text("rhyme", "Row, row, row your boat, gently down the stream.\n" * 30),
                                     epochs=1, length=8), COMMON | {"language"}),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_data_has_its_sections_and_what_users_named_stays_text(kind, tmp_path):
    train, expected = KINDS[kind]
    trained = train()
    trained.save(tmp_path / "run")
    report = chainrule.report(tmp_path / "run", data=trained.data, leave_out=("session",))
    page = checked(report)
    assert expected <= {*page.sections}, report.as_json()["left_out"]
    assert not {"residuals", "examples", "forecasts", "language"} & ({*page.sections} - expected)
    if kind in ("classes", "quantity", "labels"):
        assert HOSTILE in "".join(page.words)
    assert "<script" not in report.html
    told = report.as_json()["life"]
    parts = sum(one["share"] for one in told["by_sample"]) + told["rest"]["share"] + sum(told["others"].values())
    assert parts + told["rounding"] + told["remainder"] == pytest.approx(told["end"] - told["draw"], abs=1e-9)
    measured = report.as_json()["quality"]
    assert measured["part"] == "test"
    assert measured["metrics"]["loss"] == trained.evaluate()["loss"]


def test_three_weights_are_those_that_moved_most_in_first_middle_and_last_layer(tmp_path):
    trained = chainrule.train("4 tanh, 3 tanh", "iris", epochs=5)
    trained.save(tmp_path / "run")
    report = chainrule.report(tmp_path / "run", leave_out=("session", "surface", "life", "findings"))
    names = [one["weight"] for one in report.as_json()["weights"]["weights"]]
    run, layout = Run.open(tmp_path / "run"), trained.plan.network.parameters
    moved = np.abs(trained.progress.position.parameters - run.at(0).before.parameters)
    for name, entry in zip(names, [e for e in layout.entries if e.own_name == "W"], strict=True):
        assert name.startswith(entry.name)
        assert moved[layout.find(name)] == moved[entry.start : entry.start + entry.size].max()


def test_the_doctors_findings_are_those_of_diagnose(tmp_path):
    chainrule.train("8 relu", "iris", epochs=20, optimizer="adam 1e-7").save(tmp_path / "run")
    only = tuple(key for key in SECTIONS if key != "findings")
    report = chainrule.report(tmp_path / "run", leave_out=only)
    found = diagnose(tmp_path / "run").findings
    assert [one["kind"] for one in report.as_json()["findings"]["findings"]] == [one.kind for one in found]
    assert "learning rate too small" in report.html
    assert all(html.escape(one.words) in report.html for one in found)


def test_importance_is_measured_on_the_test_set(tmp_path):
    trained = chainrule.train("8 tanh", "iris", epochs=20)
    trained.save(tmp_path / "run")
    only = tuple(key for key in SECTIONS if key != "importance")
    found = chainrule.report(tmp_path / "run", leave_out=only).as_json()["importance"]
    assert found["metrics"]["accuracy"] == trained.evaluate()["accuracy"]
    assert {one["column"] for one in found["columns"]} == {*trained.data.source.columns}


def test_the_worst_mistakes_have_the_largest_losses(tmp_path):
    trained = chainrule.train("4 tanh", "iris", epochs=5)
    trained.save(tmp_path / "run")
    only = tuple(key for key in SECTIONS if key != "examples")
    worst = chainrule.report(tmp_path / "run", leave_out=only).as_json()["examples"]["worst"]
    held_out = trained.held_out("test")
    of_truth = held_out.probabilities[np.arange(30), [list(trained.target.classes).index(t) for t in held_out.targets]]
    losses = np.sort(-np.log(of_truth))[::-1][: len(worst)]
    assert np.allclose([row["loss"] for row in worst], losses, rtol=1e-4)


def test_without_its_data_a_run_has_a_report_that_says_what_is_missing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    table().write_csv("houses.csv")
    chainrule.train("4 tanh", "houses.csv", target="price", drop=["label"], epochs=2).save("run")
    (tmp_path / "houses.csv").unlink()
    assert command(["report", "run", "-o", "r.html"]) == 0
    content = (tmp_path / "r.html").read_text()
    assert "The data itself is missing" in content
    assert 'id="card"' in content
    assert 'id="residuals"' not in content
    with pytest.raises(DataError, match="not the data"):
        chainrule.report("run", data=table().with_columns(price=pl.lit(1.0) + pl.col("a")))


def test_bad_input_is_one_line_and_nothing_is_written(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    chainrule.train("2 tanh", "iris", epochs=1).save("run")
    for arguments, words in (
        (["report", "missing"], "no such run"), (["report", "run", "-o", "r.pdf"], ".html"),
        (["report", "run", "-o", "no/r.html"], "no folder"), (["report", "run", "--leave-out", "curve"], "curves"),
        (["compare", "run"], "at least two"), (["compare", "run", "run", "-o", "c.txt"], ".html"),
    ):  # fmt: skip
        assert command(arguments) == 2
        error = capsys.readouterr().err.strip()
        assert words in error
        assert "\n" not in error
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    with pytest.raises(SettingError):
        chainrule.report("run", leave_out=("nothing",))


def test_names_of_any_length_and_of_any_characters_leave_the_page_intact(tmp_path):
    long, turned = "<i>name " * 1250, "a\u202e\n\x07'\"</td>"
    random = np.random.default_rng(0)
    x = random.normal(size=90)
    frame = pl.DataFrame({long: x, turned: random.normal(size=90), "kind": random.choice([long, turned], 90),
                          "label" + turned: np.where(x > 0, long, turned)})  # fmt: skip
    trained = chainrule.train("3 tanh", frame, target="label" + turned, epochs=3)
    folder = tmp_path / "<b>\n'\"run"
    trained.save(folder)
    report = chainrule.report(folder, data=frame, leave_out=("session", "surface"))
    page = Checked()
    page.feed(report.html)
    page.close()
    assert page.open == []
    assert {"data", "quality", "examples", "importance", "weights", "life"} <= {*page.sections}
    assert max(map(len, page.read)) <= LONGEST
    assert not {"\u202e", "\x07"} & {*report.html}
    assert "<i>" not in report.html
    assert len(report.html.encode()) < LARGEST


def test_an_imported_run_claims_no_training_and_no_quality(tmp_path):
    chainrule.train("4 tanh", "iris", epochs=2).save(tmp_path / "trained")
    assert command(["export", str(tmp_path / "trained"), "-o", str(tmp_path / "iris.onnx")]) == 0
    assert command(["import", str(tmp_path / "iris.onnx"), "-o", str(tmp_path / "run")]) == 0
    report = chainrule.report(tmp_path / "run")
    assert [section.key for section in report.sections] == ["card"]
    assert "imported from iris.onnx" in report.html
    for words in ("trained on iris.onnx", "batches", "did not come to its end", "kept for a test"):
        assert words not in report.html


def test_progress_says_which_section_is_made_and_stopping_leaves_no_file(tmp_path, monkeypatch):
    chainrule.train("2 tanh", "iris", epochs=1).save(tmp_path / "run")
    told = []
    chainrule.report(tmp_path / "run", leave_out=("session", "life"), progress=lambda *one: told.append(one))
    made = [words.partition(":")[0] for words, _ in told]
    titles = [title.lower() for key, (title, _) in SECTIONS.items() if key not in ("session", "life")]
    assert [*dict.fromkeys(made)] == ["reading the data", *titles]
    assert any(words.startswith("what the doctor found: ") for words, _ in told)
    shares = [share for _, share in told]
    assert shares == sorted(shares)

    def stop(subject):
        raise KeyboardInterrupt

    monkeypatch.setitem(SECTIONS, "surface", ("The way downhill", stop))
    assert command(["report", str(tmp_path / "run"), "-o", str(tmp_path / "r.html")]) == 130
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_one_epoch_is_a_point_and_one_repeat_has_no_whisker(tmp_path, monkeypatch):
    monkeypatch.setattr("chainrule.attribution.permutation.MOST_REPEATS", 1)
    chainrule.train("2 tanh", "iris", epochs=1).save(tmp_path / "run")
    only = tuple(key for key in SECTIONS if key not in ("curves", "importance"))
    curves, importance = chainrule.report(tmp_path / "run", leave_out=only).sections
    assert curves.html.count('class="dots') == 3  # training and validation loss, and the accuracy
    assert "1 time each." in importance.html
    assert "whisker" not in importance.html


def test_large_quantities_are_written_without_powers_of_ten(tmp_path):
    frame = table().with_columns(price=pl.col("price") * 10_000)
    trained = chainrule.train("4 tanh", frame, target="price", epochs=3)
    trained.save(tmp_path / "run")
    only = tuple(key for key in SECTIONS if key not in ("quality", "residuals", "examples"))
    report = chainrule.report(tmp_path / "run", data=frame, leave_out=only)
    assert "e+0" not in report.html
    assert number(trained.evaluate()["mae"]) in report.html


def test_it_opens_without_network_and_a_small_networks_steps_can_be_clicked_through(tmp_path, open_page, monkeypatch):
    monkeypatch.setattr("chainrule.reports.session.MOST_STEPS", 2)
    chainrule.train("2 tanh", "moons", epochs=2, optimizer="sgd 0.3", batch_size=50).save(tmp_path / "run")
    made = chainrule.report(tmp_path / "run", leave_out=("surface", "weights", "life", "importance", "findings"))
    made.save(tmp_path / "r.html")
    assert (tmp_path / "r.html").stat().st_size < LARGEST
    problems = []
    page = open_page(tmp_path / "r.html", 1280)
    page.on("console", lambda message: problems.append(message.text))
    page.reload()
    frame = page.frame_locator("iframe")
    frame.locator("#now-step").filter(has_text="0").wait_for()
    frame.locator("#step").click()
    frame.locator("#now-step").filter(has_text=str(made.as_json()["session"]["steps"][1])).wait_for()
    assert problems == []
    monkeypatch.setattr("chainrule.reports.session.MOST_BYTES", 1000)
    only = tuple(key for key in SECTIONS if key != "session")
    left_out = chainrule.report(tmp_path / "run", leave_out=only).as_json()["left_out"]
    assert "the recording takes" in left_out["session"]
    # A script that was smuggled in would not run.
    assert page.evaluate("""() => { const s = document.createElement("script"); s.textContent = "window.hacked = 1";
        document.body.append(s); return window.hacked ?? 0 }""") == 0  # fmt: skip
