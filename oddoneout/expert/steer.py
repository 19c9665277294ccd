"""From poses to actions: how to turn, and where to walk. Pure; knows nothing of attributes."""

import heapq
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, TypeAlias

from oddoneout.actions import Action
from oddoneout.world.gaze import glance, sights
from oddoneout.world.geometry import (
    AGENT_RADIUS,
    FIELD_OF_VIEW,
    GAZE_CONE,
    OBJECT_RADIUS,
    ROOM_HALF,
    STEP_LENGTH,
    TURN_ANGLE,
)
from oddoneout.world.layout import Pose

Point: TypeAlias = tuple[float, float]

HEADINGS: Final = round(math.tau / TURN_ANGLE)  # turns in a full circle
IN_VIEW: Final = FIELD_OF_VIEW / 2 - math.radians(8.0)  # half angle of what is well in view
_CLEAR: Final = OBJECT_RADIUS + AGENT_RADIUS + 0.02  # centre to centre, with a little air
_WALL: Final = ROOM_HALF - AGENT_RADIUS - 0.01
_BUMP: Final = 0.15  # a step that ends this close to where one failed is expected to fail too
_CONE: Final = GAZE_CONE - math.radians(0.5)  # aims stay clear of the cone's rim
_MAX_NODES: Final = 4000
_ASKEW: Final = 1e-3  # cost per radian of walking askew: of two equal ways, turn first, then walk


@dataclass(frozen=True, slots=True)
class Ground:
    """What is known to be in the way: object centres, and spots where a step was blocked."""

    objects: tuple[Point, ...]
    bumps: tuple[Point, ...] = ()


def bearing_to(agent: Pose, point: Point) -> float:
    """Of ``point`` as the agent stands, radians in [-pi, pi], positive to the left."""
    angle = math.atan2(point[1] - agent.y, point[0] - agent.x)
    return math.remainder(angle - agent.heading, math.tau)


def turned(agent: Pose, turns: int) -> Pose:
    """The pose after ``turns`` turns, positive to the left."""
    return Pose(agent.x, agent.y, math.remainder(agent.heading + turns * TURN_ANGLE, math.tau))


def stepped(agent: Pose) -> Pose:
    """The pose after an unhindered step forward."""
    return Pose(
        agent.x + STEP_LENGTH * math.cos(agent.heading),
        agent.y + STEP_LENGTH * math.sin(agent.heading),
        agent.heading,
    )


def turns_to_look(agent: Pose, positions: Sequence[Point], index: int) -> int | None:
    """The fewest turns on the spot, positive to the left, after which object ``index`` is the
    one looked at; None where another object stands before it or too close beside it."""
    exact = bearing_to(agent, positions[index]) / TURN_ANGLE
    nearest = round(exact)
    candidates = (nearest, nearest - 1, nearest + 1)
    for turns in sorted(candidates, key=lambda n: (abs(n), abs(n - exact))):
        if abs(turns - exact) * TURN_ANGLE > GAZE_CONE:
            continue
        if glance(turned(agent, turns), positions)[0] == index:
            return turns
    return None


def sweep(turns: Sequence[int], turning: int) -> Action:
    """The first turn of the shortest sweep over all of ``turns`` (signed, none of them 0).

    A sweep goes to one side and then back across, or round in one direction. Ties go on in the
    direction ``turning`` (+1 left, -1 right, 0 neither), else to the left.
    """
    left, right = max(0, *turns), max(0, *(-n for n in turns))
    round_left = max(n % HEADINGS for n in turns)
    round_right = max(-n % HEADINGS for n in turns)
    cost_left = min(round_left, 2 * left + right if left else HEADINGS)
    cost_right = min(round_right, 2 * right + left if right else HEADINGS)
    if cost_left == cost_right:
        return Action.TURN_RIGHT if turning < 0 else Action.TURN_LEFT
    return Action.TURN_LEFT if cost_left < cost_right else Action.TURN_RIGHT


@lru_cache(maxsize=64)  # one decision asks for the same way twice: how long it is, how it begins
def to_look_at(
    agent: Pose, positions: tuple[Point, ...], index: int, within: float, ground: Ground
) -> tuple[Action, ...] | None:
    """The fewest turns and steps after which object ``index`` of ``positions`` is looked at from
    no farther than ``within`` metres; None if there is no way."""

    def there(pose: Pose) -> bool:
        return glance(pose, positions)[0] == index

    return _route(agent, positions[index], within, _CONE, there, ground)


@lru_cache(maxsize=64)
def to_see(
    agent: Pose, positions: tuple[Point, ...], point: Point, ground: Ground
) -> tuple[Action, ...] | None:
    """The fewest turns and steps after which an object at ``point`` would be visible beside those
    at ``positions``; None if there is no way."""
    every = (*positions, point)

    def there(pose: Pose) -> bool:
        return sights(pose, every)[-1].visible

    return _route(agent, point, 4 * ROOM_HALF, IN_VIEW, there, ground)


def _route(
    agent: Pose,
    target: Point,
    within: float,
    cone: float,
    there: Callable[[Pose], bool],
    ground: Ground,
) -> tuple[Action, ...] | None:
    """A* over turns and steps. The bound left to go is exact in both parts: a step forward brings
    the target nearer by at most its length, and never turns the agent towards the target."""
    compass = [
        (math.cos(heading), math.sin(heading), heading)
        for heading in (agent.heading + k * TURN_ANGLE for k in range(HEADINGS))
    ]

    def askew(x: float, y: float, k: int) -> float:
        angle = math.atan2(target[1] - y, target[0] - x)
        return abs(math.remainder(angle - compass[k][2], math.tau))

    def bound(x: float, y: float, k: int) -> int:
        excess = math.hypot(target[0] - x, target[1] - y) - within
        steps = max(0, math.ceil(excess / STEP_LENGTH - 1e-9))
        turns = max(0, math.ceil((askew(x, y, k) - cone) / TURN_ANGLE - 1e-9))
        return steps + turns

    start = (agent.x, agent.y, 0)
    came: dict[tuple[int, int, int], tuple[tuple[int, int, int], Action] | None] = {}
    queue: list[tuple[float, int, float, tuple[float, float, int]]] = []
    origins: dict[int, tuple[tuple[int, int, int], Action] | None] = {0: None}
    heapq.heappush(queue, (float(bound(*start)), 0, 0.0, start))
    pushed = 0
    while queue and len(came) < _MAX_NODES:
        estimate, number, cost, (x, y, k) = heapq.heappop(queue)
        key = (round(x * 100), round(y * 100), k)
        if key in came:
            continue
        came[key] = origins.pop(number)
        if estimate - cost < 0.5 and there(Pose(x, y, compass[k][2])):
            return _path(came, key)
        cos, sin, _ = compass[k]
        ahead = (x + STEP_LENGTH * cos, y + STEP_LENGTH * sin, k)
        moves = [
            (Action.TURN_LEFT, (x, y, (k + 1) % HEADINGS), 1.0),
            (Action.TURN_RIGHT, (x, y, (k - 1) % HEADINGS), 1.0),
        ]
        if _free((x, y), ahead[:2], ground):
            moves.append((Action.FORWARD, ahead, 1.0 + _ASKEW * askew(x, y, k)))
        for action, state, price in moves:
            if (round(state[0] * 100), round(state[1] * 100), state[2]) in came:
                continue
            pushed += 1
            origins[pushed] = (key, action)
            total = cost + price
            heapq.heappush(queue, (total + bound(*state), pushed, total, state))
    return None


def _path(
    came: dict[tuple[int, int, int], tuple[tuple[int, int, int], Action] | None],
    key: tuple[int, int, int],
) -> tuple[Action, ...]:
    actions: list[Action] = []
    while (origin := came[key]) is not None:
        key, action = origin
        actions.append(action)
    return tuple(reversed(actions))


def _free(here: Point, ahead: Point, ground: Ground) -> bool:
    """Whether a step is expected to succeed; leaving a contact is always allowed."""
    for now, then in zip(here, ahead, strict=True):
        if abs(then) > _WALL and abs(then) > abs(now):
            return False
    for center in ground.objects:
        gap = math.dist(ahead, center)
        if gap < _CLEAR and gap < math.dist(here, center):
            return False
    return all(math.dist(ahead, bump) > _BUMP for bump in ground.bumps)
