"""What the estimators take from scikit-learn, with types, which it does not have."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self, TypeVar

from numpy.typing import ArrayLike

from chainrule.data.finding import Inputs

if TYPE_CHECKING:
    Method = TypeVar("Method", bound=Callable[..., Any])

    class BaseEstimator:
        """The settings of an estimator: the arguments of its `__init__`."""

        def get_params(self, deep: bool = True) -> dict[str, Any]:
            """The settings by name."""
            raise NotImplementedError

        def set_params(self, **params: Any) -> Self:
            """Change settings."""
            raise NotImplementedError

        def __getstate__(self) -> dict[str, Any]: ...

        def __sklearn_tags__(self) -> Any: ...

    class ClassifierMixin:
        """What makes an estimator a classifier."""

        def score(self, X: Inputs, y: Inputs, sample_weight: ArrayLike | None = None) -> float:
            """The accuracy."""
            raise NotImplementedError

    class RegressorMixin:
        """What makes an estimator a regressor."""

        def score(self, X: Inputs, y: Inputs, sample_weight: ArrayLike | None = None) -> float:
            """R2, the coefficient of determination."""
            raise NotImplementedError

    def available_if(check: Callable[[Any], bool]) -> Callable[[Method], Method]:
        """Hide a method of an estimator for which the check fails."""
        raise NotImplementedError

else:
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
    from sklearn.utils.metaestimators import available_if

__all__ = ["BaseEstimator", "ClassifierMixin", "RegressorMixin", "available_if"]
