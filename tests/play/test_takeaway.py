"""Everything that one takes away from the live page: its address, which restores it, and what it
exports, used.
"""

import json
import subprocess
import sys

import numpy as np
from playwright.sync_api import expect
from safetensors.numpy import load

from chainrule.runs import Recorder, train
from waiting import choose, enter, run_for, settled


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
    sample = saved(page, "#take-svg", tmp_path).read_text()
    assert sample.startswith("<svg")
    assert "dense_3[0]" in sample
    assert saved(page, "#take-png", tmp_path).read_bytes().startswith(b"\x89PNG")
    page.click("#take-close")
    page.click("#lens-plane")
    settled(page)
    page.click("#take")
    svg = saved(page, "#take-svg", tmp_path).read_text()
    assert svg.startswith("<svg")
    assert svg.count("<image") == 17 + 1  # the units and the legend
    assert saved(page, "#take-png", tmp_path).read_bytes().startswith(b"\x89PNG")


def test_the_report_on_a_recorded_run_is_downloaded(serve, visit, tmp_path):
    folder = tmp_path / "iris"
    train("4 tanh", "iris", epochs=2, patience=None, callbacks=[Recorder(folder)])
    with serve(str(folder)) as url:
        page = visit(url)
        page.click("#take")
        path = saved(page, "#take-report", tmp_path)
        expect(page.locator("#taken")).to_be_empty()
        expect(page.locator("#take-report")).to_be_enabled()
    text = path.read_text()
    assert path.name == "report.html"
    assert text.startswith("<!doctype html>")
    assert "What the doctor found" in text
