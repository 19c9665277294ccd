"""The camera: geometry of the view, presentations, sharing of GL contexts, clear errors."""

import ctypes.util
import gc
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from oddoneout.actions import Action
from oddoneout.rules.attributes import Color, Dimension, Shape, Size, Texture
from oddoneout.rules.things import Thing
from oddoneout.world import camera, gaze
from oddoneout.world.geometry import (
    AGENT_RADIUS,
    EYE_PITCH,
    FIELD_OF_VIEW,
    GAZE_CONE,
    OBJECT_RADIUS,
)
from oddoneout.world.layout import Layout, Pose, sample_layout
from oddoneout.world.world import World
from tests.world.examples import FOUR, random_thing, room, watching

FAR = ((1.2, 1.2, 0.0), (-1.2, 1.2, 0.0), (-1.2, -1.2, 0.0))
FAR_BEHIND = ((-1.0, 1.0, 0.0), (-1.0, -1.0, 2.0), (-1.0, 0.0, 1.0))
MARKER = Thing(Color.MAGENTA, Shape.CYLINDER, Texture.SOLID, Size.SMALL)
PALE = Thing(Color.WHITE, Shape.CUBE, Texture.SOLID, Size.SMALL)


def marked(image: np.ndarray) -> np.ndarray:
    """Where the magenta marker shows: bool (H, W)."""
    red, green, blue = image.astype(int).transpose(2, 0, 1)
    return (red > green + 40) & (blue > green + 40)


def view_of_marker(size: tuple[int, int], bearing: float, distance: float = 1.4) -> np.ndarray:
    """The view in which a marker stands at ``bearing``, positive to the left."""
    world = World(size)
    place = (distance * np.cos(bearing), distance * np.sin(bearing), 0.0)
    objects = (place, (-1.3, 0.0, 0.0), (-1.3, 1.3, 0.0), (-1.3, -1.3, 0.0))
    world.place([MARKER, PALE, PALE, PALE], Layout(Pose(0.0, 0.0, 0.0), objects))
    picture = world.image()
    world.close()
    return picture


def test_an_image_is_a_fresh_array_of_the_size_asked_for():
    world = World((40, 72))
    world.place(FOUR, watching())
    one, two = world.image(), world.image()
    assert one.shape == (40, 72, 3)
    assert one.dtype == np.uint8
    assert one.flags.c_contiguous
    assert one.flags.owndata
    assert not np.shares_memory(one, two)
    np.testing.assert_array_equal(one, two)
    world.close()


def test_the_image_is_upright_and_not_mirrored():
    left = marked(view_of_marker((64, 64), bearing=0.4))
    assert left.any()
    assert left[:, :32].sum() > 10 * left[:, 32:].sum()
    near, far = (marked(view_of_marker((64, 64), 0.0, d)).nonzero()[0].mean() for d in (1.0, 1.5))
    assert near > far  # what is nearer stands lower in the picture


@pytest.mark.parametrize("size", [(64, 64), (48, 80), (80, 48), (30, 96)])
def test_the_horizontal_field_of_view_is_the_same_for_every_aspect(size):
    """The marker's centre shows in the column that the pinhole model predicts."""
    bearing, distance = 0.45, 1.5
    columns = marked(view_of_marker(size, bearing, distance)).nonzero()[1]
    # On the floor the camera's pitch counts: depth is along the tilted axis. Taken at the
    # marker's mid height, a fifth of a metre.
    drop = 1.2 - 0.2
    depth = distance * np.cos(bearing) * np.cos(EYE_PITCH) + drop * np.sin(EYE_PITCH)
    aside = distance * np.sin(bearing) / depth / np.tan(FIELD_OF_VIEW / 2)
    expected = (1 - aside) * size[1] / 2
    assert columns.mean() + 0.5 == pytest.approx(expected, abs=0.03 * size[1])


@pytest.mark.parametrize("size", [(64, 64), (64, 96), (96, 64)])
@pytest.mark.parametrize("shape", Shape)
def test_the_smallest_object_in_focus_is_in_the_picture_even_when_touched(size, shape):
    thing = Thing(Color.RED, shape, Texture.SOLID, Size.SMALL)
    world = World(size)
    for bearing in (-GAZE_CONE, 0.0, GAZE_CONE):
        touching = AGENT_RADIUS + OBJECT_RADIUS
        place = (touching * np.cos(bearing), touching * np.sin(bearing), 0.3)
        world.place([thing, *FOUR[1:]], Layout(Pose(0.0, 0.0, 0.0), (place, *FAR_BEHIND)))
        before = world.image()
        world.repaint(0, thing.with_value(Dimension.COLOR, Color.CYAN))
        assert (before != world.image()).any(), bearing
    world.close()


@pytest.mark.parametrize("size", [(64, 64), (32, 96), (96, 32)])
def test_leaving_out_what_is_not_in_the_picture_changes_no_pixel(size, monkeypatch):
    rng = np.random.default_rng(7)
    world = World(size)
    left_out = 0
    for _ in range(60):
        things = [random_thing(rng) for _ in range(4)]
        layout = sample_layout(rng)
        x, y = rng.uniform(-1.5, 1.5, 2)  # even inside objects: whatever the eye may see
        layout = Layout(Pose(x, y, rng.uniform(-np.pi, np.pi)), layout.objects)
        world.place(things, layout)
        ours = world.image()
        left_out += sum(not flag for flag in gaze.framed(world.pose, world.positions))
        with monkeypatch.context() as patched:
            patched.setattr(gaze, "framed", lambda *_: [True] * 4)
            world.place(things, layout)
            np.testing.assert_array_equal(ours, world.image())
    world.close()
    assert left_out > 60, "most rooms have something out of the picture"


def test_the_agent_does_not_see_its_own_body():
    world = World((64, 64))
    world.place([PALE] * 4, Layout(Pose(0.0, 0.0, 0.0), ((-1.3, 0.0, 0.0), *FAR)))
    picture = world.image().astype(int)
    world.close()
    assert np.ptp(picture[-12:, 20:44].reshape(-1, 3), axis=0).max() == 0  # bare floor


def test_presentations_show_the_agent_and_follow_it():
    world = World((32, 32))
    world.place(FOUR, room())
    shots = []
    for view in camera.VIEWS:
        before = world.present(96, 128, view)
        assert before.shape == (96, 128, 3)
        assert before.dtype == np.uint8
        assert before.std() > 10
        shots.append(before)
    assert (shots[0] != shots[1]).any()
    world.move(Action.FORWARD)
    for view, before in zip(camera.VIEWS, shots, strict=True):
        assert (world.present(96, 128, view) != before).any()
    world.close()


def test_a_presentation_leaves_the_agents_view_as_it_was():
    world = World((48, 48))
    world.place(FOUR, watching())
    before = world.image()
    world.present(200, 300)
    np.testing.assert_array_equal(world.image(), before)
    world.present(600, 700, "shoulder")
    np.testing.assert_array_equal(world.image(), before)
    world.close()


def test_a_presentation_that_fails_leaves_the_agents_view_as_it_was():
    world = World((48, 48))
    world.place(FOUR, watching())
    before = world.image()
    with pytest.raises(ValueError, match="height and width must be at least 1, got 480 and -5"):
        world.present(480, -5)
    with pytest.raises(MemoryError):
        world.present(10**7, 10**7)
    np.testing.assert_array_equal(world.image(), before)
    world.close()


def test_an_unknown_view_is_refused_with_the_allowed_ones():
    world = World((32, 32))
    world.place(FOUR, watching())
    with pytest.raises(ValueError, match="overhead, shoulder"):
        world.present(view="sideways")


def test_worlds_of_one_thread_share_a_context_that_goes_with_the_last_of_them():
    gc.collect()
    before = len(camera._registry)
    worlds = [World((32, 32)), World((64, 48)), World((20, 90))]
    for world in worlds:
        world.place(FOUR, watching())
        world.image()
    (studio,) = {world._camera._studio for world in worlds}
    for world in worlds:
        world.close()
        world.close()  # closing twice is closing once
    assert len(camera._registry) == before
    picture = worlds[0].image()  # opens anew
    assert picture.any()
    assert worlds[0]._camera._studio is not studio or before
    worlds[0].close()


def test_a_world_that_is_dropped_lets_go_of_its_context():
    world = World((32, 32))
    world.place(FOUR, watching())
    world.image()
    studio = world._camera._studio
    users = studio.users
    del world
    gc.collect()
    assert studio.users == users - 1


def test_threads_draw_the_same_pictures_at_once():
    reference = World((48, 48))
    reference.place(FOUR, watching())
    expected = reference.image()
    failures: list[str] = []
    start = threading.Barrier(3)

    def draw() -> None:
        try:
            world = World((48, 48))
            world.place(FOUR, watching())
            start.wait(timeout=60)
            for _ in range(50):
                if (world.image() != expected).any():
                    failures.append("another picture")
            world.close()
        except Exception as error:
            failures.append(repr(error))

    threads = [threading.Thread(target=draw) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert failures == []
    np.testing.assert_array_equal(reference.image(), expected)
    reference.close()


def test_threads_that_take_turns_with_a_world_keep_one_context_each():
    before = set(camera._registry)
    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as two:
        world = one.submit(World, (32, 32)).result()
        pictures = []
        for thread in (one, two, one, two):
            thread.submit(world.place, FOUR, watching()).result()
            pictures.append(thread.submit(world.image).result())
        assert len(set(camera._registry) - before) == 2
        assert not camera._stranded
        world.close()  # by a third, which cannot free what is current elsewhere
        assert set(camera._registry) == before
        assert len(camera._stranded) == 2
        for thread in (one, two):  # each of them frees its own when it draws the next time
            other = thread.submit(World, (32, 32)).result()
            thread.submit(other.place, FOUR, watching()).result()
            pictures.append(thread.submit(other.image).result())
            thread.submit(other.close).result()
        assert not camera._stranded
    for picture in pictures:
        np.testing.assert_array_equal(picture, pictures[0])


@pytest.mark.parametrize("closed", ["by its thread's end", "after it"])
def test_what_a_thread_drew_with_is_freed_though_the_thread_has_ended(closed, monkeypatch):
    before, freed = set(camera._registry), []
    reference = World((32, 32))
    reference.place(FOUR, watching())
    expected = reference.image()
    worlds: list[World] = []
    ready, ending = threading.Event(), threading.Event()

    def draw() -> None:
        world = World((32, 32))
        world.place(FOUR, watching())
        world.image()
        studio = world._camera._studio
        free = studio._gl.free
        monkeypatch.setattr(studio._gl, "free", lambda: (free(), freed.append(1)))
        worlds.append(world)
        ready.set()
        ending.wait(60)

    thread = threading.Thread(target=draw)
    thread.start()
    assert ready.wait(60)
    if closed == "after it":
        ending.set()
        thread.join(60)
        worlds.pop().close()
    else:
        worlds.pop().close()
        assert camera._stranded
        ending.set()
        thread.join(60)
    assert freed == [1]
    assert not camera._stranded
    assert len(set(camera._registry) - before) <= 1  # the reference's own
    np.testing.assert_array_equal(reference.image(), expected)
    reference.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_draws_though_another_thread_was_just_starting_gl():
    world = World((32, 32))
    world.place(FOUR, watching())
    expected = world.image()
    held, done = threading.Event(), threading.Event()

    def start_gl() -> None:
        with camera._lock:
            held.set()
            done.wait(60)

    thread = threading.Thread(target=start_gl)
    thread.start()
    held.wait(60)
    child = os.fork()
    if child == 0:
        signal.alarm(30)  # the lock's holder is not in this process: whoever waits, waits for ever
        code = 1
        try:
            code = int((world.image() != expected).any())
        finally:
            os._exit(code)
    done.set()
    thread.join()
    assert os.waitpid(child, 0)[1] == 0
    world.close()


@pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(), reason="no fork on this system"
)
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_draws_the_same_pictures_as_its_parent():
    world = World((32, 32))
    world.place(FOUR, watching())
    expected = world.image()
    context = multiprocessing.get_context("fork")
    receive, send = context.Pipe(duplex=False)

    def child() -> None:
        inherited = world.image()
        own = World((32, 32))
        own.place(FOUR, watching())
        send.send((inherited, own.image()))

    process = context.Process(target=child)
    process.start()
    assert receive.poll(60), "the child drew nothing"
    for picture in receive.recv():
        np.testing.assert_array_equal(picture, expected)
    process.join(timeout=60)
    assert process.exitcode == 0
    np.testing.assert_array_equal(world.image(), expected)
    world.close()


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


PICTURE = """
    from oddoneout.world.world import World
    from tests.world.examples import FOUR, watching
    world = World((32, 32))
    world.place(FOUR, watching())
    world.image()
"""


def test_without_a_gl_library_the_error_names_what_to_install():
    # An EGL platform that PyOpenGL is told not to use fails just as a missing library does.
    result = run(PICTURE, PYOPENGL_PLATFORM="osmesa", MUJOCO_GL="egl")
    assert result.returncode != 0
    assert "libegl1 libgl1-mesa-dri" in result.stderr


@pytest.mark.parametrize("backend", ["osmesa-that-is-not-there", "osmesa"])
def test_a_backend_that_mujoco_cannot_take_is_named(backend):
    library = ctypes.util.find_library("OSMesa")
    if backend == "osmesa" and library is not None:
        pytest.skip(f"there is {library}")
    code = "import gymnasium, oddoneout; gymnasium.make('OddOneOut/Basic-v0')"
    result = run(code, MUJOCO_GL=backend, PYOPENGL_PLATFORM="")
    assert "RuntimeError: MuJoCo cannot be imported" in result.stderr
    assert f"MUJOCO_GL='{backend}'" in result.stderr
    assert "libosmesa6" in result.stderr


def test_torch_may_come_after_the_first_picture():
    """Its compiler's LLVM crashed where Mesa's had been loaded before."""
    pytest.importorskip("triton")
    after = """
    import torch
    torch.optim.Adam(torch.nn.Linear(2, 2).parameters())
"""
    result = run(PICTURE + after)
    assert result.returncode == 0, f"exit code {result.returncode}: {result.stderr}"


def test_importing_and_making_a_world_touch_neither_gl_nor_the_environment():
    result = run(
        """
        import os, sys
        before = dict(os.environ)
        from oddoneout.world.world import World
        from tests.world.examples import FOUR, watching
        world = World((32, 32))
        world.place(FOUR, watching())
        assert dict(os.environ) == before
        assert not any(name.startswith(("OpenGL", "mujoco.egl")) for name in sys.modules)
        """,
        MUJOCO_GL="",  # else mujoco itself loads the backend that it names
    )
    assert result.returncode == 0, result.stderr


def test_a_process_that_closes_nothing_ends_in_peace():
    result = run(PICTURE + "    world.present()\n")
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""


def test_the_renderer_names_itself_and_leaves_pictures_alone() -> None:
    world = World((32, 32))
    world.place(FOUR, room())
    before = world.image()
    name = camera.renderer_version()
    assert ", " in name
    assert "unknown" not in name
    world.place(FOUR, room())
    assert np.array_equal(world.image(), before)
    world.close()
