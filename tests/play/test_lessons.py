"""Each lesson of the live page, completed; and everything that the page exports, used."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest
from playwright.sync_api import expect
from safetensors.numpy import load

from waiting import choose, enter, run_for, settled


def one_weight(page):
    page.click("#choose button")
    for _ in range(10):
        page.click("#step")
        settled(page)


def chain_rule(page):
    page.click("#phase-forward")
    page.click("#phase-loss")
    for _ in range(3):
        page.click("#phase-backward")
    page.click("#phase-update")


def learning_rates(page):
    run_for(page, 500)
    for rate in ("0.3", "30"):
        enter(page, "#set-learning_rate", rate)
        run_for(page, 500)


def zeros(page):
    run_for(page, 500)
    # All hidden units have equal weights.
    rows = page.evaluate("""async () => {
        const { app } = await import("./app.js");
        return Array.from(app.arrays.weights.data.slice(0, 12));
    }""")
    assert len(set(rows[:6])) == len(set(rows[6:])) == 1
    page.get_by_label("Weights drawn from (1)").select_option("normal")
    settled(page)
    run_for(page, 500)


def vanishing(page):
    page.click("#step")  # at a fixed step: later the ratio depends on how far a run got
    settled(page)
    sizes = page.get_attribute("#sizes", "aria-label")
    first, last = (float(re.search(rf"dense_{k}\.W: (\S+?)(,|$)", sizes)[1]) for k in (1, 6))
    assert first < last / 100
    run_for(page, 500)
    for k in range(1, 7):
        page.get_by_label(f"Activation ({k})").select_option("relu")
        settled(page)
    run_for(page, 500)


def dead(page):
    for step in range(1, 31):
        page.click("#step")
        expect(page.locator("#now-step")).to_have_text(str(step))
    places = page.evaluate("""async () => {
        const { unitPlaces } = await import("./drawing.js");
        return unitPlaces()[0].map(({ x, y }) => [x + 20, y + 12]);
    }""")
    texts = []
    for x, y in places:
        page.locator("#drawing").click(position={"x": x, "y": y})
        expect(page.locator("#explained .short")).to_contain_text(f"dense_1[{len(texts)}]")
        texts.append(page.inner_text("#explained"))
    assert any("dead: silent for every sample" in text for text in texts)


def race(page):
    page.click("#race-start")
    expect(page.locator("#race-words")).to_contain_text("adam 0.03")
    page.click("#race-start")


def overfitting(page):
    run_for(page, 500)
    enter(page, "#set-l2", "0.01")
    run_for(page, 500)


@pytest.mark.parametrize(
    "number", range(8), ids=["weight", "chain", "rates", "zeros", "vanishing", "dead", "race", "overfitting"]
)
def test_a_lesson_can_be_completed(address, visit, number):
    page = visit(address)
    choose(page, "#lesson", str(number))
    box = page.locator("#lesson-box")
    expect(box.locator("h2")).to_contain_text(f"{number + 1}. ")
    expect(page.locator("#task")).to_contain_text("To do:")
    (one_weight, chain_rule, learning_rates, zeros, vanishing, dead, race, overfitting)[number](page)
    expect(page.locator("#task")).to_have_class(re.compile("done"))
    expect(page.locator("#task")).to_contain_text("Done.")
    if number < 7:
        page.click("#next-lesson")
        expect(box.locator("h2")).to_contain_text(f"{number + 2}. ")
    box.get_by_text("End the lesson").click()
    expect(box).to_be_hidden()


def weights_of(page):
    return page.evaluate("""async () => {
        const { app } = await import("./app.js");
        return Array.from(app.arrays.weights.data);
    }""")


def test_the_address_restores_the_page(address, visit):
    page = visit(address)
    choose(page, "#data-set", "plane:xor")
    page.get_by_label("One unit fewer (2)").click()
    settled(page)
    choose(page, "#set-optimizer", "rmsprop")
    page.fill("#choose-index", "1, 2")
    page.click("#choose button")
    page.select_option("#edges", "gradients")
    run_for(page, 500)
    expect(page.locator("#explained .short")).to_contain_text("dense_1.W[1, 2]")
    link, step, weights = page.url, page.inner_text("#now-step"), weights_of(page)
    expect(page.locator("#explained")).to_have_attribute("data-step", step.replace(",", ""))
    assert len(link) > len(address) + 20
    explained = page.inner_text("#explained .short")
    page.reload()
    expect(page.locator("#now-step")).to_have_text(step)
    copy = visit(link)
    for other in (page, copy):
        expect(other.locator("#now-step")).to_have_text(step)
        assert weights_of(other) == weights
        expect(other.locator("#data-set")).to_have_value("plane:xor")
        expect(other.locator("#set-optimizer")).to_have_value("rmsprop")
        expect(other.locator("#edges")).to_have_value("gradients")
        expect(other.locator("#explained .short")).to_have_text(explained.replace("\n", ""))


def test_a_broken_address_shows_the_defaults(address, visit):
    page = visit(address + "#not!base64")
    expect(page.locator("#data-set")).to_have_value("plane:spirals")


def saved(page, button, folder):
    with page.expect_download() as download:
        page.click(button)
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    return path


def test_the_exported_code_trains_the_same_network(address, visit, tmp_path):
    page = visit(address)
    choose(page, "#set-schedule", "cosine")
    page.get_by_label("Weights drawn from (1)").select_option("uniform -1 1")
    settled(page)
    enter(page, "#set-epochs", "2")  # the program trains all planned epochs
    for _ in range(2):
        page.click("#epoch")
        settled(page)
    expect(page.locator("#now-step")).to_have_text("56")
    weights = weights_of(page)
    page.click("#take")
    page.click("#take-chainrule")
    path = saved(page, "#download-code", tmp_path)
    assert path.read_text().strip() == page.inner_text("#code").strip()
    code = path.read_text() + "print(trained.progress.position.parameters.tolist())\n"
    record = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert json.loads(record.stdout.splitlines()[-1]) == weights


def test_the_code_for_pytorch_runs(address, visit, tmp_path):
    page = visit(address)
    choose(page, "#set-schedule", "cosine")
    enter(page, "#set-clip", "3")
    page.click("#epoch")
    page.click("#take")
    page.click("#take-torch")
    code = saved(page, "#download-code", tmp_path).read_text()
    compile(code, "network_torch.py", "exec")
    assert code.count("nn.Linear(") == 3
    assert "loss.backward()" in code
    assert "clip_grad_norm_(network.parameters(), 3)" in code
    assert "schedule.step()" in code
    try:
        import torch  # noqa: F401
    except ImportError:
        return
    record = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert 0 < float(record.stdout.split()[-1]) < 2


def test_exported_weights_explanation_and_drawing(address, visit, tmp_path):
    page = visit(address)
    page.click("#step")
    page.click("#choose button")
    expect(page.locator("#explained .scheme svg")).to_be_visible()
    settled(page)
    weights = weights_of(page)
    page.click("#take")
    lists = json.loads(saved(page, "#take-json", tmp_path).read_text())
    arrays = load(saved(page, "#take-safetensors", tmp_path).read_bytes())
    assert list(lists) == ["dense_1.W", "dense_1.b", "dense_2.W", "dense_2.b", "dense_3.W", "dense_3.b"]
    for name, values in lists.items():
        assert np.array_equal(arrays[name], np.array(values, dtype=np.float32))
    assert np.concatenate([arrays[name].ravel() for name in lists]).tolist() == weights
    explanation = saved(page, "#take-explanation", tmp_path).read_text()
    assert "<title>dense_1.W[0, 0], step 1</title>" in explanation
    svg = saved(page, "#take-svg", tmp_path).read_text()
    assert svg.startswith("<svg")
    assert svg.count("<image") == 17
    assert saved(page, "#take-png", tmp_path).read_bytes().startswith(b"\x89PNG")
