"""Pictures replaced by what a finished encoder makes of them, so that the rest trains alone.

Most of a training step's cost is the encoder's. Once it tells things apart, the memory can be
trained on its features several times as fast.
"""

import itertools
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from agents.batches import Demonstrations
from agents.interruption import Stop
from agents.precision import Precision, autocast
from oddoneout.demos.trajectory import Trajectory

_FRAMES = 512  # encoded at once, or somewhat more
_LOG_SECONDS = 15.0


class Encoded:
    """Demonstrations whose images are features, float16 (T, views, width), of each step.

    Args:
        demonstrations: the same episodes with their pictures.
        features: float16 (F, views, width), of all their frames, episode after episode: of each
            picture as it is and, with two views, of its mirror image.
    """

    def __init__(self, demonstrations: Demonstrations, features: NDArray[np.float16]) -> None:
        self.demonstrations, self.features = demonstrations, features
        self.lengths = demonstrations.lengths
        self._ends = np.cumsum(self.lengths)

    def __len__(self) -> int:
        return len(self.lengths)

    def episode(self, index: int, /) -> Trajectory:
        episode = self.demonstrations.episode(index)
        end = int(self._ends[index])
        rows = self.features[end - len(episode) : end]
        return replace(episode, seen=replace(episode.seen, images=rows))


def features_of(
    demonstrations: Demonstrations,
    encoder: nn.Module,
    width: int,
    path: Path,
    *,
    mirrored: bool,
    device: torch.device,
    precision: Precision,
    stop: Stop,
    say: Callable[[str], None],
) -> bool:
    """Write the features of all frames to a NumPy file, float16 (F, views, width), unless it is
    there: two views where ``mirrored``, else one. The file appears once it is whole.

    Returns:
        Whether it is; not if it was asked to stop before.

    Raises:
        OSError: if the disk cannot hold it.
    """
    shape = (int(np.sum(demonstrations.lengths)), 1 + mirrored, width)
    if path.exists() and np.load(path, mmap_mode="r").shape == shape:
        return True
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}")
    features = np.lib.format.open_memmap(partial, "w+", np.float16, shape)
    try:
        # A disk that fills up later on would end the process without a word.
        if hasattr(os, "posix_fallocate"):  # not on macOS
            with partial.open("rb+") as file:
                os.posix_fallocate(file.fileno(), 0, partial.stat().st_size)
        whole = _encode(features, demonstrations, encoder, device, precision, stop, say)
        if whole:
            features.flush()
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return whole


def _encode(
    features: NDArray[np.float16],
    demonstrations: Demonstrations,
    encoder: nn.Module,
    device: torch.device,
    precision: Precision,
    stop: Stop,
    say: Callable[[str], None],
) -> bool:
    encoder.eval()  # as when acting: nothing is drawn
    total, views, _ = features.shape
    done, began = 0, time.monotonic()
    told = began
    waiting: list[NDArray[np.uint8]] = []
    for index in range(len(demonstrations)):
        waiting.append(demonstrations.episode(index).seen.images)
        if sum(map(len, waiting)) < _FRAMES and index + 1 < len(demonstrations):
            continue
        if stop:
            return False
        images = np.concatenate(waiting)
        # What did not change is encoded once, and its features are the same to the last bit.
        new = np.ones(len(images), np.bool_)
        new[1:] = [np.any(one != other) for one, other in itertools.pairwise(images)]
        shown = torch.from_numpy(images[new]).to(device)
        rows = np.cumsum(new) - 1
        with torch.inference_mode(), autocast(precision, device):
            for view in range(views):
                seen = encoder(shown.flip(2) if view else shown).half().cpu().numpy()
                features[done : done + len(images), view] = seen[rows]
        done += len(images)
        waiting.clear()
        if (now := time.monotonic()) - told > _LOG_SECONDS:
            told, rate = now, done / (now - began)
            say(f"encoded {done:,} of {total:,} frames, {(total - done) / rate:.0f}s left")
    return True
