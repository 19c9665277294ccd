"""Draws trials: the only randomness in the rules."""

from itertools import combinations, permutations
from typing import Final

import numpy as np

from oddoneout.rules.attributes import CORE_DIMENSIONS, VALUES, Dimension, Size, Value
from oddoneout.rules.levels import TrialSpec
from oddoneout.rules.splits import Split, allows
from oddoneout.rules.things import Thing
from oddoneout.rules.trial import Trial

_THINGS: Final = 4
_PAIRINGS: Final = tuple(combinations(range(_THINGS), 2))
_ORDERS: Final = tuple(permutations(range(_THINGS)))
#: What a dimension that is out of play shows; of the vocabulary, only size ever is.
_STANDARD: Final = {Dimension.SIZE: Size.LARGE}
_MAX_TRIES: Final = 100_000

# One draw of integers decides a trial: two values and a pairing per dimension, one order.
_DIMENSIONS: Final = tuple(Dimension)
_HIGHS: Final = np.array(
    [high for d in _DIMENSIONS for high in (len(VALUES[d]), len(VALUES[d]) - 1, len(_PAIRINGS))]
    + [len(_ORDERS)]
)


def _in_play(spec: TrialSpec) -> tuple[Dimension, ...]:
    return tuple(d for d in _DIMENSIONS if d in CORE_DIMENSIONS or d in (*spec.odd, *spec.pairs))


def _reachable(trial: Trial) -> list[Thing]:
    """Every look that a thing can take in the trial."""
    looks = list(trial.things)
    if trial.transforms:
        looks += [trial.switched(thing, d) for thing in set(trial.things) for d in CORE_DIMENSIONS]
    return looks


def _draw(spec: TrialSpec, rng: np.random.Generator) -> Trial:
    numbers = rng.integers(_HIGHS).tolist()
    order = _ORDERS[numbers[-1]]
    in_play = _in_play(spec)
    pairs: list[tuple[Dimension, tuple[Value, Value]]] = []
    columns: dict[str, list[Value]] = {}
    odd_seen = 0
    for i, dimension in enumerate(_DIMENSIONS):
        values = VALUES[dimension]
        if dimension not in in_play:
            columns[dimension.value] = [_STANDARD[dimension]] * _THINGS
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
        columns[dimension.value] = column
    things = tuple(
        Thing(**{name: column[index] for name, column in columns.items()})  # type: ignore[arg-type]
        for index in range(_THINGS)
    )
    return Trial(
        things=things,
        in_play=tuple(pairs),
        dimension=spec.dimension,
        mode=spec.mode,
        transforms=spec.transforms,
        reward=spec.reward,
        test=spec.test,
        spoken=spec.spoken,
        names_dimension=spec.names_dimension,
    )


def sample_trial(spec: TrialSpec, split: Split, rng: np.random.Generator) -> Trial:
    """A trial of the given kind, uniform among those that the split allows.

    Raises:
        RuntimeError: if the split leaves (almost) no such trial.
    """
    for _ in range(_MAX_TRIES):
        trial = _draw(spec, rng)
        if split is Split.ALL or all(allows(split, thing) for thing in _reachable(trial)):
            return trial
    raise RuntimeError(f"no trial of {spec} found in split {split.value!r} in {_MAX_TRIES} tries")
