"""One trial as pure state: (trial, state, event) -> (state, result). No coordinates, no pixels."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeAlias

from oddoneout.rules.attributes import Dimension, Value
from oddoneout.rules.things import Thing, odd_in

TRIAL_STEPS: Final = 100  # steps that a search may take
EXPLAIN_STEPS: Final = 3  # observations that carry a choice's outcome explanation


class Mode(StrEnum):
    """What the instruction asks for."""

    MAKE = "make"
    FIND = "find"


class Phase(StrEnum):
    """Before the choice, and after it."""

    SEARCH = "search"
    EXPLAIN = "explain"


@dataclass(frozen=True, slots=True)
class Trial:
    """Everything that sampling decided about one trial's rules.

    Attributes:
        things: the four objects at the start.
        in_play: the two values in play of each dimension in play; a transform switches between
            them. A dimension absent here is the same for all objects and never changes.
        dimension: the rewarded dimension.
        mode: make or find.
        transforms: how many transforms the trial allows.
        reward: what a correct choice brings.
        test: whether this is the scored trial.
        spoken: the dimensions that explanations may mention.
        names_dimension: whether outcome explanations name the rewarded dimension.
    """

    things: tuple[Thing, ...]
    in_play: tuple[tuple[Dimension, tuple[Value, Value]], ...]
    dimension: Dimension
    mode: Mode
    transforms: int
    reward: float
    test: bool
    spoken: tuple[Dimension, ...]
    names_dimension: bool

    def switched(self, thing: Thing, dimension: Dimension) -> Thing:
        """``thing`` with the other value in play in ``dimension``.

        Raises:
            ValueError: if the dimension, or the thing's value in it, is not in play.
        """
        first, second = dict(self.in_play).get(dimension, (None, None))
        if first is None or second is None or thing[dimension] not in (first, second):
            raise ValueError(
                f"{thing[dimension]!r} is not in play in {dimension.value}; in play: {self.in_play}"
            )
        return thing.with_value(dimension, second if thing[dimension] == first else first)


@dataclass(frozen=True, slots=True)
class TrialChoice:
    """A choice as it was made: of which thing, whether it was right, where the thing was odd."""

    target: int
    correct: bool
    odd_in: tuple[Dimension, ...]


@dataclass(frozen=True, slots=True)
class TrialState:
    """Where a trial stands; ``choice`` is there exactly in the explaining phase."""

    things: tuple[Thing, ...]
    transforms_left: int
    step: int = 0
    choice: TrialChoice | None = None

    @property
    def phase(self) -> Phase:
        return Phase.SEARCH if self.choice is None else Phase.EXPLAIN


@dataclass(frozen=True, slots=True)
class Pass:
    """A step that only moves the agent, or nothing."""


@dataclass(frozen=True, slots=True)
class Choose:
    """The choose action, with the thing in focus (None: nothing was)."""

    target: int | None


@dataclass(frozen=True, slots=True)
class Transform:
    """A transform action, with the thing in focus (None: nothing was)."""

    dimension: Dimension
    target: int | None


Event: TypeAlias = Pass | Choose | Transform


@dataclass(frozen=True, slots=True)
class Result:
    """What one event brought about.

    Attributes:
        reward: for a choice made by this event.
        chosen: whether this event made the choice.
        repainted: index of the thing that changed its look, or None.
        over: the trial has ended with this event.
        timed_out: it ended because the search ran out of steps.
    """

    reward: float = 0.0
    chosen: bool = False
    repainted: int | None = None
    over: bool = False
    timed_out: bool = False


_NOTHING = Result()
_OVER = Result(over=True)
_TIMED_OUT = Result(over=True, timed_out=True)


def begin(trial: Trial) -> TrialState:
    """The state in which a trial starts."""
    return TrialState(trial.things, trial.transforms)


def advance(trial: Trial, state: TrialState, event: Event) -> tuple[TrialState, Result]:
    """Apply one event; each takes one step of the phase's time.

    A transform without a target or without one left, and a choice without a target, do nothing
    but pass time. In the explaining phase nothing can be changed or chosen any more. A choice made
    on the last step of the search still counts.
    """
    step = state.step + 1
    if state.choice is not None:
        waiting = TrialState(state.things, state.transforms_left, step, state.choice)
        return waiting, _OVER if step >= EXPLAIN_STEPS else _NOTHING

    match event:
        case Choose(target) if target is not None:
            odd = odd_in(state.things, target)
            correct = trial.dimension in odd
            choice = TrialChoice(target, correct, odd)
            chosen = TrialState(state.things, state.transforms_left, 0, choice)
            return chosen, Result(reward=trial.reward if correct else 0.0, chosen=True)
        case Transform(dimension, target) if target is not None and state.transforms_left > 0:
            things = list(state.things)
            things[target] = trial.switched(things[target], dimension)
            state = TrialState(tuple(things), state.transforms_left - 1, step)
            if step >= TRIAL_STEPS:
                return state, Result(repainted=target, over=True, timed_out=True)
            return state, Result(repainted=target)
    state = TrialState(state.things, state.transforms_left, step)
    return state, _TIMED_OUT if step >= TRIAL_STEPS else _NOTHING
