"""The rules of trials for all rooms at once: ``oddoneout.rules.trial.advance`` in tensors.

The scalar rules are the law; the tests hold these to them over thousands of random cases.
Tensors have one row per room. Objects, dimensions and values are numbers, as in ``script``.
"""

from dataclasses import dataclass, replace
from functools import cache
from typing import Final

import torch
from torch import Tensor

from oddoneout.actions import TRANSFORMS, Action
from oddoneout.rules.trial import EXPLAIN_STEPS, TRIAL_STEPS
from oddoneout.warp import script
from oddoneout.world.geometry import OBJECT_COUNT

_OBJECTS, _DIMENSIONS = OBJECT_COUNT, len(script.DIMENSIONS)
# What a sentence is about: the first column of ``utterances``.
SILENCE, PROPERTIES, CORRECT, INCORRECT, SURROUNDINGS = range(5)
UNSAID: Final = -1  # a value, or a dimension, that the sentence does not mention


@dataclass(frozen=True, slots=True)
class States:
    """Where each room's trial stands: ``TrialState``, with the trial itself.

    Attributes:
        numbers: int16 (N, columns of ``script``), what was decided about the trial.
        rewards: float64 (N,), what a correct choice brings.
        things: int16 (N, objects, dimensions), the values now.
        transforms_left, step: int64 (N,).
        choice: int64 (N,), the object chosen; -1 during the search.
        correct: bool (N,), of the choice.
        odd: bool (N, dimensions), where the chosen object was odd.
    """

    numbers: Tensor
    rewards: Tensor
    things: Tensor
    transforms_left: Tensor
    step: Tensor
    choice: Tensor
    correct: Tensor
    odd: Tensor

    def where(self, mask: Tensor, other: "States") -> "States":
        """The rows of ``other`` where the mask (N,) is set, else these."""
        return States(
            *(
                torch.where(mask.view(-1, *[1] * (mine.dim() - 1)), theirs, mine)
                for mine, theirs in (
                    (getattr(self, name), getattr(other, name)) for name in self.__slots__
                )
            )
        )


@dataclass(frozen=True, slots=True)
class Results:
    """What one step brought about, as ``Result``: ``reward`` float32 (N,), the others bool."""

    reward: Tensor
    chosen: Tensor
    over: Tensor
    timed_out: Tensor


def begin(numbers: Tensor, rewards: Tensor) -> States:
    """The states in which trials start."""
    count, device = len(numbers), numbers.device
    return States(
        numbers,
        rewards,
        numbers[:, script.THINGS].unflatten(1, (_OBJECTS, _DIMENSIONS)),
        numbers[:, script.TRANSFORMS].long(),
        torch.zeros(count, dtype=torch.int64, device=device),
        torch.full((count,), -1, dtype=torch.int64, device=device),
        torch.zeros(count, dtype=torch.bool, device=device),
        torch.zeros(count, _DIMENSIONS, dtype=torch.bool, device=device),
    )


def odd_in(things: Tensor, index: Tensor) -> Tensor:
    """In which dimensions the object at ``index`` is odd: bool (N, dimensions)."""
    same = things == _of(things, index).unsqueeze(1)
    return same.sum(1) == 1  # itself


def advance(states: States, actions: Tensor, focus: Tensor) -> tuple[States, Results]:
    """One step of every room.

    Args:
        states: where the trials stand.
        actions: int64 (N,), of ``Action``.
        focus: int64 (N,), the object in focus; -1 for none.
    """
    rows = torch.arange(len(actions), device=actions.device)
    searching = states.choice < 0
    able = searching & (focus >= 0)
    target = focus.clamp(min=0)

    chosen = able & (actions == Action.CHOOSE)
    odd = odd_in(states.things, target)
    correct = odd.gather(1, _column(states, script.DIMENSION).unsqueeze(1)).squeeze(1)

    switched = _switches(actions.device)[actions]
    transforming = able & (switched >= 0) & (states.transforms_left > 0)
    dimension = switched.clamp(min=0)
    pairs = states.numbers[:, script.PAIRS].unflatten(1, (_DIMENSIONS, 2))[rows, dimension]
    before = states.things[rows, target, dimension]
    things = states.things.clone()
    things[rows, target, dimension] = torch.where(
        transforming, pairs.sum(1).short() - before, before
    )

    step = states.step + 1
    waited = ~searching & (step >= EXPLAIN_STEPS)
    timed_out = searching & ~chosen & (step >= TRIAL_STEPS)
    reward = torch.where(chosen & correct, states.rewards, 0.0).float()
    after = replace(
        states,
        things=things,
        transforms_left=states.transforms_left - transforming.long(),
        step=torch.where(chosen, 0, step),
        choice=torch.where(chosen, target, states.choice),
        correct=torch.where(chosen, correct, states.correct),
        odd=torch.where(chosen.unsqueeze(1), odd, states.odd),
    )
    return after, Results(reward, chosen, waited | timed_out, timed_out)


def utterances(states: States, described: Tensor) -> Tensor:
    """What the sentences that stand now are about: int16 (N, 2 + dimensions).

    A row holds the kind of sentence, the value that it names in each dimension and the
    dimension that it says matters; ``UNSAID`` for what it does not mention.

    Args:
        states: where the trials stand.
        described: int64 (N,), the object to describe during the search; -1 for none.
    """
    explaining = states.choice >= 0
    subject = torch.where(explaining, states.choice, described)
    kind = torch.where(states.correct, CORRECT, INCORRECT)
    kind = torch.where(explaining, kind, torch.where(described < 0, SILENCE, PROPERTIES))

    spoken = states.numbers[:, script.SPOKEN] > 0
    dimension = _column(states, script.DIMENSION)
    rewarded = torch.nn.functional.one_hot(dimension, _DIMENSIONS) > 0
    shared = spoken & ~(states.odd & explaining.unsqueeze(1))
    said = torch.where((kind == CORRECT).unsqueeze(1), rewarded, shared)
    said &= (kind != SILENCE).unsqueeze(1)
    values = torch.where(said, _of(states.things, subject.clamp(min=0)), UNSAID)
    named = explaining & (_column(states, script.NAMES_DIMENSION) > 0)
    matters = torch.where(named, dimension, UNSAID)
    return torch.cat([kind.unsqueeze(1), values, matters.unsqueeze(1)], 1).short()


def surroundings(about: Tensor, walls: Tensor) -> Tensor:
    """Sentences about walls, int64 (N,) positions in ``WALLS``, where any stand in ``about``."""
    turned = torch.full_like(about, UNSAID)
    turned[:, 0] = torch.where(about[:, 0] == SILENCE, SILENCE, SURROUNDINGS)
    turned[:, -1] = walls
    return turned


def as_decoys(states: States) -> States:
    """The same moments of the decoy trials, as ``explanations="shuffled"`` speaks of them."""
    numbers = states.numbers.clone()
    numbers[:, script.SPOKEN] = numbers[:, script.DECOY_SPOKEN]
    numbers[:, script.DIMENSION] = numbers[:, script.DECOY_DIMENSION]
    things = numbers[:, script.DECOY_THINGS].unflatten(1, (_OBJECTS, _DIMENSIONS))
    chosen = _column(states, script.DECOY_CHOICE)
    odd = odd_in(things, chosen)
    correct = odd.gather(1, _column(states, script.DECOY_DIMENSION).unsqueeze(1)).squeeze(1)
    choice = torch.where(states.choice < 0, states.choice, chosen)
    return replace(states, numbers=numbers, things=things, choice=choice, odd=odd, correct=correct)


@cache
def _switches(device: torch.device) -> Tensor:
    """For each action the dimension that it switches, or -1."""
    dimensions = [
        script.DIMENSIONS.index(TRANSFORMS[action]) if action in TRANSFORMS else -1
        for action in Action
    ]
    return torch.tensor(dimensions, device=device)


def _of(things: Tensor, index: Tensor) -> Tensor:
    """The values of one object of each room: (N, dimensions)."""
    return things[torch.arange(len(index), device=index.device), index]


def _column(states: States, column: int) -> Tensor:
    return states.numbers[:, column].long()
