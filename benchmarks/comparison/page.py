"""The tables of the documentation's pages on speed, written from the results."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Any

from comparison import generation as writing
from comparison import latency as single
from comparison import pictures as convolutional
from comparison import sequences as recurrent
from comparison.problems import NETWORKS

LIBRARIES = ("PyTorch", "JAX", "scikit-learn", "tinygrad")

TARGETS = {
    "tiny": ("200", "10", "-"),
    "small": ("40", "3", "50 % of one core"),
    "medium": ("3", "2", "60 % of both"),
    "large": ("1.15", "1.15", "80 % of both"),
}
"""The ratios to PyTorch's best and to JAX's scan, and the share of the speed of BLAS."""


def _table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _number(value: float) -> str:
    digits = 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:,.{digits}f}"


def _same_loss(row: dict[str, Any]) -> str:
    return "yes" if row["same_loss"] else f"no: {row['loss']:.3g}"


def _ratios(rows: list[dict[str, Any]], key: str) -> list[str]:
    """Each library's ratio to chainrule, by its best variant."""
    own = rows[0][key]
    cells = []
    for library in LIBRARIES:
        values = [row.get("ratio", row[key] / own) for row in rows if row["peer"].startswith(library)]
        cells.append(f"{_number(min(values))}x" if values else "-")
    return cells


def results(measured: dict[str, Any]) -> str:
    """Everything in one table: chainrule's own values, and the ratios of the others to them."""
    lines = []
    for name, rows in measured["epochs"].items():
        widths, batch, _ = NETWORKS[name]
        shape = "-".join(map(str, widths))
        own = f"{_number(rows[0]['microseconds'])} µs"
        lines.append([f"training step, {shape}, batch {batch}", own, *_ratios(rows, "microseconds")])
    for data, rows in measured["whole"].items():
        lines.append([f"{data}, end to end", f"{rows[0]['seconds']:.2f} s", *_ratios(rows, "seconds")])
    rows = measured["start"]
    lines.append(["import and first step", f"{rows[0]['seconds']:.2f} s", *_ratios(rows, "seconds")])
    for name, rows in measured["memory"].items():
        shape = "-".join(map(str, NETWORKS[name][0]))
        lines.append([f"peak memory, {shape}", f"{rows[0]['peak']:,.0f} MB", *_ratios(rows, "peak")])
    return _table(["", "chainrule", *LIBRARIES], lines)


def machine(measured: dict[str, Any]) -> str:
    """The machine and the versions."""
    m = measured["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in m["versions"].items())
    line = f"{m['processor']}, {m['cores']} cores, kernels for {m['kernels']}; {m['system']}; {versions}."
    return textwrap.fill(line, 98)


def epochs(measured: dict[str, Any]) -> str:
    """The four networks."""
    sections = []
    for name, rows in measured["epochs"].items():
        widths, batch, steps = NETWORKS[name]
        lines = [
            [row["peer"], _number(row["microseconds"]), f"{_number(row['fastest'])} to {_number(row['slowest'])}",
             f"{row['ratio']:.2f}", f"{row['share_of_blas']:.0%}",
             _same_loss(row)]
            for row in rows
        ]  # fmt: skip
        header = ["", "µs per step", "range", "ratio to chainrule", "share of BLAS", "same loss"]
        title = f"**{name}**: {'-'.join(map(str, widths))}, batch {batch}, {steps} steps per epoch"
        sections.append(f"{title}\n\n{_table(header, lines)}")
    return "\n\n".join(sections)


def pictures(measured: dict[str, Any]) -> str:
    """The convolutional networks, and what was aimed for."""
    return _beside_goals(convolutional, measured["pictures"])


def sequences(measured: dict[str, Any]) -> str:
    """Attention and recurrence, and what was aimed for."""
    return _beside_goals(recurrent, measured["sequences"])


def _beside_goals(part: Any, measured: dict[str, list[dict[str, Any]]]) -> str:
    sections = []
    for name, rows in measured.items():
        text, shape, batch, _ = part.NETWORKS[name]
        lines = [
            [row["peer"], f"{_number(row['microseconds'] / 1000)} ms", f"{row['ratio']:.2f}",
             f"{row['share_of_blas']:.0%}", _same_loss(row)]
            for row in rows
        ]  # fmt: skip
        header = ["", "per step", "ratio to chainrule", "share of BLAS", "same loss"]
        goal = f"goal: {part.TARGETS[name]} times as fast as the fastest"
        title = f"**{name}**: `{text}`, input {'x'.join(map(str, shape))}, batch {batch}; {goal}"
        sections.append(f"{textwrap.fill(title, 98)}\n\n{_table(header, lines)}")
    return "\n\n".join(sections)


def latency(measured: dict[str, Any]) -> str:
    """The predictions of a single picture."""
    lines = []
    for name, rows in measured["latency"].items():
        times = [f"{row['microseconds']:,.0f} µs ({row['ratio']:.2f})" for row in rows]
        lines.append([f"{name}, {'x'.join(map(str, convolutional.NETWORKS[name][1]))}", *times])
    return _table(["", *single.PEERS], lines)


def generation(measured: dict[str, Any]) -> str:
    """How fast language models write."""
    lines = [
        [f"`{writing.NETWORKS[name]}`" if k == 0 else "", row["peer"], f"{row['tokens_per_second']:,.0f}",
         f"{row['ratio']:.2f}"]
        for name, rows in measured["generation"].items() for k, row in enumerate(rows)
    ]  # fmt: skip
    return _table(["network", "", "tokens per second", "ratio of the times to chainrule's"], lines)


def targets(measured: dict[str, Any]) -> str:
    """The targets beside what was measured."""
    lines = []
    for name, (torch, jax, blas) in TARGETS.items():
        rows = {row["peer"]: row for row in measured["epochs"][name]}
        best = min(row["ratio"] for peer, row in rows.items() if peer.startswith("PyTorch"))
        share = rows["chainrule"]["share_of_blas"] * (measured["machine"]["cores"] if name == "small" else 1)
        lines.append(
            [name, f"{torch}x", f"{best:.2f}x", f"{jax}x", f"{rows['JAX, scan']['ratio']:.2f}x", blas,
             "-" if blas == "-" else f"{share:.0%}"]
        )  # fmt: skip
    return _table(["", "PyTorch's best", "measured", "JAX's scan", "measured", "share of BLAS", "measured"], lines)


def start(measured: dict[str, Any]) -> str:
    """Import and first step."""
    own = measured["start"][0]["seconds"]
    lines = [[row["peer"], f"{row['seconds']:.2f} s", f"{row['seconds'] / own:.1f}"] for row in measured["start"]]
    return _table(["", "import and first step", "ratio to chainrule"], lines)


def whole(measured: dict[str, Any]) -> str:
    """Digits and mnist-5k, end to end."""
    sections = []
    for data, rows in measured["whole"].items():
        own = rows[0]["seconds"]
        lines = [
            [row["peer"], f"{row['seconds']:.2f} s", f"{row['seconds'] / own:.2f}", f"{row['accuracy']:.1f} %"]
            for row in rows
        ]
        sections.append(f"**{data}**\n\n" + _table(["", "end to end", "ratio to chainrule", "test accuracy"], lines))
    return "\n\n".join(sections)


def memory(measured: dict[str, Any]) -> str:
    """Peak memory."""
    return _peaks(measured["memory"])


def memory_of_sequences(measured: dict[str, Any]) -> str:
    """Peak memory of attention and recurrence."""
    return _peaks(measured["memory of sequences"])


def _peaks(measured: dict[str, list[dict[str, Any]]]) -> str:
    lines = [
        [f"{name}, {row['peer']}", f"{row['peak']:,.0f} MB", f"{row['peak'] - row['before']:,.0f} MB"]
        for name, rows in measured.items()
        for row in rows
    ]
    return _table(["", "peak of the process", "increase during training"], lines)


def memory_of_pictures(measured: dict[str, Any]) -> str:
    """Peak memory of the convolutional networks, and what is unavoidable of it."""
    lines = [
        [f"{name}, {row['peer']}", f"{row['peak']:,.0f} MB", f"{row['peak'] - row['before']:,.0f} MB",
         f"{row['outputs']:,.1f} MB", f"{(row['peak'] - row['before']) / row['outputs']:.2f}"]
        for name, rows in measured["memory of pictures"].items()
        for row in rows
    ]  # fmt: skip
    return _table(["", "peak of the process", "increase", "outputs and derivatives", "ratio"], lines)


PAGES = {
    "benchmarks.md": (
        results,
        machine,
        epochs,
        pictures,
        sequences,
        latency,
        generation,
        start,
        whole,
        memory,
        memory_of_pictures,
        memory_of_sequences,
    ),
    "benchmark-notes.md": (targets,),
}
"""Which page has which tables."""


def write(folder: Path, measured: dict[str, Any]) -> None:
    """Replace the tables of the pages in this folder, each between two comments that name it."""
    for name, tables in PAGES.items():
        path = folder / name
        markdown = path.read_text()
        for make in tables:
            begin, end = f"<!-- {make.__name__} -->\n", f"<!-- end of {make.__name__} -->"
            place = re.compile(f"{begin}.*?{end}", re.DOTALL)
            if place.search(markdown) is None:
                raise ValueError(f"{name} has no place for the table {make.__name__!r}")
            table = f"{begin}\n{make(measured)}\n\n{end}"
            markdown = place.sub(lambda _, table=table: table, markdown)
        path.write_text(markdown)
