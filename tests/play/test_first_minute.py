"""The first minute: after each of its eight clicks, everything that the step has computed can be
read on the first screen, and is what the engine computed.
"""

import numpy as np
import pytest
from playwright.sync_api import expect

from chainrule.layers import KINDS
from chainrule.play.lines import plain
from chainrule.play.scene import Scene
from chainrule.play.settings import FIRST, DataSettings, LayerSettings, Settings
from chainrule.play.slice import slice_of
from chainrule.play.trainer import Trainer

NUMBERS = """() => [...document.querySelectorAll("#stage [data-number]")].filter((element) => {
    const box = element.getBoundingClientRect();
    const whole = box.width > 0 && box.left >= 0 && box.top >= 0
        && box.right <= innerWidth && box.bottom <= innerHeight;
    const [x, y] = [(box.left + box.right) / 2, (box.top + box.bottom) / 2];
    return whole && element.closest("svg").contains(document.elementFromPoint(x, y));
}).map((element) => [
    element.closest("[data-weight]")?.dataset.weight ?? element.closest("[data-unit]").dataset.unit,
    element.dataset.shows, Number(element.dataset.number), element.textContent,
])"""
"""Of every number on the stage that can be seen without scrolling: what it belongs to, what it is,
its full precision, and its text.
"""


@pytest.fixture(params=["address", "saved"])
def opened(request, windows):
    """The page as it opens, at 1280 x 800: served, and saved in a file that is opened without a
    network.
    """
    place, requests = request.getfixturevalue(request.param), []
    page = windows(viewport={"width": 1280, "height": 800}, offline=request.param == "saved")
    page.on("request", lambda sent: requests.append(sent.url))
    page.goto(place if request.param == "address" else place.as_uri())
    expect(page.locator("#stage-picture svg")).to_be_visible()
    yield page
    page.close()
    assert request.param == "address" or requests == [place.as_uri()]


def numbers(page):
    """The numbers in sight, by what they belong to and what they are."""
    seen = {(owner, shows): number for owner, shows, number, _ in page.evaluate(NUMBERS)}
    for _, _, number, text in page.evaluate(NUMBERS):
        assert float(text.replace("−", "-")) == pytest.approx(number, abs=5.01e-4)
    return seen


def expected(scene):
    """The numbers of a scene, level by level."""
    last = scene["layers"][-1]["units"][0]["unit"]
    output = scene["output"]
    hidden = [unit for layer in scene["layers"][:-1] for unit in layer["units"]]
    every = [unit for layer in scene["layers"] for unit in layer["units"]]
    return {
        "sample": {(one["unit"], name): one[name] for one in scene["inputs"] for name in ("value", "raw")},
        "weights": {(one["weight"], "value"): one["value"] for one in scene["weights"]},
        "forward": {(one["unit"], "z"): one["z"] for one in every}
        | {(one["unit"], "a"): one["a"] for one in hidden}
        | {(last, "prediction"): output["predictions"][0]},
        "loss": {
            (last, "target"): output["targets"][0], (last, "error"): output["errors"][0],
            (last, "loss"): output["loss"],
        },
        "delta": {(one["unit"], "delta"): one["delta"] for one in every}
        | {(one["unit"], name): one[name] for one in hidden for name in ("slope", "upstream")},
        "gradient": {(one["weight"], "gradient"): one["gradient"] for one in scene["weights"]},
        "next": {(one["weight"], "next"): one["next"] for one in scene["weights"]},
    }  # fmt: skip


def test_every_click_shows_what_it_explains_and_what_the_engine_computed(opened):
    page, scene = opened, Scene(Trainer(FIRST)).message()
    levels, shown = expected(scene), {}
    clicks = ["sample", "weights", "forward", "loss", None, "delta", "gradient", "next"]
    page.click("#first-minute")
    for k, level in enumerate(clicks):
        if k:
            page.click("#next")
        shown |= levels[level] if level else {}
        page.wait_for_function(f"(count) => ({NUMBERS})().length === count", arg=len(shown))
        seen = numbers(page)
        assert seen == {key: pytest.approx(value, rel=1e-6) for key, value in shown.items()}
        assert page.inner_text("#first").startswith(f"{k + 1}/8")
        assert page.inner_text("#line-text").strip()


def test_the_numbers_of_a_scene_are_those_of_the_definition():
    trainer = Trainer(FIRST)
    scene, network = Scene(trainer, sample=2).message(), trainer.plan.network
    row = scene["rows"][2]
    x, y = trainer.data.training.x[row].astype(float), float(trainer.data.training.y[row])
    p = {name: array.astype(float) for name, array in network.parameters.views(trainer.position.parameters)}
    z1 = x @ p["dense_1.W"] + p["dense_1.b"]
    a1 = np.tanh(z1)
    z2 = (a1 @ p["dense_2.W"] + p["dense_2.b"]).item()
    prediction = 1 / (1 + np.exp(-z2))
    d2 = prediction - y
    d1 = (1 - a1**2) * p["dense_2.W"][:, 0] * d2
    first, second = scene["layers"]
    for k, unit in enumerate(first["units"]):
        values = [unit[name] for name in ("z", "a", "slope", "upstream", "delta")]
        np.testing.assert_allclose(
            values, [z1[k], a1[k], 1 - a1[k] ** 2, p["dense_2.W"][k, 0] * d2, d1[k]], rtol=1e-4, atol=1e-6
        )
    assert second["units"][0]["z"] == pytest.approx(z2, rel=1e-5)
    assert second["units"][0]["delta"] == pytest.approx(d2, rel=1e-4)
    output = scene["output"]
    assert output["predictions"] == [pytest.approx(prediction, rel=1e-5)]
    assert (output["targets"], output["errors"]) == ([y], [pytest.approx(d2, rel=1e-4)])
    assert output["loss"] == pytest.approx(-np.log(prediction if y else 1 - prediction), rel=1e-4)


def test_the_gradient_is_the_mean_over_the_samples_and_the_step_is_taken():
    trainer = Trainer(FIRST)
    scenes = [Scene(trainer, sample).message() for sample in range(4)]
    for k, weight in enumerate(scenes[0]["weights"]):
        products = []
        for scene in scenes:
            column = next(j for j, layer in enumerate(scene["layers"]) if layer["name"] == weight["layer"])
            before = scene["layers"][column - 1]["units"] if column else scene["inputs"]
            inputs = [one.get("a", one.get("value")) for one in before]
            delta = scene["layers"][column]["units"][weight["to"]]["delta"]
            products.append(delta * (1 if weight["from"] is None else inputs[weight["from"]]))
        assert weight["gradient"] == pytest.approx(np.mean(products), rel=1e-4, abs=1e-7)
        assert weight["next"] == pytest.approx(weight["value"] - 0.5 * weight["gradient"], rel=1e-5, abs=1e-7)
        of_sample = ("forward", "backward")
        others, again = (
            {name: one[name] for name in one if name not in of_sample} for one in (weight, scenes[1]["weights"][k])
        )
        for one in (others, again):  # which of the samples is on the stage is all that differs in the line
            one["gradient_line"] = plain(one["gradient_line"])
        assert again == others
    trainer.advance(1)
    taken = {weight["weight"]: weight["next"] for weight in scenes[0]["weights"]}
    for name, value in taken.items():
        assert trainer.position.parameters[trainer.plan.network.parameters.find(name)] == pytest.approx(value, rel=1e-6)


def test_a_slice_is_the_loss_along_its_weight():
    trainer = Trainer(FIRST)
    result = slice_of(trainer, "dense_1.W[1, 2]")
    place, rows = trainer.plan.network.parameters.find("dense_1.W[1, 2]"), trainer.next_rows()
    batch = trainer.data.training.take(rows)
    for value, loss in list(zip(result["values"], result["losses"], strict=True))[::20]:
        parameters = trainer.position.parameters.copy()
        parameters[place] = value
        assert loss == pytest.approx(trainer.problem.total_loss(parameters, batch), rel=1e-6)
    steps = np.diff(result["values"])
    slopes = np.gradient(result["losses"], result["values"])
    assert np.allclose(steps, steps[0])
    assert result["gradient"] == pytest.approx(slopes[len(slopes) // 2], rel=1e-2)
    assert result["next_loss"] < result["loss"]


def test_deltas_appear_from_the_last_layer_to_the_first(opened):
    page = opened
    page.click("#first-minute")
    for _ in range(4):
        page.click("#next")
    page.evaluate("""() => {
        window.order = [];
        new MutationObserver(() => {
            for (const element of document.querySelectorAll("#stage [data-shows=delta]")) {
                const unit = element.closest("[data-unit]").dataset.unit;
                if (!window.order.includes(unit)) window.order.push(unit);
            }
        }).observe(document.getElementById("stage-picture"), { childList: true, subtree: true });
    }""")
    page.click("#next")
    page.wait_for_function("() => window.order.length === 4")
    assert page.evaluate("() => window.order") == ["dense_2[0]", "dense_1[0]", "dense_1[1]", "dense_1[2]"]


@pytest.mark.parametrize("name", sorted(kind.__name__.lower() for kind in KINDS if kind.elementwise))
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_the_lines_hold_for_every_activation_with_dropout_and_penalties(name, dropout):
    layers = (LayerSettings(3, name, dropout=dropout), LayerSettings(2, name))
    trainer = Trainer(Settings(DataSettings(name="moons"), layers, optimizer="momentum", batch_size=4, l2=0.1))
    trainer.advance(2)
    scene = Scene(trainer, sample=1).message()
    units = [unit for layer in scene["layers"] for unit in layer["units"]]
    lines = [(unit["delta_line"], unit["delta"]) for unit in units]
    lines += [(unit["z_line"], unit["z"]) for unit in units]
    lines += [(weight["gradient_line"], weight["gradient"]) for weight in scene["weights"]]
    for line, value in lines:
        *_, worked, result = plain(line).replace("−", "-").replace("×", "*").replace(" (penalty)", "").split(" = ")
        assert float(result) == pytest.approx(value, abs=5.1e-4, rel=0.05)
        if not (line.startswith("δ = ∂L") and "p -" in line):
            assert eval(worked) == pytest.approx(value, abs=5e-3, rel=5e-2)  # of numbers with three decimals
