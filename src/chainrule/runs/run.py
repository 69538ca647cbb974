"""A recorded run: what was trained and on what, any of its steps, and how to resume it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from chainrule.data import BUILTIN, Data, Dataset, from_arrays, load, patterns
from chainrule.data.columns import EARLIER
from chainrule.data.files import in_memory
from chainrule.data.pictures import fingerprint_of_pixels
from chainrule.data.streamed.array_files import paths_of
from chainrule.engine import Position, StepRecord
from chainrule.errors import ChainruleError, DataError, RunError, at_least, is_number, setting
from chainrule.processes import is_first
from chainrule.runs import folder as files
from chainrule.runs import loader, logged
from chainrule.runs.differences import difference
from chainrule.runs.fitting import check_callbacks, follow, other_data
from chainrule.runs.lock import sweep_left
from chainrule.runs.recorder import Recorder, record_threshold
from chainrule.runs.records import DataRecipe, Manifest, Versions
from chainrule.runs.trained import Trained
from chainrule.summary import Shown, Summary
from chainrule.training import Listener, Timeline, history
from chainrule.training.loop import final_weights
from chainrule.training.metrics import Choice, Metric, unknown_functions, with_functions
from chainrule.training.plan import Plan
from chainrule.training.planning import AUTO, on_engine, with_patience
from chainrule.training.progress_bar import with_progress

Own: TypeAlias = type | Callable[..., Any] | Metric
"""A class or a function from outside chainrule."""


@dataclass(frozen=True, repr=False)
class Run(Shown):
    """A recorded run.

    Attributes:
        folder: where it is
        manifest: how training ended, after how many epochs and steps, and by which version
        data: what it was trained on: name, fingerprint, how it was loaded, rows, target
        versions: of chainrule, NumPy and Python when it was trained
        trained: the network with its weights, ready to predict
    """

    folder: Path
    manifest: Manifest
    data: DataRecipe
    versions: Versions
    trained: Trained

    @staticmethod
    def open(folder: str | Path, own: Own | Iterable[Own] = ()) -> Run:
        """Read a run. No code in it is executed.

        Args:
            folder: the run's folder
            own: what the run may consist of besides chainrule's own classes: your layers and other
                classes, and the functions that are its metrics, which are found by their names

        Raises RunError for a run that is missing, incomplete, altered or newer.
        """
        folder, own = Path(folder), list(own) if isinstance(own, Iterable) else [own]
        loaded = loader.load(folder, [kind for kind in own if isinstance(kind, type)])
        functions = [function for function in own if not isinstance(function, type)]
        plan = replace(loaded.plan, metrics=with_functions(loaded.plan.metrics, functions))
        weights, manifest = final_weights(plan, loaded.progress), loaded.manifest
        threshold = manifest.get("threshold", plan.fixed_threshold)
        trained = Trained(
            plan, loaded.target, loaded.preparation, *weights, loaded.progress, reason=manifest["status"],
            folder=folder, threshold=threshold,
        )  # fmt: skip
        return Run(folder, loaded.manifest, loaded.data, loaded.versions, trained)

    def summary(self) -> Summary:
        """Its data, its choices, its network, and what was measured."""
        trained, rows, settings = self.trained, self.data["rows"], self.data["settings"]
        what = settings.get("what", self.data["name"]) if settings else self.data["name"]
        sizes = ", ".join(f"{rows[part]:,} {part}" for part in ("training", "validation", "test"))
        own, notes = trained.summary(), [] if trained.preparation is None else trained.preparation.notes
        about = f"{self.manifest['status']} after {self.manifest['epochs']} epochs, {self.manifest['steps']:,} steps"
        facts = {"data": f"{what}: {sizes} samples", **own.facts}
        if self.is_imported:
            about, facts["data"] = "imported, without steps", f"none; imported from {what}"
        if len({plan.ranks for plan in self._plans().values()} | {1}) > 1:
            facts["ranks"] = ", ".join(f"{plan.ranks} from step {step:,}" for step, plan in self._plans().items())
        engines = {step: plan.computes_on for step, plan in self._plans().items()}
        if len({*engines.values()}) > 1:
            facts["engine"] = "; ".join(f"{name} from step {step:,}" for step, name in engines.items())
        elif trained.plan.engine == "jax":
            facts["engine"] = trained.plan.computes_on
        if trained.progress.samples:
            last = trained.progress.samples[-1]
            facts["writing"] = last.line
        for recipe in self.manifest.get("logs", []):
            name = {"tensorboard": "TensorBoard", "mlflow": "MLflow"}[recipe["kind"]]
            facts[name] = logged.opened_by(recipe, self.folder)
        return Summary(str(self.folder), about, facts, own.table, own.curves, notes)

    def load_data(self) -> Dataset:
        """Load what the run was trained on; raises DataError if it is missing or has changed."""
        settings = self.data["settings"]
        if self.is_imported:
            remedy = f"pass your own, or train it on them: chainrule train DATA --from {self.folder}"
            raise DataError(f"{self.folder}: it was imported, without data; {remedy}")
        if settings is None or "what" not in settings:
            raise DataError(
                f"{self.folder}: it was trained on a frame or arrays that no file holds; pass the data as well"
            )
        problem: ChainruleError | None = None
        for what in self._places(settings["what"]):
            try:
                data = self._loaded(what)
                if data.fingerprint == self.data["fingerprint"]:
                    return self.own_data(data)
                changed = f"it has changed since the run {self.folder} was trained on it{self._other_files(data)}"
                raise DataError(f"{data.name}: {changed}: {difference(self.data, data)}; restore it, or train again")
            except ChainruleError as error:  # another file of this name, perhaps
                problem = problem or error
        assert problem is not None
        raise problem

    @property
    def is_imported(self) -> bool:
        """Whether it is a network that was made elsewhere, without steps and data."""
        return self.manifest["status"] == "imported"

    def require_steps(self) -> None:
        """Raise RunError, with the command that makes them, for a run without steps."""
        if self.is_imported:
            remedy = f"train it further on data of your own: chainrule train DATA --from {self.folder}"
            raise RunError(f"{self.folder}: it was imported, and has no steps; {remedy}")
        if not self.manifest["steps"]:
            remedy = f"go on with it: chainrule train --resume {self.folder}"
            raise RunError(f"{self.folder}: its training ended before its first step; {remedy}")

    def other_data(self, what: Data | Dataset, **reading: Any) -> Dataset:
        """Other data than the run's own, prepared as the network takes it.

        Args:
            what: a Dataset that is prepared, or data in a form that `load` takes
            reading: arguments of `load`, such as the target

        Raises DataError for data that does not fit the network.
        """
        return other_data(self.trained, what, **reading)

    def _loaded(self, what: Data) -> Dataset:
        """This data, read, split and prepared as what the run was trained on."""
        settings, task, preparation = self.data["settings"], self.data["target"]["task"], self.trained.preparation
        if isinstance(what, str | Path) and "what" not in (settings or {}) and Path(what).exists():
            what = in_memory(Path(what))
        if preparation is None and isinstance(what, tuple | list) and len(what) == 2:
            return from_arrays(*(one if isinstance(one, np.memmap) else np.asarray(one) for one in what), task=task)
        if settings is None or preparation is None:
            unknown = f"{self.folder}: how its data was split, weighted or validated is not recorded"
            raise DataError(f"{unknown}; pass a Dataset, as chainrule.load or chainrule.from_arrays returns")
        arguments: dict[str, Any] = {**settings, "what": what, "task": task}
        if settings.get("read"):
            arguments["read"] = {name: EARLIER.get(kind, kind) for name, kind in settings["read"].items()}
        for part in ("validation", "test"):
            if isinstance(arguments[part], str):
                arguments[part] = self._places(arguments[part])[0]
        return self._as_recorded(load(**arguments, preparation=preparation), arguments)

    def _as_recorded(self, data: Dataset, arguments: Mapping[str, Any]) -> Dataset:
        """The data, with the fingerprints of the run if an earlier version recorded folders of the
        same pictures, whose fingerprints were of pixels.
        """
        same: dict[str, Any] = {}
        for key, name in (("what", "fingerprint"), ("validation", "validation"), ("test", "test")):
            what, recorded = arguments[key], self.data.get(name)
            attribute = name if key == "what" else f"{name}_fingerprint"
            if (
                recorded
                and getattr(data, attribute) != recorded
                and isinstance(what, str | Path)
                and Path(what).is_dir()
                and not patterns.holds_tables(Path(what))
                and paths_of(what) is None
            ):
                found = fingerprint_of_pixels(Path(what), arguments["image_size"])
                same |= {attribute: recorded} if found == recorded else {}
        return replace(data, **same)

    def _other_files(self, data: Dataset) -> str:
        """Which files a pattern matches now and did not then, or the other way round."""
        before, now = {*self.data.get("files", ())}, {*data.source.files} if data.source else set[str]()
        if not before:
            return ""
        changes = [f"{what} {', '.join(sorted(names)[:3])}" for what, names in (
            ("new:", now - before), ("missing:", before - now)) if names]  # fmt: skip
        return f" ({'; '.join(changes)})" if changes else ""

    def _places(self, recorded: str) -> list[str]:
        """Where data that was read from here may be now: here, or as far from the run's folder as
        it was when it was recorded. Raises DataError if it is nowhere.
        """
        if recorded in BUILTIN:
            return [recorded]
        folder = self.folder.absolute()
        places = [Path(recorded)]
        if "folder" in self.data and Path(recorded).is_absolute():
            with contextlib.suppress(ValueError):  # from one drive to another there is no path
                places.append(folder / os.path.relpath(recorded, self.data["folder"]))
        elif not Path(recorded).is_absolute():  # as older versions recorded it
            places += [parent / recorded for parent in list(folder.parents)[:2]]
        found = [os.path.normpath(place) for place in places if patterns.exists(place)]
        if not found:
            missing = f"there is no such file or folder, which the run {self.folder} was trained on"
            raise DataError(f"{recorded}: {missing}; move it back there")
        return list(dict.fromkeys(found))

    def own_data(self, data: Data | Dataset | None = None) -> Dataset:
        """What the run was trained on: this data, once that is verified; None loads it.

        Args:
            data: a Dataset; or the frame, the arrays (x, y) or the file that the run was trained
                on, which is split and prepared as then. Of a run trained on a frame or arrays, a
                file that holds them will do: CSV, or NPZ with arrays x and y

        Raises DataError for other data, and for the same data split or scaled differently.
        """
        if data is None:
            return self.load_data()
        if self.is_imported:
            return self.other_data(data)
        if not isinstance(data, Dataset):
            data = self._loaded(data)
        differs = difference(self.data, data)
        if differs:
            other = f"it is not the data that the run {self.folder} was trained on"
            raise DataError(f"{data.name}: {other}: {differs}; pass the run's own data")
        fitted = self.trained.preparation
        return data if fitted is None or fitted.pipeline is None else data.prepared_by(fitted)

    def at(self, step: int, data: Data | Dataset | None = None) -> StepRecord:
        """A step, replayed bit for bit from the last checkpoint before it.

        Args:
            step: its number, counted from 0
            data: what the run was trained on, in a form of `own_data`, if no file holds it or it
                is loaded already

        Returns:
            weights and optimizer state before and after the step, the rows of its mini-batch, its
            loss, gradient and update

        Raises RunError for a step that the run does not have, DataError for other data.
        """
        return next(self.each([step], data))

    def each(self, steps: Iterable[int], data: Data | Dataset | None = None) -> Iterator[StepRecord]:
        """Several steps, in ascending order; no step is replayed twice."""
        steps, last = list(steps), self.manifest["steps"] - 1
        for step in steps:
            self.require_steps()
            if not 0 <= step <= last:
                raise RunError(f"{self.folder}: it has no step {step}; it has steps 0 to {last}")
        yield from self.timeline(self.own_data(data)).each(steps)

    def timeline(self, data: Dataset) -> Timeline:
        """The steps of the run, which are replayed on its own data."""
        plans = list(self._plans().items())
        return Timeline(data.training, plans, Checkpoints(self), self.trained.history)

    def _plans(self) -> dict[int, Plan]:
        """The plans of the run, by the step from which each holds; of one step the last counts."""
        return {
            start: replace(self.trained.plan, epochs=epochs, **loader.computed(*settings))
            for start, epochs, *settings in self.manifest["planned"]
        }

    @property
    def checkpoints(self) -> list[int]:
        """The steps before which weights and optimizer state were saved, in ascending order."""
        return files.checkpoint_steps(self.manifest["files"])

    def steps_along(self, count: int) -> list[int]:
        """Steps spread over the run, to show how something evolved: those of the checkpoints, and
        evenly spaced ones if these are fewer than `count`; of more than twice as many, a part.
        """
        last = self.manifest["steps"] - 1
        steps = [step for step in self.checkpoints if step <= last]
        if len(steps) >= count or last < 0:
            return sorted({*steps[:: len(steps) // count], steps[-1]}) if steps else steps
        return sorted({*steps, *(round(k * last / (count - 1)) for k in range(count))})

    def resume(
        self,
        data: Data | Dataset | None = None,
        epochs: int | None = None,
        callbacks: Sequence[Listener] = (),
        threads: int | None = None,
        progress: bool | None = None,
        logs: bool = True,
        patience: int | str | None = AUTO,
        engine: str | None = None,
        devices: int | None = None,
    ) -> Trained:
        """Continue the run in its folder, bit for bit as if it had never stopped, and its logs.

        Args:
            data: what the run was trained on, in a form of `own_data`, if no file holds it or it
                is loaded already
            epochs: the total number of epochs; by default as planned
            callbacks: functions that are called with every event
            threads: the most threads to use
            progress: whether to show a bar; by default in a notebook alone
            logs: whether to continue the run's logs for TensorBoard and MLflow; one among the
                callbacks takes the place of that of its kind
            patience: after how many epochs without an improvement to stop early; None for never;
                by default as planned
            engine: on which engine to go on; by default on the same one. The run keeps which steps
                each engine took, and each is replayed on its own
            devices: on how many of JAX's devices to go on, with the engine "jax"

        Raises DataError for other data, SettingError for an engine that is not installed, and
        RunError if the run stopped early and would again, if a log is gone, if another process is
        writing to the run, or has resumed it since it was opened, or if it was opened without a
        function that is its metric.
        """
        check_callbacks(callbacks)
        if self.is_imported:
            way = f"train further on data of your own: chainrule train DATA --from {self.folder}"
            raise RunError(f"{self.folder}: it was imported, so there is no training to resume; {way}")
        plan = self.trained.plan
        for name in unknown_functions(plan.metrics):
            remedy = f"resume the run in Python: Run.open(folder, own=[{name}]).resume()"
            raise RunError(f"{self.folder}: its metric {name} is a function of your own, which no run holds; {remedy}")
        if epochs is not None:
            plan = replace(plan, epochs=at_least(f"{epochs!r} epochs: pass their total number", epochs, 1))
        complete = self.trained.progress.epoch
        is_done = (
            plan.epochs == complete and self.manifest["status"] == "complete"
        )  # else a killed process did not say so
        if plan.epochs < complete or is_done:
            sweep_left(self.folder, self.manifest["files"])  # of a process killed just after its last epoch
            raise RunError(f"{self.folder}: it has {complete} epochs already; ask for more ({setting('epochs')})")
        data = self.own_data(data)
        plan = on_engine(plan, engine, devices)
        plan = plan if patience == AUTO else with_patience(plan, patience, data)
        self._check_not_stopped(plan.patience)
        known = self.manifest.get("logs", []) if logs else []
        if not is_first():
            return replace(follow(plan, data, self.trained.progress, (), threads), folder=self.folder)
        callbacks = [*callbacks, *logged.continued(known, self.folder, callbacks)]
        recorder = Recorder(self.folder, resume=True)
        try:
            if loader.read_manifest(self.folder) != self.manifest:
                raise RunError(f"{self.folder}: the run was resumed after it was opened; open it again")
            shown: list[Listener] = [recorder, *with_progress(callbacks, progress)]
            trained = follow(plan, data, self.trained.progress, shown, threads)
            return replace(trained, folder=self.folder)
        finally:
            recorder.close()

    def _check_not_stopped(self, patience: int | None) -> None:
        """Raise RunError if the run stopped early and, with this patience, would not go on."""
        waited, plan = self.trained.progress.waited, self.trained.plan
        if self.manifest["status"] != "early" or patience is None or waited < patience:
            return
        watched = history.label(f"validation_{plan.monitor}", self.trained.target)
        why = f"it stopped early: the {watched} had not improved for {waited} epoch{'s' * (waited > 1)}"
        raise RunError(f"{self.folder}: {why}; to go on, be more patient ({setting('patience', 2 * waited)})")

    def keep_threshold(self, threshold: Choice | float | None, data: Data | Dataset | None = None) -> Run:
        """Decide between two classes by another threshold from now on, and return the run with it.

        Args:
            threshold: as in `Trained.with_threshold`
            data: what the run was trained on, in a form of `own_data`, if no file holds it or it
                is loaded already

        Raises an error as `with_threshold` does, and RunError if the run can't be written to.
        """
        is_chosen = threshold is not None and not is_number(threshold)
        trained = self.trained.with_threshold(threshold, self.own_data(data) if is_chosen else None)
        record_threshold(self.folder, self.manifest, trained.plan, trained.threshold)
        return replace(self, manifest=loader.read_manifest(self.folder), trained=trained)


def open(folder: str | Path, own: type | Iterable[type] = ()) -> Trained:
    """The trained network in a folder, from `Trained.save` or a run, ready to predict.

    `Run.open` gives the run, with its data and its steps. The arguments are the same; RunError is
    raised for a folder that is missing, incomplete, altered or newer. No code in it is executed.
    """
    return Run.open(folder, own).trained


@dataclass(frozen=True)
class Checkpoints(Mapping[int, Position]):
    """The positions that a run saved, by step, each read when it is needed.

    Attributes:
        run: the run
    """

    run: Run

    def __iter__(self) -> Iterator[int]:
        if not self.run.checkpoints:
            raise RunError(f"{self.run.folder}: it has no checkpoint to replay from; it was altered")
        return iter(self.run.checkpoints)

    def __len__(self) -> int:
        return len(self.run.checkpoints)

    def __getitem__(self, step: int) -> Position:
        run = self.run
        return loader.read_checkpoint(run.folder, run.manifest, run.trained.plan, step)
