"""One sample in a small convolution: every number, and the lines of arithmetic, against the
definition; and the stage in a browser.
"""

import re
import tracemalloc

import numpy as np
import pytest
from playwright.sync_api import expect

from chainrule.play.lens import has_scene, scene_of
from chainrule.play.lines import plain
from chainrule.play.settings import MOST_PARTS, Settings
from chainrule.play.trainer import Trainer
from parts import linked
from waiting import choose, enter, settled

BARS = {
    "data": {"kind": "builtin", "name": "bars"}, "network": "conv 1 3x3 relu, max_pool 2, flatten", "optimizer": "sgd",
    "learning_rate": 0.05, "batch_size": 1,
}  # fmt: skip


def trained(steps=3, **others):
    trainer = Trainer(Settings.from_json({**BARS, **others}))
    trainer.advance(steps)
    return trainer


def definition(trainer, row, stride=1, padding=0, pooling="max"):
    """What a sample of the next mini-batch gives, and its derivatives, in float64: z, a, what is
    pooled, the winner of each window, their deltas, and the derivative of the kernel.
    """
    p = {
        name: array.astype(float) for name, array in trainer.plan.network.parameters.views(trainer.position.parameters)
    }
    x = np.pad(np.asarray(trainer.data.training.x)[row].astype(float), padding)
    kernel, side = p["conv_1.W"][..., 0, 0], (x.shape[0] - 3) // stride + 1
    patch = lambda r, c: x[r * stride : r * stride + 3, c * stride : c * stride + 3]  # noqa: E731
    positions = [(r, c) for r in range(side) for c in range(side)]
    z = np.array([(patch(*at) * kernel).sum() + p["conv_1.b"][0] for at in positions]).reshape(side, side)
    a = np.maximum(z, 0)
    cells = [(r, c) for r in range(side // 2) for c in range(side // 2)]
    windows = [a[2 * r : 2 * r + 2, 2 * c : 2 * c + 2] for r, c in cells]
    pooled = np.array([one.max() if pooling == "max" else one.mean() for one in windows])
    won = [np.unravel_index(one.argmax(), (2, 2)) for one in windows]
    output = pooled @ p["dense_1.W"][:, 0] + p["dense_1.b"][0]
    delta_out = 1 / (1 + np.exp(-output)) - float(trainer.data.training.y[row])
    arriving, upstream = p["dense_1.W"][:, 0] * delta_out, np.zeros((side, side))
    for (r, c), (dr, dc), d in zip(cells, won, arriving, strict=True):
        if pooling == "max":
            upstream[2 * r + dr, 2 * c + dc] += d
        else:
            upstream[2 * r : 2 * r + 2, 2 * c : 2 * c + 2] += d / 4
    delta = upstream * (z > 0)
    gradient = sum(delta[at] * patch(*at) for at in positions)
    return {
        "z": z, "a": a, "pooled": pooled, "delta": delta, "arriving": arriving, "delta_out": delta_out,
        "kernel": gradient, "bias": delta.sum(), "winners": [
            (2 * r + dr) * side + 2 * c + dc for (r, c), (dr, dc) in zip(cells, won, strict=True)
        ],
    }  # fmt: skip


NETWORKS = [
    ("conv 1 3x3 relu, max_pool 2, flatten", {}),
    ("conv 1 3x3 relu, average_pool 2, flatten", {"pooling": "mean"}),
    ("conv 1 3x3 relu padding=1 stride=2, max_pool 2, flatten", {"padding": 1, "stride": 2}),
]


@pytest.mark.parametrize(("network", "options"), NETWORKS)
@pytest.mark.parametrize("sample", [0, 2])
def test_every_number_is_that_of_the_definition(network, options, sample):
    trainer = trained(network=network, batch_size=4)
    scene = scene_of(trainer, sample).message()
    of, (positions, cells, (output,)) = scene["convolution"], [layer["units"] for layer in scene["layers"]]
    wanted = definition(trainer, trainer.next_rows()[sample], **options)
    close = {"rtol": 1e-4, "atol": 1e-6}
    for name in ("z", "a", "delta"):
        np.testing.assert_allclose([unit[name] for unit in positions], wanted[name].ravel(), **close)
    np.testing.assert_allclose([cell["a"] for cell in cells], wanted["pooled"], **close)
    np.testing.assert_allclose([cell["delta"] for cell in cells], wanted["arriving"], **close)
    assert output["delta"] == pytest.approx(wanted["delta_out"], rel=1e-4)
    assert of["winners"] == (None if options.get("pooling") else wanted["winners"])
    side = len(wanted["z"])
    assert of["map"] == [side, side]
    assert [unit["unit"] for unit in positions] == [f"conv_1[{r}, {c}, 0]" for r in range(side) for c in range(side)]


def test_the_derivative_of_a_kernel_is_the_mean_over_samples_of_sums_over_positions():
    trainer = trained(batch_size=4)
    scene = scene_of(trainer).message()
    each = [definition(trainer, row) for row in trainer.next_rows()]
    kernel = scene["weights"][:10]
    wanted = np.append(np.mean([one["kernel"] for one in each], axis=0).ravel(), np.mean([one["bias"] for one in each]))
    np.testing.assert_allclose([weight["gradient"] for weight in kernel], wanted, rtol=1e-4, atol=1e-6)
    for weight in kernel:
        assert weight["next"] == pytest.approx(weight["value"] - 0.05 * weight["gradient"], abs=1e-6)
    own = [re.search(r"= (\S+)\n", plain(weight["gradient_line"]))[1] for weight in kernel]
    sums = np.append(each[0]["kernel"].ravel(), each[0]["bias"])
    np.testing.assert_allclose([float(text.replace("−", "-")) for text in own], sums, atol=6e-4)


def computed(line):
    """Both sides of a line's last equation that is arithmetic, computed."""
    text = re.sub(r" \(δ is 0 [^)]*\)", "", plain(line)).replace("−", "-").replace("×", "*").replace("\n", "")
    *_, work, result = text.split("=")
    return eval(work), float(re.match(r"\s*(-?[\d.e-]+)", result)[1])


def test_the_lines_of_arithmetic_add_up():
    scene = scene_of(trained()).message()
    lines = [unit["z_line"] for unit in scene["layers"][0]["units"]]
    acts = [weight for weight in scene["weights"][:10] if "each δ is 0" not in weight["gradient_line"]]
    lines += [weight["gradient_line"] for weight in acts] + [cell["delta_line"] for cell in scene["layers"][1]["units"]]
    assert len(acts) == 10
    assert all(line.count("\n") == 2 for line in lines[:16])  # a row of the kernel in each
    for line in lines:
        work, result = computed(line)
        assert work == pytest.approx(result, abs=0.01)  # of numbers with three decimals
    assert computed("y = 1.000 × (−2.000) = −2.000") == (-2, -2)


def test_a_line_says_why_nothing_comes_back():
    scene = scene_of(trained()).message()
    for unit in scene["layers"][0]["units"]:
        left_out = unit["at"] not in scene["convolution"]["winners"]
        assert ("it is not the largest of its window" in unit["delta_line"]) is left_out
        assert not (left_out and unit["delta"])


def test_a_penalty_stands_in_the_derivative():
    scene = scene_of(trained(l2=0.1)).message()
    for weight in scene["weights"][:9]:
        work, result = computed(weight["gradient_line"].replace(" (penalty)", ""))
        assert "(penalty)" in weight["gradient_line"]
        assert work == pytest.approx(result, abs=0.01)


@pytest.mark.parametrize(
    ("network", "seen"),
    [
        ("conv 1 3x3, max_pool 2, flatten", True),
        ("conv 1 3x3 tanh, average_pool 2, flatten", True),
        ("conv 1 2x2 relu stride=2, max_pool 2, flatten", True),
        ("conv 2 3x3 relu, max_pool 2, flatten", False),  # two kernels
        ("conv 1 3x3 relu padding=same, max_pool 2, flatten", False),  # too large to show all
        ("conv 1 3x3 relu, max_pool 2, flatten, 3 tanh", False),
        ("conv 1 3x3 relu, flatten", False),
        ("residual(conv 1 3x3 padding=same), max_pool 2, flatten", False),
        ("flatten, 3 tanh", True),  # a chain of Dense layers
    ],
)
def test_which_networks_are_seen_sample_by_sample(network, seen):
    trainer = trained(1, network=network)
    assert has_scene(trainer) is seen
    if seen:
        scene_of(trainer).message()


# A network as text


@pytest.mark.parametrize(
    ("network", "words"),
    [
        ("conv 99999 3x3, flatten", "conv_1 the network computes 1,600,020 numbers of a sample; the page allows"),
        ("conv 1 3x3 padding=5000, flatten", "numbers of a sample; the page allows"),
        ("zero_pad 900000, global_average_pool", "numbers of a sample; the page allows"),
        ("resnet18", "weights; the page allows"),
        ("conv 6400 1x1, global_average_pool", "numbers of a sample; the page allows"),
        ("4, " * (MOST_PARTS + 1), f"the page allows at most {MOST_PARTS} in a text"),
        ("convolve 3", "unknown layer"),
        ("conv 1 3x3", "put flatten"),
        ("4" * 501, "can't be read"),
    ],
)
def test_a_text_that_names_no_network_for_the_page_is_refused(network, words):
    from chainrule.errors import ChainruleError

    with pytest.raises(ChainruleError, match=words):
        trained(0, network=network)


def test_a_network_that_is_too_large_takes_no_memory_before_it_is_refused():
    from chainrule.errors import SettingError

    trained(0)  # what is loaded once
    tracemalloc.start()
    with pytest.raises(SettingError, match="up to its layer conv_1"):
        trained(0, network="conv 1 3x3 padding=5000, flatten")
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 20_000_000  # one number for each of its values would be 800 MB


def test_a_network_with_weights_for_each_input_is_seen_by_its_weights(address, visit):
    page = visit(address)
    choose(page, "#data-set", "builtin:digits")
    enter(page, "#set-network", "flatten, expand 3, flatten")
    expect(page.locator("#lens-weights")).to_have_attribute("aria-checked", "true")
    expect(page.locator("#lens-sample")).to_be_disabled()
    page.click("#step")
    settled(page)
    expect(page.locator("#now-step")).to_have_text("1")


def test_the_network_can_be_given_as_text(address, visit):
    page = visit(address)
    page.select_option("#data-set", "builtin:digits")
    settled(page)
    enter(page, "#set-network", "conv 4 3x3 relu, max_pool 2, flatten")
    expect(page.locator("#settings-words")).to_contain_text("digits")
    assert "conv_1.W" in page.inner_text("#choose-array")
    expect(page.locator("#layers")).to_be_hidden()
    page.reload()  # the address has it
    page.wait_for_function("() => document.getElementById('now-loss').textContent !== '-'")
    assert page.input_value("#set-network") == "conv 4 3x3 relu, max_pool 2, flatten"
    page.evaluate("() => document.getElementById('settings').open = true")
    page.fill("#set-network", "conv 4 3x3 rilu")
    page.press("#set-network", "Enter")
    expect(page.locator("#message")).to_contain_text("unknown activation 'rilu'")
    enter(page, "#set-network", "")
    expect(page.locator("#layers")).to_be_visible()


# On the stage


@pytest.fixture
def lens(address, visit):
    """The page with a small convolution."""
    page = visit(address)
    page.select_option("#data-set", "builtin:bars")
    settled(page)
    for name in ("optimizer", "learning_rate", "batch_size"):
        choice = page.locator(f"#set-{name}")
        (choice.select_option if name == "optimizer" else choice.fill)(str(BARS[name]))
        choice.dispatch_event("change")
        settled(page)
    enter(page, "#set-network", BARS["network"])
    page.evaluate("() => document.getElementById('settings').open = false")
    return page


def texts(page, selector):
    return page.locator(f"#stage-picture {selector}").count()


def test_each_phase_writes_its_numbers_where_they_arise(lens):
    units = [
        ("conv_1", "z"), ("max_pool_1", "a"), ("dense_1", "prediction"), ("dense_1", "delta"), ("max_pool_1", "delta"),
        ("conv_1", "delta"),
    ]  # fmt: skip

    def counts():
        of_units = [texts(lens, f"[data-unit^='{layer}'] [data-shows='{shows}']") for layer, shows in units]
        kernel = [f"[data-weight^='conv_1'] [data-shows='{shows}']" for shows in ("value", "gradient", "next")]
        return of_units + [texts(lens, selector) for selector in kernel]

    assert texts(lens, "[data-unit^='input'] [data-shows='value']") == 36
    seen = [counts()]
    for phase in ("forward", "loss", "backward", "backward", "update"):
        lens.click(f"#phase-{phase}")
        settled(lens)
        seen.append(counts())
    assert seen == [
        [0, 0, 0, 0, 0, 0, 10, 0, 0], [16, 4, 1, 0, 0, 0, 10, 0, 0], [16, 4, 1, 0, 0, 0, 10, 0, 0],
        [16, 4, 1, 1, 0, 0, 10, 0, 0], [16, 4, 1, 1, 4, 16, 10, 10, 0], [16, 4, 1, 1, 4, 16, 10, 10, 10],
    ]  # fmt: skip


def lit(page):
    """The names of what is shown as belonging to what is pointed at."""
    return page.evaluate(
        "() => Array.from(document.querySelectorAll('#stage-picture .belongs'),"
        " (one) => one.dataset.unit ?? one.dataset.weight)"
    )


def test_pointing_shows_what_belongs_together(lens):
    for phase in ("forward", "loss", "backward", "backward"):
        lens.click(f"#phase-{phase}")
        settled(lens)
    scene = scene_of(Trainer(Settings.from_json(BARS))).message()
    lens.hover("[data-unit='conv_1[1, 2, 0]']")
    patch = {f"input[{6 * r + c}]" for r in (1, 2, 3) for c in (2, 3, 4)}
    assert {name for name in lit(lens) if name.startswith("input")} == patch
    expect(lens.locator("#line-text")).to_contain_text(plain(scene["layers"][0]["units"][6]["z_line"]).split("\n")[1])
    lens.hover("[data-unit='max_pool_1[0, 1, 0]']")
    assert {f"conv_1[{r}, {c}, 0]" for r in (0, 1) for c in (2, 3)} == set(lit(lens))
    lens.hover("[data-weight='conv_1.W[0, 2, 0, 0]']")
    acts = [unit for unit in scene["layers"][0]["units"] if unit["delta"]]
    assert {unit["unit"] for unit in acts} == {name for name in lit(lens) if name.startswith("conv_1")}
    under = {f"input[{6 * (unit['at'] // 4) + unit['at'] % 4 + 2}]" for unit in acts}
    assert under == {name for name in lit(lens) if name.startswith("input")}
    expect(lens.locator("#line-text")).to_contain_text("sum of δ × x over 16 positions")
    assert texts(lens, ".winner") == 4


def test_the_inspector_says_what_can_be_clicked(lens):
    hint = lens.locator("#explained .hint")
    expect(hint).to_contain_text("Click a weight of the kernel")
    lens.click("#lens-maps")
    expect(hint).to_contain_text("a square of a kernel")
    lens.evaluate("() => document.getElementById('settings').open = true")
    enter(lens, "#set-network", "")
    choose(lens, "#data-set", "plane:moons")
    expect(hint).to_contain_text("Click a line of the network")


def test_the_weight_that_the_line_tells_of_is_named_and_outlined(lens):
    outlined = lens.locator("#stage-picture .selected")
    for phase in ("forward", "loss", "backward"):
        lens.click(f"#phase-{phase}")
        settled(lens)
    expect(outlined).to_have_count(0)
    expect(lens.locator("#line-text")).to_contain_text("dense_1.W[")
    lens.click("#phase-backward")
    settled(lens)
    weight = scene_of(Trainer(Settings.from_json(BARS))).message()["convolution"]["weight"]
    expect(lens.locator("#line-text")).to_contain_text(f"{weight}: \u2202L/\u2202w = ")
    expect(outlined).to_have_attribute("data-weight", weight)


def test_a_click_opens_a_position_in_the_inspector(lens):
    lens.click("#phase-forward")
    settled(lens)
    lens.click("[data-unit='conv_1[1, 2, 0]']")
    expect(lens.locator("#explained")).to_contain_text("δ conv_1[1, 2, 0] =")
    expect(lens.locator("#line-about")).to_have_text("conv_1[1, 2, 0]")
    lens.click("[data-weight='conv_1.W[1, 1, 0, 0]']")
    expect(lens.locator("#explained .edit")).to_contain_text("conv_1.W[1, 1, 0, 0]")


@pytest.mark.parametrize("width", [1280, 390])
def test_no_number_leaves_its_cell(address, visit, width):
    page = visit(address + "#" + linked({"settings": BARS}), width=width, height=844)
    for phase in ("forward", "loss", "backward", "backward", "update"):
        page.click(f"#phase-{phase}")
        settled(page)
    outside = page.evaluate("""() => {
        const found = [];
        for (const cell of document.querySelectorAll('#stage-picture [data-unit], #stage-picture [data-weight]')) {
            const box = cell.querySelector('rect').getBoundingClientRect();
            for (const text of cell.querySelectorAll('text')) {
                const own = text.getBoundingClientRect();
                const across = own.left < box.left - 1 || own.right > box.right + 1;
                if (across || own.bottom > box.bottom + 3) found.push(text.textContent);
            }
        }
        return found;
    }""")
    assert outside == []
    stage = page.locator("#stage-picture")
    assert stage.evaluate("(place) => place.scrollWidth <= place.clientWidth")
