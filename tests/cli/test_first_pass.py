"""What is said of tables larger than the memory while they are read and prepared."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from chainrule.cli import cache as shown
from chainrule.cli import run
from chainrule.data.streamed import cache, conversion


@pytest.fixture
def sales(tmp_path, monkeypatch):
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr(conversion, "PIECE", 4000)
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    pl.DataFrame({"area": random.normal(size=900), "y": random.normal(size=900)}).write_csv("sales.csv")
    return ["sales.csv", "--target", "y", "--memory", "20KB", "--network", "2 tanh", "--epochs", "1"]


def test_a_log_has_a_line_for_each_pass_and_one_a_minute(sales, capsys, monkeypatch):
    assert run(["train", *sales]) == 0
    said = capsys.readouterr().err.splitlines()[:3]
    assert [line.partition(":")[0] for line in said] == ["converting", "reading", "preparing"]
    assert all(line.endswith((" of 900 rows", " bytes")) for line in said)
    monkeypatch.setattr(shown, "EVERY", 0.0)
    monkeypatch.setenv(cache.VARIABLE, "another")
    assert run(["train", *sales]) == 0
    converting = [line for line in capsys.readouterr().err.splitlines() if line.startswith("converting")]
    done = [int(line.split()[1].replace(",", "")) for line in converting]
    assert len(done) > 3
    assert done == sorted(done)
    assert done[-1] == int(converting[-1].split()[3].replace(",", ""))
    assert run(["train", *sales]) == 0
    assert "converting" not in capsys.readouterr().err


def test_json_is_alone(sales, capsys):
    assert run(["train", *sales, "--json"]) == 0
    assert not capsys.readouterr().err
