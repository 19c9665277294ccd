"""Draws trials, and how somebody might play them: the only randomness in the rules."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations, permutations, product
from typing import Final

import numpy as np

from oddoneout.rules.attributes import CORE_DIMENSIONS, VALUES, Dimension, Size, Value
from oddoneout.rules.levels import TrialSpec
from oddoneout.rules.splits import Split, allows_values
from oddoneout.rules.things import Thing, odd_one
from oddoneout.rules.trial import Choose, Transform, Trial, TrialState, advance, begin

_THINGS: Final = 4  # as many as objects stand in the world
_PAIRINGS: Final = tuple(combinations(range(_THINGS), 2))
_ORDERS: Final = tuple(permutations(range(_THINGS)))
#: What a dimension that is out of play shows; of the vocabulary, only size ever is.
_STANDARD: Final = {Dimension.SIZE: Size.LARGE}
_MAX_TRIES: Final = 100_000
_BATCH: Final = 16  # drafts drawn at once where a split rejects most

# One draw of integers decides a trial: two values and a pairing per dimension, one order.
_DIMENSIONS: Final = tuple(Dimension)
_HIGHS: Final = np.array(
    [high for d in _DIMENSIONS for high in (len(VALUES[d]), len(VALUES[d]) - 1, len(_PAIRINGS))]
    + [len(_ORDERS)]
)


def _in_play(spec: TrialSpec) -> tuple[Dimension, ...]:
    return tuple(d for d in _DIMENSIONS if d in CORE_DIMENSIONS or d in (*spec.odd, *spec.pairs))


_thing: Final = lru_cache(maxsize=4096)(Thing)  # things check their values, which takes time


@dataclass(frozen=True, slots=True)
class _Draft:
    """A trial's values before objects are made of them: cheap to reject."""

    in_play: tuple[tuple[Dimension, tuple[Value, Value]], ...]
    columns: dict[Dimension, list[Value]]

    def combinations(self) -> Iterator[tuple[Value, ...]]:
        """Every combination of the core values in play, whether or not an object shows it.

        If only those that are shown had to be allowed, a split would favor other looks for who is
        odd than for who is not, and a look would tell of its object's part.
        """
        pairs = dict(self.in_play)
        return product(*(pairs[d] for d in CORE_DIMENSIONS))


def _draft(spec: TrialSpec, in_play: tuple[Dimension, ...], numbers: list[int]) -> _Draft:
    order = _ORDERS[numbers[-1]]
    pairs: list[tuple[Dimension, tuple[Value, Value]]] = []
    columns: dict[Dimension, list[Value]] = {}
    odd_seen = 0
    for i, dimension in enumerate(_DIMENSIONS):
        values = VALUES[dimension]
        if dimension not in in_play:
            columns[dimension] = [_STANDARD[dimension]] * _THINGS
            continue
        first, step, pairing = numbers[3 * i : 3 * i + 3]
        base, other = values[first], values[(first + 1 + step) % len(values)]
        pairs.append((dimension, (base, other)))
        column = [base] * _THINGS
        if dimension in spec.odd:
            column[order[0 if spec.together else odd_seen]] = other
            odd_seen += 1
        elif dimension in spec.pairs:
            for index in _PAIRINGS[pairing]:
                column[index] = other
        columns[dimension] = column
    return _Draft(tuple(pairs), columns)


def _drafts(spec: TrialSpec, batch: int, rng: np.random.Generator) -> Iterator[_Draft]:
    in_play = _in_play(spec)
    for _ in range(_MAX_TRIES // batch):
        for numbers in rng.integers(_HIGHS, size=(batch, len(_HIGHS))).tolist():
            yield _draft(spec, in_play, numbers)


def sample_trial(spec: TrialSpec, split: Split, rng: np.random.Generator) -> Trial:
    """A trial of the given kind, uniform among those that the split allows.

    Raises:
        RuntimeError: if the split leaves (almost) no such trial.
    """
    for draft in _drafts(spec, 1 if split is Split.ALL else _BATCH, rng):
        if split is Split.ALL or all(
            allows_values(split, *values) for values in draft.combinations()
        ):
            return Trial(
                things=tuple(
                    _thing(*values)  # type: ignore[arg-type]
                    for values in zip(*(draft.columns[d] for d in _DIMENSIONS), strict=True)
                ),
                in_play=draft.in_play,
                dimension=spec.dimension,
                mode=spec.mode,
                transforms=spec.transforms,
                reward=spec.reward,
                test=spec.test,
                spoken=spec.spoken,
                names_dimension=spec.names_dimension,
            )
    raise RuntimeError(f"no trial of {spec} found in split {split.value!r} in {_MAX_TRIES} tries")


def sample_play(trial: Trial, rng: np.random.Generator) -> TrialState:
    """How the trial stands after somebody chose who does not know which dimension is rewarded.

    Where transforms are allowed, one is made, in any dimension, and the thing that is odd there
    now is chosen; elsewhere any thing.
    """
    state = begin(trial)
    target = int(rng.integers(len(trial.things)))
    if trial.transforms:
        dimension, _ = trial.in_play[rng.integers(len(trial.in_play))]
        state, _ = advance(trial, state, Transform(dimension, target))
        odd = odd_one(state.things, dimension)
        target = target if odd is None else odd
    state, _ = advance(trial, state, Choose(target))
    return state
