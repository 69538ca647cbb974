"""A saved page: one file in which every phase of every saved step, every sample, weight and unit can
be opened, and which uses no network.
"""

import base64
import gzip
import random
import re

import numpy as np
import pytest
from playwright.sync_api import expect

from chainrule.cli import run
from chainrule.play.saving import STEPS, header_of, with_code
from chainrule.play.scene import Scene
from chainrule.play.server import PAGE
from chainrule.play.session import Session
from chainrule.play.settings import FIRST
from chainrule.play.slice import slice_of
from chainrule.play.trainer import Trainer
from waiting import settled, step_of

MOVES = ["step", "back", "reset", "phase forward", "phase loss", "phase backward", "phase update"]


class Replay:
    """What a page gets from a recording."""

    def __init__(self, header, content):
        self.states, self.state, self.numbers = header["states"], 0, []
        self.messages = [content[start:end] for start, end in header["places"]]

    def after(self, move):
        """Go on to where the command leads; False if the recording doesn't reach that far."""
        state = self.states[self.state]["after"][move]
        self.state = self.state if state is None else state
        return state is not None

    def __getattr__(self, name):
        """The messages for a sample, a histogram, or what is opened."""
        answers = self.states[self.state][name]

        def messages(numbers):
            return [messages(n) if isinstance(n, list) else self.messages[n] for n in numbers]

        return lambda of: messages(answers[of])


@pytest.fixture(scope="module")
def recording(saved):
    """The recording in the saved page: its header, and the bytes of its messages."""
    content = gzip.decompress(base64.b64decode(re.search(r'id="saved">(.*?)</script>', saved.read_text())[1]))
    header = header_of(content)
    return header, content[4 + int.from_bytes(content[:4], "little") :]


@pytest.mark.parametrize("seed", range(5))
def test_a_recording_answers_as_a_session_does(recording, seed):
    replay, chance, sent = Replay(*recording), random.Random(seed), []
    session = Session(sent.append, threaded=False)
    session.obey({"type": "settings", "settings": FIRST.as_json()})
    names = list(replay.states[0]["opened"])

    def asked(**message):
        sent.clear()
        session.obey(message)
        session.show()
        return list(sent)

    for _ in range(25):
        move = chance.choice(MOVES)
        if replay.states[replay.state]["after"][move] is None:
            continue
        replay.after(move)
        kind, _, phase = move.partition(" ")
        session.obey({"type": kind, "phase": phase})
        if replay.states[replay.state]["step"] != session.trainer.step:  # gone to the nearest step that is saved
            replay.after("reset")
            session.obey({"type": "reset"})
        sample, layer, name = chance.randrange(4), chance.choice(session.trainer.layers), chance.choice(names)
        answers = asked(type="view", view={"sample": sample, "histogram": layer, "lens": "plane"})
        assert answers == replay.samples(sample) + replay.histograms(layer)
        unit = re.fullmatch(r"(\w+)\[(\d+)\]", name)
        opened = {"layer": unit[1], "unit": int(unit[2])} if unit else {"weight": name}
        answers = replay.opened(name)
        assert asked(type="open", **opened) == answers[min(sample, len(answers) - 1)]
        session.obey({"type": "open"})
    assert session.trainer.step == replay.states[replay.state]["step"]


def test_where_a_step_is_not_saved_the_nearest_one_is(recording):
    header, _ = recording
    places = {(state["step"], state["phase"]): k for k, state in enumerate(header["states"])}
    after = {place: header["states"][k]["after"] for place, k in places.items()}
    assert header["steps"] == [0, 1, 2, 3, 350]
    assert after[4, "update"]["step"] == places[350, "weights"]
    assert after[4, "update"]["back"] == places[3, "weights"]
    assert after[350, "weights"]["back"] == places[3, "weights"]
    assert after[4, "update"]["phase forward"] is None
    assert after[351, "update"]["step"] is None
    assert all(step["reset"] == 0 for step in after.values())


def test_the_file_is_small_and_whole(saved, recording):
    html, (header, _) = saved.read_text(), recording
    code = len(with_code(""))  # the same for any recording
    assert saved.stat().st_size < code + (3_000_000 - code) * len(header["steps"]) / len(STEPS)
    for module in PAGE.glob("*.js"):
        assert f'"{module.name}": "data:text/javascript;base64,' in html
    assert not re.findall(r'(?:src|href)="(?!data:|#)', html)
    assert "connect-src" not in html
    assert "default-src 'none'" in html


def test_a_file_is_replaced_and_what_makes_no_sense_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("chainrule.play.saving.STEPS", (0,))
    monkeypatch.setattr("chainrule.play.saving.saved_page", lambda steps: "a page")
    (tmp_path / "page.html").write_text("something else")
    assert run(["play", "--save", "page.html"]) == 0
    assert (tmp_path / "page.html").read_text() == "a page"
    assert capsys.readouterr().err == "a recording of 1 steps written to page.html\n"
    for arguments, problem in {
        ("moons.csv", "--save", "a.html"): "leave DATA or RUN out",
        ("--save", "a.html", "--port", "8000"): "leave --port out",
        ("--save", "a.html", "--host", "0.0.0.0"): "leave --host out",
        ("--save", "a.txt"): "--save a.txt: the page is written as HTML; use the extension .html",
        ("--save", "missing/a.html"): "missing",
    }.items():
        assert run(["play", *arguments]) == 2
        assert problem in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


def test_back_and_forth_through_steps_phases_samples_and_weights(windows, saved):
    page, problems, trainer = windows(viewport={"width": 1280, "height": 800}, offline=True), [], Trainer(FIRST)
    page.on("request", lambda request: problems.append(request.url))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.goto(saved.as_uri())
    expect(page.locator("#now-loss")).to_have_attribute("data-number", str(trainer.training_loss()))

    def press(selector):
        page.click(selector)
        settled(page)

    def holds(weight, sample=0):
        """Whether the stage, the slice and the explanation are those of the trainer."""
        page.click(f'[data-weight="{weight}"]')
        expect(page.locator("#explained")).to_have_attribute("data-of", weight)
        scene = Scene(trainer, sample).message()
        expect(page.locator("#slice [data-shows=gradient]")).to_have_attribute(
            "data-number", str(slice_of(trainer, weight)["gradient"])
        )
        shown = page.locator("#stage [data-shows=value]").evaluate_all(
            "(all) => Object.fromEntries(all.map((one) => [one.closest('[data-weight], [data-unit]').dataset.weight"
            " ?? one.closest('[data-unit]').dataset.unit, Number(one.dataset.number)]))"
        )
        expected = {one.get("weight", one.get("unit")): one["value"] for one in [*scene["inputs"], *scene["weights"]]}
        assert shown == pytest.approx(expected)
        assert step_of(page) == trainer.step
        return scene

    for _ in range(2):
        press("#step")
    trainer.advance(2)
    holds("dense_1.W[0, 1]")
    press("#back")
    trainer.go_to(1)
    holds("dense_2.b[0]")
    press(".chip >> nth=2")
    holds("dense_1.W[1, 2]", sample=2)
    for phase in ("forward", "loss", "backward", "backward", "update"):
        press(f"#phase-{phase}")
        trainer.next_phase(phase)
        scene = holds("dense_2.W[1, 0]", sample=2)
    deltas = page.locator("#stage [data-shows=delta]").evaluate_all("(all) => all.map((one) => one.dataset.number)")
    units = [unit for layer in scene["layers"] for unit in layer["units"]]
    np.testing.assert_allclose([float(delta) for delta in deltas], [unit["delta"] for unit in units])
    page.click('#stage [data-unit="dense_1[1]"] rect >> nth=0')
    expect(page.locator("#explained")).to_have_attribute("data-of", "dense_1[1]")
    # To the end and back; what a recording lacks is said, and what it can't do isn't offered.
    press("#run")
    page.wait_for_function("(step) => document.getElementById('now-step').textContent === step", arg="350")
    expect(page.locator("#run")).to_have_text("Run")
    press("#step")
    expect(page.locator("#message")).to_contain_text("recording ends here")
    press("#back")
    assert step_of(page) == 3
    press("#phase-update")
    press("#phase-forward")
    expect(page.locator("#message")).to_contain_text("Step 4 is not in this recording")
    press("#reset")
    assert step_of(page) == 0
    # Whatever the page lacks here is hidden rather than dead.
    missing = "#epoch #bar-settings #open-settings #lesson #take #settings #pin #surface-panel #optimizers #race"
    for hidden in [*missing.split(), "#explained .edit"]:
        expect(page.locator(hidden).first).to_be_hidden()
    page.close()
    assert problems == [saved.as_uri()]


def test_the_messages_of_a_recording_are_each_there_once(recording):
    replay = Replay(*recording)
    assert len(set(replay.messages)) == len(replay.messages)
    assert {header_of(message)["type"] for message in replay.messages} >= {"built", "scene", "frame", "slice"}
