"""A training batch: what the agent may see, apart from what it is told.

Episodes stand in rows, padded on the right to the longest, T steps. Images are not padded:
the F valid frames stand one after another, row by row.
"""

from dataclasses import dataclass, fields
from typing import Self

import torch
from torch import Tensor

#: An action that is not to be imitated, a word after a sentence's end: it counts in no loss.
IGNORED = -100


class _Movable:
    __slots__ = ()

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Self:
        """The same value on another device."""
        values = (getattr(self, field.name) for field in fields(self))  # type: ignore[arg-type]
        return type(self)(*(value.to(device, non_blocking=non_blocking) for value in values))


@dataclass(frozen=True, slots=True)
class Inputs(_Movable):
    """All that the agent acts on.

    Attributes:
        images: uint8 (F, H, W, 3), the valid frames only; or already their features, float
            (F, D), see `agents.encoded`, and before `agents.augment` (F, views, D).
        lengths: int64 (B,), steps of each episode; they sum to F.
        instructions: int64 (B, T, L) word ids, 0 = padding.
        previous_actions: int64 (B, T), the executed action; `AgentConfig.no_action` at first.
        previous_rewards: float32 (B, T), 0 at first.
        transformed: bool (B, T), whether the previous action has transformed something, or in
            training a lapse makes as if (see `agents.augment`); read only with
            `AgentConfig.marks_rooms`, as are the next two.
        changed: bool (B, T), whether something in the room has been transformed, now or before; no
            lapse does (see `agents.marks`).
        settled: bool (B, T), whether the room has just been settled.
        trials: int64 (B, T), index of the trial; read only with `AgentConfig.trial_memory`, and by
            `agents.recollection` for its targets.
    """

    images: Tensor
    lengths: Tensor
    instructions: Tensor
    previous_actions: Tensor
    previous_rewards: Tensor
    transformed: Tensor
    changed: Tensor
    settled: Tensor
    trials: Tensor

    @property
    def valid(self) -> Tensor:
        """bool (B, T): the steps that are not padding."""
        steps = torch.arange(self.previous_actions.shape[1], device=self.lengths.device)
        return steps < self.lengths[:, None]


@dataclass(frozen=True, slots=True)
class Targets(_Movable):
    """All that only the losses may see.

    Attributes:
        labels: int64 (B, T), the action to imitate, or `IGNORED` (padding too).
        sentences: int64 (S, W) word ids of the batch's different sentences; row 0 is empty.
        told: int64 (B, T), the row of `sentences` that stands at each step, 0 for none.
        coming: int64 (B, T), at steps of a search the row of `sentences` with which its choice
            will be explained, 0 where none is made.
        explaining: bool (B, T), whether the step lies in an explaining phase.
        rewards: float32 (B, T), what the executed action brought.
        apart: bool (V, V), words that leave each other open (see `agents.unmet`).
    """

    labels: Tensor
    sentences: Tensor
    told: Tensor
    coming: Tensor
    explaining: Tensor
    rewards: Tensor
    apart: Tensor


@dataclass(frozen=True, slots=True)
class Batch:
    """Inputs and targets of the same steps."""

    inputs: Inputs
    targets: Targets

    @property
    def frames(self) -> int:
        """Number of valid frames, F."""
        return len(self.inputs.images)

    @property
    def searching(self) -> Tensor:
        """bool (B, T): the valid steps before a choice."""
        return self.inputs.valid & ~self.targets.explaining

    @property
    def imitated(self) -> Tensor:
        """bool (B, T): the steps whose action is to be imitated."""
        return self.inputs.valid & (self.targets.labels != IGNORED)

    @property
    def spoken(self) -> Tensor:
        """bool (B, T): the steps at which a sentence stands."""
        return self.inputs.valid & (self.targets.told > 0)

    @property
    def silent(self) -> Tensor:
        """bool (B, T): the steps at which none does."""
        return self.inputs.valid & (self.targets.told == 0)

    @property
    def awaiting(self) -> Tensor:
        """bool (B, T): the steps of searches that end in a choice."""
        return self.inputs.valid & (self.targets.coming > 0)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "Batch":
        """The same batch on another device."""
        return Batch(self.inputs.to(device, non_blocking), self.targets.to(device, non_blocking))
