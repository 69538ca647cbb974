"""Each kind of finding: a training that has it, and the same training without the fault."""

import json

import numpy as np
import pytest

from chainrule.data import load
from chainrule.doctor import CHECKS, SEVERITIES
from chainrule.doctor.case import Case
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
