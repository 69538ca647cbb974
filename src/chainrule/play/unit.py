"""What the inspector shows of a unit: its inputs, its delta, its outputs on the training set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from chainrule.arrays import Shape
from chainrule.explain import svg
from chainrule.explain.chain import ChainLink, open_unit
from chainrule.explain.page import opened_link
from chainrule.explain.patch import drawn, patch_of
from chainrule.explain.picture import letter
from chainrule.explain.trace import Trace
from chainrule.play.attended import cell_view, layers_of
from chainrule.play.slice import OWN, batch_shown
from chainrule.play.trainer import Trainer
from chainrule.play.unrolled import gate_view
from chainrule.tape import Unit

MOST_INPUTS = 8
"""The maximum number of inputs that are listed, largest products first; the others are summed."""
INSPECTOR = 330
"""The width of a drawing in CSS pixels."""
BINS = 24
"""Bars of the histogram of a unit's outputs."""


def unit_view(
    trainer: Trainer, layer: str, unit: int, sample: int, position: Sequence[int] | None = None
) -> dict[str, Any]:
    """The message about a unit in the step that the page shows, for one sample of its mini-batch.

    Args:
        trainer: the training
        layer: the name of the unit's layer
        unit: the number of the unit in its layer
        sample: the number of the sample in the mini-batch; the last one if there are fewer
        position: where, if the unit has positions; by default where its delta is largest

    Raises SettingError for an unknown unit.
    """
    trace = trainer.trace() if trainer.own is None else _trace_of_own(trainer)
    sample = min(max(sample, 0), len(trace.rows) - 1)
    link = open_unit(trace, layer, unit, sample, position)
    *at, _ = link.unit.index[1:]
    return {
        "type": "explanation", "step": trainer.step, "unit": f"{layer}[{unit}]", "row": link.row,
        "number": trainer.number_of(link.row) if link.row >= 0 else 0,
        "position": at, "called": str(link.unit),
        "patch": _patch(trace, link), "label": link.unit.label,
        "multiplied": cell_view(trace, layer, sample, tuple(at), unit) or gate_view(trace, layer, sample, unit),
        "samples": len(trace.rows), "delta": link.delta * len(trace.rows), "delta_in_mean": link.delta,
        "levels": opened_link(link, called=lambda unit: unit.label), **_inputs(trainer, trace, layer, unit, sample),
        "outputs": _outputs(trainer, trace, layer, unit, (sample, *at)),
    }  # fmt: skip


def _trace_of_own(trainer: Trainer) -> Trace:
    """The user's own sample, unit by unit."""
    samples = batch_shown(trainer, trainer.position, OWN)
    return Trace(trainer.problem, trainer.position, samples, OWN)


def _patch(trace: Trace, link: ChainLink) -> str:
    """The patch times the kernel that a unit of a convolution adds up, drawn; empty for others."""
    found = patch_of(trace, link.unit)
    if found is None:
        return ""
    content, height = drawn(found, letter(trace, link.unit), INSPECTOR - 8, 4)
    return svg.document(f"{link.unit}: patch times kernel", INSPECTOR, height, [content])


def _inputs(trainer: Trainer, trace: Trace, layer: str, unit: int, sample: int) -> dict[str, Any]:
    """The products that a unit of a Dense layer adds up; nothing for other layers."""
    node, params = trace.network.graph.node(layer), trace.tape.params
    if "W" not in node.built.parameters or len(node.built.output_shape) != 1:
        return {"inputs": []}
    own, x = params[node.owner], trace.tape.values[node.inputs[0]][sample]
    w = own["W"][:, unit]
    products = x * w
    order = np.argsort(-np.abs(products), kind="stable")
    names = trainer.samples.features or trainer.data.input_names
    before = node.inputs[0] and trace.network.nodes[node.inputs[0] - 1].name
    return {
        "inputs": [
            {
                "name": f"{before}[{k}]" if before else names[k] if names else f"input[{k}]",
                "of": f"{node.owner}.W[{k}, {unit}]", "input": float(x[k]),
                "weight": float(w[k]), "product": float(products[k]),
            }
            for k in order[:MOST_INPUTS].tolist()
        ],
        "others": max(len(order) - MOST_INPUTS, 0), "rest": float(products[order[MOST_INPUTS:]].sum()),
        "bias": float(own["b"][unit]) if "b" in own else None,
        "z": float(trace.tape.values[trace.network.graph.numbers[layer]][sample, unit]),
    }  # fmt: skip


def _outputs(trainer: Trainer, trace: Trace, layer: str, unit: int, place: Shape) -> dict[str, Any]:
    """A histogram of what the unit gives for the samples of the training set: of the activation
    that follows its layer, if one does; nothing for attention, whose columns are positions.
    """
    if any(one.weights.name == layer for one in layers_of(trace.network)):
        return {}
    number = trace.network.graph.numbers[layer]
    follows = [node for node in trace.network.nodes if node.layer.elementwise and number in node.inputs]
    name = follows[0].name if follows else layer
    values = trainer.unit_outputs(np.asarray(trainer.some().x))[name][..., unit].ravel()
    values = values[np.isfinite(values)].astype(float)
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
    if high - low < 1e-9:
        low, high = low - 0.5, high + 0.5
    return {
        "layer": name, "low": low, "high": high, "counts": np.histogram(values, BINS, (low, high))[0].tolist(),
        "zero": float(np.mean(values == 0)) if values.size else 0.0,
        "here": trace.tape.value(Unit(name, (*place, unit))),
    }  # fmt: skip
