"""The estimator for quantities."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_array, column_or_1d

from chainrule.arrays import Array
from chainrule.data.finding import Inputs
from chainrule.errors import SettingError
from chainrule.estimators.base import Estimator
from chainrule.estimators.interface import RegressorMixin
from chainrule.runs import Interval
from chainrule.runs.predictions import ends


class Regressor(RegressorMixin, Estimator):
    """A neural network for one quantity, or several.

    Settings and attributes are those of `Classifier`, without `class_weight`, `threshold`, `order`
    and `classes_`; the default loss is the mean squared error, and `n_outputs_` is the number of
    quantities. With `task="ordinal"` the quantity has few values, such as stars, of which the
    network predicts the probabilities. If all targets are the same, that is predicted.

    Examples:
        >>> from sklearn.datasets import load_diabetes
        >>> X, y = load_diabetes(return_X_y=True, as_frame=True)
        >>> bool(Regressor("16 tanh", epochs=50).fit(X, y).score(X, y) > 0.4)
        True
        >>> net = Regressor("16 tanh", loss="gaussian", epochs=50).fit(X, y)
        >>> lower, point, upper = net.predict_interval(X, 0.9)
        >>> bool(((lower < y) & (y < upper)).mean() > 0.8)
        True
    """

    _task = "regression"
    _tasks = ("regression", "ordinal")

    def partial_fit(self, X: Inputs, y: Inputs, sample_weight: ArrayLike | None = None) -> Self:
        """One pass over these samples. Columns and targets are scaled as in the first call.

        A schedule of the learning rate over the whole training, which has no end here, is left out.

        Args:
            X: (samples, columns) a frame, or an array of numbers
            y: (samples,) or (samples, columns) the quantities
            sample_weight: (samples,) how much each sample counts, relative to the others

        Raises ValueError for what can't be trained on.
        """
        return self._partial_fit(X, y, sample_weight)

    def predict(self, X: Inputs) -> Array:
        """(samples,) the quantity, or (samples, columns) the quantities, in their own units. With
        `task="ordinal"` that is the mean of the values by their probabilities.
        """
        raw = self._raw(X)
        if self._task == "regression":
            return self.trained_.decoded(raw)
        probabilities = self.trained_.plan.loss.probabilities(raw)
        if probabilities is None:
            raise SettingError(f"the loss {type(self.trained_.plan.loss).__name__} predicts no probabilities")
        return probabilities @ np.array(self.trained_.target.classes, dtype=np.float64)

    def predict_interval(self, X: Inputs, share: float = 0.9) -> Interval:
        """Between which numbers a target lies with this probability, and the point prediction.

        Args:
            X: (samples, columns) a frame, or an array of numbers
            share: the probability, between 0 and 1

        Returns:
            (lower, point, upper), each (samples,), or (samples, columns) for several quantities

        Raises SettingError for a network that predicts no such interval: it takes the loss
        "gaussian", "quantiles" with the levels (1 - share) / 2 and (1 + share) / 2, or
        `task="ordinal"`.
        """
        lower, upper = self.trained_.quantiles_of(self._raw(X), ends(share)).swapaxes(0, 1)
        return Interval(lower, self.predict(X), upper)

    def _targets(self, y: Any, first: bool, classes: Any) -> Array:
        checked = check_array(y, ensure_2d=False, dtype="numeric", input_name="y", ensure_min_samples=0)
        if first:
            self._task = "ordinal" if self._asks_for("ordinal") else "regression"
        return column_or_1d(checked, warn=True) if checked.ndim == 1 or checked.shape[1] == 1 else checked

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
