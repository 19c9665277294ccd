"""Label-preserving changes of batches: small shifts, whole episodes mirrored, lapses of memory,
values renamed.

Never colors: they are what the sentences speak of.

At a lapse an agent with `forget_transformed` forgets what it saw since the latest choice. One that
never has any can still go back to what it saw at the very moment of a transform.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms.v2 import functional as transforms

from agents.batch import Batch, Inputs
from agents.config import TrainingConfig
from agents.renaming import Renaming
from oddoneout.actions import Action

#: Keeps these draws apart from others that start from the same seed.
_AUGMENT = 0xA06
#: Features come as (F, views, width), pictures as (F, H, W, 3).
_FEATURES_NDIM = 3


@dataclass(frozen=True, slots=True)
class Changes:
    """How each of B episodes is changed, the same way from its first step to its last.

    Attributes:
        down, right: int64 (B,), pixels by which images move.
        mirror: bool (B,), whether left and right are swapped.
        lapses: int64 (B,), from which its lapses are drawn.
        lapse: how likely one is at each step of a search.
        names: from which is drawn how values are renamed, the same way in the whole batch.
    """

    down: NDArray[np.int64]
    right: NDArray[np.int64]
    mirror: NDArray[np.bool_]
    lapses: NDArray[np.int64]
    lapse: float
    names: int

    @classmethod
    def draw(cls, episodes: int, config: TrainingConfig, key: tuple[int, ...]) -> "Changes":
        """Drawn for a whole batch before it is shared out, so that sharing changes nothing."""
        rng = np.random.default_rng((config.seed, _AUGMENT, *key))
        shifts = rng.integers(-config.shift, config.shift + 1, (2, episodes))
        mirror = rng.random(episodes) < config.mirror
        lapses = rng.integers(2**62, size=episodes)
        names = int(rng.integers(2**62))
        return cls(shifts[0], shifts[1], mirror, lapses, config.lapse, names)

    def __getitem__(self, rows: slice) -> "Changes":
        return replace(
            self,
            down=self.down[rows],
            right=self.right[rows],
            mirror=self.mirror[rows],
            lapses=self.lapses[rows],
        )


def change(batch: Batch, changes: Changes, renaming: Renaming | None = None) -> Batch:
    """The batch with its episodes changed; the given one is spent.

    Args:
        batch: on any device; its images may be overwritten. Where they are features (see
            `agents.encoded`), that of the picture or of its mirror image is taken.
        changes: one per episode.
        renaming: of the features' values, if they are to be renamed.
    """
    inputs, targets = batch.inputs, batch.targets
    mirror = torch.from_numpy(changes.mirror).to(inputs.lengths.device)
    if inputs.images.ndim == _FEATURES_NDIM:
        frames = torch.arange(len(inputs.images), device=mirror.device)
        view = mirror.long().repeat_interleave(inputs.lengths)
        inputs = replace(inputs, images=inputs.images[frames, view])
        if renaming is not None:
            inputs, targets = renaming(inputs, targets, changes.names)
    else:
        _look_from(inputs, changes)
    if changes.lapse:
        inputs = replace(inputs, transformed=inputs.transformed | _lapses(batch, changes))
    if changes.mirror.any():
        actions = _turned(inputs.previous_actions, mirror[:, None])
        inputs = replace(inputs, previous_actions=actions)
        targets = replace(targets, labels=_turned(targets.labels, mirror[:, None]))
    return Batch(inputs, targets)


def _lapses(batch: Batch, changes: Changes) -> Tensor:
    """bool (B, T), the steps of searches at which something is forgotten; never the first."""
    drawn = torch.zeros_like(batch.inputs.transformed)
    for row, (seed, length) in enumerate(
        zip(changes.lapses.tolist(), batch.inputs.lengths.tolist(), strict=True)
    ):
        lapses = np.random.default_rng(seed).random(length - 1) < changes.lapse
        drawn[row, 1:length] = torch.from_numpy(lapses)
    return drawn & batch.searching


def _look_from(inputs: Inputs, changes: Changes) -> None:
    """Shift and mirror the images, in place."""
    begin = 0
    for row, length in enumerate(inputs.lengths.tolist()):
        episode = inputs.images[begin : begin + length]
        down, right = int(changes.down[row]), int(changes.right[row])
        if down or right or changes.mirror[row]:
            # The copy goes back into the packed batch, whose memory is channels-last as it is.
            changed = _look(episode.permute(0, 3, 1, 2), down, right, bool(changes.mirror[row]))
            episode.copy_(changed.permute(0, 2, 3, 1))
        begin += length


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
