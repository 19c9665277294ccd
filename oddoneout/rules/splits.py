"""Named splits: held-out feature combinations, and disjoint ranges of episode seeds."""

from enum import Enum, StrEnum
from functools import lru_cache
from itertools import combinations
from typing import Final

from oddoneout.rules.attributes import CORE_DIMENSIONS, VALUES, Dimension, Value
from oddoneout.rules.things import Thing

_MODULUS: Final = 5
_POSITION: Final = {v: i for d in Dimension for i, v in enumerate(VALUES[d])}


class Split(StrEnum):
    """Which feature combinations a room may hold.

    TRAIN: no object, before or after a transform, has a held-out pair of values.
    EVAL: every object, before and after a transform, has at least one held-out pair.
    ALL: no restriction.
    """

    ALL = "all"
    TRAIN = "train"
    EVAL = "eval"


def held_out_pair(first: Value, second: Value) -> bool:
    """Whether a pair of values is held out of training.

    The rule is a Latin pattern over the order in which each dimension's values are declared: a
    pair is held out when its two positions, counted from 0, add up to a multiple of five. So a
    fifth of the pairs is held out for each pair of dimensions, every value keeps most of its
    partners, and about half of all combinations of three values hold a held-out pair.
    """
    return (_POSITION[first] + _POSITION[second]) % _MODULUS == 0


@lru_cache(maxsize=4096)
def allows_values(split: Split, color: Value, shape: Value, texture: Value) -> bool:
    """Whether a room of this split may show an object of these values."""
    held_out = any(held_out_pair(a, b) for a, b in combinations((color, shape, texture), 2))
    return split is Split.ALL or held_out == (split is Split.EVAL)


def allows(split: Split, thing: Thing) -> bool:
    """Whether a room of this split may show the thing."""
    return allows_values(split, *(thing[d] for d in CORE_DIMENSIONS))


class Stream(Enum):
    """What a seed is drawn for; streams never share an episode."""

    TEST = 0
    VALIDATION = 1
    DEMOS = 2


_EPISODES_PER_SEED: Final = 10**7
_SEEDS_PER_STREAM: Final = 10**6


def episode_seed(stream: Stream, seed: int, index: int) -> int:
    """The reset seed of a stream's ``index``-th episode under a user's ``seed``.

    Different (stream, seed, index) give different results, so that no evaluation can repeat an
    episode of the demonstrations, whatever seeds the two were given.

    Raises:
        ValueError: if seed is not in [0, 10**6) or index not in [0, 10**7).
    """
    if not 0 <= seed < _SEEDS_PER_STREAM:
        raise ValueError(f"seed must lie in [0, {_SEEDS_PER_STREAM}), got {seed!r}")
    if not 0 <= index < _EPISODES_PER_SEED:
        raise ValueError(f"index must lie in [0, {_EPISODES_PER_SEED}), got {index!r}")
    return (stream.value * _SEEDS_PER_STREAM + seed) * _EPISODES_PER_SEED + index
