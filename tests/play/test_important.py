"""What the predictions of the network on a page depend on, over the held-out rows."""

import pytest

from chainrule.attribution import importance
from chainrule.attribution.permutation import affordable
from chainrule.errors import SettingError
from chainrule.play.important import Important
from chainrule.play.reasons import trained_of
from chainrule.play.settings import DataSettings, LayerSettings, Settings
from chainrule.play.trainer import Trainer
from chainrule.training import history


def measured(trainer):
    important = Important(trainer, lambda: None)
    important.run()
    return important.message()


@pytest.mark.parametrize("data", [DataSettings("builtin", "iris"), DataSettings("builtin", "digits")])
def test_columns_and_blocks_of_pixels_are_measured(data):
    trainer = Trainer(Settings(data, (LayerSettings(3),)))
    trainer.advance(30)
    message = measured(trainer)
    trained = trained_of(trainer)
    samples, repeats = affordable(trained, trainer.data.validation)
    found = importance(trained, samples, repeats=repeats)
    first = found.columns[0]
    assert message["step"] == 30
    assert message["done"] == message["of"] == len(found.columns) * repeats
    assert f"<td>{first.column}" in message["html"].replace(' data-head="column"', "")
    assert history.number("accuracy", first.mean) in message["html"]
    assert ('class="heat"' in message["html"]) == (data.name == "digits")


def test_without_a_validation_set_it_says_so():
    trainer = Trainer(Settings(DataSettings(name="moons", samples=100), (LayerSettings(3),)))
    object.__setattr__(trainer.data, "validation", None)
    with pytest.raises(SettingError, match="no held-out rows"):
        Important(trainer, lambda: None)


def test_on_the_page(address, visit):
    page = visit(address)
    page.click("#importance-ask")
    page.wait_for_selector("#importance-result table")
    assert "held-out rows is" in page.inner_text("#importance-result")
    assert page.inner_text("#importance-ask") == "Measure on the held-out rows"
