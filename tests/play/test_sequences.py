"""Texts and sequences of numbers on the live page: what is sent of them, and how the lenses show it."""

import numpy as np
import pytest
from playwright.sync_api import expect

from chainrule.cli import run
from chainrule.data import load
from chainrule.play.attended import layers_of
from chainrule.play.frames import description
from chainrule.play.lines import plain
from chainrule.play.sequence import SequenceView
from chainrule.play.session import Session
from chainrule.play.settings import DataSettings, Settings
from chainrule.play.slice import step_shown
from chainrule.play.toys import TOYS, house
from chainrule.play.trainer import Trainer
from chainrule.play.unit import unit_view
from chainrule.play.unrolled import scans_of
from chainrule.play.written import written
from waiting import settled

CELLS = ("simple_rnn 2 tanh", "lstm 3", "gru 2", "lstm 2 all=true, gru 2 reversed=true")


def training(name, **changes):
    return Trainer(Settings.from_json({**TOYS[name].settings, **changes, "data": {"kind": "sequence", "name": name}}))


@pytest.mark.parametrize("name", TOYS)
def test_every_toy_trains_and_answers_every_command(name):
    sent = []
    session = Session(sent.append, threaded=False)
    session.obey({"type": "settings", "settings": training(name).settings.as_json()})
    before = session.trainer.training_loss()
    session.trainer.advance(60)
    assert session.trainer.training_loss() < before
    for phase in ("forward", "loss", "backward", "update"):
        session.obey({"type": "phase", "phase": phase})
        session.show()
    layout = session.trainer.plan.network.parameters
    session.obey({"type": "open", "weight": layout.name_of(layout.size // 2)})
    assert not [message for message in sent if b'"type": "error"' in message[:60]]


def test_the_weights_of_gates_are_called_by_what_they_are_drawn_from():
    named = {one["layer"]: one["distribution"] for one in description(training("recall", network="lstm 3"))[0]["draws"]}
    assert named == {"lstm_1.input": "glorot_uniform for each gate", "dense_1": "glorot_uniform"}


@pytest.mark.parametrize("network", CELLS)
def test_what_comes_back_to_a_time_step_is_the_samples_own(network):
    """δ of a step is the derivative of the sample's loss, by central differences on the step's biases."""
    trainer = training("addition", network=network)
    header, arrays = SequenceView(trainer, 2).message()
    _, _, derivatives = step_shown(trainer)
    for k, scan in enumerate(scans_of(trainer.plan.network)):
        order = sorted(scan.times)
        state = [scan.node("state", time) for time in order]
        deltas = np.array([derivatives.tape.arrived(node.name)[2] for node in state]) * len(header["rows"])
        np.testing.assert_allclose(arrays[f"deltas {k}"], np.linalg.norm(deltas, axis=-1), rtol=1e-5, atol=1e-12)
        assert (arrays[f"deltas {k}"][header["valid"] :] == 0).all()  # the sequence is over
        for row, lines in zip(scan.rows, header["scans"][k]["lines"], strict=True):
            for time, units in zip(order, lines, strict=True):
                shown = float(plain(units[0]).split("= ")[-1].replace("−", "-"))
                value = derivatives.tape.values[trainer.plan.network.graph.numbers[scan.node(row, time).name]][2, 0]
                assert shown == pytest.approx(value, abs=6e-4)


def test_what_attention_multiplies_adds_up():
    trainer = training("house")
    trainer.advance(20)
    layer = layers_of(trainer.plan.network)[1]
    view = unit_view(trainer, layer.weights.name, 3, 1, [1, 6])
    first, score, weight, *_, slope = (plain(line) for line in view["multiplied"]["lines"])
    header, arrays = SequenceView(trainer, 1).message()
    assert header["positions"][3]["target"] == header["positions"][4]["name"]
    number = {line: float(line.split("= ")[-1].replace("−", "-")) for line in (first, score, weight, slope)}
    assert number[score] == pytest.approx(number[first] / np.sqrt(12), abs=2e-3)
    assert number[weight] == pytest.approx(arrays["attention 1"][1, 6, 3], abs=6e-4)
    assert number[slope] == pytest.approx(view["delta"], rel=0.06, abs=6e-4)
    for one in view["multiplied"]["weights"]:
        assert trainer.plan.network.parameters.find(one["weight"]) >= 0
    hidden = unit_view(trainer, layer.weights.name, 9, 1, [1, 6])["multiplied"]
    assert "Hidden by the mask" in hidden["lines"][0]
    assert not arrays["attention 1"][:, 6, 7:].any()


def test_a_text_and_sequences_of_ones_own(tmp_path):
    book = tmp_path / "book.txt"
    book.write_text(house().content)
    trainer = Trainer(Settings(DataSettings("given")), load(book, validation=0.3, test=0.0, length=12))
    assert "transformer" in trainer.settings.network
    known, text = written(trainer)["lines"][0]
    assert (len(known), len(text)) == (8, 80)
    assert written(trainer) == written(trainer)
    random, path = np.random.default_rng(0), tmp_path / "visits.npz"
    np.savez(path, x=random.normal(size=(40, 7, 2)), y=random.normal(size=40), lengths=random.integers(2, 8, 40))
    trainer = Trainer(Settings(DataSettings("given"), batch_size=8), load(path, validation=0.3, test=0.0))
    header, arrays = SequenceView(trainer, 0).message()
    assert arrays["states 0"].shape == (6, 7, 8)
    assert 2 <= header["valid"] <= 7
    assert run(["play", str(tmp_path / "none.txt"), "--length", "8"]) == 2


def test_echo_is_written_as_it_should_be():
    trainer = training("echo")
    trainer.advance(150)
    for known, text in written(trainer)["lines"]:
        assert text.strip() == known.strip()


def press(page, *phases):
    for phase in phases:
        page.click(f"#phase-{phase}")
        settled(page)


def lesson(page, number, answer):
    page.select_option("#lesson", str(number))
    settled(page)
    page.locator("#lesson-box .answer").nth(answer).click()
    settled(page)


def test_the_lesson_about_time_is_done_on_the_page(address, visit):
    page = visit(address)
    lesson(page, 16, 0)
    done = page.locator("#todo li.done")
    press(page, "forward", "loss", "backward", "backward")
    expect(done).to_have_count(1)
    expect(page.locator("#line-text")).to_contain_text("9 steps back")
    at = page.evaluate(
        "async () => (await import('./unrolled.js')).placeOverTime({ scan: 0, time: 0, weight: [0, 0] })"
    )
    page.locator("#unrolled").click(position=at)
    expect(page.locator("#explained .edit")).to_contain_text("simple_rnn_1.state.U[0, 0]")
    page.fill("#explained .edit input", "1.5")
    page.click("#explained .edit button")
    settled(page)
    press(page, "forward", "loss", "backward", "backward")
    expect(done).to_have_count(2)
    page.click("[data-try='0']")
    expect(page.locator("[data-try='0'] small")).to_contain_text("→")
    expect(page.locator("#now-step")).to_have_text("400")
    expect(page.locator("#run")).to_have_text("Run")
    press(page, "forward", "loss", "backward", "backward")
    expect(page.locator("#verdict")).to_contain_text("The right answer: About a five-hundredth")


def test_the_lesson_about_attention_is_done_by_keyboard(address, visit):
    page = visit(address)
    lesson(page, 17, 2)
    press(page, "forward")
    canvas, done = page.locator("#attention"), page.locator("#todo li.done")
    canvas.focus()
    page.keyboard.press("ArrowDown")  # from the position to its own cell
    for _ in range(4):
        page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    expect(page.locator(".multiplied")).to_contain_text("score = q · k / √8")
    expect(done).to_have_count(1)
    page.click("[data-try='0']")
    expect(page.locator("#now-step")).to_have_text("150")
    expect(page.locator("#run")).to_have_text("Run")
    canvas.focus()
    page.keyboard.press("ArrowDown")
    for _ in range(4):
        page.keyboard.press("ArrowLeft")
    expect(page.locator("#line-about")).to_contain_text("head 0: 6")
    page.keyboard.press("Enter")
    expect(page.locator("#verdict")).to_contain_text("You were right: The value of j")
    page.click(".behind button >> nth=0")
    expect(page.locator("#explained .edit")).to_contain_text("attention.query.W")
