"""One recorded episode: what the agent could see, apart from what it was told.

Time alignment, stated once: row ``t`` of every array belongs to the ``t``-th decision.
``images[t]`` and ``instructions[t]`` are the observation before the action, ``explanations[t]``
the sentence standing with that observation ("" when none stands), ``actions[t]`` what was
then executed, ``labels[t]`` what an imitator should do there, ``rewards[t]`` what the executed
action brought. The observation after the last action is not kept: nothing is decided on it.
"""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Seen:
    """What an agent may use.

    Attributes:
        images: uint8 (T, H, W, 3).
        instructions: int32 (T, L) token ids, 0 = padding.
        actions: uint8 (T,), executed actions.
        rewards: float32 (T,).
    """

    images: NDArray[np.uint8]
    instructions: NDArray[np.int32]
    actions: NDArray[np.uint8]
    rewards: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Told:
    """What only training may use.

    Attributes:
        labels: uint8 (T,), the demonstrator's own action at each step.
        explanations: T sentences, "" where none stands.
        trials: uint8 (T,), index of the trial.
        explaining: bool (T,), whether the step lies in an explaining phase.
    """

    labels: NDArray[np.uint8]
    explanations: tuple[str, ...]
    trials: NDArray[np.uint8]
    explaining: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Choice:
    """A choice that was made, as ``info["choice"]`` reports it, and when (row index)."""

    step: int
    trial: int
    test: bool
    correct: bool
    odd_in: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Trajectory:
    """One whole episode of T steps.

    Raises:
        ValueError: if the arrays disagree about T.
    """

    seed: int
    seen: Seen
    told: Told
    choices: tuple[Choice, ...]

    def __post_init__(self) -> None:
        lengths = {
            "images": len(self.seen.images),
            "instructions": len(self.seen.instructions),
            "actions": len(self.seen.actions),
            "rewards": len(self.seen.rewards),
            "labels": len(self.told.labels),
            "explanations": len(self.told.explanations),
            "trials": len(self.told.trials),
            "explaining": len(self.told.explaining),
        }
        if len(set(lengths.values())) != 1:
            raise ValueError(f"the arrays of a trajectory must share their length, got {lengths}")

    def __len__(self) -> int:
        return len(self.seen.actions)

    def part(self, first: int, end: int) -> Self:
        """Its steps from ``first`` to before ``end``, as views."""
        rows, seen, told = slice(first, end), self.seen, self.told
        return type(self)(
            seed=self.seed,
            seen=Seen(
                images=seen.images[rows],
                instructions=seen.instructions[rows],
                actions=seen.actions[rows],
                rewards=seen.rewards[rows],
            ),
            told=Told(
                labels=told.labels[rows],
                explanations=told.explanations[rows],
                trials=told.trials[rows],
                explaining=told.explaining[rows],
            ),
            choices=tuple(
                replace(choice, step=choice.step - first)
                for choice in self.choices
                if first <= choice.step < end
            ),
        )
