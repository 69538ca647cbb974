"""MLflow's runs."""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from chainrule.errors import RunError, require, require_package
from chainrule.kinds import described
from chainrule.logs.base import Log, Setting
from chainrule.training import Started

TAG = "chainrule.training"
"""The tag by which the run of a training that is resumed is found."""
FLUSH = 1.0
"""The least number of seconds between two writes: each takes some milliseconds."""
MOST = 1000
"""The most numbers that MLflow takes at once."""
STATUS = {"interrupted": "KILLED", "diverged": "FAILED"}
"""MLflow's words for how training ended; FINISHED otherwise."""


class MLflow(Log):
    """Logs a training as a run of MLflow: `train(..., callbacks=[MLflow()])`.

    The run goes where MLflow is told to log: to the active run if there is one, else to a new one
    at the tracking URI (`mlflow.set_tracking_uri` or MLFLOW_TRACKING_URI; by default `mlflow.db` in
    the working directory). What is logged is said in `Log`. Needs the extra `mlflow`. MLflow's
    own usage reports are switched off unless MLFLOW_DISABLE_TELEMETRY says otherwise.

    A recorded run that is resumed goes on in MLflow's run by itself. Any other training that is
    resumed finds it by a tag, if it is the same up to the number of epochs.

    Args:
        experiment: the experiment's name, which is created if it is new; by default
            MLFLOW_EXPERIMENT_NAME or MLflow's own default
        name: the run's name; by default that of the data
        tracking_uri: where to log instead
        run_id: the run to continue instead
        norms: whether to log the norms of gradients and updates

    Raises RunError if MLflow refuses.
    """

    kind = "mlflow"

    def __init__(
        self,
        experiment: str | None = None,
        *,
        name: str | None = None,
        tracking_uri: str | None = None,
        run_id: str | None = None,
        norms: bool = True,
    ) -> None:
        for package in ("mlflow", "sqlalchemy", "alembic"):
            require_package(package, "mlflow", "a log for MLflow")
        is_name = experiment is None or (isinstance(experiment, str) and experiment.strip() != "")
        require(is_name, f"the experiment is {experiment!r}; pass its name")
        super().__init__(norms=norms)
        self._experiment, self._name, self._uri, self._given = experiment, name, tracking_uri, run_id
        self.run_id = run_id
        self._client: Any = None
        self._pending: list[Any] = []
        self._written, self._status, self._is_own = 0.0, "FAILED", True

    def check(self) -> None:
        """Raise RunError unless the run that is to be continued is there."""
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        import mlflow

        with _reported():
            mlflow.MlflowClient(self._uri).get_run(str(self._given))

    def recipe(self, folder: Path) -> dict[str, Any]:
        """What a run keeps about the log: of an address that is no local store nothing, since there
        may be a password in it.
        """
        import mlflow

        uri = self._uri or mlflow.get_tracking_uri()
        scheme, colon, path = uri.partition(":")
        kept: dict[str, Any] = {"kind": self.kind, "where": self.run_id, "norms": self._norms}
        if colon and scheme == "sqlite":
            kept["store"] = f"sqlite:///{Path(path.removeprefix('///')).absolute()}"
        elif "://" not in uri and scheme != "databricks":
            kept["store"] = str(Path(uri).absolute())
        elif scheme == "file":
            kept["store"] = uri
        return kept

    def open(self, event: Started, settings: dict[str, Setting]) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        import mlflow
        from mlflow.entities import Param

        key = _key(event)
        with _reported():
            client, active = mlflow.MlflowClient(self._uri), mlflow.active_run()
            self._is_own = self._given is not None or active is None
            self.run_id = self._given or (active.info.run_id if active else self._found(client, key, event))
            client.set_tag(self.run_id, TAG, key)
            if self._is_own:
                client.update_run(self.run_id, status="RUNNING")
            known = client.get_run(self.run_id).data.params
            params = [Param(name, str(value)) for name, value in settings.items() if name not in known]
            client.log_batch(self.run_id, params=params)
        self._client = client

    def _found(self, client: Any, key: str, event: Started) -> str:
        """The run of the training that is resumed, or a new one."""
        experiment = self._experiment_id(client)
        if event.progress.epoch:
            runs = client.search_runs(
                [experiment], f"tags.`{TAG}` = '{key}'", order_by=["attributes.start_time DESC"], max_results=1
            )
            if runs:
                return str(runs[0].info.run_id)
        return str(client.create_run(experiment, run_name=self._name or event.data.name).info.run_id)

    def _experiment_id(self, client: Any) -> str:
        name = self._experiment or os.environ.get("MLFLOW_EXPERIMENT_NAME")
        if name is None:
            return os.environ.get("MLFLOW_EXPERIMENT_ID", "0")
        known = client.get_experiment_by_name(name)
        return str(client.create_experiment(name) if known is None else known.experiment_id)

    def write(self, epoch: int, numbers: dict[str, float]) -> None:
        self._add(epoch, numbers)
        if time.monotonic() - self._written >= FLUSH:
            self._flush()

    def write_text(self, epoch: int, text: str) -> None:
        with _reported():
            self._client.log_text(self.run_id, text, f"samples/epoch-{epoch:06d}.txt")

    def end(self, epoch: int, tested: dict[str, float], reason: str) -> None:
        self._add(epoch, tested)
        self._flush()
        with _reported():
            self._client.set_tag(self.run_id, "chainrule.ended", reason)
        self._status = STATUS.get(reason, "FINISHED")

    def _add(self, epoch: int, numbers: Mapping[str, float]) -> None:
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        self._pending += [Metric(re.sub(r"[^\w./ -]", "_", name), v, now, epoch) for name, v in numbers.items()]

    def _flush(self) -> None:
        while self._pending:
            now, self._pending = self._pending[:MOST], self._pending[MOST:]
            with _reported():
                self._client.log_batch(self.run_id, metrics=now)
        self._written = time.monotonic()

    def close(self) -> None:
        client, self._client = self._client, None
        if client is None:
            return
        with _reported():
            if self._pending:
                client.log_batch(self.run_id, metrics=self._pending[:MOST])
            if self._is_own:
                client.set_terminated(self.run_id, self._status)


@contextmanager
def _reported() -> Iterator[None]:
    """Turns MLflow's errors into ours."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        raise RunError(f"MLflow: {error}") from None


def _key(event: Started) -> str:
    """The same for trainings that take the same steps, up to the number of epochs."""
    plan, data = replace(event.plan, epochs=1), event.data
    parts = (described(plan), data.fingerprint, data.validation_fingerprint, str(data.sizes))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]
