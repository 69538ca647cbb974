"""One page's session: its trainer runs in a thread of its own, takes commands, and sends frames, never more than one
at a time.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np

from chainrule.data import Dataset
from chainrule.errors import ChainruleError, SettingError
from chainrule.explain import gradient_line, update_line
from chainrule.explain.page import levels, opened_link, page
from chainrule.explain.scheme import draw
from chainrule.play import frames
from chainrule.play.export import export
from chainrule.play.race import Race
from chainrule.play.settings import Settings
from chainrule.play.trainer import Trainer
from chainrule.runs import Run

SLICE = 0.008
"""Seconds of training between looks at what the page wants."""
FULL_EVERY = 0.12
"""Seconds between frames that hold what changes slowly: metrics, units' outputs, histograms."""
SURFACE_EVERY = 2.0
EXPLAIN_EVERY = 0.25
MOST_WAITING = 64
"""Commands that may wait; more are refused."""
MOST_REPLAYED = 200_000
"""Steps that an address may ask to be taken at once."""

Send = Callable[[bytes], None]


class Session:
    """A trainer in a thread. `send` is called from that thread with each message."""

    def __init__(self, send: Send, given: Dataset | None = None, run: Run | None = None) -> None:
        self._send = send
        self._given, self._run = given, run
        self._commands: queue.Queue[Mapping[str, Any]] = queue.Queue(MOST_WAITING)
        self._closed = threading.Event()
        self._trainer: Trainer | None = None
        self._race: Race | None = None
        self._view: dict[str, Any] = {}
        self._running = self._racing = self._dirty = False
        self._speed = 0.0
        self._in_flight = False
        self._answers = 0
        self._full_at = self._surface_at = self._explained_at = self._stepped_at = 0.0
        self._opened: Mapping[str, Any] | None = None
        self.used_at = time.monotonic()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def command(self, message: Mapping[str, Any]) -> bool:
        """Take a command; False if too many are waiting."""
        self.used_at = time.monotonic()
        try:
            self._commands.put_nowait(message)
        except queue.Full:
            return False
        return True

    def close(self) -> None:
        """End the thread."""
        self._closed.set()
        self._thread.join(timeout=5)

    # The thread

    def _work(self) -> None:
        while not self._closed.is_set():
            self._take_commands()
            if self._closed.is_set():
                return
            try:
                self._train()
                self._show()
            except ChainruleError as error:
                self._stop(str(error))
            except Exception:  # one page's trouble is not to end its session silently, nor the server
                logging.getLogger(__name__).exception("a page's training failed")
                self._stop("something went wrong in chainrule itself; its terminal says what")

    def _stop(self, message: str) -> None:
        """Stop whatever runs, and say why."""
        self._running = self._racing = False
        self._view, self._opened, self._dirty = {}, None, True
        self._tell({"type": "error", "message": message})

    def _take_commands(self) -> None:
        """All that wait; where there is nothing else to do, wait for one."""
        busy = self._running or self._racing or (self._dirty and not self._in_flight)
        try:
            message = self._commands.get(timeout=0.001 if busy else 0.2)
            while True:
                self._obey(message)
                message = self._commands.get_nowait()
        except queue.Empty:
            return

    def _obey(self, message: Mapping[str, Any]) -> None:
        name = message.get("type")
        handler = self._HANDLERS.get(name) if isinstance(name, str) else None
        if handler is None:
            self._tell({"type": "error", "message": "the page sent a command that is not known; reload it"})
            return
        try:
            # The frames from here on show the result of this command.
            self._answers = int(message.get("number", self._answers))
            handler(self, message)
        except ChainruleError as error:
            self._tell({"type": "error", "message": str(error), "about": name})
        except (TypeError, ValueError, KeyError, AttributeError, OverflowError, IndexError):
            # What a hostile page may send ends here; what is our own mistake should be seen.
            logging.getLogger(__name__).exception("the command %r failed", name)
            self._tell({"type": "error", "message": f"the command {name!r} can't be understood; reload the page"})
        except MemoryError:
            self._tell({"type": "error", "message": "there is not enough memory for that; choose a smaller network"})

    def _tell(self, header: Mapping[str, Any], arrays: Mapping[str, Any] | None = None) -> None:
        if not self._closed.is_set():
            self._send(frames.packed({**header, "answers": self._answers}, arrays or {}))

    def _there(self) -> Trainer:
        if self._trainer is None:
            raise SettingError("there is no network yet; the page's settings come first")
        return self._trainer

    # Commands

    def _set(self, message: Mapping[str, Any]) -> None:
        """New settings: another network, from its start, or from as many steps as the address says."""
        settings = Settings.from_json(message.get("settings", {}))
        run = self._run if settings.data.kind == "given" and message.get("run") else None
        trainer = Trainer(settings, self._given, run)
        self._running = self._racing = False
        self._race, self._trainer, self._opened = None, trainer, None
        self._tell(*frames.built(trainer))
        step = min(int(message.get("step", 0)), MOST_REPLAYED)
        if step > 0 and run is None:
            trainer.advance(step)
        elif step > 0:
            trainer.go_to(step)
        self._changed()

    def _changed(self) -> None:
        """Whatever is shown is to be shown anew, whole."""
        self._dirty = True
        self._full_at = self._surface_at = self._explained_at = 0.0

    def _look(self, message: Mapping[str, Any]) -> None:
        view = dict(message.get("view", {}))
        self._view = {"histogram": str(view.get("histogram", "")), "surface": bool(view.get("surface"))}
        self._changed()

    def _run_on(self, message: Mapping[str, Any]) -> None:
        self._there()
        self._speed = max(float(message.get("speed", 0)), 0.0)
        self._running, self._racing = True, False
        self._stepped_at = time.monotonic()

    def _pause(self, message: Mapping[str, Any]) -> None:
        self._running = self._racing = False
        self._changed()

    def _step(self, message: Mapping[str, Any]) -> None:
        self._running = False
        trainer = self._there()
        if trainer.run is not None:
            trainer.go_to(min(trainer.step + 1, trainer.last_step or 0))
        else:
            trainer.advance(1)
        self._changed()

    def _epoch(self, message: Mapping[str, Any]) -> None:
        trainer = self._there()
        length = trainer.steps_per_epoch
        if trainer.run is not None:
            trainer.go_to(min(trainer.step + length, trainer.last_step or 0))
        else:
            trainer.advance(length - trainer.step % length)
        self._changed()

    def _back(self, message: Mapping[str, Any]) -> None:
        self._running = False
        trainer = self._there()
        if trainer.pending is not None:
            trainer.go_to(trainer.step)
        elif trainer.step > 0:
            trainer.go_to(trainer.step - 1)
        self._changed()

    def _go_to(self, message: Mapping[str, Any]) -> None:
        self._running = False
        self._there().go_to(int(message["step"]))
        self._changed()

    def _reset(self, message: Mapping[str, Any]) -> None:
        self._running = False
        self._there().reset()
        self._changed()

    def _phase(self, message: Mapping[str, Any]) -> None:
        self._running = False
        phase = str(message["phase"])
        if phase not in ("forward", "loss", "backward", "update"):
            raise SettingError(f"there is no phase {phase!r}")
        self._there().next_phase(phase)
        self._changed()

    def _open(self, message: Mapping[str, Any]) -> None:
        """Explain a weight, or a unit's delta, now and after every step from now on; nothing closes it."""
        self._opened = {key: message[key] for key in ("weight", "layer", "unit") if key in message} or None
        self._explained_at = 0.0
        self._explain()

    def _explain(self) -> None:
        opened, trainer = self._opened, self._there()
        self._explained_at = time.monotonic()
        if opened is None:
            return
        if "layer" in opened:
            link = trainer.explain_unit(str(opened["layer"]), int(opened["unit"]))
            self._tell({
                "type": "explanation", "step": trainer.step, "unit": f"{opened['layer']}[{int(opened['unit'])}]",
                "delta": link.delta, "sample": link.row, "levels": opened_link(link),
            })  # fmt: skip
            return
        e = trainer.explain(str(opened["weight"]))
        self._tell({
            "type": "explanation", "step": trainer.step, "weight": e.weight, "value": e.value_before,
            "gradient": e.gradient, "gradient_line": gradient_line(e), "update_line": update_line(e),
            "scheme": draw(e), "levels": levels(e),
            "paths": [[[unit.node, unit.index[-1]] for unit in path.units] for path in e.paths[:6]],
        })  # fmt: skip

    def _set_weight(self, message: Mapping[str, Any]) -> None:
        self._running = False
        found = self._there().set_weight(str(message["weight"]), float(message["value"]))
        self._tell({"type": "nudged", "weight": str(message["weight"]), **found})
        self._changed()

    def _export(self, message: Mapping[str, Any]) -> None:
        trainer, kind = self._there(), str(message["kind"])
        if kind == "explanation":
            content: bytes | str = page(trainer.explain(str(message["weight"])))
        else:
            content = export(trainer, kind)
        if isinstance(content, bytes):
            self._tell({"type": "export", "kind": kind}, {"content": np.frombuffer(content, dtype=np.uint8)})
        else:
            self._tell({"type": "export", "kind": kind, "text": content})

    def _start_race(self, message: Mapping[str, Any]) -> None:
        self._running = False
        self._race = Race(self._there().settings, [dict(entrant) for entrant in message["entrants"]], self._given)
        self._racing = True
        self._surface_at = 0.0

    def _shown(self, message: Mapping[str, Any]) -> None:
        """The page has drawn the last frame."""
        self._in_flight = False

    _HANDLERS: ClassVar[dict[str, Callable[[Session, Mapping[str, Any]], None]]] = {
        "settings": _set,
        "view": _look,
        "run": _run_on,
        "pause": _pause,
        "step": _step,
        "epoch": _epoch,
        "back": _back,
        "go to": _go_to,
        "reset": _reset,
        "phase": _phase,
        "open": _open,
        "set weight": _set_weight,
        "export": _export,
        "race": _start_race,
        "shown": _shown,
    }

    # Training and showing

    def _train(self) -> None:
        """Take steps for a short while."""
        if self._racing and self._race is not None:
            began = time.monotonic()
            while time.monotonic() - began < SLICE:
                self._race.advance(5)
            self._dirty = True
            return
        trainer = self._trainer
        if not self._running or trainer is None:
            return
        if trainer.run is not None:
            self._replay(trainer)
            return
        now = time.monotonic()
        if self._speed:
            due = int((now - self._stepped_at) * self._speed)
            if due:
                trainer.advance(min(due, 1000))
                self._stepped_at = now
                self._dirty = True
            else:
                time.sleep(0.005)
            return
        count = 1
        while time.monotonic() - now < SLICE:
            trainer.advance(count)
            count = min(2 * count, 64)
        self._dirty = True

    def _replay(self, trainer: Trainer) -> None:
        """Play a recorded run: on to a later step, up to its end."""
        last = trainer.last_step or 0
        trainer.go_to(min(trainer.step + max(last // 100, 1), last))
        self._running = trainer.step < last
        self._dirty = True

    def _show(self) -> None:
        """Send a frame, unless the page has not drawn the last one yet."""
        if not self._dirty or self._in_flight or self._trainer is None:
            return
        now = time.monotonic()
        self._in_flight, self._dirty = True, False
        if self._racing and self._race is not None:
            self._tell(self._race.frame())
            if now - self._surface_at > SURFACE_EVERY:
                self._tell(*self._race.surface(grid=19))
                self._surface_at = time.monotonic()
            return
        full = not self._running or now - self._full_at > FULL_EVERY
        self._tell(*frames.frame(self._trainer, self._view, full))
        if full:
            self._full_at = now
        if self._opened is not None and now - self._explained_at > (EXPLAIN_EVERY if self._running else 0):
            self._explain()
        if self._view.get("surface") and now - self._surface_at > SURFACE_EVERY:
            self._send_surface()

    def _send_surface(self) -> None:
        found = self._there().surface(grid=19)
        self._tell(
            {"type": "surface", "axes": list(found.names), "variance": found.variance, "steps": found.steps.tolist()},
            {"across": found.across.astype(np.float32), "along": found.along.astype(np.float32),
             "loss": found.loss.astype(np.float32), "path": found.path.astype(np.float32)},
        )  # fmt: skip
        self._surface_at = time.monotonic()
