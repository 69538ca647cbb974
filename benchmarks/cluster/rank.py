"""One of the ranks that measured.py starts: prints the seconds of a step of networks.

mpirun -n 2 python benchmarks/cluster/rank.py medium large
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))


def main() -> None:
    """Measure, and print."""
    from chainrule import processes
    from cluster.measured import problem, seconds_per_step

    processes.start()
    found = [seconds_per_step(problem(name)) for name in sys.argv[1:]]
    if processes.is_first():
        print(json.dumps(found))


if __name__ == "__main__":
    main()
