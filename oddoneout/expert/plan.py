"""What the expert intends, given what it believes. Pure; sees beliefs, never snapshots."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeAlias, TypeVar

import numpy as np

from oddoneout.actions import TRANSFORMS, Action
from oddoneout.expert.belief import Aim, Belief, TrialBelief
from oddoneout.expert.options import ExpertOptions
from oddoneout.expert.search import search_turn
from oddoneout.expert.steer import (
    ANYWHERE,
    CONE,
    IN_VIEW,
    Point,
    at_least,
    sweep,
    to_look_at,
    to_see,
    turns_to_look,
)
from oddoneout.rules.attributes import CORE_DIMENSIONS, Dimension
from oddoneout.rules.things import Thing, odd_one
from oddoneout.rules.trial import Mode, Phase
from oddoneout.world.geometry import REACH, STEP_LENGTH

FOCUS: Final = REACH - 0.02  # aims stay clear of the rim of what is within reach
_SWITCH: Final = {dimension: action for action, dimension in TRANSFORMS.items()}

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Wait:
    """Let time pass."""


@dataclass(frozen=True, slots=True)
class Wander:
    """There is nothing left to go by: move at random."""


@dataclass(frozen=True, slots=True)
class Do:
    """Take one certain action: a turn, a choice, a transform."""

    action: Action


@dataclass(frozen=True, slots=True)
class LookAt:
    """Get to look at an object that has been seen, from at most ``within`` metres."""

    index: int
    within: float


@dataclass(frozen=True, slots=True)
class Search:
    """Go where a hidden spot comes into view."""

    spot: Point


Intent: TypeAlias = Wait | Wander | Do | LookAt | Search


def decide(
    belief: Belief, options: ExpertOptions, rng: np.random.Generator
) -> tuple[Belief, Intent]:
    """What to do now, and the belief with what has been settled by deciding it.

    First every object is seen and read, in an order that depends on where objects stand and not
    on how they look. Only then is the aim settled, and pursued to the end; with ``look_again``,
    not before all has been read once more after a transform.
    """
    trial = belief.trial
    if belief.phase is Phase.EXPLAIN:
        return belief, Wait()
    if trial.aim is None:
        if not trial.complete:
            return belief, _look_around(belief, options.legible)
        trial = replace(trial, aim=_settle(belief, options, rng))
        belief = replace(belief, trial=trial)
    aim = trial.aim
    assert aim is not None
    if options.look_again and aim.subject is not None and belief.transforms_left == 0:
        if not trial.again:
            trial = _unread(trial, belief.gaze)
            belief = replace(belief, trial=trial)
        if not trial.complete:
            return belief, _look_around(belief, options.legible)
    return belief, _pursue(belief, aim)


def _unread(trial: TrialBelief, gaze: int | None) -> TrialBelief:
    """All to be read once more, but for what is just being looked at."""
    known = tuple(
        view and replace(view, read=view.read and i == gaze) for i, view in enumerate(trial.known)
    )
    return replace(trial, known=known, again=True)


def _look_around(belief: Belief, legible: float) -> Intent:
    """The next move towards having seen and read everything."""
    agent, trial = belief.agent, belief.trial
    positions = trial.positions
    places = {i: place for place, i in enumerate(trial.seen)}
    turns = [
        turns_to_look(agent, positions, places[i])
        for i in trial.unread
        if math.dist((agent.x, agent.y), positions[places[i]]) <= legible
    ]
    if some := [n for n in turns if n]:
        return Do(sweep(some, trial.turning))
    if len(trial.seen) < len(trial.known):
        turn = search_turn(trial.spots, agent, positions, trial.turning)
        if turn is not None:
            return Do(turn)
    if trial.unread:
        return nearest(belief, [LookAt(i, legible) for i in trial.unread])
    if trial.spots and len(trial.seen) < len(trial.known):
        return nearest(belief, [Search(spot) for spot in trial.spots])
    return Wander()


def nearest(belief: Belief, intents: Sequence[LookAt | Search]) -> LookAt | Search:
    """The first of those with the shortest way; ways that cannot be it are not worked out."""
    best = (math.inf, len(intents))
    for least, i in sorted((least_length(belief, intent), i) for i, intent in enumerate(intents)):
        if (least, i) > best:
            break
        best = min(best, (way_length(belief, intents[i]), i))
    return intents[best[1]]


def _pursue(belief: Belief, aim: Aim) -> Intent:
    if aim.subject is not None and aim.dimension is not None and belief.transforms_left > 0:
        if belief.focus == aim.subject:
            return Do(_SWITCH[aim.dimension])
        return LookAt(aim.subject, FOCUS)
    if belief.focus == aim.target:
        return Do(Action.CHOOSE)
    return LookAt(aim.target, FOCUS)


def _settle(belief: Belief, options: ExpertOptions, rng: np.random.Generator) -> Aim:
    """The aim of a trial of which everything has been read."""
    things = belief.trial.things
    assert things is not None
    if belief.trial.mode is Mode.FIND or not belief.transforms_left:
        return Aim(_odd_one(belief, things, rng))
    dimension = _test(belief.possible, options, rng)
    mistaken = rng.random() < options.mistaken_experiments
    astray = mistaken and rng.random() < 0.5
    if mistaken and not astray:
        dimension = _any([d for d in CORE_DIMENSIONS if d is not dimension], rng)
    aim = _experiment(belief, things, dimension, rng)
    if astray:
        others = [i for i in range(len(things)) if i != aim.target]
        aim = replace(aim, target=_any(others, rng))
    return aim if options.use_transforms else Aim(aim.target)


def _odd_one(belief: Belief, things: tuple[Thing, ...], rng: np.random.Generator) -> int:
    """The object to choose in a trial that asks to find one."""
    odd = {d: i for d in Dimension if (i := odd_one(things, d)) is not None}
    if len(set(odd.values())) == 1:  # plain to see, whatever the dimension
        return next(iter(odd.values()))
    if belief.told is not None and belief.told in odd:
        return odd[belief.told]
    # In declaration order, so that the draw is a function of the generator alone.
    likely = [odd[d] for d in CORE_DIMENSIONS if d in belief.possible and d in odd]
    return _any(likely or list(range(len(things))), rng)


def _test(
    possible: frozenset[Dimension], options: ExpertOptions, rng: np.random.Generator
) -> Dimension:
    """The dimension to test next; drawn even where one is left, to keep draws in step."""
    left = [d for d in CORE_DIMENSIONS if d in possible]
    drawn = _any(left, rng)
    if options.first is not None and len(left) == len(CORE_DIMENSIONS):
        return Dimension(options.first)
    return drawn if options.random_order else left[0]


def _experiment(
    belief: Belief, things: tuple[Thing, ...], dimension: Dimension, rng: np.random.Generator
) -> Aim:
    """Make one object odd in ``dimension`` by one transform: of the object itself where all are
    alike; of its partner where they stand in pairs. The shortest way
    decides which, then the nearest object."""

    def partners(subject: int) -> list[int]:
        same = [
            i for i, thing in enumerate(things) if thing[dimension] == things[subject][dimension]
        ]
        return same if len(same) == len(things) else [i for i in same if i != subject]

    aims = [
        Aim(subject if subject in alike else alike[0], subject, dimension)
        for subject in range(len(things))
        if (alike := partners(subject))
    ]

    def cost(aim: Aim) -> tuple[float, float]:
        assert aim.subject is not None
        known = belief.trial.known
        first, then = known[aim.subject], known[aim.target]
        assert first is not None
        assert then is not None
        across = math.dist((first.x, first.y), (then.x, then.y)) / STEP_LENGTH
        near = math.dist((first.x, first.y), (belief.agent.x, belief.agent.y))
        return way_length(belief, LookAt(aim.subject, FOCUS)) + across, near

    costs = [cost(aim) for aim in aims]
    return _any([aim for aim, price in zip(aims, costs, strict=True) if price == min(costs)], rng)


def way(belief: Belief, intent: LookAt | Search) -> tuple[Action, ...] | None:
    """The actions that carry out ``intent``, as far as is known; None if there is no way."""
    trial = belief.trial
    match intent:
        case LookAt(index, within):
            place = trial.seen.index(index)
            return to_look_at(belief.agent, trial.positions, place, within, trial.ground)
        case Search(spot):
            return to_see(belief.agent, trial.positions, spot, trial.ground)


def way_length(belief: Belief, intent: LookAt | Search) -> float:
    """Steps of the way; infinite if there is none."""
    actions = way(belief, intent)
    return math.inf if actions is None else len(actions)


def least_length(belief: Belief, intent: LookAt | Search) -> int:
    """What ``way_length`` is no less than, worked out in no time."""
    trial = belief.trial
    match intent:
        case LookAt(index, within):
            target = trial.positions[trial.seen.index(index)]
            return at_least(belief.agent, target, within, CONE)
        case Search(spot):
            return at_least(belief.agent, spot, ANYWHERE, IN_VIEW)


def _any(items: list[_T], rng: np.random.Generator) -> _T:
    return items[rng.integers(len(items))]
