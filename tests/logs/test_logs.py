"""Logs for TensorBoard and MLflow, read back with their own readers."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import chainrule
from chainrule.cli import run as command
from chainrule.descent import optimizer
from chainrule.errors import RunError, SettingError
from chainrule.logs import Log, MLflow, TensorBoard
from chainrule.training import Ended, EpochEnded
from waiting import WAIT

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # theirs
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
NORMS = {f"{what}_norm/dense_{k}.{name}" for what in ("gradient", "update") for k in (1, 2) for name in "Wb"}


class Memory(Log):
    """A log in memory, and the steps that an epoch began with."""

    def __init__(self, **settings):
        super().__init__(**settings)
        self.opened, self.numbers, self.ended, self.settings = [], {}, None, {}

    def open(self, event, settings):
        self.opened.append(event.progress.epoch)
        self.settings = settings

    def write(self, epoch, numbers):
        assert epoch not in self.numbers
        self.numbers[epoch] = numbers

    def end(self, epoch, tested, reason):
        self.ended = epoch, tested, reason


def train(callbacks, epochs=6, **settings):
    settings = {"optimizer": "adam 0.02 schedule=cosine", "patience": None, **settings}
    return chainrule.train("5 tanh", "iris", epochs=epochs, callbacks=callbacks, **settings)


def raw(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    reader = EventAccumulator(str(folder))
    reader.Reload()
    return {tag: reader.Scalars(tag) for tag in reader.Tags()["scalars"]}


def scalars(folder):
    """The numbers that TensorBoard shows, by name and epoch."""
    return {tag: {event.step: event.value for event in events} for tag, events in raw(folder).items()}


def hyperparameters(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    reader = EventAccumulator(str(folder))
    reader.Reload()
    content = reader.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    values = HParamsPluginData.FromString(content).session_start_info.hparams
    return {name: getattr(value, value.WhichOneof("kind")) for name, value in values.items()}


def by_epoch(history):
    """The measurements of a training as a log has them."""
    names = {
        "loss": "training/loss",
        "validation_loss": "validation/loss",
        "validation_accuracy": "validation/accuracy",
    }
    return {shown: {int(m["epoch"]): m[name] for m in history} for name, shown in names.items()}


def test_norms_and_rates_are_those_of_each_epochs_first_step(tmp_path):
    recorder, log = chainrule.Recorder(tmp_path / "run"), Memory()
    trained = train([recorder, log])
    run = chainrule.Run.open(tmp_path / "run")
    length = trained.plan.steps_per_epoch(105)
    assert length == 4
    for epoch in range(1, 7):
        record, numbers = run.at((epoch - 1) * length), log.numbers[epoch]
        assert set(numbers) == {*by_epoch([]), "learning_rate", *NORMS}
        for name, gradient in trained.plan.network.parameters.views(record.gradient):
            assert numbers[f"gradient_norm/{name}"] == pytest.approx(np.sqrt(np.sum(np.square(gradient))), rel=1e-5)
        schedule = optimizer("adam 0.02 schedule=cosine").over(24).stages[-1].schedule
        assert numbers["learning_rate"] == schedule((epoch - 1) * length)
    assert log.ended[0] == 6
    assert log.ended[1] == {f"test/{name}": value for name, value in trained.evaluate().items()}
    assert log.ended[2] == "complete"


def test_norms_are_logged_a_hundred_times_or_never():
    often, never = Memory(), Memory(norms=False)
    train([often, never], epochs=430)
    with_norms = [epoch for epoch, numbers in often.numbers.items() if numbers.keys() >= NORMS]
    assert with_norms == list(range(1, 431, 4))
    assert len(never.numbers) == 430
    assert all(not NORMS & numbers.keys() for numbers in never.numbers.values())


def test_an_optimizer_without_a_learning_rate_logs_none():
    log = Memory()
    train([log], epochs=2, optimizer="lbfgs")
    assert "learning_rate" not in log.numbers[1]
    assert log.settings["optimizer"] == "ScaleByLBFGS > StrongWolfe"


def test_settings_tell_what_was_trained():
    log = Memory()
    train([log], epochs=2, penalties="l2 0.01", seed=3)
    expected = {
        "data": "iris", "target": "species (classification, 3 classes)", "weights": 43, "epochs": 2, "batch_size": 32,
        "layers": "Dense(units=5) > Tanh > Dense(units=3)", "loss": "CategoricalCrossEntropy", "seed": 3,
        "patience": "none", "penalties": "Penalty(l2=0.01)", "dtype": "float32", "training_samples": 105,
    }  # fmt: skip
    assert {name: log.settings[name] for name in expected} == expected


def test_tensorboard_reads_what_was_logged(tmp_path):
    trained = train([TensorBoard(tmp_path / "log")])
    read = scalars(tmp_path / "log")
    assert set(read) == {*by_epoch([]), "learning_rate", *NORMS, *(f"test/{name}" for name in trained.evaluate())}
    for name, values in by_epoch(trained.history).items():
        assert read[name] == pytest.approx(values, rel=1e-6)
    assert read["test/accuracy"] == {6: pytest.approx(trained.evaluate()["accuracy"])}
    assert hyperparameters(tmp_path / "log")["layers"] == "Dense(units=5) > Tanh > Dense(units=3)"
    assert hyperparameters(tmp_path / "log")["batch_size"] == 32


def stop_after(epoch):
    """A callback that interrupts training in the middle of the epoch after this one."""

    def callback(event):
        if event.progress.epoch == epoch and not isinstance(event, EpochEnded | Ended):
            raise KeyboardInterrupt

    return callback


def test_tensorboard_goes_on_where_a_resumed_run_does(tmp_path):
    recorder = chainrule.Recorder(tmp_path / "run")
    first = train([recorder, TensorBoard(recorder), stop_after(4)])
    assert first.reason == "interrupted"
    assert set(scalars(tmp_path / "run/tensorboard")["training/loss"]) == {1, 2, 3, 4}
    resumed = chainrule.Run.open(tmp_path / "run").resume(callbacks=[TensorBoard(tmp_path / "run/tensorboard")])
    read = scalars(tmp_path / "run/tensorboard")
    for name, values in by_epoch(resumed.history).items():
        assert read[name] == pytest.approx(values, rel=1e-6)
    assert list(read["test/accuracy"]) == [4, 6]  # where training was interrupted, and where it ended
    straight = Memory()
    train([straight])
    for epoch in (4, 6):  # of epoch 5 all steps had been taken
        assert read["learning_rate"][epoch] == pytest.approx(straight.numbers[epoch]["learning_rate"], rel=1e-6)


def test_epochs_that_are_taken_again_replace_those_of_a_killed_process(tmp_path):
    recorder = chainrule.Recorder(tmp_path / "run", clock=lambda: 0.0)  # it saves no state before the end

    class Killed(BaseException):
        pass

    def kill(event):
        if event.progress.epoch == 4:
            raise Killed

    with pytest.raises(Killed):
        train([recorder, TensorBoard(recorder), kill])
    run = chainrule.Run.open(tmp_path / "run")
    assert run.trained.progress.epoch == 0
    assert set(scalars(tmp_path / "run/tensorboard")["training/loss"]) == {1, 2, 3, 4}
    resumed = run.resume(callbacks=[TensorBoard(tmp_path / "run/tensorboard")])
    events = raw(tmp_path / "run/tensorboard")["training/loss"]
    assert [event.step for event in events] == [1, 2, 3, 4, 5, 6]
    assert scalars(tmp_path / "run/tensorboard")["training/loss"] == pytest.approx(
        by_epoch(resumed.history)["training/loss"], rel=1e-6
    )


@pytest.fixture
def client(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.chdir(tmp_path)
    from mlflow import MlflowClient

    return MlflowClient()


def logged(client, run_id):
    """The numbers of a run of MLflow, by name and epoch; each epoch once."""
    read = {}
    for name in client.get_run(run_id).data.metrics:
        history = client.get_metric_history(run_id, name)
        read[name] = {metric.step: metric.value for metric in history}
        assert len(read[name]) == len(history)
    return read


def test_mlflow_reads_what_was_logged(client):
    log = MLflow("flowers", name="first")
    trained = train([log])
    run = client.get_run(log.run_id)
    assert (run.info.status, run.info.run_name) == ("FINISHED", "first")
    assert client.get_experiment(run.info.experiment_id).name == "flowers"
    assert run.data.params["optimizer"].startswith("ScaleByAdam > LearningRate")
    assert run.data.params["training_samples"] == "105"
    read = logged(client, log.run_id)
    assert set(read) == {*by_epoch([]), "learning_rate", *NORMS, *(f"test/{name}" for name in trained.evaluate())}
    for name, values in by_epoch(trained.history).items():
        assert read[name] == values


def test_mlflow_goes_on_in_the_same_run(client, tmp_path):
    first = MLflow()
    train([chainrule.Recorder(tmp_path / "run"), first, stop_after(4)])
    assert client.get_run(first.run_id).info.status == "KILLED"
    other = MLflow()
    train([other], seed=1)
    second = MLflow()
    resumed = chainrule.Run.open(tmp_path / "run").resume(epochs=8, callbacks=[second])
    assert second.run_id == first.run_id != other.run_id
    assert client.get_run(first.run_id).info.status == "FINISHED"
    for name, values in by_epoch(resumed.history).items():
        assert logged(client, first.run_id)[name] == values


def test_mlflow_logs_to_the_active_run_and_leaves_it_active(client):
    import mlflow

    with mlflow.start_run() as active:
        log = MLflow()
        train([log], epochs=2)
        assert log.run_id == active.info.run_id
        assert client.get_run(log.run_id).info.status == "RUNNING"


def test_a_training_that_fails_is_failed_in_mlflow(client):
    log = MLflow()
    with pytest.raises(chainrule.errors.NonFiniteError):
        chainrule.train("4 tanh", "diabetes", epochs=3, optimizer="sgd 1e30", callbacks=[log])
    assert client.get_run(log.run_id).info.status == "FAILED"


def test_mlflows_errors_are_one_line(client):
    log = MLflow(run_id="none")
    with pytest.raises(RunError, match=r"MLflow: .*none"):
        train([log], epochs=1)


def test_the_command_line_logs_and_resumes(client, capsys):
    assert (
        command(
            ["train", "iris", "--epochs", "3", "--output", "runs/a", "--log", "tensorboard", "--log", "mlflow:flowers"]
        )
        == 0
    )
    assert (
        command(["train", "--resume", "runs/a", "--epochs", "5", "--log", "tensorboard", "--log", "mlflow:flowers"])
        == 0
    )
    assert list(scalars("runs/a/tensorboard")["training/loss"]) == [1, 2, 3, 4, 5]
    experiment = client.get_experiment_by_name("flowers")
    (run,) = client.search_runs([experiment.experiment_id])
    assert list(logged(client, run.info.run_id)["training/loss"]) == [1, 2, 3, 4, 5]
    assert command(["show", "runs/a"]) == 0
    assert command(["train", "iris", "--epochs", "1", "--output", "runs/b", "--log", "tensorboard:logs"]) == 0
    assert list(scalars("logs")["training/loss"]) == [1]
    capsys.readouterr()


def test_a_run_that_is_resumed_continues_its_logs(client, capsys):
    words = ["train", "iris", "--epochs", "3", "--output", "runs/a"]
    assert command([*words, "--log", "tensorboard:elsewhere", "--log", "mlflow:flowers"]) == 0
    shown = capsys.readouterr().out
    assert f"tensorboard --logdir {Path('elsewhere').absolute()}" in shown
    assert f"mlflow ui --backend-store-uri sqlite:///{Path.cwd()}/mlflow.db" in shown
    assert command(["train", "--resume", "runs/a", "--epochs", "5"]) == 0
    assert f"tensorboard --logdir {Path('elsewhere').absolute()}" in capsys.readouterr().out
    chainrule.Run.open("runs/a").resume(epochs=6)
    epochs = [1, 2, 3, 4, 5, 6]
    assert list(scalars("elsewhere")["training/loss"]) == epochs
    experiment = client.get_experiment_by_name("flowers")
    (run,) = client.search_runs([experiment.experiment_id])
    assert list(logged(client, run.info.run_id)["training/loss"]) == epochs
    assert command(["show", "runs/a"]) == 0
    assert "mlflow ui" in capsys.readouterr().out

    assert command(["train", "--resume", "runs/a", "--epochs", "7", "--log", "none"]) == 0
    assert list(scalars("elsewhere")["training/loss"]) == epochs
    chainrule.Run.open("runs/a").resume(epochs=8, logs=False)
    assert list(scalars("elsewhere")["training/loss"]) == epochs
    chainrule.Run.open("runs/a").trained.save("copy")
    assert "logs" not in chainrule.Run.open("copy").manifest


def test_a_log_in_the_runs_folder_moves_with_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert command(["train", "iris", "--epochs", "2", "--output", "runs/a", "--log", "tensorboard"]) == 0
    Path("runs/a").rename("b")
    chainrule.Run.open("b").resume(epochs=4)
    assert list(scalars("b/tensorboard")["training/loss"]) == [1, 2, 3, 4]
    capsys.readouterr()
    assert command(["train", "--resume", "b", "--epochs", "5", "--json"]) == 0
    expected = {"kind": "tensorboard", "where": "tensorboard", "norms": True}
    assert json.loads(capsys.readouterr().out)["logs"] == [expected]


def test_a_killed_process_leaves_a_run_that_knows_its_log(tmp_path):
    recorder = chainrule.Recorder(tmp_path / "run", clock=lambda: 0.0)

    class Killed(BaseException):
        pass

    def kill(event):
        if event.progress.epoch == 2:
            raise Killed

    with pytest.raises(Killed):
        train([recorder, TensorBoard(recorder, norms=False), kill])
    chainrule.Run.open(tmp_path / "run").resume()
    read = scalars(tmp_path / "run/tensorboard")
    assert list(read["training/loss"]) == [1, 2, 3, 4, 5, 6]
    assert not NORMS & read.keys()


def test_a_run_writes_no_log_where_there_is_none(client, tmp_path, capsys):
    """A run may be somebody else's, so it can't name a new place to write to."""
    assert command(["train", "iris", "--epochs", "2", "--output", "a", "--log", "tensorboard:logs"]) == 0
    shutil.move("logs", "moved")
    with pytest.raises(RunError, match=r"there is no log any more.*to resume without the log, choose logs=False"):
        chainrule.Run.open("a").resume(epochs=3)
    capsys.readouterr()
    assert command(["train", "--resume", "a", "--epochs", "3"]) == 2
    assert "choose --log none" in capsys.readouterr().err
    assert not Path("logs").exists()
    assert chainrule.Run.open("a").manifest["status"] == "complete"

    assert command(["train", "iris", "--epochs", "2", "--output", "b", "--log", "mlflow"]) == 0
    shutil.move("mlflow.db", "moved.db")
    with pytest.raises(RunError, match="there is no store of MLflow any more"):
        chainrule.Run.open("b").resume(epochs=3)
    assert not Path("mlflow.db").exists()


def test_addresses_of_servers_are_not_kept(tmp_path):
    """There may be a password in them."""
    log = MLflow(run_id="0123", tracking_uri="https://user:secret@host/mlflow")
    assert log.recipe(tmp_path) == {"kind": "mlflow", "where": "0123", "norms": True}


@pytest.mark.parametrize(
    ("log", "message"),
    [
        ("none", "--log none resumes a run without its log"),
        ("wandb", "write 'tensorboard', 'tensorboard:FOLDER', 'mlflow' or 'mlflow:EXPERIMENT'"),
        ("tensorboard:", "there is nothing after the colon"),
        ("tensorboard:used", "it has the log of another training"),
        ("tensorboard:file/log", "it can't be written"),
        ("mlflow: ", "pass its name"),
    ],
)
def test_a_log_that_cannot_be_written_is_refused_before_training(log, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    Path("used").mkdir()
    Path("used/events.out.tfevents.1.host").touch()
    assert command(["train", "iris", "--epochs", "1", "--log", log]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not Path("runs").exists()


def test_a_missing_package_is_named_with_its_extra(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SettingError, match=r"needs tensorboardX: pip install 'chainrule\[tensorboard\]'"):
        TensorBoard("logs")
    with pytest.raises(SettingError, match=r"needs mlflow: pip install 'chainrule\[mlflow\]'"):
        MLflow()


def test_neither_is_imported_unless_it_is_used():
    code = (
        "import sys, chainrule; from chainrule.cli import run; run(['train', 'iris', '--epochs', '1']);"
        " sys.exit(any(name in sys.modules for name in ('mlflow', 'tensorboardX', 'chainrule.logs')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=WAIT, capture_output=True).returncode == 0
