"""The defaults that follow from the data, and what validation chooses among."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from chainrule import load, train
from chainrule.data import Samples
from chainrule.descent.stages import WeightDecay
from chainrule.layers import Dense, Expand
from chainrule.training import choice, defaults, loop, make_plan, plan_for


def table(rows=300, noise=0.0, seed=0):
    random = np.random.default_rng(seed)
    x, z = random.normal(size=(2, rows))
    y = np.abs(x) * 3 + z + noise * random.normal(size=rows)
    return pl.DataFrame(
        {"x": x, "flag": random.integers(0, 2, rows), "kind": list("abc") * (rows // 3), "z": z, "y": y}
    )


def decay_over_training(plan, rows):
    """How much weights shrink over the whole training, as a power of 1 / e."""
    (strength,) = [stage.strength for stage in plan.optimizer.stages if isinstance(stage, WeightDecay)]
    problem = plan.problem(rows)
    steps = plan.epochs * plan.steps_per_epoch(rows)
    return strength * sum(problem.optimizer.stages[-1].schedule(step) for step in range(steps))


@pytest.mark.parametrize(("rows", "epochs", "batch_size"), [(300, 100, None), (3000, 100, None), (3000, 70, 100)])
def test_the_decay_of_a_whole_training_does_not_depend_on_its_steps(rows, epochs, batch_size):
    data = load(table(rows), target="y")
    plan = make_plan(None, data, epochs=epochs, batch_size=batch_size)
    assert decay_over_training(plan, len(data.training.x)) == pytest.approx(defaults.DECAY, rel=0.02)


def test_a_short_training_does_not_decay_faster_than_one_of_enough_steps():
    strengths = [defaults.optimizer(steps).stages[1].strength for steps in (1, 60, defaults.SHORT, 2 * defaults.SHORT)]
    assert strengths[0] == strengths[1] == strengths[2] == pytest.approx(2 * strengths[3], rel=0.01)


def test_the_time_of_the_choice_is_bounded_by_the_default_epochs():
    data = load(table(90), target="y")
    assert plan_for(None, data, epochs=10**9).epochs == 10**9  # it would take hours otherwise


def test_ctrl_c_during_the_choice_ends_it(monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    data = load(table(90), target="y")
    monkeypatch.setattr("chainrule.training.choice.held_out_losses", interrupted)
    with pytest.raises(KeyboardInterrupt):
        plan_for(None, data)


def test_numbers_are_expanded_and_what_has_two_values_is_not():
    data = load(table(), target="y")
    assert data.input_names == ["x", "flag", "kind_a", "kind_b", "kind_c", "z"]
    (node,) = [node for node in make_plan(None, data).network.nodes if isinstance(node.layer, Expand)]
    assert node.layer.on == (0, 5)
    assert node.built.output_shape == (2 * defaults.UNITS,)


def test_many_numbers_are_expanded_to_fewer_units_or_not_at_all():
    def expanded(columns):
        data = load((np.random.default_rng(0).normal(size=(60, columns)), np.arange(60.0)))
        return [n.layer.units for n in make_plan(None, data).network.nodes if isinstance(n.layer, Expand)]

    assert expanded(40) == [defaults.MOST_UNITS // 40]
    assert expanded(defaults.MOST_NUMBERS + 1) == []


def test_thousands_of_words_are_embedded_and_a_linear_model_is_chosen_where_there_are_fewer_rows():
    random = np.random.default_rng(0)
    words = [f"word{k}" for k in range(900)]
    texts = [" ".join(random.choice(words, 8)) for _ in range(600)]
    data = load(pl.DataFrame({"text": texts, "x": random.normal(size=600), "y": random.normal(size=600)}), target="y")
    assert len(data.input_names) > 500
    nodes = make_plan(None, data).network.nodes
    (first, *_) = [node for node in nodes if isinstance(node.layer, Dense)]
    assert first.built.parameters["W"].shape == (len(data.input_names), defaults.EMBEDDED)
    assert [node.layer.on for node in nodes if isinstance(node.layer, Expand)] == [(data.input_names.index("x"),)]
    assert [type(node.layer) for node in plan_for(None, data).network.nodes] == [Dense]


def test_pictures_and_given_networks_are_not_expanded():
    digits = load("digits")
    for plan in (make_plan(None, digits), make_plan("8 relu", load(table(), target="y"))):
        assert not any(isinstance(node.layer, Expand) for node in plan.network.nodes)


def test_noise_is_met_with_a_stronger_decay():
    decays = []
    for noise in (0.05, 3.0):
        data = load(table(noise=noise), target="y")
        decays.append(decay_over_training(plan_for(None, data), len(data.training.x)))
    assert decays[0] < decays[1]
    assert all(min(abs(decay / one - 1) for one in defaults.DECAYS) < 0.02 for decay in decays)


def line(rows=200, columns=5, seed=0, noise=1.0):
    random = np.random.default_rng(seed)
    x = random.normal(size=(rows, columns))
    return load((x, x @ random.normal(size=columns) + noise * random.normal(size=rows)))


def test_a_line_is_fitted_by_ridge_regression():
    data = line()
    plan = plan_for(None, data)
    assert [type(node.layer) for node in plan.network.nodes] == [Dense]
    trained = train(data=data)
    x, y = np.asarray(data.training.x, np.float64), np.asarray(data.training.y, np.float64)
    strength = plan.penalties[0].l2 * len(x)
    assert min(abs(strength / one - 1) for one in defaults.STRENGTHS) < 1e-9
    design = np.hstack([x, np.ones((len(x), 1))])
    ridge = np.linalg.solve(design.T @ design + np.diag([strength / 2] * x.shape[1] + [0.0]), design.T @ y)
    np.testing.assert_allclose(trained.parameters, ridge.ravel(), atol=2e-3)


def test_more_columns_than_rows_are_fitted_by_a_linear_model():
    random = np.random.default_rng(0)
    x, y = random.normal(size=(60, 500)), np.arange(60) % 2
    x[:, :20] += np.where(y, 0.7, -0.7)[:, None]
    plan = plan_for(None, load((x, y)))
    assert [type(node.layer) for node in plan.network.nodes] == [Dense]


def test_no_linear_model_where_mini_batches_are_asked_for():
    plan = plan_for(None, line(), batch_size=16)
    assert plan.batch_size == 16
    assert len(plan.network.nodes) > 1


@pytest.mark.parametrize("rows", [90, 900])  # without and with early stopping
def test_what_is_compared_are_the_losses_of_a_training(rows):
    data = load(table(rows), target="y")
    (fold, *_) = choice.folds(data, 0)
    plan = make_plan(None, data)
    plan = replace(plan, batch_size=len(fold.training.x), epochs=20)  # whole batches have no order
    end = loop.run(plan, fold, loop.start(plan))
    losses = choice.held_out_losses(lambda _: replace(plan, patience=None), fold)
    assert losses.mean() == pytest.approx(end.progress.history[-1]["validation_loss"], rel=1e-5)


def test_a_training_that_diverges_is_never_chosen():
    data = line()
    diverging = lambda rows: make_plan(None, data, optimizer="sgd 1e30")  # noqa: E731
    assert np.isinf(choice.held_out_losses(diverging, next(choice.folds(data, 0)))).all()
    good = lambda rows: make_plan(None, data)  # noqa: E731
    selection = choice.select({"diverging": diverging, "good": good}, data, 0)
    assert (selection.chosen, selection.losses[0]) == (1, None)
    assert choice.select({"diverging": diverging}, data, 0).losses == (None,)


def test_those_clearly_worse_leave_the_race():
    same, close, worse = np.tile([1.0, 2.0], 50), np.tile([2.0, 1.1], 50), np.tile([3.0, 4.1], 50)
    assert choice._still_racing({"worse": worse, "close": close, "same": same}) == ["same", "close"]
    assert choice._still_racing({"close": close, "worse": worse}) == ["close"]


def test_one_wrong_row_does_not_decide():
    good, worse = np.full(400, 1.0), np.full(400, 1.5)
    good[7] = 1000.0
    assert choice._still_racing(choice._usual({"worse": worse, "good": good})) == ["good"]


def test_the_choice_sees_training_rows_alone_and_the_same_seed_chooses_the_same():
    data = load(table(), target="y")
    every = np.concatenate([fold.validation.x for fold in choice.folds(data, 3)])
    assert len(every) == len(data.training.x)
    assert {row.tobytes() for row in every} == {row.tobytes() for row in data.training.x}
    for fold, again in zip(choice.folds(data, 3), choice.folds(data, 3), strict=True):
        held_out = {row.tobytes() for row in fold.validation.x}
        assert not held_out & {row.tobytes() for row in fold.training.x}
        np.testing.assert_array_equal(fold.training.x, again.training.x)
    assert plan_for(None, data).optimizer == plan_for(None, data).optimizer


def test_the_rows_that_the_choice_is_made_on_are_bounded():
    x = np.random.default_rng(0).normal(size=(20_000, 2))
    data = load((x, x[:, 0]))
    (fold,) = choice.folds(data, 0)
    assert len(fold.training.x) + len(fold.validation.x) == choice.MOST_ROWS


def test_weights_go_with_their_rows():
    data = load(table(), target="y")
    weights = np.arange(len(data.training.x)) + 1.0
    part = choice._rows(Samples(data.training.x, data.training.y, weights), np.array([4, 9]))
    np.testing.assert_array_equal(part.weight, [5, 10])


def test_nothing_is_chosen_where_a_network_or_an_optimizer_is_given():
    data = load(table(noise=20.0), target="y")
    assert plan_for("8 relu", data).optimizer == make_plan("8 relu", data).optimizer
    assert plan_for(None, data, optimizer="sgd 0.1").optimizer == make_plan(None, data, optimizer="sgd 0.1").optimizer


def test_a_bend_is_learned_that_a_line_misses():
    trained = train(data=load(table(rows=600), target="y"))
    assert trained.evaluate()["r2"] > 0.99
