"""How fast the environments run here, and where the time goes.

Rounds are interleaved, so that a busy machine slows everything alike; figures are medians over
rounds. The floor is the same camera drawing the empty room, without objects, physics or rules.

python -m scripts.benchmark --json speed.json
"""

import argparse
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import gymnasium
import mujoco
import numpy as np

from oddoneout.actions import Action
from oddoneout.env import OddOneOutEnv
from oddoneout.rules.levels import CATALOGUE
from oddoneout.world.camera import Camera
from oddoneout.world.geometry import OBJECT_COUNT
from oddoneout.world.scene import Scene
from scripts import common

PEERS: Final = ("MiniWorld-OneRoom-v0", "MiniWorld-PickupObjects-v0")
SHARED: Final = "OddOneOut/Basic-v0"  # the level whose step is taken apart
_HIDDEN_GROUP: Final = 5  # of geoms that no camera of ours draws
_ACTIONS: Final = np.random.default_rng(0).integers(len(Action), size=4096).tolist()

#: One unit of work; returns how many things it did.
Work = Callable[[], int]


def rate(work: Work, seconds: float) -> float:
    """Things done per second."""
    done, start = 0, time.perf_counter()
    while (now := time.perf_counter()) - start < seconds:
        done += work()
    return done / (now - start)


def actions() -> Iterator[int]:
    while True:
        yield from _ACTIONS


def stepping(env: gymnasium.Env) -> Work:
    """Random steps, resets at the episodes' ends included."""
    env.reset(seed=0)
    draw = actions()
    # Peers have fewer actions; all of them move with the first ones.
    count = int(env.action_space.n)  # type: ignore[attr-defined]

    def work() -> int:
        for _ in range(50):
            _, _, terminated, truncated, _ = env.step(next(draw) % count)
            if terminated or truncated:
                env.reset()
        return 50

    return work


def resetting(env: gymnasium.Env) -> Work:
    def work() -> int:
        for _ in range(10):
            env.reset()
        return 10

    return work


def moving(env: OddOneOutEnv) -> Work:
    """Physics alone, with the same actions."""
    world, draw = env.world, actions()
    env.reset(seed=0)

    def work() -> int:
        for _ in range(50):
            world.move(Action(next(draw)))
        return 50

    return work


def seeing(env: OddOneOutEnv) -> Work:
    """Physics and rendering, with the same actions."""
    world, draw = env.world, actions()
    env.reset(seed=0)

    def work() -> int:
        for _ in range(50):
            world.move(Action(next(draw)))
            world.image()
        return 50

    return work


@contextmanager
def empty_room(image_size: tuple[int, int]) -> Iterator[Work]:
    """The floor: the same camera and the same room with nothing in it."""
    scene = Scene()
    for index in range(OBJECT_COUNT):
        scene.model.geom_group[scene.model.geom(f"look{index}").id] = _HIDDEN_GROUP
    data = mujoco.MjData(scene.model)  # pyright: ignore[reportAttributeAccessIssue]
    mujoco.mj_forward(scene.model, data)  # pyright: ignore[reportAttributeAccessIssue]
    camera = Camera(scene, *image_size)

    def work() -> int:
        for _ in range(50):
            camera.image(data)
        return 50

    yield work
    camera.close()


def vector_stepping(envs: Any) -> Work:
    envs.reset(seed=0)
    draw = np.random.default_rng(0)

    def work() -> int:
        for _ in range(10):
            envs.step(draw.integers(len(Action), size=envs.num_envs))
        return 10 * envs.num_envs

    return work


def measure(works: dict[str, Work], rounds: int, seconds: float) -> dict[str, list[float]]:
    """Rates of every work, one per round, the works taking turns."""
    for work in works.values():
        work()  # GL starts with the first picture
    rates: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            rates[name].append(rate(work, seconds))
    return rates


def median(values: list[float]) -> float:
    return float(statistics.median(values))


def levels(size: int, rounds: int, seconds: float) -> list[dict[str, Any]]:
    """Steps per second, reset time and share of the floor of every level at one image size."""
    with ExitStack() as stack:
        works = {"floor": stack.enter_context(empty_room((size, size)))}
        for level in CATALOGUE.values():
            env = gymnasium.make(level.id, image_size=size, disable_env_checker=True)
            stack.callback(env.close)
            works[f"step {level.id}"] = stepping(env)
            spare = gymnasium.make(level.id, image_size=size, disable_env_checker=True)
            stack.callback(spare.close)
            works[f"reset {level.id}"] = resetting(spare)
        rates = measure(works, rounds, seconds)
    floor = rates["floor"]
    return [
        {
            "env": level.id,
            "image_size": size,
            "steps_per_second": median(rates[f"step {level.id}"]),
            "reset_ms": 1000 / median(rates[f"reset {level.id}"]),
            "floor_frames_per_second": median(floor),
            "floor_ratio": median(
                [a / b for a, b in zip(rates[f"step {level.id}"], floor, strict=True)]
            ),
        }
        for level in CATALOGUE.values()
    ]


def shares(rounds: int, seconds: float) -> dict[str, float]:
    """The share of physics, rendering and rules (all the rest) in one step."""
    with ExitStack() as stack:

        def make() -> OddOneOutEnv:
            env = gymnasium.make(SHARED, disable_env_checker=True)
            stack.callback(env.close)
            return env.unwrapped  # type: ignore[return-value]

        works = {"step": stepping(make()), "move": moving(make()), "see": seeing(make())}
        rates = measure(works, rounds, seconds)
    physics = median([s / m for s, m in zip(rates["step"], rates["move"], strict=True)])
    seen = median([s / d for s, d in zip(rates["step"], rates["see"], strict=True)])
    rendering = max(0.0, seen - physics)
    rules = max(0.0, 1.0 - physics - rendering)
    return {"physics": physics, "rendering": rendering, "rules": rules}


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


def vectors(num_envs: int, rounds: int, seconds: float) -> list[dict[str, Any]]:
    """Steps per second of several environments behind one object, in every mode there is."""
    modes = ["sync", "async"]
    if gymnasium.spec(SHARED).vector_entry_point is not None:
        modes.append("vector_entry_point")
    with ExitStack() as stack:
        works: dict[str, Work] = {}
        for mode in modes:
            envs = gymnasium.make_vec(SHARED, num_envs=num_envs, vectorization_mode=mode)
            stack.callback(envs.close)
            works[mode] = vector_stepping(envs)
        rates = measure(works, rounds, seconds)
    return [
        {"mode": mode, "num_envs": num_envs, "steps_per_second": median(rates[mode])}
        for mode in modes
    ]


def peers(rounds: int, seconds: float) -> list[dict[str, Any]]:
    """MiniWorld, when it is installed: rooms of the same kind at 64x64."""
    if importlib.util.find_spec("miniworld") is None:
        return []
    try:
        importlib.import_module("miniworld")
        with ExitStack() as stack:
            works: dict[str, Work] = {}
            for name in PEERS:
                env = gymnasium.make(name, obs_width=64, obs_height=64, disable_env_checker=True)
                stack.callback(env.close)
                works[name] = stepping(env)
            rates = measure(works, rounds, seconds)
    except Exception as error:  # pyglet has an error of its own for a missing display
        print(f"MiniWorld left out: {type(error).__name__}: {error}", file=sys.stderr)
        return []
    return [{"env": name, "steps_per_second": median(rates[name])} for name in PEERS]


def report(result: dict[str, Any]) -> str:
    rows = [
        (
            row["env"],
            str(row["image_size"]),
            f"{row['steps_per_second']:,.0f}",
            f"{row['reset_ms']:.2f}",
            f"{row['floor_frames_per_second']:,.0f}",
            f"{row['floor_ratio']:.2f}",
        )
        for row in result["levels"]
    ]
    header = ("level", "pixels", "steps/s", "reset ms", "floor/s", "share of floor")
    parts = [common.table(header, rows)]
    of = result["shares"]
    parts.append(
        f"one step of {SHARED}: rendering {of['rendering']:.0%}, physics {of['physics']:.0%}, "
        f"rules and the rest {of['rules']:.0%}"
    )
    parts.append(
        ", ".join(f"{k.replace('_', ' ')[:-2]} {v:.2f} s" for k, v in result["make"].items())
    )
    rows = [
        (v["mode"], str(v["num_envs"]), f"{v['steps_per_second']:,.0f}") for v in result["vector"]
    ]
    parts.append(common.table(("vector mode", "envs", "steps/s"), rows))
    if result["peers"]:
        rows = [(peer["env"], f"{peer['steps_per_second']:,.0f}") for peer in result["peers"]]
        parts.append(common.table(("peer, 64x64", "steps/s"), rows))
    return "\n\n".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.benchmark",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the figures here too")
    parser.add_argument("--sizes", type=common.positive, nargs="+", default=[64, 128])
    parser.add_argument("--rounds", type=common.positive, default=5)
    parser.add_argument("--seconds", type=float, default=0.4, help="of one round of one figure")
    parser.add_argument("--num-envs", type=common.positive, default=os.cpu_count() or 2)
    args = parser.parse_args()
    out = common.writable(args.json)

    result = {
        "machine": {
            "system": platform.platform(),
            "processors": os.cpu_count(),
            "python": platform.python_version(),
            "mujoco": mujoco.__version__,
            "gymnasium": gymnasium.__version__,
        },
        "make": making(),
        "levels": [row for size in args.sizes for row in levels(size, args.rounds, args.seconds)],
        "shares": shares(args.rounds, args.seconds),
        "vector": vectors(args.num_envs, args.rounds, args.seconds),
        "peers": peers(args.rounds, args.seconds),
    }
    print(report(result))
    if out is not None:
        common.write_json(out, result)


if __name__ == "__main__":
    common.run(main)
