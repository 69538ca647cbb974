"""The sections on how good the predictions are: metrics, the confusion of classes, residuals,
forecasts, and what a language model writes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from chainrule.arrays import Array
from chainrule.reports.charts import Plot, drawn, histogram, linear, lines
from chainrule.reports.section import Section, cut, number, paragraph, side_by_side, text
from chainrule.reports.subject import Subject
from chainrule.training.report_html import html as report_html

MOST_QUANTITIES = 4
"""The most quantities whose residuals are drawn."""
FORECASTS = 3
"""The forecasts that are drawn, from the start, the middle and the end of the held-out times."""
MOST_BEFORE = 120
"""The steps before a forecast that are drawn."""
SIDE = 370
"""The width of the charts of residuals: three are as wide as the page."""
WRITTEN = 400
"""The tokens that a language model writes."""


def quality(subject: Subject) -> Section | None:
    """The metrics and, of classes and labels, the scores of each, the confusion matrix and
    calibration.
    """
    if subject.data is None:
        return None
    report = subject.quality
    what = {
        "test": "the test set, which took no part in the training",
        "validation": "the validation set, as there is no test set: training was watched on it, so new samples may be"
        " predicted worse",
        "training": "the training set itself, as no samples were held out: new samples will be predicted worse",
    }[subject.part]
    about = f"How good the predictions are, measured on {what}."
    if report.confusion is not None and not report.labels:
        about += " In the confusion matrix, blue cells count what is right, and orange ones what is confused with what."
    data = {"part": subject.part, **report.as_json()}
    # The many steps of a forecast are a chart, in the section on forecasts.
    shown = replace(report, quantities=()) if report.target.season else report
    return Section("quality", "How good it is", about, report_html(shown), data)


def residuals(subject: Subject) -> Section | None:
    """Of quantities: what was predicted over what was true, and the residuals."""
    target = subject.trained.target
    if subject.data is None or target.task != "regression" or target.positions or target.season:
        return None
    count = len(subject.samples.x)
    truth = np.asarray(subject.predicted.targets, dtype=float).reshape(count, -1)
    guess = np.asarray(subject.predicted.predictions, dtype=float).reshape(count, -1)
    html, data = "", []
    for k, name in enumerate(target.names[:MOST_QUANTITIES]):
        errors = truth[:, k] - guess[:, k]
        html += f"<h3>{text(cut(name))}</h3>" + side_by_side(
            _scatter(name, truth[:, k], guess[:, k]),
            _spread(name, guess[:, k], errors),
            histogram(f"Residuals of {name}", errors, "residual", width=SIDE, height=280),
        )  # fmt: skip
        q = np.quantile(errors, [0.05, 0.25, 0.5, 0.75, 0.95]).tolist()
        lowest, low, _, high, highest = map(number, q)
        html += paragraph(
            f"Half of the residuals lie between {low} and {high}, nine of ten between {lowest} and {highest}; their"
            f" mean is {number(float(errors.mean()))}."
        )
        data.append({"name": name, "mean": float(errors.mean()), "deviation": float(errors.std()),
                     "quantiles": dict(zip(("0.05", "0.25", "0.5", "0.75", "0.95"), q, strict=True))})  # fmt: skip
    if len(target.names) > MOST_QUANTITIES:
        html += paragraph(f"and {len(target.names) - MOST_QUANTITIES} more quantities, which are not drawn")
    about = (
        "A residual is the true value less the predicted one. Points on the dashed line are predicted exactly;"
        " residuals that bend or spread over the predicted value show where the network is wrong systematically, or is"
        " less sure."
    )
    return Section("residuals", "Residuals", about, html, {"part": subject.part, "quantities": data})


def _scatter(name: str, truth: Array, guess: Array) -> str:
    both = linear(np.concatenate([truth, guess]), f"true {cut(name)}")
    plot = Plot(both, linear(np.concatenate([truth, guess]), f"predicted {cut(name)}"), SIDE, 280)
    ends = np.array([both.low, both.high])
    return drawn(f"Predicted over true {name}", plot, [plot.line(ends, ends, 1), plot.dots(truth, guess)])


def _spread(name: str, guess: Array, errors: Array) -> str:
    plot = Plot(linear(guess, f"predicted {cut(name)}"), linear(errors, "residual"), SIDE, 280)
    ends = np.array([plot.x.low, plot.x.high])
    return drawn(f"Residuals over the predicted {name}", plot, [plot.line(ends, 0 * ends, 1), plot.dots(guess, errors)])


def forecasts(subject: Subject) -> Section | None:
    """Of time series: some forecasts beside what happened, and the error by steps ahead."""
    if subject.data is None or not subject.trained.target.season:
        return None
    found = subject.predicted
    count = len(found.targets)
    chosen = sorted({0, count // 2, count - 1})[:FORECASTS]
    levels: Sequence[float] = getattr(subject.trained.plan.loss, "levels", ())
    bounds = None
    if len(levels) > 1:
        bounds = subject.trained.quantiles_of(subject.trained.raw(subject.samples), (levels[0], levels[-1]))
    html = "".join(_forecast(subject, k, None if bounds is None else bounds[k]) for k in chosen)
    errors: Array = np.abs(found.predictions - found.targets).mean(axis=0)
    html += _by_step(subject, errors)
    about = (
        "What was forecast, from the values before alone, beside what then happened. The naive forecast repeats the"
        " last season; a forecast is worth its name if its error is lower."
    )
    if bounds is not None:
        about += f" The shaded band is the interval that is to hold {levels[-1] - levels[0]:.0%} of the values."
    shown = [
        {"number": k + 1, "actual": found.targets[k].tolist(), "forecast": found.predictions[k].tolist()}
        for k in chosen
    ]  # fmt: skip
    return Section("forecasts", "Forecasts", about, html, {"forecasts": shown, "mae_by_step": errors.tolist()})


def _forecast(subject: Subject, k: int, bounds: Array | None) -> str:
    """A forecast beside what happened, after the values before it; with the ends of an interval of
    shape (2, horizon).
    """
    found, source, before = subject.predicted, subject.whole.source, _before(subject, k)
    ahead = np.arange(1, len(found.targets[k]) + 1)
    every = np.concatenate([before, found.targets[k], found.predictions[k], *([] if bounds is None else bounds)])
    across = linear([-len(before) + 1, ahead[-1]], "steps from the forecast's start")
    plot = Plot(across, linear(every, subject.trained.target.name), 860, 260)
    past = np.arange(-len(before) + 1, 1)
    parts = [] if bounds is None else [plot.band(ahead, bounds[0], bounds[1], 1)]
    parts.append(plot.line(np.concatenate([past, ahead]), np.concatenate([before, found.targets[k]]), 0))
    parts.append(plot.line(ahead, found.predictions[k], 1))
    start = ""
    if source is not None and source.series is not None and subject.rows is not None:
        start = f", from {source.time_after(int(subject.rows[k]), 1)}"
    title = f"Forecast {k + 1:,} of {len(found.targets):,}{start}"
    return paragraph(f"{title}:") + drawn(title, plot, parts, {"what happened": 0, "forecast": 1})


def _by_step(subject: Subject, errors: Array) -> str:
    """The error over how many steps ahead, with that of the naive forecast."""
    steps: Array = np.arange(1, len(errors) + 1)
    curves: dict[str, tuple[Array, Array]] = {"mean absolute error": (steps, errors)}
    naive = [one.metrics.get("naive_mae", math.nan) for one in subject.quality.quantities]
    if naive and all(map(math.isfinite, naive)):
        curves["of the naive forecast"] = (steps, np.array(naive))
    every = np.concatenate([values for _, values in curves.values()])
    return lines("The error by steps ahead", linear(steps, "steps ahead"), linear([0, *every], "error"), curves)


def _before(subject: Subject, k: int) -> Array:
    """The values of the target in the window before a forecast, in its own unit, if known."""
    data, rows = subject.data, subject.rows
    if data is None or data.source is None or rows is None or data.source.series is None or data.source.target is None:
        return np.array([])
    row = int(rows[k])
    first = row - min(data.source.series.length, MOST_BEFORE) + 1
    return np.asarray(data.source.target[first : row + 1], dtype=float)


def language(subject: Subject) -> Section | None:
    """Of language models: the bits per character, and what it writes."""
    trained = subject.trained
    if not trained.target.tokens:
        return None
    subject.tell("letting the model write")
    samples = [(f"after epoch {one.epoch:,}, it continued", one.prompt, one.text) for one in trained.progress.samples]
    shown = [samples[0], *samples[-1:]] if len(samples) > 1 else samples
    written = trained.generate(length=WRITTEN, seed=0)
    shown.append(("now, from the beginning of a line (temperature 0.8)", "", written))
    html = ""
    if subject.data is not None:
        bits = subject.quality.metrics.get("bits_per_character")
        if bits is not None:
            html += paragraph(
                f"{bits:.4g} bits per character on the {subject.part} set: as if each character were one of"
                f" {2**bits:.3g} that are equally likely."
            )
    for when, prompt, words in shown:
        html += f"{paragraph(f'{when}:')}<pre><b>{_lines(prompt)}</b>{_lines(words.removeprefix(prompt))}</pre>"
    about = "What the language model writes: each token is drawn from what it predicts to come after those before it."
    data = {"samples": [{"when": when, "prompt": prompt, "text": words} for when, prompt, words in shown]}
    return Section("language", "What it writes", about, html, data)


def _lines(words: str) -> str:
    return "\n".join(text(line) for line in words.split("\n"))
