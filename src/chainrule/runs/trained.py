"""Training in one call, and the trained network that it returns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from reprlib import repr as brief
from typing import Any, NamedTuple, cast

import numpy as np

from chainrule.arrays import Array, Scaled, Shape, Vector, as_read, pack
from chainrule.augmentation import Augmentation
from chainrule.data import (
    Data,
    Dataset,
    Preparation,
    Prepared,
    Samples,
    Source,
    Target,
    find,
    find_samples,
    load,
    prepare,
)
from chainrule.data.barrier import guarded
from chainrule.data.dataframes import as_array, as_polars, is_frame
from chainrule.descent import Optimizer
from chainrule.engine import Chunk, Engine, StepRecord, make_engine
from chainrule.engine.threads import most_threads
from chainrule.errors import DataError, SettingError, is_number, require, unknown
from chainrule.losses import Loss, Penalty
from chainrule.losses import loss as named_loss
from chainrule.runs.loader import read_manifest
from chainrule.runs.recorder import Recorder, copy, record_threshold
from chainrule.summary import Shown, Summary
from chainrule.training import history, loop
from chainrule.training import metrics as measures
from chainrule.training.choice import plan_for
from chainrule.training.class_weights import ClassWeight
from chainrule.training.loop import History, Listener, Progress
from chainrule.training.metrics import Choice
from chainrule.training.plan import AUTO, Layers, Plan
from chainrule.training.progress_bar import with_progress
from chainrule.training.report import Report, report_on
from chainrule.training.threshold import decide, require_two_classes

HELD_OUT = ("validation", "test")


@dataclass(frozen=True)
class HeldOut:
    """Predictions for the samples of a held-out set.

    Attributes:
        rows: (samples,) their rows in what was read, counted from 1; None if unknown
        targets: (samples,) the true classes, or the true quantities in their own units; (samples,
            columns) for several quantities, and for labels, as 0 and 1
        predictions: the predicted ones, in the same shape
        probabilities: (samples, classes) of each class, or (samples, labels); None for quantities,
            and for losses without probabilities
    """

    rows: Array | None
    targets: Array
    predictions: Array
    probabilities: Array | None


class Interval(NamedTuple):
    """Predicted intervals, in the target's own units.

    Attributes:
        lower: (samples,) their lower ends; (samples, columns) for several quantities
        point: the point predictions, in the same shape
        upper: their upper ends
    """

    lower: Array
    point: Array
    upper: Array


def ends(share: float) -> tuple[float, float]:
    """The levels of the quantiles between which this share of a distribution lies."""
    require(is_number(share, above=0, below=1), f"the interval is {share!r}; pass a share between 0 and 1, such as 0.9")
    return (1 - share) / 2, (1 + share) / 2


@dataclass(frozen=True, repr=False)
class Trained(Shown):
    """A trained network.

    Attributes:
        plan: what was trained, and how
        target: what the numbers of the targets mean
        preparation: the fitted preparation of samples; None if they are used as they are
        parameters, statistics: the weights and running statistics that training returned
        progress: where training ended, and can be resumed
        data: what it was trained on; None if it was read from a run
        reason: why training ended: "complete", "early", "stopped", "interrupted" or "diverged"
        chunk: the last steps; None if training was interrupted or diverged
        start: where training started
        folder: the run that it was read from; None if it was trained in this process
        threshold: from which probability on the second of two classes is predicted; None for the
            more probable class
        threads: the most threads to predict with; None for OMP_NUM_THREADS, or one for each core
    """

    plan: Plan
    target: Target
    preparation: Preparation | None
    parameters: Vector
    statistics: Vector
    progress: Progress
    data: Dataset | None = None
    reason: str = "complete"
    chunk: Chunk | None = field(default=None, repr=False)
    start: Progress | None = field(default=None, repr=False)
    folder: Path | None = field(default=None, repr=False)
    threshold: float | None = None
    threads: int | None = None

    def save(self, folder: str | Path) -> None:
        """Write this into a folder, as the run that it is: `chainrule.open` reads it, and so do the
        commands (`chainrule show FOLDER`).

        Args:
            folder: a folder that does not exist yet

        Raises:
            RunError: if the folder exists, or can't be written
            DataError: if what it was trained on is no longer known

        Examples:
            >>> import tempfile, chainrule
            >>> trained = train("8 tanh", "iris", epochs=2)
            >>> with tempfile.TemporaryDirectory() as parent:
            ...     trained.save(f"{parent}/iris")
            ...     same = chainrule.open(f"{parent}/iris")
            >>> bool((same.predict("iris") == trained.predict("iris")).all())
            True
        """
        if self.folder is not None:
            copy(self.folder, Path(folder))
            manifest = read_manifest(Path(folder))
            if manifest.get("threshold") != self.threshold:
                record_threshold(Path(folder), manifest, self.plan, self.threshold)
            return
        if self.data is None:
            raise DataError("what the network was trained on is no longer known; save it before it is pickled")
        first, last = self.start or loop.start(self.plan), self.progress
        states = [array for state in first.position.states for array in state.values()]
        if any(array.dtype.kind == "i" and array.any() for array in states):
            # It went on from a training whose steps are not known; so its weights are kept alone.
            fresh = replace(loop.start(self.plan).position, parameters=self.parameters, statistics=self.statistics)
            first = last = Progress(fresh)
        recorder = Recorder(folder)
        try:
            recorder(loop.Started(self.plan, self.data, first))
            recorder(loop.Ended(self.plan, self.data, last, self.reason, threshold=self.threshold))
        finally:
            recorder.close()

    @property
    def last(self) -> StepRecord | None:
        """The last step, with its gradient and update."""
        return None if self.chunk is None else self.chunk.last

    @property
    def history(self) -> History:
        """What was measured after each epoch."""
        return self.progress.history

    @property
    def epoch(self) -> int:
        """The epoch after which the network had these weights, counted from 1; 0 if untrained."""
        best = self.progress.best
        return self.progress.epoch if best is None or self.plan.patience is None else best.epoch

    def summary(self) -> Summary:
        """What was trained, how it ended, and what was measured after the epoch of its weights."""
        facts = {"target": self.target.described, **self.plan.facts}
        if self.decision:
            facts["threshold"] = self.decision
        if self.epoch:
            facts |= history.words(self.history[self.epoch - 1])
        ended = {"early": "stopped early", "complete": "complete"}.get(self.reason, self.reason)
        about = f"{self.progress.epoch:,} epochs, {ended}"
        if self.epoch != self.progress.epoch:
            about += f"; weights of epoch {self.epoch:,}"
        return Summary("Trained", about, facts, self.plan.network.table, history.curves(self.history))

    @property
    def decision(self) -> str:
        """From which probability on which of two classes is predicted, and how that was chosen;
        empty if it is the more probable one.
        """
        metric, name = self.plan.threshold, self.target.classes[1:2]
        if metric is None and self.threshold is None:
            return ""
        by = f", chosen on the validation set by {history.label(metric)}" if isinstance(metric, str) else ""
        if self.threshold is None:
            return f"0.5, not yet{by}: training did not end; resume it"
        return f"{self.threshold:.4g} or more: {name[0]}{by}"

    def raw(self, x: Any, threads: int | None = None) -> Array:
        """(samples, outputs) the network's output for samples in any form `find_samples` takes,
        with at most so many threads.

        Samples of a Dataset, and their array `x`, are prepared already and used as they are.
        """
        outputs = self._outputs(as_read(self._prepared(x)), threads)
        if not np.isfinite(outputs).all():
            row = int(np.argwhere(~np.isfinite(outputs))[0, 0]) + 1
            raise DataError(f"row {row}: the prediction is not finite; its inputs are too far from the training set's")
        return outputs

    def _outputs(self, x: Array | Scaled, threads: int | None = None) -> Array:
        return self._engine(threads).predict(self.parameters, x, self.statistics)

    def _engine(self, threads: int | None) -> Engine:
        return make_engine(self.plan.engine, self.plan.problem(1), self.threads if threads is None else threads)

    @property
    def texts(self) -> dict[str, str]:
        """The columns that are to be left as text in any file, as when the network was trained."""
        return {} if self.preparation is None else self.preparation.texts

    def _prepared(self, x: Any) -> Array | Scaled:
        if isinstance(x, Samples):
            return x.x
        if self.preparation is None or isinstance(x, Prepared | Scaled):
            return x if isinstance(x, Scaled) else _numbers(x)
        return self.preparation.apply(find_samples(x, texts=list(self.texts)))

    def predict(self, x: Any, threads: int | None = None) -> Array:
        """(samples,) the predicted classes, or quantities in their own units; (samples, columns)
        for several quantities, and for labels, as 0 and 1. With at most so many threads.
        """
        return self.decoded(self.raw(x, threads))

    def probabilities(self, x: Any, threads: int | None = None) -> Array | None:
        """(samples, classes) the probabilities of the classes, or (samples, labels) those of the
        labels; None if the loss has none.
        """
        return self.plan.loss.probabilities(self.raw(x, threads))

    def deviation(self, x: Any) -> Array:
        """(samples,) the predicted standard deviations, in the target's own units; (samples,
        columns) for several quantities.

        Raises SettingError unless the loss predicts a deviation, as "gaussian" does.

        Examples:
            >>> trained = train("8 tanh", "diabetes", loss="gaussian", epochs=20)
            >>> bool((trained.deviation("diabetes") > 0).all())
            True
        """
        return self.deviations_of(self.raw(x))

    def quantiles(self, x: Any, levels: Sequence[float] | None = None) -> Array:
        """(samples, levels) quantiles of the target's distribution, in its own units; (samples,
        levels, columns) for several quantities.

        Args:
            x: samples in any form that `predict` takes
            levels: such as [0.05, 0.95]; by default those that the network was trained for

        Raises:
            SettingError: for a network that does not predict these quantiles

        Examples:
            >>> trained = train("8 tanh", "diabetes", loss="quantiles 0.05 0.5 0.95", epochs=20)
            >>> low, middle, high = trained.quantiles("diabetes").T
            >>> bool(((low <= middle) & (middle <= high)).all())
            True
        """
        levels = getattr(self.plan.loss, "levels", (0.05, 0.5, 0.95)) if levels is None else levels
        return self.quantiles_of(self.raw(x), levels)

    def interval(self, x: Any, share: float = 0.9) -> Interval:
        """Between which numbers a target lies with this probability, and the point prediction.

        Raises SettingError for a network that predicts no such interval: it takes the loss
        "gaussian", or "quantiles" with the levels (1 - share) / 2 and (1 + share) / 2.

        Examples:
            >>> trained = train("8 tanh", "diabetes", loss="quantiles 0.05 0.5 0.95", epochs=20)
            >>> lower, point, upper = trained.interval("diabetes", 0.9)
            >>> bool((lower <= point).all() and (point <= upper).all())
            True
        """
        raw = self.raw(x)
        lower, upper = self.quantiles_of(raw, ends(share)).swapaxes(0, 1)
        return Interval(lower, self.decoded(raw), upper)

    def quantiles_of(self, prediction: Array, levels: Sequence[float]) -> Array:
        """Quantiles, as in `quantiles`, from the network's output."""
        name = self.target.name
        require(self.target.task == "regression", f"{name} is no quantity and has no quantiles; see its probabilities")
        known = isinstance(levels, Sequence | np.ndarray) and all(is_number(q, above=0, below=1) for q in levels)
        require(known, f"the levels are {brief(levels)}; pass numbers between 0 and 1, such as [0.05, 0.95]")
        return self._of_columns(self.plan.loss.quantiles(prediction, levels) * self.target.deviation + self.target.mean)

    def deviations_of(self, prediction: Array) -> Array:
        """Deviations, as in `deviation`, from the network's output."""
        deviation = self.plan.loss.deviation(prediction)
        if deviation is None:
            raise SettingError(f"the loss {type(self.plan.loss).__name__} predicts no deviation; train with 'gaussian'")
        return self._of_columns(deviation * np.array(self.target.deviation))

    def decoded(self, prediction: Array) -> Array:
        """The network's output as classes, as labels, or as quantities in their own units."""
        if self.target.is_class:
            return self.target.decode(decide(self.plan.loss, prediction, self.threshold))
        if self.target.task == "multilabel":
            return self.target.decode(prediction > 0)  # a probability of more than 1/2
        return self._of_columns(self.target.decode(self.plan.loss.point(prediction)))

    def _of_columns(self, values: Array) -> Array:
        """These values without the last axis, the target's columns, if there is one column."""
        return values[..., 0] if self.target.width == 1 else values

    def held_out(self, part: str = "test", data: Dataset | None = None) -> HeldOut:
        """Predictions for a held-out set.

        Args:
            part: "test" or "validation"
            data: what the network was trained on, if it was read from a run:
                `run.trained.held_out("test", run.load_data())`

        Raises:
            SettingError: for another part
            DataError: if the data is missing, or has no such set

        Examples:
            >>> trained = train("8 tanh", "iris", epochs=20)
            >>> held_out = trained.held_out("test")
            >>> held_out.rows[:3].tolist(), held_out.targets[:3].tolist()
            ([4, 6, 8], ['setosa', 'setosa', 'setosa'])
            >>> accuracy = (held_out.predictions == held_out.targets).mean()
            >>> bool(accuracy == trained.evaluate()["accuracy"])
            True
        """
        if part not in HELD_OUT:
            raise unknown("held-out set", part, HELD_OUT)
        data = data or self.data
        if data is None:
            raise DataError("no predictions for held-out samples: the data is missing; pass it as well")
        samples, rows = getattr(data, part), getattr(data, f"{part}_rows")
        if samples is None:
            raise DataError(f"no predictions for held-out samples: there is no {part} set")
        raw = self.raw(samples)
        return HeldOut(
            None if rows is None else rows + 1,
            self._targets(data, np.asarray(samples.y), rows),
            self.decoded(raw),
            self.plan.loss.probabilities(raw) if self.target.task != "regression" else None,
        )

    def _targets(self, data: Dataset, y: Array, rows: Array | None) -> Array:
        """The true targets as they were read; decoded from y where that is unknown."""
        if self.target.is_class:
            return self.target.decode(y if y.ndim == 1 else y.argmax(axis=1))
        if self.target.task == "multilabel":
            return self.target.decode(y)
        if rows is None or data.source is None or data.source.target is None:
            values = self.target.decode(y.reshape(len(y), -1))
        else:
            values = data.source.target[rows].astype(np.float64)
        return values.reshape(len(y)) if values.size == len(y) else values

    def with_threshold(self, threshold: Choice | float | None, data: Dataset | None = None) -> Trained:
        """The same network with another decision between two classes; `predict`, `evaluate` and
        `report` follow it.

        Args:
            threshold: from which probability on the second class is predicted; or the metric by
                which that is chosen on the validation set, such as "f1"; None for the more
                probable class
            data: what the network was trained on, if it was read from a run

        Raises:
            SettingError: if there are not two classes with probabilities, or the metric does not
                depend on the threshold
            DataError: if it takes a validation set and there is none

        Examples:
            >>> trained = train("8 tanh", "moons", epochs=20)
            >>> careful = trained.with_threshold(0.1)
            >>> careful.evaluate()["recall"] >= trained.evaluate()["recall"]
            True
        """
        if threshold is None:
            return replace(self, plan=replace(self.plan, threshold=None), threshold=None)
        require_two_classes(self.target, self.plan.loss)
        if is_number(threshold):
            plan = replace(self.plan, threshold=float(threshold))  # type: ignore[arg-type]
            return replace(self, plan=plan, threshold=plan.fixed_threshold)
        (metric,) = measures.check((cast(Choice, threshold),), self.target)
        measures.check_threshold_metric(metric)
        data = data or self.data
        if data is None or data.validation is None:
            missing = "the data is missing; pass it as well" if data is None else "there is no validation set"
            raise DataError(f"no threshold is chosen: {missing}")
        chosen = loop.choose_threshold(self.plan, data, metric, self.parameters, self.statistics)
        plan = replace(self.plan, threshold=metric if isinstance(metric, str) else chosen)
        return replace(self, plan=plan, threshold=chosen)

    def evaluate(
        self, what: Any = None, metrics: Choice | Sequence[Choice] | None = None, threads: int | None = None
    ) -> dict[str, float]:
        """The loss and the metrics: on the test set, on data in any form that `find` takes, or on
        samples of a Dataset.

        For quantiles also their loss ("pinball") and, for each pair of levels such as 0.05 and
        0.95, the share of the targets between them ("coverage_0.9") and their mean distance
        ("interval_width_0.9"). For a Gaussian the negative log-likelihood, the coverage and the
        width of the interval of 0.9. All but "loss" are in the target's own units.

        Args:
            what: what to evaluate on; by default the test set
            metrics: which to measure besides the loss; by default those of chainrule for the task
                and the loss, and those that were measured during training
            threads: with at most so many
        """
        return self._measured(self._samples(what), metrics, threads)

    def _measured(
        self, samples: Samples, metrics: Choice | Sequence[Choice] | None, threads: int | None
    ) -> dict[str, float]:
        if metrics is None:
            chosen = tuple(dict.fromkeys((*measures.names(self.target.task), *self.plan.metrics)))
        else:
            chosen = measures.check(metrics, self.target)
        return loop.evaluate(
            self.plan, self.target, samples, self.parameters, self.statistics, chosen, self._engine(threads),
            threshold=self.threshold, scores=metrics is None,
        )  # fmt: skip

    def report(
        self, what: Any = None, metrics: Choice | Sequence[Choice] | None = None, threads: int | None = None
    ) -> Report:
        """What `evaluate` measures and, for classes, the confusion matrix, the metrics of each
        class and how well the probabilities are calibrated. Printed, it is a page of text.

        The arguments are those of `evaluate`.

        Examples:
            >>> trained = train("8 tanh", "iris", epochs=20)
            >>> report = trained.report()
            >>> report.confusion.shape, report.classes[0].label
            ((3, 3), 'setosa')
        """
        samples = self._samples(what)
        measured = self._measured(samples, metrics, threads)
        if not self.target.is_class:
            return Report(len(samples.x), measured)
        y, outputs = np.asarray(samples.y), self._outputs(as_read(samples.x), threads)
        classified = measures.classify(self.target.width, self.plan.loss, outputs, y, samples.weight, self.threshold)
        return report_on(self.target, classified, measured, self.threshold, samples.weight is not None)

    def _samples(self, what: Any) -> Samples:
        if what is None:
            what = getattr(self.data, "test", None)
            if what is None:
                raise DataError("there is no test set; pass the data to evaluate on")
        if isinstance(what, Samples):
            return what
        is_pair = isinstance(what, tuple | list) and len(what) == 2
        if self.preparation is None or (is_pair and any(isinstance(array, Prepared | Scaled) for array in what)):
            require(is_pair, "to evaluate a network that was trained on arrays, pass a pair of arrays (x, y)")
            x, y = what
            is_encoded = isinstance(y, Prepared) or (self.preparation is None and self.target.task == "regression")
            y = _numbers(y) if is_encoded else self.target.encode(np.asarray(y), "the targets")
            return Samples(self._prepared(x), y)
        column = self.target.in_table if self.preparation.kind == "table" else None
        return prepare(self.preparation, find(what, target=column, task=self.target.task, read=self.texts))


def _numbers(x: Any) -> Array:
    """This as an array; raises DataError unless it is one of numbers."""
    with guarded("the samples are no array"):
        if is_frame(x):
            frame = as_polars(x)
            return as_array(Source("table", frame, None), (), (frame.width,))
        array = pack(x) if isinstance(x, tuple) else np.asarray(x)
    if array.dtype.kind not in "buif":
        raise DataError(f"an array of numbers is needed, not {array.dtype} of shape {array.shape}")
    return array


def train(
    *what: Layers | Data | Dataset | None,
    network: Layers | None = None,
    data: Data | Dataset | None = None,
    target: str | Sequence[str] | None = None,
    drop: str | Sequence[str] = (),
    task: str | None = None,
    read: Mapping[str, str] | None = None,
    image_size: Shape | None = None,
    weight: Array | None = None,
    order: Sequence[Any] | None = None,
    loss: str | Loss | None = None,
    class_weight: ClassWeight | None = None,
    optimizer: str | Optimizer | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    seed: int = 0,
    validation: float | Data = 0.1,
    test: float | Data = 0.2,
    split: str | None = None,
    shuffle: bool = True,
    patience: int | str | None = AUTO,
    monitor: Choice = "loss",
    min_delta: float = 0.0,
    threshold: Choice | float | None = None,
    augment: str | Augmentation | Sequence[Any] | None = None,
    metrics: Choice | Sequence[Choice] | None = None,
    penalties: str | Penalty | Sequence[str | Penalty] = (),
    callbacks: Sequence[Listener] = (),
    dtype: str = "float32",
    engine: str | None = None,
    threads: int | None = None,
    progress: bool | None = None,
) -> Trained:
    """Train a network on data, and return it with its best weights.

    The data is the only argument without a name, `train(frame, target="price")`, or the second,
    after the network: `train("64 relu", frame, target="price")`.

    Args:
        what: the data, or the network and the data
        network: the hidden layers as text ("64 relu, dropout 0.2"), to which the output layer that
            fits the target is added; or all layers as a list or a Network, used as they are; by
            default two layers of 64 units, after an `Expand` of a table's numbers
        data: what `load` takes (the name of a built-in set, a file, (x, y), a data frame), or a
            Dataset
        target, drop, task, read, image_size, weight, order: how to read the data, as for `load`:
            the column to predict, columns to leave out, "classification", "ordinal", "regression"
            or "multilabel", what to read columns as, the size of images, sample weights, and the
            order of the classes
        loss: a loss or its name; by default cross-entropy for classes, the ordinal loss for classes
            in order, and the mean squared error for quantities
        class_weight: the factor of each class in the loss: by label ({"setosa": 2.0}; the others
            get 1), in class order, or "balanced" (samples / (classes * samples of the class), over
            the training set)
        optimizer: an optimizer, or text such as "adam 0.001"; by default AdamW, whose weight
            decay is chosen by validation unless a network is given
        epochs: the number of passes over the training set, at most
        batch_size: the samples of a mini-batch; by default 32, or the whole training set for an
            optimizer that needs it
        seed: of the split, the initial weights, the order of the samples and dropout
        validation: the share of the rows to validate on, or validation data in a form of `data`;
            ignored for a Dataset, which is split already
        test: the same, to test on
        split: how to divide the rows: "time:COLUMN" (the latest are held out), "group:COLUMN" (no
            group is in two sets); by default by chance, stratified by class; ignored for a Dataset
        shuffle: False to hold out the last rows; ignored for a Dataset. The order of samples in
            training is always random
        patience: early stopping: the number of epochs without an improvement on the validation set
            after which training stops and returns the weights of the best epoch; None to never
            stop early; "auto" for 25, or None with fewer than 50 validation rows unless `monitor`
            or `min_delta` is given
        monitor: what must improve: the loss, or any metric in its own direction, such as "roc_auc"
        min_delta: by how much it must improve, in its own units, to count as an improvement
        threshold: for two classes, from which probability on the second one (in sorted order) is
            predicted, or the metric by which that is chosen on the validation set, such as "f1"
        augment: how the samples of each mini-batch are changed at random, such as "shift 2, rotate
            10" (see `chainrule.augmentation`), or "none"; by default what suits pictures, if no
            network is given
        metrics: what to measure on the validation set after each epoch, besides the loss: the
            names of metrics (see `chainrule.training.metrics`), among them those of
            scikit-learn's scorers, and functions (see `Metric`)
        penalties: such as "l2 0.001" or `losses.l2(0.001)`, or several
        callbacks: a list of functions that are called with every event; `Recorder(folder)` saves
            the run
        dtype: "float32" or "float64"
        engine: "native" or "numpy"; by default the fastest
        threads: the most threads of the native engine, by default OMP_NUM_THREADS or one for each
            core; the results are the same for any number. While other programs want the cores, it
            uses one
        progress: whether to show a bar, or lines where there is no terminal; by default in a
            notebook alone

    Raises:
        DataError, ShapeError, SettingError: if this can't be trained, before anything is written
        NonFiniteError: at the first step where a quantity is not finite

    Examples:
        >>> trained = train("8 tanh", "moons", epochs=60, batch_size=100, optimizer="adam 0.05")
        >>> trained.evaluate()["accuracy"] > 0.95
        True
        >>> x = np.arange(200.0)
        >>> train((x, 2 * x), epochs=5, network="8 relu").target.task
        'regression'
    """
    network, data = _network_and_data(what, network, data)
    reading: dict[str, Any] = {
        "target": target,
        "drop": drop,
        "task": task,
        "read": read,
        "image_size": image_size,
        "weight": weight,
        "order": order,
    }
    if not isinstance(data, Dataset):
        splitting: dict[str, Any] = {"validation": validation, "test": test, "split": split, "shuffle": shuffle}
        data = load(data, **splitting, seed=seed, **reading, **for_loss(loss))
    else:
        given = ", ".join(name for name, value in reading.items() if value is not None and len(value))
        require(not given, f"the Dataset is read already; pass {given} to load")
    plan = plan_for(
        network, data, loss=loss, class_weight=class_weight, optimizer=optimizer, epochs=epochs, batch_size=batch_size,
        seed=seed, penalties=penalties, patience=patience, monitor=monitor, min_delta=min_delta, threshold=threshold,
        augment=augment, metrics=metrics, dtype=dtype, engine=engine, threads=threads,
    )  # fmt: skip
    return follow(plan, data, loop.start(plan), with_progress(callbacks, progress), threads)


def _network_and_data(what: tuple[Any, ...], network: Any, data: Any) -> tuple[Any, Any]:
    """The network and the data, which may have been passed in place or by name."""
    if len(what) == 1 and data is None:
        what = (network, *what)
    elif len(what) == 1:
        what = (*what, data)
    elif not what:
        what = (network, data)
    known = "pass the data, or the network and the data"
    require(len(what) == 2, f"{len(what)} arguments without a name; {known}, and everything else by name")
    for name, in_place, by_name in (("network", what[0], network), ("data", what[1], data)):
        require(by_name is None or by_name is in_place, f"the {name} is passed twice; pass it once")
    if what[1] is None:
        raise DataError("there is no data; pass a frame, a file, (x, y) or the name of a built-in data set")
    return what[0], what[1]


def for_loss(loss: str | Loss | None) -> dict[str, Any]:
    """The arguments of `load` that follow from a chosen loss."""
    loss = None if loss is None else named_loss(loss)
    return {} if loss is None else {"scale_target": loss.scales_target, "likely_task": loss.task}


def check_callbacks(callbacks: Any) -> None:
    """Raise SettingError for anything but a sequence of functions."""
    are_functions = isinstance(callbacks, Sequence) and all(map(callable, callbacks))
    require(are_functions, f"the callbacks are {brief(callbacks)}; pass a list of functions")


def follow(
    plan: Plan, data: Dataset, progress: Progress, callbacks: Sequence[Listener] = (), threads: int | None = None
) -> Trained:
    """Train by a plan, from this progress on, with at most so many threads.

    Callbacks that have a method `close` are closed when training is over, even if it fails.
    """
    check_callbacks(callbacks)
    most_threads(threads)
    try:
        end = loop.run(plan, data, progress, callbacks, threads)
    finally:
        for callback in callbacks:
            if hasattr(callback, "close"):
                callback.close()
    weights = loop.final_weights(plan, end.progress)
    return Trained(
        plan, data.target, data.preparation, *weights, end.progress, data, end.reason, end.last, progress,
        threshold=end.threshold, threads=threads,
    )  # fmt: skip
