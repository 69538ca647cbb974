"""Reading files of tables, NPZ files, and folders of images in one subfolder per class."""

from __future__ import annotations

import io
import math
import numbers
import zipfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from reprlib import repr as brief
from typing import Any

import numpy as np

from chainrule.arrays import Array, Shape, pack
from chainrule.data import sequences
from chainrule.data.barrier import FILE, check_budget, guarded
from chainrule.data.columns import check_read, texts
from chainrule.data.formats import PICTURES, read_bytes
from chainrule.data.patterns import holds_tables, names, read_table
from chainrule.data.pictures import read_pictures, read_unlabelled
from chainrule.data.source import LARGEST, Source, check_finite, fingerprint, from_table
from chainrule.data.streamed.array_files import ArrayPaths, mapped_file, paths_of
from chainrule.data.weights import checked_weight
from chainrule.errors import DataError

SPARSE = 100_000_000
"""The most numbers of a sparse matrix, each of which takes up to 30 bytes until training starts."""


def read(
    path: Path,
    target: str | Sequence[str] | None = None,
    drop: Sequence[str] = (),
    task: str | None = None,
    image_size: Shape | None = None,
    read: Mapping[str, str] | None = None,
    memory: int | str | None = None,
) -> Source:
    """Raw samples from a file, or from a folder of tables or of images.

    Args:
        path: a file of a table, a pattern that several of them match, an NPZ file, or a folder
        target: a table's target column, or several; by default the last
        drop: a table's columns to leave out
        task: "classification", "ordinal", "regression" or "multilabel", if known
        image_size: (height, width) to which images are resized
        read: what to read a table's columns as
        memory: the most that images may take, as in `most_memory`

    Raises:
        DataError: with file, row and column, for data that can't be used
    """
    if (arrays := paths_of(path)) is not None:
        return read_arrays(arrays, task)
    if path.is_dir() and not holds_tables(path):
        return read_pictures(path, image_size, memory)
    if path.suffix.lower() == ".npz":
        return read_npz(path, task)
    check_read(read or {})
    frame, content_hash = read_table(path, texts(read or {}))
    return replace(from_table(str(path), frame, target, drop, task, content_hash, read), files=names(path))


def read_samples(path: Path, image_size: Shape | None = None, texts: Collection[str] = ()) -> Source:
    """Raw samples without targets, for prediction.

    Takes what `read` takes, and also a folder of images without subfolders, or a single image.
    The columns `texts` of a CSV file are left as text.
    """
    if (arrays := paths_of(path)) is not None:
        return replace(read_arrays(arrays), target=None, weight=None)
    if (path.is_dir() and not holds_tables(path)) or path.suffix.lower() in PICTURES:
        return read_unlabelled(path, image_size)
    if path.suffix.lower() == ".npz":
        return replace(read_npz(path), target=None)
    frame, _ = read_table(path, texts, hashes=False)
    check_finite(str(path), frame)
    return Source(str(path), frame, None, files=names(path))


def read_npz(path: Path, task: str | None = None) -> Source:
    """Raw samples from an NPZ file.

    The samples are the first array named x, X, data, images, sequences or features; the targets
    the first named y, Y, target, targets or labels. With an array `lengths`, or named sequences,
    samples are sequences of the shape (time, features), of which so many time steps are valid.
    Named images, they are pictures. Raises DataError for a file without samples, or with pickled
    objects.
    """
    content = read_bytes(path)
    with guarded(f"{path}: not an NPZ file of plain arrays"):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            most = max((entry.file_size for entry in archive.infolist()), default=0)
        check_budget(str(path), most // 8, 1, FILE)
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            names = ("x", "X", "data", "images", "sequences", "features")
            samples = next((name for name in names if name in file), None)
            targets = next((name for name in ("y", "Y", "target", "targets", "labels") if name in file), None)
            if samples is None:
                found = ", ".join(file.files) or "none"
                raise DataError(f"{path}: no array named 'x' for the samples; the arrays are: {found}")
            x, y = file[samples], None if targets is None else file[targets]
            lengths = file.get("lengths")
            check_budget(str(path), x.size, 1, FILE)
    name, digest = str(path), fingerprint(content)
    if lengths is not None:
        return source_from_sequences(x, lengths, y, name, task, digest)
    source = source_from_arrays(x, y, name, task, digest)
    return replace(source, samples={"images": "pictures", "sequences": "sequences"}.get(samples, ""))


def read_arrays(paths: ArrayPaths, task: str | None = None) -> Source:
    """Raw samples from files of NPY, read into memory: the samples, their targets and, if there are
    some, their weights.
    """
    every = (paths.x, paths.y, paths.weight, paths.lengths)
    x, y, weight, lengths = (None if one is None else np.array(mapped_file(one)) for one in every)
    if lengths is not None:
        assert x is not None
        source = source_from_sequences(x, lengths, y, paths.name, task)
    else:
        source = replace(source_from_arrays(x, y, paths.name, task), samples=paths.samples)
    return source if weight is None else replace(source, weight=checked_weight(weight))


def in_memory(path: Path) -> Any:
    """What a file holds, as arrays (x, y) or a data frame: for a network that was trained on these
    in Python, whose content is compared, not the file's.
    """
    if (arrays := paths_of(path)) is not None:
        return mapped_file(arrays.x), None if arrays.y is None else mapped_file(arrays.y)
    if path.suffix.lower() != ".npz":
        return read_table(path, hashes=False)[0]
    source = read_npz(path)
    return source.features, source.target


def source_from_sequences(
    x: Array, lengths: Any, y: Any, name: str = "arrays", task: str | None = None, fingerprint: str = ""
) -> Source:
    """A source from sequences (samples, time, features) and their lengths, with a target for each
    or at each time step; the other arguments are those of `source_from_arrays`.
    """
    x = np.asarray(x)
    sequence: Shape = (x.shape[1], math.prod(x.shape[2:])) if x.ndim > 1 else ()
    x, weight = sequences.packed(name, x, lengths), None
    if y is not None:
        y, weight = sequences.valid_targets(np.asarray(y), np.asarray(lengths), sequence[0])
    source = source_from_arrays(x, y, name, task, fingerprint)
    return replace(source, columns=sequences.names(sequence), sequence=sequence, weight=weight)


def source_from_arrays(x: Any, y: Any, name: str = "arrays", task: str | None = None, fingerprint: str = "") -> Source:
    """A source from arrays.

    Args:
        x: numbers of shape (samples, ...), or (samples,) for a single feature, also a sparse matrix
            of SciPy; a tuple of sequences (samples, time, features) and their lengths, integers
            (samples,); any other tuple of arrays for a network with several inputs
        y: targets of shape (samples,) or (samples, outputs), or (samples, positions, outputs) of
            each position; None if there are none
        name: used in error messages
        task: "classification", "ordinal", "regression" or "multilabel", if known
        fingerprint: hash of the content; computed if empty

    Raises:
        DataError: x is not numeric, a value is not finite, or a shape is wrong
    """
    several = isinstance(x, tuple) and all(isinstance(part, np.ndarray) for part in x)
    if several and len(x) == 2 and x[0].ndim == 3 and x[1].ndim == 1 and x[1].dtype.kind in "iu":
        return source_from_sequences(x[0], x[1], y, name, task, fingerprint)
    of_sparse = is_sparse(x)
    x = pack(x) if several else dense(name, x)
    if x.ndim == 1:
        x = x[:, None]
    if x.ndim == 0 or x.dtype.kind not in "buif":
        raise DataError(f"{name}: x must be a numeric array with a row per sample, not {x.dtype} of shape {x.shape}")
    check_numbers(name, "x", x)
    targets = None if y is None else checked_targets(name, y)
    return Source(name, x, targets, "y", task, fingerprint, is_sparse=of_sparse)


def is_sparse(x: Any) -> bool:
    """Whether this is a sparse matrix or array of SciPy, which takes long to import."""
    return hasattr(x, "nnz") and hasattr(x, "toarray")


def dense(name: str, x: Any) -> Array:
    """An array; of a sparse matrix in float32.

    Raises DataError for a sparse matrix that would take too much memory.
    """
    if not is_sparse(x):
        return np.asarray(x)
    if math.prod(x.shape) > SPARSE:
        size = f"{' x '.join(f'{n:,}' for n in x.shape)} is more than {SPARSE:,} numbers"
        remedy = "keep fewer columns (max_features, min_frequency), or use fewer rows"
        raise DataError(f"{name}: the sparse matrix becomes a dense array, but {size}; {remedy}")
    return np.asarray(x.astype(np.float32).toarray())


def checked_targets(name: str, y: Any) -> Array:
    """(samples,), (samples, outputs) or (samples, positions, outputs) targets; raises DataError for
    what can't be predicted.
    """
    y = np.asarray(y)
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.dtype.kind == "S":
        with guarded(f"{name}: y can't be read as text"):
            y = np.char.decode(y, "utf-8")
    if y.dtype.kind == "U":
        with guarded(f"{name}: y can't be read as text"):
            y.tolist()  # fails for numbers that are no characters
    if y.dtype.kind == "O":
        _check_labels(name, y)
    if y.dtype.kind not in "buifUO":
        raise DataError(f"{name}: y must be numbers or text, not {y.dtype}")
    if y.ndim not in (1, 2, 3) or 0 in y.shape[1:]:
        shapes = "(samples,), (samples, outputs) or (samples, positions, outputs)"
        raise DataError(f"{name}: y must have the shape {shapes}, not {y.shape}")
    check_numbers(name, "y", y)
    return y


def _check_labels(name: str, y: Array) -> None:
    """Raise DataError for targets of any type that are neither all text nor all numbers."""
    labels = y.ravel().tolist()
    for row, label in enumerate(labels):
        if not isinstance(label, str | numbers.Real) or label != label:
            raise DataError(f"{name}, y, row {row}: {brief(label)} is neither text nor a number; correct it")
        if isinstance(label, str) != isinstance(labels[0], str):
            problem = f"{brief(label)}, but row 0 has {brief(labels[0])}"
            raise DataError(f"{name}, y, row {row}: {problem}; use text in all rows, or numbers")


def check_numbers(name: str, which: str, array: Array, first: int = 0) -> None:
    """Raise DataError for a number that is not finite or too large, of rows of an array from
    `first` on.
    """
    if array.dtype.kind != "f" or array.size == 0:
        return
    # NaN is neither; minimum and maximum take no memory, unlike a mask.
    if float(array.min()) >= -LARGEST and float(array.max()) <= LARGEST:
        return
    large = np.abs(array) > LARGEST if array.itemsize > 2 else False  # float16 ends at 65,504
    index = tuple(np.argwhere(large | ~np.isfinite(array))[0].tolist())
    column = f", column {', '.join(map(str, index[1:]))}" if len(index) > 1 else ""
    finite = f"is too large: at most {LARGEST:.2g} is supported; use another unit"
    problem = finite if np.isfinite(array[index]) else "is not a finite number; correct the value or remove the row"
    raise DataError(f"{name}, {which}, row {first + index[0]}{column}: {array[index]} {problem}")
