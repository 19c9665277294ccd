"""When a memory is told to forget: stories of one room, hand-made."""

from functools import partial

import gymnasium
import numpy as np
import pytest

from agents.marks import EXPLAINED, SEARCHED, marks, stillness
from oddoneout.actions import TRANSFORMS, Action
from oddoneout.demos.rollout import Decision, rollout
from oddoneout.expert import ExpertOptions, ExpertPolicy
from oddoneout.rules.trial import EXPLAIN_STEPS, TRIAL_STEPS

FORWARD, CHOOSE, CHANGE, WAIT = (
    Action.FORWARD,
    Action.CHOOSE,
    Action.TRANSFORM_COLOR,
    Action.NOOP,
)


ON = (FORWARD, False)
OUTCOME = [(CHOOSE, True), (WAIT, True), (WAIT, True)]


def told(*steps: tuple[Action, bool]) -> tuple[list[int], list[int]]:
    """Steps at which something was transformed, and a choice settled, given previous actions and
    whether the picture stood still."""
    actions, still = (np.array(column) for column in zip(*steps, strict=True))
    found = marks(actions, still)
    return np.flatnonzero(found.transformed).tolist(), np.flatnonzero(found.settled).tolist()


def test_a_transform_counts_where_it_changed_the_picture():
    steps = [(WAIT, False), (CHANGE, False), (FORWARD, False), (CHANGE, True)]
    assert told(*steps) == ([1], [])


def test_a_room_is_changed_from_a_transform_until_it_is_settled():
    changing = [ON, (CHANGE, True), (CHANGE, False), ON, *OUTCOME, ON, (CHANGE, False), ON]
    actions, still = (np.array(column) for column in zip(*changing, strict=True))
    found = marks(actions, still)
    assert np.flatnonzero(found.changed).tolist() == [2, 3, 4, 5, 6, 8, 9]
    assert np.flatnonzero(found.settled).tolist() == [6]


def test_a_choice_is_settled_once_the_room_has_stood_still_while_it_was_explained():
    explained = [(CHOOSE, True), (WAIT, True), (FORWARD, True)]
    assert told((WAIT, False), *explained, (WAIT, False)) == ([], [3])


def test_a_choice_of_nothing_settles_nothing():
    assert told((WAIT, False), (CHOOSE, True), (FORWARD, False), (FORWARD, True)) == ([], [])
    assert told((WAIT, False), (CHOOSE, True), (FORWARD, True), (FORWARD, False)) == ([], [])


def test_the_numbers_are_those_of_the_rules():
    assert (EXPLAINED, SEARCHED) == (EXPLAIN_STEPS, TRIAL_STEPS)


def test_a_search_whose_time_runs_out_ends_its_room():
    # The first step of the room, and that of the next one, which 100 actions later shows.
    assert told(*[ON] * 100) == ([], [])
    assert told(*[ON] * 101) == ([], [100])
    assert told(*[ON] * 401) == ([], [100, 200, 300, 400])


@pytest.mark.parametrize("searched", [96, 97, 98, 99])
def test_a_choice_at_the_last_moment_is_settled_by_its_explanation(searched):
    steps = [ON] * (1 + searched) + OUTCOME
    assert told(*steps) == ([], [searched + 3])
    # The next room has all its time again.
    assert told(*steps, *[ON] * 100) == ([], [searched + 3])
    assert told(*steps, *[ON] * 101) == ([], [searched + 3, searched + 104])


def test_a_vain_choice_at_the_last_moment_ends_the_room_too():
    assert told(*[ON] * 100, (CHOOSE, False), *[ON] * 5) == ([], [100])


class Idler:
    """Turns round and round."""

    def begin(self, slot, seed):
        pass

    def decide(self, moments):
        return [Decision(action=Action.TURN_LEFT) for _ in moments]


def test_in_rooms_where_nothing_was_chosen_the_watch_keeps_time_with_the_environment():
    (episode,) = rollout(Idler(), partial(gymnasium.make, "OddOneOut/Intervention-v0"), [0])
    previous = np.concatenate(([WAIT], episode.seen.actions[:-1]))
    settled = marks(previous, stillness(episode.seen.images)).settled
    begun = np.flatnonzero(np.diff(episode.told.trials)) + 1
    assert np.flatnonzero(settled).tolist() == begun.tolist() == [100, 200, 300]


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
        transformed, _, settled = marks(previous, stillness(episode.seen.images))
        real = {choice.step + 3 for choice in episode.choices} & set(range(len(episode)))
        found = set(np.flatnonzero(settled).tolist())
        assert real <= found
        made, wrongly = made + len(real), wrongly + len(found - real)
        assert set(previous[transformed].tolist()) <= set(TRANSFORMS)
    assert made >= 20
    assert wrongly <= 1, "noise may have had it stand still after a vain choice"
