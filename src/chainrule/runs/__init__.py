"""Runs: training in one call, the trained network, and trainings on disk, with everything needed to
use, show, explain and resume them.
"""

from chainrule.runs.recorder import Recorder
from chainrule.runs.run import Run, open
from chainrule.runs.trained import HeldOut, Trained, follow, for_loss, train

__all__ = ["HeldOut", "Recorder", "Run", "Trained", "follow", "for_loss", "open", "train"]
