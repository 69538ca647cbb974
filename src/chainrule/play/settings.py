"""The page's settings: data, network, loss, optimizer. A browser sends them, so all are checked."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from chainrule import distributions, losses
from chainrule.data import BUILTIN, Dataset
from chainrule.data import plane as planes
from chainrule.descent import Optimizer, optimizers, schedules
from chainrule.errors import SettingError, require, unknown
from chainrule.layers import Dense, Dropout, Flatten, Layer, activation
from chainrule.layers.notation import parse
from chainrule.losses import Loss, Penalty
from chainrule.play.toys import TOYS
from chainrule.training import defaults

FEATURES = ("x1", "x2", "x1^2", "x2^2", "x1*x2", "sin x1", "sin x2")
"""The features of a point of the plane that a network can see."""
KINDS = ("plane", "drawn", "builtin", "sequence", "given")
"""Where samples come from: a toy data set of the plane, points drawn by the user, a built-in data
set, generated sequences, or an opened or uploaded file or run.
"""

MOST_LAYERS, MOST_UNITS, MOST_POINTS, MOST_WEIGHTS = 8, 256, 2000, 300_000
MOST_PARTS, MOST_VALUES = 30, 200_000
"""The most layers of a network given as text, and the most numbers that it computes of a sample."""
EMBEDDED = 32
"""The numbers that stand for a token, in the network for a text if none is chosen."""
NO_RATE = ("rprop", "lbfgs")
"""Optimizers without a learning rate."""


def options_of(name: str) -> dict[str, float]:
    """The hyperparameters of an optimizer other than the learning rate, with their defaults."""
    parameters = inspect.signature(optimizers.NAMED[name]).parameters.values()
    return {p.name: p.default for p in parameters if p.name != "learning_rate" and isinstance(p.default, int | float)}


@dataclass(frozen=True)
class DataSettings:
    """The choice of samples.

    Attributes:
        kind: one of KINDS
        name: the name of a toy or built-in data set, or of generated sequences
        samples: the number of samples of a toy data set
        noise: the standard deviation of its noise
        seed: of the toy data set, and of the split into training and validation set
        features: the features of a point of the plane, from FEATURES
        points: the user's own points, as (x1, x2, class)
    """

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
        if self.kind == "sequence" and self.name not in TOYS:
            raise unknown("set of sequences", self.name, TOYS)
        for feature in self.features:
            if feature not in FEATURES:
                raise unknown("feature", feature, FEATURES)
        require(10 <= self.samples <= MOST_POINTS, f"{self.samples} samples: the page allows 10 to {MOST_POINTS}")
        require(0 <= self.noise <= 1, f"noise {self.noise}: the page allows 0 to 1")
        require(len(self.features) > 0, "a network needs at least one feature of the plane")
        require(len(self.points) <= MOST_POINTS, f"{len(self.points)} points: the page allows at most {MOST_POINTS}")
        require(
            all(abs(x1) <= 10 and abs(x2) <= 10 and label in (0, 1) for x1, x2, label in self.points),
            "the coordinates of a drawn point must lie between -10 and 10, and its class must be 0 or 1",
        )


@dataclass(frozen=True)
class LayerSettings:
    """A hidden layer.

    Attributes:
        units: the number of units
        activation: the name of the activation
        weights: the distribution of its initial weights, as text; the default one if empty
        dropout: the rate of dropout after the activation; 0 for none
    """

    units: int = 4
    activation: str = "tanh"
    weights: str = ""
    dropout: float = 0.0

    def __post_init__(self) -> None:
        require(1 <= self.units <= MOST_UNITS, f"a layer of {self.units} units: the page allows 1 to {MOST_UNITS}")
        activation(self.activation)
        distribution(self.weights)

    def layers(self) -> list[Layer]:
        """The layers of a network that it stands for."""
        dense = Dense(self.units, activation=self.activation, weights=distribution(self.weights))
        return [dense, Dropout(self.dropout)] if self.dropout else [dense]


def distribution(text: str) -> distributions.Distribution | None:
    """The distribution that a text such as "normal 0 0.5" describes; None for an empty text."""
    return distributions.of(text) if text.strip() else None


@dataclass(frozen=True)
class Settings:
    """All settings of the page.

    Attributes:
        data: the choice of samples
        layers: the hidden layers
        network: the hidden layers as text, such as "conv 8 3x3 relu, max_pool 2, flatten"; if it is
            not empty, it takes the place of `layers`
        output_weights: the distribution of the output layer's initial weights, as text
        loss: the name of the loss; the task's default if empty
        optimizer: the name of the optimizer
        learning_rate: its learning rate
        options: its other hyperparameters, as (name, value)
        clip: the maximum norm of the gradient; 0 for no limit
        schedule: the name of the learning-rate schedule
        batch_size: the number of samples in a mini-batch
        epochs: the planned number of epochs, over which the schedule is spread
        l1, l2: the coefficients of the penalties
        seed: of the initial weights, the order of the samples and dropout
    """

    data: DataSettings = field(default_factory=DataSettings)
    layers: tuple[LayerSettings, ...] = (LayerSettings(8), LayerSettings(8))
    network: str = ""
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
        count = len(self.layers)
        require(count <= MOST_LAYERS, f"{count} hidden layers: the page allows at most {MOST_LAYERS}")
        count = len(parse(self.network))
        require(count <= MOST_PARTS, f"{count} hidden layers: the page allows at most {MOST_PARTS} in a text")
        if self.optimizer not in optimizers.NAMED:
            raise unknown("optimizer", self.optimizer, optimizers.NAMED)
        if self.schedule not in schedules.NAMED:
            raise unknown("schedule", self.schedule, schedules.NAMED)
        if self.loss and self.loss.split()[0] not in losses.NAMED:
            raise unknown("loss", self.loss, losses.NAMED)
        require(0 <= self.learning_rate <= 1000, f"learning rate {self.learning_rate}: the page allows 0 to 1000")
        require(1 <= self.batch_size <= 4096, f"batch size {self.batch_size}: the page allows 1 to 4096")
        require(1 <= self.epochs <= 100_000, f"{self.epochs} epochs: the page allows 1 to 100000")
        require(0 <= self.clip <= 1e6, f"clipping at a gradient norm of {self.clip}: the page allows 0 to 1e6")
        self.make_optimizer()  # raises for invalid options
        require(0 <= self.l1 <= 10 and 0 <= self.l2 <= 10, "the penalties must lie between 0 and 10")
        distribution(self.output_weights)

    @staticmethod
    def from_json(values: Any) -> Settings:
        """The settings from a browser. Raises SettingError if they are malformed or invalid."""
        try:
            values = dict(values)
            values["data"] = _typed(DataSettings, dict(values.get("data", {})))
            layers = values.pop("layers", None)
            if layers is not None:
                values["layers"] = tuple(_typed(LayerSettings, dict(layer)) for layer in layers)
            return _typed(Settings, values)
        except SettingError:
            raise
        except (TypeError, ValueError, KeyError, AttributeError, OverflowError):
            message = "the page's settings can't be read; reload it without the part of its address after the #"
            raise SettingError(message) from None

    def as_json(self) -> dict[str, Any]:
        """The settings as `from_json` reads them."""
        return asdict(self)

    def make_optimizer(self) -> Optimizer:
        """The optimizer with its hyperparameters, schedule and clipping."""
        return optimizers.optimizer(self.optimizer_text)

    @property
    def optimizer_text(self) -> str:
        """The optimizer in chainrule's notation, such as "adam 0.01 schedule=cosine"."""
        has_rate = self.optimizer not in NO_RATE
        words = [self.optimizer, *([repr(self.learning_rate)] if has_rate else [])]
        words += [f"{name}={value:.10g}" for name, value in self.options]
        words += [f"schedule={self.schedule}"] * (has_rate and self.schedule != "constant")
        return " ".join([*words, *([f"clip={self.clip!r}"] if self.clip else [])])

    def make_loss(self) -> Loss | None:
        """The loss; None for the task's default."""
        return losses.loss(self.loss) if self.loss else None

    def penalties(self) -> list[Penalty]:
        """The penalties on the weights, if any."""
        return [Penalty(self.l1, self.l2)] if self.l1 or self.l2 else []

    def network_layers(self, data: Dataset, outputs: int) -> list[Layer]:
        """The layers of the network: tokens are embedded and pictures flattened before them, unless
        the first layer takes tokens, or a layer pictures.

        Args:
            data: what it is for
            outputs: the number of units of the output layer
        """
        hidden = parse(self.network) or [layer for settings in self.layers for layer in settings.layers()]
        first: list[Layer] = []
        if data.target.tokens and not (hidden and hidden[0].takes_tokens):
            first = [defaults.embedding(data)]
        elif len(data.input_shape) > 1 and not data.target.positions and not any(h.accepts_images for h in hidden):
            first = [Flatten()]
        return [*first, *hidden, Dense(outputs, weights=distribution(self.output_weights))]

    def suited_to(self, data: Dataset) -> Settings:
        """The settings with a network for sequences, where the data are such and none is chosen."""
        if self.network:
            return self
        if data.target.tokens:
            count = data.target.width
            return replace(self, network=f"embedding {count} {EMBEDDED}, transformer 1 heads=2 causal=true")
        return self if data.sequence is None else replace(self, network="lstm 8")


FIRST = Settings(
    data=DataSettings(name="moons", samples=200, noise=0.1), layers=(LayerSettings(3),), optimizer="sgd",
    learning_rate=0.5, batch_size=4,
)  # fmt: skip
"""What the page opens with: small enough to show every number of a step, plain gradient descent."""


def _typed(kind: Any, values: Mapping[str, Any]) -> Any:
    """A dataclass of values from JSON, each validated and converted to its default's type."""
    fields: dict[str, Any] = {}
    defaults = kind()
    for name, value in values.items():
        default = getattr(defaults, name)
        if isinstance(default, int):
            fields[name] = int(_finite(value))
        elif isinstance(default, float):
            fields[name] = _finite(value)
        elif isinstance(default, str):
            fields[name] = _text(value, 500 if name == "network" else 100)
        elif name == "features":
            fields[name] = tuple(_text(item) for item in _list(value))
        elif name == "options":
            fields[name] = tuple((_text(key), _finite(number)) for key, number in _list(value))
        elif name == "points":
            fields[name] = tuple((_finite(x1), _finite(x2), int(label)) for x1, x2, label in _list(value))
        else:
            fields[name] = value
    return kind(**fields)


def _finite(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(value)
    return float(value)


def _text(value: Any, most: int = 100) -> str:
    if not isinstance(value, str) or len(value) > most:
        raise ValueError(value)
    return value


def _list(value: Any) -> Sequence[Any]:
    if not isinstance(value, list | tuple) or len(value) > MOST_POINTS:
        raise ValueError(value)
    return value
