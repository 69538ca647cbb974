"""Runs: a training on disk, with all that it takes to use it, to show it, and to go on."""

from chainrule.runs.recorder import Recorder
from chainrule.runs.run import Run

__all__ = ["Recorder", "Run"]
