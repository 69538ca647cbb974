"""A run on files that are read in blocks: whatever shows a run works on it, and never holds all of
it in memory.
"""

import numpy as np
import polars as pl
import pytest

import chainrule
from chainrule.attribution import permutation
from chainrule.doctor import diagnose
from chainrule.errors import DataError
from chainrule.explain import explain
from chainrule.influence import lives, teaching
from chainrule.runs import Run, trained
from chainrule.training.blocks import Blocks

ROWS = 3000


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run on a folder of two files, and the folder that holds both."""
    place = tmp_path_factory.mktemp("streamed")
    random = np.random.default_rng(0)
    for k in range(2):
        x = random.normal(size=(ROWS // 2, 3))
        named = {f"x{j}": x[:, j] for j in range(3)} | {"c": np.array(["a", "b"])[(x[:, 1] > 0).astype(int)]}
        (place / "data").mkdir(exist_ok=True)
        pl.DataFrame(named | {"y": x[:, 0] + (x[:, 1] > 0)}).write_parquet(place / "data" / f"{k}.parquet")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CHAINRULE_CACHE", str(place / "cache"))
        recorder = chainrule.Recorder(place / "run")
        chainrule.train("4 tanh", place / "data", target="y", memory=50_000, epochs=2, callbacks=[recorder])
        yield place


@pytest.fixture(scope="module")
def run(folder):
    return Run.open(folder / "run")


@pytest.fixture(scope="module")
def data(run):
    return run.load_data()


def test_it_is_found_again_and_read_in_blocks(run, data):
    assert data.on_disk
    assert run.trained.plan.blocks == Blocks(128, 2)
    assert len(data.training.x) == 2100


def test_a_weight_is_explained_as_of_the_same_rows_in_memory(run, data):
    step = run.manifest["steps"] // 2
    e = explain(run, "dense_1.W[0, 1]", step, data=data)
    record = run.at(step, data)
    assert e.trace.rows.tolist() == record.rows.tolist()
    place = run.trained.plan.network.parameters.find("dense_1.W[0, 1]")
    assert e.gradient == pytest.approx(float(record.gradient[place]), rel=1e-4)
    raw = data.sample(int(record.rows[3]))
    prepared = data.preparation.apply(data.source.take(np.array([data.rows[int(record.rows[3])]])))
    np.testing.assert_array_equal(np.asarray(prepared)[0], data.training.take(record.rows[3:4]).x[0])
    assert raw is not None


def test_life_and_teachers_add_up(run, data):
    life = lives.life(run, "dense_1.W[0, 1]", data)
    assert sum(sample.steps for sample in life.samples) == 2 * len(data.training.x)
    assert {sample.row for sample in life.samples} == {int(row) + 1 for row in data.rows[np.arange(len(data.rows))]}
    found = teaching.teachers(run, data=data, row=int(data.validation_rows[7]) + 1)
    parts = found.effects.sum() + sum(found.parts.values()) + found.remainder
    assert parts == pytest.approx(found.change, abs=1e-5)


def test_those_of_too_many_rows_are_refused(run, data, monkeypatch):
    monkeypatch.setattr(lives, "MOST_USES", 100)
    with pytest.raises(DataError, match="can't be added up in memory; look at single steps instead"):
        lives.life(run, "dense_1.W[0, 1]", data)
    monkeypatch.setattr(teaching, "MOST_ON_DISK", 100)
    with pytest.raises(DataError, match="through all steps, can't be followed"):
        teaching.teachers(run, data, row=1)


def test_doctor_report_and_importance_look_at_a_part(run, data, monkeypatch):
    monkeypatch.setattr("chainrule.doctor.case.MOST_IN_MEMORY", 200)
    monkeypatch.setattr("chainrule.reports.subject.MOST_IN_MEMORY", 200)
    diagnose(run, data)
    report = chainrule.report(run, data, leave_out=("surface", "life", "weights")).as_json()
    assert report["quality"]["metrics"] == pytest.approx(run.trained.evaluate(data.test))
    assert any("evenly spaced" in note for note in report["data"]["notes"])
    assert permutation.importance(run, data).metrics


def test_held_out_predictions(run, data, monkeypatch):
    held = run.trained.held_out("test", data)
    assert len(held.predictions) == len(data.test.x)
    errors = np.abs(held.predictions - held.targets).mean()
    assert errors == pytest.approx(run.trained.evaluate(data.test)["mae"])
    monkeypatch.setattr(trained, "MOST_HELD_OUT", 10)
    with pytest.raises(DataError, match="predict at most 10 at a time"):
        run.trained.held_out("test", data)


def test_a_change_of_a_prediction(run, data):
    assert chainrule.why(run, data, row=5).changes


def test_it_is_resumed_to_the_same_bits(run, folder, tmp_path):
    run.trained.save(tmp_path / "copy")
    resumed = Run.open(tmp_path / "copy").resume(epochs=3)
    again = chainrule.train("4 tanh", folder / "data", target="y", memory=50_000, epochs=2)
    assert again.parameters.tobytes() == run.trained.parameters.tobytes()
    assert len(resumed.history) == 3


def test_the_page_takes_a_part_and_refuses_the_run(run, data):
    from chainrule.play.samples import page_data
    from chainrule.play.settings import DataSettings

    page = page_data(DataSettings(kind="given"), data)
    assert not page.data.on_disk
