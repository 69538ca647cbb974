"""The losses on the screen are those of the weights on the screen, over the whole sets."""

import random

import numpy as np
import pytest

from chainrule.play.settings import DataSettings, LayerSettings, Settings
from chainrule.play.trainer import Trainer
from chainrule.training.loop import evaluate
from waiting import run_for, settled

SETTINGS = Settings(DataSettings(), (LayerSettings(8), LayerSettings(8)))

WEIGHTS = """async () => {
    const { app } = await import("./app.js");
    return Array.from(app.arrays.weights.data);
}"""


def recomputed(trainer, weights, samples):
    """The loss of samples at these weights, by the definition."""
    parameters = np.array(weights, dtype="float32")
    return evaluate(trainer.plan, trainer.data.target, samples, parameters, trainer.position.statistics)["loss"]


def test_the_losses_on_screen_are_those_recomputed_at_twenty_moments(address, visit):
    page, trainer, chance = visit(address), Trainer(SETTINGS), random.Random(0)

    def edit():
        page.locator("#explained .edit input").fill(str(round(chance.uniform(-1, 1), 3)))
        page.locator("#explained .edit button").click()

    def reload():
        page.reload()
        page.wait_for_selector("#now-loss[data-number]")

    page.click("#choose button")
    page.wait_for_selector("#explained .edit input")
    step, back = (lambda: page.click("#step")), (lambda: page.click("#back"))
    phases = [lambda name=name: page.click(f"#phase-{name}") for name in ("forward", "loss", "backward", "update")]
    actions = [step, step, lambda: run_for(page, 50), back, reload, *phases, edit, step, edit, back]
    for action in [*actions, *(chance.choice([step, back, edit, *phases]) for _ in range(20 - len(actions)))]:
        action()
        settled(page)
        weights = page.evaluate(WEIGHTS)
        for shown, samples in (("#now-loss", trainer.data.training), ("#now-held", trainer.data.validation)):
            number = float(page.get_attribute(shown, "data-number"))
            assert number == pytest.approx(recomputed(trainer, weights, samples), rel=1e-6)
            assert float(page.inner_text(shown)) == pytest.approx(number, rel=1e-3)


def test_the_loss_of_a_mini_batch_is_shown_before_and_after_its_own_step(visit, address):
    page = visit(f"{address}#")
    for phase in ("forward", "loss"):
        page.click(f"#phase-{phase}")
        settled(page)
    before = page.inner_text("#batch-loss")
    assert before.startswith("Loss of this mini-batch: 0.")
    page.click("#phase-update")
    settled(page)
    assert page.inner_text("#batch-loss").startswith(before.partition(",")[0] + ", after its own step 0.")
