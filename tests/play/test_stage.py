"""The stage: a large network seen from one of its units, the lenses, and what they show."""

import numpy as np
import pytest
from playwright.sync_api import expect

from chainrule.data import load
from chainrule.play import frames
from chainrule.play.columns import is_chain, is_drawn_whole
from chainrule.play.scene import Scene
from chainrule.play.settings import DataSettings, LayerSettings, Settings
from chainrule.play.trainer import Trainer
from waiting import choose, settled

DIGITS = Settings(DataSettings("builtin", "digits"), (LayerSettings(64, "relu"), LayerSettings(64, "relu")))
FORTY = [f"mean_daily_temperature_{k}" for k in range(40)]


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A table with 40 inputs of long names."""
    path, draw = tmp_path_factory.mktemp("data") / "forty.csv", np.random.default_rng(0)
    rows = draw.normal(50, 20, (60, 41)).round(2)
    path.write_text(",".join([*FORTY, "price"]) + "\n" + "\n".join(",".join(map(str, row)) for row in rows))
    return path


@pytest.fixture
def digits():
    """Training on digits, after a few steps."""
    trainer = Trainer(DIGITS)
    trainer.advance(3)
    return trainer


def definition(trainer, sample):
    """The z, a and delta of every layer for one sample of the next mini-batch, in float64."""
    row = trainer.next_rows()[sample]
    names = trainer.plan.network.parameters.views(trainer.position.parameters)
    p = {name: array.astype(float) for name, array in names}
    a, z, x = [], [], trainer.data.training.x[row].astype(float).ravel()
    for k in (1, 2, 3):
        z.append((a[-1] if a else x) @ p[f"dense_{k}.W"] + p[f"dense_{k}.b"])
        a.append(np.maximum(z[-1], 0) if k < 3 else z[-1])
    shares = np.exp(z[2] - z[2].max())
    delta = [shares / shares.sum() - np.eye(10)[int(trainer.data.training.y[row])]]
    for k in (3, 2):
        delta.insert(0, (z[k - 2] > 0) * (p[f"dense_{k}.W"] @ delta[0]))
    return x, z, a, delta


@pytest.mark.parametrize(("unit", "level"), [("dense_1[7]", 1), ("dense_2[30]", 2), ("dense_3[4]", 3)])
def test_a_unit_of_a_large_network_adds_up_with_what_is_left_out(digits, unit, level):
    scene = Scene(digits, sample=2, unit=unit).message()
    assert scene["focus"]["unit"] == unit
    x, z, a, delta = definition(digits, 2)
    number = int(unit[8:-1])
    mine = next(one for layer in scene["layers"] for one in layer["units"] if one["unit"] == unit)
    assert mine["z"] == pytest.approx(z[level - 1][number], rel=1e-4)
    assert mine["delta"] == pytest.approx(delta[level - 1][number], rel=1e-3, abs=1e-6)
    reads = [one for one in scene["weights"] if f"{one['layer']}[{one['to']}]" == unit]
    bias = next(one["value"] for one in reads if one["from"] is None)
    shown = [one for one in reads if one["from"] is not None]
    assert len(shown) == 6
    assert scene["focus"]["reads"]["count"] == 58
    total = sum(one["forward"] for one in shown) + scene["focus"]["reads"]["sum"] + bias
    assert total == pytest.approx(z[level - 1][number], rel=1e-4)
    inputs = x if level == 1 else a[level - 2]
    left_out = np.delete(np.arange(64), [one["from"] for one in shown])
    weights = dict(digits.plan.network.parameters.views(digits.position.parameters))[f"dense_{level}.W"][:, number]
    assert min(abs(one["forward"]) for one in shown) >= np.abs(weights * inputs)[left_out].max() - 1e-6
    if level < 3:
        feeds = [one for one in scene["weights"] if one not in reads]
        rest = scene["focus"].get("feeds", {"sum": 0.0})["sum"]
        assert sum(one["backward"] for one in feeds) + rest == pytest.approx(mine["upstream"], rel=1e-3, abs=1e-6)
    else:
        assert scene["output"]["predictions"] == pytest.approx(
            delta[2] + np.array(scene["output"]["targets"]), abs=1e-5
        )
    for strip, values, deltas in zip(scene["strips"], [x, *a], [None, *delta], strict=True):
        np.testing.assert_allclose(strip["values"], values, rtol=2e-3, atol=1e-4)
        assert deltas is None or np.allclose(strip["deltas"], deltas, rtol=2e-3, atol=1e-4)


def test_a_large_network_is_first_seen_from_the_output_of_the_samples_class(digits):
    for sample in range(4):
        scene = Scene(digits, sample).message()
        right = scene["output"]["targets"].index(1)
        assert scene["focus"]["unit"] == f"dense_3[{right}]"


def test_a_weight_that_is_open_is_shown_with_its_unit(digits):
    scene = Scene(digits, weight="dense_2.W[5, 9]").message()
    assert scene["focus"]["unit"] == "dense_2[9]"
    assert "dense_2.W[5, 9]" in [one["weight"] for one in scene["weights"]]
    from_the_other_end = Scene(digits, unit="dense_1[5]", weight="dense_2.W[5, 9]").message()
    assert from_the_other_end["focus"]["unit"] == "dense_1[5]"
    assert "dense_2.W[5, 9]" in [one["weight"] for one in from_the_other_end["weights"]]


@pytest.mark.parametrize("unit", ["dense_9[0]", "dense_1[640]", "input[64]", "nonsense", "dense_1[-1]"])
def test_an_unknown_unit_is_no_obstacle(digits, unit):
    assert Scene(digits, unit=unit, weight="dense_7.W[1, 2]").message()["focus"]["unit"].startswith("dense_3[")


def test_a_scene_of_the_largest_network_is_small():
    layers = tuple(LayerSettings(190) for _ in range(8))
    trainer = Trainer(Settings(DataSettings("builtin", "digits"), layers))
    assert len(frames.pack(Scene(trainer, unit="dense_4[3]").message(), {})) < 100_000


def test_while_training_runs_quickly_only_what_is_selected_has_its_arithmetic():
    trainer = Trainer(Settings(layers=(LayerSettings(8), LayerSettings(8))))
    whole, quick = (Scene(trainer, 1, "dense_2[3]", "dense_1.W[1, 2]", lines).message() for lines in (True, False))
    for name, key in (("weights", "weight"), ("layers", "unit")):
        of = [[unit for layer in scene["layers"] for unit in layer["units"]] for scene in (whole, quick)]
        every, few = (whole["weights"], quick["weights"]) if name == "weights" else of
        assert [one[key] for one in few if any(part.endswith("_line") for part in one)] == (
            ["dense_1.W[1, 2]"] if name == "weights" else ["dense_2[3]"]
        )
        for one, other in zip(every, few, strict=True):
            assert {part: value for part, value in one.items() if part in other} == other
            assert set(one) - set(other) <= {"z_line", "a_line", "delta_line", "gradient_line", "next_line"}


def test_all_of_forty_inputs_are_named_and_within_reach(table):
    trainer = Trainer(Settings(DataSettings("given"), (LayerSettings(8),)), load(table, validation=0.3, test=0.0))
    assert not is_drawn_whole(trainer)
    scene = Scene(trainer).message()
    assert [name for name, _ in scene["table"]] == FORTY
    assert len(scene["strips"][0]["values"]) == 40
    for k, name in enumerate(FORTY):
        seen = Scene(trainer, unit=f"input[{k}]").message()
        assert seen["focus"]["unit"] == f"input[{k}]"
        (one,) = seen["inputs"]
        assert one["name"] == name
        assert one["raw"] == trainer.data.sample(scene["rows"][0]).values[name]
        assert len(seen["weights"]) == 6
        assert seen["focus"]["feeds"]["count"] == 2


@pytest.mark.parametrize(
    ("layers", "whole"),
    [((8, 8), True), ((12, 12, 12), True), ((12, 12, 13), False), ((13,), False), ((5, 5, 5, 5, 5, 5, 5), True)],
)
def test_small_networks_are_drawn_whole(layers, whole):
    trainer = Trainer(Settings(layers=tuple(LayerSettings(units) for units in layers)))
    assert is_chain(trainer)
    assert is_drawn_whole(trainer) is whole
    assert (Scene(trainer).message()["focus"] is None) is whole


def test_tiles_share_one_scale_so_that_a_constant_looks_like_one():
    trainer = Trainer(Settings(layers=(LayerSettings(8), LayerSettings(8))))
    for j in range(8):
        trainer.set_weight(f"dense_2.W[{j}, 3]", 0.0)
    trainer.set_weight("dense_2.b[3]", 0.1)
    header, arrays = frames.frame(trainer, {"lens": "plane"}, full=True)
    scale = header["unit_scale"]
    assert scale == 1.0
    outputs = trainer.unit_outputs(trainer.samples.prepare(frames.plane_grid(frames.COARSE)))
    for layer in ("tanh_1", "tanh_2"):
        shown = (arrays[f"unit {layer}"].astype(float) / 127.5 - 1) * scale
        np.testing.assert_allclose(shown, outputs[layer].T, atol=0.005)
    constant = arrays["unit tanh_2"][3]
    assert constant.min() == constant.max() == round(127.5 + 127.5 * np.tanh(0.1))
    assert arrays["unit dense_3"].min() >= 127  # probabilities
    assert not [name for name in frames.frame(trainer, {}, full=True)[1] if name.startswith("unit ")]


def test_each_press_of_backpropagation_reaches_new_weights():
    layers = (LayerSettings(16, "relu", dropout=0.2), LayerSettings(16, "relu", dropout=0.2))
    trainer = Trainer(Settings(DataSettings("builtin", "digits"), layers))
    reached = []
    for _ in range(4):
        trainer.next_phase("backward")
        reached.append(trainer.layers[trainer.backward_to])
    assert reached == ["dense_3", "dense_2", "dense_1", "dense_1"]


NUMBERS = """(name) => Object.fromEntries([...document.querySelectorAll(`#stage [data-unit="${name}"] [data-number]`)]
    .map((one) => [one.dataset.shows, Number(one.dataset.number)]))"""


def test_digits_seen_unit_by_unit_through_every_lens(address, visit):
    page = visit(address)
    choose(page, "#data-set", "builtin:digits")
    for phase in ("forward", "loss", "backward", "backward", "backward"):
        page.click(f"#phase-{phase}")
        settled(page)
    trainer = Trainer(Settings(DataSettings("builtin", "digits")))
    assert page.locator("#stage [data-cell^='input[']").count() == 64
    page.click("#stage [data-cell='dense_1[5]']")
    settled(page)
    expected = Scene(trainer, unit="dense_1[5]").message()
    for layer in expected["layers"]:
        for unit in layer["units"]:
            seen = page.evaluate(NUMBERS, unit["unit"])
            wanted = {name: unit[name] for name in ("z", "a", "delta", "slope", "upstream") if name in unit}
            if unit["unit"] == "dense_1[5]":
                rests = seen.pop("sum"), expected["focus"]["feeds"]["sum"] if "feeds" in expected["focus"] else None
                assert rests[0] == pytest.approx(rests[1] or expected["focus"]["reads"]["sum"])
                assert seen == pytest.approx(wanted)
            else:
                assert seen == pytest.approx({name: wanted[name] for name in seen})
                assert {"a", "delta"} <= set(seen)
    expect(page.locator("#line-text")).to_contain_text("(60 more)")
    page.focus("#stage .cells")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#stage [data-unit='dense_1[6]'] [data-shows='z']")).to_be_visible()
    expect(page.locator("#lens-plane")).to_be_disabled()
    page.click("#lens-weights")
    settled(page)
    place = page.evaluate("""async () => (await import("./matrix.js")).cellPlace("dense_1.W[10, 3]")""")
    page.locator("#matrix").click(position=place)
    expect(page.locator("#explained .short")).to_contain_text("dense_1.W[10, 3]")
    expect(page.locator("#tip")).to_contain_text("dense_1.W[10, 3] = ")
    copy = visit(page.url)
    expect(copy.locator("#lens-weights")).to_have_attribute("aria-checked", "true")
    copy.click("#lens-sample")
    settled(copy)
    expect(copy.locator("#stage [data-weight='dense_1.W[10, 3]']")).to_be_visible()


def test_names_are_read_in_full(serve, visit, table):
    with serve(str(table)) as url:
        page = visit(url)
        assert page.locator("#batch-sample th").all_inner_texts()[:40] == FORTY
        page.click("#stage [data-cell='input[17]']")
        settled(page)
        name = page.locator("#stage [data-unit='input[17]'] text").first
        assert name.text_content() == FORTY[17]
        box, room = name.bounding_box(), page.locator("#stage [data-unit='input[17]'] rect").bounding_box()
        assert room["x"] <= box["x"]
        assert box["x"] + box["width"] <= room["x"] + room["width"]
        expect(page.locator("#line-text")).to_contain_text(FORTY[17])


def test_the_first_minute_of_a_large_network_reaches_its_first_layer(address, visit):
    page = visit(address)
    choose(page, "#data-set", "builtin:digits")
    page.click("#first-minute")
    for _ in range(5):
        page.click("#next")
        settled(page)
    expect(page.locator("#first b")).to_contain_text("6/8")
    expect(page.locator("#phase-backward small")).to_have_text("delta of dense_1")
    expect(page.locator("#stage [data-unit^='dense_2'] [data-shows='delta']")).not_to_have_count(0)
    page.click("#next")
    expect(page.locator("#stage [data-shows='gradient']")).not_to_have_count(0)


def test_the_inspector_explains_the_sample_on_the_stage(digits):
    for sample in range(3):
        row = digits.next_rows()[sample]
        assert digits.explain("dense_1.W[20, 5]", sample).chain.row == row
        assert Scene(digits, sample).message()["rows"][sample] == row
