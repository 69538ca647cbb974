"""Sequences of different lengths in NPZ files: read, scaled, packed, and used by every command."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import chainrule
from chainrule.cli import run as main
from chainrule.data import load, sequences
from chainrule.errors import DataError, SettingError
from chainrule.layers import While
from chainrule.runs import Run


def drawn(count=60, steps=9, features=2, seed=0):
    """Sequences with NaN after their end, whose target is the last valid number."""
    random = np.random.default_rng(seed)
    lengths = random.integers(1, steps + 1, count)
    x = random.normal(3, 2, size=(count, steps, features))
    x[np.arange(steps) >= lengths[:, None]] = np.nan
    return x, x[np.arange(count), lengths - 1, 0], lengths


@pytest.fixture
def npz(tmp_path):
    x, y, lengths = drawn()
    path = tmp_path / "seq.npz"
    np.savez(path, x=x, y=y, lengths=lengths)
    return path


@given(st.integers(1, 9), st.integers(1, 6), st.integers(1, 3), st.integers(0, 99))
def test_features_are_scaled_over_valid_steps_and_padding_is_0(count, steps, features, seed):
    x, _, lengths = drawn(count, steps, features, seed)
    packed = sequences.packed("seq", x, lengths)
    assert packed.shape == (count, steps * features + 1)
    mean, deviation = sequences.fit(packed, (steps, features))
    scaled = (packed - mean) / deviation
    np.testing.assert_array_equal(scaled[:, -1], lengths)
    valid = np.arange(steps) < lengths[:, None]
    known = scaled[:, :-1].reshape(count, steps, features)[valid]
    np.testing.assert_allclose(known.mean(axis=0), 0, atol=1e-12)
    if len(known) > 1:
        np.testing.assert_allclose(known.std(axis=0), 1, rtol=1e-9)


def test_a_dataset_has_lengths_last_and_nothing_after_them(npz):
    data = load(npz)
    assert data.sequence == (9, 2)
    assert data.input_shape == (19,)
    x = data.training.x
    for sample in x:
        assert not sample[2 * int(sample[-1]) : -1].any()
    assert data.input_names[:3] == ["x[0, 0]", "x[0, 1]", "x[1, 0]"]
    assert data.input_names[-1] == "length"
    assert len(data.sample(0).values) == 2 * int(x[0, -1])


def test_every_command_takes_sequences(npz, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    train = ["train", str(npz), "--network", "gru 8", "--epochs", "3", "--optimizer", "adam 0.02"]
    assert main([*train, "--output", "run"]) == 0
    assert "up to 9 time steps of 2 features" in capsys.readouterr().err
    assert main(["evaluate", "run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["metrics"]["r2"] > 0
    x, _, lengths = drawn(5, 6, seed=3)
    np.savez("new.npz", x=x, lengths=lengths)
    assert main(["predict", "run", "new.npz"]) == 0
    shorter = capsys.readouterr().out
    wide = np.full((5, 9, 2), 77.0)
    wide[:, :6] = np.nan_to_num(x)
    np.savez("wide.npz", x=wide, lengths=lengths)
    assert main(["predict", "run", "wide.npz"]) == 0
    assert capsys.readouterr().out == shorter
    assert main(["explain", "run", "gru_1.state.U[1, 10]"]) == 0
    said = capsys.readouterr().out
    assert "to gate z of unit 2 in gru_1, at every time step" in said
    assert "steps back" in said
    assert main(["explain", "run", "gru_1.input.W[1, 10]"]) == 0
    assert "the weight from feature 1 to gate z" in capsys.readouterr().out
    assert main(["check", "run"]) == 0
    run = Run.open("run")
    assert run.load_data().sequence == (9, 2)
    full = np.nan_to_num(x)
    ours = run.trained.predict(full)  # without lengths all time steps count
    np.savez("full.npz", x=full, lengths=np.full(5, 6))
    np.testing.assert_array_equal(ours, run.trained.predict("full.npz"))


def test_by_default_sequences_are_scanned(npz):
    trained = chainrule.train(data=npz, epochs=1)
    assert "bidirectional_1.forward.state.U" in [entry.name for entry in trained.plan.network.parameters.entries]


def test_all_outputs_of_stacked_scans_take_the_lengths(npz):
    trained = chainrule.train("lstm 4 all=true, bidirectional(gru 3), 4 relu", npz, epochs=1)
    assert trained.plan.network.output_shape == (1,)
    chosen = [node for node in trained.plan.network.nodes if isinstance(node.layer, While)]
    assert len(chosen) == 9 * (2 + 1 + 1) - 1  # nothing reads the last c


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lengths": np.ones(3, int)}, r"lengths has the shape \(3,\); it must be \(60,\)"),
        ({"lengths": np.full(60, 10)}, r"lengths, row 0: 10 is no length; .* from 1 to 9"),
        ({"lengths": np.zeros(60, int)}, r"lengths, row 0: 0 is no length"),
        ({"lengths": np.full(60, 2.5)}, r"lengths, row 0: 2.5 is no length"),
        ({"lengths": np.full(60, np.nan)}, r"lengths, row 0: nan is no length"),
        ({"lengths": np.full(60, "3")}, r"lengths, row 0: 3 is no length"),
        ({"x": np.ones(60)}, r"with lengths, x must be numbers of shape \(samples, time, features\)"),
        ({"x": np.ones((60, 9, 2, 2))}, r"with lengths, x must be numbers of shape \(samples, time, features\)"),
        ({"x": np.full((60, 9, 2), np.nan)}, "is not a finite number"),
    ],
)
def test_what_is_no_sequence_is_refused(tmp_path, change, message):
    x, y, lengths = drawn()
    np.savez(tmp_path / "bad.npz", **({"x": x, "y": y, "lengths": lengths} | change))
    with pytest.raises(DataError, match=message):
        load(tmp_path / "bad.npz")


def test_what_does_not_fit_the_training_data_is_refused(npz, tmp_path):
    trained = chainrule.train("gru 3", npz, epochs=1)
    x, _, lengths = drawn(4, 12)
    x = np.nan_to_num(x)
    np.savez(tmp_path / "long.npz", x=x, lengths=np.full(4, 12))
    with pytest.raises(DataError, match="a sequence of 12 time steps, but at most 9 in the training data"):
        trained.predict(tmp_path / "long.npz")
    np.savez(tmp_path / "other.npz", x=x[..., :1], lengths=lengths)
    with pytest.raises(DataError, match="1 features at each time step, but 2 in the training data"):
        trained.predict(tmp_path / "other.npz")
    with pytest.raises(SettingError, match="the samples have lengths, but no layer takes them"):
        chainrule.train("8 relu", npz, epochs=1)


def test_sequences_are_told_from_pictures(tmp_path):
    random = np.random.default_rng(0)

    def told(shape, change=lambda x: x):
        return sequences.told("x", change(random.normal(size=shape)), None)[0]

    assert told((9, 20, 7)) == told((9, 4, 4)) == told((9, 50, 3), abs) == "sequences"
    assert told((9, 8, 8), abs) == "pictures"
    assert told((9, 8, 8), lambda x: x.astype(np.uint8)) == told((9, 8)) == ""
    for shape, change in (((9, 8, 8), np.asarray), ((9, 20, 7), abs)):
        with pytest.raises(DataError, match=r'choose samples="sequences" or samples="pictures"'):
            told(shape, change)
    x, y = random.normal(size=(60, 12, 3)), random.normal(size=60)
    data = load((x, y))
    assert (data.sequence, data.has_lengths, data.input_shape) == ((12, 3), False, (12, 3))
    assert "taken for sequences of 12 time steps of 3 features" in "\n".join(data.notes)
    np.testing.assert_allclose(data.training.x.mean(axis=(0, 1)), 0, atol=1e-6)
    np.savez(tmp_path / "named.npz", sequences=abs(x), y=y)
    np.savez(tmp_path / "images.npz", images=x, y=y)
    assert load(tmp_path / "named.npz").preparation.kind == "sequences"
    assert load(tmp_path / "images.npz").preparation.kind == "pictures"
    assert load((x[..., 0], y), samples="sequences").input_shape == (12, 1)
    for wanted, message in (("series", "unknown kind of samples"), ("pictures", "they are|pictures have the shape")):
        with pytest.raises((DataError, SettingError), match=message):
            load((x[..., 0], y), samples=wanted)
    with pytest.raises(SettingError, match="what its samples are is known"):
        load("digits", samples="sequences")


def test_sequences_without_lengths_are_used_by_every_command(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    np.savez("whole.npz", x=random.normal(size=(60, 6, 3)), y=np.arange(60) % 2)
    assert main(["train", "whole.npz", "--epochs", "1", "--network", "gru 3", "--output", "run"]) == 0
    assert "6 time steps of 3 features" in capsys.readouterr().err
    trained = Run.open("run").trained
    assert main(["predict", "run", "whole.npz"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 61
    assert main(["explain", "run", "gru_1.input.W[1, 5]"]) == 0
    assert "the weight from feature 1 to gate" in capsys.readouterr().out
    with pytest.raises(DataError, match="sequences of 9 time steps of 3 features, but sequences of 6 time steps"):
        trained.predict(random.normal(size=(4, 9, 3)))


def test_targets_at_steps_count_up_to_the_end(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    x, _, lengths = drawn(50)
    x = np.nan_to_num(x)
    y = np.cumsum(x[..., 0], axis=1)
    y[np.arange(9) >= lengths[:, None]] = np.nan
    np.savez("steps.npz", x=x, y=y, lengths=lengths)
    data = load("steps.npz")
    assert data.target.positions == (9,)
    known = y[data.rows][data.training.weight > 0]
    assert data.target.mean[0] == pytest.approx(known.mean())
    assert main(["train", "steps.npz", "--epochs", "1", "--network", "gru 2 all=true", "--output", "run"]) == 0
    capsys.readouterr()
    assert main(["predict", "run", "steps.npz"]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert rows[0] == "sample,position,y"
    assert len(rows) == 1 + lengths.sum()
