"""A page's session: a trainer, in its own thread by default, takes commands and sends frames."""

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
from chainrule.explain.page import page
from chainrule.play import frames
from chainrule.play.columns import is_drawn_whole
from chainrule.play.doctor import Watch
from chainrule.play.export import export
from chainrule.play.questions import Questions, whole
from chainrule.play.race import TARGET, Race
from chainrule.play.recorded import Recorded
from chainrule.play.samples import PointsError
from chainrule.play.screen import Screen
from chainrule.play.settings import Settings
from chainrule.play.trainer import MOST_EDITS, PHASES, Trainer
from chainrule.runs import Run

SLICE = 0.008
"""Seconds of training between two checks for commands."""
PATIENCE = 1.0
"""Seconds to wait for the thread's last computation; the server has twice as long to end."""
SLOW = 2.0
"""Steps per second up to which a run shows every phase of a step."""
MOST_WAITING = 64
"""The maximum number of waiting commands; more are refused."""
MOST_REPLAYED = 200_000
"""The maximum number of steps to take at once when a page is opened at a later step."""
MOVING = frozenset({"step", "back", "go to", "reset", "phase", "set weight"})
"""The commands that stop a run and change what the page shows."""
SUPERSEDING = MOVING | {"settings", "epoch", "open", "view", "draw", "show row"}
"""The commands after which what is open is explained anew."""
MOST_SAID = 600
"""The maximum number of characters of an error message, which may quote what the page sent."""
FAILED = "chainrule itself failed; see the terminal for details"

Send = Callable[[bytes], None]


class Session:
    """A trainer in a thread.

    Args:
        send: called from the thread with each message for the page
        dataset: the data set that was opened or uploaded, if any
        run: the recorded run to replay, if any
        threaded: whether a thread executes commands, and another reads the whole run; else the
            caller executes them, by `obey` and `show`

    Attributes:
        used_at: the time of the last command, by time.monotonic()
    """

    def __init__(
        self, send: Send, dataset: Dataset | None = None, run: Run | None = None, threaded: bool = True
    ) -> None:
        self._send = send
        self._dataset, self._run = dataset, run
        self._commands: queue.Queue[Mapping[str, Any] | None] = queue.Queue(MOST_WAITING)
        self._soon: dict[str, Callable[[], None]] = {}
        self._closed = threading.Event()
        self._trainer: Trainer | None = None
        self._missing = "there is no network yet; send the settings first"
        self._race: Race | None = None
        self._last_lap = False
        self._running = self._racing = False
        self._speed = 0.0
        self._until: int | None = None
        self._answers = 0
        self._stepped_at = 0.0
        self.used_at = time.monotonic()
        self._recorded: Recorded | None = None
        self._questions = Questions(self._tell, self._later)
        if run is not None and dataset is not None and threaded:
            self._recorded = Recorded(run, dataset, self._later("run read", self._run_read))
        self._screen = Screen(self._tell, self._recorded, self._is_superseded, self._later if threaded else None)
        self._watch = Watch()
        self._thread = threading.Thread(target=self._work, daemon=True)
        if threaded:
            self._thread.start()

    def command(self, message: Mapping[str, Any]) -> bool:
        """Queue a command; False if too many are waiting."""
        self.used_at = time.monotonic()
        try:
            self._commands.put_nowait(message)
        except queue.Full:
            return False
        return True

    @property
    def trainer(self) -> Trainer:
        """The training; raises SettingError before the first settings."""
        return self._ready()

    def close(self) -> None:
        """Tell the thread to stop, and wait for it, but not for long computations: the server would
        take longer to end than it has.
        """
        self._closed.set()
        if self._recorded is not None:
            self._recorded.close()
        self._questions.forget()
        self._screen.close_life()
        self._watch.end()
        if self._thread.is_alive():
            self._thread.join(timeout=PATIENCE)

    # The thread

    def _work(self) -> None:
        while not self._closed.is_set():
            self._take_commands()
            if self._closed.is_set():
                return
            for part in (self._train, self._show, self._examine):
                try:
                    part()
                except ChainruleError as error:
                    self._stop(str(error))
                except Exception:  # a bug must not end the thread silently
                    self._log("a page's training failed")
                    self._stop(FAILED)
                else:
                    continue
                # Show where training ended; a frame that failed would fail again, at once and
                # forever.
                self._screen.changed = part == self._train

    def _stop(self, message: str) -> None:
        """Stop training, close what is open, and send an error message: no frame is on its way."""
        self._running = self._racing = self._screen.in_flight = False
        self._screen.view = {}
        self._screen.close_all()
        self._tell({"type": "error", "message": message})

    def _take_commands(self) -> None:
        """Execute the commands that are waiting now; when idle, wait for one. Those that arrive
        meanwhile wait for some training, or a page that asks without pause would stop it.
        """
        busy = self._running or self._racing or (self._screen.changed and not self._screen.in_flight)
        try:
            self._take(self._commands.get(timeout=0.001 if busy else 0.2))
            for _ in range(self._commands.qsize()):
                self._take(self._commands.get_nowait())
        except queue.Empty:
            return

    def _take(self, message: Mapping[str, Any] | None) -> None:
        """Execute a command of the page, or what other threads asked for; None only wakes."""
        if message is not None:
            self.obey(message)
        for name in list(self._soon):
            self._attempt(self._soon.pop(name), name)

    def _is_superseded(self) -> bool:
        """Whether a command waits that changes what is explained: then another explanation
        follows.
        """
        with self._commands.mutex:
            waiting = list(self._commands.queue)
        return any(one is not None and one.get("type") in SUPERSEDING for one in waiting)

    def _later(self, name: str, call: Callable[[], None]) -> Callable[[], None]:
        """A function for other threads: call this one soon, in this session's thread, and once for
        however often it is asked.
        """

        def soon() -> None:
            self._soon[name] = call
            if self._commands.empty():  # otherwise the thread is awake
                self._commands.put(None)

        return soon

    def obey(self, message: Mapping[str, Any]) -> None:
        """Execute a command; answer with an error message if it fails."""
        name = message.get("type")
        handler = self._HANDLERS.get(name) if isinstance(name, str) else None
        if handler is None:
            self._tell({"type": "error", "message": "the page sent an unknown command; reload it"})
            return

        def execute() -> None:
            # All frames from here on show the result of this command.
            self._answers = int(message.get("number", self._answers))
            self._running = self._running and name not in MOVING
            handler(self, message)
            if name in MOVING:
                self._screen.redraw()

        self._attempt(execute, str(name))

    def _attempt(self, call: Callable[[], None], name: str) -> None:
        """Do what a command asks; if it fails, answer with one error message."""
        problem = ""
        try:
            call()
        except ChainruleError as error:
            problem = str(error)
        except (TypeError, ValueError, KeyError, AttributeError, OverflowError, IndexError):
            # A malformed message from a hostile page ends here; the log is for our own bugs.
            self._log(f"the command {name!r} failed")
            problem = f"the command {name!r} is malformed; reload the page"
        except MemoryError:
            problem = "out of memory; choose a smaller network"
        except OSError as error:
            problem = f"{error.filename or 'a file'}: {(error.strerror or str(error)).lower()}"
        except Exception:  # or the thread would end silently
            self._log(f"the command {name!r} failed")
            problem = FAILED
        if problem:
            problem = problem if len(problem) <= MOST_SAID else f"{problem[:MOST_SAID]} ..."
            self._tell({"type": "error", "message": problem, "about": name})

    def _log(self, what: str) -> None:
        """Log the exception, unless the program is ending, in which anything may fail."""
        if not self._closed.is_set():
            logging.getLogger(__name__).exception(what)

    def _tell(self, header: Mapping[str, Any], arrays: Mapping[str, Any] | None = None) -> None:
        """Send a message to the page."""
        if not self._closed.is_set():
            self._send(frames.pack({**header, "answers": self._answers}, arrays or {}))

    def _ready(self) -> Trainer:
        """The trainer; raises SettingError before the first settings, and without data."""
        if self._trainer is None:
            raise SettingError(self._missing)
        return self._trainer

    # Commands

    def _set(self, message: Mapping[str, Any]) -> None:
        """New settings: another network, at its start or at the step in the page's address."""
        settings = Settings.from_json(message.get("settings", {}))
        run = self._run if settings.data.kind == "given" and message.get("run") else None
        try:
            trainer = Trainer(settings, self._dataset, run)
        except PointsError as error:
            self._wait_for_points(str(error))
            return
        step = min(int(message.get("step", 0)), MOST_REPLAYED)
        if run is None:
            for at, weight, value in list(message.get("edits", []))[:MOST_EDITS]:
                if trainer.step <= int(at) <= step:
                    trainer.advance(int(at) - trainer.step)
                    trainer.set_weight(str(weight), float(value))
            trainer.advance(step - trainer.step)
        elif step > 0:
            trainer.go_to(step)
        self._running = self._racing = False
        self._race, self._trainer = None, trainer
        self._screen.close_all()
        self._questions.forget()
        self._tell(*frames.description(trainer))
        if self._recorded is not None:
            self._tell(self._recorded.curves())
        self._screen.redraw()

    def _wait_for_points(self, words: str) -> None:
        """There is no network until enough points are drawn; say what is missing."""
        self._running = self._racing = self._screen.changed = False
        self._trainer, self._race, self._screen.opened, self._missing = None, None, None, words
        self._tell({"type": "too few points", "words": words})

    def _look(self, message: Mapping[str, Any]) -> None:
        self._screen.look(dict(message.get("view", {})))

    def _start(self, message: Mapping[str, Any]) -> None:
        """Run to a step, or to the end of the planned epochs; from there on, until paused."""
        trainer = self._ready()
        planned = trainer.steps_planned
        self._until = planned if trainer.run is None and trainer.step < planned else None
        self._until = int(message["until"]) if "until" in message else self._until
        self._speed = max(float(message.get("speed", 0)), 0.0)
        self._running, self._racing = True, False
        self._stepped_at = time.monotonic()

    def _pause(self, message: Mapping[str, Any]) -> None:
        self._running = self._racing = False
        self._screen.redraw()

    def _step(self, message: Mapping[str, Any]) -> None:
        self._ready().move_on(1)

    def _epoch(self, message: Mapping[str, Any]) -> None:
        """Complete the epoch; in a recorded run, move on by an epoch's length."""
        trainer = self._ready()
        length = trainer.steps_per_epoch
        trainer.move_on(length - (trainer.step % length if trainer.run is None else 0))
        self._screen.redraw()

    def _back(self, message: Mapping[str, Any]) -> None:
        """Go back a step, or to the beginning of the step in progress."""
        trainer = self._ready()
        if trainer.pending is not None:
            trainer.go_to(trainer.step)
        elif trainer.step > 0:
            trainer.go_to(trainer.step - 1)

    def _go_to(self, message: Mapping[str, Any]) -> None:
        self._ready().go_to(int(message["step"]))

    def _reset(self, message: Mapping[str, Any]) -> None:
        self._ready().reset()

    def _phase(self, message: Mapping[str, Any]) -> None:
        phase = str(message["phase"])
        if phase not in PHASES[1:]:
            raise SettingError(f"there is no phase {phase!r}; choose one of {', '.join(PHASES[1:])}")
        self._ready().next_phase(phase)

    def _open(self, message: Mapping[str, Any]) -> None:
        """Explain a weight or a unit's delta, now and after every step until another is opened."""
        screen, trainer = self._screen, self._ready()
        before = screen.opened, dict(screen.view)
        screen.opened = {key: message[key] for key in ("weight", "layer", "unit", "position") if key in message} or None
        if screen.opened and "layer" in screen.opened:
            screen.view["unit"] = f"{screen.opened['layer']}[{screen.opened['unit']}]"
        screen.changed |= not is_drawn_whole(trainer)  # a large network is seen from what is open
        try:
            screen.explain(trainer, again=not self._running)
        except Exception:  # or every frame would fail on it
            screen.opened, screen.view = before
            raise
        screen.show_compared(trainer)

    def _run_read(self) -> None:
        """The recorded run was read: all of it can be shown now."""
        if self._recorded is None or self._trainer is None:
            return
        if self._recorded.problem:
            self._tell({"type": "error", "message": self._recorded.problem})
        self._tell(self._recorded.curves())
        self._screen.show_history(self._trainer)
        self._screen.redraw()

    def _teachers(self, message: Mapping[str, Any]) -> None:
        self._questions.teachers(self._ready(), message.get("row"))

    def _show_row(self, message: Mapping[str, Any]) -> None:
        """Show a row of the training set; without one, the mini-batch's samples again."""
        row = message.get("row")
        self._ready().show_row(None if row is None else whole(row, "row"))
        self._screen.redraw()

    def _compare(self, message: Mapping[str, Any]) -> None:
        """Compare optimizers now and after every step; without names, no more."""
        self._screen.compare(message)
        if self._running:
            self._screen.show_compared(self._ready())
        self._screen.redraw()

    def _pin(self, message: Mapping[str, Any]) -> None:
        self._screen.pin(self._ready())

    def _unpin(self, message: Mapping[str, Any]) -> None:
        self._screen.unpin()

    def _why(self, message: Mapping[str, Any]) -> None:
        self._questions.why(self._ready(), message.get("row"))

    def _importance(self, message: Mapping[str, Any]) -> None:
        """Measure which columns predictions depend on, or stop measuring."""
        self._questions.importance(self._ready(), bool(message.get("stop")))

    def _draw(self, message: Mapping[str, Any]) -> None:
        """Show a sample that the user drew; without lines, those of the mini-batch again."""
        self._ready().draw(message["strokes"], message.get("label"))
        self._screen.redraw()

    def _set_weight(self, message: Mapping[str, Any]) -> None:
        weight = str(message["weight"])
        self._tell({"type": "nudged", "weight": weight, **self._ready().set_weight(weight, float(message["value"]))})

    def _export(self, message: Mapping[str, Any]) -> None:
        trainer, kind = self._ready(), str(message["kind"])
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
        entrants, target = [dict(entrant) for entrant in message["entrants"]], float(message.get("target", TARGET))
        self._race = Race(self._ready().settings, entrants, self._dataset, target)
        self._racing, self._last_lap = True, False
        self._screen.redraw()

    def _shown(self, message: Mapping[str, Any]) -> None:
        """The page has drawn the last frame."""
        self._screen.in_flight = False

    _HANDLERS: ClassVar[dict[str, Callable[[Session, Mapping[str, Any]], None]]] = {
        "settings": _set,
        "view": _look,
        "run": _start,
        "pause": _pause,
        "step": _step,
        "epoch": _epoch,
        "back": _back,
        "go to": _go_to,
        "reset": _reset,
        "phase": _phase,
        "open": _open,
        "draw": _draw,
        "why": _why,
        "importance": _importance,
        "set weight": _set_weight,
        "export": _export,
        "race": _start_race,
        "pin": _pin,
        "unpin": _unpin,
        "compare": _compare,
        "teachers": _teachers,
        "show row": _show_row,
        "shown": _shown,
    }

    # Training and showing

    def _train(self) -> None:
        """Train for a short while."""
        trainer, now = self._trainer, time.monotonic()
        if self._racing and self._race is not None:
            while time.monotonic() - now < SLICE and not self._race.ended:
                self._race.advance()
            if self._race.ended:
                self._racing, self._last_lap = False, True
            self._screen.changed = True
            return
        if not self._running or trainer is None:
            return
        if trainer.run is not None:  # a recorded run is played in a hundred frames
            trainer.move_on(max(trainer.furthest // 100, 1))
            self._running = trainer.step < trainer.furthest
        elif 0 < self._speed <= SLOW:
            if (now - self._stepped_at) * self._speed * trainer.phases_per_step < 1:
                time.sleep(0.005)
                return
            trainer.next_phase(trainer.phase_after())
            self._stepped_at = now
        elif self._speed:
            due = int((now - self._stepped_at) * self._speed)
            if not due:
                time.sleep(0.005)
                return
            trainer.advance(min(due, 1000, self._left()))
            self._stepped_at = now
        else:
            count = 1
            while time.monotonic() - now < SLICE and self._left():
                trainer.advance(min(count, self._left()))
                count = min(2 * count, 64)
        self._screen.changed = True
        if not self._left():
            self._end_of_run()

    def _left(self) -> int:
        """The number of steps left until the run stops by itself."""
        return 1_000_000 if self._until is None else max(0, self._until - self._ready().step)

    def _end_of_run(self) -> None:
        """Stop; at the end of the planned epochs, say so."""
        trainer = self._ready()
        self._running, self._until = False, None
        self._screen.redraw()
        if trainer.step != trainer.steps_planned:
            return
        self._tell({
            "type": "stopped",
            "words": f"The planned {trainer.plan.epochs:,} epochs are complete, at step {trainer.step:,}. Press Run"
            " again to go on beyond them, until you pause.",
        })  # fmt: skip

    def _examine(self) -> None:
        """Let the doctor make its next check, unless the page races."""
        if self._trainer is None or self._racing or self._trainer.pending is not None:
            return
        try:
            message = self._watch.look(self._trainer, self._running)
        except Exception:  # training goes on without it
            self._log("the doctor of a page failed")
            self._watch = Watch(ended=True)
            return
        if message is not None:
            self._tell(message)

    def show(self) -> None:
        """Send what a command changed, if anything: to a page that has drawn everything before."""
        self._screen.in_flight = False
        self._show()

    def _show(self) -> None:
        """Send a frame, unless the page is still drawing the previous one."""
        if not self._screen.changed or self._screen.in_flight or self._trainer is None:
            return
        if (self._racing or self._last_lap) and self._race is not None:
            self._screen.show_race(self._race, self._last_lap)
            self._last_lap = False
        else:
            self._screen.show(self._trainer, self._running, self._speed)
