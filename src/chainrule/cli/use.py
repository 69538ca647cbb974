"""The commands predict, evaluate and show."""

from __future__ import annotations

import csv
import io
import json as jsonlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chainrule.cli import display, options
from chainrule.cli.cache import first_pass_shown
from chainrule.cli.options import AsJson, Metrics, RunFolder, Threads, metric_names, output_suffix
from chainrule.errors import require
from chainrule.summary import Table, fact_lines, one_line, visible

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from chainrule.arrays import Array
    from chainrule.network import Network
    from chainrule.runs import Run, Trained

Samples = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        show_default=False,
        help="Samples like those of the run: a built-in data set, a file or a folder of images.",
    ),
]
Threshold = Annotated[
    str | None,
    typer.Option(
        help="Of two classes, the probability from which the second is predicted, or the metric by which it is chosen "
        "on the run's validation set, or 'none'; by default the run's.",
    ),
]


def predict(
    run: RunFolder,
    data: Samples,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The CSV or JSON file to write; default: stdout.")
    ] = None,
    interval: Annotated[
        float | None,
        typer.Option(
            help="Predict between which numbers the target lies with this probability, such as 0.9; the run's loss"
            " must be 'gaussian', or quantiles with these ends."
        ),
    ] = None,
    threshold: Threshold = None,
    threads: Threads = None,
    json: AsJson = False,
) -> None:
    """Predict the target of each sample, with the probability of each class, the quantiles, or the
    deviation, if the run's loss predicts them. Of time series, what follows on the end of DATA.

    Of a language model DATA is a text, or - for the standard input: each of its tokens is listed
    with its predicted probability and the likeliest one, and last what is likely to follow.

    Examples:

      chainrule predict runs/houses-1 new.csv -o prices.csv

      chainrule predict runs/houses-1 new.csv --interval 0.9

      chainrule predict runs/digits-1 digits --json

      chainrule predict runs/load-1 until-today.csv --interval 0.9

      echo "Once upon a" | chainrule predict runs/book-1 - --json
    """
    from chainrule.data import find_samples
    from chainrule.data.streamed.using import blocks_of
    from chainrule.runs import Run
    from chainrule.runs.predictions import ends

    opened = Run.open(run)
    suffix = output_suffix(output, "predictions are", ".csv", ".json") if output is not None else None
    trained = _decided(opened, threshold)
    if trained.target.tokens:
        _read(trained, data, output, suffix, interval, threads, json)
        return
    if interval is not None:
        ends(interval)  # raises an error for what is no share, before the data is read
    if (blocks := blocks_of(data, trained.preparation)) is not None:
        _in_blocks((_predictions(trained, block, interval, threads) for block in blocks), output, suffix, json)
        return
    if trained.target.season:
        require(threshold is None, "--threshold decides between classes, which a forecast has not; leave it out")
        rows = trained.forecast(data, interval, threads).rows
    else:
        rows = _predictions(trained, find_samples(data, trained.image_size, trained.texts), interval, threads)
    if output is not None:
        text = jsonlib.dumps(rows, indent=1) + "\n" if json or suffix == ".json" else _csv(rows)
        display.write(output, text.encode(), f"{len(rows):,} predictions")
    elif json:
        display.print_json(rows)
    else:
        _print_csv(rows)


def _in_blocks(blocks: Iterator[list[dict[str, Any]]], output: Path | None, suffix: str | None, json: bool) -> None:
    """Write predictions block by block, where all of them may be too many for the memory."""
    as_json, count = json or suffix == ".json", 0

    def texts() -> Iterator[str]:
        nonlocal count
        for rows in blocks:
            if as_json:
                written = ",\n".join(jsonlib.dumps(row) for row in rows)
                yield f"{',' if count else '['}\n{written}"
            else:
                yield _csv(rows, with_header=not count)
            count += len(rows)
        if as_json:
            yield "\n]\n"

    if output is None:
        for text in texts():
            print(visible(text) if sys.stdout.isatty() else text, end="")
        return
    display.write_parts(output, (text.encode() for text in texts()), lambda: f"{count:,} predictions")


def _predictions(trained: Trained, source: Any, interval: float | None, threads: int | None) -> list[dict[str, Any]]:
    if trained.target.positions:
        require(interval is None, "--interval is for one quantity of a sample, not for positions; leave it out")
        return _at_positions(trained, source, threads)
    target, raw = trained.target, trained.raw(source, threads)
    columns: dict[str, Array] = {} if source.names is None else {"file": source.names}
    columns |= _of_columns(target.names, "", trained.decoded(raw))
    columns |= _distribution(trained, raw, interval)
    probabilities = trained.plan.loss.probabilities(raw) if target.task != "regression" else None
    if probabilities is not None:
        names = [f"probability_{label}" for label in target.classes or target.columns]
        columns |= zip(names, probabilities.T, strict=True)
    return [dict(zip(columns, row, strict=True)) for row in zip(*(v.tolist() for v in columns.values()), strict=True)]


LIKELY = 5
"""The likeliest next tokens that are listed."""


def _read(
    trained: Trained, data: str, output: Path | None, suffix: str | None, interval: float | None, threads: int | None,
    json: bool,
) -> None:  # fmt: skip
    """What a language model predicts for each token of a text."""
    import sys

    from chainrule.data import Text
    from chainrule.data.text import decoded

    require(interval is None, "--interval is for a quantity, and tokens are none; leave it out")
    text = Text("-", decoded(Path("-"), sys.stdin.buffer.read()).rstrip("\n")) if data == "-" else data
    tokens, rows, line = trained.tokens, list[dict[str, Any]](), 1
    read = list(trained.read(text, threads))
    for one in read:
        token = "" if one.number is None else tokens.text(one.number)
        is_known = one.number is not None and one.likeliest is not None
        rows.append({
            "line": line, "token": token, "probability": one.probability if is_known else None,
            "bits": one.bits if is_known else None,
            "likeliest": None if one.likeliest is None else tokens.text(one.likeliest),
            "likeliest_probability": None if one.likeliest is None else one.highest,
        })  # fmt: skip
        line += token.count("\n")
    if output is None and not json:
        _print_csv(rows)
        return
    bits, numbers = sum(one.bits for one in read[1:-1]), [one.number for one in read if one.number is not None]
    characters = len(tokens.decode(numbers[1:]))
    following = trained.next_tokens(tokens.decode(numbers[-trained.plan.network.input_shape[0] :]), threads)
    likely = following.argsort()[::-1][:LIKELY].tolist()
    about = {
        "tokens": rows[:-1], "bits_per_character": bits / characters if characters else None,
        "next": [{"token": tokens.text(k), "probability": float(following[k])} for k in likely],
    }  # fmt: skip
    if output is None:
        display.print_json(about)
    else:
        content = jsonlib.dumps(about, indent=1) + "\n" if json or suffix == ".json" else _csv(rows)
        display.write(output, content.encode(), f"{len(rows) - 1:,} tokens")


def _at_positions(trained: Trained, source: Any, threads: int | None) -> list[dict[str, Any]]:
    """A row for each position of each sample, up to the end of those with lengths."""
    target, raw = trained.target, trained.raw(source, threads)
    found = trained.plan.loss.probabilities(raw.reshape(-1, raw.shape[-1])) if target.is_class else None
    probabilities = None if found is None else found.reshape(*raw.shape[:2], -1)
    values = trained.decoded(raw).reshape(*raw.shape[:2], -1)
    lengths = [raw.shape[1]] * len(raw) if source.sequence is None else source.features[:, -1]
    rows = []
    for n, t in ((k, t) for k, length in enumerate(lengths) for t in range(int(length))):
        row = {"sample": n + 1, "position": t} | dict(zip(target.names, values[n, t].tolist(), strict=True))
        if probabilities is not None:
            row |= {
                f"probability_{label}": float(p) for label, p in zip(target.classes, probabilities[n, t], strict=True)
            }
        rows.append(row)
    return rows


def _distribution(trained: Trained, raw: Array, interval: float | None) -> dict[str, Array]:
    """The columns of an interval, or of all quantiles, and of the deviation, by name."""
    columns: dict[str, Array] = {}
    for what, values in trained.distribution_of(raw, interval).items():
        columns |= _of_columns(trained.target.names, f"_{what}", values)
    return columns


def _of_columns(names: Sequence[str], suffix: str, values: Array) -> dict[str, Array]:
    """The columns of the predictions for one quantity or several, by name."""
    return dict(zip([name + suffix for name in names], values.reshape(len(values), -1).T, strict=True))


def _print_csv(rows: list[dict[str, Any]]) -> None:
    """Print rows, on a terminal without control characters that a name may have."""
    text = _csv(rows)
    print(visible(text) if sys.stdout.isatty() else text, end="")


def _csv(rows: list[dict[str, Any]], with_header: bool = True) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    if with_header:
        writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def evaluate(
    run: RunFolder,
    data: Annotated[
        str | None,
        typer.Argument(metavar="DATA", show_default=False, help="Samples with targets; by default the test set."),
    ] = None,
    metrics: Metrics = None,
    interval: Annotated[
        float | None,
        typer.Option(
            help="Measure intervals that are to hold this share of the targets, such as 0.9: which share they hold, "
            "and their width."
        ),
    ] = None,
    weight: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN",
            help="The column of DATA that says how much each row counts; by default the run's, if DATA has it.",
        ),
    ] = None,
    threshold: Threshold = None,
    keep: Annotated[bool, typer.Option("--keep", help="Keep this --threshold in the run, for predict.")] = False,
    threads: Threads = None,
    json: AsJson = False,
) -> None:
    """Evaluate a run's predictions: the loss and every metric for its task and, for classes, the
    scores of each, the confusion matrix and how well probabilities are calibrated.

    Examples:

      chainrule evaluate runs/digits-1

      chainrule evaluate runs/houses-1 sold.csv --json

      chainrule evaluate runs/houses-1 sold.csv --interval 0.9

      chainrule evaluate runs/patients-1 --threshold f1 --keep
    """
    from dataclasses import replace

    from chainrule.runs import Run
    from chainrule.runs.inputs import labelled
    from chainrule.runs.predictions import ends

    if interval is not None:
        ends(interval)  # raises an error for what is no share, before anything is read
    opened, names = Run.open(run), metric_names(metrics)
    require(threshold is not None or not keep, "--keep keeps a threshold in the run; pass --threshold as well")
    trained = opened.keep_threshold(options.threshold(threshold)).trained if keep else _decided(opened, threshold)
    if data is None:
        require(weight is None, "--weight is a column of DATA: pass it; the run's test set has the run's own weights")
        trained = replace(trained, data=trained.data or opened.load_data())
    with first_pass_shown(json):
        samples = None if data is None else labelled(trained.preparation, trained.target, data, weight)
    report = trained.report(samples, names, threads)
    if interval is not None:
        report = replace(report, metrics=report.metrics | trained.interval_scores(samples, interval, threads))
    if json:
        display.print_json(report.as_json())
    else:
        display.out.print(str(report))


def _decided(run: Run, threshold: str | None) -> Trained:
    """The trained network with the threshold that was asked for."""
    from dataclasses import replace

    if threshold is None:
        return run.trained
    chosen = options.threshold(threshold)
    if chosen is None or isinstance(chosen, float):
        return run.trained.with_threshold(chosen)
    return replace(run.trained, data=run.load_data()).with_threshold(chosen)


def show(run: RunFolder, json: AsJson = False) -> None:
    """Show a run: its data, its layers with shapes and weights, its metrics and the loss curve.

    Example:

      chainrule show runs/digits-1
    """
    from chainrule.runs import Run
    from chainrule.runs.recipe import to_json

    opened = Run.open(run)
    trained = opened.trained
    samples = trained.progress.samples
    if json:
        display.print_json({
            "run": str(opened.folder), "status": opened.manifest["status"], "epochs": opened.manifest["epochs"],
            "steps": opened.manifest["steps"], "threshold": trained.threshold, "data": opened.data,
            "versions": opened.versions, "plan": to_json(trained.plan), "layers": _layers(trained.plan.network),
            "history": list(trained.history),
            **({"samples": [sample._asdict() for sample in samples]} if samples else {}),
        })  # fmt: skip
        return
    summary, out = opened.summary(), display.out
    out.print(display.bold(summary.title) + f": {summary.about}")
    for line in fact_lines(summary.facts, display.WIDTH):
        out.print(line)
    for note in summary.notes:
        out.print(one_line(note))
    if summary.table is not None:
        _show_table(summary.table)
    if summary.curves:
        out.print(f"loss over epochs 1 to {len(trained.history)}, on a logarithmic scale")
    for line in display.curve(summary.curves):
        out.print(line)


def _layers(network: Network) -> list[dict[str, Any]]:
    return [
        {"name": node.name, "kind": node.layer.kind, "output": list(node.built.output_shape), "weights": node.weights}
        for node in network.nodes
    ]


def _show_table(table: Table) -> None:
    from rich import box
    from rich.table import Table as Drawn

    drawn = Drawn(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading, side in zip(table.head, table.aligned, strict=True):
        drawn.add_column(heading, justify="right" if side == "r" else "left")
    for row in table.rows:
        drawn.add_row(*map(one_line, row))
    display.out.print(drawn)
