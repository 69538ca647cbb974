"""The commands predict, evaluate and show."""

from __future__ import annotations

import csv
import io
import json as jsonlib
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chainrule.cli import display
from chainrule.cli.options import AsJson, RunFolder, output_suffix

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chainrule.arrays import Array
    from chainrule.runs import Run, Trained

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
    interval: Annotated[
        float | None,
        typer.Option(
            help="Predict between which numbers the target lies with this probability, such as 0.9; the run's loss"
            " must be 'gaussian', or quantiles with these ends."
        ),
    ] = None,
    json: AsJson = False,
) -> None:
    """Predict the target of each sample, with the probability of each class, the quantiles, or the
    deviation, if the run's loss predicts them.

    Examples:

      chainrule predict runs/houses-1 new.csv -o prices.csv

      chainrule predict runs/houses-1 new.csv --interval 0.9

      chainrule predict runs/digits-1 digits --json
    """
    from chainrule.data import find_samples
    from chainrule.runs import Run
    from chainrule.runs.trained import ends

    opened = Run.open(run)
    suffix = output_suffix(output, "predictions are", ".csv", ".json") if output is not None else None
    if interval is not None:
        ends(interval)  # raises an error for what is no share, before the data is read
    rows = _predictions(opened, find_samples(data, _image_size(opened), opened.trained.texts), interval)
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


def _predictions(run: Run, source: Any, interval: float | None) -> list[dict[str, Any]]:
    trained, target = run.trained, run.trained.target
    raw = trained.raw(source)
    columns = _of_columns(target.names, "", trained.decoded(raw))
    columns |= _distribution(trained, raw, interval)
    probabilities = trained.plan.loss.probabilities(raw) if target.task != "regression" else None
    if probabilities is not None:
        names = [f"probability_{label}" for label in target.classes or target.columns]
        columns |= zip(names, probabilities.T, strict=True)
    return [dict(zip(columns, row, strict=True)) for row in zip(*(v.tolist() for v in columns.values()), strict=True)]


def _distribution(trained: Trained, raw: Array, interval: float | None) -> dict[str, Array]:
    """The columns of an interval, or of all quantiles, and of the deviation, by name."""
    from chainrule.runs.trained import ends

    names, loss = trained.target.names, trained.plan.loss
    columns: dict[str, Array] = {}
    levels = ends(interval) if interval is not None else getattr(loss, "levels", ())
    of_levels = ("lower", "upper") if interval is not None else [f"quantile_{level:g}" for level in levels]
    if len(levels) > 1:  # a single quantile is the point prediction
        quantiles = trained.quantiles_of(raw, levels).swapaxes(0, 1)
        for what, values in zip(of_levels, quantiles, strict=True):
            columns |= _of_columns(names, f"_{what}", values)
    if loss.deviation(raw) is not None:
        columns |= _of_columns(names, "_deviation", trained.deviations_of(raw))
    return columns


def _of_columns(names: Sequence[str], suffix: str, values: Array) -> dict[str, Array]:
    """The columns of the predictions for one quantity or several, by name."""
    return dict(zip([name + suffix for name in names], values.reshape(len(values), -1).T, strict=True))


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
        metrics = replace(trained, data=opened.load_data()).evaluate()
    else:
        column = trained.target.in_table if trained.preparation and trained.preparation.kind == "table" else None
        settings = opened.data["settings"]
        read = {**(settings.get("read", {}) if settings else {}), **trained.texts}
        source = find(data, target=column, task=trained.target.task, image_size=_image_size(opened), read=read)
        metrics = trained.evaluate(source)
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
    layers = [
        {"name": node.name, "kind": node.layer.kind, "output": list(node.built.output_shape),
         "weights": sum(math.prod(p.shape) for p in node.built.parameters.values()) if node.name == node.owner else 0}
        for node in trained.plan.network.nodes
    ]  # fmt: skip
    if json:
        display.print_json({
            "run": str(opened.folder), "status": opened.manifest["status"], "epochs": opened.manifest["epochs"],
            "steps": opened.manifest["steps"], "data": opened.data, "versions": opened.versions,
            "plan": to_json(trained.plan), "layers": layers, "history": list(trained.history),
        })  # fmt: skip
        return
    _show_summary(opened)
    _show_layers(layers, trained.plan.network.parameters.size)
    _show_history(opened)


def _show_summary(run: Run) -> None:

    plan, target, manifest, rows = run.trained.plan, run.trained.target, run.manifest, run.data["rows"]
    out = display.out
    progress = f"{manifest['status']} after {manifest['epochs']} epochs, {manifest['steps']:,} steps"
    out.print(display.bold(str(run.folder)) + f": {progress}")
    sizes = ", ".join(f"{rows[name]:,} {name}" for name in ("training", "validation", "test"))
    settings = run.data["settings"]
    out.print(f"data       {display.one_line(settings['what'] if settings else run.data['name'])}: {sizes} samples")
    out.print(f"target     {display.one_line(target.name)} ({target.about})")
    out.print(f"loss       {type(plan.loss).__name__}")
    for line in [] if run.trained.preparation is None else run.trained.preparation.notes:
        out.print(display.one_line(line).replace("columns:", "columns   ", 1))
    stages = " > ".join(type(stage).__name__ for stage in plan.optimizer.stages)
    out.print(f"optimizer  {stages}; batch size {plan.batch_size}, seed {plan.seed}")


def _show_layers(layers: list[dict[str, Any]], size: int) -> None:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("layer", "kind", "output", "weights"):
        table.add_column(heading, justify="right" if heading in ("output", "weights") else "left")
    for layer in layers:
        shape = " x ".join(str(n) for n in layer["output"])
        table.add_row(layer["name"], layer["kind"], shape, f"{layer['weights']:,}" if layer["weights"] else "")
    table.add_row("total", "", "", f"{size:,}")
    display.out.print(table)


def _show_history(run: Run) -> None:
    history, best, out = run.trained.history, run.trained.progress.best, display.out
    if not history:
        return
    epoch = best.epoch if best is not None and run.trained.plan.patience is not None else len(history)
    for name, value in history[epoch - 1].items():
        if name != "epoch":
            out.print(f"{display.label(name):<22}{display.number(name, value)}  (epoch {epoch})")
    losses = [name for name in ("loss", "validation_loss") if name in history[0]]
    out.print(f"\nloss over epochs 1 to {len(history)}, on a logarithmic scale")
    for line in display.curve({display.label(name): [record[name] for record in history] for name in losses}):
        out.print(line)
