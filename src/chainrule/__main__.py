"""`python -m chainrule` is the command `chainrule`."""

import os
import sys

from chainrule import mpirun

TOGETHER = "train"
"""The command that several processes run together; of any other, mpirun's first process does."""


def main() -> None:
    """Run the command line. Ctrl-C ends it with 130 while its modules are imported, too."""
    mpirun.begin(sys.argv[1:2] == [TOGETHER])
    try:
        from chainrule.cli import main as command
    except KeyboardInterrupt:  # there is nothing to tidy up yet
        os._exit(130)
    command()


if __name__ == "__main__":
    main()
