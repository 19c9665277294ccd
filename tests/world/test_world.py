"""The world: exact steps, sliding contact, no leaks of state from one trial to the next."""

import itertools
import math

import numpy as np
import pytest

from oddoneout.actions import Action
from oddoneout.rules.attributes import Color, Dimension, Shape, Size, Texture
from oddoneout.rules.things import Thing
from oddoneout.world.camera import Camera
from oddoneout.world.geometry import (
    AGENT_RADIUS,
    OBJECT_RADIUS,
    ROOM_HALF,
    STEP_LENGTH,
    TURN_ANGLE,
)
from oddoneout.world.layout import sample_layout
from oddoneout.world.world import World
from tests.world.examples import CORNERS, FOUR, random_thing, room, watching

CONTACT = AGENT_RADIUS + OBJECT_RADIUS


@pytest.fixture(scope="module")
def world():
    made = World((32, 32))
    yield made
    made.close()


def clearance(world: World) -> float:
    """The least gap between the agent and anything solid, metres; negative inside."""
    pose = world.pose
    gaps = [math.hypot(pose.x - x, pose.y - y) - CONTACT for x, y in world.positions]
    gaps += [ROOM_HALF - abs(pose.x) - AGENT_RADIUS, ROOM_HALF - abs(pose.y) - AGENT_RADIUS]
    return min(gaps)


@pytest.mark.parametrize("heading", [0.0, 0.7, -2.5, math.pi])
@pytest.mark.parametrize(("action", "sign"), [(Action.FORWARD, 1), (Action.BACKWARD, -1)])
def test_a_free_step_is_exactly_one_step_long(world, heading, action, sign):
    world.place(FOUR, room(heading=heading))
    world.move(action)
    pose = world.pose
    assert pose.x == pytest.approx(sign * STEP_LENGTH * math.cos(heading), abs=1e-9)
    assert pose.y == pytest.approx(sign * STEP_LENGTH * math.sin(heading), abs=1e-9)
    assert math.remainder(pose.heading - heading, math.tau) == pytest.approx(0.0, abs=1e-9)


def test_sixteen_turns_give_back_the_heading(world):
    for action, sign in ((Action.TURN_LEFT, 1), (Action.TURN_RIGHT, -1)):
        world.place(FOUR, room(heading=0.3))
        world.move(action)
        assert world.pose.heading == pytest.approx(0.3 + sign * TURN_ANGLE, abs=1e-9)
        for _ in range(15):
            world.move(action)
        assert world.pose.heading == pytest.approx(0.3, abs=1e-9)
        assert (world.pose.x, world.pose.y) == (0.0, 0.0)


def test_actions_that_are_no_movement_stand_still(world):
    world.place(FOUR, watching())
    world.move(Action.FORWARD)
    pose = world.pose
    moving = (Action.FORWARD, Action.BACKWARD, Action.TURN_LEFT, Action.TURN_RIGHT)
    for action in set(Action) - set(moving):
        world.move(action)
        assert world.pose == pose


def test_no_velocity_is_left_over_between_steps(world):
    world.place(FOUR, room())
    for action in (Action.FORWARD, Action.TURN_LEFT, Action.BACKWARD, Action.TURN_RIGHT):
        world.move(action)
        assert not world._qvel.any(), action


def test_the_agent_stops_at_a_wall(world):
    world.place(FOUR, room())
    for _ in range(10):
        world.move(Action.FORWARD)
    assert world.pose.x == pytest.approx(ROOM_HALF - AGENT_RADIUS, abs=0.01)
    assert world.pose.y == pytest.approx(0.0, abs=1e-6)


def test_the_agent_slides_along_a_wall(world):
    world.place(FOUR, room(x=ROOM_HALF - AGENT_RADIUS - 0.02, y=-0.3, heading=math.radians(60)))
    world.move(Action.FORWARD)
    assert world.pose.y == pytest.approx(-0.3 + STEP_LENGTH * math.sin(math.radians(60)), abs=0.02)
    assert clearance(world) > -0.01


def test_the_agent_stops_at_an_object_met_head_on(world):
    x, y, _ = CORNERS[0]
    world.place(FOUR, room(heading=math.atan2(y, x)))
    for _ in range(8):
        world.move(Action.FORWARD)
    gap = math.hypot(world.pose.x - x, world.pose.y - y)
    assert gap == pytest.approx(CONTACT, abs=0.02)


def test_the_agent_slides_past_an_object_met_off_centre(world):
    x, y, _ = CORNERS[0]
    world.place(FOUR, room(x=x - 1.2, y=y - 0.35, heading=0.0))
    for _ in range(8):
        world.move(Action.FORWARD)
    assert world.pose.x > x


def test_no_walk_ends_inside_anything_or_jumps(world):
    rng = np.random.default_rng(11)
    moves = [Action.FORWARD, Action.FORWARD, Action.BACKWARD, Action.TURN_LEFT, Action.TURN_RIGHT]
    for _ in range(40):
        world.place(FOUR, sample_layout(rng))
        for _ in range(50):
            before = world.pose
            world.move(moves[rng.integers(len(moves))])
            after = world.pose
            assert clearance(world) > -0.03
            assert math.hypot(after.x - before.x, after.y - before.y) < 1.1 * STEP_LENGTH


def test_the_same_calls_give_the_same_bytes_whatever_came_before():
    rng = np.random.default_rng(5)
    fresh, used = World((32, 32)), World((32, 32))
    for _ in range(3):
        used.place([random_thing(rng) for _ in range(4)], sample_layout(rng))
        for action in (Action.FORWARD, Action.FORWARD, Action.TURN_LEFT, Action.FORWARD):
            used.move(action)
            used.image()
    used.present(48, 64)
    layout, things = sample_layout(rng), [random_thing(rng) for _ in range(4)]
    actions = [Action(n) for n in rng.integers(1, 5, size=40)]
    for world in (fresh, used):
        world.place(things, layout)
    for action in actions:
        np.testing.assert_array_equal(fresh.image(), used.image())
        fresh.move(action)
        used.move(action)
        assert fresh.pose == used.pose
    fresh.close()
    used.close()


def test_physics_does_not_depend_on_looks():
    rng = np.random.default_rng(6)
    layout = sample_layout(rng)
    actions = [Action(n) for n in rng.integers(1, 5, size=60)]
    walks = []
    for shape, size in itertools.product((Shape.CUBE, Shape.TABLE), (Size.SMALL, Size.LARGE)):
        world = World((32, 32))
        world.place([Thing(Color.RED, shape, Texture.SOLID, size)] * 4, layout)
        walk = []
        for action in actions:
            world.move(action)
            walk.append(world.pose)
        walks.append(walk)
    assert all(walk == walks[0] for walk in walks)


def test_repainting_changes_the_view_and_moves_nothing(world):
    world.place(FOUR, watching())
    pose, before = world.pose, world.image()
    world.repaint(0, FOUR[0].with_value(Dimension.COLOR, Color.CYAN))
    after = world.image()
    assert world.pose == pose
    assert (before != after).any()
    world.repaint(0, FOUR[0])
    np.testing.assert_array_equal(world.image(), before)


def test_repainting_equals_placing(world):
    things = [FOUR[3], *FOUR[1:]]
    world.place(things, watching())
    placed = world.image()
    world.place(FOUR, watching())
    world.repaint(0, things[0])
    np.testing.assert_array_equal(world.image(), placed)


def test_poses_and_positions_are_plain_numbers_as_placed(world):
    layout = watching()
    world.place(FOUR, layout)
    assert world.pose == layout.agent
    assert world.positions == tuple((x, y) for x, y, _ in layout.objects)
    assert all(type(number) is float for number in (world.pose.x, world.pose.heading))


def test_the_wall_faced_is_named(world):
    world.place(FOUR, room(heading=math.pi / 2))
    assert world.wall_faced() == "north"


@pytest.mark.parametrize("count", [0, 3, 5])
def test_any_number_of_objects_but_four_is_refused(world, count):
    with pytest.raises(ValueError, match="4 objects"):
        world.place((FOUR * 2)[:count], room())


def test_worlds_side_by_side_do_not_disturb_each_other():
    worlds = [World((24, 40)), World((24, 40)), World((50, 30))]
    alone = World((24, 40))
    layout = watching()
    worlds[0].place(FOUR, layout)
    worlds[1].place(FOUR[::-1], layout)
    worlds[2].place(FOUR, room())
    alone.place(FOUR, layout)
    for _ in range(5):
        pictures = [world.image() for world in worlds]
        np.testing.assert_array_equal(pictures[0], alone.image())
        assert (pictures[0] != pictures[1]).any()
        for world in (*worlds, alone):
            world.move(Action.FORWARD)
    for world in (*worlds, alone):
        world.close()


def test_a_room_in_which_nothing_changed_is_not_drawn_again(monkeypatch):
    world, rng = World((64, 64)), np.random.default_rng(5)
    things = [random_thing(rng) for _ in range(4)]
    world.place(things, sample_layout(rng))
    drawn, draw = [], Camera.image
    monkeypatch.setattr(Camera, "image", lambda *args: drawn.append(1) or draw(*args))
    first = world.image()
    world.move(Action.NOOP)
    again = world.image()
    assert len(drawn) == 1
    np.testing.assert_array_equal(first, again)
    first[:] = 0  # what was handed out is the caller's
    np.testing.assert_array_equal(world.image(), again)
    for number, change in enumerate(
        (
            lambda: world.move(Action.TURN_LEFT),
            lambda: world.move(Action.FORWARD),
            lambda: world.repaint(0, random_thing(rng)),
            lambda: world.place(things, sample_layout(rng)),
        ),
        start=2,
    ):
        change()
        world.image()
        assert len(drawn) == number
