"""The command line. What can be done is in the modules beside this one; here is what they share: errors and exit
codes.
"""

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
        "Begin with [bold]chainrule train digits[/]; then [bold]chainrule show runs/digits-1[/]."
    ),
)
for _command in (
    *(train.train, use.predict, use.evaluate, use.show),
    *(explain.explain, charts.descend, charts.gradients, worksheet.worksheet),
    *(play.play, check.check, check.data),
):
    app.command()(_command)


def _version(asked: bool) -> None:
    if asked:
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
    """Run the command line. What is wrong with the input is said in one line, and the exit code is 2."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """The same for these arguments; gives the exit code."""
    try:
        return int(app(arguments, standalone_mode=False) or 0)
    except ChainruleError as error:
        return _complain(str(error))
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader of a pipe, `head` say, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except MemoryError:
        return _complain("there is not enough memory for this; use a smaller network, fewer rows or smaller batches")
    except Exception as error:
        # Typer's own errors: depending on its version they are Click's, or those of a copy of it, so they are told by
        # their shape.
        if not hasattr(error, "format_message"):
            raise
        message = " ".join(error.format_message().split())
        return _complain(
            f"{message[:1].lower()}{message[1:].rstrip('.')}; 'chainrule --help' and 'chainrule COMMAND --help' tell"
            " more"
        )


def _complain(message: str) -> int:
    print(f"chainrule: {' '.join(message.split())}", file=sys.stderr)
    return 2
