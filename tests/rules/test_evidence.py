"""What choices rule out."""

import pytest

from oddoneout.rules.attributes import CORE_DIMENSIONS, Dimension
from oddoneout.rules.evidence import UNTRIED, still_possible

COLOR, SHAPE, TEXTURE = CORE_DIMENSIONS


@pytest.mark.parametrize("dimension", CORE_DIMENSIONS)
def test_a_reward_leaves_what_the_object_was_odd_in(dimension: Dimension) -> None:
    assert still_possible(UNTRIED, (dimension,), rewarded=True) == {dimension}


def test_two_failures_leave_the_third() -> None:
    left = still_possible(UNTRIED, (COLOR,), rewarded=False)
    assert left == {SHAPE, TEXTURE}
    assert still_possible(left, (TEXTURE,), rewarded=False) == {SHAPE}


def test_an_object_that_was_not_odd_tells_nothing() -> None:
    assert still_possible(UNTRIED, (), rewarded=False) == UNTRIED


def test_names_will_do_for_dimensions() -> None:
    assert still_possible(UNTRIED, ("color", "shape"), rewarded=True) == {COLOR, SHAPE}


def test_what_was_ruled_out_stays_so() -> None:
    assert still_possible(frozenset({SHAPE}), (COLOR, SHAPE), rewarded=True) == {SHAPE}
