"""The commands predict, evaluate and show."""

from __future__ import annotations

import csv
import io
import json as jsonlib
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chainrule.cli import display, options
from chainrule.cli.options import AsJson, Metrics, RunFolder, Threads, metric_names, output_suffix
from chainrule.errors import require

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
    trained = _decided(opened, threshold)
    if interval is not None:
        ends(interval)  # raises an error for what is no share, before the data is read
    rows = _predictions(trained, find_samples(data, _image_size(opened), trained.texts), interval, threads)
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


def _predictions(trained: Trained, source: Any, interval: float | None, threads: int | None) -> list[dict[str, Any]]:
    target, raw = trained.target, trained.raw(source, threads)
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
    metrics: Metrics = None,
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

      chainrule evaluate runs/patients-1 --threshold f1 --keep
    """
    from dataclasses import replace

    from chainrule.data import find
    from chainrule.runs import Run

    opened, names = Run.open(run), metric_names(metrics)
    require(threshold is not None or not keep, "--keep keeps a threshold in the run; pass --threshold as well")
    trained = opened.keep_threshold(options.threshold(threshold)).trained if keep else _decided(opened, threshold)
    if data is None:
        trained = replace(trained, data=trained.data or opened.load_data())
        report = trained.report(metrics=names, threads=threads)
    else:
        column = trained.target.in_table if trained.preparation and trained.preparation.kind == "table" else None
        settings = opened.data["settings"]
        read = {**(settings.get("read", {}) if settings else {}), **trained.texts}
        source = find(data, target=column, task=trained.target.task, image_size=_image_size(opened), read=read)
        report = trained.report(source, names, threads)
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
    layers = [
        {"name": node.name, "kind": node.layer.kind, "output": list(node.built.output_shape),
         "weights": sum(math.prod(p.shape) for p in node.built.parameters.values()) if node.name == node.owner else 0}
        for node in trained.plan.network.nodes
    ]  # fmt: skip
    if json:
        display.print_json({
            "run": str(opened.folder), "status": opened.manifest["status"], "epochs": opened.manifest["epochs"],
            "steps": opened.manifest["steps"], "threshold": trained.threshold, "data": opened.data,
            "versions": opened.versions, "plan": to_json(trained.plan), "layers": layers,
            "history": list(trained.history),
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
    if plan.patience is not None:
        delta = f" by more than {plan.min_delta:g}" if plan.min_delta else ""
        watched = display.label(f"validation_{plan.monitor}")
        out.print(f"stopping   after {plan.patience} epochs in which the {watched} did not improve{delta}")
    if plan.threshold is not None or run.trained.threshold is not None:
        out.print(f"threshold  {threshold_line(run.trained)}")


def threshold_line(trained: Trained) -> str:
    """From which probability on which class is predicted, and how that was chosen."""
    metric = trained.plan.threshold
    by = f", chosen on the validation set by {display.label(metric)}" if isinstance(metric, str) else ""
    if trained.threshold is None:
        return f"0.5, not yet{by}: training did not end; resume it"
    return f"{trained.threshold:.4g} or more: {display.one_line(trained.target.classes[1])}{by}"


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
    measured = {
        display.label(name): display.number(name, v) for name, v in history[epoch - 1].items() if name != "epoch"
    }
    width = max(map(len, measured)) + 2
    for name, value in measured.items():
        out.print(f"{name:<{width}}{value}  (epoch {epoch})")
    losses = [name for name in ("loss", "validation_loss") if name in history[0]]
    out.print(f"\nloss over epochs 1 to {len(history)}, on a logarithmic scale")
    for line in display.curve({display.label(name): [record[name] for record in history] for name in losses}):
        out.print(line)
