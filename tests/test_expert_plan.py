"""Stories of the expert's beliefs, intents and ways, made by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest

from oddoneout.actions import Action
from oddoneout.expert.belief import Aim, Belief, update
from oddoneout.expert.options import ExpertOptions
from oddoneout.expert.plan import (
    Do,
    LookAt,
    Search,
    Wait,
    Wander,
    decide,
    least_length,
    nearest,
    way_length,
)
from oddoneout.expert.search import FLOOR, search_turn, unexplored
from oddoneout.expert.steer import Ground, stepped, sweep, to_look_at, turned, turns_to_look
from oddoneout.rules.attributes import Color, Dimension, Shape, Size, Texture
from oddoneout.rules.things import Thing
from oddoneout.rules.trial import Mode, Phase
from oddoneout.snapshot import ObjectView, Snapshot
from oddoneout.world.gaze import glance, sights
from oddoneout.world.geometry import AGENT_RADIUS, OBJECT_RADIUS
from oddoneout.world.layout import Pose

RED = Thing(Color.RED, Shape.CUBE, Texture.SOLID, Size.LARGE)
BLUE = RED.with_value(Dimension.COLOR, Color.BLUE)
CORNERS = ((0.6, 0.9), (0.6, -0.9), (-0.7, 0.8), (-0.7, -0.8))
START = Pose(-1.45, 0.0, 0.0)
LEFT, RIGHT = Action.TURN_LEFT, Action.TURN_RIGHT


def scene(
    agent: Pose = START,
    things: tuple[Thing, ...] = (RED,) * 4,
    positions: tuple[tuple[float, float], ...] = CORNERS,
    **changes: object,
) -> Snapshot:
    seen = sights(agent, positions)
    gaze, focus = glance(agent, positions)
    snapshot = Snapshot(
        agent=agent,
        objects=tuple(
            ObjectView(thing, x, y, sight.distance, sight.bearing, sight.visible)
            for thing, (x, y), sight in zip(things, positions, seen, strict=True)
        ),
        gaze=gaze,
        focus=focus,
        trial=0,
        trials=4,
        mode=Mode.MAKE,
        phase=Phase.SEARCH,
        transforms_left=1,
        step=0,
        test=False,
        dimension=Dimension.COLOR,
        known_dimension=None,
        last_reward=0.0,
    )
    return replace(snapshot, **changes)


def look(belief: Belief | None, snapshot: Snapshot, action: Action | None = None) -> Belief:
    return update(belief, snapshot, action, legible=9.0)


def informed(things: tuple[Thing, ...], **changes: object) -> Belief:
    """The belief of one who has read every object."""
    belief = look(None, scene(things=things, **changes))
    known = tuple(
        replace(belief_of, read=True)
        for belief_of in all_seen(belief, things).trial.known
        if belief_of is not None
    )
    return replace(belief, trial=replace(belief.trial, known=known))


def all_seen(belief: Belief, things: tuple[Thing, ...]) -> Belief:
    for turns in range(16):
        belief = look(belief, scene(turned(START, turns), things))
    assert len(belief.trial.seen) == 4
    return belief


def settled(belief: Belief, seed: int = 0) -> Aim:
    after, _ = decide(belief, ExpertOptions(), np.random.default_rng(seed))
    assert after.trial.aim is not None
    return after.trial.aim


# -- beliefs -------------------------------------------------------------------------------------


def test_only_what_is_in_view_becomes_known() -> None:
    snapshot = scene(turned(START, 2))
    belief = look(None, snapshot)
    assert belief.trial.seen == tuple(i for i, o in enumerate(snapshot.objects) if o.visible)
    assert 0 < len(belief.trial.seen) < 4


def test_far_objects_are_known_but_not_read() -> None:
    belief = update(None, scene(turned(START, 2)), None, legible=1.5)
    near, far = belief.trial.known[2], belief.trial.known[0]
    assert near is not None
    assert near.thing == RED
    assert far is not None
    assert far.thing is None
    assert not far.read


@pytest.mark.parametrize("left", [0, 1])
def test_who_starts_over_knows_after_a_transform_what_is_in_view_only(
    left: int,
) -> None:
    """Whether it did something, and used up the only one, or was in vain."""
    before, pose = informed((RED,) * 4), turned(START, 2)
    trial = replace(
        before.trial, bumps=((0.0, 0.5),), turning=1, aim=Aim(0, 0, Dimension.COLOR), again=True
    )
    before, now = replace(before, trial=trial), scene(pose, transforms_left=left)
    plain = update(before, now, Action.TRANSFORM_COLOR, 9.0)
    assert plain.trial.complete
    over = update(before, now, Action.TRANSFORM_COLOR, 9.0, start_over=True)
    assert over == replace(look(None, now), possible=before.possible)
    assert 0 < len(over.trial.seen) < 4
    assert update(before, now, LEFT, 9.0, start_over=True) == update(before, now, LEFT, 9.0)


def test_an_object_is_read_once_it_has_been_looked_at() -> None:
    pose = START
    belief = look(None, scene(pose))
    assert belief.trial.unread == belief.trial.seen
    turns = turns_to_look(pose, CORNERS, 2)
    assert turns is not None
    belief = look(belief, scene(turned(pose, turns)), LEFT)
    assert 2 not in belief.trial.unread
    belief = look(belief, scene(pose), RIGHT)
    assert 2 not in belief.trial.unread


def test_a_new_trial_begins_with_an_empty_mind_but_keeps_what_experiments_showed() -> None:
    belief = replace(look(None, scene()), possible=frozenset({Dimension.SHAPE}))
    belief = look(belief, scene(turned(START, 8), trial=1))
    assert belief.trial.index == 1
    assert belief.trial.seen == ()
    assert belief.possible == {Dimension.SHAPE}


@pytest.mark.parametrize(("reward", "left"), [(1.0, {"color"}), (0.0, {"shape", "texture"})])
def test_a_choice_rules_out_or_proves_what_the_chosen_was_odd_in(
    reward: float, left: set[str]
) -> None:
    belief = replace(informed((BLUE, RED, RED, RED)), focus=0)
    after = look(belief, scene(phase=Phase.EXPLAIN, last_reward=reward), Action.CHOOSE)
    assert {d.value for d in after.possible} == left


def test_choosing_what_is_not_odd_teaches_nothing() -> None:
    belief = replace(informed((RED,) * 4), focus=0)
    after = look(belief, scene(phase=Phase.EXPLAIN), Action.CHOOSE)
    assert after.possible == belief.possible


# -- intents -------------------------------------------------------------------------------------


def test_all_alike_one_is_transformed_and_chosen() -> None:
    aim = settled(informed((RED,) * 4))
    assert aim.subject == aim.target
    assert aim.dimension in (Dimension.COLOR, Dimension.SHAPE, Dimension.TEXTURE)


def test_in_pairs_one_is_transformed_and_its_partner_chosen() -> None:
    things = (RED, BLUE, BLUE, RED)
    belief = replace(informed(things), possible=frozenset({Dimension.COLOR}))
    aim = settled(belief)
    assert aim.dimension is Dimension.COLOR
    assert aim.subject is not None
    assert {aim.subject, aim.target} in ({0, 3}, {1, 2})


def test_pairs_in_another_dimension_do_not_matter() -> None:
    belief = replace(informed((RED, BLUE, BLUE, RED)), possible=frozenset({Dimension.SHAPE}))
    aim = settled(belief)
    assert aim.subject == aim.target


def test_an_experiment_is_carried_out_step_by_step() -> None:
    belief = replace(
        informed((RED, BLUE, BLUE, RED)),
        trial=replace(informed((RED, BLUE, BLUE, RED)).trial, aim=Aim(3, 0, Dimension.COLOR)),
    )
    rng = np.random.default_rng(0)
    intents = [
        decide(replace(belief, **changes), ExpertOptions(), rng)[1]
        for changes in (
            {"focus": None},
            {"focus": 3},
            {"focus": 0},
            {"focus": 0, "transforms_left": 0},
            {"focus": 3, "transforms_left": 0},
            {"focus": 3, "transforms_left": 0, "phase": Phase.EXPLAIN},
        )
    ]
    goals = [intent.index if isinstance(intent, LookAt) else intent for intent in intents]
    assert goals == [0, 0, Do(Action.TRANSFORM_COLOR), 3, Do(Action.CHOOSE), Wait()]


def test_the_test_trial_is_solved_in_the_dimension_that_experiments_left() -> None:
    things = (
        BLUE,
        RED.with_value(Dimension.SHAPE, Shape.BALL),
        RED.with_value(Dimension.TEXTURE, Texture.DOTTED),
        RED,
    )
    for index, dimension in enumerate((Dimension.COLOR, Dimension.SHAPE, Dimension.TEXTURE)):
        belief = informed(things, mode=Mode.FIND, transforms_left=0)
        belief = replace(belief, possible=frozenset({dimension}))
        assert settled(belief) == Aim(index)


def test_where_the_level_tells_the_dimension_it_is_used() -> None:
    small = RED.with_value(Dimension.SIZE, Size.SMALL)
    belief = informed((RED, RED, small, RED), mode=Mode.FIND, known_dimension=Dimension.SIZE)
    assert settled(replace(belief, told=Dimension.SIZE)) == Aim(2)


def test_with_nothing_in_sight_it_turns_to_one_side_then_to_the_other_and_then_wanders() -> None:
    rng = np.random.default_rng(0)
    belief, action, pose, turns = None, None, START, []
    for _ in range(30):
        dark = scene(pose)
        unseen = tuple(replace(view, visible=False) for view in dark.objects)
        dark = replace(dark, objects=unseen, gaze=None, focus=None)
        belief, intent = decide(look(belief, dark, action), ExpertOptions(), rng)
        if intent == Wander():
            break
        assert isinstance(intent, Do)
        action = intent.action
        turns.append(action)
        pose = turned(pose, 1 if action is LEFT else -1)
    assert belief is not None
    assert intent == Wander()
    assert set(turns) == {LEFT, RIGHT}
    assert turns == sorted(turns), "left, until the wall says that there is no more, then right"


# -- ways ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("turns", "turning", "first"),
    [
        ([2], 0, LEFT),
        ([-1], 1, RIGHT),
        ([1, -3], 0, LEFT),  # to the nearer end first, then across
        ([3, -1], 0, RIGHT),
        ([2, -2], 0, LEFT),
        ([2, -2], -1, RIGHT),  # a tie goes on the way it goes
        ([7, -7], 1, LEFT),  # round rather than back
    ],
)
def test_a_sweep_starts_at_its_nearer_end(turns: list[int], turning: int, first: Action) -> None:
    assert sweep(turns, turning) is first


def walk(pose: Pose, actions: tuple[Action, ...]) -> list[Pose]:
    poses = [pose]
    for action in actions:
        moves = {LEFT: turned(pose, 1), RIGHT: turned(pose, -1), Action.FORWARD: stepped(pose)}
        poses.append(pose := moves[action])
    return poses


def test_a_way_turns_first_and_then_walks_straight() -> None:
    target = ((0.5, 0.9),)
    way = to_look_at(START, target, 0, 1.2, Ground(target))
    assert way is not None
    turns = [action for action in way if action is not Action.FORWARD]
    assert list(way[: len(turns)]) == turns
    assert set(turns) == {LEFT}


def test_a_way_leads_around_what_stands_in_it() -> None:
    objects = ((0.9, 0.0), (-0.5, 0.02))
    way = to_look_at(START, objects, 0, 1.0, Ground(objects))
    assert way is not None
    poses = walk(START, way)
    assert glance(poses[-1], objects)[0] == 0
    assert math.dist((poses[-1].x, poses[-1].y), objects[0]) <= 1.0
    gaps = [math.dist((pose.x, pose.y), objects[1]) for pose in poses]
    assert min(gaps) >= OBJECT_RADIUS + AGENT_RADIUS


def test_a_step_that_failed_is_not_tried_again() -> None:
    target = ((1.0, 0.0),)
    ahead = stepped(START)
    way = to_look_at(START, target, 0, 1.2, Ground(target, bumps=((ahead.x, ahead.y),)))
    assert way is not None
    assert way[0] is not Action.FORWARD


def test_a_blocked_step_is_remembered() -> None:
    belief = look(look(None, scene()), scene(), Action.FORWARD)
    ahead = stepped(START)
    assert belief.trial.bumps == ((ahead.x, ahead.y),)


def test_the_search_goes_on_one_way_while_there_is_something_left_to_see() -> None:
    spots = unexplored(FLOOR, Pose(0.0, 0.0, 0.0), ())
    assert 0 < len(spots) < len(FLOOR)
    assert search_turn(spots, Pose(0.0, 0.0, 0.0), (), turning=-1) is RIGHT
    pose = Pose(0.0, 0.0, 0.0)
    for _ in range(16):
        turn = search_turn(spots, pose, (), turning=1)
        if turn is None:
            break
        assert turn is LEFT
        pose = turned(pose, 1)
        spots = unexplored(spots, pose, ())
    assert spots == ()


@pytest.mark.parametrize("seed", range(6))
def test_the_nearest_is_found_without_trying_every_way(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y, heading = rng.uniform(-1.5, 1.5, 2).tolist() + rng.uniform(-math.pi, math.pi, 1).tolist()
    belief = replace(informed((RED,) * 4), agent=Pose(x, y, heading))
    looks = [LookAt(i, 1.2) for i in range(4)]
    searches = [Search(spot) for spot in FLOOR[::13]]
    for intents in (looks, searches):
        lengths = [way_length(belief, intent) for intent in intents]
        bounds = [least_length(belief, intent) for intent in intents]
        assert all(bound <= length for bound, length in zip(bounds, lengths, strict=True))
        assert nearest(belief, intents) == intents[lengths.index(min(lengths))]
