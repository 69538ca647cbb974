"""What `matrix.py` does with each table, and what must hold of the results."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import re
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import chainrule
from chainrule.cli import run as command
from chainrule.errors import ChainruleError
from chainrule.explain import explain
from chainrule.play.upload import Choice, Upload
from matrix_columns import CLASSES, COLUMNS, FILES, QUANTITY, ROWS, TEXTUAL

SETTINGS = {"network": "2 tanh", "epochs": 1, "batch_size": 8}
OPTIONS = ["--network", "2 tanh", "--epochs", "1", "--batch-size", "8"]
ROLES = ("number", "category", "date", "text", "left out")
"""What a feature can become; anything else is words of the message that refuses it."""


class Finding(Exception):  # noqa: N818
    """A result that is not correct."""


def must(condition: Any, message: str) -> None:
    """Raise Finding with this message unless the condition holds."""
    if not condition:
        raise Finding(message)


# Using the command line and Python


def used(*arguments: str) -> tuple[int, str, str]:
    """The exit code, the output and the errors of a command; a warning is a finding."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("default")
        code = command(list(arguments))
    must(not said, f"warns: {said[0].message if said else ''}")
    return code, out.getvalue(), err.getvalue()


def output(*arguments: str) -> str:
    """What a command prints, which must succeed."""
    code, out, err = used(*arguments)
    must(code == 0, f"refused: {err.strip()}")
    must("Warning" not in err and "Traceback" not in err, f"says: {err}")
    return out


def as_json(text: str) -> Any:
    """A text as JSON, without NaN or infinity."""

    def refused(constant: str) -> None:
        raise Finding(f"the JSON has {constant}")

    return json.loads(text, parse_constant=refused)


def refused(words: str, *arguments: str) -> None:
    """A command must refuse, in one line with these words, and write nothing."""
    before = sorted(Path.cwd().rglob("*"))
    code, out, err = used(*arguments)
    must(code == 2, f"not refused: exit code {code}, {out[:200]!r}")
    one_line(words, err.removesuffix("\n"))
    must(err.startswith("chainrule: ") and not out, f"says {err[:200]!r}, prints {out[:200]!r}")
    must(sorted(Path.cwd().rglob("*")) == before, "refused, but something was written")


def raises(words: str, use: Callable[[], Any]) -> None:
    """A use in Python must raise an error of chainrule, in one line with these words."""
    try:
        result = use()
    except ChainruleError as error:
        one_line(words, str(error))
    else:
        raise Finding(f"not refused: {str(result)[:200]!r}")


def one_line(words: str, text: str) -> None:
    """An error must be one line with these words, or with others after a bar."""
    must("\n" not in text and len(text) < 2000, f"several lines, or a long one: {text[:300]!r}")
    must(any(part in text for part in words.split(" | ")), f"refused, but not as {words!r}: {text[:300]!r}")


# Tables


def written(frame: pl.DataFrame, container: str, name: str = "data") -> Any:
    """The table in a container: the name of a file, or a DataFrame."""
    path = name + FILES.get(container, "")
    if container == "parquet":
        frame.write_parquet(path)
    elif container in FILES:
        separator = {"csv": ",", "semicolons": ";", "tsv": "\t"}[container]
        frame.write_csv(path, separator=separator, datetime_format="%Y-%m-%dT%H:%M:%S")
    elif container == "pandas":
        import pandas as pd

        return pd.DataFrame({column.name: as_pandas(column) for column in frame.iter_columns()})
    else:
        return frame
    return path


def as_pandas(column: pl.Series) -> Any:
    """A column for pandas, in the type that it would have there."""
    import pandas as pd

    values = column.to_list()
    if column.dtype == pl.Categorical:
        return pd.Series(values, dtype="category")
    typed = column.dtype.is_numeric() and not column.dtype.is_decimal() and not column.null_count()
    return (
        pd.Series(column.to_numpy())
        if typed
        else pd.Series(values, dtype=None if column.dtype.is_temporal() else object)
    )


@dataclass
class Trial:
    """A target, a feature and a container, with what was trained on them.

    Attributes:
        target, feature, container: their names
        data: the file's name, or the DataFrame
        expected: the task and the feature's role, or words of the message that refuses it
        run: the folder of the run
        rows: the predictions of every row, by the names of the columns
    """

    target: str
    feature: str
    container: str
    run: str = "run"
    data: Any = None
    rows: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        columns = COLUMNS[self.target], COLUMNS[self.feature]
        self.expected = columns[0].expected(self.container)[0], columns[1].expected(self.container)[1]
        self.names = (
            columns[0].name or "y",
            columns[1].name if self.feature.endswith("index") else columns[1].name or "x",
        )
        if self.names[0] == self.names[1]:
            self.names = f"{self.names[0]} too", self.names[1]

    @property
    def label(self) -> str:
        """Names the trial."""
        return f"{self.container}: {self.feature} > {self.target}"

    @property
    def refusal(self) -> str:
        """Words of the messages that refuse this target and this feature; empty if none does."""
        task, role = self.expected
        problems = [role] * (role not in ROLES) + [task] * (task not in (CLASSES, QUANTITY))
        return " | ".join(problems)

    @property
    def frame(self) -> pl.DataFrame:
        """The table: the feature, a column of numbers, and the target."""
        feature, target = (COLUMNS[kind].values for kind in (self.feature, self.target))
        size = pl.Series("size", np.random.default_rng(2).normal(size=ROWS))
        target = target.reverse() if self.target == self.feature else target
        return pl.DataFrame({self.names[1]: feature, "size": size, self.names[0]: target})

    @property
    def truth(self) -> list[Any]:
        """The values of the target, as they are to be predicted."""
        values = self.frame[self.names[0]]
        if self.expected[0] == QUANTITY and values.dtype == pl.String:
            text = values.str.replace(",", "") if self.target == "thousands" else values.str.replace(",", ".")
            return text.cast(pl.Float64).to_list()
        if self.container in TEXTUAL and self.target == "digits as text":
            return values.cast(pl.Int64).to_list()
        return (values.cast(pl.Float64) if self.expected[0] == QUANTITY else values).to_list()


def check_run(trial: Trial, trained: Any) -> None:
    """The task, the classes and the feature's role must be the expected ones."""
    task, role = trial.expected
    must(trained.target.task == task, f"the task is {trained.target.task}, not {task}")
    must(trained.target.name == trial.names[0], f"the target is {trained.target.name!r}")
    if task == CLASSES:
        classes = sorted(set(trial.truth), key=str)
        found = list(trained.target.classes)
        must(found == classes and [type(a) for a in found] == [type(a) for a in classes], f"the classes are {found}")
    uses = {use.name: use.role for use in trained.preparation.uses}
    must(uses.get(trial.names[1]) == role, f"the feature is a {uses.get(trial.names[1])}, not a {role}: {uses}")


def check_rows(trial: Trial, rows: list[dict[str, Any]]) -> None:
    """Predictions must be as many as the rows, finite, of the classes, and with probabilities."""
    must(len(rows) == ROWS, f"{len(rows)} predictions for {ROWS} rows")
    numbers = [value for row in rows for value in row.values() if isinstance(value, float)]
    must(np.isfinite(np.array(numbers, float)).all(), "a prediction is not finite")
    if trial.expected[0] == CLASSES:
        classes = sorted(set(trial.truth), key=str)
        names = [trial.names[0], *(f"probability_{label}" for label in classes)]
        must(all(list(row) == names for row in rows), f"the columns are {list(rows[0])}")
        for row in rows:
            label, *shares = row.values()
            must(abs(sum(shares) - 1) < 1e-5 and shares[classes.index(label)] == max(shares), f"{row} is no prediction")


def check_metrics(trial: Trial, metrics: dict[str, Any], predicted: list[Any], truth: list[Any]) -> None:
    """The metrics must be those computed anew from the predictions."""
    if trial.expected[0] == CLASSES:
        anew = {"accuracy": np.mean([a == b for a, b in zip(predicted, truth, strict=True)])}
    else:
        error = np.array(predicted, float) - np.array(truth, float)
        spread = np.square(np.array(truth) - np.mean(truth)).sum()
        anew = {
            "mae": np.abs(error).mean(),
            "rmse": np.sqrt(np.square(error).mean()),
            "r2": 1 - np.square(error).sum() / spread,
        }
    for name, value in anew.items():
        must(np.isclose(metrics[name], value, rtol=1e-4, atol=1e-6), f"{name} is {metrics[name]}, anew {value}")


# The commands, each with what must hold of its result


def show_json(trial: Trial) -> None:
    """`show --json` must be about this run."""
    shown = as_json(output("show", trial.run, "--json"))
    rows = shown["data"]["rows"]
    must(shown["epochs"] == 1 and shown["status"] == "complete", "the run is not complete")
    must(sum(rows[part] for part in ("training", "validation", "test")) == ROWS, f"the rows are {rows}")


def show(trial: Trial) -> None:
    """`show` must name the task."""
    text = output("show", trial.run)
    must(f"({trial.expected[0]}" in text, "the task is not shown")


def predict_json(trial: Trial) -> None:
    """`predict --json`."""
    trial.rows = as_json(output("predict", trial.run, trial.data, "--json"))
    check_rows(trial, trial.rows)


def predict_csv(trial: Trial) -> None:
    """`predict` to stdout and to files must give the same."""
    text = output("predict", trial.run, trial.data)
    expected = [{name: str(value) for name, value in row.items()} for row in trial.rows]
    must(list(csv.DictReader(io.StringIO(text, newline=""))) == expected, "as CSV they differ from those as JSON")
    output("predict", trial.run, trial.data, "-o", "predicted.csv")
    output("predict", trial.run, trial.data, "-o", "predicted.json")
    must(Path("predicted.csv").read_text() == text, "the CSV file differs from stdout")
    must(as_json(Path("predicted.json").read_text()) == trial.rows, "the JSON file differs from stdout")


def evaluate_json(trial: Trial) -> None:
    """`evaluate DATA --json` must equal the metrics computed anew from the predictions."""
    metrics = as_json(output("evaluate", trial.run, trial.data, "--json"))["metrics"]
    check_metrics(trial, metrics, [row[trial.names[0]] for row in trial.rows], trial.truth)


def evaluate(trial: Trial) -> None:
    """`evaluate`, on the test set, must equal the metrics of its rows among the predictions."""
    run = chainrule.Run.open(trial.run)
    rows = run.load_data().test_rows
    metrics = as_json(output("evaluate", trial.run, "--json"))["metrics"]
    predicted = [trial.rows[row][trial.names[0]] for row in rows]
    check_metrics(trial, metrics, predicted, [trial.truth[row] for row in rows])
    must(metrics["loss"] is not None and "loss" in output("evaluate", trial.run), "there is no loss")


def explain_json(trial: Trial) -> None:
    """The gradient must equal the central difference, and training's within its rounding."""
    check_explanation(as_json(output("explain", trial.run, "--format", "json")))


def check_explanation(found: dict[str, Any]) -> None:
    """The gradient of an explanation must be the recorded and the numerical one."""
    gradient, scale = found["gradient"], max(1.0, abs(found["gradient"]))
    must(abs(gradient - found["numerical_gradient"]) < 1e-6 * scale, f"{gradient} is not the central difference")
    must(abs(gradient - found["training_gradient"]) <= found["rounding_bound"], f"{gradient} is not training's")
    must(
        abs(sum(term["product"] for term in found["samples"]) - gradient) < 1e-9 * scale,
        "the products do not sum to it",
    )


def explain_texts(trial: Trial) -> None:
    """The other formats of `explain` must be what they are named."""
    begins = {"text": "", "latex": "", "html": "<!doctype html>", "svg": "<svg"}
    for kind, start in begins.items():
        text = output("explain", trial.run, "--format", kind)
        must(text.lower().startswith(start) and len(text) > 200, f"{kind} begins with {text[:40]!r}")
        must(not re.search(r"\bnan\b", text), f"{kind} has nan")


def charts(trial: Trial) -> None:
    """`gradients` and `descend` must write a page."""
    for name, options in (("gradients", []), ("descend", ["--grid", "3"])):
        output(name, trial.run, *options, "-o", f"{name}.html")
        must(Path(f"{name}.html").read_text().lower().startswith("<!doctype html>"), f"{name} writes no page")


def worksheet(trial: Trial) -> None:
    """`worksheet` must write a page, or refuse a network that is too large or of two outputs."""
    size = chainrule.Run.open(trial.run).trained.plan.network.parameters.size
    if size > 40:
        refused("a worksheet", "worksheet", trial.run, "-o", "sheet.html")
    else:
        output("worksheet", trial.run, "-o", "sheet.html")
        must("Answer key" in Path("sheet.html").read_text(), "there is no answer key")


def check(trial: Trial) -> None:
    """`check` must find the gradients right."""
    output("check", trial.run)


def upload(trial: Trial) -> None:
    """The live page's upload must be previewed without a problem, as JSON."""
    previewed(trial, "")


def previewed(trial: Trial, problem: str) -> None:
    """The upload's preview must have this problem, in one line, or none."""
    found = Upload.read(Path(trial.data), trial.data)
    preview = found.preview(Choice(found.targets.index(trial.names[0])))
    as_json(json.dumps(preview, allow_nan=False))
    must(bool(preview["problem"]) == bool(problem), f"the preview's problem is {preview['problem']!r}")
    one_line(problem, preview["problem"])


def resume(trial: Trial) -> None:
    """`train --resume` must train on."""
    found = as_json(output("train", "--resume", trial.run, "--epochs", "2", "--json"))
    must(found["epochs"] == 2 and len(found["history"]) == 2, "it has not two epochs")


def train_text(trial: Trial) -> None:
    """`train` must end with how to explain the run."""
    must("chainrule explain" in output("train", trial.data, *OPTIONS), "nothing is said of explaining")
    (run,) = Path("runs").iterdir()
    must(as_json(output("predict", str(run), trial.data, "--json")) == trial.rows, "a second training predicts others")


CORE = {"predict --json": predict_json, "evaluate DATA --json": evaluate_json}
MORE = {
    "show --json": show_json, "show": show, "predict": predict_csv, "evaluate": evaluate, "explain json": explain_json,
    "explain text, latex, html, svg": explain_texts, "gradients, descend": charts, "worksheet": worksheet,
    "check": check, "upload": upload, "train": train_text, "resume": resume,
}  # fmt: skip


def in_python(trial: Trial) -> Iterator[tuple[str, Callable[[], Any]]]:
    """The uses of a DataFrame in Python, by name."""
    kept: dict[str, Any] = {}

    def train() -> None:
        kept["trained"] = chainrule.train(data=trial.data, callbacks=[chainrule.Recorder("run")], **SETTINGS)
        check_run(trial, kept["trained"])

    def predict() -> None:
        trained = kept["trained"]
        trial.rows = [{trial.names[0]: value} for value in trained.predict(trial.data).tolist()]
        if trial.expected[0] == CLASSES:
            shares = trained.probabilities(trial.data).tolist()
            for row, chances in zip(trial.rows, shares, strict=True):
                row |= {f"probability_{label}": p for label, p in zip(trained.target.classes, chances, strict=True)}
        check_rows(trial, trial.rows)

    def evaluate() -> None:
        metrics = kept["trained"].evaluate(trial.data)
        check_metrics(trial, metrics, [row[trial.names[0]] for row in trial.rows], trial.truth)
        held_out = kept["trained"].held_out("test")
        check_metrics(trial, kept["trained"].evaluate(), held_out.predictions.tolist(), held_out.targets.tolist())

    def explained() -> None:
        explanation = explain(chainrule.Run.open("run"), data=kept["trained"].data)
        check_explanation(as_json(json.dumps(explanation.as_json())))

    def resumed() -> None:
        again = chainrule.Run.open("run").resume(kept["trained"].data, epochs=2)
        must(again.progress.epoch == 2, "it has not two epochs")

    yield from {"train()": train, "predict()": predict, "evaluate()": evaluate, "explain()": explained}.items()
    yield "Run.resume()", resumed
