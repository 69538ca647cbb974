"""The command train."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chainrule.cli import display, options
from chainrule.cli.logs import check_logs, make_logs
from chainrule.cli.options import (
    AsJson,
    ClassWeights,
    Drop,
    EngineName,
    LossName,
    Metrics,
    Order,
    Read,
    Seed,
    Shuffle,
    Size,
    Split,
    Target,
    Task,
    Test,
    Threads,
    Validation,
    image_size,
    in_order,
    leave_out,
    metric_names,
    read_as,
    share_or_file,
)
from chainrule.errors import NonFiniteError, SettingError, require
from chainrule.summary import one_line

if TYPE_CHECKING:
    from chainrule.data import Dataset
    from chainrule.runs import Trained
    from chainrule.training import Event, Plan


def train(
    context: typer.Context,
    data: Annotated[
        str | None,
        typer.Argument(
            metavar="DATA",
            show_default=False,
            help="A built-in data set ('chainrule data' lists them); a CSV, TSV, Parquet, Arrow, Excel or NPZ file, "
            "or several by a pattern ('sales-*.csv.gz'); or a folder of images with a subfolder for each class.",
        ),
    ] = None,
    target: Target = None,
    network: Annotated[
        str | None,
        typer.Option(
            help="The hidden layers, such as '64 relu, dropout 0.2, 32 relu'; '-> ...' sets the output layer."
        ),
    ] = None,
    loss: LossName = None,
    interval: Annotated[
        float | None,
        typer.Option(
            help="Learn intervals that hold this share of the targets: --loss 'quantiles 0.05 0.5 0.95' for 0.9."
        ),
    ] = None,
    class_weight: ClassWeights = None,
    optimizer: Annotated[
        str | None, typer.Option(help="The optimizer, such as 'adam 0.001' or 'sgd 0.1 schedule=cosine clip=1'.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="The maximum number of epochs; by default 100.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Samples in each mini-batch; by default 32.")] = None,
    seed: Seed = 0,
    validation: Validation = "0.1",
    test: Test = "0.2",
    split: Split = None,
    shuffle: Shuffle = True,
    patience: Annotated[
        str,
        typer.Option(help="Epochs to wait for a better validation loss before stopping: a number, 'none' or 'auto'."),
    ] = "auto",
    monitor: Annotated[
        str, typer.Option(help="What must get better instead of the validation loss: any metric, such as roc_auc.")
    ] = "loss",
    min_delta: Annotated[float, typer.Option(help="By how much it must get better.")] = 0.0,
    threshold: Annotated[
        str | None,
        typer.Option(
            help="Of two classes, the probability from which the second is predicted: a number, or the metric by "
            "which it is chosen on the validation set, such as f1."
        ),
    ] = None,
    augment: Annotated[
        str | None,
        typer.Option(
            help="How pictures are changed at random in each mini-batch, such as 'shift 2, rotate 10', or 'none' "
            "('chainrule names augmentations')."
        ),
    ] = None,
    metrics: Metrics = None,
    penalty: Annotated[
        str | None, typer.Option(help="A penalty on the weights: 'l2 0.001', 'l1 0.001' or 'elastic 0.001 0.001'.")
    ] = None,
    task: Task = None,
    order: Order = None,
    drop: Drop = None,
    read: Read = None,
    size: Size = None,
    output: Annotated[
        Path | None, typer.Option(help="The folder to write the run to; by default runs/NAME-1, -2 and so on.")
    ] = None,
    limit: Annotated[
        float | None, typer.Option(help="Megabytes for the checkpoints that steps are replayed from; by default 200.")
    ] = None,
    engine: EngineName = None,
    log: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WHERE",
            help="Log to 'tensorboard' (in the run's folder, or 'tensorboard:FOLDER') or 'mlflow' (or "
            "'mlflow:EXPERIMENT'); can be repeated.",
        ),
    ] = None,
    threads: Threads = None,
    resume: Annotated[Path | None, typer.Option(metavar="RUN", help="Resume this run where it ended.")] = None,
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

      chainrule train breast-cancer --monitor roc_auc --patience 10 --threshold f1

      chainrule train --resume runs/digits-1 --epochs 200
    """
    if resume is not None:
        leave_out(
            context,
            "--resume continues the run with its own data and settings",
            *("resume", "epochs", "threads", "json", "log"),
        )
        _resume(resume, epochs, threads, json, log)
        return
    if data is None:
        raise SettingError("train: no data; pass a built-in data set such as digits, or a file (see 'chainrule data')")
    from chainrule.data import load
    from chainrule.data.formats import name_for_run
    from chainrule.engine.threads import most_threads
    from chainrule.runs import Recorder, follow, for_loss
    from chainrule.runs.folder import check_free
    from chainrule.runs.recorder import LIMIT
    from chainrule.runs.trained import ends
    from chainrule.training import plan_for, start

    if interval is not None:
        require(loss is None, "--interval chooses the loss; leave --loss or --interval out")
        loss = "quantiles {:.12g} 0.5 {:.12g}".format(*ends(interval))
    if limit is not None:
        require(0 < limit < 1e9, f"--limit {limit:g}: pass a number of megabytes greater than 0")
    most_threads(threads)
    if output is not None:
        check_free(output)
    check_logs(log)
    dataset = load(
        data, target=target or None, drop=drop or [], task=task, image_size=image_size(size),
        validation=share_or_file(validation, "validation"), test=share_or_file(test, "test"), split=split,
        shuffle=shuffle, seed=seed, read=read_as(read), order=in_order(order), **for_loss(loss),
    )  # fmt: skip
    plan = plan_for(
        network, dataset, loss=loss, class_weight=class_weight, optimizer=optimizer, epochs=epochs,
        batch_size=batch_size, seed=seed, penalties=_penalties(penalty), patience=_patience(patience), engine=engine,
        monitor=monitor, min_delta=min_delta, threshold=options.threshold(threshold), augment=augment,
        metrics=metric_names(metrics), threads=threads,
    )  # fmt: skip
    folder = output or Path("runs", name_for_run(data))
    size_limit = LIMIT if limit is None else round(limit * 1e6)
    recorder, example = Recorder(folder, numbered=output is None, limit=size_limit), _Example()
    if not json:
        _introduce(plan, dataset)
    with _progress(json) as listeners:
        listeners = [recorder, *make_logs(log, recorder), example, *listeners]
        trained = follow(plan, dataset, start(plan), listeners, threads)
    _conclude(trained, dataset, recorder.folder, example, json)


def _resume(folder: Path, epochs: int | None, threads: int | None, json: bool, log: list[str] | None) -> None:
    from chainrule.runs import Run
    from chainrule.training import Started

    run = Run.open(folder)
    dataset, example = run.load_data(), _Example()

    def introduce(event: Event) -> None:  # only once the run is locked for this process
        if isinstance(event, Started) and not json:
            _introduce(event.plan, dataset)

    with _progress(json) as listeners:
        listeners = [introduce, *make_logs(log, folder), example, *listeners]
        trained = run.resume(dataset, epochs, listeners, threads, progress=False)
    _conclude(trained, dataset, folder, example, json)


def _patience(text: str) -> int | str | None:
    if text in ("auto", "none"):
        return None if text == "none" else text
    try:
        return int(text)
    except ValueError:
        raise SettingError(f"--patience {text!r}: pass a number of epochs, 'none' or 'auto'") from None


def _penalties(text: str | None) -> list[Any]:
    from chainrule.losses import penalty

    try:
        return [] if text is None else [penalty(text)]
    except SettingError as error:
        raise SettingError(f"--penalty {text!r}: {error}; write 'l2 0.001' or 'elastic 0.001 0.001'") from None


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

    progress = ProgressBar(display.err)
    try:
        yield [] if json else [progress]
    except NonFiniteError:
        progress.close()
        display.err.print("training stopped; the run keeps the state before that step")
        raise
    finally:
        progress.close()


def _introduce(plan: Plan, data: Dataset) -> None:

    from chainrule.engine import make_engine

    sizes = [len(samples.x) if samples else 0 for samples in (data.training, data.validation, data.test)]
    is_picture = len(data.input_shape) > 1
    sizes_of = (data.input_shape[1], data.input_shape[0], *data.input_shape[2:]) if is_picture else data.input_shape
    shape = " x ".join(str(n) for n in sizes_of) + (" pixels" if is_picture else " features")
    layers = " > ".join(node.name for node in plan.network.nodes)
    out = display.err
    out.print(
        display.bold(data.name)
        + f": {sum(sizes):,} samples of {shape}; target {data.target.name} ({data.target.about})"
    )
    out.print(f"  {sizes[0]:,} training, {sizes[1]:,} validation, {sizes[2]:,} test samples")
    for note in data.notes:
        out.print(f"  {note}")
    out.print(f"  {layers}: {plan.network.parameters.size:,} weights; loss {type(plan.loss).__name__}")
    for note in make_engine(plan.engine, plan.problem(sizes[0])).notes:
        out.print(f"  {note}")


def _conclude(trained: Trained, data: Dataset, folder: Path, example: _Example, json: bool) -> None:
    from chainrule.explain import Explanation, gradient_line, telling_weight, update_line
    from chainrule.training.metrics import name_of

    metrics = trained.evaluate() if data.test is not None else {}
    progress = trained.progress
    if json:
        display.print_json({
            "run": str(folder), "reason": trained.reason, "threshold": trained.threshold,
            "epochs": progress.epoch, "steps": progress.position.step,
            "test": metrics, "history": list(trained.history),
        })  # fmt: skip
        return
    watched = display.label(f"validation_{trained.plan.monitor}")
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
    shown = [name for name in dict.fromkeys((*best[data.task], *own, *covered)) if name in metrics and name != "loss"]
    lines = {f"test {display.label(name)}": display.number(name, metrics[name]) for name in shown}
    if trained.decision:
        lines["threshold"] = one_line(trained.decision)
    if example.record is not None:
        weight = telling_weight(example.record, trained.plan.network.parameters)
        problem = trained.plan.problem(len(data.training.x))
        explanation = Explanation(problem, example.record, data.training, weight)
        lines[f"gradient, step {explanation.step}"] = gradient_line(explanation)
        lines[f"update, step {explanation.step}"] = update_line(explanation)
    lines["run"] = str(folder)
    if metrics:
        lines["to evaluate it"] = f"chainrule evaluate {shlex.quote(str(folder))}"
    if example.record is not None:
        lines["to explain it"] = f'chainrule explain {shlex.quote(str(folder))} "{weight}" --step {explanation.step}'
    width = max(map(len, lines))
    for name, value in lines.items():
        display.out.print(display.bold(f"{name:<{width}}") + f"  {value}")
