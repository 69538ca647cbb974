"""Causes before consequences: which findings probably bring about which others.

A learning rate that is too large throws weights so far that units die or saturate and derivatives
no longer arrive; mended is the rate, not the units. So a finding that another one explains comes
after it, and has its remedy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from chainrule.doctor.finding import SEVERITIES, Finding

LITTLE_LEARNED = ("underfitting", "classes never learned", "rows never learned")
THROWN = ("dead units", "saturated units", "vanishing gradients", "exploding gradients", "edge of stability")
"""What steps that are too long bring about, unless it was so before the first step."""
CONSEQUENCES = {
    "unscaled inputs": ("learning rate too large", *THROWN, *LITTLE_LEARNED),
    "learning rate too large": (
        *(*THROWN, "duplicate units", "noisy gradients", "updates below rounding"),
        *LITTLE_LEARNED,
    ),
    "learning rate too small": ("updates below rounding", *LITTLE_LEARNED),
    "penalty larger than the loss": ("dead units", "vanishing gradients", "duplicate units", *LITTLE_LEARNED),
    "exploding gradients": ("learning rate too large", "saturated units", "dead units", *LITTLE_LEARNED),
    "saturated units": ("vanishing gradients", "learning rate too small", *LITTLE_LEARNED),
    "dead units": ("vanishing gradients", "learning rate too small", *LITTLE_LEARNED),
    "duplicate units": LITTLE_LEARNED,
    "vanishing gradients": ("learning rate too small", *LITTLE_LEARNED),
    "updates below rounding": LITTLE_LEARNED,
    "shift between splits": ("overfitting",),
}
"""By kind, the kinds that it brings about; what comes first explains most."""
OF_STEPS = ("learning rate too large", "penalty larger than the loss")
"""Those that need steps to bring something about."""


def explained(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """The findings, the worst first, and each kind followed by its consequences, which name their
    cause and have its remedy.
    """
    first = {id(one): _first_cause(one, findings) for one in findings}
    groups: dict[str, list[Finding]] = {}
    for one in sorted(findings, key=_severity, reverse=True):
        groups.setdefault(first[id(one)].kind, []).append(one)
    ordered = list[Finding]()
    for group in sorted(groups.values(), key=lambda group: max(map(_severity, group)), reverse=True):
        ordered += [one for one in group if first[id(one)] is one]
        for one in group:
            cause = first[id(one)]
            if cause is not one:
                ordered.append(replace(one, consequence_of=cause.kind, remedy=cause.remedy))
    return tuple(ordered)


def _first_cause(one: Finding, findings: Sequence[Finding]) -> Finding:
    """The finding at the beginning of the chain of causes that ends with this one: CONSEQUENCES,
    and what was so from the start, allow no circle.
    """
    order, causes = list(CONSEQUENCES), [cause for cause in findings if _brings_about(cause, one)]
    if not causes:
        return one
    return _first_cause(min(causes, key=lambda cause: (order.index(cause.kind), -_severity(cause))), findings)


def _brings_about(cause: Finding, one: Finding) -> bool:
    if one.kind not in CONSEQUENCES.get(cause.kind, ()):
        return False
    if cause.kind == "exploding gradients" and one.kind == "learning rate too large":
        return cause.from_start  # otherwise it is the other way round
    return not (one.from_start and cause.kind in OF_STEPS)


def _severity(one: Finding) -> int:
    return SEVERITIES.index(one.severity)
