"""Random networks of scans: their gradients compared with those of JAX, within 1e-10.

    python campaigns/sequence_graphs.py [--count 200]

A thinned version of it is a test, in tests/layers/test_recurrence.py.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import jax
from hypothesis import HealthCheck, given, settings

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from sequences import check_gradients, networks


def main() -> int:
    """Draw networks and compare them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=200, help="how many networks")
    count = parser.parse_args().count
    jax.config.update("jax_enable_x64", True)
    done = 0

    @settings(max_examples=count, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(networks())
    def compare(drawn):
        nonlocal done
        check_gradients(drawn)
        done += 1
        print(f"\r{done} networks", end="", flush=True)

    compare()
    print(f"\r{done} networks of scans: output, gradient and derivative of the input are those of JAX within 1e-10")
    return 0


if __name__ == "__main__":
    sys.exit(main())
