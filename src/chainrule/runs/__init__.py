"""Runs: training in one call, the trained network, and trainings on disk, with everything needed to
use, show, explain and resume them.
"""

from chainrule.runs.fitting import begin, follow, for_loss, other_data, train
from chainrule.runs.predictions import HeldOut, Interval
from chainrule.runs.recorder import Recorder
from chainrule.runs.run import Run, open
from chainrule.runs.trained import Trained

__all__ = [
    "HeldOut",
    "Interval",
    "Recorder",
    "Run",
    "Trained",
    "begin",
    "follow",
    "for_loss",
    "open",
    "other_data",
    "train",
]
