"""What the doctor says: a finding with its evidence, and a remedy that can be tried."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from chainrule.data import Dataset
from chainrule.training import Plan

SEVERITIES = ("note", "warning", "serious")
"""How bad a finding is, from the least: worth knowing; costs accuracy or time; the network learned
little, or what was measured of it is wrong.
"""

Change: TypeAlias = Callable[[Plan, Dataset], tuple[Plan, Dataset]]
"""Makes another training of one: its plan and its data with a remedy applied."""


@dataclass(frozen=True)
class Remedy:
    """What to do about a finding.

    Attributes:
        words: what to do, such as "train with a tenth of the learning rate"
        change: the training with the remedy; None for one that no training can try, such as
            measuring something again
        page: the settings of the live page that follow it; empty if it has none for it
        honest: whether it takes something away that the network should not have had, so that a
            higher loss is no argument against it
    """

    words: str
    change: Change | None = None
    page: Mapping[str, Any] = field(default_factory=dict)
    honest: bool = False


@dataclass(frozen=True)
class Finding:
    """Something that goes wrong in a training.

    Attributes:
        kind: what it is, such as "dead units"; each kind has a section in the documentation
        words: the finding in a sentence or two
        place: where: a layer ("dense_1") or some of its units ("dense_2, 18 of 64 units"), a
            column, a class, or "the training"
        severity: one of SEVERITIES
        evidence: what was measured, by name
        steps: the steps at which it was measured
        remedy: what to do about it; of a consequence, what to do about the cause
        unit: the unit, weight or layer to look at first, such as "dense_2[1]"; empty if there
            is none
        from_start: whether it was so before the first step, which no learning rate brought about
        consequence_of: the kind of the finding that probably brings it about; empty if none does
    """

    kind: str
    words: str
    place: str
    severity: str
    evidence: Mapping[str, Any]
    steps: tuple[int, ...]
    remedy: Remedy
    unit: str = ""
    from_start: bool = False
    consequence_of: str = ""

    def as_json(self) -> dict[str, Any]:
        """The fields as JSON, but for the remedy's function."""
        return {
            "kind": self.kind, "words": self.words, "place": self.place, "severity": self.severity,
            "evidence": dict(self.evidence), "steps": list(self.steps), "remedy": self.remedy.words,
            "can_be_tried": self.remedy.change is not None, "unit": self.unit, "consequence_of": self.consequence_of,
        }  # fmt: skip


def share(part: int, whole: int) -> str:
    """A count in words, such as "3 of 64 (5 %)"."""
    return f"{part:,} of {whole:,} ({100 * part / max(whole, 1):.3g} %)"


def listed(items: list[Any], most: int = 8) -> str:
    """Some items as text: "1, 2, 3 and 4 more"."""
    shown = ", ".join(map(str, items[:most]))
    return shown if len(items) <= most else f"{shown} and {len(items) - most:,} more"


def apart(before: float, after: float) -> tuple[str, str]:
    """Two measured numbers to as many digits, three or up to six, as tell them apart.

    Examples:
        >>> apart(0.9712, 0.4), apart(0.97012, 0.96991), apart(0.5, 0.5)
        (('0.971', '0.4'), ('0.9701', '0.9699'), ('0.5', '0.5'))
    """
    for digits in range(3, 7):
        texts = f"{before:.{digits}g}", f"{after:.{digits}g}"
        if texts[0] != texts[1]:
            break
    return texts


def number(value: float) -> str:
    """A measured number to three significant figures."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
