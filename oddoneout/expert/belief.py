"""What the expert believes: nothing but what has been in view, and its own doings and rewards.

``update`` is the only door from a snapshot into a belief. Pure.
"""

import math
from dataclasses import dataclass, replace
from typing import Final

from oddoneout.actions import TRANSFORMS, Action
from oddoneout.expert.search import FLOOR, unexplored
from oddoneout.expert.steer import Ground, Point, stepped
from oddoneout.rules.attributes import Dimension
from oddoneout.rules.evidence import UNTRIED, still_possible
from oddoneout.rules.things import Thing, odd_in
from oddoneout.rules.trial import Mode, Phase
from oddoneout.snapshot import Snapshot
from oddoneout.world.geometry import STEP_LENGTH
from oddoneout.world.layout import Pose

_BLOCKED: Final = STEP_LENGTH / 3  # a step forward that gets less far has been blocked
_TURNING: Final = {Action.TURN_LEFT: 1, Action.TURN_RIGHT: -1}


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
        again: whether all objects are to be read once more, since one was transformed.
    """

    index: int
    mode: Mode
    known: tuple[Known | None, ...]
    spots: tuple[Point, ...] = FLOOR
    bumps: tuple[Point, ...] = ()
    turning: int = 0
    aim: Aim | None = None
    again: bool = False

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


def update(
    belief: Belief | None,
    snapshot: Snapshot,
    action: Action | None,
    legible: float,
    start_over: bool = False,
) -> Belief:
    """The belief after one more look at the room.

    Args:
        belief: before; None at an episode's beginning.
        snapshot: only its objects in view are used, and their values only from near enough.
        action: the action executed since ``belief``; None if there was none.
        legible: metres from which looks can be told apart.
        start_over: whether a transform that was executed ends what was known of the room.
    """
    trial = None if belief is None else belief.trial
    over = start_over and action in TRANSFORMS
    if trial is None or over or trial.index != snapshot.trial:
        trial = TrialBelief(snapshot.trial, snapshot.mode, (None,) * len(snapshot.objects))
    elif belief is not None:
        bumps = trial.bumps
        if action is Action.FORWARD and _gap(belief.agent, snapshot.agent) < _BLOCKED:
            ahead = stepped(belief.agent)
            bumps = (*bumps, (ahead.x, ahead.y))
        turning = trial.turning if action is None else _TURNING.get(action, trial.turning)
        trial = replace(trial, bumps=bumps, turning=turning)
        if snapshot.transforms_left < belief.transforms_left and not _intended(belief, action):
            trial = replace(trial, aim=None)  # what was made odd is not what was to be

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


def _intended(belief: Belief, action: Action | None) -> bool:
    """Whether a transform was the one that had been settled on."""
    aim = belief.trial.aim
    done = belief.focus, None if action is None else TRANSFORMS.get(action)
    return aim is not None and done == (aim.subject, aim.dimension)


def _possible(belief: Belief | None, snapshot: Snapshot) -> frozenset[Dimension]:
    """What the first moment after a choice leaves possible: an object that was rewarded was odd
    in the rewarded dimension, one that was not was not."""
    if belief is None:
        return UNTRIED
    chosen = belief.phase is Phase.SEARCH and snapshot.phase is Phase.EXPLAIN
    things = belief.trial.things
    if not chosen or things is None or belief.focus is None:
        return belief.possible
    odd, rewarded = odd_in(things, belief.focus), snapshot.last_reward > 0
    return still_possible(belief.possible, odd, rewarded) or belief.possible


def _gap(one: Pose, other: Pose) -> float:
    return math.hypot(other.x - one.x, other.y - one.y)
