"""Where the agent and the objects stand when a trial begins; no mujoco."""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

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

_BATCH: Final = 32  # candidates tried at once: one numpy pass usually finds a valid one
_MAX_BATCHES: Final = 1000
_FIRST, _SECOND = np.triu_indices(OBJECT_COUNT, 1)  # every pair of objects once


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
    """Draw a layout uniformly among the valid ones.

    Objects keep ``OBJECT_SPACING`` from each other and ``WALL_CLEARANCE`` from the walls, and
    the law is the same for every slot. The agent starts close to a random wall, anywhere along
    it, facing inwards give or take ``START_JITTER``, with room to move.

    Raises:
        RuntimeError: if no valid layout turns up, which means that the constants in
            ``oddoneout/world/geometry.py`` leave no room for one.
    """
    reach = ROOM_HALF - WALL_CLEARANCE
    along = ROOM_HALF - START_FROM_WALL
    clear = AGENT_RADIUS + OBJECT_RADIUS + START_CLEARANCE
    for _ in range(_MAX_BATCHES):
        spots = rng.uniform(-reach, reach, (_BATCH, OBJECT_COUNT, 2))
        gaps = spots[:, _FIRST] - spots[:, _SECOND]
        valid = ((gaps * gaps).sum(-1) >= OBJECT_SPACING**2).all(-1)
        if not valid.any():
            continue
        objects = spots[valid.argmax()]
        # The start is drawn for one arrangement of objects at a time: rejecting it together
        # with the objects keeps the joint law uniform.
        wall, offset = int(rng.integers(4)), float(rng.uniform(-along, along))
        x, y = ((along, offset), (offset, along), (-along, offset), (offset, -along))[wall]
        if min((x - ox) ** 2 + (y - oy) ** 2 for ox, oy in objects.tolist()) < clear**2:
            continue
        # The wall's outward direction is wall * 90 degrees; the agent turns its back to it.
        heading = wall * math.pi / 2 + math.pi + float(rng.uniform(-START_JITTER, START_JITTER))
        yaws = rng.uniform(-math.pi, math.pi, OBJECT_COUNT)
        return Layout(
            Pose(x, y, math.remainder(heading, math.tau)),
            tuple(
                (ox, oy, yaw) for (ox, oy), yaw in zip(objects.tolist(), yaws.tolist(), strict=True)
            ),
        )
    raise RuntimeError(
        f"found no valid layout of {OBJECT_COUNT} objects in {_BATCH * _MAX_BATCHES} draws: "
        "OBJECT_SPACING, WALL_CLEARANCE and ROOM_HALF in oddoneout/world/geometry.py leave too "
        "little room"
    )
