"""Files of ONNX: read as data, in which nothing is executed, and within bounds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from chainrule.errors import DataError, require_package

MOST_BYTES = 2**31
"""The largest file, which is that of the format."""
MOST_NODES = 200_000


def read_file(path: Path) -> Any:
    """The model of a file; raises DataError for what is none."""
    require_package("onnx", "onnx", "reading ONNX files")
    import onnx

    try:
        if not path.is_file():
            raise DataError(f"{path}: there is no such file")
        if path.stat().st_size > MOST_BYTES:
            raise DataError(f"{path}: it is larger than {MOST_BYTES:,} bytes, as no ONNX file is")
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: it can't be read ({error.strerror})") from None
    try:
        model = onnx.load_model_from_string(content)
    except Exception as error:  # of protocol buffers
        raise DataError(f"{path}: it is no ONNX file, or was cut ({type(error).__name__})") from None
    if not model.graph.node or not model.graph.output:
        raise DataError(f"{path}: it is no ONNX file: it has no nodes")
    if len(model.graph.node) > MOST_NODES:
        raise DataError(f"{path}: it has {len(model.graph.node):,} nodes; at most {MOST_NODES:,} are read")
    beside = [t.name for t in model.graph.initializer if t.data_location == onnx.TensorProto.EXTERNAL]
    if beside:
        if all(_is_beside(path, t) for t in model.graph.initializer if t.name in {*beside}):
            onnx.load_external_data_for_model(model, str(path.parent))
        else:
            raise DataError(f"{path}: its tensor {beside[0]} is in a file that is not beside it")
    return model


def _is_beside(path: Path, tensor: Any) -> bool:
    """Whether the data of a tensor is in a regular file of the same folder, of a size that fits."""
    about = {entry.key: entry.value for entry in tensor.external_data}
    name = about.get("location", "")
    if not name or name in (".", "..") or "/" in name or "\\" in name:
        return False
    place = path.parent / name
    if place.is_symlink() or not place.is_file() or place.stat().st_size > 4 * MOST_BYTES:
        return False
    offset, length = about.get("offset", "0"), about.get("length", "0")
    return offset.isdigit() and length.isdigit() and int(offset) + int(length) <= place.stat().st_size
