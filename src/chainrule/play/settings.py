"""What the page can set: data, network, loss, optimizer. It comes from a browser, so every part of it is checked."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from chainrule import distributions, losses
from chainrule.data import BUILTIN
from chainrule.data import plane as planes
from chainrule.descent import Optimizer, optimizers, schedules
from chainrule.errors import SettingError, require, unknown
from chainrule.layers import Dense, Dropout, Flatten, Layer, activation
from chainrule.losses import Loss, Penalty

FEATURES = ("x1", "x2", "x1^2", "x2^2", "x1*x2", "sin x1", "sin x2")
"""What a network can be given of a point of the plane."""
KINDS = ("plane", "drawn", "builtin", "given")
"""Where samples are from: a set of the plane, the reader's own points, a built-in set, or a file or run."""

MOST_LAYERS, MOST_UNITS, MOST_POINTS, MOST_WEIGHTS = 8, 256, 2000, 300_000
NO_RATE = ("rprop", "lbfgs")
"""Optimizers without a learning rate."""


def options_of(name: str) -> dict[str, float]:
    """The settings of an optimizer besides the learning rate, with what they are unless said."""
    parameters = inspect.signature(optimizers.NAMED[name]).parameters.values()
    return {p.name: p.default for p in parameters if p.name != "learning_rate" and isinstance(p.default, int | float)}


@dataclass(frozen=True)
class DataSettings:
    """Which samples; `points` are those of the reader, as (x1, x2, class)."""

    kind: str = "plane"
    name: str = "spirals"
    samples: int = 400
    noise: float = 0.02
    seed: int = 0
    features: tuple[str, ...] = ("x1", "x2")
    points: tuple[tuple[float, float, int], ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise unknown("kind of data", self.kind, KINDS)
        if self.kind == "plane" and self.name not in planes.NAMED:
            raise unknown("plane set", self.name, planes.NAMED)
        if self.kind == "builtin" and self.name not in BUILTIN:
            raise unknown("data set", self.name, BUILTIN)
        for feature in self.features:
            if feature not in FEATURES:
                raise unknown("feature", feature, FEATURES)
        require(10 <= self.samples <= MOST_POINTS, f"{self.samples} samples: the page takes 10 to {MOST_POINTS}")
        require(0 <= self.noise <= 1, f"a noise of {self.noise}: the page takes 0 to 1")
        require(len(self.features) > 0, "a network needs at least one feature of the plane")
        require(len(self.points) <= MOST_POINTS, f"{len(self.points)} points: the page takes up to {MOST_POINTS}")
        require(
            all(abs(a) <= 10 and abs(b) <= 10 and c in (0, 1) for a, b, c in self.points),
            "a drawn point lies between -10 and 10 and has the class 0 or 1",
        )


@dataclass(frozen=True)
class LayerSettings:
    """A hidden layer: its units, its activation, what its weights are drawn from, and how many units it drops."""

    units: int = 4
    activation: str = "tanh"
    weights: str = ""
    dropout: float = 0.0

    def __post_init__(self) -> None:
        require(1 <= self.units <= MOST_UNITS, f"a layer of {self.units} units: the page takes 1 to {MOST_UNITS}")
        activation(self.activation)
        distribution(self.weights)

    def layers(self) -> list[Layer]:
        """What it is in a network."""
        dense = Dense(self.units, activation=self.activation, weights=distribution(self.weights))
        return [dense, Dropout(self.dropout)] if self.dropout else [dense]


def distribution(text: str) -> distributions.Distribution | None:
    """The distribution that a text names, as in "normal 0 0.5"; none for an empty one."""
    return distributions.of(text) if text.strip() else None


@dataclass(frozen=True)
class Settings:
    """All of it; `options` are settings of the optimizer by name, `clip` a limit on the gradient's norm, 0 for none."""

    data: DataSettings = field(default_factory=DataSettings)
    layers: tuple[LayerSettings, ...] = (LayerSettings(8), LayerSettings(8))
    output_weights: str = ""
    loss: str = ""
    optimizer: str = "adam"
    learning_rate: float = 0.01
    options: tuple[tuple[str, float], ...] = ()
    clip: float = 0.0
    schedule: str = "constant"
    batch_size: int = 10
    epochs: int = 200
    l1: float = 0.0
    l2: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        require(
            len(self.layers) <= MOST_LAYERS, f"{len(self.layers)} hidden layers: the page takes up to {MOST_LAYERS}"
        )
        if self.optimizer not in optimizers.NAMED:
            raise unknown("optimizer", self.optimizer, optimizers.NAMED)
        if self.schedule not in schedules.NAMED:
            raise unknown("schedule", self.schedule, schedules.NAMED)
        if self.loss and self.loss.split()[0] not in losses.NAMED:
            raise unknown("loss", self.loss, losses.NAMED)
        require(0 <= self.learning_rate <= 1000, f"a learning rate of {self.learning_rate}: the page takes 0 to 1000")
        require(1 <= self.batch_size <= 4096, f"batches of {self.batch_size}: the page takes 1 to 4096")
        require(1 <= self.epochs <= 100_000, f"{self.epochs} epochs: the page takes 1 to 100000")
        require(0 <= self.clip <= 1e6, f"a limit of {self.clip} on the gradient's norm: the page takes 0 to 1e6")
        self.made_optimizer()  # what its settings can't be should be known here
        require(0 <= self.l1 <= 10 and 0 <= self.l2 <= 10, "the penalties lie between 0 and 10")
        distribution(self.output_weights)

    @staticmethod
    def from_json(told: Any) -> Settings:
        """Settings from what a browser sent; raises SettingError for what makes no sense."""
        try:
            told = dict(told)
            data = _typed(DataSettings, dict(told.pop("data", {})))
            layers = told.pop("layers", None)
            if layers is not None:
                told["layers"] = tuple(_typed(LayerSettings, dict(layer)) for layer in layers)
            return _typed(Settings, {**told, "data": data})
        except (TypeError, ValueError, KeyError, AttributeError, OverflowError):
            raise SettingError(
                "the page's settings can't be read; reload the page without what follows the #"
            ) from None

    def as_json(self) -> dict[str, Any]:
        """The reverse."""
        return asdict(self)

    def made_optimizer(self) -> Optimizer:
        """The optimizer with its settings, its schedule and its limit."""
        return optimizers.optimizer(self.optimizer_text)

    @property
    def optimizer_text(self) -> str:
        """The same as a text that chainrule reads."""
        has_rate = self.optimizer not in NO_RATE
        words = [self.optimizer, *([repr(self.learning_rate)] if has_rate else [])]
        words += [f"{name}={value:.10g}" for name, value in self.options]
        words += [f"schedule={self.schedule}"] * (has_rate and self.schedule != "constant")
        return " ".join([*words, *([f"clip={self.clip!r}"] if self.clip else [])])

    def made_loss(self) -> Loss | None:
        """The loss; none if it is to follow from the data."""
        return losses.loss(self.loss) if self.loss else None

    def penalties(self) -> list[Penalty]:
        """What large weights cost."""
        return [Penalty(self.l1, self.l2)] if self.l1 or self.l2 else []

    def network_layers(self, pictures: bool, outputs: int) -> list[Layer]:
        """All layers, with the output layer last."""
        hidden = [part for layer in self.layers for part in layer.layers()]
        last = Dense(outputs, weights=distribution(self.output_weights))
        return [*([Flatten()] if pictures else []), *hidden, last]


def _typed(kind: Any, told: Mapping[str, Any]) -> Any:
    """A dataclass from JSON, each number and text of the type that it should be, and finite."""
    made: dict[str, Any] = {}
    default = kind()
    for name, value in told.items():
        like = getattr(default, name)
        if isinstance(like, int) and not isinstance(like, bool):
            made[name] = int(_finite(value))
        elif isinstance(like, float):
            made[name] = _finite(value)
        elif isinstance(like, str):
            made[name] = _text(value)
        elif name == "features":
            made[name] = tuple(_text(item) for item in _list(value))
        elif name == "options":
            made[name] = tuple((_text(key), _finite(number)) for key, number in _list(value))
        elif name == "points":
            made[name] = tuple((_finite(a), _finite(b), int(c)) for a, b, c in _list(value))
        else:
            made[name] = value
    return kind(**made)


def _finite(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(value)
    return float(value)


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > 100:
        raise ValueError(value)
    return value


def _list(value: Any) -> Sequence[Any]:
    if not isinstance(value, list | tuple) or len(value) > MOST_POINTS:
        raise ValueError(value)
    return value
