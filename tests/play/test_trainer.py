"""The live page's trainer: going back is exact, phases make up a step, weights can be edited."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainrule.errors import NonFiniteError, SettingError
from chainrule.play.settings import LayerSettings, Settings
from chainrule.play.trainer import Trainer

# Dropout, Adam and the schedule make each step depend on the step number or on earlier steps.
SETTINGS = {
    "data": {"name": "moons", "samples": 60},
    "layers": [{"units": 5, "activation": "relu", "dropout": 0.2}, {"units": 3, "activation": "tanh"}],
    "optimizer": "adam",
    "schedule": "cosine",
    "clip": 1.0,
    "l2": 0.01,
}


def trainer(**changes):
    return Trainer(Settings.from_json(SETTINGS | changes))


def bits(one):
    position = one.position
    states = [array.tobytes() for state in position.states for array in state.values()]
    return one.step, position.parameters.tobytes(), states


@given(st.integers(0, 400), st.integers(0, 400))
def test_any_earlier_step_is_replayed_bit_for_bit(one, other):
    earlier, later = sorted((one, other))
    direct, back = trainer(), trainer()
    direct.advance(earlier)
    back.advance(later)
    back.go_to(earlier)
    assert bits(back) == bits(direct)


def test_the_phases_add_up_to_the_same_step():
    whole, phased = trainer(), trainer()
    whole.advance(1)
    before = phased.position.parameters.copy()
    for phase in ("forward", "loss", *["backward"] * 9):
        phased.next_phase(phase)
        assert np.array_equal(phased.position.parameters, before)
    assert phased.layers[phased.backward_to] == "dense_1"
    phased.next_phase("update")
    assert bits(phased) == bits(whole)


def test_after_a_step_the_next_one_begins_with_its_first_phase():
    trainer, seen = Trainer(Settings()), []
    for phase in ("update", "forward", "loss", "backward"):
        trainer.next_phase(phase)
        seen.append(trainer.phase)
    assert seen == ["update", "forward", "loss", "backward"]


def test_running_completes_a_step_begun_in_phases():
    whole, phased = trainer(), trainer()
    whole.advance(4)
    phased.next_phase("backward")
    phased.advance(4)
    assert bits(phased) == bits(whole)


def test_the_derivative_predicts_the_effect_of_an_edited_weight():
    one = trainer()
    one.advance(20)
    weight, place = "dense_2.W[1, 2]", one.plan.network.parameters.find("dense_2.W[1, 2]")
    losses = one.set_weight(weight, float(one.position.parameters[place]) + 1e-3)
    assert losses["after"] == pytest.approx(losses["predicted"], abs=1e-5)
    assert losses["before"] != losses["after"]
    with pytest.raises(SettingError, match="is no value for a weight"):
        one.set_weight(weight, float("inf"))


def test_the_memory_of_checkpoints_is_bounded():
    one = trainer()
    one.advance(3000)
    assert len(one.checkpoints) <= 240
    assert next(iter(one.checkpoints)) == 0
    large = Trainer(Settings.from_json({"layers": [{"units": 256}] * 4}))
    size = sum(array.nbytes for state in large.position.states for array in state.values())
    assert large._most_checkpoints * (size + large.position.parameters.nbytes) <= 64_000_000


def test_a_step_that_diverges_is_not_taken():
    one = trainer(
        data={"name": "sine"},
        optimizer="sgd",
        learning_rate=1000.0,
        clip=0.0,
        layers=[{"units": 8, "activation": "relu"}],
    )
    with pytest.raises(NonFiniteError, match="try a smaller learning rate"):
        one.advance(200)
    assert np.isfinite(one.position.parameters).all()


@given(
    st.builds(
        Settings,
        layers=st.lists(
            st.builds(LayerSettings, units=st.integers(1, 9), activation=st.sampled_from(["relu", "gelu"])), max_size=3
        ).map(tuple),
        learning_rate=st.floats(0, 10),
        l1=st.floats(0, 1),
        optimizer=st.sampled_from(["sgd", "adam", "lbfgs"]),
        schedule=st.sampled_from(["constant", "cosine"]),
    )
)
def test_settings_survive_a_round_trip_through_json(settings):
    import json

    assert Settings.from_json(json.loads(json.dumps(settings.as_json()))) == settings


@pytest.mark.parametrize("name", ["momentum", "adam", "adamw", "muon", "rprop", "lbfgs", "lion"])
def test_every_hyperparameter_of_an_optimizer_can_be_set(name):
    from chainrule.play.settings import options_of

    options = [[key, value] for key, value in options_of(name).items()]
    one = trainer(optimizer=name, options=options, clip=0.0, schedule="constant", l2=0.0)
    plain = trainer(optimizer=name, clip=0.0, schedule="constant", l2=0.0)
    assert one.plan.optimizer == plain.plan.optimizer
    with pytest.raises(SettingError, match="unknown setting"):
        trainer(optimizer=name, options=[["nonsense", 1]])


def test_a_weight_changed_by_hand_is_still_there_after_going_back():
    trainer = Trainer(Settings())
    trainer.advance(3)
    trainer.set_weight("dense_1.W[0, 0]", 0.25)
    edited = trainer.position.parameters
    trainer.advance(1500)  # so many steps that checkpoints are dropped
    after = trainer.position.parameters
    assert trainer.edits == [(3, "dense_1.W[0, 0]", 0.25)]
    trainer.go_to(3)
    np.testing.assert_array_equal(trainer.position.parameters, edited)
    trainer.advance(1500)
    np.testing.assert_array_equal(trainer.position.parameters, after)
    trainer.go_to(2)
    assert trainer.edits == []
