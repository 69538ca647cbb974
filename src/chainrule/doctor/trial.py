"""Remedies, tried: the same training again with one of them, and whether it helped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.arrays import Array
from chainrule.doctor.case import Case
from chainrule.doctor.finding import Finding, apart, number
from chainrule.doctor.fit import difference
from chainrule.errors import NonFiniteError, require
from chainrule.runs import follow
from chainrule.training import Listener, start
from chainrule.training.loop import evaluate
from chainrule.training.plan import Plan

CERTAIN = 1.96
"""How many standard errors of the difference the loss must change by, outside of its 95 % interval;
below, it made no difference beyond noise.
"""
MOST = 2.58
"""The same of how many samples have a lower loss, by the sign test: a few samples with a huge loss
make the mean's interval wide, although all others are better.
"""
MATTERS = 0.01
"""The share of the loss by which it must change: of the same samples, differences far smaller than
what anyone cares about can be certain.
"""


@dataclass(frozen=True)
class Trial:
    """A training with a remedy.

    Attributes:
        finding: the finding whose remedy was tried
        before, after: the loss and the metric on the held-out set, without and with the remedy
        change: the difference of the losses, the mean over the samples; negative if it is better
        error: its standard error
        helped: whether the loss is lower beyond noise, and by more than MATTERS; None if it can't
            be said, as the network should not have known what was taken away
        words: the result in a sentence
    """

    finding: Finding
    before: dict[str, float]
    after: dict[str, float]
    change: float
    error: float
    helped: bool | None
    words: str

    def as_json(self) -> dict[str, Any]:
        """The fields as JSON, with the kind of the finding."""
        return {
            "kind": self.finding.kind, "place": self.finding.place, "remedy": self.finding.remedy.words,
            "before": self.before, "after": self.after, "change": self.change, "standard_error": self.error,
            "helped": self.helped, "words": self.words,
        }  # fmt: skip


def try_remedy(case: Case, finding: Finding, callbacks: Sequence[Listener] = (), threads: int | None = None) -> Trial:
    """Train again with a finding's remedy, from the same seed, and compare on the same held-out
    samples.

    Raises SettingError for a remedy that no training can try, or without held-out samples.
    """
    change = finding.remedy.change
    require(change is not None, f"{finding.kind}: no training can try its remedy")
    require(case.held is not None, "remedies are compared on a validation or a test set, and the run has neither")
    assert change is not None
    plan, data = change(case.plan, case.data)
    with np.errstate(all="ignore"):
        before = _measured(case, case.plan, case.final.parameters, case.final.statistics)
        losses = case.losses(case.final, "held")
        try:
            trained = follow(plan, data, start(plan), callbacks, threads)
        except NonFiniteError as error:
            words = f"It made it worse: the training diverged ({error})."
            return Trial(finding, before, {"loss": np.inf}, np.inf, 0.0, False, words)
        if trained.reason == "interrupted":  # a part of the training says nothing
            raise KeyboardInterrupt
        held = data.validation if case.data.validation is not None else data.test
        assert held is not None
        samples = held.take(case._some(held)) if len(held.x) > case.most else held
        outputs = plan.make_engine(plan.problem(1)).predict(trained.parameters, samples.x, trained.statistics)
        # The loss is that of the run, even where the remedy changes it, as class weights do.
        own = np.asarray(case.plan.loss.samples(outputs, np.asarray(samples.y)), np.float64)
        after = evaluate(
            case.plan, case.data.target, samples, trained.parameters, trained.statistics,
            engine=plan.make_engine(plan.problem(1)),
        )  # fmt: skip
    return judged(case, finding, before, after, losses, own)


def _measured(case: Case, plan: Plan, parameters: Array, statistics: Array) -> dict[str, float]:
    held = case.held
    assert held is not None
    return evaluate(plan, case.data.target, held, parameters, statistics)


def judged(
    case: Case, finding: Finding, before: dict[str, float], after: dict[str, float], losses: Array, own: Array
) -> Trial:
    """The trial by the scores, and by the loss of each held-out sample, before and after."""
    change, error = difference(own, losses)
    if not np.isfinite(losses).all() and np.isfinite(own).all():
        change, error = -np.inf, 0.0
    pairs = [
        f"{name.replace('_', ' ')} {' -> '.join(apart(before[name], after[name]))}" for name in before if name in after
    ]
    measured = f"on the {case.held_name} set: {', '.join(pairs)}"
    if finding.remedy.honest:
        words = f"Without it, {measured}. The new numbers are what can be expected of samples that are really new."
        return Trial(finding, before, after, change, error, None, words)
    by_sample = own - losses
    better, worse = int((by_sample < 0).sum()), int((by_sample > 0).sum())
    mostly = (better - worse) * -np.sign(change) > MOST * np.sqrt(max(better + worse, 1))
    certain = bool(mostly or not abs(change) <= CERTAIN * error)
    matters = not (np.isfinite(change) and abs(change) <= MATTERS * abs(before["loss"]))
    if not certain:
        range_ = f"{number(change - CERTAIN * error)} to {number(change + CERTAIN * error)}"
        words = f"No difference beyond noise, {measured} (95 % interval of the change: {range_})."
    elif not matters:
        words = f"It makes hardly a difference, less than {100 * MATTERS:.0f} % of the loss, {measured}."
    else:
        words = f"{'It helped' if change < 0 else 'It made it worse'}, {measured}."
    return Trial(finding, before, after, change, error, bool(certain and matters and change < 0), words)
