"""What the page says of a sample that the user drew, for any network."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.play.outcome import outcome
from chainrule.play.slice import batch_shown, step_shown
from chainrule.play.trainer import Trainer


def own_view(trainer: Trainer) -> dict[str, Any]:
    """The message about the sample: its picture as the network gets it, what is predicted, and, if
    the user has said what it is, how the loss depends on each pixel.
    """
    position, rows, derivatives = step_shown(trainer)
    own, samples = trainer.own, batch_shown(trainer, position, rows)
    assert own is not None
    assert derivatives.input is not None
    name = f"{trainer.plan.network.nodes[-1].name}[0]"
    found = outcome(trainer, derivatives.tape.output, np.asarray(samples.y), name)
    classes = [str(label) for label in trainer.data.target.classes]
    ink = own.x[0] - own.x.min()
    slopes = np.asarray(derivatives.input[0], dtype=float)
    return {
        "type": "own",
        "picture": {"shape": list(own.x.shape[1:]), "ink": _rounded(ink / (float(ink.max()) or 1.0))},
        "classes": classes,
        "predictions": found["predictions"] if found["bars"] else [],
        "predicted": classes[int(trainer.plan.loss.classes(derivatives.tape.output)[0])],
        "label": None if own.label is None else classes[own.label],
        "loss": None if own.label is None else found["loss"],
        "loss_line": None if own.label is None else found["loss_line"],
        "slopes": None if own.label is None else _rounded(slopes / (float(np.abs(slopes).max()) or 1.0)),
    }


def _rounded(values: Any) -> list[float]:
    """Two decimals, which is enough for colours."""
    return np.round(np.ravel(values).astype(float), 2).tolist()
