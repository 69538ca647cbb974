"""Training without `load`, and trained networks that are saved in a folder and opened again."""

import json
import shutil

import numpy as np
import pandas as pd
import polars as pl
import pytest
from PIL import Image

import chainrule
from chainrule import Recorder, Run, load, train
from chainrule.cli import run as command
from chainrule.errors import DataError, RunError, SettingError

SETTINGS = {"epochs": 3, "optimizer": "adam 0.01", "network": "4 tanh"}
ROWS = 80
RANDOM = np.random.default_rng(0)
HOUSES = pd.DataFrame({"rooms": RANDOM.integers(1, 9, ROWS), "city": RANDOM.choice(["Bern", "Basel"], ROWS)})
HOUSES["price"] = 100.0 * HOUSES["rooms"] + RANDOM.normal(size=ROWS)
MORE = HOUSES.sample(20, random_state=1)


def test_a_frame_is_trained_on_without_load():
    expected = train("4 tanh", load(HOUSES, target="price"), epochs=3, optimizer="adam 0.01").parameters
    for trained in (
        train(HOUSES, target="price", **SETTINGS),
        train(data=HOUSES, target="price", **SETTINGS),
        train("4 tanh", HOUSES, target="price", epochs=3, optimizer="adam 0.01"),
        train("4 tanh", data=HOUSES, target="price", epochs=3, optimizer="adam 0.01"),
        train(pl.DataFrame(HOUSES.to_dict("list")), target="price", **SETTINGS),
    ):
        np.testing.assert_array_equal(trained.parameters, expected)


def test_the_other_arguments_are_those_of_load():
    weight = np.linspace(0.5, 1.5, ROWS)
    choices = {"target": "price", "drop": "city", "task": "regression", "read": {"rooms": "category"}, "weight": weight}
    trained = train(HOUSES, **choices, **SETTINGS)
    data = load(HOUSES, **choices)
    np.testing.assert_array_equal(trained.data.training.x, data.training.x)
    np.testing.assert_array_equal(trained.data.training.weight, data.training.weight)
    assert trained.preparation.columns == (("rooms", "category"),)


def test_data_that_is_missing_passed_twice_or_read_already_is_refused():
    with pytest.raises(DataError, match="there is no data; pass a frame"):
        train(network="4 tanh")
    with pytest.raises(SettingError, match="the network is passed twice"):
        train("4 tanh", "iris", network="5")
    with pytest.raises(SettingError, match="the data is passed twice"):
        train("4 tanh", "iris", data="digits")
    with pytest.raises(SettingError, match="3 arguments without a name"):
        train("4 tanh", "iris", "adam")
    with pytest.raises(SettingError, match="the Dataset is read already; pass target, weight to load"):
        train(load("iris"), target="species", weight=np.ones(150))


@pytest.mark.parametrize("form", ["frame", "polars", "pair", "file"])
def test_validation_and_test_data_may_be_of_their_own(form, tmp_path):
    MORE.to_csv(tmp_path / "more.csv", index=False)
    own = {
        "frame": MORE,
        "polars": pl.DataFrame(MORE.to_dict("list")),
        "pair": (MORE[["rooms", "city"]], MORE["price"]),
        "file": tmp_path / "more.csv",
    }[form]
    trained = train(HOUSES, target="price", validation=own, test=own, **SETTINGS)
    data = trained.data
    assert [len(part.x) for part in (data.training, data.validation, data.test)] == [ROWS, 20, 20]
    assert data.validation_rows is data.test_rows is None
    assert data.validation_fingerprint == data.test_fingerprint != data.fingerprint
    assert trained.evaluate() == pytest.approx(trained.evaluate(MORE))
    np.testing.assert_allclose(trained.held_out("test").targets, MORE["price"])


def test_a_run_with_a_test_file_of_its_own_is_resumed_and_the_file_must_be_the_same(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    HOUSES.to_csv("houses.csv", index=False)
    MORE.to_csv("more.csv", index=False)
    settings = ["--target", "price", "--network", "3", "--epochs", "1", "--test", "more.csv", "--output", "run"]
    assert command(["train", "houses.csv", *settings, "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)["test"]
    assert command(["evaluate", "run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["metrics"] == scores
    assert command(["train", "--resume", "run", "--epochs", "2"]) == 0
    HOUSES[:30].to_csv("more.csv", index=False)
    assert command(["evaluate", "run"]) == 2
    assert "it differs in the number of test rows, the test data" in capsys.readouterr().err


@pytest.fixture(scope="module", params=["table", "arrays", "labels", "unprepared"])
def trained(request):
    x = RANDOM.normal(size=(60, 3))
    data = {
        "table": load(HOUSES, target="price"),
        "arrays": load((x, x[:, 0])),
        "labels": load((x, (x > 0).astype(int))),
        "unprepared": chainrule.from_arrays(x, x[:, 0]),
    }
    return train(data[request.param], **SETTINGS)


def test_what_is_saved_is_opened_and_is_a_run(trained, tmp_path):
    trained.save(tmp_path / "saved")
    samples = trained.data.training
    for opened in (chainrule.open(tmp_path / "saved"), Run.open(str(tmp_path / "saved")).trained):
        np.testing.assert_array_equal(opened.predict(samples), trained.predict(samples))
        assert opened.history == trained.history
        assert opened.plan.optimizer == trained.plan.optimizer
    assert command(["show", str(tmp_path / "saved")]) == 0
    recorded = Run.open(tmp_path / "saved").at(0, trained.data)
    np.testing.assert_array_equal(recorded.before.parameters, trained.start.position.parameters)
    last = Run.open(tmp_path / "saved").at(trained.progress.position.step - 1, trained.data)
    np.testing.assert_array_equal(last.after.parameters, trained.progress.position.parameters)


def test_commands_work_on_what_was_saved(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    MORE.to_csv("more.csv", index=False)
    trained = train(HOUSES, target="price", **SETTINGS)
    trained.save("prices")
    capsys.readouterr()
    assert command(["predict", "prices", "more.csv", "--json"]) == 0
    predicted = [row["price"] for row in json.loads(capsys.readouterr().out)]
    np.testing.assert_allclose(predicted, trained.predict(MORE))
    assert command(["evaluate", "prices", "more.csv", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["metrics"] == pytest.approx(trained.evaluate(MORE))


def test_a_run_that_is_saved_elsewhere_is_the_same_run(tmp_path):
    train("iris", **SETTINGS, callbacks=[Recorder(tmp_path / "run")])
    chainrule.open(tmp_path / "run").save(tmp_path / "copy")
    names = sorted(path.name for path in (tmp_path / "run").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "copy").iterdir())
    assert all((tmp_path / "run" / n).read_bytes() == (tmp_path / "copy" / n).read_bytes() for n in names)
    resumed = Run.open(tmp_path / "copy").resume(epochs=4)
    resumed.save(tmp_path / "again")
    assert Run.open(tmp_path / "again").manifest["epochs"] == 4


def test_saving_never_overwrites_and_leaves_nothing_half_written(tmp_path):
    trained = train("iris", **SETTINGS)
    trained.save(tmp_path / "saved")
    before = (tmp_path / "saved/manifest.json").read_bytes()
    with pytest.raises(RunError, match=r"it exists already; choose another folder \(folder\)"):
        trained.save(tmp_path / "saved")
    assert (tmp_path / "saved/manifest.json").read_bytes() == before
    opened = chainrule.open(tmp_path / "saved")
    (tmp_path / "saved/recipe.json").write_text("{}")
    with pytest.raises(RunError, match="cut or altered"):
        opened.save(tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_a_threshold_is_saved_whether_it_was_trained_or_opened(tmp_path):
    trained = train("4 tanh", "moons", epochs=2, threshold="f1")
    trained.save(tmp_path / "first")
    opened = Run.open(tmp_path / "first").trained
    assert opened.threshold == trained.threshold
    opened.with_threshold(0.25).save(tmp_path / "second")
    assert Run.open(tmp_path / "second").trained.threshold == 0.25
    assert Run.open(tmp_path / "first").trained.threshold == trained.threshold


def test_files_are_read_as_for_training_in_python_as_on_the_command_line(tmp_path, capsys):
    random = np.random.default_rng(2)
    for label, colour in (("dark", 60), ("light", 190)):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for k in range(15):
            pixels = random.normal(colour, 10, (12, 16)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / label / f"{k}.png")
    x = random.normal(size=80)
    codes = pl.DataFrame({"x": x, "code": np.where(x > 0, "1.50", "2.0")})
    codes.write_csv(tmp_path / "codes.csv")
    for name, settings in (("photos", {"image_size": (6, 8)}), ("codes.csv", {"read": {"code": "category"}})):
        trained = train("4 tanh", tmp_path / name, epochs=2, **settings)
        trained.save(tmp_path / "run")
        opened = chainrule.open(tmp_path / "run")
        assert (opened.predict(tmp_path / name) == trained.predict(tmp_path / name)).all()
        measured = trained.evaluate(tmp_path / name)
        assert opened.evaluate(tmp_path / name) == measured
        assert command(["evaluate", str(tmp_path / "run"), str(tmp_path / name), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["metrics"] == measured
        shutil.rmtree(tmp_path / "run")


def test_a_part_that_a_data_set_does_not_have_is_named_as_the_problem():
    trained = train("4 tanh", "moons", test=0, epochs=1)
    with pytest.raises(DataError, match="no samples: the data set has no such part"):
        trained.predict(trained.data.test)


def test_a_forked_process_predicts_by_an_engine_of_its_own(monkeypatch):
    """A thread of the parent may have held the lock of the other one."""
    trained = train("4 tanh", "iris", epochs=1)
    x = np.ones((2, 4))
    before = trained.probabilities(x)
    monkeypatch.setattr("chainrule.runs.trained.os.getpid", lambda: -1)
    np.testing.assert_array_equal(trained.probabilities(x), before)
    parent, child = trained._predictors.values()
    assert parent is not child
