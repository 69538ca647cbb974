"""What a language model writes at the present step, so that one can watch it learn."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.play.trainer import Trainer
from chainrule.training.generation import TEMPERATURE, Reader, write

FIRST, LENGTH = 8, 80
"""The tokens that are continued, and how many are written after them."""
LINES = 4
"""How many lines are continued where each window is a line of its own."""


def written(trainer: Trainer) -> dict[str, Any] | None:
    """The message with what the network writes; None for a network that is no language model.

    It continues the beginning of the validation set, and where each window is a line, the first
    half of some lines.
    """
    preparation = trainer.data.preparation
    tokens = None if preparation is None else preparation.tokens
    if tokens is None:
        return None
    samples = trainer.data.validation or trainer.data.training
    window, whole_lines = trainer.data.input_shape[0], trainer.writes_lines
    count, first = (LINES, window // 2) if whole_lines else (1, min(FIRST, window))
    predictor = trainer.plan.make_engine(trainer.problem).predictor(
        trainer.position.parameters, trainer.position.statistics
    )
    reader = Reader(trainer.plan.network, predictor, None)  # for so few tokens nothing has to be kept
    lines = []
    for k, context in enumerate(np.asarray(samples.x[:count, :first]).astype(int).tolist()):
        length, temperature = (window - first, 0.0) if whole_lines else (LENGTH, TEMPERATURE)
        drawn = write(reader, trainer.plan.loss, context, length, temperature, None, [(trainer.plan.seed, k)])
        numbers = [one.number for (one,) in drawn]
        text, known = tokens.decode([*context, *numbers]), tokens.decode(context)
        lines.append([known, text[len(known) :]])
    return {"type": "written", "step": trainer.step, "lines": lines}
