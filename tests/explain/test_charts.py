"""The loss surface with the path, and the sizes of gradients and updates: their numbers, and how they are drawn."""

import sys
from dataclasses import replace

import numpy as np
import pytest

from chainrule.backprop import total_loss
from chainrule.cli import run as command
from chainrule.data import load
from chainrule.errors import RunError, SettingError
from chainrule.explain.charts import chart_page, chart_png, sizes_chart, sizes_words, surface_chart, surface_words
from chainrule.explain.sizes import gradient_sizes
from chainrule.explain.surface import loss_surface
from chainrule.layers import Context
from chainrule.losses import l2
from chainrule.runs import Recorder, Run
from chainrule.training import Stepped, train

IRIS = load("iris")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A run with dropout and batch norm, and its steps."""
    folder, seen = tmp_path_factory.mktemp("runs") / "run", []
    network = "6 relu, dropout 0.3, batchnorm, 4 tanh"
    train(network, IRIS, epochs=4, penalties=[l2(0.01)], callbacks=[Recorder(folder), seen.append])
    return Run.open(folder), [record for event in seen if isinstance(event, Stepped) for record in event.chunk.steps()]


def loss_of(run, parameters):
    """The loss of the training part, with its own batch statistics; the network without its dropout."""
    plan, part = run.trained.plan, IRIS.training
    layers = [replace(layer, rate=0.0) if hasattr(layer, "rate") else layer for layer in plan.network.layers]
    network = replace(plan.network, layers=layers, dtype="float64")
    context = Context(training=True)
    return total_loss(network, plan.loss, parameters, part.x, part.y, penalties=plan.penalties, context=context)


def test_the_surface_along_two_weights_is_the_loss_there(recorded):
    run, steps = recorded
    weights = ["dense_1.W[1, 2]", "dense_3.b[0]"]
    found = loss_surface(run, weights, grid=5)
    end, layout = steps[-1].after.parameters.astype(float), run.trained.plan.network.parameters
    for row, column in ((0, 0), (2, 4), (4, 1)):
        there = end.copy()
        there[layout.find(weights[0])], there[layout.find(weights[1])] = found.across[column], found.along[row]
        assert found.loss[row, column] == pytest.approx(loss_of(run, there), rel=1e-12)
    assert found.names == tuple(weights)
    assert found.variance is None
    assert found.path[0] == pytest.approx([steps[0].before.parameters[layout.find(weight)] for weight in weights])


def test_the_plane_that_fits_best_holds_the_share_of_variance_that_it_says(recorded):
    run, steps = recorded
    found = loss_surface(run, grid=4)
    points = np.array([*(record.before.parameters for record in steps), steps[-1].after.parameters], dtype=float)
    assert found.steps.tolist() == list(range(len(steps) + 1))
    away = points - points.mean(axis=0)
    shares = np.linalg.eigvalsh(away @ away.T)[::-1]
    assert found.variance == pytest.approx(shares[:2].sum() / shares.sum(), rel=1e-9)
    # In the plane, distances along the path are those of the weights, as far as the plane holds them.
    assert (found.path**2).sum() == pytest.approx(found.variance * (away**2).sum(), rel=1e-9)
    assert found.path_loss == pytest.approx([loss_of(run, point) for point in points], rel=1e-12)
    assert found.across.min() < found.path[:, 0].min()
    assert found.along.max() > found.path[:, 1].max()


def test_the_sizes_are_those_of_training(recorded):
    run, steps = recorded
    found = gradient_sizes(run)
    layout = run.trained.plan.network.parameters
    assert found.names == tuple(entry.name for entry in layout.entries)
    assert found.steps.tolist() == list(range(len(steps)))
    for k in (0, 7, len(steps) - 1):
        for row, entry in enumerate(layout.entries):
            of = ((found.gradient, steps[k].gradient), (found.update, steps[k].update))
            for array, vector in (*of, (found.weight, steps[k].before.parameters)):
                expected = np.sqrt(np.mean(vector[entry.place].astype(float) ** 2))
                assert array[row, k] == pytest.approx(expected, rel=1e-6)


def test_mistakes_are_answered(recorded):
    run, _ = recorded
    with pytest.raises(SettingError, match="two different weights"):
        loss_surface(run, ["dense_1.b[0]", "dense_1.b[0]"])
    with pytest.raises(SettingError, match=r"there are dense_1\.W"):
        loss_surface(run, ["dense_1.b[0]", "dense_8.b[0]"])
    with pytest.raises(SettingError, match="at least 2"):
        loss_surface(run, grid=1)
    with pytest.raises(SettingError, match="at most 301"):
        loss_surface(run, grid=10**9)
    with pytest.raises(RunError, match="no such run"):
        gradient_sizes("nowhere")


def test_a_run_of_a_single_step_has_a_surface(tmp_path):
    train("2 tanh", IRIS, epochs=1, batch_size=105, callbacks=[Recorder(tmp_path / "run")])
    found = loss_surface(str(tmp_path / "run"), grid=3)
    assert np.isfinite(found.loss).all()
    assert found.variance == pytest.approx(1)
    assert "100.0%" in surface_words(found)


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("name", ["surface", "sizes"])
def test_the_pages_draw_themselves_offline(recorded, open_page, tmp_path, name, width):
    run, _ = recorded
    found = loss_surface(run, grid=6) if name == "surface" else gradient_sizes(run)
    figure = surface_chart(found) if name == "surface" else sizes_chart(found)
    words = surface_words(found) if name == "surface" else sizes_words(found)
    (tmp_path / "chart.html").write_text(chart_page(figure, words))
    shown = open_page(tmp_path / "chart.html", width)
    shown.wait_for_selector("#chart .main-svg")
    assert shown.evaluate("document.documentElement.scrollWidth") <= width
    assert words in shown.locator("p").first.inner_text()
    if name == "surface":
        assert shown.locator("#chart .contourlayer path").count() > 3
        assert shown.locator("#chart .scatterlayer .point").count() >= len(found.steps)
    else:
        assert shown.locator("#chart .scatterlayer .trace").count() == 3 * len(found.names)


def test_the_commands_write_html_and_png(recorded, chromium, tmp_path, capsys):
    run, _ = recorded
    for name, also in (("descend", ["--grid", "5"]), ("gradients", [])):
        for kind, start in ((".html", b"<!doctype html>"), (".png", b"\x89PNG")):
            output = tmp_path / f"{name}{kind}"
            assert command([name, str(run.folder), *also, "-o", str(output)]) == 0
            assert output.read_bytes().startswith(start)
            assert capsys.readouterr().out.startswith("The l")


@pytest.mark.parametrize(
    ("package", "name", "output", "answer"),
    [
        ("plotly", "descend", "chart.html", "descend needs plotly: pip install 'chainrule[charts]'"),
        ("plotly", "gradients", "chart.png", "gradients needs plotly: pip install 'chainrule[charts]'"),
        ("kaleido", "descend", "chart.png", "descend -o chart.png needs kaleido: pip install 'chainrule[png]'"),
        ("kaleido", "gradients", "chart.png", "gradients -o chart.png needs kaleido: pip install 'chainrule[png]'"),
    ],
)
def test_a_missing_package_is_named_before_any_work(
    recorded, tmp_path, monkeypatch, capsys, package, name, output, answer
):
    run, _ = recorded
    monkeypatch.setitem(sys.modules, package, None)  # which is how a package looks that is not installed
    monkeypatch.chdir(tmp_path)
    assert command([name, str(run.folder), "-o", output]) == 2
    assert capsys.readouterr() == ("", f"chainrule: {answer}\n")
    assert not list(tmp_path.iterdir())


def test_from_python_a_missing_package_is_named_too(recorded, monkeypatch):
    run, _ = recorded
    figure = sizes_chart(gradient_sizes(run))
    monkeypatch.setitem(sys.modules, "kaleido", None)
    with pytest.raises(SettingError, match=r"a chart as PNG needs kaleido: pip install 'chainrule\[png\]'"):
        chart_png(figure)
    monkeypatch.setitem(sys.modules, "plotly", None)
    for draw, found in ((surface_chart, loss_surface(run, grid=3)), (sizes_chart, gradient_sizes(run))):
        with pytest.raises(SettingError, match=r"a chart needs plotly: pip install 'chainrule\[charts\]'"):
            draw(found)


def test_a_file_that_is_neither_is_refused_before_any_work(recorded, tmp_path, capsys):
    run, _ = recorded
    assert command(["descend", str(run.folder), "-o", str(tmp_path / "chart.pdf")]) == 2
    assert "HTML or PNG" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
