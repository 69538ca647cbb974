"""How long an edit in C++ takes until the engine is imported again, file by file.

    python benchmarks/edits.py

Needs the set-up of CONTRIBUTING.md, in which importing the engine recompiles what changed. Every
file is changed by one declaration at its end and restored afterwards.
"""

import subprocess
import sys
import time
from pathlib import Path

NATIVE = Path(__file__).parents[1] / "native"
FILES = (
    "ops/sum.cpp", "ops/activation.cpp", "ops/dense.cpp", "losses/numbers.cpp", "stages/adam.cpp", "product.cpp",
    "engine.cpp", "module.cpp", "vector.h",
)  # fmt: skip
IMPORT = [sys.executable, "-c", "import chainrule.engine._native"]


def import_time():
    """Seconds until a new process has imported the engine."""
    begin = time.perf_counter()
    subprocess.run(IMPORT, check=True)
    return time.perf_counter() - begin


def main():
    """Print the time for no change, then for a change of each file."""
    import_time()
    print(f"{'no change':18} {import_time():5.1f} s")
    for name in FILES:
        path = NATIVE / name
        text = path.read_text()
        try:
            path.write_text(text + "\nnamespace { [[maybe_unused]] constexpr int edited = 0; }\n")
            print(f"{name:18} {import_time():5.1f} s", flush=True)
        finally:
            path.write_text(text)
        import_time()


if __name__ == "__main__":
    main()
