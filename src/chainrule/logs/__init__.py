"""Logs of a training for other programs: TensorBoard and MLflow."""

from chainrule.logs.base import Log
from chainrule.logs.mlflow import MLflow
from chainrule.logs.tensorboard import TensorBoard

__all__ = ["Log", "MLflow", "TensorBoard"]
