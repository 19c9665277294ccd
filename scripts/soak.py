"""Many random steps over all levels: no error, no NaN, flat memory.

    python -m scripts.soak --steps 200000

Exits with 1 when memory after the last round exceeds that after the warm-up by more than 1%.
"""

import argparse
import gc
import sys
import time
from pathlib import Path

import gymnasium
import numpy as np

import oddoneout  # noqa: F401 - registers the ids
from oddoneout.actions import Action
from oddoneout.rules.levels import CATALOGUE
from scripts import common

GROWTH = 0.01  # allowed, of the memory after the warm-up


def resident_bytes() -> int:
    """Memory of this process that is in RAM, from the kernel's own count (Linux)."""
    gc.collect()  # environments hold cycles; what merely waits for the collector is no leak
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


def walk(env: gymnasium.Env, steps: int, rng: np.random.Generator) -> int:
    """Random steps in one environment, everything checked; returns the episodes that ended.

    Raises:
        AssertionError: for a value that is not finite or a picture that shows nothing.
    """
    episodes = 0
    env.reset(seed=int(rng.integers(2**31)))
    for action in rng.integers(len(Action), size=steps).tolist():
        observation, reward, terminated, truncated, _ = env.step(action)
        assert np.isfinite(float(reward)), f"reward {reward}"
        assert observation["image"].any(), "a black picture"
        pose = env.unwrapped.snapshot().agent  # type: ignore[attr-defined]
        assert np.isfinite([pose.x, pose.y, pose.heading]).all(), f"pose {pose}"
        if terminated or truncated:
            episodes += 1
            env.reset()
    return episodes


def soak(steps: int, rounds: int, seed: int) -> bool:
    """``steps`` in all, in rounds over all levels; whether memory stayed flat."""
    rng = np.random.default_rng(seed)
    names = [level.id for level in CATALOGUE.values()]
    envs = [gymnasium.make(name, disable_env_checker=True) for name in names]
    share = steps // (rounds * len(envs))
    memory: list[int] = []
    episodes = 0
    begin = time.perf_counter()
    for number in range(rounds):
        episodes += sum(walk(env, share, rng) for env in envs)
        memory.append(resident_bytes())
        print(
            f"round {number + 1:2}/{rounds}: {memory[-1] / 2**20:.1f} MiB, {episodes} episodes",
            flush=True,
        )
    for env in envs:
        env.close()
    taken = share * rounds * len(envs)
    warm = memory[rounds // 4]  # by then the cache of sentences holds what is common
    growth = memory[-1] / warm - 1
    rate = taken / (time.perf_counter() - begin)
    print(f"{taken} steps, {rate:.0f} per second; memory grew by {growth:+.2%} after the warm-up")
    return growth <= GROWTH


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        "--steps", type=common.positive, default=200_000, help="in all (default: 200000)"
    )
    parser.add_argument(
        "--rounds", type=common.positive, default=10, help="memory readings (default: 10)"
    )
    parser.add_argument("--seed", type=common.seed_number, default=0)
    arguments = parser.parse_args()
    if arguments.rounds < 4 or arguments.steps < 100 * arguments.rounds:
        parser.error("--rounds must be at least 4, --steps at least 100 times as many")
    sys.exit(0 if soak(arguments.steps, arguments.rounds, arguments.seed) else 1)


if __name__ == "__main__":
    common.run(main)
