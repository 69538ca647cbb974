"""The part of the command explain that explains a prediction."""

from __future__ import annotations

import json as jsonlib
import re
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from chainrule.cli import display
from chainrule.cli.options import OUTPUT, elsewhere, leave_out
from chainrule.errors import SettingError, require
from chainrule.summary import visible

if TYPE_CHECKING:
    from chainrule.network import Network

FORMATS = ("text", "json", "html")


def is_data(network: Network, argument: str, row: int | None) -> bool:
    """Whether the second argument of explain is data, and not a weight's name; raises SettingError
    for what could be both, or is neither.
    """
    from chainrule.data import BUILTIN, patterns

    try:
        network.parameters.find(argument)
        is_weight, why_not = True, ""
    except SettingError as error:
        is_weight, why_not = False, str(error)
    try:
        exists = argument in BUILTIN or patterns.exists(argument)
    except (OSError, ValueError):  # such as a name that is too long
        exists = False
    if is_weight and exists:
        rule = f"for the file, write {'./' + argument!r}; for the weight, rename the file"
        raise SettingError(f"{argument!r} is both a weight of the run and a file or folder; {rule}")
    if is_weight:
        require(row is None, f"{argument!r} is a weight, and --row chooses a row of data; leave one of them out")
        return False
    looks_like_one = re.fullmatch(r"\s*[\w.@\-]+\s*\[[\d\s,]*\]\s*", argument)
    owner = argument.partition("[")[0].partition("@")[0].strip()
    names_layer = any(owner in (entry.name, entry.owner) for entry in network.parameters.entries)
    if not exists and (looks_like_one or names_layer):
        raise SettingError(why_not)
    if not exists:
        weights = f"no weight of the run ({network.parameters.ranges})"
        raise SettingError(
            f"{argument!r} is {weights}, and no data: there is no such file, folder or built-in data set"
        )
    return True


def explain_row(
    context: typer.Context,
    run: str,
    data: str | None,
    row: int | None,
    baseline: str | None,
    of: list[str] | None,
    position: int | None,
    change: float | None,
    kind: str,
    output: Path | None,
    most: int | None,
) -> None:
    """Explain the prediction for a row of data: by default of what the run was trained on."""
    from chainrule.attribution import why
    from chainrule.attribution.text import SHOWN, lines
    from chainrule.runs import Run
    from chainrule.runs.folder import check_file

    reason = "a prediction is explained, not a step of a weight"
    own = ("row", "baseline", "of", "position", "change", "most")
    leave_out(context, reason, "run", "weight", *own, "kind", "output", "json")
    require(kind in FORMATS, f"--format {kind} is for a weight; a prediction is explained as {', '.join(FORMATS)}")
    if output is not None:
        check_file(output, elsewhere(*OUTPUT))
    opened = Run.open(run)
    if row is None:
        display.err.print("explaining row 1; for another, pass --row")
    with display.progress_bar("points") as shown:
        found = why(
            opened, data, 1 if row is None else row, baseline=baseline, of=of or None, position=position,
            change=change, progress=shown,
        )  # fmt: skip
    if kind == "json":
        text = jsonlib.dumps(display.finite(found.as_json(most)), indent=1)
    elif kind == "html":
        from chainrule.attribution.page import page

        text = page(found, most or SHOWN)
    else:
        text = visible("\n".join(lines(found, most or SHOWN)))
    if output is not None:
        display.write(output, (text + "\n" * (not text.endswith("\n"))).encode())
    else:
        print(text)
