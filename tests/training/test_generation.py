"""How language models write: the same with what is kept as without, and from which tokens."""

import math
from dataclasses import replace

import numpy as np
import pytest

import chainrule
from chainrule.data import Text
from chainrule.errors import DataError, SettingError
from chainrule.losses import CategoricalCrossEntropy
from chainrule.training.generation import Reader, first_of_context, write
from engines import NAMES

RHYME = "Row, row, row your boat, gently down the stream. Merrily, merrily, life is but a dream.\n" * 6
LOSS, WINDOW = CategoricalCrossEntropy(), 10
LIMITED = "transformer 1 16 heads=2 causal=true"


@pytest.fixture(scope="module", params=NAMES)
def trained(request):
    return chainrule.train(LIMITED, Text("rhyme", RHYME), length=WINDOW, epochs=2, engine=request.param)


def again(trained, keys, context, length=25, temperature=1.5, top=None):
    """What is written if the network sees the whole context for each token."""
    reader = Reader(trained.plan.network, trained.predictor(), None, len(keys))
    return list(write(reader, LOSS, context, length, temperature, top, keys))


@pytest.mark.parametrize("prompt", ["R", "Row, row,", "Merrily, merrily, life is but"])
def test_what_is_kept_changes_nothing(trained, prompt):
    """Neither tokens nor, but for rounding, probabilities, before and after the window is full; and
    of several texts the first is the one that is written alone.
    """
    context, keys = trained.tokens.encode(prompt).tolist(), [(0, "generate"), (0, "generate", 1)]
    assert trained.reader(2).keeps
    found = list(trained.written_together(2, prompt, 25, 1.5))
    expected = again(trained, keys, context)
    assert [[one.number for one in step] for step in found] == [[one.number for one in step] for step in expected]
    np.testing.assert_allclose(np.array(found)[..., 1], np.array(expected)[..., 1], rtol=1e-4)
    first, second = trained.generate_several(2, prompt, 25, 1.5)
    assert first == trained.generate(prompt, 25, 1.5) != second


def test_a_context_is_cut_to_its_newer_half_when_the_window_is_full(trained):
    """By hand: each token from those since then, and from no others."""
    assert [first_of_context(count, 10) for count in range(9, 22)] == [0] * 2 + [5] * 5 + [10] * 5 + [15]
    assert [first_of_context(count, 1) for count in (1, 2, 3)] == [0, 1, 2]
    tokens = trained.tokens.encode(RHYME[:24]).tolist()
    for count in (1, 10, 11, 24):
        context = tokens[first_of_context(count, WINDOW) : count]
        padded = np.pad(context, (0, WINDOW - len(context)))[None]
        expected = LOSS.probabilities(trained.predictor()(padded)[0])[len(context) - 1]
        assert trained.generate(RHYME[:count], 1, 0)[count:] == trained.tokens.text(int(expected.argmax()))


def test_a_state_is_carried_without_end():
    trained = chainrule.train("lstm 8 all=true", Text("rhyme", RHYME), length=WINDOW, epochs=1)
    prompt = RHYME[:50]
    (one,) = trained.written(prompt, 1, 0)
    network = replace(trained.plan.network, input_shape=(50,))
    expected = LOSS.probabilities(network.predict(trained.parameters, trained.tokens.encode(prompt)[None])[0])[-1]
    assert one.number == expected.argmax()
    assert one.probability == pytest.approx(float(expected.max()), rel=1e-4)


def test_texts_may_be_written_in_turns(trained):
    once = [trained.written("Row", 20, 1.5, seed) for seed in (1, 2)]
    turns = list(zip(*once, strict=True))
    assert [list(one) for one in zip(*turns, strict=True)] == [
        list(trained.written("Row", 20, 1.5, seed)) for seed in (1, 2)
    ]


class Given:
    """A reader that always predicts the same."""

    def __init__(self, probabilities):
        self.outputs = np.log(np.array([probabilities]))

    def begin(self):
        pass

    def next(self, known):
        return self.outputs


def shares(probabilities, temperature, top=None, count=4000):
    with np.errstate(divide="ignore"):
        drawn = [one.number for (one,) in write(Given(probabilities), LOSS, [0], count, temperature, top, [(3,)])]
    return np.bincount(drawn, minlength=len(probabilities)) / count


@pytest.mark.parametrize("temperature", [0.04, 0.3, 1, 3, 100])
@pytest.mark.parametrize("top", [None, 2, 9])
def test_tokens_are_drawn_by_powers_of_their_probabilities(temperature, top):
    p = np.array([0.2, 0.5, 0.0, 0.25, 0.05])
    powers = np.array([x ** (1 / temperature) for x in p / 0.5])
    if top == 2:
        powers[[0, 2, 4]] = 0
    np.testing.assert_allclose(shares(p, temperature, top), powers / powers.sum(), atol=0.03)
    assert shares(p, temperature, top)[2] == 0
    assert shares(p, temperature, 1)[1] == shares(p, 0, top)[1] == 1


@pytest.mark.parametrize("temperature", [0, 0.01, 1])
def test_probabilities_that_are_not_finite_are_refused(trained, temperature):
    broken = replace(trained, parameters=np.full_like(trained.parameters, math.nan))
    with pytest.raises(DataError, match="probabilities are not finite, so no token can be drawn"):
        broken.generate("Row", 3, temperature)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"top_k": 0}, "top_k is 0; it takes at least 1 token"),
        ({"top_k": 1.5}, "top_k is 1.5"),
        ({"samples": 0}, "samples is 0; it takes at least 1 text"),
        ({"samples": 10**20}, "it takes at most 100,000 texts"),
        ({"length": -1}, "the length is -1; it takes at least 1 token"),
        ({"temperature": math.inf}, "temperature is inf; it must be a number from 0 to 100"),
    ],
)
def test_other_settings_are_refused_before_anything_is_written(trained, settings, problem):
    with pytest.raises(SettingError, match=problem):
        trained.written_together(**settings)
