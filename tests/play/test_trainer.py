"""The engine's side of the live page: going back is exact, phases make the step, an edited weight is answered."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainrule.errors import NonFiniteError, SettingError
from chainrule.play.settings import LayerSettings, Settings
from chainrule.play.trainer import Trainer

RESTLESS = {
    "data": {"name": "moons", "samples": 60},
    "layers": [{"units": 5, "activation": "relu", "dropout": 0.2}, {"units": 3, "activation": "tanh"}],
    "optimizer": "adam",
    "schedule": "cosine",
    "clip": 1.0,
    "l2": 0.01,
}


def trainer(**also):
    return Trainer(Settings.from_json(RESTLESS | also))


def bits(one):
    states = [array.tobytes() for state in one.position.states for array in state.values()]
    return one.step, one.position.parameters.tobytes(), states


@given(st.integers(0, 400), st.integers(0, 400))
def test_any_step_is_gone_back_to_exactly(reached, wanted):
    if wanted > reached:
        reached, wanted = wanted, reached
    straight, around = trainer(), trainer()
    straight.advance(wanted)
    around.advance(reached)
    around.go_to(wanted)
    assert bits(around) == bits(straight)


def test_the_phases_make_the_same_step():
    whole, phased = trainer(), trainer()
    whole.advance(1)
    before = phased.position.parameters.copy()
    for phase in ("forward", "loss", *["backward"] * 9):
        phased.next_phase(phase)
        assert np.array_equal(phased.position.parameters, before)
    assert phased.layers[phased.backward_to] == "dense_1"
    phased.next_phase("update")
    assert bits(phased) == bits(whole)


def test_a_step_that_was_begun_by_phases_is_completed_by_running():
    whole, phased = trainer(), trainer()
    whole.advance(4)
    phased.next_phase("backward")
    phased.advance(4)
    assert bits(phased) == bits(whole)


def test_what_an_edited_weight_does_is_what_its_derivative_predicts():
    one = trainer()
    one.advance(20)
    weight, place = "dense_2.W[1, 2]", one.plan.network.parameters.find("dense_2.W[1, 2]")
    found = one.set_weight(weight, float(one.position.parameters[place]) + 1e-3)
    assert found["after"] == pytest.approx(found["predicted"], abs=1e-5)
    assert found["before"] != found["after"]
    with pytest.raises(SettingError, match="is no value for a weight"):
        one.set_weight(weight, float("inf"))


def test_the_memory_of_earlier_steps_is_bounded():
    one = trainer()
    one.advance(3000)
    assert len(one._marks) <= 240
    assert next(iter(one._marks)) == 0
    large = Trainer(Settings.from_json({"layers": [{"units": 256}] * 4}))
    size = sum(array.nbytes for state in large.position.states for array in state.values())
    assert large._most_marks * (size + large.position.parameters.nbytes) <= 64_000_000


def test_a_step_that_explodes_is_not_taken():
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
def test_settings_come_back_from_json_as_they_were(settings):
    import json

    assert Settings.from_json(json.loads(json.dumps(settings.as_json()))) == settings


@pytest.mark.parametrize("name", ["momentum", "adam", "adamw", "muon", "rprop", "lbfgs", "lion"])
def test_every_setting_of_an_optimizer_can_be_set(name):
    from chainrule.play.settings import options_of

    told = [[key, value] for key, value in options_of(name).items()]
    one = trainer(optimizer=name, options=told, clip=0.0, schedule="constant", l2=0.0)
    plain = trainer(optimizer=name, clip=0.0, schedule="constant", l2=0.0)
    assert one.plan.optimizer == plain.plan.optimizer
    with pytest.raises(SettingError, match="unknown setting"):
        trainer(optimizer=name, options=[["nonsense", 1]])
