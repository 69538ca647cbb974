"""Overfitting and underfitting, judged by the validation set."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from chainrule.arrays import Array
from chainrule.doctor.case import Case
from chainrule.doctor.finding import Finding, Remedy, number
from chainrule.doctor.remedies import both, planned, slower
from chainrule.engine import Position

WORSE = 1.1
"""The loss on new samples at the weights that are used, as a multiple of the lowest along the run,
from which they are overfitted.
"""
CERTAIN = 2.5
"""How many standard errors a difference between losses of the same samples must be."""
LITTLE = 0.95
"""The training loss, as a share of that of the best constant prediction, above which a network
has learned next to nothing.
"""
FALLING = 0.05
"""How much the training loss fell in the last tenth of the steps, as a share of all that it has
fallen, from which training ended too early.
"""
NEAREST = 5
"""The neighbours whose mean target is the reference that a network must not be far behind."""
FEWEST = 20
"""The fewest held-out samples to judge by."""
SUSPECT, MATTERS = 1.5, 0.1
"""The loss on too few new samples, as a multiple of the lowest along the run and of the training
loss, and its distance from the lowest, as a share of the best constant prediction's loss, from
which a note says that they can't tell.
"""


def find(case: Case) -> Iterator[Finding]:
    """Whether the network is over- or underfitted."""
    if case.status == "diverged" or case.held is None or not case.records:
        return
    overfitted = list(_overfitted(case))
    yield from overfitted or (_underfitted(case) if case.status != "running" else ())


def _overfitted(case: Case) -> Iterator[Finding]:
    assert case.held is not None
    curve = [case.losses(point, "held") for point in case.points]
    means = np.array([losses.mean() for losses in curve])
    best = int(np.nanargmin(means))
    used = case.losses(case.final, "held")
    worse, error = difference(used, curve[best])
    fitted = case.loss(case.final)
    if not (used.mean() > WORSE * means[best] and fitted < used.mean()):
        return
    certain = len(used) >= FEWEST and worse > CERTAIN * error
    suspect = used.mean() > SUSPECT * max(means[best], fitted) and worse > MATTERS * case.naive_loss
    if not certain and not suspect:
        return
    at = case.points[best].step
    words = "Overfitting" if certain else f"Perhaps overfitting, but {len(used):,} samples are too few to tell"
    words = (
        f"{words}: on the {case.held_name} set the loss is {number(float(used.mean()))}, but it was"
        f" {number(float(means[best]))} at step {at:,}; meanwhile the training loss fell from"
        f" {number(case.loss(case.points[best]))} to {number(fitted)}."
    )
    length = case.plan.steps_per_epoch(case.whole)
    epochs = max(1, round(at / length))
    if case.data.validation is not None:
        words_of_remedy = "stop early: keep the weights with the lowest validation loss (patience)"
        change = planned(patience=max(5, epochs // 2))
    else:
        words_of_remedy, change = f"stop after {epochs:,} epoch{'s' * (epochs != 1)}", planned(epochs=epochs)
    if not certain:
        words += f" The difference is {number(worse)}, with a standard error of {number(error)}."
        words_of_remedy = f"hold out more samples (validation=0.3), or cross-validate, to know; or {words_of_remedy}"
    remedy = Remedy(f"{words_of_remedy}; or more data, dropout, a penalty", change, {"epochs": epochs})
    evidence = {
        "steps": [point.step for point in case.points], "held_out": means.tolist(),
        "training": [case.loss(point) for point in case.points], "used": float(used.mean()),
        "best": float(means[best]), "standard_error": error,
    }  # fmt: skip
    severity = "note" if not certain else "serious" if used.mean() > case.naive_loss else "warning"
    yield Finding("overfitting", words, "the training", severity, evidence, (at, case.steps), remedy)


def _underfitted(case: Case) -> Iterator[Finding]:
    own, naive = case.loss(case.final), case.naive_loss
    if own > LITTLE * naive and (reference := neighbours(case)) is not None:
        mine, theirs = reference
        worse, error = difference(mine, theirs)
        if worse > CERTAIN * error:
            yield _learned_nothing(case, own, mine, theirs)
            return
    if case.status == "complete" and len(case.points) > 4 and own < LITTLE * naive:
        yield from _ended_early(case)


def _learned_nothing(case: Case, own: float, mine: Array, theirs: Array) -> Finding:
    words = (
        f"Underfitting: the training loss is {number(own)}, and the best constant prediction has"
        f" {number(case.naive_loss)}, although there is more to learn: the {NEAREST} nearest training samples predict"
        f" the {case.held_name} set with an error of {number(float(theirs.mean()))}, the network with"
        f" {number(float(mine.mean()))}."
    )
    wanted = max(3 * case.plan.epochs, 30)
    remedy = Remedy(
        f"train longer ({wanted:,} epochs) with three times the learning rate; or a larger network, a weaker penalty",
        both(slower(3.0), planned(epochs=wanted, patience=None)), {"epochs": wanted, "learning_rate": 3.0},
    )  # fmt: skip
    evidence = {
        "loss": own,
        "constant": case.naive_loss,
        "error": float(mine.mean()),
        "neighbours": float(theirs.mean()),
    }
    return Finding("underfitting", words, "the training", "serious", evidence, (case.steps,), remedy)


def _ended_early(case: Case) -> Iterator[Finding]:
    before = [point for point in case.points if point.step <= 0.9 * case.steps]
    if not before or case.rate_share(case.records[-1].before.step) < 0.5:
        return  # a schedule has come to its end: going on needs another
    at: Position = before[-1]
    losses = case.loss(case.points[0]), case.loss(at), case.loss(case.end)
    fallen = losses[0] - losses[2]
    held = difference(case.losses(at, "held"), case.losses(case.end, "held"))
    steps = max(case.steps - at.step, 1)
    part = (losses[1] - losses[2]) / max(fallen, 1e-300) * (0.1 * case.steps / steps)
    if fallen <= 0 or part < FALLING or held[0] < CERTAIN * held[1]:
        return
    words = (
        f"Underfitting: training ended while the loss still fell. In the last {steps:,} of {case.steps:,} steps the"
        f" training loss went from {number(losses[1])} to {number(losses[2])}, and that of the {case.held_name} set"
        f" fell by {number(held[0])}."
    )
    wanted = 3 * case.plan.epochs
    remedy = Remedy(f"train for {wanted:,} epochs", planned(epochs=wanted), {"epochs": wanted})
    evidence = {"training": list(losses), "held_out_fell": held[0], "standard_error": held[1], "share": part}
    yield Finding("underfitting", words, "the training", "warning", evidence, (at.step, case.steps), remedy)


def difference(first: Array, second: Array) -> tuple[float, float]:
    """The mean difference between two losses of the same samples, and its standard error."""
    by_sample = first - second
    if not np.isfinite(by_sample).all():
        return (np.inf, 1.0) if np.isfinite(second).all() else (0.0, np.inf)
    return float(by_sample.mean()), float(by_sample.std() / np.sqrt(len(by_sample)))


def neighbours(case: Case) -> tuple[Array, Array] | None:
    """(samples,) the errors of the network and of the nearest training samples, for held-out
    samples: 0 or 1 for a class, squares for quantities. None for other targets.
    """
    held, target = case.held, case.data.target
    if held is None or len(held.x) < FEWEST or target.positions or target.season or len(case.training.x) <= NEAREST:
        return None
    x, new = case.flat("training").astype(np.float64), case.flat("held").astype(np.float64)
    deviation = np.where(x.std(axis=0) > 1e-12, x.std(axis=0), 1)
    x, new = x / deviation, new / deviation
    squares = (x * x).sum(axis=1)[None] - 2 * new @ x.T
    nearest = np.argpartition(squares, NEAREST, axis=1)[:, :NEAREST]
    y, truth = np.asarray(case.training.y), np.asarray(held.y)
    if target.is_class:
        votes = np.zeros((len(new), target.width))
        for k in range(NEAREST):
            np.add.at(votes, (np.arange(len(new)), y[nearest[:, k]].reshape(-1).astype(int)), 1)
        guessed = votes.argmax(axis=1) != truth.reshape(-1)
        return (~case.right(case.final, "held")).astype(float), guessed.astype(float)
    if target.task != "regression":
        return None
    prediction = np.asarray(case.plan.loss.point(case.outputs(case.final, "held")), np.float64)
    y, truth = y.reshape(len(y), -1), truth.reshape(len(truth), -1)
    errors = [((one.reshape(truth.shape) - truth) ** 2).mean(axis=1) for one in (prediction, y[nearest].mean(axis=1))]
    return errors[0], errors[1]
