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
OptionalRun = Annotated[Path | None, typer.Argument(metavar="RUN", help="The folder of a run.", show_default=False)]
Target = Annotated[
    list[str] | None,
    typer.Option(metavar="COLUMN", help="The column to predict; by default the last; can be repeated for several."),
]
Task = Annotated[
    str | None,
    typer.Option(
        metavar="TASK",
        help="'classification', 'regression', 'ordinal' (classes in order) or 'multilabel' (several columns of 0 and "
        "1), if ambiguous.",
    ),
]
Order = Annotated[
    str | None,
    typer.Option(
        metavar="CLASSES", help="The classes in order, from the lowest, such as 'low,medium,high'; numbers need none."
    ),
]
Drop = Annotated[list[str] | None, typer.Option(metavar="COLUMN", help="A column to leave out; can be repeated.")]
Read = Annotated[
    list[str] | None,
    typer.Option(
        metavar="COLUMN=KIND",
        help="Read a column as a number, category, date, time or boolean, such as zip=category; can be repeated.",
    ),
]
Weight = Annotated[
    str | None,
    typer.Option(metavar="COLUMN", help="The column that says how much each row counts; it is no input."),
]
Threads = Annotated[
    int | None,
    typer.Option(
        help="The most threads of the native engine, from 1 to 1024; by default OMP_NUM_THREADS, or one for each core. "
        "The results are the same for any number."
    ),
]
Split = Annotated[
    str | None,
    typer.Option(
        metavar="BY:COLUMN",
        help="How to divide the rows: 'time:COLUMN' holds out the latest; 'group:COLUMN' keeps groups together; "
        "by default by chance, stratified by class.",
    ),
]
Shuffle = Annotated[bool, typer.Option(help="Divide the rows by chance, or hold out the last ones.")]
NetworkText = Annotated[
    str | None,
    typer.Option(
        "--network",
        metavar="LAYERS",
        help="The hidden layers, such as '64 relu, dropout 0.2, 32 relu'; '-> ...' sets the output layer.",
    ),
]
Optimizer = Annotated[
    str | None,
    typer.Option(metavar="OPTIMIZER", help="The optimizer, such as 'adam 0.001' or 'sgd 0.1 schedule=cosine clip=1'."),
]
BatchSize = Annotated[int | None, typer.Option(help="Samples in each mini-batch; by default 32, of a text 16.")]
Epochs = Annotated[
    int | None,
    typer.Option(help="The maximum number of epochs; by default 100, for pictures 20 or 40, for texts 10."),
]
Interval = Annotated[
    float | None,
    typer.Option(help="Learn intervals that hold this share of the targets: --loss 'quantiles 0.05 0.5 0.95' for 0.9."),
]
Penalty = Annotated[
    str | None,
    typer.Option(metavar="PENALTY", help="A penalty on the weights: 'l2 0.001', 'l1 0.001' or 'elastic 0.001 0.001'."),
]
Patience = Annotated[
    str,
    typer.Option(
        metavar="EPOCHS",
        help="Epochs to wait for a better validation loss before stopping: a number, 'none' or 'auto'.",
    ),
]
Monitor = Annotated[
    str,
    typer.Option(
        metavar="METRIC", help="What must get better instead of the validation loss: any metric, such as roc_auc."
    ),
]
MinDelta = Annotated[float, typer.Option(help="By how much it must get better.")]
TrainThreshold = Annotated[
    str | None,
    typer.Option(
        metavar="THRESHOLD",
        help="Of two classes, the probability from which the second is predicted: a number, or the metric by "
        "which it is chosen on the validation set, such as f1.",
    ),
]
Augment = Annotated[
    str | None,
    typer.Option(
        metavar="CHANGES",
        help="How pictures are changed at random in each mini-batch, such as 'shift 2, rotate 10', or 'none' "
        "('chainrule names augmentations'); by default small shifts unless --network is given.",
    ),
]
Precision = Annotated[
    str,
    typer.Option(
        "--dtype",
        metavar="DTYPE",
        help="The precision of the weights: 'float32' or 'float64'; or, with --engine jax, 'bfloat16': products in "
        "bfloat16, weights in float32.",
    ),
]
LossName = Annotated[
    str | None,
    typer.Option(
        "--loss", metavar="LOSS", help="The loss, such as 'huber 0.5'; by default it follows from the target."
    ),
]
ClassWeights = Annotated[
    str | None,
    typer.Option(
        "--class-weight", metavar="WEIGHTS", help="Class weights: 'balanced', or by label: 'setosa=2, virginica=0.5'."
    ),
]
Seed = Annotated[int, typer.Option(help="Seed of all random numbers.")]
Validation = Annotated[str, typer.Option(metavar="SHARE", help="The share of the rows to validate on, or a file.")]
Test = Annotated[str, typer.Option(metavar="SHARE", help="The share of the rows to test on after training, or a file.")]
Size = Annotated[
    str | None, typer.Option("--image-size", metavar="SIZE", help="Resize images to width x height, such as 28x28.")
]
Memory = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE",
        help="The most that a table or arrays in files, or the pictures of a folder, may take in memory, such as 2GB; "
        "more stay on disk and are read while the network trains. By default half of what is free.",
    ),
]
Cache = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE",
        help="The most that the cache may take on disk, such as 20GB, in which tables larger than the memory are "
        "prepared; by default what is free. 'chainrule cache' shows and clears it.",
    ),
]
SamplesAre = Annotated[
    str | None,
    typer.Option(
        "--samples",
        metavar="KIND",
        help="What the samples of an array in an NPZ file are: 'sequences', of shape (time, features), or 'pictures'; "
        "by default told from their shape and numbers.",
    ),
]
Text = Annotated[
    str | None,
    typer.Option(
        metavar="HOW",
        help="What columns of text become: 'tokens', which the network reads one after another, or 'words', an input "
        "for each word; by default words, and tokens from 10,000 training rows on.",
    ),
]
Tokens = Annotated[
    str | None,
    typer.Option(
        metavar="TOKENS",
        help="What a text is divided into: 'characters' or byte pairs, 'bpe' or 'bpe 2000' for so many; by default "
        "characters. With --text tokens also 'words', the default.",
    ),
]
Length = Annotated[
    int | None,
    typer.Option(
        help="The tokens of a window of a text, from which the next one is predicted; by default 64. With --text "
        "tokens how many tokens of a cell are read. Of time series the steps of a window; by default some seasons."
    ),
]
Time = Annotated[
    str | None,
    typer.Option(metavar="COLUMN", help="The column of times, of time series to forecast; the latest are held out."),
]
Horizon = Annotated[
    int | None, typer.Option(metavar="STEPS", help="How many steps of time series are forecast; by default a season.")
]
SeriesColumn = Annotated[
    str | None, typer.Option("--series", metavar="COLUMN", help="The column that tells several time series apart.")
]
Season = Annotated[
    int | None,
    typer.Option(
        metavar="STEPS",
        help="After how many steps time series repeat themselves; by default it follows from the times, such as 24 "
        "hours.",
    ),
]
EngineName = Annotated[
    str | None,
    typer.Option(
        "--engine",
        metavar="ENGINE",
        help="'native' (compiled), 'numpy', or 'jax' (for accelerators, too); by default native if available.",
    ),
]
Devices = Annotated[
    int | None,
    typer.Option(metavar="NUMBER", help="On how many of JAX's devices to train, with --engine jax."),
]
Metrics = Annotated[
    str | None,
    typer.Option(
        metavar="NAMES",
        help="Metrics, such as 'f1_macro, jaccard': chainrule's, or any of scikit-learn's scorers.",
    ),
]
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="The folder to write the run to; by default runs/NAME-1, -2 and so on."),
]
Limit = Annotated[
    float | None, typer.Option(help="Megabytes for the checkpoints that steps are replayed from; by default 200.")
]
Logs = Annotated[
    list[str] | None,
    typer.Option(
        "--log",
        metavar="WHERE",
        help="Log to 'tensorboard' (in the run's folder, or 'tensorboard:FOLDER') or 'mlflow' (or "
        "'mlflow:EXPERIMENT'); can be repeated. Whoever resumes the run continues its log, unless with 'none'.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON, for scripts.")]


NAMES = {"folder": "--output", "penalties": "--penalty"}
"""Options that are called otherwise than the arguments in Python that they stand for."""


def as_option(name: str, value: Any = NOTHING) -> str:
    """A setting of Python as an option, such as `--task regression`; see `errors.setting`."""
    option = NAMES.get(name) or "--" + name.replace("_", "-")
    if (name, value) == ("logs", False):
        return "--log none"
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


def words_given(context: typer.Context, *without: str) -> str:
    """The arguments and options that the user gave, but for these parameters, as a command line."""
    words: list[str] = []
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        if source is None or source.name != "COMMANDLINE" or parameter.name in without:
            continue
        value = context.params[parameter.name or ""]
        if isinstance(value, bool):
            words.append((parameter.opts if value else parameter.secondary_opts)[0])
        else:
            option = [parameter.opts[0]] if parameter.opts[0].startswith("-") else []
            words += [word for one in (value if isinstance(value, list) else [value]) for word in (*option, str(one))]
    return shlex.join(words)


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


def patience(text: str) -> int | str | None:
    """A number of epochs, "auto", or None for "none"."""
    if text in ("auto", "none"):
        return None if text == "none" else text
    try:
        return int(text)
    except ValueError:
        raise SettingError(f"--patience {text!r}: pass a number of epochs, 'none' or 'auto'") from None


def penalties(text: str | None) -> list[Any]:
    """The penalty in a text; an empty list for none."""
    from chainrule.losses import penalty

    try:
        return [] if text is None else [penalty(text)]
    except SettingError as error:
        raise SettingError(f"--penalty {text!r}: {error}; write 'l2 0.001' or 'elastic 0.001 0.001'") from None


def threshold(text: str | None) -> float | str | None:
    """A probability such as 0.3, or else the name of a metric; None for none."""
    if text in (None, "none"):
        return None
    try:
        return float(text)
    except ValueError:
        require(text.strip() != "", "--threshold is empty; pass a probability such as 0.3, or a metric such as f1")
        return text
