"""Whether all processes of a training have the same before them: data, choices and weights."""

from __future__ import annotations

import hashlib
import json

from chainrule.data import Dataset
from chainrule.errors import DataError, SettingError
from chainrule.processes import Processes
from chainrule.runs.differences import contents, data_recipe, difference
from chainrule.runs.recipe import to_json
from chainrule.training import Plan, Progress
from chainrule.version import VERSION


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
    if own["version"] != first["version"]:
        raise SettingError(f"chainrule {own['version']} is installed here, and {first['version']} where rank 0 runs")
    if differs := difference(first["data"], data):
        raise DataError(f"{data.name}: it is not the data that rank 0 has read: {differs}")
    for name, value in own["plan"].items():
        if value != first["plan"].get(name):
            name = {"compute": "dtype"}.get(name, name)
            raise SettingError(f"the {name} is not that of rank 0: the commands or what is installed differ")
    if (own["step"], own["weights"]) != (first["step"], first["weights"]):
        raise SettingError("the weights before the first step are not those of rank 0: NumPy draws others here")
    processes.wait()
