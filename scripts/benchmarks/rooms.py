"""One environment in one process: its rate, its share of the floor, and where a step's time goes.

The floor is the same camera drawing the empty room, without objects, physics or rules.
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Final

import gymnasium
import mujoco

from oddoneout.actions import Action
from oddoneout.env import OddOneOutEnv
from oddoneout.rules.levels import CATALOGUE
from oddoneout.world.camera import Camera
from oddoneout.world.geometry import OBJECT_COUNT
from oddoneout.world.scene import Scene
from scripts import common
from scripts.benchmarks.rates import (
    MOVEMENTS,
    SHARED,
    Effort,
    Work,
    drawn,
    measure,
    median,
    ratio,
    stepping,
)

_NOTHING: Final = (False,) * OBJECT_COUNT


def resetting(env: gymnasium.Env) -> Work:
    def work() -> int:
        for _ in range(10):
            env.reset()
        return 10

    return work


def moving(env: OddOneOutEnv, *, seeing: bool) -> Work:
    """Physics with random actions, alone or with rendering."""
    world, draw = env.world, drawn()
    env.reset(seed=0)

    def work() -> int:
        for _ in range(50):
            world.move(Action(next(draw)))
            if seeing:
                world.image()
        return 50

    return work


@contextmanager
def empty_room(image_size: tuple[int, int]) -> Iterator[Work]:
    """The floor: the same camera and the same room with nothing in it."""
    scene = Scene()
    data = mujoco.MjData(scene.model)  # pyright: ignore[reportAttributeAccessIssue]
    mujoco.mj_forward(scene.model, data)  # pyright: ignore[reportAttributeAccessIssue]
    camera = Camera(scene, *image_size)

    def work() -> int:
        for _ in range(50):
            camera.image(data, _NOTHING)
        return 50

    yield work
    camera.close()


def levels(size: int, effort: Effort) -> list[dict[str, Any]]:
    """Steps per second, reset time and share of the floor of every level at one image size.

    A room in which nothing changed is not drawn again, and of random actions more than half change
    nothing: "walking" is the share of the floor with movements only.
    """
    with ExitStack() as stack:
        works = {"floor": stack.enter_context(empty_room((size, size)))}
        for level in CATALOGUE.values():
            env = gymnasium.make(level.id, image_size=size, disable_env_checker=True)
            stack.callback(env.close)
            works[f"step {level.id}"] = stepping(env)
            walker = gymnasium.make(level.id, image_size=size, disable_env_checker=True)
            stack.callback(walker.close)
            works[f"walk {level.id}"] = stepping(walker, MOVEMENTS)
            spare = gymnasium.make(level.id, image_size=size, disable_env_checker=True)
            stack.callback(spare.close)
            works[f"reset {level.id}"] = resetting(spare)
        rates = measure(works, effort)
    return [
        {
            "env": level.id,
            "image_size": size,
            "steps_per_second": median(rates[f"step {level.id}"]),
            "reset_ms": 1000 / median(rates[f"reset {level.id}"]),
            "floor_frames_per_second": median(rates["floor"]),
            "floor_ratio": ratio(rates[f"step {level.id}"], rates["floor"]),
            "walking_floor_ratio": ratio(rates[f"walk {level.id}"], rates["floor"]),
        }
        for level in CATALOGUE.values()
    ]


def levels_table(rows: Sequence[dict[str, Any]]) -> str:
    return common.table(
        ("level", "pixels", "steps/s", "reset ms", "floor/s", "share of floor", "walking"),
        [
            (
                row["env"],
                str(row["image_size"]),
                f"{row['steps_per_second']:,.0f}",
                f"{row['reset_ms']:.2f}",
                f"{row['floor_frames_per_second']:,.0f}",
                f"{row['floor_ratio']:.2f}",
                f"{row['walking_floor_ratio']:.2f}",
            )
            for row in rows
        ],
    )


def shares(effort: Effort) -> dict[str, float]:
    """The share of physics, rendering and rules (all the rest) in one step."""
    with ExitStack() as stack:

        def make() -> OddOneOutEnv:
            env = gymnasium.make(SHARED, disable_env_checker=True)
            stack.callback(env.close)
            return env.unwrapped  # type: ignore[return-value]

        works = {
            "step": stepping(make()),
            "move": moving(make(), seeing=False),
            "see": moving(make(), seeing=True),
        }
        rates = measure(works, effort)
    physics = ratio(rates["step"], rates["move"])
    rendering = max(0.0, ratio(rates["step"], rates["see"]) - physics)
    return {
        "physics": physics,
        "rendering": rendering,
        "rules": max(0.0, 1.0 - physics - rendering),
    }


def shares_line(of: dict[str, float]) -> str:
    return (
        f"one step of {SHARED}: rendering {of['rendering']:.0%}, physics {of['physics']:.0%}, "
        f"rules and the rest {of['rules']:.0%}"
    )


def making() -> dict[str, float]:
    """Seconds to make an environment: in a fresh process, and in one that made one before."""
    code = f"""if True:
        import json, time
        start = time.perf_counter()
        import gymnasium, oddoneout
        imported = time.perf_counter()
        env = gymnasium.make({SHARED!r})
        made = time.perf_counter()
        env.reset(seed=0)
        ready = time.perf_counter()
        gymnasium.make({SHARED!r})
        again = time.perf_counter()
        print(json.dumps({{
            "import_s": imported - start,
            "first_make_s": made - imported,
            "first_reset_s": ready - made,
            "next_make_s": again - ready,
        }}))
    """
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def making_line(of: dict[str, float]) -> str:
    return ", ".join(f"{name.replace('_', ' ')[:-2]} {value:.2f} s" for name, value in of.items())


def memory(worlds: int = 32) -> dict[str, float]:
    """Megabytes of a process that has stepped one world, and of each further one.

    Resident memory of a fresh process (Linux), before and after ``worlds`` more have been made,
    reset and stepped; all stay alive.
    """
    code = f"""if True:
        import json, os
        import gymnasium, oddoneout

        def resident():
            pages = int(open("/proc/self/statm").read().split()[1])
            return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

        def world():
            env = gymnasium.make({SHARED!r}, disable_env_checker=True)
            env.reset(seed=0)
            for action in range(5):
                env.step(action)
            return env

        alive = [world()]
        first = resident()
        alive += [world() for _ in range({worlds})]
        each = (resident() - first) / {worlds}
        print(json.dumps({{"first_mb": first, "each_further_mb": each, "worlds": {worlds}}}))
    """
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def memory_line(of: dict[str, float]) -> str:
    return (
        f"a process with one world holds {of['first_mb']:.0f} MB, each further world "
        f"{of['each_further_mb']:.2f} MB (mean of {of['worlds']})"
    )
