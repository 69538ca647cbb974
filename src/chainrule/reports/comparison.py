"""`compare`: several runs side by side: settings, metrics with their deviations, sizes, time.

A metric of a sample of finite size is uncertain. Its deviation is that of the bootstrap (Efron,
1979): the metric is computed again on samples that are drawn from the test set with replacement.
All runs that are measured on the same rows are given the same draws, so that the deviation of the
difference between two runs is known as well; it is often far smaller than theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from chainrule.arrays import Array
from chainrule.errors import ChainruleError, require
from chainrule.generators import generator
from chainrule.reports.subject import Subject
from chainrule.runs import Run
from chainrule.runs.folder import size_of
from chainrule.training import metrics as measures
from chainrule.training.catalog import by_default

DRAWS = 200
"""How often a metric is computed again."""
MOST_DRAWN = 4_000_000
"""The most numbers that are measured for the draws of a run; of large test sets there are fewer."""
FEWEST_DRAWS = 20
SAME = 1e-12
"""Draws that differ by a smaller share of their size are the same but for rounding."""


@dataclass(frozen=True)
class Compared:
    """A run in a comparison.

    Attributes:
        name: its folder's name; with its parents where several have the same
        settings: what was chosen, by name, in words
        data: the name of its data
        same: what tells which runs are measured on the same samples: they share this number
        part: the set that it was measured on; empty if its data is missing
        metrics: the metrics on it, by name
        deviations: their standard deviations, where they are known
        parameters: the number of its weights
        bytes: what its folder takes
        seconds: what training took; None if that was not recorded
        epochs, steps: how many were taken
        history: what was measured after each epoch
        missing: why there are no metrics; empty if there are
        draws: (draws,) each metric on each draw
    """

    name: str
    settings: dict[str, str]
    data: str
    same: int
    part: str
    metrics: dict[str, float]
    deviations: dict[str, float]
    parameters: int
    bytes: int
    seconds: float | None
    epochs: int
    steps: int
    history: tuple[dict[str, float], ...] = field(repr=False)
    missing: str = ""
    draws: dict[str, Array] = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True)
class Comparison:
    """Several runs side by side.

    Attributes:
        runs: the runs, in the order in which they were given
        notes: what can't be compared, and why
    """

    runs: tuple[Compared, ...]
    notes: tuple[str, ...]

    @property
    def differing(self) -> list[str]:
        """The names of the settings that are not the same in all runs."""
        names = dict.fromkeys(name for run in self.runs for name in run.settings)
        return [name for name in names if len({run.settings.get(name) for run in self.runs}) > 1]

    @property
    def groups(self) -> list[list[Compared]]:
        """The runs that are measured on the same samples, and so can be compared."""
        found: dict[int, list[Compared]] = {}
        for run in self.runs:
            found.setdefault(run.same, []).append(run)
        return list(found.values())

    def difference(self, run: Compared, name: str) -> tuple[float, float] | None:
        """By how much a metric differs from that of the first run measured on the same samples,
        and the standard deviation of that; None for that run itself, and where it is not known.
        """
        first = next(one for one in self.runs if one.same == run.same)
        if first is run or name not in run.draws or name not in first.draws:
            return None
        return run.metrics[name] - first.metrics[name], _deviation(run.draws[name] - first.draws[name])

    def as_json(self) -> dict[str, Any]:
        """The comparison as values that JSON can represent, except for NaN and infinity."""
        rows = []
        for run in self.runs:
            found = {name: self.difference(run, name) for name in run.metrics}
            measured = {name: {"value": v, "deviation": run.deviations.get(name)} for name, v in run.metrics.items()}
            rows.append({
                "run": run.name, "data": run.data, "measured_on": run.part or None, "group": run.same,
                "settings": run.settings,
                "metrics": measured,
                "differences": {name: {"value": d[0], "deviation": d[1]} for name, d in found.items() if d is not None},
                "parameters": run.parameters, "bytes": run.bytes, "seconds": run.seconds, "epochs": run.epochs,
                "steps": run.steps, "missing": run.missing, "history": [dict(record) for record in run.history],
            })  # fmt: skip
        return {"runs": rows, "differing_settings": self.differing, "notes": list(self.notes)}

    @property
    def html(self) -> str:
        """The comparison as one page that needs no network."""
        from chainrule.reports.comparison_page import comparison_page

        return comparison_page(self)


def compare(*runs: Run | str | Path, progress: Callable[[str, float], None] | None = None) -> Comparison:
    """Compare runs: their settings, their metrics with standard deviations, sizes and times.

    Metrics are measured on the test set, or without one on the validation set. Runs on different
    data, or with another target, are shown as well, and the notes say what can't be compared.

    Args:
        runs: the runs, or their folders; at least two
        progress: called with what is being done, and which share of it is done

    Raises:
        SettingError: for fewer than two runs, or the same run twice
        RunError: for a folder that is no run

    Examples:
        >>> import chainrule, tempfile
        >>> with tempfile.TemporaryDirectory() as parent:
        ...     for units in (2, 8):
        ...         trained = chainrule.train(f"{units} tanh", "iris", epochs=5)
        ...         trained.save(f"{parent}/{units}-units")
        ...     compared = chainrule.compare(f"{parent}/2-units", f"{parent}/8-units")
        >>> compared.differing, [run.parameters for run in compared.runs]
        (['network'], [19, 67])
    """
    require(len(runs) > 1, "compare takes at least two runs; for one there is the command report")
    opened = [run if isinstance(run, Run) else Run.open(run) for run in runs]
    folders = [run.folder.resolve() for run in opened]
    twice = next((run.folder for run, folder in zip(opened, folders, strict=True) if folders.count(folder) > 1), None)
    require(twice is None, f"{twice}: this run is given twice; compare takes different runs")
    names, groups, found = _names(opened), dict[Any, int](), list[Compared]()
    for k, (name, run) in enumerate(zip(names, opened, strict=True)):
        if progress is not None:
            progress(f"measuring {name}", k / len(opened))
        subject = Subject.of(run)
        same = groups.setdefault(_measured_on(subject), len(groups))
        found.append(_compared(name, subject, same))
    return Comparison(tuple(found), tuple(_notes(found, opened)))


def _names(runs: Sequence[Run]) -> list[str]:
    """The runs' names, as short as they tell them apart."""
    short = [run.folder.absolute().name for run in runs]
    return short if len(set(short)) == len(runs) else [str(run.folder) for run in runs]


def _measured_on(subject: Subject) -> tuple[Any, ...]:
    """What is the same for runs that are measured on the same samples."""
    run, target = subject.run, subject.trained.target
    if subject.data is None:
        return ("missing", run.data["fingerprint"], target.described)
    rows = None if subject.rows is None else subject.rows.tobytes()
    of = getattr(subject.data, f"{subject.part}_fingerprint", "")
    return (run.data["fingerprint"], of, target.described, subject.part, len(subject.samples.x), rows)


def _compared(name: str, subject: Subject, same: int) -> Compared:
    run, trained = subject.run, subject.trained
    metrics, draws, missing, part = dict[str, float](), dict[str, Array](), subject.missing, ""
    if subject.data is not None:
        try:
            metrics, part = subject.quality.metrics, subject.part
            draws = _draws(subject)
        except ChainruleError as error:
            missing = str(error)
    return Compared(
        name, settings_of(run), run.data["name"], same, part, metrics,
        {metric: _deviation(values) for metric, values in draws.items()},
        trained.plan.network.parameters.size,
        sum(size_of(run.folder / file) for file in run.manifest["files"]),
        run.manifest.get("seconds"), run.manifest["epochs"], run.manifest["steps"], tuple(map(dict, trained.history)),
        missing, draws,
    )  # fmt: skip


def settings_of(run: Run) -> dict[str, str]:
    """What was chosen for a run, by name."""
    plan, rows = run.trained.plan, run.data["rows"]
    layers = [
        f"{node.layer.kind} {' x '.join(map(str, node.built.output_shape))}" for node in plan.network.graph.distinct
    ]
    facts = dict(plan.facts)
    facts.pop("batches")
    if plan.selection is not None:  # what was chosen; not how the others did
        facts[plan.selection.what] = facts[plan.selection.what].partition(":")[0]
    return {
        "data": f"{run.data['name']} ({run.data['fingerprint'][:8]})",
        "rows": ", ".join(f"{rows[part]:,} {part}" for part in ("training", "validation", "test") if rows[part]),
        "target": run.trained.target.described,
        "network": ", ".join(layers),
        **facts,
        "batch size": f"{plan.batch_size:,}",
        "epochs": f"{plan.epochs:,} at most",
        "seed": str(plan.seed),
        "precision": plan.network.dtype,
        "engine": plan.engine or "by default",
        "chainrule": run.versions["chainrule"],
    }


def _draws(subject: Subject) -> dict[str, Array]:
    """(draws,) each metric on samples drawn with replacement, by its name; empty for predictions at
    positions, as those of language models, of which neighbours are alike.
    """
    trained, samples = subject.trained, subject.samples
    target, plan, count = trained.target, trained.plan, len(samples.x)
    if target.positions or target.tokens or target.season or count < 2:
        return {}
    outputs, y = trained.raw(samples), np.asarray(samples.y)
    chosen = [metric for metric in dict.fromkeys((*by_default(target), *plan.metrics)) if isinstance(metric, str)]
    random = generator(0, "bootstrap", count)
    times = min(DRAWS, max(FEWEST_DRAWS, MOST_DRAWN // max(outputs.size, 1)))
    found: dict[str, list[float]] = {}
    for _ in range(times):
        rows = random.integers(0, count, count)
        weight = None if samples.weight is None else samples.weight[rows]
        with np.errstate(all="ignore"):
            measured = measures.measure(chosen, target, plan.loss, outputs[rows], y[rows], weight, trained.threshold)
            measured["loss"] = plan.loss.value(outputs[rows], y[rows], weight)
        for name, value in measured.items():
            found.setdefault(name, []).append(value)
    return {name: np.array(values) for name, values in found.items() if name in subject.quality.metrics}


def _deviation(values: Array) -> float:
    """The standard deviation over the draws, without those for which a metric is undefined.

    NaN where all draws are the same, as of a network that made no errors: the bootstrap sees none,
    but that does not mean that there are none.
    """
    finite = values[np.isfinite(values)]
    same = len(finite) < 2 or np.ptp(finite) <= SAME * np.abs(finite).max()
    return float("nan") if same else float(finite.std(ddof=1))


def _notes(found: Sequence[Compared], runs: Sequence[Run]) -> list[str]:
    """What can't be compared, and why."""
    notes = [f"{run.name} has no metrics: {run.missing}" for run in found if run.missing]
    groups: dict[int, list[str]] = {}
    for run in found:
        groups.setdefault(run.same, []).append(run.name)
    if len(groups) > 1:
        listed = "; ".join(", ".join(names) for names in groups.values())
        notes.append(
            f"the runs are measured on different samples or targets ({listed}): metrics are comparable within each of"
            " these groups only, settings, sizes and times across all"
        )
    for same, names in groups.items():
        losses = {run.trained.plan.facts["loss"] for run, one in zip(runs, found, strict=True) if one.same == same}
        if len(losses) > 1:
            notes.append(f"{', '.join(names)} have different losses: compare their other metrics, not the loss")
    if any(run.seconds is None for run in found):
        without = ", ".join(run.name for run in found if run.seconds is None)
        notes.append(f"how long training took is not recorded for {without}")
    return notes
