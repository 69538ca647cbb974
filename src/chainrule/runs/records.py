"""What the files of a run hold, as JSON: the types that the loader checks them against."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, NotRequired, TypedDict

from chainrule.data.columns import Kind
from chainrule.data.encoders import EncoderRecipe
from chainrule.data.settings import Settings, Size, Task
from chainrule.runs.logged import LogRecipe
from chainrule.typed import Count, Matching, Positive, Range

Deviation = Annotated[float, Range(math.ulp(0.0))]
Engine = Literal["native", "numpy", "jax"] | None
Devices = tuple[Literal["cpu", "gpu", "tpu"], Positive] | None
Half = Literal["bfloat16"] | None
Hash = Annotated[str, Matching("[0-9a-f]{64}")]


class Computed(TypedDict):
    """How the steps of a part of a run were computed, where the recipe says how later ones were;
    see `Plan`.
    """

    engine: Engine
    devices: Devices
    compute: Half
    ranks: NotRequired[Positive]


class Manifest(TypedDict):
    """What manifest.json holds; see `folder`."""

    format: Positive
    chainrule: str
    status: Literal["under way", "complete", "early", "stopped", "interrupted", "diverged", "imported"]
    epochs: Count
    steps: Count
    planned: list[tuple[Count, Positive] | tuple[Count, Positive, Computed]]
    limit: Positive
    threshold: NotRequired[Annotated[float, Range(0, 1)]]
    seconds: NotRequired[Annotated[float, Range(0)]]
    logs: NotRequired[list[LogRecipe]]
    files: dict[str, Hash]


class TargetRecipe(TypedDict):
    """A target; see `Target`."""

    task: Task
    name: str
    classes: list[str | int | float | bool]
    mean: list[float]
    deviation: list[Deviation]
    columns: NotRequired[list[str]]
    positions: NotRequired[list[Size]]
    tokens: NotRequired[Literal["characters", "bpe"]]
    season: NotRequired[Positive]


class Rows(TypedDict):
    """The number of rows of each set."""

    training: Count  # 0 for a network that was imported
    validation: Count
    test: Count


class Contents(TypedDict):
    """What was read; see `differences.contents`. Of files that stay on a disk their stamps: sizes
    and times.
    """

    rows: Positive
    columns: dict[str, tuple[str, str]]
    target: tuple[str, str]
    weight: tuple[str, str]
    stamps: NotRequired[dict[str, list[int]]]


class DataRecipe(TypedDict):
    """What a run was trained on; the folder is the run's own, where it was recorded, the files are
    those that a pattern matched.
    """

    name: str
    folder: NotRequired[str]
    fingerprint: str
    weight: NotRequired[str | None]
    validation: NotRequired[str]
    test: NotRequired[str]
    settings: Settings | None
    rows: Rows
    target: TargetRecipe
    files: NotRequired[list[str]]
    contents: NotRequired[Contents]


class SampleRecipe(TypedDict):
    """What a language model wrote; see `WrittenSample`."""

    epoch: Positive
    prompt: str
    text: str


class Versions(TypedDict):
    """What a run was trained by."""

    chainrule: str
    numpy: str
    python: str


class Recipe(TypedDict):
    """What recipe.json holds; the plan is checked as it is built."""

    plan: dict[str, Any]
    data: DataRecipe
    versions: Versions


class FrequencyRecipe(TypedDict):
    """How far apart the times of a series are; see `Frequency`."""

    unit: Literal["number", "time", "day", "month"]
    step: Positive
    offset: Count
    day: Annotated[int, Range(1, 32)]
    week: Annotated[str, Matching("(?=.*1)[01]{7}")]
    is_date: bool
    zone: Annotated[str, Matching(r"[A-Za-z0-9_+\-/]*")]


class SeriesRecipe(TypedDict):
    """How a table is read as time series; see `Series`."""

    time: str
    target: str
    by: str | None
    horizon: Size
    length: Size
    season: Size
    frequency: FrequencyRecipe
    cycles: list[Literal["hour", "day_of_week", "day_of_year"]]
    marks_missing: bool


class PreparationRecipe(TypedDict):
    """What preparation.json holds."""

    kind: Literal["table", "numbers", "pictures", "sequences", "text", "series"]
    shape: list[Size]
    columns: list[tuple[str, Kind | Literal["truth"]]]  # of earlier versions
    left_out: NotRequired[list[tuple[str, str]]]
    features: NotRequired[list[str]]
    weight: NotRequired[str | None]
    image_size: NotRequired[tuple[Size, Size] | None]
    sequence: NotRequired[tuple[Size, Size]]
    series: NotRequired[SeriesRecipe]
    encoders: NotRequired[list[EncoderRecipe]]
    merges: NotRequired[list[tuple[str, str]]]
    target: TargetRecipe


SETTINGS = {
    "epochs": Positive,
    "batch_size": Positive,
    "patience": Positive | None,
    "engine": Engine,
    "devices": Devices,
    "compute": Half,
    "ranks": Positive,
    "min_delta": Annotated[float, Range(0)],
}
"""Settings of a plan that can be less than their types say."""
