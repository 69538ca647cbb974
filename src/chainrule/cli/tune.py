"""The command tune."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chainrule.cli import display
from chainrule.cli.options import (
    AsJson,
    ClassWeights,
    Drop,
    EngineName,
    LossName,
    Read,
    Seed,
    Size,
    Target,
    Task,
    Test,
    Validation,
    image_size,
    read_as,
    share_or_file,
)

if TYPE_CHECKING:
    from chainrule.tuning import Trial, Tuned


def tune(
    data: Annotated[
        str,
        typer.Argument(metavar="DATA", show_default=False, help="What 'chainrule train' takes."),
    ],
    target: Target = None,
    trials: Annotated[
        int, typer.Option(help="The number of trials in the study, with those that it has already.")
    ] = 50,
    storage: Annotated[
        str | None,
        typer.Option(
            help="The file of the study, or the address of a database, which several processes may share; by default "
            "runs/NAME-tuning.jsonl.",
            show_default=False,
        ),
    ] = None,
    loss: LossName = None,
    class_weight: ClassWeights = None,
    epochs: Annotated[int, typer.Option(help="The maximum number of epochs of a trial.")] = 100,
    seed: Seed = 0,
    validation: Validation = "0.1",
    test: Test = "0.2",
    task: Task = None,
    drop: Drop = None,
    read: Read = None,
    size: Size = None,
    engine: EngineName = None,
    json: AsJson = False,
) -> None:
    """Search for the network, the optimizer and the batch size with the lowest validation loss.

    Then train with the best settings, and record that as a run. A trial that is worse than others
    were at the same epoch ends early. The study is kept: the same command continues it after
    Ctrl-C, or with more trials, and in several terminals at once it shares the trials among them.

    Examples:

      chainrule tune houses.csv --target price --trials 50

      chainrule tune digits --trials 200 --storage postgresql://host/studies
    """
    from chainrule.runs import Recorder
    from chainrule.runs.folder import check_file
    from chainrule.tuning import tune as search

    place = storage or str(Path("runs", f"{Path(data).stem or 'data'}-tuning.jsonl"))
    if "://" not in place:
        if storage is None:
            Path(place).parent.mkdir(exist_ok=True)
        check_file(Path(place), "choose another file (--storage)")
    tuned = search(
        data, trials, storage=place, epochs=epochs, seed=seed, loss=loss, class_weight=class_weight, engine=engine,
        callback=None if json else _say, target=target or None, drop=drop or [], task=task,
        image_size=image_size(size), validation=share_or_file(validation, "validation"),
        test=share_or_file(test, "test"), read=read_as(read),
    )  # fmt: skip
    recorder = Recorder(Path("runs", Path(data).stem or "run"), numbered=True)
    trained = tuned.train([recorder])
    metrics = trained.evaluate() if tuned.data.test is not None else {}
    if json:
        best = tuned.best
        display.print_json({
            "run": str(recorder.folder), "trials": len(tuned.trials), "best": best.number, "loss": best.loss,
            "settings": best.settings, "test": metrics,
        })  # fmt: skip
        return
    _conclude(tuned, metrics, recorder.folder, place)


def _say(trial: Trial) -> None:
    words = {"pruned": "ended early", "failed": "a quantity was not finite"}
    result = words.get(trial.state) or f"validation loss {trial.loss:.4g}"
    display.err.print(f"trial {trial.number}: {_in_words(trial.settings)}: {result}")


def _in_words(settings: dict[str, Any]) -> str:
    if not settings:
        return "the defaults"
    return f"{settings['network']}; {settings['optimizer']}; batch size {settings['batch_size']}"


def _conclude(tuned: Tuned, metrics: dict[str, float], folder: Path, storage: str) -> None:
    best = tuned.best
    counts = {state: sum(trial.state == state for trial in tuned.trials) for state in ("complete", "pruned", "failed")}
    lines = {
        "trials": ", ".join(f"{count} {state}" for state, count in counts.items() if count) + f", in {storage}",
        "best": f"trial {best.number}: {_in_words(best.settings)}",
        "validation loss": f"{best.loss:.4g}",
    }
    lines |= {
        f"test {display.label(name, tuned.data.target)}": display.number(name, value) for name, value in metrics.items()
    }
    lines |= {"run": str(folder)}
    if best.settings:
        options = " ".join(f"--{name.replace('_', '-')} {shlex.quote(str(v))}" for name, v in best.settings.items())
        lines["as options of train"] = options
    width = max(map(len, lines))
    for name, value in lines.items():
        display.out.print(display.bold(f"{name:<{width}}") + f"  {value}")
