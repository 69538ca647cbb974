"""The arguments of `load`: those that a data set and a run keep, and those that others pass on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Literal, NotRequired, TypedDict

from chainrule.typed import Range

if TYPE_CHECKING:
    from chainrule.arrays import Array, Shape
    from chainrule.data.finding import Data
    from chainrule.data.targets import Label

Task = Literal["classification", "ordinal", "regression", "multilabel"]
Size = Annotated[int, Range(1, 2**31)]


class Settings(TypedDict):
    """The arguments of `load` that load the same data again, as JSON; without `what` if the data
    was in no file.
    """

    what: NotRequired[str]
    target: str | list[str] | None
    drop: list[str]
    task: Task | None
    image_size: tuple[Size, Size] | None
    likely_task: Task | None
    validation: float | str
    test: Annotated[float, Range(0, 1)] | str
    seed: int
    scale_target: bool
    read: NotRequired[dict[str, str]]
    split: NotRequired[str]
    shuffle: NotRequired[Literal[False]]
    order: NotRequired[list[str | int | float | bool]]
    weight: NotRequired[str]
    memory: NotRequired[int | str]
    samples: NotRequired[str]
    text: NotRequired[str]
    tokens: NotRequired[str]
    length: NotRequired[Size]
    time: NotRequired[str]
    horizon: NotRequired[Size]
    series: NotRequired[str | None]
    season: NotRequired[Size]


class Reading(TypedDict, total=False):
    """How data is read and divided, as `load` takes it."""

    target: str | Sequence[str] | None
    drop: str | Sequence[str]
    task: str | None
    image_size: Shape | None
    validation: float | Data
    test: float | Data
    split: str | None
    shuffle: bool
    scale_target: bool
    weight: Array | str | None
    read: Mapping[str, str] | None
    order: Sequence[Label] | None
    memory: int | str | None
    cache: int | str | None
    samples: str | None
    text: str | None
    tokens: str | None
    length: int | None
    time: str | None
    horizon: int | None
    series: str | None
    season: int | None
