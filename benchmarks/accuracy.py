"""What the default settings reach on the built-in data: the mean over 5 seeds of the score on held-out rows.

    python benchmarks/accuracy.py [--json]

Each line is the figure that is promised, the mean and the range reached, and the seconds a run took. Exits with 1 if a
promise is not kept.
"""

from __future__ import annotations

import json
import sys
import time

import chainrule

PROMISED = {
    "digits": 0.97,
    "breast-cancer": 0.96,
    "wine": 0.94,
    "iris": 0.94,
    "diabetes": 0.40,
    "mnist-5k": 0.93,
    "spirals": 0.98,
}
SEEDS = range(5)


def main() -> int:
    """Train each set with each seed and print what was reached."""
    rows, kept = [], True
    for name, promised in PROMISED.items():
        began, scores = time.perf_counter(), []
        for seed in SEEDS:
            reached = chainrule.train(data=name, seed=seed).evaluate()
            scores.append(reached.get("accuracy", reached.get("r2", float("nan"))))
        mean, seconds = sum(scores) / len(scores), (time.perf_counter() - began) / len(scores)
        kept &= mean >= promised
        rows.append({"data": name, "promised": promised, "mean": mean, "scores": scores, "seconds": seconds})
        if "--json" not in sys.argv:
            about = f"mean {mean:.4f}, {min(scores):.4f} to {max(scores):.4f}, {seconds:.1f} s a run"
            print(
                f"{name:14} {'R2' if name == 'diabetes' else 'accuracy':8} promised {promised:.2f}   {about}",
                flush=True,
            )
    if "--json" in sys.argv:
        print(json.dumps(rows, indent=1))
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
