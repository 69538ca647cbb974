"""A comparison as a page, and as tables for the terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence

from chainrule.explain.html import Html
from chainrule.reports.charts import bars, linear, lines, of_losses
from chainrule.reports.comparison import Compared, Comparison
from chainrule.reports.page import page
from chainrule.reports.section import Section, number, paragraph, side_by_side, table, text
from chainrule.training import history

MOST_METRICS = 4
"""The most metrics that are drawn as bars, for each group of runs."""


def comparison_page(found: Comparison) -> str:
    """The whole page."""
    names = [run.name for run in found.runs]
    sections = [_metrics(found), _settings(found), _curves(found), _sizes(found)]
    about = f"{len(names)} runs side by side: {', '.join(names)}."
    return page("A comparison of runs", about, [section for section in sections if section is not None])


def metric_rows(found: Comparison, group: Sequence[Compared]) -> tuple[list[str], list[list[str]]]:
    """The head and the rows of a table: each metric with its deviation, of each run of a group,
    and the difference from the first.
    """
    head, rows = ["metric", *(run.name for run in group)], []
    for name in dict.fromkeys(name for run in group for name in run.metrics):
        rows.append([history.label(name), *(metric_cell(found, run, name) for run in group)])
    return head, rows


def metric_cell(found: Comparison, run: Compared, name: str) -> str:
    """A metric with its deviation, and how it differs from the first run's."""
    if name not in run.metrics:
        return "-"
    deviation, differs = run.deviations.get(name, math.nan), found.difference(run, name)
    shown = history.number(name, run.metrics[name])
    if math.isfinite(deviation):
        shown += f" ± {_spread(name, deviation)}"
    if differs is not None and math.isfinite(differs[0]):
        sign = "+" if differs[0] > 0 else ""
        apart = f" ± {_spread(name, differs[1])}" if math.isfinite(differs[1]) else ""
        shown += f" ({sign}{history.number(name, differs[0])}{apart})"
    return shown


def _spread(name: str, deviation: float) -> str:
    """A deviation with two digits, in percent where its metric is."""
    if history.number(name, deviation).endswith("%"):
        return f"{100 * deviation:.1f} %" if deviation >= 0.001 else f"{100 * deviation:.1g} %"
    return number(deviation) if deviation >= 1e4 else f"{deviation:.2g}"


def setting_rows(found: Comparison) -> list[list[str]]:
    """The settings of all runs, those that differ first."""
    names = dict.fromkeys([*found.differing, *(name for run in found.runs for name in run.settings)])
    return [[name, *(run.settings.get(name, "-") for run in found.runs)] for name in names]


def size_rows(found: Comparison) -> list[list[str]]:
    """Weights, bytes, epochs, steps and seconds of all runs."""
    return [
        ["weights", *(f"{run.parameters:,}" for run in found.runs)],
        ["size of the run", *(f"{run.bytes / 1e6:.2f} MB" for run in found.runs)],
        ["epochs trained", *(f"{run.epochs:,}" for run in found.runs)],
        ["steps", *(f"{run.steps:,}" for run in found.runs)],
        ["training time", *("-" if run.seconds is None else f"{run.seconds:.3g} s" for run in found.runs)],
        ["time of a step", *(_per_step(run) for run in found.runs)],
    ]


def _per_step(run: Compared) -> str:
    return "-" if run.seconds is None or not run.steps else f"{1000 * run.seconds / run.steps:.3g} ms"


def _metrics(found: Comparison) -> Section:
    html = "".join(paragraph(f"Note: {note}.") for note in found.notes)
    for group in found.groups:
        measured = [run for run in group if run.metrics]
        if not measured:
            continue
        title = f"{group[0].data}: the {measured[0].part} set"
        head, rows = metric_rows(found, measured)
        html += f"<h3>{text(title)}</h3>" + table(head, [[name, *map(_in_lines, cells)] for name, *cells in rows])
        drawn = [name for name in measured[0].deviations if all(name in run.metrics for run in measured)][:MOST_METRICS]
        if len(measured) > 1:
            html += side_by_side(*(_bars(name, measured) for name in drawn))
    about = (
        "How good the predictions of each run are. After ± stands the standard deviation of the metric, as the test set"
        " has finitely many samples; in parentheses the difference from the first run, with its own deviation: a"
        " difference of less than about two deviations may be chance."
    )
    return Section("metrics", "Metrics", about, html)


def _in_lines(cell: str) -> Html:
    """A metric with the difference below it, so that several runs have room beside one another."""
    value, bracket, difference = cell.partition(" (")
    below = f"<small>{text(bracket[1:] + difference)}</small>" if difference else ""
    return Html(f'<span class="u">{text(value)}</span> <span class="u">{below}</span>')


def _bars(name: str, group: Sequence[Compared]) -> str:
    label = history.label(name)
    values = {run.name: run.metrics[name] for run in group if math.isfinite(run.metrics[name])}
    if not values:
        return ""
    written = {run.name: history.number(name, run.metrics[name]) for run in group}
    deviations = {run.name: d for run in group if math.isfinite(d := run.deviations.get(name, math.nan))}
    return f'<div class="whole">{paragraph(label)}{bars(label, values, written, deviations)}</div>'


def _settings(found: Comparison) -> Section:
    differing = set(found.differing)
    rows = [
        [Html(f'<span class="differs">{text(name)}</span>') if name in differing else name,
         *(Html(f'<span class="differs">{text(value)}</span>') if name in differing else value for value in values)]
        for name, *values in setting_rows(found)
    ]  # fmt: skip
    html = f'<div class="fits">{table(["setting", *(run.name for run in found.runs)], rows)}</div>'
    about = "What was chosen for each run. Settings that differ stand first, and are highlighted."
    return Section("settings", "Settings", about, html)


def _curves(found: Comparison) -> Section | None:
    html = ""
    for group in found.groups:
        for key, label in (("loss", "training loss"), ("validation_loss", "validation loss")):
            curves = {
                run.name: ([record["epoch"] for record in run.history], [record[key] for record in run.history])
                for run in group if run.history and key in run.history[0]
            }  # fmt: skip
            if not curves:
                continue
            epochs = [epoch for x, _ in curves.values() for epoch in x]
            every = [value for _, y in curves.values() for value in y]
            title = f"{label} on {group[0].data}"
            drawn = lines(title, linear(epochs, "epoch", 0.02), of_losses(every, label), curves)
            one = "" if len(curves) > 1 else f" ({text(next(iter(curves)))})"
            html += f'<div class="whole"><h3>{text(title)}{one}</h3>{drawn}</div>'
    about = "The losses after each epoch, of the runs on the same data over one another."
    return Section("curves", "Learning curves", about, f'<div class="row">{html}</div>') if html else None


def _sizes(found: Comparison) -> Section:
    head = ["", *(run.name for run in found.runs)]
    html: str = table(head, size_rows(found), "l" + "r" * len(found.runs))
    drawn = {run.name: float(run.parameters) for run in found.runs}
    html = html + paragraph("weights") + bars("weights", drawn, {run.name: f"{run.parameters:,}" for run in found.runs})
    return Section("sizes", "Sizes and times", "How large each network is, and how long it was trained.", html)
