"""The lines of arithmetic that produced the numbers of a scene."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from chainrule.layers import Node
from chainrule.play.lines import NONE, added, enclosed, products, short

if TYPE_CHECKING:
    from chainrule.play.scene import Scene

PRODUCTS = 4
"""The number of samples whose products a gradient's line writes out."""


def unit_lines(scene: Scene, k: int, unit: int) -> dict[str, str]:
    """The arithmetic of a unit's z, a and delta."""
    column, numbers = scene.columns[k], scene.numbers[k]
    layer = column.dense.name
    own, z = f"{layer}[{unit}]", float(numbers.z[unit])
    weights = [(f"{layer}.W[{source}, {unit}]", "value") for source in range(len(numbers.x))]
    of = list(zip(weights, scene.inputs_of(k), strict=True))
    terms = products(zip(numbers.w[:, unit].tolist(), numbers.x.tolist(), strict=True), of)
    terms += [short(numbers.b[unit], (f"{layer}.b[{unit}]", "value"))] if numbers.b is not None else []
    z_line = f"z = {added(terms)} = {short(z, (own, 'z'))}"
    delta = float(numbers.delta[unit])
    if column.activation is None:
        return {"z_line": z_line, "delta_line": _delta_of_output(scene, unit, delta)}
    a, upstream = float(numbers.a[unit]), float(numbers.upstream[unit])
    name, slope = column.activation.layer.kind.lower(), slope_of(column.activation, z, a)
    onward = _upstream_line(scene, k, unit, upstream)
    return {
        "z_line": z_line,
        "a_line": f"a = {name}(z) = {name}({short(z, (own, 'z'))}) = {short(a, (own, 'a'))}",
        "delta_line": f"δ = {name}′(z) × ∂L/∂a = {short(slope, (own, 'slope'))} × {onward}"
        f" = {short(delta, (own, 'delta'))}",
    }


def slope_of(activation: Node, z: float, a: float) -> float:
    """An activation's derivative."""
    return float(activation.layer.derivative(np.array([z]), np.array([a]))[0])  # type: ignore[attr-defined]


def _upstream_line(scene: Scene, k: int, unit: int, upstream: float) -> str:
    """dL/da of a hidden unit: a sum over what it feeds, unless dropout stands in between."""
    activation = scene.columns[k].activation
    if k + 1 == len(scene.columns) or activation is None:
        return enclosed(upstream)
    reader, numbers = scene.columns[k + 1].dense, scene.numbers[k + 1]
    if reader.inputs[0] != scene.number(activation):
        return enclosed(upstream)
    fed = range(len(numbers.delta))
    of = [((f"{reader.name}.W[{unit}, {j}]", "value"), (f"{reader.name}[{j}]", "delta")) for j in fed]
    return f"({added(products(zip(numbers.w[unit].tolist(), numbers.delta.tolist(), strict=True), of))})"


def gradient_line(scene: Scene, place: int, name: str, k: int, source: int | None, unit: int) -> str:
    """A weight's derivative: the mean of the samples' products, the first written out."""
    column, count, tape = scene.columns[k], len(scene.rows), scene.derivatives.tape
    deltas = (tape.arrived(column.dense.name)[: PRODUCTS + 1, unit].astype(float) * count).tolist()
    # Of these, only the numbers of the sample on the stage stand there too.
    of = [(f"{column.dense.name}[{unit}]", "delta") if n == scene.sample else NONE for n in range(len(deltas))]
    few = [short(d, quantity) for d, quantity in zip(deltas, of, strict=True)]
    if source is not None:
        x = tape.values[column.dense.inputs[0]][: PRODUCTS + 1, source].tolist()
        read = scene.inputs_of(k)[source]
        few = [
            f"{d} × {enclosed(v, read if n == scene.sample else NONE)}"
            for n, (d, v) in enumerate(zip(few, x, strict=True))
        ]
    few = few if count <= PRODUCTS + 1 else [*few[:PRODUCTS], "…"]
    mean = f"({added(few)}) / {count}" if count > 1 else few[0]
    what = ("mean of " if count > 1 else "") + ("δ" if source is None else "δ × input")
    penalty = penalty_of(scene, place, float(scene.position.parameters[place]))
    more = f" + {enclosed(penalty)} (penalty)" if penalty else ""
    gradient = short(float(scene.derivatives.gradient[place]), (name, "gradient"))
    return f"∂L/∂w = {what} = {mean}{more} = {gradient}"


def penalty_of(scene: Scene, place: int, value: float) -> float:
    """What the penalties add to the derivative of a weight."""
    terms = [one.terms(scene.network.parameters, place, value) for one in scene.trainer.plan.penalties]
    return sum(part for parts in terms for _, part in parts)


def update_line(scene: Scene, name: str, value: float, gradient: float, after: float) -> str:
    """A weight before and after the step, and what lies between."""
    settings = scene.trainer.settings
    now, then = short(value, (name, "value")), short(after, (name, "next"))
    if (
        scene.trainer.run is None
        and settings.optimizer == "sgd"
        and settings.schedule == "constant"
        and not settings.clip
    ):
        rate = short(settings.learning_rate)
        return f"w − η × ∂L/∂w = {now} − {rate} × {enclosed(gradient, (name, 'gradient'))} = {then}"
    return f"w − u = {now} − {enclosed(value - after)} = {then}"


def _delta_of_output(scene: Scene, unit: int, delta: float) -> str:
    output, own = scene.output, f"{scene.columns[-1].dense.name}[{unit}]"
    result = short(delta, (own, "delta"))
    if scene.trainer.data.target.is_class and unit < len(output["predictions"]):
        p, t = output["predictions"][unit], output["targets"][unit]
        if np.isclose(p - t, delta, rtol=1e-4, atol=1e-6):
            return f"δ = ∂L/∂z = p − t = {short(p, (own, 'prediction'))} − {short(t, (own, 'target'))} = {result}"
    return f"δ = ∂L/∂z = {result}"
