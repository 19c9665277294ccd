"""From poses to actions: how to turn, and where to walk. Pure; knows nothing of attributes."""

import heapq
import itertools
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
CONE: Final = GAZE_CONE - math.radians(0.5)  # aims stay clear of the cone's rim
ANYWHERE: Final = 4 * ROOM_HALF  # no two points of the room are as far apart
_MAX_NODES: Final = 4000
_TURNS: Final = ((Action.TURN_LEFT, 1), (Action.TURN_RIGHT, -1))
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

    return _route(agent, positions[index], within, CONE, there, ground)


@lru_cache(maxsize=64)
def to_see(
    agent: Pose, positions: tuple[Point, ...], point: Point, ground: Ground
) -> tuple[Action, ...] | None:
    """The fewest turns and steps after which an object at ``point`` would be visible beside those
    at ``positions``; None if there is no way."""
    every = (*positions, point)

    def there(pose: Pose) -> bool:
        return sights(pose, every)[-1].visible

    return _route(agent, point, ANYWHERE, IN_VIEW, there, ground)


def at_least(agent: Pose, target: Point, within: float, cone: float) -> int:
    """No fewer turns and steps bring ``target`` within that distance and that angle: a step
    brings it nearer by at most its length, and never turns the agent towards it."""
    angle = math.atan2(target[1] - agent.y, target[0] - agent.x)
    askew = abs(math.remainder(angle - agent.heading, math.tau))
    return _steps(agent.x, agent.y, target, within) + _turns(askew, cone)


def _steps(x: float, y: float, target: Point, within: float) -> int:
    excess = math.hypot(target[0] - x, target[1] - y) - within
    return max(0, math.ceil(excess / STEP_LENGTH - 1e-9))


def _turns(askew: float, cone: float) -> int:
    return max(0, math.ceil((askew - cone) / TURN_ANGLE - 1e-9))


#: A place of the lattice that a search walks on: centimetres, and turns from the first heading.
_Place: TypeAlias = tuple[int, int, int]


#: What led to a place; None at the start.
_Origin: TypeAlias = tuple[_Place, Action] | None


def _route(
    agent: Pose,
    target: Point,
    within: float,
    cone: float,
    there: Callable[[Pose], bool],
    ground: Ground,
) -> tuple[Action, ...] | None:
    """A* over turns and steps, with ``at_least`` as the bound of what is left to go."""
    headings = [agent.heading + k * TURN_ANGLE for k in range(HEADINGS)]
    came: dict[_Place, _Origin] = {}
    # Estimate of the whole way, number (for ties), cost so far, x, y, heading; then, of the target
    # as seen from there: steps to it at least, its direction, and the angle between it and the
    # heading; then what led there. Plain tuples: half the time of a route goes into them.
    queue: list[tuple[float, int, float, float, float, int, int, float, float, _Origin]] = []
    pushed = itertools.count()

    def turn_to(
        k: int, cost: float, x: float, y: float, steps: int, angle: float, origin: _Origin
    ) -> None:
        askew = abs(math.remainder(angle - headings[k], math.tau))
        estimate = cost + (steps + _turns(askew, cone))
        heapq.heappush(queue, (estimate, next(pushed), cost, x, y, k, steps, angle, askew, origin))

    def step_to(x: float, y: float, k: int, cost: float, origin: _Origin) -> None:
        angle = math.atan2(target[1] - y, target[0] - x)
        turn_to(k, cost, x, y, _steps(x, y, target, within), angle, origin)

    step_to(agent.x, agent.y, 0, 0.0, None)
    while queue and len(came) < _MAX_NODES:
        estimate, _, cost, x, y, k, steps, angle, askew, origin = heapq.heappop(queue)
        column, row = round(x * 100), round(y * 100)
        place = (column, row, k)
        if place in came:
            continue
        came[place] = origin
        if estimate - cost < 0.5 and there(Pose(x, y, headings[k])):
            return _path(came, place)
        for action, turn in _TURNS:
            to = (k + turn) % HEADINGS
            if (column, row, to) not in came:
                turn_to(to, cost + 1.0, x, y, steps, angle, (place, action))
        ahead = x + STEP_LENGTH * math.cos(headings[k]), y + STEP_LENGTH * math.sin(headings[k])
        if (round(ahead[0] * 100), round(ahead[1] * 100), k) in came:
            continue
        if _free((x, y), ahead, ground):
            step_to(*ahead, k, cost + (1.0 + _ASKEW * askew), (place, Action.FORWARD))
    return None


def _path(came: dict[_Place, _Origin], place: _Place) -> tuple[Action, ...]:
    actions: list[Action] = []
    while (origin := came[place]) is not None:
        place, action = origin
        actions.append(action)
    return tuple(reversed(actions))


def _free(here: Point, ahead: Point, ground: Ground) -> bool:
    """Whether a step is expected to succeed; leaving a contact is always allowed."""
    x, y = abs(ahead[0]), abs(ahead[1])
    if (x > _WALL and x > abs(here[0])) or (y > _WALL and y > abs(here[1])):
        return False
    for center in ground.objects:
        gap = math.dist(ahead, center)
        if gap < _CLEAR and gap < math.dist(here, center):
            return False
    return all(math.dist(ahead, bump) > _BUMP for bump in ground.bumps)
