"""The model of training on several ranks: its limits, and the formulas it is from."""

import json
import math
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.model import (
    ALGORITHMS,
    Link,
    Node,
    Work,
    agreement,
    dense,
    in_order,
    least_samples,
    least_weights,
    rabenseifner,
    recursive_doubling,
    step_seconds,
    strong,
    sum_seconds,
    weak,
)

WORK = Work([1, 8, 64], [1e-4, 2e-4, 1e-3], [(4000.0, 1.0), (400000.0, 3.0)])
NOTHING = Link(0.0, math.inf)
LINKS = st.builds(Link, st.floats(1e-7, 1e-3), st.floats(1e7, 1e11), st.floats(0, 1e-9))
COUNTS = st.sampled_from([1, 2, 3, 4, 7, 8, 64, 4096])


def test_messages_take_what_the_formulas_of_thakur_and_others_say():
    link, n = Link(2e-6, 1e9, 1e-10), 1e6
    assert recursive_doubling(n, 8, link) == pytest.approx(3 * (2e-6 + 1e-3 + 1e-4))
    assert rabenseifner(n, 8, link) == pytest.approx(6 * 2e-6 + 2 * 7 / 8 * 1e-3 + 7 / 8 * 1e-4)
    assert in_order(n, 8, link) == pytest.approx(14 * 2e-6 + 2 * 7 / 8 * 1e-3 + 7 / 8 * 1e-4)


@given(count=st.floats(1, 1e9), ranks=COUNTS, link=LINKS)
def test_the_fastest_algorithm_is_none_but_the_fastest(count, ranks, link):
    each = [sum_seconds(count, ranks, link, algorithm) for algorithm in ALGORITHMS]
    assert sum_seconds(count, ranks, link, "fastest") == min(each)
    assert (min(each) == 0) == (ranks == 1)


@given(samples=st.integers(1, 1000), ranks=COUNTS, overlap=st.booleans())
def test_with_an_infinitely_fast_link_only_computing_takes_time(samples, ranks, overlap):
    assert step_seconds(WORK, samples, ranks, NOTHING, overlap=overlap) == pytest.approx(WORK.step(samples))
    assert weak(WORK, samples, ranks, NOTHING) == pytest.approx(1)


@given(samples=st.integers(1, 1000), link=LINKS)
def test_one_rank_sends_nothing(samples, link):
    assert step_seconds(WORK, samples, 1, link) == WORK.step(samples)


@given(samples=st.integers(1, 1000), ranks=COUNTS, link=LINKS)
def test_overlap_saves_at_most_the_backward_pass(samples, ranks, link):
    hidden, shown = (step_seconds(WORK, samples, ranks, link, overlap=overlap) for overlap in (True, False))
    assert hidden <= shown * (1 + 1e-12)
    assert shown - hidden <= WORK.step(samples) * 2 / 3 + 1e-12
    sums = sum(sum_seconds(count, ranks, link) for count, _ in WORK.parts)
    few = agreement(ranks, link) if ranks > 1 else 0.0
    assert shown == pytest.approx(WORK.step(samples) + sums + few)


def test_only_the_last_part_of_the_gradient_is_waited_for_if_the_others_are_summed_in_time():
    work = Work([8], [1.0], [(1e6, 1.0), (1e6, 1.0)])
    link = Link(0.0, 1e9)
    assert step_seconds(work, 8, 2, link, algorithm="halving") == pytest.approx(1.0 + 1e-3)
    # In order the first half of the last sum is, and the second half of all.
    assert step_seconds(work, 8, 2, link) == pytest.approx(1.0 + 0.5e-3 + 2 * 0.5e-3)


def test_ranks_that_share_memory_meet_and_read():
    link = Link(1e-6, 1e10, 1e-10, is_memory=True)
    small, large = Work([8], [1.0], [(4e3, 1.0)]), Work([8], [1.0], [(4e6, 1.0)])
    assert step_seconds(small, 8, 4, link) - 1 == pytest.approx(1e-6 + 3 * 4e3 * 1e-10)
    assert step_seconds(large, 8, 4, link) - 1 == pytest.approx(2e-6 + 0.75 * 4e6 * 1e-10 + 4e6 / 1e10)


def test_ranks_that_share_cores_take_turns():
    node = Node(cores=2, ranks=4, switch=0.01)
    memory = Link(0.0, math.inf, is_memory=True)
    assert step_seconds(WORK, 8, 4, NOTHING, node) == pytest.approx(2 * WORK.step(8))
    assert step_seconds(WORK, 8, 4, memory, node) == pytest.approx(2 * WORK.step(8) + 2 * 2 * 0.01)
    assert step_seconds(WORK, 8, 2, NOTHING, Node(2, 2, 0.01)) == pytest.approx(WORK.step(8))


def test_a_step_is_on_the_line_between_measured_ones():
    assert WORK.step(1) == 1e-4
    assert WORK.step(0.5) == 1e-4
    assert WORK.step(4.5) == pytest.approx(1.5e-4)
    assert WORK.step(128) == pytest.approx(2e-3)


@given(link=LINKS)
def test_more_samples_on_each_rank_are_more_efficient(link):
    shares = [weak(WORK, 64 * 2**k, 16, link) for k in range(6)]
    assert all(a <= b * (1 + 1e-9) for a, b in pairwise(shares))


def test_where_ranks_begin_to_pay():
    fast, slow = Link(1e-6, 1e11), Link(1e-4, 1e8)
    assert least_samples(WORK, 2, NOTHING, 0.8) == 1
    few, many = (least_samples(WORK, 16, link, 0.8) for link in (fast, slow))
    assert few < many
    assert weak(WORK, many, 16, slow) >= 0.8 > weak(WORK, many // 2, 16, slow)
    assert least_samples(WORK, 16, Link(1.0, 1.0), 0.99, most=2) is None
    small = least_weights(128, 16, fast, 0.8, 1e11, 1e-10, 1e-6)
    assert small < least_weights(128, 16, Link(1e-4, 1e11), 0.8, 1e11, 1e-10, 1e-6)
    assert least_weights(1, 4096, slow, 0.8, 1e12, 1e-12, 1e-6) is None


def test_a_divided_mini_batch_is_at_most_as_many_times_faster():
    assert strong(WORK, 64, 8, NOTHING) == pytest.approx(1e-3 / 2e-4)
    assert strong(WORK, 64, 8, Link(1e-3, 1e9)) < 1


def test_the_work_of_a_dense_network_grows_with_its_weights():
    work = dense(128, 1e10, 1e-9, 1e-6, [1, 64])
    assert work.bytes == 4 * (785 * 128 + 129 * 128 + 129 * 10)
    assert work.step(64) > work.step(1) > 1e-6


def test_the_measured_inputs_in_the_docs_are_what_the_model_takes():
    inputs = json.loads((Path(__file__).parents[1] / "docs" / "scaling.json").read_text())
    for work in inputs["work"].values():
        assert list(work["samples"]) == sorted(work["samples"])
        assert Work(**work).step(1) > 0
    assert Link(**inputs["link"]).bandwidth > 1e8
