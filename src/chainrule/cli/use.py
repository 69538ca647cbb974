"""chainrule predict, evaluate and show: what a run is good for."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chainrule.cli import display
from chainrule.cli.options import AsJson, RunFolder
from chainrule.errors import SettingError

if TYPE_CHECKING:
    from chainrule.runs import Run

Samples = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        show_default=False,
        help="Samples of the form that the run was trained on: a built-in, a file or a folder of pictures.",
    ),
]


def predict(
    run: RunFolder,
    data: Samples,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The CSV or JSON file to write; by default the terminal.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Predict the target of each sample, with the probability of each class.

    Examples:

      chainrule predict runs/houses-1 new.csv -o prices.csv

      chainrule predict runs/digits-1 digits --json
    """
    from chainrule.data import find_samples
    from chainrule.runs import Run
    from chainrule.runs.folder import write_whole

    opened = Run.open(run)
    if output is not None and output.suffix.lower() not in (".csv", ".json"):
        raise SettingError(f"-o {output}: predictions are written as CSV or JSON; give the file one of these endings")
    rows = _predictions(opened, find_samples(data, _image_size(opened)))
    as_json = json or (output is not None and output.suffix.lower() == ".json")
    if as_json and output is None:
        display.print_json(rows)
        return
    text = _as_json(rows) if as_json else _as_csv(rows)
    if output is None:
        print(text, end="")
        return
    write_whole(output, text.encode())
    display.err.print(f"{len(rows):,} predictions written to {output}", markup=False)


def _image_size(run: Run) -> Any:
    size = (run.data["settings"] or {}).get("image_size")
    return tuple(size) if size else None


def _predictions(run: Run, source: Any) -> list[dict[str, Any]]:
    trained = run.trained
    raw = trained.raw(source)
    values, shares = trained.decoded(raw), trained.plan.loss.probabilities(raw)
    if values.ndim == 2:
        return [{f"{run.trained.target.name}_{k}": float(v) for k, v in enumerate(row)} for row in values]
    rows: list[dict[str, Any]] = [{trained.target.name: value} for value in values.tolist()]
    if shares is not None and trained.target.task == "classification":
        for row, probabilities in zip(rows, shares.tolist(), strict=True):
            row |= {f"probability_{label}": p for label, p in zip(trained.target.classes, probabilities, strict=True)}
    return rows


def _as_csv(rows: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _as_json(rows: list[dict[str, Any]]) -> str:
    import json

    return json.dumps(rows, indent=1) + "\n"


def evaluate(
    run: RunFolder,
    data: Annotated[
        str | None,
        typer.Argument(
            metavar="[DATA]",
            show_default=False,
            help="Samples with their targets; by default the part that was held out for testing.",
        ),
    ] = None,
    json: AsJson = False,
) -> None:
    """Measure how good a run's predictions are, by every metric there is for its task.

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
        found = replace(trained, data=opened.load_data()).evaluate()
    else:
        column = trained.target.name if trained.preparation and trained.preparation.kind == "table" else None
        source = find(data, target=column, task=trained.target.task, image_size=_image_size(opened))
        found = trained.evaluate(source)
    if json:
        display.print_json(found)
        return
    width = max(len(display.word(name)) for name in found)
    for name, value in found.items():
        display.out.print(f"{display.word(name):<{width}}  {display.number(name, value)}")


def show(run: RunFolder, json: AsJson = False) -> None:
    """Show what a run is: its data, its layers with shapes and weights, its metrics, and the loss as a curve.

    Example:

      chainrule show runs/digits-1
    """
    from chainrule.runs import Run
    from chainrule.runs.recipe import to_json

    opened = Run.open(run)
    trained = opened.trained
    layers = [
        {"name": node.name, "kind": node.layer.kind, "output": list(node.built.output_shape),
         "weights": sum(_size(p.shape) for p in node.built.parameters.values()) if node.name == node.owner else 0}
        for node in trained.plan.network.nodes
    ]  # fmt: skip
    if json:
        display.print_json({
            "run": str(opened.folder), "status": opened.manifest["status"], "epochs": opened.manifest["epochs"],
            "steps": opened.manifest["steps"], "data": opened.data, "versions": opened.versions,
            "plan": to_json(trained.plan), "layers": layers, "history": list(trained.history),
        })  # fmt: skip
        return
    _show(opened, layers)


def _size(shape: tuple[int, ...]) -> int:
    import math

    return math.prod(shape)


def _show(run: Run, layers: list[dict[str, Any]]) -> None:
    from rich import box
    from rich.table import Table

    trained, rows = run.trained, run.data["rows"]
    plan, out = trained.plan, display.out
    out.print(
        f"[bold]{run.folder}[/]: {run.manifest['status']} after {run.manifest['epochs']} epochs,"
        f" {run.manifest['steps']:,} steps",
        markup=True,
    )
    out.print(
        f"data       {run.data['name']}: {rows['training']:,} rows to train on, {rows['validation']:,} to validate,"
        f" {rows['test']:,} to test"
    )
    target = f"{trained.target.name} ({trained.target.task}"
    out.print(
        f"target     {target}{f', {trained.target.width} classes' if trained.target.task == 'classification' else ''})"
    )
    out.print(f"loss       {type(plan.loss).__name__}")
    out.print(
        f"optimizer  {' > '.join(type(stage).__name__ for stage in plan.optimizer.stages)}; batches of"
        f" {plan.batch_size}, seed {plan.seed}"
    )
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading, justify in (("layer", "left"), ("kind", "left"), ("output", "right"), ("weights", "right")):
        table.add_column(heading, justify=justify)  # type: ignore[arg-type]
    for layer in layers:
        shape = " x ".join(str(n) for n in layer["output"])
        table.add_row(layer["name"], layer["kind"], shape, f"{layer['weights']:,}" if layer["weights"] else "")
    table.add_row("all", "", "", f"{plan.network.parameters.size:,}")
    out.print(table)
    _show_history(run)


def _show_history(run: Run) -> None:
    history, out = run.trained.history, display.out
    if not history:
        return
    best = run.trained.progress.best
    kept = best.epoch if best is not None and run.trained.plan.patience is not None else len(history)
    for name, value in history[kept - 1].items():
        if name != "epoch":
            out.print(f"{display.word(name):<22}{display.number(name, value)}  (epoch {kept})")
    names = [name for name in ("loss", "validation_loss") if name in history[0]]
    out.print(f"\nepochs 1 to {len(history)}, logarithmic")
    for row in display.curve({display.word(name): [record[name] for record in history] for name in names}):
        out.print(row)
