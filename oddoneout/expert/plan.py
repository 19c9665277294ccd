"""What the expert believes and what it intends: pure, and fed by what has been in view only.

``update`` is the only door from a snapshot into a belief, and it lets through nothing but the
agent's own pose and doings, its rewards, and the objects in view. ``decide`` sees beliefs alone.
"""

import math
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

import numpy as np

from oddoneout.actions import TRANSFORMS, Action
from oddoneout.expert.options import ExpertOptions
from oddoneout.expert.search import FLOOR, search_turn, unexplored
from oddoneout.expert.steer import Ground, Point, stepped, sweep, to_look_at, to_see, turns_to_look
from oddoneout.rules.attributes import CORE_DIMENSIONS, Dimension
from oddoneout.rules.things import Thing, odd_in, odd_one
from oddoneout.rules.trial import Mode, Phase
from oddoneout.snapshot import Snapshot
from oddoneout.world.geometry import REACH, STEP_LENGTH
from oddoneout.world.layout import Pose

FOCUS: Final = REACH - 0.02  # aims stay clear of the rim of what is within reach
_BLOCKED: Final = STEP_LENGTH / 3  # a step forward that gets less far has been blocked
_TURNING: Final = {Action.TURN_LEFT: 1, Action.TURN_RIGHT: -1}
_SWITCH: Final = {dimension: action for action, dimension in TRANSFORMS.items()}


@dataclass(frozen=True, slots=True)
class Known:
    """An object that has been in view during this trial.

    Attributes:
        x, y: its centre, metres.
        thing: its values as last seen from a legible distance; None if never.
        read: whether it has been looked at from a legible distance.
    """

    x: float
    y: float
    thing: Thing | None = None
    read: bool = False


@dataclass(frozen=True, slots=True)
class Aim:
    """What a trial comes to: choose one object, perhaps after transforming one.

    Attributes:
        target: index of the object to choose.
        subject: index of the object to transform before; None: nothing is transformed.
        dimension: the dimension to transform it in; None: nothing is transformed.
    """

    target: int
    subject: int | None = None
    dimension: Dimension | None = None


@dataclass(frozen=True, slots=True)
class TrialBelief:
    """What has been gathered since the trial began.

    Attributes:
        index: of the trial.
        mode: what its instruction asks.
        known: what is known of each object; None for one that has never been in view.
        spots: where an object that has never been in view could still stand.
        bumps: where a step forward ended that was blocked.
        turning: the latest turn: +1 left, -1 right, 0 none yet.
        aim: what has been settled on, once every object has been read.
    """

    index: int
    mode: Mode
    known: tuple[Known | None, ...]
    spots: tuple[Point, ...] = FLOOR
    bumps: tuple[Point, ...] = ()
    turning: int = 0
    aim: Aim | None = None

    @property
    def seen(self) -> tuple[int, ...]:
        """The objects that have been in view."""
        return tuple(i for i, known in enumerate(self.known) if known is not None)

    @property
    def unread(self) -> tuple[int, ...]:
        """The objects that have been in view, but not been looked at from near enough."""
        return tuple(
            i for i, known in enumerate(self.known) if known is not None and not known.read
        )

    @property
    def complete(self) -> bool:
        """Whether every object has been read."""
        return len(self.seen) == len(self.known) and not self.unread

    @property
    def things(self) -> tuple[Thing, ...] | None:
        """The values of all objects; None while some are not known."""
        things = tuple(k.thing for k in self.known if k is not None and k.thing is not None)
        return things if len(things) == len(self.known) else None

    @property
    def positions(self) -> tuple[Point, ...]:
        """Of the objects in ``seen``, in that order."""
        return tuple((known.x, known.y) for known in self.known if known is not None)

    @property
    def ground(self) -> Ground:
        """What is known to be in the way."""
        return Ground(self.positions, self.bumps)


@dataclass(frozen=True, slots=True)
class Belief:
    """Everything the expert goes by.

    Attributes:
        agent: its own pose.
        gaze, focus: the object looked at, and in focus, or None.
        phase: searching, or hearing an explanation.
        transforms_left: what it has not used up of this trial's transforms.
        told: the rewarded dimension where the level tells it.
        possible: the dimensions that its choices have not ruled out as the rewarded one: all
            before the first experiment, one after the first reward.
        trial: what this trial has shown.
    """

    agent: Pose
    gaze: int | None
    focus: int | None
    phase: Phase
    transforms_left: int
    told: Dimension | None
    possible: frozenset[Dimension]
    trial: TrialBelief


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


def update(
    belief: Belief | None, snapshot: Snapshot, action: Action | None, legible: float
) -> Belief:
    """The belief after one more look at the room.

    Args:
        belief: before; None at an episode's beginning.
        snapshot: only its objects in view are used, and their values only from near enough.
        action: the action executed since ``belief``; None if there was none.
        legible: metres from which looks can be told apart.
    """
    trial = None if belief is None else belief.trial
    if trial is None or trial.index != snapshot.trial:
        trial = TrialBelief(snapshot.trial, snapshot.mode, (None,) * len(snapshot.objects))
    elif belief is not None:
        bumps = trial.bumps
        if action is Action.FORWARD and _gap(belief.agent, snapshot.agent) < _BLOCKED:
            ahead = stepped(belief.agent)
            bumps = (*bumps, (ahead.x, ahead.y))
        turning = trial.turning if action is None else _TURNING.get(action, trial.turning)
        trial = replace(trial, bumps=bumps, turning=turning)

    gaze, focus = (
        i if i is not None and snapshot.objects[i].visible else None
        for i in (snapshot.gaze, snapshot.focus)
    )
    known = list(trial.known)
    for i, view in enumerate(snapshot.objects):
        if not view.visible:
            continue
        before = known[i] or Known(view.x, view.y)
        near = view.distance <= legible
        known[i] = Known(
            view.x,
            view.y,
            view.thing if near else before.thing,
            before.read or (near and gaze == i),
        )
    trial = replace(trial, known=tuple(known))
    if len(trial.seen) < len(known):
        spots = unexplored(trial.spots, snapshot.agent, trial.positions)
        trial = replace(trial, spots=spots)
    return Belief(
        agent=snapshot.agent,
        gaze=gaze,
        focus=focus,
        phase=snapshot.phase,
        transforms_left=snapshot.transforms_left,
        told=snapshot.known_dimension,
        possible=_possible(belief, snapshot),
        trial=trial,
    )


def _possible(belief: Belief | None, snapshot: Snapshot) -> frozenset[Dimension]:
    """What the first moment after a choice leaves possible: an object that was rewarded was odd
    in the rewarded dimension, one that was not was not."""
    if belief is None:
        return frozenset(CORE_DIMENSIONS)
    chosen = belief.phase is Phase.SEARCH and snapshot.phase is Phase.EXPLAIN
    things = belief.trial.things
    if not chosen or things is None or belief.focus is None:
        return belief.possible
    odd = frozenset(odd_in(things, belief.focus))
    left = belief.possible & odd if snapshot.last_reward > 0 else belief.possible - odd
    return left or belief.possible


def decide(
    belief: Belief, options: ExpertOptions, rng: np.random.Generator
) -> tuple[Belief, Intent]:
    """What to do now, and the belief with what has been settled by deciding it.

    First every object is seen and read, in an order that depends on where objects stand and not
    on how they look. Only then is the aim settled, and pursued to the end.
    """
    trial = belief.trial
    if belief.phase is Phase.EXPLAIN:
        return belief, Wait()
    if trial.aim is None:
        if not trial.complete:
            return belief, _look_around(belief, options.legible)
        trial = replace(trial, aim=_settle(belief, options, rng))
        belief = replace(belief, trial=trial)
    assert trial.aim is not None
    return belief, _pursue(belief, trial.aim)


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
        return min(
            (LookAt(i, legible) for i in trial.unread),
            key=lambda intent: way_length(belief, intent),
        )
    if trial.spots and len(trial.seen) < len(trial.known):
        return min(
            (Search(spot) for spot in trial.spots),
            key=lambda intent: way_length(belief, intent),
        )
    return Wander()


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
    if belief.trial.mode is Mode.FIND:
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
    if belief.told is not None:
        odd = odd_one(things, belief.told)
        if odd is not None:
            return odd
    # In declaration order, so that the draw is a function of the generator alone.
    likely = [d for d in CORE_DIMENSIONS if d in belief.possible]
    found = [i for d in likely if (i := odd_one(things, d)) is not None]
    return _any(found or list(range(len(things))), rng)


def _test(
    possible: frozenset[Dimension], options: ExpertOptions, rng: np.random.Generator
) -> Dimension:
    """The dimension to test next; drawn even where one is left, to keep draws in step."""
    left = [d for d in CORE_DIMENSIONS if d in possible]
    drawn = _any(left, rng)
    return drawn if options.random_order else left[0]


def _experiment(
    belief: Belief, things: tuple[Thing, ...], dimension: Dimension, rng: np.random.Generator
) -> Aim:
    """Make one object odd in ``dimension`` by one transform: of the object itself where all are
    alike; of its partner where they stand in pairs. With the least walking."""

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

    def walk(aim: Aim) -> float:
        assert aim.subject is not None
        known = belief.trial.known
        first, then = known[aim.subject], known[aim.target]
        assert first is not None
        assert then is not None
        there = math.dist((first.x, first.y), (then.x, then.y)) / STEP_LENGTH
        return way_length(belief, LookAt(aim.subject, FOCUS)) + there

    walks = [walk(aim) for aim in aims]
    return _any([aim for aim, length in zip(aims, walks, strict=True) if length == min(walks)], rng)


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


def _any(items: list, rng: np.random.Generator):
    return items[rng.integers(len(items))]


def _gap(one: Pose, other: Pose) -> float:
    return math.hypot(other.x - one.x, other.y - one.y)
