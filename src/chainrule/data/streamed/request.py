"""The arguments of `load` that streamed tables and streamed arrays have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from chainrule.data.splits import Split


@dataclass(frozen=True)
class Request:
    """How to divide and prepare samples that are streamed."""

    task: str | None
    order: Sequence[Any] | None
    validation: Any
    test: Any
    by: Split
    seed: int
    scale_target: bool
    likely_task: str | None
