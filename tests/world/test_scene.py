"""The scene: looks change in place, and nothing but looks."""

# MuJoCo's names come from compiled modules without stubs, which pyright cannot look into.
# pyright: reportAttributeAccessIssue=false

import mujoco
import numpy as np
import pytest

from oddoneout.rules.attributes import Color, Shape, Size, Texture
from oddoneout.rules.things import Thing
from oddoneout.world import scene as scene_module
from oddoneout.world.camera import Camera
from oddoneout.world.geometry import (
    AGENT_RADIUS,
    EYE_HEIGHT,
    OBJECT_BOUND,
    OBJECT_HEIGHT,
    ROOM_HALF,
)
from oddoneout.world.looks import RGBA, SCALE
from oddoneout.world.scene import Pool, Scene, pool
from tests.world.examples import random_thing, watching


def placed(model: mujoco.MjModel) -> mujoco.MjData:
    """The state in which the camera looks at all four objects."""
    data = mujoco.MjData(model)
    layout = watching()
    for index, (x, y, yaw) in enumerate(layout.objects):
        data.mocap_pos[index] = x, y, 0
        data.mocap_quat[index] = np.cos(yaw / 2), 0, 0, np.sin(yaw / 2)
    data.qpos[:] = layout.agent.x, layout.agent.y, layout.agent.heading
    mujoco.mj_forward(model, data)
    return data


def recompiled(things: list[Thing]) -> Scene:
    """A scene whose model was compiled with these looks from the start."""
    spec = scene_module.build()
    for index, thing in enumerate(things):
        geom = spec.geom(f"look{index}")
        geom.meshname = f"{thing.shape.value}_{thing.size.value}"
        geom.material = thing.texture.value
        geom.rgba = RGBA[thing.color]
    return Scene(Pool(spec.compile(), {}, {}))


@pytest.mark.parametrize("seed", range(6))
def test_a_look_changed_in_place_equals_a_recompiled_one_to_the_byte(seed):
    rng = np.random.default_rng(seed)
    scene = Scene()
    for _ in range(3):  # several changes, so that leftovers of earlier looks would show
        things = [random_thing(rng) for _ in range(4)]
        for index, thing in enumerate(things):
            scene.dress(index, thing)
    fresh = recompiled(things)
    for name in ("geom_dataid", "geom_matid", "geom_rgba", "geom_size", "geom_pos"):
        np.testing.assert_array_equal(getattr(scene.model, name), getattr(fresh.model, name))
    for name in ("geom_quat", "geom_rbound", "geom_aabb", "geom_sameframe", "geom_type"):
        np.testing.assert_array_equal(getattr(scene.model, name), getattr(fresh.model, name))
    pictures = []
    for each in (scene, fresh):
        camera = Camera(each, 64, 64)
        pictures.append(camera.image(placed(each.model)))
        camera.close()
    np.testing.assert_array_equal(*pictures)


def test_every_look_is_distinct_to_the_byte():
    scene = Scene()
    camera = Camera(scene, 64, 64)
    data = placed(scene.model)
    seen = {}
    for shape in Shape:
        for texture in Texture:
            for size in Size:
                thing = Thing(Color.YELLOW, shape, texture, size)
                scene.dress(0, thing)
                picture = camera.image(data).tobytes()
                assert picture not in seen, f"{thing} looks like {seen[picture]}"
                seen[picture] = thing
    camera.close()


def test_a_look_changes_nothing_that_physics_depends_on():
    scene = Scene()
    drawn = {"geom_dataid", "geom_matid", "geom_rgba", "geom_size", "geom_pos", "geom_quat"}
    drawn |= {"geom_rbound", "geom_aabb", "geom_sameframe"}
    arrays = [
        name
        for name in dir(scene.model)
        if name.startswith(("geom_", "body_", "jnt_", "dof_", "actuator_"))
        and isinstance(getattr(scene.model, name), np.ndarray)
    ]
    before = {name: getattr(scene.model, name).copy() for name in arrays}
    rng = np.random.default_rng(0)
    for index in range(4):
        scene.dress(index, random_thing(rng))
    looks = [scene.model.geom(f"look{index}").id for index in range(4)]
    for name in arrays:
        after = getattr(scene.model, name)
        if name in drawn:
            after = after.copy()
            after[looks] = before[name][looks]
        np.testing.assert_array_equal(after, before[name], err_msg=name)
    for geom in looks:
        assert scene.model.geom_contype[geom] == scene.model.geom_conaffinity[geom] == 0


def test_all_objects_collide_as_one_and_the_same_body():
    model = pool().model
    colliders = []
    for index in range(4):
        body = model.body(f"object{index}")
        (geom,) = (g for g in range(model.ngeom) if is_collider_of(model, g, body.id))
        fields = (model.geom_type, model.geom_size, model.geom_pos, model.geom_solref)
        colliders.append(tuple(np.atleast_1d(field[geom]).tobytes() for field in fields))
    assert len(set(colliders)) == 1


def is_collider_of(model: mujoco.MjModel, geom: int, body: int) -> bool:
    return bool(model.geom_bodyid[geom] == body and model.geom_conaffinity[geom])


def test_objects_stand_on_the_floor_and_scale_with_their_size():
    scene = Scene()
    for shape in Shape:
        heights = {}
        for size in Size:
            scene.dress(0, Thing(Color.RED, shape, Texture.SOLID, size))
            low, high = extent(scene.model, "look0")
            assert low[2] == pytest.approx(0.0, abs=1e-4), f"{shape} floats or sinks"
            assert np.abs(low[:2] + high[:2]).max() < 0.12, f"{shape} stands off its centre"
            heights[size] = high[2]
        for size in Size:
            expected = heights[Size.LARGE] * SCALE[size]
            assert heights[size] == pytest.approx(expected, rel=1e-3)


def extent(model: mujoco.MjModel, name: str) -> tuple[np.ndarray, np.ndarray]:
    """The corners of a mesh geom's bounding box in its body's frame."""
    geom = model.geom(name).id
    mesh = model.geom_dataid[geom]
    start, count = model.mesh_vertadr[mesh], model.mesh_vertnum[mesh]
    vertices = model.mesh_vert[start : start + count].astype(float)
    rotation = np.empty(9)
    mujoco.mju_quat2Mat(rotation, model.geom_quat[geom])
    points = vertices @ rotation.reshape(3, 3).T + model.geom_pos[geom]
    return points.min(0), points.max(0)


def test_scenes_do_not_share_looks():
    one, other = Scene(), Scene()
    before = other.model.geom_rgba.copy()
    one.dress(2, Thing(Color.MAGENTA, Shape.BALL, Texture.SOLID, Size.SMALL))
    np.testing.assert_array_equal(other.model.geom_rgba, before)
    np.testing.assert_array_equal(pool().model.geom_rgba, before)


@pytest.mark.parametrize("size", [(64, 64), (128, 64), (32, 64)])
def test_no_image_looks_over_the_walls(size):
    scene = Scene()
    camera = Camera(scene, *size)
    data = mujoco.MjData(scene.model)
    for index in range(4):
        data.mocap_pos[index] = 0, 0, -5  # out of sight
    corner = ROOM_HALF - AGENT_RADIUS
    for eighth in range(8):  # from a corner, the farthest that one can see
        data.qpos[:] = -corner, -corner, eighth * np.pi / 4
        mujoco.mj_forward(scene.model, data)
        assert camera.image(data).min() > 20
    camera.close()


def test_the_walls_are_told_apart_by_shade():
    scene = Scene()
    camera = Camera(scene, 16, 16)
    data = mujoco.MjData(scene.model)
    for index in range(4):
        data.mocap_pos[index] = 0, 0, -5  # out of sight
    shades = []
    for quarter in range(4):
        data.qpos[:] = 0, 0, quarter * np.pi / 2
        mujoco.mj_forward(scene.model, data)
        top = camera.image(data)[0].astype(int)
        assert np.ptp(top[4:12]) == 0
        shades.append(int(top[8, 0]))
    camera.close()
    assert np.diff(sorted(shades)).min() > 20, shades
    assert EYE_HEIGHT < 2 * ROOM_HALF


@pytest.mark.parametrize("shape", Shape)
@pytest.mark.parametrize("size", Size)
def test_a_sphere_at_half_height_holds_any_object(shape, size):
    scene = Scene()
    scene.dress(0, Thing(Color.RED, shape, Texture.SOLID, size))
    model, geom = scene.model, scene.model.geom("look0").id
    mesh = model.geom_dataid[geom]
    first = model.mesh_vertadr[mesh]
    turn = np.empty(9)
    mujoco.mju_quat2Mat(turn, model.geom_quat[geom])
    corners = model.mesh_vert[first : first + model.mesh_vertnum[mesh]] @ turn.reshape(3, 3).T
    corners += model.geom_pos[geom] - [0, 0, OBJECT_HEIGHT / 2]
    assert np.linalg.norm(corners, axis=1).max() <= OBJECT_BOUND
