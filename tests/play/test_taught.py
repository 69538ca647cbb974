"""Who taught a sample, on the live page."""

import queue

import numpy as np
import pytest

from chainrule.errors import SettingError
from chainrule.influence.subject import Subject
from chainrule.influence.teaching import follow
from chainrule.play.replaying import Newest
from chainrule.play.settings import Settings
from chainrule.play.taught import Taught
from chainrule.play.trainer import Trainer
from waiting import WAIT


def result(trainer, row):
    """The last message about a row, once everything is computed."""
    changed = queue.Queue()
    taught = Taught(trainer, row, lambda: changed.put(True))
    Newest().ask(taught)
    while True:
        changed.get(timeout=WAIT)
        message = taught.message()
        if message["found"] or message["problem"]:
            return message


def test_the_steps_so_far_count_and_add_up():
    trainer = Trainer(Settings.from_json({}))
    with pytest.raises(SettingError, match="no row has taught the network yet"):
        Taught(trainer, 0, lambda: None)
    trainer.advance(9)
    trainer.set_weight("dense_1.W[0, 0]", 0.7)
    trainer.advance(6)
    message = result(trainer, 3)
    found, sums = message["found"], dict(message["found"]["sums"])
    assert "set by hand" in sums
    *parts, change = sums.values()
    assert sum(parts) == pytest.approx(change, abs=1e-9)
    assert abs(sums["rounding"]) < 1e-5
    assert found["loss_end"] - found["loss_start"] == pytest.approx(change)
    samples, plan = trainer.data.training, trainer.plan
    subject = Subject("it", samples.take(np.array([3])), plan.network, plan.loss)
    effects = follow(trainer.timeline, subject, trainer.step).effects
    for row in (*found["helpful"], *found["harmful"]):
        assert row["effect"] == effects[row["row"]]
        np.testing.assert_array_equal(row["point"], trainer.samples.points[row["row"]])
    with pytest.raises(SettingError, match="no row 5000"):
        Taught(trainer, 5000, lambda: None)


def test_rows_are_seen_as_pictures_and_as_cells():
    digits = Trainer(Settings.from_json({"data": {"kind": "builtin", "name": "digits"}}))
    digits.advance(2)
    assert result(digits, 0)["found"]["helpful"][0]["picture"]["shape"] == [8, 8]
    iris = Trainer(Settings.from_json({"data": {"kind": "builtin", "name": "iris"}}))
    iris.advance(2)
    message = result(iris, 0)
    assert len(message["of"]["cells"]) == 4
    assert message["found"]["helpful"][0]["target"] in ("setosa", "versicolor", "virginica")


def test_each_row_can_be_asked_about_in_turn(chromium, address):
    page = chromium.new_page(viewport={"width": 1280, "height": 800})
    page.set_default_timeout(1000 * WAIT)
    errors = []
    page.on("pageerror", lambda error: errors.append(error))
    page.goto(address)
    page.wait_for_selector("#taught-open:disabled")
    page.click("#epoch")
    page.click("#taught-open:enabled")
    page.wait_for_selector("#taught details")
    title = page.inner_text("#taught-title")
    page.click("#taught ol li:nth-child(2) button")
    page.click("#taught-back")
    page.wait_for_function("title => document.querySelector('#taught-title').textContent === title", arg=title)
    page.wait_for_selector("#taught details")
    assert page.locator("#taught section").count() == 2
    page.click("#taught-close")
    assert page.locator("#taught[open]").count() == 0
    assert not errors
    page.close()
