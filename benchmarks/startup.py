"""The time to import chainrule, and to train on digits from the shell: medians of several runs.

    python benchmarks/startup.py

Exits with 1 if the import takes more than 0.3 s, or `chainrule train digits` more than 15 s.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time

MAIN = "from chainrule.cli import main; main()"


def seconds(*command: str, times: int) -> float:
    """The median wall-clock time of code that this Python runs."""
    taken = []
    for _ in range(times):
        with tempfile.TemporaryDirectory() as folder:
            began = time.perf_counter()
            subprocess.run([sys.executable, "-c", *command], check=True, cwd=folder, capture_output=True)
            taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def main() -> int:
    """Measure and print."""
    bare = seconds("pass", times=9)
    importing = seconds("import chainrule", times=9) - bare
    using = seconds("import chainrule; chainrule.train", times=9) - bare
    training = seconds(MAIN, "train", "digits", times=3)
    print(f"import chainrule          {importing:6.3f} s   (target 0.3)")
    print(f"and its train function    {using:6.3f} s")
    print(f"chainrule train digits    {training:6.2f} s   (target 15)")
    return 0 if importing <= 0.3 and training <= 15 else 1


if __name__ == "__main__":
    sys.exit(main())
