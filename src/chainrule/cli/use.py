"""The commands predict, evaluate and show."""

from __future__ import annotations

import csv
import io
import json as jsonlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chainrule.cli import display
from chainrule.cli.options import AsJson, RunFolder, Threads, output_suffix
from chainrule.summary import Table, fact_lines, one_line

if TYPE_CHECKING:
    from chainrule.network import Network
    from chainrule.runs import Run

Samples = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        show_default=False,
        help="Samples like those of the run: a built-in data set, a file or a folder of images.",
    ),
]


def predict(
    run: RunFolder,
    data: Samples,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The CSV or JSON file to write; default: stdout.")
    ] = None,
    threads: Threads = None,
    json: AsJson = False,
) -> None:
    """Predict the target of each sample, with the probability of each class.

    Examples:

      chainrule predict runs/houses-1 new.csv -o prices.csv

      chainrule predict runs/digits-1 digits --json
    """
    from chainrule.data import find_samples
    from chainrule.runs import Run

    opened = Run.open(run)
    suffix = output_suffix(output, "predictions are", ".csv", ".json") if output is not None else None
    rows = _predictions(opened, find_samples(data, _image_size(opened), opened.trained.texts), threads)
    if output is not None:
        text = jsonlib.dumps(rows, indent=1) + "\n" if json or suffix == ".json" else _csv(rows)
        display.write(output, text.encode(), f"{len(rows):,} predictions")
    elif json:
        display.print_json(rows)
    else:
        print(_csv(rows), end="")


def _image_size(run: Run) -> Any:
    settings = run.data["settings"]
    return tuple(settings["image_size"]) if settings and settings["image_size"] else None


def _predictions(run: Run, source: Any, threads: int | None) -> list[dict[str, Any]]:
    trained, target = run.trained, run.trained.target
    raw = trained.raw(source, threads)
    values, probabilities = trained.decoded(raw), trained.plan.loss.probabilities(raw)
    values = values.reshape(len(values), -1)
    rows: list[dict[str, Any]] = [dict(zip(target.names, row, strict=True)) for row in values.tolist()]
    if probabilities is not None and target.task != "regression":
        names = [f"probability_{label}" for label in target.classes or target.columns]
        for row, of_classes in zip(rows, probabilities.tolist(), strict=True):
            row |= zip(names, of_classes, strict=True)
    return rows


def _csv(rows: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def evaluate(
    run: RunFolder,
    data: Annotated[
        str | None,
        typer.Argument(metavar="[DATA]", show_default=False, help="Samples with targets; by default the test set."),
    ] = None,
    threads: Threads = None,
    json: AsJson = False,
) -> None:
    """Evaluate a run's predictions by the loss and every metric for its task.

    Examples:

      chainrule evaluate runs/digits-1

      chainrule evaluate runs/houses-1 sold.csv --json
    """
    from dataclasses import replace

    from chainrule.data import find
    from chainrule.runs import Run

    opened = Run.open(run)
    trained = opened.trained
    if data is None:
        metrics = replace(trained, data=opened.load_data()).evaluate(threads=threads)
    else:
        column = trained.target.in_table if trained.preparation and trained.preparation.kind == "table" else None
        settings = opened.data["settings"]
        read = {**(settings.get("read", {}) if settings else {}), **trained.texts}
        source = find(data, target=column, task=trained.target.task, image_size=_image_size(opened), read=read)
        metrics = trained.evaluate(source, threads)
    if json:
        display.print_json(metrics)
        return
    width = max(len(display.label(name)) for name in metrics)
    for name, value in metrics.items():
        display.out.print(f"{display.label(name):<{width}}  {display.number(name, value)}")


def show(run: RunFolder, json: AsJson = False) -> None:
    """Show a run: its data, its layers with shapes and weights, its metrics and the loss curve.

    Example:

      chainrule show runs/digits-1
    """
    from chainrule.runs import Run
    from chainrule.runs.recipe import to_json

    opened = Run.open(run)
    trained = opened.trained
    if json:
        display.print_json({
            "run": str(opened.folder), "status": opened.manifest["status"], "epochs": opened.manifest["epochs"],
            "steps": opened.manifest["steps"], "data": opened.data, "versions": opened.versions,
            "plan": to_json(trained.plan), "layers": _layers(trained.plan.network), "history": list(trained.history),
        })  # fmt: skip
        return
    summary, out = opened.summary(), display.out
    out.print(display.bold(summary.title) + f": {summary.about}")
    for line in fact_lines(summary.facts):
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
