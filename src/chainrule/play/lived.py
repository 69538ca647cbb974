"""The life of the open weight: its draw, and which samples moved it, in the steps so far.

All steps are replayed, so this is computed in a thread of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from chainrule.influence import Life
from chainrule.influence.lives import life_of
from chainrule.play.replaying import Question
from chainrule.play.taught import Rows, timeline_of
from chainrule.play.trainer import Trainer

MOST_SAMPLES = 12
"""How many samples are shown."""


class Lived(Question):
    """The life of a weight, as it is computed.

    Args:
        trainer: the training; of a recorded run all its steps count, of others those so far
        weight: the name of the weight
        changed: called from another thread whenever `message` has something new

    Attributes:
        key: what it is the life of: the network, the weight, and the position it ends at

    Raises:
        SettingError: for an unknown weight
    """

    def __init__(self, trainer: Trainer, weight: str, changed: Callable[[], object]) -> None:
        super().__init__(changed)
        self.key = key_of(trainer, weight)
        self._weight, self._place = weight, trainer.plan.network.parameters.find(weight)
        self._steps = trainer.step if trainer.run is None else trainer.run.manifest["steps"]
        self._data, self._rows, self._timeline = trainer.data, Rows(trainer), timeline_of(trainer)
        # The page holds the weights of the last step; those that a run keeps may be an earlier
        # epoch's.
        self._found: Life | None = None

    def compute(self) -> None:
        """Replay all steps, if there are any."""
        if self._steps:
            progress = lambda done, _: self.check(done)  # noqa: E731
            self._found = life_of(self._timeline, self._data, self._place, self._steps, progress=progress)

    def message(self) -> dict[str, Any]:
        """The message to the page: the life or, before it is there, how many steps are done."""
        about = {
            "type": "life", "weight": self._weight, "done": self.done, "steps": self._steps,
            "problem": self.problem, "found": None,
        }  # fmt: skip
        found = self._found
        if found is None:
            return about
        shown, rest = found.strongest(MOST_SAMPLES)
        sums = [*found.parts.items(), ("end \u2212 draw", found.moved)]
        draw = found.draw
        return {**about, "found": {
            "start": draw.value, "end": found.end, "moved": found.moved, "sums": [[name, x] for name, x in sums],
            "draw": {
                "words": draw.words, "density": draw.density, "quantile": draw.quantile, "at": draw.at.tolist(),
                "heights": draw.heights.tolist(),
            },
            "epochs": [[name, epoch.update] for name, epoch in found.epochs()],
            "classes": [[str(one.name), one.share] for one in found.by_class],
            "samples": [{**self._rows.about(one.sample), "steps": one.steps, "effect": one.share} for one in shown],
            "rest": [len(found.samples) - len(shown), rest],
        }}  # fmt: skip


def key_of(trainer: Trainer, weight: str) -> tuple[Any, ...]:
    """What a life is that of; of a recorded run it is the same at every step."""
    return (trainer, weight) if trainer.run is not None else (trainer, weight, trainer.step, tuple(trainer.edits))
