"""The pictures of many rooms at once, drawn by ``mujoco_warp``: one ray for each pixel.

All rooms share one compiled model. What differs between them, mesh, texture, color and place of
each object and the place of the eye, is written into arrays with one row per room.
"""

# MuJoCo's names come from compiled modules without stubs, which pyright cannot look into.
# pyright: reportAttributeAccessIssue=false

import contextlib
import copy
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import mujoco
import mujoco_warp
import numpy as np
import torch
import warp
from torch import Tensor

from oddoneout.rules.attributes import Color, Shape, Size, Texture
from oddoneout.world.geometry import EYE_HEIGHT, OBJECT_COUNT, vertical_view
from oddoneout.world.looks import RGBA
from oddoneout.world.scene import pool

_SEEN: Final = (0, 2)  # geom groups: objects and floor, and the walls as the agent sees them
# mujoco_warp packs a pixel as blue, green, red, alpha. Colors go in blue first, so that what
# lies in memory is red, green, blue, and nobody has to turn it round.
_TURNED: Final = [2, 1, 0]
# It samples one point of a texture for each pixel, where GL takes a mipmap: patterns are softened
# beforehand, by as many texels as are nearest to the classic pictures (tried out, docs/warp.md).
_SOFTENING: Final = 256.0  # texels on each side, times the image's width in pixels


class Painter:
    """Draws up to ``rooms`` rooms at a time.

    Args:
        rooms: the most rooms of one call.
        image_size: (height, width), pixels.
        device: of all tensors, "cpu" or "cuda".
    """

    def __init__(self, rooms: int, image_size: tuple[int, int], device: torch.device) -> None:
        self._size = image_size
        self._device = device
        height, width = image_size
        source = pool()
        model = copy.copy(source.model)
        eye = model.camera("eye").id
        model.cam_fovy[eye] = math.degrees(vertical_view(height / width))
        model.geom_rgba[:, :3] = model.geom_rgba[:, _TURNED]
        for lights in (model.light_ambient, model.light_diffuse):
            lights[:] = lights[:, _TURNED]
        _soften(model, round(_SOFTENING / width))
        data = mujoco.MjData(model)
        mujoco.mj_forward(model, data)
        looks = [model.geom(f"look{index}").id for index in range(OBJECT_COUNT)]
        self._looks = torch.tensor(looks, device=device)

        with on(device):
            self._model = mujoco_warp.put_model(model)
            self._data = mujoco_warp.make_data(model, nworld=rooms)
            self._context = mujoco_warp.create_render_context(
                model,
                nworld=rooms,
                cam_res=(width, height),
                render_rgb=True,
                render_depth=False,
                render_seg=False,
                enabled_geom_groups=list(_SEEN),
                cam_active=["eye"],
                enable_specular=False,
                enable_emission=False,
            )
            self._wear(rooms, model)
            self._stand(data, eye)

        # What each look writes.
        self._mesh = self._table(
            [[source.meshes[shape, size][0] for size in Size] for shape in Shape], torch.int32
        )
        fields = {look: values[2:4] for look, values in source.meshes.items()}
        self._mesh_at = self._table([[fields[s, z][0] for z in Size] for s in Shape])
        self._mesh_turn = self._table([[_matrix(fields[s, z][1]) for z in Size] for s in Shape])
        self._material = self._table([source.materials[t] for t in Texture], torch.int32)
        self._rgba = self._table([[*np.take(RGBA[c], _TURNED), 1.0] for c in Color])
        self._eye_turn = self._table(_matrix(model.cam_quat[eye]))

    def paint(self, poses: Tensor, places: Tensor, things: Tensor) -> Tensor:
        """What the agents see: uint8 (n, H, W, 3), fresh memory, of the layout (n, H, W, 4).

        Args:
            poses: float64 (n, 3), x, y, heading of each agent.
            places: float64 (n, objects, 3), x, y, yaw.
            things: int16 (n, objects, dimensions), positions of values in ``VALUES``.
        """
        rooms, (height, width) = len(poses), self._size
        self._dress(things)
        self._place(poses.float(), places.float(), things)
        # The kernel writes every pixel of the memory that it is given, so each picture is its own.
        pixels = torch.empty((rooms, height * width), dtype=torch.int32, device=self._device)
        data = copy.copy(self._data)
        data.nworld = rooms
        with on(self._device):
            self._context.rgb_data = warp.from_torch(pixels, dtype=warp.uint32)
            mujoco_warp.refit_bvh(self._model, data, self._context)
            mujoco_warp.render(self._model, data, self._context)
        return pixels.view(torch.uint8).view(rooms, height, width, 4)[..., :3]

    def _table(self, values: Any, dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.as_tensor(np.array(values), dtype=dtype).to(self._device)

    def _wear(self, rooms: int, model: mujoco.MjModel) -> None:
        """Give every room its own row of looks, in arrays that torch shares."""

        def rows(field: str, kind: Any) -> Tensor:
            values = torch.as_tensor(getattr(model, field)).to(self._device)
            shared = values.expand(rooms, *values.shape).contiguous()
            setattr(self._model, field, warp.from_torch(shared, dtype=kind))
            return shared

        self._geom_mesh = rows("geom_dataid", warp.int32)
        self._geom_material = rows("geom_matid", warp.int32)
        self._geom_rgba = rows("geom_rgba", warp.vec4)

    def _stand(self, data: mujoco.MjData, eye: int) -> None:
        """Put in place what never moves, and keep views of what does."""

        def rows(field: str, *shape: int) -> Tensor:
            shared = warp.to_torch(getattr(self._data, field))
            values = torch.as_tensor(getattr(data, field)).reshape(-1, *shape)
            shared.copy_(values)
            return shared

        self._geom_at, self._geom_turn = rows("geom_xpos", 3), rows("geom_xmat", 3, 3)
        self._eye_at = rows("cam_xpos", 3)[:, eye]
        self._eye_frame = rows("cam_xmat", 3, 3)[:, eye]
        rows("light_xpos", 3)
        rows("light_xdir", 3)

    def _dress(self, things: Tensor) -> None:
        rooms = len(things)
        color, shape, texture, size = things.long().unbind(-1)
        self._geom_mesh[:rooms, self._looks] = self._mesh[shape, size]
        self._geom_material[:rooms, self._looks] = self._material[texture]
        self._geom_rgba[:rooms, self._looks] = self._rgba[color]

    def _place(self, poses: Tensor, places: Tensor, things: Tensor) -> None:
        rooms = len(poses)
        _, shape, _, size = things.long().unbind(-1)
        turn = _upright(places[..., 2])
        offset = _product(turn, self._mesh_at[shape, size].unsqueeze(-1)).squeeze(-1)
        ground = torch.nn.functional.pad(places[..., :2], (0, 1))
        self._geom_at[:rooms, self._looks] = ground + offset
        self._geom_turn[:rooms, self._looks] = _product(turn, self._mesh_turn[shape, size])
        self._eye_at[:rooms, :2] = poses[:, :2]
        self._eye_at[:rooms, 2] = EYE_HEIGHT
        self._eye_frame[:rooms] = _product(_upright(poses[:, 2]), self._eye_turn)


@contextmanager
def on(device: torch.device) -> Iterator[None]:
    """Warp works on this device, in torch's own order of things."""
    stream = contextlib.nullcontext()
    if device.type == "cuda":
        stream = warp.ScopedStream(warp.stream_from_torch(torch.cuda.current_stream(device)))
    with warp.ScopedDevice(warp.device_from_torch(device)), stream:
        yield


def _soften(model: mujoco.MjModel, reach: int) -> None:
    """Average each texel of the patterns with those up to ``reach`` away, in place."""
    for texture in np.flatnonzero(model.tex_type == mujoco.mjtTexture.mjTEXTURE_2D.value):
        shape = [getattr(model, f"tex_{side}")[texture] for side in ("height", "width", "nchannel")]
        start = model.tex_adr[texture]
        texels = model.tex_data[start : start + math.prod(shape)].reshape(shape)
        around = np.pad(texels, ((reach, reach), (reach, reach), (0, 0)), mode="edge")
        window = (2 * reach + 1, 2 * reach + 1)
        windows = np.lib.stride_tricks.sliding_window_view(around, window, (0, 1))
        texels[:] = windows.mean((-2, -1)).round()


def _upright(angles: Tensor) -> Tensor:
    """Turns about the vertical: (..., 3, 3)."""
    c, s = angles.cos(), angles.sin()
    o, one = torch.zeros_like(c), torch.ones_like(c)
    return torch.stack([c, -s, o, s, c, o, o, o, one], -1).unflatten(-1, (3, 3))


def _product(a: Tensor, b: Tensor) -> Tensor:
    """Of small matrices, ``a @ b``; but in full precision, whatever autocast or the caller's
    settings of matrix products say: pictures depend on poses alone."""
    return (a.unsqueeze(-1) * b.unsqueeze(-3)).sum(-2)


def _matrix(quat: Any) -> np.ndarray:
    matrix = np.empty(9)
    mujoco.mju_quat2Mat(matrix, np.asarray(quat, np.float64))
    return matrix.reshape(3, 3)
