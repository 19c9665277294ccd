"""What a run learns from, stage by stage: single pictures, episodes, features of episodes.

First an encoder learns to tell things apart, from glimpses; then all learns together, from whole
episodes; at last the encoder may stay as it is, and the rest learn on, several times as fast.
"""

import contextlib
from collections.abc import Callable, Generator
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Final

import numpy as np

from agents.batches import Batches, Demonstrations, Portion, Position, prefetch
from agents.config import TrainingConfig
from agents.encoded import Encoded, features_of
from agents.glimpses import BATCH_SHARE, Glimpses
from agents.interruption import Interrupted, Stop
from agents.model import Agent
from agents.ranks import Ranks
from agents.renaming import Renaming
from agents.unmet import unmet

#: Where a run keeps the features of its demonstrations, once the encoder stays as it is.
FEATURES = "features.npy"


#: What a frame of features costs, of one whose picture goes through the encoder (measured).
_FEATURES_COST: Final = 0.2


class Stage(StrEnum):
    """What a batch is made of, in the order in which a run goes through them."""

    GLIMPSES = "glimpses"
    EPISODES = "episodes"
    FEATURES = "features"


def stage_at(config: TrainingConfig, done: float) -> Stage:
    """The stage in which that share of the budget is spent."""
    if done < config.glimpses:
        return Stage.GLIMPSES
    freezes = config.freeze_at < 1.0  # else a run ends in the stage in which it was
    return Stage.FEATURES if freezes and done >= config.freeze_at else Stage.EPISODES


def cost(config: TrainingConfig, done: float) -> float:
    """What that share of the budget costs, in frames whose pictures go through the encoder.

    For telling how long a run still takes; encoding what the last stage learns from, once, is not
    counted.
    """
    frozen = max(0.0, done - config.freeze_at)
    return config.frames * (done - frozen + _FEATURES_COST * frozen)


def latest(*stages: Stage) -> Stage:
    """That which comes last in a run."""
    return max(stages, key=list(Stage).index)


class Curriculum:
    """Portions of demonstrations for every stage.

    Args:
        demonstrations: whole episodes.
        agent: encodes their pictures for the last stage.
        training: batch size, augmentation, stages and seed.
        run: the run's directory, for the features.
        ranks: the processes that share every batch.
        passes: into how many batches a process cuts its share.
        stop: heard while pictures are encoded, too.
        say: where lines of progress go.
    """

    def __init__(
        self,
        demonstrations: Demonstrations,
        agent: Agent,
        training: TrainingConfig,
        run: Path,
        ranks: Ranks,
        passes: int,
        stop: Stop,
        say: Callable[[str], None],
    ) -> None:
        self._agent, self._training, self._ranks = agent, training, ranks
        self._features, self._passes = run / FEATURES, passes
        self._stop, self._say = stop, say
        episodes = (demonstrations.episode(i) for i in range(len(demonstrations)))
        said = (text for episode in episodes for text in episode.told.explanations)
        self.apart = unmet(said) if training.leave_open else None
        self.episodes = self._batches(demonstrations, training)

    def stream(self, stage: Stage, position: Position) -> Generator[Portion, None, None]:
        """The stage's portions from that position on, without end; close it when done."""
        with contextlib.ExitStack() as stack:
            batches = self.episodes
            if stage is Stage.GLIMPSES:
                glimpses = stack.enter_context(
                    contextlib.closing(Glimpses(self.episodes.demonstrations))
                )
                share = max(1, int(BATCH_SHARE * self._training.batch_frames))
                size = self._training.batch_glimpses or share
                alone = replace(self._training, batch_episodes=size, batch_frames=size)
                batches = self._batches(glimpses, alone)
            elif stage is Stage.FEATURES:
                unshifted = replace(self._training, shift=0)  # features cannot be
                encoded = self._encoded()
                renaming = Renaming(self._agent.encoder) if self._training.rename else None
                batches = self._batches(encoded, unshifted, renaming)
            portions = prefetch(batches.stream(position))
            yield from stack.enter_context(contextlib.closing(portions))

    def clean(self) -> None:
        """Remove features: of a finished run, or before there are any of this encoder."""
        if self._ranks.first:
            self._features.unlink(missing_ok=True)

    def _batches(
        self,
        demonstrations: Demonstrations,
        training: TrainingConfig,
        renaming: Renaming | None = None,
    ) -> Batches:
        return Batches(
            demonstrations,
            self._agent.config,
            training,
            rank=self._ranks.rank,
            ranks=self._ranks.ranks,
            passes=self._passes,
            pin=self._ranks.device.type == "cuda",
            apart=self.apart,
            renaming=renaming,
        )

    def _encoded(self) -> Encoded:
        """The demonstrations' features, written to the run's directory by the first process.

        Raises:
            Interrupted: if it was asked to stop. All up to this stage was saved before.
        """
        demonstrations, whole = self.episodes.demonstrations, True
        if self._ranks.first:
            whole = features_of(
                demonstrations,
                self._agent.encoder,
                self._agent.config.width,
                self._features,
                mirrored=self._training.mirror > 0.0,
                device=self._ranks.device,
                precision=self._training.precision,
                stop=self._stop,
                say=self._say,
            )
        if self._ranks.agree(0.0, False, not whole)[-1]:
            raise Interrupted("stopped while pictures were encoded", self._stop.signal)
        return Encoded(demonstrations, np.load(self._features, mmap_mode="r"))
