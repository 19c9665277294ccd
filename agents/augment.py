"""Label-preserving changes of batches: small shifts, and whole episodes mirrored.

Never colors: they are what the sentences speak of.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms.v2 import functional as transforms

from agents.batch import Batch
from agents.config import TrainingConfig
from oddoneout.actions import Action

#: Keeps these draws apart from others that start from the same seed.
_AUGMENT = 0xA06


@dataclass(frozen=True, slots=True)
class Changes:
    """How each of B episodes is changed, the same way from its first step to its last.

    Attributes:
        down, right: int64 (B,), pixels by which images move.
        mirror: bool (B,), whether left and right are swapped.
    """

    down: NDArray[np.int64]
    right: NDArray[np.int64]
    mirror: NDArray[np.bool_]

    @classmethod
    def draw(cls, episodes: int, config: TrainingConfig, key: tuple[int, ...]) -> "Changes":
        """Drawn for a whole batch before it is shared out, so that sharing changes nothing."""
        rng = np.random.default_rng((config.seed, _AUGMENT, *key))
        shifts = rng.integers(-config.shift, config.shift + 1, (2, episodes))
        return cls(shifts[0], shifts[1], rng.random(episodes) < config.mirror)

    def __getitem__(self, rows: slice) -> "Changes":
        return Changes(self.down[rows], self.right[rows], self.mirror[rows])

    def __len__(self) -> int:
        return len(self.mirror)


def change(batch: Batch, changes: Changes) -> Batch:
    """The batch with its episodes changed; the given one is spent.

    Args:
        batch: on any device; its images may be overwritten.
        changes: one per episode.
    """
    inputs, targets = batch.inputs, batch.targets
    begin = 0
    for row, length in enumerate(inputs.lengths.tolist()):
        episode = inputs.images[begin : begin + length]
        down, right = int(changes.down[row]), int(changes.right[row])
        if down or right or changes.mirror[row]:
            # The copy goes back into the packed batch, whose memory is channels-last as it is.
            changed = _look(episode.permute(0, 3, 1, 2), down, right, bool(changes.mirror[row]))
            episode.copy_(changed.permute(0, 2, 3, 1))
        begin += length
    mirror = torch.from_numpy(changes.mirror).to(inputs.lengths.device)[:, None]
    if not changes.mirror.any():
        return batch
    return Batch(
        replace(inputs, previous_actions=_turned(inputs.previous_actions, mirror)),
        replace(targets, labels=_turned(targets.labels, mirror)),
    )


def _look(images: Tensor, down: int, right: int, mirror: bool) -> Tensor:
    """uint8 (N, 3, H, W) moved, with edges drawn out into what comes free, then mirrored."""
    height, width = images.shape[-2:]
    # Cropping beyond the image fills with black, at a tenth of the price of padding by edges.
    images = transforms.crop(images, -down, -right, height, width)
    for axis, by in ((-2, down), (-1, right)):
        free, edge = (0, by) if by > 0 else (images.shape[axis] + by, images.shape[axis] + by - 1)
        images.narrow(axis, free, abs(by)).copy_(images.narrow(axis, edge, 1))
    return transforms.horizontal_flip(images) if mirror else images


def _turned(actions: Tensor, mirror: Tensor) -> Tensor:
    """Actions (B, T) with left and right turns swapped in the rows that are mirrored (B, 1)."""
    left, right = int(Action.TURN_LEFT), int(Action.TURN_RIGHT)
    swapped = torch.where(actions == left, right, torch.where(actions == right, left, actions))
    return torch.where(mirror, swapped, actions)
