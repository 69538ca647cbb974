"""PyTorch's modules: what `torch.export` records of one, read operation by operation.

torch.export runs the module on symbols and gives a graph of PyTorch's own operations (ATen), in
which Python has left no trace. PyTorch is imported only here, when a module is read.
"""

from __future__ import annotations

import operator
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from chainrule.errors import SettingError
from chainrule.interchange import torch_arrangements  # noqa: F401, adds to the table
from chainrule.interchange.torch_operations import TABLE, Absolute, Later, Unread
from chainrule.interchange.values import Constant, Length, UnsupportedError, Value, only_value, permuted, unsupported
from chainrule.interchange.wiring import Wiring


def exported(module: Any, examples: Sequence[Any]) -> Any:
    """The graph of a module in its evaluation mode, for one sample."""
    import torch

    with warnings.catch_warnings(), _plain_attention(torch), torch.no_grad():
        warnings.simplefilter("ignore")
        try:
            program = torch.export.export(module, tuple(examples), strict=False)
            return program.run_decompositions({})
        except Exception as error:  # whatever a module's own code raises
            first = str(error).strip().splitlines() or [""]
            reason = f"{type(error).__name__}: {first[0]}"
            raise SettingError(f"PyTorch can't export this module as a graph for this input ({reason})") from error


@contextmanager
def _plain_attention(torch: Any) -> Iterator[None]:
    """Attention as separate operations, not as the one that serves inference."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def read_graph(program: Any, wiring: Wiring, batch_axis: int = 0, output: int = 0) -> Value:
    """One of the outputs of an exported graph. Raises SettingError, with all operations that no
    layer here computes.
    """
    kept, signature = _Kept(program), program.graph_signature
    values: dict[Any, Any] = {}
    problems: list[str] = []
    for node in program.graph.nodes:
        if node.op == "placeholder":
            name = node.name
            if name in kept.names:
                values[node] = kept.constant(name)
            else:
                values[node] = _input(node, wiring, batch_axis)
        elif node.op == "call_function":
            values[node] = _call(node, values, wiring, problems)
        elif node.op == "output":
            outputs = [values[y] for y in node.args[0] if y is not None]
    if problems:
        raise unsupported(problems)
    results = outputs[-len(signature.user_outputs) :]
    if not 0 <= output < len(results):
        raise SettingError(f"there is no output {output}: the module has {len(results)}, counted from 0")
    y = results[output]
    return only_value(y() if isinstance(y, Later) else y)


class _Kept:
    """The weights and buffers of an exported module, by the names of the graph's inputs."""

    def __init__(self, program: Any) -> None:
        signature = program.graph_signature
        self.names = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
        self.names |= dict(signature.inputs_to_lifted_tensor_constants)
        self.learned = set(signature.inputs_to_parameters)
        self.program, self.made = program, dict[str, Constant]()

    def constant(self, name: str) -> Constant:
        own = self.names[name]
        if own not in self.made:
            held = self.program.state_dict.get(own)
            held = self.program.constants[own] if held is None else held
            self.made[own] = Constant(_array(held), own, name in self.learned)
        return self.made[own]


def _array(tensor: Any) -> Any:
    """A tensor as an array: half precision as float32, which holds it exactly."""
    tensor = tensor.detach().cpu()
    if tensor.is_floating_point() and tensor.element_size() < 4:
        tensor = tensor.float()
    return tensor.numpy().copy()


def _input(node: Any, wiring: Wiring, batch_axis: int) -> Value:
    shape = tuple(node.meta["val"].shape)
    if batch_axis:
        order = (batch_axis, *(k for k in range(len(shape)) if k != batch_axis))
        value = wiring.input(tuple(shape[k] for k in order), False)
        return permuted(value, [order.index(k) for k in range(len(shape))])
    return wiring.input(shape, _wants_channels_last(node))


WINDOWED = (
    "conv1d", "conv2d", "conv3d", "max_pool1d", "max_pool2d", "max_pool3d", "avg_pool1d", "avg_pool2d",
    "avg_pool3d", "adaptive_avg_pool1d", "adaptive_avg_pool2d", "_native_batch_norm_legit_no_training", "batch_norm",
    "group_norm", "conv_transpose2d", "adaptive_max_pool2d", "instance_norm",
)  # fmt: skip
"""Operations whose input has its channels before its positions."""


def _wants_channels_last(node: Any) -> bool:
    """Whether what first reads an input takes it for positions and channels."""
    pending, seen = [*node.users], set()
    while pending:
        user = pending.pop(0)
        if user in seen or user.op != "call_function":
            continue
        seen.add(user)
        name = _name(user)
        if name in WINDOWED:
            return True
        if name in ("add", "mul", "sub", "div", "pad", "clone", "relu", "to", "_to_copy", "dropout", "cat", "select",
                    "unsqueeze"):  # fmt: skip
            pending += [*user.users]
    return False


def _name(node: Any) -> str:
    """The operation's name without its overload: conv2d."""
    if node.target is operator.getitem:
        return "getitem"
    return str(node.target).removeprefix("aten.").rpartition(".")[0]


def _call(node: Any, values: dict[Any, Any], wiring: Wiring, problems: list[str]) -> Any:
    """The result of an operation; what can't be read is named among the problems."""
    args = _given(node.args, values)
    kwargs = {name: _given(value, values) for name, value in node.kwargs.items()}
    name = _name(node)
    everything = _flat([*args, *kwargs.values()])
    try:
        if args and args[0] is FAILED and name == "getitem":
            return FAILED
        if name != "getitem" and any(x is FAILED for x in everything):
            if name not in TABLE:
                raise UnsupportedError("")
            return FAILED
        if name != "getitem" and (unread := [x.reason for x in everything if isinstance(x, Unread)]):
            raise UnsupportedError(unread[0])
        if name in FILLED or not any(isinstance(x, Value | Later | Length | Absolute) for x in everything):
            return _computed(node, args, kwargs)
        if name not in TABLE:
            raise UnsupportedError("")
        return TABLE[name](wiring, *args, **kwargs)
    except UnsupportedError as error:
        reason = f": {error}" if str(error) else ""
        problems.append(f"{node.name} ({name}{reason})")
    except (TypeError, ValueError, IndexError, AssertionError, AttributeError, KeyError) as error:
        problems.append(f"{node.name} ({name}: with these arguments: {error})")
    return FAILED


FILLED = ("new_zeros", "new_ones", "new_full", "new_empty", "zeros_like", "ones_like", "full_like", "sym_size")
"""Operations that use nothing of a value but its shape."""

FAILED = object()
"""The result of an operation that could not be read."""


def _given(what: Any, values: dict[Any, Any]) -> Any:
    if isinstance(what, list | tuple):
        return [_given(part, values) for part in what]
    return values[what] if hasattr(what, "op") and what in values else what


def _flat(what: Any) -> list[Any]:
    return [x for part in what for x in _flat(part)] if isinstance(what, list | tuple) else [what]


def _computed(node: Any, args: Any, kwargs: Any) -> Any:
    """What depends on no input is computed by PyTorch."""
    import torch

    learned = any(isinstance(x, Constant) and x.learned for x in _flat([*args, *kwargs.values()]))
    names = [x.name for x in _flat([*args, *kwargs.values()]) if isinstance(x, Constant) and x.name]

    def tensor(what: Any) -> Any:
        if isinstance(what, list):
            return [tensor(part) for part in what]
        if isinstance(what, Value):
            return torch.zeros(what.shape)
        return torch.from_numpy(what.array.copy()) if isinstance(what, Constant) else what

    with torch.no_grad():
        result = node.target(*tensor(list(args)), **{name: tensor(value) for name, value in kwargs.items()})

    def constant(what: Any) -> Any:
        if isinstance(what, list | tuple):
            return [constant(part) for part in what]
        return Constant(_array(what), names[0] if names else "", learned) if isinstance(what, torch.Tensor) else what

    return constant(result)
