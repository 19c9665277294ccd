"""Single pictures instead of episodes: first what there is to see, then what there is to remember.

The steps of an episode resemble one another, and a batch of 16 episodes shows 16 rooms. As many
single pictures show as many rooms as pictures, so that an encoder learns from them to tell things
apart in a third of the frames (agents/pretrained/README.md has the measurement). What is said
while an object is looked at depends on what is seen at that step alone; so does much of walking.
"""

from typing import Final

import numpy as np

from agents.batches import Demonstrations
from oddoneout.demos.trajectory import Trajectory

#: Pictures in a batch, as a share of the frames in a batch of episodes: each says more.
BATCH_SHARE: Final = 0.5


class Glimpses:
    """Every step of a search at which a sentence stands, as an episode of its own.

    Where no sentence ever stands during a search, every step of one.

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

    def __len__(self) -> int:
        return len(self._steps)

    def episode(self, index: int, /) -> Trajectory:
        step = int(self._steps[index])
        return self._whole[self._episodes[index]].part(step, step + 1)
