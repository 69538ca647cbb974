"""Tables larger than memory, for a network that is trained: to predict and evaluate."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from chainrule.data.preparation import Preparation
from chainrule.data.source import Source
from chainrule.data.streamed.array_loading import blocks_of as blocks_of_arrays
from chainrule.data.streamed.array_loading import stored_arrays
from chainrule.data.streamed.choosing import streamed
from chainrule.data.streamed.divisions import Division
from chainrule.data.streamed.preparing import stored
from chainrule.data.streamed.progress import watch_of
from chainrule.data.streamed.reading import Reading
from chainrule.rows import Rows


def blocks_of(what: Any, preparation: Preparation | None) -> Iterator[Source] | None:
    """The samples to predict, block by block; None for what fits into memory, or is neither a
    table nor an array in files.

    Args:
        what: the samples, in any form
        preparation: that of the network
    """
    if preparation is None:
        return None
    if preparation.kind != "table":
        return blocks_of_arrays(what)
    found = streamed(what, None, preparation.texts)
    if found is None:
        return None
    files = found[0]
    columns = [name for name in preparation.features if name in files.columns] or None
    return (Source(place, frame, None) for _, place, frame in files.blocks(columns))


def stored_of(what: Any, preparation: Preparation, weight: str | None) -> Rows | None:
    """Samples with targets, on a disk; None for what fits into memory, or is neither a table nor an
    array in files.

    Args:
        what: the samples, in any form
        preparation: that of the network
        weight: the column of their weights; by default that of the training, if they have it
    """
    if preparation.kind != "table":
        return stored_arrays(what, preparation, weight)
    if (found := streamed(what, None, preparation.reading)) is None:
        return None
    files, memory, _ = found
    target = preparation.target
    if weight is None and preparation.weight in files.columns:
        weight = preparation.weight
    reading = Reading(files, target.in_table, (), target.task, {}, weight)
    whole = Division(len(files), 0.0, 0.0, None)
    return stored(reading, whole, preparation, memory, None, watch_of("preparing", len(files)))[0]
