"""A trained network: what it predicts, and how good its predictions are."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

import numpy as np

from chainrule.arrays import Array, Deferred, Shape, Vector, as_read
from chainrule.data import (
    Dataset,
    Preparation,
    Samples,
    Target,
)
from chainrule.data.finding import Data, Unlabelled
from chainrule.data.series_loading import last_windows
from chainrule.engine import Chunk, Engine, Predictor, StepRecord
from chainrule.errors import DataError, is_number, require, unknown
from chainrule.rows import Rows
from chainrule.runs.forecasts import Forecast, distribution, forecast_of
from chainrule.runs.inputs import inputs, labelled
from chainrule.runs.loader import read_manifest
from chainrule.runs.predictions import HeldOut, Interval, Meaning, ends
from chainrule.runs.reading import Reading
from chainrule.runs.recorder import Recorder, copy, record_threshold
from chainrule.runs.writing import Writing
from chainrule.summary import Shown, Summary
from chainrule.training import history, loop
from chainrule.training import metrics as measures
from chainrule.training.catalog import by_default, names
from chainrule.training.generation import Reader
from chainrule.training.loop import History, Progress
from chainrule.training.metrics import Choice, Chosen
from chainrule.training.plan import Plan
from chainrule.training.position_scores import score_positions
from chainrule.training.report import (
    Report,
    report_on,
    report_on_labels,
    report_on_quantities,
    total_weight,
    with_naive,
)
from chainrule.training.threshold import require_two_classes

HELD_OUT = ("validation", "test")

MOST_HELD_OUT = 1_000_000
"""The most predictions of samples on a disk that are held in memory."""


@dataclass(frozen=True, repr=False)
class Trained(Writing, Reading, Shown):
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
    # By process and the most threads; they copy the parameters, which therefore can't be changed.
    _predictors: dict[tuple[int, int | None], Predictor] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    _readers: dict[tuple[int, int, int | None], Reader] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        for vector in (self.parameters, self.statistics):
            vector.flags.writeable = False

    def save(self, folder: str | Path) -> None:
        """Write this into a folder, as the run that it is: `chainrule.open` reads it, and so do the
        commands (`chainrule show FOLDER`).

        Args:
            folder: a folder that does not exist yet

        Raises:
            RunError: if the folder exists, or can't be written
            DataError: if what it was trained on is no longer known

        Examples:
            >>> import chainrule, tempfile
            >>> trained = chainrule.train("8 tanh", "iris", epochs=2)
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
            facts |= history.words(self.history[self.epoch - 1], self.target)
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
        by = (
            f", chosen on the validation set by {history.label(metric, self.target)}" if isinstance(metric, str) else ""
        )
        if self.threshold is None:
            return f"0.5, not yet{by}: training did not end; resume it"
        return f"{self.threshold:.4g} or more: {name[0]}{by}"

    def raw(self, x: Unlabelled, threads: int | None = None) -> Array:
        """(samples, outputs) the network's output for samples in any form `find_samples` takes,
        with at most so many threads.

        Samples of a Dataset, and their array `x`, are prepared already and used as they are.
        """
        from chainrule.data.streamed.using import blocks_of

        if (blocks := blocks_of(x, self.preparation)) is not None:  # of a table that does not fit into memory
            return np.concatenate([self.raw(block, threads) for block in blocks])
        outputs = self._outputs(inputs(self.preparation, x), threads)
        # The sum of squares is quicker, and finite only if all are; it may overflow.
        if not math.isfinite(np.vdot(outputs, outputs)) and not np.isfinite(outputs).all():
            row = int(np.argwhere(~np.isfinite(outputs))[0, 0]) + 1
            raise DataError(f"row {row}: the prediction is not finite; its inputs are too far from the training set's")
        return outputs

    def _outputs(self, x: Array | Deferred, threads: int | None = None) -> Array:
        return self.predictor(threads)(x)

    def predictor(self, threads: int | None = None) -> Predictor:
        """What predicts samples as the network takes them, with at most so many threads."""
        # A forked process makes its own: a thread of its parent may have held the lock of this one.
        key = os.getpid(), self.threads if threads is None else threads
        if key not in self._predictors:
            self._predictors[key] = self._engine(threads).predictor(self.parameters, self.statistics)
        return self._predictors[key]

    def _engine(self, threads: int | None) -> Engine:
        return self.plan.make_engine(self.plan.problem(1), self.threads if threads is None else threads)

    @property
    def texts(self) -> dict[str, str]:
        """The columns that are to be left as text in any file, as when the network was trained."""
        return {} if self.preparation is None else self.preparation.texts

    @property
    def image_size(self) -> Shape | None:
        """(height, width) to which pictures in files are resized, as they were in training."""
        return None if self.preparation is None else self.preparation.image_size

    def predict(self, x: Unlabelled, threads: int | None = None) -> Array:
        """(samples,) the predicted classes, or quantities in their own units; (samples, columns)
        for several quantities, and for labels, as 0 and 1; of time series (series, horizon) what
        follows on their end (see `forecast`). With at most so many threads.
        """
        return self.decoded(self.raw(x, threads))

    def probabilities(self, x: Unlabelled, threads: int | None = None) -> Array | None:
        """(samples, classes) the probabilities of the classes, or (samples, labels) those of the
        labels; None if the loss has none. Of
        positions (samples, positions, classes).
        """
        return self._meaning.probabilities(self.raw(x, threads))

    def deviation(self, x: Unlabelled) -> Array:
        """(samples,) the predicted standard deviations, in the target's own units; (samples,
        columns) for several quantities.

        Raises SettingError unless the loss predicts a deviation, as "gaussian" does.

        Examples:
            >>> import chainrule
            >>> trained = chainrule.train("8 tanh", "diabetes", loss="gaussian", epochs=20)
            >>> bool((trained.deviation("diabetes") > 0).all())
            True
        """
        return self.deviations_of(self.raw(x))

    def quantiles(self, x: Unlabelled, levels: Sequence[float] | None = None) -> Array:
        """(samples, levels) quantiles of the target's distribution, in its own units; (samples,
        levels, columns) for several quantities. Of classes in order, the first up to which the
        probability is at least the level.

        Args:
            x: samples in any form that `predict` takes
            levels: such as [0.05, 0.95]; by default those that the network was trained for

        Raises:
            SettingError: for a network that does not predict these quantiles

        Examples:
            >>> import chainrule
            >>> trained = chainrule.train("8 tanh", "diabetes", loss="quantiles 0.05 0.5 0.95", epochs=20)
            >>> low, middle, high = trained.quantiles("diabetes").T
            >>> bool(((low <= middle) & (middle <= high)).all())
            True
        """
        levels = getattr(self.plan.loss, "levels", (0.05, 0.5, 0.95)) if levels is None else levels
        return self.quantiles_of(self.raw(x), levels)

    def interval(self, x: Unlabelled, share: float = 0.9) -> Interval:
        """Between which values a target lies with this probability, and the point prediction.

        Raises SettingError for a network that predicts no such interval: it takes classes in order,
        the loss "gaussian", or "quantiles" with the levels (1 - share) / 2 and (1 + share) / 2.

        Examples:
            >>> import chainrule
            >>> trained = chainrule.train("8 tanh", "diabetes", loss="quantiles 0.05 0.5 0.95", epochs=20)
            >>> lower, point, upper = trained.interval("diabetes", 0.9)
            >>> bool((lower <= point).all() and (point <= upper).all())
            True
        """
        return self._meaning.interval(self.raw(x), share)

    def forecast(self, what: Data, interval: float | None = None, threads: int | None = None) -> Forecast:
        """What follows on the end of each time series: the next steps, with their times.

        Args:
            what: the series up to now, in a form that `load` takes: a file, a data frame, or the
                name of built-in series
            interval: also between which values the target lies with this probability, such as 0.9;
                the loss must be "gaussian", or quantiles with these ends
            threads: with at most so many

        Raises SettingError for a network that was not trained on time series, DataError for series
        that are too short.

        Examples:
            >>> import chainrule, polars
            >>> days = polars.date_range(polars.date(2024, 1, 1), polars.date(2024, 6, 30), eager=True)
            >>> sales = polars.DataFrame({"day": days, "sales": [10 + k % 7 for k in range(len(days))]})
            >>> trained = chainrule.train(sales, time="day", target="sales", horizon=3, epochs=5)
            >>> trained.forecast(sales).frame["day"].to_list()[0]
            datetime.date(2024, 7, 1)
        """
        series = None if self.preparation is None else self.preparation.series
        require(series is not None, "it was not trained on time series; predict samples with predict")
        assert self.preparation is not None
        assert series is not None
        if interval is not None:
            ends(interval)  # raises an error for what is no share
        grid, windows = last_windows(self.preparation, what)
        return forecast_of(series, grid, self._meaning, self.raw(Samples(windows, np.empty(0)), threads), interval)

    @property
    def _meaning(self) -> Meaning:
        return Meaning(self.target, self.plan.loss, self.threshold)

    def interval_scores(
        self,
        what: Data | Rows | None = None,
        share: float = 0.9,
        threads: int | None = None,
        weight: Array | str | None = None,
    ) -> dict[str, float]:
        """How good the predicted intervals of this share are: which share of the targets they hold
        ("coverage_0.9") and their mean width ("interval_width_0.9") in the target's own units, of
        classes in order in ranks.

        Args:
            what: what to measure on, as in `evaluate`; by default the test set
            share: the probability with which an interval is to hold a target
            threads: with at most so many
            weight: how much each sample counts, as in `evaluate`

        Raises SettingError for a network that predicts no such interval, as in `interval`.

        Examples:
            >>> import chainrule
            >>> trained = chainrule.train("8 tanh", "diabetes", loss="gaussian", epochs=20)
            >>> scores = trained.interval_scores(share=0.5)
            >>> scores["interval_width_0.5"] < trained.interval_scores(share=0.9)["interval_width_0.9"]
            True
        """
        samples = self._samples(what, weight)
        outputs, y, own, _ = loop.measured(self.plan, self.target, samples, self.predictor(threads), ())[0]
        return self._meaning.interval_scores(outputs, Samples(as_read(samples.x[:0]), y, own), share)

    def quantiles_of(self, prediction: Array, levels: Sequence[float]) -> Array:
        """Quantiles, as in `quantiles`, from the network's output."""
        return self._meaning.quantiles(prediction, levels)

    def deviations_of(self, prediction: Array) -> Array:
        """Deviations, as in `deviation`, from the network's output."""
        return self._meaning.deviations(prediction)

    def distribution_of(self, prediction: Array, interval: float | None = None) -> dict[str, Array]:
        """From the network's output the ends of an interval of this share, or else all quantiles,
        and the deviation, as far as the loss predicts them: "lower", "upper", "quantile_0.05" and
        so on.
        """
        return distribution(self._meaning, prediction, interval)

    def decoded(self, prediction: Array) -> Array:
        """The network's output as classes, as labels, or as quantities in their own units."""
        return self._meaning.decoded(prediction)

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
            >>> import chainrule
            >>> trained = chainrule.train("8 tanh", "iris", epochs=20)
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
        if samples.on_disk:
            count = len(samples.x)
            if count > MOST_HELD_OUT:
                problem = f"no predictions for the {part} set: its {count:,} samples are on a disk"
                raise DataError(f"{problem}; predict at most {MOST_HELD_OUT:,} at a time, such as {part}.read(0, 1000)")
            samples, rows = samples.read(0, count), np.asarray(rows)
        raw = self.raw(samples)
        return HeldOut(
            None if rows is None else rows + 1,
            self._targets(data, np.asarray(samples.y), rows),
            self.decoded(raw),
            self._meaning.probabilities(raw) if self.target.task != "regression" else None,
        )

    def _targets(self, data: Dataset, y: Array, rows: Array | None) -> Array:
        """The true targets as they were read; decoded from y where that is unknown."""
        if self.target.is_class:
            return self.target.decode(y if y.ndim == 1 + len(self.target.positions) else y.argmax(axis=-1))
        if self.target.task == "multilabel":
            return self.target.decode(y)
        if rows is None or data.source is None or data.source.target is None or self.target.season:
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
            >>> import chainrule
            >>> trained = chainrule.train("8 tanh", "moons", epochs=20)
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
        self,
        what: Data | Rows | None = None,
        metrics: Choice | Sequence[Choice] | None = None,
        threads: int | None = None,
        weight: Array | str | None = None,
    ) -> dict[str, float]:
        """The loss and the metrics: on the test set, on data in any form that `find` takes, or on
        samples of a Dataset.

        For quantiles also their loss ("pinball") and, for each pair of levels such as 0.05 and
        0.95, the share of the targets between them ("coverage_0.9") and their mean distance
        ("interval_width_0.9"). For a Gaussian the negative log-likelihood, the coverage and the
        width of the interval of 0.9. All but "loss" are in the target's own units.

        Of several quantities, each metric is the mean over them (uniform_average in scikit-learn),
        and what has a unit, such as the mean absolute error, is measured only if `metrics` names
        it; `report` has every quantity's own metrics.

        Args:
            what: what to evaluate on; by default the test set
            metrics: which to measure besides the loss; by default those of chainrule for the task
                and the loss, and those that were measured during training
            threads: with at most so many
            weight: how much each sample counts, as for `train`; by default the column that was the
                weight in training, if the data has it
        """
        return self._measured(self._samples(what, weight), self._chosen(metrics), metrics is None, threads)

    def _chosen(self, metrics: Choice | Sequence[Choice] | None) -> tuple[Chosen, ...]:
        if metrics is None:
            return tuple(dict.fromkeys((*by_default(self.target), *self.plan.metrics)))
        return measures.check(metrics, self.target)

    def _measured(
        self, samples: Rows, chosen: Sequence[Chosen], with_scores: bool, threads: int | None
    ) -> dict[str, float]:
        return loop.evaluate(
            self.plan, self.target, samples, self.parameters, self.statistics, chosen, self._engine(threads),
            threshold=self.threshold, scores=with_scores,
        )  # fmt: skip

    def report(
        self,
        what: Data | Rows | None = None,
        metrics: Choice | Sequence[Choice] | None = None,
        threads: int | None = None,
        weight: Array | str | None = None,
    ) -> Report:
        """What `evaluate` measures and more. Of classes and labels: the scores of each, what is
        confused with what, and how well the probabilities are calibrated. Of several quantities:
        the metrics of each in its own unit. Printed, it is a page of text.

        The arguments are those of `evaluate`.

        Examples:
            >>> import chainrule
            >>> trained = chainrule.train("8 tanh", "iris", epochs=20)
            >>> report = trained.report()
            >>> report.confusion.shape, report.classes[0].label
            ((3, 3), 'setosa')
        """
        samples, target, loss = self._samples(what, weight), self.target, self.plan.loss
        chosen, is_default = self._chosen(metrics), metrics is None
        measured = self._measured(samples, chosen, is_default, threads)
        if target.positions and (target.tokens or not target.is_class):
            return Report(target, len(samples.x), measured, weight=total_weight(samples.weight))
        outputs, y, own, _ = loop.measured(self.plan, target, samples, self.predictor(threads), ())[0]
        if target.positions:
            scored = score_positions(loss, outputs, y, own)
            weight = None if own is None else scored.weight[scored.weight > 0]
            return replace(
                report_on(target, scored.classified(target.width), measured, None, weight), samples=len(samples.x)
            )
        if target.task == "regression":
            of_each = dict.fromkeys((*names(target), *chosen)) if is_default else chosen
            found = report_on_quantities(target, loss, outputs, y, measured, (*of_each,), own, is_default)
            return with_naive(found, samples) if target.season and is_default else found
        if target.task == "multilabel":
            return report_on_labels(target, measures.label(loss, outputs, y, own), measured, own)
        classified = measures.classify(target.width, loss, outputs, y, own, self.threshold)
        return report_on(target, classified, measured, self.threshold, own)

    def _samples(self, what: Data | Rows | None, weight: Array | str | None) -> Rows:
        if what is None:
            what = getattr(self.data, "test", None)
            if what is None:
                raise DataError("there is no test set; pass the data to evaluate on")
        return labelled(self.preparation, self.target, what, weight)
