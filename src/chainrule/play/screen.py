"""What a page shows of a training: what is open on it, and what it was sent, and when.

A frame is sent only once the page has drawn the one before, so a slow page slows nothing down.
What takes longer to compute than a frame, such as an explanation, is sent less often while training
runs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from chainrule.engine import Position
from chainrule.explain import Explanation, gradient_line, update_line
from chainrule.explain.charts import surface_words
from chainrule.explain.page import levels, pushes
from chainrule.explain.scheme import draw
from chainrule.play import frames
from chainrule.play.compare import USUAL, compared, described
from chainrule.play.lens import has_scene, scene_of
from chainrule.play.lived import Lived, key_of
from chainrule.play.maps import Maps, is_for_pictures, pushes_on
from chainrule.play.own import own_view
from chainrule.play.questions import Later
from chainrule.play.race import Race
from chainrule.play.recorded import Recorded
from chainrule.play.replaying import Newest
from chainrule.play.sequence import SequenceView, is_for_sequences
from chainrule.play.slice import slice_of
from chainrule.play.so_far import weight_so_far
from chainrule.play.surface import Path, surface_message, surface_over
from chainrule.play.trainer import Trainer
from chainrule.play.unit import unit_view
from chainrule.play.written import written

FULL_EVERY = 0.12
"""The least seconds between full frames while training runs."""
INSPECTOR = 360
"""The width of the inspector's pictures in CSS pixels."""
SCENE_EVERY = 0.015
"""Seconds between scenes of the stage while training runs."""
MAPS_EVERY = 0.15
"""The least seconds between feature maps, or between sequences, while training runs."""
READABLE = 10.0
"""Steps per second up to which the stage's lines of arithmetic can be read."""
SURFACE_EVERY = 2.0
"""Seconds between loss surfaces."""
WRITE_EVERY = 1.0
"""The least seconds between two texts that a language model writes while training runs."""
EXPLAIN_EVERY = 0.25
"""The least seconds between explanations while training runs."""

Tell = Callable[..., None]
"""Sends a message, and its arrays if there are any, to the page."""


class Screen:
    """What a page shows.

    Args:
        tell: sends a message to the page
        recorded: the recorded run as a whole, if the page replays one
        is_superseded: whether what is open is explained anew before long, so that an explanation
            need not be completed
        later: makes a function for other threads of one that this thread is to call soon; without
            it, no life is computed

    Attributes:
        view: what the page says that it looks at
        opened: the weight or the unit that is explained, if any
        changed: whether there is something new to show
        in_flight: whether the page is still drawing what it was sent last
    """

    def __init__(
        self, tell: Tell, recorded: Recorded | None = None, is_superseded: Callable[[], bool] = lambda: False,
        later: Later | None = None,
    ) -> None:  # fmt: skip
        self._tell, self._recorded, self._is_superseded, self._later = tell, recorded, is_superseded, later
        self._lives = Newest[Lived]()
        self._is_explained = False
        self.view: dict[str, Any] = {}
        self.opened: Mapping[str, Any] | None = None
        self.changed = self.in_flight = False
        self._compared: Mapping[str, Any] | None = None
        self._pinned: tuple[Path, str] | None = None
        self._written_at: Position | None = None
        self._written_due = 0.0
        self._full_due = self._surface_at = self._explain_due = self._scene_at = self._maps_due = 0.0

    def redraw(self) -> None:
        """Send a full frame next, with whatever else is shown."""
        self.changed, self._is_explained = True, False
        self._full_due = self._surface_at = self._explain_due = self._scene_at = self._maps_due = 0.0

    def close_all(self) -> None:
        """Nothing is explained or compared any more."""
        self.opened = self._compared = None
        self.close_life()

    # What the page looks at

    def look(self, view: Mapping[str, Any]) -> None:
        """The page looks at something else."""
        self.view = {
            "histogram": str(view.get("histogram", "")), "surface": bool(view.get("surface")),
            "sample": int(view.get("sample", 0)), "history": bool(view.get("history")),
            "unit": str(view.get("unit", "")), "lens": str(view.get("lens", "sample")),
        }  # fmt: skip
        self.redraw()

    def compare(self, message: Mapping[str, Any]) -> None:
        """Compare optimizers from now on; without names, no more."""
        self._compared = message if message.get("optimizers", USUAL) else None

    def pin(self, trainer: Trainer) -> None:
        """Keep the path of this training on the surface of the next ones."""
        name = described(trainer.settings)
        self._pinned = Path(name, *trainer.path(), muted=True).thinned(), trainer.data.fingerprint
        self._tell({"type": "pinned", "name": name})
        self.redraw()

    def unpin(self) -> None:
        """Forget that path."""
        self._pinned = None
        self.redraw()

    # What the page is sent

    def show(self, trainer: Trainer, running: bool, speed: float) -> None:
        """Send a frame, and what else is due.

        Args:
            trainer: the training
            running: whether it runs
            speed: in how many steps per second; 0 for as fast as possible
        """
        now = time.monotonic()
        self.in_flight, self.changed = True, False
        # Before the frame: once that is drawn, the page has everything that a command changed.
        if self._shows_scene(trainer, running, now):
            weight, lines = str((self.opened or {}).get("weight", "")), not running or 0 < speed <= READABLE
            scene = scene_of(trainer, self.view.get("sample", 0), self.view.get("unit", ""), weight, lines)
            self._tell(scene.message())
            self._scene_at = time.monotonic()
        self._show_maps(trainer, running, now)
        self._show_sequence(trainer, running, speed, now)
        full = not running or now > self._full_due
        if trainer.own is not None and trainer.own.row is None:
            self._tell(own_view(trainer))
        self._tell(*frames.frame(trainer, self.view, full))
        if full:  # the longer one takes, the longer training goes on until the next
            self._full_due = time.monotonic() + max(FULL_EVERY, 4 * (time.monotonic() - now))
        if self.opened is not None and (now > self._explain_due if running else not self._is_explained):
            self.explain(trainer)
            self._explain_due = time.monotonic() + max(EXPLAIN_EVERY, 4 * (time.monotonic() - now))
        if not running:
            self.show_compared(trainer)
        self._follow_life(trainer, running)
        if self.view.get("surface") and now - self._surface_at > SURFACE_EVERY:
            self._show_surface(trainer)
        self._show_written(trainer, running)

    def _show_written(self, trainer: Trainer, running: bool) -> None:
        """Send what a language model writes, once for a position, and seldom while it trains."""
        if trainer.position is self._written_at or (running and time.monotonic() < self._written_due):
            return
        began = time.monotonic()
        if (message := written(trainer)) is not None:
            self._tell(message)
            self._written_due = time.monotonic() + max(WRITE_EVERY, 9 * (time.monotonic() - began))
        self._written_at = trainer.position

    def show_race(self, race: Race, last: bool) -> None:
        """Send the lap of a race; its surface less often, except after the last one."""
        self.in_flight, self.changed = True, False
        if last or time.monotonic() - self._surface_at > SURFACE_EVERY:
            self._tell(*race.surface())
            self._surface_at = time.monotonic()
        self._tell(race.frame())

    def _shows_scene(self, trainer: Trainer, running: bool, now: float) -> bool:
        """Whether a scene is due: at rest always, in training through the lens that shows it."""
        if not has_scene(trainer):
            return False
        seen = self.view.get("lens", "sample") == "sample"
        return not running or (seen and now - self._scene_at > SCENE_EVERY)

    def _show_maps(self, trainer: Trainer, running: bool, now: float) -> None:
        """Send the feature maps of a network for pictures: at rest always, in training through the
        lens that shows them, and less often the longer they take.
        """
        seen = self.view.get("lens") == "maps" and now > self._maps_due
        if is_for_pictures(trainer.plan.network) and (seen or not running):
            self._tell(*Maps(trainer, self.view.get("sample", 0), self.opened).message())
            self._maps_due = now + max(MAPS_EVERY, 4 * (time.monotonic() - now))

    def _show_sequence(self, trainer: Trainer, running: bool, speed: float, now: float) -> None:
        """Send the sequence of a network for such: at rest always, in training less often the
        longer that takes.
        """
        if is_for_sequences(trainer) and (not running or now > self._maps_due):
            lines = not running or 0 < speed <= READABLE
            self._tell(*SequenceView(trainer, self.view.get("sample", 0), lines).message())
            self._maps_due = now + max(MAPS_EVERY, 4 * (time.monotonic() - now))

    def explain(self, trainer: Trainer, again: bool = False) -> None:
        """Send the explanation of the open weight or unit, if any: as far as that is not superseded
        meanwhile. With `again` the next frame at rest leaves it out.
        """
        self._is_explained = False
        opened, sample = self.opened, int(self.view.get("sample", 0))
        if opened is None:
            return
        if "layer" in opened:
            self._tell(unit_view(trainer, str(opened["layer"]), int(opened["unit"]), sample, opened.get("position")))
            return
        e = trainer.explain(str(opened["weight"]), sample)
        self._tell(slice_of(trainer, e.weight))
        self.show_history(trainer)
        message: dict[str, Any] = {
            "type": "explanation", "step": trainer.step, "weight": e.weight,
            "value": float(trainer.position.parameters[e.place]),
        }  # fmt: skip
        for part in (_in_short, _drawn, _at_length):  # of a large network each takes long
            if self._is_superseded():
                return
            message |= part(e)
        self._tell(message)
        self._is_explained = again

    def show_history(self, trainer: Trainer) -> None:
        """Send the open weight's values, gradients and updates, if the page shows them."""
        weight = (self.opened or {}).get("weight")
        if not weight or not self.view.get("history"):
            return
        if self._recorded is None:
            self._tell(weight_so_far(trainer, str(weight)))
        elif (message := self._recorded.weight(str(weight))) is not None:
            self._tell(message)

    def _follow_life(self, trainer: Trainer, running: bool) -> None:
        """Compute the life of the open weight at rest, if it is shown and not known yet."""
        weight = (self.opened or {}).get("weight")
        lived = self._lives.question
        if not weight or not self.view.get("history") or running or self._later is None:
            self.close_life()
        elif lived is None or lived.key != key_of(trainer, str(weight)):
            self._lives.ask(Lived(trainer, str(weight), self._later("life", self._show_life)))
            self._show_life()

    def close_life(self) -> None:
        """Stop computing a life."""
        self._lives.forget()

    def _show_life(self) -> None:
        """Send what is known of the life of the open weight."""
        lived = self._lives.question
        if lived is not None:
            self._tell(lived.message())

    def show_compared(self, trainer: Trainer) -> None:
        """Send what other optimizers make of the open weight's last gradient, if shown."""
        if self._compared is None:
            return
        weight, names = (self.opened or {}).get("weight", ""), self._compared.get("optimizers", USUAL)
        self._tell(compared(trainer, str(weight), [str(name) for name in names]))

    def _show_surface(self, trainer: Trainer) -> None:
        """Send the loss surface, with a recorded run's whole path or the path so far."""
        if self._recorded is not None:
            reading = self._recorded.reading
            if reading is not None:
                here = Path(f"step {trainer.step:,}", np.array([trainer.step]), trainer.position.parameters[None, :])
                surface, paths, words = reading.surface, [reading.path, here], surface_words(reading.surface)
                self._tell(*surface_message("surface", surface, paths, words))
        else:
            own = Path(trainer.settings.optimizer, *trainer.path()).thinned()
            paths, more = [own], ""
            if self._pinned is not None:
                pinned, fingerprint = self._pinned
                if pinned.points.shape[1] == own.points.shape[1]:
                    paths = [pinned, own]
                    more = f" The faint path is the pinned run's ({pinned.name})."
                    more += "" if fingerprint == trainer.data.fingerprint else " It was trained on other data."
                else:
                    more = " The pinned run is not on it: its network has other weights."
            surface = surface_over(trainer, paths)
            self._tell(*surface_message("surface", surface, paths, surface_words(surface) + more))
        self._surface_at = time.monotonic()


def _in_short(e: Explanation) -> dict[str, Any]:
    """The gradient of a weight and its update, each in a line."""
    return {"gradient": e.gradient, "gradient_line": gradient_line(e), "update_line": update_line(e)}


def _drawn(e: Explanation) -> dict[str, Any]:
    """The pictures of an explanation."""
    return {"pushes": pushes_on(e), "scheme": pushes(e) + draw(e, INSPECTOR)}


def _at_length(e: Explanation) -> dict[str, Any]:
    """All levels of an explanation, and the paths that are lit on the stage."""
    paths = [[[unit.node, unit.index[-1]] for unit in path.units] for path in e.paths[:6]]
    return {"levels": levels(e), "steps": [asdict(step) for step in e.steps_back()], "paths": paths}
