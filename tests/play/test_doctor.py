"""The doctor beside a training on the page."""

import base64
import json
import threading
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from playwright.sync_api import expect

from chainrule.doctor import CHECKS, diagnose, diagnosis
from chainrule.play import doctor
from chainrule.play.doctor import EPOCHS, PERSISTS, STEPS, Watch, remedied, selected
from chainrule.play.settings import FIRST, DataSettings, LayerSettings, Settings
from chainrule.play.trainer import Trainer
from chainrule.runs import Run, train
from waiting import WAIT, settled

MOONS = DataSettings(name="moons", samples=200)
STUCK = Settings(
    MOONS, (LayerSettings(6, weights="normal 0 100"), LayerSettings(4, weights="normal 0 100")), optimizer="sgd",
    learning_rate=0.001,
)  # fmt: skip
"""Saturated from the start: it can hardly learn."""


def looks(watch, trainer, times, running=True):
    """The messages of this many calls, of which each is due."""
    messages = []
    for _ in range(times):
        watch._due = 0.0
        messages.append(watch.look(trainer, running))
    return [message for message in messages if message is not None]


def rounds(watch, trainer, count):
    """Train and look until so many rounds of all checks are over."""
    messages, before = [], watch._rounds
    while watch._rounds < before + count:
        trainer.advance(1)
        messages += looks(watch, trainer, 1)
    return messages


def test_nothing_is_said_before_the_first_epochs():
    trainer, watch = Trainer(STUCK), Watch()
    trainer.advance(max(STEPS, EPOCHS * trainer.steps_per_epoch) - 1)
    assert not any(message["begun"] for message in looks(watch, trainer, 30))


def test_a_finding_appears_once_it_persists():
    trainer, watch = Trainer(STUCK), Watch()
    trainer.advance(max(STEPS, EPOCHS * trainer.steps_per_epoch))
    rounds(watch, trainer, PERSISTS - 1)
    assert watch.findings == ()
    (message,) = [one for one in rounds(watch, trainer, 1) if one["findings"]]
    assert "saturated units" in [one["kind"] for one in message["findings"]]
    told = [[one["words"] for one in each["findings"]] for each in (message, *rounds(watch, trainer, 2))]
    assert all(before != after for before, after in pairwise(told)), "what is measured changes; the same is not sent"


def test_at_rest_one_round_is_enough_and_the_last():
    trainer, watch = Trainer(STUCK), Watch()
    trainer.advance(60)
    messages = looks(watch, trainer, 40, running=False)
    assert [bool(one["findings"]) for one in messages][-1]
    assert watch._rounds == 1


def test_it_forgets_when_training_begins_again():
    trainer, watch = Trainer(STUCK), Watch()
    trainer.advance(60)
    looks(watch, trainer, 40, running=False)
    assert watch.findings
    trainer.reset()
    message = looks(watch, trainer, 1)[-1]
    assert (message["findings"], message["begun"]) == ([], False)


def test_a_finished_run_is_examined_as_a_whole(tmp_path):
    """From its first step on, with the findings of the command."""
    found = train("8 relu", "iris", epochs=20, optimizer="sgd 0.00001", patience=None)
    found.save(tmp_path / "run")
    run = Run.open(tmp_path / "run")
    trainer, watch = Trainer(Settings(DataSettings("given")), run.load_data(), run), Watch()
    first = watch.look(trainer, running=False)
    assert (first["begun"], first["of_run"], first["findings"]) == (False, True, [])
    watch._examination.thread.join(timeout=WAIT)
    message = watch.look(trainer, running=False)
    assert message["step"] == run.manifest["steps"] > trainer.step == 0
    assert [one["words"] for one in message["findings"]] == [one.words for one in diagnose(run).findings]
    assert message["findings"][0]["kind"] == "learning rate too small"
    assert [one["set"] for one in message["findings"]] == [None] * len(message["findings"])
    assert watch.look(trainer, running=False) is None, "the same again is not sent"


def test_an_examination_that_no_one_waits_for_ends(tmp_path, monkeypatch):
    train("4 relu", "iris", epochs=2).save(tmp_path / "run")
    run = Run.open(tmp_path / "run")
    made, going = [], threading.Event()

    def find(case):
        made.append(case)
        going.wait(WAIT)
        return iter(())

    checks = tuple(replace(check, find=find) for check in CHECKS)
    monkeypatch.setattr(diagnosis, "CHECKS", checks)
    trainer, watch = Trainer(Settings(DataSettings("given")), run.load_data(), run), Watch()
    watch.look(trainer, running=False)
    watch.end()
    going.set()
    watch._examination.thread.join(timeout=WAIT)
    assert len(made) <= 1
    assert watch._examination.found is None
    assert watch.look(trainer, running=False) is None


def test_a_check_that_takes_long_is_left_out(monkeypatch):
    monkeypatch.setattr(doctor, "LONGEST", -1.0)
    trainer, watch = Trainer(STUCK), Watch()
    trainer.advance(60)
    messages = rounds(watch, trainer, 2)
    assert messages[-1]["too_long"]


def test_the_first_network_has_no_finding():
    trainer, watch = Trainer(FIRST), Watch()
    trainer.advance(50 * trainer.steps_per_epoch)
    looks(watch, trainer, 40, running=False)
    assert [one.words for one in watch.findings] == []


def test_looking_changes_nothing():
    watched, alone = Trainer(STUCK), Trainer(STUCK)
    watch = Watch()
    watched.advance(60)
    looks(watch, watched, 40, running=False)
    for trainer in (watched, alone):
        trainer.advance(200 - trainer.step)
    assert np.array_equal(watched.position.parameters, alone.position.parameters)


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        ({"learning_rate": 0.1}, {"learning_rate": 0.0001}),
        ({"epochs": 30}, {"epochs": 30}),
        ({"penalty": 0.01}, None),
        ({}, None),
        ({"learning_rate": 1e9}, {"learning_rate": 1000.0}),
    ],
)
def test_a_remedy_becomes_settings(page, expected):
    assert remedied(STUCK, page) == expected


def test_a_remedy_for_layers_keeps_their_units():
    layers = remedied(STUCK, {"activation": "relu", "weights": ""})["layers"]
    assert [(one["units"], one["activation"], one["weights"]) for one in layers] == [(6, "relu", ""), (4, "relu", "")]
    assert remedied(Settings(MOONS, network="8 tanh"), {"activation": "relu"}) is None


def test_places_are_selected_as_the_page_does():
    trainer = Trainer(STUCK)
    units = ("dense_1[3]", "dense_2", "dense_1.W", "", "flatten_1")
    assert [selected(trainer, unit) for unit in units] == ["dense_1[3]", "dense_2[0]", "dense_1.W[0, 0]", "", ""]


def test_findings_are_shown_selected_and_followed(visit, address):
    state = base64.urlsafe_b64encode(json.dumps({"settings": STUCK.as_json()}).encode()).decode().rstrip("=")
    page = visit(f"{address}#{state}")
    settled(page)
    button, panel = page.locator("#doctor"), page.locator("#doctor-panel")
    expect(button).to_have_text("Doctor")
    page.click("#run")
    expect(button).to_contain_text("finding")
    button.click()
    first = panel.locator("article", has_text="saturated units").first
    expect(first).to_contain_text("Serious")
    first.get_by_role("button", name="Show dense_").click()
    expect(panel).to_be_hidden()
    expect(page.locator("#explained")).to_contain_text("dense_")
    button.click()
    panel.get_by_role("button", name="weights from the default distribution").first.click()
    settled(page)
    expect(panel).to_be_hidden()
    expect(button).to_have_text("Doctor")
    assert page.inner_text("#now-step") == "0"
    button.click()
    page.keyboard.press("Escape")
    expect(panel).to_be_hidden()
