"""A tiny environment with the real one's contract, and policies for it: no rendering.

The policies' makers are functions of this module, so that worker processes can import them.
"""

import itertools
import os
import resource
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from oddoneout.demos.collection import Recipe, make_shard
from oddoneout.demos.manifest import Manifest, write_manifest
from oddoneout.demos.rollout import Decision, Moment

SENTENCES = ("", "this is a red cube", "correct it is uniquely red", "this is a blue ring")


class FakeEnv(gymnasium.Env):
    """Random pictures for 3 to 9 steps; the last but one is a choice, the last explains it."""

    def __init__(self, size: int = 8) -> None:
        self.size = size
        self.observation_space = spaces.Dict(
            image=spaces.Box(0, 255, (size, size, 3), np.uint8),
            instruction=spaces.Box(0, 100, (4,), np.int32),
        )
        self.action_space = spaces.Discrete(9)
        self.closed = False

    def snapshot(self) -> Any:
        return ("snapshot", self._seed, self._time)

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> Any:
        super().reset(seed=seed)
        self._seed, self._time = seed, 0
        self._length = int(self.np_random.integers(3, 10))
        return self._observation(), self._info()

    def step(self, action: int) -> Any:
        self._time += 1
        info = self._info()
        chosen = self._time == self._length - 1
        if chosen:
            correct = action % 2 == 0
            info["choice"] = {"trial": 0, "test": True, "correct": correct, "odd_in": ("color",)}
        reward = float(chosen and action % 2 == 0)
        return self._observation(), reward, self._time == self._length, False, info

    def close(self) -> None:
        self.closed = True

    def _observation(self) -> dict[str, Any]:
        shape = (self.size, self.size, 3)
        return {
            "image": self.np_random.integers(0, 256, shape, np.uint8),
            "instruction": np.array([3, 1, 2, 0], np.int32),
        }

    def _info(self) -> dict[str, Any]:
        explaining = self._time >= self._length - 1
        sentence = SENTENCES[2] if explaining else SENTENCES[int(self.np_random.integers(4))]
        return {
            "instruction": "find the odd one out",
            "explanation": sentence,
            "trial": 0,
            "phase": "explain" if explaining else "search",
        }


gymnasium.register("Fake/Room-v0", entry_point=f"{__name__}:FakeEnv")
FAKE_ID = "tests.demos.fakes:Fake/Room-v0"


#: A process that has this in its environment stops for ever at that decision, to be killed there.
STOP_AT = "FAKE_STOP_AT"
_decisions = itertools.count(1)


class FakePolicy:
    """Random actions of its own, a function of the seed alone; every third one disturbed."""

    def __init__(self) -> None:
        self.rngs: dict[int, np.random.Generator] = {}

    def begin(self, slot: int, seed: int) -> None:
        self.rngs[slot] = np.random.default_rng(seed + 1)

    def decide(self, moments: Sequence[Moment]) -> list[Decision]:
        if next(_decisions) == int(os.environ.get(STOP_AT, "0")):
            while True:
                signal.pause()
        return [self._one(self.rngs[moment.slot]) for moment in moments]

    def _one(self, rng: np.random.Generator) -> Decision:
        label = int(rng.integers(9))
        action = int(rng.integers(9)) if rng.random() < 0.3 else label
        return Decision(action, label, says="this is a red cube")


def make_policy(options: Mapping[str, Any]) -> FakePolicy:
    return FakePolicy()


def make_policy_on_a_small_disk(options: Mapping[str, Any]) -> FakePolicy:
    """No file of this process may grow beyond ``options["bytes"]``."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (options["bytes"], options["bytes"]))
    return FakePolicy()


RECIPE = Recipe(FAKE_ID, episodes=22, seed=3, make_policy=make_policy, shard_episodes=4)


class _Mortal(FakePolicy):
    def __init__(self, life: int) -> None:
        super().__init__()
        self.life = life

    def decide(self, moments: Sequence[Moment]) -> list[Decision]:
        self.life -= 1
        if self.life == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().decide(moments)


def make_mortal_policy(options: Mapping[str, Any]) -> FakePolicy:
    """Its process is killed, without a word, at its ``options["life"]``-th decision."""
    return _Mortal(options["life"])


def make_faulty_policy(options: Mapping[str, Any]) -> FakePolicy:
    raise ValueError("this policy cannot be made")


def make_set(root: Path, recipe: Recipe) -> Manifest:
    """The recipe's set, made in this process."""
    env = recipe.make_env()
    manifest = recipe.manifest(env)
    write_manifest(root, manifest)
    for shard in range(manifest.shards):
        make_shard(root, manifest, shard, recipe.make_policy(recipe.policy_args), recipe.make_env)
    env.close()
    return manifest


def contents(root: Path) -> dict[str, bytes]:
    """Every file of a folder, hidden ones included."""
    return {
        str(file.relative_to(root)): file.read_bytes()
        for file in sorted(root.rglob("*"))
        if file.is_file()
    }
