"""`python -m chainrule` is the command `chainrule`."""

import os


def main() -> None:
    """Run the command line. Ctrl-C ends it with 130 while its modules are imported, too."""
    try:
        from chainrule.cli import main as command
    except KeyboardInterrupt:  # there is nothing to tidy up yet
        os._exit(130)
    command()


if __name__ == "__main__":
    main()
