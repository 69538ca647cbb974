"""Tuning: a search for the settings with the best validation loss or metric, with Optuna.

A search is a study in a storage, a file or a database. Processes and machines that use one storage
share the study, and whoever was interrupted goes on with it. The first trial has the defaults of
`train`, the others what a tree-structured Parzen estimator suggests (Bergstra et al., 2011). A
trial ends early once its validation loss, or the metric that is watched instead, is worse than the
median of the trials before, at the same epoch (Golovin et al., 2017).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack, cast

from chainrule import generators
from chainrule.augmentation import Augmentation
from chainrule.data import Data, Dataset, load
from chainrule.data.barrier import first_line
from chainrule.data.settings import Reading
from chainrule.data.text_windows import of_length
from chainrule.errors import (
    DataError,
    NonFiniteError,
    RunError,
    SettingError,
    at_least,
    require_package,
    setting,
)
from chainrule.generators import hashed
from chainrule.losses import Loss, Penalty
from chainrule.runs import Trained, follow, for_loss
from chainrule.runs.differences import fingerprint_of
from chainrule.summary import Shown, Summary, Table
from chainrule.training import EpochEnded, Event, Listener, Plan, history, make_plan, plan_for, start
from chainrule.training.class_weights import ClassWeight
from chainrule.training.metrics import Choice
from chainrule.training.planning import AUTO, Choices

if TYPE_CHECKING:
    import optuna

NAME = "chainrule"
"""The name of the study in its storage."""
REPORTS = 20
"""How often a trial is compared with others, at most."""
WARM_UP = 5
"""The trials, and the comparisons of a trial, before the first that may end one."""
LENGTHS = (32, 64, 128, 256)
"""The tokens of a window of a text."""
ACTIVATIONS = ("relu", "gelu", "silu", "tanh")
BATCH_SIZES = (16, 32, 64, 128, 256)


class Suggested(TypedDict, total=False):
    """The settings of a trial, as `train` takes them; none where they are the defaults."""

    network: str
    optimizer: str
    batch_size: int
    length: int


@dataclass(frozen=True)
class Trial:
    """One training of a search.

    Attributes:
        number: its number in the study, from 0
        state: "complete", "pruned" (ended early) or "failed"
        value: the best validation loss, or value of the monitored metric; None unless it is
            complete
        settings: what differs from the defaults of `train`
    """

    number: int
    state: str
    value: float | None
    settings: Suggested


@dataclass(frozen=True, repr=False)
class Tuned(Shown):
    """The result of a search. It shows the best value and its settings first.

    Attributes:
        data: what it was for
        trials: the trials that have ended, in the study's order
        fixed: the settings that all trials share
        monitor: what was to get better: "loss", or the name of a metric
        maximizes: whether more of it is better
        threads: the most threads to train with
    """

    data: Dataset
    trials: tuple[Trial, ...]
    fixed: Choices
    monitor: str = "loss"
    maximizes: bool = False
    threads: int | None = None

    def summary(self) -> Summary:
        """The best value and its settings, how many trials ended how, and the best of them."""
        counts = {state: sum(trial.state == state for trial in self.trials) for state in _STATES.values()}
        trials = ", ".join(f"{count} {state}" for state, count in counts.items() if count) or "none"
        facts = {"trials": trials, "data": f"{self.data.name}, {self.data.target.described}"}
        sign = -1.0 if self.maximizes else 1.0
        ranked = sorted(
            (trial for trial in self.trials if trial.value is not None), key=lambda t: sign * (t.value or 0)
        )
        if not ranked:
            return Summary("Tuned", "no trial is complete", facts)
        best, what = ranked[0], history.label(f"validation_{self.monitor}", self.data.target)
        chosen = {name.replace("_", " "): str(value) for name, value in best.settings.items()}
        rows = [[str(trial.number), f"{trial.value:.4g}", in_words(trial.settings)] for trial in ranked]
        table = Table(f"{len(rows)} trials", ("trial", what, "settings"), rows, "rrl")
        about = f"{what} {best.value:.4g}, in trial {best.number}"
        return Summary("Tuned", about, (chosen or {"settings": "the defaults"}) | facts, table)

    @property
    def best(self) -> Trial:
        """The trial with the best value; raises DataError if none is complete."""
        sign = -1.0 if self.maximizes else 1.0
        values = [(sign * trial.value, k) for k, trial in enumerate(self.trials) if trial.value is not None]
        if not values:
            raise DataError(f"{self.data.name}: no trial is complete; run more ({setting('trials')})")
        return self.trials[min(values)[1]]

    def train(self, callbacks: Sequence[Listener] = ()) -> Trained:
        """Train with the settings of the best trial, which gives the same network bit for bit."""
        data = _data(self.data, self.best.settings)
        plan = _plan(data, self.fixed, self.best.settings, self.threads)
        return follow(plan, data, start(plan), callbacks, self.threads)


def in_words(settings: Suggested) -> str:
    """The settings of a trial in a line."""
    if not settings:
        return "the defaults"
    length = f"; windows of {settings['length']}" if "length" in settings else ""
    return f"{settings['network']}; {settings['optimizer']}; batch size {settings['batch_size']}{length}"


def tune(
    data: Data | Dataset,
    trials: int = 50,
    *,
    storage: str | Path | None = None,
    callback: Callable[[Trial], object] | None = None,
    loss: str | Loss | None = None,
    class_weight: ClassWeight | None = None,
    penalties: str | Penalty | Sequence[str | Penalty] = (),
    epochs: int | None = None,
    patience: int | str | None = AUTO,
    monitor: Choice = "loss",
    min_delta: float = 0.0,
    threshold: Choice | float | None = None,
    augment: str | Augmentation | Sequence[str | Augmentation] | None = None,
    metrics: Choice | Sequence[Choice] | None = None,
    seed: int = 0,
    dtype: str = "float32",
    engine: str | None = None,
    devices: int | None = None,
    threads: int | None = None,
    **reading: Unpack[Reading],
) -> Tuned:
    """Search for the network, the optimizer and the batch size with the best validation loss, or
    the best value of another metric.

    Args:
        data: what `load` takes, or a Dataset
        trials: the number of trials in the study, with those that it has already
        storage: a file, or the address of a database ("postgresql://..."); None for no storage
        callback: called with each trial of this process that has ended
        loss, class_weight, penalties, threshold, augment, metrics: as for `train`
        epochs, patience, min_delta, dtype, engine, devices, threads: as for `train`
        monitor: what is to get better, in a trial and between trials: the loss, or any metric in
            its own direction, such as "roc_auc"
        seed: of the split, the initial weights and the search
        reading: how to read and split the data, as for `load`: target, validation and so on

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
    fixed: Choices = {
        "loss": loss, "class_weight": class_weight, "penalties": penalties, "epochs": epochs, "patience": patience,
        "monitor": monitor, "min_delta": min_delta, "threshold": threshold, "augment": augment, "metrics": metrics,
        "seed": seed, "dtype": dtype, "engine": engine, "devices": devices,
    }  # fmt: skip
    plan = make_plan(None, data, **fixed)  # what can't be trained is refused before there is a study
    if _reads_sequences(data):
        fixed["epochs"] = plan.epochs  # in each trial those of the default network
    study = _study(storage, plan.monitors_greater)
    _claim(study, data, plan)
    while len(_ended(study)) < trials:
        trial = study.ask()
        outcome = _run(study, trial, data, fixed, threads)
        if outcome is None:
            break
        if callback is not None:
            callback(outcome)
    return Tuned(data, _ended(study), fixed, plan.monitor, plan.monitors_greater, threads)


def _reads_sequences(data: Dataset) -> bool:
    """Whether samples are texts, have columns of text as tokens, or are sequences of numbers."""
    return bool(data.target.tokens or data.texts_as_tokens) or data.sequence is not None


def _data(data: Dataset, settings: Suggested) -> Dataset:
    """The data of a trial: of a text in windows of its own length."""
    return of_length(data, settings["length"]) if "length" in settings else data


def _plan(data: Dataset, fixed: Choices, settings: Suggested, threads: int | None) -> Plan:
    """The plan of a trial; without settings of its own that of `train`, which chooses the decay."""
    others = cast(Choices, {name: value for name, value in settings.items() if name not in ("network", "length")})
    return plan_for(settings.get("network"), data, threads=threads, **(fixed | others))


def _study(storage: str | Path | None, maximizes: bool) -> optuna.Study:
    """The study in this storage, which is created if there is none."""
    import optuna
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    place: Any = storage
    pruner = optuna.pruners.MedianPruner(n_startup_trials=WARM_UP, n_warmup_steps=WARM_UP)
    try:
        if storage is not None and "://" not in str(storage):
            place = optuna.storages.JournalStorage(JournalFileBackend(str(storage)))
        direction: Literal["maximize", "minimize"] = "maximize" if maximizes else "minimize"
        return optuna.create_study(
            storage=place, study_name=NAME, load_if_exists=True, pruner=pruner, direction=direction
        )
    except Exception as error:  # whatever a database's driver raises
        raise RunError(
            f"{storage}: it can't be used as storage ({first_line(error)}); choose another ({setting('storage')})"
        ) from None


def _claim(study: optuna.Study, data: Dataset, plan: Plan) -> None:
    """Raise SettingError if the study is one of other data or settings."""
    own: dict[str, Any] = {"data": data.fingerprint, "validation": data.validation_fingerprint, "epochs": plan.epochs}
    own |= {"seed": plan.seed, "loss": repr(plan.loss), "inputs": [*data.input_names, *data.input_shape]}
    own |= {"target": data.target.as_json(), "rows": len(data.training.x), "split": vars(data.split)}
    weight = data.training.weight
    own |= {"weights": None if weight is None else fingerprint_of(weight), "penalties": repr(plan.penalties)}
    own |= {name: getattr(plan, name) for name in ("patience", "monitor", "min_delta", "threshold")}
    own |= {"dtype": plan.network.dtype, "augment": [one.text for one in plan.augment]}
    about = study.user_attrs.get("about")
    if about is None:
        study.set_user_attr("about", own)
        return
    differences = [name for name, value in own.items() if not _same(about.get(name), value)]
    if differences:
        others = " and ".join(differences)
        raise SettingError(f"the storage has a study with another {others}; choose another ({setting('storage')})")


def _same(stored: Any, value: Any) -> bool:
    """Whether a value is what was stored, as JSON."""
    return bool(json.loads(json.dumps(value)) == stored)


def _run(study: optuna.Study, trial: optuna.Trial, data: Dataset, fixed: Choices, threads: int | None) -> Trial | None:
    """Train once and tell the study; None if the user interrupted it."""
    import optuna

    # Processes that start at the same time suggest different settings; one alone always the same.
    key = hashed(fixed["seed"], "tune", trial.number) % 2**32
    study.sampler = optuna.samplers.TPESampler(seed=key, constant_liar=True, multivariate=False)
    settings = _suggested(trial, data) if trial.number else {}
    data = _data(data, settings)
    trial.set_user_attr("settings", settings)
    state, value = optuna.trial.TrialState.COMPLETE, None
    try:
        plan = _plan(data, fixed, settings, threads)
        trained = follow(plan, data, start(plan), [_Judge(trial, plan.epochs)], threads)
        best = trained.progress.best
        if trained.reason == "interrupted" or best is None:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
            return None
        value = best.value
    except optuna.TrialPruned:
        state = optuna.trial.TrialState.PRUNED
    except NonFiniteError:
        state = optuna.trial.TrialState.FAIL
    except KeyboardInterrupt:  # while the decay was chosen
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
        return None
    study.tell(trial, value, state=state)
    return Trial(trial.number, _STATES[state.name], value, settings)


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


def _suggested(trial: optuna.Trial, data: Dataset) -> Suggested:
    """The settings of a trial: a network that suits the data, AdamW along a cosine, the batch size,
    and of a text the length of its windows.
    """
    if data.target.tokens:
        return _for_text(trial, data)
    network = _for_sequences(trial, data) if _reads_sequences(data) else _for_rows(trial)
    return {
        "network": network, "optimizer": _optimizer(trial),
        "batch_size": min(trial.suggest_categorical("batch_size", BATCH_SIZES), len(data.training.x)),
    }  # fmt: skip


def _optimizer(trial: optuna.Trial) -> str:
    rate = trial.suggest_float("learning_rate", 1e-4, 3e-2, log=True)
    decay = trial.suggest_float("weight_decay", 1e-4, 3.0, log=True)
    return f"adamw {rate:.3g} {decay:.3g} schedule=cosine"


def _for_rows(trial: optuna.Trial) -> str:
    """Layers of one width."""
    layers, width = trial.suggest_int("layers", 1, 3), trial.suggest_int("width", 16, 512, log=True)
    layer = f"{width} {trial.suggest_categorical('activation', ACTIVATIONS)}"
    dropout = trial.suggest_float("dropout", 0.0, 0.5, step=0.1)
    layer += f", dropout {dropout:.1g}" if dropout else ""
    return ", ".join([layer] * layers)


def _for_sequences(trial: optuna.Trial, data: Dataset) -> str:
    """Layers that read a sequence, and for columns of text what is made of everything."""
    kinds = ("lstm", "gru") if data.target.positions else ("lstm", "gru", "conv")
    kind, width = trial.suggest_categorical("kind", kinds), 2 * trial.suggest_int("half_width", 8, 64, log=True)
    dropout = trial.suggest_float("dropout", 0.0, 0.5, step=0.1)
    drop = [f"dropout {dropout:.1g}"] if dropout else []
    if kind == "conv":
        size = trial.suggest_categorical("size", (3, 5, 7))
        reader = [f"conv {width} {size} relu padding=same", "global_max_pool"]
    else:
        ends = " all=true" * bool(data.target.positions)
        is_double = trial.suggest_categorical("bidirectional", (False, True))
        reader = [f"bidirectional({kind} {width // 2}{ends})" if is_double else f"{kind} {width}{ends}"]
    after = [f"{trial.suggest_int('width', 16, 256, log=True)} relu"] if data.texts_as_tokens else []
    return ", ".join([*(drop if data.texts_as_tokens else []), *reader, *drop, *after])


def _for_text(trial: optuna.Trial, data: Dataset) -> Suggested:
    """A causal network of convolutions, a recurrent one or a transformer, and windows."""
    kind = trial.suggest_categorical("kind", ("conv", "gru", "lstm", "transformer"))
    width = 4 * trial.suggest_int("quarter_width", 8, 64, log=True)
    if kind == "conv":
        more = [f"residual(conv {width} 3 relu padding=causal dilation={apart})" for apart in (4, 8)]
        network = ", ".join([f"conv {width} 5 relu padding=causal", *more])
    elif kind == "transformer":
        network = f"transformer {trial.suggest_int('blocks', 1, 4)} {width} heads=4 causal=true"
    else:
        network = f"{kind} {width} all=true"
    parts = [data.training, *(part for part in (data.validation, data.test) if part is not None)]
    most = min(len(part.x) * data.input_shape[0] for part in parts)
    length = trial.suggest_categorical("length", LENGTHS)
    length = length if length <= most else data.input_shape[0]
    windows = max(1, len(data.training.x) * data.input_shape[0] // length)
    size = min(trial.suggest_categorical("batch_size", BATCH_SIZES[:3]), windows)
    return {"network": network, "optimizer": _optimizer(trial), "batch_size": size, "length": length}


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

        self.trial.report(event.progress.best.value, count)
        if self.trial.should_prune():
            raise optuna.TrialPruned
