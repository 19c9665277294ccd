"""The compiled model of room, agent and objects; looks change in place, never by recompiling."""

# MuJoCo's names come from compiled modules without stubs, which pyright cannot look into.
# pyright: reportAttributeAccessIssue=false

import copy
import functools
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import mujoco
import numpy as np
from numpy.typing import NDArray

from oddoneout.rules.attributes import Shape, Size, Texture
from oddoneout.rules.things import Thing
from oddoneout.world.geometry import (
    AGENT_RADIUS,
    EYE_HEIGHT,
    EYE_PITCH,
    OBJECT_COUNT,
    OBJECT_HEIGHT,
    OBJECT_RADIUS,
    ROOM_HALF,
    WALL_HEIGHT,
)
from oddoneout.world.looks import RGBA, SCALE, assets_dir, mesh_file, texture_file

# The light falls from the north-east, so that shades and shadows spread the walls apart.
_SHADES: Final = {"east": 0.64, "north": 0.45, "west": 1.0, "south": 0.90}
_SHOWN_WALL: Final = 0.5  # height of the walls in presentations, to look in over them
_THICKNESS: Final = 0.05  # half thickness of walls and floor
_AGENT_HEIGHT: Final = 0.7  # of the body in presentations, kept from hiding what it looks at
_AGENT_COLOR: Final = (0.93, 0.93, 0.96, 1.0)
_VISOR_COLOR: Final = (0.10, 0.12, 0.16, 1.0)

_DRAWN_GROUP: Final = 0
_UNDRAWN_GROUP: Final = 5  # that no camera shows

# Everything a mesh geom's fields depend on besides the color and the texture.
_MESH_FIELDS: Final = (
    "geom_dataid",
    "geom_size",
    "geom_pos",
    "geom_quat",
    "geom_rbound",
    "geom_aabb",
    "geom_sameframe",
)


@dataclass(frozen=True, eq=False)
class Pool:
    """What worlds share: the pristine model, and what every look writes into a copy of it.

    Attributes:
        model: never simulated nor changed; copied by each ``Scene``.
        meshes: (shape, size) -> the values of ``_MESH_FIELDS`` in that order.
        materials: texture -> material id.
    """

    model: mujoco.MjModel
    meshes: dict[tuple[Shape, Size], tuple[NDArray, ...]]
    materials: dict[Texture, int]


@functools.cache
def pool() -> Pool:
    """The process's one compiled pool."""
    spec = build()
    # A mesh geom's fields are read off a second model, in which every mesh is worn once.
    fitting = spec.copy()
    rack = fitting.worldbody.add_body()
    names = {look: _mesh_name(*look) for look in itertools.product(Shape, Size)}
    for name in names.values():
        rack.add_geom(name=name, type=mujoco.mjtGeom.mjGEOM_MESH, meshname=name)
    fitted = fitting.compile()
    meshes = {}
    for look, name in names.items():
        geom = fitted.geom(name).id
        meshes[look] = tuple(np.copy(getattr(fitted, field)[geom]) for field in _MESH_FIELDS)
    model = spec.compile()
    return Pool(model, meshes, {texture: model.material(texture.value).id for texture in Texture})


def build() -> mujoco.MjSpec:
    """The room, the agent, every mesh and texture, and the objects, all alike."""
    spec = _room()
    for shape, size in itertools.product(Shape, Size):
        mesh = spec.add_mesh(name=_mesh_name(shape, size), file=str(mesh_file(shape)))
        mesh.scale[:] = SCALE[size]
        mesh.inertia = mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL  # thin shapes are welcome
    for texture in Texture:
        material = spec.add_material(name=texture.value, specular=0.0, shininess=0.0)
        if file := texture_file(texture):
            kind = mujoco.mjtTexture.mjTEXTURE_2D
            spec.add_texture(name=texture.value, type=kind, file=str(file))
            material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = texture.value
    collider = spec.find_default("collider")
    for index in range(OBJECT_COUNT):
        body = spec.worldbody.add_body(name=f"object{index}", mocap=True)
        body.add_geom(
            name=f"look{index}",
            type=mujoco.mjtGeom.mjGEOM_MESH,
            meshname=_mesh_name(Shape.CUBE, Size.LARGE),
            material=Texture.SOLID.value,
        )
        body.add_geom(
            collider,
            type=mujoco.mjtGeom.mjGEOM_CYLINDER,
            size=[OBJECT_RADIUS, OBJECT_HEIGHT / 2, 0],
            pos=[0, 0, OBJECT_HEIGHT / 2],
        )
    return spec


class Scene:
    """One world's own model: a copy of the pool's, whose looks it changes in place.

    Attributes:
        pool: what this scene was copied from; scenes of one pool may share a render context.
        model: compiled; only looks may be written.
    """

    def __init__(self, source: Pool | None = None) -> None:
        self.pool = source or pool()
        self.model = copy.copy(self.pool.model)
        self._geoms = [self.model.geom(f"look{index}").id for index in range(OBJECT_COUNT)]
        # Views of the model's arrays: looking them up by name costs as much as writing them.
        self._fields = [getattr(self.model, field) for field in _MESH_FIELDS]
        self._matid, self._rgba = self.model.geom_matid, self.model.geom_rgba
        self._group = self.model.geom_group

    def dress(self, index: int, thing: Thing) -> None:
        """Make the object in slot ``index`` look like ``thing``."""
        geom = self._geoms[index]
        values = self.pool.meshes[thing.shape, thing.size]
        for field, value in zip(self._fields, values, strict=True):
            field[geom] = value
        self._matid[geom] = self.pool.materials[thing.texture]
        self._rgba[geom] = RGBA[thing.color]

    def draw(self, flags: Sequence[bool]) -> None:
        """Draw the objects whose flag is True from now on, and no others."""
        for geom, drawn in zip(self._geoms, flags, strict=True):
            self._group[geom] = _DRAWN_GROUP if drawn else _UNDRAWN_GROUP


def _room() -> mujoco.MjSpec:
    """The room and the agent, with the sizes of ``geometry`` filled in."""
    spec = mujoco.MjSpec.from_file(str(assets_dir() / "room.xml"))
    collider, inside, shown = map(spec.find_default, ("collider", "inside", "shown"))
    world = spec.worldbody
    floor = spec.geom("floor")
    floor.size = [ROOM_HALF, ROOM_HALF, _THICKNESS]
    floor.pos = [0, 0, -_THICKNESS]
    for quarter, shade in enumerate(_SHADES.values()):
        angle = quarter * math.pi / 2
        out = np.array([math.cos(angle), math.sin(angle), 0.0]).round()
        for kind, height in ((inside, WALL_HEIGHT), (shown, _SHOWN_WALL)):
            half = np.where(out != 0, _THICKNESS, ROOM_HALF + 2 * _THICKNESS)
            half[2] = height / 2
            world.add_geom(
                kind,
                type=mujoco.mjtGeom.mjGEOM_BOX,
                size=half,
                pos=out * (ROOM_HALF + _THICKNESS) + [0, 0, height / 2],
                rgba=[shade, shade, shade, 1],
                material="matte",
            )
        # A plane has no far side, so that nothing can ever get out.
        plane = world.add_geom(
            collider,
            type=mujoco.mjtGeom.mjGEOM_PLANE,
            size=[ROOM_HALF, ROOM_HALF, 1],
            pos=out * ROOM_HALF,
        )
        plane.alt.type = mujoco.mjtOrientation.mjORIENTATION_ZAXIS
        plane.alt.zaxis = -out
    agent = spec.body("agent")
    agent.add_geom(
        collider,
        type=mujoco.mjtGeom.mjGEOM_SPHERE,
        size=[AGENT_RADIUS, 0, 0],
        pos=[0, 0, OBJECT_HEIGHT / 2],
        contype=1,
        conaffinity=0,
    )
    agent.add_geom(
        shown,
        type=mujoco.mjtGeom.mjGEOM_CAPSULE,
        fromto=[0, 0, AGENT_RADIUS, 0, 0, _AGENT_HEIGHT - AGENT_RADIUS],
        size=[AGENT_RADIUS, 0, 0],
        rgba=_AGENT_COLOR,
    )
    agent.add_geom(
        shown,
        type=mujoco.mjtGeom.mjGEOM_BOX,
        size=[0.05, 0.12, 0.045],
        pos=[AGENT_RADIUS - 0.02, 0, _AGENT_HEIGHT - AGENT_RADIUS],
        rgba=_VISOR_COLOR,
    )
    eye = spec.camera("eye")
    eye.pos = [0, 0, EYE_HEIGHT]
    eye.quat = _looking_down(EYE_PITCH)
    return spec


def _looking_down(pitch: float) -> NDArray[np.float64]:
    """Orientation of a camera that looks along +x, ``pitch`` radians downwards."""
    right, up = [0, -1, 0], [math.sin(pitch), 0, math.cos(pitch)]
    frame = np.column_stack([right, up, np.cross(right, up)])
    quat = np.empty(4)
    mujoco.mju_mat2Quat(quat, frame.ravel())
    return quat


def _mesh_name(shape: Shape, size: Size) -> str:
    return f"{shape.value}_{size.value}"
