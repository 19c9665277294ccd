"""The levels: what their trials may be, and the arguments that shape them. One row each."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final, TypeVar

import numpy as np

from oddoneout.rules.attributes import CORE_DIMENSIONS, Dimension
from oddoneout.rules.splits import Split
from oddoneout.rules.trial import EXPLAIN_STEPS, TRIAL_STEPS, Mode

MAX_EXPERIMENTS: Final = 8
_DEFAULT_EXPERIMENTS: Final = 3
_TEST_REWARD: Final = 10.0  # of the intervention test trial, which counts ten experiments


class Speech(StrEnum):
    """Which explanations the environment gives."""

    FULL = "full"
    PROPERTIES = "properties"
    OUTCOME = "outcome"
    NONE = "none"
    SHUFFLED = "shuffled"
    IRRELEVANT = "irrelevant"


class Describe(StrEnum):
    """When the object looked at is described: at any distance, or only within reach."""

    GAZE = "gaze"
    NEAR = "near"


class Difficulty(StrEnum):
    """How many dimensions of an experiment start 2-2."""

    EASY = "easy"
    HARD1 = "hard1"
    HARD2 = "hard2"
    HARD3 = "hard3"

    @property
    def pairs(self) -> int:
        return list(Difficulty).index(self)


@dataclass(frozen=True, slots=True)
class TrialSpec:
    """What a trial may be, before anything is drawn.

    Attributes:
        dimension: the rewarded dimension.
        odd: dimensions split 3-1.
        pairs: dimensions split 2-2; every other dimension is the same for all objects.
        together: the odd values all stand on one object, else each on another.
        spoken, names_dimension, mode, transforms, reward, test: as in ``Trial``.

    Raises:
        ValueError: if a dimension is split in two ways.
    """

    dimension: Dimension
    odd: tuple[Dimension, ...] = ()
    pairs: tuple[Dimension, ...] = ()
    together: bool = False
    spoken: tuple[Dimension, ...] = CORE_DIMENSIONS
    names_dimension: bool = False
    mode: Mode = Mode.FIND
    transforms: int = 0
    reward: float = 1.0
    test: bool = True

    def __post_init__(self) -> None:
        both = set(self.odd) & set(self.pairs)
        if both:
            raise ValueError(f"a dimension is split 3-1 or 2-2, not both: {sorted(both)}")


@dataclass(frozen=True, slots=True)
class Settings:
    """A level's arguments, checked. See ``parse_settings`` for what is allowed."""

    dimension: Dimension | None = None
    difficulty: Difficulty | None = None
    hard_dimensions: tuple[Dimension, ...] | None = None
    experiments: int = _DEFAULT_EXPERIMENTS
    explanations: Speech = Speech.FULL
    describe: Describe = Describe.GAZE
    split: Split = Split.ALL


@dataclass(frozen=True, slots=True)
class Level:
    """One level.

    Attributes:
        name: as in the id ``OddOneOut/<name>-v0``.
        dimensions: those that can be the rewarded one.
        hidden: the rewarded dimension must be found out by experiment.
        trials: draws the specs of one episode, given the settings and the rewarded dimension.
        experiments: whether the level has experiment trials, and takes their arguments.
    """

    name: str
    dimensions: tuple[Dimension, ...]
    trials: Callable[[Settings, Dimension, np.random.Generator], tuple[TrialSpec, ...]]
    hidden: bool = False
    experiments: bool = False

    @property
    def id(self) -> str:
        return f"OddOneOut/{self.name}-v0"

    def most_trials(self, settings: Settings) -> int:
        """How many trials an episode has at most."""
        return settings.experiments + 1 if self.experiments else 1

    def most_steps(self, settings: Settings) -> int:
        """How many steps an episode takes at most."""
        return self.most_trials(settings) * (TRIAL_STEPS + EXPLAIN_STEPS)

    def draw(
        self, settings: Settings, rng: np.random.Generator
    ) -> tuple[Dimension, tuple[TrialSpec, ...]]:
        """The rewarded dimension of one episode, and the specs of its trials."""
        dimension = settings.dimension or self.dimensions[rng.integers(len(self.dimensions))]
        return dimension, self.trials(settings, dimension, rng)


def _basic(_: Settings, dimension: Dimension, rng: np.random.Generator) -> tuple[TrialSpec, ...]:
    others = tuple(d for d in Dimension if d != dimension)
    return (TrialSpec(dimension, odd=(dimension,), pairs=others, spoken=tuple(Dimension)),)


def _confounded(
    _: Settings, dimension: Dimension, rng: np.random.Generator
) -> tuple[TrialSpec, ...]:
    return (TrialSpec(dimension, odd=CORE_DIMENSIONS, together=True, spoken=(dimension,)),)


def _deconfounded(
    _: Settings, dimension: Dimension, rng: np.random.Generator
) -> tuple[TrialSpec, ...]:
    return (TrialSpec(dimension, odd=CORE_DIMENSIONS, spoken=(dimension,)),)


def _intervention(
    settings: Settings, dimension: Dimension, rng: np.random.Generator
) -> tuple[TrialSpec, ...]:
    hard = settings.hard_dimensions or CORE_DIMENSIONS
    possible = [d for d in Difficulty if d.pairs <= len(hard)]
    difficulty = settings.difficulty or possible[rng.integers(len(possible))]
    experiments = (
        TrialSpec(
            dimension,
            pairs=tuple(hard[i] for i in rng.permutation(len(hard))[: difficulty.pairs]),
            names_dimension=True,
            mode=Mode.MAKE,
            transforms=1,
            test=False,
        )
        for _ in range(settings.experiments)
    )
    test = TrialSpec(dimension, odd=CORE_DIMENSIONS, names_dimension=True, reward=_TEST_REWARD)
    return (*experiments, test)


_LEVELS: Final = (
    Level("Basic", tuple(Dimension), _basic),
    Level("Confounded", CORE_DIMENSIONS, _confounded),
    Level("Deconfounded", CORE_DIMENSIONS, _deconfounded),
    Level("Intervention", CORE_DIMENSIONS, _intervention, hidden=True, experiments=True),
)

#: Every level by its name.
CATALOGUE: MappingProxyType[str, Level] = MappingProxyType({level.name: level for level in _LEVELS})

_E = TypeVar("_E", bound=StrEnum)
_WHERE: Final = "see the arguments of oddoneout's environments in README.md"


def _named(allowed: Iterable[_E]) -> str:
    return ", ".join(repr(str(member)) for member in allowed)


def _member(
    kind: type[_E],
    argument: str,
    value: Any,
    allowed: tuple[_E, ...] | None = None,
    besides: str = "",
) -> _E:
    allowed = tuple(kind) if allowed is None else allowed
    if isinstance(value, str) and value in allowed:
        return kind(value)
    raise ValueError(
        f"{argument} must be {besides}one of {_named(allowed)}, got {value!r}; {_WHERE}"
    )


def _member_or_none(
    kind: type[_E], argument: str, value: Any, allowed: tuple[_E, ...] | None = None
) -> _E | None:
    return None if value is None else _member(kind, argument, value, allowed, besides="None or ")


def parse_settings(level: Level, arguments: Mapping[str, Any]) -> Settings:
    """Check a level's keyword arguments (JSON-able values) and make settings of them.

    Raises:
        ValueError: for an unknown argument, a value that is not allowed, or an argument that
            this level does not take; the message names what is allowed.
    """
    unknown = set(arguments) - set(Settings.__dataclass_fields__)
    if unknown:
        known = ", ".join(Settings.__dataclass_fields__)
        raise ValueError(f"unknown arguments {sorted(unknown)}; known are {known}; {_WHERE}")
    values = {"experiments": _DEFAULT_EXPERIMENTS, **arguments}
    difficulty = _member_or_none(Difficulty, "difficulty", values.get("difficulty"))
    hard = values.get("hard_dimensions")
    experiments = values["experiments"]

    if not level.experiments:
        given = [
            name
            for name, default in (
                ("difficulty", None),
                ("hard_dimensions", None),
                ("experiments", _DEFAULT_EXPERIMENTS),
            )
            if values.get(name) != default
        ]
        if given:
            raise ValueError(
                f"{level.id} has no experiments and does not take {', '.join(given)} "
                f"(got {', '.join(f'{name}={values[name]!r}' for name in given)}); {_WHERE}"
            )
    if (
        isinstance(experiments, bool)
        or not isinstance(experiments, int | np.integer)
        or not 0 <= experiments <= MAX_EXPERIMENTS
    ):
        raise ValueError(
            f"experiments must be an integer from 0 to {MAX_EXPERIMENTS}, got {experiments!r}; "
            f"{_WHERE}"
        )
    if hard is not None:
        if isinstance(hard, str) or not isinstance(hard, tuple | list):
            raise ValueError(
                f"hard_dimensions must be None or a tuple of {_named(CORE_DIMENSIONS)}, "
                f"got {hard!r}; {_WHERE}"
            )
        hard = tuple(_member(Dimension, "hard_dimensions", d, CORE_DIMENSIONS) for d in hard)
        if len(set(hard)) != len(hard) or not hard:
            raise ValueError(
                f"hard_dimensions must name at least one of {_named(CORE_DIMENSIONS)}, "
                f"none twice, got {values['hard_dimensions']!r}; {_WHERE}"
            )
        if difficulty is not None and difficulty.pairs > len(hard):
            raise ValueError(
                f"difficulty {str(difficulty)!r} needs {difficulty.pairs} hard_dimensions to draw "
                f"from, got {values['hard_dimensions']!r}; {_WHERE}"
            )
    return Settings(
        dimension=_member_or_none(
            Dimension, "dimension", values.get("dimension"), level.dimensions
        ),
        difficulty=difficulty,
        hard_dimensions=hard,
        experiments=int(experiments),
        explanations=_member(Speech, "explanations", values.get("explanations", Speech.FULL)),
        describe=_member(Describe, "describe", values.get("describe", Describe.GAZE)),
        split=_member(Split, "split", values.get("split", Split.ALL)),
    )
