"""A policy for sceptics: the place where a reward was found last is tried again."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from oddoneout.actions import TRANSFORMS, Action
from oddoneout.demos.rollout import Decision, Moment
from oddoneout.rules.trial import Phase
from oddoneout.snapshot import Snapshot
from oddoneout.world.geometry import OBJECT_COUNT, TURN_ANGLE

_STREAM = 0x510_7  # keeps its draws apart from others that start from the same seed
_PATIENCE = 30  # steps on the way to an object before another one is tried


@dataclass(slots=True)
class _Memory:
    rng: np.random.Generator
    trial: int = -1
    slot: int = 0  # the object to go to
    rewarded: bool = False  # whether the slot has ever brought a reward
    steps: int = 0


class RepeatSlotPolicy:
    """Goes to the object that stands in the slot (the index in the snapshot) which brought the
    last reward; to a random one until there was a reward. Where it may, it first transforms
    that object in a random dimension, and then chooses it.

    It finds its way by the privileged view.
    """

    def __init__(self) -> None:
        self._memories: dict[int, _Memory] = {}

    def begin(self, slot: int, seed: int) -> None:
        self._memories[slot] = _Memory(np.random.default_rng((_STREAM, seed)))

    def decide(self, moments: Sequence[Moment]) -> Sequence[Decision]:
        actions = [_act(self._memories[m.slot], m.snapshot()) for m in moments]
        return [Decision(action=action, label=action) for action in actions]


def _act(memory: _Memory, now: Snapshot) -> int:
    if now.last_reward > 0.0:
        memory.rewarded = True
    if now.phase is Phase.EXPLAIN:
        return Action.NOOP
    if now.trial != memory.trial:
        memory.trial, memory.steps = now.trial, 0
        if not memory.rewarded:
            memory.slot = int(memory.rng.integers(OBJECT_COUNT))
    if now.focus == memory.slot:
        if now.transforms_left:
            return list(TRANSFORMS)[memory.rng.integers(len(TRANSFORMS))]
        return Action.CHOOSE
    memory.steps += 1
    if memory.steps % _PATIENCE == 0:  # something stands in the way: walk about
        return list((Action.TURN_LEFT, Action.TURN_RIGHT))[memory.rng.integers(2)]
    if memory.steps // _PATIENCE % 2 == 1 and memory.steps % _PATIENCE < 8:
        return Action.FORWARD if memory.steps % 2 else Action.TURN_LEFT
    bearing = now.objects[memory.slot].bearing
    if abs(bearing) > TURN_ANGLE / 2 + math.radians(1.0):
        return Action.TURN_LEFT if bearing > 0 else Action.TURN_RIGHT
    return Action.FORWARD
