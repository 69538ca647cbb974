"""The loss surface with the path, and the sizes of gradients and updates: their numbers and their
charts.
"""

import sys
from dataclasses import replace

import kaleido
import numpy as np
import pytest

from chainrule.backprop import total_loss
from chainrule.cli import run as command
from chainrule.data import load
from chainrule.errors import RunError, SettingError
from chainrule.explain.axes import D3_FORMAT, mark_text
from chainrule.explain.charts import chart_page, chart_png, sizes_chart, sizes_words, surface_chart, surface_words
from chainrule.explain.sizes import gradient_sizes
from chainrule.explain.surface import _best_plane, loss_surface
from chainrule.layers import Context
from chainrule.losses import l2
from chainrule.runs import Recorder, Run, train
from chainrule.training import Stepped

IRIS = load("iris")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A run with dropout and batch norm, and its steps."""
    folder, seen = tmp_path_factory.mktemp("runs") / "run", []
    network = "6 relu, dropout 0.3, batchnorm, 4 tanh"
    train(network, IRIS, epochs=4, penalties=[l2(0.01)], callbacks=[Recorder(folder), seen.append])
    return Run.open(folder), [record for event in seen if isinstance(event, Stepped) for record in event.chunk.steps()]


def loss_of(run, parameters):
    """The loss on the training set with batch statistics and without dropout."""
    plan, samples = run.trained.plan, IRIS.training
    layers = [replace(layer, rate=0.0) if hasattr(layer, "rate") else layer for layer in plan.network.layers]
    network = replace(plan.network, layers=layers, dtype="float64")
    context = Context(training=True)
    return total_loss(network, plan.loss, parameters, samples.x, samples.y, penalties=plan.penalties, context=context)


def test_the_surface_along_two_weights_is_the_loss(recorded):
    run, steps = recorded
    weights = ["dense_1.W[1, 2]", "dense_3.b[0]"]
    surface = loss_surface(run, weights, grid=5)
    end, layout = steps[-1].after.parameters.astype(float), run.trained.plan.network.parameters
    for row, column in ((0, 0), (2, 4), (4, 1)):
        parameters = end.copy()
        parameters[layout.find(weights[0])] = surface.across[column]
        parameters[layout.find(weights[1])] = surface.along[row]
        assert surface.loss[row, column] == pytest.approx(loss_of(run, parameters), rel=1e-12)
    assert surface.names == tuple(weights)
    assert surface.variance is None
    assert surface.path[0] == pytest.approx([steps[0].before.parameters[layout.find(weight)] for weight in weights])


def test_the_best_plane_has_the_share_of_variance_it_reports(recorded):
    run, steps = recorded
    surface = loss_surface(run, grid=4)
    points = np.array([*(record.before.parameters for record in steps), steps[-1].after.parameters], dtype=float)
    assert surface.steps.tolist() == list(range(len(steps) + 1))
    centred = points - points.mean(axis=0)
    shares = np.linalg.eigvalsh(centred @ centred.T)[::-1]
    assert surface.variance == pytest.approx(shares[:2].sum() / shares.sum(), rel=1e-9)
    # The projection keeps exactly the plane's share of the path's variance.
    assert (surface.path**2).sum() == pytest.approx(surface.variance * (centred**2).sum(), rel=1e-9)
    assert surface.path_loss == pytest.approx([loss_of(run, point) for point in points], rel=1e-12)
    assert surface.across.min() < surface.path[:, 0].min()
    assert surface.along.max() > surface.path[:, 1].max()


def test_the_sizes_are_those_of_training(recorded):
    run, steps = recorded
    sizes = gradient_sizes(run)
    layout = run.trained.plan.network.parameters
    assert sizes.names == tuple(entry.name for entry in layout.entries)
    assert sizes.steps.tolist() == list(range(len(steps)))
    for k in (0, 7, len(steps) - 1):
        for row, entry in enumerate(layout.entries):
            pairs = ((sizes.gradient, steps[k].gradient), (sizes.update, steps[k].update))
            for array, vector in (*pairs, (sizes.weight, steps[k].before.parameters)):
                expected = np.sqrt(np.mean(vector[entry.place].astype(float) ** 2))
                assert array[row, k] == pytest.approx(expected, rel=1e-6)


def test_invalid_arguments_are_refused(recorded):
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
    surface = loss_surface(str(tmp_path / "run"), grid=3)
    assert np.isfinite(surface.loss).all()
    assert surface.variance == pytest.approx(1)
    assert "100.0%" in surface_words(surface)


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("name", ["surface", "sizes"])
def test_the_pages_work_offline(recorded, open_page, tmp_path, name, width):
    run, _ = recorded
    result = loss_surface(run, grid=6) if name == "surface" else gradient_sizes(run)
    figure = surface_chart(result) if name == "surface" else sizes_chart(result)
    words = surface_words(result) if name == "surface" else sizes_words(result)
    (tmp_path / "chart.html").write_text(chart_page(figure, words))
    browser_page = open_page(tmp_path / "chart.html", width)
    browser_page.wait_for_selector("#chart .main-svg")
    assert browser_page.evaluate("document.documentElement.scrollWidth") <= width
    assert words in browser_page.locator("p").first.inner_text()
    if name == "surface":
        assert browser_page.locator("#chart .contourlayer path").count() > 3
        assert browser_page.locator("#chart .scatterlayer .point").count() >= len(result.steps)
    else:
        assert browser_page.locator("#chart .scatterlayer .trace").count() == 3 * len(result.names)


@pytest.fixture
def started_kaleido(chromium):
    """Kaleido's browser, started once for several charts."""
    kaleido.start_sync_server(silence_warnings=True)
    yield
    kaleido.stop_sync_server(silence_warnings=True)


@pytest.mark.filterwarnings("ignore:The kopts argument")
def test_the_commands_write_html_and_png(recorded, started_kaleido, tmp_path, capsys):
    run, _ = recorded
    for name, options in (("descend", ["--grid", "5"]), ("gradients", [])):
        for kind, start in ((".html", b"<!doctype html>"), (".png", b"\x89PNG")):
            output = tmp_path / f"{name}{kind}"
            assert command([name, str(run.folder), *options, "-o", str(output)]) == 0
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
def test_a_missing_package_is_reported_before_any_work(
    recorded, tmp_path, monkeypatch, capsys, package, name, output, answer
):
    run, _ = recorded
    monkeypatch.setitem(sys.modules, package, None)  # None makes the import fail
    monkeypatch.chdir(tmp_path)
    assert command([name, str(run.folder), "-o", output]) == 2
    assert capsys.readouterr() == ("", f"chainrule: {answer}\n")
    assert not list(tmp_path.iterdir())


def test_a_missing_package_is_reported_from_python_too(recorded, monkeypatch):
    run, _ = recorded
    figure = sizes_chart(gradient_sizes(run))
    monkeypatch.setitem(sys.modules, "kaleido", None)
    with pytest.raises(SettingError, match=r"a chart as PNG needs kaleido: pip install 'chainrule\[png\]'"):
        chart_png(figure)
    monkeypatch.setitem(sys.modules, "plotly", None)
    for draw, result in ((surface_chart, loss_surface(run, grid=3)), (sizes_chart, gradient_sizes(run))):
        with pytest.raises(SettingError, match=r"a chart needs plotly: pip install 'chainrule\[charts\]'"):
            draw(result)


def test_another_file_type_is_refused_before_any_work(recorded, tmp_path, capsys):
    run, _ = recorded
    assert command(["descend", str(run.folder), "-o", str(tmp_path / "chart.pdf")]) == 2
    assert "HTML or PNG" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_axes_have_one_format_for_numbers_and_titles_that_fit(recorded):
    run, _ = recorded
    figure = surface_chart(loss_surface(run, grid=5)).to_dict()["layout"]
    axes = [figure["xaxis"], figure["yaxis"], figure["scene"]["xaxis"], figure["scene"]["yaxis"]]
    assert {axis["tickformat"] for axis in axes} == {D3_FORMAT}
    assert [axis["title"]["text"] for axis in axes] == ["direction 1", "direction 2"] * 2
    marks = figure["scene"]["zaxis"]["ticktext"]
    assert len(marks) > 1
    assert all(mark_text(float(mark.replace("−", "-"))) == mark for mark in marks)
    sizes = sizes_chart(gradient_sizes(run)).to_dict()["layout"]
    assert {sizes[f"yaxis{k}"]["tickformat"] for k in ("", 2, 3)} == {D3_FORMAT}


@pytest.mark.parametrize("kind", ["plane", "line", "point", "still"])
def test_the_plane_is_that_of_the_principal_directions(kind):
    random = np.random.default_rng(3)
    points = {
        "plane": random.normal(size=(7, 40)) * np.geomspace(1, 1e-3, 40),
        "line": np.outer(np.arange(5.0), random.normal(size=40)),
        "point": random.normal(size=(1, 40)),
        "still": np.ones((4, 40)),
    }[kind]
    mean, directions, variance = _best_plane(points)
    assert np.allclose(directions @ directions.T, np.eye(2), atol=1e-12)
    moved = points - mean
    _, sizes, expected = np.linalg.svd(moved, full_matrices=False)
    total = (sizes**2).sum()
    assert variance == pytest.approx((sizes[:2] ** 2).sum() / total if total else 1.0)
    # The directions are those of the singular value decomposition, up to their signs.
    seen = {"plane": 2, "line": 1, "point": 0, "still": 0}[kind]
    assert np.allclose(np.abs((directions[:seen] * expected[:seen]).sum(axis=1)), 1, atol=1e-9)
