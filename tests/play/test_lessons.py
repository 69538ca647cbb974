"""The lessons of the live page: each claim in their words holds for five seeds, of the data and of
the weights; and a lesson can be done in the browser.
"""

import json
from functools import cache

import numpy as np
import pytest
from playwright.sync_api import expect

from chainrule.play.attended import layers_of
from chainrule.play.lens import scene_of
from chainrule.play.lines import short
from chainrule.play.scene import Scene
from chainrule.play.sequence import SequenceView
from chainrule.play.server import PAGE
from chainrule.play.settings import Settings
from chainrule.play.slice import step_shown
from chainrule.play.trainer import Trainer
from chainrule.play.unit import unit_view
from waiting import choose, settled

LESSONS = {lesson["id"]: lesson for lesson in json.loads((PAGE / "lessons.json").read_text("utf-8"))}
SEEDS = range(5)
GOALS = {
    "phases", "samples", "largest", "nudged", "delta", "weights", "reached", "dead", "selected", "tries",
    "opened", "back", "takes_next",
}  # fmt: skip


def trainer(name, seed, attempt=None):
    """The training of a lesson, or of one of its tries, with other seeds."""
    lesson = LESSONS[name]
    settings = lesson["settings"] | (lesson["tries"][attempt]["settings"] if attempt is not None else {})
    return Trainer(Settings.from_json({**settings, "data": {**settings["data"], "seed": seed}, "seed": seed}))


@cache
def tried(name, seed, attempt, looks=1):
    """A try after its steps, and its losses at so many moments on the way, as (training, test)."""
    one, steps = trainer(name, seed, attempt), LESSONS[name]["tries"][attempt]["steps"]
    losses = [(one.training_loss(), one.measure()["loss"])]
    for _ in range(looks):
        one.advance(steps // looks)
        losses.append((one.training_loss(), one.measure()["loss"]))
    assert one.step == steps
    return one, np.array(losses)


def weights(one):
    return dict(one.plan.network.parameters.views(one.position.parameters))


def right(name):
    """The right answer of a lesson's question."""
    return LESSONS[name]["answers"][LESSONS[name]["right"]]


def says(name, *parts):
    """Whether the lesson still says what the test of its claim is about."""
    text = json.dumps(LESSONS[name], ensure_ascii=False)
    return all(part in text for part in parts)


# Input


@pytest.mark.parametrize("seed", SEEDS)
def test_input(seed):
    assert right("input") == "The inputs, z, a and the prediction"
    one = trainer("input", seed)
    assert np.allclose(one.data.training.x.mean(axis=0), 0, atol=1e-5)
    assert np.allclose(one.data.training.x.std(axis=0), 1, atol=1e-5)
    first, second = (Scene(one, sample).message() for sample in (0, 1))
    assert [w["value"] for w in first["weights"]] == [w["value"] for w in second["weights"]]
    for k in range(2):
        assert first["inputs"][k]["value"] != second["inputs"][k]["value"]
    for k in range(3):
        for number in ("z", "a"):
            assert first["layers"][0]["units"][k][number] != second["layers"][0]["units"][k][number]
    assert first["output"]["predictions"] != second["output"]["predictions"]
    assert says("input", "sample 2, 3 or 4")
    assert len(first["rows"]) == 4


# Weights from a distribution


def matrices(one):
    """Every weight of a network that is not a bias."""
    return np.concatenate([array.ravel() for name, array in weights(one).items() if name.endswith("W")])


def test_weights():
    assert right("weights") == "Different, but about as large"
    assert says("weights", "mean 0 and standard deviation 1", "About two in three draws from normal 0 1 lie between")
    assert not any(array.any() for name, array in weights(trainer("weights", 0)).items() if name.endswith("b"))
    drawn = np.array([matrices(trainer("weights", seed, 0)) for seed in range(120)])
    assert len(np.unique(drawn)) == drawn.size  # every draw is another
    assert abs(drawn.mean()) < 3 / np.sqrt(drawn.size)
    assert drawn.std() == pytest.approx(1, abs=3 / np.sqrt(2 * drawn.size))
    assert (abs(drawn) < 1).mean() == pytest.approx(2 / 3, abs=0.05)
    seeds = [one["settings"].get("seed", 0) for one in LESSONS["weights"]["tries"]]
    assert len({0, *seeds[:2]}) == 3
    for seed in SEEDS:
        assert abs(matrices(trainer("weights", seed, 2))).max() <= 1


# Activation


def accuracy(one):
    """The share of the training set that the network classifies as it should."""
    predicted = one.plan.loss.classes(one.predict(one.data.training.x))
    return (predicted == one.data.training.y).mean()


@pytest.mark.parametrize("seed", SEEDS)
def test_activation(seed):
    assert right("activation") == "No, its border stays straight"
    straight, bent = tried("activation", seed, 0)[0], tried("activation", seed, 1)[0]
    assert says("activation", "leaves more than a quarter of the points on the wrong side")
    assert accuracy(straight) < 0.75
    assert accuracy(bent) > 0.9


# Loss


@pytest.mark.parametrize("seed", SEEDS)
def test_loss(seed):
    assert right("loss") == "The one whose prediction is farthest from its target"
    outputs = [Scene(trainer("loss", seed), sample).message()["output"] for sample in range(4)]
    losses, errors = [one["loss"] for one in outputs], [abs(one["errors"][0]) for one in outputs]
    assert np.argsort(losses).tolist() == np.argsort(errors).tolist()
    assert outputs[0]["batch_loss"] == pytest.approx(np.mean(losses), rel=1e-5)
    assert outputs[0]["samples"] == 4
    for one in outputs:
        p = one["predictions"][0]
        assert one["loss"] == pytest.approx(-np.log(p if one["targets"][0] else 1 - p), rel=1e-4)


# Why the negative derivative


@pytest.mark.parametrize("seed", SEEDS)
def test_derivative(seed):
    assert right("derivative") == "It must get smaller"  # where the slope is positive
    one = trainer("derivative", seed)
    gradient = one.next_record().gradient
    names = [one.plan.network.parameters.name_of(place) for place in range(len(gradient))]
    assert LESSONS["derivative"]["open"] in names
    for place, name in enumerate(names):
        if abs(gradient[place]) > 1e-3:  # elsewhere rounding decides
            value = float(one.position.parameters[place])
            for sign, compared in ((-1, np.less), (1, np.greater)):
                losses = trainer("derivative", seed).set_weight(name, value + sign * 0.02 * np.sign(gradient[place]))
                assert compared(losses["after"], losses["before"])


# Backpropagation computes


@pytest.mark.parametrize("seed", SEEDS)
def test_backpropagation(seed):
    assert right("backpropagation") == "Nothing"
    one = trainer("backpropagation", seed)
    before = one.position.parameters.copy()
    for phase in ("forward", "loss", "backward", "backward"):
        one.next_phase(phase)
        assert np.array_equal(one.position.parameters, before)
    scene = Scene(one).message()
    by_hand = LESSONS["backpropagation"]["by_hand"]
    assert by_hand["unit"] == "dense_1[0]"
    # With three decimals, as on the stage, and by the formula in the lesson's words.
    assert says("backpropagation", "f′(z) × w × δ of dense_2[0]", "f′(z) = 1 − a²")
    a, w, onward, delta = (float(short(number).replace("−", "-")) for number in (
        scene["layers"][0]["units"][0]["a"],
        next(weight["value"] for weight in scene["weights"] if weight["weight"] == "dense_2.W[0, 0]"),
        scene["layers"][1]["units"][0]["delta"], scene["layers"][0]["units"][0]["delta"],
    ))  # fmt: skip
    assert abs((1 - a * a) * w * onward - delta) < by_hand["tolerance"] / 2
    assert abs(delta) > 10 * by_hand["tolerance"]  # so that a guess is not right by chance


# Gradient descent uses


@pytest.mark.parametrize("seed", SEEDS)
def test_descent(seed):
    assert right("descent") == "It makes it larger"
    one = trainer("descent", seed)
    scene = Scene(one).message()
    assert says("descent", "here 0.5")
    for weight in scene["weights"]:
        assert weight["next"] == pytest.approx(weight["value"] - 0.5 * weight["gradient"], rel=1e-5, abs=1e-6)
    negative = [weight for weight in scene["weights"] if weight["gradient"] < 0]
    assert negative
    assert all(weight["next"] > weight["value"] for weight in negative)
    assert scene["output"]["batch_loss_after"] < scene["output"]["batch_loss"]


# From last to first


@pytest.mark.parametrize("seed", SEEDS)
def test_order(seed):
    assert right("order") == "From the last layer to the first"
    one = trainer("order", seed)
    reached = []
    for _ in range(3):
        one.next_phase("backward")
        reached.append(Scene(one).message()["reached"])
    assert reached == [["dense_3"], ["dense_3", "dense_2"], ["dense_3", "dense_2", "dense_1"]]
    scene = Scene(one).message()
    first, second, last = (layer["units"] for layer in scene["layers"])
    w = weights(one)
    assert last[0]["delta"] == pytest.approx(scene["output"]["errors"][0], rel=1e-4)
    for units, after, matrix in ((second, last, w["dense_3.W"]), (first, second, w["dense_2.W"])):
        onward = matrix @ np.array([unit["delta"] for unit in after])
        deltas = [unit["slope"] * part for unit, part in zip(units, onward, strict=True)]
        np.testing.assert_allclose([unit["delta"] for unit in units], deltas, rtol=1e-4, atol=1e-7)


# Learning rate


@pytest.mark.parametrize("seed", SEEDS)
def test_rate(seed):
    assert right("rate") == "η = 0.5"
    (small, good, large) = (tried("rate", seed, attempt)[1][:, 0] for attempt in range(3))
    assert good[-1] < min(small[-1], large[-1])
    assert says("rate", "falls by less than a tenth", "ends higher than it began")
    assert 0.9 * small[0] < small[-1] < small[0]
    assert large[-1] > large[0]


# Adam


@pytest.mark.parametrize("seed", SEEDS)
def test_adam(seed):
    assert right("adam") == "Both are about 0.1 long"
    record = trainer("adam", seed).next_record()
    sizes = abs(record.gradient)
    assert sizes.max() > 10 * sizes.min()
    np.testing.assert_allclose(
        record.after.parameters, record.before.parameters - 0.1 * np.sign(record.gradient), atol=1e-4
    )
    assert says("adam", "weights whose derivatives keep their sign step farther")
    one = trainer("adam", seed)
    gradients, steps = [], []
    for _ in range(60):
        before = one.position.parameters
        one.advance(1)
        gradients.append(one.last.gradient)
        steps.append(abs(one.position.parameters - before))
    kept = abs(np.sign(gradients).mean(axis=0))
    assert np.corrcoef(kept, np.mean(steps, axis=0))[0, 1] > 0


# Overfitting


@pytest.mark.parametrize("seed", SEEDS)
def test_overfitting(seed):
    assert right("overfitting") == "It falls, then rises"
    one, free = tried("overfitting", seed, 0, looks=80)
    _, held_back = tried("overfitting", seed, 1)
    assert says("overfitting", "56 noisy points", "205 weights")
    assert (len(one.data.training.x), one.plan.network.parameters.size) == (56, 205)
    assert free[-1, 0] < 0.05
    lowest = int(free[:, 1].argmin())
    assert free[lowest, 1] < 0.9 * free[0, 1]
    assert free[-1, 1] > 2 * free[lowest, 1]
    assert held_back[-1, 0] > free[-1, 0]
    assert held_back[-1, 1] < free[-1, 1] / 2


# All weights alike


@pytest.mark.parametrize("seed", SEEDS)
def test_zeros(seed):
    assert right("zeros") == "Never"
    (zeros, _), (ones, alike), (_, different) = (tried("zeros", seed, attempt) for attempt in range(3))
    for one in (zeros, ones):
        incoming, outgoing = weights(one)["dense_1.W"], weights(one)["dense_2.W"]
        np.testing.assert_array_equal(incoming, incoming[:, :1].repeat(3, axis=1))
        np.testing.assert_array_equal(outgoing, outgoing[:1].repeat(3, axis=0))
    values = weights(zeros)
    assert says("zeros", "only the last bias moves")
    assert values["dense_2.b"].any()
    assert not any(array.any() for name, array in values.items() if name != "dense_2.b")
    assert different[-1, 0] < alike[-1, 0] / 2


# Vanishing gradients


@pytest.mark.parametrize("seed", SEEDS)
def test_vanishing(seed):
    assert right("vanishing") == "Less than a hundredth"
    ratios = []
    for attempt in (0, 1):
        gradient = trainer("vanishing", seed, attempt).next_record().gradient
        views = dict(trainer("vanishing", seed, attempt).plan.network.parameters.views(gradient))
        first, last = (np.sqrt(np.mean(np.square(views[f"dense_{k}.W"], dtype=float))) for k in (1, 7))
        ratios.append(first / last)
    assert ratios[0] < 0.01
    assert says("vanishing", "at least ten times as much arrives")
    assert ratios[1] > 10 * ratios[0]


# Dead units


@pytest.mark.parametrize("seed", SEEDS)
def test_dead(seed):
    assert right("dead") == "No, no derivative reaches its weights"
    assert says("dead", "With η = 0.5, no unit dies")
    dead = []
    for attempt in (0, 1):
        one = trainer("dead", seed, attempt)
        one.advance(10)
        assert len(one.next_rows()) == len(one.data.training.x)  # so that every sample is in the batch
        dead.append(np.flatnonzero((one.unit_outputs(one.data.training.x)["relu_1"] <= 0).all(axis=0)))
    assert len(dead[0]) == 0
    assert len(dead[1]) > 0
    before = weights(one)["dense_1.W"][:, dead[1]].copy()
    for unit in dead[1]:
        view = unit_view(one, "dense_1", int(unit), sample=0)
        assert view["delta"] == 0
        assert view["outputs"]["zero"] == 1
        assert "dead: silent for every sample" in view["levels"]
    one.advance(100)
    np.testing.assert_array_equal(weights(one)["dense_1.W"][:, dead[1]], before)


# A ravine


@pytest.mark.parametrize("seed", SEEDS)
def test_ravine(seed):
    assert right("ravine") == "Zigzag, from one side to the other"
    one = trainer("ravine", seed, 0)
    x, y = one.data.training.x.astype(float), np.ravel(one.data.training.y).astype(float)
    curvatures, directions = np.linalg.eigh(2 * x.T @ x / len(x))
    assert says("ravine", "about a hundred times as steep across as along")
    assert 60 < curvatures[1] / curvatures[0] < 140
    assert 0.9 * 2 / curvatures[1] < 0.48 < 2 / curvatures[1]  # longer steps would diverge
    places = []
    for _ in range(41):
        places.append(weights(one)["dense_1.W"][:, 0].astype(float))
        quadratic = np.mean((x @ places[-1] + float(weights(one)["dense_1.b"][0]) - y) ** 2)
        assert one.training_loss() == pytest.approx(quadratic, rel=1e-4)
        one.advance(1)
    across, along = (np.diff(places, axis=0) @ directions[:, k] for k in (1, 0))
    assert (across[1:] * across[:-1] < 0).all()
    assert (along[1:] * along[:-1] > 0).all()
    plain, momentum, adam = (tried("ravine", seed, attempt)[1][-1, 0] for attempt in range(3))
    assert momentum < plain / 2
    assert adam < plain / 2


# A kernel


@pytest.mark.parametrize("seed", SEEDS)
def test_convolution(seed):
    assert right("convolution") == "At most four: the largest of each window"
    one = trainer("convolution", seed)
    assert one.data.input_shape == (6, 6)
    for _ in range(20):  # samples
        scene = scene_of(one).message()
        deltas, winners = [unit["delta"] for unit in scene["layers"][0]["units"]], scene["convolution"]["winners"]
        assert len(deltas) == 16
        assert len(winners) == 4
        assert {place for place in range(16) if deltas[place]} <= set(winners)
        inputs = np.array([one["value"] for one in scene["inputs"]])
        for weight in scene["weights"][:9]:
            under = [patch[weight["from"]] for patch in scene["convolution"]["patches"]]
            assert weight["gradient"] == pytest.approx(np.dot(deltas, inputs[under]), rel=1e-4, abs=1e-6)
        one.advance(1)
    assert says("convolution", "Nine weights are enough: after 400 steps the test pictures are told apart")
    after, _ = tried("convolution", seed, 0)
    assert after.measure()["accuracy"] == 1


# A gradient through time


def lengths(one, sample=0):
    """The length of δ at each time step, for a sample of the mini-batch."""
    return SequenceView(one, sample).message()[1]["deltas 0"]


@pytest.mark.parametrize("seed", SEEDS)
def test_time(seed):
    assert right("time") == "About a five-hundredth"
    assert says("time", "10 steps", "f′(z) = 1 and U = 0.5", "make 1/512", "1.5 make 38", "set it to 1.5")
    one = trainer("time", seed)
    for _, weight, value in LESSONS["time"]["edits"]:
        one.set_weight(weight, value)
    for u in (0.5, 1.5):
        one.set_weight("simple_rnn_1.state.U[0, 0]", u)
        for sample in range(4):
            np.testing.assert_allclose(
                lengths(one, sample)[::-1], lengths(one, sample)[-1] * u ** np.arange(10), rtol=1e-4
            )
    assert pytest.approx(38, abs=0.5) == 1.5**9
    before = trainer("time", seed, 0)
    after, losses = tried("time", seed, 0)
    assert losses[-1, 0] < 0.05  # it remembers the first number
    for sample in range(16):
        assert lengths(after, sample)[0] > lengths(after, sample)[-1]
    ratios = [lengths(before, sample)[0] / lengths(before, sample)[-1] for sample in range(16)]
    assert np.median(ratios) < 0.5  # which the weights that were drawn don't do


# What attention multiplies


@pytest.mark.parametrize("seed", SEEDS)
def test_attention(seed):
    assert right("attention") == "The value of j"
    one, after = trainer("attention", seed), tried("attention", seed, 0)[0]
    layer = layers_of(one.plan.network)[0]
    for at in (one, after):
        tape = step_shown(at)[2].tape
        q, k, v = (tape.values[number] for number in layer.inputs)
        scores = q @ k.swapaxes(-1, -2) / np.sqrt(q.shape[-1])
        scores[..., ~np.tri(10, dtype=bool)] = -np.inf
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        weights /= weights.sum(axis=-1, keepdims=True)
        np.testing.assert_allclose(weights @ v, tape.values[layer.output], atol=1e-5)
        shown = SequenceView(at, 3).message()[1]["attention 0"]
        np.testing.assert_allclose(shown, weights[3], atol=1e-6)
        assert not shown[:, ~np.tri(10, dtype=bool)].any()
    assert says("attention", "After 150 steps one head looks almost only", "no second word is wrong")
    held_out = after.data.validation
    np.testing.assert_array_equal(after.predict(held_out.x).argmax(axis=-1)[:, 4:8], held_out.y[:, 4:8])
    heads = tape.values[after.plan.network.graph.numbers[layer.weights.name]]  # (samples, heads, queries, keys)
    largest = heads[:, :, 4:8].argmax(axis=-1) == np.arange(4)
    looking = int(largest.mean(axis=(0, 2)).argmax())
    assert largest[:, looking].mean() > 0.9
    assert heads[:, looking, [4, 5, 6, 7], [0, 1, 2, 3]].mean() > 0.8


# Their form


@pytest.mark.parametrize("name", LESSONS)
def test_a_lesson_is_complete(name):
    lesson = LESSONS[name]
    assert 2 <= len(lesson["answers"]) <= 3
    assert 0 <= lesson["right"] < len(lesson["answers"])
    assert {goal for todo in lesson["todo"] for goal in todo["goal"]} <= GOALS
    assert len(Trainer(Settings.from_json(lesson["settings"])).data.training.x) > 0
    for attempt in lesson.get("tries", []):
        assert (
            Settings.from_json(lesson["settings"] | attempt["settings"]).data.name == lesson["settings"]["data"]["name"]
        )


# In the browser


def answered(page, number, answer):
    """Open a lesson, and predict an answer."""
    choose(page, "#lesson", str(number))
    page.locator("#lesson-box .answer").nth(answer).click()
    settled(page)


def pressed(page, *phases):
    for phase in phases:
        page.click(f"#phase-{phase}")
        settled(page)


def test_every_lesson_opens_and_leaves_the_stage_in_sight(address, visit):
    page = visit(address)
    for number, lesson in enumerate(LESSONS.values()):
        choose(page, "#lesson", str(number))
        expect(page.locator("#lesson-box h2")).to_have_text(f"Lesson {number + 1} of {len(LESSONS)}: {lesson['name']}")
        expect(page.locator("#lesson-box .answer")).to_have_text(lesson["answers"])
        expect(page.locator("#todo")).to_have_count(0)  # first the prediction
        page.locator("#lesson-box .answer").first.click()
        expect(page.locator("#todo li")).to_have_count(len(lesson["todo"]))
        expect(page.locator("#verdict")).to_be_hidden()
        low = page.evaluate("() => document.querySelector('#line').getBoundingClientRect().bottom")
        assert low <= 800, lesson["id"]
    page.click("#end-lesson")
    expect(page.locator("#lesson-box")).to_be_hidden()


def test_a_lesson_asks_first_sees_what_is_done_and_then_says_what_was_right(address, visit):
    page, names = visit(address), list(LESSONS)
    verdict, ticked = page.locator("#verdict"), page.locator("#todo li.done")
    answered(page, names.index("input"), 0)
    pressed(page, "forward")
    expect(ticked).to_have_count(1)
    expect(verdict).to_be_hidden()
    page.click(".chip >> nth=1")
    expect(verdict).to_have_text(f"Done. The right answer: {right('input')}. {LESSONS['input']['why']}")
    page.click("#next-lesson")
    settled(page)
    expect(page.locator("#lesson-box h2")).to_contain_text(LESSONS[names[1]]["name"])

    answered(page, names.index("vanishing"), LESSONS["vanishing"]["right"])
    for attempt in range(2):
        page.click(f"[data-try='{attempt}']")
        gradient = trainer("vanishing", 0, attempt).next_record().gradient
        sizes = dict(trainer("vanishing", 0, attempt).plan.network.parameters.views(gradient))
        size = np.sqrt(np.mean(np.square(sizes["dense_1.W"], dtype=float)))
        expect(page.locator(f"[data-try='{attempt}'] small")).to_contain_text("first")
        shown = page.inner_text(f"[data-try='{attempt}'] small").split()[1].strip(",")
        assert float(shown) == pytest.approx(size, rel=1e-2)
    expect(verdict).to_contain_text("Done. You were right")

    answered(page, names.index("dead"), 0)
    for attempt in range(2):
        page.click(f"[data-try='{attempt}']")
        began, ended = (f"{loss:.4g}" for loss in tried("dead", 0, attempt)[1][:, 0])
        expect(page.locator(f"[data-try='{attempt}'] small")).to_have_text(f"{began} → {ended}")
        expect(page.locator("#now-step")).to_have_text("10")  # where it stopped by itself
        expect(page.locator("#run")).to_have_text("Run")
    for unit in range(3):
        page.click(f"#stage [data-unit='dense_1[{unit}]']")
        settled(page)
    expect(verdict).to_contain_text("Done.")


def test_the_lesson_about_a_kernel_sees_what_is_selected(address, visit):
    page = visit(address)
    answered(page, list(LESSONS).index("convolution"), 0)
    done = page.locator("#todo li.done")
    page.click("#stage [data-unit='conv_1[1, 1, 0]']")  # before its number is there
    pressed(page, "forward")
    expect(done).to_have_count(0)
    page.click("#stage [data-unit='conv_1[1, 2, 0]']")
    expect(done).to_have_count(1)
    pressed(page, "loss", "backward")
    page.click("#stage [data-weight='conv_1.W[0, 2, 0, 0]']")  # δ has not got there yet
    expect(page.locator("#explained .edit")).to_contain_text("conv_1.W[0, 2, 0, 0]")
    expect(done).to_have_count(1)
    pressed(page, "backward")
    page.click("#stage [data-weight='conv_1.W[1, 2, 0, 0]']")
    expect(done).to_have_count(2)
    page.click("[data-try='0']")
    expect(page.locator("#verdict")).to_contain_text("The right answer: At most four")


def test_a_delta_computed_by_hand_is_judged(address, visit):
    page = visit(address)
    answered(page, list(LESSONS).index("backpropagation"), 0)
    pressed(page, "forward", "loss", "backward")
    unit = Scene(trainer("backpropagation", 0)).message()["layers"][0]["units"][0]
    tolerance = LESSONS["backpropagation"]["by_hand"]["tolerance"]
    expect(page.locator("[data-unit='dense_2[0]'] [data-shows='delta']")).to_have_count(1)
    expect(page.locator("[data-unit='dense_1[0]'] [data-shows='delta']")).to_have_count(0)  # it is not given away
    assert f"{unit['delta']:.3f}" not in page.text_content("#line")
    for entered, answer in (
        (unit["delta"] + 1.1 * tolerance, "is not it"), ("p - t", "is not it"),
        (unit["delta"] - 0.9 * tolerance, "Right: δ of dense_1[0]"),
    ):  # fmt: skip
        page.fill("#by-hand", str(entered))
        page.press("#by-hand", "Enter")
        expect(page.locator("#by-hand-answer")).to_contain_text(answer)
    expect(page.locator("#verdict")).to_contain_text("Not one weight has moved")
