"""The step that the page shows, of a network for sequences: one sample, position by position.

What it reads and predicts at each position; how attention takes from one position for another
(`attended.py`), and what a recurrent cell makes of each time step (`unrolled.py`).
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from chainrule.arrays import Array
from chainrule.play import attended, unrolled
from chainrule.play.lines import short
from chainrule.play.outcome import batch_losses, outcome, predicted_in_use
from chainrule.play.slice import batch_shown, samples_shown, step_shown
from chainrule.play.trainer import Trainer

MOST_FEATURES = 3
"""The numbers of a time step that are shown."""


def is_for_sequences(trainer: Trainer) -> bool:
    """Whether samples are sequences, as far as the page can tell: texts, or what a network attends
    to or scans.
    """
    network = trainer.plan.network
    return bool(trainer.data.target.tokens or attended.layers_of(network) or unrolled.scans_of(network))


def description(trainer: Trainer) -> dict[str, Any] | None:
    """What the page knows of the sequences before any step; None for other data."""
    if not is_for_sequences(trainer):
        return None
    network = trainer.plan.network
    return {
        "attention": attended.description(network), "scans": unrolled.description(network),
        "text": bool(trainer.data.target.tokens), "symbols": trainer.data.symbols,
    }  # fmt: skip


class SequenceView:
    """The step that the page shows, seen from one of its samples.

    Args:
        trainer: the training; shown is the step in progress, else the last one, else the next
        sample: the number of the sample in the mini-batch
        lines: whether lines of arithmetic are wanted
    """

    def __init__(self, trainer: Trainer, sample: int = 0, lines: bool = True) -> None:
        self.trainer, self._lines = trainer, lines
        self.position, self.rows, self.derivatives = step_shown(trainer)
        self.sample = min(max(sample, 0), len(self.rows) - 1)
        self.batch = batch_shown(trainer, self.position, self.rows)

    def message(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """The message to the page."""
        trainer, network, tape = self.trainer, self.trainer.plan.network, self.derivatives.tape
        arrays: dict[str, Array] = {}
        maps = attended.add_maps(network, tape, self.sample, len(self.rows), arrays)
        scans = [
            unrolled.Unrolled(network, one, tape, self.sample, len(self.rows)).message(k, arrays, self._lines)
            for k, one in enumerate(unrolled.scans_of(network))
        ]
        header = {
            "type": "sequence", "step": self.position.step, "phase": trainer.phase, "reached": self._reached(),
            **samples_shown(trainer, self.rows, self.sample), "output": self._output(),
            "table": self._table(), "picture": None, "positions": self._positions(), "valid": self.valid,
            "maps": maps, "scans": scans,
        }  # fmt: skip
        return header, arrays

    @cached_property
    def _shape(self) -> tuple[int, int]:
        """The time steps of a sample, and the numbers of each."""
        steps, *features = self.trainer.data.sequence or self.trainer.data.input_shape
        return int(steps), int(np.prod(features, dtype=int))

    @property
    def valid(self) -> int:
        """How many time steps of the sample are valid."""
        if not self.trainer.data.has_lengths:
            return self._shape[0]
        return int(self.batch.x[self.sample][-1])

    def _reached(self) -> list[str]:
        """The layers whose derivatives the step has computed."""
        trainer = self.trainer
        if trainer.phase == "update":
            return list(trainer.layers)
        return trainer.layers[trainer.backward_to :] if trainer.phase == "backward" else []

    # Position by position

    def _positions(self) -> list[dict[str, Any]]:
        """What is read at each position and, where there is a target, what is predicted."""
        x, (steps, features) = np.ravel(self.batch.x[self.sample]), self._shape
        symbols = self.trainer.data.symbols
        read: list[dict[str, Any]]
        if symbols:
            read = [{"name": symbols[int(number)], "value": None} for number in x[:steps]]
        else:
            table = x[: steps * features].reshape(steps, features)
            read = [
                {"name": ", ".join(short(value) for value in row[:MOST_FEATURES]), "value": float(row[0])}
                for row in table
            ]
        return [one | told for one, told in zip(read, self._predicted(steps), strict=True)]

    def _predicted(self, steps: int) -> list[dict[str, Any]]:
        """Of each position: the class that comes, its probability, and the likeliest."""
        trainer, output = self.trainer, self.derivatives.tape.output[self.sample]
        target = trainer.data.target
        if target.positions != (steps,) or not target.is_class:
            return [{} for _ in range(steps)]
        probabilities = trainer.plan.loss.probabilities(output)
        if probabilities is None:
            return [{} for _ in range(steps)]
        names = trainer.data.symbols or [str(one) for one in target.classes]
        truth = np.asarray(self.batch.y)[self.sample].astype(int)
        weight = self.batch.weight
        counts = np.ones(steps) if weight is None or weight.ndim == 1 else weight[self.sample]
        return [
            {"target": names[right], "p": float(row[right]), "likeliest": names[int(row.argmax())],
             "likeliest_p": float(row.max()), "counts": bool(count)}
            for row, right, count in zip(probabilities, truth, counts, strict=True)
        ]  # fmt: skip

    def _table(self) -> list[list[str]]:
        """The sample in words: its text, or how many steps it has."""
        trainer, x = self.trainer, self.batch.x[self.sample]
        tokens = None if trainer.data.preparation is None else trainer.data.preparation.tokens
        if tokens is not None:
            return [["text", tokens.decode(np.asarray(x).astype(int).tolist())]]
        return [["time steps", str(self.valid)]]

    def _output(self) -> dict[str, Any]:
        """Prediction and loss of the sample, and the mini-batch's loss; of several positions the
        prediction is that of the last one. After a step also the loss of its mini-batch after it.
        """
        trainer, one = self.trainer, slice(self.sample, self.sample + 1)
        output, y = self.derivatives.tape.output[one], np.asarray(self.batch.y)[one]
        last = trainer.plan.network.nodes[-1].name
        positions = output.ndim > 2
        found = (
            outcome(trainer, output[:, -1], y[:, -1], f"{last}[0]")
            if positions
            else outcome(trainer, output, y, f"{last}[0]")
        )
        if positions:
            weight = self.batch.weight
            own = None if weight is None or weight.ndim == 1 else weight[one]
            loss = float(trainer.plan.loss.samples(output, y, own)[0])
            words = f"L = the mean loss of its {output.shape[1]} positions = {short(loss, (f'{last}[0]', 'loss'))}"
            found |= {"loss": loss, "loss_line": words, "target_text": ""}
        found |= predicted_in_use(trainer, self.position, self.batch.x[one], output)
        losses = batch_losses(trainer, self.position, self.batch, float(self.derivatives.loss))
        return {**found, "samples": len(self.rows), **losses}
