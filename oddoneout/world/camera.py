"""The agent's eye and the presentation views; the only file that touches GL."""

# MuJoCo's names come from compiled modules without stubs, which pyright cannot look into.
# pyright: reportAttributeAccessIssue=false

import atexit
import contextlib
import copy
import ctypes
import importlib.util
import math
import os
import platform
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

try:
    import mujoco
except Exception as error:  # MUJOCO_GL names no backend, or one whose library is missing
    raise RuntimeError(
        f"MuJoCo cannot be imported: {error} (MUJOCO_GL={os.environ.get('MUJOCO_GL', '')!r}; it"
        " may be egl, with the Debian packages `libegl1 libgl1-mesa-dri`, osmesa, with"
        " `libosmesa6`, or glfw)"
    ) from error
import numpy as np
from numpy.typing import NDArray

from oddoneout.world.geometry import OBJECT_COUNT, ROOM_HALF, VIEWS, vertical_view
from oddoneout.world.scene import Pool, Scene, pool

_ALL_OBJECTS: Final = (True,) * OBJECT_COUNT
_SEEN: Final = (1, 0, 1, 0, 0, 0)  # geom groups that the agent's own eye sees
_SHOWN: Final = (1, 1, 0, 0, 0, 0)  # and those that a presentation shows
_MAX_GEOMS: Final = 64
_PLAIN_FLAGS: Final = (  # what the room does not have, or does without
    mujoco.mjtRndFlag.mjRND_SHADOW,
    mujoco.mjtRndFlag.mjRND_REFLECTION,
    mujoco.mjtRndFlag.mjRND_SKYBOX,
    mujoco.mjtRndFlag.mjRND_HAZE,
    mujoco.mjtRndFlag.mjRND_FOG,
)


class Camera:
    """Renders one scene. GL starts with the first picture, not before."""

    _studio: "_Studio | None" = None

    def __init__(self, scene: Scene, height: int, width: int) -> None:
        self._studios: dict[int, _Studio] = {}  # by thread
        self._scene = scene
        self._rect = mujoco.MjrRect(0, 0, width, height)
        self._shape = (height, width, 3)
        self._buffer = np.empty(self._shape, np.uint8)
        self._upright = self._buffer[::-1]  # GL counts rows from the bottom
        self._eye = _eye(scene.model, height / width)
        self._option = _option(_SEEN)
        self._frame = mujoco.MjvScene(scene.model, _MAX_GEOMS)
        for flag in _PLAIN_FLAGS:
            self._frame.flags[flag] = 0
        self._shown: mujoco.MjvScene | None = None

    def image(self, data: mujoco.MjData, drawn: Sequence[bool] = _ALL_OBJECTS) -> NDArray[np.uint8]:
        """What the agent sees: uint8 (H, W, 3), upright, a fresh array.

        Args:
            data: of the scene's model, with the kinematics worked out.
            drawn: which objects to draw: each costs a tenth of a frame, seen or not.
        """
        studio = self._studio
        if studio is None or not studio.is_here():
            studio = self._open()
        studio.make_current()
        self._scene.draw(drawn)
        _update(self._scene.model, data, self._option, None, self._eye, _EVERYTHING, self._frame)
        _render(self._rect, self._frame, studio.plain)
        _read(self._buffer, None, self._rect, studio.plain)
        return self._upright.copy()

    def present(self, data: mujoco.MjData, height: int, width: int, view: str) -> NDArray[np.uint8]:
        """The room with the agent in it: uint8 (height, width, 3); see ``World.present``."""
        if view not in VIEWS:
            raise ValueError(f"view must be one of {', '.join(VIEWS)}, got {view!r}")
        if min(height, width) < 1:
            raise ValueError(f"height and width must be at least 1, got {height} and {width}")
        studio = self._studio
        if studio is None or not studio.is_here():
            studio = self._open()
        if self._shown is None:
            self._shown = mujoco.MjvScene(self._scene.model, _MAX_GEOMS)
        camera = _overhead() if view == "overhead" else _shoulder(data)
        option, rect = _option(_SHOWN), mujoco.MjrRect(0, 0, width, height)
        buffer = np.empty((height, width, 3), np.uint8)
        studio.make_current()
        try:
            context = studio.fine(height, width)  # making it binds its frame buffer
            self._scene.draw(_ALL_OBJECTS)
            _update(self._scene.model, data, option, None, camera, _EVERYTHING, self._shown)
            _bind(context)
            _render(rect, self._shown, context)
            _read(buffer, None, rect, context)
        finally:
            _bind(studio.plain)
        return buffer[::-1].copy()

    def close(self) -> None:
        """Let go of GL; a later picture starts it anew."""
        self._studio = None
        while self._studios:
            self._studios.popitem()[1].leave()

    def __del__(self) -> None:
        # By then everything is closed, and this module half gone; or nothing was ever begun.
        if not sys.is_finalizing() and hasattr(self, "_studios"):
            self.close()

    def _open(self) -> "_Studio":
        """This thread's studio. Those of other threads are kept: they may go on in turns."""
        thread = threading.get_ident()
        studio = self._studios.get(thread)
        if studio is None or not studio.is_here():
            studio = self._studios[thread] = _enter(self._scene.pool)
            studio.fit(self._rect.height, self._rect.width)
        self._studio = studio
        return studio


def renderer_version() -> str:
    """Who draws here, in GL's own words: "RENDERER, VERSION".

    Raises:
        RuntimeError: if GL cannot start.
    """
    studio = _enter(pool())
    try:
        studio.make_current()
        from OpenGL.raw.GL.VERSION import GL_1_0  # needs the current context

        pointers: list[Any] = [
            GL_1_0.glGetString(n) for n in (GL_1_0.GL_RENDERER, GL_1_0.GL_VERSION)
        ]
        told = [ctypes.cast(pointer, ctypes.c_char_p).value for pointer in pointers]
        return ", ".join((text or b"unknown").decode() for text in told)
    finally:
        studio.leave()


# --- sharing of GL contexts ---------------------------------------------------------------------

_registry: dict[tuple[int, Pool], "_Studio"] = {}  # (thread, pool) -> studio
_stranded: list["_Studio"] = []  # closed by another thread; their own may still free them
_lost: list["_Studio"] = []  # the parent process's: kept from being freed here
_lock = threading.RLock()
_threads = threading.local()
_prepared = False


class _Studio:
    """A GL context that holds the pool's meshes and textures, for all cameras of one thread.

    A context belongs to a thread and takes about 0.1 s to make, while worlds are many and share
    their assets: so there is one for each thread and pool, closed with its last camera.
    """

    def __init__(self, pool: Pool, thread: int) -> None:
        self.users = 0
        self._pool = pool
        self._thread = thread
        self._alive = True
        self._gl, self.plain = _start_gl(pool.model)
        self._current = _current_context()
        self._context = self._current()
        _sharpen(self.plain)
        _bind(self.plain)
        self._fine: mujoco.MjrContext | None = None

    def is_here(self) -> bool:
        """Whether this thread, and this process, may draw with it."""
        return self._alive and self.is_this_threads()

    def make_current(self) -> None:
        """Make its GL context current, unless it is: asking takes a tenth of the time."""
        if self._context is None or self._current() != self._context:
            self._gl.make_current()

    def fit(self, height: int, width: int) -> None:
        """Make the frame buffer of the agents' eyes large enough."""
        self.make_current()
        _fit(self.plain, height, width)
        _bind(self.plain)

    def fine(self, height: int, width: int) -> mujoco.MjrContext:
        """The context for presentations: soft edges and shadows; current GL is assumed."""
        if self._fine is None:
            model = copy.copy(self._pool.model)
            model.vis.quality.shadowsize = 2048
            model.vis.quality.offsamples = 8
            self._fine = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_50.value)
        _fit(self._fine, height, width)
        return self._fine

    def leave(self) -> None:
        """One camera less; the last one closes the studio."""
        with _lock:
            self.users -= 1
            if self.users == 0 and self._alive:
                self.close()

    def close(self) -> None:
        with _lock:
            if self._alive:
                _registry.pop((self._thread, self._pool), None)
                self._alive = False
            before = self._current()
            try:
                self.make_current()
            except Exception:  # still current in another thread: each backend has its own error
                _stranded.append(self)
                return
            self.plain.free()
            if self._fine is not None:
                self._fine.free()
            self._gl.free()
            # Garbage may be collected in the middle of a picture.
            for other in list(_registry.values()):
                if other.is_this_threads() and other._context == before:
                    other._gl.make_current()

    def is_this_threads(self) -> bool:
        """Whether this thread made it, and can make its GL context current."""
        return self._thread == threading.get_ident()

    def lose(self) -> None:
        """Never draw with it again, never free it: it belongs to the parent process."""
        self._alive = False
        _lost.append(self)


def _enter(pool: Pool) -> _Studio:
    """This thread's studio for ``pool``, made if need be; counts one more camera."""
    global _prepared
    key = (threading.get_ident(), pool)
    with _lock:
        if not _prepared:
            _prepared = True
            atexit.register(_close_all)
            if hasattr(os, "register_at_fork"):
                os.register_at_fork(after_in_child=_lose_all)
        _free_stranded()
        studio = _registry.get(key)
        if studio is None:
            studio = _registry[key] = _Studio(pool, key[0])
            if not hasattr(_threads, "end"):
                _threads.end = _ThreadsEnd()
        studio.users += 1
        return studio


class _ThreadsEnd:
    """Goes with its thread, and makes it let go of GL: nobody else could free what it drew with."""

    def __init__(self) -> None:
        self._thread = os.getpid(), threading.get_ident()

    def __del__(self) -> None:
        # In a fork the parent's threads end, too, as the one that lives on.
        if sys.is_finalizing() or self._thread != (os.getpid(), threading.get_ident()):
            return
        with contextlib.suppress(Exception):  # each backend has its own error
            _free_stranded()
            from OpenGL import EGL

            EGL.eglReleaseThread()


def _free_stranded() -> None:
    """Free what this thread drew with and others have closed."""
    for studio in [studio for studio in _stranded if studio.is_this_threads()]:
        _stranded.remove(studio)
        studio.close()


def _close_all() -> None:
    for studio in list(_registry.values()):
        studio.close()


def _lose_all() -> None:
    """In a fork: all is the parent's, and so are the threads that may hold the lock."""
    global _lock
    _lock = threading.RLock()
    for studio in (*_registry.values(), *_stranded):
        studio.lose()
    _registry.clear()
    _stranded.clear()


def _start_gl(model: mujoco.MjModel) -> tuple[Any, mujoco.MjrContext]:
    """A new GL context, current, of the backend that ``MUJOCO_GL`` names (EGL on Linux if it
    names none), and MuJoCo's part of it, with the model's assets.

    Raises:
        RuntimeError: when GL cannot start, saying what to install.
    """
    # A frame is far too small to share out among llvmpipe's threads; read when GL loads.
    os.environ.setdefault("LP_NUM_THREADS", "0")
    _load_triton()
    asked = os.environ.get("MUJOCO_GL", "").lower().strip()
    backend = asked or ("egl" if platform.system() == "Linux" else "")
    module = f"mujoco.{backend}" if backend in ("egl", "osmesa", "glfw", "cgl") else "mujoco"
    try:
        gl = importlib.import_module(module).GLContext(64, 64)
        gl.make_current()
        return gl, mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_50.value)
    except Exception as error:  # whatever a missing or broken library makes each backend raise
        raise RuntimeError(
            f"OpenGL cannot start: {error} (MUJOCO_GL={asked!r}, tried {backend or 'the default'})."
            " Without a display, software rendering needs the Debian packages"
            " `libegl1 libgl1-mesa-dri`; set MUJOCO_GL to egl, osmesa or glfw to choose a backend"
        ) from error


def _load_triton() -> None:
    """Load the library of PyTorch's compiler, where it is installed, before Mesa's.

    Each brings an LLVM. After Mesa's, whose names are visible to all that is loaded later, this
    one calls the wrong one and crashes, as soon as torch makes an optimizer.
    """
    found = importlib.util.find_spec("triton")
    for folder in (found and found.submodule_search_locations) or ():
        for library in Path(folder, "_C").glob("libtriton*.so"):
            with contextlib.suppress(OSError):  # torch will say what is wrong with it
                ctypes.CDLL(str(library))


def _current_context() -> Callable[[], int | None]:
    """What tells the address of this thread's current EGL context; of any other backend's, None."""
    try:
        from OpenGL.platform import PLATFORM  # there once a context is

        # A prototype of our own: PyOpenGL's checks for errors after every call.
        return ctypes.PYFUNCTYPE(ctypes.c_void_p)(("eglGetCurrentContext", PLATFORM.EGL))
    except Exception:  # whatever a backend without EGL makes of that
        return lambda: None


# --- small parts --------------------------------------------------------------------------------

# Module globals are found faster than a module's attributes, and these run in every step.
_update, _render, _read = mujoco.mjv_updateScene, mujoco.mjr_render, mujoco.mjr_readPixels
_EVERYTHING: Final = int(mujoco.mjtCatBit.mjCAT_ALL)


def _bind(context: mujoco.MjrContext) -> None:
    """Draw into this context's frame buffer: which one is bound is a state of GL, not of it."""
    mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, context)


def _sharpen(context: mujoco.MjrContext) -> None:
    """Sample one mipmap level per pixel, the nearest, instead of blending two.

    Patterns come out crisper at a distance, and a frame takes a tenth less time.
    """
    # Needs the current context, hence not imported before there is one.
    from OpenGL.raw.GL.VERSION import GL_1_0, GL_1_1

    plane = mujoco.mjtTexture.mjTEXTURE_2D.value
    for name, kind in zip(context.texture, context.textureType, strict=True):
        if name and kind == plane:
            GL_1_1.glBindTexture(GL_1_0.GL_TEXTURE_2D, int(name))
            GL_1_0.glTexParameteri(
                GL_1_0.GL_TEXTURE_2D, GL_1_0.GL_TEXTURE_MIN_FILTER, GL_1_0.GL_LINEAR_MIPMAP_NEAREST
            )
    GL_1_1.glBindTexture(GL_1_0.GL_TEXTURE_2D, 0)


def _fit(context: mujoco.MjrContext, height: int, width: int) -> None:
    if context.offHeight < height or context.offWidth < width:
        size = max(width, context.offWidth), max(height, context.offHeight)
        mujoco.mjr_resizeOffscreen(*size, context)


def _option(groups: tuple[int, ...]) -> mujoco.MjvOption:
    option = mujoco.MjvOption()
    option.geomgroup[:] = groups
    return option


def _eye(model: mujoco.MjModel, aspect: float) -> mujoco.MjvCamera:
    camera = mujoco.MjvCamera()
    camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
    camera.fixedcamid = model.camera("eye").id
    model.cam_fovy[camera.fixedcamid] = math.degrees(vertical_view(aspect))
    return camera


def _overhead() -> mujoco.MjvCamera:
    camera = mujoco.MjvCamera()
    camera.type = mujoco.mjtCamera.mjCAMERA_FREE
    camera.lookat[:] = (0.0, -0.15, 0.0)
    camera.azimuth, camera.elevation, camera.distance = 90.0, -62.0, 2.75 * ROOM_HALF
    return camera


def _shoulder(data: mujoco.MjData) -> mujoco.MjvCamera:
    x, y, heading = data.qpos
    camera = mujoco.MjvCamera()
    camera.type = mujoco.mjtCamera.mjCAMERA_FREE
    camera.lookat[:] = (x + 0.7 * math.cos(heading), y + 0.7 * math.sin(heading), 0.4)
    camera.azimuth, camera.elevation, camera.distance = math.degrees(heading), -32.0, 2.3
    return camera
