"""A whole model of ONNX: from raw samples, through their preparation and the network, to what its
outputs mean; and how it is verified.
"""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np

from chainrule.arrays import Array, as_read
from chainrule.data import Preparation
from chainrule.errors import SettingError
from chainrule.interchange.onnx_export import IR, OPSET, Tensor, Writer, write_network
from chainrule.runs import Trained
from chainrule.version import VERSION

FLOAT, INT64, STRING, DOUBLE = 1, 7, 8, 11
CHECKED = 16
"""The samples on which predictions are compared."""


def build(trained: Trained) -> tuple[Any, tuple[str, ...]]:
    """The model, and what to know about it."""
    from onnx import checker, helper

    w, network = Writer(), trained.plan.network
    is_double = network.dtype == "float64"
    notes: list[str] = []
    x, inputs = _input(w, trained, notes)
    if is_double:
        x = w.node("Cast", [x], "as_float64", to=DOUBLE)
    y = write_network(w, network, trained.parameters, trained.statistics, x)
    name, output, shape = _output(w, trained, y, notes)
    kind = DOUBLE if is_double else FLOAT
    result = helper.make_tensor_value_info(output, kind, ["samples", *shape])
    w.nodes.append(helper.make_node("Identity", [name], [output], name=output))
    graph = helper.make_graph(w.nodes, "chainrule", inputs, [result], list(w.initializers.values()))
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="chainrule", producer_version=VERSION
    )
    model.ir_version = IR
    labels = list(trained.target.classes or trained.target.columns)
    if labels:
        helper.set_model_props(model, {"classes": json.dumps(labels)})
    checker.check_model(model)
    return model, tuple(notes)


def _input(w: Writer, trained: Trained, notes: list[str]) -> tuple[str, list[Any]]:
    """The network's input, and the inputs of the model."""
    from onnx import helper

    preparation, shape = trained.preparation, trained.plan.network.input_shape
    if preparation is not None and preparation.kind == "table" and preparation.pipeline is None:
        problems = [f"{c} ({e.role})" for (c, _), e in zip(preparation.columns, preparation.encoders, strict=True)
                    if e.role not in ("number", "category")]  # fmt: skip
        if not problems:
            return _columns(w, preparation)
        notes.append(
            f"ONNX can't express how {', '.join(problems)} become inputs, so its input 'x' is the table as the network"
            " takes it: prepare it with the run"
        )
    elif _takes_tokens(trained):
        return "x", [helper.make_tensor_value_info("x", INT64, ["samples", *shape])]
    elif preparation is not None and preparation.kind in ("numbers", "pictures") and preparation.sequence is None:
        value = helper.make_tensor_value_info("x", FLOAT, ["samples", *shape])
        assert preparation.mean is not None
        assert preparation.deviation is not None
        return _scaled(w, "x", preparation.mean, preparation.deviation), [value]
    elif preparation is not None:
        notes.append("its input 'x' is what the network takes: the preparation of the samples is not in it")
    return "x", [helper.make_tensor_value_info("x", FLOAT, ["samples", *shape])]


def _scaled(w: Writer, x: str, mean: Array, deviation: Array) -> str:
    """(x - mean) / deviation, computed as the preparation does, in float64."""
    if not mean.any() and (deviation == 1).all():
        return x
    wide = w.node("Cast", [x], "x_as_float64", to=DOUBLE)
    centred = w.node("Sub", [wide, w.array("mean", mean)], "x_centred")
    return w.node("Cast", [w.node("Div", [centred, w.array("deviation", deviation)], "x_scaled")], "inputs", to=FLOAT)


def _columns(w: Writer, preparation: Preparation) -> tuple[str, list[Any]]:
    """The columns of a table, each an input of the model of shape (samples, 1): numbers, of which
    NaN is a missing one, and texts, of which the empty one is missing.
    """
    from onnx import helper

    parts, inputs = [], []
    for (column, _), encoder in zip(preparation.columns, preparation.encoders, strict=True):
        is_text = encoder.role == "category"
        inputs.append(helper.make_tensor_value_info(column, STRING if is_text else DOUBLE, ["samples", 1]))
        parts.append(_category(w, column, encoder) if is_text else _number(w, column, encoder))
    whole = w.node("Concat", parts, "columns", axis=1) if len(parts) > 1 else parts[0]
    assert preparation.mean is not None
    assert preparation.deviation is not None
    centred = w.node("Sub", [whole, w.array("mean", preparation.mean)], "columns_centred")
    scaled = w.node("Div", [centred, w.array("deviation", preparation.deviation)], "columns_scaled")
    missing = w.node("IsNaN", [scaled], "columns_missing")  # a missing number is the mean
    filled = w.node("Where", [missing, w.array("zero", np.array(0.0)), scaled], "columns_filled")
    return w.node("Cast", [filled], "inputs", to=FLOAT), inputs


def _number(w: Writer, column: str, encoder: Any) -> str:
    if not encoder.marks_missing:
        return column
    missing = w.node("Cast", [w.node("IsNaN", [column], f"{column}_isnan")], f"{column}_missing", to=DOUBLE)
    return w.node("Concat", [column, missing], f"{column}_both", axis=1)


def _category(w: Writer, column: str, encoder: Any) -> str:
    """An input for each value."""
    values = encoder.values[encoder._first :]
    texts = ["" if value is None else str(value) for value in values]
    held = w.fresh(f"{column}_values")
    w.initializers[held] = w.helper.make_tensor(held, STRING, [len(texts)], [t.encode() for t in texts])
    same = w.node("Equal", [column, held], f"{column}_is")
    return w.node("Cast", [same], f"{column}_inputs", to=DOUBLE)


def _output(w: Writer, trained: Trained, y: Tensor, notes: list[str]) -> tuple[str, str, list[int]]:
    """The value to give, its name, and its shape: probabilities, or quantities in their units."""
    target, name, shape = trained.target, w.natural(y), list(y.shape)
    if target.task == "regression" and trained.plan.network.output_shape[-1:] == (target.width,):
        mean, deviation = np.array(target.mean), np.array(target.deviation)
        if mean.any() or (deviation != 1).any():
            dtype = trained.plan.network.dtype
            scaled = w.node("Mul", [name, w.array("target_deviation", deviation.astype(dtype))], "target_scaled")
            name = w.node("Add", [scaled, w.array("target_mean", mean.astype(dtype))], "target_moved")
        return name, "prediction", shape
    how = _probabilities(trained)
    if how == "softmax":
        return w.node("Softmax", [name], "softmax_of_outputs", axis=-1), "probabilities", shape
    if how in ("sigmoid", "both"):
        p = w.node("Sigmoid", [name], "sigmoid_of_outputs")
        if how == "sigmoid":
            return p, "probabilities", shape
        one = w.array("one", np.array(1, trained.plan.network.dtype))
        both = w.node("Concat", [w.node("Sub", [one, p], "first_class"), p], "both_classes", axis=-1)
        return both, "probabilities", [*shape[:-1], 2]
    notes.append("its output is that of the network; what follows from it, the run says")
    return name, "outputs", shape


def _probabilities(trained: Trained) -> str:
    """What the loss makes of outputs: "softmax", "sigmoid", "both" (of one output), or ""."""
    if trained.target.task == "regression":
        return ""
    width = trained.plan.network.output_shape[-1]
    z = np.linspace(-1.5, 2.0, 2 * width).reshape(2, width)
    found = trained.plan.loss.probabilities(z)
    e, s = np.exp(z - z.max(axis=1, keepdims=True)), 1 / (1 + np.exp(-z))
    known = {"softmax": e / e.sum(axis=1, keepdims=True), "sigmoid": s, "both": np.hstack([1 - s, s])}
    for how, values in known.items():
        fits = found is not None and found.shape == values.shape and np.allclose(found, values, atol=1e-9)
        if fits and (how != "softmax" or width > 1):
            return how
    return ""


# Verifying


def samples_of(trained: Trained) -> tuple[Any, dict[str, Array], Array]:
    """Samples as the run takes them, the same as the model does, and the outputs of the network."""
    preparation, shape = trained.preparation, trained.plan.network.input_shape
    random = np.random.default_rng(0)
    if preparation is not None and preparation.kind == "table" and preparation.pipeline is None:
        kinds = [e.role for e in preparation.encoders]
        if {*kinds} <= {"number", "category"}:
            return _table(trained, preparation, random)
    if _takes_tokens(trained):
        x = random.integers(0, 2, (CHECKED, *shape)).astype(np.float32)
        return x, {"x": x.astype(np.int64)}, trained._outputs(x)
    x = random.normal(size=(CHECKED, *shape)).astype(np.float32)
    if preparation is not None and preparation.kind in ("numbers", "pictures") and preparation.sequence is None:
        assert preparation.mean is not None
        assert preparation.deviation is not None
        raw = (x * preparation.deviation + preparation.mean).astype(np.float32)
        prepared = ((raw.astype(np.float64) - preparation.mean) / preparation.deviation).astype(np.float32)
        return raw, {"x": raw}, trained._outputs(prepared)
    return x, {"x": x}, trained._outputs(x)


def _takes_tokens(trained: Trained) -> bool:
    """Whether its inputs are the numbers of tokens, all of them."""
    readers = trained.plan.network.graph.readers[0]
    return bool(readers) and all(node.layer.takes_tokens for node, _ in readers)


def _table(trained: Trained, preparation: Preparation, random: Any) -> tuple[Any, dict[str, Array], Array]:
    """Rows of every value of every category, of missing and of unknown ones."""
    import polars as pl

    columns, given, k = {}, {}, 0
    assert preparation.mean is not None
    assert preparation.deviation is not None
    for (column, _), encoder in zip(preparation.columns, preparation.encoders, strict=True):
        count = len(encoder.input_names(column))
        if encoder.role == "number":
            values = preparation.mean[k] + preparation.deviation[k] * random.normal(size=CHECKED)
            values[:2] = np.nan
            columns[column] = pl.Series(column, [None if math.isnan(v) else v for v in values], dtype=pl.Float64)
            given[column] = values[:, None]
        else:
            own = [v for v in encoder.values if v is not None]  # type: ignore[attr-defined]
            texts = [None, "\u2014unknown", *(own[j % len(own)] for j in range(CHECKED - 2))]
            columns[column] = pl.Series(column, texts, dtype=pl.String)
            given[column] = np.array([[t or ""] for t in texts], object)
        k += count
    frame = pl.DataFrame(columns)
    x = preparation.encode("the samples", frame)
    return frame, given, trained._outputs(as_read(x))


def check(trained: Trained, content: bytes) -> float | None:
    """The largest difference of ONNX Runtime's predictions from the network's, as a share of the
    largest of these (or of 1); None if ONNX Runtime is not installed.
    """
    try:
        import onnxruntime
    except ImportError:
        return None
    _, given, outputs = samples_of(trained)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        (found,) = session.run(None, given)
    except Exception as error:
        raise SettingError(f"ONNX Runtime does not take the network ({str(error).splitlines()[0]})") from None
    target, how = trained.target, _probabilities(trained)
    if target.task == "regression" and outputs.shape[-1] == target.width:
        outputs = outputs * np.array(target.deviation) + np.array(target.mean)
    elif how:
        outputs = np.asarray(trained.plan.loss.probabilities(outputs))
    return float(np.abs(found - outputs).max() / max(1.0, float(np.abs(outputs).max())))
