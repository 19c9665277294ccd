"""What is kept of a played episode: per trial, what was transformed, what was chosen."""

from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, TypeAlias

from oddoneout.demos.trajectory import Trajectory
from oddoneout.rules.attributes import Dimension

_LETTERS: Final = MappingProxyType({"color": "c", "shape": "s", "texture": "t", "size": "z"})
_NAMES: Final = MappingProxyType({letter: name for name, letter in _LETTERS.items()})
_NOTHING, _NO_CHOICE, _CORRECT, _WRONG = "_", "0", "+", "-"


@dataclass(frozen=True, slots=True)
class TrialRecord:
    """One trial as it was played.

    Attributes:
        transformed: the dimension in which an object was transformed; None if none was.
        chosen: whether a choice was made.
        odd_in: the dimensions in which the chosen object was odd.
        correct: whether the choice was rewarded.
    """

    transformed: str | None
    chosen: bool
    odd_in: tuple[str, ...]
    correct: bool

    def code(self) -> str:
        """A few letters, e.g. "cc-": transformed a color, chose what was odd in color, wrong."""
        head = _LETTERS[self.transformed] if self.transformed else _NOTHING
        if not self.chosen:
            return head + _NO_CHOICE
        odd = "".join(_LETTERS[d] for d in self.odd_in)
        return head + odd + (_CORRECT if self.correct else _WRONG)

    @classmethod
    def parse(cls, code: str) -> "TrialRecord":
        """The inverse of ``code``."""
        head, odd, verdict = code[0], code[1:-1], code[-1]
        return cls(
            transformed=_NAMES.get(head),
            chosen=verdict != _NO_CHOICE,
            odd_in=tuple(_NAMES[letter] for letter in odd),
            correct=verdict == _CORRECT,
        )


#: One episode: its trials in order, the scored one last.
EpisodeRecord: TypeAlias = tuple[TrialRecord, ...]


def record(trajectory: Trajectory, transforms: Sequence[tuple[int, Dimension]]) -> EpisodeRecord:
    """The record of a played episode.

    Args:
        trajectory: the episode.
        transforms: trial and dimension of the transforms that took effect.
    """
    transformed = {trial: dimension.value for trial, dimension in transforms}
    choices = {choice.trial: choice for choice in trajectory.choices}
    trials = []
    for trial in range(int(trajectory.told.trials[-1]) + 1):
        choice = choices.get(trial)
        trials.append(
            TrialRecord(
                transformed=transformed.get(trial),
                chosen=choice is not None,
                odd_in=choice.odd_in if choice else (),
                correct=bool(choice and choice.correct),
            )
        )
    return tuple(trials)


def encode(episode: EpisodeRecord) -> str:
    return " ".join(trial.code() for trial in episode)


def decode(text: str) -> EpisodeRecord:
    return tuple(TrialRecord.parse(code) for code in text.split())
