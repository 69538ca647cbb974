"""Training in one call: data is read, choices are made, and the network is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from reprlib import repr as brief
from typing import Any

from chainrule.arrays import Array, Shape
from chainrule.augmentation import Augmentation
from chainrule.data import Data, Dataset, load
from chainrule.data.targets import Label
from chainrule.descent import Optimizer
from chainrule.errors import DataError, require
from chainrule.losses import Loss, Penalty
from chainrule.losses import loss as named_loss
from chainrule.processes import is_first, world
from chainrule.runs.agreement import agree
from chainrule.runs.recorder import Recorder
from chainrule.runs.trained import Trained
from chainrule.threads import most_threads
from chainrule.training import loop
from chainrule.training.choice import plan_for
from chainrule.training.class_weights import ClassWeight
from chainrule.training.loop import Listener, Progress
from chainrule.training.metrics import Choice
from chainrule.training.networks import Layers
from chainrule.training.plan import Plan
from chainrule.training.planning import AUTO
from chainrule.training.progress_bar import with_progress


def train(
    *what: Layers | Data | Dataset | None,
    network: Layers | None = None,
    data: Data | Dataset | None = None,
    target: str | Sequence[str] | None = None,
    drop: str | Sequence[str] = (),
    task: str | None = None,
    read: Mapping[str, str] | None = None,
    image_size: Shape | None = None,
    memory: int | str | None = None,
    cache: int | str | None = None,
    weight: Array | str | None = None,
    order: Sequence[Label] | None = None,
    samples: str | None = None,
    text: str | None = None,
    tokens: str | None = None,
    length: int | None = None,
    time: str | None = None,
    horizon: int | None = None,
    series: str | None = None,
    season: int | None = None,
    loss: str | Loss | None = None,
    class_weight: ClassWeight | None = None,
    optimizer: str | Optimizer | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    seed: int = 0,
    validation: float | Data = 0.1,
    test: float | Data = 0.2,
    split: str | None = None,
    shuffle: bool = True,
    patience: int | str | None = AUTO,
    monitor: Choice = "loss",
    min_delta: float = 0.0,
    threshold: Choice | float | None = None,
    augment: str | Augmentation | Sequence[str | Augmentation] | None = None,
    metrics: Choice | Sequence[Choice] | None = None,
    penalties: str | Penalty | Sequence[str | Penalty] = (),
    callbacks: Sequence[Listener] = (),
    dtype: str = "float32",
    engine: str | None = None,
    devices: int | None = None,
    threads: int | None = None,
    progress: bool | None = None,
    start: Trained | None = None,
) -> Trained:
    """Train a network on data, and return it with its best weights.

    The data is the only argument without a name, `train(frame, target="price")`, or the second,
    after the network: `train("64 relu", frame, target="price")`.

    Args:
        what: the data, or the network and the data
        network: the hidden layers as text ("64 relu, dropout 0.2"), to which the output layer that
            fits the target is added; or all layers as a list or a Network, used as they are; by
            default two layers of 64 units, after an `Expand` of a table's numbers; for pictures
            convolutions and max-pooling; for texts an embedding and causal convolutions; for time
            series a correction of the seasonal naive forecast
        data: what `load` takes (the name of a built-in set, a file, a text, (x, y), a data frame),
            or a Dataset
        target, drop, task, read, image_size, memory, cache, weight, order: how to read the data, as
            for `load`: the column to predict, columns to leave out, "classification", "ordinal",
            "regression" or "multilabel", what to read columns as, the size of images, the memory
            that tables in files and images may take, the disk space that the cache may, sample
            weights, and the order of the classes
        samples, text, tokens, length: what the samples of an array are, what columns of text
            become, the tokens of a text, and the length of its windows
        time, horizon, series, season: of time series the column of times, the steps to forecast,
            the column that tells series apart, and the steps of a season
        loss: a loss or its name; by default cross-entropy for classes, the ordinal loss for classes
            in order, the mean squared error for quantities, and quantiles for forecasts
        class_weight: the factor of each class in the loss: by label ({"setosa": 2.0}; the others
            get 1), in class order, or "balanced" (samples / (classes * samples of the class), over
            the training set)
        optimizer: an optimizer, or text such as "adam 0.001"; by default AdamW, whose weight
            decay is chosen by validation unless a network is given, or for pictures
        epochs: the number of passes over the training set, at most; by default 100, with the
            default network for pictures 20, or 40 for few of them, and for texts 10
        batch_size: the samples of a mini-batch; by default 32, of a text 16, or the whole training
            set for an optimizer that needs it
        seed: of the split, the initial weights, the order of the samples and dropout
        validation: the share of the rows to validate on, or validation data in a form of `data`;
            ignored for a Dataset, which is split already
        test: the same, to test on
        split: how to divide the rows: "time:COLUMN" (the latest are held out), "group:COLUMN" (no
            group is in two sets); by default by chance, stratified by class; ignored for a Dataset
        shuffle: False to hold out the last rows; ignored for a Dataset. The order of samples in
            training is always random
        patience: early stopping: the number of epochs without an improvement on the validation set
            after which training stops and returns the weights of the best epoch; None to never
            stop early; "auto" for 25, or None with fewer than 50 validation rows unless `monitor`
            or `min_delta` is given
        monitor: what must improve: the loss, or any metric in its own direction, such as "roc_auc"
        min_delta: by how much it must improve, in its own units, to count as an improvement
        threshold: for two classes, from which probability on the second one (in sorted order) is
            predicted, or the metric by which that is chosen on the validation set, such as "f1"
        augment: how the samples of each mini-batch are changed at random, such as "shift 2, rotate
            10" (see `chainrule.augmentation`), or "none"; by default what suits pictures, if no
            network is given
        metrics: what to measure on the validation set after each epoch, besides the loss: the
            names of metrics (see `chainrule.training.metrics`), among them those of
            scikit-learn's scorers, and functions (see `Metric`)
        penalties: such as "l2 0.001" or `losses.l2(0.001)`, or several
        callbacks: a list of functions that are called with every event; `Recorder(folder)` saves
            the run
        dtype: "float32" or "float64"; or "bfloat16" for products in bfloat16 and weights in float32
            (engine "jax")
        engine: "native", "numpy" or "jax" (extra `jax`), which computes on accelerators, too; by
            default the fastest on processors
        devices: on how many of JAX's devices to train
        threads: the most threads of the native engine, by default OMP_NUM_THREADS or one for each
            core; the results are the same for any number. While other programs want the cores, it
            uses one
        progress: whether to show a bar, or lines where there is no terminal; by default in a
            notebook alone
        start: a trained or imported network to go on from: its layers, its weights and its
            preparation of samples, and its loss unless one is given

    Raises:
        DataError, ShapeError, SettingError: if this can't be trained, before anything is written
        NonFiniteError: at the first step where a quantity is not finite

    Examples:
        >>> trained = train("8 tanh", "moons", epochs=60, batch_size=100, optimizer="adam 0.05")
        >>> trained.evaluate()["accuracy"] > 0.95
        True
        >>> import numpy as np
        >>> x = np.arange(200.0)
        >>> train((x, 2 * x), epochs=5, network="8 relu").target.task
        'regression'
    """
    network, data = _network_and_data(what, network, data)
    if start is not None:
        require(network is None, "the network is that of `start`; leave the other one out")
        network, loss = start.plan.network, start.plan.loss if loss is None else loss
    reading: dict[str, Any] = {
        "target": target,
        "drop": drop,
        "task": task,
        "read": read,
        "image_size": image_size,
        "memory": memory,
        "cache": cache,
        "weight": weight,
        "order": order,
        "samples": samples,
        "text": text,
        "tokens": tokens,
        "length": length,
        "time": time,
        "horizon": horizon,
        "series": series,
        "season": season,
    }
    if not isinstance(data, Dataset):
        splitting: dict[str, Any] = {"validation": validation, "test": test, "split": split, "shuffle": shuffle}
        if start is not None:
            data = other_data(start, data, **splitting, seed=seed, **reading)
        else:
            data = load(data, **splitting, seed=seed, **reading, **for_loss(loss))
    else:
        given = ", ".join(name for name, value in reading.items() if _is_given(value))
        require(not given, f"the Dataset is read already; pass {given} to load")
    plan = plan_for(
        network, data, loss=loss, class_weight=class_weight, optimizer=optimizer, epochs=epochs, batch_size=batch_size,
        seed=seed, penalties=penalties, patience=patience, monitor=monitor, min_delta=min_delta, threshold=threshold,
        augment=augment, metrics=metrics, dtype=dtype, engine=engine, devices=devices,
        threads=threads,
    )  # fmt: skip
    return follow(plan, data, begin(plan, start), with_progress(callbacks, progress), threads)


def begin(plan: Plan, start: Trained | None = None) -> Progress:
    """The progress before the first step: new weights, or those of a trained network."""
    first = loop.start(plan)
    if start is None:
        return first
    position = replace(
        first.position, parameters=start.parameters.copy(), statistics=start.statistics.copy(),
        states=plan.optimizer.start(start.parameters, plan.network.parameters),
    )  # fmt: skip
    return Progress(position)


def other_data(trained: Trained, what: Data | Dataset, **reading: Any) -> Dataset:
    """Data that a trained or imported network was not trained on, prepared as it takes it.

    Args:
        trained: the network
        what: a Dataset that is prepared, or data in a form that `load` takes
        reading: arguments of `load`, such as the target

    Raises DataError for samples or targets that don't fit the network.
    """
    shape, target = trained.plan.network.input_shape, trained.target
    if not isinstance(what, Dataset):
        require(trained.preparation is not None, "how this network's samples are prepared is not known; pass a Dataset")
        given = {name: value for name, value in reading.items() if value is not None and name != "task"}
        if target.columns and "target" not in given:
            given["target"] = list(target.columns)
        size = trained.image_size
        if size is not None and isinstance(what, str | Path) and Path(what).is_dir():
            given["image_size"] = size
        what = load(what, **given, task=target.task, preparation=trained.preparation)
    if what.input_shape != shape:
        raise DataError(f"{what.name}: its samples have the shape {what.input_shape}; the network takes {shape}")
    if (what.target.task, what.target.width) != (target.task, target.width):
        raise DataError(f"{what.name}: its target is {what.target.about}; the network's is {target.about}")
    return what


def _network_and_data(what: tuple[Any, ...], network: Any, data: Any) -> tuple[Any, Any]:
    """The network and the data, which may have been passed in place or by name."""
    if len(what) == 1 and data is None:
        what = (network, *what)
    elif len(what) == 1:
        what = (*what, data)
    elif not what:
        what = (network, data)
    known = "pass the data, or the network and the data"
    require(len(what) == 2, f"{len(what)} arguments without a name; {known}, and everything else by name")
    for name, in_place, by_name in (("network", what[0], network), ("data", what[1], data)):
        require(by_name is None or by_name is in_place, f"the {name} is passed twice; pass it once")
    if what[1] is None:
        raise DataError("there is no data; pass a frame, a file, (x, y) or the name of a built-in data set")
    return what[0], what[1]


def _is_given(value: Any) -> bool:
    """Whether it is more than None or an empty list."""
    return value is not None and (not hasattr(value, "__len__") or len(value) > 0)


def for_loss(loss: str | Loss | None) -> dict[str, Any]:
    """The arguments of `load` that follow from a chosen loss."""
    loss = None if loss is None else named_loss(loss)
    return {} if loss is None else {"scale_target": loss.scales_target, "likely_task": loss.task}


def check_callbacks(callbacks: Any) -> None:
    """Raise SettingError for anything but a sequence of functions."""
    are_functions = isinstance(callbacks, Sequence) and all(map(callable, callbacks))
    require(are_functions, f"the callbacks are {brief(callbacks)}; pass a list of functions")


def follow(
    plan: Plan, data: Dataset, progress: Progress, callbacks: Sequence[Listener] = (), threads: int | None = None
) -> Trained:
    """Train by a plan, from this progress on, with at most so many threads.

    Callbacks that have a method `close` are closed when training is over, even if it fails. Of
    several processes, the first alone has callbacks.
    """
    check_callbacks(callbacks)
    most_threads(threads)
    agree(world(), plan, data, progress)
    plan = replace(plan, ranks=world().count)
    callbacks = callbacks if is_first() else ()
    for callback in callbacks:
        if isinstance(callback, Recorder):
            callback.logs = callbacks
    try:
        end = loop.run(plan, data, progress, callbacks, threads)
    finally:
        for callback in callbacks:
            if hasattr(callback, "close"):
                callback.close()
    weights = loop.final_weights(plan, end.progress)
    return Trained(
        plan, data.target, data.preparation, *weights, end.progress, data, end.reason, end.last, progress,
        threshold=end.threshold, threads=threads,
    )  # fmt: skip
