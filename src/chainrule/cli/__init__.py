"""The command line: the app, its error messages and exit codes."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from chainrule.cli import charts, check, explain, play, train, use, worksheet
from chainrule.errors import ChainruleError
from chainrule.version import VERSION

app = typer.Typer(
    name="chainrule",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help=(
        "Train neural networks, and see the exact chain rule behind every gradient.\n\n"
        "Start with [bold]chainrule train digits[/], then [bold]chainrule show runs/digits-1[/]."
    ),
)
for _command in (
    *(train.train, use.predict, use.evaluate, use.show),
    *(explain.explain, charts.descend, charts.gradients, worksheet.worksheet),
    *(play.play, check.check, check.data),
):
    app.command()(_command)


def _version(requested: bool) -> None:
    if requested:
        print(f"chainrule {VERSION}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line; an error in the input is reported in one line, with exit code 2."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run the command line with these arguments and return the exit code."""
    try:
        return int(app(arguments, standalone_mode=False) or 0)
    except ChainruleError as error:
        return _report(str(error))
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader of a pipe, such as `head`, has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except MemoryError:
        return _report("out of memory; use a smaller network, fewer rows or smaller batches")
    except Exception as error:
        # Usage errors are Click's or, in newer versions of Typer, those of a copy of Click.
        if not hasattr(error, "format_message"):
            raise
        message = " ".join(error.format_message().split())
        return _report(f"{message[:1].lower()}{message[1:].rstrip('.')}; see 'chainrule COMMAND --help'")


def _report(message: str) -> int:
    print(f"chainrule: {' '.join(message.split())}", file=sys.stderr)
    return 2
