"""`chainrule explain RUN DATA --row` and `chainrule importance`."""

import json

import pytest

import chainrule
from chainrule.cli import run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("why") / "iris"
    chainrule.train("4 tanh", "iris", epochs=3).save(folder)
    return folder


def test_a_prediction_is_explained_in_every_format(folder, tmp_path, capsys):
    assert run(["explain", str(folder), "iris", "--row", "5"]) == 0
    assert "Why " in capsys.readouterr().out
    assert run(["explain", str(folder), "iris", "--row", "5", "--baseline", "60", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["row"] == 5
    assert found["baseline"] == "row 60"
    for output in found["outputs"]:
        assert abs(output["sum"] - output["difference"]) < 1e-9
    assert run(["explain", str(folder), "--row", "2", "--format", "html", "-o", str(tmp_path / "why.html")]) == 0
    assert (tmp_path / "why.html").read_text().startswith("<!doctype html>")


def test_weights_and_data_are_told_apart(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(["explain", str(folder), "dense_1.W[0, 1]"]) == 0
    capsys.readouterr()
    (tmp_path / "dense_1.W[0, 1]").write_text("a,b\n1,2\n")
    wrong = {
        ("dense_1.W[0, 1]",): "both a weight of the run and a file",
        ("nothing",): "is no weight of the run (dense_1.W",
        ("dense_7.W[0, 1]",): "there is no parameter",
        ("dense_1.W[0, 2]", "--row", "2"): "leave one of them out",
        ("iris", "--row", "2", "--step", "1"): "leave --step out",
        ("iris", "--row", "2", "--format", "svg"): "is for a weight",
        ("dense_1.W[0, 2]", "--baseline", "mean"): "pass data, or --row",
        ("iris", "--row", "151"): "it has no row 151; it has 150 rows (--row)",
    }
    for arguments, message in wrong.items():
        assert run(["explain", str(folder), *arguments]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1


def test_importance(folder, capsys):
    assert run(["importance", str(folder), "iris", "--metrics", "accuracy,log_loss", "--repeats", "3"]) == 0
    assert capsys.readouterr().out.count("petal length (cm)") == 2
    assert run(["importance", str(folder), "--repeats", "2", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["columns"]) == 4
