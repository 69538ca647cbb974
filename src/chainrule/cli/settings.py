"""The settings that several commands share as options, each group a dataclass with a field for each
option, and what they are in Python.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

from chainrule.cli.logs import check_logs
from chainrule.cli.options import (
    Augment,
    BatchSize,
    Cache,
    ClassWeights,
    Devices,
    Drop,
    EngineName,
    Epochs,
    Horizon,
    Interval,
    Length,
    Limit,
    Logs,
    LossName,
    Memory,
    Metrics,
    MinDelta,
    Monitor,
    NetworkText,
    Optimizer,
    Order,
    Output,
    Patience,
    Penalty,
    Precision,
    Read,
    SamplesAre,
    Season,
    Seed,
    SeriesColumn,
    Shuffle,
    Size,
    Split,
    Target,
    Task,
    Test,
    Text,
    Threads,
    Time,
    Tokens,
    TrainThreshold,
    Validation,
    Weight,
    image_size,
    in_order,
    metric_names,
    patience,
    penalties,
    read_as,
    share_or_file,
    threshold,
)
from chainrule.errors import require

if TYPE_CHECKING:
    from chainrule.data import Dataset
    from chainrule.runs import Recorder


@dataclass(frozen=True)
class Reading:
    """How to read the data and divide its rows."""

    target: Target = None
    task: Task = None
    order: Order = None
    drop: Drop = None
    read: Read = None
    weight: Weight = None
    size: Size = None
    memory: Memory = None
    cache: Cache = None
    samples: SamplesAre = None
    text: Text = None
    tokens: Tokens = None
    length: Length = None
    time: Time = None
    horizon: Horizon = None
    series: SeriesColumn = None
    season: Season = None
    validation: Validation = "0.1"
    test: Test = "0.2"
    split: Split = None
    shuffle: Shuffle = True

    def arguments(self) -> dict[str, Any]:
        """The arguments of `load`."""
        return {
            "target": self.target or None, "task": self.task, "order": in_order(self.order), "drop": self.drop or [],
            "read": read_as(self.read), "weight": self.weight, "image_size": image_size(self.size),
            "memory": self.memory, "cache": self.cache, "samples": self.samples, "text": self.text,
            "tokens": self.tokens, "length": self.length,
            "time": self.time, "horizon": self.horizon, "series": self.series, "season": self.season,
            "validation": share_or_file(self.validation, "validation"), "test": share_or_file(self.test, "test"),
            "split": self.split, "shuffle": self.shuffle,
        }  # fmt: skip


@dataclass(frozen=True)
class Training:
    """How to train, whatever the network and the optimizer."""

    loss: LossName = None
    interval: Interval = None
    class_weight: ClassWeights = None
    penalty: Penalty = None
    epochs: Epochs = None
    patience: Patience = "auto"
    monitor: Monitor = "loss"
    min_delta: MinDelta = 0.0
    threshold: TrainThreshold = None
    augment: Augment = None
    metrics: Metrics = None
    seed: Seed = 0
    dtype: Precision = "float32"
    engine: EngineName = None
    devices: Devices = None
    threads: Threads = None

    def arguments(self) -> dict[str, Any]:
        """The arguments of `make_plan`."""
        return {
            "loss": self.chosen_loss, "class_weight": self.class_weight, "penalties": penalties(self.penalty),
            "epochs": self.epochs, "patience": patience(self.patience), "monitor": self.monitor,
            "min_delta": self.min_delta, "threshold": threshold(self.threshold), "augment": self.augment,
            "metrics": metric_names(self.metrics), "seed": self.seed, "dtype": self.dtype, "engine": self.engine,
            "devices": self.devices,
        }  # fmt: skip

    def check(self, data: Dataset) -> None:
        """Raise SettingError for intervals of what is no quantity."""
        problem = f"--interval is for a quantity, which {data.target.described} is not; leave --interval out"
        require(self.interval is None or data.task == "regression", problem)

    @property
    def chosen_loss(self) -> str | None:
        """The loss that is named, or the one that learns the interval; None for neither."""
        from chainrule.runs.predictions import ends

        if self.interval is None:
            return self.loss
        require(self.loss is None, "--interval chooses the loss; leave --loss or --interval out")
        return "quantiles {:.12g} 0.5 {:.12g}".format(*ends(self.interval))


@dataclass(frozen=True)
class Searched:
    """What a search chooses, and a single training is told."""

    network: NetworkText = None
    optimizer: Optimizer = None
    batch_size: BatchSize = None

    def arguments(self) -> dict[str, Any]:
        """The arguments of `make_plan`, without the network."""
        return {"optimizer": self.optimizer, "batch_size": self.batch_size}


@dataclass(frozen=True)
class Recording:
    """Where the run is recorded, and what else is logged."""

    output: Output = None
    limit: Limit = None
    log: Logs = None

    def check(self) -> None:
        """Raise an error for what can't be written, before anything is."""
        from chainrule.runs.folder import check_free

        if self.limit is not None:
            rule = "pass a number of megabytes greater than 0"
            require(0 < self.limit < 1e9, f"--limit {self.limit:g}: {rule}")
        if self.output is not None:
            check_free(self.output)
        check_logs(self.log)

    def recorder(self, data: str) -> Recorder:
        """What records the training on this data."""
        from chainrule.data.formats import name_for_run
        from chainrule.runs import Recorder
        from chainrule.runs.recorder import LIMIT

        folder = self.output or Path("runs", name_for_run(data))
        limit = LIMIT if self.limit is None else round(self.limit * 1e6)
        return Recorder(folder, numbered=self.output is None, limit=limit)


PANELS: dict[type, str] = {
    Reading: "Data", Searched: "Network and optimizer", Training: "Training", Recording: "Run"
}  # fmt: skip
"""The heading of each group in the help."""


def with_settings(command: Callable[..., None]) -> Callable[..., None]:
    """The command with an option for each field of its parameters that are groups of settings."""
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {name: hint for name, hint in hints.items() if is_dataclass(hint)}
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(command).parameters.values():
        group = groups.get(parameter.name)
        parameters += [parameter.replace(annotation=hints[parameter.name])] if group is None else _options(group)

    @functools.wraps(command)
    def called(**given: Any) -> None:
        for name, group in groups.items():
            given[name] = group(**{field.name: given.pop(field.name) for field in fields(group)})
        command(**given)

    called.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    called.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return called


def _options(group: Any) -> list[inspect.Parameter]:
    """The options of a group, under its heading."""
    hints, options = get_type_hints(group, include_extras=True), []
    for field in fields(group):
        option = copy(hints[field.name].__metadata__[0])
        option.rich_help_panel = PANELS[group]
        annotation: Any = Annotated[hints[field.name].__origin__, option]
        kind = inspect.Parameter.KEYWORD_ONLY
        options.append(inspect.Parameter(field.name, kind, default=field.default, annotation=annotation))
    return options
