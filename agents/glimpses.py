"""Single pictures instead of episodes: first what there is to see, then what there is to remember.

The steps of an episode resemble one another, and a batch of 16 episodes shows 16 rooms. As many
single pictures show as many rooms as pictures, so that an encoder learns from them to tell things
apart in a third of the frames (docs/training.md has the measurement). What is said
while an object is looked at depends on what is seen at that step alone; so does much of walking.
The memory's layers are left out until there is something to remember.
"""

import mmap
from typing import Final

import numpy as np
from numpy.typing import NDArray

from agents.batches import Demonstrations
from oddoneout.demos.trajectory import Trajectory

#: Pictures in a batch, as a share of the frames in a batch of episodes, unless said otherwise: each
#: says more.
BATCH_SHARE: Final = 1 / 3


class Glimpses:
    """Every step of a search at which a sentence stands, as an episode of its own.

    Where no sentence ever stands during a search, every step of one. Close it when done: until
    then, files that hold the pictures are read with no more around a picture than itself.

    Args:
        demonstrations: whole episodes.

    Raises:
        ValueError: if no step of theirs belongs to a search.
    """

    def __init__(self, demonstrations: Demonstrations) -> None:
        self._whole = [demonstrations.episode(i) for i in range(len(demonstrations))]
        searching = [~episode.told.explaining for episode in self._whole]
        spoken = [
            search & np.array([text != "" for text in episode.told.explanations])
            for episode, search in zip(self._whole, searching, strict=True)
        ]
        steps = spoken if any(map(np.any, spoken)) else searching
        counts = [int(of.sum()) for of in steps]
        if not any(counts):
            raise ValueError("glimpses are steps of searches: these demonstrations hold none")
        self._episodes = np.repeat(np.arange(len(counts)), counts)
        self._steps = np.concatenate([np.flatnonzero(of) for of in steps])
        self.lengths = np.ones(len(self._steps), np.int64)
        self._places = [_place(episode.seen.images) for episode in self._whole]
        # Otherwise the system reads ten times as much as is asked for.
        self._advise(mmap.MADV_RANDOM)

    def __len__(self) -> int:
        return len(self._steps)

    def episode(self, index: int, /) -> Trajectory:
        step = int(self._steps[index])
        return self._whole[self._episodes[index]].part(step, step + 1)

    def expect(self, indices: NDArray[np.int64], /) -> None:
        """Have the system fetch these pictures meanwhile, all at once.

        Whoever reads a picture that is not in memory yet waits for it, and one after another.
        """
        for index in indices.tolist():
            place = self._places[self._episodes[index]]
            if place is not None:
                file, begin, size = place
                begin += int(self._steps[index]) * size
                whole = begin - begin % mmap.PAGESIZE
                file.madvise(mmap.MADV_WILLNEED, whole, begin + size - whole)

    def close(self) -> None:
        """Let files be read as usual again."""
        self._advise(mmap.MADV_NORMAL)

    def _advise(self, how: int) -> None:
        for file in {place[0] for place in self._places if place is not None}:
            file.madvise(how)


def _place(images: NDArray[np.uint8]) -> tuple[mmap.mmap, int, int] | None:
    """(mapped file, first byte, bytes of a picture) of an episode's; None if in no file."""
    base: object = images
    while isinstance(base, np.ndarray):
        base = base.base
    if not isinstance(base, mmap.mmap):
        return None
    start = np.frombuffer(base, np.uint8).__array_interface__["data"][0]
    here = images.__array_interface__["data"][0]
    return base, here - start, images[0].nbytes
