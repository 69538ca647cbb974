"""A data set ready for training: prepared samples, and what was found in them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from chainrule.arrays import Array, Samples, Shape
from chainrule.data import files
from chainrule.data.columns import ColumnUse, shortened
from chainrule.data.preparation import Preparation
from chainrule.data.prepared import prepared
from chainrule.data.settings import Settings
from chainrule.data.source import OF_CLASSES, Sample, Source
from chainrule.data.splits import CHANCE, Split
from chainrule.data.targets import Target, fit_target, infer_task, positions_of
from chainrule.data.token_columns import TokenColumn
from chainrule.data.weights import checked_weight
from chainrule.errors import DataError, setting
from chainrule.summary import Shown, Summary, Table


@dataclass(frozen=True, repr=False)
class Dataset(Shown):
    """Prepared samples, split into a training, a validation and a test set.

    Attributes:
        training: the training set
        validation: the validation set, used for early stopping; None if there is none
        test: the test set, used for the final evaluation; None if there is none
        target: how to interpret y
        preparation: the fitted preprocessing; None for arrays used unchanged
        name: name of the source
        fingerprint: hash of the source
        settings: the arguments of `load` that load the same data again, with `what` only if it is a
            name or a file; None if there were others than names, files and plain values
        source: the raw data; None for arrays used unchanged
        rows: row numbers of the training set in the source, from 0; None for arrays used unchanged
        validation_rows: the same for the validation set; None if it has a source of its own
        test_rows: the same for the test set
        validation_fingerprint: hash of the validation set's own source; empty if it has none
        test_fingerprint: the same for the test set
        split: how the rows were divided
        found: notes on what was found when it was read and split, in one line each
        memory: the bytes that samples on a disk may take in memory; None if all are in memory
    """

    training: Samples
    validation: Samples | None
    test: Samples | None
    target: Target
    preparation: Preparation | None = None
    name: str = "arrays"
    fingerprint: str = ""
    settings: Settings | None = None
    source: Source | None = field(default=None, repr=False)
    rows: Array | None = field(default=None, repr=False)
    validation_rows: Array | None = field(default=None, repr=False)
    test_rows: Array | None = field(default=None, repr=False)
    validation_fingerprint: str = ""
    test_fingerprint: str = ""
    split: Split = CHANCE
    found: tuple[str, ...] = ()
    memory: int | None = None

    def summary(self) -> Summary:
        """How it was read and split, and what becomes of each column."""
        sizes = self.sizes
        shape = " x ".join(map(str, self.sequence or self.input_shape))
        facts = {
            "target": self.target.described,
            "samples": ", ".join(f"{count:,} {part}" for part, count in sizes.items() if count),
        }
        table = None
        if self.columns:
            rows = [[use.name, use.type, use.use] for use in self.columns]
            table = Table(f"{len(rows)} columns", ("column", "read as", "becomes"), rows)
        return Summary(self.name, f"{sum(sizes.values()):,} samples of {shape} inputs", facts, table, notes=self.notes)

    @property
    def sizes(self) -> dict[str, int]:
        """The number of samples of each part: training, validation, test."""
        parts = {"training": self.training, "validation": self.validation, "test": self.test}
        return {name: 0 if part is None else len(part.x) for name, part in parts.items()}

    @property
    def on_disk(self) -> bool:
        """Whether the samples stay on a disk."""
        return self.training.on_disk

    def thinned(self, most: int) -> Dataset:
        """The same data in memory; of sets on a disk at most so many samples each, evenly spaced.

        Its training set is another one, whose rows have other numbers.
        """
        if not self.on_disk:
            return self
        changes: dict[str, Any] = {"memory": None}
        for name, rows in (("training", "rows"), ("validation", "validation_rows"), ("test", "test_rows")):
            samples, numbers = getattr(self, name), getattr(self, rows)
            if samples is None:
                continue
            count = len(samples.x)
            kept = np.unique(np.linspace(0, count - 1, min(count, most)).astype(np.intp))
            changes |= {name: samples.take(kept), rows: None if numbers is None else np.asarray(numbers[kept])}
        return replace(self, **changes)

    def sample(self, number: int) -> Sample | None:
        """A sample of the training set as it was read; None if the source is unknown."""
        if self.source is None or self.rows is None:
            return None
        return self.source.sample(int(self.rows[number]))

    def as_read(self, x: Array) -> Array:
        """A prepared picture in the units and the type of those that were read."""
        assert self.source is not None
        if self.preparation is None:
            return x
        dtype = self.source.features.dtype
        raw = np.asarray(x) * self.preparation.deviation + self.preparation.mean
        return np.rint(raw).clip(0, 255).astype(dtype) if dtype == np.uint8 else raw

    @property
    def input_names(self) -> list[str]:
        """Names of the network's inputs, such as "rooms" or "city_Bern", if they have names."""
        if self.source is None or self.preparation is None or len(self.input_shape) > 1:
            return []
        return self.preparation.names if self.source.is_table else list(self.source.columns)

    def positions_of(self, number: int, text: int = 0) -> list[str]:
        """The names of the positions of a training sample, such as the tokens of a text, or the
        times of a window; empty if they have none. Of a table, those of this column of text as
        tokens.
        """
        if self.texts_as_tokens:
            columns = [column for _, column in self.texts_as_tokens]
            start = self.input_shape[0] - sum(column.length + 1 for column in columns[text:])
            x, column = np.asarray(self.training.x[number]), columns[text]
            return column.positions(x[start : start + column.length + 1])
        tokens = None if self.source is None else self.source.tokens
        if self.source is not None and self.source.series is not None and self.rows is not None:
            return self.source.window_times(int(self.rows[number]))
        return [] if tokens is None else [tokens.shown(k) for k in self.training.x[number]]

    def output_of(self, number: int, output: int) -> str:
        """What an output of the network is for a training sample: the token that it is for, or the
        time that it forecasts; empty if it has no name.
        """
        if self.source is not None and self.source.series is not None and self.rows is not None:
            step = output % self.target.width + 1
            time = self.source.time_after(int(self.rows[number]), step)
            return f"{time}, {step} step{'s' * (step > 1)} ahead"
        return self.symbols[output] if self.symbols else ""

    @property
    def feature_names(self) -> list[str]:
        """The names of the features of each position, such as the columns of time series; empty if
        they have none.
        """
        is_series = self.source is not None and self.source.series is not None
        return self.preparation.names if is_series and self.preparation is not None else []

    @property
    def symbols(self) -> list[str]:
        """The tokens of a text, in the order of their numbers; empty for other data."""
        tokens = None if self.source is None else self.source.tokens
        return [] if tokens is None else [tokens.shown(k) for k in range(len(tokens.symbols))]

    def symbols_of(self, text: int) -> list[str]:
        """The tokens of this column of text as tokens, or of a text, in the order of their
        numbers.
        """
        if not self.texts_as_tokens:
            return self.symbols
        column = self.texts_as_tokens[text][1]
        return [column.shown(k) for k in range(column.width)]

    @property
    def texts_as_tokens(self) -> list[tuple[str, TokenColumn]]:
        """A table's columns of text that are sequences of tokens: the last of a sample's inputs."""
        return [] if self.preparation is None else self.preparation.texts_as_tokens

    @property
    def columns(self) -> list[ColumnUse]:
        """How each column of a table was read and what becomes of it; empty for arrays."""
        return [] if self.preparation is None else self.preparation.uses

    @property
    def notes(self) -> list[str]:
        """What one should know about how the data was read, in one line each."""
        lines = [] if self.preparation is None else self.preparation.notes
        lines = lines + [self.split.note] * (self.split != CHANCE) + [*self.found]
        if self.is_in_order_itself:
            ranks = " < ".join(str(shortened(label)) for label in self.target.classes)
            what = f"{self.target.name} is an ordered categorical ({ranks})"
            lines.append(f"{what}; to predict classes without an order, choose {setting('task', 'classification')}")
        if self.guessed_classes:
            what = f"the {self.target.width} whole numbers in {self.target.name} are predicted as classes"
            if self.task == "multilabel":
                what = f"the {self.target.width} columns of 0 and 1 in {self.target.name} are predicted as labels"
            lines.append(f"{what}; to predict a quantity, choose regression ({setting('task', 'regression')})")
        return lines

    @property
    def is_in_order_itself(self) -> bool:
        """Whether the order of the classes is that of the categories of what was read."""
        order = () if self.source is None else self.source.order
        return self.task == "ordinal" and tuple(x for x in order if x in self.target.classes) == self.target.classes

    @property
    def guessed_classes(self) -> bool:
        """Whether a few whole numbers were taken for classes, or columns of 0 and 1 for labels,
        which could be quantities, too.
        """
        if self.source is None or self.source.task is not None or self.task == "regression":
            return False
        if self.task == "multilabel":
            return True
        return self.target.width > 2 and not any(isinstance(label, str | bool) for label in self.target.classes)

    @property
    def task(self) -> str:
        """The task: "classification", "ordinal", "regression" or "multilabel"."""
        return self.target.task

    @property
    def sequence(self) -> Shape | None:
        """(time, features) of samples that are sequences of numbers; None for others."""
        if self.preparation is None:
            return None
        return self.preparation.shape if self.preparation.kind == "sequences" else self.preparation.sequence

    @property
    def has_lengths(self) -> bool:
        """Whether samples are sequences that are packed with their lengths."""
        return self.preparation is not None and self.preparation.sequence is not None

    @property
    def input_shape(self) -> Shape:
        """The shape of one sample."""
        return self.training.x.shape[1:]

    def prepared_by(self, preparation: Preparation) -> Dataset:
        """The same data prepared by another fitted preparation.

        Raises DataError if its raw samples are not known.
        """
        if preparation is self.preparation:
            return self

        if self.memory is not None:
            raise DataError(f"{self.name}: it is streamed, and prepared for another network; load it again")

        def again(samples: Samples | None, rows: Array | None) -> Samples | None:
            if samples is None:
                return None
            if self.source is None or rows is None:
                raise DataError(f"{self.name}: its raw samples, which the run's own preparation needs, are not known")
            return prepare(preparation, self.source.take(rows))

        training = again(self.training, self.rows)
        assert training is not None
        validation, test = again(self.validation, self.validation_rows), again(self.test, self.test_rows)
        return replace(self, training=training, validation=validation, test=test, preparation=preparation)


def from_arrays(
    x: Array,
    y: Array,
    *,
    task: str | None = None,
    validation: tuple[Array, Array] | None = None,
    weight: Array | None = None,
    memory: int | str | None = None,
) -> Dataset:
    """A data set from arrays that need no preparation. Those that are mapped into memory and larger
    than it stay in their files, and are read in blocks.

    Args:
        x: samples of shape (samples, ...)
        y: class indices of shape (samples,); numbers of shape (samples,) or (samples, outputs); or
            labels, 0 or 1, of shape (samples, labels); at each position of a sequence, class
            indices (samples, positions), with task="classification", or numbers (samples,
            positions, outputs)
        task: "classification", "ordinal", "regression" or "multilabel"; by default inferred from y,
            where several columns are numbers
        validation: x and y of the validation set
        weight: (samples,) sample weights; or (samples, positions), how much each position counts
            in its sample's loss, such as 0 where a shorter sequence is over
        memory: the most that arrays of `np.load(path, mmap_mode="r")` may take in memory, in bytes
            or as "2GB"; by default half of what is free

    Examples:
        >>> lengths, y = np.array([2, 3]), np.array([[1, 0, 0], [1, 1, 0]])
        >>> mask = np.arange(3) < lengths[:, None]
        >>> from_arrays(y, y, task="classification", weight=mask).target.described
        'y (classification at each of 3 positions, 2 classes)'
    """
    held_out = Samples(*map(np.asarray, validation)) if validation else None
    if isinstance(x, np.memmap):
        from chainrule.data.streamed.array_loading import given

        if (streamed := given(x, y, task, weight, memory, held_out)) is not None:
            return streamed
    source = files.source_from_arrays(x, y, task=task)
    assert source.target is not None
    positions = positions_of(source.target, task, source.features)
    source = replace(source, weight=checked_weight(weight, positions))
    if positions:
        target, y = _at_positions(source)
        training = Samples(source.features, y, source.weight)
        return Dataset(training, held_out, None, target, fingerprint=source.fingerprint)
    assert source.target is not None
    width = 1 if source.target.ndim == 1 else source.target.shape[1]
    if task is None and width > 1:
        task = "regression"
    if (found := task or infer_task(source, source.target)) in OF_CLASSES:
        target = Target(found, classes=tuple(range(max(int(source.target.max()) + 1, 2))))
    elif task == "multilabel":
        target = fit_target(source, np.arange(len(source)), scale=False)
    else:
        target = Target("regression", mean=(0.0,) * width, deviation=(1.0,) * width)
    training = Samples(source.features, source.target, source.weight)
    return Dataset(training, held_out, None, target, fingerprint=source.fingerprint)


def _at_positions(source: Source) -> tuple[Target, Array]:
    """The target of samples that have one at each position, and the targets as the loss takes
    them: of classes their numbers, as they are.
    """
    assert source.target is not None
    target = fit_target(source, np.arange(len(source)), scale=False)
    y = target.encode(source.target, source.name)
    if not target.is_class:
        return target, y
    numbers = source.target.reshape(y.shape) if source.target.size == y.size else y
    return replace(target, classes=tuple(range(max(int(numbers.max()) + 1, 2)))), numbers


def prepare(preparation: Preparation, source: Source) -> Samples:
    """A source's samples and targets, prepared; raises DataError if it has no targets."""
    if source.target is None:
        raise DataError(f"{source.name}: no targets to compare the predictions with")
    y = prepared(preparation.target.encode(source.target, source.name))
    return Samples(preparation.apply(source), y, source.weight)
