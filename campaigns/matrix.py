"""Every kind of target x feature x container x command, and bad cells: correct, or one line.

    python campaigns/matrix.py --minutes 60

The kinds of columns, and what must become of each, are in `matrix_columns.py`. Every pair of a
target and a feature is tried in a CSV file, each kind in every container, and with every command
and format in a CSV and in a Parquet file. Arrays, folders of pictures, and tables with a bad cell
follow. A cell of the matrix is good if the result is correct (the task, the classes, the metrics
computed anew, the gradients, the same predictions from every container), or if it is refused, where
it must be, in one line that begins with "chainrule: ", with exit code 2 and nothing written.
Everything else is a finding: the program prints it with the label that repeats it (`--only LABEL`),
and exits with 1.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import random
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import chainrule
from chainrule.errors import ChainruleError
from matrix_checks import (
    CORE,
    MORE,
    OPTIONS,
    SETTINGS,
    Finding,
    Trial,
    as_json,
    check_run,
    in_python,
    must,
    output,
    previewed,
    raises,
    refused,
    written,
)  # fmt: skip
from matrix_columns import (
    CELLS,
    CLASSES,
    COLUMNS,
    CONTAINERS,
    FILES,
    KINDS,
    LABELS,
    QUANTITY,
    ROWS,
    SWAPS,
    TYPED,
    Arrays,
    arrays,
)  # fmt: skip

Cell = tuple[str, Callable[[], Any]]
"""A cell of the matrix: the column of the table that counts it, and what to try."""
Group = tuple[str, Callable[[], Iterator[Cell]]]
"""Cells that share a training, in a folder of their own, with a label."""

PARTNERS = ("number", "words")
"""The targets that every feature is tried with in every container, and the features likewise."""
BAD_ROW = 5

PREDICTED: dict[tuple[str, ...], list[dict[str, Any]]] = {}
"""The predictions for a target and a feature, and what became of them, from the first container."""


# Tables


def trials() -> Iterator[tuple[Trial, bool]]:
    """Every target with every feature in a CSV file, and each with the partners in every container;
    and whether to try every command: with numbers, in a CSV and in a Parquet file.
    """
    for target in (name for name in COLUMNS if COLUMNS[name].target):
        for feature in COLUMNS:
            for container in CONTAINERS:
                held = all(container in COLUMNS[name].containers for name in (target, feature))
                if held and (container == "csv" or target in PARTNERS or feature in PARTNERS):
                    is_thorough = container in ("csv", "parquet") and "number" in (target, feature)
                    yield Trial(target, feature, container), is_thorough


def of_table(trial: Trial, is_thorough: bool, rotation: int) -> Iterator[Cell]:
    """The cells of a table; without `is_thorough` a command in turn, besides the most important."""
    trial.data = written(trial.frame, trial.container)
    kind = trial.container
    if kind not in FILES:
        if trial.refusal:
            yield "train()", lambda: raises(trial.refusal, lambda: chainrule.train(data=trial.data, **SETTINGS))
            return
        yield from in_python(trial)
        yield "same predictions", lambda: same_predictions(trial)
        return
    if trial.refusal:
        yield "train", lambda: refused(trial.refusal, "train", trial.data, *OPTIONS)
        if is_thorough:
            yield "upload", lambda: previewed(trial, trial.refusal)
        return

    def train() -> None:
        found = as_json(output("train", trial.data, *OPTIONS, "--output", trial.run, "--json"))
        must(found["epochs"] == 1 and len(found["history"]) == 1, "it has not one epoch")
        check_run(trial, chainrule.Run.open(trial.run).trained)

    yield "train --json", train
    yield from ((name, lambda use=use: use(trial)) for name, use in CORE.items())
    yield "same predictions", lambda: same_predictions(trial)
    names = list(MORE) if is_thorough else [list(MORE)[rotation % len(MORE)]]
    yield from ((name, lambda name=name: MORE[name](trial)) for name in names)


def same_predictions(trial: Trial) -> None:
    """The predictions must be those from the first container with the same columns."""
    key = trial.target, trial.feature, *trial.expected, *sorted({str(label) for label in trial.truth})
    first = PREDICTED.setdefault(key, trial.rows)
    for row, other in zip(trial.rows, first, strict=True):
        for a, b in zip(row.values(), other.values(), strict=True):
            same = np.isclose(a, b, rtol=1e-4, atol=1e-5) if isinstance(a, float) else str(a) == str(b)
            must(same, f"{row} here, {other} from another container")


# Arrays and pictures


def of_arrays(tried: Arrays, container: str) -> Iterator[Cell]:
    """The cells of arrays, in a file or in memory."""
    data: Any = (tried.x, tried.y)
    is_trained = tried.expected in (CLASSES, QUANTITY, LABELS)
    if container == "npz":
        np.savez("data.npz", x=tried.x, y=tried.y)
        if not is_trained:
            yield "train", lambda: refused(tried.expected, "train", "data.npz", *OPTIONS)
            return
        yield from of_pixels("data.npz", np.asarray(tried.y), tried.expected)
        return
    if not is_trained:
        yield "train()", lambda: raises(tried.expected, lambda: chainrule.train(data=data, **SETTINGS))
        return

    def use() -> None:
        trained = chainrule.train(data=data, **SETTINGS)
        must(trained.target.task == tried.expected, f"the task is {trained.target.task}")
        of_samples(trained.predict(tried.x), np.asarray(tried.y), tried.expected)
        found = trained.predict(tried.x)
        parts = np.concatenate([trained.predict(tried.x[k : k + 8]) for k in range(0, ROWS, 8)])
        same = np.isclose(parts, found, rtol=1e-4) if found.dtype.kind == "f" else parts == found
        must(same.all(), "in parts they are predicted otherwise")
        metrics = trained.evaluate(data)
        if tried.expected == CLASSES:
            must(np.isclose(metrics["accuracy"], np.mean(found == labels_of(tried.y))), "another accuracy")

    yield "train()", use


def labels_of(y: Any) -> Any:
    """Classes as they are predicted: bytes as text, and the number of a one-hot column."""
    if y.ndim > 1 and y.shape[1] > 1:
        return y.argmax(axis=1)
    return np.char.decode(y) if y.dtype.kind == "S" else y


def of_samples(predicted: Any, y: Any, task: str) -> None:
    """Predictions must be of the targets' classes, or finite and of their shape."""
    must(len(predicted) == ROWS, f"{len(predicted)} predictions")
    if task == CLASSES:
        must(set(predicted.tolist()) <= set(labels_of(y).tolist()), f"predicts {set(predicted.tolist())}")
    else:
        must(predicted.shape == y.squeeze().shape and np.isfinite(predicted).all(), f"predicts {predicted.shape}")


def of_pixels(data: str, y: Any, task: str) -> Iterator[Cell]:
    """The cells of samples in arrays or pictures that can be trained on."""

    def train() -> None:
        output("train", data, *OPTIONS, "--network", "flatten, 2 tanh", "--output", "run", "--json")
        trained = chainrule.Run.open("run").trained
        must(trained.target.task == task, f"the task is {trained.target.task}")
        of_samples(trained.predict(data), y, task)

    def evaluate() -> None:
        metrics = as_json(output("evaluate", "run", data, "--json"))["metrics"]
        predicted = np.array([next(iter(row.values())) for row in as_json(output("predict", "run", data, "--json"))])
        if task == CLASSES:
            must(np.isclose(metrics["accuracy"], np.mean(predicted == labels_of(y))), "another accuracy")

    yield "train --json", train
    yield "evaluate DATA --json", evaluate
    trial = Trial("words", "number", "csv", data=data)
    for name in ("show", "explain json", "explain text, latex, html, svg", "gradients, descend", "check", "resume"):
        if name != "show" or task == CLASSES:
            yield name, lambda name=name: MORE[name](trial)


def pictures() -> dict[str, tuple[Callable[[int], Any], str]]:
    """How the pictures of a folder are drawn, by number, and the task or the words that refuse it."""
    from PIL import Image

    rng = np.random.default_rng(3)

    wide = np.uint16(257)

    def pixels(*shape: int) -> Any:
        return rng.integers(0, 256, shape, dtype=np.uint8)

    return {
        "grey": (lambda _: Image.fromarray(pixels(4, 5)), CLASSES),
        "colour": (lambda _: Image.fromarray(pixels(4, 5, 3)), CLASSES),
        "transparent": (lambda _: Image.fromarray(pixels(4, 5, 4)), CLASSES),
        "grey and colour": (lambda k: Image.fromarray(pixels(4, 5, 3) if k % 2 else pixels(4, 5)), CLASSES),
        "black and white": (lambda _: Image.fromarray(pixels(4, 5) > 99), CLASSES),
        "16 bits": (lambda _: Image.fromarray(pixels(4, 5) * wide), CLASSES),
        "palette": (lambda _: Image.fromarray(pixels(4, 5, 3)).convert("P"), CLASSES),
        "several sizes": (lambda k: Image.fromarray(pixels(4, 5 + k % 2)), "resize all"),
        "8 and 16 bits": (lambda k: Image.fromarray(pixels(4, 5) * wide if k % 2 else pixels(4, 5)), "convert"),
        "one class": (lambda _: Image.fromarray(pixels(4, 5)), "at least two classes"),
        "no picture": (lambda _: None, "there are no images"),
        "damaged": (lambda _: b"PNG", "not a readable image"),
        "unusual names": (lambda _: Image.fromarray(pixels(4, 5)), CLASSES),
    }  # fmt: skip


def of_pictures(kind: str) -> Iterator[Cell]:
    """The cells of a folder of pictures."""
    draw, expected = pictures()[kind]
    names = {"one class": ["a"], "unusual names": ["[b] ä", "b c,{0}"]}.get(kind, ["cat", "dog"])
    labels = []
    for k in range(ROWS):
        folder = Path("pictures", names[k * len(names) // ROWS])
        folder.mkdir(parents=True, exist_ok=True)
        labels.append(folder.name)
        picture = draw(k)
        if isinstance(picture, bytes):
            (folder / f"{k:02d}.png").write_bytes(picture)
        elif picture is not None:
            picture.save(folder / f"{k:02d}.png")
    if expected != CLASSES:
        yield "train", lambda: refused(expected, "train", "pictures", *OPTIONS)
        return
    yield from of_pixels("pictures", np.array(labels), CLASSES)


# Bad cells


def known() -> pl.DataFrame:
    """A table with a column of each kind, and a target."""
    frame = pl.DataFrame([COLUMNS[kind].values.rename(name) for name, kind in KINDS.items()])
    return frame.with_columns(price=pl.col("number") * 2 + pl.col("whole") / 100)


def with_column(frame: pl.DataFrame, name: str, values: pl.Series) -> pl.DataFrame:
    """The table with other values of a column, in its place."""
    return frame.with_columns(values.alias(name))


def as_text(column: pl.Series) -> pl.Series:
    """A column as it is written in a CSV file."""
    text = column.to_frame().write_csv(datetime_format="%Y-%m-%dT%H:%M:%S", quote_style="never").splitlines()[1:]
    return pl.Series(column.name, text)


def predicted(data: Any) -> list[float]:
    """The predictions of the run for a file, from the command line, or a DataFrame, in Python."""
    if isinstance(data, str):
        return [row["price"] for row in as_json(output("predict", "run", data, "--json"))]
    return chainrule.Run.open("run").trained.predict(data).tolist()


def judged(data: Any, words: str, before: list[float], others: list[int]) -> None:
    """Where `words` is empty, all predictions must be finite, and those of other rows as before;
    else it must be refused.
    """
    if words and isinstance(data, str):
        refused(words, "predict", "run", data)
    elif words:
        raises(words, lambda: predicted(data))
    else:
        now = predicted(data)
        must(np.isfinite(now).all(), "a prediction is not finite")
        must(
            np.allclose([now[k] for k in others], [before[k] for k in others], rtol=1e-4),
            "other rows are predicted otherwise",
        )


def of_bad_cells(column: str, container: str) -> Iterator[Cell]:
    """The cells of one column with bad values, in a container."""
    frame = known()
    frame.write_csv("train.csv", datetime_format="%Y-%m-%dT%H:%M:%S")
    output("train", "train.csv", *OPTIONS, "--epochs", "3", "--output", "run", "--json")
    before = predicted(written(frame, container))
    others = [row for row in range(ROWS) if row != BAD_ROW]

    def cell(text: str) -> None:
        cells = as_text(frame[column]).to_list()
        cells[BAD_ROW] = text or None
        changed = with_column(frame, column, pl.Series(cells))
        words = "" if column in CELLS[text] else f"row {BAD_ROW + 1}, column {column!r}"
        judged(written(changed, container), words, before, others)

    def alone(row: int) -> None:
        one = predicted(written(frame[row], container))
        must(np.allclose(one, before[row : row + 1], rtol=1e-4), f"row {row + 1} alone is predicted otherwise")

    for text in CELLS:
        yield f"cell {text[:20]!r}", lambda text=text: cell(text)
    for kind in SWAPS if container in TYPED else ():
        if container not in COLUMNS[kind].containers:
            continue
        swapped = with_column(frame, column, COLUMNS[kind].values)
        words = "" if column in SWAPS[kind] else f"column {column!r}"
        yield f"column of {kind}", lambda t=swapped, w=words: judged(written(t, container), w, before, [])
    missing = f"column {column!r}, which the training data has, is missing"
    yield "no such column", lambda: judged(written(frame.drop(column), container), missing, before, others)
    yield "one row", lambda: [alone(row) for row in range(0, ROWS, 13)]
    turned = frame.select(reversed(frame.columns)).with_columns(pl.lit("x").alias("another"))
    yield "other order", lambda: judged(written(turned, container), "", before, others)
    yield "no row", lambda: judged(written(frame[:0], container), "no ", before, others)


def of_bad_targets(target: str) -> Iterator[Cell]:
    """The cells of `evaluate` with a bad value of the target."""
    trial = Trial(target, "number", "csv")
    output("train", written(trial.frame, "csv", "train"), *OPTIONS, "--output", "run", "--json")
    numbers = ("-3", "1", "1.0", "0.5", "9" * 25)
    allowed = {
        "number": numbers, "whole": (*numbers, "1,5"), "count": ("1", "1.0"),
        "truth": ("1", "true", "True"), "words": (),
    }[target]  # fmt: skip
    problem = f"row {BAD_ROW + 1}, column 'y'"
    for text in CELLS:
        cells = as_text(trial.frame["y"]).to_list()
        cells[BAD_ROW] = text or None
        data = written(with_column(trial.frame, "y", pl.Series(cells)), "csv")
        if text in allowed:
            yield f"target {text[:20]!r}", lambda data=data: as_json(output("evaluate", "run", data, "--json"))
        else:
            yield f"target {text[:20]!r}", lambda data=data: refused(problem, "evaluate", "run", data)


# The campaign


def groups() -> list[Group]:
    """Every group of cells, in a fixed order."""
    found: list[Group] = []
    for rotation, (trial, thorough) in enumerate(trials()):
        found.append((trial.label, lambda a=trial, b=thorough, c=rotation: of_table(a, b, c)))
    for name, tried in arrays().items():
        for container in ("npz", "numpy"):
            found.append((f"{container}: {name}", lambda a=tried, b=container: of_arrays(a, b)))
    for kind in pictures():
        found.append((f"pictures: {kind}", lambda kind=kind: of_pictures(kind)))
    for column in KINDS:
        for container in CONTAINERS:
            found.append((f"bad cells: {column} in {container}", lambda a=column, b=container: of_bad_cells(a, b)))
    for target in ("number", "whole", "count", "truth", "words"):
        found.append((f"bad cells: target {target}", lambda target=target: of_bad_targets(target)))
    return found


def campaign(
    chosen: list[Group], minutes: float, home: Path, thin: int = 1
) -> tuple[Counter[str], Counter[str], list[str]]:
    """How many cells were tried, how many are good, and the findings; of bad cells every `thin`th."""
    end = time.monotonic() + 60 * minutes
    tried, good, findings = Counter[str](), Counter[str](), []
    for number, (label, cells) in enumerate(chosen):
        if time.monotonic() > end:
            break
        part = label.split(":")[0]
        (home / str(number)).mkdir()
        with contextlib.chdir(home / str(number)):
            try:
                for name, use in itertools.islice(cells(), None, None, thin if part == "bad cells" else None):
                    tried[part] += 1
                    problem = found_by(use)
                    good[part] += not problem
                    if problem:
                        findings.append(f"{label}: {name}\n    {problem}")
                        print(findings[-1], flush=True)
            except Exception as error:
                tried[part] += 1
                findings.append(f"{label}\n    {type(error).__name__}: {error}")
                print(findings[-1], flush=True)
    return tried, good, findings


def found_by(use: Callable[[], Any]) -> str:
    """What is wrong with a cell; empty if it is good."""
    try:
        use()
    except Finding as finding:
        return str(finding)
    except ChainruleError as error:
        return f"refused: {error}"
    except BaseException as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__} in {Path(where.filename).name}:{where.lineno}: {str(error)[:300]}"
    return ""


def main(arguments: list[str] | None = None) -> int:
    """Run the campaign and print a table; 1 if anything was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=0, help="how many groups of cells, chosen at random; all: 0")
    parser.add_argument("--seed", type=int, default=0, help="of that choice")
    parser.add_argument("--minutes", type=float, default=60, help="stop after this time")
    parser.add_argument("--only", default="*", help="a pattern of the groups, such as 'csv: date > *'")
    options = parser.parse_args(arguments)
    every = [group for group in groups() if fnmatchcase(group[0], options.only)]
    random.Random(options.seed).shuffle(every)
    chosen, start = every[: options.count or None], time.monotonic()
    with tempfile.TemporaryDirectory() as home:
        tried, good, findings = campaign(chosen, options.minutes, Path(home))
    print(f"\n{'':20}{'tried':>8}{'good':>8}")
    for part in [*sorted(tried)]:
        print(f"{part:20}{tried[part]:8,}{good[part]:8,}")
    print(f"{'all':20}{tried.total():8,}{good.total():8,}  in {(time.monotonic() - start) / 60:.1f} minutes")
    return int(bool(findings) or not tried)


if __name__ == "__main__":
    sys.exit(main())
