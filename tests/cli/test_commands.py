"""What the commands print and write when they succeed."""

import csv
import json
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from chainrule.cli import app, run
from chainrule.cli.display import curve
from chainrule.runs import Run
from waiting import WAIT


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def output_of(capsys, *arguments):
    """What a command that must succeed prints to stdout."""
    assert run([str(a) for a in arguments]) == 0
    return capsys.readouterr().out


@pytest.fixture
def houses():
    random = np.random.default_rng(0)
    size, kind = random.uniform(40, 200, 200), random.choice(["flat", "house"], 200)
    frame = pl.DataFrame(
        {"size": size, "kind": kind, "price": size * 1000 + (kind == "house") * 50_000 + random.normal(0, 500, 200)}
    )
    frame.write_csv("houses.csv")
    return frame


def test_train_prints_accuracy_gradient_update_and_folder(capsys):
    out = output_of(capsys, "train", "iris", "--epochs", "20", "--seed", "2")
    lines = dict(line.split("  ", 1) for line in out.strip().splitlines())
    assert float(lines["test accuracy"].strip().removesuffix(" %")) > 80
    gradient = lines["gradient, step 3"].strip()
    derivative, terms, total = gradient.split(" = ")
    assert derivative.startswith("dL/d ")
    products = [float(word) for word in terms.split() if word[0] in "+-" and word[1].isdigit()]
    assert sum(products) == pytest.approx(float(total), rel=1e-2, abs=1e-5)
    weight, arithmetic = lines["update, step 3"].strip().split(": ")
    before, sign, change, _, after = arithmetic.split()
    assert derivative == f"dL/d {weight}"
    assert float(before) + float(sign + change) == pytest.approx(float(after), rel=1e-3)
    assert lines["run"].strip() == "runs/iris-1"
    command = shlex.split(lines["to explain it"])
    assert list(lines)[-1] == "to explain it"
    assert command[:3] == ["chainrule", "explain", "runs/iris-1"]
    assert f"{json.loads(output_of(capsys, *command[1:], '--json'))['gradient']:.4g}" == total
    assert Run.open("runs/iris-1").manifest["epochs"] == 20


def test_runs_are_numbered(capsys):
    for expected in ("runs/iris-1", "runs/iris-2"):
        assert json.loads(output_of(capsys, "train", "iris", "--epochs", "1", "--json"))["run"] == expected


def test_train_predict_and_evaluate_on_a_table(houses, capsys):
    options = ["--network", "16 tanh", "--optimizer", "adam 0.02", "--output", "run", "--json"]
    result = json.loads(output_of(capsys, "train", "houses.csv", *options))
    assert result["test"]["r2"] > 0.97
    assert len(result["history"]) == result["epochs"]
    houses.drop("price").head(3).write_csv("new.csv")
    rows = list(csv.DictReader(output_of(capsys, "predict", "run", "new.csv").splitlines()))
    for row, price in zip(rows, houses["price"], strict=False):
        assert float(row["price"]) == pytest.approx(price, rel=0.3)
    output_of(capsys, "predict", "run", "new.csv", "-o", "out.csv")
    assert list(csv.DictReader(Path("out.csv").read_text().splitlines())) == rows
    output_of(capsys, "predict", "run", "new.csv", "-o", "out.json")
    assert [str(row["price"]) for row in json.loads(Path("out.json").read_text())] == [row["price"] for row in rows]
    report = json.loads(output_of(capsys, "evaluate", "run", "houses.csv", "--json"))
    assert report.keys() == {"samples", "metrics"}
    assert report["metrics"].keys() == {"loss", "r2", "mae", "rmse"}
    assert report["metrics"]["r2"] > 0.97
    of_test = json.loads(output_of(capsys, "evaluate", "run", "--json"))["metrics"]
    assert of_test["r2"] == pytest.approx(result["test"]["r2"])


def test_class_predictions_come_with_probabilities(capsys):
    output_of(capsys, "train", "iris", "--epochs", "3", "--output", "run")
    rows = json.loads(output_of(capsys, "predict", "run", "iris", "--json"))
    assert len(rows) == 150
    names = ["setosa", "versicolor", "virginica"]
    for row in rows:
        probabilities = [row[f"probability_{name}"] for name in names]
        assert sum(probabilities) == pytest.approx(1, abs=1e-5)
        assert row["species"] == names[int(np.argmax(probabilities))]


def test_networks_of_many_layers_and_long_facts_fit_a_terminal(capsys):
    assert run(["train", "iris", "--network", ", ".join(["9 relu"] * 20), "--epochs", "1", "--output", "deep"]) == 0
    err = capsys.readouterr().err
    assert "dense_1 > relu_1 > dense_2 > relu_2 > dense_3 > relu_3 > 29 more > relu_18 > " in err
    assert run(["train", "digits", "--network", "resnet8", "--epochs", "1", "--output", "named"]) == 0
    assert "  reshape_1 > resnet8_1 > dense_1: " in capsys.readouterr().err
    assert run(["train", "diabetes", "--epochs", "2", "--output", "chosen"]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("model ")]
    assert len(" ".join(line.split())) < 130
    assert run(["show", "chosen"]) == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 100


def test_show_prints_layers_shapes_weights_metrics_and_the_curve(capsys):
    output_of(capsys, "train", "digits", "--epochs", "3", "--network", "8 relu, dropout 0.1", "--output", "run")
    out = output_of(capsys, "show", "run")
    for part in (
        "flatten_1",
        "dense_2",
        " 64 ",
        "610",
        "validation accuracy",
        "CategoricalCrossEntropy",
        "epochs 1 to 3",
    ):
        assert part in out
    summary = json.loads(output_of(capsys, "show", "run", "--json"))
    assert sum(layer["weights"] for layer in summary["layers"]) == 64 * 8 + 8 + 8 * 10 + 10
    assert summary["plan"]["loss"]["kind"] == "losses.CategoricalCrossEntropy"


def test_check_compares_backpropagation_with_central_differences(capsys, monkeypatch):
    result = json.loads(output_of(capsys, "check", "--network", "8 tanh, batchnorm, 3", "--inputs", "5", "--json"))
    assert result["passed"]
    assert result["error"] < 1e-7
    output_of(capsys, "train", "iris", "--epochs", "2", "--network", "6 tanh, batchnorm", "--output", "run")
    assert "passed" in output_of(capsys, "check", "run")
    from chainrule.layers import Tanh

    monkeypatch.setattr(Tanh, "derivative", lambda self, z, a: 1 - a)
    assert run(["check", "run"]) == 1
    assert "FAILED" in capsys.readouterr().out


def test_data_lists_the_built_in_data_sets(capsys):
    assert "spirals" in output_of(capsys, "data")
    assert json.loads(output_of(capsys, "data", "--json"))["iris"].startswith("150 flowers")


def test_resuming_a_run(capsys):
    output_of(capsys, "train", "iris", "--epochs", "2", "--output", "run")
    result = json.loads(output_of(capsys, "train", "--resume", "run", "--epochs", "4", "--json"))
    assert result["epochs"] == 4


def test_json_has_null_for_nan(capsys):
    out = output_of(capsys, "train", "iris", "--loss", "hinge", "--epochs", "1", "--json")
    assert json.loads(out, parse_constant=pytest.fail)["test"]["log_loss"] is None


@pytest.mark.parametrize("command", ["", "train", "explain", "predict", "evaluate", "show", "check", "data"])
def test_help_has_an_example(command):
    result = CliRunner().invoke(app, [*command.split(), "--help"])
    assert result.exit_code == 0
    assert f"chainrule {command}".strip() in result.output


def test_version(capsys):
    assert output_of(capsys, "--version").startswith("chainrule 0.")


def test_a_closed_pipe_is_not_an_error():
    code = "import sys; from chainrule.cli import run; sys.exit(run(['data']))"
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    child.stdout.close()
    with child.stderr as stream:
        assert stream.read() == b""
    child.wait(timeout=WAIT)


def test_import_is_lazy():
    code = (
        "import sys, chainrule; print([m for m in ('numpy', 'scipy', 'sklearn', 'skrub', 'polars', 'rich') if m in"
        " sys.modules])"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )


def test_a_curve_follows_its_values():
    rows = curve({"loss": [1.0, 0.1, 0.01]}, width=6, height=3)
    assert [row.strip().split()[0] for row in (rows[0], rows[-1])] == ["1", "0.01"]
    assert rows[-1].endswith("loss")
    assert rows[0][10] != "⠀"
    assert curve({"loss": [float("nan")]}) == []
    assert all(row[10:11].strip("⠀ ") for row in curve({"loss": [1.0, 0.01]}, width=1, height=4))


def test_explain_shows_every_level(capsys):
    output_of(capsys, "train", "iris", "--epochs", "2", "--network", "4 tanh", "--output", "run")
    text = output_of(capsys, "explain", "run", "dense_1.W[1, 2]", "--step", "3", "--all")
    for level in (
        "1. The update",
        "2. The gradient",
        "3. One delta opened",
        "4. Paths",
        "5. In symbols",
        "6. The proof",
    ):
        assert level in text
    explanation = json.loads(output_of(capsys, "explain", "run", "dense_1.W[1, 2]", "--step", "3", "--json"))
    assert sum(term["product"] for term in explanation["samples"]) == pytest.approx(explanation["gradient"], rel=1e-10)
    assert explanation["optimizer"][-1]["output"] == pytest.approx(explanation["update"])
    output_of(capsys, "explain", "run", "dense_1.b[0]", "--format", "latex", "-o", "why.tex")
    assert r"\begin{aligned}" in Path("why.tex").read_text()


def test_explain_begins_with_the_chain_rule_the_gradient_and_the_update(capsys):
    """In short, few terms of a sum are listed, also behind batch norm, and the sums stay whole."""
    network = "16, batch_norm, relu, 8, batch_norm, relu"
    output_of(capsys, "train", "iris", "--epochs", "1", "--network", network, "--output", "run")
    weight = Run.open("run").trained.plan.network.parameters.ranges.partition("[")[0] + "[0, 0]"
    short = output_of(capsys, "explain", "run", weight)
    full = output_of(capsys, "explain", "run", weight, "--all")
    assert short.splitlines()[1].startswith("  chain rule ")
    assert len(short.splitlines()) < 70 < len(full.splitlines())
    assert "--all" in short
    assert "begin{aligned}" not in short
    # Of each delta that is opened, what is listed adds up to it.
    lines = short.splitlines()
    opened = next(k for k, line in enumerate(lines) if line.startswith("   delta "))
    delta = float(lines[opened].split(" = ")[1].split(",")[0])
    terms = []
    for line in lines[opened + 1 :]:
        if not line.strip():
            break
        if line.startswith("     ") and line[5] != " ":
            left = line.split(", through")[0].split(" through ")[0]
            terms.append(float(left.split(" = ")[-1]))
    assert sum(terms) == pytest.approx(delta, rel=1e-4)
    assert run(["explain", "run", weight, "--all", "--format", "svg"]) == 2
    assert "--all is of the text" in capsys.readouterr().err


def test_explain_picks_a_telling_weight_and_says_which(capsys):
    output_of(capsys, "train", "iris", "--epochs", "2", "--network", "4 tanh", "--output", "run")
    assert run(["explain", "run", "--json"]) == 0
    out, err = capsys.readouterr()
    e = json.loads(out)
    record = Run.open("run").at(e["step"])
    first = record.gradient[: 4 * 4]
    assert e["step"] == Run.open("run").manifest["steps"] - 1
    assert abs(e["training_gradient"]) == pytest.approx(abs(first).max())
    assert f"explaining {e['weight']}" in err
    assert "dense_2.W[0-3, 0-2]" in err


def test_explain_draws_for_a_width(capsys):
    assert 'width="390"' in output_of(capsys, "explain", "--example", "--format", "svg", "--width", "390")


def test_explain_shows_the_worked_example_without_a_run(capsys):
    assert "0.15 - 0.0002193 = 0.1497807" in output_of(capsys, "explain", "--example")
    assert "0.358916" in output_of(capsys, "explain", "--example", "dense_2.W[0, 0]")
