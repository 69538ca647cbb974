"""What the page is sent: once what a network and its data are, then frames of numbers as it learns.

A frame is binary: the length of a JSON header (4 bytes, little-endian), the header, then its arrays one after the
other. The header's `arrays` names each with its type and shape; each begins at a multiple of 4.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

from chainrule import distributions, generators
from chainrule.arrays import Array
from chainrule.distributions import Distribution, Fans
from chainrule.layers import Node
from chainrule.play.trainer import SHOWN, Trainer

EXTENT = 1.3
"""The plane is shown from -EXTENT to EXTENT in both directions."""
FINE, COARSE = 50, 20
"""Points a side at which the prediction, and each unit's output, are drawn."""
MOST_SHOWN = 16
"""Units of a layer that are drawn."""


def packed(header: Mapping[str, Any], arrays: Mapping[str, Array]) -> bytes:
    """A frame of a header and arrays of float32 or uint8."""
    told, parts, place = [], [], 0
    for name, array in arrays.items():
        content = np.ascontiguousarray(array).tobytes()
        kind = "f4" if array.dtype == np.float32 else "u1"
        told.append({"name": name, "kind": kind, "shape": list(array.shape), "at": place})
        padding = -len(content) % 4
        parts.append(content + b"\0" * padding)
        place += len(content) + padding
    head = json.dumps(finite({**header, "arrays": told})).encode()
    head += b" " * (-len(head) % 4)
    return struct.pack("<I", len(head)) + head + b"".join(parts)


def finite(value: Any) -> Any:
    """The same with null where a number is not finite, as JSON wants it."""
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value


def plane_grid(side: int) -> Array:
    """(side * side, 2) points of the plane, row by row from the top."""
    line = np.linspace(-EXTENT, EXTENT, side)
    across, along = np.meshgrid(line, line[::-1])
    return np.column_stack([across.ravel(), along.ravel()])


def built(trainer: Trainer) -> tuple[dict[str, Any], dict[str, Array]]:
    """What the network and its data are; sent whenever they change."""
    data, plan, points = trainer.data, trainer.plan, trainer.samples
    layout = plan.network.parameters
    layers = []
    for node in plan.network.nodes:
        layers.append({
            "name": node.name, "kind": node.layer.kind, "units": int(node.built.output_shape[-1]),
            "parameters": [
                {"name": entry.name, "start": entry.start, "shape": list(entry.shape)}
                for entry in layout.entries if entry.owner == node.name
            ],
        })  # fmt: skip
    header = {
        "type": "built",
        "layers": layers,
        "task": data.task,
        "classes": [str(label) for label in data.target.classes],
        "target": data.target.name,
        "data": data.name,
        "inputs": list(data.input_shape),
        "input_names": list(points.features) or data.input_names,
        "plane": points.is_plane,
        "extent": EXTENT,
        "samples": [len(data.training.x), 0 if data.validation is None else len(data.validation.x)],
        "loss": type(plan.loss).__name__,
        "loss_formula": plan.loss.formula[0],
        "optimizer": [type(stage).__name__ for stage in plan.optimizer.stages],
        "weights": layout.size,
        "last_step": trainer.last_step,
        "steps_per_epoch": trainer.steps_per_epoch,
        "draws": [_draw(trainer, node) for node in plan.network.nodes if "W" in node.built.parameters],
    }
    arrays: dict[str, Array] = {}
    if points.points is not None and points.held is not None:
        assert data.validation is not None
        arrays = {
            "points": points.points.astype(np.float32),
            "held": points.held.astype(np.float32),
            "targets": _targets(data.training.y),
            "held_targets": _targets(data.validation.y),
        }
    return header, arrays


def _targets(y: Array) -> Array:
    return np.asarray(y, dtype=np.float32).reshape(len(y), -1)[:, 0]


def drawn_from(node: Node) -> tuple[Distribution, Fans]:
    """What a layer's weights are drawn from, and the fans that scale the draw."""
    parameter = node.built.parameters["W"]
    return parameter.distribution or distributions.glorot_uniform(), parameter.fans


def _draw(trainer: Trainer, node: Node) -> dict[str, Any]:
    """The weights that a layer started with, as a histogram, over that of many draws from the same distribution."""
    network = trainer.plan.network
    distribution, fans = drawn_from(node)
    drawn = network.parameters.view(network.draw(trainer.plan.seed), f"{node.owner}.W")
    repeats = max(1, min(40, 20_000 // drawn.size))
    many = np.concatenate([
        distribution.draw(generators.generator(k, "density"), drawn.shape, fans).ravel()
        for k in range(repeats)
    ])  # fmt: skip
    widest = float(max(np.abs(many).max(), np.abs(drawn).max())) or 1.0
    edges = np.linspace(-widest, widest, 31)
    return {
        "layer": node.name,
        "distribution": type(distribution).__name__,
        "widest": widest,
        "drawn": (np.histogram(drawn, edges)[0] / drawn.size).tolist(),
        "density": (np.histogram(many, edges)[0] / many.size).tolist(),
    }


def frame(trainer: Trainer, view: Mapping[str, Any], full: bool) -> tuple[dict[str, Any], dict[str, Array]]:
    """Where training stands, and what the page draws of it. `full` asks for what changes slowly, too."""
    last, pending = trainer.last, trainer.pending
    header: dict[str, Any] = {
        "type": "frame",
        "step": trainer.step,
        "epoch": trainer.step / trainer.steps_per_epoch,
        "phase": trainer.phase,
        "layer": trainer.layers[trainer.backward_to] if trainer.phase == "backward" else None,
        "batch_loss": None if last is None else last.loss,
        "loss": trainer.mean_loss(),
    }
    arrays: dict[str, Array] = {"weights": trainer.position.parameters.astype(np.float32)}
    if pending is not None:
        _add_pending(trainer, header, arrays)
    elif last is not None:
        arrays["gradients"] = last.gradient.astype(np.float32)
        arrays["updates"] = last.update.astype(np.float32)
    if last is not None:
        header["gradient_sizes"] = {
            name: float(np.sqrt(np.mean(np.square(array, dtype=np.float64))))
            for name, array in trainer.plan.network.parameters.views(last.gradient)
        }
    if full:
        header["held"] = trainer.measure()
        if header["loss"] is None:
            header["loss"] = trainer.training_loss()
        _add_output(trainer, arrays)
        if view.get("histogram"):
            header["histogram"] = histogram(trainer, str(view["histogram"]))
    if trainer.samples.is_plane:
        _add_plane(trainer, arrays, full)
    return header, arrays


def _add_pending(trainer: Trainer, header: dict[str, Any], arrays: dict[str, Array]) -> None:
    """What the phase shows of a step under way: values as of the forward pass, deltas as far as backward came."""
    pending, order = trainer.pending, ("weights", "forward", "loss", "backward")
    assert pending is not None
    reached = order.index(trainer.phase)
    header["rows"] = [int(row) for row in pending.rows[:8]]
    if reached >= 1:
        outputs = zip(trainer.layers, pending.derivatives.tape.values[1:], strict=True)
        header["values"] = {place: _mean(output) for place, output in outputs}
    if reached >= 2:
        header["batch_loss"] = pending.derivatives.loss
    if reached >= 3:
        shown = trainer.layers[trainer.backward_to :]
        header["deltas"] = {place: _mean(pending.derivatives.tape.arrived(place), absolute=True) for place in shown}
        gradients = np.zeros_like(pending.derivatives.gradient)
        for entry in trainer.plan.network.parameters.entries:
            if entry.owner in shown:
                gradients[entry.place] = pending.derivatives.gradient[entry.place]
        arrays["gradients"] = gradients.astype(np.float32)


def _mean(array: Array, absolute: bool = False) -> list[float]:
    rows = array.reshape(-1, array.shape[-1])
    return [float(v) for v in (np.abs(rows) if absolute else rows).mean(axis=0)[:64]]


def _add_plane(trainer: Trainer, arrays: dict[str, Array], full: bool) -> None:
    """The prediction over the plane, and every unit's output."""
    prediction = trainer.predict(trainer.samples.prepare(_GRID[FINE]))
    arrays["prediction"] = _shade(trainer, prediction)
    if not full:
        return
    outputs = trainer.unit_outputs(trainer.samples.prepare(_GRID[COARSE]))
    for place, output in outputs.items():
        shown = output[:, :MOST_SHOWN].T
        largest = np.abs(shown).max(axis=1, keepdims=True)
        scaled = np.divide(shown, largest, out=np.zeros_like(shown), where=largest > 0)
        arrays[f"unit {place}"] = np.round(127.5 + 127.5 * np.nan_to_num(scaled)).astype(np.uint8)


_GRID = {side: plane_grid(side) for side in (FINE, COARSE)}


def _shade(trainer: Trainer, prediction: Array) -> Array:
    """The prediction as 0 to 255: the probability of the second class, or where a quantity lies in its range."""
    loss = trainer.plan.loss
    if trainer.data.task == "classification":
        shares = loss.probabilities(prediction)
        value = shares[:, 1] if shares is not None else loss.classes(prediction).astype(float)
    else:
        value = loss.point(prediction).reshape(len(prediction), -1)[:, 0] / 4 + 0.5  # the target has deviation 1
    return np.round(255 * np.clip(np.nan_to_num(value, nan=0.5), 0, 1)).astype(np.uint8)


def _add_output(trainer: Trainer, arrays: dict[str, Array]) -> None:
    """For data off the plane: a confusion matrix, or predicted beside true."""
    held = trainer.data.validation
    if trainer.samples.is_plane or held is None:
        return
    part = held.thinned(1000)
    prediction, target = trainer.predict(part.x), trainer.data.target
    if trainer.data.task == "classification":
        counts = np.zeros((target.width, target.width), dtype=np.float32)
        np.add.at(counts, (np.asarray(part.y, dtype=np.intp), trainer.plan.loss.classes(prediction)), 1)
        arrays["confusion"] = counts
        return
    truth = target.decode(np.asarray(part.y).reshape(len(part.y), -1))[:, 0]
    guess = target.decode(trainer.plan.loss.point(prediction).reshape(len(part.y), -1))[:, 0]
    arrays["true"], arrays["predicted"] = truth.astype(np.float32), guess.astype(np.float32)


def histogram(trainer: Trainer, layer: str) -> dict[str, Any]:
    """How a layer's weights, outputs and gradients are spread."""
    found: dict[str, Any] = {"layer": layer}
    layout, last = trainer.plan.network.parameters, trainer.last
    own = [entry for entry in layout.entries if entry.owner == layer]
    arrays: dict[str, Array] = {}
    if own:
        arrays["weights"] = np.concatenate([trainer.position.parameters[entry.place] for entry in own])
        if last is not None:
            arrays["gradients"] = np.concatenate([last.gradient[entry.place] for entry in own])
    outputs = trainer.unit_outputs(trainer.data.training.thinned(SHOWN).x)
    if layer in outputs:
        arrays["activations"] = outputs[layer].ravel()
    for name, array in arrays.items():
        good = array[np.isfinite(array)]
        widest = float(np.abs(good).max()) if good.size else 1.0
        counts, edges = np.histogram(good, bins=30, range=(-widest or -1.0, widest or 1.0))
        found[name] = {"counts": counts.tolist(), "low": float(edges[0]), "high": float(edges[-1])}
    return found
