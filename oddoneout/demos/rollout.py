"""The Policy protocol, and the one loop that plays every policy."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import gymnasium
import numpy as np
from numpy.typing import NDArray

from oddoneout.actions import parse_action
from oddoneout.demos.trajectory import Choice, Seen, Told, Trajectory
from oddoneout.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Moment:
    """What a policy is shown of one environment before it decides.

    Attributes:
        slot: which of the policy's parallel episodes this is.
        image: uint8 (H, W, 3), read-only, as it is what will be recorded.
        instruction: int32 (L,), read-only.
        previous_action: the action executed one step before; None at an episode's first step.
        previous_reward: the reward it brought (0.0 at the first step).
        snapshot: the privileged view, drawn up when called. For experts only; agents that
            learn must not call it.
    """

    slot: int
    image: NDArray[np.uint8]
    instruction: NDArray[np.int32]
    previous_action: int | None
    previous_reward: float
    snapshot: Callable[[], Snapshot]


@dataclass(frozen=True, slots=True)
class Decision:
    """What a policy does at one moment.

    Attributes:
        action: executed.
        label: what an imitator should learn to do (differs from ``action`` when a noisy
            demonstrator was disturbed); None for the action itself.
        says: the sentence that the policy predicts to stand now; None if it does not speak.
        probabilities: float32 (9,) over actions, None if it has none.
        foretells: how the policy expects its choice to be explained, predicted before anything
            is told; None if it does not foretell.
    """

    action: int
    label: int | None = None
    says: str | None = None
    probabilities: NDArray[np.float32] | None = None
    foretells: str | None = None


class Policy(Protocol):
    """Plays several episodes side by side, each in a numbered slot."""

    def begin(self, slot: int, seed: int) -> None:
        """Forget the slot's past: a new episode starts there. ``seed`` feeds the policy's own
        randomness, so that an episode is a function of its seed."""
        ...

    def decide(self, moments: Sequence[Moment]) -> Sequence[Decision]:
        """One decision per moment, in the same order; moments name distinct slots."""
        ...


@dataclass(frozen=True, slots=True)
class Step:
    """One decision, as shown to ``on_step`` after it is made and *before* it is executed.

    The environment still stands where the decision was made, so a frame drawn from it now
    belongs to ``moment.image``. What the action then brings is found in the next step's
    ``moment.previous_reward`` and, for every step, in the yielded trajectory.

    Attributes:
        seed: of the episode; with several slots the steps of several episodes interleave.
        time: row of the trajectory, 0 at an episode's first step.
        moment: what the policy was shown.
        decision: what it decided: action, label, predicted sentence, probabilities.
        info: the environment's info standing with ``moment.image`` (explanation, trial, phase).
        env: the environment played, as ``make_env`` built it; draw from it, never step it.
    """

    seed: int
    time: int
    moment: Moment
    decision: Decision
    info: Mapping[str, Any]
    env: gymnasium.Env


def rollout(
    policy: Policy,
    make_env: Callable[[], gymnasium.Env],
    seeds: Iterable[int],
    slots: int = 1,
    on_step: Callable[[Step], None] | None = None,
) -> Iterator[Trajectory]:
    """Play one episode per seed and yield the trajectories in the order of ``seeds``.

    The one loop for demonstrations, evaluation and video. Up to ``slots`` environments are
    played side by side, each with its own policy slot; one that finishes takes the next seed.
    An episode is the same whatever the number of slots, if the policy's decisions do not
    depend on what the other slots show. Environments are closed at the end, or when the
    iterator is closed.

    Args:
        policy: decides for all running slots at once.
        make_env: builds one single environment whose ``unwrapped`` offers ``snapshot()``.
        seeds: episode seeds, consumed as slots fall free.
        slots: environments side by side, at least 1.
        on_step: called once per decision, before it is executed.

    Raises:
        ValueError: if ``slots`` is below 1, or the policy returns anything but one decision for
            each moment, of actions that there are.
    """
    if slots < 1:
        raise ValueError(f"slots must be at least 1, got {slots}")
    return _play(policy, make_env, enumerate(seeds), slots, on_step)


def _play(
    policy: Policy,
    make_env: Callable[[], gymnasium.Env],
    queue: Iterator[tuple[int, int]],
    slots: int,
    on_step: Callable[[Step], None] | None,
) -> Iterator[Trajectory]:
    running: list[_Episode] = []
    finished: dict[int, Trajectory] = {}
    turn = 0  # place in the order of seeds of the trajectory to be yielded next
    envs: list[gymnasium.Env] = []
    try:
        for slot, (place, seed) in zip(range(slots), queue, strict=False):
            envs.append(make_env())
            running.append(_Episode(envs[slot], slot, place, seed, policy))
        while running:
            moments = [episode.moment for episode in running]
            decisions = _checked(policy.decide(moments), len(moments))
            still_running: list[_Episode] = []
            for episode, decision in zip(running, decisions, strict=True):
                if on_step is not None:
                    on_step(episode.step(decision))
                if not episode.execute(decision):
                    still_running.append(episode)
                    continue
                finished[episode.place] = episode.trajectory()
                for place, seed in itertools.islice(queue, 1):
                    still_running.append(_Episode(episode.env, episode.slot, place, seed, policy))
            running = still_running
            while turn in finished:
                yield finished.pop(turn)
                turn += 1
    finally:
        for env in envs:
            env.close()


def _checked(decisions: Sequence[Decision], count: int) -> Sequence[Decision]:
    wanted = f"a policy must return a sequence of one Decision for each moment ({count})"
    if not isinstance(decisions, Sequence) or not all(isinstance(d, Decision) for d in decisions):
        raise ValueError(f"{wanted}, got {decisions!r}")
    if len(decisions) != count:
        raise ValueError(f"{wanted}, got {len(decisions)}")
    return decisions


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    """A view; the array itself stays as its owner wants it."""
    view = array.view()
    view.flags.writeable = False
    return view


class _Episode:
    """An episode being played and recorded in one slot."""

    def __init__(
        self, env: gymnasium.Env, slot: int, place: int, seed: int, policy: Policy
    ) -> None:
        self.env, self.slot, self.place, self.seed = env, slot, place, seed
        self._snapshot: Callable[[], Snapshot] = env.unwrapped.snapshot  # pyright: ignore[reportAttributeAccessIssue]
        self._images: list[NDArray[np.uint8]] = []
        self._instructions: list[NDArray[np.int32]] = []
        self._actions: list[int] = []
        self._labels: list[int] = []
        self._rewards: list[float] = []
        self._explanations: list[str] = []
        self._trials: list[int] = []
        self._explaining: list[bool] = []
        self._choices: list[Choice] = []
        observation, info = env.reset(seed=seed)
        policy.begin(slot, seed)
        self._observe(observation, info, previous_action=None, previous_reward=0.0)

    def _observe(
        self,
        observation: Mapping[str, Any],
        info: Mapping[str, Any],
        previous_action: int | None,
        previous_reward: float,
    ) -> None:
        self.info = info
        self.moment = Moment(
            slot=self.slot,
            image=_read_only(observation["image"]),
            instruction=_read_only(observation["instruction"]),
            previous_action=previous_action,
            previous_reward=previous_reward,
            snapshot=self._snapshot,
        )

    def step(self, decision: Decision) -> Step:
        return Step(
            seed=self.seed,
            time=len(self._actions),
            moment=self.moment,
            decision=decision,
            info=self.info,
            env=self.env,
        )

    def execute(self, decision: Decision) -> bool:
        """Record the decision with its moment, take the step; whether the episode is over."""
        action = parse_action(decision.action)
        label = action if decision.label is None else parse_action(decision.label, "label")
        self._images.append(self.moment.image)
        self._instructions.append(self.moment.instruction)
        self._explanations.append(self.info["explanation"])
        self._trials.append(self.info["trial"])
        self._explaining.append(self.info["phase"] == "explain")
        self._actions.append(int(action))
        self._labels.append(int(label))
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._rewards.append(float(reward))
        if (choice := info.get("choice")) is not None:
            self._choices.append(
                Choice(
                    step=len(self._actions) - 1,
                    trial=int(choice["trial"]),
                    test=bool(choice["test"]),
                    correct=bool(choice["correct"]),
                    odd_in=tuple(choice["odd_in"]),
                )
            )
        self._observe(observation, info, int(action), float(reward))
        return terminated or truncated

    def trajectory(self) -> Trajectory:
        return Trajectory(
            seed=self.seed,
            seen=Seen(
                images=np.stack(self._images),
                instructions=np.stack(self._instructions),
                actions=np.array(self._actions, np.uint8),
                rewards=np.array(self._rewards, np.float32),
            ),
            told=Told(
                labels=np.array(self._labels, np.uint8),
                explanations=tuple(self._explanations),
                trials=np.array(self._trials, np.uint8),
                explaining=np.array(self._explaining, np.bool_),
            ),
            choices=tuple(self._choices),
        )
