"""Episodes as rows of numbers, the form in which they travel to the device and live there."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from oddoneout.episode import Episode
from oddoneout.rules.attributes import VALUES, Dimension
from oddoneout.rules.things import Thing
from oddoneout.rules.trial import Mode, Trial
from oddoneout.world.geometry import OBJECT_COUNT

DIMENSIONS: Final = tuple(Dimension)
MODES: Final = tuple(Mode)
_D, _K = len(DIMENSIONS), OBJECT_COUNT
_POSITION: Final = {value: i for d in DIMENSIONS for i, value in enumerate(VALUES[d])}

# Columns of a trial's numbers. Values are their positions in ``VALUES``.
THINGS: Final = slice(0, _K * _D)  # of each object, its value in each dimension
PAIRS: Final = slice(THINGS.stop, THINGS.stop + 2 * _D)  # the two values in play; else any
SPOKEN: Final = slice(PAIRS.stop, PAIRS.stop + _D)  # whether explanations mention the dimension
DIMENSION, MODE, TRANSFORMS, TEST, NAMES_DIMENSION = range(SPOKEN.stop, SPOKEN.stop + 5)
# Likewise, of the decoy, after its choice.
DECOY_THINGS: Final = slice(NAMES_DIMENSION + 1, NAMES_DIMENSION + 1 + _K * _D)
DECOY_SPOKEN: Final = slice(DECOY_THINGS.stop, DECOY_THINGS.stop + _D)
DECOY_DIMENSION, DECOY_CHOICE = range(DECOY_SPOKEN.stop, DECOY_SPOKEN.stop + 2)
_NUMBERS: Final = DECOY_CHOICE + 1

# Columns of its measures.
AGENT: Final = slice(0, 3)  # x, y, heading
PLACES: Final = slice(3, 3 + 3 * _K)  # x, y, yaw of each object
REWARD: Final = PLACES.stop
_MEASURES: Final = REWARD + 1


@dataclass(frozen=True, slots=True)
class Scripts:
    """Episodes, padded to the same number of trials T.

    Attributes:
        numbers: int16 (N, T, columns).
        measures: float64 (N, T, columns): metres, radians, and the reward.
        lengths: int64 (N,), trials of each episode.
    """

    numbers: NDArray[np.int16]
    measures: NDArray[np.float64]
    lengths: NDArray[np.int64]

    @classmethod
    def blank(cls, count: int, trials: int) -> "Scripts":
        """Room for ``count`` episodes of up to ``trials`` trials."""
        return cls(
            np.zeros((count, trials, _NUMBERS), np.int16),
            np.zeros((count, trials, _MEASURES)),
            np.zeros(count, np.int64),
        )

    def write(self, index: int, episode: Episode) -> None:
        """Write one episode into row ``index``."""
        self.lengths[index] = len(episode.trials)
        for t, (trial, layout) in enumerate(zip(episode.trials, episode.layouts, strict=True)):
            row, measures = self.numbers[index, t], self.measures[index, t]
            row[THINGS] = _values(trial.things)
            pairs = dict(trial.in_play)
            row[PAIRS] = [
                _POSITION[value] for d in DIMENSIONS for value in pairs.get(d, VALUES[d][:2])
            ]
            row[SPOKEN] = _spoken(trial)
            row[DIMENSION] = DIMENSIONS.index(trial.dimension)
            row[MODE] = MODES.index(trial.mode)
            row[TRANSFORMS] = trial.transforms
            row[TEST] = trial.test
            row[NAMES_DIMENSION] = trial.names_dimension
            measures[AGENT] = layout.agent.x, layout.agent.y, layout.agent.heading
            measures[PLACES] = np.ravel(layout.objects)
            measures[REWARD] = trial.reward
        for t, decoy in enumerate(episode.decoys):
            row, choice = self.numbers[index, t], decoy.state.choice
            assert choice is not None
            row[DECOY_THINGS] = _values(decoy.state.things)
            row[DECOY_SPOKEN] = _spoken(decoy.trial)
            row[DECOY_DIMENSION] = DIMENSIONS.index(decoy.trial.dimension)
            row[DECOY_CHOICE] = choice.target


def _values(things: tuple[Thing, ...]) -> list[int]:
    return [_POSITION[thing[d]] for thing in things for d in DIMENSIONS]


def _spoken(trial: Trial) -> list[bool]:
    return [d in trial.spoken for d in DIMENSIONS]


def thing(values: NDArray[np.integer]) -> Thing:
    """The object of these values, given by position, in the order of ``Dimension``."""
    return Thing(*(VALUES[d][i] for d, i in zip(DIMENSIONS, values.tolist(), strict=True)))  # type: ignore[arg-type]
