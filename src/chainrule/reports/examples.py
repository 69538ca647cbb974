"""The section of single samples: some with their predictions, and the worst mistakes."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.data.source import Sample
from chainrule.explain.html import Html, picture
from chainrule.reports.section import Section, cut, number, table, text
from chainrule.reports.subject import Subject

SHOWN, WORST = 10, 10
"""How many samples are shown, and how many of the worst mistakes."""
MOST_COLUMNS = 7
"""The most columns of a table that are shown."""
LONGEST_VALUE = 60
"""The most characters of a value of a column."""
SIZE, MOST_PIXELS = 72, 128
"""The size of a picture on the page, and the most pixels per side that it keeps."""


def examples(subject: Subject) -> Section | None:
    """Samples with their predictions, evenly spaced, and those with the largest losses."""
    target, data = subject.trained.target, subject.data
    if (
        data is None
        or data.source is None
        or subject.rows is None
        or target.tokens
        or target.positions
        or target.season
    ):
        return None
    subject.tell("looking for the worst mistakes")
    losses, count = subject.losses, len(subject.losses)
    some = sorted({round(k) for k in np.linspace(0, count - 1, min(SHOWN, count))})
    worst = np.argsort(-losses, kind="stable")[:WORST].tolist()
    html, content = "", {}
    for key, title, chosen in (("some", "Some samples", some), ("worst", "The largest losses", worst)):
        rows = [_about(subject, k) for k in chosen]
        html += f"<h3>{title}</h3>" + (_pictures(rows) if rows[0]["picture"] is not None else _rows(rows))
        content[key] = [{name: value for name, value in row.items() if name != "picture"} for row in rows]
    about = (
        f"Single samples of the {subject.part} set, what was predicted for them and what is true: some evenly spaced,"
        " and those with the largest loss, where the network is most wrong, or the truth may be."
    )
    return Section("examples", "Examples, and the worst mistakes", about, html, content)


def _about(subject: Subject, k: int) -> dict[str, Any]:
    """A sample as it was read, with its prediction, truth and loss."""
    found, rows, data = subject.predicted, subject.rows, subject.data
    assert data is not None
    assert data.source is not None
    assert rows is not None
    sample: Sample = data.source.sample(int(rows[k]))
    sure = None
    if found.probabilities is not None and subject.trained.target.is_class:
        sure = float(np.max(found.probabilities[k]))
    return {
        "row": sample.row, "name": sample.name,
        "true": _plain(found.targets[k]), "predicted": _plain(found.predictions[k]),
        "probability": sure, "loss": float(subject.losses[k]), "values": _plain_values(sample.values),
        "picture": sample.picture,
    }  # fmt: skip


def _plain(value: Any) -> Any:
    return np.asarray(value).tolist()


def _plain_values(values: dict[str, Any] | None) -> dict[str, Any]:
    return {name: v if isinstance(v, int | float | str | bool | None) else str(v) for name, v in (values or {}).items()}


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return "; ".join(map(_shown, value))
    if value is None:
        return "missing"
    return number(value) if isinstance(value, float) else str(value)


def _rows(rows: list[dict[str, Any]]) -> str:
    names = list(rows[0]["values"])[:MOST_COLUMNS]
    head = [
        "row",
        "true",
        "predicted",
        *(["probability"] if rows[0]["probability"] is not None else []),
        "loss",
        *names,
    ]
    cells = [
        [row["row"], cut(_shown(row["true"])), cut(_shown(row["predicted"])),
         *([f"{row['probability']:.3f}"] if row["probability"] is not None else []), f"{row['loss']:.4g}",
         *(cut(_shown(row["values"].get(name, "")), LONGEST_VALUE) for name in names)]
        for row in rows
    ]  # fmt: skip
    more = len(rows[0]["values"]) - len(names)
    caption = f"the first {len(names)} of {len(rows[0]['values'])} columns" if more else ""
    return table(head, cells, caption=caption)


def _pictures(rows: list[dict[str, Any]]) -> str:
    return f'<div class="pictures">{"".join(map(_picture, rows))}</div>'


def _picture(row: dict[str, Any]) -> Html:
    """A picture with what is true and what was predicted; a wrong prediction is marked in words."""
    pixels = np.asarray(row["picture"])
    step = max(1, -(-max(pixels.shape[:2]) // MOST_PIXELS))
    image = picture(pixels[::step, ::step], f"row {row['row']}", SIZE)
    is_right = row["true"] == row["predicted"]
    sure = "" if row["probability"] is None else f" ({row['probability']:.0%})"
    true, predicted = (text(cut(_shown(row[key]))) for key in ("true", "predicted"))
    words = f"{predicted}{sure}" if is_right else f'{true}: <b class="wrong">not {predicted}{sure}</b>'
    return Html(f"<figure>{image}<figcaption>{words}<small>row {row['row']}</small></figcaption></figure>")
