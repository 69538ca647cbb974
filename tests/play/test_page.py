"""The live page in headless Chromium, used by mouse and keyboard."""

import base64
import json
import re
import time

import pytest
from playwright.sync_api import expect

from chainrule.explain.axes import mark_text
from chainrule.runs import Recorder, train
from waiting import choose, enter, pause, run_for, settled, step_of, until


def number(page, selector):
    return float(page.inner_text(selector).replace(",", "").removesuffix(" %"))


def is_at(page, step):
    expect(page.locator("#now-step")).to_have_text(f"{step:,}")


def picture(page, selector):
    """The content of a canvas as text, to see whether it changed."""
    return page.locator(selector).evaluate("(canvas) => canvas.toDataURL()")


def draw_again(page):
    """Ask for another frame, which would show whether training still runs."""
    choose(page, "#histogram-layer", "dense_2")


def unit_at(page, column, row):
    """The position of a unit in the lens on the whole plane, in coordinates of the window."""
    page.click("#lens-plane")
    settled(page)
    return page.evaluate(
        """async ([column, row]) => {
            const { unitPlaces } = await import("./drawing.js");
            const { x, y } = unitPlaces()[column][row];
            document.getElementById("drawing").scrollIntoView({ block: "center" });
            const box = document.getElementById("drawing").getBoundingClientRect();
            return [box.x + x, box.y + y];
        }""",
        [column, row],
    )


def test_a_network_learns_and_stops(address, visit):
    page = visit(address)
    first, plane, curves = number(page, "#now-loss"), picture(page, "#plane"), picture(page, "#curves")
    page.click("#run")
    expect(page.locator("#run")).to_have_text("Pause")
    pause(page)
    expect(page.locator("#run")).to_have_text("Run")
    run_for(page, 501)
    draw_again(page)  # on a busy machine the run may have come to its end meanwhile
    reached = step_of(page)
    assert reached > 500
    assert number(page, "#now-loss") < first
    assert picture(page, "#plane") != plane
    assert picture(page, "#curves") != curves
    draw_again(page)
    assert step_of(page) == reached


def test_step_epoch_back_and_reset(address, visit):
    page = visit(address)
    start = page.inner_text("#now-loss")
    page.click("#step")
    is_at(page, 1)
    page.click("#step")
    is_at(page, 2)
    after_two = page.inner_text("#now-held")
    page.click("#epoch")
    is_at(page, 28)
    page.click("#back")
    is_at(page, 27)
    page.click("#reset")
    is_at(page, 0)
    expect(page.locator("#now-loss")).to_have_text(start)
    page.click("#step")
    page.click("#step")
    page.click("#step")
    is_at(page, 3)
    page.click("#back")
    is_at(page, 2)
    expect(page.locator("#now-held")).to_have_text(after_two)


def test_a_step_in_phases(address, visit):
    page = visit(address)
    lit = page.locator("#loop .lit b")
    expect(lit).to_have_text(["Weights"])
    page.click("#phase-forward")
    expect(lit).to_have_text(["Forward"])
    page.click("#phase-loss")
    expect(lit).to_have_text(["Loss"])
    expect(page.locator("#phase-loss small")).to_have_text(re.compile(r"L = 0\.\d+"))
    seen = []
    for _ in range(3):
        page.click("#phase-backward")
        settled(page)
        seen.append(page.inner_text("#phase-backward small").removeprefix("delta of "))
    assert seen == ["dense_3", "dense_2", "dense_1"]  # each press shows new deltas
    is_at(page, 0)  # backpropagation changes nothing
    page.click("#phase-update")
    is_at(page, 1)
    expect(lit).to_have_text(["Gradient descent"])
    expected = page.inner_text("#now-held")
    page.click("#reset")
    is_at(page, 0)
    page.click("#step")
    is_at(page, 1)
    expect(page.locator("#now-held")).to_have_text(expected)


def test_the_speed_can_be_limited(address, visit):
    page = visit(address)
    page.select_option("#speed", "10")
    began = time.monotonic()
    run_for(page, 10)
    seconds = time.monotonic() - began
    assert 10 <= step_of(page) <= 10 * seconds + 1


def test_toy_data_sets_of_the_plane(address, visit):
    page = visit(address)
    for name in ("circles", "moons", "xor", "gaussians", "sine"):
        before = picture(page, "#plane")
        choose(page, "#data-set", f"plane:{name}")
        assert picture(page, "#plane") != before
    choose(page, "#data-set", "plane:moons")
    enter(page, "#samples", "100")
    expect(page.locator("#data .hint").nth(1)).to_contain_text("70 + 30")
    before = picture(page, "#plane")
    enter(page, "#noise", "0.4")
    assert picture(page, "#plane") != before
    page.get_by_role("checkbox", name="x1*x2", exact=True).check()
    settled(page)
    expect(page.locator("#choose-array option").first).to_have_text("dense_1.W [3, 8]")


def test_points_drawn_with_the_mouse(address, visit):
    page = visit(address)
    choose(page, "#data-set", "drawn:")
    words = page.locator("#drawing-words")
    expect(words).to_contain_text("at least 8, with both classes among them; so far there are 0 of class 0 and 0 of")
    expect(page.locator("#run")).to_be_disabled()
    empty = picture(page, "#plane")
    for k in range(9):
        page.click("#plane", position={"x": 40 + 20 * (k % 4), "y": 40 + 20 * (k // 4)})
        settled(page)
    expect(words).to_contain_text("there are 9 of class 0 and 0 of class 1")
    assert picture(page, "#plane") != empty
    page.click("#plane", position={"x": 150, "y": 150}, modifiers=["Shift"])
    expect(page.locator("#data .hint").first).to_contain_text("7 + 3")
    expect(words).to_be_hidden()
    run_for(page, 101)
    assert step_of(page) > 100
    page.get_by_text("Clear my points").click()
    expect(words).to_contain_text("so far there are 0 of class 0 and 0 of class 1")
    settled(page)
    assert picture(page, "#plane") == empty
    page.reload()
    expect(words).to_contain_text("so far there are 0 of class 0 and 0 of class 1")


def test_a_run_stops_after_the_planned_epochs_and_says_so(address, visit):
    page = visit(address)
    choose(page, "#data-set", "plane:moons")
    enter(page, "#set-epochs", "3")
    page.click("#run")
    expect(page.locator("#notice")).to_contain_text("The planned 3 epochs are complete, at step 84. Press Run again")
    expect(page.locator("#run")).to_have_text("Run")
    settled(page)
    is_at(page, 84)
    run_for(page, 100)  # on purpose, beyond them
    assert step_of(page) > 184
    expect(page.locator("#notice")).to_be_hidden()


def test_pictures_and_tables(address, visit):
    page = visit(address)
    choose(page, "#data-set", "builtin:digits")
    choose(page, "#set-optimizer", "adam")
    run_for(page, 500)
    assert page.locator("table.confusion td").count() == 100
    right = sum(int(page.locator("table.confusion tr").nth(k + 1).locator("td").nth(k).inner_text()) for k in range(10))
    assert right > 400  # of 539
    expect(page.locator("#plane")).to_be_hidden()
    choose(page, "#data-set", "builtin:diabetes")
    run_for(page, 100)
    expect(page.locator("#others canvas")).to_be_visible()
    expect(page.locator("#now-metric-name")).to_have_text("Test r2")


def test_a_file_dropped_onto_the_page(address, visit, tmp_path):
    page = visit(address)
    rows = [f"{k % 7},{'red' if k % 2 else 'blue'},{3 * (k % 7) + k % 2}" for k in range(60)]
    (tmp_path / "prices.csv").write_text("size,colour,price\n" + "\n".join(rows))
    page.set_input_files("#file", tmp_path / "prices.csv")
    page.click("#train-on-file")
    expect(page.locator("#choose-array option").first).to_contain_text("dense_1.W [")
    expect(page.locator("#now-metric-name")).to_have_text("Test r2")
    run_for(page, 500)
    until(lambda: number(page, "#now-metric") > 0.9)  # measured once more when the run stops
    # An unusable file, by drag and drop: the page says why, and still works.
    transfer = page.evaluate_handle(
        "() => { const t = new DataTransfer(); t.items.add(new File(['a,b\\n1,x\\n2,3,4'], 'bad.csv')); return t; }"
    )
    page.dispatch_event("#drop", "dragover", {"dataTransfer": transfer})
    expect(page.locator("#drop.over")).to_be_visible()
    with page.expect_response(lambda response: "upload" in response.url) as answer:
        page.dispatch_event("#drop", "drop", {"dataTransfer": transfer})
    assert answer.value.status == 400
    expect(page.locator("#message")).to_contain_text("bad.csv: the file")
    page.click("#step")


def test_a_dropped_file_has_its_name_its_target_and_survives_a_reload(address, visit, tmp_path):
    page = visit(address)
    rows = [f"{k % 7},{k % 5},note number {k},{3 * (k % 7) + k % 2}" for k in range(60)]
    header = "size,rooms,<b>a name that is long</b>,price\n"
    (tmp_path / "prices.csv").write_text(header + "\n".join(rows))
    page.set_input_files("#file", tmp_path / "prices.csv")
    preview = page.locator("#preview")
    expect(preview.locator("tbody th")).to_have_text(["size", "rooms", "<b>a name that is long</b>", "price"])
    expect(preview).to_contain_text(
        "60 rows: 42 to train on, 18 to test. The network gets 32 inputs and predicts price"
    )
    expect(page.locator("#data-words")).to_have_count(0)  # nothing is trained yet
    page.select_option("#target", "<b>a name that is long</b>")
    expect(preview.locator(".problem")).to_contain_text("60 classes in 60 rows are too many to learn")
    expect(page.locator("#train-on-file")).to_be_disabled()
    page.select_option("#target", "price")
    page.get_by_label("read rooms as").select_option("category")
    expect(preview.locator("tbody tr").nth(1)).to_contain_text("5 inputs, one for each value")
    page.get_by_label("read size as").select_option("date")
    expect(preview.locator(".problem")).to_contain_text("row 1, column 'size': 0 is not a date, which it is read as")
    page.get_by_label("read size as").select_option("number")
    expect(preview).to_contain_text("The network gets 36 inputs and predicts price")
    page.click("#train-on-file")
    expect(page.locator("#data-words")).to_have_text("prices.csv: 60 samples; the network predicts price.")
    settled(page)  # the form is built again for these settings, and a click meanwhile would be lost
    page.click("#columns")  # another target, chosen later
    page.select_option("#target", "rooms")
    expect(preview.locator(".predicted td").nth(1)).to_have_text("predicted: one of 5 classes")
    page.click("#train-on-file")
    expect(page.locator("#data-words")).to_have_text("prices.csv: 60 samples; the network predicts rooms.")
    settled(page)
    page.click("#step")
    settled(page)
    loss = page.inner_text("#now-loss")
    page.reload()
    expect(page.locator("#data-words")).to_have_text("prices.csv: 60 samples; the network predicts rooms.")
    expect(page.locator("#now-loss")).to_have_text(loss)


def test_choices_made_before_the_preview_of_an_earlier_one_add_up(address, visit, tmp_path):
    page = visit(address)
    (tmp_path / "prices.csv").write_text("size,rooms,price\n" + "\n".join(f"{k % 7},{k % 5},{k}" for k in range(60)))
    page.set_input_files("#file", tmp_path / "prices.csv")
    expect(page.locator("#train-on-file")).to_be_enabled()
    waiting = []

    def answer_the_second_first(route):
        waiting.append(route)
        if len(waiting) == 2:
            for route in reversed(waiting):
                route.continue_()

    page.route("**/preview?*", answer_the_second_first)
    page.select_option("#target", "size")
    expect(page.locator("#train-on-file")).to_be_disabled()
    with page.expect_request_finished(lambda request: request.url.endswith(".0")):  # the first one
        page.get_by_label("read rooms as").select_option("category")
    rows = page.locator("#preview tbody tr")
    expect(rows.nth(0)).to_contain_text("predicted")
    expect(rows.nth(1)).to_contain_text("5 inputs, one for each value")


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (
            {"settings": {"data": {"kind": "given", "name": "prices.csv"}}, "upload": "gone"},
            "drop the file onto the page again",
        ),
        ({"settings": {"seed": 1}, "step": 3, "edits": [[1, "nope.W[0]", 1]]}, "there is no parameter 'nope.W'"),
        ({"settings": {"seed": 1}, "step": 3, "edits": "abc"}, "malformed"),
        ({"settings": {"optimizer": "shoe"}}, "unknown optimizer 'shoe'"),
    ],
)
def test_an_address_that_leads_nowhere_says_so_and_the_page_still_works(address, visit, state, message):
    state = base64.urlsafe_b64encode(json.dumps(state).encode()).decode().rstrip("=")
    page = visit(f"{address}#{state}")
    expect(page.locator("#message")).to_contain_text(message)
    page.click("#step")
    is_at(page, 1)


def test_layers_are_added_changed_and_removed(address, visit):
    page = visit(address)
    arrays = page.locator("#choose-array option")
    page.click("#add-layer")
    expect(arrays).to_have_count(8)
    page.get_by_label("One unit more (3)").click()
    expect(arrays.nth(4)).to_have_text("dense_3.W [8, 5]")
    page.get_by_label("One unit fewer (1)").click()
    expect(arrays.first).to_have_text("dense_1.W [2, 7]")
    page.get_by_label("Activation (1)").select_option("relu")
    expect(page.locator("#histogram-layer")).to_contain_text("relu_1")
    page.get_by_label("Dropout (1)").select_option("0.3")
    expect(page.locator("#histogram-layer")).to_contain_text("dropout_1")
    before = picture(page, "#draws canvas >> nth=0")
    page.get_by_label("Weights drawn from (1)").select_option("uniform -1 1")
    expect(page.locator("#draws canvas").first).to_have_attribute("aria-label", re.compile("drawn from uniform"))
    assert picture(page, "#draws canvas >> nth=0") != before
    page.get_by_label("Remove this layer (3)").click()
    expect(arrays).to_have_count(6)


def test_an_open_weight_is_closed_with_its_layer(address, visit):
    page = visit(address)
    page.select_option("#choose-array", "dense_2.W")
    page.click("#choose button")
    expect(page.locator("#explained .short")).to_contain_text("dense_2.W[0, 0]")
    page.get_by_label("One unit more (1)").click()
    settled(page)
    expect(page.locator("#explained .short")).to_contain_text("dense_2.W[0, 0]")
    for _ in range(2):
        page.get_by_label("Remove this layer (1)").click()
        settled(page)
    expect(page.locator("#explained")).to_contain_text("Click a line of the network")
    expect(page.locator("#message")).to_be_hidden()


def test_loss_optimizer_and_hyperparameters_can_be_chosen(address, visit):
    page = visit(address)
    for selector, value in (("#set-loss", "hinge"), ("#set-optimizer", "momentum"), ("#set-schedule", "cosine")):
        choose(page, selector, value)
    for selector, value in (("#set-learning_rate", "0.05"), ("#set-batch_size", "20"), ("#set-l2", "0.01")):
        enter(page, selector, value)
    for selector, value in (("#option-decay", "0.5"), ("#set-clip", "2")):
        enter(page, selector, value)
    page.click("#choose button")
    expect(page.locator("#explained")).to_contain_text("v = 0.5 x 0 +")
    expect(page.locator("#explained")).to_contain_text("min(1, 2 / ")
    expect(page.locator("#explained")).to_contain_text("cos(pi x 0 / 2800)")
    expect(page.locator("#explained")).to_contain_text("L2 penalty")
    page.click("#epoch")
    is_at(page, 14)


def test_a_mistake_is_reported_and_the_page_still_works(address, visit):
    page = visit(address)
    page.fill("#choose-index", "7, 99")
    page.click("#choose button")
    expect(page.locator("#message")).to_contain_text("its indices are [0 to 1, 0 to 7]")
    page.click("#step")
    is_at(page, 1)


def test_a_diverging_loss_stops_the_run(address, visit):
    page = visit(address)
    choose(page, "#data-set", "builtin:diabetes")
    choose(page, "#set-optimizer", "sgd")
    page.get_by_label("Activation (1)").select_option("relu")
    settled(page)
    enter(page, "#set-learning_rate", "1000")
    page.click("#run")
    expect(page.locator("#message")).to_contain_text("is not finite; go back a step and try a smaller learning rate")
    expect(page.locator("#run")).to_have_text("Run")


def test_a_weight_is_explained_live(address, visit):
    page = visit(address)
    page.fill("#choose-index", "1, 3")
    page.click("#choose button")
    explained = page.locator("#explained")
    expect(explained.locator(".scheme svg")).to_be_visible()
    expect(explained.locator(".levels > details")).to_have_count(6)
    for k in range(1, 7):
        page.click(f"#tab-level-{k}")
        expect(explained.locator(f"#level-{k} > :not(summary)").first).to_be_visible()
        expect(explained.locator("[role=tabpanel]:visible")).to_have_count(1)
    short = explained.locator(".short")
    before = short.text_content()
    page.click("#step")
    expect(short).not_to_have_text(before)
    expect(explained.locator("#level-6 > :not(summary)").first).to_be_visible()  # the tab stays chosen
    before = short.text_content()
    page.select_option("#speed", "10")  # or all planned epochs might be over at once
    page.click("#run")
    expect(short).not_to_have_text(before)
    running = short.text_content()
    expect(short).not_to_have_text(running)
    page.click("#run")


def test_a_click_on_the_drawing_opens_weights_biases_and_deltas(address, visit):
    page = visit(address)
    x, y = unit_at(page, 0, 2)
    page.mouse.click(x + 20, y + 15)
    expect(page.locator("#explained .short")).to_contain_text("δ dense_1[2] =")
    page.mouse.click(x, y + 36)
    expect(page.locator("#explained .short")).to_contain_text("dL/d dense_1.b[2]")
    (x1, y1), (x2, y2) = unit_at(page, 1, 3), unit_at(page, 2, 0)
    page.mouse.move(x2 - 3, y2 + 19)
    expect(page.locator("#tip")).to_contain_text(re.compile(r"dense_3\.W\[\d, 0\] = -?\d"))
    page.mouse.move(5, 5)
    expect(page.locator("#tip")).to_be_hidden()
    before = picture(page, "#drawing")
    page.mouse.click(x1 + 39, y1 + 19)
    expect(page.locator("#explained .short")).to_contain_text("dense_3.W[3, 0]")
    page.mouse.move(5, 5)
    expect(page.locator("#tip")).to_be_hidden()
    assert picture(page, "#drawing") != before  # its paths are highlighted


def test_hovering_shows_names_and_live_values(address, visit):
    page = visit(address)
    x, y = unit_at(page, 0, 1)
    page.mouse.move(x + 20, y + 10)
    expect(page.locator("#tip")).to_have_text("dense_1[1]")
    page.locator("#phase-forward").evaluate("(button) => button.click()")  # the cursor stays where it is
    expect(page.locator("#tip")).to_have_text(re.compile(r"dense_1\[1\], mean a = -?\d"))
    page.hover("#plane", position={"x": 50, "y": 50})
    assert "P(1) = " in page.get_attribute("#plane", "title")


def test_lines_show_weights_gradients_updates_or_deltas(address, visit):
    page = visit(address)
    page.click("#step")
    settled(page)
    is_at(page, 1)
    page.click("#lens-plane")
    settled(page)
    seen = {picture(page, "#drawing")}
    for value in ("gradients", "updates"):
        page.select_option("#edges", value)
        seen.add(picture(page, "#drawing"))
    page.click("#phase-backward")
    page.select_option("#edges", "deltas")
    settled(page)
    seen.add(picture(page, "#drawing"))
    assert len(seen) == 4


def test_editing_a_weight_shows_its_effect_on_the_loss(address, visit):
    page = visit(address)
    page.fill("#choose-index", "0, 0")
    page.click("#choose button")
    field = page.locator("#explained .edit input")
    value = float(field.input_value())
    field.fill(str(value + 0.001))
    page.locator("#explained .edit button").click()
    answer = page.locator("#explained .answer")
    expect(answer).to_contain_text("the derivative predicted")
    _, after, predicted = (float(n) for n in re.findall(r"\d+\.\d+", answer.inner_text()))
    assert after == pytest.approx(predicted, abs=2e-4)
    expect(field).to_have_value(re.compile(f"^{str(value + 0.001)[:6]}"))


def test_histograms_of_any_layer(address, visit):
    page = visit(address)
    run_for(page, 100)
    for name in ("weights", "activations", "gradients"):
        expect(page.locator(f"#histogram-{name}")).to_be_visible()
    before = picture(page, "#histogram-weights")
    choose(page, "#histogram-layer", "dense_2")
    assert picture(page, "#histogram-weights") != before
    page.select_option("#histogram-layer", "tanh_1")
    expect(page.locator("#histogram-weights")).to_be_hidden()
    assert "dense_1.W" in page.get_attribute("#sizes", "aria-label")


def test_the_loss_surface_with_the_path_and_that_of_a_pinned_run(address, visit):
    page = visit(address)
    run_for(page, 500)
    lines = page.get_attribute("#curves", "aria-label")
    page.click("#pin")
    expect(page.locator("#pinned-name")).to_contain_text("adam 0.01; 8 tanh, 8 tanh; spirals; batch size 10; seed 0")
    choose(page, "#set-optimizer", "sgd")
    run_for(page, 100)
    shown = page.get_attribute("#curves", "aria-label")
    assert shown.count("pinned: ") == 2
    assert [part.split()[-1] for part in shown.split(", ")[:2]] == [part.split()[-1] for part in lines.split(", ")]
    assert "pinned: " in page.get_attribute("#sizes", "aria-label")
    page.click("#surface-toggle")
    label = re.compile(
        r"the path of adam 0\.01; .*, sgd\..*% of the path's variance.*The faint path is the pinned run's"
    )
    expect(page.locator("#surface-flat")).to_have_attribute("aria-label", label)
    expect(page.locator("#surface-space canvas").first).to_be_visible()
    expect(page.locator("#surface-words")).to_contain_text("% of the path's variance")
    # Titles and numbers of axes: none is cut off at an edge, and none has a prefix such as "µ".
    page.wait_for_function("() => document.getElementById('surface-space')._fullLayout?.scene?._scene?.glplot")
    page.wait_for_function(DRAWN_INSIDE)
    texts = page.evaluate("""() => {
        const { scene } = document.getElementById("surface-space").layout;
        return [scene.xaxis, scene.yaxis, scene.zaxis].flatMap((axis) => axis.ticktext);
    }""")
    assert len(texts) > 6
    values = [-0.0002, 0.00034261, 12345.6, 1e-7, 1.25e6, -3, 0.5]
    written = page.evaluate("async (values) => values.map((await import('./charts.js')).mark)", values)
    assert written == [mark_text(value) for value in values]
    assert all(re.fullmatch(r"−?\d+(\.\d+)?(e[+-]\d+)?", text) for text in texts)
    page.click("#unpin")
    settled(page)
    expect(page.locator("#pinned")).to_be_hidden()
    assert "pinned: " not in page.get_attribute("#curves", "aria-label")


DRAWN_INSIDE = """() => {
    const scene = document.getElementById("surface-space")._fullLayout.scene._scene.glplot;
    scene.redraw();
    const { gl } = scene, [width, height] = [gl.drawingBufferWidth, gl.drawingBufferHeight];
    const pixels = new Uint8Array(width * height * 4);
    gl.readPixels(0, 0, width, height, gl.RGBA, gl.UNSIGNED_BYTE, pixels);
    let [inside, edge] = [0, 0];
    for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) {
        const empty = pixels[4 * (y * width + x) + 3] === 0 || pixels[4 * (y * width + x)] > 250;
        if (!empty) inside++;
        if (!empty && (x < 2 || y < 2 || x >= width - 2 || y >= height - 2)) edge++;
    }
    return inside > 1000 && edge === 0;
}"""


def test_without_plotly_the_page_says_what_needs_it(serve, visit):
    with serve(without="plotly") as address:
        page = visit(address)
        page.click("#surface-toggle")
        needs = (
            "The surface in three dimensions needs plotly: pip install 'chainrule[charts]', and start chainrule play"
        )
        expect(page.locator("#surface-space")).to_contain_text(needs)
        expect(page.locator("#surface-flat")).to_have_attribute("aria-label", re.compile("The loss surface from above"))
        page.click("#race-start")
        expect(page.locator("#race-words")).to_contain_text("steps:")
        expect(page.locator("#race-surface")).to_have_attribute("aria-label", re.compile("The loss surface from above"))


def test_a_race(address, visit):
    page = visit(address)
    page.locator("#entrants select").nth(6).select_option("lion")
    expect(page.locator("#entrants fieldset").nth(3).locator("input")).to_be_visible()
    page.get_by_label("Weights drawn from 1", exact=True).select_option("he_normal")
    page.fill("#race-target", "1")
    page.click("#race-start")
    words = page.locator("#race-words")
    expect(words).to_contain_text("steps:")
    for name in ("sgd 0.1, he_normal", "momentum 0.02", "adam 0.01", "lion 0.01"):
        expect(words).to_contain_text(name)
        expect(page.locator("#race-surface")).to_have_attribute("aria-label", re.compile(re.escape(name)))
    page.click("#race-start")
    expect(page.locator("#race-start")).to_have_text("Start the race")
    settled(page)
    step = words.inner_text()
    draw_again(page)
    assert words.inner_text() == step
    # It ends by itself, and says who won; an entrant has one colour on its card and in the words.
    page.fill("#race-target", "90")
    page.click("#race-start")
    expect(page.locator("#race-end")).to_contain_text(
        re.compile(r"wins: it is the first to reach a training loss of 0\.")
    )
    expect(page.locator("#race-start")).to_have_text("Start the race")
    colours = page.evaluate("""() => {
        const of = (box) => box.querySelector(".swatch").style.background;
        const cards = Array.from(document.querySelectorAll("#entrants fieldset"), of);
        const entrants = document.querySelectorAll(".entrant");
        return Array.from(entrants, (one) => [of(one), cards[Number(one.dataset.entrant)]]);
    }""")
    assert all(words == card for words, card in colours)
    assert len({words for words, _ in colours}) == 4


def test_one_gradient_through_several_optimizers(address, visit):
    page = visit(address)
    page.click("#step")
    page.fill("#choose-index", "1, 3")
    page.click("#choose button")
    expect(page.locator("#explained .short")).to_contain_text("dense_1.W[1, 3]")
    page.click("#optimizers-toggle")
    table = page.locator(".optimizers")
    expect(page.locator("#optimizers-words")).to_contain_text("dense_1.W[1, 3] = ")
    expect(table.locator("th[scope=row]")).to_have_text(
        ["this training: adam 0.01", "sgd 0.01", "momentum 0.01", "rmsprop 0.01"]
    )
    gradient = table.locator("[data-shows=gradient]").first.get_attribute("data-number")
    page.select_option("#optimizers-add", "lion")
    expect(table.locator("th[scope=row]").last).to_have_text("lion 0.01")
    expect(table).to_contain_text("u = learning rate x g = 0.01 x ")
    page.click("#step")  # it follows the steps
    expect(table.locator("[data-shows=gradient]").first).not_to_have_attribute("data-number", gradient)


def test_presets_explain_themselves(address, visit):
    page = visit(address)
    page.select_option("#preset", "3")
    expect(page.locator("#preset-words")).to_contain_text("a network of one unit")
    expect(page.get_by_label("Weights drawn from (1)")).to_have_value("zeros")


def test_by_keyboard_alone(address, visit):
    page = visit(address)
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.locator("#run")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#run")).to_have_text("Pause")
    page.keyboard.press("Enter")
    expect(page.locator("#run")).to_have_text("Run")
    page.focus("#choose-index")
    page.keyboard.press("Enter")
    expect(page.locator("#explained .scheme svg")).to_be_visible()
    unnamed = page.evaluate("""() => [...document.querySelectorAll("button, select, input")].filter((control) =>
        !(control.textContent.trim() || control.ariaLabel || control.labels?.length)).map((one) => one.outerHTML)""")
    assert unnamed == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 800)])
def test_it_fits_the_screen_in_light_and_dark(address, visit, width, height, scheme):
    page = visit(address, width, height, color_scheme=scheme)
    assert page.evaluate("() => document.documentElement.dataset.theme") == scheme
    page.locator("[data-unit='dense_1[0]']").click()  # on a phone, this brings the inspector up
    page.click("#choose button")
    expect(page.locator("#explained .scheme svg")).to_be_visible()
    assert page.evaluate("() => document.documentElement.scrollWidth") <= width
    page.click("#theme")
    assert page.evaluate("() => document.documentElement.dataset.theme") != scheme


@pytest.fixture(scope="module")
def recorded(tmp_path_factory, serve):
    folder = tmp_path_factory.mktemp("runs") / "iris-1"
    trained = train("5 tanh", "iris", epochs=20, callbacks=[Recorder(folder)])
    with serve(str(folder)) as url:
        yield url, trained.progress.position.step


def test_a_recorded_run_is_replayed(recorded, visit):
    address, last = recorded
    page = visit(address)
    expect(page.locator("#run-words")).to_contain_text(f"of {last} steps")
    expect(page.locator("#training")).to_be_hidden()
    expect(page.locator("#lesson")).to_be_hidden()  # it would put another training in the run's place
    expect(page.locator("#now-held-name")).to_have_text("Validation loss")  # the run's test set is not measured
    expect(page.locator("#now-metric-name")).to_have_text("Validation accuracy")
    start = number(page, "#now-held")
    page.locator("#slider").fill(str(last // 2))
    is_at(page, last // 2)
    middle = number(page, "#now-held")
    page.locator("#slider").fill(str(last))
    is_at(page, last)
    assert number(page, "#now-held") < middle < start
    page.click("#choose button")
    expect(page.locator("#scheme")).to_contain_text(f"Step {last - 1}, ")  # the last one: none follows
    page.click("#phase-forward")
    expect(page.locator("#message")).to_contain_text(f"the run ends after its {last} steps")
    page.click("#back")
    is_at(page, last - 1)
    page.click("#choose button")
    expect(page.locator("#explained .short")).to_contain_text("dL/d dense_1.W[0, 0]")
    # The whole run is there at once: its history, its path, and the open weight through all its steps.
    page.click("#tab-history")
    expect(page.locator("#history-words")).to_contain_text(f"dense_1.W[0, 0] in all {last} steps")
    for name in ("value", "gradient", "update"):
        expect(page.locator(f"#history-{name}")).to_have_attribute("aria-label", re.compile(name, re.IGNORECASE))
    assert "training loss, mean over each epoch: " in page.get_attribute("#curves", "aria-label")
    page.click("#surface-toggle")
    whole = re.compile(rf"the path of iris-1, step {last - 1}.* in {last} steps")
    expect(page.locator("#surface-flat")).to_have_attribute("aria-label", whole)
    for absent in ("#race", "#pin"):
        expect(page.locator(absent)).to_be_hidden()
    page.locator("#slider").fill("0")
    is_at(page, 0)
    page.click("#run")
    is_at(page, last)


def test_at_a_slow_speed_the_light_wanders_through_every_phase(address, visit):
    page = visit(f"{address}#")
    page.select_option("#speed", "1")
    page.evaluate("""() => {
        window.seen = [];
        new MutationObserver(() => {
            const lit = [...document.querySelectorAll("#loop .lit b")].map((phase) => phase.textContent);
            if (lit.length === 1 && lit[0] !== window.seen.at(-1)) window.seen.push(lit[0]);
            if (document.querySelector("#stage [data-shows='next']")) window.next = true;
        }).observe(document.body, { subtree: true, childList: true, attributes: true, attributeFilter: ["class"] });
    }""")
    page.click("#run")
    page.wait_for_function("() => window.next && window.seen.length > 5")
    phases = ["Forward", "Loss", "Backpropagation", "Gradient descent"]
    seen = page.evaluate("() => window.seen")
    first = seen.index(phases[0])
    assert seen[first : first + 4] == phases
    page.click("#run")
    settled(page)
    assert step_of(page) >= 1
    page.click("#back")
    page.click("#step")
    settled(page)
    expect(page.locator("#line-about")).to_contain_text("drawn at first, then changed in each step")
