"""The sections that need only the run: the model card, its layers, and the curves."""

from __future__ import annotations

from typing import Any

from chainrule.reports.charts import linear, lines, of_losses
from chainrule.reports.section import Section, cut, facts, numbered, paragraph, side_by_side, table
from chainrule.reports.subject import Subject
from chainrule.runs.folder import size_of
from chainrule.training import history
from chainrule.training.history import HELD_OUT

MOST_LAYERS = 25
"""Of networks with more layers, those without weights are not listed."""
ENDED = {
    "complete": "all planned epochs were trained",
    "early": "it stopped early, as the validation set no longer improved",
    "stopped": "it was stopped",
    "interrupted": "it was interrupted",
    "diverged": "it diverged: numbers became infinite",
    "under way": "it is not over, or was ended by force",
    "imported": "it was imported and has not been trained here",
}
"""How training ended, by the manifest's status."""


def card(subject: Subject) -> Section:
    """What the model is, what it predicts from what, how it was trained, and its limits."""
    run, trained = subject.run, subject.trained
    plan, rows = trained.plan, run.data["rows"]
    counts = ", ".join(f"{rows[part]:,} {part}" for part in ("training", "validation", "test") if rows[part])
    size = sum(size_of(run.folder / name) for name in run.manifest["files"])
    seconds, layers = run.manifest.get("seconds"), plan.network.table
    size_of_network = f"{numbered(plan.network.parameters.size, 'weight')} in {numbered(len(layers.rows) - 1, 'layer')}"
    details: dict[str, object] = {
        "run": run.folder.name,
        "predicts": trained.target.described,
        "from": inputs_of(subject),
        "network": f"{size_of_network}, {plan.network.dtype}",
    }
    if is_imported(subject):
        details["training"] = f"elsewhere: it was imported from {run.data['name']}"
    else:
        taken = f"{numbered(run.manifest['epochs'], 'epoch')}, {numbered(run.manifest['steps'], 'step')}"
        details |= {
            "trained on": f"{run.data['name']}: {counts} samples",
            **plan.facts,
            "training": f"{taken}; {ENDED[run.manifest['status']]}",
        }
    if seconds is not None:
        details["time"] = f"{seconds:.3g} s"
    if trained.epoch and trained.epoch != trained.progress.epoch:
        details["weights"] = f"those of epoch {trained.epoch:,}, the best on the validation set"
    if trained.decision:
        details["threshold"] = trained.decision
    if trained.epoch:
        details |= history.words(trained.history[trained.epoch - 1], trained.target)
    details |= {
        "run's size": f"{size / 1e6:,.1f} MB" if size >= 1e5 else f"{size / 1e3:,.0f} kB",
        "made by": f"chainrule {run.versions['chainrule']}, NumPy {run.versions['numpy']}, "
        f"Python {run.versions['python']}",
    }
    # Of many layers, those with weights.
    shown = [row for row in layers.rows if row[3] or len(layers.rows) <= MOST_LAYERS]
    which = "The layers" if len(shown) == len(layers.rows) else "The layers with weights"
    listed = table(layers.head, shown, layers.aligned, f"{which}, from the input to the output")
    limits = limits_of(subject)
    html = facts(details) + "<h3>What it is good for, and what not</h3>" + "".join(map(paragraph, limits)) + listed
    data = {
        "run": str(run.folder), "status": run.manifest["status"], "epochs": run.manifest["epochs"],
        "steps": run.manifest["steps"], "seconds": seconds, "bytes": size, "versions": dict(run.versions),
        "target": trained.target.described, "parameters": plan.network.parameters.size,
        "facts": {name: str(value) for name, value in details.items()}, "limits": limits,
        "layers": [dict(zip(layers.head, row, strict=True)) for row in layers.rows],
    }  # fmt: skip
    about = "What was trained, on what, and how: the model card."
    return Section("card", "The model", about, html, data)


def is_imported(subject: Subject) -> bool:
    """Whether the network was made elsewhere, and has not been trained here."""
    return bool(subject.run.manifest["status"] == "imported")


def inputs_of(subject: Subject) -> str:
    """What a prediction is made from, in words."""
    trained, preparation = subject.trained, subject.trained.preparation
    shape = " x ".join(map(str, trained.plan.network.input_shape))
    if preparation is None:
        return f"arrays of shape {shape}, used as they are"
    names = {
        "table": f"{len([use for use in preparation.uses if use.inputs])} columns of a table, {shape} inputs",
        "pictures": f"pictures of {shape}", "numbers": f"{shape} numbers", "sequences": f"sequences of {shape} numbers",
        "text": f"a window of {shape} tokens of a text", "series": f"windows of {shape} of time series",
    }  # fmt: skip
    return names[preparation.kind]


def limits_of(subject: Subject) -> list[str]:
    """What one must not expect of the model."""
    target, run = subject.trained.target, subject.run
    name = cut(target.name)
    lines = [
        f"It predicts {name} for samples like those that it was trained on ({cut(run.data['name'])}). Of samples that"
        " differ from them nothing was measured, and its predictions may be wrong without a sign of it."
    ]
    if is_imported(subject):
        lines = [
            f"It predicts {name} for samples like those that it was trained on, of which nothing is known here: it was"
            " imported without data, so its quality is not known either."
        ]
    if target.is_class and not target.tokens:
        names = ", ".join(map(cut, target.classes[:12])) + (", ..." if target.width > 12 else "")
        lines.append(f"Every sample is taken for one of {target.width} classes, also one that is of none: {names}.")
    if is_imported(subject):
        return lines
    if not run.data["rows"]["test"]:
        lines.append("No samples were kept for a test, so its quality on new samples is not known.")
    if run.manifest["status"] not in ("complete", "early"):
        lines.append("Its training did not come to its end.")
    return lines


def curves(subject: Subject) -> Section | None:
    """The losses and the other metrics over the epochs."""
    trained, records = subject.trained, subject.trained.history
    if not records:
        return None
    epochs = [record["epoch"] for record in records]
    losses = {name: (epochs, values) for name, values in history.curves(records).items()}
    every = [value for _, values in losses.values() for value in values]
    x = linear(epochs, "epoch", 0.02)
    drawn = [lines("The loss over the epochs", x, of_losses(every, "loss"), losses)]
    others = [name for name in records[0] if name not in ("epoch", "loss", "validation_loss")]
    for name in others:
        values = [record[name] for record in records]
        shown = history.label(name, trained.target)
        drawn.append(lines(shown, x, linear(values, shown), {shown: (epochs, values)}))
    data: dict[str, Any] = {"epoch": trained.epoch, "history": [dict(record) for record in records]}
    best = ""
    if any(name.startswith(HELD_OUT) for name in records[0]):
        best = " The validation set takes no part in the training: where its loss rises while the training loss falls,"
        best += " the network memorizes the training samples."
    about = f"How wrong the predictions were after each epoch, a pass through all training samples.{best}"
    if trained.epoch != trained.progress.epoch:
        about += f" The network has the weights of epoch {trained.epoch:,}, the best on the validation set."
    return Section("curves", "Learning curves", about, side_by_side(*drawn), data)
