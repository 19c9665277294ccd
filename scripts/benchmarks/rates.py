"""How to measure on a machine that others use too: works take turns, and medians are kept.

A ratio is taken round by round, of neighbors in time, before the median is.
"""

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import gymnasium
import numpy as np

from oddoneout.actions import Action

SHARED: Final = "OddOneOut/Basic-v0"  # the level that all but the table of levels is measured in
#: Our actions that change what is seen; most others leave the picture as it is, and cost less.
MOVEMENTS: Final = (Action.FORWARD, Action.BACKWARD, Action.TURN_LEFT, Action.TURN_RIGHT)
_ACTIONS: Final = np.random.default_rng(0).integers(len(Action), size=4096).tolist()

#: One unit of work; returns how many things it did.
Work = Callable[[], int]


@dataclass(frozen=True, slots=True)
class Effort:
    """How long to measure: ``rounds``, in each of which every work gets ``seconds``."""

    rounds: int = 5
    seconds: float = 0.4


def rate(work: Work, seconds: float) -> float:
    """Things done per second."""
    done, start = 0, time.perf_counter()
    while (now := time.perf_counter()) - start < seconds:
        done += work()
    return done / (now - start)


def measure(works: Mapping[str, Work], effort: Effort) -> dict[str, list[float]]:
    """Rates of every work, one per round, the works taking turns."""
    for work in works.values():
        work()  # GL starts with the first picture
    rates: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(effort.rounds):
        for name, work in works.items():
            rates[name].append(rate(work, effort.seconds))
    return rates


def median(values: Sequence[float]) -> float:
    return float(statistics.median(values))


def ratio(tops: Sequence[float], bottoms: Sequence[float]) -> float:
    """The median of the rounds' ratios."""
    return median([top / bottom for top, bottom in zip(tops, bottoms, strict=True)])


def drawn() -> Iterator[int]:
    """Random actions, the same ones every time."""
    while True:
        yield from _ACTIONS


def stepping(env: gymnasium.Env, actions: Sequence[int] | None = None) -> Work:
    """Random steps, resets at the episodes' ends included.

    Args:
        env: to step.
        actions: to draw from; all of the environment's by default.
    """
    env.reset(seed=0)
    if actions is None:
        actions = range(int(env.action_space.n))  # type: ignore[attr-defined]
    draw, count = drawn(), len(actions)

    def work() -> int:
        for _ in range(50):
            _, _, terminated, truncated, _ = env.step(actions[next(draw) % count])
            if terminated or truncated:
                env.reset()
        return 50

    return work


def vector_stepping(envs: Any, actions: Sequence[int] = tuple(Action)) -> Work:
    """Random steps of a vector environment, of these actions; each environment's step counts."""
    envs.reset(seed=0)
    draw, choices = np.random.default_rng(0), np.asarray(actions)

    def work() -> int:
        for _ in range(10):
            envs.step(choices[draw.integers(len(choices), size=envs.num_envs)])
        return 10 * envs.num_envs

    return work
