"""False alarms of the doctor: all built-in data (tables, pictures, points, series and a text) with
default settings, of which none should have a finding.

    python campaigns/doctor.py [--seeds 1] [--data digits iris ...]

For each training it prints how close it came to the thresholds: the share of steps that raise the
loss of their own mini-batch, the derivatives that arrive at the layers with the least and the most,
relative to the last, dead units, suspected labels, the held-out loss beside the lowest, and the most
that an input says alone. Exits with 1 if there is a finding. The smallest sets are a test, in
tests/doctor/test_findings.py.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from chainrule.data import BUILTIN
from chainrule.doctor import duplicates, gradients, labels, leakage, rate, rounding, units
from chainrule.doctor.case import Case
from chainrule.doctor.diagnosis import examined
from chainrule.runs import Recorder, Run, train

SEVEN = ("digits", "breast-cancer", "wine", "iris", "diabetes", "mnist-5k", "shapes")
"""The sets of benchmarks/accuracy.py."""
OTHERS = ("bars", "spirals", "circles", "moons", "xor", "gaussians", "sine", "diagonal")
SERIES = ("co2", "sunspots", "elnino", "seattle-weather", "stocks", "us-employment")
TEXTS = ("python-docs",)


def measured(case: Case) -> dict[str, float]:
    """How close a training comes to the thresholds."""
    looked = [case.records[k] for k in np.unique(np.linspace(0, len(case.records) - 1, 4).astype(int))]
    sizes = np.median(gradients.arriving(case, looked)[1], axis=1)
    brisk = [record for record in case.brisk if np.any(record.update)]
    ends = np.array([rate.along(case, record, rate.ONE) for record in brisk[len(brisk) // 3 :]])
    flat = units.flat_units(case, case.final).values()
    known = set(duplicates.hashes(case.data.training))
    found = {
        "rising": float((~(ends[:, 1] <= ends[:, 0])).mean()),
        "left": case.loss(case.final) / case.naive_loss,
        "least": sizes.min() / sizes[-1],
        "most": sizes.max() / sizes[-1],
        "dead": max((len(one["units"]["dead"]) / one["of"] for one in flat), default=0.0),
        "lost": float(np.median([rounding.lost_in(record) for record in case.brisk])),
    }  # fmt: skip
    if not case.data.target.positions and not case.data.target.season:
        x, parts = case.flat("training"), (case.data.test, case.data.validation)
        found["told"] = max(
            (leakage.told(case, x[:, inputs]).share for _, inputs in leakage.columns(case)), default=0.0
        )
        found["copies"] = max(
            (np.mean([one in known for one in duplicates.hashes(part)]) for part in parts if part is not None),
            default=0.0,
        )
    if case.held is not None:
        lowest = min(case.loss(point, "held") for point in case.points)
        found["held out"] = case.loss(case.final, "held") / lowest
    if case.labels:
        right = np.array([case.right(point) for point in (*case.points[1:], case.final)])
        found["never"] = float((~right[len(right) // 4 :].any(axis=0)).mean())
        found["suspected"] = len(labels.suspects(case).rows) / len(case.training.x)
    return found


def main() -> None:
    """Train, examine and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--data", nargs="+", choices=tuple(BUILTIN), default=(*SEVEN, *OTHERS, *SERIES, *TEXTS))
    arguments = parser.parse_args()
    alarms = count = 0
    for name in arguments.data:
        for seed in range(arguments.seeds):
            with tempfile.TemporaryDirectory() as parent:
                folder = Path(parent, "run")
                trained = train(data=name, seed=seed, callbacks=[Recorder(folder)])
                began = time.perf_counter()
                run = Run.open(folder)
                assert trained.data is not None
                case = Case.of(run, trained.data)
                findings = examined(case).findings
                seconds = time.perf_counter() - began
                close = "  ".join(f"{key} {value:.3g}" for key, value in measured(case).items())
            print(f"{name} {seed}: {len(findings)} findings in {seconds:.1f} s  {close}", flush=True)
            for one in findings:
                print(f"  {one.severity}: {one.kind}: {one.words}", flush=True)
            alarms, count = alarms + len(findings), count + 1
    print(f"{alarms} findings in {count} trainings")
    sys.exit(1 if alarms else 0)


if __name__ == "__main__":
    main()
