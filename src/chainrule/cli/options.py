"""Arguments that several commands share, and parsing of their values."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chainrule.errors import NOTHING, SettingError, require

if TYPE_CHECKING:
    from chainrule.arrays import Shape

ARGUMENTS: ContextVar[Sequence[str]] = ContextVar("ARGUMENTS", default=())
"""The arguments of the command line."""
OUTPUT = ("--output", "-o")
"""The names of the option for the file to write."""

RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run.", show_default=False)]
OptionalRun = Annotated[Path | None, typer.Argument(metavar="[RUN]", help="The folder of a run.", show_default=False)]
Target = Annotated[
    list[str] | None, typer.Option(help="The column to predict; by default the last; can be repeated for several.")
]
Task = Annotated[
    str | None,
    typer.Option(
        help="'classification', 'regression', 'ordinal' (classes in order) or 'multilabel' (several columns of 0 and "
        "1), if ambiguous."
    ),
]
Order = Annotated[
    str | None,
    typer.Option(help="The classes in order, from the lowest, such as 'low,medium,high'; numbers need none."),
]
Drop = Annotated[list[str] | None, typer.Option(help="A column to leave out; can be repeated.")]
Read = Annotated[
    list[str] | None,
    typer.Option(
        metavar="COLUMN=KIND",
        help="Read a column as a number, category, date, time or boolean, such as zip=category; can be repeated.",
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(
        help="The most threads of the native engine; by default OMP_NUM_THREADS, or one for each core. "
        "The results are the same for any number."
    ),
]
Split = Annotated[
    str | None,
    typer.Option(
        help="How to divide the rows: 'time:COLUMN' holds out the latest; 'group:COLUMN' keeps groups together; "
        "by default by chance, stratified by class."
    ),
]
Shuffle = Annotated[bool, typer.Option(help="Divide the rows by chance, or hold out the last ones.")]
LossName = Annotated[
    str | None, typer.Option("--loss", help="The loss, such as 'huber 0.5'; by default it follows from the target.")
]
ClassWeights = Annotated[
    str | None,
    typer.Option("--class-weight", help="Class weights: 'balanced', or by label: 'setosa=2, virginica=0.5'."),
]
Seed = Annotated[int, typer.Option(help="Seed of all random numbers.")]
Validation = Annotated[str, typer.Option(help="The share of the rows to validate on, or a file.")]
Test = Annotated[str, typer.Option(help="The share of the rows to test on after training, or a file.")]
Size = Annotated[str | None, typer.Option("--image-size", help="Resize images to width x height, such as 28x28.")]
EngineName = Annotated[
    str | None, typer.Option("--engine", help="'native' (compiled) or 'numpy'; by default native if available.")
]
Metrics = Annotated[
    str | None,
    typer.Option(
        metavar="NAMES",
        help="Metrics, such as 'f1_macro, jaccard': chainrule's, or any of scikit-learn's scorers.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON, for scripts.")]


NAMES = {"folder": "--output", "penalties": "--penalty"}
"""Options that are called otherwise than the arguments in Python that they stand for."""


def as_option(name: str, value: Any = NOTHING) -> str:
    """A setting of Python as an option, such as `--task regression`; see `errors.setting`."""
    option = NAMES.get(name) or "--" + name.replace("_", "-")
    if value is NOTHING or value is True:
        return option
    if value is False:
        return option.replace("--", "--no-", 1)
    if value is None:
        return f"{option} none"
    if isinstance(value, Mapping):
        return " ".join(f"{option} {shlex.quote(str(key))}={item}" for key, item in value.items())
    if name == "image_size":
        height, width = value
        return f"{option} {width}x{height}"
    if name == "order":
        return f"{option} {shlex.quote(','.join(map(str, value)))}"
    values = value if isinstance(value, list | tuple) else [value]
    return " ".join(f"{option} {shlex.quote(str(item))}" for item in values)


def spelled(*names: str) -> str:
    """Which of an option's names the user has used; the last if none."""
    words = [word.partition("=")[0] if word.startswith("--") else word[:2] for word in ARGUMENTS.get()]
    return next((name for name in names if name in words), names[-1])


def elsewhere(*names: str) -> str:
    """What to do about a file that can't be written, with the option for it."""
    return f"choose another file ({spelled(*names)})"


def leave_out(context: typer.Context, reason: str, *used: str) -> None:
    """Raise SettingError, with the reason, if the user gave other parameters than these."""
    given = []
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        if source is not None and source.name == "COMMANDLINE" and parameter.name not in used:
            name = (parameter.metavar or str(parameter.name).upper()).strip("[]")
            given.append(spelled(*parameter.opts) if parameter.opts[0].startswith("-") else name)
    require(not given, f"{reason}; leave {' and '.join(given)} out")


def output_suffix(output: Path, what: str, *suffixes: str, names: Sequence[str] = OUTPUT) -> str:
    """The file's extension in lower case; raises SettingError unless it is one of `suffixes`, and
    RunError unless the file can be written.
    """
    from chainrule.runs.folder import check_file

    suffix = output.suffix.lower()
    formats = " or ".join(allowed[1:].upper() for allowed in suffixes)
    endings = " or ".join(suffixes)
    option = spelled(*names)
    require(suffix in suffixes, f"{option} {output}: {what} written as {formats}; use the extension {endings}")
    check_file(output, elsewhere(*names))
    return suffix


def share_or_file(text: str, what: str) -> float | str:
    """A share such as 0.1, or else a file name."""
    try:
        return float(text)
    except ValueError:
        require(text.strip() != "", f"--{what} is empty; pass a share such as 0.1, or a file")
        return text


def image_size(text: str | None) -> Shape | None:
    """(height, width) from a text such as 28x32, which is width x height, as usual for images."""
    if text is None:
        return None
    match = re.fullmatch(r"\s*(\d+)\s*[xX]\s*(\d+)\s*", text)
    if match is None or int(match[1]) < 1 or int(match[2]) < 1:
        raise SettingError(f"--image-size {text!r}: write it as width x height, such as 28x28")
    return int(match[2]), int(match[1])


def in_order(text: str | None) -> list[str] | None:
    """Classes from a text such as "low,medium,high"."""
    if text is None:
        return None
    labels = [label.strip() for label in text.split(",")]
    require(len(labels) > 1 and all(labels), f"--order {text!r}: list the classes from the lowest, such as 'low,high'")
    return labels


def read_as(texts: list[str] | None) -> dict[str, str]:
    """What to read columns as, from texts such as price=number."""
    chosen = {}
    for text in texts or []:
        column, equals, kind = text.rpartition("=")
        require(bool(column and equals and kind), f"--read {text!r}: write it as COLUMN=KIND, such as price=number")
        chosen[column] = kind
    return chosen


def metric_names(text: str | None) -> list[str] | None:
    """The names of metrics in a text, which commas separate."""
    if text is None:
        return None
    names = [name.strip() for name in text.split(",")]
    require(all(names), f"--metrics {text!r}: write names, separated by commas, such as 'accuracy, f1_macro'")
    return names


def threshold(text: str | None) -> float | str | None:
    """A probability such as 0.3, or else the name of a metric; None for none."""
    if text in (None, "none"):
        return None
    try:
        return float(text)
    except ValueError:
        require(text.strip() != "", "--threshold is empty; pass a probability such as 0.3, or a metric such as f1")
        return text
