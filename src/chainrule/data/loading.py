"""From raw samples to a data set: what is predicted, how rows are divided, and preparation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from chainrule import generators
from chainrule.arrays import Array, Samples, Shape
from chainrule.data import notes, sequences, token_columns
from chainrule.data.barrier import guarded
from chainrule.data.builtin import BUILTIN
from chainrule.data.columns import check_prepared
from chainrule.data.columns import texts as as_text
from chainrule.data.dataset import Dataset, prepare
from chainrule.data.finding import Data, find, named, one_name
from chainrule.data.memory import most_memory
from chainrule.data.picture_files import PictureFiles
from chainrule.data.preparation import Preparation, fit_preparation
from chainrule.data.series_loading import is_series, load_series
from chainrule.data.settings import Settings
from chainrule.data.source import Source, check_types
from chainrule.data.splits import Split, divide
from chainrule.data.streamed.array_files import paths_of
from chainrule.data.streamed.cache import most as most_cached
from chainrule.data.streamed.choosing import streamed
from chainrule.data.targets import (
    Label,
    checked_order,
    class_numbers,
    fit_target,
    inherent_order,
    is_one_hot,
    positions_of,
)
from chainrule.data.text import is_written_as_table
from chainrule.data.text_windows import find_text, is_share, load_text
from chainrule.data.tokens import CHARACTERS
from chainrule.data.weights import checked_weight
from chainrule.errors import DataError, require, setting

AUTOMATIC = token_columns.Wanted(only_prose=True)
"""How columns of text are read as tokens unless something else is asked for."""


def load(
    what: Data,
    *,
    target: str | Sequence[str] | None = None,
    drop: str | Sequence[str] = (),
    task: str | None = None,
    image_size: Shape | None = None,
    validation: float | Data = 0.1,
    test: float | Data = 0.2,
    split: str | None = None,
    shuffle: bool = True,
    seed: int = 0,
    scale_target: bool = True,
    likely_task: str | None = None,
    weight: Array | str | None = None,
    read: Mapping[str, str] | None = None,
    order: Sequence[Label] | None = None,
    memory: int | str | None = None,
    cache: int | str | None = None,
    samples: str | None = None,
    text: str | None = None,
    tokens: str | None = None,
    length: int | None = None,
    time: str | None = None,
    horizon: int | None = None,
    series: str | None = None,
    season: int | None = None,
    preparation: Preparation | None = None,
) -> Dataset:
    """Read, split and prepare a data set. Everything is fitted on the training set only.

    Args:
        what: name of a built-in data set, a file or folder, arrays (x, y), or a pandas or polars
            DataFrame
        target: the column to predict, or several; by default the last
        drop: columns to leave out
        task: "classification", "ordinal" (classes in order), "regression" or "multilabel" (several
            columns of 0 and 1); by default inferred from the target
        image_size: (height, width) to which images are resized
        validation: share of the rows for the validation set, or separate data in a form of `what`
        test: the same for the test set
        split: "time:COLUMN" for the latest rows as test set and those before as validation set, or
            "group:COLUMN" for no group in two sets; by default by chance, stratified by class
        shuffle: False for the last rows as test set and those before as validation set
        seed: seed of the split
        scale_target: whether to standardize a numeric target
        likely_task: the task to assume if the target is ambiguous
        weight: how much each sample counts: the name of a column, which then is no input, or an
            array of shape (samples,)
        read: what to read columns as instead of what is recognized, such as {"zip": "category"}:
            number, category, date, time or boolean
        order: the classes from the lowest to the highest, such as ["low", "medium", "high"], for
            an ordinal target; numbers are in order by themselves
        memory: the most that a table or arrays in files (also memory maps), or the pictures of a
            folder, may take in memory, in bytes or as "2GB"; by default half of what is free. More
            pictures stay on disk, and each mini-batch is decoded while the one before it is trained
            on: the results are the same. Tables are streamed: read block by block, and prepared
            once into the cache; arrays are read block by block from their files
        cache: the most that the cache may take on disk, in bytes or as "20GB"; by default what is
            free
        samples: what the samples of an array are, "sequences" of shape (time, features), or
            "pictures"; by default told from their shape and numbers (see `sequences.told`)
        text: what columns of text become: "tokens", which the network reads one after another, or
            "words", an input for each word; by default "tokens" for text of several words from
            10,000 training rows on
        tokens: what a text (book.txt, or a `Text`) is divided into: "characters", the default, or
            byte pairs, "bpe", or "bpe 2000" for so many of them; of a column of text by default
            "words"
        length: the tokens of a window of a text, which is a sample; by default 64. The end of the
            text is held out. Of a column of text, how many tokens of a cell are read at most. Of
            time series the steps of a window, by default some seasons
        time: the column of times, of time series to forecast; the latest are held out
        horizon: how many steps are forecast; by default a season
        series: the column that tells several time series apart
        season: after how many steps the series usually repeats itself; by default it follows from
            the times, such as 24 hours, 7 days or 12 months
        preparation: a fitted preparation to use instead of fitting one

    Raises:
        DataError: with file, row and column, for data that can't be used

    Examples:
        >>> data = load("iris")
        >>> data.training.x.shape, data.target.classes
        ((105, 4), ('setosa', 'versicolor', 'virginica'))
    """
    of_table = {"target": target, "drop": drop or None, "task": task, "read": read or None, "image_size": image_size,
                "split": split, "shuffle": None if shuffle else False, "weight": weight, "order": order,
                "memory": memory, "samples": samples, "text": text}  # fmt: skip
    seed = generators.seed(seed)
    of_series: dict[str, Any] = {"time": time, "horizon": horizon, "series": series, "season": season}
    are_series = is_series(what) or (preparation is not None and preparation.kind == "series")
    if are_series or any(value is not None for value in of_series.values()):
        of_series |= {"length": length, "validation": validation, "test": test, "scale_target": scale_target}
        return _of_series(what, of_series, of_table | {"tokens": tokens}, seed, likely_task, preparation)
    settings_of_text: dict[str, Any] = {"seed": seed, "likely_task": likely_task, "scale_target": scale_target}
    as_tokens = None if text is None else token_columns.wanted(text, tokens, length)
    data = _as_text(what, tokens, length, validation, test, preparation, of_table, settings_of_text)
    if data is not None:
        return data
    validation, test = (_in_folder(what, name, part) for name, part in (("validation", validation), ("test", test)))
    target, drop, read = named(what, target, drop, read)
    weight = one_name(what, weight)
    weighing = weight if isinstance(weight, str) else None
    reading: dict[str, Any] = {"target": target, "drop": drop, "task": task, "image_size": image_size}
    if read:
        reading["read"] = read
    if order is not None:
        order = checked_order(order)
        choice = f"leave {setting('order')} or {setting('task')} out"
        require(task in (None, "ordinal"), f"the classes have an order, but the task is {task}; {choice}")
        task = reading["task"] = "ordinal"
    by, _ = Split.named(split, shuffle), most_memory(memory)
    from chainrule.data.streamed.array_loading import ArrayRequest, load_arrays, may_be_streamed, streamed_arrays
    from chainrule.data.streamed.loading import TableRequest, load_streamed

    bound = most_cached(cache)
    common = (task, order, validation, test, by, seed, scale_target, likely_task)
    chosen: dict[str, Any] = {"target": target, "drop": drop, "task": task, "image_size": image_size, "seed": seed,
              "likely_task": likely_task, "scale_target": scale_target}  # fmt: skip
    others = {"read": read, "memory": memory, "samples": samples, "text": text, "tokens": tokens, "length": length,
              "split": split, "shuffle": None if shuffle else False, "weight": weighing,
              "order": order and list(order)}  # fmt: skip
    chosen |= {name: value for name, value in others.items() if value not in (None, {})}
    if (in_files := streamed_arrays(what, memory)) is not None:
        of_others = ("target", "drop", "image_size", "read", "text", "tokens", "length")
        problem = "arrays are streamed, without columns to choose from"
        left_out = [name for name in of_others if chosen.get(name)] + ["weight"] * (weighing is not None)
        require(not left_out, f"{problem}; leave {' and '.join(map(setting, left_out))} out")
        of_arrays = ArrayRequest(*common, samples, weight)
        data = load_arrays(what, *in_files, of_arrays, preparation)
        again = _to_load_again(what, validation, test, chosen | {"memory": in_files[0]}) if weight is None else None
        return replace(data, settings=again)
    if (on_disk := streamed(what, memory, as_text(read))) is not None:
        files, most, why = on_disk
        given = [name for name in ("image_size", "samples") if chosen.get(name) is not None]
        given += ["weight"] * (weight is not None and weighing is None)
        problem = f"{files.name}: it is a table that is streamed, with a row for each sample"
        require(not given, f"{problem}; leave {' and '.join(map(setting, given))} out")
        tokens_of = as_tokens if text is not None or len(files) < token_columns.FROM else AUTOMATIC
        request = TableRequest(*common, target, drop, read, weighing, tokens_of, bound)
        data = load_streamed(files, most, why, request, preparation)
        as_read = {"target": list(data.target.columns) or data.target.name, "memory": most}
        return replace(data, settings=_to_load_again(what, validation, test, chosen | as_read))
    with guarded(f"{what if isinstance(what, str | Path) else 'the data'}: it can't be prepared"):
        kept = {**reading, "drop": [column for column in drop if column not in (by.column, weighing)]}
        source = find(what, **kept, weight=weighing, memory=memory)
        source = replace(source, content_hash=source.fingerprint)
        if weighing is None:
            source = replace(source, weight=_combined(source, checked_weight(weight)))
        ranks = order or inherent_order(source, task or source.task, likely_task)
        task = "ordinal" if ranks else task
        source = replace(source, task=task or source.task or _likely(likely_task, source.target))
        if source.target is None:
            raise DataError(f"{source.name}: there are no targets; pass an array 'y', or name the column to predict")
        # Runs of earlier versions may have recorded a size that was not used.
        limit = None if may_be_streamed(what) else memory
        _check_choices(source, target, drop, read, image_size if preparation is None else None, limit)
        source, guess = _told(source, samples, what)
        source = _of_one_column(source)
        if source.is_table:
            check_types(source.name, source.features, read or {})
            check_prepared(source.name, source.features)
        shares: list[Any] = [part if is_share(part) else 0.0 for part in (validation, test)]
        placed = by.values(source)
        rows = divide(source, shares[0], shares[1], seed, by, placed)
        found = [
            *guess,
            *notes.of_files(source),
            *notes.of_order(order, source),
            *notes.of_split(by, placed, rows, shares),
        ]
        source = by.without(source, drop)
        is_new = preparation is None
        if preparation is None:
            fitted = fit_target(source, rows[0], scale_target, ranks or None)
            is_automatic = text is None and len(rows[0]) >= token_columns.FROM
            how = AUTOMATIC if is_automatic else as_tokens
            preparation = fit_preparation(source, rows[0], fitted, how)
            if is_automatic and preparation.texts_as_tokens:
                found.append(f"for an input for each word instead of tokens, choose {setting('text', 'words')}")
            size = None if image_size is None else tuple(image_size)
            preparation = replace(preparation, weight=weighing, image_size=size)
            if source.is_table:
                found.extend(notes.of_missing(source, preparation))
            is_read = bool(preparation.texts_as_tokens) or as_tokens is None
            require(is_read, f"{source.name}: no column is a text to read as tokens; leave {setting('text')} out")
        # A table is faster to encode than to divide; pictures would take twice the memory.
        whole = prepare(preparation, source) if source.is_table else None
        training, held_out, tested = (
            (prepare(preparation, source.take(r)) if whole is None else whole.take(r)) if len(r) else None for r in rows
        )
        assert training is not None
        if is_new:
            _verify(source, np.concatenate(rows[1:]))
        for part, name in ((training, "training"), (held_out, "validation"), (tested, "test")):
            if part is not None and part.weight is not None and not part.weight.any():
                raise DataError(f"{source.name}: all samples of the {name} set have the weight 0; split it differently")
        column = (list(source.target_columns) or source.target_name) if source.is_table else None
        as_trained = {**reading, "target": column, "read": {**(read or {}), **preparation.texts}, "weight": weighing}

        def of_its_own(name: str, part: Any) -> tuple[Samples, str]:
            try:
                own = find(part, **as_trained, memory=memory)
                if is_new:
                    _verify(own)
                found.extend(notes.of_own(by, placed, rows[0], own))
                return prepare(preparation, own), own.fingerprint
            except DataError as error:
                raise DataError(f"{name} data: {error}") from None

        held_out, of_validation = (held_out, "") if is_share(validation) else of_its_own("validation", validation)
        tested, of_test = (tested, "") if is_share(test) else of_its_own("test", test)
        settings = _to_load_again(what, validation, test, chosen) if weight is None or weighing else None
        used, held_out_rows, tested_rows = (r if len(r) else None for r in rows)
        return Dataset(
            training, held_out, tested, preparation.target, preparation, source.name, source.fingerprint, settings,
            source, used, held_out_rows, tested_rows, of_validation, of_test, by, tuple(found),
        )  # fmt: skip


def _as_text(
    what: Data, tokens: str | None, length: int | None, validation: float | Data, test: float | Data,
    preparation: Preparation | None, of_table: Mapping[str, Any], settings: dict[str, Any],
) -> Dataset | None:  # fmt: skip
    """The windows of what is a text; None for other data.

    Raises SettingError for arguments of `load` that are for tables and pictures alone.
    """
    of_column = of_table["text"] is not None
    wanted = (not of_column and (tokens is not None or length is not None)) or (
        preparation is not None and preparation.kind == "text"
    )
    chosen = [name for name, value in of_table.items() if value is not None]
    chosen = [name for name in chosen if not (wanted and name == "task" and of_table[name] == "classification")]
    with guarded(f"{what if isinstance(what, str | Path) else 'the data'}: it can't be read"):
        text = find_text(what, wanted, as_table=bool(chosen))
    if text is None:
        return None
    problem = f"{text.name}: it is a text, without columns; leave {' and '.join(map(setting, chosen))} out"
    if wanted and not preparation and is_written_as_table(text.content[:100_000].encode()):
        problem += f", or read its columns of text as tokens ({setting('text', 'tokens')})"
    require(not chosen, problem)
    data = load_text(text, tokens=tokens, length=length, validation=validation, test=test, preparation=preparation)
    none: dict[str, Any] = {"target": None, "drop": [], "task": None, "image_size": None}
    of_text = {"tokens": tokens or CHARACTERS, "length": data.input_shape[0]}
    kept = _to_load_again(what, validation, test, none | settings | of_text)
    return replace(data, settings=kept, found=notes.of_text(text, wanted))


def _of_series(
    what: Data, chosen: dict[str, Any], of_table: Mapping[str, Any], seed: int, likely_task: str | None,
    preparation: Preparation | None,
) -> Dataset:  # fmt: skip
    """The windows of time series; raises SettingError for arguments of `load` that are for other
    data.
    """
    name = what if isinstance(what, str | Path) else "the data"
    others = [argument for argument, value in of_table.items() if value is not None]
    others = [argument for argument in others if argument not in ("target", "drop", "read")]
    others = [argument for argument in others if (argument, of_table[argument]) != ("task", "regression")]
    require(not others, f"{name}: it is read as time series; leave {' and '.join(map(setting, others))} out")
    shares = [part for part in ("validation", "test") if not is_share(chosen[part])]
    ends = "the ends of the series are held out; pass a share, and measure on other data with evaluate"
    require(not shares, f"the {' and the '.join(shares)} data is no share: {ends}")
    target, drop, read = named(what, of_table["target"], of_table["drop"] or (), of_table["read"])
    with guarded(f"{name}: it can't be prepared"):
        data, plan = load_series(what, **{**chosen, "target": target, "drop": drop, "read": read or None},
                                 preparation=preparation)  # fmt: skip
    kept = {"target": plan.target, "drop": drop, "task": "regression", "image_size": None, "seed": seed,
            "likely_task": likely_task, "scale_target": chosen["scale_target"], "time": plan.time,
            "horizon": plan.horizon, "series": plan.by, "season": plan.season, "length": plan.length,
            **({"read": read} if read else {})}  # fmt: skip
    return replace(data, settings=_to_load_again(what, chosen["validation"], chosen["test"], kept))


def _in_folder(what: Any, name: str, part: Any) -> Any:
    """The arrays of this set in a folder that has a file for each set, instead of a share of the
    others; else the part as it is.
    """
    if not (is_share(part) and part and isinstance(what, str | Path)) or str(what) in BUILTIN:
        return part
    own = paths_of(what, name) if Path(what).is_dir() else None
    return part if own is None else str(own.x)


def _told(source: Source, samples: str | None, what: Any) -> tuple[Source, list[str]]:
    """The source with what its samples are, and a line where that was guessed."""
    is_array = isinstance(source.features, np.ndarray) and source.names is None
    if not is_array or source.sequence is not None or str(what) in BUILTIN:
        fits = samples is None or (samples == sequences.SEQUENCES and source.sequence is not None)
        problem = (
            "it is no array, of which alone this is a question" if not is_array else "what its samples are is known"
        )
        require(fits, f"{source.name}: {problem}; leave {setting('samples')} out")
        return source, []
    found, guess = sequences.told(source.name, source.features, samples or source.samples or None)
    if found != sequences.SEQUENCES:
        return replace(source, samples=found), [guess] if guess else []
    x, y = source.features, source.target
    x = x[..., None] if x.ndim == 2 else x
    y = None if y is None else sequences.at_steps(y, x.shape[1])
    return replace(source, features=x, target=y, samples=found), [guess] if guess else []


def _combined(source: Source, weight: Array | None) -> Array | None:
    """These weights, times those of the positions that count in sequences with lengths."""
    if source.weight is None or weight is None:
        return source.weight if weight is None else weight
    return source.weight * weight.reshape(len(weight), *(1,) * (source.weight.ndim - weight.ndim))


def _verify(source: Source, rows: Any = slice(None)) -> None:
    """Find a damaged picture on disk before training does; those of the training set are read when
    the preparation is fitted.
    """
    if isinstance(source.features, PictureFiles):
        source.features.only(rows).verify()


def _of_one_column(source: Source) -> Source:
    """The source with the classes that a one-hot target marks.

    Raises DataError for several columns that are not one-hot where classes are to be predicted.
    """
    y = source.target
    if y is None or y.ndim < 2 or source.task in ("regression", "multilabel"):
        return source
    if positions_of(y, source.task, source.features):
        return source
    if source.task is None and not is_one_hot(y):
        return source
    classes = class_numbers(y, source.name)
    classes = np.array(source.target_columns)[classes] if source.target_columns else classes
    return replace(source, target=classes, task=source.task or "classification")


def _to_load_again(what: Any, validation: Any, test: Any, chosen: dict[str, Any]) -> Settings | None:
    """The arguments of `load` that load the same data again, with `what` only if it is a name or a
    file; None if the validation or test set can't be named.
    """
    are_named = all(is_share(part) or isinstance(part, str | Path) for part in (validation, test))
    if not are_named:
        return None
    named_data = {"what": _absolute(what)} if isinstance(what, str | Path) else {}
    return cast(Settings, {**named_data, "validation": _absolute(validation), "test": _absolute(test), **chosen})


def _absolute(what: Any) -> Any:
    """The name of a built-in data set, or a path that is valid in every working directory; a share
    of the rows as it is.
    """
    if is_share(what):
        return what
    return str(what) if str(what) in BUILTIN else str(Path(what).absolute())


def _check_choices(
    source: Source,
    target: str | Sequence[str] | None,
    drop: Sequence[str],
    read: Mapping[str, str] | None,
    size: Shape | None,
    memory: int | str | None,
) -> None:
    """Raise SettingError for a choice of columns, or of a size, where there is none to make."""
    if not source.is_table:
        chosen = bool(drop or read) or target not in (None, source.target_name)
        columns = f"{setting('target')}, {setting('drop')} and {setting('read')}"
        problem = f"it is not a table with columns to choose from; leave {columns} out"
        require(not chosen, f"{source.name}: {problem}")
    known = (None, source.target_name, list(source.target_columns))
    require(target in known, f"{source.name}: its targets are passed apart from it; leave {setting('target')} out")
    are_files = bool(source.is_table and (source.files or Path(source.name).is_file()))
    is_folder = not source.is_table and source.features.ndim > 2 and source.names is not None
    problem = "it is no folder of pictures, which alone are resized"
    require(size is None or is_folder, f"{source.name}: {problem}; leave {setting('image_size')} out")
    problem = "it is no folder of pictures, and no table or array in files, which alone can stay on disk"
    require(memory is None or is_folder or are_files, f"{source.name}: {problem}; leave {setting('memory')} out")


def _likely(task: str | None, target: Array | None) -> str | None:
    """The task that the loss suggests, unless the target rules it out."""
    numeric = target is not None and target.dtype.kind in "iuf"
    are_labels = target is not None and target.ndim > 1 and not is_one_hot(target)
    ruled_out = not numeric if task == "regression" else are_labels
    return None if ruled_out else task
