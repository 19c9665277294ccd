"""When a memory is told to forget: stories of one room, hand-made."""

from functools import partial

import gymnasium
import numpy as np
import pytest

from agents.marks import REACH, marks, stillness
from oddoneout.actions import TRANSFORMS, Action
from oddoneout.demos.rollout import rollout
from oddoneout.expert import ExpertOptions, ExpertPolicy
from oddoneout.rules.trial import EXPLAIN_STEPS

FORWARD, CHOOSE, CHANGE, WAIT = (
    Action.FORWARD,
    Action.CHOOSE,
    Action.TRANSFORM_COLOR,
    Action.NOOP,
)


def told(*steps: tuple[Action, bool]) -> tuple[list[int], list[int]]:
    """Steps at which something was transformed, and a choice settled, given previous actions and
    whether the picture stood still."""
    actions, still = (np.array(column) for column in zip(*steps, strict=True))
    transformed, settled = marks(actions, still)
    return np.flatnonzero(transformed).tolist(), np.flatnonzero(settled).tolist()


def test_a_transform_counts_where_it_changed_the_picture():
    steps = [(WAIT, False), (CHANGE, False), (FORWARD, False), (CHANGE, True)]
    assert told(*steps) == ([1], [])


def test_a_choice_is_settled_once_the_room_has_stood_still_while_it_was_explained():
    explained = [(CHOOSE, True), (WAIT, True), (FORWARD, True)]
    assert told((WAIT, False), *explained, (WAIT, False)) == ([], [3])


def test_a_choice_of_nothing_settles_nothing():
    assert told((WAIT, False), (CHOOSE, True), (FORWARD, False), (FORWARD, True)) == ([], [])
    assert told((WAIT, False), (CHOOSE, True), (FORWARD, True), (FORWARD, False)) == ([], [])


def test_a_room_is_watched_for_as_long_as_an_outcome_is_explained():
    assert REACH == EXPLAIN_STEPS


@pytest.mark.parametrize("steps", [1, 2])
def test_so_few_steps_settle_nothing(steps):
    assert told(*[(CHOOSE, True)] * steps) == ([], [])


@pytest.mark.parametrize("dtype", [np.uint8, np.float16])
def test_a_picture_stands_still_when_it_is_the_one_before(dtype):
    images = np.zeros((4, 3, 2, 3), dtype)
    images[2:, 1, 1, 1] = 1
    assert stillness(images).tolist() == [False, True, False, True]
    assert stillness(images[:1]).tolist() == [False]


def test_in_an_experts_episodes_every_choice_is_settled_and_a_vain_one_hardly_ever():
    policy = ExpertPolicy(ExpertOptions(action_noise=0.1, vain_actions=0.1))
    make = partial(gymnasium.make, "OddOneOut/Intervention-v0")
    made, wrongly = 0, 0
    for episode in rollout(policy, make, range(8)):
        previous = np.concatenate(([WAIT], episode.seen.actions[:-1]))
        transformed, settled = marks(previous, stillness(episode.seen.images))
        real = {choice.step + 3 for choice in episode.choices} & set(range(len(episode)))
        found = set(np.flatnonzero(settled).tolist())
        assert real <= found
        made, wrongly = made + len(real), wrongly + len(found - real)
        assert set(previous[transformed].tolist()) <= set(TRANSFORMS)
    assert made >= 20
    assert wrongly <= 1, "noise may have had it stand still after a vain choice"
