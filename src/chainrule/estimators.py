"""Estimators for scikit-learn: `Classifier` and `Regressor`, which train by `chainrule.train`'s
settings and take part in pipelines, searches and ensembles.

They are trained on frames of pandas and polars, whose columns may be of any kind, and on arrays.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import check_array, check_consistent_length, check_random_state, column_or_1d
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from chainrule.arrays import Array
from chainrule.data import Dataset, Source, load, prepare
from chainrule.data.dataframes import from_pair, is_frame, names_of_targets
from chainrule.descent import Optimizer
from chainrule.descent.schedules import Constant, Schedule
from chainrule.engine import Position
from chainrule.errors import SettingError
from chainrule.losses import Loss, Penalty
from chainrule.losses import loss as named_loss
from chainrule.runs import Trained, follow, for_loss
from chainrule.training import Listener, Plan, Progress, make_plan, plan_for, start
from chainrule.training.class_weights import ClassWeight
from chainrule.training.defaults import BATCH_SIZE
from chainrule.training.plan import AUTO

VALIDATION = 0.1
FEW = 500
"""With fewer rows, none are set aside for validation by default, since early stopping takes 50 of
them; and numbers have float64, which costs little, so that rounding plays no part.
"""


class Estimator(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """What both estimators have in common."""

    trained_: Trained
    loss_curve_: list[float]
    n_iter_: int
    n_outputs_: int
    classes_: Array
    _task: str

    def __init__(
        self,
        network: Any = None,
        *,
        loss: str | Loss | None = None,
        optimizer: str | Optimizer | None = None,
        epochs: int | None = None,
        batch_size: int | None = None,
        validation: Any = AUTO,
        patience: int | str | None = AUTO,
        monitor: Any = "loss",
        min_delta: float = 0.0,
        metrics: Any = None,
        penalties: str | Penalty | Sequence[str | Penalty] = (),
        callbacks: Sequence[Listener] = (),
        read: Mapping[str, str] | None = None,
        dtype: str = AUTO,
        engine: str | None = None,
        warm_start: bool = False,
        random_state: Any = 0,
    ) -> None:
        self.network = network
        self.loss = loss
        self.optimizer = optimizer
        self.epochs = epochs
        self.batch_size = batch_size
        self.validation = validation
        self.patience = patience
        self.monitor = monitor
        self.min_delta = min_delta
        self.metrics = metrics
        self.penalties = penalties
        self.callbacks = callbacks
        self.read = read
        self.dtype = dtype
        self.engine = engine
        self.warm_start = warm_start
        self.random_state = random_state

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train.

        Args:
            X: (samples, columns) a frame, or an array of numbers
            y: (samples,) or (samples, columns) what to predict
            sample_weight: (samples,) how much each sample counts, relative to the others

        Raises ValueError for what can't be trained on.
        """
        before = self._before() if self.warm_start else None
        source, weight = self._source(X, y, sample_weight, before is None)
        seed, validation = self._seed(), self.validation
        if isinstance(validation, str) and validation == AUTO:
            validation = VALIDATION if len(source) >= FEW else 0.0
        data = load(
            source, validation=0.0 if validation is None else validation, test=0.0, seed=seed, weight=weight,
            preparation=None if before is None else before.preparation, **for_loss(self.loss),
        )  # fmt: skip
        plan = self._plan(data, seed, before)
        progress = start(plan)
        if before is not None:
            _check_same_size(plan, before)
            position = replace(progress.position, parameters=before.parameters, statistics=before.statistics)
            progress = replace(progress, position=position)
        return self._follow(plan, data, progress)

    def _partial_fit(self, X: Any, y: Any, sample_weight: Any, classes: Any = None) -> Self:
        """One pass over these samples, from where the last one ended."""
        before = self._before()
        if before is None:
            source, weight = self._source(X, y, sample_weight, True, classes)
            data, seed = load(source, validation=0.0, test=0.0, weight=weight, **for_loss(self.loss)), self._seed()
            plan = self._plan(data, seed)
            plan = replace(plan, epochs=1, optimizer=_endless(plan.optimizer))
            return self._follow(plan, data, start(plan))
        source, weight = self._source(X, y, sample_weight, False, classes)
        data = _prepared(before, replace(source, weight=weight))
        rows = len(source)
        size = rows if before.plan.optimizer.whole_batch else min(self.batch_size or BATCH_SIZE, rows)
        seed = before.plan.seed + 1  # so that the samples are in another order, and dropout in other places
        plan = replace(
            before.plan, epochs=1, batch_size=size, seed=seed, patience=None, optimizer=_endless(before.plan.optimizer)
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
        if self.read and not _is_table(X):
            raise ValueError("read says what to read a table's columns as; leave it out for an array of numbers")
        source = from_pair(X, y, self._task, read=self.read)
        source = replace(source, target_name=name, target_columns=columns if y.ndim > 1 else ())
        if self._task == "classification":
            source = replace(source, classes=tuple(self.classes_.tolist()))
        if sample_weight is None:
            return source, None
        weight = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        rows = np.flatnonzero(weight)
        return source.take(rows), weight[rows] / weight[rows].mean()

    def _checked(self, X: Any, reset: bool, **limits: Any) -> Any:
        """Samples, checked as scikit-learn checks them; a table has columns of any kind."""
        if _is_table(X):
            validate_data(self, X, reset=reset, skip_check_array=True)
            return X
        return validate_data(self, X, reset=reset, dtype=[np.float64, np.float32], **limits)

    def _plan(self, data: Dataset, seed: int, before: Trained | None = None) -> Plan:
        """What to train; the default network does not change once it is fitted."""
        rows = len(data.training.x)
        in_all = rows + (0 if data.validation is None else len(data.validation.x))
        dtype = ("float64" if in_all < FEW else "float32") if self.dtype == AUTO else self.dtype
        network = before.plan.network if before is not None and self.network is None else self.network
        return (plan_for if before is None else make_plan)(
            network, data, loss=self.loss, class_weight=getattr(self, "class_weight", None), optimizer=self.optimizer,
            epochs=self.epochs, batch_size=None if self.batch_size is None else min(self.batch_size, rows), seed=seed,
            penalties=self.penalties, patience=self.patience, monitor=self.monitor,
            min_delta=self.min_delta, metrics=self.metrics, dtype=dtype, engine=self.engine,
        )  # fmt: skip

    def _follow(
        self, plan: Plan, data: Dataset, progress: Progress, epochs: int = 0, curve: Sequence[float] = ()
    ) -> Self:
        self.trained_ = follow(plan, data, progress, list(self.callbacks))
        self.n_outputs_ = 1 if data.task == "classification" else data.target.width
        self.n_iter_ = epochs + self.trained_.progress.epoch
        self.loss_curve_ = [*curve, *(record["loss"] for record in self.trained_.history)]
        return self

    def _seed(self) -> int:
        state = self.random_state
        is_seed = isinstance(state, int | np.integer) and not isinstance(state, bool)
        return int(state) if is_seed else int(check_random_state(state).randint(2**31 - 1))

    def _raw(self, X: Any) -> Array:
        """(samples, outputs) the network's outputs."""
        check_is_fitted(self, "trained_")
        return self.trained_.raw(self._checked(X, reset=False)).astype(np.float64)

    def __getstate__(self) -> dict[str, Any]:
        """What is pickled: not the data that the network was trained on."""
        state = dict(super().__getstate__())
        if "trained_" in state:
            state["trained_"] = replace(state["trained_"], data=None, chunk=None)
        return state


def _is_table(X: Any) -> bool:
    """Whether samples are a frame, or an array with texts in it."""
    if is_frame(X) or sparse.issparse(X):
        return is_frame(X)
    array = np.asarray(X)
    return array.ndim == 2 and (array.dtype.kind == "U" or any(isinstance(value, str) for value in _objects(array)))


def _objects(array: Array) -> list[Any]:
    return array.ravel().tolist() if array.dtype == object else []


def _prepared(before: Trained, source: Source) -> Dataset:
    """A training set of these samples, prepared as before."""
    preparation = before.preparation
    assert preparation is not None
    samples, rows = prepare(preparation, source), np.arange(len(source))
    return Dataset(
        samples, None, None, before.target, preparation, source.name, source.fingerprint, source=source, rows=rows
    )


def _endless(optimizer: Optimizer) -> Optimizer:
    """The optimizer at a constant rate instead of a schedule over the whole training, which has no
    end.
    """

    def endless(schedule: Schedule) -> Schedule:
        if hasattr(schedule, "then"):
            return replace(schedule, then=endless(schedule.then))  # type: ignore[call-arg]
        return Constant(schedule.rate) if getattr(schedule, "steps", 0) is None else schedule  # type: ignore[attr-defined]

    return optimizer.scheduled(endless)


def _check_same_size(plan: Plan, before: Trained) -> None:
    if plan.network.parameters.size != before.plan.network.parameters.size:
        raise ValueError("warm_start: the network is not the one that was fitted; fit another estimator")


def _has_probabilities(estimator: Any) -> bool:
    """Whether the loss makes probabilities of the network's outputs; also if there is no such loss,
    which `fit` says.
    """
    with contextlib.suppress(SettingError):
        loss = named_loss(estimator.loss) if estimator.loss is not None else None
        return loss is None or type(loss).probabilities is not Loss.probabilities
    return True


class Classifier(ClassifierMixin, Estimator):  # type: ignore[misc]
    """A neural network for classes, or for labels of which a sample may have any number.

    Args:
        network: the hidden layers as text ("64 relu, dropout 0.2"), or all layers as a list or a
            Network; by default chosen by the number of rows
        loss: a loss or its name; by default cross-entropy
        class_weight: the factor of each class in the loss, by label, or "balanced"
        optimizer: an optimizer, or text such as "adam 0.001 schedule=cosine"
        epochs: the number of passes over the training set, at most; by default 100
        batch_size: the samples of a mini-batch, at most; by default 32
        validation: the share of the rows to validate on, or (X, y) of their own; "auto" for 0.1,
            or none with fewer than 500 rows
        patience: the number of epochs without a better validation loss after which training stops
            and returns the weights of the best epoch; None to never stop early; "auto" for 25, or
            None with fewer than 50 validation rows
        monitor, min_delta: what must improve on the validation set, and by how much
        metrics: what to measure on the validation set after each epoch, besides the loss
        penalties: such as "l2 0.001", or several
        callbacks: functions that are called with every event
        read: what to read a frame's columns as, such as {"zip": "category"}
        dtype: "float32" or "float64"; "auto" for float64 with fewer than 500 rows, else float32
        engine: "native" or "numpy"; by default the fastest
        warm_start: whether `fit` starts from the weights of the last one, with its preparation
        random_state: the seed of the validation set, the initial weights, the order of the samples
            and dropout; None for another one at every `fit`

    Attributes:
        trained_: the trained network, as `chainrule.train` returns it; `trained_.save(folder)`
            writes it as a run
        classes_: the classes in order; of labels their numbers
        n_features_in_: the number of columns
        feature_names_in_: their names, if all are text
        n_outputs_: the number of labels; 1 for classes
        n_iter_: the number of epochs
        loss_curve_: the training loss after each epoch

    Examples:
        >>> from sklearn.datasets import load_iris
        >>> from sklearn.model_selection import cross_val_score
        >>> X, y = load_iris(return_X_y=True, as_frame=True)
        >>> net = Classifier("16 tanh", optimizer="adam 0.02", epochs=50)
        >>> bool(cross_val_score(net, X, y, cv=3).mean() > 0.9)
        True
    """

    def __init__(
        self,
        network: Any = None,
        *,
        loss: str | Loss | None = None,
        class_weight: ClassWeight | None = None,
        optimizer: str | Optimizer | None = None,
        epochs: int | None = None,
        batch_size: int | None = None,
        validation: Any = AUTO,
        patience: int | str | None = AUTO,
        monitor: Any = "loss",
        min_delta: float = 0.0,
        metrics: Any = None,
        penalties: str | Penalty | Sequence[str | Penalty] = (),
        callbacks: Sequence[Listener] = (),
        read: Mapping[str, str] | None = None,
        dtype: str = AUTO,
        engine: str | None = None,
        warm_start: bool = False,
        random_state: Any = 0,
    ) -> None:
        super().__init__(
            network, loss=loss, optimizer=optimizer, epochs=epochs, batch_size=batch_size, validation=validation,
            patience=patience, monitor=monitor, min_delta=min_delta, metrics=metrics,
            penalties=penalties, callbacks=callbacks, read=read, dtype=dtype,
            engine=engine, warm_start=warm_start, random_state=random_state,
        )  # fmt: skip
        self.class_weight = class_weight

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """One pass over these samples. Columns are scaled, and texts read, as in the first call.

        A schedule of the learning rate over the whole training, which has no end here, is left out.

        Args:
            X: (samples, columns) a frame, or an array of numbers
            y: (samples,) classes, or (samples, labels) of 0 and 1
            classes: all classes; needed in the first call, unless there are labels
            sample_weight: (samples,) how much each sample counts, relative to the others

        Raises ValueError for what can't be trained on.
        """
        if self._before() is None and classes is None and not type_of_target(y).startswith("multilabel"):
            raise ValueError("classes must be passed on the first call to partial_fit.")
        if self._before() is not None:
            if classes is not None and not np.array_equal(np.unique(classes), self.classes_):
                raise ValueError(f"`classes={classes}` is not the same as on last call to partial_fit: {self.classes_}")
            classes = self.classes_
        return self._partial_fit(X, y, sample_weight, classes)

    def predict(self, X: Any) -> Array:
        """(samples,) the classes, or (samples, labels) 0 and 1."""
        raw = self._raw(X)
        return self.trained_.decoded(raw) if self._task == "multilabel" else self.classes_[self._indices(raw)]

    def _indices(self, raw: Array) -> Array:
        return self.trained_.plan.loss.classes(raw)

    @available_if(_has_probabilities)  # type: ignore[untyped-decorator]
    def predict_proba(self, X: Any) -> Array:
        """(samples, classes) the probabilities of `classes_`; (samples, labels) of the labels."""
        raw = self._raw(X)
        probabilities = self.trained_.plan.loss.probabilities(raw)
        assert probabilities is not None
        return probabilities

    @available_if(_has_probabilities)  # type: ignore[untyped-decorator]
    def predict_log_proba(self, X: Any) -> Array:
        """The logarithms of `predict_proba`."""
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))

    def _targets(self, y: Any, first: bool, classes: Any) -> Array:
        y = y.toarray() if sparse.issparse(y) else y  # type: ignore[attr-defined]
        checked = check_array(y, ensure_2d=False, allow_nd=True, dtype=None, input_name="y", ensure_min_samples=0)
        kind = type_of_target(checked, input_name="y", raise_unknown=True)
        check_classification_targets(checked)
        if kind.startswith("multilabel"):
            self._task, self.classes_ = "multilabel", np.arange(checked.shape[1])
            return checked
        if kind.endswith("multioutput"):
            raise ValueError("y has several columns of classes; fit an estimator for each (MultiOutputClassifier)")
        labels = column_or_1d(checked, warn=True)
        found = np.unique(labels)
        if classes is not None and not np.isin(found, classes).all():
            raise ValueError(f"y has classes that are not among {np.unique(classes)}: {np.setdiff1d(found, classes)}")
        if not first and classes is None and not np.array_equal(found, self.classes_):
            raise ValueError(f"warm_start: the classes must remain {self.classes_}, but y has {found}")
        if first:
            self._task, self.classes_ = "classification", found if classes is None else np.unique(classes)
        return labels

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


class Regressor(RegressorMixin, Estimator):  # type: ignore[misc]
    """A neural network for one quantity, or several.

    Settings and attributes are those of `Classifier`, without `class_weight` and `classes_`; the
    default loss is the mean squared error, and `n_outputs_` is the number of quantities.

    Examples:
        >>> from sklearn.datasets import load_diabetes
        >>> X, y = load_diabetes(return_X_y=True, as_frame=True)
        >>> bool(Regressor("16 tanh", epochs=50).fit(X, y).score(X, y) > 0.4)
        True
    """

    _task = "regression"

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """One pass over these samples. Columns and targets are scaled as in the first call.

        A schedule of the learning rate over the whole training, which has no end here, is left out.

        Args:
            X: (samples, columns) a frame, or an array of numbers
            y: (samples,) or (samples, columns) the quantities
            sample_weight: (samples,) how much each sample counts, relative to the others

        Raises ValueError for what can't be trained on.
        """
        return self._partial_fit(X, y, sample_weight)

    def predict(self, X: Any) -> Array:
        """(samples,) the quantity, or (samples, columns) the quantities, in their own units."""
        raw = self._raw(X)
        return self.trained_.decoded(raw)

    def _targets(self, y: Any, first: bool, classes: Any) -> Array:
        checked = check_array(y, ensure_2d=False, dtype="numeric", input_name="y", ensure_min_samples=0)
        return column_or_1d(checked, warn=True) if checked.ndim == 1 or checked.shape[1] == 1 else checked

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
