"""Runs: training in one call, the trained network, and trainings on disk, with everything needed to
use, show, explain and resume them.
"""

from chainrule.runs.fitting import follow, for_loss, train
from chainrule.runs.predictions import HeldOut, Interval
from chainrule.runs.recorder import Recorder
from chainrule.runs.run import Run, open
from chainrule.runs.trained import Trained

__all__ = ["HeldOut", "Interval", "Recorder", "Run", "Trained", "follow", "for_loss", "open", "train"]
