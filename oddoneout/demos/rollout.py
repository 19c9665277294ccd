"""The Policy protocol, and the one loop that plays every policy."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from oddoneout.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Moment:
    """What a policy is shown of one environment before it decides.

    Attributes:
        slot: which of the policy's parallel episodes this is.
        image: uint8 (H, W, 3).
        instruction: int32 (L,).
        previous_action: the action executed one step before; None at an episode's first step.
        previous_reward: the reward it brought (0.0 at the first step).
        snapshot: the privileged view, drawn up when called. For experts only; agents that
            learn must not call it.
    """

    slot: int
    image: NDArray[np.uint8]
    instruction: NDArray[np.int32]
    previous_action: int | None
    previous_reward: float
    snapshot: Callable[[], Snapshot]


@dataclass(frozen=True, slots=True)
class Decision:
    """What a policy does at one moment.

    Attributes:
        action: executed.
        label: what an imitator should learn to do (differs from ``action`` when a noisy
            demonstrator was disturbed).
        says: the sentence that the policy predicts to stand now; None if it does not speak.
        probabilities: float32 (9,) over actions, None if it has none.
    """

    action: int
    label: int
    says: str | None = None
    probabilities: NDArray[np.float32] | None = None


class Policy(Protocol):
    """Plays several episodes side by side, each in a numbered slot."""

    def begin(self, slot: int, seed: int) -> None:
        """Forget the slot's past: a new episode starts there. ``seed`` feeds the policy's own
        randomness, so that an episode is a function of its seed."""
        ...

    def decide(self, moments: Sequence[Moment]) -> Sequence[Decision]:
        """One decision per moment, in the same order; moments name distinct slots."""
        ...
