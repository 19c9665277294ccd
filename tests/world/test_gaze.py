"""Gaze: what is in view, what is looked at, what is in focus."""

import math

import numpy as np
import pytest

from oddoneout.world.gaze import framed, glance, sights, wall_faced
from oddoneout.world.geometry import FIELD_OF_VIEW, GAZE_CONE, REACH
from oddoneout.world.layout import Pose

HOME = Pose(0.0, 0.0, 0.0)


def at(distance: float, bearing: float) -> tuple[float, float]:
    return distance * math.cos(bearing), distance * math.sin(bearing)


def test_distance_and_bearing_are_seen_from_the_agents_pose():
    (sight,) = sights(Pose(1.0, 2.0, math.pi / 2), [(0.0, 2.0)])
    assert sight.distance == pytest.approx(1.0)
    assert sight.bearing == pytest.approx(math.pi / 2)  # to the left


@pytest.mark.parametrize("heading", [-math.pi, -2.0, 0.3, math.pi, 9.0])
def test_bearings_never_leave_the_half_turns(heading):
    positions = [at(1.5, k * 0.7) for k in range(9)]
    assert all(abs(sight.bearing) <= math.pi for sight in sights(Pose(0, 0, heading), positions))


def test_an_object_is_visible_while_its_centre_is_in_the_field_of_view():
    edge = FIELD_OF_VIEW / 2
    inside, outside, behind = sights(HOME, [at(2, edge - 0.01), at(2, -edge - 0.01), at(2, 3.0)])
    assert inside.visible
    assert not outside.visible
    assert not behind.visible


def test_an_object_right_behind_another_is_hidden_unless_it_is_seen_over_the_top():
    near, far = sights(HOME, [at(1.9, 0.0), at(3.1, 0.0)])
    assert near.visible
    assert not far.visible
    near, far = sights(HOME, [at(0.7, 0.0), at(1.9, 0.0)])
    assert near.visible
    assert far.visible  # from close by, the eye looks over the nearer one


def test_an_object_half_beside_a_nearer_one_is_visible():
    _, far = sights(HOME, [at(1.9, 0.0), at(3.1, 0.25)])
    assert far.visible


def test_sights_do_not_depend_on_the_order_of_objects():
    positions = [at(1.0, 0.1), at(2.2, 0.05), at(2.0, -0.5), at(3.0, 0.6)]
    forwards = sights(HOME, positions)
    backwards = sights(HOME, positions[::-1])
    assert forwards == backwards[::-1]


def test_the_object_looked_at_is_the_visible_one_nearest_to_the_views_centre():
    assert glance(HOME, [at(1.0, 0.24), at(3.0, -0.2)]) == (1, None)
    behind = [at(1.0, 0.2), at(1.3, 0.01)]  # the second one, mostly
    assert glance(HOME, behind) == (0, 0)


@pytest.mark.parametrize(("aside", "looked"), [(-0.01, 0), (0.01, None)])
def test_nothing_outside_the_cone_is_looked_at(aside, looked):
    assert glance(HOME, [at(1.0, GAZE_CONE + aside)]) == (looked, looked)
    assert glance(HOME, []) == (None, None)


@pytest.mark.parametrize(("beyond", "focus"), [(-0.01, 0), (0.01, None)])
def test_what_is_looked_at_is_in_focus_within_reach(beyond, focus):
    assert glance(HOME, [at(REACH + beyond, 0.0)]) == (0, focus)


@pytest.mark.parametrize(
    ("heading", "wall"),
    [(0.0, "east"), (math.pi / 2, "north"), (math.pi, "west"), (-math.pi / 2, "south")],
)
def test_the_wall_faced_is_the_one_met_along_the_heading(heading, wall):
    assert wall_faced(Pose(0.3, -0.4, heading)) == wall


def test_the_wall_faced_depends_on_where_the_agent_stands():
    heading = math.radians(45)
    assert wall_faced(Pose(1.0, 0.0, heading)) == "east"
    assert wall_faced(Pose(0.0, 1.0, heading)) == "north"


def test_a_glance_finds_what_all_the_sights_would():
    rng = np.random.default_rng(0)
    for _ in range(500):
        pose = Pose(*rng.uniform(-1.5, 1.5, 2).tolist(), float(rng.uniform(-math.pi, math.pi)))
        positions = [tuple(spot) for spot in rng.uniform(-1.05, 1.05, (4, 2)).tolist()]
        seen = sights(pose, positions)
        near = [i for i, s in enumerate(seen) if s.visible and abs(s.bearing) <= GAZE_CONE]
        looked = min(near, key=lambda i: abs(seen[i].bearing), default=None)
        focus = looked if looked is not None and seen[looked].distance <= REACH else None
        assert glance(pose, positions) == (looked, focus)


def test_an_object_is_framed_while_any_part_of_it_may_be_in_the_picture():
    edge = FIELD_OF_VIEW / 2
    ahead, partly, far_aside, behind = framed(
        HOME, [at(2, 0.0), at(2, edge + 0.1), at(2, edge + 0.8), at(2, math.pi)]
    )
    assert ahead
    assert partly
    assert not far_aside
    assert not behind


@pytest.mark.parametrize("heading", [-3.0, 0.4, 2.2])
def test_whatever_is_visible_is_framed(heading):
    rng = np.random.default_rng(0)
    for _ in range(200):
        agent = Pose(*rng.uniform(-1.5, 1.5, 2), heading)
        positions = [tuple(rng.uniform(-1.2, 1.2, 2)) for _ in range(4)]
        seen = [sight.visible for sight in sights(agent, positions)]
        assert all(f >= v for f, v in zip(framed(agent, positions), seen, strict=True))
