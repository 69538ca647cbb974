"""The life of the open weight, on the live page."""

import queue

import pytest
from playwright.sync_api import expect

from chainrule.play.lived import Lived
from chainrule.play.replaying import Newest
from chainrule.play.settings import Settings
from chainrule.play.trainer import Trainer
from waiting import WAIT


def test_the_sum_shown_is_how_far_the_weight_moved():
    trainer, changed = Trainer(Settings.from_json({})), queue.Queue()
    trainer.advance(9)
    trainer.set_weight("dense_1.W[0, 0]", 0.7)
    trainer.advance(6)
    lived = Lived(trainer, "dense_1.W[0, 0]", lambda: changed.put(True))
    Newest().ask(lived)
    while not (lived.message()["found"] or lived.message()["problem"]):
        changed.get(timeout=WAIT)
    found = lived.message()["found"]
    *parts, moved = (value for _, value in found["sums"])
    assert sum(parts) == pytest.approx(moved, abs=1e-12)
    assert moved == found["end"] - found["start"]
    assert "edited by hand" in dict(found["sums"])


def test_a_sample_of_a_weights_life_goes_on_the_stage(address, visit):
    page = visit(f"{address}#")
    page.click("#epoch")
    page.click("#choose button")
    page.click("#tab-history")
    page.wait_for_selector("#life-density")
    words = page.inner_text("#life li button >> nth=1").split(":")[0]
    page.click("#life li button >> nth=1")
    expect(page.locator("#batch-words")).to_contain_text(f"{words}, which was chosen")
    page.click("#batch-chips button")
    expect(page.locator("#batch-words")).to_contain_text("sample 1 of")
