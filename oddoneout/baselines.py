"""Policies that know nothing: what chance looks like."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from oddoneout.actions import TRANSFORMS, Action
from oddoneout.demos.rollout import Decision, Moment
from oddoneout.rules.trial import Phase
from oddoneout.snapshot import Snapshot
from oddoneout.world.geometry import OBJECT_COUNT, TURN_ANGLE

_RANDOM, _RANDOM_OBJECT = 1, 2  # keep the generators of the two policies apart
_PATIENCE = 30  # steps on the way to one object before another one is drawn


def _only(action: int) -> Decision:
    return Decision(action=action, label=action)


class RandomPolicy:
    """Draws every action uniformly."""

    def __init__(self) -> None:
        self._rngs: dict[int, np.random.Generator] = {}

    def begin(self, slot: int, seed: int) -> None:
        self._rngs[slot] = np.random.default_rng((_RANDOM, seed))

    def decide(self, moments: Sequence[Moment]) -> Sequence[Decision]:
        return [_only(int(self._rngs[moment.slot].integers(len(Action)))) for moment in moments]


@dataclass
class _Walk:
    """What the random-object policy remembers of one episode."""

    rng: np.random.Generator
    trial: int = -1
    target: int = 0
    steps: int = 0
    transformed: bool = field(default=False)


class RandomObjectPolicy:
    """Walks to an object drawn at random and chooses it, whatever it looks like.

    Where a trial allows a transform it first makes a random one, of an object drawn likewise.
    It finds its way by the privileged view, and stands for chance among agents that have
    learnt to walk and to choose, but nothing of odd ones.
    """

    def __init__(self) -> None:
        self._walks: dict[int, _Walk] = {}

    def begin(self, slot: int, seed: int) -> None:
        self._walks[slot] = _Walk(np.random.default_rng((_RANDOM_OBJECT, seed)))

    def decide(self, moments: Sequence[Moment]) -> Sequence[Decision]:
        return [_only(_stride(self._walks[m.slot], m.snapshot())) for m in moments]


def _aim(walk: _Walk) -> None:
    walk.target = int(walk.rng.integers(OBJECT_COUNT))
    walk.steps = 0


def _stride(walk: _Walk, now: Snapshot) -> Action:
    if now.phase is Phase.EXPLAIN:
        return Action.NOOP
    if now.trial != walk.trial:
        walk.trial, walk.transformed = now.trial, False
        _aim(walk)
    if now.focus == walk.target:
        if now.transforms_left == 0 or walk.transformed:
            return Action.CHOOSE
        walk.transformed = True
        _aim(walk)
        return list(TRANSFORMS)[walk.rng.integers(len(TRANSFORMS))]
    walk.steps += 1
    if walk.steps > _PATIENCE:
        _aim(walk)
    bearing = now.objects[walk.target].bearing
    if abs(bearing) > TURN_ANGLE / 2 + math.radians(1.0):
        return Action.TURN_LEFT if bearing > 0 else Action.TURN_RIGHT
    return Action.FORWARD
