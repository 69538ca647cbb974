"""The doctor beside a training on the page: one check at a time, and what persists."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from chainrule.doctor.case import Case, spread
from chainrule.doctor.causes import explained
from chainrule.doctor.diagnosis import CHECKS, Check, Diagnosis, examined
from chainrule.doctor.finding import Finding
from chainrule.play.settings import Settings
from chainrule.play.trainer import Trainer

SHARE = 0.04
"""The share of the time that checks take while training runs, so that it stays below 5 %."""
LONGEST = 0.3
"""Seconds of a check, twice, after which it is not made again: the page would have to wait."""
PERSISTS = 2
"""In how many rounds in a row a finding is made before it appears, and is not before it goes."""
STEPS, EPOCHS, PATIENT = 20, 2, 20
"""The steps and epochs before the first round, and the epochs before a patient check."""
POINTS, ROWS, WORK = 8, 300, 2e7
"""The steps looked at, the samples predicted, and the work of a computation: less than of a run."""


class _AbandonedError(Exception):
    """The page shows another run."""


class Examination:
    """All that the doctor finds in a recorded run, as the command does, in a thread of its own: the
    page goes on meanwhile.

    Attributes:
        found: what it found; None until it is done
        error: what went wrong instead, if something did
        abandoned: whether no one waits for it any more; then it ends after the present check
    """

    def __init__(self, trainer: Trainer) -> None:
        self.found: Diagnosis | None = None
        self.error: Exception | None = None
        self.abandoned = False
        self.thread = threading.Thread(target=self._examine, args=(trainer,), daemon=True, name="doctor")
        self.thread.start()

    def _examine(self, trainer: Trainer) -> None:
        assert trainer.run is not None
        try:
            self.found = examined(Case.of(trainer.run, trainer.data), progress=self._before_each)
        except _AbandonedError:
            pass
        except Exception as error:  # told where the page's own errors are
            self.error = error

    def _before_each(self, number: int, of: int, name: str) -> None:
        if self.abandoned:
            raise _AbandonedError


class Watch:
    """What the doctor finds in the training that a page shows: of a recorded run in all of it, at
    whichever step the page is.

    Args:
        ended: whether it makes no check any more

    Attributes:
        findings: those that persist, the worst first
    """

    def __init__(self, ended: bool = False) -> None:
        self.findings: tuple[Finding, ...] = ()
        self._ended = ended
        self._trainer: Trainer | None = None
        self._examination: Examination | None = None
        self._forget()

    def end(self) -> None:
        """Make no check any more."""
        self._ended = True
        if self._examination is not None:
            self._examination.abandoned = True

    def _forget(self) -> None:
        self._seen: dict[tuple[str, str], int] = {}
        self._missing: dict[tuple[str, str], int] = {}
        self._last: dict[tuple[str, str], Finding] = {}
        self._too_long: set[str] = set()
        self._slow: dict[str, int] = {}
        self._made: list[Check] = []
        self._round: list[Finding] = []
        self._of_data: dict[str, list[Finding]] = {}  # which training does not change
        self._case: Case | None = None
        self._at: Any = None  # the position at which all rounds are over
        self._due, self._rounds = 0.0, 0
        self._sent: Any = None

    def look(self, trainer: Trainer, running: bool) -> dict[str, Any] | None:
        """Make the next check, if one is due; a message for the page, if what persists changed."""
        now = time.monotonic()
        if self._ended:
            return None
        if trainer.run is not None:
            return self._look_at_run(trainer)
        if trainer is not self._trainer or trainer.step < (0 if self._case is None else self._case.steps):
            self._begin(trainer)
            return self._message(trainer)
        if now < self._due or self._at is trainer.position or not self._is_time(trainer):
            return None
        message = self._go_on(trainer, running)
        self._due = time.monotonic() + (time.monotonic() - now) * (1 / SHARE - 1 if running else 0.0)
        return message

    def _begin(self, trainer: Trainer) -> None:
        """Forget what was found in another training."""
        if self._examination is not None:
            self._examination.abandoned = True
        self._trainer, self._examination, self.findings = trainer, None, ()
        self._forget()

    def _look_at_run(self, trainer: Trainer) -> dict[str, Any] | None:
        """A message when the examination of a recorded run begins, and when it is done."""
        if trainer is not self._trainer:
            self._begin(trainer)
            self._examination = Examination(trainer)
        done = self._examination
        if done is not None and done.error is not None:
            self._examination = None
            raise done.error
        if done is not None and done.found is not None:
            self.findings, self._rounds = done.found.findings, 1
        return self._message(trainer)

    def _go_on(self, trainer: Trainer, running: bool) -> dict[str, Any] | None:
        """Make the next check of this round, or the first of a new one."""
        if self._case is None or (not self._left() and self._case.end is not trainer.position):
            self._case, self._made, self._round = case_of(trainer), [], []
        left = self._left()
        if left:
            self._check(left[0])
        if not self._left():
            self._end_round(trainer, running)
            return self._message(trainer)
        return None

    def _is_time(self, trainer: Trainer) -> bool:
        return trainer.step >= max(STEPS, EPOCHS * trainer.steps_per_epoch)

    def _left(self) -> list[Check]:
        """The checks that are still to be made in this round."""
        assert self._case is not None
        length = self._case.plan.steps_per_epoch(len(self._case.data.training.x))
        epochs = self._case.steps / length
        return [
            check for check in CHECKS
            if check not in self._made and check.name not in self._too_long
            if epochs >= PATIENT or not check.is_patient
        ]  # fmt: skip

    def _check(self, check: Check) -> None:
        assert self._case is not None
        began = time.monotonic()
        found = self._of_data.get(check.name)
        if found is None:
            found = list(check.find(self._case))
        if check.of_data:
            self._of_data[check.name] = found
        self._round += found
        self._made.append(check)
        if time.monotonic() - began > LONGEST:
            self._slow[check.name] = self._slow.get(check.name, 0) + 1
            if self._slow[check.name] > 1:  # the first time may have imported something
                self._too_long.add(check.name)

    def _end_round(self, trainer: Trainer, running: bool) -> None:
        """Count in how many rounds each finding was made."""
        assert self._case is not None
        self._rounds += 1
        found = {(one.kind, one.place.partition(",")[0].partition("[")[0]): one for one in self._round}
        # At rest nothing changes, so one round says what all would.
        rests = not running and self._case.end is trainer.position
        for key, one in found.items():
            self._seen[key] = PERSISTS if rests else self._seen.get(key, 0) + 1
            self._missing[key] = 0
            self._last[key] = one
        for key in [key for key in self._seen if key not in found]:
            self._missing[key] = self._missing.get(key, 0) + 1
            if rests or self._missing[key] >= PERSISTS:
                del self._seen[key], self._missing[key], self._last[key]
        self.findings = explained([self._last[key] for key, count in self._seen.items() if count >= PERSISTS])
        if rests:
            self._at = trainer.position
        self._case = replace(self._case) if rests else None

    def _message(self, trainer: Trainer) -> dict[str, Any] | None:
        """What the page shows; None if it shows that already."""
        run = trainer.run
        step = trainer.step if run is None else run.manifest["steps"]
        shown = (
            [one.words for one in self.findings] or step,
            sorted(self._too_long),
            self._at is not None,
            self._rounds > 0,
        )
        if shown == self._sent:
            return None
        self._sent = shown
        return {
            "type": "doctor", "step": step, "findings": [_shown(trainer, one) for one in self.findings],
            "too_long": sorted(self._too_long), "checks": len(CHECKS), "begun": self._rounds > 0,
            "of_run": run is not None,
        }  # fmt: skip


def case_of(trainer: Trainer) -> Case:
    """The training that the page shows, as far as it has come."""
    steps = trainer.step
    known = sorted(step for step in trainer.checkpoints if step < steps)
    looked = (*spread(known, POINTS - 1), steps)
    at = trainer.position
    return Case(
        trainer.plan, trainer.data, trainer.timeline, steps, looked, at, at, "running", tuple(known), ROWS, WORK
    )  # fmt: skip


def _shown(trainer: Trainer, one: Finding) -> dict[str, Any]:
    """A finding as the page draws it."""
    of_run_or_cause = trainer.run is not None or one.consequence_of
    settings = None if of_run_or_cause else remedied(trainer.settings, one.remedy.page)
    return {
        "kind": one.kind, "words": one.words, "place": one.place, "severity": one.severity,
        "select": selected(trainer, one.unit), "remedy": one.remedy.words, "cause": one.consequence_of,
        "set": settings, "set_words": _changes(trainer.settings, settings) if settings else "",
    }  # fmt: skip


def selected(trainer: Trainer, unit: str) -> str:
    """The unit or weight of a finding, as the page selects it; empty if there is none."""
    layer, _, rest = unit.partition("[")
    if layer in trainer.layers:
        return unit if rest else f"{layer}[0]"
    entries = {entry.name: entry for entry in trainer.plan.network.parameters.entries}
    if layer in entries and not rest:
        return f"{layer}[{', '.join('0' * len(entries[layer].shape))}]"
    return ""


def remedied(settings: Settings, page: Mapping[str, Any]) -> dict[str, Any] | None:
    """The settings that follow a remedy, as far as they differ; None if there are none for it."""
    changed: dict[str, Any] = {}
    for name, value in page.items():
        if name == "learning_rate":
            changed[name] = float(f"{min(settings.learning_rate * value, 1000.0):.3g}")
        elif name == "penalty":
            changed |= {"l1": settings.l1 * value, "l2": settings.l2 * value}
        elif name in ("activation", "weights") and settings.network:
            return None  # a network given as text is the user's own
        elif name in ("activation", "weights"):
            layers = changed.get("layers", settings.layers)
            changed["layers"] = tuple(replace(layer, **{name: value}) for layer in layers)
            changed |= {"output_weights": ""} if name == "weights" else {}
        else:
            changed[name] = value
    fields = {name: value for name, value in changed.items() if value != getattr(settings, name)}
    if not fields:
        return None
    whole = asdict(replace(settings, **fields))  # validated
    return {name: whole[name] for name in fields}


def _changes(settings: Settings, changed: Mapping[str, Any]) -> str:
    """What the settings become, in words."""
    words = []
    for name, value in changed.items():
        if name == "layers":
            activations = sorted({layer["activation"] for layer in value})
            words.append(f"{' and '.join(activations)}, weights from the default distribution")
        elif name != "output_weights":
            words.append(f"{name.replace('_', ' ')} {getattr(settings, name):g} \u2192 {value:g}")
    return ", ".join(words) or "weights from the default distribution"
