"""Why a prediction is as it is: derivatives, attributions and paths add up, and what changes a
prediction is predicted.
"""

import json
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
import pytest

import chainrule
from chainrule import losses
from chainrule.attribution import why
from chainrule.attribution.function import Function
from chainrule.attribution.integrated import ENDS_AND_NODES, GAUSS, KRONROD, integrate
from chainrule.attribution.outputs import outputs_of
from chainrule.attribution.page import page
from chainrule.attribution.text import lines
from chainrule.data import Prepared
from chainrule.errors import DataError, SettingError

SMALL = 1e-9


def houses(rows=120):
    """A table with a column of every kind, and missing numbers."""
    rng = np.random.default_rng(0)
    area = rng.normal(100, 30, rows).round(1)
    frame = pl.DataFrame({
        "rooms": rng.integers(1, 8, rows), "area": [None if k % 17 == 3 else a for k, a in enumerate(area.tolist())],
        "city": rng.choice(["Bern", "Basel", "Genf"], rows), "sold": [f"{2010 + k % 9}-0{1 + k % 9}-11" for k in
                                                                      range(rows)],
    })  # fmt: skip
    price = frame["rooms"].to_numpy() * 50.0 + 3 * area + 200.0 * (frame["city"].to_numpy() == "Genf")
    return frame.with_columns(pl.Series("price", price))


@pytest.fixture(scope="module")
def prices():
    return chainrule.train("16 relu", houses(), target="price", epochs=10)


@pytest.fixture(scope="module")
def digits():
    return chainrule.train("16 relu, 8 tanh", "digits", epochs=3)


def closes(w):
    """Every sum, within rounding in float64."""
    size = np.maximum(np.abs(w.integral.start), np.abs(w.integral.end))
    sums = w.attributions.reshape(w.explained, -1).sum(axis=1)
    assert (np.abs(sums - (w.integral.end - w.integral.start)) <= 2 * SMALL * np.maximum(size, 1e-3)).all()
    assert w.integral.is_reached
    assert w.of_parts().sum() == pytest.approx(w.attributions[0].sum(), abs=1e-9 * max(1.0, float(size[0])))
    for one in w.paths:
        total = sum(path.product for path in one.paths[:6]) + one.rest(6)
        assert total == pytest.approx(one.derivative, rel=SMALL)
        for cut in one.cuts:
            assert len(cut.units) > 1
            assert cut.products.sum() == pytest.approx(one.derivative, rel=SMALL)
        for path in one.paths[:20]:
            assert np.prod(one.computed(path)[1]) == pytest.approx(path.product, rel=SMALL)
        if one.is_complete:
            assert sum(path.product for path in one.paths) == pytest.approx(one.derivative, rel=1e-9, abs=1e-12)
        if not one.of:
            assert one.derivative == pytest.approx(w.slopes[0].ravel()[one.entry], rel=SMALL, abs=1e-12)


def test_the_rules_are_those_of_kronrod_and_gauss():
    """They integrate polynomials of degree 22 and 13 exactly."""
    for degree in range(23):
        assert KRONROD @ ENDS_AND_NODES**degree == pytest.approx(1 / (degree + 1), rel=1e-14)
        if degree < 14:
            assert GAUSS @ ENDS_AND_NODES**degree == pytest.approx(1 / (degree + 1), rel=1e-14)


@pytest.mark.parametrize("name", sorted(losses.NAMED))
def test_the_chain_rule_through_what_a_loss_predicts(name):
    loss, rng = losses.loss(name), np.random.default_rng(0)
    z = rng.normal(size=(4, loss.outputs(3)))
    levels = getattr(loss, "levels", (0.1, 0.7) if name == "gaussian" else ())
    pairs = [(loss.point, loss.through_point)] if "regression" in loss.tasks else []
    pairs += [(loss.probabilities, loss.through_probabilities)] * (loss.probabilities(z) is not None)
    pairs += [(loss.deviation, loss.through_deviation)] * (loss.deviation(z) is not None)
    if levels:
        pairs.append((lambda z: loss.quantiles(z, levels), lambda z, s: loss.through_quantiles(z, levels, s)))
    for of, through in pairs:
        slopes = rng.normal(size=of(z).shape)
        found, h = through(z, slopes), 1e-6
        for k in range(z.shape[1]):
            step = np.zeros_like(z)
            step[:, k] = h
            change = ((of(z + step) - of(z - step)) * slopes).reshape(len(z), -1).sum(axis=1) / (2 * h)
            np.testing.assert_allclose(found[:, k], change, atol=1e-7, rtol=1e-6)


def test_a_linear_model_attributes_weight_times_difference():
    x = np.random.default_rng(1).normal(3, 2, (80, 3))
    trained = chainrule.train("", (x, x @ [1.0, -2.0, 0.5] + 4), epochs=5)
    w = why(trained, x, 7, search=False)
    weights = trained.parameters[:3].astype(np.float64) * trained.target.deviation[0]
    np.testing.assert_allclose(w.attributions[0], weights * w.sample.x.astype(np.float64), rtol=1e-12)
    other = why(trained, x, 7, baseline=3, search=False)
    of_other = why(trained, x, 3, search=False).sample.x.astype(np.float64)
    np.testing.assert_allclose(other.attributions[0], weights * (w.sample.x - of_other), rtol=1e-11)
    assert other.baseline.name == "row 3"
    slopes = [w.slope_of(part) for part in w.sample.parts]
    np.testing.assert_allclose(slopes, weights / trained.preparation.deviation, rtol=1e-12)


def test_derivatives_are_those_of_jax_and_central_differences(digits):
    w = why(digits, "digits", 12, search=False)
    closes(w)
    network = digits.plan.network
    p = {k: {n: a.astype(np.float64) for n, a in v.items()} for k, v in network.params(digits.parameters).items()}

    def probabilities(x):
        a = jax.nn.relu(x.reshape(-1) @ p["dense_1"]["W"] + p["dense_1"]["b"])
        a = jnp.tanh(a @ p["dense_2"]["W"] + p["dense_2"]["b"])
        return jax.nn.softmax(a @ p["dense_3"]["W"] + p["dense_3"]["b"])

    x = w.sample.x.astype(np.float64)
    names = [f"probability of {label}" for label in digits.target.classes]
    jacobian = np.asarray(jax.jacobian(probabilities)(x))
    for k, name in enumerate(w.outputs.names):
        np.testing.assert_allclose(w.slopes[k], jacobian[names.index(name)], rtol=1e-9, atol=1e-13)
    function, first = Function.of(digits), names.index(w.outputs.names[0])
    for at in [(3, 4), (0, 5)]:
        step = np.zeros_like(x)
        step[at] = 1e-6
        both = [w.outputs.values(function.tape_at(function.point(x + s)).output)[0, 0] for s in (step, -step)]
        assert (both[0] - both[1]) / 2e-6 == pytest.approx(w.slopes[0][at], abs=1e-7)
    # The integral itself, by many points of the midpoint rule in JAX.
    start = w.baseline.point.x
    shares = (np.arange(2000) + 0.5) / 2000
    slope = jax.grad(lambda x: probabilities(x)[first])
    slopes = jax.vmap(lambda t: slope(start + t * (x - start)))(shares)
    np.testing.assert_allclose(w.attributions[0], np.mean(slopes, axis=0) * (x - start), atol=2e-4)


def test_a_table_is_explained_by_the_users_columns(prices):
    frame = houses()
    w = why(prices, frame, 5)
    closes(w)
    assert [part.name for part in w.sample.parts] == ["rooms", "area", "city", "sold"]
    assert w.sample.parts[2].value == frame["city"][4]
    assert float(w.sample.target) == pytest.approx(frame["price"][4])
    assert w.integral.end[0] == pytest.approx(float(prices.predict(frame)[4]), rel=1e-5)
    text = "\n".join(lines(w))
    assert "completeness error" in text
    assert "city" in text
    known = json.loads(json.dumps(w.as_json()))
    assert sum(part["attribution"] for part in known["outputs"][0]["parts"]) == pytest.approx(
        known["outputs"][0]["difference"], rel=1e-9
    )
    assert "<svg" in page(w)


@pytest.mark.parametrize("amount", [-60.0, 40.0])
def test_what_changes_a_quantity_is_predicted(prices, amount):
    frame = houses()
    before = float(prices.predict(frame)[4])
    (found,) = why(prices, frame, 5, change=amount).changes
    every = [found.along, *found.alone]
    assert all(one.verified for one in every)
    for one in every:
        changed = frame[4:5].with_columns(
            pl.Series(m.name, [m.after if m.by is None else frame[m.name][4] + m.by]) for m in one.moved
        )
        moved = float(prices.predict(changed)[0]) - before
        assert moved * np.sign(amount) >= abs(amount) * (1 - 1e-4)
    assert "these stay: city" in found.searched[0]


def test_numbers_stay_whole_and_within_their_range_where_that_suffices(prices):
    """Rooms are whole numbers from 1 to 7; a price that takes more than 7 says so."""
    frame = houses()
    near = why(prices, frame, 5, change=40.0 if frame["rooms"][4] < 7 else -40.0).changes[0]
    assert near.along.is_inside
    (rooms,) = [m for one in (near.along, *near.alone) for m in one.moved if m.name == "rooms"][:1]
    assert rooms.range == (frame["rooms"].min(), frame["rooms"].max())
    assert rooms.after == str(int(rooms.after))
    higher, lower = why(prices, frame, 5, change=None).changes
    assert "higher price" in higher.wanted
    assert "lower price" in lower.wanted
    assert all(float(one.after) > float(one.before) for one in (higher.along, *higher.alone) if one)
    assert all(float(one.after) < float(one.before) for one in (lower.along, *lower.alone) if one)
    far = why(prices, frame, 5, change=450.0)
    beyond = [m for one in far.changes[0].alone for m in one.moved if not m.is_inside]
    assert beyond
    for m in beyond:
        assert not m.range[0] <= float(m.after) <= m.range[1]
    assert "of the training set" in "\n".join(lines(far))
    known = json.loads(json.dumps(far.as_json()))["changes"][0]["alone"][-1]
    assert known["within_range"] is False
    assert known["moved"][0]["range"] == list(beyond[-1].range)


def test_a_shorter_step_along_the_gradient_does_not_suffice():
    x = np.random.default_rng(0).normal(size=(60, 3))
    trained = chainrule.train("8 tanh", (x, x[:, 0] - 2 * x[:, 1]), epochs=20)
    before = float(np.ravel(trained.predict(x[:1]))[0])
    for found, sign in zip(why(trained, x, 1).changes, (1, -1), strict=True):
        own = why(trained, x, 1, search=False).sample.x
        amount = abs(float(found.along.after) - before)
        shorter = (own + (found.along.x - own) * 0.99).astype(np.float32)[None].view(Prepared)
        assert 0 < sign * (float(np.ravel(trained.predict(shorter))[0]) - before) < amount * (1 - 1e-3)


def test_a_change_out_of_all_proportion_is_refused(prices):
    for change in (1e308, -1e308, 1e-300):
        with pytest.raises(SettingError, match=r"of price it is .* \(change\)"):
            why(prices, houses(), 5, change=change)


def test_what_changes_a_class_is_predicted(digits):
    w = why(digits, "digits", 12)
    along = w.changes[0].along
    assert along.verified
    assert str(digits.predict(along.x[None].view(Prepared))[0]) == along.after != along.before == w.predicted
    assert len(along.moved) > 5


def test_nothing_changes_what_ignores_its_inputs():
    x = np.random.default_rng(0).normal(size=(60, 2))
    trained = chainrule.train("4 tanh", (x, (x[:, 0] > 0).astype(int)), epochs=1)
    still = trained.parameters.copy()
    still[: trained.plan.network.parameters["dense_1.W"].size] = 0.0
    fixed = replace(trained, parameters=still)
    (found,) = why(fixed, x, 1).changes
    assert found.along is None
    assert found.alone == ()
    assert "nothing that was searched" in "\n".join(lines(why(fixed, x, 1)))


@pytest.mark.parametrize("loss", ["quantiles 0.1 0.5 0.9", "gaussian", "poisson"])
def test_quantiles_and_deviations_are_explained_as_well(loss):
    x = np.random.default_rng(0).normal(size=(60, 3))
    trained = chainrule.train("6 relu", (x, np.exp(x[:, 0])), loss=loss, epochs=3)
    w = why(trained, x, 4, search=False)
    closes(w)
    columns = trained.distribution_of(trained.raw(x)) if loss != "poisson" else {}
    for name, values in columns.items():
        shown = name.replace("quantile_", "y: quantile ").replace("deviation", "y: deviation")
        assert w.integral.end[w.outputs.names.index(shown)] == pytest.approx(values[3].item(), rel=1e-4)


def test_several_labels_classes_in_order_and_scores():
    x = np.random.default_rng(0).normal(size=(60, 3))
    several = np.stack([x[:, 0] > 0, x[:, 1] > 0], axis=1).astype(int)
    for y, options in ((several, {"task": "multilabel"}), (np.digitize(x[:, 0], [-0.5, 0.5]), {"task": "ordinal"}),
                       ((x[:, 0] > 0).astype(int), {"loss": "hinge"})):  # fmt: skip
        trained = chainrule.train("6 tanh", (x, y), epochs=3, **options)
        w = why(trained, x, 4)
        closes(w)
        assert all(one.along is None or one.along.verified for one in w.changes)


def test_tokens_are_explained_through_their_embedding():
    rng = np.random.default_rng(0)
    yes = rng.integers(0, 2, 160)
    opinions, others = (["bad", "awful", "dull"], ["good", "great", "fine"]), ["the", "film", "was", "it", "so", "a"]
    words = [[*rng.choice(others, 4), *rng.choice(opinions[k], 2)] for k in yes]
    frame = pl.DataFrame({"age": rng.normal(40, 9, 160), "review": [" ".join(map(str, w)) for w in words],
                          "label": np.where(yes, "pos", "neg")})  # fmt: skip
    trained = chainrule.train("4 tanh", frame, target="label", text="tokens", epochs=2)
    w = why(trained, frame, 3, search=False, tolerance=1e-7)
    part = next(part for part in w.sample.parts if part.name == "review")
    own = w.attributions[0].ravel()[part.entries]
    assert w.of_parts()[w.sample.parts.index(part)] == pytest.approx(own.sum())
    assert own[-1] == 0.0  # how many tokens there are is no quantity
    assert np.abs(w.integral.error).max() < 1e-6
    assert list(part.labels[:6]) == [repr(str(word)) for word in words[2]]
    assert 'class="token"' in page(w)


def test_series_and_sequences_by_step():
    days = pl.date_range(pl.date(2023, 1, 1), pl.date(2023, 6, 30), eager=True)
    series = pl.DataFrame({"day": days, "sales": [10 + k % 7 + 0.01 * k for k in range(len(days))]})
    trained = chainrule.train("8 tanh", series, time="day", target="sales", horizon=2, epochs=3)
    w = why(trained, series, len(days))
    closes(w)
    assert w.sample.parts[-1].name == "lag 0 (2023-06-30)"
    assert w.integral.end[0] == pytest.approx(float(trained.forecast(series).point[0, 0]), rel=1e-5)
    with pytest.raises(DataError, match="a window takes"):
        why(trained, series, 2)
    x = np.random.default_rng(0).normal(size=(60, 5, 2))
    trained = chainrule.train("lstm 4", (x, (x.sum(axis=(1, 2)) > 0).astype(int)), epochs=2)
    w = why(trained, x, 3)
    closes(w)
    assert len(w.sample.parts) == 5


def test_a_language_model_at_a_position(tmp_path):
    path = tmp_path / "book.txt"
    path.write_text("the cat sat on the mat and the dog ran. " * 30)
    trained = chainrule.train("8 tanh", str(path), epochs=1, length=12)
    w = why(trained, str(path), 2, position=4)
    closes(w)
    own = w.of_parts()
    assert np.abs(own[5:]).max() == 0.0  # later tokens can't matter
    assert np.abs(own[4]) > 0
    assert all(one.tokens is None or one.tokens.before != one.tokens.after for one in w.changes)


def test_a_baseline_that_is_no_row_is_named_as_such(digits):
    for choice in (0, 10**30):
        with pytest.raises((DataError, SettingError), match=r"\(baseline\)"):
            why(digits, "digits", 1, baseline=choice)


def test_errors_say_what_is_wrong(prices):
    frame = houses()
    with pytest.raises(DataError, match="no row 500; it has 120 rows"):
        why(prices, frame, 500)
    with pytest.raises(SettingError, match="rows are counted from 1"):
        why(prices, frame, 0)
    with pytest.raises(SettingError, match="the baseline is"):
        why(prices, frame, 1, baseline="white")
    with pytest.raises(SettingError, match="no zero in common"):
        why(prices, frame, 1, baseline="zero")
    with pytest.raises(SettingError, match="unknown output"):
        why(prices, frame, 1, of="rooms")
    with pytest.raises(SettingError, match="predicts once"):
        why(prices, frame, 1, position=2)
    with pytest.raises(SettingError, match="for a quantity, not a probability"):
        why(chainrule.train("2 tanh", "iris", epochs=1), "iris", 1, change=2.0)


def test_the_kinks_of_a_picture_network_are_found(tmp_path):
    """Its outputs are linear between the kinks of its units and the ties of its windows, so that the sum
    closes to rounding.
    """
    network = "conv 4 3x3 padding=same, batch_norm, relu, max_pool 2, flatten, 12 leaky_relu, 8 hard_tanh"
    trained = chainrule.train(network, "digits", epochs=2)
    function = Function.of(trained)
    outputs = outputs_of(trained.target, trained.plan.loss, 10).only([0, 4])
    x = np.random.default_rng(3).normal(size=trained.plan.network.input_shape)
    found = integrate(function, outputs, function.point(0 * x), function.point(x))
    assert found.pieces > 20
    assert np.abs(found.error).max() < 1e-12


def test_a_table_may_have_the_target_of_a_network_that_knows_columns_by_their_order(tmp_path):
    """As an imported network does."""
    x = np.random.default_rng(0).normal(size=(60, 2))
    trained = chainrule.train("4 tanh", (x, np.where(x[:, 0] > 0, "yes", "no")), epochs=3)
    table = pl.DataFrame({"label": trained.predict(x), "a": x[:, 0], "b": x[:, 1]})
    assert (trained.predict(table) == trained.predict(x)).all()
    w = why(trained, table, 2)
    np.testing.assert_allclose(w.sample.x, why(trained, x, 2, search=False).sample.x)
    assert w.changes[0].along.verified
    assert [part.name for part in w.sample.parts] == ["a", "b"]
    with pytest.raises(DataError, match="it has 4 columns, but the network takes 2, whose names it does not know"):
        trained.predict(table.with_columns(c=1.0))


def test_a_derivative_is_cut_where_everything_passes(tmp_path):
    """The layers of a residual network: not those within a branch, and each sums to the derivative."""
    x = np.random.default_rng(0).normal(size=(60, 3))
    network = "6 tanh, residual(6 tanh, 6), 5 tanh"
    trained = chainrule.train(network, (x, x[:, 0] * x[:, 1]), epochs=3)
    w = why(trained, x, 4, search=False)
    closes(w)
    names = [cut.node for cut in w.paths[0].cuts]
    assert names[0] == "dense_1"
    assert not any("residual_1.dense" in name for name in names)
    # Forward accumulation agrees with central differences of the units.
    one, function = w.paths[0], Function.of(trained)
    cut = one.cuts[-1]
    step = np.zeros_like(w.sample.x, dtype=np.float64)
    step.ravel()[one.entry] = 1e-6
    tapes = [function.tape_at(function.point(w.sample.x.astype(np.float64) + s)) for s in (step, -step)]
    measured = [(tapes[0].value(unit) - tapes[1].value(unit)) / 2e-6 for unit in cut.units]
    np.testing.assert_allclose(cut.from_input, measured, atol=1e-7)


def test_long_names_are_cut_in_text_alone():
    long = "n" * 10_000
    x = np.random.default_rng(0).normal(size=(60, 2))
    frame = pl.DataFrame({long: x[:, 0], "b": x[:, 1], "y": x[:, 0]})
    w = why(chainrule.train("4 tanh", frame, target="y", epochs=3), frame, 2)
    assert max(map(len, lines(w))) < 400
    assert long in json.dumps(w.as_json())
