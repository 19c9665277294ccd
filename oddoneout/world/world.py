"""One room that can be set up, acted in and looked at; it knows of no reward and no words."""

# MuJoCo's names come from compiled modules without stubs, which pyright cannot look into.
# pyright: reportAttributeAccessIssue=false

import math
from collections.abc import Sequence
from typing import Final

import mujoco
import numpy as np
from numpy.typing import NDArray

from oddoneout.actions import Action
from oddoneout.rules.things import Thing
from oddoneout.world import gaze
from oddoneout.world.camera import Camera
from oddoneout.world.geometry import OBJECT_COUNT, STEP_LENGTH, TURN_ANGLE
from oddoneout.world.layout import Layout, Pose
from oddoneout.world.scene import Scene

SUBSTEPS: Final = 4

_STRIDES: Final = {Action.FORWARD: 1.0, Action.BACKWARD: -1.0}
_TURNS: Final = {Action.TURN_LEFT: TURN_ANGLE, Action.TURN_RIGHT: -TURN_ANGLE}


class World:
    """A room with four objects and an agent, simulated by MuJoCo.

    The same calls give the same bytes (on the same renderer), whatever was called before the
    last ``place``. The GL context is made with the first picture.

    Args:
        image_size: (height, width) of the agent's view, pixels.
    """

    def __init__(self, image_size: tuple[int, int]) -> None:
        self._scene = Scene()
        model = self._model = self._scene.model
        data = self._data = mujoco.MjData(model)
        self._camera = Camera(self._scene, *image_size)
        self._speed = STEP_LENGTH / (SUBSTEPS * model.opt.timestep)
        self._positions: tuple[tuple[float, float], ...] = ()
        self._picture: NDArray[np.uint8] | None = None  # None once something has changed
        # Views: fetching an array of MjData by name costs as much as writing it.
        self._qpos, self._qvel, self._ctrl = data.qpos, data.qvel, data.ctrl

    def place(self, things: Sequence[Thing], layout: Layout) -> None:
        """Set up a trial: ``things[i]`` at ``layout.objects[i]``, the agent at its start.

        Raises:
            ValueError: if there are not four of each.
        """
        if not len(things) == len(layout.objects) == OBJECT_COUNT:
            raise ValueError(
                f"a room holds {OBJECT_COUNT} objects, got {len(things)} things and "
                f"{len(layout.objects)} places"
            )
        data = self._data
        mujoco.mj_resetData(self._model, data)
        for index, (thing, (x, y, yaw)) in enumerate(zip(things, layout.objects, strict=True)):
            self._scene.dress(index, thing)
            data.mocap_pos[index] = x, y, 0.0
            data.mocap_quat[index] = math.cos(yaw / 2), 0.0, 0.0, math.sin(yaw / 2)
        agent = layout.agent
        self._qpos[:] = agent.x, agent.y, agent.heading
        self._positions = tuple((x, y) for x, y, _ in layout.objects)
        self._look_around()

    def repaint(self, index: int, thing: Thing) -> None:
        """Make object ``index`` look like ``thing``; nothing moves."""
        self._scene.dress(index, thing)
        self._look_around()  # a mesh comes with its own place in the body

    def move(self, action: Action) -> None:
        """One env step of physics; actions that are not movements stand still."""
        if action in _STRIDES:
            self._stride(_STRIDES[action] * self._speed)
        elif action in _TURNS:
            # The body is round: nothing can stand in the way of a turn.
            self._qpos[2] = math.remainder(self._qpos[2] + _TURNS[action], math.tau)
            self._look_around()

    @property
    def pose(self) -> Pose:
        """Where the agent is; the heading in [-pi, pi]."""
        return Pose(*self._qpos.tolist())

    @property
    def positions(self) -> tuple[tuple[float, float], ...]:
        """(x, y) of each object, metres."""
        return self._positions

    def image(self) -> NDArray[np.uint8]:
        """The agent's view: uint8 (H, W, 3), a fresh array; drawn only if something changed."""
        if self._picture is None:
            framed = gaze.framed(self.pose, self._positions)
            self._picture = self._camera.image(self._data, framed)
        return self._picture.copy()

    def present(
        self, height: int = 480, width: int = 640, view: str = "overhead"
    ) -> NDArray[np.uint8]:
        """The room with the agent in it, for people: uint8 (height, width, 3).

        Args:
            height: pixels.
            width: pixels.
            view: ``"overhead"`` or ``"shoulder"`` (over the agent's shoulder).

        Raises:
            ValueError: if there is no such view.
        """
        return self._camera.present(self._data, height, width, view)

    def wall_faced(self) -> str:
        """The wall that the view's centre lies on: ``"north"``, ``"east"``, ..."""
        return gaze.wall_faced(self.pose)

    def close(self) -> None:
        """Let go of the GL context; the world may still be used, which makes a new one."""
        self._camera.close()

    def _stride(self, speed: float) -> None:
        model, data, qvel = self._model, self._data, self._qvel
        heading = self._qpos[2]
        velocity = speed * math.cos(heading), speed * math.sin(heading)
        # Starting at the drives' set speed, a free stride is exact; the drives only matter in
        # contact, where they keep pushing along the obstacle.
        self._ctrl[:] = velocity
        qvel[:] = *velocity, 0.0
        self._picture = None
        mujoco.mj_step(model, data, SUBSTEPS)
        mujoco.mj_fwdPosition(model, data)
        if data.ncon:  # the last substep may have ended inside an obstacle: come to rest outside
            self._ctrl[:] = 0.0
            qvel[:] = 0.0
            mujoco.mj_step(model, data)
            self._look_around()
        qvel[:] = 0.0

    def _look_around(self) -> None:
        self._picture = None
        mujoco.mj_kinematics(self._model, self._data)
        mujoco.mj_camlight(self._model, self._data)
