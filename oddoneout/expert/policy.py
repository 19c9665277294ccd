"""The expert as a policy: one belief per slot."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from oddoneout.actions import TRANSFORMS, Action
from oddoneout.demos.rollout import Decision, Moment
from oddoneout.expert.belief import Belief, update
from oddoneout.expert.options import ExpertOptions
from oddoneout.expert.plan import Do, Intent, LookAt, Search, Wait, decide, way
from oddoneout.rules.trial import Mode, Phase
from oddoneout.snapshot import Snapshot

_STREAM: Final = 3  # keeps this policy's generators apart from other policies'
_MOVEMENTS: Final = (Action.FORWARD, Action.BACKWARD, Action.TURN_LEFT, Action.TURN_RIGHT)


@dataclass(slots=True)
class _Slot:
    """One running episode."""

    rng: np.random.Generator  # of the expert's decisions
    noise: np.random.Generator  # of what disturbs them
    random: bool  # the whole episode is played at random
    belief: Belief | None = None


class ExpertPolicy:
    """Plays every level near-optimally, from what its camera has shown in the episode.

    It looks at every object in turn, settles what to do, and goes. See ``belief`` for what it
    goes by, ``plan`` for what it makes of that, and ``ExpertOptions`` for how to spoil it.
    """

    def __init__(self, options: ExpertOptions | None = None) -> None:
        self.options = ExpertOptions() if options is None else options
        self._slots: dict[int, _Slot] = {}

    def begin(self, slot: int, seed: int) -> None:
        noise = np.random.default_rng((_STREAM, 1, seed))
        self._slots[slot] = _Slot(
            rng=np.random.default_rng((_STREAM, 0, seed)),
            noise=noise,
            random=bool(noise.random() < self.options.random_mix),
        )

    def decide(self, moments: Sequence[Moment]) -> Sequence[Decision]:
        return [self._decide(self._slots[moment.slot], moment) for moment in moments]

    def _decide(self, slot: _Slot, moment: Moment) -> Decision:
        options = self.options
        if slot.random:
            action = int(slot.noise.integers(len(Action)))
            return Decision(action=action, label=action)
        before = None if moment.previous_action is None else Action(moment.previous_action)
        snapshot = moment.snapshot()
        seen = _in_the_dark(snapshot) if options.blind else snapshot
        belief = update(slot.belief, seen, before, options.legible, options.start_over)
        slot.belief, intent = decide(belief, options, slot.rng)
        label = action = _action(slot.belief, intent, slot.rng)
        if belief.phase is Phase.SEARCH:
            action = _disturbed(label, snapshot, options, slot.noise)
        return Decision(action=int(action), label=int(label))


def _disturbed(
    action: Action, snapshot: Snapshot, options: ExpertOptions, noise: np.random.Generator
) -> Action:
    """What is executed instead of the action, perhaps."""
    if noise.random() < options.action_noise:
        return _MOVEMENTS[noise.integers(len(_MOVEMENTS))]
    if options.vain_actions and noise.random() < options.vain_actions:
        vain = [*TRANSFORMS] if snapshot.focus is None or not snapshot.transforms_left else []
        vain += [Action.CHOOSE] if snapshot.focus is None else []
        return vain[noise.integers(len(vain))] if vain else action
    acts = snapshot.mode is Mode.MAKE and snapshot.focus is not None
    if options.rash_actions and acts and noise.random() < options.rash_actions:
        rash = [*(TRANSFORMS if snapshot.transforms_left else ()), Action.CHOOSE]
        return rash[noise.integers(len(rash))]
    return action


def _action(belief: Belief, intent: Intent, rng: np.random.Generator) -> Action:
    match intent:
        case Wait():
            return Action.NOOP
        case Do(action):
            return action
        case LookAt() | Search():
            # Where no way is known, or the way is at its end and yet not what was expected:
            # push on, and let contact slide the agent along whatever is there.
            actions = way(belief, intent)
            return actions[0] if actions else Action.FORWARD
    # Wandering. Who has seen something keeps off choices until it has seen enough.
    allowed = _MOVEMENTS if belief.trial.seen else tuple(Action)
    return allowed[rng.integers(len(allowed))]


def _in_the_dark(snapshot: Snapshot) -> Snapshot:
    objects = tuple(replace(view, visible=False) for view in snapshot.objects)
    return replace(snapshot, objects=objects, gaze=None, focus=None)
