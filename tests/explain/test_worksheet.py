"""Worksheets: answers are the network's numbers, blanks hide them, and random numbers are short."""

import re

import numpy as np
import pytest

from chainrule.backprop import differentiate
from chainrule.cli import run as command
from chainrule.descent import optimizer
from chainrule.errors import SettingError
from chainrule.explain.worksheet import NETWORK, Blank, make_worksheet, number
from chainrule.losses import loss
from chainrule.network import Network
from chainrule.runs import Recorder, train

TEXTS = [NETWORK, "2 relu, 1", "2 sigmoid, 2 sigmoid", "3 tanh, 2 relu, 1", "1", "2 leakyrelu, 2"]


def worksheet(text, seed=0, chain="sgd 0.1"):
    return make_worksheet(Network(text, 2), loss("half_squares"), optimizer(chain), seed=seed)


def answers(lines):
    """The last blank's answer of each line."""
    return [[part.answer for part in line if isinstance(part, Blank)][-1] for line in lines]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("seed", [0, 1])
def test_the_answers_are_the_networks_own(text, seed):
    sheet = worksheet(text, seed)
    trace = sheet.trace
    expected = differentiate(trace.network, trace.problem.loss, trace.parameters, trace.batch.x, trace.batch.y)
    assert answers(sheet.forward()) == [v for values in trace.tape.values[1:] for v in values.ravel()]
    assert answers(sheet.loss()) == [expected.loss]
    assert answers(sheet.gradients()) == pytest.approx(expected.gradient, rel=1e-12)
    assert answers(sheet.updates()) == pytest.approx(trace.parameters - 0.1 * expected.gradient, rel=1e-12)


@pytest.mark.parametrize("text", TEXTS)
def test_the_numbers_of_each_line_give_its_answer(text):
    """The expression before the last "=" evaluates to the number after it."""
    sheet = worksheet(text)
    for line in [*sheet.forward(), *sheet.backward(), *sheet.gradients(), *sheet.updates()]:
        words = "".join(str(part.answer) if isinstance(part, Blank) else part for part in line)
        sides = words.replace("−", "-").replace("×", "*").split(": ", 1)[-1].split(" = ")
        if re.fullmatch(r"[-\d.e*+() ]+", sides[-2]):
            assert eval(sides[-2]) == pytest.approx(float(sides[-1]), abs=1e-9), words


@pytest.mark.parametrize("text", [NETWORK, "2 relu, 1", "2, leakyrelu 0.5, 2", "1"])
@pytest.mark.parametrize("seed", range(4))
def test_random_numbers_are_short(text, seed):
    sheet = worksheet(text, seed)
    lines = [*sheet.forward(), *sheet.loss(), *sheet.backward(), *sheet.gradients(), *sheet.updates()]
    for text in (number(part.answer) for line in lines for part in line if isinstance(part, Blank)):
        assert len(text.lstrip("−")) <= 6
    assert np.count_nonzero(sheet.record.gradient) >= sheet.record.gradient.size / 2


def test_the_sheet_hides_the_answers_of_the_key():
    sheet = worksheet("2 relu, 1")
    fill, key = sheet.page().split('<section class="key">')
    blanks = sum(isinstance(part, Blank) for line in sheet.forward() for part in line)
    assert fill.count('class="blank"') == key.count("<b>") > blanks
    assert "<b>" not in fill
    assert 'class="blank"' not in key


@pytest.mark.parametrize("seed", range(4))
def test_the_default_network_has_slopes_that_are_not_all_1(tmp_path, seed):
    assert command(["worksheet", "-o", str(tmp_path / "sheet.html")]) == 0
    assert "0.5" in (tmp_path / "sheet.html").read_text().split("f(z)")[0]
    slopes = list(worksheet(NETWORK, seed).slopes())
    assert {slope for _, slope in slopes} == {0.5, 1}
    assert all(z != 0 for z, _ in slopes)


def test_the_network_is_drawn_with_its_weights_and_in_the_key_with_its_values():
    sheet = worksheet("2 sigmoid, 1")
    fill, key = sheet.page().split('<section class="key">')
    for weight in sheet.trace.parameters.tolist():
        assert f">{number(weight)}</text>" in fill or f"b = {number(weight)}<" in fill
    assert "z = ______" in fill
    for value in sheet.trace.tape.values[-1].ravel().tolist():
        assert f"z = {number(value)}<" in key
        assert f"z = {number(value)}<" not in fill


def test_a_loss_with_two_outputs_per_target():
    sheet = make_worksheet(Network("2 relu, 2", 2), loss("gaussian"), optimizer("sgd 0.1"))
    assert sheet.trace.batch.y.shape == (1, 1)
    assert "t[0] = " in sheet.page()


def test_an_optimizer_of_several_stages_has_a_line_per_stage():
    sheet = worksheet("1", chain="momentum 0.5")
    assert any("momentum of" in str(line[0]) for line in sheet.updates())


@pytest.mark.parametrize("text", ["", "20 tanh, 20 tanh, 1", "2, softmax", "2, residual(2), 1", "3 prelu, 1"])
def test_unsuitable_networks_are_refused(text):
    with pytest.raises(SettingError, match="a worksheet is for"):
        worksheet(text)


def test_a_runs_worksheet_has_its_own_weights_rounded(tmp_path, capsys):
    trained = train("2 tanh", "moons", epochs=1, callbacks=[Recorder(tmp_path / "run")])
    page = tmp_path / "sheet.html"
    assert command(["worksheet", str(tmp_path / "run"), "-o", str(page)]) == 0
    assert "dense_2.b[0]" in page.read_text()
    assert trained.parameters.size == 9
    assert command(["worksheet", str(tmp_path / "run"), "--network", "2", "-o", str(page)]) == 2
    assert "either a RUN or a --network" in capsys.readouterr().err


@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_in_a_browser(open_page, tmp_path, width):
    (tmp_path / "sheet.html").write_text(worksheet("2 sigmoid, 2 sigmoid").page())
    browser_page = open_page(tmp_path / "sheet.html", width)
    assert browser_page.evaluate("document.documentElement.scrollWidth") <= width
    assert browser_page.locator(".blank").first.bounding_box()["width"] > 50
    assert browser_page.locator("math").count() == 2
    drawn = browser_page.locator("svg").first
    frame = drawn.bounding_box()
    assert frame["x"] >= 0
    assert frame["x"] + frame["width"] <= width
    labels = [label.bounding_box() for label in drawn.locator("g.label, g.card").all()]
    assert len(labels) == 8 + 6
    for k, a in enumerate(labels):
        for b in labels[:k]:
            beside = a["x"] + a["width"] <= b["x"] + 1 or b["x"] + b["width"] <= a["x"] + 1
            assert beside or a["y"] + a["height"] <= b["y"] + 1 or b["y"] + b["height"] <= a["y"] + 1
