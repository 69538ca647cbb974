"""The command train."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chainrule import mpirun
from chainrule.cli import display
from chainrule.cli.cache import first_pass_shown
from chainrule.cli.logs import NONE, make_logs
from chainrule.cli.options import ARGUMENTS, AsJson, leave_out, patience
from chainrule.cli.settings import Reading, Recording, Searched, Training, with_settings
from chainrule.errors import DataError, NonFiniteError, SettingError, require, require_package
from chainrule.processes import is_first, world
from chainrule.processes import start as start_processes
from chainrule.processes import use as train_with
from chainrule.summary import one_line

if TYPE_CHECKING:
    from chainrule.data import Dataset, Target
    from chainrule.runs import Trained
    from chainrule.training import Event, Plan
    from chainrule.training.report import QuantityScores


MEETING = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")
"""The environment variables that stand for --coordinator, --processes and --process."""


@with_settings
def train(
    context: typer.Context,
    data: Annotated[
        str | None,
        typer.Argument(
            metavar="DATA",
            show_default=False,
            help="A built-in data set ('chainrule data' lists them); a CSV, TSV, Parquet, Arrow, Excel or NPZ file, "
            "several by a pattern ('sales-*.csv.gz'), or a folder of them; a folder with x.npy and y.npy, or of images "
            "with a subfolder for each class; or a text (book.txt), of which a language model is trained.",
        ),
    ] = None,
    *,
    reading: Reading,
    searched: Searched,
    training: Training,
    recording: Recording,
    resume: Annotated[Path | None, typer.Option(metavar="RUN", help="Resume this run where it ended.")] = None,
    start: Annotated[
        Path | None,
        typer.Option(
            "--from", "--start", metavar="RUN", help="Go on from the network and the weights of this run, on DATA."
        ),
    ] = None,
    coordinator: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            show_default=False,
            help="Where several processes meet, each of which runs this command: with --engine jax, without MPI.",
        ),
    ] = None,
    processes: Annotated[
        int | None, typer.Option(metavar="NUMBER", show_default=False, help="How many processes meet there.")
    ] = None,
    process: Annotated[
        int | None,
        typer.Option(
            metavar="NUMBER", show_default=False, help="The number of this one, from 0; HOST is where 0 runs."
        ),
    ] = None,
    json: AsJson = False,
) -> None:
    """Train a network on data, and record the run.

    The task, the loss, the network and the optimizer follow from the data unless they are given.
    Ctrl-C stops training and keeps the trained weights.

    Examples:

      chainrule train digits

      chainrule train houses.csv --target price --network "64 relu, dropout 0.2, 32 relu"

      chainrule train houses.csv --target price --interval 0.9

      chainrule train reviews.csv --target stars --task ordinal

      chainrule train iris --optimizer "sgd 0.1 schedule=cosine" --epochs 50 --seed 1

      chainrule train book.txt --length 128

      chainrule train load.csv --time date --target load --horizon 24

      chainrule train breast-cancer --monitor roc_auc --patience 10 --threshold f1

      chainrule train --resume runs/digits-1 --epochs 200

      chainrule train digits --engine jax --devices 8

      chainrule train houses.csv --target price --from imported
    """
    if start_processes().count > 1:
        from chainrule.runs.agreement import agree_on_command

        agree_on_command(world(), ARGUMENTS.get())
    meet = partial(_meet, coordinator, processes, process)
    if resume is not None:
        leave_out(
            context,
            "--resume continues the run with its own data and settings",
            *(
                "resume",
                "epochs",
                "patience",
                "engine",
                "devices",
                "threads",
                "json",
                "log",
                "coordinator",
                "processes",
                "process",
            ),
        )
        _resume(resume, training, json, recording.log, meet)
        return
    if data is None:
        raise SettingError("train: no data; pass a built-in data set such as digits, or a file (see 'chainrule data')")
    from chainrule.data import load
    from chainrule.runs import Run, begin, follow, for_loss
    from chainrule.threads import most_threads
    from chainrule.training import plan_for

    most_threads(training.threads)
    recording.check()
    meet(training.engine, training.devices)
    chosen = training.arguments()
    network: Any = searched.network
    before = None if start is None else Run.open(start)
    if before is None:
        with first_pass_shown(json):
            dataset = load(data, **reading.arguments(), seed=training.seed, **for_loss(chosen["loss"]))
    else:
        require(network is None, "--network: the network is that of --from; leave it out")
        with first_pass_shown(json):
            dataset = before.other_data(data, **reading.arguments(), seed=training.seed)
        network, chosen["loss"] = before.trained.plan.network, chosen["loss"] or before.trained.plan.loss
    training.check(dataset)
    began = time.perf_counter()
    plan = plan_for(network, dataset, **chosen, **searched.arguments(), threads=training.threads)
    first = begin(plan, None if before is None else before.trained)
    if not is_first():
        follow(plan, dataset, first, (), training.threads)
        world().wait()
        return
    recorder, example = recording.recorder(data), _Example()
    if not json:
        _introduce(plan, dataset)
        _account(plan, time.perf_counter() - began)
    with _progress(json) as listeners:
        listeners = [recorder, *make_logs(recording.log, recorder), example, *listeners]
        trained = follow(plan, dataset, first, listeners, training.threads)
    _conclude(trained, dataset, recorder.folder, example, json)
    _end(trained)


def _meet(
    coordinator: str | None, processes: int | None, process: int | None, engine: str | None, devices: int | None
) -> None:
    """Let JAX know the other processes, if there are any."""
    given = [value is not None for value in (coordinator, processes, process)]
    if engine != "jax":
        require(not any(given), "--coordinator, --processes and --process are for --engine jax; others take mpirun")
        return
    if world().count == 1 and not any(given) and not any(name in os.environ for name in MEETING):
        return
    require_package("jax", "jax", "--engine jax")
    from chainrule.engine import require_engine

    require_engine("jax")
    from chainrule.engine.jax import hosts

    hosts.keep_streams()
    if world().count > 1:
        hosts.introduce(world(), devices)
    elif (at := hosts.meeting(coordinator, processes, process)) is not None and at.processes > 1:
        train_with(hosts.join(at, devices))


def _resume(
    folder: Path, settings: Training, json: bool, log: list[str] | None, meet: Callable[[str | None, int | None], None]
) -> None:
    from chainrule.runs import Run
    from chainrule.training import Started

    run = Run.open(folder)
    meet(settings.engine or run.trained.plan.engine, settings.devices)
    with first_pass_shown(json):
        dataset, example = run.load_data(), _Example()
    how: dict[str, Any] = {
        "progress": False, "logs": log != NONE, "patience": patience(settings.patience), "engine": settings.engine,
        "devices": settings.devices,
    }  # fmt: skip
    if not is_first():
        run.resume(dataset, settings.epochs, (), settings.threads, **how)
        world().wait()
        return

    def introduce(event: Event) -> None:  # only once the run is locked for this process
        if isinstance(event, Started) and not json:
            _introduce(event.plan, dataset)

    with _progress(json) as listeners:
        listeners = [introduce, *make_logs(log, folder), example, *listeners]
        trained = run.resume(dataset, settings.epochs, listeners, settings.threads, **how)
    _conclude(trained, dataset, folder, example, json)
    _end(trained)


def _end(trained: Trained) -> None:
    """Meet the other processes at the end; after Ctrl-C, which reaches this one alone, end them."""
    if world().count > 1 and trained.reason == "interrupted":
        mpirun.leave(0)
    world().wait()


MOST_LAYERS = 12
"""Of more layers, the first and the last are named."""
MOST_TARGETS = 10
"""Of more quantities, the scores of the first are shown when training ends."""


class _Example:
    """A listener that keeps the step to show at the end: the last update of the first epoch."""

    def __init__(self) -> None:
        self.record: Any = None
        self._searching = True

    def __call__(self, event: Event) -> None:
        from chainrule.training import EpochEnded, Stepped

        if self._searching and isinstance(event, Stepped):
            for record in event.chunk.steps():
                self.record = record if record.update.any() else self.record
        elif isinstance(event, EpochEnded):
            self._searching = self.record is None


@contextmanager
def _progress(json: bool) -> Iterator[list[Any]]:
    """The listeners that show progress; none for JSON. The terminal is always restored."""
    from chainrule.training import ProgressBar

    progress, begun = ProgressBar(display.err), set[int]()
    try:
        yield [lambda _: begun.add(1), *([] if json else [progress])]
    except (DataError, NonFiniteError) as error:
        progress.close()
        resumed = "; --resume continues it" if isinstance(error, DataError) else ""
        if begun:  # else it was refused before the run was made
            display.err.print(f"training stopped; the run keeps the state before that step{resumed}")
        raise
    finally:
        progress.close()


def introduce_data(data: Dataset) -> None:
    """Say what was read, and how it was split."""
    sizes = [len(samples.x) if samples else 0 for samples in (data.training, data.validation, data.test)]
    if data.target.tokens:
        _introduce_text(data, sizes)
        return
    if data.target.season:
        _introduce_series(data, sizes)
        return
    is_picture = len(data.input_shape) > 1
    sizes_of = (data.input_shape[1], data.input_shape[0], *data.input_shape[2:]) if is_picture else data.input_shape
    shape = " x ".join(str(n) for n in sizes_of) + (" pixels" if is_picture else " features")
    if data.sequence is not None:
        shape = f"{'up to ' * data.has_lengths}{data.sequence[0]} time steps of {data.sequence[1]} features"
    out = display.err
    out.print(
        display.bold(data.name)
        + f": {sum(sizes):,} samples of {shape}; target {data.target.name} ({data.target.about})"
    )
    out.print(f"  {sizes[0]:,} training, {sizes[1]:,} validation, {sizes[2]:,} test samples")
    for note in data.notes:
        out.print(f"  {note}")


def _introduce_text(data: Dataset, sizes: list[int]) -> None:
    """The same of a text."""
    assert data.source is not None
    assert data.source.tokens is not None
    word, out, length = data.source.tokens.word, display.err, data.input_shape[0]
    count = len(data.source) + length
    out.print(
        display.bold(data.name)
        + f": a text of {count:,} {word}s, {data.target.width:,} different ones; target {data.target.name}"
    )
    out.print(f"  {sizes[0]:,} training, {sizes[1]:,} validation, {sizes[2]:,} test windows of {length} {word}s")
    for note in data.notes:
        out.print(f"  {note}")


def _introduce_series(data: Dataset, sizes: list[int]) -> None:
    """The same of time series."""
    out, (length, features) = display.err, data.input_shape
    out.print(display.bold(data.name) + f": time series; target {data.target.name} ({data.target.about})")
    out.print(f"  {sizes[0]:,} training, {sizes[1]:,} validation, {sizes[2]:,} test windows of {length} x {features}")
    for note in data.notes:
        out.print(f"  {note}")


def _introduce(plan: Plan, data: Dataset) -> None:
    from chainrule.training.parts import sampled

    introduce_data(data)
    out, layers = display.err, _layers([node.name for node in plan.network.nodes])
    out.print(f"  {layers}: {plan.network.parameters.size:,} weights; loss {type(plan.loss).__name__}")
    if plan.blocks is not None:
        out.print(f"  shuffled in blocks of {plan.blocks.rows:,} rows, of pieces of {plan.blocks.piece:,}")
    if note := sampled(plan.metrics, data.target, plan.loss, data.validation, plan.outputs):
        out.print(f"  {note}")
    for note in plan.make_engine(plan.problem(len(data.training.x)), world=world()).notes:
        out.print(f"  {note}")


def _layers(names: list[str]) -> str:
    """The layers of a network in a line; those of a composite as one, and of many the ends."""
    parts = [name for name, _ in groupby(name.partition(".")[0] for name in names)]
    if len(parts) > MOST_LAYERS:
        half = MOST_LAYERS // 2
        parts = [*parts[:half], f"{len(parts) - 2 * half} more", *parts[-half:]]
    return " > ".join(parts)


def _account(plan: Plan, seconds: float) -> None:
    """Say what validation chose, and how long that took."""
    if (choice := plan.selection) is not None:
        took = f"{sum(choice.trainings)} trainings, {seconds:.1f} s"
        display.err.print(f"  {choice.what}: {choice.name}, chosen by validation, {took}")


def of_quantities(target: Target, scores: Sequence[QuantityScores]) -> dict[str, str]:
    """The scores of each of several quantities on the test set, in words; none of the steps of a
    forecast, which the report of evaluate has.
    """
    if target.season:
        return {}
    lines = {
        f"test {one_line(one.name)}": ", ".join(
            f"{display.label(name)} {display.number(name, one.metrics[name])}" for name in ("r2", "rmse")
        )
        for one in scores[:MOST_TARGETS]
    }
    more = len(scores) - MOST_TARGETS
    return lines | ({"other targets": f"{more}, in the report of evaluate"} if more > 0 else {})


def _conclude(trained: Trained, data: Dataset, folder: Path, example: _Example, json: bool) -> None:
    from chainrule.explain import Explanation, gradient_line, telling_weight, update_line
    from chainrule.runs import logged
    from chainrule.runs.loader import read_manifest
    from chainrule.training.metrics import name_of

    report = trained.report() if data.test is not None else None
    metrics, of_each = (report.metrics, report.quantities) if report else ({}, ())
    progress, logs = trained.progress, read_manifest(folder).get("logs", [])
    if json:
        display.print_json({
            "run": str(folder), "reason": trained.reason, "threshold": trained.threshold,
            "epochs": progress.epoch, "steps": progress.position.step,
            "test": metrics, **({"test_targets": [one.as_json() for one in of_each]} if of_each else {}),
            "logs": logs, "history": list(trained.history),
            **({"samples": [sample._asdict() for sample in progress.samples]} if progress.samples else {}),
        })  # fmt: skip
        return
    target = trained.target
    watched = display.label(f"validation_{trained.plan.monitor}", target)
    reasons = {
        "complete": "completed all epochs",
        "early": f"stopped early: the {watched} no longer improved",
        "stopped": "stopped by a callback",
    }
    reason = reasons.get(trained.reason, trained.reason)
    if progress.best and trained.plan.patience is not None:
        reason += f"; restored the weights of epoch {progress.best.epoch}"
    display.err.print(reason)
    best = {
        "classification": ("accuracy",), "ordinal": ("accuracy", "rank_mae"), "multilabel": ("accuracy", "f1"),
        "regression": ("r2", "rmse"),
    }  # fmt: skip
    own = [*map(name_of, trained.plan.metrics), trained.plan.monitor]
    covered = [name for name in metrics if name.startswith("coverage")]
    default = ("mae", "naive_mae", "skill") if target.season else best[data.task]
    shown = [name for name in dict.fromkeys((*default, *own, *covered)) if name in metrics and name != "loss"]
    lines = {f"test {display.label(name, target)}": display.number(name, metrics[name]) for name in shown}
    lines |= of_quantities(target, of_each)
    if trained.decision:
        lines["threshold"] = one_line(trained.decision)
    if example.record is not None:
        weight = telling_weight(example.record, trained.plan.network.parameters)
        problem = trained.plan.problem(len(data.training.x))
        explanation = Explanation(problem, example.record, data.training, weight)
        lines[f"gradient, step {explanation.step}"] = gradient_line(explanation)
        lines[f"update, step {explanation.step}"] = update_line(explanation)
    if trained.plan.selection is not None:
        lines[trained.plan.selection.what] = trained.plan.selection.brief
    lines["run"] = str(folder)
    if metrics:
        lines["to evaluate it"] = f"chainrule evaluate {shlex.quote(str(folder))}"
    if target.season:
        lines["to forecast"] = f"chainrule predict {shlex.quote(str(folder))} {shlex.quote(data.name)}"
    if target.tokens:
        lines["to let it write"] = f'chainrule generate {shlex.quote(str(folder))} --prompt "..."'
    if example.record is not None:
        lines["to explain it"] = f'chainrule explain {shlex.quote(str(folder))} "{weight}" --step {explanation.step}'
    lines |= {f"to open {recipe['kind']}": logged.opened_by(recipe, folder) for recipe in logs}
    width = max(map(len, lines))
    for name, value in lines.items():
        display.out.print(display.bold(f"{name:<{width}}") + f"  {value}")
