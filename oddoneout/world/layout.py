"""Where the agent and the objects stand when a trial begins; no mujoco."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

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

_BATCH: Final = 384  # arrangements tried at once for each layout: about two will do
_MAX_BATCHES: Final = 100


@dataclass(frozen=True, slots=True)
class Pose:
    """Where the agent stands: metres from the room's centre, radians anticlockwise from +x."""

    x: float
    y: float
    heading: float


@dataclass(frozen=True, slots=True)
class Layout:
    """How a trial begins.

    Attributes:
        agent: the agent's start.
        objects: (x, y, yaw) of each object's centre, metres and radians, in slot order.
    """

    agent: Pose
    objects: tuple[tuple[float, float, float], ...]


def sample_layout(rng: np.random.Generator) -> Layout:
    """Draw one layout; see ``sample_layouts``."""
    return sample_layouts(1, rng)[0]


def sample_layouts(count: int, rng: np.random.Generator) -> tuple[Layout, ...]:
    """Draw layouts uniformly among the valid ones, each for itself.

    Objects keep ``OBJECT_SPACING`` from each other and ``WALL_CLEARANCE`` from the walls, and
    the law is the same for every slot. The agent starts close to a random wall, anywhere along
    it, facing inwards give or take ``START_JITTER``, with room to move.

    Raises:
        RuntimeError: if valid layouts do not turn up, which means that the constants in
            ``oddoneout/world/geometry.py`` leave no room for them.
    """
    found: list[Layout] = []
    for _ in range(_MAX_BATCHES):
        for row in _spaced(_BATCH * count, rng).T.tolist():
            places = list(zip(row[::2], row[1::2], strict=True))
            # The start is drawn for one arrangement of objects at a time: rejecting it together
            # with the objects keeps the joint law uniform.
            start = _start(places, rng)
            if start is None:
                continue
            yaws = rng.uniform(-math.pi, math.pi, OBJECT_COUNT).tolist()
            objects = tuple((x, y, yaw) for (x, y), yaw in zip(places, yaws, strict=True))
            found.append(Layout(start, objects))
            if len(found) == count:
                return tuple(found)
    raise RuntimeError(
        f"found {len(found)} of {count} valid layouts of {OBJECT_COUNT} objects in "
        f"{_BATCH * _MAX_BATCHES} draws each: OBJECT_SPACING, WALL_CLEARANCE and ROOM_HALF in "
        "oddoneout/world/geometry.py leave too little room"
    )


def _spaced(tries: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Of that many random arrangements those whose objects keep apart: (x0, y0, x1, ...) by N.

    Object after object, so that most arrangements, which fail early, cost little.
    """
    reach = ROOM_HALF - WALL_CLEARANCE
    spots = rng.uniform(-reach, reach, (2 * OBJECT_COUNT, tries))
    for later in range(2, 2 * OBJECT_COUNT, 2):
        apart = np.ones(spots.shape[1], np.bool_)
        for earlier in range(0, later, 2):
            dx, dy = spots[later] - spots[earlier], spots[later + 1] - spots[earlier + 1]
            apart &= dx * dx + dy * dy >= OBJECT_SPACING**2
        spots = spots.compress(apart, axis=1)
    return spots


def _start(objects: Sequence[tuple[float, float]], rng: np.random.Generator) -> Pose | None:
    """Where the agent could start; None where an object leaves it no room there."""
    along = ROOM_HALF - START_FROM_WALL
    clear = AGENT_RADIUS + OBJECT_RADIUS + START_CLEARANCE
    wall, offset = int(rng.integers(4)), float(rng.uniform(-along, along))
    x, y = ((along, offset), (offset, along), (-along, offset), (offset, -along))[wall]
    if min((x - ox) ** 2 + (y - oy) ** 2 for ox, oy in objects) < clear**2:
        return None
    # The wall's outward direction is wall * 90 degrees; the agent turns its back to it.
    heading = wall * math.pi / 2 + math.pi + float(rng.uniform(-START_JITTER, START_JITTER))
    return Pose(x, y, math.remainder(heading, math.tau))
