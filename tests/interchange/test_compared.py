"""An import says where nothing was compared."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from chainrule.cli import run as command
from chainrule.interchange import from_onnx, reading

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")


@pytest.fixture
def path(tmp_path):
    from onnx import TensorProto, helper, numpy_helper

    W = numpy_helper.from_array(np.random.default_rng(0).normal(size=(4, 2)).astype(np.float32), "W")
    inner, outer = (helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", k]) for n, k in (("x", 4), ("y", 2)))
    nodes = [helper.make_node("MatMul", ["x", "W"], ["y"])]
    model = helper.make_model(helper.make_graph(nodes, "g", [inner], [outer], [W]),
                              opset_imports=[helper.make_opsetid("", 17)])  # fmt: skip
    model.ir_version = 8
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    return tmp_path / "model.onnx"


def test_without_onnx_runtime_it_warns(path, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.warns(UserWarning, match="not compared: ONNX Runtime is not installed"):
        from_onnx(path)
    assert command(["import", str(path), "-o", str(tmp_path / "run")]) == 0
    assert "not compared: ONNX Runtime is not installed (pip install onnxruntime)" in capsys.readouterr().err.replace(
        "\n", " "
    )


def test_a_file_that_onnx_runtime_refuses_is_said_not_to_be_compared(path, monkeypatch):
    model = onnx.load(path)
    model.ir_version = 99
    path.write_bytes(model.SerializeToString())
    with pytest.warns(UserWarning, match="not compared: ONNX Runtime does not run this file"):
        from_onnx(path)


def test_other_predictions_are_an_error(path, monkeypatch):
    session = reading._session

    class Off:
        def __init__(self, *arguments):
            self.session = session(*arguments)
            self.get_inputs = self.session.get_inputs

        def run(self, *arguments):
            return [self.session.run(*arguments)[0] + 1e-3]

    monkeypatch.setattr(reading, "_session", Off)
    with pytest.raises(reading.SettingError, match="predicts other numbers"):
        from_onnx(path)
