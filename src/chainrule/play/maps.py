"""The feature maps of a network for pictures: what each channel of each layer makes of one sample.

The network is seen as rows of pictures: its input, then every layer whose output has the shape
(height, width, channels), taken together with those after it that keep its units, such as an
activation. What is the same at every step (the layers, and which positions each of them reads) is
sent once; the numbers of the sample, with the derivatives of its own loss, with every step shown.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from chainrule.arrays import Array, Shape
from chainrule.explain import Explanation
from chainrule.explain.painting import of_chain
from chainrule.explain.picture import short
from chainrule.layers import Node
from chainrule.network import Network
from chainrule.play.outcome import batch_losses, outcome, predicted_in_use
from chainrule.play.slice import batch_shown, samples_shown, step_shown
from chainrule.play.trainer import Trainer

MOST_CHANNELS = 16
"""The most channels of a row that are sent; of more, the strongest."""
MOST_CELLS = 128
"""The most units of a layer without positions that are sent; of more, the strongest."""


@dataclass
class Row:
    """A value of the network, as pictures or, without positions, as cells.

    Attributes:
        numbers: the numbers of its value: of the layer, then of those that keep its units
        moved: the numbers of values that are the same numbers in another shape
        nodes: these layers; none for the network's input
        shape: (height, width, channels), or (units,)
    """

    numbers: list[int]
    nodes: list[Node]
    shape: Shape
    moved: list[int] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The name of the layer; "input" for the network's input."""
        return self.nodes[0].name if self.nodes else "input"

    @property
    def is_map(self) -> bool:
        """Whether it has positions."""
        return len(self.shape) == 3


def is_for_pictures(network: Network) -> bool:
    """Whether a network moves windows over pictures."""
    shapes = network.graph.shapes
    over = (node for node in network.nodes if len(shapes[node.inputs[0]]) == 3)
    return len(network.input_shape) in (2, 3) and any(_lays_windows(node, shapes[node.inputs[0]]) for node in over)


def rows_of(network: Network) -> list[Row]:
    """The rows, from the input to the output; empty for a network without windows over pictures."""
    if not is_for_pictures(network):
        return []
    shape = network.input_shape
    rows = [Row([0], [], shape if len(shape) == 3 else (*shape, 1))]
    of = {0: rows[0]}
    for number, node in enumerate(network.nodes, start=1):
        before, out = of.get(node.inputs[0]), node.built.output_shape
        adds_channels = out == (*shape, 1) and node.inputs == (0,)
        keeps = len(node.inputs) == 1 and node.layer.keeps_units and before is not None and out == before.shape
        if adds_channels or (keeps and before is not None and before.numbers[-1] == node.inputs[0]):
            row = before or rows[0]
            row.numbers.append(number)
            row.nodes += [] if adds_channels else [node]
        elif len(out) == 3 or (len(out) == 1 and _computes(node, network)):
            row = Row([number], [node], out)
            rows.append(row)
        elif before is None:
            continue
        else:  # a layer that only moves numbers, such as Flatten
            row = before
            row.moved.append(number)
        of[number] = row
    return rows


def _lays_windows(node: Node, shape: Shape) -> bool:
    return node.layer.reads(shape[:-1]) is not None


def _computes(node: Node, network: Network) -> bool:
    """Whether a layer computes its outputs, rather than only moves its inputs."""
    is_combined = bool(node.built.parameters) or len(node.inputs) > 1
    return is_combined or _lays_windows(node, network.graph.shapes[node.inputs[0]])


def description(network: Network) -> list[dict[str, Any]]:
    """What the page knows of the rows before any step; empty for other networks."""
    rows, described = rows_of(network), []
    at = {number: k for k, row in enumerate(rows) for number in (*row.numbers, *row.moved)}
    for row in rows:
        node = row.nodes[0] if row.nodes else None
        described.append({
            "name": row.name, "layers": [one.name for one in row.nodes], "shape": row.shape,
            "kernels": None if node is None or not _is_convolution(node, network) else f"{node.owner}.W",
            "reads": _reads(row, network, at),
        })  # fmt: skip
    return described


def _is_convolution(node: Node, network: Network) -> bool:
    positions = network.graph.shapes[node.inputs[0]][:-1]
    return node.layer.taps(positions, (0,) * len(positions)) is not None


def _reads(row: Row, network: Network, at: dict[int, int]) -> list[dict[str, Any]]:
    """Which rows a row reads and, along both axes, which of their positions each of its own reads;
    None for all of them.
    """
    reads = []
    for number in row.nodes[0].inputs if row.nodes else ():
        layer, positions = row.nodes[0].layer, network.graph.shapes[number][:-1]
        windows, axes = layer.reads(positions) if row.is_map else None, None
        if windows is not None:
            axes = [[one.tolist() for one in axis] for axis in windows]
        elif row.is_map and positions == row.shape[:-1]:
            axes = [[[k] for k in range(n)] for n in positions]
        # Only convolutions take channels together.
        alone = axes is not None and not _is_convolution(row.nodes[0], network)
        reads.append({"row": at.get(number, 0), "axes": axes, "alone": alone})
    return reads


@dataclass(frozen=True)
class _Shown:
    """Some channels of a row: their numbers, what they hold, and how many are left out."""

    channels: list[int]
    array: Array
    others: int
    largest: float = field(default=0.0)


def _strongest(values: Array, most: int, also: list[int]) -> _Shown:
    """The channels with the largest numbers in magnitude, strongest first, and others `also`."""
    sizes = np.abs(np.nan_to_num(values)).reshape(-1, values.shape[-1])
    order = np.argsort(-sizes.mean(axis=0), kind="stable").tolist()
    also = [one for one in also if one < len(order)]
    chosen = [*also, *(one for one in order if one not in also)][:most]
    array = np.moveaxis(values, -1, 0)[chosen]
    return _Shown(chosen, array, len(order) - len(chosen), float(sizes.max(initial=0.0)))


class Maps:
    """The step that the page shows, as the feature maps of one of its samples.

    Args:
        trainer: the training; shown is the step in progress, else the last one, else the next
        sample: the number of the sample in the mini-batch
        opened: the "weight", or the "layer" and "unit", that the page explains: their channels are
            shown in any case
    """

    def __init__(self, trainer: Trainer, sample: int = 0, opened: Mapping[str, Any] | None = None) -> None:
        self.trainer, self._opened = trainer, opened or {}
        self.position, self.batch_rows, self.derivatives = step_shown(trainer)
        self.sample = min(max(sample, 0), len(self.batch_rows) - 1)
        self.batch = batch_shown(trainer, self.position, self.batch_rows)
        self.rows = rows_of(trainer.plan.network)

    def message(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """The message to the page."""
        arrays: dict[str, Array] = {"picture": self._picture()}
        rows = [self._row(k, row, arrays) for k, row in enumerate(self.rows)]
        trainer, own = self.trainer, self.trainer.own
        header = {
            "type": "maps", "step": self.position.step, "reached": self._reached(), "maps": rows,
            "phase": trainer.phase if own is None else "backward" if own.is_known else "forward",
            **samples_shown(trainer, self.batch_rows, self.sample),
            "output": self._output(), "table": [], "picture": None,
        }  # fmt: skip
        return header, arrays

    def _row(self, k: int, row: Row, arrays: dict[str, Array]) -> dict[str, Any]:
        tape, also = self.derivatives.tape, self._also(row)
        values = np.asarray(tape.values[row.numbers[-1]][self.sample], dtype=float).reshape(row.shape)
        arriving = tape.arriving[row.numbers[-1]]
        assert arriving is not None  # the step was computed with the input's derivative
        # The derivative of the sample's own loss: the batch's holds 1 / samples of it.
        slopes = np.asarray(arriving[self.sample], dtype=float).reshape(row.shape) * len(self.batch_rows)
        most = MOST_CHANNELS if row.is_map else MOST_CELLS
        result: dict[str, Any] = {}
        for name, numbers in (("values", values), ("slopes", slopes)):
            shown = _strongest(numbers, most, also)
            arrays[f"{name} {k}"] = shown.array
            result[name] = {
                "channels": shown.channels, "others": shown.others, "largest": shown.largest,
                "text": short(shown.largest, 2),
            }  # fmt: skip
        won = row.nodes[0].layer.winners(tape.of(row.nodes[0])[1]) if row.nodes and row.is_map else None
        if won is not None:
            for name in ("values", "slopes"):
                arrays[f"winners {name} {k}"] = np.moveaxis(won[self.sample], -1, 0)[result[name]["channels"]]
        return result

    def _also(self, row: Row) -> list[int]:
        """The channels of a row that the page explains something of."""
        if self._opened.get("layer") == row.name:
            return [int(self._opened["unit"])]
        found = re.fullmatch(r"(.+)\.[Wb]\[([\d, ]+)\]", str(self._opened.get("weight", "")))
        node = next((one for one in self.trainer.plan.network.nodes if found and one.name == found[1]), None)
        if found is None or node is None:
            return []
        *_, i, j = (-1, *map(int, found[2].split(",")))
        if row.nodes and row.nodes[0] is node:
            return [j]
        if node.inputs[0] in (*row.numbers, *row.moved) and i >= 0 and _is_convolution(node, self.trainer.plan.network):
            of_group = node.layer.channels_read(j, row.shape[-1])
            return [int(of_group[i])] if i < len(of_group) else []
        return []

    def _picture(self) -> Array:
        """(height, width, 1 or 3) the sample as a picture, from 0 to 255; with one channel as ink.

        Pictures of other channels show their first.
        """
        x, read = np.asarray(self.batch.x[self.sample]), self.trainer.data.sample(int(self.batch_rows[self.sample]))
        x = self.trainer.data.as_read(x) if read is not None and read.picture is not None else x
        x = np.asarray(x, dtype=float).reshape(self.rows[0].shape)
        x = x if x.shape[-1] == 3 else x[..., :1]
        low, high = float(x.min()), float(x.max())
        low, high = (min(low, 0.0), max(high, 255.0 if high > 1 else 1.0)) if x.shape[-1] == 3 else (low, high)
        return np.rint(255 * (x - low) / ((high - low) or 1.0)).astype(np.uint8)

    def _reached(self) -> list[str]:
        """The rows whose derivatives the step has computed, the last one first."""
        trainer, names = self.trainer, [row.name for row in reversed(self.rows)]
        if trainer.own is not None:
            return names if trainer.own.is_known else []
        if trainer.phase == "update":
            return names
        if trainer.phase != "backward":
            return []
        back = trainer.layers[trainer.backward_to :]
        complete = not any(node.built.parameters for node in trainer.plan.network.nodes[: trainer.backward_to])
        known = [row.name for row in self.rows if row.nodes and row.nodes[-1].name in back]
        return [name for name in names if name in known or (name == "input" and complete)]

    def _output(self) -> dict[str, Any]:
        """Prediction, target, error and loss of the sample, and the mini-batch's loss; after a step
        also the loss of its mini-batch after it.
        """
        trainer, one = self.trainer, slice(self.sample, self.sample + 1)
        last = trainer.plan.network.nodes[-1].name
        output = self.derivatives.tape.output[one]
        found = outcome(trainer, output, np.asarray(self.batch.y)[one], f"{last}[0]")
        found |= predicted_in_use(trainer, self.position, self.batch.x[one], output)
        if trainer.own is not None and not trainer.own.is_known:  # nobody has said what it is
            found |= {"target_text": "", "targets": [0.0] * len(found["targets"])}
        losses = batch_losses(trainer, self.position, self.batch, float(self.derivatives.loss))
        return {**found, "samples": len(self.batch_rows), **losses}


def pushes_on(e: Explanation) -> dict[str, Any] | None:
    """Where the sample that an explanation opens pushed a weight of a kernel, and of which row and
    channel that is; None for other weights.
    """
    found = of_chain(e)
    if found is None or not is_for_pictures(e.trace.network):
        return None
    network, number = e.trace.network, found.number
    row = next(row for row in rows_of(network) if number in (*row.numbers, *row.moved))
    return {"row": row.name, "channel": found.channel, "values": [float(f"{v:.4g}") for v in found.pushes.ravel()]}
