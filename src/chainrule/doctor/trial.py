"""Remedies, tried: the same training again with one of them, and whether it helped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.arrays import Array
from chainrule.doctor.case import Case
from chainrule.doctor.finding import Finding, number
from chainrule.doctor.fit import difference
from chainrule.engine import make_engine
from chainrule.errors import NonFiniteError, require
from chainrule.runs import follow
from chainrule.training import Listener, start
from chainrule.training.loop import evaluate
from chainrule.training.plan import Plan

CERTAIN = 1.0
"""How many standard errors of the difference the loss must change by; below, it made no difference.
"""


@dataclass(frozen=True)
class Trial:
    """A training with a remedy.

    Attributes:
        finding: the finding whose remedy was tried
        before, after: the loss and the metric on the held-out set, without and with the remedy
        change: the difference of the losses, the mean over the samples; negative if it is better
        error: its standard error
        helped: whether the loss is lower by more than its standard error; None if it cannot be
            said, as the network should not have known what was taken away
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
        outputs = make_engine(plan.engine, plan.problem(1)).predict(trained.parameters, samples.x, trained.statistics)
        # The loss is that of the run, even where the remedy changes it, as class weights do.
        own = np.asarray(case.plan.loss.samples(outputs, np.asarray(samples.y)), np.float64)
        after = evaluate(
            case.plan, case.data.target, samples, trained.parameters, trained.statistics,
            engine=make_engine(plan.engine, plan.problem(1)),
        )  # fmt: skip
    return _judged(case, finding, before, after, losses, own)


def _measured(case: Case, plan: Plan, parameters: Array, statistics: Array) -> dict[str, float]:
    held = case.held
    assert held is not None
    return evaluate(plan, case.data.target, held, parameters, statistics)


def _judged(
    case: Case, finding: Finding, before: dict[str, float], after: dict[str, float], losses: Array, own: Array
) -> Trial:
    change, error = difference(own, losses)
    if not np.isfinite(losses).all() and np.isfinite(own).all():
        change, error = -np.inf, 0.0
    clear = not abs(change) <= CERTAIN * error
    pairs = [
        f"{name.replace('_', ' ')} {number(before[name])} -> {number(after[name])}" for name in before if name in after
    ]
    measured = f"on the {case.held_name} set: {', '.join(pairs)}"
    if finding.remedy.honest:
        words = f"Without it, {measured}. The new numbers are what can be expected of samples that are really new."
        return Trial(finding, before, after, change, error, None, words)
    verdict = "It helped" if clear and change < 0 else "It made it worse" if clear else "It made no clear difference"
    return Trial(finding, before, after, change, error, bool(clear and change < 0), f"{verdict}, {measured}.")
