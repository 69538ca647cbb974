"""Why the sample on the stage is predicted so, on the page."""

import pytest

from chainrule.play.reasons import why_view
from chainrule.play.settings import DataSettings, LayerSettings, Settings
from chainrule.play.slice import step_shown
from chainrule.play.trainer import Trainer


@pytest.mark.parametrize(
    "data",
    [DataSettings(name="moons", samples=100), DataSettings("builtin", "digits"), DataSettings("builtin", "iris")],
)
def test_the_sample_of_the_mini_batch_is_explained(data):
    trainer = Trainer(Settings(data, (LayerSettings(3),)))
    trainer.advance(2)
    message = why_view(trainer, 1)
    _, rows, _ = step_shown(trainer)
    assert f"row {int(trainer.data.rows[rows[1]]) + 1:,} of" in message["title"]
    assert message["step"] == 2
    assert "completeness error" in message["html"]
    assert "What would change it" in message["html"]


def test_generated_sequences_are_explained_too():
    trainer = Trainer(Settings(DataSettings("sequence", "addition"), network="lstm 3"))
    assert "completeness error" in why_view(trainer, 0)["html"]


def test_on_the_page(address, chromium):
    page = chromium.new_page(viewport={"width": 1280, "height": 800})
    problems = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(address)
    page.wait_for_selector("#batch-chips button")
    page.click("#why-ask")
    page.wait_for_selector("#why-result details")
    assert "is predicted for row" in page.inner_text("#why-result h3")
    page.close()
    assert problems == []
