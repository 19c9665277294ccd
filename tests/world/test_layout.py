"""Layouts: valid, drawn alike for every slot, and a function of the generator alone."""

import itertools
import math

import numpy as np
import pytest

from oddoneout.world import layout
from oddoneout.world.geometry import (
    AGENT_RADIUS,
    OBJECT_COUNT,
    OBJECT_RADIUS,
    OBJECT_SPACING,
    ROOM_HALF,
    START_CLEARANCE,
    START_FROM_WALL,
    START_JITTER,
    WALL_CLEARANCE,
)
from oddoneout.world.layout import Layout, sample_layout

TOLERANCE = 1e-9


@pytest.fixture(scope="module")
def layouts() -> list[Layout]:
    rng = np.random.default_rng(7)
    return [sample_layout(rng) for _ in range(4000)]


def test_objects_keep_their_distance_from_each_other_and_from_the_walls(layouts):
    for drawn in layouts:
        assert len(drawn.objects) == OBJECT_COUNT
        for (x, y, _), (u, v, _) in itertools.combinations(drawn.objects, 2):
            assert math.hypot(x - u, y - v) >= OBJECT_SPACING - TOLERANCE
        for x, y, _ in drawn.objects:
            assert max(abs(x), abs(y)) <= ROOM_HALF - WALL_CLEARANCE + TOLERANCE


def test_the_agent_starts_at_a_wall_facing_inwards_with_room_to_move(layouts):
    clear = AGENT_RADIUS + OBJECT_RADIUS + START_CLEARANCE
    for drawn in layouts:
        agent = drawn.agent
        assert max(abs(agent.x), abs(agent.y)) == pytest.approx(ROOM_HALF - START_FROM_WALL)
        assert -math.pi <= agent.heading <= math.pi
        ahead = np.array([math.cos(agent.heading), math.sin(agent.heading)])
        inwards = [math.copysign(1, -agent.x), 0], [0, math.copysign(1, -agent.y)]
        wall = 0 if abs(agent.x) > abs(agent.y) else 1
        assert ahead @ inwards[wall] >= math.cos(START_JITTER) - TOLERANCE
        for x, y, _ in drawn.objects:
            assert math.hypot(x - agent.x, y - agent.y) >= clear - TOLERANCE


def test_every_slot_has_the_same_law_of_places(layouts):
    objects = np.array([drawn.objects for drawn in layouts])  # (N, slot, x y yaw)
    starts = np.array([(drawn.agent.x, drawn.agent.y) for drawn in layouts])
    distance = np.linalg.norm(objects[:, :, :2] - starts[:, None], axis=-1)
    bearing = np.array([drawn.agent.heading for drawn in layouts])[:, None]
    angle = np.arctan2(*np.moveaxis(objects[:, :, :2] - starts[:, None], -1, 0)[::-1]) - bearing
    nearest = np.eye(OBJECT_COUNT)[distance.argmin(1)]
    features = {
        "x": objects[..., 0],
        "y": objects[..., 1],
        "yaw": objects[..., 2],
        "eccentricity": (objects[..., :2] ** 2).sum(-1),
        "distance": distance,
        "left of the view": np.sin(angle),
        "nearest": nearest,
    }
    for name, values in features.items():
        error = values.std() / math.sqrt(len(layouts))
        deviation = np.abs(values.mean(0) - values.mean()).max()
        assert deviation < 4 * error, f"{name} differs between slots"


def test_all_four_walls_serve_as_starts_equally(layouts):
    along = np.array([(drawn.agent.x, drawn.agent.y) for drawn in layouts])
    side = ROOM_HALF - START_FROM_WALL - TOLERANCE
    counts = [(along[:, 0] > side).sum(), (along[:, 0] < -side).sum()]
    counts += [(along[:, 1] > side).sum(), (along[:, 1] < -side).sum()]
    assert sum(counts) == len(layouts)
    assert np.ptp(counts) < 0.15 * len(layouts) / 4


def test_the_same_generator_state_gives_the_same_layout():
    assert sample_layout(np.random.default_rng(3)) == sample_layout(np.random.default_rng(3))
    assert sample_layout(np.random.default_rng(3)) != sample_layout(np.random.default_rng(4))


def test_a_room_too_small_is_refused_and_says_where_to_look(monkeypatch):
    monkeypatch.setattr(layout, "OBJECT_SPACING", 2 * ROOM_HALF)
    with pytest.raises(RuntimeError, match=r"geometry\.py"):
        sample_layout(np.random.default_rng(0))
