"""A run that was recorded: what it was, what it learned, and how to go on."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from chainrule.data import Dataset, Preparation, Target, load
from chainrule.engine import Position, StepRecord
from chainrule.errors import ChainruleError, DataError, RunError
from chainrule.runs import folder as files
from chainrule.runs import state
from chainrule.runs.recipe import from_json
from chainrule.runs.recorder import Recorder, data_recipe, frame_name, frame_step
from chainrule.training import Listener, Plan, Progress, Timeline, Trained, follow
from chainrule.training.loop import chosen


@dataclass(frozen=True)
class Run:
    """A recorded run.

    Attributes:
        folder: where it is
        manifest: how training ended, after how many epochs and steps, by which version
        data: what it was trained on: name, fingerprint, how it was loaded, rows, target
        versions: of chainrule, NumPy and Python when it was trained
        trained: the network with its weights, ready to predict
    """

    folder: Path
    manifest: dict[str, Any]
    data: dict[str, Any]
    versions: dict[str, str]
    trained: Trained

    @staticmethod
    def open(folder: str | Path, own: Iterable[type] = ()) -> Run:
        """Read a run; `own` are layers and the like from outside chainrule that it may be made of.

        No code of the run's is executed. Raises RunError for a run that is missing, incomplete, altered or newer.
        """
        folder = Path(folder)
        manifest = files.read_manifest(folder)
        recipe = files.read_json(folder, manifest, "recipe")
        try:
            plan = from_json(recipe["plan"], own)
            data, versions = dict(recipe["data"]), dict(recipe["versions"])
            target = Target.from_json(data["target"])
        except (KeyError, TypeError, AttributeError) as error:
            raise RunError(f"{folder}: its recipe can't be read ({error!r}); it was altered") from None
        except RunError:
            raise
        except ChainruleError as error:
            raise RunError(f"{folder}: its recipe makes no sense: {error}") from None
        if not isinstance(plan, Plan):
            raise RunError(f"{folder}: its recipe holds no plan; it was altered")
        progress = _progress(folder, manifest, plan)
        preparation = _preparation(folder, manifest)
        parameters, statistics = chosen(plan, progress)
        trained = Trained(plan, target, preparation, parameters, statistics, progress, None, manifest.get("status", ""))
        return Run(folder, manifest, data, versions, trained)

    def load_data(self) -> Dataset:
        """The data that the run was trained on, read again; raises DataError if it is not to be had or has changed."""
        if self.data["settings"] is None:
            raise DataError(f"{self.folder}: it was trained on arrays that no file holds; give the data to go on with")
        settings = dict(self.data["settings"])
        data = load(settings.pop("what"), **settings)
        if data.fingerprint != self.data["fingerprint"]:
            raise DataError(
                f"{data.name}: it has changed since the run {self.folder} was trained on it; bring it back, or train"
                " anew"
            )
        return data

    def own_data(self, data: Dataset | None = None) -> Dataset:
        """The data that the run was trained on: this, if it is that, or else read again.

        Raises DataError for other data, and for the same data split or scaled in another way.
        """
        if data is None:
            return self.load_data()
        differs = _differences(self.data, json.loads(json.dumps(data_recipe(data))))
        if differs:
            raise DataError(
                f"{data.name}: it is not the data that the run {self.folder} was trained on, for it differs in"
                f" {', '.join(differs)}; give the run's own data"
            )
        return data

    def at(self, step: int, data: Dataset | None = None) -> StepRecord:
        """Step number `step`, counted from 0, as it was in training, bit for bit.

        It is taken again from the nearest frame before it: weights and optimizer state before and
        after, the batch's rows, loss, gradient and update. `data` is the run's data, if it is at
        hand already.

        Raises RunError for a step that the run does not have, DataError for other data.
        """
        return next(self.each([step], data))

    def each(self, steps: Iterable[int], data: Dataset | None = None) -> Iterator[StepRecord]:
        """Several steps, in their order; what lies between two frames is taken again once only."""
        last = self.manifest["steps"] - 1
        for step in (wanted := list(steps)):
            if not 0 <= step <= last:
                raise RunError(f"{self.folder}: it has no step {step}; it has steps 0 to {last}")
        yield from self.timeline(self.own_data(data)).each(wanted)

    def timeline(self, data: Dataset) -> Timeline:
        """Any step of the run, on its own data: replayed from the nearest frame."""
        plans = [(start, replace(self.trained.plan, epochs=epochs)) for start, epochs in self.manifest["planned"]]
        return Timeline(data.training, plans, Frames(self), self.trained.history)

    @property
    def frames(self) -> list[int]:
        """The steps of which weights and optimizer state were kept."""
        return sorted(frame_step(name) for name in self.manifest["files"] if name.startswith("frame-"))

    def steps_along(self, count: int) -> list[int]:
        """Steps spread over the run, to show how something changed: where frames are, or at least `count`."""
        last = self.manifest["steps"] - 1
        kept = [frame for frame in self.frames if frame <= last]
        if len(kept) >= count or last < 0:
            return kept
        return sorted({*kept, *(round(k * last / (count - 1)) for k in range(count))})

    def resume(
        self, data: Dataset | None = None, epochs: int | None = None, callbacks: Sequence[Listener] = ()
    ) -> Trained:
        """Go on where the run ended, in its folder, up to `epochs` in all; to the bit as if it had
        never stopped.

        `data` is the run's data, if it is at hand already or if no file holds it. Raises DataError
        for other data, and RunError if another process is writing to the run, or has gone on with
        it since it was opened.
        """
        plan = self.trained.plan if epochs is None else replace(self.trained.plan, epochs=epochs)
        if plan.epochs < self.trained.progress.epoch or plan.epochs < 1:
            raise RunError(
                f"{self.folder}: it has {self.trained.progress.epoch} epochs already; ask for more (--epochs)"
            )
        data = self.own_data(data)
        recorder = Recorder(self.folder, going_on=True)
        try:
            if files.read_manifest(self.folder) != self.manifest:
                raise RunError(f"{self.folder}: the run has gone on since it was opened; open it again")
            return follow(plan, data, self.trained.progress, [recorder, *callbacks])
        finally:
            recorder.close()


@dataclass(frozen=True)
class Frames(Mapping[int, Position]):
    """The positions that a run kept, by step, each read when it is asked for."""

    run: Run

    def __iter__(self) -> Iterator[int]:
        if not self.run.frames:
            raise RunError(f"{self.run.folder}: it has no frame to start from; it was altered")
        return iter(self.run.frames)

    def __len__(self) -> int:
        return len(self.run.frames)

    def __getitem__(self, step: int) -> Position:
        run, name = self.run, frame_name(step)
        content = files.read_file(run.folder, run.manifest, name)
        position = state.position_from_bytes(content, run.trained.plan, str(run.folder / name))
        if position.step != step:
            raise RunError(f"{run.folder / name}: it is of step {position.step}; it was altered")
        return position


SPLIT = ("seed", "drop", "image_size", "scale_target")
"""Settings of `load` that decide what the training part is, besides what else is compared."""


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """In which respects data differs from what a run was trained on, by their recipes."""
    if before["fingerprint"] != now["fingerprint"]:
        return ["the fingerprint"]
    found = [
        f"the target's {key}" for key in ("name", "task", "classes") if before["target"][key] != now["target"][key]
    ]
    found += [f"the number of {part} rows" for part, rows in now["rows"].items() if before["rows"].get(part) != rows]
    if "weight" in before and before["weight"] != now["weight"]:
        found.append("the samples' weights")
    if before["settings"] and now["settings"]:
        settings = before["settings"], now["settings"]
        found += [f"the setting {key}" for key in SPLIT if len({str(s.get(key)) for s in settings}) > 1]
    return found


def _progress(folder: Path, manifest: dict[str, Any], plan: Plan) -> Progress:
    """Where training ended, as its file and the manifest say alike."""
    history = files.read_json(folder, manifest, "history-")
    path = files.path_of(folder, manifest, "state-")
    progress = state.from_bytes(files.read_file(folder, manifest, path.name), history, plan, str(path))
    if (progress.position.step, progress.epoch) != (manifest["steps"], manifest["epochs"]):
        raise RunError(
            f"{path}: it is of step {progress.position.step} and epoch {progress.epoch}, but {files.MANIFEST} says step"
            f" {manifest['steps']} and epoch {manifest['epochs']}; one of them was altered"
        )
    return progress


def _preparation(folder: Path, manifest: dict[str, Any]) -> Preparation | None:
    """The kept preparation, once its files are known to be whole."""
    names = [name for name in manifest["files"] if name.startswith("preparation.")]
    if not names:
        return None
    contents = {name: files.read_file(folder, manifest, name) for name in names}
    try:
        return Preparation.from_contents(contents)
    except ChainruleError as error:
        raise RunError(f"{folder}: {error}") from None
    except Exception as error:  # whatever a library of another version makes of it
        raise RunError(
            f"{folder}: its data preparation can't be read ({error}); the versions of its libraries may differ"
        ) from None
