"""The tables of the documentation's page on speed, from the results."""

from __future__ import annotations

import re
from typing import Any

from comparison.problems import NETWORKS

PROMISED = {
    "tiny": ("200", "10", "-"),
    "small": ("40", "3", "50 % of one core"),
    "medium": ("3", "2", "60 % of both"),
    "large": ("1.15", "1.15", "80 % of both"),
}
"""How many times PyTorch's best and JAX's scan, and the share of what BLAS reaches."""


def _table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _time(microseconds: float) -> str:
    digits = 2 if microseconds < 10 else 1 if microseconds < 100 else 0
    return f"{microseconds:,.{digits}f}"


def machine(found: dict[str, Any]) -> str:
    """On what it was measured."""
    m = found["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in m["versions"].items())
    return f"{m['processor']}, {m['cores']} cores, kernels for {m['kernels']}; {m['system']}; {versions}."


def epochs(found: dict[str, Any]) -> str:
    """The four networks."""
    parts = []
    for name, rows in found["epochs"].items():
        widths, batch, steps = NETWORKS[name]
        lines = [
            [row["peer"], _time(row["microseconds"]), f"{_time(row['fastest'])} to {_time(row['slowest'])}",
             f"{row['ratio']:.2f}", f"{row['share_of_blas']:.0%}",
             "yes" if row["same_loss"] else f"no: {row['loss']:.3g}"]
            for row in rows
        ]  # fmt: skip
        head = ["", "us a step", "fastest to slowest", "times chainrule's", "share of BLAS", "same loss"]
        parts.append(
            f"**{name}**: {'-'.join(map(str, widths))}, batch {batch}, {steps} steps an epoch\n\n{_table(head, lines)}"
        )
    return "\n\n".join(parts)


def promises(found: dict[str, Any]) -> str:
    """What was promised beside what was measured."""
    lines = []
    for name, (torch, jax, blas) in PROMISED.items():
        rows = {row["peer"]: row for row in found["epochs"][name]}
        best = min(row["ratio"] for peer, row in rows.items() if peer.startswith("PyTorch"))
        share = rows["chainrule"]["share_of_blas"] * (found["machine"]["cores"] if name == "small" else 1)
        lines.append(
            [name, f"{torch}x", f"{best:.2f}x", f"{jax}x", f"{rows['JAX, scan']['ratio']:.2f}x", blas,
             "-" if blas == "-" else f"{share:.0%}"]
        )  # fmt: skip
    return _table(["", "PyTorch's best", "measured", "JAX's scan", "measured", "share of BLAS", "measured"], lines)


def start(found: dict[str, Any]) -> str:
    """Import and first step."""
    own = found["start"][0]["seconds"]
    lines = [[row["peer"], f"{row['seconds']:.2f} s", f"{row['seconds'] / own:.1f}"] for row in found["start"]]
    return _table(["", "import and first step", "times chainrule's"], lines)


def whole(found: dict[str, Any]) -> str:
    """Digits and mnist-5k, end to end."""
    parts = []
    for data, rows in found["whole"].items():
        own = rows[0]["seconds"]
        lines = [
            [row["peer"], f"{row['seconds']:.2f} s", f"{row['seconds'] / own:.2f}", f"{row['accuracy']:.1f} %"]
            for row in rows
        ]
        parts.append(f"**{data}**\n\n" + _table(["", "end to end", "times chainrule's", "test accuracy"], lines))
    return "\n\n".join(parts)


def memory(found: dict[str, Any]) -> str:
    """Peak memory."""
    lines = [
        [f"{name}, {row['peer']}", f"{row['peak']:,.0f} MB", f"{row['peak'] - row['before']:,.0f} MB"]
        for name, rows in found["memory"].items()
        for row in rows
    ]
    return _table(["", "the process at most", "more than before the first step"], lines)


PARTS = {"machine": machine, "promises": promises, "epochs": epochs, "start": start, "whole": whole, "memory": memory}


def filled(markdown: str, found: dict[str, Any]) -> str:
    """The page with its tables, between the comments that name them, made anew."""
    for name, make in PARTS.items():
        pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end of {name} -->)", re.DOTALL)
        if pattern.search(markdown) is None:
            raise ValueError(f"the page has no place for {name}")
        table = make(found)
        markdown = pattern.sub(lambda match, table=table: f"{match[1]}\n{table}\n\n{match[2]}", markdown)
    return markdown
