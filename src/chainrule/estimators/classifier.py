"""The estimator for classes, in order or not, and for labels."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse
from sklearn.utils import check_array, column_or_1d
from sklearn.utils.multiclass import check_classification_targets, type_of_target

from chainrule.arrays import Array
from chainrule.augmentation import Augmentation
from chainrule.data import Data
from chainrule.data.dataframes import only_column
from chainrule.data.finding import Inputs
from chainrule.data.source import order_of
from chainrule.data.targets import Label
from chainrule.descent import Optimizer
from chainrule.errors import SettingError
from chainrule.estimators.base import Estimator, Seed
from chainrule.estimators.interface import ClassifierMixin, available_if
from chainrule.losses import Loss, Penalty
from chainrule.losses import loss as named_loss
from chainrule.training import Listener
from chainrule.training.class_weights import ClassWeight
from chainrule.training.metrics import Choice
from chainrule.training.networks import Layers
from chainrule.training.planning import AUTO
from chainrule.training.threshold import decide


def _has_probabilities(estimator: Estimator) -> bool:
    """Whether the loss makes probabilities of the network's outputs; also if there is no such loss,
    which `fit` says.
    """
    with contextlib.suppress(SettingError):
        loss = named_loss(estimator.loss) if estimator.loss is not None else None
        return loss is None or type(loss).probabilities is not Loss.probabilities
    return True


class Classifier(ClassifierMixin, Estimator):
    """A neural network for classes, which may be in order, or for labels of which a sample may have
    any number.

    Args:
        network: the hidden layers as text ("64 relu, dropout 0.2"), or all layers as a list or a
            Network; by default chosen by the number of rows
        loss: a loss or its name; by default cross-entropy, or the ordinal loss for classes in order
        class_weight: the factor of each class in the loss, by label, or "balanced"; of labels,
            those of 0 and 1
        optimizer: an optimizer, or text such as "adam 0.001 schedule=cosine"
        epochs: the number of passes over the training set, at most; by default 100
        batch_size: the samples of a mini-batch, at most; by default 32
        validation: the share of the rows to validate on, or (X, y) of their own; "auto" for 0.1,
            or none with fewer than 500 rows if no setting needs them
        split, shuffle: how the rows to validate on are chosen, as for `train`: by chance,
            "time:COLUMN", "group:COLUMN", or the last ones without shuffling
        patience: the number of epochs without a better validation loss after which training stops
            and returns the weights of the best epoch; None to never stop early; "auto" for 25, or
            None with fewer than 50 validation rows
        monitor, min_delta: what must improve on the validation set, and by how much
        threshold: for two classes, from which probability on the second of `classes_` is predicted,
            or the metric by which that is chosen on the validation set, such as "f1"
        augment: how the samples of each mini-batch are changed at random: "mixup 0.2"; the others
            are for pictures, which rows of a table are not
        metrics: what to measure on the validation set after each epoch, besides the loss; it is
            kept in `trained_.history`
        penalties: such as "l2 0.001", or several
        callbacks: functions that are called with every event
        task: "ordinal" for classes in order; "classification" or "multilabel" for what y is taken
            for anyway, or for an ordered categorical without its order
        order: the classes from the lowest to the highest, for "ordinal"; numbers are in order, and
            an ordered categorical of pandas or an Enum of polars brings its order along
        drop: columns of a frame to leave out
        read: what to read a frame's columns as, such as {"zip": "category"}
        text, tokens, length: what columns of text become, as for `load`
        dtype: "float32" or "float64"; "auto" for float64 with fewer than 500 rows, else float32
        engine: "native", "numpy" or "jax"; by default the fastest on processors
        devices: of the engine "jax", how many devices share each mini-batch
        threads: the most threads to train and predict with
        progress: whether to show a bar while it is trained
        warm_start: whether `fit` starts from the weights of the last one, with its preparation
        random_state: the seed of the validation set, the initial weights, the order of the samples
            and dropout; None for another one at every `fit`

    Attributes:
        trained_: the trained network, as `chainrule.train` returns it; `trained_.save(folder)`
            writes it as a run
        classes_: the classes, sorted; of labels their numbers. Those in order are sorted alike;
            their order is `trained_.target.classes`
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

    _tasks = ("classification", "ordinal", "multilabel")
    _ranks: Sequence[Any] | None = None
    """The classes from the lowest, if their order was given."""

    def __init__(
        self,
        network: Layers | None = None,
        *,
        loss: str | Loss | None = None,
        class_weight: ClassWeight | None = None,
        optimizer: str | Optimizer | None = None,
        epochs: int | None = None,
        batch_size: int | None = None,
        validation: float | str | Data | None = AUTO,
        split: str | None = None,
        shuffle: bool = True,
        patience: int | str | None = AUTO,
        monitor: Choice = "loss",
        min_delta: float = 0.0,
        threshold: Choice | float | None = None,
        augment: str | Augmentation | Sequence[str | Augmentation] | None = None,
        metrics: Choice | Sequence[Choice] | None = None,
        penalties: str | Penalty | Sequence[str | Penalty] = (),
        callbacks: Sequence[Listener] = (),
        task: str | None = None,
        order: Sequence[Label] | None = None,
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
        super().__init__(
            network, loss=loss, optimizer=optimizer, epochs=epochs, batch_size=batch_size, validation=validation,
            split=split, shuffle=shuffle, patience=patience, monitor=monitor, min_delta=min_delta, augment=augment,
            metrics=metrics, penalties=penalties, callbacks=callbacks, task=task, drop=drop, read=read, text=text,
            tokens=tokens, length=length, dtype=dtype, engine=engine, devices=devices, threads=threads,
            progress=progress, warm_start=warm_start, random_state=random_state,
        )  # fmt: skip
        self.class_weight = class_weight
        self.threshold = threshold
        self.order = order

    def partial_fit(
        self, X: Inputs, y: Inputs, classes: ArrayLike | None = None, sample_weight: ArrayLike | None = None
    ) -> Self:
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

    def predict(self, X: Inputs) -> Array:
        """(samples,) the classes, or (samples, labels) 0 and 1."""
        raw = self._raw(X)
        if self._task == "multilabel":
            return self.trained_.decoded(raw)
        return self.classes_[self._places[decide(self.trained_.plan.loss, raw, self.trained_.threshold)]]

    @property
    def _places(self) -> Array:
        """(classes,) where in `classes_` each class of the network is."""
        labels = np.array(self.trained_.target.classes)
        return np.argsort(np.argsort(labels, kind="stable")) if self._task == "ordinal" else np.arange(len(labels))

    def _in_places(self, values: Array) -> Array:
        """(samples, classes) the network's numbers for its classes, in the order of `classes_`."""
        return values if self._task == "multilabel" else values[:, np.argsort(self._places)]

    @available_if(_has_probabilities)
    def predict_proba(self, X: Inputs) -> Array:
        """(samples, classes) the probabilities of `classes_`; (samples, labels) of the labels."""
        raw = self._raw(X)
        probabilities = self.trained_.plan.loss.probabilities(raw)
        assert probabilities is not None
        return self._in_places(probabilities)

    @available_if(_has_probabilities)
    def predict_log_proba(self, X: Inputs) -> Array:
        """The logarithms of `predict_proba`."""
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))

    def decision_function(self, X: Inputs) -> Array:
        """(samples,) of two classes how much speaks for the second one, which is predicted where
        this is above 0; (samples, classes) of more, of which the one with most is predicted;
        (samples, labels) of labels, which are predicted above 0.

        That is the logit or margin that the network computes, and with a threshold how far the
        probability is above it.
        """
        raw, trained = self._raw(X), self.trained_
        loss, threshold = trained.plan.loss, trained.threshold
        if self._task == "multilabel":
            return raw
        probabilities = loss.probabilities(raw)
        if len(self.classes_) == 2:
            if threshold is not None and probabilities is not None:
                score = probabilities[:, 1] - threshold
            else:
                score = raw[:, 0] if raw.shape[1] == 1 else raw[:, 1] - raw[:, 0]
            return score if self._places[1] else -score
        if raw.shape[1] == len(self.classes_):
            return self._in_places(raw)
        assert probabilities is not None  # of classes in order, the network computes steps between logits
        with np.errstate(divide="ignore"):
            return self._in_places(np.log(probabilities))

    def _own(self) -> dict[str, Any]:
        return {"class_weight": self.class_weight, "threshold": self.threshold}

    def _order(self) -> Sequence[Any] | None:
        return self._ranks

    def _targets(self, y: Any, first: bool, classes: Any) -> Array:
        y = y.toarray() if sparse.issparse(y) else y  # type: ignore[attr-defined]
        order = self.order if self.order is not None else order_of(only_column(y))
        checked = check_array(y, ensure_2d=False, allow_nd=True, dtype=None, input_name="y", ensure_min_samples=0)
        kind = type_of_target(checked, input_name="y", raise_unknown=True)
        check_classification_targets(checked)
        several = "y has several columns of classes; fit an estimator for each (MultiOutputClassifier)"
        if kind.startswith("multilabel"):
            if self.order is not None or self.task not in (None, "multilabel"):
                raise ValueError(several)
            self._task, self.classes_ = "multilabel", np.arange(checked.shape[1])
            return checked
        if kind.endswith("multioutput"):
            raise ValueError(several)
        if self.task == "multilabel":
            raise ValueError("y has one column; several labels take several columns of 0 and 1")
        labels = column_or_1d(checked, warn=True)
        found = np.unique(labels)
        if classes is not None and not np.isin(found, classes).all():
            raise ValueError(f"y has classes that are not among {np.unique(classes)}: {np.setdiff1d(found, classes)}")
        if not first:
            remain = np.isin(found, self.classes_).all()
            if classes is None and not (remain and (self._task == "ordinal" or len(found) == len(self.classes_))):
                raise ValueError(f"warm_start: the classes must remain {self.classes_}, but y has {found}")
            return labels
        self.classes_ = found if classes is None else np.unique(classes)
        by_itself = len(order) > 2 and self.task is None and self.loss is None
        in_order = self._asks_for("ordinal") or self.order is not None or by_itself
        self._task = "ordinal" if in_order else "classification"
        self._ranks = self._ranked(order) if in_order and len(order) else None
        return labels

    def _ranked(self, order: Sequence[Any]) -> Sequence[Any]:
        """This order; of an ordered categorical, as far as its categories occur. The classes of a
        given order that do not occur are predicted, too.
        """
        if self.order is None:
            return [label for label in order if label in self.classes_]
        by_text = {str(label): label for label in self.classes_.tolist()}
        self.classes_ = np.unique(np.array([by_text.get(str(label), label) for label in order]))
        return order

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags
