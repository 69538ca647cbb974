"""Training is reproducible bit for bit, ends as it should, and sends its events to listeners."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import chainrule
import engines
from chainrule.data import from_arrays, load
from chainrule.descent import optimizers
from chainrule.engine import native
from chainrule.errors import DataError, NonFiniteError, SettingError, ShapeError
from chainrule.layers import BatchNorm, Dense, Dropout, ReLU
from chainrule.losses import CategoricalCrossEntropy, l2
from chainrule.network import Network
from chainrule.runs import follow, train
from chainrule.training import Ended, EpochEnded, Started, Stepped, make_plan, start


@pytest.fixture(scope="module", autouse=True)
def one_step_at_a_time():
    """Let the native engine yield single steps, so that listeners see each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native, "SLICE", 0.0)
        yield


STOCHASTIC = "8 relu, dropout 0.3, batchnorm, 6 tanh"
"""A network with all that could differ between trainings: dropout and running statistics."""


def stop_after(step):
    def listen(event):
        if isinstance(event, Stepped) and event.progress.position.step == step:
            raise KeyboardInterrupt

    return listen


def assert_same(a, b):
    np.testing.assert_array_equal(a.parameters, b.parameters)
    np.testing.assert_array_equal(a.statistics, b.statistics)
    np.testing.assert_array_equal(a.progress.position.parameters, b.progress.position.parameters)
    assert a.history == b.history
    for one, other in zip(a.progress.position.states, b.progress.position.states, strict=True):
        assert {k: v.tobytes() for k, v in one.items()} == {k: v.tobytes() for k, v in other.items()}


def test_training_twice_gives_the_same_bits():
    assert_same(train(STOCHASTIC, "iris", epochs=5), train(STOCHASTIC, "iris", epochs=5))


def test_another_seed_gives_different_weights():
    first, second = train(STOCHASTIC, "iris", epochs=2), train(STOCHASTIC, "iris", epochs=2, seed=1)
    assert (first.parameters != second.parameters).any()


@pytest.mark.parametrize(
    "name", [*optimizers.NAMED, "adam 0.01 schedule=one-cycle warmup=3 clip=1 accumulate=3 average=0.9"]
)
@given(data=st.data())
@settings(max_examples=3)
def test_training_resumed_at_any_step_gives_the_same_bits(name, data):
    iris = load("iris")
    uninterrupted = train(STOCHASTIC, iris, epochs=4, optimizer=name, patience=2)
    last = uninterrupted.progress.position.step
    step = data.draw(st.integers(1, max(last - 1, 1)))
    stopped = train(STOCHASTIC, iris, epochs=4, optimizer=name, patience=2, callbacks=[stop_after(step)])
    assert stopped.progress.position.step == step
    assert_same(uninterrupted, follow(stopped.plan, iris, stopped.progress))


def test_early_stopping_returns_the_weights_of_the_best_epoch():
    data = load("wine", validation=0.3)
    seen = {}

    def listen(event):
        if isinstance(event, EpochEnded):
            seen[event.progress.epoch] = (event.measured["validation_loss"], event.progress.position.parameters)

    trained = train("16 relu", data, optimizer="adam 0.03", epochs=200, patience=5, callbacks=[listen])
    losses = {epoch: loss for epoch, (loss, _) in seen.items()}
    best = min(losses, key=losses.get)
    assert trained.reason == "early"
    assert max(seen) == best + 5
    np.testing.assert_array_equal(trained.parameters, seen[best][1])


def test_without_patience_the_last_weights_are_returned():
    trained = train("4 relu", "iris", epochs=3, patience=None)
    np.testing.assert_array_equal(trained.parameters, trained.progress.position.parameters)
    assert trained.reason == "complete"


def test_a_separate_validation_set():
    random = np.random.default_rng(0)
    x, y = random.normal(size=(60, 3)), random.integers(0, 2, 60)
    trained = train("4 relu", (x[:40], y[:40]), validation=(x[40:], y[40:]), test=0.0, epochs=2)
    assert len(trained.data.validation.x) == 20
    assert len(trained.data.training.x) == 40
    prediction = trained.plan.network.predict(trained.progress.position.parameters, trained.data.validation.x)
    loss = trained.plan.loss.value(prediction, trained.data.validation.y)
    assert trained.history[-1]["validation_loss"] == pytest.approx(loss)


def test_events_come_in_order_and_carry_the_progress():
    events = []
    trained = train("4 relu", "iris", epochs=2, batch_size=50, callbacks=[events.append])
    kinds = [type(event) for event in events]
    assert kinds == [Started, *[Stepped] * 3, EpochEnded, *[Stepped] * 3, EpochEnded, Ended]
    steps = [event.progress.position.step for event in events]
    assert steps == [0, 1, 2, 3, 3, 4, 5, 6, 6, 6]
    assert events[-1].reason == "complete"
    assert events[4].measured.keys() == {"epoch", "loss", "validation_loss", "validation_accuracy"}
    assert events[-1].progress is trained.progress


def test_the_epochs_loss_is_the_mean_over_its_samples():
    events = []
    train("4 relu", "iris", epochs=1, batch_size=40, callbacks=[events.append])
    steps = [record for event in events if isinstance(event, Stepped) for record in event.chunk.steps()]
    mean = sum(record.loss * len(record.rows) for record in steps) / sum(len(record.rows) for record in steps)
    assert events[-1].progress.history[0]["loss"] == pytest.approx(mean)
    assert sorted(np.concatenate([record.rows for record in steps])) == list(range(105))


def test_an_interrupt_keeps_the_weights():
    trained = train("4 relu", "iris", epochs=50, patience=None, callbacks=[stop_after(7)])
    assert trained.reason == "interrupted"
    assert trained.progress.position.step == 7
    assert trained.parameters is trained.progress.position.parameters
    assert 0 < trained.evaluate()["accuracy"] <= 1


def test_an_error_in_a_callback_is_not_swallowed():
    def broken(event):
        raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        train("4 relu", "iris", epochs=1, callbacks=[broken])


@pytest.mark.parametrize(
    ("network", "optimizer", "layer", "quantity"),
    [
        ([Dense(4, activation="tanh"), Dense(4, weights=3e38), ReLU(), Dense(3)], "sgd 0.1", "dense_2", "the output"),
        ([Dense(4, weights=1e30), Dense(4, weights=1e30), Dense(3)], "sgd 0.1", "dense_2", "the output"),
        ([Dense(4, activation="relu"), Dense(3)], "sgd 1e40", "dense_1", "the new W"),
    ],
)
def test_the_first_non_finite_quantity_is_named_with_step_and_layer(network, optimizer, layer, quantity):
    ended = []
    with pytest.raises(NonFiniteError) as raised:
        train(network, "iris", optimizer=optimizer, epochs=3, callbacks=[ended.append])
    assert (raised.value.step, raised.value.layer, raised.value.quantity) == (0, layer, quantity)
    assert layer in str(raised.value)
    assert ended[-1].reason == "diverged"
    assert np.isfinite(ended[-1].progress.position.parameters).all()


def test_a_gradient_that_overflows_is_named():
    class Steep(CategoricalCrossEntropy):
        def slopes(self, prediction, target):
            return super().slopes(prediction, target) * np.float32(np.inf)

    with pytest.raises(NonFiniteError, match="step 0: the derivative of the loss is not finite"):
        train("4 relu", "iris", loss=Steep(), epochs=1)


def test_accumulated_mini_batches_are_one_large_batch():
    iris = load("iris")
    small = train(
        "6 tanh", iris, optimizer="sgd 0.1 accumulate=3", batch_size=35, epochs=4, dtype="float64", patience=None
    )
    large = train("6 tanh", iris, optimizer="sgd 0.1", batch_size=105, epochs=4, dtype="float64", patience=None)
    np.testing.assert_allclose(small.parameters, large.parameters, rtol=1e-10)


def test_averaged_weights_are_returned():
    trained = train("6 tanh", "iris", optimizer="adam 0.01 average=0.9", epochs=4, patience=None)
    average = trained.plan.optimizer.average(trained.progress.position.states)
    np.testing.assert_array_equal(trained.parameters, average)
    assert (average != trained.progress.position.parameters).any()


def test_lbfgs_trains_on_the_whole_training_set():
    trained = train("6 tanh", "iris", optimizer="lbfgs", epochs=30, patience=None)
    assert trained.progress.position.step == 30
    assert trained.history[-1]["loss"] < 0.02


def test_samples_with_weight_zero_have_no_effect():
    random = np.random.default_rng(0)
    x, y = random.normal(size=(40, 3)), random.integers(0, 2, 40)
    weight = np.repeat([1.0, 0.0], 20)
    other = np.where(weight == 0, 1 - y, y)
    first, second = (train("4 tanh", from_arrays(x, labels, weight=weight), epochs=3) for labels in (y, other))
    np.testing.assert_array_equal(first.parameters, second.parameters)
    assert (train("4 tanh", from_arrays(x, y), epochs=3).parameters != first.parameters).any()


def test_sample_weights_are_split_with_their_samples():
    random = np.random.default_rng(0)
    x, y = random.normal(size=(50, 2)), random.integers(0, 2, 50)
    data = load((x, y), weight=x[:, 0] ** 2)
    unscaled = data.training.x * data.preparation.deviation + data.preparation.mean
    np.testing.assert_allclose(data.training.weight, unscaled[:, 0] ** 2, rtol=1e-4)


def test_a_penalty_keeps_weights_smaller():
    free, penalized = (train("16 tanh", "iris", epochs=20, optimizer="adam 0.01", penalties=p) for p in ([], [l2(0.1)]))
    norms = [np.linalg.norm(t.plan.network.parameters.view(t.parameters, "dense_1.W")) for t in (free, penalized)]
    assert norms[1] < 0.7 * norms[0]


def test_a_network_can_be_text_a_list_or_a_network():
    iris = load("iris")
    text = train("8 relu", iris, epochs=1)
    layers = train([Dense(8, activation="relu"), Dense(3)], iris, epochs=1)
    network = train(Network("8 relu, 3", 4), iris, epochs=1)
    arrow = train("8 relu -> 3", iris, epochs=1)
    for other in (layers, network, arrow):
        np.testing.assert_array_equal(text.parameters, other.parameters)


def test_images_are_flattened_before_hidden_layers_given_as_text():
    plan = make_plan("8 relu", load("digits"))
    assert [node.name for node in plan.network.nodes] == ["flatten_1", "dense_1", "relu_1", "dense_2"]


@pytest.mark.parametrize(
    ("data", "loss", "outputs"),
    [
        ("iris", None, 3),
        ("breast-cancer", None, 1),
        ("diabetes", None, 1),
        ("diabetes", "gaussian", 2),
        ("breast-cancer", "focal", 1),
    ],
)
def test_loss_and_output_layer_follow_from_the_target(data, loss, outputs):
    trained = train("4 relu", data, loss=loss, epochs=1)
    assert trained.plan.network.output_shape == (outputs,)
    kind = {"iris": "CategoricalCrossEntropy", "breast-cancer": "BinaryCrossEntropy", "diabetes": "MeanSquaredError"}[
        data
    ]
    assert loss or type(trained.plan.loss).__name__ == kind


@pytest.mark.parametrize("loss", ["mse", "half_squares", "mae", "huber", "log_cosh", "quantile 0.5", "gaussian"])
def test_every_loss_for_quantities_learns(loss):
    assert train("16 tanh", "diabetes", loss=loss, optimizer="adam 0.005", epochs=40).evaluate()["r2"] > 0.2


@pytest.mark.parametrize("loss", ["cross_entropy", "focal", "hinge", "squared_hinge", "kullback_leibler"])
def test_every_loss_for_classes_learns(loss):
    network = (
        [Dense(16, activation="tanh"), Dense(3), chainrule.layers.LogSoftmax()]
        if loss == "kullback_leibler"
        else "16 tanh"
    )
    trained = train(network, "iris", loss=loss, optimizer="adam 0.02", epochs=40)
    assert trained.evaluate()["accuracy"] > 0.85


def test_counts_are_not_scaled():
    random = np.random.default_rng(0)
    x = random.uniform(-1, 1, (400, 2))
    y = random.poisson(np.exp(1 + x[:, 0])).astype(float)
    trained = train("8 tanh", (x, y), loss="poisson", optimizer="adam 0.02", epochs=40)
    assert trained.target.mean == (0.0,)
    assert trained.evaluate()["r2"] > 0.2
    assert (trained.predict(x) > 0).all()


def test_several_quantities_at_once():
    random = np.random.default_rng(0)
    x = random.normal(size=(300, 3))
    y = np.column_stack([x[:, 0] * 100 + 50, x[:, 1] - x[:, 2]])
    trained = train("16 tanh", (x, y), optimizer="adam 0.02", epochs=40)
    assert trained.predict(x).shape == (300, 2)
    assert trained.evaluate()["r2"] > 0.9


def test_predictions_are_in_the_targets_own_names_and_units():
    iris = chainrule.train("8 tanh", "iris", epochs=40, optimizer="adam 0.02")
    assert set(iris.predict("iris")) == {"setosa", "versicolor", "virginica"}
    np.testing.assert_allclose(iris.probabilities("iris").sum(axis=1), 1, rtol=1e-5)
    diabetes = chainrule.train("8 tanh", "diabetes", epochs=20, optimizer="adam 0.02")
    assert 100 < diabetes.predict("diabetes").mean() < 200


def test_choices_that_do_not_fit_are_rejected():
    iris = load("iris")
    with pytest.raises(ShapeError, match=r"layer dense_2: the network's output has the shape \(5,\)"):
        train("4 relu -> 5", iris)
    with pytest.raises(ShapeError, match=r"takes samples of shape \(9,\)"):
        train(Network("3", 9), iris)
    with pytest.raises(SettingError, match="unknown engine 'gpu'"):
        train("4", iris, engine="gpu", epochs=1)
    with pytest.raises(SettingError, match="unknown metric for classification 'r2'"):
        train("4", iris, metrics=["r2"])
    with pytest.raises(DataError, match="there is no test set"):
        train("4", load("iris", test=0.0), epochs=1).evaluate()
    with pytest.raises(SettingError, match="no parameter's name matches"):
        train("4", iris, penalties=[l2(1, on="conv*")])
    for engine in engines.NAMES:
        with pytest.raises(SettingError, match="no parameter's name matches"):
            train("4", iris, optimizer="adamw on=conv*", engine=engine)


def test_a_custom_layer_trains():
    class Doubled(ReLU):
        def value(self, z):
            return 2 * super().value(z)

        def derivative(self, z, a):
            return 2 * super().derivative(z, a)

    trained = train(
        [Dense(8), Doubled(), Dropout(0.1), BatchNorm(), Dense(3)], "iris", optimizer="adam 0.02", epochs=30
    )
    assert trained.evaluate()["accuracy"] > 0.85


def test_a_plateau_lowers_the_learning_rate_during_training():
    plan = make_plan("4 relu", load("iris"), epochs=12, patience=None)
    slowed = optimizers.sgd(0.0).then(chainrule.descent.stages.Plateau(0.5, patience=3))
    trained = train("4 relu", "iris", optimizer=slowed, epochs=12, patience=None)
    assert float(trained.progress.position.states[-1]["scale"]) == 0.125
    assert start(plan).position.step == 0
