"""How data differs from what a run was trained on."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.arrays import Array
from chainrule.data import Dataset, Source
from chainrule.data.source import fingerprint
from chainrule.data.streamed.array_files import RowArray
from chainrule.data.streamed.table_files import TableFiles
from chainrule.rows import Stored

if TYPE_CHECKING:
    import polars as pl

SPLIT = ("seed", "split", "shuffle", "drop", "image_size", "scale_target")
"""Settings of `load` that shape the training set and that nothing else compared here covers."""


def data_recipe(data: Dataset) -> dict[str, Any]:
    """Where data is from, what it contains and how it was split, as JSON."""
    weight, names = data.training.weight, () if data.source is None else data.source.files
    return {
        "name": data.name,
        "fingerprint": data.fingerprint,
        "weight": None if weight is None else fingerprint_of(weight),
        "validation": data.validation_fingerprint,
        "test": data.test_fingerprint,
        "settings": data.settings,
        "rows": data.sizes,
        "target": data.target.as_json(),
        **({"files": list(names)} if names else {}),
    }


def fingerprint_of(weight: Any) -> str:
    """A hash of weights; of those on a disk that of what they were prepared from."""
    return str(getattr(weight.rows, "fingerprint", "")) if isinstance(weight, Stored) else fingerprint(weight)


def contents(source: Source) -> dict[str, Any]:
    """What was read: the number of rows and, of each column, of the target and of the weights, the
    type and a short hash of the values, which tells what differs in other data.
    """
    if isinstance(source.features, TableFiles):
        files = source.features
        types = {column: (str(files.schema[column]), "") for column in files.columns}
        stamps = {name: list(stamp) for name, stamp in files.named_stamps.items()}
        return {"rows": len(files), "columns": types, "target": ("", ""), "weight": ("", ""), "stamps": stamps}
    if isinstance(source.features, RowArray):
        arrays = (one for one in (source.features, source.target) if isinstance(one, RowArray))
        stamps = {name: list(stamp) for one in arrays for name, stamp in one.stamps.items()}
        types = {"": (f"{source.features.shape[1:]} numbers of {source.features.dtype}", "")}
        return {"rows": len(source), "columns": types, "target": ("", ""), "weight": ("", ""), "stamps": stamps}
    if source.is_table:
        columns = {column.name: (str(column.dtype), _hash(column)) for column in source.features.iter_columns()}
    else:  # the fingerprint is the hash
        shape = " x ".join(map(str, source.features.shape[1:]))
        columns = {"": (f"{shape} numbers of {source.features.dtype}", "")}
    others = {"target": _about(source.target), "weight": _about(source.weight)}
    return {"rows": len(source), "columns": columns, **others}


def _hash(column: pl.Series) -> str:
    import polars as pl

    values = column.cast(pl.String) if column.dtype == pl.Categorical else column
    return f"{zlib.crc32(values.hash(seed=0).to_numpy().tobytes()):08x}"


def _about(values: Array | None) -> tuple[str, str]:
    return ("missing", "") if values is None else (str(values.dtype), fingerprint(np.asarray(values))[:8])


def difference(before: Mapping[str, Any], data: Dataset) -> str:
    """How data differs from that of a run's recipe, in words; empty if it does not. Of what was
    read it is the first difference: in the rows, the columns, their types or their values.
    """
    now = json.loads(json.dumps(data_recipe(data)))
    if before["fingerprint"] != now["fingerprint"]:
        return _of_contents(before, data)
    keys = ("name", "task", "classes", "columns")  # older runs have no columns
    differences = [f"the target's {key}" for key in keys if before["target"].get(key, []) != now["target"][key]]
    differences += [f"the number of {part} rows" for part, n in now["rows"].items() if before["rows"].get(part) != n]
    if before.get("weight", now["weight"]) != now["weight"]:
        differences.append("the samples' weights")
    for part in ("validation", "test"):  # of which older runs have no fingerprint
        if before.get(part, now[part]) != now[part]:
            differences.append(f"the {part} data")
    if before["settings"] and now["settings"]:
        settings = before["settings"], now["settings"]
        differences += [f"the setting {key}" for key in SPLIT if len({str(s.get(key)) for s in settings}) > 1]
    return f"it differs in {', '.join(differences)}" if differences else ""


def _of_contents(before: Mapping[str, Any], data: Dataset) -> str:
    """The first difference in what was read, where the fingerprints differ."""
    then = before.get("contents")
    if then is None or data.source is None:  # as in older runs, and for arrays that are used as they are
        counts = sum(before["rows"].values()), sum(data.sizes.values())
        return "its values differ" if counts[0] == counts[1] else _rows(*counts)
    if data.source.tokens is not None:
        return "its text is another"
    now = json.loads(json.dumps(contents(data.source)))
    if changed := _changed_files(then.get("stamps", {}), now.get("stamps", {})):
        return changed
    if then["rows"] != now["rows"]:
        return _rows(then["rows"], now["rows"])
    old, new = then["columns"], now["columns"]
    missing, added = [name for name in old if name not in new], [name for name in new if name not in old]
    if missing or added:
        has = f"it has no column {missing[0]!r}" if missing else f"it has the column {added[0]!r}, too"
        return has + (f", but {added[0]!r}" if missing and added else "")
    if list(old) != list(new):
        return "its columns are in another order"
    named = [(f"its column {name!r}" if name else "it", old[name], new[name]) for name in old]
    named += [(f"its {what}", then[what], now[what]) for what in ("target", "weight")]
    for what, (type_then, _), (type_now, _) in named:
        if type_then != type_now:
            return f"{what} is {type_now}, not {type_then}"
    for what, (_, hash_then), (_, hash_now) in named:
        if hash_then != hash_now:
            return f"{what} has other values"
    if data.source.is_table:
        return "it differs in a column that is no input, or in how it is written"
    return "its values differ"


def _changed_files(then: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """The first of the files of a streamed table that is new, missing or changed."""
    if not then or not now:
        return "it is streamed now, and was not then" if now else "it was streamed then, and is not now" if then else ""
    if missing := [name for name in then if name not in now]:
        return f"the file {missing[0]} is missing"
    if new := [name for name in now if name not in then]:
        return f"the file {new[0]} is new"
    changed = [name for name in then if then[name] != now[name]]
    return f"the file {changed[0]} has another size, or was written at another time" if changed else ""


def _rows(before: int, now: int) -> str:
    return f"it has {now:,} rows, not {before:,}"
