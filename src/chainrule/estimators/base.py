"""What both estimators have in common: their settings, and how they are trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Self, TypeAlias

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_consistent_length, check_random_state
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from chainrule.arrays import Array, Vector
from chainrule.augmentation import Augmentation
from chainrule.data import Data, Dataset, Source, load
from chainrule.data.dataframes import from_pair, names_of_targets
from chainrule.data.files import is_sparse
from chainrule.data.finding import Inputs
from chainrule.data.source import OF_CLASSES
from chainrule.descent import Optimizer
from chainrule.engine import Position
from chainrule.errors import SettingError
from chainrule.estimators.interface import BaseEstimator
from chainrule.estimators.parts import endless, is_table, prepared
from chainrule.losses import Loss, Penalty
from chainrule.losses import loss as named_loss
from chainrule.runs import Trained, follow, for_loss
from chainrule.training import Listener, Plan, Progress, make_plan, plan_for, start
from chainrule.training.defaults import BATCH_SIZE
from chainrule.training.metrics import Choice
from chainrule.training.networks import Layers
from chainrule.training.planning import AUTO
from chainrule.training.progress_bar import with_progress

VALIDATION = 0.1
FEW = 500
"""With fewer rows, none are set aside for validation by default, since early stopping takes 50 of
them; and numbers have float64, which costs little, so that rounding plays no part.
"""

PART = 10_000_000
"""The numbers of a sparse matrix that are predicted from at a time."""

Seed: TypeAlias = int | np.random.RandomState | None
"""What scikit-learn takes for a seed."""


class Estimator(BaseEstimator):
    """What both estimators have in common."""

    trained_: Trained
    loss_curve_: list[float]
    n_iter_: int
    n_outputs_: int
    classes_: Array
    n_features_in_: int
    feature_names_in_: Array
    _task: str
    _tasks: tuple[str, ...]
    """The tasks that it is for."""

    def __init__(
        self,
        network: Layers | None = None,
        *,
        loss: str | Loss | None = None,
        optimizer: str | Optimizer | None = None,
        epochs: int | None = None,
        batch_size: int | None = None,
        validation: float | str | Data | None = AUTO,
        split: str | None = None,
        shuffle: bool = True,
        patience: int | str | None = AUTO,
        monitor: Choice = "loss",
        min_delta: float = 0.0,
        augment: str | Augmentation | Sequence[str | Augmentation] | None = None,
        metrics: Choice | Sequence[Choice] | None = None,
        penalties: str | Penalty | Sequence[str | Penalty] = (),
        callbacks: Sequence[Listener] = (),
        task: str | None = None,
        drop: str | Sequence[str] = (),
        read: Mapping[str, str] | None = None,
        text: str | None = None,
        tokens: str | None = None,
        length: int | None = None,
        dtype: str = AUTO,
        engine: str | None = None,
        devices: int | None = None,
        threads: int | None = None,
        progress: bool | None = False,
        warm_start: bool = False,
        random_state: Seed = 0,
    ) -> None:
        self.network = network
        self.loss = loss
        self.optimizer = optimizer
        self.epochs = epochs
        self.batch_size = batch_size
        self.validation = validation
        self.split = split
        self.shuffle = shuffle
        self.patience = patience
        self.monitor = monitor
        self.min_delta = min_delta
        self.augment = augment
        self.metrics = metrics
        self.penalties = penalties
        self.callbacks = callbacks
        self.task = task
        self.drop = drop
        self.read = read
        self.text = text
        self.tokens = tokens
        self.length = length
        self.dtype = dtype
        self.engine = engine
        self.devices = devices
        self.threads = threads
        self.progress = progress
        self.warm_start = warm_start
        self.random_state = random_state

    def fit(self, X: Inputs, y: Inputs, sample_weight: ArrayLike | None = None) -> Self:
        """Train.

        Args:
            X: (samples, columns) a frame, or an array of numbers
            y: (samples,) or (samples, columns) what to predict
            sample_weight: (samples,) how much each sample counts, relative to the others

        Raises ValueError for what can't be trained on.
        """
        before = self._before() if self.warm_start else None
        source, weight = self._source(X, y, sample_weight, before is None)
        seed = self._seed()
        data = self._load(source, weight, self._held_out(len(source)), seed, before)
        plan = self._plan(data, seed, before)
        progress = _start(plan, data)
        if before is not None:
            _check_same_size(plan, before)
            position = replace(progress.position, parameters=before.parameters, statistics=before.statistics)
            progress = replace(progress, position=position)
        return self._follow(plan, data, progress)

    def _partial_fit(self, X: Any, y: Any, sample_weight: Any, classes: Any = None) -> Self:
        """One pass over these samples, from where the last one ended."""
        before, validation = self._before(), self._held_out(None)
        if before is None:
            source, weight = self._source(X, y, sample_weight, True, classes)
            seed = self._seed()
            data = self._load(source, weight, validation, seed)
            plan = self._plan(data, seed, is_chosen=False)  # the first samples of many say too little
            plan = replace(plan, epochs=1, patience=None, optimizer=endless(plan.optimizer))
            return self._follow(plan, data, _start(plan, data))
        source, weight = self._source(X, y, sample_weight, False, classes)
        data = prepared(before, replace(source, weight=weight), validation)
        rows = len(source)
        size = rows if before.plan.optimizer.whole_batch else min(self.batch_size or BATCH_SIZE, rows)
        seed = before.plan.seed + 1  # so that the samples are in another order, and dropout in other places
        plan = replace(
            before.plan, epochs=1, batch_size=size, seed=seed, patience=None, optimizer=endless(before.plan.optimizer)
        )
        last = before.progress.position
        progress = Progress(Position(0, last.parameters, last.statistics, last.states))
        return self._follow(plan, data, progress, self.n_iter_, self.loss_curve_)

    def _before(self) -> Trained | None:
        return getattr(self, "trained_", None)

    def _targets(self, y: Any, first: bool, classes: Any) -> Array:
        """The targets, checked; `first` says whether they decide what is predicted, and `classes`
        may be known.
        """
        raise NotImplementedError

    def _own(self) -> dict[str, Any]:
        """The settings of a plan that only this kind of estimator has."""
        return {}

    def _order(self) -> Sequence[Any] | None:
        """The classes from the lowest, where their order is given."""
        return None

    def _asks_for(self, task: str) -> bool:
        """Whether the settings ask for this task; raises SettingError if they ask for one that is
        not for this estimator.
        """
        if self.task is not None:
            if self.task not in self._tasks:
                known = ", ".join(self._tasks)
                raise SettingError(f"{type(self).__name__}: the task is {self.task!r}; it is one of {known}")
            return self.task == task
        return self.loss is not None and named_loss(self.loss).task == task

    def _source(
        self, X: Any, y: Any, sample_weight: Any, first: bool, classes: Any = None
    ) -> tuple[Source, Array | None]:
        """The samples that count, and their weights, of mean 1: only their ratios matter."""
        X = self._checked(X, reset=first, ensure_min_samples=2 if first else 1)
        if y is None:
            raise ValueError(f"{type(self).__name__} requires y to be passed, but the target y is None")
        name, columns = names_of_targets(y)
        y = self._targets(y, first, classes)
        check_consistent_length(X, y)
        if (self.read or self.drop) and not is_table(X):
            raise ValueError("read and drop are about a table's columns; leave them out for an array of numbers")
        drop = [column for column in self._dropped() if column != self._split_column()]
        source = from_pair(X, y, self._task, drop, read=self.read)
        source = replace(source, target_name=name, target_columns=columns if y.ndim > 1 else (), may_be_constant=True)
        if self._task in OF_CLASSES and hasattr(self, "classes_"):
            source = replace(source, classes=tuple(self.classes_.tolist()))
        if sample_weight is None:
            return source, None
        weight = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        rows = np.flatnonzero(weight)
        return source.take(rows), weight[rows] / weight[rows].mean()

    def _dropped(self) -> list[str]:
        return [self.drop] if isinstance(self.drop, str) else list(self.drop)

    def _split_column(self) -> str:
        return self.split.partition(":")[2] if isinstance(self.split, str) else ""

    def _checked(self, X: Any, reset: bool, **limits: Any) -> Any:
        """Samples, checked as scikit-learn checks them; a table has columns of any kind."""
        if is_table(X):
            validate_data(self, X, reset=reset, skip_check_array=True)
            return X
        return validate_data(self, X, reset=reset, accept_sparse="csr", dtype=[np.float64, np.float32], **limits)

    def _held_out(self, rows: int | None) -> float | Data:
        """What to validate on, of so many rows; None for those of `partial_fit`, of which none are
        held out.

        Raises SettingError if that is nothing, but a setting needs it.
        """
        needing = ["metrics"] if self.metrics is not None else []
        needing += [name for name, value in self._own().items() if name == "threshold" and _is_metric(value)]
        if rows is not None:
            needing += ["patience"] if self.patience not in (AUTO, None) else []
            needing += ["monitor"] if self.monitor != "loss" else ["min_delta"] if self.min_delta else []
        chosen = self.validation
        if isinstance(chosen, str) and chosen == AUTO:
            chosen = VALIDATION if rows is not None and (rows >= FEW or needing) else 0.0
        elif chosen is None or (rows is None and isinstance(chosen, int | float)):
            chosen = 0.0
        if needing and isinstance(chosen, int | float) and chosen == 0:
            none = "are measured on validation rows, of which there are none"
            few = "set validation=0.1, or pass" if rows is not None else "for partial_fit, pass"
            raise SettingError(f"{' and '.join(needing)} {none}; {few} validation=(X, y) of their own")
        return chosen

    def _load(
        self, source: Source, weight: Array | None, validation: float | Data, seed: int, before: Trained | None = None
    ) -> Dataset:
        return load(
            source, validation=validation, test=0.0, split=self.split, shuffle=self.shuffle, seed=seed, weight=weight,
            drop=self._dropped(), text=self.text, tokens=self.tokens, length=self.length,
            order=self._order() if self._task == "ordinal" else None,
            preparation=None if before is None else before.preparation, **for_loss(self.loss),
        )  # fmt: skip

    def _plan(self, data: Dataset, seed: int, before: Trained | None = None, is_chosen: bool = True) -> Plan:
        """What to train; the default network does not change once it is fitted."""
        rows = len(data.training.x)
        in_all = rows + (0 if data.validation is None else len(data.validation.x))
        dtype = ("float64" if in_all < FEW else "float32") if self.dtype == AUTO else self.dtype
        settings: dict[str, Any] = {
            "loss": self.loss, "optimizer": self.optimizer, "epochs": self.epochs, "seed": seed,
            "batch_size": None if self.batch_size is None else min(self.batch_size, rows), "dtype": dtype,
            "penalties": self.penalties, "patience": self.patience if is_chosen else None, "monitor": self.monitor,
            "min_delta": self.min_delta, "augment": self.augment, "metrics": self.metrics, "engine": self.engine,
            "devices": self.devices, **self._own(),
        }  # fmt: skip
        if before is None and is_chosen:
            return plan_for(self.network, data, threads=self.threads, **settings)
        network = before.plan.network if before is not None and self.network is None else self.network
        return make_plan(network, data, **settings)

    def _follow(
        self, plan: Plan, data: Dataset, progress: Progress, epochs: int = 0, curve: Sequence[float] = ()
    ) -> Self:
        self.trained_ = follow(plan, data, progress, with_progress(self.callbacks, self.progress), self.threads)
        self.n_outputs_ = 1 if data.target.is_class else data.target.width
        self.n_iter_ = epochs + self.trained_.progress.epoch
        self.loss_curve_ = [*curve, *(record["loss"] for record in self.trained_.history)]
        return self

    def _seed(self) -> int:
        state = self.random_state
        is_seed = isinstance(state, int | np.integer) and not isinstance(state, bool)
        return int(state) if is_seed else int(check_random_state(state).randint(2**31 - 1))  # type: ignore[arg-type]

    def _raw(self, X: Any) -> Array:
        """(samples, outputs) the network's outputs."""
        check_is_fitted(self, "trained_")
        X = self._checked(X, reset=False)
        step = max(1, PART // max(1, X.shape[1])) if is_sparse(X) else len(X)  # some at a time, since they become dense
        parts = [X] if step >= X.shape[0] else [X[k : k + step] for k in range(0, X.shape[0], step)]
        return np.concatenate([self.trained_.raw(part, self.threads) for part in parts]).astype(np.float64)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def __getstate__(self) -> dict[str, Any]:
        """What is pickled: not the data that the network was trained on."""
        state = dict(super().__getstate__())
        if "trained_" in state:
            state["trained_"] = replace(state["trained_"], data=None, chunk=None)
        return state


def _is_metric(threshold: float | str | Callable[..., Any] | None) -> bool:
    """Whether a threshold is to be chosen by a metric."""
    return threshold is not None and not isinstance(threshold, int | float)


def _check_same_size(plan: Plan, before: Trained) -> None:
    if plan.network.parameters.size != before.plan.network.parameters.size:
        raise ValueError("warm_start: the network is not the one that was fitted; fit another estimator")


def _start(plan: Plan, data: Dataset) -> Progress:
    """The start of a training. If the target has one value only, which is scaled to 0, that is
    where the network's output is 0: there the loss is least, and so nothing moves.
    """
    progress, network = start(plan), plan.network
    if data.task != "regression" or not (data.training.y == data.training.y[0]).all():
        return progress
    layout, parameters = network.parameters, progress.position.parameters.copy()
    owned: dict[str, list[Vector]] = {}
    for name, array in layout.views(parameters):
        owned.setdefault(name.rpartition(".")[0], []).append(array)
    for array in owned[next(node.owner for node in reversed(network.nodes) if node.owner in owned)]:
        array[...] = 0
    return replace(progress, position=replace(progress.position, parameters=parameters))
