"""What the agent has in view, from poses alone: analytic, cheap, and blind to looks; no mujoco."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from oddoneout.world.geometry import (
    EYE_HEIGHT,
    EYE_PITCH,
    FIELD_OF_VIEW,
    GAZE_CONE,
    OBJECT_BOUND,
    OBJECT_HEIGHT,
    OBJECT_RADIUS,
    REACH,
    ROOM_HALF,
)
from oddoneout.world.layout import Pose

# Of the view's side planes; the eye looks down, so that what stands lower lies deeper in the view.
_COS_SIDE: Final = math.cos(FIELD_OF_VIEW / 2)
_SIN_SIDE: Final = math.sin(FIELD_OF_VIEW / 2)
_LOWERED: Final = (EYE_HEIGHT - OBJECT_HEIGHT / 2) * math.sin(EYE_PITCH)

HIDDEN_AT: Final = 0.5  # an object counts as hidden when more of it than this is covered


@dataclass(frozen=True, slots=True)
class Sight:
    """One object as it stands to the agent's eye.

    Attributes:
        distance: from the agent's centre to the object's, metres, in the plane.
        bearing: of the object's centre, radians in [-pi, pi], positive to the left.
        visible: its centre is inside the horizontal field of view, and nearer objects cover at
            most half of it.
    """

    distance: float
    bearing: float
    visible: bool


def sights(agent: Pose, positions: Sequence[tuple[float, float]]) -> tuple[Sight, ...]:
    """How each object at ``positions`` (metres) stands to the agent, in the same order."""
    polar = _polar(agent, positions)
    half_view = FIELD_OF_VIEW / 2
    return tuple(
        Sight(
            distance,
            bearing,
            abs(bearing) <= half_view and _hidden(distance, bearing, polar) <= HIDDEN_AT,
        )
        for distance, bearing in polar
    )


def glance(agent: Pose, positions: Sequence[tuple[float, float]]) -> tuple[int | None, int | None]:
    """What is looked at, and what is in focus, as indices of ``positions``.

    Looked at is the visible object nearest to the view's centre within ``GAZE_CONE``; in focus is
    the same one where it is within ``REACH``. Works out no more of the ``sights`` than it needs.
    """
    polar = _polar(agent, positions)
    best, least = None, GAZE_CONE
    for index, (distance, bearing) in enumerate(polar):
        if abs(bearing) <= least and _hidden(distance, bearing, polar) <= HIDDEN_AT:
            best, least = index, abs(bearing)
    return best, best if best is not None and polar[best][0] <= REACH else None


def framed(agent: Pose, positions: Sequence[tuple[float, float]]) -> list[bool]:
    """Whether any part of each object may lie within the picture's left and right edges.

    Errs towards yes: a sphere that holds any object is held against the view's side planes.
    """
    cos, sin = math.cos(agent.heading), math.sin(agent.heading)
    forward = math.cos(EYE_PITCH)
    flags = []
    for x, y in positions:
        dx, dy = x - agent.x, y - agent.y
        depth = (dx * cos + dy * sin) * forward + _LOWERED
        aside = abs(dy * cos - dx * sin)
        flags.append(aside * _COS_SIDE - depth * _SIN_SIDE <= OBJECT_BOUND)
    return flags


def wall_faced(agent: Pose) -> str:
    """The wall that the view's centre lies on: ``"east"`` (+x), ``"north"``, ``"west"`` or
    ``"south"``, objects disregarded."""
    dx, dy = math.cos(agent.heading), math.sin(agent.heading)
    to_x = (math.copysign(ROOM_HALF, dx) - agent.x) / dx if dx else math.inf
    to_y = (math.copysign(ROOM_HALF, dy) - agent.y) / dy if dy else math.inf
    if to_x <= to_y:
        return "east" if dx > 0 else "west"
    return "north" if dy > 0 else "south"


def _polar(agent: Pose, positions: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """(distance, bearing) of each object, as in ``Sight``."""
    polar = []
    here_x, here_y, heading = agent.x, agent.y, agent.heading
    for x, y in positions:
        dx, dy = x - here_x, y - here_y
        bearing = math.remainder(math.atan2(dy, dx) - heading, math.tau)
        polar.append((math.hypot(dx, dy), bearing))
    return polar


def _hidden(distance: float, bearing: float, polar: Sequence[tuple[float, float]]) -> float:
    """The fraction of an object that nearer ones cover, seen as upright rectangles.

    Overlaps of several covering objects add up, which errs towards hidden.
    """
    half = _half_width(distance)
    covered = 0.0
    for nearer, other in polar:
        if nearer >= distance:
            continue
        reach = _half_width(nearer)
        overlap = min(bearing + half, other + reach) - max(bearing - half, other - reach)
        if overlap <= 0.0:
            continue
        # The line of sight over the nearer object's top meets the farther one at this height.
        height = EYE_HEIGHT - (EYE_HEIGHT - OBJECT_HEIGHT) * distance / nearer
        if height > 0.0:
            covered += overlap / (2 * half) * min(1.0, height / OBJECT_HEIGHT)
    return covered


def _half_width(distance: float) -> float:
    """Half the angle that an object fills horizontally, radians."""
    return math.asin(min(1.0, OBJECT_RADIUS / max(distance, OBJECT_RADIUS)))
