"""Language models: what is measured at positions, that networks are causal, and how one writes."""

import importlib.util
import json
import math
from dataclasses import dataclass

import numpy as np
import pytest
import sklearn.metrics

import chainrule
from chainrule.data import BUILTIN, Target, Text, load
from chainrule.errors import DataError, RunError, SettingError, ShapeError
from chainrule.explain import explain, lines
from chainrule.layers import (
    LSTM,
    Branches,
    Conv1d,
    Dense,
    Embedding,
    GlobalAveragePool,
    Input,
    LayerNorm,
    MultiHeadAttention,
    Residual,
    Scan,
)
from chainrule.layers.softmax import softmax
from chainrule.losses import CategoricalCrossEntropy
from chainrule.network import Network
from chainrule.runs import Recorder, Run
from chainrule.training import Sampled, loop, make_plan
from chainrule.training.causality import first_reader, require_causal
from chainrule.training.metrics import Metric
from chainrule.training.position_scores import joined, score_positions
from engines import NAMES
from trainings import assert_same

RHYME = "Row, row, row your boat, gently down the stream. Merrily, merrily, life is but a dream.\n" * 12
SMALL = "conv 16 4 relu padding=causal"


@pytest.fixture(scope="module")
def data():
    return load(Text("rhyme", RHYME), length=12)


@pytest.fixture(scope="module")
def trained(data):
    return chainrule.train(SMALL, data, epochs=12, optimizer="adam 0.01")


def unigram_bits(text, on):
    """The bits per character of `on` by how often each character occurs in a text, plus one."""
    counts = {c: text.count(c) + 1 for c in {*text, *on}}
    return -sum(math.log2(counts[c] / sum(counts.values())) for c in on) / len(on)


def test_the_default_network_learns_a_real_text():
    """In 160 of its steps: Python's language reference, better than by the counts of characters."""
    content = BUILTIN["python-docs"].text().content[:60_000]
    trained = chainrule.train(Text("docs", content), epochs=4)
    measured, end = trained.evaluate(), content[48_000:]
    assert measured["bits_per_character"] == pytest.approx(measured["loss"] / math.log(2), rel=1e-5)
    assert measured["bits_per_character"] < 0.85 * unigram_bits(content[:42_000], end)
    assert measured["accuracy"] > 0.22


def test_bits_per_character_are_those_of_the_probabilities(trained, data):
    x, y = np.asarray(data.test.x), np.asarray(data.test.y)
    p = softmax(trained.raw(data.test).astype(float))
    of_truth = np.take_along_axis(p, y[..., None].astype(int), axis=2)
    assert trained.evaluate()["bits_per_character"] == pytest.approx(-np.log2(of_truth).mean(), rel=1e-5)
    assert trained.evaluate()["accuracy"] == (p.argmax(axis=2) == y).mean()
    assert (trained.predict(x) == np.array(data.target.classes)[p.argmax(axis=2)]).all()


@pytest.mark.parametrize("most", [1, 1000, 10**9])
def test_a_text_is_scored_in_parts(trained, monkeypatch, most):
    whole = trained.evaluate()
    monkeypatch.setattr(loop, "MOST_OUTPUTS", most)
    assert trained.evaluate() == pytest.approx(whole, rel=1e-6)


def test_positions_that_do_not_count_are_left_out():
    random = np.random.default_rng(0)
    prediction, y = random.normal(size=(4, 5, 3)), random.integers(0, 3, (4, 5))
    mask = (np.arange(5) < np.array([5, 1, 3, 0])[:, None]).astype(float)
    loss, target = CategoricalCrossEntropy(), chainrule.from_arrays(y, y, task="classification").target
    scored = joined([score_positions(loss, prediction[k : k + 2], y[k : k + 2], mask[k : k + 2]) for k in (0, 2)])
    p = softmax(prediction)
    right = (p.argmax(axis=2) == y)[mask > 0]
    assert scored.metric("accuracy", target) == pytest.approx(right.mean())
    own = -np.log(np.take_along_axis(p, y[..., None], axis=2)[..., 0])[mask > 0]
    assert scored.metric("log_loss", target) == pytest.approx(own.mean())


def of_probabilities(truth, guess):
    return 0.0


@pytest.mark.parametrize(
    "metric", ["roc_auc", "roc_auc_ovr", Metric(of_probabilities, response_method="predict_proba")]
)
def test_metrics_of_probabilities_are_refused_at_positions(data, metric):
    with pytest.raises(SettingError, match="not measured at positions; bits_per_character, accuracy, log_loss are"):
        make_plan(SMALL, data, metrics=[metric])
    with pytest.raises(SettingError, match="unknown metric for classification 'bits_per_character': it is for text"):
        make_plan(None, load("iris"), metrics="bits_per_character")


@pytest.mark.parametrize("engine", NAMES)
def test_sequences_of_arrays_are_learned_and_masked(engine):
    """Each token again three positions later; in samples that are cut off."""
    random = np.random.default_rng(0)
    x = random.integers(0, 6, (400, 10))
    y = np.roll(x, 3, axis=1)
    mask = np.arange(10) < random.integers(4, 11, 400)[:, None]
    mask[:, :3] = False
    wrong = np.where(mask, y, 0)  # what is masked is not looked at
    data = chainrule.from_arrays(x, wrong, task="classification", weight=mask)
    network = [Embedding(6, 16), Conv1d(32, 4, "relu", padding="causal"), Dense(6)]
    trained = chainrule.train(network, data, epochs=25, engine=engine, optimizer="adam 0.01")
    assert trained.evaluate(data.training)["accuracy"] == 1
    assert trained.predict(x[:2]).shape == (2, 10)


def test_metrics_at_positions_are_those_of_the_positions_that_count():
    random = np.random.default_rng(0)
    x, lengths = random.normal(size=(90, 6, 2)), random.integers(1, 7, 90)
    counts = np.arange(6) < lengths[:, None]
    labels, sums = np.where(x[..., 0] > 0, "up", "down"), np.cumsum(x[..., 0], axis=1)
    sums[~counts] = np.nan
    for y, wanted in (
        (labels, ["f1_macro", "balanced_accuracy", "matthews_corrcoef"]),
        (sums, ["mae", "neg_max_error"]),
    ):
        trained = chainrule.train("gru 4 all=true", ((x, lengths), y), epochs=1)
        scores = trained.evaluate(((x, lengths), y), metrics=wanted)
        truth, guess = y[counts], trained.predict((x, lengths))[counts]
        for name in wanted:
            scorer = {"mae": sklearn.metrics.mean_absolute_error}.get(name) or sklearn.metrics.get_scorer(
                name
            )._score_func
            options = {"average": "macro"} if name == "f1_macro" else {}
            own = scorer(truth, guess, **options) * (-1 if name == "neg_max_error" else 1)
            assert scores[name] == pytest.approx(own, rel=1e-5)
        if y is labels:
            report = trained.report(((x, lengths), y))
            assert report.confusion.sum() == pytest.approx(counts.sum())
            assert [one.label for one in report.classes] == ["down", "up"]


def test_quantities_at_positions():
    random = np.random.default_rng(0)
    x = random.normal(size=(300, 8, 2))
    y = np.cumsum(x[:, :, :1], axis=1)
    trained = chainrule.train([Conv1d(1, 8, padding="causal")], (x, y), epochs=60, optimizer="adam 0.02")
    assert trained.target.described == "y (regression at each of 8 positions)"
    assert trained.evaluate()["r2"] > 0.99


# Causality


CAUSAL = {
    "conv": [Embedding(7, 4), Conv1d(5, 3, "tanh", padding="causal", dilation=2), LayerNorm(), Dense(7)],
    "as many units as positions": [Embedding(7, 4), Scan(LSTM(8), all=True), Dense(7)],
    "as many heads as positions": [Embedding(7, 8), MultiHeadAttention(8, causal=True), Dense(7)],
    "residual": [Embedding(7, 4), Residual([Conv1d(4, 3, "gelu", padding="causal")]), Dense(7)],
    "branches": [Embedding(7, 4), Branches([[Dense(3)], [Conv1d(3, 9, padding="causal")]]), Dense(7)],
    "no context": [Embedding(7, 4), Dense(7)],
}


@dataclass(frozen=True)
class NextToken(chainrule.Composite):
    """Adds to every position but the last a little of the one after it."""

    def wire(self, x):
        shifted = Conv1d(4, 2, padding=1)(x)
        return x + shifted[1:9] * 1e-3


def averaged():
    x = Input(8)
    embedded = Embedding(7, 4)(x)
    mean = GlobalAveragePool()(embedded).reshape(1, 4)
    return Network(inputs=x, outputs=Dense(7)(embedded + mean))


NOT_CAUSAL = {
    "same": [Embedding(7, 4), Conv1d(5, 3, padding="same"), Dense(7)],
    "next": [Embedding(7, 4), NextToken(), Dense(7)],
    "mean": averaged(),
    "reversed": [Embedding(7, 4), Scan(LSTM(8), all=True, reversed=True), Dense(7)],
}


@pytest.mark.parametrize("name", CAUSAL)
def test_causal_networks_are_known(name):
    assert first_reader(Network(CAUSAL[name], 8), 7) is None


@pytest.mark.parametrize("name", NOT_CAUSAL)
def test_other_networks_are_told_by_their_first_layer_that_looks_ahead(name):
    network = NOT_CAUSAL[name]
    network = network if isinstance(network, Network) else Network(network, 8)
    node, position = first_reader(network, 7)
    assert node == {"same": "conv1d_1", "next": "next_token_1.slice_1", "mean": "add_1", "reversed": "lstm_1"}[name]
    assert 0 <= position < 7
    target = Target("classification", "next character", tuple("abcdefg"), positions=(8,), tokens="characters")
    with pytest.raises(SettingError, match=f"layer {node}: what it computes at position {position} depends on tokens"):
        require_causal(network, target)


def test_networks_that_do_not_suit_a_text_are_refused(data):
    with pytest.raises(SettingError, match="depends on tokens after that, among which is the next character"):
        make_plan("conv 8 3 padding=same", data)
    with pytest.raises(ShapeError, match="dense_1"):
        make_plan("conv 8 3 padding=causal, global_average_pool", data)
    assert make_plan("16 relu", data).network.nodes[0].name == "embedding_1"
    assert make_plan("embedding 24 3, 16 relu", data).network.nodes[0].built.output_shape == (12, 3)


# Writing


def test_the_likeliest_tokens_are_those_of_the_network(trained, data):
    tokens = data.preparation.tokens
    context = [int(k) for k in tokens.encode("Row, row")]
    for _ in range(20):
        x = np.zeros((1, 12), int)
        x[0, : len(context[-12:])] = context[-12:]
        output = trained.raw(x.view(chainrule.data.Prepared))[0, min(len(context), 12) - 1]
        context.append(int(output.argmax()))
    assert trained.generate("Row, row", 20, temperature=0) == tokens.decode(context)


def test_the_same_seed_writes_the_same(trained):
    once, again, other = (trained.generate("Row", 40, 2.0, seed) for seed in (1, 1, 2))
    assert once == again != other
    assert len(once) == 43
    assert trained.generate(length=5, temperature=0) == trained.generate("\n", 5, 0).removeprefix("\n")
    drawn = list(trained.written("Row", 40, 2.0, 1))
    assert "".join(trained.tokens.symbols[one.number] for one in drawn) == once[3:]
    assert all(0 < one.probability <= 1 for one in drawn)


def test_a_low_temperature_prefers_likely_tokens(trained):
    mean = {t: np.mean([one.probability for one in trained.written("", 200, t)]) for t in (0.3, 1, 4)}
    assert mean[0.3] > mean[1] > mean[4]


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"prompt": "Zürich"}, "the prompt, line 1: the character 'Z' is not in the vocabulary"),
        ({"prompt": 3}, "the prompt is 3; pass a text"),
        ({"length": 0}, "the length is 0; it takes at least 1 token"),
        ({"length": 10**20}, "it takes at most 10,000,000 tokens"),
        ({"temperature": -1}, "temperature is -1; it must be a number from 0 to 100"),
        ({"temperature": math.nan}, "temperature is nan"),
    ],
)
def test_other_settings_are_refused(trained, settings, problem):
    with pytest.raises((DataError, SettingError), match=problem):
        trained.generate(**settings)


def test_only_a_language_model_writes():
    trained = chainrule.train("4 tanh", "iris", epochs=1)
    with pytest.raises(DataError, match=r"it predicts species \(classification, 3 classes\) and continues no text"):
        trained.generate("a")


# Runs


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("texts")
    (folder / "rhyme.txt").write_text(RHYME)
    options = {"length": 12, "epochs": 5, "patience": None}
    chainrule.train(SMALL, folder / "rhyme.txt", callbacks=[Recorder(folder / "run")], **options)
    return Run.open(folder / "run")


def test_a_run_on_a_text_is_read_replayed_and_resumed(run, tmp_path):
    folder = run.folder.parent
    samples = run.trained.progress.samples
    assert [sample.epoch for sample in samples] == [1, 2, 4, 5]
    assert all(len(sample.text) == 120 and RHYME.count(sample.prompt) for sample in samples)
    record = run.at(3)
    again = next(iter(run.timeline(run.load_data()).each([3])))
    assert record.gradient.tobytes() == again.gradient.tobytes()
    half = {"length": 12, "epochs": 2, "patience": None, "callbacks": [Recorder(tmp_path / "half")]}
    heard = []
    chainrule.train(SMALL, folder / "rhyme.txt", **half)
    resumed = Run.open(tmp_path / "half").resume(epochs=3, callbacks=[heard.append])
    assert [event.sample.epoch for event in heard if isinstance(event, Sampled)] == [3]
    assert [sample.epoch for sample in Run.open(tmp_path / "half").trained.progress.samples] == [1, 2, 3]
    whole = chainrule.train(SMALL, folder / "rhyme.txt", length=12, epochs=3, patience=None, seed=0)
    assert resumed.parameters.shape == whole.parameters.shape


def test_engines_and_interruptions_give_the_same_bits(data):
    one, other = (chainrule.train(SMALL, data, epochs=2, engine="numpy") for _ in range(2))
    assert_same(one, other)
    assert one.progress.samples == other.progress.samples


def test_an_altered_sample_is_refused(run, tmp_path):
    run.trained.save(tmp_path / "copy")
    (path,) = (tmp_path / "copy").glob("samples-*.json")
    manifest = json.loads((tmp_path / "copy" / "manifest.json").read_text())
    for altered in ([{"epoch": 9, "prompt": "a", "text": "b"}], [{"epoch": 1, "text": "b"}], "text"):
        path.write_text(json.dumps(altered))
        manifest["files"][path.name] = chainrule.runs.folder.hash_of(path.read_bytes())
        (tmp_path / "copy" / "manifest.json").write_text(json.dumps(manifest))
        with pytest.raises(RunError, match=r"samples-\d+\.json: .*it was altered"):
            Run.open(tmp_path / "copy")


def test_an_explanation_names_positions_rows_and_outputs_by_their_tokens(run):
    e = explain(run, "embedding_1.W[3, 0]", 4)
    symbol = run.trained.tokens.shown(3)
    assert e.about == f"number 0 of row 3 of embedding_1, the row of {symbol}"
    assert sum(term.product for term in e.samples) == pytest.approx(e.gradient, rel=1e-10)
    assert e.proof.numerical_gradient == pytest.approx(e.gradient, rel=1e-6, abs=1e-9)
    assert e.rounding.explains
    text = "\n".join(lines(e))
    unit = e.samples[0].unit
    assert f"{unit} (position {unit.index[1]} {symbol})" in text
    assert " / 12 (positions) / " in text
    bias = explain(run, "dense_1.b[3]", 4)
    assert bias.about == f"the bias of unit 3 of dense_1, the output of {symbol}"
    use = bias.as_json()["samples"][0]["uses"][0]
    window = run.load_data().training.x[bias.samples[0].row]
    position = int(use["unit"].partition("[")[2].partition(",")[0])
    assert use["place"] == f"position {position} {run.trained.tokens.shown(window[position])}, output {symbol}"


def test_a_text_that_has_changed_is_refused(run, tmp_path):
    path = run.folder.parent / "rhyme.txt"
    path.write_text(RHYME.replace("boat", "taob"))
    with pytest.raises(DataError, match=r"it has changed since the run .* was trained on it: its text is another"):
        run.load_data()
    path.write_text(RHYME)
    assert run.load_data().fingerprint == run.data["fingerprint"]


def test_a_text_of_two_characters_has_one_output_at_each_position():
    trained = chainrule.train(SMALL, Text("beats", "ab" * 300), length=8, epochs=6, optimizer="adam 0.01")
    assert trained.plan.network.output_shape == (8, 1)
    assert trained.evaluate()["bits_per_character"] < 0.2
    assert trained.generate("a", 6, temperature=0) == "abababa"
    held_out = trained.held_out("test")
    assert held_out.probabilities.shape == (*held_out.predictions.shape, 2) == (*held_out.targets.shape, 2)
    assert (held_out.targets[:, 1:] == trained.predict(trained.data.test)[:, 1:]).all()


def test_samples_are_logged(tmp_path):
    from chainrule.logs import TensorBoard

    pytest.importorskip("tensorboardX")
    options = {"length": 12, "epochs": 2, "callbacks": [TensorBoard(tmp_path, norms=False)]}
    trained = chainrule.train(SMALL, Text("rhyme", RHYME), **options)
    logged = b"".join(path.read_bytes() for path in tmp_path.glob("events*"))
    for sample in trained.progress.samples:
        assert f"    {sample.prompt}".encode() in logged


@pytest.mark.skipif(importlib.util.find_spec("tokenizers") is None, reason="byte pairs need the extra 'text'")
def test_a_language_model_of_byte_pairs(tmp_path):
    trained = chainrule.train(SMALL, Text("rhyme", RHYME * 4), tokens="bpe 300", length=8, epochs=8)
    assert trained.target.name == "next token"
    characters = len(RHYME * 4) * 0.2
    tokens = trained.data.sizes["test"] * 8
    measured = trained.evaluate()
    expected = measured["log_loss"] / math.log(2) * tokens / characters
    assert measured["bits_per_character"] == pytest.approx(expected, rel=0.1)  # windows end before the text
    assert trained.generate("Zürich, row", 12, 0.5, 1).startswith("Zürich, row")
    trained.save(tmp_path / "run")
    assert chainrule.open(tmp_path / "run").generate("Row", 9, seed=4) == trained.generate("Row", 9, seed=4)
