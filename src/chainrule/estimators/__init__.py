"""Estimators for scikit-learn: `Classifier` and `Regressor`, which train by `chainrule.train`'s
settings and take part in pipelines, searches and ensembles.

They are trained on frames of pandas and polars, whose columns may be of any kind, and on arrays.
"""

from chainrule.estimators.base import Estimator
from chainrule.estimators.classifier import Classifier
from chainrule.estimators.regressor import Regressor

__all__ = ["Classifier", "Estimator", "Regressor"]
