"""Prediction, target, error and loss of one sample, with their lines of arithmetic."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.arrays import Array, Samples
from chainrule.engine import Position
from chainrule.play.lines import loss_line, short
from chainrule.play.trainer import SAME, Trainer
from chainrule.training.threshold import decision


def outcome(trainer: Trainer, output: Array, y: Array, unit: str) -> dict[str, Any]:
    """What the network gives for one sample, and how wrong it is.

    Args:
        trainer: the training
        output: (1, units) the network's output for the sample
        y: (1, ...) the sample's target
        unit: the name of the first output unit, at which the loss is shown
    """
    loss, target = trainer.plan.loss, trainer.data.target
    probabilities = loss.probabilities(output)
    value = float(loss.samples(output, y)[0])
    result: dict[str, Any] = {"loss": value, "bars": False}
    if probabilities is None:
        points, truth = np.ravel(loss.point(output)).tolist(), np.ravel(y).tolist()
        result |= {"predictions": points, "targets": truth, "names": list(target.names)}
        if len(points) > 1:
            result["loss_line"] = f"L = the loss of the {len(points)} targets = {short(value, (unit, 'loss'))}"
        else:
            both = f"{short(points[0], (unit, 'prediction'))}, {short(truth[0])}"
            result["loss_line"] = f"L(y, t) = L({both}) = {short(value, (unit, 'loss'))}"
    elif output.shape[1] == 1:
        prediction, wanted = float(probabilities[0, 1]), float(np.ravel(y)[0])
        result |= {"predictions": [prediction], "targets": [wanted], "names": [f"class {target.classes[1]}"]}
        result["prediction_line"] = (
            f"p = sigmoid(z) = sigmoid({short(output.item(), (unit, 'z'))}) = {short(prediction, (unit, 'prediction'))}"
        )
        of = ("p", prediction) if wanted == 1 else ("(1 − p)", 1 - prediction)
        result["loss_line"] = loss_line(value, *of, unit)
    elif target.task == "multilabel":
        result |= {"predictions": probabilities[0].tolist(), "targets": np.ravel(y).tolist(), "bars": True}
        result["names"] = [f"label {name}" for name in target.columns]
        result["prediction_line"] = f"p = sigmoid(z): {target.columns[0]} = {short(float(probabilities[0, 0]))}"
        terms = "−t ln p − (1 − t) ln(1 − p)"
        result["loss_line"] = f"L = the mean of {terms} over the labels = {short(value, (unit, 'loss'))}"
    else:
        right = int(np.ravel(y)[0])
        of_outputs, classes = loss.output_probabilities(output), np.arange(target.width)
        assert of_outputs is not None
        ordered = target.task == "ordinal"  # whose outputs stand for the classes above each but the last
        hot = (classes[:-1] < right) if ordered else classes == right
        result |= {"predictions": of_outputs[0].tolist(), "targets": hot.astype(float).tolist(), "bars": True}
        result["names"] = [f"{'above' if ordered else 'class'} {label}" for label in target.classes[: len(hot)]]
        name = f"p of class {target.classes[right]}"
        result["prediction_line"] = f"p = {loss.probability_symbol}: {name} = {short(probabilities[0, right])}"
        result["loss_line"] = loss_line(value, name, probabilities[0, right], unit)
    if target.is_class:
        result["target_text"] = f"{target.name} {target.classes[int(np.ravel(y)[0])]}"
        if trainer.threshold is not None:
            found = decision(loss, target, output, trainer.threshold)
            result |= {"decided": str(found.label), "decision_text": found.words}
    elif target.task == "multilabel":
        present = [name for name, t in zip(target.columns, result["targets"], strict=True) if t]
        result["target_text"] = f"labels: {', '.join(present) or 'none'}"
    else:
        each = zip(result["names"], result["targets"], strict=False)
        result["target_text"] = ", ".join(f"{name} {short(t)}" for name, t in each)
    errors = [p - t for p, t in zip(result["predictions"], result["targets"], strict=True)]
    return {**result, "errors": errors}


def predicted_in_use(trainer: Trainer, position: Position, x: Array, output: Array) -> dict[str, Any]:
    """What the network predicts for the same sample in use, where that differs from the output in
    training: without dropout, and with running means in place of the mini-batch's.
    """
    if trainer.is_same_in_use:
        return {}
    used = trainer.plan.network.predict(position.parameters, x, position.statistics)
    if np.allclose(used, output, *SAME):  # the user's own sample is predicted, no step is taken with it
        return {}
    last = used[:, -1] if used.ndim > 2 else used
    shown = ("predictions", "names", "bars", "decided")
    y = np.zeros((1, *trainer.data.training.y.shape[1 + (used.ndim > 2) :]), trainer.data.training.y.dtype)
    return {"in_use": {key: value for key, value in outcome(trainer, last, y, "").items() if key in shown}}


def batch_losses(trainer: Trainer, position: Position, batch: Samples, loss: float) -> dict[str, float | None]:
    """The loss of the step's mini-batch and, once the step is taken, its loss after it."""
    after = None
    if trainer.phase == "update" and trainer.last is not None:
        problem, step = trainer.timeline.problem_at(position.step), position.step
        with np.errstate(all="ignore"):
            after = problem.total_loss(trainer.last.after.parameters, batch, position.statistics, problem.context(step))
    return {"batch_loss": loss, "batch_loss_after": after}
