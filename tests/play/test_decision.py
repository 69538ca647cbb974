"""A run that decides between two classes by a threshold: the page and explanations decide by it and
say so.
"""

import json

import numpy as np
import pytest

import chainrule
from chainrule.cli import run as command
from chainrule.data import load
from chainrule.explain import explain, lines
from chainrule.explain.page import page
from chainrule.play.export import export
from chainrule.play.frames import frame
from chainrule.play.outcome import outcome
from chainrule.play.session import Session
from chainrule.play.settings import Settings
from chainrule.play.trainer import Trainer
from chainrule.runs import Recorder, Run, train

DATA = load("breast-cancer", validation=0.3, test=0.1)
GIVEN = {"data": {"kind": "given", "name": "breast-cancer"}, "layers": [{"units": 4, "activation": "tanh"}]}
THRESHOLD = 0.15
WORDS = f"the threshold {THRESHOLD}, from which on malignant is predicted instead of benign"


@pytest.fixture(scope="module", params=["", "cross_entropy"], ids=["one output", "two outputs"])
def run(tmp_path_factory, request):
    folder = tmp_path_factory.mktemp("runs") / "tumours"
    trained = train(
        "4 tanh", DATA, epochs=8, optimizer="adam 0.005", threshold=THRESHOLD, loss=request.param or None,
        patience=None,
        callbacks=[Recorder(folder)],
    )  # fmt: skip
    assert trained.threshold == THRESHOLD
    return Run.open(folder)


@pytest.fixture
def trainer(run):
    trainer = Trainer(Settings.from_json(GIVEN), DATA, run)
    trainer.go_to(trainer.furthest)
    return trainer


def test_the_confusion_matrix_and_the_metrics_are_decided_by_it(run, trainer):
    header, arrays = frame(trainer, {}, full=True)
    report = run.trained.report(DATA.validation)
    np.testing.assert_array_equal(arrays["confusion"], report.confusion)
    assert (arrays["confusion"] != run.trained.with_threshold(None).report(DATA.validation).confusion).any()
    assert header["held"]["accuracy"] == pytest.approx(report.metrics["accuracy"])


def test_the_decision_about_a_sample_is_shown(run, trainer):
    samples = DATA.validation
    probabilities = run.trained.probabilities(samples)[:, 1]
    between = int(np.flatnonzero((probabilities >= THRESHOLD) & (probabilities < 0.5))[0])
    below = int(np.flatnonzero(probabilities < THRESHOLD)[0])
    for row, label, side in ((between, "malignant", "at least"), (below, "benign", "less than")):
        shown = outcome(trainer, trainer.predict(samples.x[[row]]), samples.y[[row]], "dense_2[0]")
        assert shown["decided"] == label == run.trained.predict(samples.take(np.array([row])))[0]
        assert shown["decision_text"].startswith(f"{label} is predicted: malignant has the probability ")
        assert f"{side} {WORDS}" in shown["decision_text"]


def test_a_network_of_the_page_itself_decides_for_the_more_probable_class(run):
    trainer = Trainer(Settings.from_json(GIVEN), DATA)
    assert trainer.threshold is None
    shown = outcome(trainer, trainer.predict(DATA.validation.x[:1]), DATA.validation.y[:1], "dense_2[0]")
    assert "decided" not in shown


def test_a_session_tells_the_page_the_threshold(run):
    headers = []

    def receive(message):
        headers.append(json.loads(message[4 : 4 + int.from_bytes(message[:4], "little")]))

    session = Session(receive, DATA, run, threaded=False)
    for message in (
        {"type": "settings", "settings": GIVEN, "run": True},
        {"type": "open", "weight": "dense_1.W[0, 0]"},
    ):
        session.obey(message)
        session.show()
    session.close()
    (built,) = [header for header in headers if header["type"] == "built"]
    assert built["threshold"] == THRESHOLD
    explained = [header for header in headers if header["type"] == "explanation"][-1]
    assert WORDS in json.dumps(explained["levels"])
    assert [header for header in headers if header["type"] == "scene"][-1]["output"]["decided"] in (
        "benign",
        "malignant",
    )


def test_an_explanation_says_what_is_predicted(run):
    e = explain(run, "dense_1.W[0, 0]", data=DATA)
    p = e.trace.problem.loss.probabilities(e.trace.tape.output)[e.trace.rows.tolist().index(e.chain.row), 1]
    label = "malignant" if p >= THRESHOLD else "benign"
    said = f"Of sample {e.chain.row}, {label} is predicted: malignant has the probability {p:.4g}"
    (line,) = [line.strip() for line in lines(e) if WORDS in line]
    assert line.startswith(said)
    assert line in page(e)
    assert (e.as_json()["threshold"], e.as_json()["predicted"]) == (THRESHOLD, label)
    without = explain(Run.open(run.folder), "dense_1.W[0, 0]", data=DATA)
    without.threshold = None
    assert without.decision is None
    assert "threshold" not in without.as_json()


def test_code_for_chainrule_trains_with_it(trainer):
    code = export(trainer, "chainrule")
    assert f"    threshold={THRESHOLD},  # the run's" in code
    code = code.replace("epochs=8", "epochs=1").replace("data = chainrule.load", "data = load")
    names = {"load": lambda *_, **__: DATA}
    exec(compile(code, "exported", "exec"), names)
    assert names["trained"].threshold == THRESHOLD


def test_code_for_pytorch_predicts_with_it(trainer):
    code = export(trainer, "torch")
    compile(code, "exported", "exec")
    two = trainer.plan.network.output_shape[-1] == 2
    probability = "torch.softmax(network(x), 1)[:, 1]" if two else "torch.sigmoid(network(x)[:, 0])"
    assert f"    predicted = {probability} >= {THRESHOLD}  # 'malignant' or not: the run's threshold" in code
    assert "threshold" not in export(Trainer(Settings.from_json(GIVEN), DATA), "torch")


def test_show_tells_it(run, capsys):
    assert command(["show", str(run.folder)]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert f"threshold {THRESHOLD} or more: malignant" in shown
    assert chainrule.open(run.folder).threshold == THRESHOLD


def test_several_quantities_are_shown_each_in_its_own_unit():
    random = np.random.default_rng(0)
    x = random.normal(size=(100, 3))
    data = load((x, x @ random.normal(size=(3, 2)) * [1, 1000]), validation=0.3, test=0)
    trainer = Trainer(Settings.from_json({"data": {"kind": "given", "name": "two"}, "layers": []}), data)
    trainer.advance(3)
    header, arrays = frame(trainer, {}, full=True)
    assert [one["name"] for one in header["held_targets"]] == ["y_0", "y_1"]
    truth, guess = arrays["true"], arrays["predicted"]
    assert header["held_targets"][0]["mae"] == pytest.approx(abs(truth - guess).mean(), rel=1e-5)
    assert header["held"]["r2"] == pytest.approx(np.mean([one["r2"] for one in header["held_targets"]]), rel=1e-4)
    output = trainer.predict(data.validation.x[:1])
    shown = outcome(trainer, output, data.validation.y[:1], "dense_1[0]")
    assert shown["predictions"] == pytest.approx(output[0])
    assert shown["targets"] == pytest.approx(data.validation.y[0])
    assert shown["errors"] == pytest.approx(output[0] - data.validation.y[0], rel=1e-5)
