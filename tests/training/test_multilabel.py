"""Labels of which a sample may have any number: read, trained, measured, recorded and explained."""

import json

import numpy as np
import polars as pl
import pytest
import sklearn.metrics
from sklearn.utils.class_weight import compute_class_weight

from chainrule import Run, load, train
from chainrule.cli import run as command
from chainrule.data import from_arrays
from chainrule.errors import DataError, RunError, SettingError
from chainrule.explain import Explanation
from chainrule.losses import BinaryCrossEntropy
from chainrule.play.outcome import outcome
from chainrule.play.session import Session
from chainrule.play.settings import Settings
from chainrule.play.trainer import Trainer
from chainrule.runs import folder as files

RANDOM = np.random.default_rng(1)
GENRES = ("comedy", "drama", "action")


def films(rows=300, seed=0):
    random = np.random.default_rng(seed)
    x = random.normal(size=(rows, 4))
    y = (x @ random.normal(size=(4, 3)) + 0.3 * random.normal(size=(rows, 3)) > 0).astype(int)
    return x, y


@pytest.fixture(scope="module")
def table():
    x, y = films()
    studios = np.random.default_rng(1).choice(["a", "b"], len(x))
    numbers = {f"f{k}": x[:, k] for k in range(4)}
    return pl.DataFrame({**numbers, "studio": studios} | dict(zip(GENRES, y.T, strict=True)))


@pytest.fixture(scope="module")
def trained(table):
    return train("16 tanh", load(table, target=GENRES), epochs=30, optimizer="adam 0.02")


def test_several_columns_of_0_and_1_are_labels(table):
    x, y = films()
    for data in (load(table, target=GENRES), load((x, y)), load((x, y.astype(bool))), load((x, y), task="multilabel")):
        assert (data.task, data.target.width) == ("multilabel", 3)
        np.testing.assert_array_equal(data.training.y, y[data.rows])
    assert load(table, target=GENRES).target.columns == GENRES
    assert load((x, y)).target.columns == ("y_0", "y_1", "y_2")
    assert from_arrays(x, y, task="multilabel").task == "multilabel"
    assert from_arrays(x, y).task == load((x, y), task="regression").task == "regression"
    one_hot = np.eye(3, dtype=int)[y[:, 0] + y[:, 1]]
    assert load((x, one_hot)).task == "classification"
    assert load((x, one_hot), task="multilabel").task == "multilabel"


def test_the_guess_is_announced():
    x, y = films()
    what = "the 3 columns of 0 and 1 in y are predicted as labels; to predict a quantity, choose regression"
    assert what in load((x, y)).notes[0]
    assert load((x, y), task="multilabel").notes == load((x, y), task="regression").notes == []


@pytest.mark.parametrize(
    ("y", "task", "problem"),
    [
        ([[0, 1], [2, 1]], "multilabel", "arrays, row 2, column 'y_0': 2 is neither 0 nor 1"),
        ([0, 1], "multilabel", 'there is one column, .y.; .*choose task="classification"'),
        ([[0, 1], [0, 1]], "multilabel", "every row has the same labels"),
        ([[0, 1], [1, 1]], "classification", 'not one-hot.*choose task="multilabel"'),
    ],
)
def test_what_are_no_labels_is_refused(y, task, problem):
    with pytest.raises(DataError, match=problem):
        load((np.ones((20, 1)) * np.arange(20)[:, None], np.array(y * 10)), task=task)


def test_text_among_labels_is_refused(table):
    with pytest.raises(DataError, match=r"column 'studio': '.' is not a number; where there are several"):
        load(table, target=["comedy", "studio"])


def test_a_one_hot_table_is_classified_under_the_names_of_its_columns(table):
    marked = np.eye(3, dtype=int)[np.arange(len(table)) % 3]
    frame = table.drop("drama", "action").with_columns(drama=marked[:, 0], action=marked[:, 1], comedy=marked[:, 2])
    data = load(frame, target=["drama", "action", "comedy"])
    assert (data.task, data.target.classes) == ("classification", ("action", "comedy", "drama"))
    trained = train("4", data, epochs=2)
    expected = np.array(["drama", "action", "comedy"])[data.test_rows % 3]
    assert (trained.held_out("test").targets == expected).all()
    assert trained.evaluate(frame)["accuracy"] >= 0


def test_the_metrics_are_those_of_scikit_learn(trained):
    held_out = trained.held_out("test")
    truth, guess, p = held_out.targets, held_out.predictions, held_out.probabilities
    assert truth.shape == guess.shape == p.shape == (60, 3)
    np.testing.assert_array_equal(guess, p > 0.5)
    scores = trained.evaluate()
    expected = {
        "accuracy": sklearn.metrics.accuracy_score(truth, guess),
        "f1": sklearn.metrics.f1_score(truth, guess, average="macro"),
        "precision": sklearn.metrics.precision_score(truth, guess, average="macro"),
        "recall": sklearn.metrics.recall_score(truth, guess, average="macro"),
        "roc_auc": sklearn.metrics.roc_auc_score(truth, p),
        "average_precision": sklearn.metrics.average_precision_score(truth, p),
        "hamming_loss": sklearn.metrics.hamming_loss(truth, guess),
        "calibration_error": scores["calibration_error"],  # which scikit-learn lacks: see test_label_scores
        "loss": np.mean([sklearn.metrics.log_loss(truth[:, k], p[:, k]) for k in range(3)]),
    }
    assert scores == pytest.approx(expected, rel=1e-5)
    assert scores["accuracy"] > 0.7


def test_metrics_of_weighted_samples_are_those_of_scikit_learn():
    x, y = films(200)
    weight = np.random.default_rng(5).uniform(0.5, 2, len(x))
    data = load((x, y), weight=weight, validation=0, test=0.5)
    trained = train("3 tanh", data, epochs=2)
    scores, held_out, w = trained.evaluate(), trained.held_out("test"), data.test.weight
    truth, guess = held_out.targets, held_out.predictions
    assert scores["accuracy"] == pytest.approx(sklearn.metrics.accuracy_score(truth, guess, sample_weight=w))
    assert scores["hamming_loss"] == pytest.approx(sklearn.metrics.hamming_loss(truth, guess, sample_weight=w))
    f1 = sklearn.metrics.f1_score(truth, guess, average="macro", sample_weight=w)
    assert scores["f1"] == pytest.approx(f1)
    auc = sklearn.metrics.roc_auc_score(truth, held_out.probabilities, sample_weight=w)
    assert scores["roc_auc"] == pytest.approx(auc)


def test_both_engines_train_two_labels_alike():
    x, y = films(120)
    settings = {"epochs": 3, "optimizer": "sgd 0.1", "dtype": "float64"}
    weights = [train("4 tanh", load((x, y[:, :2])), engine=e, **settings).parameters for e in ("native", "numpy")]
    assert weights[0].size == 4 * 4 + 4 + 4 * 2 + 2
    np.testing.assert_allclose(weights[0], weights[1], atol=1e-10)


def test_other_losses_are_refused_and_class_weights_are_those_of_0_and_1():
    x, y = films(60)
    with pytest.raises(SettingError, match="the loss CategoricalCrossEntropy is for classification, but"):
        train("2", load((x, y)), loss="cross_entropy")
    for given in ({1: 3.0}, {"0": 1, "1": 3}, (1.0, 3.0)):
        loss = train("2", load((x, y)), class_weight=given, epochs=1).plan.loss
        assert loss == BinaryCrossEntropy(class_weights=(1.0, 3.0))


def test_balanced_weighs_0_and_1_of_each_label_alike():
    x, y = RANDOM.normal(size=(200, 3)), np.zeros((200, 3), dtype=int)
    y[:20, 0] = y[:150, 1] = 1
    data = load((x, y), validation=0, test=0)
    pairs = np.reshape(train("2", data, class_weight="balanced", epochs=1).plan.loss.class_weights, (3, 2))
    for label in (0, 1):
        np.testing.assert_allclose(pairs[label], compute_class_weight("balanced", classes=np.arange(2), y=y[:, label]))
    assert pairs[2].tolist() == [1, 1]
    each = train("2", data, class_weight=[{1: 9}, {0: 1, 1: 2}, {0: 3}], epochs=1)
    assert each.plan.loss.class_weights == (1, 9, 1, 2, 3, 1)
    with pytest.raises(SettingError, match=r"there are 2 mappings for 3 labels \(y_0, y_1, y_2\); pass one of 0 and 1"):
        train("2", data, class_weight=[{1: 9}, {1: 2}])


def test_the_weights_of_each_label_find_rare_ones():
    x = RANDOM.normal(size=(1500, 3))
    y = (x[:, :2] + 0.7 * RANDOM.normal(size=(1500, 2)) > [2, -2]).astype(int)  # rarely 1, rarely 0
    plain, even = (train("4 tanh", (x, y), epochs=20, class_weight=w).predict(x) for w in (None, "balanced"))
    found = [[(labels[y[:, k] == rare, k] == rare).mean() for k, rare in ((0, 1), (1, 0))] for labels in (plain, even)]
    assert (np.array(found[1]) > np.array(found[0]) + 0.1).all()


def test_a_weight_of_a_multilabel_network_is_explained(trained):
    problem = trained.plan.problem(len(trained.data.training.x))
    explanation = Explanation(problem, trained.last, trained.data.training, "dense_2.W[3, 1]")
    place = trained.plan.network.parameters.views(trained.last.gradient)
    gradient = dict(place)["dense_2.W"][3, 1]
    assert explanation.gradient == pytest.approx(gradient, rel=1e-4)
    assert "dense_2.W[3, 1]" in explanation._repr_html_()
    assert explanation.proof.numerical_gradient == pytest.approx(explanation.gradient, rel=1e-5)


def test_the_page_shows_the_labels_of_a_sample(table):
    data = load(table, target=GENRES, test=0)
    trainer = Trainer(Settings.from_json({"data": {"kind": "given", "name": "films"}, "layers": []}), data)
    trainer.advance(3)
    output = trainer.predict(data.training.x[:1])
    shown = outcome(trainer, output, data.training.y[:1], "dense_1[0]")
    assert shown["targets"] == data.training.y[0].tolist()
    assert shown["names"] == [f"label {genre}" for genre in GENRES]
    assert shown["errors"] == pytest.approx(1 / (1 + np.exp(-output[0])) - data.training.y[0], abs=1e-6)
    present = [genre for genre, t in zip(GENRES, data.training.y[0], strict=True) if t]
    assert shown["target_text"] == f"labels: {', '.join(present)}"


@pytest.mark.parametrize("labels", [2, 3])
def test_a_session_of_the_page_trains_on_labels(table, labels):
    headers = []

    def receive(message):
        headers.append(json.loads(message[4 : 4 + int.from_bytes(message[:4], "little")]))

    session = Session(receive, load(table, target=GENRES[:labels], validation=0.2, test=0), threaded=False)
    settings = {"data": {"kind": "given"}, "layers": [{"units": 3, "activation": "tanh"}], "batch_size": 8}
    messages = [{"type": "settings", "settings": settings}, {"type": "step"}, {"type": "epoch"}]
    for message in [*messages, {"type": "open", "weight": "dense_1.W[0, 0]"}]:
        session.obey(message)
        session.show()
    assert {"built", "frame", "explanation"} <= {header["type"] for header in headers}
    assert not [header for header in headers if header["type"] == "error"]


def test_in_a_terminal(table, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    table.write_csv("films.csv")
    targets = [word for genre in GENRES for word in ("--target", genre)]
    settings = ["--task", "multilabel", "--network", "8 tanh", "--epochs", "5", "--output", "run"]
    assert command(["train", "films.csv", *targets, *settings]) == 0
    assert "(multilabel, 3 labels)" in capsys.readouterr().err
    assert command(["show", "run"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "target comedy, drama, action (multilabel, 3 labels)" in shown
    assert command(["predict", "run", "films.csv", "--json"]) == 0
    row = json.loads(capsys.readouterr().out)[0]
    assert list(row) == [*GENRES, *(f"probability_{genre}" for genre in GENRES)]
    assert all(row[genre] == (row[f"probability_{genre}"] > 0.5) for genre in GENRES)
    assert command(["evaluate", "run", "films.csv", "--json"]) == 0
    assert {"f1", "hamming_loss"} <= json.loads(capsys.readouterr().out)["metrics"].keys()
    for words in (["explain", "run"], ["explain", "run", "--format", "html", "-o", "w.html"], ["check", "run"]):
        assert command(words) == 0
    assert Run.open("run").trained.target.columns == GENRES
    capsys.readouterr()
    assert command(["train", "films.csv", "--target", "comedy", "--task", "multilabel"]) == 2
    assert "choose --task classification" in capsys.readouterr().err


@pytest.mark.parametrize("columns", [["comedy"], ["comedy", "comedy", "drama"], []])
def test_an_altered_target_is_refused(table, tmp_path, monkeypatch, columns, capsys):
    monkeypatch.chdir(tmp_path)
    table.write_csv("films.csv")
    targets = [word for genre in GENRES for word in ("--target", genre)]
    assert command(["train", "films.csv", *targets, "--network", "2", "--epochs", "1", "--output", "run"]) == 0
    manifest = json.loads((tmp_path / "run/manifest.json").read_text())
    for name in ("recipe.json", "preparation.json"):
        content = json.loads((tmp_path / "run" / name).read_text())
        (content["data"] if name == "recipe.json" else content)["target"]["columns"] = columns
        (tmp_path / "run" / name).write_bytes(files.encoded(content))
        manifest["files"][name] = files.hash_of(files.encoded(content))
    (tmp_path / "run/manifest.json").write_bytes(files.encoded(manifest))
    with pytest.raises(RunError, match="the target has"):
        Run.open("run")
