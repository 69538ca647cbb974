"""Networks from files of ONNX and from PyTorch's modules, read and checked."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from warnings import warn

import numpy as np

from chainrule.arrays import Array, Shape, pack
from chainrule.data.targets import Label
from chainrule.errors import DataError, SettingError, require
from chainrule.interchange.imported import Imported, Meaning, Numbers, network_of, trained_from
from chainrule.interchange.wiring import Wiring
from chainrule.runs import Trained

TOLERANCE = 1e-5
"""How far predictions may differ, as a share of the largest: a wrong reading is off by far more, a
right one by rounding.
"""
CHECKED = 2
"""The samples on which predictions are compared."""


def from_onnx(
    path: str | Path,
    *,
    shape: Shape | Sequence[Shape] | None = None,
    output: str | None = None,
    task: str | None = None,
    classes: Sequence[Label] | None = None,
    mean: Numbers = 0.0,
    deviation: Numbers = 1.0,
) -> Trained:
    """A network from an ONNX file, with its weights to the last bit, as a trained network without
    data and without steps.

    Args:
        path: the file
        shape: the shape of a sample, or one for each input, where the file leaves it open
        output: the name of the output; by default the first that is of numbers
        task: "classification", "multilabel" or "regression"; by default what its end says: classes
            after a softmax, or a sigmoid of one output, labels after a sigmoid of several, and
            quantities otherwise
        classes: the classes in the order of the outputs; by default those in the file, or numbers
        mean, deviation: what is subtracted from samples, and what they are then divided by: a
            number, or one for each feature or channel

    Returns:
        the network. A softmax or sigmoid at its end is no layer, but belongs to the loss; so
        `probabilities` are the file's outputs. Pictures have their channels last

    Raises:
        DataError: for a file that is no ONNX file
        SettingError: for operators that no layer here computes: all of them, with their nodes; and
            where predictions differ from ONNX Runtime's

    Warns where ONNX Runtime is not installed, or does not run the file: then nothing is compared.
    """
    from chainrule.interchange.onnx_file import read_file
    from chainrule.interchange.onnx_graph import Graph

    path = Path(path)
    model = read_file(path)
    shapes = None if shape is None else [shape] if all(isinstance(n, int) for n in shape) else list(shape)
    graph = Graph(model, path, shapes)  # type: ignore[arg-type]
    name = output_name(graph, output)
    try:
        value = graph.read(name)
        found = network_of(graph.wiring, value)
    except SettingError as error:
        raise SettingError(f"{path}: {error}") from None
    own = classes if classes is not None or task == "regression" else _classes(graph)
    tokens = _are_tokens(graph)
    trained = trained_from(found, Meaning(task, own, mean, deviation), path.name, tokens)
    _check_onnx(path, graph, name, found, trained)
    return trained


def output_name(graph: Any, wanted: str | None) -> str:
    """The output to read."""
    outputs = {o.name: o for o in graph.graph.output}
    if wanted is not None:
        if wanted not in outputs:
            raise DataError(f"{graph.path}: it has no output {wanted!r}, only {', '.join(outputs)}")
        return wanted
    for name, o in outputs.items():
        if o.type.WhichOneof("value") == "tensor_type" and o.type.tensor_type.elem_type in (1, 10, 11, 16):
            return name
    for node in graph.graph.node:  # scikit-learn's probabilities, as a list of dictionaries
        if node.op_type == "ZipMap":
            return node.input[0]
    raise DataError(f"{graph.path}: it has no output of numbers")


def _classes(graph: Any) -> list[Label] | None:
    """The names of classes, as scikit-learn's converter writes them."""
    from onnx import helper

    for entry in graph.model.metadata_props:
        if entry.key == "classes":  # as chainrule writes them
            try:
                labels = json.loads(entry.value)
            except (ValueError, RecursionError):
                return None
            plain = isinstance(labels, list) and all(isinstance(x, str | int | float) for x in labels)
            return labels if plain else None
    for node in graph.graph.node:
        if node.op_type == "ZipMap":
            for a in node.attribute:
                values = helper.get_attribute_value(a)
                if a.name in ("classlabels_int64s", "classlabels_strings") and len(values):
                    return [v.decode() if isinstance(v, bytes) else int(v) for v in values]
        if node.op_type == "ArrayFeatureExtractor":
            held = graph.values.get(node.input[0])
            array = getattr(held, "array", None)
            if array is not None and array.size > 1:
                return [v.decode() if isinstance(v, bytes) else v for v in array.ravel().tolist()]
    return None


def _are_tokens(graph: Any) -> bool:
    """Whether an input holds the numbers of tokens."""
    return any(x.type.tensor_type.elem_type in (6, 7) for x in graph.graph.input)


def _check_onnx(path: Path, graph: Any, name: str, found: Imported, trained: Trained) -> None:
    """Compare predictions with ONNX Runtime's; warn where that can't be."""
    try:
        session = _session(path, graph, name)
        xs = drawn(graph.wiring, [x.type for x in session.get_inputs()])
        expected = [
            session.run([name], {x.name: one[k : k + 1] for x, one in zip(session.get_inputs(), xs, strict=True)})[0]
            for k in range(CHECKED)
        ]
    except ImportError:
        warn(f"{path}: not compared: ONNX Runtime is not installed (pip install onnxruntime)", stacklevel=3)
    except Exception as error:  # of ONNX Runtime, which has no base class of its own
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        warn(f"{path}: not compared: ONNX Runtime does not run this file ({first[:300]})", stacklevel=3)
    else:
        compare(str(path), found, graph.wiring, xs, np.stack(expected), trained)


def _session(path: Path, graph: Any, name: str) -> Any:
    """A session of ONNX Runtime that gives this value, which need not be an output of the file."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    what: Any = str(path)
    if name not in {o.name for o in graph.graph.output}:
        from onnx import ModelProto, ValueInfoProto

        model = ModelProto()
        model.CopyFrom(graph.model)
        model.graph.output.append(ValueInfoProto(name=name))
        what = model.SerializeToString()
    return onnxruntime.InferenceSession(what, options, providers=["CPUExecutionProvider"])


def drawn(wiring: Wiring, types: Sequence[str]) -> list[Array]:
    """Random samples of each input, in its foreign order of axes."""
    random, arrays = np.random.default_rng(0), []
    for x, axes, kind in zip(wiring.inputs, wiring.input_axes, types, strict=True):
        shape = [1] * (max(axes, default=0) + 1)
        for size, axis in zip(x.shape, axes, strict=True):
            shape[axis] = size
        shape[0] = CHECKED
        if "int" in kind:
            arrays.append(random.integers(0, 2, shape).astype(np.int64 if "64" in kind else np.int32))
        else:
            arrays.append(random.normal(size=shape).astype(np.float64 if "double" in kind else np.float32))
    return arrays


def compare(
    what: str, found: Imported, wiring: Wiring, xs: Sequence[Array], expected: Array, trained: Trained
) -> float:
    """The largest difference of predictions from the expected ones, (samples, *output with its own
    samples' axis), as a share of the largest of these, or of 1; raises SettingError if it is more
    than rounding.
    """
    own = [x.transpose(0, *axes) for x, axes in zip(xs, wiring.input_axes, strict=True)]
    inputs: Any = own[0] if len(own) == 1 else pack(own)
    outputs = found.network.predict(found.parameters, inputs, found.statistics)
    values = outputs
    if found.head == "sigmoid":
        values = 1 / (1 + np.exp(-outputs))
        if expected.size == 2 * values.size:
            values = np.concatenate([1 - values, values], axis=-1)
    elif found.head is not None:
        e = np.exp(outputs - outputs.max(axis=-1, keepdims=True))
        values = e / e.sum(axis=-1, keepdims=True)
        values = np.log(values) if found.head == "log_softmax" else values
    wanted = expected.transpose(0, *(a + 1 for a in found.axes), *(
        a + 1 for a in range(expected.ndim - 1) if a not in found.axes)).reshape(values.shape)  # fmt: skip
    difference = float(np.abs(values - wanted).max()) / max(1.0, float(np.abs(wanted).max()))
    if not difference <= TOLERANCE:
        problem = "the network as it was read predicts other numbers: they differ by up to"
        raise SettingError(f"{what}: {problem} {difference:.2g} of the largest")
    return difference


def from_torch(
    module: Any,
    input_shape: Any,
    *,
    output: int = 0,
    batch_axis: int = 0,
    task: str | None = None,
    classes: Sequence[Label] | None = None,
    mean: Numbers = 0.0,
    deviation: Numbers = 1.0,
) -> Trained:
    """A network from a module of PyTorch, with its weights to the last bit, as a trained network
    without data and without steps. It is read as it computes in evaluation (`module.eval()`), and
    its predictions are compared with the module's.

    Args:
        module: the module; its mode is the same afterwards
        input_shape: the shape of a sample as the module takes it, such as (3, 224, 224), without
            the axis of samples; or a list of shapes, one for each input; or, in place of a shape, a
            tensor of one sample, (1, ...), as for the numbers of tokens
        output: which of several outputs to read, counted from 0
        batch_axis: the axis of the samples in the module's inputs
        task, classes, mean, deviation: as for `from_onnx`

    Raises:
        SettingError: for operations that no layer here computes: all of them, with their nodes; and
            for a module that PyTorch can't export as a graph
    """
    import torch

    from chainrule.interchange.torch_graph import exported, read_graph

    examples = [_example(torch, one, batch_axis) for one in _several(torch, input_shape)]
    was_training = module.training
    module.eval()
    try:
        wiring = Wiring()
        value = read_graph(exported(module, examples), wiring, batch_axis, output)
        found = network_of(wiring, value)
        tokens = not any(x.is_floating_point() for x in examples)
        trained = trained_from(found, Meaning(task, classes, mean, deviation), type(module).__name__, tokens)
        _check_torch(torch, module, found, wiring, trained, examples, output, batch_axis)
    finally:
        module.train(was_training)
    return trained


def _several(torch: Any, given: Any) -> list[Any]:
    """One shape or tensor for each input."""
    is_one = isinstance(given, int | torch.Tensor) or (
        isinstance(given, tuple) and all(isinstance(n, int) for n in given)
    )
    several = [given] if is_one else given
    fits = isinstance(several, list | tuple) and bool(several)
    require(
        fits, f"the input shape is {given!r}; it takes a tuple of integers, a tensor, or a list with one for each input"
    )
    return list(several)


def _example(torch: Any, one: Any, batch_axis: int) -> Any:
    if isinstance(one, torch.Tensor):
        require(one.ndim > batch_axis and one.shape[batch_axis] == 1, "an example is a tensor of one sample, (1, ...)")
        return one
    shape = [one] if isinstance(one, int) else list(one)
    require(all(isinstance(n, int) and n > 0 for n in shape), f"{one!r} is no shape of a sample")
    return torch.zeros(*shape[:batch_axis], 1, *shape[batch_axis:])


def _check_torch(
    torch: Any,
    module: Any,
    found: Imported,
    wiring: Wiring,
    trained: Trained,
    examples: Any,
    output: int,
    batch_axis: int,
) -> None:
    """Compare predictions with the module's, sample by sample."""
    xs = drawn(wiring, ["float" if x.is_floating_point() else "int64" for x in examples])
    expected = []
    with torch.no_grad():
        for k in range(CHECKED):
            given = [
                torch.from_numpy(np.moveaxis(x[k : k + 1], 0, batch_axis).copy()).to(example.dtype)
                for x, example in zip(xs, examples, strict=True)
            ]
            y = module(*given)
            y = list(y.values()) if isinstance(y, dict) else y
            while isinstance(y, list | tuple):
                y = _flat(y)[output]
            expected.append(y.numpy())
    compare(type(module).__name__, found, wiring, xs, np.stack(expected), trained)


def _flat(what: Any) -> list[Any]:
    return [x for part in what for x in _flat(part)] if isinstance(what, list | tuple) else [what]
