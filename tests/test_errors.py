"""Messages name a setting as the user writes it: an argument in Python, an option in a terminal."""

import numpy as np
import pytest

from chainrule.cli import run
from chainrule.cli.options import as_option
from chainrule.data import load
from chainrule.errors import DataError, setting, settings_written


def test_a_setting_is_an_argument_in_python_and_an_option_on_the_command_line():
    chosen = [("task", "regression"), ("batch_size", 10), ("read", {"zip code": "category"}), ("penalties",)]
    chosen += [("shuffle", False), ("patience", None), ("progress", True)]
    arguments = ['task="regression"', "batch_size=10", 'read={"zip code": "category"}', "penalties"]
    arguments += ["shuffle=False", "patience=None", "progress=True"]
    assert [setting(*one) for one in chosen] == arguments
    with settings_written(as_option):
        options = ["--task regression", "--batch-size 10", "--read 'zip code'=category", "--penalty"]
        options += ["--no-shuffle", "--patience none", "--progress"]
        assert [setting(*one) for one in chosen] == options
        assert setting("image_size", (28, 32)) == "--image-size 32x28"
        assert setting("shuffle", False) == "--no-shuffle"
        assert setting("patience", None) == "--patience none"
        assert setting("logs", False) == "--log none"
        assert setting("drop", ["a", "b c"]) == "--drop a --drop 'b c'"
    assert setting("task", "regression") == 'task="regression"'


def test_the_spelling_is_restored_after_an_error():
    with pytest.raises(ZeroDivisionError), settings_written(as_option):
        raise ZeroDivisionError
    assert setting("batch_size") == "batch_size"


def test_one_mistake_has_the_remedy_of_where_it_was_made(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rows = [f"{k},{'x' if k == 7 else k}.5" for k in range(40)]
    (tmp_path / "prices.csv").write_text("\n".join(["size,price", *rows]))
    assert run(["train", "prices.csv"]) == 2
    assert "or pass --task classification" in capsys.readouterr().err
    with pytest.raises(DataError, match='or pass task="classification"'):
        load("prices.csv")
    with pytest.raises(DataError, match=r"hold out fewer \(validation, test\)"):
        load((np.ones((2, 1)), np.arange(2.0)))
