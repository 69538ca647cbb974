"""Effects of training rows: against gradients of single samples in JAX, steps repeated without a
sample, and the sum of everything.
"""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import chainrule
import engines
from chainrule import cli
from chainrule.backprop import backward_pass, forward_pass
from chainrule.descent.optimizers import NAMED
from chainrule.influence import teachers, teaching
from chainrule.influence.backwards import backwards
from chainrule.influence.text import lines
from chainrule.layers import Layer
from chainrule.layers.base import Context
from chainrule.losses import HalfSquares
from chainrule.network import Network
from chainrule.runs import Run
from test_graphs import built, graphs


def trained(folder, network="6 tanh", data="iris", **settings):
    """A run in this folder, in float64."""
    settings = {"epochs": 4, "dtype": "float64", "patience": None} | settings
    chainrule.train(network, data, callbacks=[chainrule.Recorder(folder)], **settings)
    return Run.open(folder)


def left_over(found):
    """What the parts of a change leave of it, with the rounding of training and without."""
    parts = found.effects.sum() + sum(found.parts.values()) + found.remainder
    return found.change - parts - found.rounding, found.rounding


@given(graphs(), st.integers(0, 99))
@settings(max_examples=5)
def test_the_products_of_samples_are_those_of_their_gradients_in_jax(graph, seed):
    network, parameters, xs, y, function = built(graph, seed=seed)
    along = np.random.default_rng(seed).normal(size=network.parameters.size)
    tape = forward_pass(network, parameters, xs)
    backward_pass(network, tape, HalfSquares().derivative(tape.output, y))

    def losses(p):
        return jnp.sum((function(p, xs) - y) ** 2, axis=1) / 2

    by_name, direction = (
        {e.name: v[e.place].reshape(e.shape) for e in network.parameters.entries} for v in (parameters, along)
    )
    _, expected = jax.jvp(losses, (by_name,), (direction,))
    np.testing.assert_allclose(tape.sample_products(network.params(along)), expected / len(y), atol=1e-12)


def test_the_products_of_samples_are_those_of_their_gradients_alone():
    network, random = Network("4 tanh, 2", 3, "float64"), np.random.default_rng(0)
    parameters, along = network.draw(), random.normal(size=network.parameters.size)
    x, y = random.normal(size=(5, 3)), random.normal(size=(5, 2))
    tape = forward_pass(network, parameters, x)
    backward_pass(network, tape, HalfSquares().derivative(tape.output, y))

    def loss(w, x, y):
        W, b, V, c = (w[e.place].reshape(e.shape) for e in network.parameters.entries)
        return jnp.sum((jnp.tanh(x @ W + b) @ V + c - y) ** 2) / 2

    each = jax.jit(jax.vmap(jax.grad(loss), (None, 0, 0)))(parameters, x, y)
    np.testing.assert_allclose(tape.sample_products(network.params(along)), each @ along / 5, atol=1e-12)


NETWORKS = {
    "5 tanh, batch_norm, prelu, 3": (4,),
    "expand 3, layer_norm, 4, rms_norm": (4,),
    "conv 4 3 padding=same, group_norm 2, batch_norm, conv_transpose 2 3 stride=2, depthwise_conv 3": (5, 5, 2),
    "conv1d 4 3 groups=2 bias=false": (7, 4),
    "embedding 7 4, learned_positions, attention 2, tied_dense embedding_1": (5,),
    "lstm 3": (5, 2),
}
"""Networks with every layer that has weights, and the shapes of their samples."""


@pytest.mark.parametrize("text", NETWORKS)
def test_the_products_of_every_layer_are_by_the_definition(text):
    network, random = Network(text, NETWORKS[text], "float64"), np.random.default_rng(0)
    parameters = network.draw() + 0.1 * random.normal(size=network.parameters.size)
    x = random.integers(0, 7, (3, 5)) if "embedding" in text else random.normal(size=(3, *NETWORKS[text]))
    tape = forward_pass(network, parameters, x, context=Context(training=True))
    gradient, _ = backward_pass(network, tape, random.normal(size=tape.output.shape))
    along = random.normal(size=network.parameters.size)
    products, arrays = tape.sample_products(network.params(along)), network.params(along)
    by_definition = np.zeros(3)
    for node in network.nodes:
        own = {name: arrays[node.owner][name] for name in node.built.parameters}
        by_definition += Layer.sample_products(node.layer, *tape._at(node), own)
    np.testing.assert_allclose(products, by_definition, rtol=1e-11, atol=1e-11)
    assert products.sum() == pytest.approx(gradient @ along, rel=1e-11)


def test_every_layer_with_weights_is_tried():
    tried = {type(node.layer) for text, shape in NETWORKS.items() for node in Network(text, shape).nodes}
    own = {kind for kind in vars(chainrule.layers).values() if isinstance(kind, type) and issubclass(kind, Layer)}
    answering = {kind for kind in own if kind.sample_products is not Layer.sample_products}
    assert {kind.sample_products for kind in answering} <= {kind.sample_products for kind in tried}


SETTINGS = [
    *NAMED,
    "sgd 0.1 schedule=cosine warmup=3 accumulate=3 average=0.9",
    "adamw 0.01 average=0.99",
    "momentum 0.1 accumulate=2 clip=0.5",
]


@pytest.mark.parametrize("engine", engines.NAMES)
@pytest.mark.parametrize("text", SETTINGS)
def test_the_parts_of_a_change_add_up(tmp_path, text, engine):
    if engine == "numpy" and text not in ("momentum", "adamw", SETTINGS[-3]):
        return  # stages are the same in Python and natively
    run = trained(
        tmp_path / "run", "5 tanh, batch_norm, dropout 0.1", optimizer=text, engine=engine, penalties="l2 0.01"
    )
    for rule in ("trapezoid", "first-order"):
        found = teachers(run, "iris", 5, rule=rule)
        rest, rounding = left_over(found)
        assert abs(rest) < 1e-9
        assert abs(rounding) < 1e-9
        assert {"penalties", "statistics"} <= set(found.parts)
        assert np.isclose(found.remainders.sum(), found.remainder, atol=1e-12)
        end = run.trained.plan.loss.value(run.trained.raw("iris")[4:5], np.array([0]))
        assert found.loss_end == pytest.approx(end, abs=1e-12)


def test_what_differs_in_float32_is_named_rounding(tmp_path):
    found = teachers(trained(tmp_path / "run", optimizer="adamw", dtype="float32"), "iris", 5)
    rest, rounding = left_over(found)
    assert abs(rest) < 1e-9
    assert 0 < abs(rounding) < 1e-5


def test_a_step_without_a_sample_changes_the_loss_by_its_effect(tmp_path):
    """To first order: with a tenth of the learning rate, what they differ by is a hundredth."""
    differences = []
    for rate in (1e-2, 1e-3):
        run = trained(tmp_path / f"{rate}", optimizer=f"sgd {rate}", epochs=1, batch_size=105)
        found, data, record = teachers(run, "iris", 5, rule="first-order"), run.load_data(), run.at(0)
        network, loss = run.trained.plan.network, run.trained.plan.loss
        (number,) = np.flatnonzero(record.rows == 0)
        batch = data.training.take(record.rows)
        tape = forward_pass(network, record.before.parameters, batch.x, context=Context(training=True))
        slopes = loss.derivative(tape.output, batch.y)
        slopes[np.arange(len(slopes)) != number] = 0
        gradient, _ = backward_pass(network, tape, slopes)
        x, y = run.trained.preparation.apply(data.source.take(np.array([4]))), np.array([0])
        with_it, without = (loss.value(network.predict(w, x), y) for w in (
            record.after.parameters, record.after.parameters + rate * gradient))  # fmt: skip
        differences.append(abs(with_it - without - found.effects[0]))
        assert found.effects[0] == pytest.approx(with_it - without, rel=30 * rate)
    assert differences[1] < differences[0] / 50


def test_what_momentum_carries_counts_for_the_sample_it_comes_from(tmp_path):
    """Every sample's own share of the velocity, carried forward."""
    run = trained(tmp_path / "run", optimizer="momentum 0.05 0.8", epochs=3)
    found, data = teachers(run, "iris", 5, rule="first-order"), run.load_data()
    network, loss = run.trained.plan.network, run.trained.plan.loss
    x, y = run.trained.preparation.apply(data.source.take(np.array([4]))), np.array([0])
    velocities, effects = np.zeros((len(data.training.y), network.parameters.size)), np.zeros(len(data.training.y))
    for record in run.each(range(run.manifest["steps"])):
        velocities *= 0.8
        batch, w = data.training.take(record.rows), record.before.parameters
        for k, row in enumerate(record.rows):
            tape = forward_pass(network, w, batch.x[k : k + 1])
            own, _ = backward_pass(network, tape, loss.derivative(tape.output, batch.y[k : k + 1]))
            velocities[row] += own / len(record.rows)
        tape = forward_pass(network, w, x)
        slope, _ = backward_pass(network, tape, loss.derivative(tape.output, y))
        effects -= 0.05 * velocities @ slope
    np.testing.assert_allclose(found.effects, effects, atol=1e-12)


def test_steps_are_replayed_backward_in_little_memory(tmp_path):
    run = trained(tmp_path / "run", optimizer="adam")
    timeline, last = run.timeline(run.load_data()), run.manifest["steps"]
    little, all_at_once = (list(backwards(timeline, 2, last, memory)) for memory in (10_000, 10**9))
    assert [record.before.step for record in little] == list(range(last))[:1:-1]
    for one, other in zip(little, all_at_once, strict=True):
        assert one.update.tobytes() == other.update.tobytes()


def test_an_interrupted_computation_keeps_the_last_steps(tmp_path):
    run = trained(tmp_path / "run", optimizer="momentum 0.1")
    complete = teachers(run, "iris", 5)

    def interrupt(done, of):
        if done == 5:
            raise KeyboardInterrupt

    found = teachers(run, "iris", 5, progress=interrupt)
    last = run.manifest["steps"]
    assert (found.first, found.stop, found.is_complete) == (last - 5, last, False)
    assert found.loss_end == complete.loss_end
    assert found.loss_start == complete.losses[last - 5]
    assert found.parts["earlier steps"] != 0
    assert abs(left_over(found)[0]) < 1e-9
    first = teachers(run, "iris", 5, progress=lambda done, of: interrupt(5, of))
    assert first.first == last - 1


def test_as_many_checkpoints_as_steps_are_exact_for_descent_on_all_rows(tmp_path):
    run = trained(tmp_path / "run", optimizer="gradient_descent 0.05", epochs=6)
    found = teachers(run, "iris", 5, rule="first-order", checkpoints=6)
    about = found.approximation
    assert about.steps == (0, 1, 2, 3, 4, 5)
    np.testing.assert_allclose(about.effects, found.effects, atol=1e-12)
    assert about.error < 1e-10
    assert about.correlation == pytest.approx(1)
    assert about.rank_correlation == pytest.approx(1)
    assert about.scale == pytest.approx(1)
    assert about.scaled_error < 1e-10
    assert about.shared == 2 * about.most
    few = teachers(run, "iris", 5, rule="first-order", checkpoints=1).approximation
    assert 0 < few.scaled_error < few.error < 1
    assert few.rank_correlation == pytest.approx(stats.spearmanr(few.effects, found.effects).statistic)
    scaled = np.sqrt(np.mean((few.scale * few.effects - found.effects) ** 2) / np.mean(found.effects**2))
    assert few.scaled_error == pytest.approx(scaled)


def flipped_digits():
    """Digits with 5 % wrong labels, and which rows have one."""
    data, random = chainrule.load("digits"), np.random.default_rng(1)
    x, y = data.source.features.reshape(len(data.source), -1), data.source.target.copy()
    flipped = random.choice(len(y), len(y) // 20, replace=False)
    y[flipped] = (y[flipped] + random.integers(1, 10, len(flipped))) % 10
    return chainrule.load((x, y), task="classification"), flipped


def test_planted_label_errors_are_among_the_most_harmful_rows(tmp_path):
    own, flipped = flipped_digits()
    chainrule.train("32 relu", own, epochs=8, callbacks=[chainrule.Recorder(tmp_path / "run")])
    found = teachers(tmp_path / "run", data=own)
    wrong = np.isin(found.rows - 1, flipped)
    assert wrong[found.harmful[: len(wrong) // 10]].sum() >= 0.8 * wrong.sum()
    said = "\n".join(lines(found))
    assert "raised it most: probable label errors" in said
    assert "look at their labels first" in said
    assert "label" not in "\n".join(lines(teachers(tmp_path / "run", own.validation, 1, data=own)))


def test_the_command_lists_the_rows_and_what_they_add_up_to(tmp_path, capsys):
    folder = str(trained(tmp_path / "run").folder)
    assert cli.run(["teachers", folder, "iris", "--row", "5", "--json", "--checkpoints", "3"]) == 0
    said = json.loads(capsys.readouterr().out)
    total = sum(row["effect"] for row in said["rows"]) + sum(said["parts"].values()) + said["remainder"]
    assert total == pytest.approx(said["loss_end"] - said["loss_start"], abs=1e-9)
    assert said["rest"] == {"count": 0, "effect": 0.0}
    assert said["approximation"]["checkpoints"]
    data = chainrule.load("iris")
    for row in said["rows"][:3]:
        assert data.source.sample(row["row"] - 1).target == row["target"]
    assert cli.run(["teachers", folder, "iris", "--row", "5", "--json", "--most", "2"]) == 0
    few = json.loads(capsys.readouterr().out)
    assert [row["row"] for row in few["rows"]] == [said["rows"][k]["row"] for k in (0, 1, -2, -1)]
    assert sum(row["effect"] for row in few["rows"]) + few["rest"]["effect"] == pytest.approx(
        sum(row["effect"] for row in said["rows"])
    )
    for arguments in ([], ["--row", "5"], ["--part", "test"]):
        assert cli.run(["teachers", folder, *arguments]) == 0
        said_in_words = capsys.readouterr().out
        assert "change of the loss" in said_in_words
        assert ("probable label errors" in said_in_words) == (not arguments)
    assert cli.run(["teachers", folder, "-o", str(tmp_path / "found.json")]) == 0
    assert json.loads((tmp_path / "found.json").read_text())["rows"]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["iris", "--row", "500"], "there is no row 500 in iris; it has 150"),
        (["--row", "500"], "row 500 is in none of its sets"),
        (["--row", "0"], "rows are counted from 1"),
        (["iris", "--part", "test"], "--part is for a set of the run's own data"),
        (["--part", "foo"], "unknown set 'foo'"),
        (["--rule", "foo"], "unknown rule 'foo'"),
        (["--checkpoints", "0"], "pass their number"),
        (["--most", "0"], "it takes at least 1"),
        (["nothing.csv"], "nothing.csv: there is no such file"),
        (["-o", "found.txt"], "use the extension .json"),
    ],
)
def test_what_is_not_understood_is_refused_in_a_line(tmp_path, capsys, arguments, problem):
    folder = str(trained(tmp_path / "run", epochs=1).folder)
    assert cli.run(["teachers", folder, *arguments]) == 2
    said = capsys.readouterr().err
    assert problem in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("network", "data", "dtype"),
    [
        ("6, batch_norm, tanh", "iris", "float32"),
        ("6, batch_norm, tanh", "iris", "float64"),
        ("64 relu, batch_norm", "digits", "float32"),  # some units are active for all of the first batches
    ],
)
def test_a_gradient_that_is_0_but_for_rounding_has_no_shares(tmp_path, network, data, dtype):
    """A BatchNorm subtracts the bias before it again, but Adam divides by the size of the gradient."""
    run = trained(tmp_path / "run", network, data, optimizer="adam 0.01", epochs=3, dtype=dtype)
    found = teachers(run, data, 5)
    assert abs(left_over(found)[0]) < 1e-9
    assert np.abs(found.effects).sum() < 100


def test_the_judges_of_label_errors_are_predicted_right_before_those_are_known_by_heart(tmp_path):
    run = trained(tmp_path / "run", "32 relu", flipped_digits()[0], optimizer="adam 0.003", epochs=40)
    best, data = run.trained.progress.best, flipped_digits()[0]
    assert best.epoch < 40
    asked = teachers(run, data=data, progress=lambda done, of: False)  # the last step is enough
    at_best = run.trained.plan.network.predict(best.parameters, data.validation.x, best.statistics)
    right = (at_best.argmax(axis=1) == data.validation.y).sum()
    assert f"predicted right after epoch {best.epoch} ({right} of the validation set" in asked.name
    assert asked.finds_errors
    assert not asked.is_single


def test_an_interruption_within_a_step_counts_whole_steps(tmp_path, monkeypatch):
    run, plus = trained(tmp_path / "run"), teaching._Total.plus

    def interrupted(total, step):
        if total.steps == 3:
            raise KeyboardInterrupt
        return plus(total, step)

    monkeypatch.setattr(teaching._Total, "plus", interrupted)
    found = teachers(run, "iris", 5)
    assert found.stop - found.first == len(found.remainders) == 3
    assert abs(left_over(found)[0]) < 1e-9


def test_an_imported_network_is_sent_to_training(tmp_path, capsys):
    onnx = tmp_path / "iris.onnx"
    folder = str(trained(tmp_path / "run", epochs=1, dtype="float32").folder)
    assert cli.run(["export", folder, "-o", str(onnx)]) == 0
    assert cli.run(["import", str(onnx), "-o", str(tmp_path / "imported")]) == 0
    capsys.readouterr()
    for arguments in ([], ["iris", "--row", "5"]):
        assert cli.run(["teachers", str(tmp_path / "imported"), *arguments]) == 2
        said = capsys.readouterr().err
        assert f"chainrule train DATA --from {tmp_path / 'imported'}" in said
        assert said.count("\n") == 1
    assert (
        cli.run(["train", "iris", "--from", str(tmp_path / "imported"), "--epochs", "1", "-o", str(tmp_path / "on")])
        == 0
    )
    assert cli.run(["teachers", str(tmp_path / "on"), "--row", "5"]) == 0
