"""Why the sample on the stage is predicted so, on the page."""

import queue
import re
import threading

import pytest

from chainrule.play.lens import scene_of
from chainrule.play.reasons import Reasons
from chainrule.play.replaying import Newest
from chainrule.play.settings import DataSettings, LayerSettings, Settings
from chainrule.play.slice import step_shown
from chainrule.play.trainer import Trainer
from waiting import WAIT


def explained(trainer, row):
    """The last message about a row, once everything is computed."""
    answers = queue.Queue()
    newest = Newest()
    newest.ask(Reasons(trainer, row, lambda: answers.put(True)))
    while not (newest.question.message()["found"] or newest.question.problem):
        answers.get(timeout=WAIT)
    return newest.question.message()


@pytest.mark.parametrize(
    "data",
    [DataSettings(name="moons", samples=100), DataSettings("builtin", "digits"), DataSettings("builtin", "iris")],
)
def test_the_sample_of_the_mini_batch_is_explained(data):
    trainer = Trainer(Settings(data, (LayerSettings(3),)))
    trainer.advance(2)
    _, rows, _ = step_shown(trainer)
    message = explained(trainer, int(rows[1]))
    assert message["of"] == f"row {int(trainer.data.rows[rows[1]]) + 1:,}"
    assert f"{message['of']} of" in message["found"]["title"]
    assert message["step"] == 2
    assert message["done"] > 0
    assert "completeness error" in message["found"]["html"]
    assert "What would change it" in message["found"]["html"]


def test_generated_sequences_are_explained_too():
    trainer = Trainer(Settings(DataSettings("sequence", "addition"), network="lstm 3"))
    assert "completeness error" in explained(trainer, 0)["found"]["html"]


def test_a_question_that_another_supersedes_ends_early():
    """The first waits for its first progress; the second is asked meanwhile; only it is answered."""
    trainer, asked, answers = Trainer(Settings(layers=(LayerSettings(8, "relu"),))), threading.Event(), queue.Queue()
    newest = Newest()
    first, second = (Reasons(trainer, row, lambda: answers.put(True)) for row in (0, 1))
    check = first.check
    first.check = lambda done: asked.wait(WAIT) and check(done)
    newest.ask(first)
    newest.ask(second)
    asked.set()
    while second.message()["found"] is None:
        answers.get(timeout=WAIT)
    assert first.message()["found"] is None
    assert newest.question is second


def test_what_dropout_and_the_mini_batch_change_is_told_apart():
    plain = Trainer(Settings(layers=(LayerSettings(4),)))
    assert plain.is_same_in_use
    assert "in_use" not in scene_of(plain, 0).message()["output"]
    dropping = Trainer(Settings(layers=(LayerSettings(8, dropout=0.5),)))
    dropping.advance(3)
    assert not dropping.is_same_in_use
    scene = scene_of(dropping, 2).message()
    row = scene["rows"][2]
    message = explained(dropping, row)
    assert not message["found"]["same_in_use"]
    (p,) = scene["output"]["in_use"]["predictions"]
    assert p != scene["output"]["predictions"][0]
    value = float(re.search(r" = ([\d.e-]+);", message["found"]["line"])[1])
    assert min(abs(value - p), abs(value - (1 - p))) < 1e-5  # the probability of either class
    assert scene["numbers"][2] == dropping.data.rows[row] + 1


def test_on_the_page(address, visit):
    page = visit(address)
    page.click("#why-ask")
    page.wait_for_selector("#why details")
    assert "is predicted for row" in page.inner_text("#why-title")
    assert page.evaluate("() => document.querySelector('#why').getBoundingClientRect().bottom <= innerHeight")
    page.click("#why-close")
    page.wait_for_selector("#why", state="hidden")
