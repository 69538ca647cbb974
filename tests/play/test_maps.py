"""The lens on feature maps: its numbers, receptive fields, winners of poolings, and what a click opens."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from playwright.sync_api import expect

from chainrule.data import load
from chainrule.explain.chain import open_unit
from chainrule.explain.patch import patch_of
from chainrule.layers import Context
from chainrule.network import Network
from chainrule.play.maps import Maps, description, pushes_on, rows_of
from chainrule.play.settings import DataSettings, Settings
from chainrule.play.trainer import Trainer
from chainrule.runs import Recorder, Run, train
from chainrule.tape import Tape
from waiting import settled

NETWORK = "conv 20 3x3 tanh, max_pool 2, conv 5 2x2 relu stride=2 padding=same, flatten, 6 tanh"
COLOURS = "conv 4 3x3 relu padding=same, average_pool 2, flatten"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A recorded run on digits."""
    path = tmp_path_factory.mktemp("runs") / "digits"
    train(NETWORK, load("digits"), epochs=1, batch_size=16, augment="none", callbacks=[Recorder(path)])
    return path


@pytest.fixture(scope="module")
def coloured(tmp_path_factory):
    """A recorded run on pictures in colour, and their file."""
    base, random = tmp_path_factory.mktemp("colours"), np.random.default_rng(0)
    pictures = random.integers(0, 256, (40, 6, 5, 3), dtype=np.uint8)
    np.savez(base / "pictures.npz", x=pictures, y=np.arange(40) % 2)
    train(COLOURS, load(base / "pictures.npz"), epochs=1, augment="none", callbacks=[Recorder(base / "run")])
    return base / "run", pictures


def training(folder):
    run = Run.open(folder)
    return Trainer(Settings(DataSettings("given")), run.load_data(), run)


def by_jax(p, x, nudges):
    """The rows of NETWORK for samples, each with a nudge added to it."""

    def conv(x, name, stride, padding):
        z = jax.lax.conv_general_dilated(
            x, p[f"{name}.W"], (stride, stride), padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        return z + p[f"{name}.b"]

    rows = [x[..., None] + nudges[0]]
    rows.append(jnp.tanh(conv(rows[-1], "conv_1", 1, "VALID")) + nudges[1])
    pooled = jax.lax.reduce_window(rows[-1], -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
    rows.append(pooled + nudges[2])
    rows.append(jax.nn.relu(conv(rows[-1], "conv_2", 2, "SAME")) + nudges[3])
    rows.append(jnp.tanh(rows[-1].reshape(len(x), -1) @ p["dense_1.W"] + p["dense_1.b"]) + nudges[4])
    rows.append(rows[-1] @ p["dense_2.W"] + p["dense_2.b"] + nudges[5])
    return rows


def test_the_maps_are_what_jax_computes_and_their_derivatives_the_samples_own(folder):
    trainer, sample = training(folder), 3
    header, arrays = Maps(trainer, sample).message()
    row = trainer.next_rows()[sample]
    x, y = jnp.asarray(trainer.data.training.x[[row]], dtype=float), int(trainer.data.training.y[row])
    p = {
        name: jnp.asarray(array, dtype=float)
        for name, array in trainer.plan.network.parameters.views(trainer.position.parameters)
    }
    nudges = [jnp.zeros(one.shape) for one in by_jax(p, x, [0.0] * 6)]
    values = by_jax(p, x, nudges)
    slopes = jax.grad(lambda nudges: -jax.nn.log_softmax(by_jax(p, x, nudges)[-1])[0, y])(nudges)
    names = [one["name"] for one in description(trainer.plan.network)]
    assert names == ["input", "conv_1", "max_pool_1", "conv_2", "dense_1", "dense_2"]
    for k, shown in enumerate(header["maps"]):
        for name, wanted in (("values", values[k][0]), ("slopes", slopes[k][0])):
            wanted = np.moveaxis(np.asarray(wanted), -1, 0)
            channels = shown[name]["channels"]
            np.testing.assert_allclose(arrays[f"{name} {k}"], wanted[channels], rtol=2e-3, atol=1e-5)
            assert shown[name]["largest"] == pytest.approx(np.abs(wanted).max(), rel=1e-3)
            assert shown[name]["others"] == len(wanted) - len(channels)
    assert header["output"]["loss"] == pytest.approx(float(-jax.nn.log_softmax(values[-1])[0, y]), rel=1e-4)


def test_of_many_channels_the_strongest_and_what_is_open_are_sent(folder):
    trainer = training(folder)
    header, arrays = Maps(trainer).message()
    channels = header["maps"][1]["values"]["channels"]
    assert (len(channels), header["maps"][1]["values"]["others"]) == (16, 4)
    sizes = np.abs(arrays["values 1"]).mean(axis=(1, 2))
    assert (np.diff(sizes) <= 1e-12).all()
    missing = next(k for k in range(20) if k not in channels)
    for opened in (
        {"layer": "conv_1", "unit": missing, "position": [0, 0]},
        {"weight": f"conv_1.W[1, 1, 0, {missing}]"},
        {"weight": f"conv_1.b[{missing}]"},
    ):
        assert missing in Maps(trainer, 0, opened).message()[0]["maps"][1]["values"]["channels"]
    read = Maps(trainer, 0, {"weight": f"conv_2.W[1, 1, {missing}, 2]"}).message()[0]["maps"]
    assert missing in read[2]["values"]["channels"]
    for odd in ({"weight": "nothing"}, {"layer": "conv_1", "unit": 99}, {"weight": "conv_9.W[0]"}):
        assert Maps(trainer, 0, odd).message()[0]["maps"][1]["values"]["channels"] == channels


def test_derivatives_are_reached_row_by_row_from_the_last(folder):
    trainer = training(folder)
    reached = []
    for _ in range(4):
        trainer.next_phase("backward")
        reached.append(Maps(trainer).message()[0]["reached"])
    assert reached[0] == ["dense_2"]
    assert reached[1] == ["dense_2", "dense_1"]
    assert reached[2] == ["dense_2", "dense_1", "conv_2"]
    assert reached[3] == ["dense_2", "dense_1", "conv_2", "max_pool_1", "conv_1", "input"]


@pytest.mark.parametrize(
    ("text", "shape", "names"),
    [
        ("16 relu", (8, 8), []),
        ("conv1d 4 3 relu, flatten", (20, 2), []),
        ("conv 4 3x3, batch_norm, relu, channel_dropout 0.1, global_average_pool, 3", (8, 8, 3),
         ["input", "conv_1", "global_average_pool_1", "dense_1"]),
        ("conv 4 3x3 padding=same, residual(conv 4 3x3 padding=same, relu), flatten, dropout 0.1, 2", (6, 6),
         ["input", "conv_1", "residual_1.conv_1", "residual_1", "dense_1"]),
    ],
)  # fmt: skip
def test_layers_that_keep_units_share_a_row(text, shape, names):
    rows = rows_of(Network(text, shape))
    assert [row.name for row in rows] == names


def test_a_picture_in_colour_is_shown_as_it_was_read(coloured):
    folder, pictures = coloured
    trainer = training(folder)
    _, arrays = Maps(trainer, 2).message()
    row = trainer.data.rows[trainer.next_rows()[2]]
    np.testing.assert_array_equal(arrays["picture"], pictures[row])


def test_the_pushes_on_a_weight_are_those_of_the_sample_on_the_stage(folder):
    trainer = training(folder)
    for weight, row in (("conv_1.W[1, 2, 0, 3]", "input"), ("conv_2.W[0, 1, 7, 4]", "max_pool_1")):
        e = trainer.explain(weight, 5)
        found = pushes_on(e)
        (term,) = [term for term in e.samples if term.row == trainer.next_rows()[5]]
        assert (found["row"], found["channel"]) == (row, 7 if row == "max_pool_1" else 0)
        assert sum(found["values"]) == pytest.approx(-term.product, rel=2e-3, abs=1e-6)
    assert pushes_on(trainer.explain("dense_1.W[1, 2]", 5)) is None


FIELD = """async ([row, r, c]) => {
  const [{ app }, { fieldsOf }] = [await import("./app.js"), await import("./receptive.js")];
  return [...fieldsOf(app.built.maps, row, { rows: [r], columns: [c], channel: 0 })];
}"""


def test_a_receptive_field_is_just_what_the_number_depends_on(serve, visit, tmp_path):
    text = (
        "conv 2 3x3 stride=2 padding=same, conv 3 2x2 dilation=2 padding=1, residual(conv 3 3x3 padding=same), "
        "max_pool 2 stride=1, zero_pad 1, upsample 2, average_pool 3 padding=same"
    )
    random = np.random.default_rng(0)
    np.savez(tmp_path / "random.npz", x=random.normal(size=(30, 13, 11)), y=np.arange(30) % 2)
    data = load(tmp_path / "random.npz", samples="pictures")
    train(f"{text}, flatten", data, epochs=1, augment="none", callbacks=[Recorder(tmp_path / "run")])
    network = Network(f"{text}, flatten, 2", (13, 11), dtype="float64")
    # With positive weights, and none but linear layers and poolings, what is larger stays so.
    params = network.params(np.abs(network.draw(0)) + 0.1, np.zeros(network.statistics.size))
    rows, x = rows_of(network), random.uniform(1, 2, (1, 13, 11))
    before = Tape(network.graph, params, [x], Context()).values
    depends = [np.zeros((*row.shape[:2], 13, 11), dtype=bool) for row in rows if row.is_map]
    for at in np.ndindex(13, 11):
        changed = x.copy()
        changed[(0, *at)] += 1000
        after = Tape(network.graph, params, [changed], Context()).values
        for k in range(1, len(depends)):
            number = rows[k].numbers[-1]
            depends[k][(..., *at)] = (after[number] != before[number])[0].any(axis=-1)
    with serve(str(tmp_path / "run")) as url:
        page = visit(url)
        for k in range(1, len(depends)):
            for r, c in {(0, 0), (2, 3), (rows[k].shape[0] - 1, rows[k].shape[1] - 2)}:
                found = dict(page.evaluate(FIELD, [k, r, c]))
                read = np.zeros((13, 11), dtype=bool)
                read[np.ix_(found[0]["rows"], found[0]["columns"])] = True
                np.testing.assert_array_equal(read, depends[k][r, c], err_msg=f"{rows[k].name} at {r}, {c}")


def place(page, name):
    """Where something of this name is on the page."""
    at = page.evaluate("""async (name) => (await import("./maps.js")).placeOnMaps(name)""", name)
    box = page.locator("#maps").bounding_box()
    return box["x"] + at["x"], box["y"] + at["y"]


def pixel(page, x, y):
    """The colour of the canvas at a point of the page."""
    return page.evaluate(
        """([x, y]) => { const canvas = document.getElementById("maps"), box = canvas.getBoundingClientRect();
        return [...canvas.getContext("2d").getImageData(x - box.x, y - box.y, 1, 1).data].slice(0, 3); }""",
        [x, y],
    )


def test_a_convolutional_network_on_the_page(serve, visit, folder):
    trainer = training(folder)
    with serve(str(folder)) as url:
        page = visit(url)
        expect(page.locator("#lens-maps")).to_have_attribute("aria-checked", "true")
        expect(page.locator("#lens-sample")).to_have_attribute("title", re.compile("at most 6 \u00d7 6 pixels"))
        expect(page.locator("#batch-chips .chip")).to_have_count(12)
        page.click("#batch-chips .chip >> nth=2")
        settled(page)
        header, arrays = Maps(trainer, 2).message()
        channel = header["maps"][2]["values"]["channels"][0]

        # Pointing at a pooled number lights up its window, and says which input won.
        page.mouse.move(*place(page, f"max_pool_1[1, 2, {channel}]"))
        fields = page.evaluate("""async () => (await import("./maps.js")).shownFields()""")
        assert fields["conv_1"] == {"rows": [2, 3], "columns": [4, 5], "channel": channel}
        assert (fields["input"]["rows"], fields["input"]["columns"]) == ([2, 3, 4, 5], [4, 5, 6, 7])
        own = arrays["values 1"][header["maps"][1]["values"]["channels"].index(channel)]
        r, c = np.unravel_index(np.argmax(own[2:4, 4:6]), (2, 2))
        expect(page.locator("#line-text")).to_contain_text(f"won: row {2 + r}, column {4 + c} of tanh_1")
        expect(page.locator("#line-text")).to_contain_text(f"a = {own[2 + r, 4 + c]:.3f}".replace("-", "\u2212"))
        expect(page.locator("#tip")).to_contain_text(f"max_pool_1[1, 2, {channel}]")

        # A click opens the unit at its position: the patch that it reads, times its kernel.
        unit = header["maps"][3]["values"]["channels"][0]
        page.mouse.click(*place(page, f"conv_2[1, 0, {unit}]"))
        expect(page.locator("#explained h3").first).to_have_text(f"conv_2[1, 0, {unit}]")
        settled(page)
        link = open_unit(trainer.trace(), "conv_2", unit, 2, [1, 0])
        patch = patch_of(trainer.trace(), link.unit)
        assert page.locator("#explained .patch .kernel rect[data-cell]").count() == 4
        expect(page.locator("#explained .patch .sums")).to_contain_text(f"{patch.value:.4g} = z".replace("-", "\u2212"))
        copy = visit(page.url)
        expect(copy.locator("#explained h3").first).to_have_text(f"conv_2[1, 0, {unit}]")
        copy.close()

        # A click on a kernel opens its weight, and paints the pushes over the sample.
        weight = f"conv_1.W[1, 2, 0, {header['maps'][1]['values']['channels'][0]}]"
        page.mouse.click(*place(page, weight))
        expect(page.locator("#explained .edit label")).to_contain_text(weight)
        settled(page)
        expect(page.locator("#scheme .pushes img")).to_be_visible()
        pushes = np.array(pushes_on(trainer.explain(weight, 2))["values"]).reshape(8, 8)
        page.mouse.move(0, 0)
        r, c = np.unravel_index(np.argmax(np.abs(pushes)), (8, 8))
        box = page.locator("#maps").bounding_box()
        red, _, blue = pixel(page, box["x"] + (c + 0.5) * 124 / 8, box["y"] + 16 + (r + 0.5) * 124 / 8)
        assert (blue > red) == (pushes[r, c] > 0)
        page.click("#tab-level-2")
        expect(page.locator("#level-2 img").first).to_be_visible()
        expect(page.locator("#level-2 details").first).to_contain_text("36 positions")


def test_derivatives_appear_with_backpropagation_and_the_keyboard_walks_over_maps(serve, visit, folder):
    shown = """async (row) => (await import("./tiles.js")).numbersOf(row) !== null"""
    with serve(str(folder)) as url:
        page = visit(url)
        page.select_option("#edges", "gradients")
        assert not page.evaluate(shown, 3)
        page.select_option("#edges", "weights")
        assert page.evaluate(shown, 3)
        for press in range(4):
            page.click("#phase-backward")
            settled(page)
            expect(page.locator("#edges")).to_have_value("gradients")
            assert [page.evaluate(shown, row) for row in (5, 3, 1, 0)] == [True, press >= 2, press >= 3, press >= 3]
        page.click("#back")
        settled(page)
        expect(page.locator("#edges")).to_have_value("weights")
        page.focus("#maps")
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowRight")
        channel = min(
            page.evaluate(
                "async () => (await import('./tiles.js')).tiles.filter((t) => t.row === 1).map((t) => t.channel)"
            )
        )
        expect(page.locator("#tip")).to_contain_text(f"conv_1[1, 1, {channel}]")
        page.keyboard.press("Enter")
        expect(page.locator("#explained h3").first).to_have_text(f"conv_1[1, 1, {channel}]")
        svg = page.evaluate("""async () => (await import("./picture.js")).asSvg()""")
        assert svg.count("<image") >= 16
        assert "conv_1 \u2192 tanh_1" in svg


def test_in_words_and_numbers_derivatives_are_whole(serve, visit, folder):
    with serve(str(folder)) as url:
        page = visit(url)
        svg = "async () => (await import('./maps.js')).mapsSvg()"
        assert "probabilities" in page.evaluate(svg)
        for _ in range(4):
            page.click("#phase-backward")
            settled(page)
        for weight in ("conv_1.W[1, 1, 0, 0]", "conv_2.W[0, 1, 7, 4]"):
            page.evaluate("async (name) => (await import('./explanation.js')).openWeight(name)", weight)
            expect(page.locator("#explained .edit label")).to_contain_text(weight)
            settled(page)
            shown = page.evaluate(svg)
            assert "Above: \u2202L/\u2202input." in shown
            lowest = max(float(y) for y in re.findall(r'<text x="0" y="([\d.]+)"', shown))
            assert lowest + 4 <= float(re.search(r'height="([\d.]+)"', shown)[1])
        assert "probabilities" not in shown
        assert "\u03b4 = \u2202L/\u2202z" in shown
        wide = page.evaluate("""async () => {
            const { cells, rows } = await import("./tiles.js");
            const pen = document.createElement("canvas").getContext("2d");
            pen.font = "10px system-ui, Helvetica, Arial, sans-serif";
            const row = rows().length - 1, own = cells.filter((cell) => cell.row === row);
            return own.map((cell) => cell.wide - 4 - pen.measureText("\u22120.999").width);
        }""")
        texts = re.findall(r">(\u2212?\d\.\d{3})<", shown)
        assert len(texts) == len(wide) == 10
        assert min(wide) > 0


def test_kernels_are_pictures_among_the_weights(serve, visit, folder, coloured):
    with serve(str(coloured[0])) as url:
        page = visit(url)
        assert page.evaluate("async () => (await import('./tiles.js')).readsColours(1)")
        page.click("#lens-weights")
        settled(page)
        labels = page.evaluate("async () => (await import('./matrix.js')).weightsSvg()")
        for words in (">red<", ">green<", ">blue<", "conv_1.W: 4 kernels of 3 \u00d7 3"):
            assert words in labels
        weight = "conv_1.W[2, 0, 1, 3]"
        at = page.evaluate("async (name) => (await import('./matrix.js')).cellPlace(name)", weight)
        page.locator("#matrix").click(position=at)
        expect(page.locator("#explained .edit label")).to_contain_text(weight)
        settled(page)
    with serve(str(folder)) as url:
        page = visit(url)
        page.click("#lens-weights")
        settled(page)
        assert "14 channels in more" in page.evaluate("async () => (await import('./matrix.js')).weightsSvg()")
