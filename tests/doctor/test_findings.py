"""Each kind of finding: a training that has it, and the same training without the fault."""

import json

import numpy as np
import polars
import pytest

from chainrule.data import load
from chainrule.doctor import CHECKS, SEVERITIES, Finding, Remedy, leakage
from chainrule.doctor.case import Case
from chainrule.doctor.causes import explained
from chainrule.doctor.diagnosis import KINDS, examined
from chainrule.doctor.labels import suspects
from faults import FAULTY, HEALTHY, flipped, plain, trained


@pytest.fixture(scope="module")
def examine(tmp_path_factory):
    """The case and the diagnosis of a training, by its settings."""

    def of(settings):
        run, data = trained(settings, tmp_path_factory.mktemp("run") / "run")
        case = Case.of(run, run.own_data(data))
        return case, examined(case, "run")

    return of


def test_there_is_a_training_for_each_kind_of_finding():
    assert set(FAULTY) == set(HEALTHY) == set(KINDS)


@pytest.mark.parametrize("kind", FAULTY)
def test_a_fault_is_found(kind, examine):
    case, diagnosis = examine(FAULTY[kind]())
    found = [one for one in diagnosis.findings if one.kind == kind]
    assert found
    one = found[0]
    assert one.severity in SEVERITIES
    assert one.words[0].isupper() or one.words[0].isdigit() or one.place in one.words
    assert one.remedy.words
    assert one.evidence
    assert all(0 <= step <= case.steps for step in one.steps)
    assert one.steps
    written = json.loads(json.dumps(diagnosis.as_json()["findings"]))
    assert kind in [finding["kind"] for finding in written]


@pytest.mark.parametrize("kind", HEALTHY)
def test_without_the_fault_it_is_not_found(kind, examine):
    _, diagnosis = examine(HEALTHY[kind]())
    assert kind not in [one.kind for one in diagnosis.findings]


@pytest.mark.parametrize("name", ["iris", "wine", "breast-cancer", "diabetes", "moons", "gaussians"])
def test_built_in_data_with_default_settings_raises_no_alarm(name, examine):
    """The larger ones are in campaigns/doctor.py."""
    _, diagnosis = examine({"data": name})
    assert [(one.kind, one.words) for one in diagnosis.findings] == []
    assert len(diagnosis.checks) == len(CHECKS)


def test_flipped_labels_are_found_and_few_others(tmp_path):
    data, wrong = flipped(load("digits", seed=0), 0.05)
    run, data = trained(plain(data=data, network="64 relu", optimizer="adam 0.002", epochs=20), tmp_path / "run")
    found = suspects(Case.of(run, run.own_data(data))).rows
    assert np.isin(wrong, found).mean() > 0.8
    assert np.isin(found, wrong).mean() > 0.85


def test_units_are_named_and_dated(examine):
    _, diagnosis = examine(FAULTY["dead units"]())
    (one,) = (one for one in diagnosis.findings if one.kind == "dead units")
    assert (one.evidence["units"], one.evidence["since"]) == (list(range(16)), 0)
    assert (one.place, one.unit) == ("dense_1, all 16 units", "dense_1[0]")


def test_a_leaking_column_is_named(examine):
    _, diagnosis = examine(FAULTY["leakage"]())
    (one,) = (one for one in diagnosis.findings if one.kind == "leakage")
    assert one.place == "input [4]"
    assert one.evidence["told"] > 0.985 > one.evidence["next"]


def _leaking(kind, rows=160):
    """A table of columns that tell some of the target, and one made from it."""
    random = np.random.default_rng(1)
    x = random.normal(size=(rows, 5))
    quantity = x[:, 0] + 0.7 * x[:, 1] + random.normal(size=rows)
    label = (quantity > 0).astype(int)
    frame = {f"c{k}": x[:, k] for k in range(5)}
    match kind:
        case "the class and noise":
            return frame | {"leak": label + 0.1 * random.normal(size=rows), "t": label}
        case "right for 98 % of the rows":
            return frame | {"leak": np.where(random.random(rows) < 0.02, 1 - label, label), "t": label}
        case "a code for each class":
            label = random.integers(0, 4, rows)
            return frame | {"leak": [f"k{(7 * one) % 4}" for one in label], "t": [f"t{one}" for one in label]}
        case "the target and noise":
            return frame | {"leak": quantity + 0.05 * random.normal(size=rows), "t": quantity}
        case "other units":
            return frame | {"leak": 1.8 * quantity + 32, "t": quantity}
        case "the row before":
            walk = np.cumsum(random.normal(size=rows + 1))
            return frame | {"leak": walk[:-1], "t": walk[1:]}
    return frame | {"weak": quantity + random.normal(size=rows), "t": quantity}


LEAKS = (
    "the class and noise", "right for 98 % of the rows", "a code for each class", "the target and noise", "other units",
    "the row before",
)  # fmt: skip


@pytest.mark.parametrize("kind", [*LEAKS, "none"])
def test_leaks_are_found_in_few_rows(kind, tmp_path):
    data = load(polars.DataFrame(_leaking(kind)), target="t")
    run, _ = trained({"data": data, "network": "4 relu", "epochs": 1}, tmp_path / "run")
    found = list(leakage.find(Case.of(run, data)))
    assert [one.place for one in found] == ([] if kind == "none" else ["column leak"])
    assert all(("target of the row before" in one.words) == (kind == "the row before") for one in found)


def test_a_lag_is_no_leak_where_the_latest_rows_are_held_out(tmp_path):
    data = load(polars.DataFrame(_leaking("the row before")), target="t", shuffle=False)
    run, _ = trained({"data": data, "network": "4 relu", "epochs": 1}, tmp_path / "run")
    assert "the row before" not in [one.evidence.get("target_of") for one in leakage.find(Case.of(run, data))]


def test_few_validation_rows_can_not_tell_and_it_says_so(tmp_path):
    random = np.random.default_rng(0)
    x = random.normal(size=(100, 10))
    y = (x @ random.normal(size=10) + 3 * random.normal(size=100) > 0).astype(int)
    settings = {"network": "64 relu", "optimizer": "adam 0.02", "epochs": 60, "patience": None, "validation": 0.1}
    run, data = trained({"data": (x, y), **settings}, tmp_path / "run")
    (one,) = (one for one in examined(Case.of(run, data)).findings if one.kind == "overfitting")
    assert one.severity == "note"
    assert "10 samples are too few to tell" in one.words


def test_a_cause_comes_before_its_consequences(tmp_path):
    """Steps a thousand times too long: units die, nothing arrives, nothing is learned."""
    run, data = trained(plain(data="digits", network="32 relu, 32 relu", optimizer="adam 10", epochs=3), tmp_path / "r")
    case = Case.of(run, data)
    first, *rest = examined(case).findings
    assert (first.kind, first.consequence_of) == ("learning rate too large", "")
    assert {"dead units", "vanishing gradients", "underfitting"} <= {one.kind for one in rest}
    assert all((one.consequence_of, one.remedy) == (first.kind, first.remedy) for one in rest)
    assert first.remedy.page["learning_rate"] == 0.001
    assert "a learning rate of 0.01" in first.remedy.words


def test_what_was_so_from_the_start_is_no_consequence_of_steps():
    def finding(kind, from_start):
        return Finding(kind, kind, "the training", "serious", {}, (0,), Remedy(kind), from_start=from_start)

    rate = finding("learning rate too large", False)
    drawn, died = finding("dead units", True), finding("dead units", False)
    explodes = finding("exploding gradients", True)
    assert [one.consequence_of for one in explained([drawn, rate])] == ["", ""]
    assert [one.consequence_of for one in explained([died, rate])] == ["", "learning rate too large"]
    assert [one.kind for one in explained([rate, explodes])] == ["exploding gradients", "learning rate too large"]


def test_a_diverged_training_is_examined(tmp_path):
    from chainrule.errors import NonFiniteError
    from chainrule.runs import Recorder, Run, train

    x = np.random.default_rng(0).normal(size=(100, 3)).astype(np.float32)
    with pytest.raises(NonFiniteError):
        train(
            data=(x, x @ [1.0, 2.0, 3.0]),
            network="8 relu, 8 relu",
            optimizer="sgd 100",
            callbacks=[Recorder(tmp_path / "r")],
        )
    run = Run.open(tmp_path / "r")
    case = Case.of(run, run.own_data((x, x @ [1.0, 2.0, 3.0])))
    assert "learning rate too large" in [one.kind for one in examined(case).findings]
