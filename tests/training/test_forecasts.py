"""Forecasts of time series: measured beside the naive forecast, recorded, explained and continued."""

import datetime as dt
import json

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import chainrule
from chainrule.cli import run as command
from chainrule.errors import DataError, SettingError, ShapeError
from chainrule.explain import explain
from chainrule.explain.text import lines
from chainrule.gradient_check import check_gradient
from chainrule.layers import Dense, Flatten, Seasonal
from chainrule.losses import NAMED, loss
from chainrule.network import Network
from chainrule.training.naive import naive_forecast

QUICK = {"time": "day", "target": "sales", "series": "shop", "horizon": 5, "length": 14, "epochs": 2}


def sales(days=160, shops=("Bern", "Uri")):
    """Sales of shops that rise, with a week's pattern."""
    random, start = np.random.default_rng(1), dt.date(2024, 1, 1)
    rows = [
        (start + dt.timedelta(days=k), shop, "ab"[k % 2], 20 * n + k / 10 + (k % 7) ** 2 + random.normal())
        for n, shop in enumerate(shops, start=1)
        for k in range(days)
    ]
    return pl.DataFrame(rows, schema=["day", "shop", "kind", "sales"], orient="row")


@pytest.fixture(scope="module")
def trained():
    return chainrule.train(sales(), **QUICK, loss="quantiles 0.05 0.5 0.95")


@given(
    horizon=st.integers(1, 9), season=st.integers(1, 5), first=st.integers(0, 2), features=st.integers(1, 3),
    scaled=st.booleans(), sized=st.booleans(),
)  # fmt: skip
@settings(max_examples=20)
def test_a_forecast_begins_at_the_naive_one_and_does_not_depend_on_the_level(
    horizon, season, first, features, scaled, sized
):
    layers = [Flatten(), Dense(first + horizon + 2, weights="constant 0")]
    network = Network([Seasonal(layers, horizon, season, first, scaled, sized)], (6, features), "float64")
    x = np.random.default_rng(0).normal(size=(4, 6, features))
    target = chainrule.data.Target("regression", mean=(0.0,) * horizon, deviation=(1.0,) * horizon, season=season)
    parameters = network.draw(0)
    found = network.predict(parameters, x)[:, first : first + horizon]
    np.testing.assert_allclose(found, naive_forecast(x, target))
    steps = [6 - season + k % season for k in range(horizon)]
    np.testing.assert_array_equal(naive_forecast(x, target), x[:, steps, 0])
    parameters = np.random.default_rng(1).normal(size=parameters.shape)
    size = 1000 if scaled and not sized else 1  # then the unit does not matter, either
    changed = x.copy()
    changed[:, :, 0] = 3 + x[:, :, 0] / size
    y, found = (network.predict(parameters, each) for each in (x, changed))
    y[:, first : first + horizon] = 3 + y[:, first : first + horizon] / size
    np.testing.assert_allclose(found, y, rtol=1e-5)


@pytest.mark.parametrize("scaled", [False, True])
def test_the_gradient_of_a_forecast_is_that_of_central_differences(scaled):
    network = Network([Seasonal([Flatten(), Dense(3), Dense(7)], 5, 2, 1, scaled, scaled)], (6, 2), "float64")
    x, y = np.random.default_rng(0).normal(size=(3, 6, 2)), np.zeros((3, 7))
    assert check_gradient(network, loss("mse"), x, y).error < 1e-7


@pytest.mark.parametrize("name", ["mse", "mae", "huber", "quantiles", "quantile 0.9", "gaussian", "poisson"])
def test_a_loss_says_which_outputs_are_the_point_forecast(name):
    chosen = loss(name)
    assert chosen.first_of_point(4) == {"quantiles": 4, "poisson": None}.get(name, 0)
    assert name.split()[0] in NAMED


def test_what_does_not_fit_a_forecast_is_refused():
    with pytest.raises(ShapeError, match=r"it takes windows of the shape .time, features. of at least 7 steps"):
        Network([Seasonal([Flatten(), Dense(2)], 2, 7)], (6, 1))
    with pytest.raises(ShapeError, match="let a dense layer be the last, after flatten"):
        Network([Seasonal([Dense(2)], 2, 2)], (6, 1))
    with pytest.raises(SettingError, match="seasonal: season is 0"):
        Seasonal([Dense(2)], 2, 0)


def test_it_is_measured_beside_the_naive_forecast(trained):
    test, target = trained.data.test, trained.target
    found, x, y = trained.evaluate(), np.asarray(test.x), target.decode(np.asarray(test.y))
    naive = target.decode(x[:, -7 : -7 + 5, 0])
    mae = np.abs(trained.decoded(trained.raw(test)) - y).mean()
    assert found["mae"] == pytest.approx(mae)
    assert found["naive_mae"] == pytest.approx(np.abs(naive - y).mean())
    assert found["skill"] == pytest.approx(1 - found["mae"] / found["naive_mae"])
    report = trained.report()
    assert np.mean([one.metrics["naive_mae"] for one in report.quantities]) == pytest.approx(found["naive_mae"])
    assert "steps ahead" in str(report)
    assert {"coverage_0.9", "interval_width_0.9"} <= report.metrics.keys()
    assert trained.held_out().targets.shape == y.shape


def test_it_learns_what_the_naive_forecast_misses():
    table = sales().with_columns(sales=pl.col("sales") + 40 * (pl.col("kind") == "b"))
    found = chainrule.train(table, **QUICK | {"horizon": 3, "epochs": 40}).evaluate()
    assert found["skill"] > 0.3


def test_it_forecasts_what_follows_on_new_data_in_any_order(trained):
    table = sales(200, ("Bern", "Uri", "Chur")).sample(fraction=1, shuffle=True, seed=0)
    forecast = trained.forecast(table, interval=0.9)
    assert forecast.frame.columns == ["shop", "day", "sales", "sales_lower", "sales_upper"]
    assert set(forecast.names) == {"Bern", "Uri", "Chur"}
    assert forecast.frame["day"].unique().sort().to_list() == [dt.date(2024, 7, 19 + k) for k in range(5)]
    low, high = (forecast.values[f"sales_{end}"] for end in ("lower", "upper"))
    assert ((low <= forecast.point) & (forecast.point <= high)).all()
    np.testing.assert_allclose(trained.predict(table), forecast.point)
    level = table.filter(pl.col("day") > dt.date(2024, 7, 5)).group_by("shop").agg(pl.col("sales").mean())
    means = dict(level.iter_rows())
    assert all(abs(row.mean() - means[name]) < 15 for name, row in zip(forecast.names, forecast.point, strict=True))
    assert "3 series, 5 steps each" in str(forecast)
    with pytest.raises(DataError, match="the series 'Bern' has 3 steps, but a forecast takes the last 14"):
        trained.forecast(sales(3))
    with pytest.raises(DataError, match="it has no column 'kind', which the network was trained on"):
        trained.forecast(sales().drop("kind"))
    with pytest.raises(SettingError, match="it was not trained on time series"):
        chainrule.train("4 relu", "iris", epochs=1).forecast("iris")


def test_a_recorded_run_is_opened_replayed_resumed_and_explained(trained, tmp_path, capsys):
    path, folder = tmp_path / "sales.csv", tmp_path / "run"
    sales().write_csv(path)
    options = ["--time", "day", "--target", "sales", "--series", "shop", "--horizon", "5", "--length", "14"]
    options += ["--epochs", "2", "--interval", "0.9"]
    assert command(["train", str(path), *options, "-o", str(folder), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    same = {name: value for name, value in trained.evaluate().items() if name in printed["test"]}
    assert printed["test"] == pytest.approx(same)
    run = chainrule.runs.Run.open(folder)
    data = run.load_data()
    assert data.preparation.series == trained.preparation.series
    step = run.at(3, data)
    assert step.gradient.any()
    explanation = explain(run, "seasonal_1.branches_1.branch_2.dense_1.W[1, 0]", 3)
    text = "\n".join(lines(explanation))
    assert "(day+5_day_of_week_sin, position 0)" in text
    assert "output 2024-" in text
    assert " ahead)" in text
    assert data.positions_of(0)[-1] == data.source.sample(int(data.rows[0])).values["window"].split()[2]
    assert command(["predict", str(folder), str(path), "--interval", "0.9", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert rows[0].keys() == {"shop", "day", "sales", "sales_lower", "sales_upper"}
    assert len(rows) == 10
    assert command(["train", "--resume", str(folder), "--epochs", "3", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["epochs"] == 3
    assert command(["evaluate", str(folder), str(path)]) == 0
    assert "skill against the naive forecast" in capsys.readouterr().out


def test_small_series_are_forecast_beside_large_ones():
    rows = sales(days=150).with_columns(  # of very different size
        pl.when(pl.col("shop") == pl.col("shop").first()).then(pl.col("sales") * 1000).otherwise(pl.col("sales"))
    )
    trained = chainrule.train(rows, **{**QUICK, "epochs": 10}, loss="mse")
    for _, one in rows.group_by("shop"):
        assert trained.evaluate(one)["skill"] > 0


def test_tuning_says_how_good_the_best_forecast_is(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    sales(days=90).write_csv("sales.csv")
    options = [word for name, value in QUICK.items() for word in (f"--{name}", str(value))]
    assert command(["tune", "sales.csv", *options, "--trials", "1"]) == 0
    assert "test skill against the naive forecast" in capsys.readouterr().out
