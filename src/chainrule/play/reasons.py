"""Why the network on a page predicts what it does for the sample on the stage."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.attribution import why
from chainrule.attribution.page import content
from chainrule.attribution.text import head
from chainrule.data import Prepared
from chainrule.play.slice import OWN, step_shown
from chainrule.play.trainer import Trainer
from chainrule.runs import Trained
from chainrule.training.loop import Progress


def why_view(trainer: Trainer, sample: int) -> dict[str, Any]:
    """The message about a sample of the mini-batch, by its number there, or the user's own sample:
    what each input adds to the prediction at the present weights, and what would change it.
    """
    data, trained = trainer.data, trained_of(trainer)
    _, rows, _ = step_shown(trainer)
    own = trainer.own
    if own is not None and own.row is None and rows is OWN:
        found = why(trained, np.asarray(own.x, np.float32).view(Prepared), 1)
    else:
        row = int(rows[min(max(sample, 0), len(rows) - 1)]) if own is None or own.row is None else own.row
        if data.source is None or data.rows is None:
            found = why(trained, data.training, row + 1)
        else:
            found = why(trained, data, int(data.rows[row]) + 1)
    title, _, line = head(found)
    return {"type": "why", "step": trainer.step, "title": title, "line": line, "html": content(found)}


def trained_of(trainer: Trainer) -> Trained:
    """The network with its present weights."""
    position, data = trainer.position, trainer.data
    return Trained(
        trainer.plan, data.target, data.preparation, position.parameters.copy(), position.statistics.copy(),
        Progress(position), data, threshold=trainer.threshold,
    )  # fmt: skip
