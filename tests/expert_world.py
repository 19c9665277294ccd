"""A room without physics or pixels: the real rules and gaze, for many episodes in little time."""

import math
from collections.abc import Callable, Sequence
from typing import Any
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

from oddoneout.actions import Action
from oddoneout.env import OddOneOutEnv
from oddoneout.rules.things import Thing
from oddoneout.world import gaze
from oddoneout.world.geometry import (
    AGENT_RADIUS,
    OBJECT_RADIUS,
    ROOM_HALF,
    STEP_LENGTH,
    TURN_ANGLE,
)
from oddoneout.world.layout import Layout, Pose

_STRIDES = {Action.FORWARD: STEP_LENGTH, Action.BACKWARD: -STEP_LENGTH}
_TURNS = {Action.TURN_LEFT: TURN_ANGLE, Action.TURN_RIGHT: -TURN_ANGLE}


class SketchWorld:
    """Stands in for ``oddoneout.world.world.World``: discs that the agent slides along."""

    def __init__(self, image_size: tuple[int, int]) -> None:
        self._image = np.zeros((*image_size, 3), np.uint8)

    def place(self, things: Sequence[Thing], layout: Layout) -> None:
        self.pose = layout.agent
        self.positions = tuple((x, y) for x, y, _ in layout.objects)

    def repaint(self, index: int, thing: Thing) -> None:
        pass

    def move(self, action: Action) -> None:
        x, y, heading = self.pose.x, self.pose.y, self.pose.heading
        heading = math.remainder(heading + _TURNS.get(action, 0.0), math.tau)
        stride = _STRIDES.get(action, 0.0)
        limit, clear = ROOM_HALF - AGENT_RADIUS, OBJECT_RADIUS + AGENT_RADIUS
        for _ in range(4 if stride else 0):
            x += stride / 4 * math.cos(heading)
            y += stride / 4 * math.sin(heading)
            for ox, oy in self.positions:
                gap = math.hypot(x - ox, y - oy)
                if gap < clear:
                    x, y = ox + (x - ox) * clear / gap, oy + (y - oy) * clear / gap
            x, y = min(max(x, -limit), limit), min(max(y, -limit), limit)
        self.pose = Pose(x, y, heading)

    def image(self) -> NDArray[np.uint8]:
        return self._image

    def wall_faced(self) -> str:
        return gaze.wall_faced(self.pose)

    def close(self) -> None:
        pass


def sketch(level: str, **arguments: Any) -> Callable[[], OddOneOutEnv]:
    """Makes environments of a level that play in a ``SketchWorld``."""

    def make() -> OddOneOutEnv:
        with patch("oddoneout.env.World", SketchWorld):
            return OddOneOutEnv(level, image_size=16, **arguments)

    return make
