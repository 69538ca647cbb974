"""Training: mini-batches, backpropagation and optimizer steps, as a stream of events."""

from chainrule.training.choice import plan_for
from chainrule.training.loop import Ended, EpochEnded, Event, Listener, Progress, Sampled, Started, Stepped, start
from chainrule.training.metrics import Metric
from chainrule.training.plan import Plan
from chainrule.training.planning import make_plan
from chainrule.training.progress_bar import ProgressBar
from chainrule.training.rate_range import RangeTest, learning_rate_range
from chainrule.training.report import Report
from chainrule.training.timeline import Timeline

__all__ = [
    "Ended", "EpochEnded", "Event", "Listener", "Metric", "Plan", "Progress", "ProgressBar", "RangeTest", "Report",
    "Sampled", "Started", "Stepped", "Timeline", "learning_rate_range", "make_plan", "plan_for", "start",
]  # fmt: skip
