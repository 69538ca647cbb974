"""Comparing: one gradient through several optimizers, races that end, paths on a surface."""

import numpy as np
import pytest

from chainrule.descent import optimizers
from chainrule.descent.stages import Point
from chainrule.errors import SettingError
from chainrule.explain.axes import mark_text, round_marks
from chainrule.explain.surface import surface_of
from chainrule.play.compare import CHOICES, compared, described
from chainrule.play.race import CHECK, Race
from chainrule.play.samples import FEWEST_POINTS, PointsError, page_data
from chainrule.play.settings import DataSettings, LayerSettings, Settings
from chainrule.play.surface import Path, surface_message, surface_over
from chainrule.play.trainer import Trainer

MOONS = Settings(DataSettings(name="moons", samples=100), (LayerSettings(3),), optimizer="sgd", learning_rate=0.5)
WEIGHT = "dense_1.W[1, 2]"


@pytest.mark.parametrize("own", ["adam", "lbfgs", "muon"])
def test_every_optimizer_gets_the_gradients_of_the_last_steps(own):
    trainer, gradients, points = Trainer(Settings(MOONS.data, MOONS.layers, optimizer=own)), [], []
    for _ in range(12):
        trainer.advance(1)
        gradients.append(trainer.last.gradient)
        points.append(trainer.last.before.parameters)
    message, layout = compared(trainer, WEIGHT, CHOICES), trainer.plan.network.parameters
    place = layout.find(WEIGHT)
    first, *rows = message["rows"]
    assert first["update"] == trainer.last.update[place]
    assert first["next"] == pytest.approx(trainer.position.parameters[place])
    assert message["gradient"] == gradients[-1][place]
    others = [name for name in CHOICES if name != own]
    for row, name in zip(rows, others, strict=True):
        assert row["name"].split()[0] == name
        optimizer = optimizers.optimizer(name if name == "rprop" else f"{name} 0.01")
        states = optimizer.start(points[0], layout)
        for parameters, gradient in zip(points, gradients, strict=True):
            before = states
            step = optimizer.step(gradient, states, Point(parameters, layout))
            states = step.states
        assert row["update"] == step.update[place]
        assert row["next"] == pytest.approx(points[-1][place] - step.update[place])
        held = {entry["name"]: (entry["before"], entry["after"]) for entry in row["state"]}
        for then, now in zip(before, states, strict=True):
            for key in {"m", "v"} & set(then):
                assert held[key] == (then[key][place], now[key][place])
        assert row["lines"]
    assert max(abs(row["share"]) for row in message["rows"]) == 1


def test_without_a_step_the_gradient_is_that_of_the_next_one():
    trainer = Trainer(MOONS)
    message = compared(trainer)
    record = trainer.next_record()
    place = trainer.plan.network.parameters.find(message["weight"])
    assert message["gradient"] == record.gradient[place]
    assert message["rows"][0]["update"] == record.update[place]
    assert message["words"].startswith("The gradient of the next step goes")
    with pytest.raises(SettingError, match="lbfgs: choose from"):
        compared(trainer, "", ["lbfgs"])


def test_after_an_edit_by_hand_only_the_steps_since_then_count():
    trainer = Trainer(MOONS)
    trainer.advance(5)
    trainer.set_weight(WEIGHT, 2.0)
    trainer.advance(3)
    message = compared(trainer, WEIGHT)
    assert "steps 6 to 8" in message["words"]
    assert message["gradient"] == trainer.last.gradient[trainer.plan.network.parameters.find(WEIGHT)]


def test_a_race_ends_when_the_first_reaches_the_target():
    entrants = [{"optimizer": "sgd", "learning_rate": 0.001}, {"optimizer": "adam", "learning_rate": 0.05}]
    race = Race(MOONS, entrants, None, target=0.6)
    while not race.ended:
        before = list(race.losses)
        race.advance()
    assert race.winner == 1
    assert race.losses[1] <= race.target == pytest.approx(0.6 * np.mean(race.starts))
    assert before[1] > race.target
    assert race.losses[1] == race.trainers[1].training_loss()
    assert race.ended.startswith("adam 0.05 wins: it is the first to reach a training loss of ")
    assert f"after {race.step:,} steps" in race.ended
    assert race.frame()["order"] == [1, 0]


def test_a_race_that_nobody_wins_ends_with_the_planned_epochs_or_the_last_entrant():
    settings = Settings(MOONS.data, MOONS.layers, optimizer="sgd", epochs=5)
    slow = Race(settings, [{"optimizer": "sgd", "learning_rate": rate} for rate in (1e-4, 1e-3)], None)
    while not slow.ended:
        slow.advance()
    assert slow.step == slow.limit == 5 * slow.trainers[0].steps_per_epoch != CHECK
    assert slow.winner is None
    assert slow.ended.startswith("Nobody wins: no setting reached")
    assert slow.ended.endswith("within the planned 5 epochs (35 steps). sgd 0.001 came closest.")
    wild = Settings(DataSettings(name="sine"), (LayerSettings(8, "relu"),))
    out = Race(wild, [{"optimizer": "sgd", "learning_rate": rate} for rate in (900, 1000)], None)
    while not out.ended:
        out.advance()
    assert out.ended.startswith("Nobody wins: all settings are out")
    assert all(out.failed)
    for target in (0, 1, float("nan")):
        with pytest.raises(SettingError, match="must be above 0 and below 100 %"):
            Race(settings, [{}, {}], None, target)


def test_a_surface_is_flat_neither_before_the_first_step_nor_along_a_line():
    trainer = Trainer(MOONS)
    for _ in range(2):
        surface = surface_over(trainer, [Path("sgd", *trainer.path())])
        widths = [line[-1] - line[0] for line in (surface.across, surface.along)]
        assert min(widths) > 0.15 * max(widths)
        assert np.linalg.matrix_rank(surface.directions) == 2
        trainer.advance(1)


def test_paths_of_a_race_lie_on_its_surface_in_the_entrants_colours():
    race = Race(MOONS, [{"optimizer": "sgd", "learning_rate": 0.1}, {"optimizer": "adam"}], None)
    for _ in range(8):
        race.advance()
    header, arrays = race.surface()
    assert [path["colour"] for path in header["paths"]] == [0, 1]
    assert [path["name"] for path in header["paths"]] == race.names
    for k in (0, 1):
        shares = arrays[f"shares {k}"]
        assert shares.shape[0] <= 60
        assert ((shares > 0) & (shares < 1)).all()
    assert arrays["shares 0"][0] == pytest.approx(arrays["shares 1"][0])  # both from the same start
    assert arrays["picture"].shape[0] == arrays["picture"].shape[1]
    assert all(0 <= mark["share"] <= 1 for marks in header["marks"].values() for mark in marks)


def test_the_picture_from_above_is_the_surface():
    trainer = Trainer(MOONS)
    trainer.advance(30)
    path = Path("sgd", *trainer.path())
    surface = surface_of(trainer.plan, trainer.data.training, path.steps, path.points, grid=9)
    _, arrays = surface_message("surface", surface, [path], "")
    picture, loss = arrays["picture"][::-1].astype(float) / 255, surface.loss
    shares = (loss - loss.min()) / (loss.max() - loss.min())
    corners = np.ix_([0, -1], [0, -1])
    assert picture[corners] == pytest.approx(shares[corners], abs=0.06)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (-0.0002, "−0.0002"),
        (0.00034261, "0.0003426"),
        (12345.6, "12350"),
        (1e-7, "1e-7"),
        (1.25e6, "1.25e+6"),
    ],
)
def test_one_format_for_the_numbers_at_axes(value, text):
    assert mark_text(value) == text


def test_marks_at_an_axis_are_few_round_and_within_it():
    for low, high in ((0.13, 0.69), (-2e-4, 3e-4), (-1000, 7)):
        marks = round_marks(low, high)
        assert 2 <= len(marks) <= 6
        assert all(low <= mark <= high for mark in marks)
        assert all(len(mark_text(mark).strip("−").replace(".", "").strip("0")) <= 2 for mark in marks)


def test_settings_in_a_line():
    assert described(MOONS) == "sgd 0.5; 3 tanh; moons; batch size 10; seed 0"


def test_too_few_points_say_how_many_are_missing():
    points = [(0.1 * k, 0.0, 0) for k in range(FEWEST_POINTS)]
    for drawn in ([], points):
        with pytest.raises(PointsError, match=f"{len(drawn)} of class 0 and 0 of class 1"):
            page_data(DataSettings(kind="drawn", points=tuple(drawn)), None)
    assert page_data(DataSettings(kind="drawn", points=(*points, (0.0, 1.0, 1))), None).is_plane


def test_weights_beyond_the_numbers_of_a_race_are_refused_or_out():
    entrants = [{"weights": "normal 0 1e300"}, {}]
    with pytest.raises(SettingError, match=r"dense_1\.W: its distribution draws numbers beyond float32"):
        Race(MOONS, entrants, None)
    with pytest.raises(SettingError, match="too far apart"):
        Race(MOONS, [{"weights": "uniform -1e308 1e308"}, {}], None)
    race = Race(MOONS, [{"weights": "constant 3e38"}, {"optimizer": "adam"}], None)
    race.advance()
    assert race.failed == ["step 0: the loss of the training set is not finite", ""]
    assert np.isfinite(race.target)
    with pytest.raises(SettingError, match="no setting has a finite loss at the start"):
        Race(MOONS, [{"weights": "constant 3e38"}] * 2, None)
