"""Demonstrations made up of noise, for tests that need no rooms."""

import numpy as np

from oddoneout.demos.trajectory import Seen, Told, Trajectory
from oddoneout.rules import language

SENTENCES = ("", "", "this is red", "this is a striped cube", "correct it is uniquely red")


class MadeUp:
    """Episodes that are a function of their number; how red an image is tells its label.

    Args:
        episodes: how many.
        size: (height, width) of the images.
        shortest, longest: lengths are drawn between them.
    """

    def __init__(
        self,
        episodes: int,
        size: tuple[int, int] = (16, 16),
        shortest: int = 3,
        longest: int = 12,
        seed: int = 0,
    ) -> None:
        self.size, self.seed = size, seed
        rng = np.random.default_rng(seed)
        self.lengths = rng.integers(shortest, longest + 1, episodes)

    def __len__(self) -> int:
        return len(self.lengths)

    def episode(self, index: int, /) -> Trajectory:
        steps = int(self.lengths[index])
        rng = np.random.default_rng((self.seed, index))
        labels = rng.integers(0, 9, steps).astype(np.uint8)
        images = rng.integers(0, 64, (steps, *self.size, 3), np.uint8)
        images[..., 0] += 20 * labels[:, None, None]
        spoken = rng.integers(0, len(SENTENCES), steps)
        actions = np.where(rng.random(steps) < 0.1, rng.integers(0, 9, steps), labels)
        return Trajectory(
            seed=index,
            seen=Seen(
                images=images,
                instructions=np.tile(
                    language.encode("find the odd one out", language.INSTRUCTION_WORDS), (steps, 1)
                ),
                actions=actions.astype(np.uint8),
                rewards=(rng.random(steps) < 0.1).astype(np.float32),
            ),
            told=Told(
                labels=labels,
                explanations=tuple(SENTENCES[i] for i in spoken),
                trials=np.sort(rng.integers(0, 2, steps)).astype(np.uint8),
                explaining=spoken == 4,
            ),
            choices=(),
        )
