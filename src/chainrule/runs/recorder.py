"""The recorder: a listener that keeps a training as a run."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from chainrule.data import Dataset
from chainrule.data.source import fingerprint
from chainrule.engine import Position
from chainrule.errors import RunError, require
from chainrule.runs import folder as files
from chainrule.runs import state
from chainrule.runs.lock import Lock
from chainrule.runs.recipe import to_json
from chainrule.training import Ended, EpochEnded, Event, Progress, Started, Stepped
from chainrule.version import VERSION

SPACING = 1.0
"""Seconds between states: an epoch that ends sooner after the last one kept is not kept, unless it is the last."""
FRAME_SPACING = 0.4
"""Seconds of training between frames, from which any step is had again: so none is further away than that."""
MANIFEST_GROWTH = 300
"""Bytes by which the manifest may grow when it names another file or two."""
LIMIT = 200_000_000
"""Bytes that a run may take; where it is reached, frames are given up so that those left are evenly spread."""


class Recorder:
    """Keeps a training in a folder: `train(..., callbacks=[Recorder("runs/mine")])`.

    The folder must not exist yet.

    With `numbered` the folder's name gets the first number that is free, as in "runs/mine-1";
    `folder` says which once training has started. Until training is over, no other process can
    write into the folder.

    `limit` bounds the bytes that the folder may take (it always holds the state, and the first and
    last frame); where it binds, steps in between are further away. With `going_on` it writes on in
    a run that exists, within that run's limit. Raises RunError where the folder can't be written.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        limit: int = LIMIT,
        numbered: bool = False,
        going_on: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        require(limit > 0, f"the limit of a run is {limit} bytes; it must be positive")
        self.folder = Path(folder)
        self._limit = limit
        self._numbered = numbered
        self._going_on = going_on
        self._clock = clock
        self._manifest: dict[str, Any] = {}
        self._sizes: dict[str, int] = {}
        self._kept = self._framed = 0.0
        self._lock: Lock | None = None
        if going_on:
            self._lock = Lock(self.folder)
        elif numbered:
            files.check_writable(self.folder)
        else:
            files.check_free(self.folder)

    def __call__(self, event: Event) -> None:
        """Take note of an event."""
        if isinstance(event, Started):
            if self._going_on:
                self._go_on(event)
            else:
                self.folder = files.create(self.folder, lambda side: self._fill(side, event), self._numbered)
                self._lock = Lock(self.folder)
            self._kept = self._framed = self._clock()
        elif isinstance(event, Stepped) and self._clock() - self._framed >= FRAME_SPACING:
            self._add_frame(event.progress.position)
        elif isinstance(event, EpochEnded) and self._clock() - self._kept >= SPACING:
            self._keep(event.progress, "under way")
        elif isinstance(event, Ended) and self._manifest:  # without one, training ended before it began
            self._keep(event.progress, event.reason)

    def close(self) -> None:
        """Let other processes write into the folder. Called when training is over."""
        if self._lock is not None:
            self._lock.release()

    def _fill(self, side: Path, event: Event) -> dict[str, Any]:
        """Write a new run's files and give its manifest."""
        prepared = {} if event.data.preparation is None else event.data.preparation.contents()
        contents = {**prepared, "recipe.json": files.encoded(recipe(event)), **_state(event.progress)}
        contents |= {frame_name(event.progress.position.step): state.position_to_bytes(event.progress.position)}
        hashes = self._write(side, contents)
        planned = [[event.progress.position.step, event.plan.epochs]]
        self._manifest = _manifest(event.progress, "under way", hashes, planned, self._limit)
        return self._manifest

    def _write(self, folder: Path, contents: dict[str, bytes]) -> dict[str, str]:
        """Write these files and give their hashes."""
        for name, content in contents.items():
            files.write_whole(folder / name, content)
            self._sizes[name] = len(content)
        return {name: files.hash_of(content) for name, content in contents.items()}

    def _go_on(self, event: Event) -> None:
        """Take over a run's manifest; frames of a future that may now be another one are given up."""
        self._manifest = files.read_manifest(self.folder)
        self._limit = self._manifest["limit"]
        self._sizes = {name: (self.folder / name).stat().st_size for name in self._manifest["files"]}
        step = event.progress.position.step
        later = {name for name in self._manifest["files"] if name.startswith("frame-") and frame_step(name) > step}
        planned = [[start, epochs] for start, epochs in self._manifest["planned"] if start < step or not start]
        self._manifest = self._manifest | {"planned": [*planned, [step, event.plan.epochs]]}
        self._rewrite_recipe(event, later)

    def _add_frame(self, position: Position) -> None:
        """Keep a position."""
        contents = {frame_name(position.step): state.position_to_bytes(position)}
        before, surplus = self._manifest, self._surplus(contents, self._manifest["files"])
        kept = {name: h for name, h in before["files"].items() if name not in surplus}
        self._advance(contents, lambda written: before | {"files": kept | written})
        self._framed = self._clock()

    def _surplus(self, contents: dict[str, bytes], beside: Iterable[str]) -> set[str]:
        """The frames that must go if the folder is to hold these contents beside these files, and no more than its
        limit: each time the one whose absence leaves the least gap, and never the first or the last.
        """
        sizes = {name: self._sizes[name] for name in beside} | {name: len(c) for name, c in contents.items()}
        taken = sum(sizes.values()) + len(files.encoded(self._manifest)) + MANIFEST_GROWTH
        frames, surplus = sorted(frame_step(name) for name in sizes if name.startswith("frame-")), set[str]()
        while taken > self._limit and len(frames) > 2:
            gaps = [after - before for before, after in zip(frames, frames[2:], strict=False)]
            name = frame_name(frames.pop(1 + int(np.argmin(gaps))))
            surplus.add(name)
            taken -= sizes[name]
        return surplus

    def _rewrite_recipe(self, event: Event, without: set[str]) -> None:
        """A run that goes on may do so for more epochs than were planned; the new recipe gets a name of its own."""
        before, content = self._manifest, files.encoded(recipe(event))
        kept = {name: h for name, h in before["files"].items() if not name.startswith("recipe") and name not in without}
        contents = {f"recipe-{files.hash_of(content)[:8]}.json": content}
        self._advance(contents, lambda written: before | {"files": kept | written, "status": "under way"})

    def _keep(self, progress: Progress, status: str) -> None:
        before = self._manifest
        fixed = {name: h for name, h in before["files"].items() if not name.startswith(("state-", "history-"))}
        contents = _state(progress)
        kept = {name: h for name, h in fixed.items() if name not in self._surplus(contents, fixed)}
        after = (before["planned"], before["limit"])
        self._advance(contents, lambda written: _manifest(progress, status, kept | written, *after))
        self._kept = self._clock()

    def _advance(self, contents: dict[str, bytes], manifest: Callable[[dict[str, str]], dict[str, Any]]) -> None:
        """Write these files and then a manifest that names them; if that fails, leave the run as it was."""
        before = self._manifest
        try:
            after = manifest(self._write(self.folder, contents))
            files.advance(self.folder, after, before)
        except RunError:
            files.remove(self.folder, contents.keys() - before["files"].keys())
            raise
        self._manifest = after


def frame_name(step: int) -> str:
    """The file of a step's frame."""
    return f"frame-{step:08d}.safetensors"


def frame_step(name: str) -> int:
    """The step of a frame's file."""
    return int(name.removeprefix("frame-").partition(".")[0])


def _state(progress: Progress) -> dict[str, bytes]:
    step = f"{progress.position.step:08d}"
    return {
        f"state-{step}.safetensors": state.to_bytes(progress),
        f"history-{step}.json": files.encoded(list(progress.history)),
    }


def _manifest(
    progress: Progress, status: str, hashes: dict[str, str], planned: list[list[int]], limit: int
) -> dict[str, Any]:
    return {
        "format": files.FORMAT,
        "chainrule": VERSION,
        "status": status,
        "epochs": progress.epoch,
        "steps": progress.position.step,
        "planned": planned,  # from which step on how many epochs were planned, which schedules depend on
        "limit": limit,  # of the folder, in bytes
        "files": hashes,
    }


def recipe(event: Event) -> dict[str, Any]:
    """All that a training is determined by, as JSON."""
    return {
        "plan": to_json(event.plan),
        "data": data_recipe(event.data),
        "versions": {"chainrule": VERSION, "numpy": np.__version__, "python": platform.python_version()},
    }


def data_recipe(data: Dataset) -> dict[str, Any]:
    """Where data is from, and what it was."""
    parts, weight = {"training": data.training, "validation": data.validation, "test": data.test}, data.training.weight
    return {
        "name": data.name,
        "fingerprint": data.fingerprint,
        "weight": None if weight is None else fingerprint(weight),
        "settings": data.settings,
        "rows": {name: 0 if part is None else len(part.x) for name, part in parts.items()},
        "target": data.target.as_json(),
    }
