"""Tuning: a search for the settings with the lowest validation loss, with Optuna.

A search is a study in a storage, a file or a database. Processes and machines that use one storage
share the study, and whoever was interrupted goes on with it. The first trial has the defaults of
`train`, the others what a tree-structured Parzen estimator suggests (Bergstra et al., 2011). A
trial ends early once its validation loss is above the median of the trials before, at the same
epoch (Golovin et al., 2017).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chainrule import generators
from chainrule.data import Dataset, load
from chainrule.data.barrier import first_line
from chainrule.errors import DataError, NonFiniteError, RunError, SettingError, at_least, require_package
from chainrule.generators import hashed
from chainrule.runs import Trained, follow, for_loss
from chainrule.training import EpochEnded, Event, Listener, Plan, make_plan, start
from chainrule.training.defaults import EPOCHS

if TYPE_CHECKING:
    import optuna

NAME = "chainrule"
"""The name of the study in its storage."""
REPORTS = 20
"""How often a trial is compared with others, at most."""
WARM_UP = 5
"""The trials, and the comparisons of a trial, before the first that may end one."""
ACTIVATIONS = ("relu", "gelu", "silu", "tanh")
BATCH_SIZES = (16, 32, 64, 128, 256)


@dataclass(frozen=True)
class Trial:
    """One training of a search.

    Attributes:
        number: its number in the study, from 0
        state: "complete", "pruned" (ended early) or "failed"
        loss: the lowest validation loss; None unless it is complete
        settings: what differs from the defaults of `train`
    """

    number: int
    state: str
    loss: float | None
    settings: dict[str, Any]


@dataclass(frozen=True)
class Tuned:
    """The result of a search.

    Attributes:
        data: what it was for
        trials: the trials that have ended, in the study's order
        fixed: the settings that all trials share
    """

    data: Dataset
    trials: tuple[Trial, ...]
    fixed: dict[str, Any]

    @property
    def best(self) -> Trial:
        """The trial with the lowest validation loss; raises DataError if none is complete."""
        complete = [trial for trial in self.trials if trial.loss is not None]
        if not complete:
            raise DataError(f"{self.data.name}: no trial is complete; run more")
        return min(complete, key=lambda trial: trial.loss or 0.0)

    def train(self, callbacks: Sequence[Listener] = ()) -> Trained:
        """Train with the settings of the best trial, which gives the same network bit for bit."""
        plan = make_plan(data=self.data, **{"network": None, **self.fixed, **self.best.settings})
        return follow(plan, self.data, start(plan), callbacks)


def tune(
    data: Any,
    trials: int = 50,
    *,
    storage: str | Path | None = None,
    epochs: int = EPOCHS,
    seed: int = 0,
    loss: Any = None,
    class_weight: Any = None,
    engine: str | None = None,
    callback: Callable[[Trial], Any] | None = None,
    **reading: Any,
) -> Tuned:
    """Search for the network, the optimizer and the batch size with the lowest validation loss.

    Args:
        data: what `load` takes, or a Dataset
        trials: the number of trials in the study, with those that it has already
        storage: a file, or the address of a database ("postgresql://..."); None for no storage
        epochs: the number of epochs of a trial, at most
        seed: of the split, the initial weights and the search
        loss, class_weight, engine: as for `train`
        callback: called with each trial of this process that has ended
        reading: how to read the data, as for `load`: target, validation and so on

    Raises:
        DataError, SettingError: if this can't be trained, or if the study is one of other data
        RunError: if the storage can't be used
    """
    require_package("optuna", "tune", "tuning")
    trials, seed = at_least(f"{trials} trials: tuning takes at least 1", trials, 1), generators.seed(seed)
    if not isinstance(data, Dataset):
        data = load(data, seed=seed, **reading, **for_loss(loss))
    if data.validation is None:
        raise DataError(f"{data.name}: without validation data there is nothing to compare trials by")
    fixed = {"loss": loss, "class_weight": class_weight, "engine": engine, "epochs": epochs, "seed": seed}
    plan = make_plan(None, data, **fixed)  # what can't be trained is refused before there is a study
    study = _study(storage)
    _claim(study, data, plan)
    while len(_ended(study)) < trials:
        trial = study.ask()
        outcome = _run(study, trial, data, fixed)
        if outcome is None:
            break
        if callback is not None:
            callback(outcome)
    return Tuned(data, _ended(study), fixed)


def _study(storage: str | Path | None) -> optuna.Study:
    """The study in this storage, which is created if there is none."""
    import optuna
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    place: Any = storage
    pruner = optuna.pruners.MedianPruner(n_startup_trials=WARM_UP, n_warmup_steps=WARM_UP)
    try:
        if storage is not None and "://" not in str(storage):
            place = optuna.storages.JournalStorage(JournalFileBackend(str(storage)))
        return optuna.create_study(storage=place, study_name=NAME, load_if_exists=True, pruner=pruner)
    except Exception as error:  # whatever a database's driver raises
        raise RunError(f"{storage}: it can't be used as storage ({first_line(error)}); choose another file") from None


def _claim(study: optuna.Study, data: Dataset, plan: Plan) -> None:
    """Raise SettingError if the study is one of other data or settings."""
    own: dict[str, Any] = {"data": data.fingerprint, "validation": data.validation_fingerprint, "epochs": plan.epochs}
    own |= {"seed": plan.seed, "loss": repr(plan.loss), "inputs": [*data.input_names, *data.input_shape]}
    own |= {"target": data.target.as_json(), "rows": len(data.training.x)}
    about = study.user_attrs.get("about")
    if about is None:
        study.set_user_attr("about", own)
        return
    differences = [name for name, value in own.items() if not _same(about.get(name), value)]
    if differences:
        raise SettingError(f"the storage has a study with another {' and '.join(differences)}; choose another storage")


def _same(stored: Any, value: Any) -> bool:
    """Whether a value is what was stored, as JSON."""
    return bool(json.loads(json.dumps(value)) == stored)


def _run(study: optuna.Study, trial: optuna.Trial, data: Dataset, fixed: dict[str, Any]) -> Trial | None:
    """Train once and tell the study; None if the user interrupted it."""
    import optuna

    # Processes that start at the same time suggest different settings; one alone always the same.
    key = hashed(fixed["seed"], "tune", trial.number) % 2**32
    study.sampler = optuna.samplers.TPESampler(seed=key, constant_liar=True, multivariate=False)
    settings = _suggested(trial, len(data.training.x)) if trial.number else {}
    trial.set_user_attr("settings", settings)
    state, loss = optuna.trial.TrialState.COMPLETE, None
    try:
        plan = make_plan(data=data, **{"network": None, **fixed, **settings})
        trained = follow(plan, data, start(plan), [_Judge(trial, plan.epochs)])
        best = trained.progress.best
        if trained.reason == "interrupted" or best is None:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
            return None
        loss = trained.history[best.epoch - 1]["validation_loss"]
    except optuna.TrialPruned:
        state = optuna.trial.TrialState.PRUNED
    except NonFiniteError:
        state = optuna.trial.TrialState.FAIL
    study.tell(trial, loss, state=state)
    return Trial(trial.number, _STATES[state.name], loss, settings)


_STATES = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}


def _ended(study: optuna.Study) -> tuple[Trial, ...]:
    trials = study.get_trials(deepcopy=False)
    return tuple(
        Trial(
            t.number, _STATES[t.state.name], t.value if t.state.name == "COMPLETE" else None, t.user_attrs["settings"]
        )
        for t in trials
        if t.state.name in _STATES and "settings" in t.user_attrs
    )


def _suggested(trial: optuna.Trial, rows: int) -> dict[str, Any]:
    """The settings of a trial: layers of one width, AdamW along a cosine, and the batch size."""
    layers, width = trial.suggest_int("layers", 1, 3), trial.suggest_int("width", 16, 512, log=True)
    layer = f"{width} {trial.suggest_categorical('activation', ACTIVATIONS)}"
    dropout = trial.suggest_float("dropout", 0.0, 0.5, step=0.1)
    rate = trial.suggest_float("learning_rate", 1e-4, 3e-2, log=True)
    decay = trial.suggest_float("weight_decay", 1e-4, 3.0, log=True)
    size = trial.suggest_categorical("batch_size", BATCH_SIZES)
    layer += f", dropout {dropout:.1g}" if dropout else ""
    return {
        "network": ", ".join([layer] * layers),
        "optimizer": f"adamw {rate:.3g} {decay:.3g} schedule=cosine",
        "batch_size": min(size, rows),
    }


@dataclass(frozen=True)
class _Judge:
    """A listener that ends a trial which is worse than the others were."""

    trial: optuna.Trial
    epochs: int

    def __call__(self, event: Event) -> None:
        if not isinstance(event, EpochEnded) or event.progress.best is None:
            return
        every = max(1, self.epochs // REPORTS)
        count, rest = divmod(event.progress.epoch, every)
        if rest:
            return
        import optuna

        self.trial.report(event.progress.history[event.progress.best.epoch - 1]["validation_loss"], count)
        if self.trial.should_prune():
            raise optuna.TrialPruned
