"""CSV files converted, once, into files of Arrow in the cache."""

from __future__ import annotations

from pathlib import Path

from chainrule.data.streamed.table_files import TableFiles
from chainrule.errors import DataError


def converted(name: str, paths: list[Path]) -> TableFiles:
    """The table in these CSV files."""
    raise DataError(f"{name}: not yet")
