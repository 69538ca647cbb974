"""Language models on the command line: train, generate, evaluate, show, and what is refused."""

import csv
import io
import json

import numpy as np
import pytest

from chainrule.cli import run
from chainrule.runs import Run

RHYME = "Row, row, row your boat, gently down the stream. Merrily, merrily, life is but a dream.\n" * 12


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("texts")
    (folder / "rhyme.txt").write_text(RHYME)
    (folder / "same.txt").write_text("a" * 500)
    (folder / "blank.txt").write_text("\n\n")
    (folder / "other.md").write_text("Row your boat, gently. Merrily.\n" * 3)
    return folder


@pytest.fixture(autouse=True)
def _in_the_folder(folder, monkeypatch):
    monkeypatch.chdir(folder)


SETTINGS = ("--length", "12", "--epochs", "4", "--network", "conv 16 4 relu padding=causal")


@pytest.fixture(scope="module")
def trained(folder):
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(folder)
        assert run(["train", "rhyme.txt", *SETTINGS]) == 0
    return "runs/rhyme-1"


def said(capsys, *arguments):
    code = run([*arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_train_says_what_was_read_and_what_the_network_writes(capsys):
    code, out, err = said(capsys, "train", "rhyme.txt", *SETTINGS, "-o", "shown")
    assert code == 0
    assert "rhyme.txt: a text of 1,056 characters, 24 different ones; target next character" in err
    assert "split in order: the end of the text is held out" in err
    assert "windows of 12 characters" in err
    for sample in Run.open("shown").trained.progress.samples:
        line = next(line for line in err.splitlines() if line.startswith(f"epoch {sample.epoch} continues"))
        assert sample.text.replace("\n", "\\n") in line
    assert "test bits per character" in out
    assert "chainrule generate shown --prompt" in out


def test_json_has_bits_per_character_and_the_samples(capsys):
    code, out, _ = said(capsys, "train", "rhyme.txt", *SETTINGS, "-o", "as_json", "--json")
    result = json.loads(out)
    assert code == 0
    assert 0 < result["test"]["bits_per_character"] < 5
    assert [sample["epoch"] for sample in result["samples"]] == [1, 2, 4]
    assert result["history"][-1]["validation_bits_per_character"] > 0
    evaluated = json.loads(said(capsys, "evaluate", "as_json", "--json")[1])
    assert evaluated["metrics"]["bits_per_character"] == pytest.approx(result["test"]["bits_per_character"])


def test_generate_continues_a_prompt(trained, capsys):
    arguments = ("generate", trained, "--prompt", "Row", "--length", "30", "--temperature", "0.8", "--seed", "1")
    code, out, err = said(capsys, *arguments)
    assert (code, err) == (0, "")
    assert out == Run.open(trained).trained.generate("Row", 30, 0.8, 1) + "\n"
    result = json.loads(said(capsys, *arguments, "--json")[1])
    assert result["prompt"] + result["text"] == out[:-1]
    assert "".join(one["token"] for one in result["tokens"]) == result["text"]
    assert all(0 < one["probability"] <= 1 for one in result["tokens"])


def test_several_texts_are_written(trained, capsys):
    arguments = ("generate", trained, "--prompt", "Row", "--length", "30", "--samples", "2", "--top-k", "3")
    code, out, err = said(capsys, *arguments)
    first, second = Run.open(trained).trained.generate_several(2, "Row", 30, top_k=3)
    assert (code, err) == (0, "")
    assert out == f"sample 1\n{first}\n\nsample 2\n{second}\n\n"
    result = json.loads(said(capsys, *arguments, "--json")[1])
    assert ["Row" + one["text"] for one in result["samples"]] == [first, second]
    assert len(result["samples"][1]["tokens"]) == 30


def test_another_text_is_evaluated(trained, capsys):
    code, out, _ = said(capsys, "evaluate", trained, "other.md", "--json")
    report = json.loads(out)
    assert code == 0
    assert report["samples"] == 7
    assert report["metrics"].keys() == {"loss", "bits_per_character", "accuracy", "log_loss"}
    assert "bits per character" in said(capsys, "evaluate", trained)[1]


def test_predict_lists_each_token_with_its_probability(trained, folder, capsys, monkeypatch):
    code, out, _ = said(capsys, "predict", trained, "other.md", "--json")
    result, text = json.loads(out), (folder / "other.md").read_text()
    assert code == 0
    assert "".join(one["token"] for one in result["tokens"]) == text
    assert result["tokens"][0]["probability"] is None
    bits = [one["bits"] for one in result["tokens"][1:]]
    assert result["bits_per_character"] == pytest.approx(sum(bits) / len(bits))
    assert [one["line"] for one in result["tokens"]][-1] == 3
    likely = [one["probability"] for one in result["next"]]
    assert likely == sorted(likely, reverse=True)
    network = Run.open(trained).trained
    assert network.next_tokens(text).max() == pytest.approx(likely[0])
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"Row, r\n")))
    rows = list(csv.DictReader(io.StringIO(said(capsys, "predict", trained, "-")[1])))
    assert [row["token"] for row in rows] == [*"Row, r", ""]
    by_window = network.probabilities(np.pad(network.tokens.encode("Row, r"), (0, 6))[None])[0]
    own = [float(row["probability"]) for row in rows[1:-1]]
    assert own == pytest.approx([by_window[t, k] for t, k in enumerate(network.tokens.encode("ow, r"))])


def test_tune_tries_networks_and_lengths(capsys):
    code, out, _ = said(capsys, "tune", "rhyme.txt", "--trials", "3", "--epochs", "1", "--length", "8", "--json")
    result = json.loads(out)
    assert (code, result["trials"]) == (0, 3)
    assert result["test"]["bits_per_character"] > 0
    assert result["settings"].get("length", 8) in (8, 32, 64, 128, 256)


def test_show_tells_the_last_sample(trained, capsys):
    out = said(capsys, "show", trained)[1]
    sample = Run.open(trained).trained.progress.samples[-1]
    assert "epoch 4 continues" in out
    assert sample.prompt.replace("\n", "\\n") in out.replace("\n" + " " * 31, " ")
    shown = json.loads(said(capsys, "show", trained, "--json")[1])
    assert shown["samples"][-1] == sample._asdict()


def test_a_gradient_is_explained_and_checked(trained, capsys):
    code, out, _ = said(capsys, "explain", trained, "embedding_1.W[3, 0]")
    assert code == 0
    assert "the row of" in out
    assert "(position " in out
    assert said(capsys, "explain", trained, "conv_1.W[0, 0, 0]", "--format", "html", "-o", "why.html")[0] == 0
    assert said(capsys, "explain", trained, "dense_1.b[0]", "--format", "svg", "-o", "why.svg")[0] == 0
    assert said(capsys, "check", trained)[0] == 0


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["train", "rhyme.txt", "--tokens", "words"], "unknown kind of tokens 'words'"),
        (["train", "rhyme.txt", "--length", "5000"], "1,056 characters are too few for windows of 5,000"),
        (["train", "rhyme.txt", "--length", "12", "--target", "price"], "a text, without columns; leave --target out"),
        (["train", "missing.txt"], "missing.txt: there is no such file"),
        (["train", "iris", "--tokens", "characters"], "iris: it is no text, which alone has tokens; leave --tokens"),
        (["train", "rhyme.txt", "--network", "conv 8 3 padding=same"], "layer conv_1: what it computes at position"),
        (["train", "rhyme.txt", "--metrics", "roc_auc"], "'roc_auc' is not measured at positions"),
        (["train", "rhyme.txt", "--loss", "mse"], "the loss MeanSquaredError is for regression"),
        (["generate", "RUN", "--prompt", "Zürich"], "the prompt, line 1: the character 'Z' is not in the vocabulary"),
        (["generate", "RUN", "--length", "0"], "the length is 0; it takes at least 1 token"),
        (["generate", "RUN", "--temperature", "-1"], "--temperature is -1.0; it must be a number from 0 to 100"),
        (["generate", "RUN", "--temperature", "nan"], "--temperature is nan; it must be a number from 0 to 100"),
        (["generate", "RUN", "--top-k", "0"], "--top-k is 0; it takes at least 1 token"),
        (["generate", "RUN", "--samples", "0"], "--samples is 0; it takes at least 1 text"),
        (["train", "same.txt"], "same.txt: every character is 'a'; there is nothing to learn"),
        (["train", "blank.txt"], "blank.txt: the file is empty"),
        (["generate", "nowhere"], "nowhere: there is no such run"),
        (["predict", "RUN", "rhyme.txt", "--interval", "0.9"], "--interval is for a quantity, and tokens are none"),
        (["predict", "RUN", "iris"], "iris: it is no text"),
        (["evaluate", "RUN", "iris"], "iris: it is no text"),
    ],
)  # fmt: skip
def test_what_can_not_be_done_is_said_in_one_line(trained, capsys, arguments, problem):
    code, out, err = said(capsys, *[trained if word == "RUN" else word for word in arguments])
    assert code == 2
    assert out == ""
    assert problem in err.splitlines()[-1]
    assert err.splitlines()[-1].startswith("chainrule: ")


def test_only_a_run_on_a_text_generates(capsys):
    assert run(["train", "iris", "--network", "4 tanh", "--epochs", "1", "-o", "iris"]) == 0
    capsys.readouterr()
    code, _, err = said(capsys, "generate", "iris")
    problem = "it predicts species (classification, 3 classes) and continues no text; train it on a text"
    assert (code, err) == (2, f"chainrule: {problem}\n")
