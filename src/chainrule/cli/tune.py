"""The command tune."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chainrule.cli import display
from chainrule.cli.logs import make_logs
from chainrule.cli.options import AsJson, as_option, words_given
from chainrule.cli.settings import Reading, Recording, Training, with_settings
from chainrule.cli.train import introduce_data, of_quantities
from chainrule.errors import at_least

if TYPE_CHECKING:
    from chainrule.tuning import Trial, Tuned


@with_settings
def tune(
    context: typer.Context,
    data: Annotated[
        str,
        typer.Argument(metavar="DATA", show_default=False, help="What 'chainrule train' takes."),
    ],
    *,
    reading: Reading,
    training: Training,
    recording: Recording,
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
    json: AsJson = False,
) -> None:
    """Search for the network, the optimizer and the batch size with the lowest validation loss, or
    the best value of the metric to --monitor.

    Then train with the best settings, and record that as a run. A trial that is worse than others
    were at the same epoch ends early. The study is kept: the same command continues it after
    Ctrl-C, or with more trials, and in several terminals at once it shares the trials among them.

    Examples:

      chainrule tune houses.csv --target price --trials 50

      chainrule tune digits --trials 200 --storage postgresql://host/studies
    """
    from chainrule.data import load
    from chainrule.runs import for_loss
    from chainrule.runs.folder import check_file
    from chainrule.tuning import tune as search

    place = storage or str(Path("runs", f"{Path(data).stem or 'data'}-tuning.jsonl"))
    folder = Path(place).parent
    is_new_folder = storage is None and not folder.exists()
    if "://" not in place:
        check_file(folder if is_new_folder else Path(place), "choose another file (--storage)")
    at_least(f"--trials {trials}: tuning takes at least 1", trials, 1)
    recording.check()
    chosen = training.arguments()
    dataset = load(data, **reading.arguments(), seed=training.seed, **for_loss(chosen["loss"]))
    training.check(dataset)
    if is_new_folder:  # nothing is written before the data is known to be good
        folder.mkdir(exist_ok=True)
    if not json:
        introduce_data(dataset)
    say = functools.partial(_say, monitor=display.label(training.monitor.removeprefix("validation_"), dataset.target))
    callback = None if json else say
    tuned = search(dataset, trials, storage=place, callback=callback, threads=training.threads, **chosen)
    recorder = recording.recorder(data)
    trained = tuned.train([recorder, *make_logs(recording.log, recorder)])
    report = trained.report() if tuned.data.test is not None else None
    metrics, of_each = (report.metrics, report.quantities) if report else ({}, ())
    if json:
        best = tuned.best
        display.print_json({
            "run": str(recorder.folder), "trials": len(tuned.trials), "best": best.number,
            "monitor": tuned.monitor, "value": best.value,
            "settings": best.settings, "test": metrics,
            **({"test_targets": [one.as_json() for one in of_each]} if of_each else {}),
        })  # fmt: skip
        return
    again = "chainrule train " + words_given(context, "trials", "storage", "output", "limit", "log", "json")
    scores = {f"test {display.label(n, tuned.data.target)}": display.number(n, value) for n, value in metrics.items()}
    _conclude(tuned, scores | of_quantities(tuned.data.target, of_each), recorder.folder, place, again)


def _say(trial: Trial, monitor: str) -> None:
    from chainrule.tuning import in_words

    words = {"pruned": "ended early", "failed": "a quantity was not finite"}
    result = words.get(trial.state) or f"validation {monitor} {trial.value:.4g}"
    display.err.print(f"trial {trial.number}: {in_words(trial.settings)}: {result}")


def _conclude(tuned: Tuned, scores: dict[str, str], folder: Path, storage: str, again: str) -> None:
    from chainrule.tuning import in_words

    best = tuned.best
    counts = {state: sum(trial.state == state for trial in tuned.trials) for state in ("complete", "pruned", "failed")}
    lines = {
        "trials": ", ".join(f"{count} {state}" for state, count in counts.items() if count) + f", in {storage}",
        "best": f"trial {best.number}: {in_words(best.settings)}",
        f"validation {display.label(tuned.monitor, tuned.data.target)}": f"{best.value:.4g}",
    }
    lines |= scores
    lines |= {"run": str(folder)}
    lines["to train it again"] = " ".join([again, *(as_option(*setting) for setting in best.settings.items())])
    width = max(map(len, lines))
    for name, value in lines.items():
        display.out.print(display.bold(f"{name:<{width}}") + f"  {value}")
