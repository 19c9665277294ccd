"""Where an object that has not been seen yet could still stand. Pure."""

import math
from collections.abc import Sequence
from typing import Final

from oddoneout.actions import Action
from oddoneout.expert.steer import IN_VIEW, Point, bearing_to
from oddoneout.world.gaze import sights
from oddoneout.world.geometry import OBJECT_SPACING, ROOM_HALF, WALL_CLEARANCE
from oddoneout.world.layout import Pose

_SIDE: Final = 8  # spots along each side of the floor that objects may stand on
_EDGE: Final = ROOM_HALF - WALL_CLEARANCE
_TICKS: Final = tuple(_EDGE * (2 * i / (_SIDE - 1) - 1) for i in range(_SIDE))
#: Two objects keep their distance; spots are coarse, hence the slack.
_TAKEN: Final = OBJECT_SPACING - 0.2

#: The spots that stand for the floor on which objects are placed.
FLOOR: Final[tuple[Point, ...]] = tuple((x, y) for x in _TICKS for y in _TICKS)


def unexplored(spots: Sequence[Point], agent: Pose, objects: Sequence[Point]) -> tuple[Point, ...]:
    """Those ``spots`` where an unseen object could be, after a look at the room from ``agent``.

    A spot falls out when an object there would have been well in view beside the known
    ``objects``, or would stand too close to one of them.
    """
    return tuple(
        spot
        for spot in spots
        if all(math.dist(spot, other) >= _TAKEN for other in objects)
        and not (abs(bearing_to(agent, spot)) <= IN_VIEW and _would_show(spot, agent, objects))
    )


def search_turn(
    spots: Sequence[Point], agent: Pose, objects: Sequence[Point], turning: int
) -> Action | None:
    """The way to turn, on the spot, to see more of ``spots``; None where turning shows nothing.

    One way: on in the direction ``turning`` (+1 left, -1 right) as long as that side holds
    unexplored spots; at first to the side that holds more of them.
    """
    bearings = [bearing_to(agent, spot) for spot in spots]
    shown = [
        bearing
        for spot, bearing in zip(spots, bearings, strict=True)
        if _would_show(spot, Pose(agent.x, agent.y, agent.heading + bearing), objects)
    ]
    if not shown:
        return None
    left = sum(bearing > 0 for bearing in shown)
    right = len(shown) - left
    if (turning > 0 and left) or (turning < 0 and right):
        return Action.TURN_LEFT if turning > 0 else Action.TURN_RIGHT
    return Action.TURN_LEFT if left >= right else Action.TURN_RIGHT


def _would_show(spot: Point, agent: Pose, objects: Sequence[Point]) -> bool:
    return sights(agent, (*objects, spot))[-1].visible
