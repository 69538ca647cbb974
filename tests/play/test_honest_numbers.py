"""The losses on the screen are those of the weights on the screen, over the whole sets."""

import random

import numpy as np
import pytest

from chainrule.play.settings import DataSettings, LayerSettings, Settings
from chainrule.play.trainer import Trainer
from chainrule.training.loop import evaluate
from engines import needs_native
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


def test_a_link_keeps_a_weight_that_was_changed_by_hand(address, visit):
    page = visit(address)
    page.click("#choose button")
    for value in ("0.25", "-0.5"):
        page.click("#step")
        page.locator("#explained .edit input").fill(value)
        page.locator("#explained .edit button").click()
        settled(page)
    page.click("#step")
    settled(page)
    weights = page.evaluate(WEIGHTS)
    copy = visit(page.url)
    assert copy.evaluate(WEIGHTS) == weights


def test_a_reset_forgets_the_curves_of_the_gradients(address, visit):
    page = visit(address)
    page.click("#step")
    settled(page)
    assert "dense_1.W" in page.get_attribute("#sizes", "aria-label")
    page.click("#reset")
    settled(page)
    assert page.get_attribute("#sizes", "aria-label").startswith("The first steps draw a line here")


@needs_native  # with NumPy the losses are others, as chaotic
def test_the_learning_rate_called_too_large_ends_higher_than_it_began(address, visit):
    page = visit(address)
    preset = page.evaluate("""async () => {
        const { PRESETS } = await import("./text.js");
        return PRESETS.find((preset) => preset.name.includes("learning rate far too large")).settings;
    }""")
    for seed in range(5):
        settings = {**preset, "data": {**preset["data"], "seed": seed}, "seed": seed}
        trainer = Trainer(Settings.from_json(settings))
        began = trainer.training_loss()
        for _ in range(3):
            trainer.advance(100)
            assert trainer.training_loss() > began
