"""The inspector: a unit's view, by its numbers; and how everything is reached by keyboard."""

import re
from itertools import pairwise

import pytest
from playwright.sync_api import expect

from chainrule.errors import SettingError
from chainrule.play.scene import Scene
from chainrule.play.settings import FIRST, DataSettings, LayerSettings, Settings
from chainrule.play.so_far import MOST_STEPS, weight_so_far
from chainrule.play.trainer import Trainer
from chainrule.play.unit import MOST_INPUTS, unit_view
from waiting import settled

WIDE = Settings(DataSettings(), (LayerSettings(12), LayerSettings(9, "relu")), batch_size=5)


@pytest.mark.parametrize("sample", [0, 3])
@pytest.mark.parametrize(("settings", "layer", "unit"), [(FIRST, "dense_1", 2), (WIDE, "dense_2", 4)])
def test_a_units_view_adds_up_to_what_the_stage_shows(settings, layer, unit, sample):
    trainer = Trainer(settings)
    trainer.advance(7)
    view, scene = unit_view(trainer, layer, unit, sample), Scene(trainer, sample).message()
    shown = next(one for column in scene["layers"] for one in column["units"] if one["unit"] == f"{layer}[{unit}]")
    assert sum(one["product"] for one in view["inputs"]) + view["rest"] + view["bias"] == pytest.approx(view["z"])
    assert all(one["input"] * one["weight"] == one["product"] for one in view["inputs"])
    assert len(view["inputs"]) + view["others"] == (2 if settings is FIRST else 12)
    assert len(view["inputs"]) <= MOST_INPUTS
    assert view["z"] == pytest.approx(shown["z"], rel=1e-5, abs=1e-6)
    assert view["delta"] == pytest.approx(shown["delta"], rel=1e-4, abs=1e-6)
    assert view["delta_in_mean"] * view["samples"] == pytest.approx(view["delta"])
    assert view["row"] == scene["rows"][sample]
    assert view["outputs"]["here"] == pytest.approx(shown["a"], rel=1e-5, abs=1e-6)
    assert sum(view["outputs"]["counts"]) == len(trainer.data.training.x)


def test_a_unit_that_is_not_there_is_refused():
    with pytest.raises(SettingError, match=r"there is no unit dense_1\[3\]"):
        unit_view(Trainer(FIRST), "dense_1", 3, 0)


def test_a_constant_unit_has_a_histogram():
    trainer = Trainer(WIDE)
    trainer.set_weight("dense_2.b[0]", -1e6)
    outputs = unit_view(trainer, "dense_2", 0, 0)["outputs"]
    assert (outputs["zero"], outputs["here"]) == (1.0, 0.0)
    assert outputs["low"] < 0 < outputs["high"]


def test_a_weight_so_far_is_what_its_steps_were():
    trainer, name = Trainer(WIDE), "dense_2.W[3, 4]"
    assert weight_so_far(trainer, name)["steps"] == []
    place = trainer.plan.network.parameters.find(name)
    values = []
    for step in range(40):
        if step == 20:
            trainer.set_weight(name, 0.25)
        values.append(float(trainer.position.parameters[place]))
        trainer.advance(1)
    values.append(float(trainer.position.parameters[place]))
    message = weight_so_far(trainer, name)
    assert message["steps"] == list(range(40))
    assert message["values"] == values[:-1]
    moves = [after - before for before, after in pairwise(values)]
    moves[19] = message["updates"][19]  # the step before the edit ended where the edit began
    assert message["updates"] == pytest.approx(moves, abs=1e-9)
    assert message["gradients"][-1] == trainer.last.gradient[place]
    trainer.advance(500)
    message = weight_so_far(trainer, name)
    assert len(message["steps"]) <= MOST_STEPS + 1
    assert message["steps"][-1] == 539
    assert f"{len(message['steps'])} of 540 steps" in message["words"]


def test_arrow_keys_walk_the_stage_and_take_the_step_on_a_projector(address, visit):
    page = visit(f"{address}#")
    page.focus('[data-weight="dense_1.W[0, 0]"]')
    focused = "() => document.activeElement.dataset.weight ?? document.activeElement.dataset.unit"
    for key, name in (
        ("ArrowDown", "dense_1.W[1, 0]"), ("ArrowRight", "dense_1[0]"), ("ArrowDown", "dense_1[1]"),
        ("ArrowRight", "dense_2.W[1, 0]"), ("ArrowLeft", "dense_1[1]"),
    ):  # fmt: skip
        page.keyboard.press(key)
        assert page.evaluate(focused) == name
    page.keyboard.press("Enter")
    expect(page.locator("#explained .products")).to_contain_text("What the unit adds up")
    settled(page)
    assert page.evaluate(focused) == "dense_1[1]"  # although the stage was drawn again
    page.click("#projector")
    expect(page.locator("#settings")).to_be_hidden()
    for phase in ("forward", "loss", "backward", "backward", "update"):
        page.keyboard.press("ArrowRight")
        settled(page)
        expect(page.locator(f"#phase-{phase}")).to_have_class("lit")
    assert page.inner_text("#now-step") == "1"
    page.keyboard.press("ArrowLeft")
    settled(page)
    assert page.inner_text("#now-step") == "0"


def test_a_number_that_is_pointed_at_lights_up_wherever_it_stands(address, visit):
    page = visit(f"{address}#")
    for phase in ("forward", "loss", "backward", "backward", "update"):
        page.click(f"#phase-{phase}")
        settled(page)
    page.click('[data-weight="dense_1.W[1, 0]"]')
    expect(page.locator("#slice-picture svg")).to_be_visible()
    lit = """() => [...document.querySelectorAll(".same:not(#scheme *)")].map((one) =>
        [one.closest("#stage, #line, #slice").id, one.textContent])"""
    for shows, places in (("delta", {"stage", "line"}), ("gradient", {"stage", "line", "slice"})):
        page.hover(f'#line-text [data-shows="{shows}"]')
        seen = page.evaluate(lit)
        assert {place for place, _ in seen} == places
        assert len({text for _, text in seen}) == 1
    page.hover("#batch h2")
    assert page.evaluate(lit) == []
    page.hover('[data-unit="input[1]"] [data-shows="value"]')
    expect(page.locator("#batch-sample .same")).to_have_count(1)
    # And its symbol: the boxes of the scheme, and the fractions of its formula.
    symbols = "() => [...document.querySelectorAll('#scheme .same')].map((one) => one.dataset.symbol)"
    expect(page.locator("#scheme .factor").first).to_be_attached()
    for shows, expected in (
        ("delta", {"z\u2081", "\u2202z\u2081/\u2202w", "\u2202a\u2081/\u2202z\u2081"}),
        ("a", {"a\u2081", "\u2202a\u2081/\u2202z\u2081", "\u2202z\u2082/\u2202a\u2081"}),
    ):
        page.hover(f'#stage [data-unit="dense_1[0]"] [data-shows="{shows}"]')
        assert set(page.evaluate(symbols)) == expected
    page.locator('#scheme .card[data-name="dense_2[0]"]').first.hover()
    assert page.evaluate(lit) == [["stage", page.text_content('[data-unit="dense_2[0]"] [data-shows="z"]')]]


def test_the_numbers_of_the_lines_are_those_of_the_stage():
    trainer = Trainer(FIRST)
    scene = Scene(trainer, sample=2).message()
    numbers = {(one["unit"], "value"): one["value"] for one in scene["inputs"]}
    units = [unit for layer in scene["layers"] for unit in layer["units"]]
    numbers |= {(unit["unit"], name): unit[name] for unit in units for name in unit if isinstance(unit[name], float)}
    numbers |= {(one["weight"], name): one[name] for one in scene["weights"] for name in ("value", "gradient", "next")}
    output, last = scene["output"], units[-1]["unit"]
    numbers |= {(last, name): output[f"{name}s"][0] for name in ("prediction", "target")} | {
        (last, "loss"): output["loss"]
    }
    owners = [*units, *scene["weights"], output]
    lines = [one[name] for one in owners for name in one if name.endswith("_line")]
    found = [match for line in lines for match in re.findall(r"‹([^|]*)\|([^|]*)\|([^›]*)›", line)]
    assert len(found) > 60
    assert {(of, shows) for of, shows, _ in found} >= {one for one in numbers if one[1] in ("z", "delta", "gradient")}
    for of, shows, digits in found:
        magnitude = digits.replace("−", "")  # a sign may stand before it, as a minus
        assert float(magnitude) == pytest.approx(abs(numbers[of, shows]), abs=5.01e-4)


def test_on_a_phone_the_inspector_is_a_sheet(address, visit):
    page = visit(f"{address}#", 390, 800)
    expect(page.locator("#inspector")).to_be_hidden()
    first = "(id) => { const box = document.getElementById(id).getBoundingClientRect(); return box.bottom <= 800; }"
    assert [page.evaluate(first, part) for part in ("loop", "stage", "line")] == [True] * 3
    page.click('[data-weight="dense_1.W[0, 0]"]')
    expect(page.locator("#slice-picture svg")).to_be_visible()
    page.click("#close-inspector")
    expect(page.locator("#inspector")).to_be_hidden()


def test_the_point_on_the_slice_and_the_lenses_follow_the_arrow_keys(address, visit):
    page = visit(f"{address}#")
    page.click('[data-weight="dense_1.W[0, 0]"]')
    point = page.locator("#slice .point")
    before = float(point.get_attribute("aria-valuenow"))
    point.focus()
    for _ in range(2):
        page.keyboard.press("ArrowRight")
        settled(page)
    expect(point).to_be_focused()
    assert float(point.get_attribute("aria-valuenow")) > before
    page.focus("#lens-sample")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#lens-plane")).to_be_focused()
    expect(page.locator("#lens-plane")).to_have_attribute("aria-checked", "true")
