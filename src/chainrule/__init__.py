"""chainrule trains neural networks and shows its work.

Names are imported on first use, so that `import chainrule` is fast.

Examples:
    >>> import chainrule
    >>> trained = chainrule.train("16 tanh", "iris", optimizer="adam 0.02")
    >>> trained.evaluate()["accuracy"] > 0.9
    True
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from chainrule.version import VERSION

__version__ = VERSION

_HOMES = {
    "importance": "attribution",
    "why": "attribution",
    "Classifier": "estimators",
    "Regressor": "estimators",
    "from_arrays": "data",
    "load": "data",
    "plane_set": "data",
    "ChainruleError": "errors",
    "check_gradient": "gradient_check",
    "Composite": "layers",
    "Input": "layers",
    "MLflow": "logs",
    "TensorBoard": "logs",
    "Network": "network",
    "Recorder": "runs",
    "Run": "runs",
    "ProgressBar": "training",
    "Trained": "runs",
    "Metric": "training",
    "learning_rate_range": "training",
    "compare": "reports",
    "report": "reports",
    "from_onnx": "interchange",
    "from_torch": "interchange",
    "open": "runs",
    "train": "runs",
    "tune": "tuning",
}
"""The room that each name is from."""

_ROOMS = (
    "attribution",
    "data",
    "descent",
    "distributions",
    "doctor",
    "engine",
    "errors",
    "explain",
    "influence",
    "interchange",
    "layers",
    "logs",
    "losses",
    "reports",
    "runs",
    "training",
)

if TYPE_CHECKING:  # what type checkers and editors see
    from chainrule import attribution as attribution
    from chainrule import data as data
    from chainrule import descent as descent
    from chainrule import distributions as distributions
    from chainrule import doctor as doctor
    from chainrule import engine as engine
    from chainrule import errors as errors
    from chainrule import explain as explain
    from chainrule import influence as influence
    from chainrule import interchange as interchange
    from chainrule import layers as layers
    from chainrule import logs as logs
    from chainrule import losses as losses
    from chainrule import reports as reports
    from chainrule import runs as runs
    from chainrule import training as training
    from chainrule.attribution import importance as importance
    from chainrule.attribution import why as why
    from chainrule.data import from_arrays as from_arrays
    from chainrule.data import load as load
    from chainrule.data import plane_set as plane_set
    from chainrule.errors import ChainruleError as ChainruleError
    from chainrule.estimators import Classifier as Classifier
    from chainrule.estimators import Regressor as Regressor
    from chainrule.gradient_check import check_gradient as check_gradient
    from chainrule.interchange import from_onnx as from_onnx
    from chainrule.interchange import from_torch as from_torch
    from chainrule.layers import Composite as Composite
    from chainrule.layers import Input as Input
    from chainrule.logs import MLflow as MLflow
    from chainrule.logs import TensorBoard as TensorBoard
    from chainrule.network import Network as Network
    from chainrule.reports import compare as compare
    from chainrule.reports import report as report
    from chainrule.runs import Recorder as Recorder
    from chainrule.runs import Run as Run
    from chainrule.runs import Trained as Trained
    from chainrule.runs import open as open
    from chainrule.runs import train as train
    from chainrule.training import Metric as Metric
    from chainrule.training import ProgressBar as ProgressBar
    from chainrule.training import learning_rate_range as learning_rate_range
    from chainrule.tuning import tune as tune
else:

    def __getattr__(name):
        if name in _HOMES:
            return getattr(importlib.import_module(f"chainrule.{_HOMES[name]}"), name)
        if name in _ROOMS:
            return importlib.import_module(f"chainrule.{name}")
        raise AttributeError(f"module 'chainrule' has no attribute {name!r}")


__all__ = ["__version__", *_HOMES, *_ROOMS]


def __dir__() -> list[str]:
    return sorted(__all__)
