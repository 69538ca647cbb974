"""The command line: the app, its error messages and exit codes."""

from __future__ import annotations

import atexit
import contextlib
import errno
import gc
import inspect
import os
import sys
import traceback
from pathlib import Path
from typing import Annotated

import typer

from chainrule import mpirun, processes
from chainrule.cli import (
    cache,
    charts,
    check,
    compare,
    display,
    doctor,
    explain,
    generate,
    importance,
    interchange,
    life,
    names,
    options,
    play,
    report,
    teachers,
    train,
    tune,
    use,
    worksheet,
)
from chainrule.errors import ChainruleError, settings_written
from chainrule.summary import visible
from chainrule.version import VERSION

LONGEST = 100
"""Longer names are cut in error messages."""

INTERRUPTED = 130
"""The exit code after Ctrl-C, as of shells: 128, and the number of the signal."""

RARELY = 100_000
"""The new objects after which garbage is collected; Python's default is 700."""


def _flowing(text: str) -> str:
    """A docstring whose paragraphs are lines, which a terminal of any width can break; examples
    stay indented.
    """
    paragraphs = inspect.cleandoc(text).split("\n\n")
    indents = ["  " if paragraph.startswith("  ") else "" for paragraph in paragraphs]
    return "\n\n".join(k + " ".join(p.split()) for k, p in zip(indents, paragraphs, strict=True))


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
    *(train.train, tune.tune, use.predict, use.evaluate, generate.generate, use.show),
    *(explain.explain, life.life, teachers.teachers, importance.importance),
    *(charts.descend, charts.gradients, worksheet.worksheet),
    *(doctor.doctor, report.report, compare.compare),
    *(play.play, check.check, check.data, cache.cache, names.names),
    *(interchange.import_, interchange.export),
):
    _kind = names.WithNames if _command is train.train else None
    app.command(_command.__name__.rstrip("_"), cls=_kind, help=_flowing(_command.__doc__ or ""))(_command)


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
    display.print_anything()
    # Looking for cycles takes a fifth of a short command: among what imports make, which stays, and
    # once more at the end. Training makes none that matter.
    gc.set_threshold(RARELY)
    code = run(sys.argv[1:])
    if code and max(mpirun.place()[1], processes.count()) > 1:  # at an ordinary exit the others would be waited for
        mpirun.leave(code)
    if code == INTERRUPTED:
        atexit.register(_leave)
    gc.freeze()
    sys.exit(code)


def _leave() -> None:
    """Exit as interrupted. Python would end by the signal where it came while Python itself ran a
    text, as it does for each dataclass, although the interruption was caught.
    """
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(INTERRUPTED)


def run(arguments: list[str]) -> int:
    """Run the command line with these arguments and return the exit code; without any, show the
    help.
    """
    options.ARGUMENTS.set(arguments)
    with settings_written(options.as_option):
        return _run(arguments)


def _run(arguments: list[str]) -> int:
    try:
        code = int(app(arguments or ["--help"], standalone_mode=False) or 0)
        sys.stdout.flush()  # what can't be written is reported, too
        return code
    except ChainruleError as error:
        return _report(str(error))
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # the reader of a pipe, such as `head`, has closed it
        _silence_output()
        return 0
    except OSError as error:
        return _report(_about(error))
    except UnicodeError as error:
        return _report(_about_text(error))
    except RecursionError:
        return _report("something is nested too deeply: a network's layers in parentheses, or a file")
    except MemoryError:
        return _report("out of memory; use a smaller network, fewer rows or smaller batches")
    except Exception as error:
        # Usage errors are Click's or, in newer versions of Typer, those of a copy of Click.
        if not hasattr(error, "format_message"):
            if mpirun.place()[1] == 1:
                raise
            _report(_where(error))
            return 1
        message = " ".join(error.format_message().split())
        known = [getattr(command.callback, "__name__", "") for command in app.registered_commands]
        command = f"{arguments[0]} " if arguments[:1] and arguments[0] in known else ""
        return _report(f"{message[:1].lower()}{message[1:].rstrip('.')}; see 'chainrule {command}--help'")


def _where(error: Exception) -> str:
    """An error that is a mistake in the program, and where it was raised, in a line."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({place.filename}, line {place.lineno}); without mpirun there is more"


def _about(error: OSError) -> str:
    """What the operating system refused, and where."""
    reason = (error.strerror or str(error)).lower()
    if error.filename is None:
        try:
            Path.cwd()
        except OSError:
            return "the working directory no longer exists; change to another"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            _silence_output()
            return "the output can't be written: no space is left where it goes"
        return reason
    name = os.fsdecode(error.filename)
    hint = "; check its permissions" if isinstance(error, PermissionError) else ""
    return f"{name if len(name) < LONGEST else name[:LONGEST] + '...'}: {reason}{hint}"


def _about_text(error: UnicodeError) -> str:
    """Which text can't be decoded or encoded."""
    if not isinstance(error, UnicodeEncodeError):
        return f"a text is not in UTF-8: {error}"
    around = error.object[max(0, error.start - 20) : error.end + 20]
    return f"the name {around!r} has bytes that are not UTF-8; rename the file or folder"


def _silence_output() -> None:
    """Send what is still to be printed nowhere: there is no one to read it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _report(message: str) -> int:
    """Print an error in one line; return the exit code."""
    line = visible(" ".join(message.split()))
    mpirun.report(line if len(line) < 20 * LONGEST else line[: 20 * LONGEST] + " ...")
    return 2
