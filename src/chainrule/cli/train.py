"""chainrule train"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chainrule.cli import display
from chainrule.cli.options import AsJson, image_size, share_or_file
from chainrule.errors import NonFiniteError, RunError, SettingError

if TYPE_CHECKING:
    from chainrule.data import Dataset
    from chainrule.training import Event, Plan, Trained


def train(
    data: Annotated[
        str | None,
        typer.Argument(
            metavar="DATA",
            show_default=False,
            help="A built-in data set ('chainrule data' lists them), a CSV, TSV, Parquet or NPZ file, or a folder of "
            "pictures with a folder for each class.",
        ),
    ] = None,
    target: Annotated[str | None, typer.Option(help="The column to predict; by default the last.")] = None,
    network: Annotated[
        str | None,
        typer.Option(
            help=(
                "The hidden layers, such as '64 relu, dropout 0.2, 32 relu'; what stands after '->' is the output"
                " layer."
            )
        ),
    ] = None,
    loss: Annotated[
        str | None, typer.Option(help="What is minimised, such as 'huber 0.5'; by default it follows from the target.")
    ] = None,
    class_weight: Annotated[
        str | None,
        typer.Option(
            help="How much each class counts in the loss: 'balanced', or by label, such as 'setosa=2, virginica=0.5'."
        ),
    ] = None,
    optimizer: Annotated[
        str | None, typer.Option(help="How, such as 'adam 0.001' or 'sgd 0.1 schedule=cosine clip=1'.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="How often all samples are seen, at most; by default 100.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="How many samples a step looks at; by default 32.")] = None,
    seed: Annotated[int, typer.Option(help="Of everything that is drawn by chance.")] = 0,
    validation: Annotated[str, typer.Option(help="The share of the rows to validate on, or a file of them.")] = "0.1",
    test: Annotated[float, typer.Option(help="The share of the rows that only the end result is tested on.")] = 0.2,
    patience: Annotated[
        str, typer.Option(help="End after so many epochs without a better validation loss: a number, 'none' or 'auto'.")
    ] = "auto",
    penalty: Annotated[
        str | None, typer.Option(help="What large weights cost: 'l2 0.001', 'l1 0.001' or 'elastic 0.001 0.001'.")
    ] = None,
    task: Annotated[
        str | None, typer.Option(help="'classification' or 'regression', where the target leaves it open.")
    ] = None,
    drop: Annotated[list[str] | None, typer.Option(help="A column to leave out; may be given several times.")] = None,
    size: Annotated[
        str | None, typer.Option("--image-size", help="Bring pictures to one size, width x height, such as 28x28.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="The folder to write the run to; by default runs/NAME-1, -2 and so on.")
    ] = None,
    limit: Annotated[
        float | None,
        typer.Option(
            help="Megabytes that the run's folder may take, of which its steps are had again; by default 200."
        ),
    ] = None,
    engine: Annotated[
        str | None, typer.Option(help="What takes the steps: 'native' (compiled) or 'numpy'; by default the faster.")
    ] = None,
    resume: Annotated[Path | None, typer.Option(metavar="RUN", help="Go on with this run where it ended.")] = None,
    json: AsJson = False,
) -> None:
    """Train a network on data, and keep the run.

    Everything that is not said follows from the data: the task, the loss, the network and the optimizer. Ctrl-C ends
    training and keeps what was learned.

    Examples:

      chainrule train digits

      chainrule train houses.csv --target price --network "64 relu, dropout 0.2, 32 relu"

      chainrule train iris --optimizer "sgd 0.1 schedule=cosine" --epochs 50 --seed 1

      chainrule train --resume runs/digits-1 --epochs 200
    """
    if resume is not None:
        if data is not None or output is not None or limit is not None:
            raise SettingError(
                "--resume goes on with a run's own data in its own folder; leave DATA, --output and --limit out"
            )
        _resume(resume, epochs, json)
        return
    if data is None:
        raise SettingError(
            "train: what on? Give a built-in data set such as digits ('chainrule data' lists them), or a file"
        )
    from chainrule.data import load
    from chainrule.runs import Recorder
    from chainrule.runs.folder import check_free
    from chainrule.runs.recorder import LIMIT
    from chainrule.training import follow, for_loss, make_plan, start

    if limit is not None and not 0 < limit < 1e9:
        raise SettingError(f"--limit {limit:g}: it is a number of megabytes above 0")
    if output is not None:
        check_free(output)
    dataset = load(
        data,
        target=target,
        drop=drop or [],
        task=task,
        image_size=image_size(size),
        validation=share_or_file(validation, "validation"),
        test=test,
        seed=seed,
        **for_loss(loss),
    )
    made = make_plan(
        network, dataset, loss=loss, class_weight=class_weight, optimizer=optimizer, epochs=epochs,
        batch_size=batch_size, seed=seed, penalties=_penalties(penalty), patience=_patience(patience), engine=engine,
    )  # fmt: skip
    recorder = Recorder(
        output or Path("runs", Path(data).stem or "run"),
        numbered=output is None,
        limit=LIMIT if limit is None else round(limit * 1e6),
    )
    example = _Example()
    _introduce(made, dataset, json)
    with _Shown(json) as shown:
        trained = follow(made, dataset, start(made), [recorder, example, shown])
    _conclude(trained, dataset, recorder.folder, example, json)


def _resume(folder: Path, epochs: int | None, json: bool) -> None:
    from chainrule.runs import Run
    from chainrule.training import Started

    run = Run.open(folder)
    dataset, example = run.load_data(), _Example()
    if (epochs or run.trained.plan.epochs) <= run.trained.progress.epoch:
        raise RunError(f"{folder}: it has {run.trained.progress.epoch} epochs already; ask for more with --epochs")

    def introduce(event: Event) -> None:  # not before the run is ours
        if isinstance(event, Started):
            _introduce(event.plan, dataset, json)

    with _Shown(json) as shown:
        trained = run.resume(dataset, epochs, [introduce, example, shown])
    _conclude(trained, dataset, folder, example, json)


def _patience(text: str) -> int | str | None:
    if text in ("auto", "none"):
        return None if text == "none" else text
    try:
        return int(text)
    except ValueError:
        raise SettingError(f"--patience {text!r}: it is a number of epochs, 'none' or 'auto'") from None


def _penalties(text: str | None) -> list[Any]:
    from chainrule.losses import penalty

    try:
        return [] if text is None else [penalty(text)]
    except SettingError as error:
        raise SettingError(f"--penalty {text!r}: {error}; write 'l2 0.001' or 'elastic 0.001 0.001'") from None


class _Example:
    """A listener that remembers the step to show at the end: the last of the first epoch, where every weight still
    moves.
    """

    def __init__(self) -> None:
        self.record: Any = None
        self._looking = True

    def __call__(self, event: Event) -> None:
        from chainrule.training import EpochEnded, Stepped

        if self._looking and isinstance(event, Stepped):
            for record in event.chunk.steps():
                self.record = record if record.update.any() else self.record
        elif isinstance(event, EpochEnded):
            self._looking = self.record is None


class _Shown:
    """Progress on the screen while training, unless the result is for a script; the terminal is left whole whatever
    happens.
    """

    def __init__(self, json: bool) -> None:
        self._progress = None if json else display.TrainingProgress()

    def __enter__(self) -> Any:
        return self._progress or (lambda _: None)

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if self._progress is not None:
            self._progress.stop()
        if isinstance(error, NonFiniteError):
            display.err.print("training stopped; the run keeps the state before that step")


def _introduce(plan: Plan, data: Dataset, json: bool) -> None:
    from chainrule.engine import make_engine

    if json:
        return
    rows = [len(data.training.x), *(len(p.x) if p else 0 for p in (data.validation, data.test))]
    sample = " x ".join(str(n) for n in data.input_shape) + (" pixels" if len(data.input_shape) > 1 else " features")
    what = f"{data.target.width} classes" if data.task == "classification" else "a quantity"
    layers = [node.name for node in plan.network.nodes]
    display.err.print(
        f"[bold]{data.name}[/]: {sum(rows):,} samples of {sample}; predicts {data.target.name} ({what})", markup=True
    )
    display.err.print(f"  {rows[0]:,} to train on, {rows[1]:,} to validate, {rows[2]:,} to test")
    display.err.print(
        f"  {' > '.join(layers)}: {plan.network.parameters.size:,} weights; loss {type(plan.loss).__name__}"
    )
    for note in make_engine(plan.engine, plan.problem(rows[0])).notes:
        display.err.print(f"  {note}")


def _conclude(trained: Trained, data: Dataset, folder: Path, example: _Example, json: bool) -> None:
    from chainrule.explain import Explanation, gradient_line, most_moved, update_line

    tested = trained.evaluate() if data.test is not None else {}
    if json:
        display.print_json({
            "run": str(folder),
            "reason": trained.reason,
            "epochs": trained.progress.epoch,
            "steps": trained.progress.position.step,
            "test": tested,
            "history": list(trained.history),
        })  # fmt: skip
        return
    best = trained.progress.best
    given_back = f"; the weights are those of epoch {best.epoch}" if best and trained.plan.patience is not None else ""
    reasons = {
        "complete": "all epochs done",
        "early": "no better validation loss for a while",
        "interrupted": "interrupted",
    }
    display.err.print(f"{reasons.get(trained.reason, trained.reason)}{given_back}")
    lines = {}
    for name in ("accuracy", "r2", "rmse"):
        if name in tested:
            lines[f"test {display.word(name)}"] = display.number(name, tested[name])
    if example.record is not None:
        part, record = data.training, example.record
        weight = most_moved(record, ("W",), trained.plan.network.parameters)
        explanation = Explanation(trained.plan.problem(len(part.x)), record, part, weight)
        lines[f"gradient, step {explanation.step}"] = gradient_line(explanation)
        lines[f"update, step {explanation.step}"] = update_line(explanation)
    lines["run"] = str(folder)
    width = max(map(len, lines))
    for name, value in lines.items():
        display.out.print(f"[bold]{name:<{width}}[/]  {_escaped(value)}", markup=True)


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)
