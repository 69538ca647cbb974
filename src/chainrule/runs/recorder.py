"""The recorder: a callback that saves a training as a run."""

from __future__ import annotations

import math
import platform
import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from chainrule.errors import RunError, check_writable, require
from chainrule.runs import folder as files
from chainrule.runs import logged, state
from chainrule.runs.differences import contents, data_recipe
from chainrule.runs.loader import read_manifest
from chainrule.runs.lock import Lock, claim
from chainrule.runs.recipe import to_json
from chainrule.training import Ended, EpochEnded, Event, Plan, Progress, Started, Stepped
from chainrule.version import VERSION

STATE_SPACING = 1.0
"""Minimum seconds between two saved states: epochs in between are not saved, except the last."""
WITHIN_EPOCH = 5.0
"""Minimum seconds before a state is saved within an epoch: a killed training loses as much at most,
however long its epochs are.
"""
CHECKPOINT_SPACING = 0.4
"""Minimum seconds between two checkpoints; replaying a step takes about as long at most."""
MANIFEST_GROWTH = 300
"""Bytes by which the manifest may grow when it names another file or two."""
LIMIT = 200_000_000
"""Maximum bytes of a run; beyond, checkpoints are removed such that the rest is evenly spaced."""


class Recorder:
    """Saves a training in a folder: `train(..., callbacks=[Recorder("runs/mine")])`.

    Until training is over, no other process can write into the folder.

    Args:
        folder: a folder that does not exist yet
        limit: the maximum bytes of the folder. The state, the first checkpoint and the last two are
            always kept; the fewer there are in between, the longer it takes to replay a step
        numbered: whether to append the first free number to the folder's name, as in
            "runs/mine-1"; the attribute `folder` has the full name once training has started
        resume: whether to continue the run that is in the folder, within that run's limit
        clock: gives the time in seconds

    Attributes:
        folder: the run's folder
        logs: the other callbacks that may be logs, which the run keeps; `train` sets them

    Raises RunError if the folder can't be written.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        limit: int = LIMIT,
        numbered: bool = False,
        resume: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        require(limit > 0, f"the limit of a run is {limit} bytes; it must be positive")
        self.folder = Path(folder)
        self._limit, self._numbered, self._resume, self._clock = limit, numbered, resume, clock
        self._manifest: dict[str, Any] = {}
        self._sizes: dict[str, int] = {}
        self._state_time = self._checkpoint_time = 0.0
        self._started, self._before, self._has_trained = 0.0, 0.0, False
        self._lock: Lock | None = None
        self.logs: Sequence[Any] = ()
        self._remedy = files.COPY if resume else None
        if resume:
            self._lock = Lock(self.folder, self._remedy)
        elif numbered:
            check_writable(self.folder)
        else:
            files.check_free(self.folder)

    def __call__(self, event: Event) -> None:
        """Save what an event led to."""
        if isinstance(event, Started):
            if self._resume:
                self._continue(event)
            else:
                self._begin(event)
            self._started = self._state_time = self._checkpoint_time = self._clock()
        elif self.logs and self._manifest:
            self._keep_logs()
        self._has_trained |= isinstance(event, Stepped | EpochEnded)
        if isinstance(event, Stepped):
            now = self._clock()
            if now - self._checkpoint_time >= CHECKPOINT_SPACING:
                self._record(event, now)
        elif isinstance(event, EpochEnded) and self._clock() - self._state_time >= STATE_SPACING:
            self._save(event.progress, "under way")
        elif isinstance(event, Ended) and self._manifest:  # without a manifest, training failed before it started
            self._save(event.progress, event.reason, event.threshold)

    def _record(self, event: Stepped, now: float) -> None:
        """Write a checkpoint; within a long epoch with the state. A state at an epoch's last step
        is that after the epoch: files have the names of steps, and none is written over.
        """
        step, length = event.progress.position.step, event.plan.steps_per_epoch(len(event.data.training.x))
        if step % length and now - self._state_time >= WITHIN_EPOCH:
            self._save(event.progress, "under way", also=_checkpoint(event.progress))
        else:
            self._update(_checkpoint(event.progress))
        self._checkpoint_time = self._clock()

    def _keep_logs(self) -> None:
        """Record where training is logged, which is known once the logs are open."""
        logs = logged.of(self.logs, self.folder)
        if logs and logs != self._manifest.get("logs"):
            self._update({}, logs=logs)

    def close(self) -> None:
        """Let other processes write into the folder; called when training is over."""
        if self._lock is not None:
            self._lock.release()

    def _begin(self, event: Event) -> None:
        """Create the run; its manifest, which is written last, completes it."""
        self.folder, self._lock = claim(self.folder, self._numbered)
        try:
            manifest = self._filled(event)
            files.write_whole(self.folder / files.MANIFEST, files.encoded(manifest))
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise
        self._manifest = manifest

    def _filled(self, event: Event) -> dict[str, Any]:
        """Write the files of a new run, and return its manifest."""
        progress, preparation = event.progress, event.data.preparation
        contents = {
            "recipe.json": files.encoded(recipe(event, self.folder)),
            **_state(progress),
            **_checkpoint(progress),
        }
        contents |= {} if preparation is None else preparation.contents()
        return {
            **_status(progress, "under way"),
            "planned": [[progress.position.step, event.plan.epochs]],  # [step, epochs]: schedules depend on the epochs
            "limit": self._limit,  # of the folder, in bytes
            "files": self._write(contents),
        }

    def _write(self, contents: dict[str, bytes]) -> dict[str, str]:
        """Write files, and return their hashes."""
        for name, content in contents.items():
            files.write_whole(self.folder / name, content, self._remedy)
            self._sizes[name] = len(content)
        return {name: files.hash_of(content) for name, content in contents.items()}

    def _continue(self, event: Event) -> None:
        """Take over a run, without checkpoints of steps that may now be taken differently.

        More epochs may be planned than before, so there is a new recipe, under a new name.
        """
        self._manifest = dict(read_manifest(self.folder))
        self._before = self._manifest.get("seconds", 0.0 if not self._manifest["steps"] else math.nan)
        self._sizes = {name: files.size_of(self.folder / name) for name in self._manifest["files"]}
        files.sweep(self.folder, self._manifest["files"])
        step, content = event.progress.position.step, files.encoded(recipe(event, self.folder))
        name = f"recipe-{files.hash_of(content)[:8]}.json"
        later = [
            files.checkpoint_name(other) for other in files.checkpoint_steps(self._manifest["files"]) if other > step
        ]
        planned = [list(part) for part in self._manifest["planned"] if part[0] < step or not part[0]]
        before = _computed(files.read_json(self.folder, self._manifest, self._recipe_name)["plan"])
        if before != _computed(to_json(event.plan)):  # an engine replays its own steps
            planned = [[*part, before] if len(part) == 2 else part for part in planned]
        planned.append([step, event.plan.epochs])
        self._update({name: content}, ("recipe", *later), status="under way", planned=planned)

    @property
    def _recipe_name(self) -> str:
        return files.path_of(self.folder, self._manifest, "recipe").name

    def _save(
        self, progress: Progress, status: str, threshold: float | None = None, also: Mapping[str, bytes] | None = None
    ) -> None:
        """Replace the state by this one, and write these files as well."""
        decision = {} if threshold is None else {"threshold": threshold}
        self._state_time = self._clock()
        fields = _status(progress, status) | decision | self._seconds(self._state_time)
        self._update(_state(progress) | dict(also or {}), ("state-", "history-", "samples-"), **fields)

    def _seconds(self, now: float) -> dict[str, float]:
        """How long training has taken, with what it took before it was resumed; nothing if that is
        not known, as when a training that is over is saved.
        """
        seconds = self._before + now - self._started
        return {"seconds": round(seconds, 3)} if self._has_trained and math.isfinite(seconds) else {}

    def _update(self, contents: dict[str, bytes], old: tuple[str, ...] = (), **fields: Any) -> None:
        """Write files, then a manifest with them and these fields, without files whose names start
        with one of `old`. If that fails, the run stays as it was.
        """
        before = self._manifest
        kept = {name: file_hash for name, file_hash in before["files"].items() if not name.startswith(old)}
        for name in self._surplus(contents, kept):
            del kept[name]
        try:
            after = before | fields | {"files": kept | self._write(contents)}
            files.advance(self.folder, after, before, self._remedy)
        except RunError:
            files.remove(self.folder, contents.keys() - before["files"].keys())
            raise
        self._manifest = after

    def _surplus(self, contents: dict[str, bytes], kept: Iterable[str]) -> set[str]:
        """The checkpoints to remove so that contents and kept files stay within the limit: each
        time the one that leaves the smallest gap, but never the first or the last two: from the
        last but one the last step, which is looked at most, is replayed in no time.
        """
        sizes = {name: self._sizes[name] for name in kept} | {name: len(c) for name, c in contents.items()}
        total = sum(sizes.values()) + len(files.encoded(self._manifest)) + MANIFEST_GROWTH
        steps, surplus = files.checkpoint_steps(sizes), set[str]()
        while total > self._manifest["limit"] and len(steps) > 3:
            gaps = [after - before for before, after in zip(steps, steps[2:-1], strict=False)]
            name = files.checkpoint_name(steps.pop(1 + int(np.argmin(gaps))))
            surplus.add(name)
            total -= sizes[name]
        return surplus


def copy(folder: Path, to: Path) -> None:
    """Write a run's files, each verified, into a folder that does not exist yet."""
    manifest = read_manifest(folder)
    files.check_free(to)
    to, lock = claim(to, numbered=False)
    try:
        for name in manifest["files"]:
            files.write_whole(to / name, files.read_file(folder, manifest, name))
        kept = {key: value for key, value in manifest.items() if key != "logs"}  # which are not copied
        files.write_whole(to / files.MANIFEST, files.encoded(kept))
    except BaseException:
        shutil.rmtree(to, ignore_errors=True)
        raise
    finally:
        lock.release()


def record_threshold(folder: Path, manifest: Mapping[str, Any], plan: Plan, threshold: float | None) -> None:
    """Write into a run a plan that asks for another threshold, and the threshold.

    Args:
        folder: the run's folder
        manifest: as it was when the run was opened
        plan: the plan, which replaces that of the recipe
        threshold: from which probability on the second class is predicted, or None

    Raises RunError if the run has changed since, another process writes to it, or it can't be
    written.
    """
    lock = Lock(folder, files.COPY)
    try:
        before = read_manifest(folder)
        if before != manifest:
            raise RunError(f"{folder}: the run was changed after it was opened; open it again")
        files.sweep(folder, before["files"])
        content = files.encoded({**files.read_json(folder, before, "recipe"), "plan": to_json(plan)})
        name = f"recipe-{files.hash_of(content)[:8]}.json"
        files.write_whole(folder / name, content, files.COPY)
        after: dict[str, Any] = {key: value for key, value in before.items() if key != "threshold"}
        after |= {} if threshold is None else {"threshold": threshold}
        kept = {file: known for file, known in before["files"].items() if not file.startswith("recipe")}
        files.advance(folder, after | {"files": kept | {name: files.hash_of(content)}}, before, files.COPY)
    finally:
        lock.release()


def _checkpoint(progress: Progress) -> dict[str, bytes]:
    return {files.checkpoint_name(progress.position.step): state.position_to_bytes(progress.position)}


def _state(progress: Progress) -> dict[str, bytes]:
    step, history = f"{progress.position.step:08d}", files.encoded(list(progress.history))
    contents = {f"state-{step}.safetensors": state.to_bytes(progress), f"history-{step}.json": history}
    if progress.samples:
        contents[f"samples-{step}.json"] = files.encoded([sample._asdict() for sample in progress.samples])
    return contents


def _status(progress: Progress, status: str) -> dict[str, Any]:
    return {
        "format": files.FORMAT,
        "chainrule": VERSION,
        "status": status,
        "epochs": progress.epoch,
        "steps": progress.position.step,
    }


def _computed(plan: dict[str, Any]) -> dict[str, Any]:
    """The settings of a plan, as JSON, that say how its steps are computed: `records.Computed`."""
    return {name: plan.get(name) for name in COMPUTED} | {"ranks": plan.get("ranks", 1)}


COMPUTED = ("engine", "devices", "compute")
"""Their names, but for the number of ranks."""


def recipe(event: Event, folder: Path) -> dict[str, Any]:
    """Everything that determines a training, as JSON.

    With the run's folder, so that its data is found beside it if both are moved.
    """
    source = event.data.source
    of_source = {} if source is None else {"contents": contents(source)}
    return {
        "plan": to_json(event.plan),
        "data": data_recipe(event.data) | of_source | {"folder": str(folder.absolute())},
        "versions": {"chainrule": VERSION, "numpy": np.__version__, "python": platform.python_version()},
    }
