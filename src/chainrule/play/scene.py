"""One step of learning for one sample: every number that the stage shows, at the place where it
arises, and the line of arithmetic that produced it.

The page reveals the numbers phase by phase and computes none of them. All come from the step's own
forward and backward pass, in the precision of training. A derivative of a unit belongs to the
sample: it is that of the sample's own loss. A derivative of a weight is the mini-batch's, as
gradient descent uses it: the mean of the samples' products.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.arrays import Array
from chainrule.backprop import Derivatives
from chainrule.engine import Position
from chainrule.engine.numpy import NumpyEngine
from chainrule.layers import Node
from chainrule.play.trainer import Trainer

MOST_UNITS = 40
"""The maximum number of units, inputs included, of a network that the stage draws whole."""
PLOT_POINTS = 33
"""Points of the small plots of an activation."""
SLICE_POINTS = 61
"""Points of the loss along one weight."""


@dataclass(frozen=True)
class Column:
    """A Dense layer with the activation that follows it: a column of units on the stage.

    Attributes:
        dense: the node of the Dense layer
        activation: the node of its activation; None if there is none
    """

    dense: Node
    activation: Node | None


def columns(trainer: Trainer) -> list[Column]:
    """The columns of units, from first to last."""
    nodes = trainer.plan.network.nodes
    dense = [k for k, node in enumerate(nodes) if "W" in node.built.parameters]
    after = [nodes[k + 1] if k + 1 < len(nodes) and nodes[k + 1].layer.elementwise else None for k in dense]
    return [Column(nodes[k], node) for k, node in zip(dense, after, strict=True)]


def is_drawn_whole(trainer: Trainer) -> bool:
    """Whether the stage draws every unit and weight of the network."""
    shape = trainer.data.input_shape
    units = sum(column.dense.built.output_shape[-1] for column in columns(trainer))
    return len(shape) == 1 and shape[0] + units <= MOST_UNITS


class Scene:
    """The step that the stage shows, seen from one of its samples.

    Args:
        trainer: the training; shown is the step in progress, else the last one, else the next
        sample: the number of the sample in the mini-batch
    """

    def __init__(self, trainer: Trainer, sample: int = 0) -> None:
        self.trainer, self.network = trainer, trainer.plan.network
        position, rows, derivatives = _step_shown(trainer)
        self.position, self.rows, self.derivatives = position, rows, derivatives
        self.sample = min(max(sample, 0), len(rows) - 1)
        self.batch = trainer.data.training.take(rows)
        self.columns = columns(trainer)
        self.after = _next_parameters(trainer, position, rows)

    def message(self) -> dict[str, Any]:
        """The message to the page."""
        trainer = self.trainer
        return {
            "type": "scene",
            "step": self.position.step,
            "phase": trainer.phase,
            "reached": self._reached(),
            "rows": [int(row) for row in self.rows],
            "sample": self.sample,
            "inputs": self._inputs(),
            "layers": [self._layer(k) for k in range(len(self.columns))],
            "weights": self._weights(),
            "output": self._output(),
        }

    # The parts

    def _inputs(self) -> list[dict[str, Any]]:
        names = self.trainer.samples.features or self.trainer.data.input_names
        x = self.batch.x[self.sample]
        return [
            {
                "unit": f"input[{k}]", "name": (name := names[k] if names else f"x{k + 1}"), "value": float(value),
                "value_text": self._read(name, float(value)),
            }
            for k, value in enumerate(x)
        ]  # fmt: skip

    def _read(self, name: str, value: float) -> str:
        """An input's value, and what it was before it was scaled."""
        sample = self.trainer.data.sample(int(self.rows[self.sample]))
        raw = None if sample is None or sample.values is None else sample.values.get(name)
        scaled = isinstance(raw, float) and abs(raw - value) > 1e-6
        return f"{short(value)} (scaled from {short(raw)})" if scaled else short(value)

    def _reached(self) -> int:
        """The first column whose derivatives the step has computed."""
        trainer = self.trainer
        if trainer.phase == "update":
            return 0
        if trainer.phase != "backward":
            return len(self.columns)
        names = trainer.layers[trainer.backward_to :]
        return next(k for k, column in enumerate([*self.columns, None]) if column is None or column.dense.name in names)

    def _layer(self, k: int) -> dict[str, Any]:
        column = self.columns[k]
        kind = column.activation.layer.kind.lower() if column.activation else ""
        units = [self._unit(k, unit) for unit in range(column.dense.built.output_shape[-1])]
        return {"name": column.dense.name, "activation": kind, "units": units, "plot": self._plot(k)}

    def _unit(self, k: int, unit: int) -> dict[str, Any]:
        column = self.columns[k]
        z, delta = self._value(column.dense, unit), self._derivative(column.dense, unit)
        inputs = self.derivatives.tape.values[column.dense.inputs[0]][self.sample]
        params = self.network.params(self.position.parameters, self.position.statistics)[column.dense.owner]
        w, b = params["W"][:, unit], params.get("b")
        products = [f"{short(weight)} × {enclosed(x)}" for weight, x in zip(w, inputs, strict=True)]
        products += [short(b[unit])] if b is not None else []
        shown = {
            "unit": f"{column.dense.name}[{unit}]",
            "z": z,
            "delta": delta,
            "z_line": f"z = {added(products)} = {short(z)}",
        }
        if column.activation is None:
            return {**shown, "delta_line": self._delta_of_output(unit, delta)}
        a, upstream = self._value(column.activation, unit), self._derivative(column.activation, unit)
        slope = float(column.activation.layer.derivative(np.array([z]), np.array([a]))[0])  # type: ignore[attr-defined]
        name = column.activation.layer.kind.lower()
        onward = self._upstream_line(k, unit, upstream)
        return {
            **shown, "a": a, "slope": slope, "upstream": upstream,
            "a_line": f"a = {name}(z) = {name}({short(z)}) = {short(a)}",
            "delta_line": f"δ = {name}′(z) × ∂L/∂a = {short(slope)} × {onward} = {short(delta)}",
        }  # fmt: skip

    def _upstream_line(self, k: int, unit: int, upstream: float) -> str:
        """dL/da of a hidden unit: a sum over what it feeds, unless dropout stands in between."""
        reader, activation = self.columns[k + 1].dense, self.columns[k].activation
        if activation is None or reader.inputs[0] != self._number(activation):
            return enclosed(upstream)
        params = self.network.params(self.position.parameters, self.position.statistics)
        onward = params[reader.owner]["W"][unit]
        return f"({added([f'{short(w)} × {enclosed(self._derivative(reader, j))}' for j, w in enumerate(onward)])})"

    def _plot(self, k: int) -> dict[str, Any] | None:
        """The graph of a column's activation, over a range that holds every z of the batch."""
        column = self.columns[k]
        if column.activation is None:
            return None
        widest = max(3.0, float(np.abs(self.derivatives.tape.values[self._number(column.dense)][self.sample]).max()))
        widest = widest if np.isfinite(widest) else 3.0
        z = np.linspace(-widest, widest, PLOT_POINTS)
        return {"z": z.tolist(), "a": column.activation.layer.value(z).tolist()}  # type: ignore[attr-defined]

    def _weights(self) -> list[dict[str, Any]]:
        """Every weight and bias: its value, the mini-batch's derivative, and its next value."""
        shown = []
        for column in self.columns:
            for entry in self.network.parameters.entries:
                if entry.owner == column.dense.name:
                    shown += [self._weight(entry.start + j, column) for j in range(entry.size)]
        return shown

    def _weight(self, place: int, column: Column) -> dict[str, Any]:
        name = self.network.parameters.name_of(place)
        entry = self.network.parameters.entry_at(place)
        index = np.unravel_index(place - entry.start, entry.shape)
        unit, tape = int(index[-1]), self.derivatives.tape
        value, gradient = float(self.position.parameters[place]), float(self.derivatives.gradient[place])
        deltas = np.asarray(tape.arrived(column.dense.name), dtype=float)[:, unit] * len(self.rows)
        x = tape.values[column.dense.inputs[0]][:, index[0]] if len(index) > 1 else np.ones(len(deltas))
        after = float(self.after[place])
        products = [
            f"{short(d)} × {enclosed(v)}" if len(index) > 1 else short(d) for d, v in zip(deltas, x, strict=True)
        ]
        few = products if len(products) <= 5 else [*products[:4], "…"]
        mean = f"({added(few)}) / {len(products)}" if len(products) > 1 else few[0]
        what = ("mean of " if len(products) > 1 else "") + ("δ × input" if len(index) > 1 else "δ")
        terms = [one.terms(self.network.parameters, place, value) for one in self.trainer.plan.penalties]
        penalty = sum(part for parts in terms for _, part in parts)
        more = f" + {enclosed(penalty)} (penalty)" if penalty else ""
        return {
            "weight": name, "from": int(index[0]) if len(index) > 1 else None, "to": unit, "layer": column.dense.name,
            "value": value, "value_text": short(value), "gradient": gradient, "next": after,
            "gradient_line": f"∂L/∂w = {what} = {mean}{more} = {short(gradient)}",
            "next_line": self._update_line(value, gradient, after),
        }  # fmt: skip

    def _update_line(self, value: float, gradient: float, after: float) -> str:
        settings = self.trainer.settings
        if (
            self.trainer.run is None
            and settings.optimizer == "sgd"
            and settings.schedule == "constant"
            and not settings.clip
        ):
            rate = short(settings.learning_rate)
            return f"w − η × ∂L/∂w = {short(value)} − {rate} × {enclosed(gradient)} = {short(after)}"
        return f"w − u = {short(value)} − {enclosed(value - after)} = {short(after)}"

    def _output(self) -> dict[str, Any]:
        """Prediction, target, error and loss of the sample, and the mini-batch's loss."""
        loss, target = self.trainer.plan.loss, self.trainer.data.target
        tape, one = self.derivatives.tape, slice(self.sample, self.sample + 1)
        y = np.asarray(self.batch.y)[one]
        probabilities = loss.probabilities(tape.output[one])
        value = float(loss.samples(tape.output[one], y)[0])
        result: dict[str, Any] = {"loss": value, "samples": len(self.rows)}
        result |= {"batch_loss": float(self.derivatives.loss), "batch_loss_after": self._loss_after()}
        if probabilities is None:
            prediction, wanted = float(np.ravel(loss.point(tape.output[one]))[0]), float(np.ravel(y)[0])
            result |= {"predictions": [prediction], "targets": [wanted], "names": [target.name]}
            result["loss_line"] = f"L(y, t) = L({short(prediction)}, {short(wanted)}) = {short(value)}"
        elif tape.output.shape[1] == 1:
            prediction, wanted = float(probabilities[0, 1]), float(np.ravel(y)[0])
            result |= {"predictions": [prediction], "targets": [wanted], "names": [f"class {target.classes[1]}"]}
            result["prediction_line"] = (
                f"p = sigmoid(z) = sigmoid({short(tape.output[one].item())}) = {short(prediction)}"
            )
            of = ("p", prediction) if wanted == 1 else ("(1 − p)", 1 - prediction)
            result["loss_line"] = _loss_line(value, *of)
        else:
            hot = np.eye(probabilities.shape[1])[int(np.ravel(y)[0])]
            result |= {"predictions": probabilities[0].tolist(), "targets": hot.tolist()}
            result["names"] = [f"class {label}" for label in target.classes]
            right = int(np.ravel(y)[0])
            result["prediction_line"] = (
                f"p = softmax(z): p of class {target.classes[right]} = {short(probabilities[0, right])}"
            )
            result["loss_line"] = _loss_line(value, f"p of class {target.classes[right]}", probabilities[0, right])
        result["target_text"] = self._target_text(result["targets"])
        errors = [p - t for p, t in zip(result["predictions"], result["targets"], strict=True)]
        return {**result, "errors": errors}

    def _loss_after(self) -> float:
        """The loss of the same mini-batch after the step."""
        problem = self.trainer.timeline.problem_at(self.position.step)
        context = problem.context(self.position.step)
        with np.errstate(all="ignore"):
            return problem.total_loss(self.after, self.batch, self.position.statistics, context)

    def _target_text(self, targets: list[float]) -> str:
        target = self.trainer.data.target
        if self.trainer.data.task == "classification":
            number = int(np.ravel(np.asarray(self.batch.y))[self.sample])
            return f"{target.name} {target.classes[number]}"
        return f"{target.name} {short(targets[0])}"

    def _delta_of_output(self, unit: int, delta: float) -> str:
        output = self._output()
        if self.trainer.data.task == "classification" and unit < len(output["predictions"]):
            p, t = output["predictions"][unit], output["targets"][unit]
            if np.isclose(p - t, delta, rtol=1e-4, atol=1e-6):
                return f"δ = ∂L/∂z = p − t = {short(p)} − {t:g} = {short(delta)}"
        return f"δ = ∂L/∂z = {short(delta)}"

    # Single numbers

    def _number(self, node: Node) -> int:
        return self.network.graph.numbers[node.name]

    def _value(self, node: Node, unit: int) -> float:
        return float(self.derivatives.tape.values[self._number(node)][self.sample, unit])

    def _derivative(self, node: Node, unit: int) -> float:
        """The derivative of the sample's own loss: the batch's loss holds 1 / samples of it."""
        return float(self.derivatives.tape.arrived(node.name)[self.sample, unit]) * len(self.rows)


def _step_shown(trainer: Trainer) -> tuple[Position, Array, Derivatives]:
    """The position before the step that the stage shows, its rows, and its derivatives."""
    if trainer.pending is not None:
        return trainer.position, trainer.pending.rows, trainer.pending.derivatives
    if trainer.last is not None and trainer.phase == "update":
        position, rows = trainer.last.before, trainer.last.rows
    else:
        position, rows = trainer.position, trainer.next_rows()
    batch = trainer.data.training.take(rows)
    with np.errstate(all="ignore"):
        problem = trainer.timeline.problem_at(position.step)
        derivatives, _ = NumpyEngine(problem).look(position, batch, wants_input=True)
    return position, rows, derivatives


def _next_parameters(trainer: Trainer, position: Position, rows: Array) -> Array:
    """The parameters after the step."""
    if trainer.last is not None and trainer.last.before is position:
        return trainer.last.after.parameters
    with np.errstate(all="ignore"):
        batch = trainer.data.training.take(rows)
        return NumpyEngine(trainer.timeline.problem_at(position.step)).step(position, batch, rows).after.parameters


def slice_of(trainer: Trainer, weight: str) -> dict[str, Any]:
    """The loss of the step's mini-batch as only one weight changes: a curve, its tangent at the
    weight's value, and where the step goes.
    """
    position, rows, derivatives = _step_shown(trainer)
    after = _next_parameters(trainer, position, rows)
    place, batch = trainer.plan.network.parameters.find(weight), trainer.data.training.take(rows)
    value, gradient, then = float(position.parameters[place]), float(derivatives.gradient[place]), float(after[place])
    reach = min(max(0.5, 10 * abs(then - value)), 1e3)
    problem = trainer.timeline.problem_at(position.step)

    def loss(w: float) -> float:
        parameters = position.parameters.copy()
        parameters[place] = w
        with np.errstate(all="ignore"):
            return problem.total_loss(parameters, batch, position.statistics, problem.context(position.step))

    values = np.linspace(value - reach, value + reach, SLICE_POINTS)
    now, next_loss = loss(value), loss(then)
    against = ", against the slope" if (then - value) * gradient < 0 else ""
    uphill = "a larger" if gradient > 0 else "a smaller"
    return {
        "type": "slice", "weight": weight, "step": position.step, "value": value, "loss": now,
        "gradient": gradient, "next": then, "next_loss": next_loss,
        "values": values.tolist(), "losses": [loss(float(w)) for w in values],
        "words": f"The loss of this mini-batch, L = {now:.4f}, as only this weight changes. Its slope is the"
        f" derivative: uphill lies {uphill} weight.",
        "step_words": f"The step moves this weight from {short(value)} to {short(then)}{against}. By it alone the loss"
        f" of the mini-batch goes from {now:.5f} to {next_loss:.5f}.",
    }  # fmt: skip


def _loss_line(loss: float, name: str, probability: float) -> str:
    """The loss of a sample, as cross-entropy if that is what it is."""
    if probability > 0 and np.isclose(-np.log(probability), loss, rtol=1e-3):
        return f"L = −log {name} = −log {short(probability)} = {short(loss)}"
    return f"L = {short(loss)}"


def short(number: Any) -> str:
    """A number for people: three decimals, or two figures and a power of ten if it is small."""
    value = float(number)
    size = abs(value)
    text = f"{value:.3f}" if size >= 0.0005 or value == 0 else f"{value:.1e}"
    if size >= 1000:
        text = f"{value:.4g}"
    return text.replace("-", "−")


def enclosed(number: float) -> str:
    """The same, in parentheses if negative."""
    return f"({short(number)})" if number < 0 else short(number)


def added(terms: list[str]) -> str:
    """The terms with plus signs, or minus signs where one is negative."""
    first, *others = terms
    return first + "".join(f" − {term[1:]}" if term.startswith("−") else f" + {term}" for term in others)
