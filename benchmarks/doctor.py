"""What the doctor takes of a training on the live page.

    python benchmarks/doctor.py [--seconds 12]

The share of the time of a session at full speed that goes into its checks, from the first
step on; the goal is 5 %.
"""

from __future__ import annotations

import argparse
import time
from collections import deque

from chainrule.play.session import Session
from chainrule.play.settings import FIRST, DataSettings, LayerSettings, Settings

CASES = {
    "the first network (2-3-1)": FIRST,
    "spirals (2-8-8-1)": Settings(),
    "digits (64-64-10)": Settings(DataSettings("builtin", "digits"), (LayerSettings(64, "relu"),)),
}


def share(settings: Settings, seconds: float) -> float:
    """The share of the checks in the time of a session."""
    session = Session(deque(maxlen=1).append, threaded=False)
    session.obey({"type": "settings", "settings": settings.as_json()})
    session.obey({"type": "run", "until": 10**9})
    began, spent = time.perf_counter(), 0.0
    while time.perf_counter() - began < seconds:
        session._train()
        at = time.perf_counter()
        session._examine()
        spent += time.perf_counter() - at
    return spent / (time.perf_counter() - began)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=12.0)
    arguments = parser.parse_args()
    for name, settings in CASES.items():
        print(f"{name}: {100 * share(settings, arguments.seconds):.1f} %")


if __name__ == "__main__":
    main()
