"""Any policy x level x arguments -> scores with intervals. The same loop plays every policy.

Intervals are 95%: Wilson's for the share of episodes in which something happened, and the
percentile bootstrap over whole episodes (fixed generator) for means and per-step accuracies; of
one episode alone it says nothing.
"""

import platform
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from types import MappingProxyType
from typing import Any, Final, Protocol, TypeVar

import gymnasium
import numpy as np

import oddoneout
from oddoneout.actions import Action
from oddoneout.demos.rollout import Policy, Step, rollout
from oddoneout.demos.trajectory import Choice, Trajectory
from oddoneout.rules.attributes import Dimension
from oddoneout.rules.evidence import UNTRIED, still_possible
from oddoneout.rules.language import MATTERS
from oddoneout.rules.splits import Stream, episode_seed
from oddoneout.world.geometry import OBJECT_COUNT

#: Success of choosing any object at random in a scored trial.
CHANCE: Final = 1.0 / OBJECT_COUNT

#: What a scored choice can be odd in; every scored trial counts in exactly one.
ODD_IN: Final = (*(d.value for d in Dimension), "several", "none", "no_choice")

_T = TypeVar("_T")

_Z: Final = 1.959964  # two-sided 95%
_RESAMPLES: Final = 2000
_BOOTSTRAP_SEED: Final = 20_230_516


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure and its 95% interval."""

    value: float
    low: float
    high: float

    @property
    def interval(self) -> list[float]:
        return [self.low, self.high]

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def share(hits: int, total: int) -> Estimate:
    """The share of episodes with something, with Wilson's interval.

    Raises:
        ValueError: unless 0 <= hits <= total and total > 0.
    """
    if not 0 <= hits <= total or total == 0:
        raise ValueError(f"a share needs 0 <= hits <= total and total > 0, got {hits} of {total}")
    p, z2 = hits / total, _Z**2
    center = (p + z2 / (2 * total)) / (1 + z2 / total)
    half = _Z / (1 + z2 / total) * np.sqrt(p * (1 - p) / total + z2 / (4 * total**2))
    # At the ends the formula gives the end itself, but for rounding.
    low = 0.0 if hits == 0 else float(center - half)
    high = 1.0 if hits == total else float(center + half)
    return Estimate(p, low, high)


def ratio(parts: Sequence[float], wholes: Sequence[float]) -> Estimate:
    """Sum of parts over sum of wholes, one of each per episode, bootstrapped over episodes.

    Raises:
        ValueError: if the two differ in length, or the wholes add up to nothing.
    """
    top, bottom = np.asarray(parts, np.float64), np.asarray(wholes, np.float64)
    if top.shape != bottom.shape or top.ndim != 1 or bottom.sum() <= 0:
        raise ValueError(
            f"a ratio needs two series of one length with a positive sum below, "
            f"got shapes {top.shape} and {bottom.shape} with sum {bottom.sum()}"
        )
    rng = np.random.default_rng(_BOOTSTRAP_SEED)
    drawn: list[float] = []
    for _ in range(_RESAMPLES):
        pick = rng.integers(len(top), size=len(top))
        if (whole := bottom[pick].sum()) > 0:
            drawn.append(float(top[pick].sum() / whole))
    low, high = np.percentile(drawn, (2.5, 97.5))
    return Estimate(float(top.sum() / bottom.sum()), float(low), float(high))


def unanimous(right: Sequence[float], due: Sequence[float]) -> Estimate | None:
    """Where all that was due was right, or nothing: the share of the episodes in which anything was
    due. There every resample is the same, and a bootstrapped interval would have no width.
    """
    hits = sum(right)
    if hits not in (0, sum(due)):
        return None
    episodes = sum(count > 0 for count in due)
    return share(episodes if hits else 0, episodes)


def accuracy(right: Sequence[float], due: Sequence[float]) -> Estimate:
    """The share of what was due that was right, one count of each per episode: their ``ratio``, or
    what they are ``unanimous`` in.

    Raises:
        ValueError: if nothing was due.
    """
    return unanimous(right, due) or ratio(right, due)


def mean(values: Sequence[float]) -> Estimate:
    """The mean over episodes, bootstrapped."""
    return ratio(values, [1.0] * len(values))


@dataclass(frozen=True, slots=True)
class Spoken:
    """How well a policy says one kind of thing.

    Attributes:
        accuracy: share of its sentences that equal the true one; None if it says nothing.
        base_rate: what always giving the most common true answer would reach.
        steps: steps on which one was due.
    """

    accuracy: Estimate | None
    base_rate: float
    steps: int

    def to_json(self) -> dict[str, Any]:
        return {
            "accuracy": self.accuracy and self.accuracy.value,
            "interval": self.accuracy and self.accuracy.interval,
            "base_rate": self.base_rate,
            "steps": self.steps,
        }


@dataclass(frozen=True, slots=True)
class Scores:
    """What a policy reached in one environment.

    Attributes:
        policy, env, env_args, seed, stream: what was played; episode i has the reset seed
            ``episode_seed(stream, seed, i)``.
        episodes: how many.
        success: share of episodes whose scored trial was chosen correctly.
        mean_return: mean undiscounted return ("return" in the JSON).
        steps: mean environment steps per trial, the explaining phase included.
        episode_steps: mean environment steps per episode.
        experiments: correctness of the first, second, ... experiment trial; empty for levels
            of one trial. An experiment without a choice is not correct.
        odd_in: shares of the scored trials by what the chosen object was odd in: one dimension,
            "several", "none", or "no_choice" when none was made.
        says: what the policy says, scored while it acts itself. "properties" and "outcome":
            exact sentences, on the steps on which one stands. An outcome sentence that names a
            hidden dimension cannot always be known: a first experiment that fails leaves two.
            Hence "outcome_known": those after choices whose rewards, with the earlier ones',
            leave one. An outcome sentence stands after the reward and can be read off it, hence
            "foretold": the outcome sentence as predicted at the step of choosing, before the
            reward (``Decision.foretells``), and "verdict": only whether that one says correct or
            incorrect. Kinds that never stood are absent.
        versions: of Python and of the packages that decide the pixels and the draws.
    """

    policy: str
    env: str
    env_args: Mapping[str, Any]
    seed: int
    stream: str
    episodes: int
    success: Estimate
    mean_return: Estimate
    steps: Estimate
    episode_steps: Estimate
    experiments: tuple[Estimate, ...]
    odd_in: Mapping[str, Estimate]
    says: Mapping[str, Spoken]
    versions: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        """Plain values for ``json.dump``: figures at the top, their 95% intervals under
        "intervals" with the same keys."""
        odd_in = {name: estimate.value for name, estimate in self.odd_in.items()}
        return {
            "policy": self.policy,
            "env": self.env,
            "env_args": dict(self.env_args),
            "seed": self.seed,
            "stream": self.stream,
            "episodes": self.episodes,
            "success": self.success.value,
            "return": self.mean_return.value,
            "steps": self.steps.value,
            "episode_steps": self.episode_steps.value,
            "experiments": [estimate.value for estimate in self.experiments],
            "odd_in": odd_in,
            "says": {kind: spoken.to_json() for kind, spoken in self.says.items()},
            "chance": CHANCE,
            "intervals": {
                "success": self.success.interval,
                "return": self.mean_return.interval,
                "steps": self.steps.interval,
                "episode_steps": self.episode_steps.interval,
                "experiments": [estimate.interval for estimate in self.experiments],
                "odd_in": {name: estimate.interval for name, estimate in self.odd_in.items()},
            },
            "interval_method": "95%; shares of episodes: Wilson; means and sentence accuracies: "
            f"percentile bootstrap over episodes, {_RESAMPLES} resamples, fixed generator "
            "(sentences all right or all wrong: Wilson, of episodes; means of equal values have no "
            "width)",
            "versions": dict(self.versions),
        }


@dataclass(frozen=True, slots=True)
class EpisodeScore:
    """One episode, scored. ``heard`` pairs, by kind, what was true with what was said."""

    total: float
    steps: int
    trials: int
    scored: Choice | None
    experiments: tuple[bool, ...]
    heard: Mapping[str, tuple[tuple[str, str | None], ...]]

    @property
    def odd_in(self) -> str:
        if self.scored is None:
            return "no_choice"
        odd = self.scored.odd_in
        return "none" if not odd else odd[0] if len(odd) == 1 else "several"


class Transcript:
    """What a policy says while episodes are played: hand ``listen`` to ``rollout``."""

    def __init__(self) -> None:
        self._says: dict[int, list[str | None]] = {}
        self._foretells: dict[int, dict[int, str | None]] = {}

    def listen(self, step: Step) -> None:
        """Take down one step."""
        self._says.setdefault(step.seed, []).append(step.decision.says)
        if step.decision.action == Action.CHOOSE:
            self._foretells.setdefault(step.seed, {})[step.time] = step.decision.foretells

    def score(self, trajectory: Trajectory) -> "EpisodeScore":
        """Score a finished episode, and forget what was said in it."""
        seed = trajectory.seed
        return score_episode(trajectory, self._says.pop(seed), self._foretells.pop(seed, {}))


def verdict(sentence: str | None) -> str | None:
    """The first word of an outcome sentence: "correct" or "incorrect"."""
    return sentence.split(" ", 1)[0] if sentence else None


def score_episode(
    trajectory: Trajectory,
    says: Sequence[str | None] = (),
    foretells: Mapping[int, str | None] = MappingProxyType({}),
) -> EpisodeScore:
    """Score one recorded episode.

    Args:
        trajectory: the whole episode.
        says: the sentence predicted to stand, per row; empty for a policy that does not speak.
        foretells: the outcome sentence predicted at the rows of choosing.
    """
    told = trajectory.told
    trials = int(told.trials[-1]) + 1
    by_trial = {choice.trial: choice for choice in trajectory.choices}
    scored = next((choice for choice in trajectory.choices if choice.test), None)
    heard: dict[str, list[tuple[str, str | None]]] = {
        kind: [] for kind in ("properties", "outcome", "outcome_known", "foretold", "verdict")
    }
    known = _known(trajectory.choices)
    for row, truth in enumerate(told.explanations):
        if truth:
            kind = "outcome" if told.explaining[row] else "properties"
            pair = (truth, says[row] if says else None)
            heard[kind].append(pair)
            if told.explaining[row] and truth.endswith(MATTERS) and told.trials[row] in known:
                heard["outcome_known"].append(pair)
    for choice in trajectory.choices:
        after = choice.step + 1
        truth = told.explanations[after] if after < len(trajectory) else ""
        if verdict(truth) in ("correct", "incorrect"):
            said = foretells.get(choice.step)
            heard["foretold"].append((truth, said))
            heard["verdict"].append((str(verdict(truth)), verdict(said)))
    return EpisodeScore(
        total=float(trajectory.seen.rewards.sum(dtype=np.float64)),
        steps=len(trajectory),
        trials=trials,
        scored=scored,
        experiments=tuple(i in by_trial and by_trial[i].correct for i in range(trials - 1)),
        heard={kind: tuple(pairs) for kind, pairs in heard.items()},
    )


def _known(choices: Sequence[Choice]) -> set[int]:
    """The trials after whose choice the rewards so far leave one dimension that can count."""
    possible, known = UNTRIED, set[int]()
    for choice in choices:
        possible = still_possible(possible, choice.odd_in, choice.correct)
        if len(possible) == 1:
            known.add(choice.trial)
    return known


class Team(Protocol):
    """Processes that evaluate together; each runs the same program."""

    @property
    def rank(self) -> int:
        """Of this process, from 0."""
        ...

    @property
    def ranks(self) -> int:
        """How many there are."""
        ...

    def everyone(self, value: _T) -> list[_T]:
        """The values that all processes hand in, by rank; each of them gets all."""
        ...


def evaluate(
    policy: Policy,
    env_id: str,
    env_args: Mapping[str, Any] | None = None,
    *,
    episodes: int,
    seed: int,
    slots: int = 8,
    stream: Stream = Stream.TEST,
    policy_name: str | None = None,
    progress: Callable[[int], None] | None = None,
    team: Team | None = None,
) -> Scores:
    """Play fresh episodes and score them; a function of its arguments alone.

    Args:
        policy: plays; it is given ``slots`` episodes side by side.
        env_id: a registered id.
        env_args: keyword arguments of ``gymnasium.make``.
        episodes: how many, at least 1.
        seed: with ``stream`` it names the episodes; streams never share one.
        slots: episodes side by side; changes the speed, not the scores.
        policy_name: for the record; the policy's class by default.
        progress: called with the number of episodes that this process has done, after each.
        team: shares the episodes among processes that all call this; each gets all the scores,
            which are those of one process.

    Raises:
        ValueError: for fewer than one episode or slot, or wrong environment arguments.
        gymnasium.error.Error: for an unknown id.
    """
    if episodes < 1:
        raise ValueError(f"episodes must be at least 1, got {episodes}")
    if slots < 1:
        raise ValueError(f"slots must be at least 1, got {slots}")
    arguments = dict(env_args or {})
    seeds = [episode_seed(stream, seed, i) for i in range(episodes)]
    rank, ranks = (0, 1) if team is None else (team.rank, team.ranks)
    scored: list[EpisodeScore] = []
    for score in _play(policy, env_id, arguments, seeds[rank::ranks], slots):
        scored.append(score)
        if progress is not None:
            progress(len(scored))
    if team is not None:
        shares = team.everyone(scored)
        scored = [shares[i % ranks][i // ranks] for i in range(episodes)]
    return summarize(
        scored,
        policy=policy_name or type(policy).__name__,
        env=env_id,
        env_args=arguments,
        seed=seed,
        stream=stream,
    )


def _play(
    policy: Policy, env_id: str, env_args: Mapping[str, Any], seeds: Sequence[int], slots: int
) -> Iterator[EpisodeScore]:
    """The scores of one episode per seed, in the order of ``seeds``."""
    transcript = Transcript()

    def make_env() -> gymnasium.Env:
        return gymnasium.make(env_id, disable_env_checker=True, **env_args)

    for trajectory in rollout(policy, make_env, seeds, slots, transcript.listen):
        yield transcript.score(trajectory)


def summarize(
    scores: Sequence[EpisodeScore],
    *,
    policy: str,
    env: str,
    env_args: Mapping[str, Any],
    seed: int,
    stream: Stream,
) -> Scores:
    """Pool scored episodes."""
    total = len(scores)
    kinds = Counter(score.odd_in for score in scores)
    rounds = max(len(score.experiments) for score in scores)
    steps = [float(score.steps) for score in scores]
    return Scores(
        policy=policy,
        env=env,
        env_args=MappingProxyType(dict(env_args)),
        seed=seed,
        stream=stream.name.lower(),
        episodes=total,
        success=share(sum(bool(s.scored and s.scored.correct) for s in scores), total),
        mean_return=mean([score.total for score in scores]),
        steps=ratio(steps, [float(score.trials) for score in scores]),
        episode_steps=mean(steps),
        experiments=tuple(
            # An episode that was cut short had fewer.
            share(sum(any(score.experiments[i : i + 1]) for score in scores), total)
            for i in range(rounds)
        ),
        odd_in=MappingProxyType({name: share(kinds[name], total) for name in ODD_IN}),
        says=MappingProxyType(spoken(scores)),
        versions=MappingProxyType(_versions()),
    )


def spoken(scores: Sequence[EpisodeScore]) -> dict[str, Spoken]:
    """How well each kind of thing was said, over all episodes; see ``Scores.says``."""
    said = {kind: [score.heard[kind] for score in scores] for kind in scores[0].heard}
    return {kind: _spoken(episodes) for kind, episodes in said.items() if any(episodes)}


def _spoken(episodes: Sequence[Sequence[tuple[str, str | None]]]) -> Spoken:
    truths = Counter(truth for episode in episodes for truth, _ in episode)
    steps = truths.total()
    speaks = any(said is not None for episode in episodes for _, said in episode)
    right = [float(sum(truth == said for truth, said in episode)) for episode in episodes]
    return Spoken(
        accuracy=accuracy(right, [float(len(each)) for each in episodes]) if speaks else None,
        base_rate=truths.most_common(1)[0][1] / steps,
        steps=steps,
    )


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "oddoneout": oddoneout.__version__}
    for package in ("mujoco", "gymnasium", "numpy"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "unknown"
    return found
