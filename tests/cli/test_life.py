"""`chainrule life`: as text, as JSON and as a picture; and what it refuses."""

import json
import math
import os
import signal
from contextlib import contextmanager
from xml.etree import ElementTree

import numpy as np
import pytest

from chainrule import train
from chainrule.cli import display, run
from chainrule.interchange.imported import Imported, Meaning, trained_from
from chainrule.network import Network
from chainrule.runs import Recorder, Run

WEIGHT = "dense_1.W[1, 2]"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("life") / "iris"
    train("4 tanh", "iris", epochs=4, batch_size=16, callbacks=[Recorder(folder)])
    return str(folder)


def table(text, title):
    """The last numbers of the lines below a title of the text."""
    lines = text.split(f"\n{title}\n")[1].split("\n\n")[0].splitlines()
    return {line.split("  ")[1].strip(): float(line.split()[-1]) for line in lines}


def test_text(folder, capsys):
    assert run(["life", folder, WEIGHT, "--most", "3"]) == 0
    text = capsys.readouterr().out
    found = Run.open(folder)
    assert text.startswith(f"{WEIGHT}: ")
    assert f"in {found.manifest['steps']} steps" in text
    for title in ("what moved it", "by class", "by sample, strongest first"):
        *parts, total = table(text, title).values()
        assert math.fsum(parts) == pytest.approx(total, abs=1e-6), title
    samples = [*table(text, "by sample, strongest first")]
    assert len(samples) == 5
    assert samples[3:] == ["rest", "sum"]
    assert all(name.startswith("row ") for name in samples[:3])


def test_json(folder, capsys):
    assert run(["life", folder, WEIGHT, "--json", "--most", "7"]) == 0
    found = json.loads(capsys.readouterr().out)
    steps = Run.open(folder).manifest["steps"]
    assert found["weight"] == WEIGHT
    assert len(found["values"]) == len(found["gradients"]) == len(found["updates"]) == steps
    moved = found["end"] - found["draw"]
    assert math.fsum(found["updates"]) == pytest.approx(moved, abs=1e-12)
    assert math.fsum(one["update"] for one in found["by_epoch"]) == pytest.approx(moved, abs=1e-12)
    assert [one["epoch"] for one in found["by_epoch"]] == [1, 2, 3, 4]
    assert len(found["by_sample"]) == 7
    of_samples = math.fsum(one["share"] for one in found["by_sample"]) + found["rest"]["share"]
    assert math.fsum(one["share"] for one in found["by_class"]) == pytest.approx(of_samples, abs=1e-12)
    others = math.fsum(found["others"].values()) + found["edited"] + found["rounding"] + found["remainder"]
    assert of_samples + others == pytest.approx(moved, abs=1e-12)
    rows, data = [one["row"] for one in found["by_sample"]], Run.open(folder).own_data()
    assert rows == [int(data.rows[one["sample"]]) + 1 for one in found["by_sample"]]  # of the file, counted from 1


@pytest.mark.parametrize("name", ["life.svg", "life.html"])
def test_pictures(folder, tmp_path, capsys, name):
    assert run(["life", folder, WEIGHT, "-o", str(tmp_path / name)]) == 0
    out, err = capsys.readouterr()
    assert not out
    assert f"the life of {WEIGHT} written to" in err
    text = (tmp_path / name).read_text()
    for part in (WEIGHT, "what moved it", "by epoch", "by class", "by sample", "rest: ", "step 0"):
        assert part in text
    if name.endswith(".svg"):
        assert ElementTree.fromstring(text).tag.endswith("svg")
    else:
        assert text.startswith("<!doctype html>")


def test_help_says_how_rows_are_counted(capsys):
    assert run(["life", "--help"]) == 0
    assert "counted from 1" in " ".join(capsys.readouterr().out.split())


@pytest.fixture
def imported(tmp_path):
    network = Network("3", 4)
    found = Imported(network, network.draw(), network.start_statistics(), (0,), "softmax")
    trained_from(found, Meaning(), "made elsewhere").save(tmp_path / "foreign")
    return str(tmp_path / "foreign")


@pytest.mark.parametrize(("arguments", "message"), [
    (["dense_9.W[0, 1]"], "there is no parameter 'dense_9.W'; did you mean "),
    (["dense_1.W[9, 0]"], "dense_1.W has the shape (4, 4), so its indices are [0 to 3, 0 to 3]"),
    (["dense_1.W"], "dense_1.W has the shape (4, 4)"),
    ([WEIGHT, "--most", "0"], "--most 0: it takes at least 1"),
    ([WEIGHT, "-o", "life.png"], "use the extension .svg or .html"),
    ([WEIGHT, "-o", "nowhere/life.svg"], "choose another file (-o)"),
    ([WEIGHT, "--json", "-o", "life.svg"], "choose one of them"),
    ([], "missing argument 'WEIGHT'"),
])  # fmt: skip
def test_errors_are_one_line(folder, tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert run(["life", folder, *arguments]) == 2
    out, err = capsys.readouterr()
    assert not out
    assert err.count("\n") == 1
    assert message in err
    assert not list(tmp_path.iterdir())


def test_runs_without_steps_are_refused(imported, tmp_path, capsys):
    assert run(["life", imported, "dense_1.W[0, 1]"]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert f"chainrule train DATA --from {imported}" in err
    assert run(["life", str(tmp_path / "nowhere"), WEIGHT]) == 2
    assert "there is no such run" in capsys.readouterr().err


def test_a_saved_network_has_the_steps_it_can_be_trained_again_by(tmp_path, capsys):
    train("4 tanh", "iris", epochs=2).save(tmp_path / "saved")  # without a recorder: no checkpoint but the first
    assert run(["life", str(tmp_path / "saved"), WEIGHT, "--json"]) == 0
    found, kept = json.loads(capsys.readouterr().out), Run.open(tmp_path / "saved").trained
    assert np.float32(found["kept"]) == kept.parameters[kept.plan.network.parameters.find(WEIGHT)]


@pytest.fixture
def _interruptible():
    """Ctrl-C interrupts, also where the tests run in the background, whose shell has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("threads", ["1", "2"])
@pytest.mark.usefixtures("_interruptible")
def test_ctrl_c_writes_nothing(folder, tmp_path, monkeypatch, capsys, threads):
    monkeypatch.setenv("OMP_NUM_THREADS", threads)
    seen = []

    @contextmanager
    def interrupted(what):
        def progress(done, of):
            seen.append(done)
            if done == 3:
                os.kill(os.getpid(), signal.SIGINT)

        yield progress

    monkeypatch.setattr(display, "progress_bar", interrupted)
    assert run(["life", folder, WEIGHT, "-o", str(tmp_path / "life.svg")]) == 130
    assert max(seen) >= 3
    assert capsys.readouterr().out == ""
    assert not list(tmp_path.iterdir())
