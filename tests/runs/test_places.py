"""A run finds its data from any working directory, and after both were moved."""

import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from chainrule.cli import run as command
from chainrule.data import load
from chainrule.errors import DataError, RunError
from chainrule.runs import Recorder, Run, train
from chainrule.runs import folder as files

ROWS = 40


def write_table(path, seed=0):
    random = np.random.default_rng(seed)
    pl.DataFrame({"a": random.normal(size=ROWS), "b": random.normal(size=ROWS)}).write_csv(path)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with data, validation data and a run that was recorded with relative paths."""
    folder = tmp_path / "project"
    (folder / "data").mkdir(parents=True)
    monkeypatch.chdir(folder)
    write_table("data/rows.csv")
    write_table("data/more.csv", seed=1)
    arguments = ["--validation", "data/more.csv", "--epochs", "1", "--json"]
    assert command(["train", "data/rows.csv", *arguments]) == 0
    return folder


def altered(folder, change, file="recipe"):
    """Change what a run's recipe says of the data, or its preparation, as another version would
    have written it.
    """
    (name,) = (path.name for path in folder.glob(f"{file}*.json"))
    manifest = json.loads((folder / files.MANIFEST).read_bytes())
    recipe = json.loads((folder / name).read_bytes())
    change(recipe["data"] if file == "recipe" else recipe)
    (folder / name).write_bytes(files.encoded(recipe))
    manifest["files"][name] = files.hash_of((folder / name).read_bytes())
    (folder / files.MANIFEST).write_bytes(files.encoded(manifest))


def relative(data):
    """What older versions recorded."""
    data["settings"] |= {"what": "data/rows.csv", "validation": "data/more.csv"}
    del data["folder"], data["validation"]


def test_kinds_of_columns_by_their_earlier_names(tmp_path):
    """What is called boolean was called truth."""
    random = np.random.default_rng(0)
    columns = {"a": random.normal(size=ROWS) > 0, "b": random.integers(2, size=ROWS), "y": random.normal(size=ROWS)}
    pl.DataFrame(columns).write_csv(tmp_path / "rows.csv")
    data = load(tmp_path / "rows.csv", read={"b": "boolean"})
    trained = train("3 tanh", data, epochs=1, callbacks=[Recorder(tmp_path / "run")])

    def earlier(fields):
        for pair in fields["columns"]:
            assert pair[1] == "boolean"
            pair[1] = "truth"

    altered(tmp_path / "run", lambda fields: fields["settings"]["read"].update(b="truth"))
    altered(tmp_path / "run", earlier, "preparation")
    run = Run.open(tmp_path / "run")
    assert run.trained.preparation.columns == trained.preparation.columns
    np.testing.assert_array_equal(run.load_data().training.x, data.training.x)


def test_every_command_finds_the_data_from_another_directory(project, tmp_path, monkeypatch, capsys):
    elsewhere, run = tmp_path / "elsewhere", str(project / "runs" / "rows-1")
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    for arguments in (["evaluate", run], ["explain", run], ["show", run], ["train", "--resume", run, "--epochs", "2"]):
        assert command(arguments) == 0
    assert f"data {project}/data/rows.csv: " in " ".join(capsys.readouterr().out.split())
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize("version", ["this", "older"])
def test_a_run_that_was_moved_with_its_data_finds_it(version, project, tmp_path, monkeypatch):
    if version == "older":
        altered(project / "runs" / "rows-1", relative)
    shutil.move(project, tmp_path / "moved")
    monkeypatch.chdir(tmp_path)
    run = Run.open(tmp_path / "moved" / "runs" / "rows-1")
    assert run.load_data().name == str(tmp_path / "moved" / "data" / "rows.csv")
    run.resume(epochs=2)
    assert Run.open(run.folder).data["settings"]["what"] == run.load_data().name


def test_relative_paths_of_older_versions_are_read_from_the_working_directory(project, tmp_path, monkeypatch):
    run = shutil.move(project / "runs" / "rows-1", tmp_path / "run")
    altered(Path(run), relative)
    Run.open(run).load_data()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        DataError, match=r"data/rows.csv: there is no such file or folder, which the run .*run was trai"
    ):
        Run.open(run).load_data()


def test_of_two_files_the_one_that_the_run_was_trained_on_is_taken(project, tmp_path):
    copy = shutil.copytree(project, tmp_path / "copy")
    write_table(project / "data" / "rows.csv", seed=2)
    assert Run.open(copy / "runs" / "rows-1").load_data().name == str(copy / "data" / "rows.csv")
    with pytest.raises(DataError, match=f"{project}/data/rows.csv: it has changed since the run .* was trained on it"):
        Run.open(project / "runs" / "rows-1").load_data()


def test_missing_data_is_named_with_its_path(project, tmp_path, monkeypatch, capsys):
    (project / "data" / "rows.csv").unlink()
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    run = str(project / "runs" / "rows-1")
    for arguments in (["evaluate", run], ["explain", run], ["train", "--resume", run, "--epochs", "2"]):
        assert command(arguments) == 2
        err = capsys.readouterr().err
        assert err.startswith(f"chainrule: {project}/data/rows.csv: there is no such file or folder, which the run ")
        assert err.count("\n") == 1
    assert command(["show", run]) == 0


def test_changed_validation_data_is_not_resumed_on(project):
    run = Run.open("runs/rows-1")
    write_table("data/more.csv", seed=3)
    with pytest.raises(DataError, match="it differs in the validation data"):
        run.load_data()


def test_a_target_that_would_be_read_as_another_task_today_keeps_its_own(tmp_path):
    """One-hot targets were once predicted as numbers."""
    x = np.random.default_rng(0).normal(size=(ROWS, 2))
    np.savez(tmp_path / "data.npz", x=x, y=np.eye(2)[np.arange(ROWS) % 2])
    data = load(tmp_path / "data.npz", task="regression")
    train("3 tanh", data, epochs=1, callbacks=[Recorder(tmp_path / "run")])
    altered(tmp_path / "run", lambda data: data["settings"].update(task=None))
    run = Run.open(tmp_path / "run")
    assert run.load_data().task == "regression"
    assert run.resume(epochs=2).progress.epoch == 2


def test_an_earlier_version_kept_the_column_of_weights_and_the_size_of_pictures_in_the_recipe_alone(tmp_path):
    frame = pl.DataFrame({"x": np.arange(60.0), "w": np.arange(60.0) + 1, "y": ["a", "b"] * 30})
    train("4 tanh", frame, weight="w", epochs=2).save(tmp_path / "run")
    before, new = Run.open(tmp_path / "run").trained, frame.tail(20)
    altered(tmp_path / "run", lambda about: (about.pop("weight"), about.pop("image_size")), "preparation")
    assert Run.open(tmp_path / "run").trained.evaluate(new) == before.evaluate(new)
    assert before.evaluate(new) != before.evaluate(new.drop("w"))
    altered(tmp_path / "run", lambda about: about.update(weight="z"), "preparation")
    with pytest.raises(RunError, match="'z' is not the 'w' of the recipe"):
        Run.open(tmp_path / "run")
