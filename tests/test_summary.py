"""What objects say of themselves in a terminal and in a notebook."""

import re
from html.parser import HTMLParser

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import chainrule
from chainrule.explain import worked_example
from chainrule.layers import Dense
from chainrule.losses import Huber
from chainrule.summary import CONTROLS, LONGEST, Summary, Table, curve, one_line

HOSTILE = "<script>alert(1)</script>&\x1b[31m\nb"
VOID = {"img", "br", "progress"}


class Reader(HTMLParser):
    """The texts and the tags of a fragment; every tag is closed by the one that it opens."""

    def __init__(self, html):
        super().__init__()
        self.texts, self.tags, self.open = [], set(), []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        assert not any(
            name.startswith("on") or ((value or "").startswith("http") and name != "xmlns") for name, value in attrs
        )
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.texts.append(data)


def check(thing):
    """Both forms of an object are short, have no markup of the user's, and need no network."""
    text, html = repr(thing), thing._repr_html_()
    lines = text.splitlines()
    assert 1 <= len(lines) < 20
    assert max(map(len, lines)) <= LONGEST
    assert not set(text) & {chr(code) for code in CONTROLS}
    reader = Reader(html)
    assert "script" not in reader.tags
    assert not set("".join(reader.texts)) & {chr(code) for code in CONTROLS}
    assert "url(" not in html
    assert "@import" not in html
    return lines, reader, len(html)


@pytest.fixture(scope="module")
def frame():
    random = np.random.default_rng(0)
    columns = {HOSTILE: random.normal(size=80), "city": random.choice(["<b>Bern</b>", "Basel"], 80)}
    columns |= {f"x{k}": random.normal(size=80) for k in range(60)}
    return pl.DataFrame(columns | {"<i>price</i>": random.normal(size=80)})


def test_a_run_and_all_its_parts_describe_themselves(frame, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recorder = chainrule.Recorder("<run>")
    trained = chainrule.train(
        "8 relu, 4 tanh", frame, epochs=4, loss=Huber(0.5), optimizer="adam 0.01", penalties="l2 0.1",
        callbacks=[recorder],
    )  # fmt: skip
    run = chainrule.Run.open(recorder.folder)
    for thing in (trained, trained.plan, trained.plan.network, trained.data, run):
        lines, _, size = check(thing)
        assert size < 20_000
    lines, reader, _ = check(trained)
    assert lines[0] == "Trained: 4 epochs, complete"
    assert any(re.fullmatch(r"  loss +Huber\(delta=0.5\) \+ Penalty\(l2=0.1\)", line) for line in lines)
    assert any(re.fullmatch(r"  training loss +[\d.]+", line) for line in lines)
    assert {"svg", "polyline", "table", "details"} <= reader.tags
    assert "dense_3" in reader.texts
    lines, reader, _ = check(trained.data)
    assert lines[0] == "table: 80 samples of 62 inputs"
    assert any(line.split() == ["...", "49", "more"] for line in lines)
    assert one_line(HOSTILE) in reader.texts
    assert "<i>price</i> (regression)" in reader.texts
    lines, reader, _ = check(run)
    assert lines[0] == ("<run>: complete after 4 epochs, 8 steps")
    assert "polyline" in reader.tags


def test_an_explanation_shows_the_gradient_the_update_and_the_scheme():
    explanation = worked_example()
    lines, reader, _ = check(explanation)
    assert lines[0].startswith("Why dense_1.W[0, 0] changed in step 0")
    assert len(lines) == 3
    assert "svg" in reader.tags


def test_a_deep_network_is_shown_by_its_first_and_last_layers():
    network = chainrule.Network([*[Dense(3) for _ in range(200)], Dense(1)], 3)
    lines, reader, size = check(network)
    assert lines[0] == "Network: input 3, output 1, 2,404 weights in float32"
    assert lines[2].split() == ["dense_1", "Dense", "3", "12"]
    assert lines[-2].split() == ["dense_201", "Dense", "1", "4"]
    assert lines[-1].split() == ["total", "2,404"]
    assert "... 143 more" in reader.texts
    assert size < 20_000


def test_a_network_without_weights_or_training_is_shown():
    check(chainrule.Network("relu", 3))
    plan = chainrule.train("2", "iris", epochs=1, patience=1).plan
    assert "in which the validation loss did not improve" in repr(plan)


@given(st.lists(st.text(max_size=30), min_size=2, max_size=5), st.integers(0, 40))
def test_no_text_is_markup(names, count):
    table = Table(names[0], names, [names] * count, "lr" + "l" * (len(names) - 2))

    class Thing:
        summary = Summary(names[0], names[1], dict.fromkeys(names, names[0]), table, {names[0]: [1.0, 2.0]}, names)

        def __repr__(self):
            return self.summary.text()

        def _repr_html_(self):
            return self.summary.html()

    _, reader, _ = check(Thing())
    shown = "".join(reader.texts)
    assert all(one_line(name) in shown for name in names)


@given(st.lists(st.floats(), max_size=30), st.lists(st.floats(), max_size=700))
def test_a_curve_stays_within_its_picture(first, second):
    drawn = curve({"a": first, "b": second})
    positive = [v for v in (*first, *second) if 0 < v < float("inf")]
    assert bool(drawn) == (bool(positive) and max(len(first), len(second)) > 1)
    for points in re.findall(r'points="([^"]*)"', drawn):
        for pair in points.split():
            x, y = map(float, pair.split(","))
            assert 52 <= x <= 340
            assert 0 <= y <= 130
    assert len(drawn) < 8_000


def test_the_package_lists_everything_public():
    listed = dir(chainrule)
    assert {"train", "load", "Network", "Run", "layers", "losses", "descent", "explain", "training"} <= set(listed)
    assert all(getattr(chainrule, name) is not None for name in listed)
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        _ = chainrule.trian
