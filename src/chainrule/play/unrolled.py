"""A recurrent cell over its time steps: its gates and its state at each, for one sample, and
how long the derivative of the sample's loss is there.

On its way back each time step multiplies that derivative by those of a cell. Its length, step by
step, is the picture of vanishing and exploding gradients.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from chainrule.arrays import Array
from chainrule.explain.trace import Trace
from chainrule.layers import Node
from chainrule.layers.graph import CompositeCall, Graph
from chainrule.network import Network
from chainrule.play.arithmetic import slope_of
from chainrule.play.lines import Quantity, added, enclosed, products, short
from chainrule.tape import Tape

MOST_UNITS = 8
"""The units of a cell that are shown; of more, those whose states are largest."""
MOST_LINES = 2000
"""The most lines of arithmetic that are sent at once."""
STATES = ("c", "h")
"""The states of a cell, by the names of the layers that compute them; the last is its output."""


@dataclass(frozen=True)
class Scan:
    """A recurrent layer in a network.

    Attributes:
        call: the call with time steps
        times: the time steps, in the order in which they are taken
        steps: of each of them the nodes by their own names; "state" is h @ U
    """

    call: CompositeCall
    times: tuple[int, ...]
    steps: dict[int, dict[str, Node]]

    @property
    def name(self) -> str:
        """The layer's name."""
        return self.call.name

    @cached_property
    def gates(self) -> tuple[str, ...]:
        """The names of the cell's gates."""
        return tuple(self.call.layer.cell.gates)  # type: ignore[attr-defined]

    @cached_property
    def rows(self) -> tuple[str, ...]:
        """What is shown of each step: its gates, then its states."""
        first = self.steps[self.times[0]]
        return tuple(name for name in dict.fromkeys((*self.gates, *STATES)) if name in first)

    @cached_property
    def units(self) -> int:
        """The number of units of the state."""
        return int(self.call.layer.cell.units)  # type: ignore[attr-defined]

    def node(self, name: str, time: int) -> Node:
        """The node of this name at a time step."""
        return self.steps[time][name]


def scans_of(network: Network) -> list[Scan]:
    """The recurrent layers of a network, from first to last."""
    graph, found = network.graph, []
    for call in graph.calls:
        steps: dict[int, dict[str, Node]] = {}
        for node in graph.nodes[call.start : call.stop]:
            if node.time is not None:
                # The output of the last step has the name of the layer itself.
                own = node.owner.removeprefix(f"{call.name}.") if node.owner != call.name else "h"
                steps.setdefault(node.time, {}).setdefault(own, node)
        is_scan = bool(steps) and hasattr(call.layer, "cell") and all("h" in step for step in steps.values())
        if is_scan:
            found.append(Scan(call, tuple(steps), steps))
    return found


def description(network: Network) -> list[dict[str, Any]]:
    """What the page knows of the recurrent layers before any step; empty for other networks."""
    return [
        {"name": one.name, "cell": one.call.layer.word, "rows": list(one.rows), "units": one.units,
         "gates": len(one.gates),
         "times": list(one.times), "state": one.node("state", one.times[0]).owner,
         "nodes": {row: [one.node(row, time).name for time in sorted(one.times)] for row in one.rows},
         "recurrent": [one.node("state", time).name for time in sorted(one.times)]}
        for one in scans_of(network)
    ]  # fmt: skip


class Unrolled:
    """A recurrent layer, unrolled, for one sample.

    Args:
        network: the network
        scan: its recurrent layer
        tape: the step's pass
        sample: the number of the sample in the mini-batch
        samples: the number of samples in the mini-batch
    """

    def __init__(self, network: Network, scan: Scan, tape: Tape, sample: int, samples: int) -> None:
        self.scan, self._tape, self._sample, self._samples = scan, tape, sample, samples
        self._graph: Graph = network.graph
        order = sorted(scan.times)
        self.values = np.array([[self._value(scan.node(row, time)) for time in order] for row in scan.rows])
        self._deltas = np.array([self._derivative(scan.node("state", time)) for time in order])
        self.lengths = np.sqrt(np.square(self._deltas).sum(axis=-1))
        self.shown = np.sort(np.argsort(-np.abs(self.values[-1]).mean(axis=0), kind="stable")[:MOST_UNITS])

    def _value(self, node: Node) -> Array:
        return np.asarray(self._tape.values[self._graph.numbers[node.name]][self._sample], dtype=float)

    def _derivative(self, node: Node) -> Array:
        """The derivative of the sample's own loss: the batch's holds 1 / samples of it."""
        return np.asarray(self._tape.arrived(node.name)[self._sample], dtype=float) * self._samples

    def message(self, k: int, arrays: dict[str, Array], lines: bool) -> dict[str, Any]:
        """The part of the message about it: its arrays are called by its number k."""
        arrays[f"states {k}"] = self.values[:, :, self.shown]  # (rows, time, units)
        arrays[f"deltas {k}"] = self.lengths
        largest = [float(np.abs(row).max(initial=0)) for row in self.values]
        wanted = lines and self.values[:, :, self.shown].size <= MOST_LINES
        return {
            "units": self.shown.tolist(), "others": self.scan.units - len(self.shown), "largest": largest,
            "factor": self._factor(), "lines": self._lines() if wanted else [],
            "back_lines": [self._back_line(time) for time in sorted(self.scan.times)] if wanted else [],
        }  # fmt: skip

    def _factor(self) -> float | None:
        """By how much a step back multiplies the length, on average; None if that is not known."""
        order = np.argsort(np.argsort(self.scan.times))  # of each time step, its place in the scan
        known = sorted((place, length) for place, length in zip(order, self.lengths, strict=True) if length > 0)
        if len(known) < 2:
            return None
        (first, least), (last, most) = known[0], known[-1]
        return float((least / most) ** (1 / (last - first)))

    # Lines of arithmetic

    def _lines(self) -> list[list[list[str]]]:
        """The arithmetic of each number that is shown: by row, time step and unit."""
        return [
            [[self._line(row, time, int(unit)) for unit in self.shown] for time in sorted(self.scan.times)]
            for row in self.scan.rows
        ]

    def _at(self, name: str, time: int, unit: int, signed: bool = False) -> str:
        node = self.scan.node(name, time)
        value, quantity = float(self._value(node)[unit]), (f"{node.name}[{unit}]", "value")
        return enclosed(value, quantity) if signed else short(value, quantity)

    def _before(self, name: str, time: int, unit: int) -> str:
        """A state before a time step, which is 0 before the first."""
        place = self.scan.times.index(time)
        return self._at(name, self.scan.times[place - 1], unit, signed=True) if place else "0"

    def _line(self, row: str, time: int, unit: int) -> str:
        names, result = self.scan.steps[time], self._at(row, time, unit)
        if row == "c" and {"f", "i", "g"} <= set(names):
            kept = f"{self._at('f', time, unit)} × {self._before('c', time, unit)}"
            written = f"{self._at('i', time, unit)} × {self._at('g', time, unit, True)}"
            return f"c = f × c before + i × g = {kept} + {written} = {result}"
        if row == "h" and {"o", "c", "tanh_c"} <= set(names):
            opened = f"{self._at('o', time, unit)} × {self._at('tanh_c', time, unit, True)}"
            return f"h = o × tanh(c) = {opened} = {result}"
        if row == "h" and {"z", "n"} <= set(names):
            z = float(self._value(names["z"])[unit])
            new = f"{short(1 - z)} × {self._at('n', time, unit, True)}"
            return f"h = (1 − z) × n + z × h before = {new} + {short(z)} × {self._before('h', time, unit)} = {result}"
        if row == "h" and "z" in names and names["h"].layer.elementwise:
            kind, sums = names["h"].layer.kind.lower(), self._sums(time, unit)
            return f"{sums}\nh = {kind}(z) = {kind}({self._at('z', time, unit)}) = {result}"
        if f"z_{row}" in names:
            kind = names[row].layer.kind.lower()
            return f"{row} = {kind}(z) = {kind}({self._at(f'z_{row}', time, unit)}) = {result}"
        return f"{row} = {result}"

    def _back_line(self, time: int) -> str:
        """What comes back to a time step: of a simple cell with one unit as a product."""
        place, names = self.scan.times.index(time), self.scan.steps[time]
        length = short(self.lengths[time])
        if self.scan.units > 1 or not ("z" in names and names["h"].layer.elementwise):
            return f"the length of δ, the derivative of L with respect to what U adds to the gates, is {length}"
        delta = short(self._deltas[time, 0])
        if place + 1 == len(self.scan.times):
            return f"δ = f′(z) × ∂L/∂h = {delta}"
        after, (z, h) = self.scan.times[place + 1], (float(self._value(names[name])[0]) for name in ("z", "h"))
        slope, state = slope_of(names["h"], z, h), self.scan.node("state", time)
        u = float(self._tape.params[state.owner]["U"][0, 0])
        own = slope * u * self._deltas[after, 0]
        factors = f"{short(slope)} × {enclosed(u)} × {enclosed(float(self._deltas[after, 0]))}"
        more = "" if np.isclose(own, self._deltas[time, 0], rtol=1e-3, atol=1e-12) else " + the loss of this step"
        return f"δ = f′(z) × U × δ of the next step{more} = {factors}{more and ' + …'} = {delta}"

    def _sums(self, time: int, unit: int) -> str:
        """The weighted sum of a simple cell: what comes from the inputs, and from the state."""
        state = self.scan.node("state", time)
        u = self._tape.params[state.owner]["U"][:, unit]
        place = self.scan.times.index(time)
        from_inputs = f"{self._at('x', time, unit)} (x W + b)"
        if not place:
            return f"z = {from_inputs} + 0 (no state yet) = {self._at('z', time, unit)}"
        earlier = self.scan.node("h", self.scan.times[place - 1])
        pairs = list(zip(u.tolist(), self._value(earlier).tolist(), strict=True))
        of: list[tuple[Quantity, Quantity]] = [
            ((f"{state.owner}.U[{k}, {unit}]", "value"), (f"{earlier.name}[{k}]", "value")) for k in range(len(pairs))
        ]
        return f"z = {added([from_inputs, *products(pairs, of)])} = {self._at('z', time, unit)}"


def gate_view(trace: Trace, layer: str, sample: int, unit: int) -> dict[str, Any] | None:
    """The weights that add most to a gate of a cell at a time step: one of the state's and one of
    the input's. None for other layers.
    """
    graph = trace.network.graph
    for scan in scans_of(trace.network):
        place = next((t for t, names in scan.steps.items() for node in names.values() if node.name == layer), None)
        if place is None:
            continue
        own = next(name for name, node in scan.steps[place].items() if node.name == layer)
        if own not in scan.gates:
            return None
        column = scan.gates.index(own) * scan.units + unit
        found = []
        state = scan.node("state", place)
        inputs = graph.nodes[scan.call.start]
        for name, node, matrix in (("state", state, "U"), ("input", inputs, "W")):
            if matrix not in node.built.parameters:
                continue
            x = trace.tape.values[node.inputs[0]][sample]
            terms = (x if x.ndim == 1 else x[place]) * trace.tape.params[node.owner][matrix][:, column]
            found.append({"name": name, "weight": f"{node.owner}.{matrix}[{int(np.abs(terms).argmax())}, {column}]"})
        return {"lines": [], "weights": found}
    return None
