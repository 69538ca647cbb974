"""The messages to the page: a description of the network and its data, then frames as it trains.

A message is binary: the length of a JSON header (4 bytes, little-endian), the header, and then the
arrays one after another. The header's `arrays` lists each array's name, type, shape and offset;
each begins at a multiple of 4 bytes.
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
from chainrule.losses.base import rows_of
from chainrule.play import maps, sequence
from chainrule.play.columns import columns
from chainrule.play.lens import has_scene
from chainrule.play.trainer import PHASES, Trainer
from chainrule.special import expit
from chainrule.training.threshold import decide

EXTENT = 1.3
"""The plane is shown from -EXTENT to EXTENT in both directions."""
FINE, COARSE = 50, 20
"""Grid points per side for the network's prediction, and for the output of each unit."""
MANY = 200_000
"""The number of draws that show the density of a distribution."""
MOST_SHOWN = 16
"""The maximum number of units of a layer whose outputs over the plane are drawn."""

Message = tuple[dict[str, Any], dict[str, Array]]
"""The header and the arrays of a message."""


def pack(header: Mapping[str, Any], arrays: Mapping[str, Array]) -> bytes:
    """The bytes of a message; arrays of uint8 stay as they are, all others become float32."""
    entries, contents, offset = [], [], 0
    for name, array in arrays.items():
        kind = "u1" if array.dtype == np.uint8 else "f4"
        content = array.astype(f"<{kind}").tobytes()
        content += b"\0" * (-len(content) % 4)
        entries.append({"name": name, "kind": kind, "shape": list(array.shape), "at": offset})
        contents.append(content)
        offset += len(content)
    head = _json({**header, "arrays": entries}).encode()
    head += b" " * (-len(head) % 4)
    return struct.pack("<I", len(head)) + head + b"".join(contents)


def _json(header: Mapping[str, Any]) -> str:
    """The header as JSON. Looking for numbers that are not finite is slow: only if need be."""
    try:
        return json.dumps(header, allow_nan=False, default=lambda value: value.item())
    except ValueError:
        return json.dumps(finite(header))


def finite(value: Any) -> Any:
    """A copy with null for every infinite number and NaN, neither of which JSON has."""
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value


def plane_grid(side: int) -> Array:
    """(side * side, 2) a grid of points of the plane, row by row from the top."""
    line = np.linspace(-EXTENT, EXTENT, side)
    x1, x2 = np.meshgrid(line, line[::-1])
    return np.column_stack([x1.ravel(), x2.ravel()])


def description(trainer: Trainer) -> Message:
    """The description of the network and its data, sent whenever they change."""
    data, plan, samples = trainer.data, trainer.plan, trainer.samples
    layout, nodes = plan.network.parameters, plan.network.nodes
    header = {
        "type": "built",
        "layers": [
            {
                "name": node.name, "kind": node.layer.kind, "symbol": node.layer.output_symbol,
                "units": int(*node.built.output_shape[-1:] or (1,)),
                "parameters": [
                    {"name": entry.name, "start": entry.start, "shape": entry.shape}
                    for entry in layout.entries if entry.owner == node.name
                ],
            }
            for node in nodes
        ],
        "task": data.task,
        "classes": [str(label) for label in data.target.classes],
        "target": data.target.name,
        "threshold": trainer.threshold,
        "data": data.name,
        "inputs": data.input_shape,
        "input_names": samples.features or data.input_names,
        "plane": samples.is_plane,
        "extent": EXTENT,
        "samples": [len(data.training.x), 0 if data.validation is None else len(data.validation.x)],
        "measured": len(trainer.measured(data.training).x),
        "loss": type(plan.loss).__name__,
        "loss_formula": plan.loss.formula[0],
        "optimizer": [type(stage).__name__ for stage in plan.optimizer.stages],
        "weights": layout.size,
        "last_step": trainer.last_step,
        "scene": has_scene(trainer),
        "drawable": trainer.drawable,
        "maps": maps.description(plan.network),
        "sequence": sequence.description(trainer),
        "network": trainer.settings.network,
        "steps_per_epoch": trainer.steps_per_epoch,
        "draws": [_draw(trainer, node) for node in nodes if "W" in node.built.parameters],
    }  # fmt: skip
    if samples.points is None or samples.held_out is None:
        return header, {}
    assert data.validation is not None
    return header, {
        "points": samples.points, "held": samples.held_out,
        "targets": _targets(data.training.y), "held_targets": _targets(data.validation.y),
    }  # fmt: skip


def _targets(y: Array) -> Array:
    """(samples,) the first column of the targets."""
    return np.asarray(y).reshape(len(y), -1)[:, 0]


def weight_distribution(node: Node) -> tuple[Distribution, Fans]:
    """The distribution of a layer's initial weights, and the fans that scale it."""
    parameter = node.built.parameters["W"]
    return parameter.distribution or distributions.glorot_uniform(), parameter.fans


def _draw(trainer: Trainer, node: Node) -> dict[str, Any]:
    """Histograms of a layer's initial weights, and of many draws from the same distribution."""
    network = trainer.plan.network
    distribution, fans = weight_distribution(node)
    drawn = network.parameters.view(network.draw(trainer.plan.seed), f"{node.owner}.W")
    generator = generators.generator(0, "density")
    shape, repeats = ((MANY,), 1) if distribution.independent else (drawn.shape, max(1, min(400, MANY // drawn.size)))
    many = np.concatenate([distribution.draw(generator, shape, fans).ravel() for _ in range(repeats)])
    widest = float(max(np.abs(many).max(), np.abs(drawn).max())) or 1.0
    edges = np.linspace(-widest, widest, 31)
    return {
        "layer": node.name,
        "distribution": distribution.words,
        "widest": widest,
        "drawn": (np.histogram(drawn, edges)[0] / drawn.size).tolist(),
        "density": (np.histogram(many, edges)[0] / many.size).tolist(),
    }


def frame(trainer: Trainer, view: Mapping[str, Any], full: bool) -> Message:
    """The state of training, and what the page draws of it.

    Args:
        trainer: the training
        view: what the page shows; "histogram" is the name of a layer, or empty
        full: whether to include what is costly and changes slowly: metrics, the outputs of units
            and the histogram
    """
    last, pending = trainer.last, trainer.pending
    header: dict[str, Any] = {
        "type": "frame",
        "step": trainer.step,
        "epoch": trainer.step / trainer.steps_per_epoch,
        "phase": trainer.phase,
        "edits": trainer.edits,
        "layer": trainer.layers[trainer.backward_to] if trainer.phase == "backward" else None,
        "batch_loss": None if last is None else last.loss,
        "loss": trainer.training_loss() if full else None,
    }
    arrays: dict[str, Array] = {"weights": trainer.position.parameters}
    if pending is not None:
        _add_pending(trainer, header, arrays)
    elif last is not None:
        arrays |= {"gradients": last.gradient, "updates": last.update}
    if last is not None:
        header["gradient_sizes"] = {
            name: float(np.sqrt(np.mean(np.square(array, dtype=np.float64))))
            for name, array in trainer.plan.network.parameters.views(last.gradient)
        }
    if full:
        header["held"] = trainer.measure()
        if each := trainer.measure_each():
            header["held_targets"] = [one.as_json() for one in each]
        _add_output(trainer, arrays)
        if view.get("histogram"):
            header["histogram"] = histogram(trainer, str(view["histogram"]))
    if trainer.samples.is_plane:
        _add_plane(trainer, arrays)
        if view.get("lens") == "plane":
            header["unit_scale"] = _add_units(trainer, arrays)
    return header, arrays


def _add_pending(trainer: Trainer, header: dict[str, Any], arrays: dict[str, Array]) -> None:
    """Add what the phases so far of the step in progress have computed."""
    pending, reached = trainer.pending, PHASES.index(trainer.phase)
    assert pending is not None
    derivatives = pending.derivatives
    header["rows"] = [int(row) for row in pending.rows[:8]]
    if reached >= PHASES.index("forward"):
        outputs = zip(trainer.layers, derivatives.tape.values[1:], strict=True)
        header["values"] = {layer: _unit_means(output) for layer, output in outputs}
    if reached >= PHASES.index("loss"):
        header["batch_loss"] = derivatives.loss
    if reached >= PHASES.index("backward"):
        shown = trainer.layers[trainer.backward_to :]
        header["deltas"] = {layer: _unit_means(np.abs(derivatives.tape.arrived(layer))) for layer in shown}
        arrays["gradients"] = np.zeros_like(derivatives.gradient)
        for entry in trainer.plan.network.parameters.entries:
            if entry.owner in shown:
                arrays["gradients"][entry.place] = derivatives.gradient[entry.place]


def _unit_means(array: Array) -> list[float]:
    """The mean over all axes but the last, for up to 64 units."""
    units = array.shape[-1] if array.ndim > 1 else 1
    return [float(mean) for mean in array.reshape(-1, units).mean(axis=0)[:64]]


def _add_plane(trainer: Trainer, arrays: dict[str, Array]) -> None:
    """Add the prediction over the plane."""
    arrays["prediction"] = _shade(trainer, trainer.predict(trainer.samples.prepare(_GRID[FINE])))


def _add_units(trainer: Trainer, arrays: dict[str, Array]) -> float:
    """Add what each unit gives over the plane, as 0 to 255 for -scale to scale; one scale for all.

    Of the last layer it is what the loss makes of it: the probabilities of the classes, if any.

    Returns:
        the scale: the largest magnitude, rounded up to 1, 2 or 5 times a power of ten
    """
    outputs = trainer.unit_outputs(trainer.samples.prepare(_GRID[COARSE]))
    last = trainer.layers[-1]
    probabilities = trainer.plan.loss.output_probabilities(outputs[last])
    if probabilities is not None:
        outputs[last] = probabilities
    units = [column.activation or column.dense for column in columns(trainer)]
    shown = {node.name: np.nan_to_num(outputs[node.name][:, :MOST_SHOWN].T) for node in units}
    scale = _round_up(max(float(np.abs(one).max()) for one in shown.values()))
    for name, one in shown.items():
        arrays[f"unit {name}"] = np.round(127.5 + 127.5 * one / scale).astype(np.uint8)
    return scale


def _round_up(number: float) -> float:
    """The next of ..., 0.5, 1, 2, 5, 10, ..."""
    power = 10.0 ** np.floor(np.log10(max(number, 1e-6)))
    return float(next(step for step in (power, 2 * power, 5 * power, 10 * power) if number <= step * (1 + 1e-6)))


_GRID = {side: plane_grid(side) for side in (FINE, COARSE)}


def _shade(trainer: Trainer, prediction: Array) -> Array:
    """The prediction as 0 to 255: the probability of the second class or the first label, or a
    number from -2 to 2.
    """
    loss = trainer.plan.loss
    if trainer.data.target.is_class:
        probabilities = loss.probabilities(prediction)
        value = probabilities[:, 1] if probabilities is not None else loss.classes(prediction).astype(float)
    elif trainer.data.task == "multilabel":
        value = expit(prediction[:, 0])
    else:
        value = _targets(loss.point(prediction)) / 4 + 0.5  # the target is standardized
    return np.round(255 * np.clip(np.nan_to_num(value, nan=0.5), 0, 1)).astype(np.uint8)


def _add_output(trainer: Trainer, arrays: dict[str, Array]) -> None:
    """Add, for data outside the plane, a confusion matrix, or predicted and true values; of labels
    those of the first, with its probability.
    """
    # Of a text the page shows what the network writes.
    if trainer.samples.is_plane or trainer.data.validation is None or trainer.data.target.tokens:
        return
    samples, target, loss = trainer.data.validation.thinned(1000), trainer.data.target, trainer.plan.loss
    prediction, y = trainer.predict(np.asarray(samples.x)), np.asarray(samples.y)
    if target.positions:
        prediction, y = rows_of(prediction, y)
    if trainer.data.target.is_class:
        arrays["confusion"] = np.zeros((target.width, target.width))
        np.add.at(arrays["confusion"], (y.astype(np.intp), decide(loss, prediction, trainer.threshold)), 1)
    elif trainer.data.task == "multilabel":
        arrays["true"], arrays["predicted"] = y[:, 0], expit(prediction[:, 0])
    else:
        for name, values in (("true", y), ("predicted", loss.point(prediction))):
            arrays[name] = target.decode(np.asarray(values).reshape(len(values), -1))[:, 0]


def histogram(trainer: Trainer, layer: str) -> dict[str, Any]:
    """Histograms of a layer's weights, gradients and outputs, as far as it has them."""
    result: dict[str, Any] = {"layer": layer}
    last = trainer.last
    entries = [entry for entry in trainer.plan.network.parameters.entries if entry.owner == layer]
    arrays: dict[str, Array] = {}
    if entries:
        arrays["weights"] = np.concatenate([trainer.position.parameters[entry.place] for entry in entries])
        if last is not None:
            arrays["gradients"] = np.concatenate([last.gradient[entry.place] for entry in entries])
    outputs = trainer.unit_outputs(np.asarray(trainer.some().x))
    if layer in outputs:
        arrays["activations"] = outputs[layer].ravel()
    for name, array in arrays.items():
        values = array[np.isfinite(array)]
        widest = (float(np.abs(values).max()) if values.size else 1.0) or 1.0
        counts, edges = np.histogram(values, bins=30, range=(-widest, widest))
        result[name] = {"counts": counts.tolist(), "low": float(edges[0]), "high": float(edges[-1])}
    return result
