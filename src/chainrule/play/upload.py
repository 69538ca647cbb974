"""A file that was dropped onto the page: read, previewed, and prepared for the chosen target."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chainrule.data import Dataset, load
from chainrule.data.barrier import UPLOAD, guarded
from chainrule.data.columns import KINDS, READ, check_prepared, kind_of
from chainrule.data.formats import read_bytes, read_frame
from chainrule.data.preview import preview
from chainrule.data.source import from_table
from chainrule.errors import DataError
from chainrule.play.samples import TEST, VALIDATION

if TYPE_CHECKING:
    import polars as pl

MOST_COLUMNS = 200
"""The maximum number of columns that are previewed, and that the target is chosen from."""
MOST_PREPARED = 2
"""The number of choices for which the prepared data is kept; for others it is prepared again."""


@dataclass(frozen=True)
class Choice:
    """What the user chose for a file: the target, and what to read columns as.

    Attributes:
        target: the position of the target among an upload's `targets`; -1 for none
        read: the kind to read a column as, one of READ, by its position in the table
    """

    target: int
    read: Mapping[int, str] = field(default_factory=dict)

    @property
    def words(self) -> str:
        """The choice as text, such as "2" or "2.0number-5category"."""
        return f"{self.target}.{'-'.join(f'{k}{kind}' for k, kind in self.read.items())}".rstrip(".")

    @staticmethod
    def from_words(words: str) -> Choice:
        """The inverse of `words`; what is not understood is left out, and the target -1."""
        target, _, read = words.partition(".")
        matches = (re.fullmatch(rf"(\d{{1,5}})({'|'.join(READ)})", part, re.ASCII) for part in read.split("-"))
        kinds = {int(match[1]): match[2] for match in matches if match}
        return Choice(int(target) if re.fullmatch(r"\d{1,5}", target, re.ASCII) else -1, kinds)


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
        self._prepared: dict[str, Dataset] = {}

    @staticmethod
    def read(path: Path, name: str) -> Upload:
        """Read a file of a table. Raises DataError if it can't be read."""
        with guarded(f"{path}: it can't be read"):
            return Upload(name, read_frame(path, read_bytes(path, UPLOAD), UPLOAD))

    def dataset(self, choice: Choice) -> Dataset:
        """The data with this choice of a target and of kinds.

        Raises:
            DataError: with row and column, for data that can't be used, or for an unknown target
        """
        if not 0 <= choice.target < len(self.targets) or max(choice.read, default=0) >= self._frame.width:
            raise DataError(f"{self.name}: there is no such column")
        if choice.words not in self._prepared:
            read = {self._frame.columns[k]: kind for k, kind in choice.read.items()}
            with guarded(f"{self.name}: it can't be prepared"):
                target = self.targets[choice.target]
                # There is no choice of columns to leave out on the page.
                unusable = [c.name for c in self._frame.iter_columns() if kind_of(c) is None and c.name != target]
                source = from_table(self.name, self._frame, target, unusable, read=read)
                check_prepared(self.name, source.features, UPLOAD)
                prepared = load(source, validation=VALIDATION, test=TEST, read=read)
            self._prepared = {**dict(list(self._prepared.items())[1 - MOST_PREPARED :]), choice.words: prepared}
        return self._prepared[choice.words]

    def preview(self, choice: Choice) -> dict[str, Any]:
        """How each column was read, and what becomes of it with this choice; or why it can't be
        trained on, as "problem".
        """
        data, problem = None, ""
        try:
            data = self.dataset(choice)
        except DataError as error:
            problem = str(error)
        frame, name = self._frame, self.targets[min(max(choice.target, 0), len(self.targets) - 1)]
        with guarded(f"{self.name}: its columns can't be shown"):
            columns = [asdict(column) for column in preview(frame, name, data, MOST_COLUMNS)]
        return {
            "name": self.name, "rows": frame.height, "targets": self.targets, "target": choice.target,
            "problem": problem, "columns": columns, "more": max(frame.width - MOST_COLUMNS, 0),
            "read": choice.read, "kinds": {kind: KINDS[kind] for kind in READ},
            "words": "" if data is None else _words(data, frame.height),
        }  # fmt: skip


def _words(data: Dataset, rows: int) -> str:
    inputs = data.training.x.shape[1]
    held_out = 0 if data.validation is None else len(data.validation.x)
    what = f"one of {len(data.target.classes)} classes" if data.target.is_class else "a number"
    words = (
        f"{rows:,} rows: {len(data.training.x):,} to train on, {held_out:,} to test. The network gets {inputs:,} inputs"
        f" and predicts {data.target.name}, {what}."
    )
    if data.guessed_classes:
        words += " If these whole numbers are a quantity, open the file with 'chainrule play FILE --task regression'."
    return words
