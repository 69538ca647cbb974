"""A trained network for other tools: ONNX, safetensors with a recipe, or code for PyTorch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from chainrule.arrays import Array
from chainrule.errors import DataError, RunError, SettingError, require_package
from chainrule.runs import Trained
from chainrule.runs.folder import check_file, content_of, write_whole
from chainrule.runs.recipe import from_json, to_json

CLOSE = 1e-5
"""How far ONNX Runtime's predictions may be off, as a share of the largest."""
RECIPE = "chainrule"
"""The name of the recipe among the metadata of a file of weights."""
MOST_MESSAGE = 2**31 - 1
"""The bytes of a file of ONNX."""


@dataclass(frozen=True)
class Written:
    """What was exported.

    Attributes:
        path: the file
        notes: what to know about it, in one line each
        difference: by how much ONNX Runtime's predictions differ at most; None if it was not asked
    """

    path: Path
    notes: tuple[str, ...] = ()
    difference: float | None = None

    def as_json(self) -> dict[str, Any]:
        """The notes and the difference."""
        return {"notes": list(self.notes), "difference": self.difference}


def export(trained: Trained, path: str | Path) -> Written:
    """Write a trained network into a file, in the format that its ending says.

    Args:
        trained: the network
        path: `.onnx`: the network with the preparation of its samples, verified with ONNX Runtime
            if that is installed; `.safetensors`: its weights by name, and its recipe; `.py`: code
            for PyTorch, with the weights beside it in a file of the same name

    Raises:
        SettingError: for another ending, and for what the format can't express
        RunError: if the file can't be written

    Examples:
        >>> import chainrule, tempfile
        >>> trained = chainrule.train("8 tanh", "iris", epochs=2)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = export(trained, f"{folder}/iris.safetensors")
        ...     same = from_safetensors(f"{folder}/iris.safetensors")
        >>> bool((same.parameters == trained.parameters).all())
        True
    """
    path = Path(path)
    write = {".onnx": _onnx, ".safetensors": _safetensors, ".py": _torch}.get(path.suffix)
    if write is None:
        raise SettingError(f"{path}: an export ends in .onnx, .safetensors or .py")
    check_file(path, "choose another file")
    return write(trained, path)


# Weights with their recipe


def _arrays(trained: Trained) -> dict[str, Array]:
    network = trained.plan.network
    held = dict(network.parameters.views(trained.parameters)) | dict(network.statistics.views(trained.statistics))
    return {name: np.ascontiguousarray(array) for name, array in held.items()}


def _safetensors(trained: Trained, path: Path) -> Written:
    from safetensors.numpy import save

    recipe = {"network": to_json(trained.plan.network), "target": trained.target.as_json()}
    metadata = {RECIPE: json.dumps(recipe, ensure_ascii=False)}
    write_whole(path, save(_arrays(trained), metadata))
    note = "the preparation of the samples is not in it; ONNX and the run itself have it"
    own = trained.preparation is not None and not _is_identity(trained)
    return Written(path, (note,) if own else ())


def _is_identity(trained: Trained) -> bool:
    preparation = trained.preparation
    if preparation is None or preparation.mean is None or preparation.deviation is None or preparation.kind == "table":
        return preparation is None
    return not preparation.mean.any() and bool((preparation.deviation == 1).all())


def from_safetensors(path: str | Path, recipe: str | Path | None = None) -> Trained:
    """A network from a file of weights and its recipe, without data and without steps.

    Args:
        path: a file of safetensors, with the arrays by name, such as "dense_1.W"
        recipe: a JSON file with the network, {"network": {...}, "target": {...}}, as `export`
            writes; by default that in the file's metadata, or the file of the same name that ends
            in .json. In place of {...} the network may be {"text": "64 relu, 10", "input_shape":
            [20]}

    Raises:
        DataError: for a file that can't be read, and without a recipe
        SettingError: for arrays that are not those of the network
    """
    from chainrule.data import Target
    from chainrule.interchange.imported import Imported, Meaning, filled, trained_from
    from chainrule.network import Network

    path = Path(path)
    arrays, metadata = _read_safetensors(path)
    about = _recipe(path, metadata, recipe)
    try:
        own = about["network"]
        network = Network(own["text"], own["input_shape"]) if "text" in own else from_json(own)
        if not isinstance(network, Network):
            raise TypeError("it is no network")
        target = Target.from_json(about["target"]) if about.get("target") else None
    except (KeyError, TypeError, ValueError, RunError) as error:
        raise DataError(f"{path}: its recipe has no network that can be read ({error})") from None
    names = {entry.name for layout in (network.parameters, network.statistics) for entry in layout.entries}
    more = sorted({*arrays} - names)
    if more:
        raise SettingError(f"{path}: {len(more)} arrays are not those of the network: {', '.join(more[:10])}")
    held = [filled(layout, arrays, network.dtype) for layout in (network.parameters, network.statistics)]
    task = None if target is None else target.task
    task = "classification" if task == "ordinal" else task
    names_of = None if target is None or task == "regression" else target.classes or target.columns
    found = Imported(network, held[0], held[1], ())
    return trained_from(found, Meaning(task, names_of), path.name)


def _read_safetensors(path: Path) -> tuple[dict[str, Array], Mapping[str, str]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file") from None
    except (SafetensorError, OSError, ValueError, TypeError, KeyError) as error:
        raise DataError(f"{path}: it is no file of safetensors, or was cut ({error})") from None


def _recipe(path: Path, metadata: Mapping[str, str], recipe: str | Path | None) -> dict[str, Any]:
    beside = Path(recipe) if recipe is not None else path.with_suffix(".json")
    text = metadata.get(RECIPE) if recipe is None else None
    if text is None:
        try:
            text = content_of(beside).decode()
        except (OSError, UnicodeError):
            missing = f"there is no recipe in its metadata, and none in {beside}"
            raise DataError(f"{path}: {missing}; write one, such as {{\"network\": {{\"text\": \"64 relu, 10\","
                            " \"input_shape\": [20]}}") from None  # fmt: skip
    try:
        about = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: its recipe is no JSON ({error})") from None
    if not isinstance(about, dict):
        raise DataError(f"{path}: its recipe is no object with a network")
    return about


# ONNX


def _onnx(trained: Trained, path: Path) -> Written:
    require_package("onnx", "onnx", "an export to ONNX")
    from chainrule.interchange.onnx_samples import build, check

    model, notes = build(trained)
    content = model.SerializeToString()
    if len(content) > MOST_MESSAGE:
        raise SettingError(f"{path}: the network takes {len(content):,} bytes; a file of ONNX takes {MOST_MESSAGE:,}")
    difference = check(trained, content)
    if difference is None:
        notes = (*notes, "not verified: ONNX Runtime is not installed (pip install onnxruntime)")
    elif not difference <= CLOSE:
        raise SettingError(f"{path}: ONNX Runtime's predictions differ by {difference:.2g}; nothing was written")
    else:
        notes = (*notes, f"verified with ONNX Runtime: predictions differ by at most {difference:.2g} of the largest")
    write_whole(path, content)
    return Written(path, notes, difference)


def _torch(trained: Trained, path: Path) -> Written:
    from safetensors.numpy import save

    from chainrule.interchange.torch_code import module_code

    weights = path.with_suffix(".safetensors")
    check_file(weights, "choose another file")
    code = module_code(trained.plan.network, weights.name)
    write_whole(weights, save(_arrays(trained)))
    write_whole(path, code.encode())
    note = f"its weights are in {weights}"
    own = not _is_identity(trained)
    more = ("the preparation of the samples is not in it; ONNX and the run itself have it",) if own else ()
    return Written(path, (note, *more))
