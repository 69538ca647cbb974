"""What an imported run, which has no steps and no data, says to commands that need them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from chainrule.cli import run as command
from chainrule.errors import RunError
from chainrule.interchange import from_safetensors
from chainrule.runs import Run


@pytest.fixture
def imported(tmp_path):
    random = np.random.default_rng(0)
    shapes = {"dense_1.W": (4, 5), "dense_1.b": (5,), "dense_2.W": (5, 3), "dense_2.b": (3,)}
    path = tmp_path / "model.safetensors"
    save_file({name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}, path)
    path.with_suffix(".json").write_text(json.dumps({"network": {"text": "5 tanh, 3", "input_shape": [4]}}))
    from_safetensors(path).save(tmp_path / "run")
    return tmp_path / "run"


@pytest.mark.parametrize("arguments", [
    ["life", "RUN", "dense_1.W[0, 1]"], ["teachers", "RUN"], ["teachers", "RUN", "iris", "--row", "5"],
    ["gradients", "RUN"], ["descend", "RUN"], ["worksheet", "RUN"],
])  # fmt: skip
def test_what_needs_steps_names_the_command_that_makes_them(imported, capsys, monkeypatch, arguments):
    monkeypatch.chdir(imported.parent)
    assert command([x.replace("RUN", str(imported)) for x in arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(f"it was imported, and has no steps; train it further on data of your own: chainrule train "
                         f"DATA --from {imported}")  # fmt: skip


@pytest.mark.parametrize(("version", "says"), [
    (2, "upgrade chainrule"), (10**9, "upgrade chainrule"), ("3s", "not a manifest version"),
    ("2", "not a manifest version"), (2.5, "not a manifest version"), (True, "not a manifest version"),
    (0, "altered"), (-1, "altered"),
])  # fmt: skip
def test_only_a_larger_number_is_a_newer_format(imported, version, says):
    path = imported / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": version}))
    with pytest.raises(RunError, match=says):
        Run.open(imported)
