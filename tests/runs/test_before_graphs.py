"""A run recorded by version 0.1.0 before networks were graphs: shown, resumed and explained as
then.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from chainrule.cli import app
from chainrule.explain import explain
from chainrule.runs import Run

HERE = Path(__file__).parent / "before_graphs"
EXPECTED = json.loads((HERE / "expected.json").read_text())


@pytest.fixture(scope="module")
def run():
    return Run.open(HERE / "run")


@pytest.fixture(scope="module")
def data(run):
    return run.load_data()


def near(value):
    """What compares equal up to rounding, in JSON of any depth; fields that are new are left
    out.
    """
    if isinstance(value, float):
        return pytest.approx(value, rel=1e-9, abs=1e-12)
    return Near(value) if isinstance(value, dict) else value


class Near(dict):
    def __eq__(self, other):
        return all(other[name] == near(value) for name, value in self.items())

    __hash__ = None


def test_it_is_shown():
    shown = json.loads(CliRunner().invoke(app, ["show", str(HERE / "run"), "--json"]).stdout)
    before = EXPECTED["show"]
    for name in ("status", "epochs", "steps", "data", "versions", "history"):
        assert shown[name] == before[name]
    # The nodes in which branches and shortcuts meet are new among the layers.
    layers = [layer for layer in shown["layers"] if layer["kind"] not in ("Add", "Concatenate")]
    assert layers == before["layers"]


def test_it_predicts(run):
    np.testing.assert_allclose(run.trained.raw("iris"), EXPECTED["predictions"], rtol=1e-9, atol=1e-12)


def test_it_is_resumed(run, data, tmp_path):
    shutil.copytree(HERE / "run", tmp_path / "run")
    trained, before = Run.open(tmp_path / "run").resume(data, epochs=6), EXPECTED["resumed"]
    position = trained.progress.position
    assert [record["epoch"] for record in trained.history] == [1, 2, 3, 4, 5, 6]
    for record, expected in zip(trained.history, before["history"], strict=True):
        assert near(expected) == record
    np.testing.assert_allclose(position.parameters, before["parameters"], rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(position.statistics, before["statistics"], rtol=1e-8, atol=1e-10)


def test_any_step_is_taken_again(run, data):
    record, before = run.at(9, data), EXPECTED["step 9"]
    assert record.rows.tolist() == before["rows"]
    assert record.loss == near(before["loss"])
    np.testing.assert_allclose(record.gradient, before["gradient"], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(record.update, before["update"], rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("before", EXPECTED["explanations"], ids=lambda e: f"{e['weight']}, step {e['step']}")
def test_it_is_explained(run, data, before):
    now = explain(run, before["weight"], before["step"], data=data).as_json(most=None)
    for name in ("about", "value_before", "value_after", "update", "gradient", "training_gradient", "effect"):
        assert near(before[name]) == now[name]
    assert now["numerical_gradient"] == pytest.approx(before["numerical_gradient"], rel=1e-6, abs=1e-9)
    for sample, expected in zip(now["samples"], before["samples"], strict=True):
        assert near(expected) == {name: sample[name] for name in expected}
    for stage, expected in zip(now["optimizer"], before["optimizer"], strict=True):
        assert stage["stage"] == expected["stage"]
        assert stage["symbols"] == expected["symbols"]
        assert stage["output"] == near(expected["output"])
    if before["weight"].startswith("branches_1"):
        return  # on the way to the loss there is now the unit in which the branches meet
    same_chain(now["chain"], before["chain"])
    assert now["all_paths"] == before["all_paths"]
    assert sum(path["product"] for path in now["paths"]) == near(before["sum_of_paths"])
    assert len(now["paths"]) == before["number_of_paths"]
    for path, expected in zip(now["paths"], before["paths"], strict=False):
        assert path["product"] == near(expected["product"])


def same_chain(now, before):
    assert (now["unit"], now["sample"], now["note"]) == (before["unit"], before["sample"], before["note"])
    assert now["delta"] == near(before["delta"])
    assert now["local_derivative"] == near(before["local_derivative"])
    assert now["rest"] == near(before["rest"])
    assert near(before["loss"]) == now["loss"]
    order = {"key": lambda term: (term["unit"], term["delta"])}
    for term, expected in zip(sorted(now["terms"], **order), sorted(before["terms"], **order), strict=True):
        same_chain(term, expected)
