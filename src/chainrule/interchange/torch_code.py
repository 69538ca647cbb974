"""Code for PyTorch: the module that a layer is there, and whole networks as a class.

Values in the class are arranged as here, with the channels last; PyTorch's modules for pictures
take them first, so axes are moved before and after these.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from chainrule.arrays import Shape
from chainrule.errors import SettingError
from chainrule.interchange.regular import regular_windows
from chainrule.layers.graph import Node
from chainrule.layers.windows import along
from chainrule.network import Network

MODULES = {
    "Dense": "Linear({inputs}, {layer.units}, {layer.bias})",
    "GateSums": "Linear({inputs}, {layer.units}, {layer.bias})",
    "StateSums": "Linear({inputs}, {layer.units}, {layer.bias})",
    "Dropout": "Dropout({layer.rate!r})", "Tanh": "Tanh()", "ReLU": "ReLU()", "LeakyReLU": "LeakyReLU({layer.slope!r})",
    "Sigmoid": "Sigmoid()", "ELU": "ELU({layer.alpha!r})", "SELU": "SELU()", "SiLU": "SiLU()",
    "Mish": "Mish()", "Softplus": "Softplus()", "Softsign": "Softsign()", "HardTanh": "Hardtanh()",
    "HardSwish": "Hardswish()", "HardSigmoid": "Hardsigmoid()", "Clip": "Hardtanh({layer.low!r}, {layer.high!r})",
    "Softmax": "Softmax(-1)", "LogSoftmax": "LogSoftmax(-1)", "LayerNorm": "LayerNorm({inputs}, {layer.epsilon!r})",
    "RMSNorm": "RMSNorm({inputs}, {layer.epsilon!r})", "Embedding": "Embedding({layer.count}, {layer.units})",
}  # fmt: skip
"""PyTorch's modules by the kind of layer."""


def modules_of(layer: Any, shape: Shape) -> list[str]:
    """The modules of a layer whose input has this shape, the last of which has its weights. Those
    for pictures take channels first. Raises SettingError where there are none.
    """
    if (make := BY_SHAPE.get(layer.kind)) is not None and (modules := make(layer, shape)) is not None:
        return modules
    if layer.kind not in MODULES:
        raise SettingError("")
    return ["nn." + MODULES[layer.kind].format(inputs=shape[-1] if shape else 1, layer=layer)]


def _convolution(layer: Any, shape: Shape) -> list[str] | None:
    d = len(shape) - 1
    if d not in (1, 2, 3):
        return None
    axes = layer.window_axes(shape[:-1])
    kernel, stride, dilation = (
        tuple(getattr(axis, name) for axis in axes) for name in ("kernel", "stride", "dilation")
    )
    before, sides = tuple(axis.before for axis in axes), [(axis.before, axis.after) for axis in axes]
    # PyTorch's own padding is the same on both sides.
    pad = [] if all(first == last for first, last in sides) else [_pad(sides)]
    arguments = f"{kernel}, {stride}, {(0,) * d if pad else before}, {dilation}, {layer.groups}, {layer.bias}"
    return [*pad, f"nn.Conv{d}d({shape[-1]}, {layer.channels}, {arguments})"]


def _pad(sides: Any) -> str:
    """Zeros beside each axis; PyTorch names those of the last axis first."""
    flat = tuple(n for side in reversed(sides) for n in side)
    return f"nn.ZeroPad{len(sides)}d({flat})"


def _convolution_transposed(layer: Any, shape: Shape) -> list[str] | None:
    d = len(shape) - 1
    if d not in (1, 2, 3):
        return None
    outputs = layer.output_axes(shape[:-1])
    sizes = [axis.inputs for axis in outputs]
    if any(axis.before != axis.after for axis in outputs):
        raise SettingError("with padding that differs before and after")
    kernel, stride, dilation, before = (
        tuple(getattr(axis, name) for axis in outputs) for name in ("kernel", "stride", "dilation", "before")
    )
    more = tuple(
        n - ((m - 1) * a.stride + a.extent - 2 * a.before) for n, m, a in zip(sizes, shape[:-1], outputs, strict=True)
    )
    if min(more) < 0:
        raise SettingError("with this padding")
    arguments = f"{kernel}, {stride}, {before}, {more}, {layer.groups}, {layer.bias}, {dilation}"
    return [f"nn.ConvTranspose{d}d({shape[-1]}, {layer.channels}, {arguments})"]


def _pool(layer: Any, shape: Shape) -> list[str] | None:
    """Pooling, by the windows that the layer says. The padding of a maximum is below every number;
    that of a mean is not counted.
    """
    d = len(shape) - 1
    if d not in (1, 2, 3):
        return None
    sizes, strides, before, after = (tuple(numbers) for numbers in regular_windows(layer, shape[:-1]))
    if layer.takes_largest:
        sides = tuple(n for side in reversed([*zip(before, after, strict=True)]) for n in side)
        pad = [f"nn.ConstantPad{d}d({sides}, -torch.inf)"] if any(sides) else []
        return [*pad, f"nn.MaxPool{d}d({sizes}, {strides})"]
    if before != after:
        raise SettingError("with padding that differs before and after")
    return [f"nn.AvgPool{d}d({sizes}, {strides}, {before}, count_include_pad=False)"]


def _adaptive(layer: Any, shape: Shape) -> list[str] | None:
    d, kind = len(shape) - 1, "Max" if layer.takes_largest else "Avg"
    parts = tuple(len(places) for places in layer.places(shape[:-1]))
    return [f"nn.Adaptive{kind}Pool{d}d({parts})"] if d in (1, 2, 3) else None


def _upsample(layer: Any, shape: Shape) -> list[str] | None:
    d = len(shape) - 1
    factors = tuple(float(n) for n in along(layer.factor, d))
    mode = {1: "linear", 2: "bilinear"}.get(d) if layer.method != "nearest" else "nearest"
    return [f"nn.Upsample(scale_factor={factors}, mode={mode!r})"] if mode and d in (1, 2, 3) else None


def _zero_pad(layer: Any, shape: Shape) -> list[str] | None:
    return [_pad(layer.sides(len(shape) - 1))] if len(shape) - 1 in (1, 2, 3) else None


def _batch_norm(layer: Any, shape: Shape) -> list[str] | None:
    if len(shape) not in (1, 2, 3, 4):
        return None
    module = f"nn.BatchNorm{max(1, len(shape) - 1)}d"
    return [f"{module}({shape[-1]}, {layer.epsilon!r}, {round(1 - layer.momentum, 12)!r})"]


BY_SHAPE: dict[str, Callable[[Any, Shape], list[str] | None]] = {
    **dict.fromkeys(("Conv", "Conv1d", "Conv2d", "Conv3d", "DepthwiseConv"), _convolution),
    **dict.fromkeys(("ConvTranspose", "ConvTranspose2d"), _convolution_transposed),
    **dict.fromkeys(("MaxPool", "AveragePool"), _pool),
    **dict.fromkeys(("AdaptiveMaxPool", "AdaptiveAveragePool"), _adaptive),
    "Upsample": _upsample, "ZeroPad": _zero_pad, "BatchNorm": _batch_norm,
    "GroupNorm": lambda layer, shape: [f"nn.GroupNorm({layer.groups}, {shape[-1]}, {layer.epsilon!r})"],
    "GELU": lambda layer, shape: ["nn.GELU('tanh')" if layer.tanh else "nn.GELU()"],
    "ChannelDropout": lambda layer, shape: (
        [f"nn.Dropout{len(shape) - 1}d({layer.rate!r})"] if 1 < len(shape) < 5 else None
    ),
}  # fmt: skip
"""The modules by the kind of layer whose input has this shape; None if there are none."""

FIRST = (
    "Conv", "Conv1d", "Conv2d", "Conv3d", "DepthwiseConv", "ConvTranspose", "ConvTranspose2d", "MaxPool", "AveragePool",
    "AdaptiveMaxPool", "AdaptiveAveragePool", "Upsample", "ZeroPad", "BatchNorm", "GroupNorm", "ChannelDropout",
)  # fmt: skip
"""Layers whose modules take channels first."""

LOOKED_UP = {"Embedding": "its rows are looked up by whole numbers"}
BORROWERS = {"TiedDense": "its weights are another layer's"}

# Whole networks


def _shape(node: Node, *_: Any) -> str:
    return f"{{0}}.reshape(len({{0}}), {', '.join(map(str, node.built.output_shape))})"


def _transposed(node: Node, shape: Shape) -> str:
    axes = node.layer.axes  # type: ignore[attr-defined]
    return f"{{0}}.permute(0, {', '.join(str(a + 1) for a in axes)})" if axes else "{0}.transpose(-1, -2)"


def _sliced(node: Node, shape: Shape) -> str:
    layer: Any = node.layer
    axis = layer.axis + 1 if layer.axis >= 0 else layer.axis
    return f"{{0}}.narrow({axis}, {layer.start}, {layer.stop - layer.start})"


def _broadcast(operator: str) -> Callable[..., str]:
    def write(node: Node, *shapes: Shape) -> str:
        rank = max(map(len, shapes))
        parts = []
        for k, shape in enumerate(shapes):
            wide = "[:" + ", None" * (rank - len(shape)) + "]" if len(shape) < rank else ""
            parts.append(f"{{{k}}}{wide}")
        return f" {operator} ".join(parts)

    return write


def _masked(node: Node, *shapes: Shape) -> str:
    if len(shapes) > 1:
        raise SettingError("with lengths")
    n, m = shapes[0][-2:]
    hidden = f" + torch.full(({n}, {m}), -1e30).triu(1)" if node.layer.causal else ""  # type: ignore[attr-defined]
    return f"({{0}}{hidden}).softmax(-1)"


def _pooled(of: str) -> Callable[..., str]:
    return lambda node, shape: f"{{0}}.{of}({tuple(range(1, len(shape)))})"


EXPRESSIONS: dict[str, Callable[..., str]] = {
    "Flatten": lambda node, shape: "{0}.flatten(1)", "Reshape": _shape, "Transpose": _transposed, "Slice": _sliced,
    "Add": _broadcast("+"), "Multiply": _broadcast("*"), "MatMul": lambda node, *_: "{0} @ {1}",
    "Concatenate": lambda node, *xs: f"torch.cat([{', '.join(f'{{{k}}}' for k in range(len(xs)))}], -1)",
    "Scale": lambda node, shape: f"{{0}} * {node.layer.factor!r}", "MaskedSoftmax": _masked,
    "PReLU": lambda node, shape: "torch.where({0} > 0, {0}, self.{owner}_alpha * {0})",
    "Sine": lambda node, shape: f"torch.sin({node.layer.frequency!r} * {{0}})",
    "GlobalAveragePool": _pooled("mean"), "GlobalMaxPool": _pooled("amax"),
    "Zeros": lambda node, shape: f"{{0}}.new_zeros(len({{0}}), {node.layer.units})",
    "UnitNorm": lambda node, shape: f"nn.functional.normalize({{0}}, dim=-1, eps={node.layer.epsilon!r})",
    "Embedding": lambda node, shape: "self.{name}({0}.long())",
    "TiedDense": lambda node, shape: "{0} @ self.{owner}.weight.T",
    "Learned": lambda node, shape: "self.{owner}_W.expand(len({0}), *self.{owner}_W.shape)",
    "Fixed": lambda node, shape: "self.{owner}_value.expand(len({0}), *self.{owner}_value.shape)",
    "LearnedPositions": lambda node, shape: f"{{0}} + self.{{owner}}_W[:{shape[0]}]",
    "Expand": lambda node, shape: "({0}" + (f"[..., {list(node.layer.on)}]" if node.layer.on is not None else "")
    + "[..., None] * self.{owner}_W + self.{owner}_b).flatten(-2)",
}  # fmt: skip
"""The value of a layer that is no module, by its kind."""

WEIGHTS = {"W": "weight", "U": "weight", "b": "bias", "scale": "weight", "offset": "bias", "mean": "running_mean",
           "variance": "running_var"}  # fmt: skip
"""The names of a module's arrays, by their names here."""


@dataclass(frozen=True)
class Code:
    """A network as a class of PyTorch.

    Attributes:
        lines: the class, `Network`
        loaded: the lines that give `network`, an instance, the arrays of `held`, which have the
            names and the order of axes that they have here
        places: where each parameter is in `network`, by its name here: "dense_1.weight"
        fixed: the layers whose numbers are not drawn, and so are in `held` alone
    """

    lines: list[str]
    loaded: list[str]
    places: dict[str, str]
    fixed: list[str]


def code_of(network: Network) -> Code:
    """A network as a class. Raises SettingError, with all layers that code for PyTorch does not
    support.
    """
    lines: tuple[list[str], list[str], list[str]] = ([], [], [])
    names, problems, places = ["x"], list[str](), dict[str, str]()
    fixed: list[str] = []
    shapes = network.graph.shapes
    for node in network.nodes:
        given = [shapes[k] for k in node.inputs]
        try:
            made, forward, loaded = _code_of(node, given, [names[k] for k in node.inputs])
            for some, added in zip(lines, (made, forward, loaded), strict=True):
                some += added
            if node.name == node.owner and node.layer.kind not in BORROWERS:
                fixed += [node.name] if node.built.statistics and node.layer.kind in EXPRESSIONS else []
                places |= {f"{node.owner}.{array}": _place(node, array) for array in node.built.parameters}
        except SettingError as error:
            problems.append(f"{node.name} ({node.layer.kind}{': ' if str(error) else ''}{error})")
        names.append(_python(node.name))
    if problems:
        count, more = len(problems), f"; and {len(problems) - 20} more" if len(problems) > 20 else ""
        what = f"{count} layer{'s' * (count > 1)}"
        raise SettingError(f"code for PyTorch does not support {what}: {'; '.join(problems[:20])}{more}")
    init, body, arrays = lines
    return Code([
        "class Network(nn.Module):",
        f'    """Takes samples of the shape {network.input_shape}, channels last, as they are prepared."""', "",
        "    def __init__(self):", "        super().__init__()", *(f"        {line}" for line in init), "",
        "    def forward(self, x):", *(f"        {line}" for line in body), f"        return {names[-1]}",
    ], arrays, places, fixed)  # fmt: skip


def module_code(network: Network, weights: str) -> str:
    """A program with a network as a class, which reads its weights from this file beside it."""
    code = code_of(network)
    dtype = "" if network.dtype == "float32" else ".double()"
    return "\n".join([
        '"""A network that chainrule trained, for PyTorch."""', "", "from pathlib import Path", "", "import torch",
        "from safetensors.torch import load_file", "from torch import nn", "", "", *code.lines, "", "",
        "def load():", '    """The network with its weights."""',
        f'    held = load_file(Path(__file__).with_name("{weights}"))', f"    network = Network(){dtype}",
        "    with torch.no_grad():", *(f"        {line}" for line in code.loaded or ["pass"]),
        "    return network.eval()", "",
    ])  # fmt: skip


def _python(name: str) -> str:
    """A layer's name as Python's."""
    own = "".join(c if c.isalnum() else "_" for c in name)
    return own if own[:1].isalpha() else f"layer_{own}"


def _code_of(node: Node, shapes: list[Shape], inputs: list[str]) -> tuple[list[str], list[str], list[str]]:
    """The lines that make a layer's modules, use them and load their weights."""
    kind, name, owner = node.layer.kind, _python(node.name), _python(node.owner)
    is_first = node.name == node.owner
    if kind in EXPRESSIONS:
        expression = EXPRESSIONS[kind](node, *shapes).format(*inputs, name=owner, owner=owner)
        made, loaded = _own_arrays(node, owner) if is_first else ([], [])
        return made, [f"{name} = {expression}"], loaded
    (shape,) = shapes
    modules = modules_of(node.layer, shape)
    value, made = inputs[0], list[str]()
    turns = kind in FIRST and len(shape) > 1
    value = f"{value}.movedim(-1, 1)" if turns else value
    for k, module in enumerate(modules):
        own = owner if k == len(modules) - 1 else f"{owner}_{k + 1}"
        made += [f"self.{own} = {module}"] if is_first else []
        value = f"self.{own}({value})"
    value += ".movedim(1, -1)" if turns else ""
    arrays = [*node.built.parameters, *node.built.statistics] if is_first else []
    loaded = [f"network.{_place(node, a)}.copy_({_turned(node, a)})" for a in arrays]
    return made, [f"{name} = {value}"], loaded


def _place(node: Node, array: str) -> str:
    """Where an array of a layer is in the class."""
    is_own = node.layer.kind in EXPRESSIONS and node.layer.kind not in LOOKED_UP
    return f"{_python(node.owner)}_{array}" if is_own else f"{_python(node.owner)}.{WEIGHTS[array]}"


def _turned(node: Node, array: str) -> str:
    """An array in the order of axes that PyTorch's module has."""
    held = f'held["{node.owner}.{array}"]'
    if array not in ("W", "U") or node.layer.kind in LOOKED_UP:
        return held
    d = len(node.built.parameters[array].shape) - 2
    if getattr(node.layer, "transposed", False):  # W has the channels in of a group, then those out of all
        groups = node.layer.groups  # type: ignore[attr-defined]
        order = ", ".join(map(str, (0, d + 1, d + 2, *range(1, d + 1))))
        return f"{held}.unflatten(-1, ({groups}, -1)).movedim(-2, 0).permute({order}).flatten(0, 1)"
    return f"{held}.permute({', '.join(map(str, (d + 1, d, *range(d))))})" if d else f"{held}.T"


def _own_arrays(node: Node, owner: str) -> tuple[list[str], list[str]]:
    """Arrays of layers that are no module."""
    if node.layer.kind in BORROWERS:
        return [], []
    if node.layer.kind in LOOKED_UP:
        module = modules_of(node.layer, node.built.output_shape)[0]
        return [f"self.{owner} = {module}"], [f'network.{owner}.weight.copy_(held["{node.owner}.W"])']
    made = [f"self.{owner}_{n} = nn.Parameter(torch.empty({p.shape}))" for n, p in node.built.parameters.items()]
    made += [f'self.register_buffer("{owner}_{n}", torch.empty({s}))' for n, (s, _) in node.built.statistics.items()]
    both = [*node.built.parameters, *node.built.statistics]
    return made, [f'network.{owner}_{n}.copy_(held["{node.owner}.{n}"])' for n in both]
