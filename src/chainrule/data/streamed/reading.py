"""The blocks of a table as raw samples with targets, each typed as the first ones were."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from chainrule.arrays import Array
from chainrule.data.columns import kind_of
from chainrule.data.places import Place
from chainrule.data.source import Source, check_types, from_table
from chainrule.data.streamed.table_files import TableFiles
from chainrule.data.weights import weighted_by
from chainrule.errors import DataError, setting

if TYPE_CHECKING:
    import polars as pl


@dataclass
class Reading:
    """How the rows of a table are read.

    Attributes:
        files: the table
        target: the target column, or several
        drop: columns to leave out
        task: what is predicted, if it is known
        read: what to read columns as, such as {"zip": "category"}
        weight: the column of the weights
        texts: columns of text that are no numbers, as the blocks before have shown
        numbers: columns of text that are
    """

    files: TableFiles
    target: str | list[str]
    drop: Sequence[str] = ()
    task: str | None = None
    read: Mapping[str, str] = field(default_factory=dict)
    weight: str | None = None
    texts: set[str] = field(default_factory=set)
    numbers: set[str] = field(default_factory=set)
    as_numbers: bool | None = None
    """Whether a target that is text consists of numbers; None as long as no block was read."""

    @property
    def about(self) -> list[Any]:
        """Everything that the samples depend on besides the files, as JSON."""
        return [self.target, sorted(self.drop), self.task, sorted(self.read.items()), self.weight]

    def __post_init__(self) -> None:
        self.texts = {*self.texts, *self.files.texts}

    def sources(self, start: int = 0) -> Iterator[tuple[int, Source]]:
        """The rows from `start` on, block by block, each with the number of its first row."""
        for row, place, frame in self.files.blocks(start=start):
            yield row, self.source(place, frame)

    def source(self, place: Place | str, frame: pl.DataFrame) -> Source:
        """Rows as samples with their targets.

        Raises DataError, with file, row and column, for a cell that can't be used.
        """
        read = {**self.read, **dict.fromkeys(self.numbers & {*frame.columns}, "number")}
        task = self.task if self.as_numbers is None else "regression" if self.as_numbers else "classification"
        try:
            source = from_table(place, frame, self.target, self.drop, task, "-", read, self.texts)
        except DataError as error:
            raise self._explained(error) from None
        source = source if self.weight is None else weighted_by(source, self.weight, is_part=True)
        self._learn(source, frame)
        return replace(source, task=self.task)

    def _learn(self, source: Source, frame: pl.DataFrame) -> None:
        """Keep how columns of text were read, where that is known now."""
        import polars as pl

        features = source.features
        new = [
            column.name
            for column in frame.iter_columns()
            if column.dtype == pl.String
            and column.name in features.columns
            and column.name not in {*self.read, *self.texts, *self.numbers}
            and column.null_count() < len(column)
        ]
        if new:
            check_types(source.name, features.select(new))
            self.texts |= {name for name in new if kind_of(features[name]) == "text"}
            self.numbers |= {name for name in new if kind_of(features[name]) == "number"}
        if self.as_numbers is None and isinstance(self.target, str) and frame[self.target].dtype == pl.String:
            assert source.target is not None
            self.as_numbers = source.target.dtype.kind in "iuf"

    def _explained(self, error: DataError) -> DataError:
        """The error, with what to do about a text in a column whose earlier texts were numbers."""
        text = str(error)
        found = [name for name in self.numbers if f"column {name!r}:" in text and "is not a number" in text]
        if not found:
            return error
        text = text.removesuffix(", which it is read as")
        remedy = f"correct the cell, or read all as text ({setting('read', {found[0]: 'category'})})"
        return DataError(f"{text}, as those before it are; {remedy}")

    def targets(self, rows: Array) -> Array:
        """The targets of these rows."""
        found = self.source(self.files.name, self.files[rows]).target
        assert found is not None
        return found
