"""How agents move and what they look at, all rooms at once, as kernels of Warp.

``move`` is the classic world's stride written out: what MuJoCo does with one round body, drives
without a limit and contacts without friction, substep by substep and in double precision.
``look`` is ``oddoneout.world.gaze.glance``. The tests hold both to the originals.
"""

# Kernels are read by Warp, not run by Python; their types are Warp's, and a plain number in one
# is a constant: what changes in a loop must be made with its type's name.
# ruff: noqa: RUF046, SIM109, UP018
# pyright: reportOperatorIssue=false, reportArgumentType=false, reportIndexIssue=false
# pyright: reportCallIssue=false, reportInvalidTypeForm=false, reportGeneralTypeIssues=false
# pyright: reportAttributeAccessIssue=false, reportReturnType=false, reportAssignmentType=false

import math

import warp as wp

from oddoneout.actions import Action
from oddoneout.world.gaze import HIDDEN_AT
from oddoneout.world.geometry import (
    AGENT_RADIUS,
    EYE_HEIGHT,
    GAZE_CONE,
    OBJECT_COUNT,
    OBJECT_HEIGHT,
    OBJECT_RADIUS,
    REACH,
    ROOM_HALF,
    STEP_LENGTH,
    TURN_ANGLE,
)
from oddoneout.world.scene import pool
from oddoneout.world.world import SUBSTEPS

# Unrolled loops would take long to compile, and gradients are not wanted.
wp.set_module_options({"enable_backward": False, "max_unroll": 0})


def _number(value: float) -> wp.float64:
    return wp.constant(wp.float64(value))


_ZERO, _ONE, _TWO = _number(0.0), _number(1.0), _number(2.0)
_TAU = _number(math.tau)
_TURN = _number(TURN_ANGLE)
_FORWARD, _BACKWARD = wp.constant(int(Action.FORWARD)), wp.constant(int(Action.BACKWARD))
_LEFT, _RIGHT = wp.constant(int(Action.TURN_LEFT)), wp.constant(int(Action.TURN_RIGHT))
_OBJECTS = wp.constant(OBJECT_COUNT)
_SUBSTEPS = wp.constant(SUBSTEPS)
_OBSTACLES = wp.constant(OBJECT_COUNT + 4)  # the objects, then the walls
_NEWTON_STEPS = wp.constant(6)  # one is exact for one contact, two for most pairs

# The model's own physics, in the terms of MuJoCo's documentation ("Computation"). The agent
# weighs 1, so that accelerations are forces.
_model = pool().model
_agent = next(g for g in range(_model.ngeom) if _model.geom_contype[g])  # it runs into others
_impedance = float(_model.geom_solimp[_agent, 0])
_mobility = float(_model.body_invweight0[_model.geom_bodyid[_agent], 0])
_STEP = _number(_model.opt.timestep)
_SPEED = _number(STEP_LENGTH / (SUBSTEPS * _model.opt.timestep))
_GAIN = _number(_model.actuator_gainprm[0, 0])
_SPRING = _number(-float(_model.geom_solref[_agent, 0]) / _impedance)  # K times the impedance
_DAMPER = _number(-float(_model.geom_solref[_agent, 1]) / _impedance)
_STIFFNESS = _number(_impedance / (1 - _impedance) / _mobility)

_ROOM_HALF = _number(ROOM_HALF)
_AGENT_RADIUS = _number(AGENT_RADIUS)
_OBJECT_RADIUS = _number(OBJECT_RADIUS)
_OBJECT_HEIGHT = _number(OBJECT_HEIGHT)
_EYE_HEIGHT = _number(EYE_HEIGHT)
_REACH = _number(REACH)
_GAZE_CONE = _number(GAZE_CONE)
_HIDDEN_AT = _number(HIDDEN_AT)


@wp.func
def _obstacle(room: int, index: int, spot: wp.vec2d, places: wp.array3d[wp.float64]) -> wp.vec3d:
    """Of one obstacle the normal (x, y), towards the agent, and the gap; below 0 in contact."""
    if index < _OBJECTS:
        away = spot - wp.vec2d(places[room, index, 0], places[room, index, 1])
        distance = wp.length(away)
        return wp.vec3d(
            away[0] / distance, away[1] / distance, distance - _OBJECT_RADIUS - _AGENT_RADIUS
        )
    room_left = _ROOM_HALF - _AGENT_RADIUS
    if index == _OBJECTS:
        return wp.vec3d(-_ONE, _ZERO, room_left - spot[0])
    if index == _OBJECTS + 1:
        return wp.vec3d(_ZERO, -_ONE, room_left - spot[1])
    if index == _OBJECTS + 2:
        return wp.vec3d(_ONE, _ZERO, room_left + spot[0])
    return wp.vec3d(_ZERO, _ONE, room_left + spot[1])


@wp.func
def _touches(room: int, spot: wp.vec2d, places: wp.array3d[wp.float64]) -> bool:
    touching = bool(False)
    for index in range(_OBSTACLES):
        if _obstacle(room, index, spot, places)[2] < _ZERO:
            touching = True
    return touching


@wp.func
def _acceleration(
    room: int,
    spot: wp.vec2d,
    velocity: wp.vec2d,
    drive: wp.vec2d,
    places: wp.array3d[wp.float64],
) -> wp.vec2d:
    """The drives' acceleration, bent by soft one-sided contacts: the minimum of
    |a - drive|^2 / 2 + sum of min(n a - reference, 0)^2 * stiffness / 2, by Newton's method."""
    found = wp.vec2d(drive[0], drive[1])
    if _touches(room, spot, places):
        for _ in range(_NEWTON_STEPS):
            xx, xy, yy = wp.float64(1.0), wp.float64(0.0), wp.float64(1.0)
            sum_x, sum_y = drive[0], drive[1]
            for index in range(_OBSTACLES):
                contact = _obstacle(room, index, spot, places)
                if contact[2] < _ZERO:
                    x, y = contact[0], contact[1]
                    closing = x * velocity[0] + y * velocity[1]
                    reference = -_DAMPER * closing - _SPRING * contact[2]
                    if x * found[0] + y * found[1] < reference:
                        xx += _STIFFNESS * x * x
                        xy += _STIFFNESS * x * y
                        yy += _STIFFNESS * y * y
                        sum_x += _STIFFNESS * reference * x
                        sum_y += _STIFFNESS * reference * y
            determinant = xx * yy - xy * xy
            found = wp.vec2d(
                (yy * sum_x - xy * sum_y) / determinant, (xx * sum_y - xy * sum_x) / determinant
            )
    return found


@wp.kernel
def move(
    actions: wp.array[int], places: wp.array3d[wp.float64], poses: wp.array2d[wp.float64]
) -> None:
    """One step of each agent: ``World.move``. Poses (x, y, heading) change in place."""
    room = wp.tid()
    action = actions[room]
    heading = poses[room, 2]
    if action == _LEFT or action == _RIGHT:
        if action == _LEFT:
            heading += _TURN
        else:
            heading -= _TURN
        poses[room, 2] = heading - _TAU * wp.round(heading / _TAU)
    elif action == _FORWARD or action == _BACKWARD:
        speed = wp.float64(_SPEED)
        if action == _BACKWARD:
            speed = -_SPEED
        target = wp.vec2d(speed * wp.cos(heading), speed * wp.sin(heading))
        spot = wp.vec2d(poses[room, 0], poses[room, 1])
        velocity = wp.vec2d(target[0], target[1])
        for _ in range(_SUBSTEPS):
            drive = _GAIN * (target - velocity)
            velocity += _STEP * _acceleration(room, spot, velocity, drive, places)
            spot += _STEP * velocity
        if _touches(room, spot, places):  # come to rest outside
            rest = wp.vec2d(_ZERO, _ZERO)
            spot += _STEP * _STEP * _acceleration(room, spot, rest, rest, places)
        poses[room, 0] = spot[0]
        poses[room, 1] = spot[1]


@wp.func
def _polar(
    room: int, index: int, places: wp.array3d[wp.float64], poses: wp.array2d[wp.float64]
) -> wp.vec2d:
    """(distance, bearing) of an object."""
    x = places[room, index, 0] - poses[room, 0]
    y = places[room, index, 1] - poses[room, 1]
    bearing = wp.atan2(y, x) - poses[room, 2]
    return wp.vec2d(wp.sqrt(x * x + y * y), bearing - _TAU * wp.round(bearing / _TAU))


@wp.func
def _half_width(distance: wp.float64) -> wp.float64:
    return wp.asin(wp.min(_ONE, _OBJECT_RADIUS / wp.max(distance, _OBJECT_RADIUS)))


@wp.func
def _hidden(
    room: int,
    seen: wp.vec2d,
    places: wp.array3d[wp.float64],
    poses: wp.array2d[wp.float64],
) -> wp.float64:
    """The fraction of an object that nearer ones cover."""
    half = _half_width(seen[0])
    covered = wp.float64(0.0)
    for index in range(_OBJECTS):
        other = _polar(room, index, places, poses)
        if other[0] < seen[0]:
            reach = _half_width(other[0])
            left = wp.min(seen[1] + half, other[1] + reach)
            overlap = left - wp.max(seen[1] - half, other[1] - reach)
            height = _EYE_HEIGHT - (_EYE_HEIGHT - _OBJECT_HEIGHT) * seen[0] / other[0]
            if overlap > _ZERO and height > _ZERO:
                covered += overlap / (_TWO * half) * wp.min(_ONE, height / _OBJECT_HEIGHT)
    return covered


@wp.kernel
def look(
    places: wp.array3d[wp.float64],
    poses: wp.array2d[wp.float64],
    gaze: wp.array[int],
    focus: wp.array[int],
) -> None:
    """The object looked at and the one in focus, -1 for none: ``gaze.glance``."""
    room = wp.tid()
    best, least, nearness = int(-1), wp.float64(_GAZE_CONE), wp.float64(0.0)
    for index in range(_OBJECTS):
        seen = _polar(room, index, places, poses)
        if wp.abs(seen[1]) <= least and _hidden(room, seen, places, poses) <= _HIDDEN_AT:
            best, least, nearness = index, wp.abs(seen[1]), seen[0]
    gaze[room] = best
    focus[room] = -1
    if best >= 0 and nearness <= _REACH:
        focus[room] = best
