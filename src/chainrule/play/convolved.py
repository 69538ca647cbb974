"""One step of a small convolution for one sample: a kernel on every patch of a picture, the largest
or the mean of each window of what it gives, and a unit that adds these up.

Like every scene, it holds each number at the place where it arises. The kernel is used at every
position, so the derivative of one of its weights is a sum over positions: δ there times the input
that lies under the weight.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from chainrule.arrays import Array, Shape
from chainrule.layers import Context, Node
from chainrule.layers.windows import crossed
from chainrule.play.arithmetic import penalty_of, slope_of, update_line
from chainrule.play.columns import Column
from chainrule.play.lines import Quantity, added, enclosed, products, short
from chainrule.play.scene import Scene, plot
from chainrule.play.trainer import Trainer

MOST_SIDE, MOST_KERNEL, MOST_MAP, MOST_POOLED = 6, 3, 4, 2
"""The largest sides of a picture, of a kernel, of what it gives, and of what pooling leaves of it:
every number can be shown.
"""


@dataclass(frozen=True)
class Parts:
    """The nodes of a small convolution.

    Attributes:
        conv: the convolution, from one channel to one
        activation: the activation that follows it, if any
        pool: the pooling
        dense: the output, a single unit
    """

    conv: Node
    activation: Node | None
    pool: Node
    dense: Node


def parts_of(trainer: Trainer) -> Parts | None:
    """The nodes of the network, if it is a small convolution: every number of it can be shown."""
    shape, found = trainer.data.input_shape, list[Node]()
    for k, node in enumerate(trainer.plan.network.nodes):
        if node.inputs != (k,):
            return None
        if not _only_reshapes(node, shape):
            found.append(node)
        shape = node.built.output_shape
    activation = found.pop(1) if len(found) == 4 and found[1].layer.elementwise else None
    if len(found) != 3:
        return None
    conv, pool, dense = found
    kernel, weights = (
        node.built.parameters["W"].shape if "W" in node.built.parameters else () for node in (conv, dense)
    )
    is_convolution = len(kernel) == 4 and kernel[2:] == (1, 1) and not getattr(conv.layer, "transposed", True)
    if not is_convolution or not hasattr(pool.layer, "takes_largest") or len(pool.built.output_shape) != 3:
        return None
    maps = (trainer.data.input_shape, kernel[:2], conv.built.output_shape[:2], pool.built.output_shape[:2])
    most = (MOST_SIDE, MOST_KERNEL, MOST_MAP, MOST_POOLED)
    is_small = all(max(sides) <= limit for sides, limit in zip(maps, most, strict=True))
    is_single = weights == (math.prod(pool.built.output_shape), 1) and dense.layer.output_symbol == "z"
    return Parts(conv, activation, pool, dense) if is_small and is_single else None


def _only_reshapes(node: Node, shape: Shape) -> bool:
    """Whether a layer gives its input, of this shape, another shape, and changes nothing else."""
    given = node.built.output_shape
    if node.built.parameters or given == shape or math.prod(given) != math.prod(shape):
        return False
    x = np.arange(math.prod(shape), dtype=float).reshape(1, *shape) - 1
    return np.array_equal(np.ravel(node.layer.forward({}, x, Context())[0]), x.ravel())


class ConvolvedScene(Scene):
    """The step that the stage shows, of a small convolution, seen from one of its samples.

    Args:
        parts: the nodes of the network
        trainer, sample, weight, lines: as for a Scene
    """

    def __init__(
        self, parts: Parts, trainer: Trainer, sample: int = 0, unit: str = "", weight: str = "", lines: bool = True
    ) -> None:
        self.parts = parts
        super().__init__(trainer, sample, unit, weight, lines)
        params = self.network.params(self.position.parameters, self.position.statistics)[parts.conv.owner]
        self.kernel, self.bias = params["W"][..., 0, 0], params.get("b")
        self.shape: Shape = parts.conv.built.output_shape[:-1]
        last = parts.activation or parts.conv
        self.z, self.a = (self._flat(self.values_of(self.number(node))) for node in (parts.conv, last))
        self.delta, self.upstream = (self._flat(self.derivatives_of(node)) for node in (parts.conv, last))
        self.pooled, self.arriving = (
            self._flat(both) for both in (self.values_of(self.number(parts.pool)), self.derivatives_of(parts.pool))
        )

    def _flat(self, values: Array) -> Array:
        return np.ravel(values)

    def _columns(self) -> list[Column]:
        return [Column(self.parts.dense, None)]

    def _is_whole(self) -> bool:
        return True

    def inputs_of(self, k: int) -> list[Quantity]:
        return [(self._name(self.parts.pool, cell), "a") for cell in range(len(self.pooled))]

    # Which numbers belong together

    @cached_property
    def patches(self) -> Array:
        """(positions, places) the input under every place of the kernel, at every position; -1 is
        padding.
        """
        conv: Any = self.parts.conv.layer
        rows, across = conv.window_axes(self.trainer.data.input_shape)
        return _places(rows.places, across.places, self.trainer.data.input_shape[1])

    @cached_property
    def windows(self) -> Array:
        """(cells, places) the positions in each window of the pooling; -1 is padding."""
        pool: Any = self.parts.pool.layer
        rows, across = pool.places(self.shape)
        return _places(rows, across, self.shape[1])

    @cached_property
    def winners(self) -> list[int] | None:
        """The position that is the largest of each window; None for a mean."""
        pool: Any = self.parts.pool.layer
        if not pool.takes_largest:
            return None
        won, _ = self.derivatives.tape.saved[self.number(self.parts.pool) - 1]
        return [int(position) for position in np.ravel(won[self.sample])]

    def _name(self, node: Node, place: int) -> str:
        """The name of a unit, as explanations have it: its row, its column and its channel."""
        row, column = np.unravel_index(place, node.built.output_shape[:-1])
        return f"{node.name}[{row}, {column}, 0]"

    # The message

    def message(self) -> dict[str, Any]:
        message = super().message()
        kernel = [self._kernel_weight(place) for place in range(self.kernel.size)]
        bias = [] if self.bias is None else [self._kernel_weight(None)]
        winners, own = self.winners, self.parts
        telling = int(np.abs(self.delta).argmax()) if self.delta.any() else int(self.a.argmax())
        return message | {
            "layers": [self._map(), self._pooled_layer(), *message["layers"]],
            "weights": [*kernel, *bias, *message["weights"]],
            "picture": self._picture(),
            "convolution": {
                "picture": list(self.trainer.data.input_shape), "kernel": list(self.kernel.shape),
                "map": list(self.shape), "pooled": list(own.pool.built.output_shape[:-1]),
                "pooling": "mean" if winners is None else "max", "conv": own.conv.name, "pool": own.pool.name,
                "patches": self.patches.tolist(), "windows": self.windows.tolist(), "winners": winners,
                "unit": self._name(own.conv, telling),
                "weight": max(kernel, key=lambda one: abs(np.nan_to_num(one["gradient"])))["weight"],
            },
        }  # fmt: skip

    def _reached(self) -> list[str]:
        names = super()._reached()
        trainer, own = self.trainer, self.parts
        first = trainer.phase == "update" or (trainer.phase == "backward" and self._is_at_kernel())
        return [*names, own.pool.name, own.conv.name] if first else names

    def _is_at_kernel(self) -> bool:
        return self.parts.conv.name in self.trainer.layers[self.trainer.backward_to :]

    def _map(self) -> dict[str, Any]:
        """What the kernel gives at every position, and the activation of that."""
        conv, activation = self.parts.conv, self.parts.activation
        kind = activation.layer.kind.lower() if activation else ""
        return {
            "name": conv.name, "activation": kind, "is_output": False, "plot": plot(activation, self.z),
            "units": [self._position(place) for place in range(len(self.z))],
        }  # fmt: skip

    def _position(self, place: int) -> dict[str, Any]:
        conv, activation = self.parts.conv, self.parts.activation
        z, a, delta, upstream = (float(numbers[place]) for numbers in (self.z, self.a, self.delta, self.upstream))
        name = self._name(conv, place)
        shown: dict[str, Any] = {"unit": name, "at": place, "z": z, "a": a, "delta": delta, "upstream": upstream}
        if activation is not None:
            shown["slope"] = slope_of(activation, z, a)
        if self._wants_lines(name):
            shown |= self._position_lines(name, place, shown)
        return shown

    def _position_lines(self, name: str, place: int, numbers: dict[str, Any]) -> dict[str, str]:
        """z as the patch times the kernel, row by row; a; and what comes back."""
        activation, patch = self.parts.activation, self.patches[place]
        rows: list[list[str]] = []
        for first in range(0, self.kernel.size, self.kernel.shape[1]):
            terms = [
                f"{short(self.kernel.flat[k], (self._weight_name(k), 'value'))} × "
                + enclosed(float(self.inputs[patch[k]]), (f"input[{patch[k]}]", "value"))
                for k in range(first, first + self.kernel.shape[1]) if patch[k] >= 0
            ]  # fmt: skip
            rows += [terms] if terms else []
        if self.bias is not None:
            rows[-1].append(short(self.bias[0], (self._weight_name(None), "value")))
        lines = "\n ".join([added(rows[0]), *(added(["", *terms]) for terms in rows[1:])])
        found = {"z_line": f"z = {lines} = {short(numbers['z'], (name, 'z'))}"}
        is_left_out = self.winners is not None and place not in self.winners
        why = ", as it is not the largest of its window" if is_left_out else ""
        if activation is None:
            return found | {"delta_line": f"δ = ∂L/∂z = {short(numbers['delta'], (name, 'delta'))}{why}"}
        kind, delta = activation.layer.kind.lower(), short(numbers["delta"], (name, "delta"))
        slope = short(numbers["slope"], (name, "slope"))
        a = f"a = {kind}(z) = {kind}({short(numbers['z'], (name, 'z'))}) = {short(numbers['a'], (name, 'a'))}"
        back = enclosed(numbers["upstream"], (name, "upstream"))
        return found | {"a_line": a, "delta_line": f"δ = {kind}′(z) × ∂L/∂a = {slope} × {back} = {delta}{why}"}

    def _pooled_layer(self) -> dict[str, Any]:
        """What is left of every window."""
        pool = self.parts.pool
        return {
            "name": pool.name, "activation": "", "is_output": False, "plot": None,
            "units": [self._cell(cell) for cell in range(len(self.pooled))],
        }  # fmt: skip

    def _cell(self, cell: int) -> dict[str, Any]:
        name, value, arriving = self._name(self.parts.pool, cell), float(self.pooled[cell]), float(self.arriving[cell])
        shown: dict[str, Any] = {"unit": name, "at": cell, "z": value, "a": value, "delta": arriving}
        if not self._wants_lines(name):
            return shown
        window = [int(place) for place in self.windows[cell] if place >= 0]
        of = [short(float(self.a[place]), (self._name(self.parts.conv, place), "a")) for place in window]
        result = short(value, (name, "a"))
        whole = (
            f"y = ({added(of)}) / {len(of)} = {result}" if self.winners is None
            else f"y = the largest of {', '.join(of)} = {result}"
        )  # fmt: skip
        dense, numbers = self.parts.dense, self.numbers[0]
        w = short(float(numbers.w[cell, 0]), (f"{dense.name}.W[{cell}, 0]", "value"))
        back = f"∂L/∂y = w × δ = {w} × {enclosed(float(numbers.delta[0]), (f'{dense.name}[0]', 'delta'))}"
        return shown | {"z_line": whole, "delta_line": f"{back} = {short(arriving, (name, 'delta'))}"}

    # The kernel

    def _weight_name(self, place: int | None) -> str:
        owner = self.parts.conv.owner
        if place is None:
            return f"{owner}.b[0]"
        row, column = np.unravel_index(place, self.kernel.shape)
        return f"{owner}.W[{row}, {column}, 0, 0]"

    def _kernel_weight(self, place: int | None) -> dict[str, Any]:
        """A weight of the kernel; its bias, if there is no place."""
        name = self._weight_name(place)
        at = self.network.parameters.find(name)
        value, gradient = float(self.position.parameters[at]), float(self.derivatives.gradient[at])
        shown = {
            "weight": name, "from": place, "to": -1, "layer": self.parts.conv.name, "value": value,
            "value_text": short(value), "gradient": gradient, "next": float(self.after[at]),
            "forward": None, "backward": None,
        }  # fmt: skip
        if self._wants_lines(name):
            shown["gradient_line"] = self._gradient_line(name, place, at, gradient)
            shown["next_line"] = update_line(self, name, value, gradient, float(self.after[at]))
        return shown

    def _gradient_line(self, name: str, place: int | None, at: int, gradient: float) -> str:
        """The derivative of a weight of the kernel: a sum over the positions where it is used."""
        under = np.zeros(len(self.delta), dtype=int) if place is None else self.patches[:, place]
        used = [position for position in range(len(under)) if under[position] >= 0]
        acts = [position for position in used if self.delta[position]]
        quantities = [(self._name(self.parts.conv, position), "delta") for position in acts]
        if place is None:
            terms = [short(float(self.delta[p]), of) for p, of in zip(acts, quantities, strict=True)]
            total = float(self.delta.sum())
        else:
            pairs = [(float(self.delta[p]), float(self.inputs[under[p]])) for p in acts]
            both = [(of, (f"input[{under[p]}]", "value")) for p, of in zip(acts, quantities, strict=True)]
            terms = products(pairs, both) if pairs else []
            total = math.fsum(d * x for d, x in pairs)
        still = len(used) - len(acts)
        rest = f" (δ is 0 at the other {still})" if still and acts else ""
        what = "δ" if place is None else "δ × x"
        worked = f"sum of {what} over {len(used)} positions = {added(terms) if terms else '0, for each δ is 0'}{rest}"
        penalty = penalty_of(self, at, float(self.position.parameters[at]))
        more = f" + {enclosed(penalty)} (penalty)" if penalty else ""
        result = short(gradient, (name, "gradient"))
        symbol = "∂L/∂b" if place is None else "∂L/∂w"
        if len(self.rows) == 1:
            return f"{symbol} = {worked}{more} = {result}" if terms else f"{symbol} = {worked}{more}"
        own = f"this sample's: {worked} = {short(total)}" if terms else f"this sample's: {worked}"
        return f"{own}\n{symbol} = mean over the {len(self.rows)} samples of the mini-batch{more} = {result}"


def _places(rows: Array, columns: Array, across: int) -> Array:
    """(windows, places) the numbers, in row-major order, of what the windows along two axes hold
    together: (outputs, places) of each axis; -1 is padding.
    """
    outputs = crossed([np.arange(len(rows)), np.arange(len(columns))])
    row, column = (
        axis[at][:, crossed([np.arange(rows.shape[1]), np.arange(columns.shape[1])])[:, k]]
        for k, (axis, at) in enumerate(((rows, outputs[:, 0]), (columns, outputs[:, 1])))
    )
    return np.where((row >= 0) & (column >= 0), row * across + column, -1)
