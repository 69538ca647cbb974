"""Whether all processes of a training have the same before them: data, choices and weights."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Sequence

from chainrule.data import Dataset
from chainrule.errors import DataError, SettingError
from chainrule.processes import Processes
from chainrule.runs.differences import contents, data_recipe, difference
from chainrule.runs.recipe import to_json
from chainrule.training import Plan, Progress
from chainrule.version import VERSION


def agree_on_command(processes: Processes, arguments: Sequence[str]) -> None:
    """Compare the version and the arguments of this process with those of the first one, before
    anything is read. Raises SettingError in every process where they differ.
    """
    first = processes.broadcast([VERSION, *arguments])
    _check_version(first[0])
    if [*arguments] != first[1:]:
        raise SettingError(
            f"the arguments are not those of rank 0: {shlex.join(arguments)}, not {shlex.join(first[1:])}"
        )
    processes.wait()


def _check_version(first: str) -> None:
    if first != VERSION:
        raise SettingError(f"chainrule {VERSION} is installed here, and {first} where rank 0 runs")


def agree(processes: Processes, plan: Plan, data: Dataset, progress: Progress) -> None:
    """Compare what this process has read, chosen and drawn with what the first one has.

    Raises DataError or SettingError, which says what differs first, in every process where
    something does; the others wait, so that none goes on before all have compared.
    """
    if processes.count == 1:
        return
    source = {} if data.source is None else {"contents": contents(data.source)}
    weights = hashlib.sha256(progress.position.parameters.tobytes()).hexdigest()
    own = json.loads(json.dumps({
        "version": VERSION, "plan": to_json(plan), "data": data_recipe(data) | source, "weights": weights,
        "step": progress.position.step,
    }))  # fmt: skip
    first = processes.broadcast(own)
    _check_version(first["version"])
    if differs := difference(first["data"], data):
        raise DataError(f"{data.name}: it is not the data that rank 0 has read: {differs}")
    for name, value in own["plan"].items():
        if value != first["plan"].get(name):
            name = {"compute": "dtype"}.get(name, name)
            raise SettingError(f"the {name} is not that of rank 0: the commands or what is installed differ")
    if (own["step"], own["weights"]) != (first["step"], first["weights"]):
        raise SettingError("the weights before the first step are not those of rank 0: NumPy draws others here")
    processes.wait()
