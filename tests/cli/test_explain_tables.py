"""Explanations for columns and targets of every type, in all formats and on the page."""

import datetime
import json
import queue
import struct

import numpy as np
import polars as pl
import pytest

from chainrule.cli import run
from chainrule.data import load
from chainrule.explain.page import levels
from chainrule.play.session import Session
from chainrule.play.settings import Settings
from chainrule.play.trainer import Trainer
from waiting import WAIT


def header(message):
    """The JSON header of a message from the page's server, without its arrays."""
    (length,) = struct.unpack("<I", message[:4])
    return json.loads(message[4 : 4 + length])


TARGETS = ["text", "truth", "whole", "category", "quantity"]
SETTINGS = {"data": {"kind": "given"}, "layers": [{"units": 3, "activation": "tanh"}], "batch_size": 8}


def table(target, path):
    """A file with columns of every type and a target of this type."""
    rows = 40
    yes = np.arange(rows) % 2 == 0
    day = datetime.date(2020, 1, 1)
    targets = {
        "text": np.where(yes, "cat", "dog").tolist(),
        "truth": yes.tolist(),
        "whole": yes.astype(int).tolist(),
        "category": pl.Series(np.where(yes, "cat", "dog")).cast(pl.Categorical),
        "quantity": (np.arange(rows) * 1.5 + yes).tolist(),
    }
    frame = pl.DataFrame(
        {
            "size": np.arange(rows) / 7,
            "kind": np.where(np.arange(rows) % 3 == 0, "flat", "house").tolist(),
            "lift": (np.arange(rows) % 5 == 0).tolist(),
            "sold": [day + datetime.timedelta(days=11 * k) for k in range(rows)],
            "seen": [datetime.datetime(2021, 1, 1, 12) + datetime.timedelta(hours=k) for k in range(rows)],
            "age": [None if k % 7 == 0 else float(k) for k in range(rows)],
            "found": targets[target],
        }
    )
    frame.write_parquet(path) if path.suffix == ".parquet" else frame.write_csv(path)
    return path


@pytest.mark.parametrize("target", TARGETS)
def test_every_format_explains_a_run_on_a_table(target, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table(target, tmp_path / f"data.{'parquet' if target == 'category' else 'csv'}")
    name = next(tmp_path.glob("data.*")).name
    assert run(["train", name, "--epochs", "1", "--network", "3 tanh", "--output", "run"]) == 0
    capsys.readouterr()
    outputs = {}
    for kind in ("text", "json", "latex", "html", "svg"):
        assert run(["explain", "run", "dense_1.W[0, 0]", "--format", kind]) == 0
        outputs[kind] = capsys.readouterr().out
    expected = {
        "text": ("found cat", "found dog"),
        "truth": ("found True", "found False"),
        "whole": ("found 0", "found 1"),
    }
    for text in (outputs["text"], outputs["html"]):
        assert any(words in text for words in expected.get(target, ("found ",)))
        assert "kind flat" in text or "kind house" in text
    assert json.loads(outputs["json"])["samples"][0]["row"] > 0


@pytest.mark.parametrize("target", TARGETS)
def test_the_page_explains_a_weight_trained_on_a_table(target, tmp_path):
    data = load(table(target, tmp_path / "data.parquet"), validation=0.2, test=0.0)
    trainer = Trainer(Settings.from_json(SETTINGS), data)
    trainer.advance(2)
    assert "found " in str(levels(trainer.explain("dense_1.W[0, 0]")))
    messages: queue.Queue = queue.Queue()
    session = Session(lambda message: messages.put(header(message)), data)
    try:
        session.command({"type": "settings", "settings": SETTINGS})
        session.command({"type": "open", "weight": "dense_1.W[0, 0]"})
        while (message := messages.get(timeout=WAIT))["type"] != "explanation":
            assert message["type"] != "error", message["message"]
    finally:
        session.close()
    assert "found " in str(message["levels"])
