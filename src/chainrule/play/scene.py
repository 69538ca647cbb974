"""One step of learning for one sample: every number that the stage shows, at the place where it
arises.

The page reveals the numbers phase by phase and computes none of them. All come from the step's own
forward and backward pass, in the precision of training. A derivative of a unit belongs to the
sample: it is that of the sample's own loss. A derivative of a weight is the mini-batch's, as
gradient descent uses it: the mean of the samples' products.
"""

from __future__ import annotations

import re
from functools import cached_property
from typing import Any

import numpy as np

from chainrule.arrays import Array
from chainrule.data import Sample
from chainrule.layers import Node
from chainrule.play.arithmetic import gradient_line, slope_of, unit_lines, update_line
from chainrule.play.columns import Column, Focus, columns, is_drawn_whole, strongest
from chainrule.play.lines import NONE, Quantity, short
from chainrule.play.outcome import outcome, predicted_in_use
from chainrule.play.slice import batch_shown, next_parameters, samples_shown, step_shown
from chainrule.play.trainer import Trainer

PLOT_POINTS = 33
"""Points of the small plots of an activation."""


class Numbers:
    """What one sample makes of a column: (m,) inputs x, (m, n) weights w, and (n,) the rest.

    Attributes:
        x: what the column reads
        w, b: its weights and biases
        z, a: the weighted sums, and the activation's outputs; a is z without an activation
        delta: the derivatives of the sample's own loss with respect to z
        upstream: those with respect to a
    """

    def __init__(self, scene: Scene, column: Column) -> None:
        params = scene.network.params(scene.position.parameters, scene.position.statistics)[column.dense.owner]
        self.w, self.b = params["W"], params.get("b")
        self.x = scene.values_of(column.dense.inputs[0])
        self.z = scene.values_of(scene.number(column.dense))
        self.delta = scene.derivatives_of(column.dense)
        last = column.activation or column.dense
        self.a, self.upstream = scene.values_of(scene.number(last)), scene.derivatives_of(last)


class Scene:
    """The step that the stage shows, seen from one of its samples.

    A network that is not drawn whole is seen from one of its units.

    Args:
        trainer: the training; shown is the step in progress, else the last one, else the next
        sample: the number of the sample in the mini-batch
        unit: the unit to look from, such as "dense_1[5]" or "input[3]"; if empty or unknown, the
            output unit of the sample's class
        weight: a weight to show in any case, with the unit that it leads to
        lines: whether all lines of arithmetic are wanted, or only those of this unit and weight
    """

    def __init__(self, trainer: Trainer, sample: int = 0, unit: str = "", weight: str = "", lines: bool = True) -> None:
        self._lines, self._selected = lines, (unit, weight)
        self.trainer, self.network = trainer, trainer.plan.network
        position, rows, derivatives = step_shown(trainer)
        self.position, self.rows, self.derivatives = position, rows, derivatives
        self.sample = min(max(sample, 0), len(rows) - 1)
        self.batch = batch_shown(trainer, position, rows)
        self.columns = self._columns()
        self.after = next_parameters(trainer, position, rows)
        self.numbers = [Numbers(self, column) for column in self.columns]
        self.inputs = np.ravel(self.batch.x[self.sample])
        self.focus = None if self._is_whole() else self._focus(unit, weight)

    def message(self) -> dict[str, Any]:
        """The message to the page."""
        trainer, shown, own = self.trainer, self._shown(), self.trainer.own
        layers = [k for k in range(len(self.columns)) if shown[k + 1]]
        return {
            "type": "scene",
            "step": self.position.step,
            "phase": trainer.phase if own is None else "backward" if own.is_known else "forward",
            "reached": self._reached(),
            **samples_shown(trainer, self.rows, self.sample),
            "inputs": [self._input(unit) for unit in shown[0]],
            "layers": [self._layer(k, shown[k + 1]) for k in layers],
            "weights": self._weights(),
            "output": self.output,
            "table": self._table(),
            **self._surroundings(),
        }

    # What is shown

    def _columns(self) -> list[Column]:
        """The columns of units."""
        return columns(self.trainer)

    def _is_whole(self) -> bool:
        """Whether every unit and weight is shown."""
        return is_drawn_whole(self.trainer)

    def inputs_of(self, k: int) -> list[Quantity]:
        """Which quantities a column's inputs are on the stage, as far as they are there."""
        size = len(self.numbers[k].x)
        if k == 0:
            return [(f"input[{source}]", "value") for source in range(size)]
        before = self.columns[k - 1]
        if before.activation is None or self.columns[k].dense.inputs[0] != self.number(before.activation):
            return [NONE] * size
        return [(f"{before.dense.name}[{source}]", "a") for source in range(size)]

    def _shown(self) -> list[list[int]]:
        """The units that are shown: of the inputs, and of each column."""
        counts = [len(self.inputs), *(column.units for column in self.columns)]
        if self.focus is None:
            return [list(range(count)) for count in counts]
        around = {
            self.focus.level - 1: list(self.focus.reads),
            self.focus.level: [self.focus.unit],
            self.focus.level + 1: list(self.focus.feeds),
        }
        return [around.get(level, []) for level in range(len(counts))]

    def _focus(self, unit: str, weight: str) -> Focus:
        """The unit that the network is seen from."""
        names = ["input", *(column.dense.name for column in self.columns)]
        match = re.fullmatch(r"(.+)\[(\d+)\]", unit)
        level, number = -1, 0
        if match and match[1] in names:
            level, number = names.index(match[1]), int(match[2])
        edge = re.fullmatch(r"(.+)\.[Wb]\[(?:(\d+), )?(\d+)\]", weight)
        ends = []
        if edge and edge[1] in names:
            to = names.index(edge[1])
            ends = [(to, int(edge[3])), *([(to - 1, int(edge[2]))] if edge[2] else [])]
            if (level, number) not in ends:
                level, number = ends[0]
        counts = [len(self.inputs), *(column.units for column in self.columns)]
        if level < 0 or number >= counts[level]:
            level, number, ends = len(self.columns), self._telling(), []
        also = {at: one for at, one in ends if one < counts[at]}
        return Focus(level, number, *self._neighbours(level, number, also))

    def _neighbours(self, level: int, unit: int, also: dict[int, int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """What a unit reads and feeds, the strongest first; and what must be among it, by level."""
        reads, feeds = self._products(level, unit)
        kept = [[also[at]] if at in also else [] for at in (level - 1, level + 1)]
        return (
            strongest(reads, *kept[0]) if reads is not None else (),
            strongest(feeds, *kept[1]) if feeds is not None else (),
        )

    def _products(self, level: int, unit: int) -> tuple[Array | None, Array | None]:
        """(m,) weight × input for all that a unit reads; (n,) weight × delta for all it feeds."""
        reads = self.numbers[level - 1].w[:, unit] * self.numbers[level - 1].x if level else None
        feeds = self.numbers[level].w[unit] * self.numbers[level].delta if level < len(self.columns) else None
        return reads, feeds

    def _telling(self) -> int:
        """The output unit of the sample's class, or the one with the largest derivative."""
        delta = self.numbers[-1].delta
        if self.trainer.data.target.is_class and len(delta) > 1:
            return min(int(np.ravel(np.asarray(self.batch.y))[self.sample]), len(delta) - 1)
        return int(np.abs(np.nan_to_num(delta)).argmax())

    def _surroundings(self) -> dict[str, Any]:
        """For a network that is not shown whole: the unit in focus, the sums of what is left out,
        and the values and deltas of all units, by layer.
        """
        if self.focus is None:
            return {"focus": None, "strips": [], "picture": None}
        level, unit = self.focus.level, self.focus.unit
        sums = {}
        for name, every, shown in zip(
            ("reads", "feeds"), self._products(level, unit), (self.focus.reads, self.focus.feeds), strict=True
        ):
            if every is not None and len(every) > len(shown):
                rest = float(np.delete(every, list(shown)).sum())
                sums[name] = {"count": len(every) - len(shown), "sum": rest}
        strips = [{"name": "input", "values": _rounded(self.inputs), "deltas": None}]
        strips += [
            {"name": column.dense.name, "values": _rounded(one.a), "deltas": _rounded(one.delta)}
            for column, one in zip(self.columns, self.numbers, strict=True)
        ]
        name = self.columns[level - 1].dense.name if level else "input"
        return {
            "focus": {"unit": f"{name}[{unit}]", "of_inputs": level == 1, **sums},
            "strips": strips,
            "largest": {
                "values": max(float(np.abs(self.inputs).max()), *(float(np.abs(one.a).max()) for one in self.numbers)),
                "deltas": max(float(np.abs(one.delta).max()) for one in self.numbers),
            },
            "picture": self._picture(),
        }

    # The parts

    def _input(self, unit: int) -> dict[str, Any]:
        name, value = self.input_name(unit), float(self.inputs[unit])
        raw = (self._read.values or {}).get(name) if self._read else None
        before = float(raw) if isinstance(raw, int | float) and not isinstance(raw, bool) else None
        before = None if before is None or abs(before - value) <= 1e-6 else before
        text = short(value) if before is None else f"{short(value)} (scaled from {short(before)})"
        return {
            "unit": f"input[{unit}]", "name": name, "value": value, "value_text": text,
            "raw": before,
        }  # fmt: skip

    def _table(self) -> list[list[str]]:
        """The name and value of every input; empty for pictures."""
        if len(self.trainer.data.input_shape) > 1:
            return []
        return [[one["name"], one["value_text"]] for one in map(self._input, range(len(self.inputs)))]

    def input_name(self, unit: int) -> str:
        """The name of an input: a feature, a column, or a place in the picture."""
        shape = self.trainer.data.input_shape
        if len(shape) > 1:
            return f"pixel {', '.join(str(k) for k in np.unravel_index(unit, shape))}"
        names = self.trainer.samples.features or self.trainer.data.input_names
        return str(names[unit]) if names else f"x{unit + 1}"

    @cached_property
    def _read(self) -> Sample | None:
        """The sample as it was read, if that is known."""
        own = self.trainer.own
        row = int(self.rows[self.sample]) if own is None else own.row
        return None if row is None else self.trainer.data.sample(row)

    def _picture(self) -> dict[str, Any] | None:
        """The sample as a picture, if it is one: its shape, and each pixel's darkness in [0, 1]."""
        shape = self.trainer.data.input_shape
        if len(shape) != 2:
            return None
        picture = None if self._read is None else self._read.picture
        ink = np.ravel(self.inputs if picture is None or picture.shape != shape else picture).astype(float)
        ink = ink - ink.min()
        return {"shape": list(shape), "ink": _rounded(ink / (ink.max() or 1.0))}

    def _reached(self) -> list[str]:
        """The columns whose derivatives the step has computed, the last one first."""
        trainer = self.trainer
        names = [column.dense.name for column in reversed(self.columns)]
        if trainer.own is not None:
            return names if trainer.own.is_known else []
        if trainer.phase == "backward":
            return [name for name in names if name in trainer.layers[trainer.backward_to :]]
        return names if trainer.phase == "update" else []

    def _layer(self, k: int, units: list[int]) -> dict[str, Any]:
        column = self.columns[k]
        kind = column.activation.layer.kind.lower() if column.activation else ""
        return {
            "name": column.dense.name, "activation": kind, "is_output": k == len(self.columns) - 1,
            "units": [self._unit(k, unit) for unit in units], "plot": plot(column.activation, self.numbers[k].z),
        }  # fmt: skip

    def _unit(self, k: int, unit: int) -> dict[str, Any]:
        column, numbers = self.columns[k], self.numbers[k]
        z, delta = float(numbers.z[unit]), float(numbers.delta[unit])
        shown = {"unit": f"{column.dense.name}[{unit}]", "at": unit, "z": z, "delta": delta}
        if self._wants_lines(str(shown["unit"])):
            shown |= unit_lines(self, k, unit)
        if column.activation is None:
            return shown
        a, upstream = float(numbers.a[unit]), float(numbers.upstream[unit])
        slope = slope_of(column.activation, z, a)
        return {**shown, "a": a, "slope": slope, "upstream": upstream}

    def _wants_lines(self, name: str) -> bool:
        return self._lines or name in self._selected

    # Weights

    def _weights(self) -> list[dict[str, Any]]:
        """The weights and biases that are shown: value, the mini-batch's derivative, next value."""
        layout, focus = self.network.parameters, self.focus
        if focus is None:
            return [
                self._weight(entry.start + j, k)
                for k, column in enumerate(self.columns)
                for entry in layout.entries if entry.owner == column.dense.name
                for j in range(entry.size)
            ]  # fmt: skip
        names = [column.dense.name for column in self.columns]
        shown = []
        if focus.level:
            name = names[focus.level - 1]
            wanted = [f"{name}.W[{one}, {focus.unit}]" for one in focus.reads]
            wanted += [f"{name}.b[{focus.unit}]"] if self.numbers[focus.level - 1].b is not None else []
            shown = [self._weight(layout.find(one), focus.level - 1) for one in wanted]
        for one in focus.feeds:
            shown.append(self._weight(layout.find(f"{names[focus.level]}.W[{focus.unit}, {one}]"), focus.level))
        return shown

    def _weight(self, place: int, k: int) -> dict[str, Any]:
        column, numbers = self.columns[k], self.numbers[k]
        entry = self.network.parameters.entry_at(place)
        index = [int(i) for i in np.unravel_index(place - entry.start, entry.shape)]
        unit, source = index[-1], index[0] if len(index) > 1 else None
        value, gradient = float(self.position.parameters[place]), float(self.derivatives.gradient[place])
        name = f"{entry.name}[{', '.join(map(str, index))}]"
        shown = {
            "weight": name, "from": source, "to": unit, "layer": column.dense.name, "value": value,
            "value_text": short(value), "gradient": gradient, "next": float(self.after[place]),
            "forward": None if source is None else value * float(numbers.x[source]),
            "backward": None if source is None else value * float(numbers.delta[unit]),
        }  # fmt: skip
        if self._wants_lines(name):
            shown["gradient_line"] = gradient_line(self, place, name, k, source, unit)
            shown["next_line"] = update_line(self, name, value, gradient, float(self.after[place]))
        return shown

    # The output

    @cached_property
    def output(self) -> dict[str, Any]:
        """Prediction, target, error and loss of the sample, and the mini-batch's loss."""
        one = slice(self.sample, self.sample + 1)
        unit, y = f"{self.columns[-1].dense.name}[0]", np.asarray(self.batch.y)[one]
        found = outcome(self.trainer, self.derivatives.tape.output[one], y, unit)
        if self.trainer.own is not None and not self.trainer.own.is_known:
            found["target_text"] = ""  # nobody has said what it is
        losses = {"batch_loss": float(self.derivatives.loss), "batch_loss_after": self._loss_after()}
        in_use = predicted_in_use(self.trainer, self.position, self.batch.x[one], self.derivatives.tape.output[one])
        return {**found, **in_use, "samples": len(self.rows), **losses}

    def _loss_after(self) -> float:
        """The loss of the same mini-batch after the step."""
        problem = self.trainer.timeline.problem_at(self.position.step)
        context = problem.context(self.position.step)
        with np.errstate(all="ignore"):
            return problem.total_loss(self.after, self.batch, self.position.statistics, context)

    # One sample's numbers

    def number(self, node: Node) -> int:
        """The number of a node's value on the tape."""
        return self.network.graph.numbers[node.name]

    def values_of(self, number: int) -> Array:
        """(units,) a value on the tape, for the sample."""
        return np.asarray(self.derivatives.tape.values[number][self.sample], dtype=float)

    def derivatives_of(self, node: Node) -> Array:
        """(units,) the derivative of the sample's own loss: the batch's holds 1 / samples of it."""
        return np.asarray(self.derivatives.tape.arrived(node.name)[self.sample], dtype=float) * len(self.rows)


def plot(activation: Node | None, z: Array) -> dict[str, Any] | None:
    """The graph of an activation, over a range that holds every z of the sample."""
    if activation is None:
        return None
    widest = max(3.0, float(np.abs(z).max()))
    widest = widest if np.isfinite(widest) else 3.0
    places = np.linspace(-widest, widest, PLOT_POINTS)
    return {"z": places.tolist(), "a": activation.layer.value(places).tolist()}  # type: ignore[attr-defined]


def _rounded(array: Array) -> list[float]:
    """The numbers with four figures, which is enough for colours."""
    return [float(f"{number:.4g}") for number in array.tolist()]
