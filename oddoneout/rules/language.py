"""Instructions and explanations: structured meaning -> sentence -> token ids, and back.

Sentences are lower-case words of one closed vocabulary, separated by single spaces.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from oddoneout.rules.attributes import VALUES, Dimension, Shape, Value
from oddoneout.rules.trial import Mode, Trial, TrialState


@dataclass(frozen=True, slots=True)
class Properties:
    """The values of the object looked at."""

    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """Why a choice was right (its unique value) or wrong (its shared values).

    ``dimension`` is the rewarded dimension where the level's outcomes name it, else None.
    """

    correct: bool
    values: tuple[Value, ...]
    dimension: Dimension | None


@dataclass(frozen=True, slots=True)
class Surroundings:
    """True, and of no use: which wall the agent faces."""

    wall: str


Explanation: TypeAlias = Properties | Outcome | Surroundings

#: Walls by name, as ``Surroundings`` knows them.
WALLS: Final = ("north", "east", "south", "west")

INSTRUCTIONS: MappingProxyType[Mode, str] = MappingProxyType(
    {Mode.MAKE: "make an odd one out", Mode.FIND: "find the odd one out"}
)

#: The last word of an outcome that names the dimension that counts.
MATTERS: Final = "matters"

# The order in which a description names its values, as English does.
_ORDER: Final = (Dimension.SIZE, Dimension.COLOR, Dimension.TEXTURE, Dimension.SHAPE)
_FRAME_WORDS: Final = tuple(
    "make find the an odd one out this is a correct it uniquely incorrect others share "  # noqa: SIM905
    "matters you face wall".split()
)

#: Every word; the index is the token id, and 0 is padding.
VOCABULARY: Final[tuple[str, ...]] = (
    "",
    *_FRAME_WORDS,
    *(d.value for d in Dimension),
    *(str(value) for d in Dimension for value in VALUES[d]),
    *WALLS,
)
_IDS: Final = {word: i for i, word in enumerate(VOCABULARY)}

_KINDS: Final = (*(tuple(str(v) for v in VALUES[d]) for d in Dimension), WALLS)
#: Of each word the id of the first word of its kind: the values of a dimension are of one kind,
#: so are the walls, and any other word is of its own.
WORD_KINDS: Final[tuple[int, ...]] = tuple(
    next((_IDS[kind[0]] for kind in _KINDS if word in kind), i) for i, word in enumerate(VOCABULARY)
)

#: The ids of the words for each dimension's values, in the order of its values.
VALUE_WORDS: Final[MappingProxyType[str, tuple[int, ...]]] = MappingProxyType(
    {d.value: tuple(_IDS[str(value)] for value in VALUES[d]) for d in Dimension}
)

INSTRUCTION_WORDS: Final = max(len(text.split()) for text in INSTRUCTIONS.values())
#: Room for the words of any explanation.
MAX_WORDS: Final = 9


def _ordered(values: Sequence[Value]) -> list[Value]:
    kinds = [type(VALUES[d][0]) for d in _ORDER]
    return sorted(values, key=lambda value: kinds.index(type(value)))


def _described(values: Sequence[Value]) -> str:
    """The values in English order; a shape is a noun and takes an article."""
    article = ["a"] if any(isinstance(value, Shape) for value in values) else []
    return " ".join([*article, *(str(value) for value in _ordered(values))])


@lru_cache(maxsize=65536)
def sentence(explanation: Explanation) -> str:
    """The one sentence that says what ``explanation`` means."""
    match explanation:
        case Properties(values):
            return f"this is {_described(values)}"
        case Outcome(True, values, dimension):
            text = f"correct it is uniquely {_described(values)}"
        case Outcome(False, values, dimension):
            text = "incorrect others share " + " ".join(str(v) for v in _ordered(values))
        case Surroundings(wall):
            return f"you face the {wall} wall"
    return f"{text} {dimension.value} {MATTERS}" if dimension is not None else text


def properties(trial: Trial, state: TrialState, index: int) -> Properties:
    """What is said while the thing at ``index`` is looked at."""
    thing = state.things[index]
    return Properties(tuple(thing[d] for d in trial.spoken))


def outcome(trial: Trial, state: TrialState) -> Outcome:
    """What is said after a choice.

    Raises:
        ValueError: if no choice has been made yet.
    """
    choice = state.choice
    if choice is None:
        raise ValueError("an outcome is explained only after a choice")
    thing = state.things[choice.target]
    dimensions = (
        (trial.dimension,)
        if choice.correct
        else tuple(d for d in trial.spoken if d not in choice.odd_in)
    )
    return Outcome(
        choice.correct,
        tuple(thing[d] for d in dimensions),
        trial.dimension if trial.names_dimension else None,
    )


def encode(text: str, length: int) -> NDArray[np.int32]:
    """Token ids of a sentence, int32 (length,), padded with 0.

    Raises:
        ValueError: for a word outside the vocabulary or a sentence longer than ``length``.
    """
    words = text.split()
    if len(words) > length:
        raise ValueError(f"{text!r} has {len(words)} words, more than the {length} that fit")
    ids = np.zeros(length, np.int32)
    for i, word in enumerate(words):
        if word not in _IDS:
            raise ValueError(
                f"{word!r} in {text!r} is not a word of oddoneout.rules.language.VOCABULARY"
            )
        ids[i] = _IDS[word]
    return ids


def decode(ids: Sequence[int] | NDArray[np.integer]) -> str:
    """The sentence of token ids; padding is skipped.

    Raises:
        ValueError: for an id outside the vocabulary.
    """
    numbers = [int(i) for i in ids]
    if any(not 0 <= i < len(VOCABULARY) for i in numbers):
        raise ValueError(f"token ids must lie in [0, {len(VOCABULARY)}), got {numbers}")
    return " ".join(VOCABULARY[i] for i in numbers if i)
