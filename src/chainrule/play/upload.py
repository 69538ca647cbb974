"""A file that was dropped onto the page: read, previewed, and prepared for the chosen target."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chainrule.data import Dataset, load
from chainrule.data.barrier import UPLOAD, guarded
from chainrule.data.columns import check_prepared
from chainrule.data.preview import preview
from chainrule.data.source import from_table
from chainrule.data.tables import read_bytes, read_frame
from chainrule.errors import DataError
from chainrule.play.samples import TEST, VALIDATION

if TYPE_CHECKING:
    import polars as pl

MOST_COLUMNS = 200
"""The maximum number of columns that are previewed, and that the target is chosen from."""
MOST_PREPARED = 2
"""The number of targets for which the prepared data is kept; for others it is prepared again."""


class Upload:
    """A table that was dropped onto the page.

    Args:
        name: the file's name
        frame: the table

    Attributes:
        name: the file's name
        targets: the columns that can be the target: the first MOST_COLUMNS, and the last
    """

    def __init__(self, name: str, frame: pl.DataFrame) -> None:
        self.name, self._frame = name, frame
        self.targets = list(dict.fromkeys([*frame.columns[:MOST_COLUMNS], frame.columns[-1]]))
        self._prepared: dict[int, Dataset] = {}

    @staticmethod
    def read(path: Path, name: str) -> Upload:
        """Read a CSV, TSV or Parquet file. Raises DataError if it can't be read."""
        with guarded(f"{path}: it can't be read"):
            return Upload(name, read_frame(path, read_bytes(path), UPLOAD))

    def dataset(self, target: int) -> Dataset:
        """The data with this column of `targets` as the target.

        Raises:
            DataError: with row and column, for data that can't be used, or for an unknown target
        """
        if not 0 <= target < len(self.targets):
            raise DataError(f"{self.name}: there is no such column to predict")
        if target not in self._prepared:
            with guarded(f"{self.name}: it can't be prepared"):
                source = from_table(self.name, self._frame, self.targets[target])
                check_prepared(self.name, source.features, UPLOAD)
                prepared = load(source, validation=VALIDATION, test=TEST)
            self._prepared = {**dict(list(self._prepared.items())[1 - MOST_PREPARED :]), target: prepared}
        return self._prepared[target]

    def preview(self, target: int) -> dict[str, Any]:
        """How each column was read, and what becomes of it with this target; or why it can't be
        trained on, as "problem".
        """
        data, problem = None, ""
        try:
            data = self.dataset(target)
        except DataError as error:
            problem = str(error)
        frame, name = self._frame, self.targets[min(max(target, 0), len(self.targets) - 1)]
        with guarded(f"{self.name}: its columns can't be shown"):
            columns = [asdict(column) for column in preview(frame, name, data, MOST_COLUMNS)]
        return {
            "name": self.name, "rows": frame.height, "targets": self.targets, "target": target, "problem": problem,
            "columns": columns, "more": max(frame.width - MOST_COLUMNS, 0),
            "words": "" if data is None else _words(data, frame.height),
        }  # fmt: skip


def _words(data: Dataset, rows: int) -> str:
    inputs = data.training.x.shape[1]
    held_out = 0 if data.validation is None else len(data.validation.x)
    what = f"one of {len(data.target.classes)} classes" if data.task == "classification" else "a number"
    words = (
        f"{rows:,} rows: {len(data.training.x):,} to train on, {held_out:,} to test. The network gets {inputs:,} inputs"
        f" and predicts {data.target.name}, {what}."
    )
    if data.guessed_classes:
        words += " If these whole numbers are a quantity, open the file with 'chainrule play FILE --task regression'."
    return words
