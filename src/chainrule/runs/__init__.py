"""Runs: trainings on disk, with everything needed to use, show, explain and resume them."""

from chainrule.runs.recorder import Recorder
from chainrule.runs.run import Run

__all__ = ["Recorder", "Run"]
