"""Every setting of Python has its option, and train and tune share them."""

import inspect
from dataclasses import fields

import pytest

import chainrule
from chainrule.cli import app, options, run
from chainrule.cli.settings import Reading, Recording, Searched, Training

IN_PYTHON_ALONE = {
    "what": "the argument DATA",
    "data": "the argument DATA",
    "callbacks": "functions; --log for TensorBoard and MLflow, and the run is recorded anyway",
    "progress": "a bar is shown unless --json is given",
}
OF_LOAD_ALONE = {
    "what": "the argument DATA",
    "scale_target": "follows from the loss",
    "likely_task": "follows from the loss",
    "preparation": "an object; `train --resume` has the run's own",
}
OF_TRAIN_ALONE = {
    **{f"--{field.name.replace('_', '-')}": "the search chooses it" for field in fields(Searched)},
    "--from": "a search trains new networks",
    "--start": "the same option",
    "--resume": "the same command continues a study",
    **dict.fromkeys(("--coordinator", "--processes", "--process"), "a search has processes of its own"),
}


def options_of(command):
    from typer.main import get_command

    found = get_command(app).commands[command].params
    return {name for parameter in found for name in parameter.opts if name.startswith("--")}


def test_every_setting_of_train_and_load_has_an_option():
    for function, exceptions in ((chainrule.train, IN_PYTHON_ALONE), (chainrule.load, OF_LOAD_ALONE)):
        names = [name for name in inspect.signature(function).parameters if name not in exceptions]
        missing = {name for name in names if options.as_option(name) not in options_of("train")}
        assert not missing
        assert not {name for name in exceptions if options.as_option(name) in options_of("train")}


def test_tune_has_the_options_of_train_but_for_what_it_searches():
    assert options_of("train") - options_of("tune") == set(OF_TRAIN_ALONE)
    assert options_of("tune") - options_of("train") == {"--trials", "--storage"}


def test_what_the_options_stand_for_are_arguments_in_python():
    known = inspect.signature(chainrule.train).parameters.keys()
    assert {*Reading().arguments(), *Training().arguments(), *Searched().arguments()} <= known
    tuned = inspect.signature(chainrule.tune).parameters.keys()
    assert Training().arguments().keys() <= tuned
    assert Reading().arguments().keys() <= inspect.signature(chainrule.load).parameters.keys()
    assert {field.name for field in fields(Recording)} == {"output", "limit", "log"}


def test_defaults_are_those_of_python():
    expected = {name: p.default for name, p in inspect.signature(chainrule.train).parameters.items()}
    same = {"drop": [], "read": {}, "penalties": []}  # empty ones, in other words
    for name, value in {**Reading().arguments(), **Training().arguments(), **Searched().arguments()}.items():
        assert value == same.get(name, expected[name]), name


@pytest.mark.parametrize("command", ["train", "tune", "evaluate", "predict"])
def test_the_help_fits_a_terminal_of_80_columns(command, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    assert run([command, "--help"]) == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80


def test_several_options_at_once_reach_the_training(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["--no-shuffle", "--dtype", "float64", "--penalty", "l2 0.01", "--patience", "none", "--validation", "0.2"]
    assert run(["train", "iris", "--epochs", "2", "--network", "4 tanh", *words, "--drop", "sepal length"]) == 2
    assert run(["train", "iris", "--epochs", "2", "--network", "4 tanh", *words]) == 0
    opened = chainrule.Run.open("runs/iris-1")
    plan, settings = opened.trained.plan, opened.data["settings"]
    assert (plan.network.dtype, plan.patience, plan.penalties[0].l2) == ("float64", None, 0.01)
    assert (settings["shuffle"], settings["validation"]) == (False, 0.2)
