"""The held-out score of the default settings on the built-in data: the mean over 5 seeds.

    python benchmarks/accuracy.py [NAME ...] [--json]

Each line shows the target, the mean and range of the scores, and the processor time per run. Exits
with 1 if a target is missed.
"""

from __future__ import annotations

import json
import sys
import time

import chainrule

TARGETS = {
    "digits": 0.989,
    "breast-cancer": 0.96,
    "wine": 0.94,
    "iris": 0.94,
    "diabetes": 0.40,
    "mnist-5k": 0.978,
    "shapes": 0.95,
    "spirals": 0.98,
}
SEEDS = range(5)


def main() -> int:
    """Train on each data set with each seed and print the scores."""
    rows, reached = [], True
    chosen = [name for name in sys.argv[1:] if not name.startswith("-")]
    for name, target in TARGETS.items():
        if chosen and name not in chosen:
            continue
        began, scores = time.process_time(), []
        for seed in SEEDS:
            metrics = chainrule.train(data=name, seed=seed).evaluate()
            scores.append(metrics.get("accuracy", metrics.get("r2", float("nan"))))
        mean, seconds = sum(scores) / len(scores), (time.process_time() - began) / len(scores)
        reached &= mean >= target
        rows.append({"data": name, "target": target, "mean": mean, "scores": scores, "seconds": seconds})
        if "--json" not in sys.argv:
            summary = f"mean {mean:.4f}, {min(scores):.4f} to {max(scores):.4f}, {seconds:.2f} s per run"
            print(
                f"{name:14} {'R2' if name == 'diabetes' else 'accuracy':8} target {target:.3f}   {summary}",
                flush=True,
            )
    if "--json" in sys.argv:
        print(json.dumps(rows, indent=1))
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
