"""The documentation's page on accuracy, written from the results."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from tabular.sets import TABLES

NAMES = {"chainrule": "chainrule", "realmlp": "RealMLP", "boosting": "boosting", "linear": "linear", "mlp": "MLP"}
METRICS = {"r2": "R2", "auc": "ROC AUC", "accuracy": "accuracy"}
Results = Mapping[str, Mapping[str, Mapping[str, Mapping[str, float]]]]


def write(path: Path, results: Results) -> None:
    """Replace what is between the page's markers by tables of these results."""
    before, begin, rest = path.read_text().partition("<!-- results -->\n")
    _, end, after = rest.partition("<!-- end of results -->")
    text = "\n\n".join([scores(results), seconds(results), "\n".join(verdicts(results))])
    path.write_text(f"{before}{begin}\n{text}\n\n{end}{after}")


def _table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def scores(results: Results) -> str:
    """Each model's mean score, and its deviation over the seeds."""
    rows = []
    for name, table in TABLES.items():
        cells = [_score(results.get(name, {}).get(model, {})) for model in NAMES]
        title = f"{name} *" if table.unseen else name
        rows.append([title, METRICS[table.metric], *cells])
    return _table(["table", "metric", *NAMES.values()], rows)


def _score(seeds: Mapping[str, Any]) -> str:
    values = [one["score"] for one in seeds.values()]
    if not values:
        return "-"
    number = "" if len(values) == 5 else f" ({len(values)})"
    return f"{mean(values):.3f} ± {stdev(values) if len(values) > 1 else 0:.3f}{number}"


def seconds(results: Results) -> str:
    """Each model's mean processor time."""
    rows = []
    for name in TABLES:
        every = [results.get(name, {}).get(model, {}).values() for model in NAMES]
        rows.append([name, *(f"{mean(one['seconds'] for one in each):.2f}" if each else "-" for each in every)])
    return _table(["processor time, s", *NAMES.values()], rows)


def verdicts(results: Results) -> list[str]:
    """On how many tables chainrule is at least as good as another model, on the seeds of both."""
    lines = []
    for model in list(NAMES)[1:]:
        pairs = {name: differences(results.get(name, {}), model) for name in TABLES}
        known = {name: each for name, each in pairs.items() if each}
        ahead = sum(mean(each) >= 0 for each in known.values())
        behind = [name for name, each in known.items() if is_behind(each)]
        lines.append(
            f"- {NAMES[model]}: at least as good on {ahead} of {len(known)} tables; behind by more than noise on"
            f" {', '.join(behind) or 'none'}."
        )
    return lines


def differences(models: Mapping[str, Mapping[str, Any]], other: str) -> list[float]:
    """How much better chainrule is than another model, for each seed of both."""
    own, its = models.get("chainrule", {}), models.get(other, {})
    return [own[seed]["score"] - its[seed]["score"] for seed in own if seed in its]


def is_behind(each: list[float]) -> bool:
    """Whether the mean difference is negative by more than two standard errors."""
    return len(each) > 1 and mean(each) < -2 * stdev(each) / len(each) ** 0.5
