"""From records of episodes to figures with intervals.

Intervals are 95%, by a bootstrap on two levels: trained agents (seeds) are drawn with
replacement, and of each its episodes. With few seeds they are rough.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from oddoneout.evaluation import Estimate
from oddoneout.rules.attributes import CORE_DIMENSIONS
from scripts.reproduction.records import EpisodeRecord, TrialRecord, decode

_RESAMPLES: Final = 1000
_SEED: Final = 20_230_516
_CORE: Final = frozenset(d.value for d in CORE_DIMENSIONS)

#: Of one episode: how often something happened, of how many times that it could have.
Measure: TypeAlias = Callable[[EpisodeRecord], tuple[int, int]]

#: One list of episodes per trained agent.
Pool: TypeAlias = Sequence[Sequence[EpisodeRecord]]


def pool(results: Sequence[Mapping[str, Any]], room: str) -> list[list[EpisodeRecord]]:
    """The episodes that the cells played in a room, one list per cell."""
    return [[decode(code) for code in cell["exams"][room]["episodes"]] for cell in results]


def success(episode: EpisodeRecord) -> tuple[int, int]:
    """The scored trial was chosen rightly."""
    return int(episode[-1].correct), 1


def chose(what: str) -> Measure:
    """The chosen object of the scored trial was odd in one dimension, or in "none" or
    "several", or there was "no_choice"."""
    return partial(_chose, what)


def _chose(what: str, episode: EpisodeRecord) -> tuple[int, int]:
    return int(_kind(episode[-1]) == what), 1


def _kind(trial: TrialRecord) -> str:
    if not trial.chosen:
        return "no_choice"
    return "none" if not trial.odd_in else trial.odd_in[0] if len(trial.odd_in) == 1 else "several"


def experiment(index: int) -> Measure:
    """The experiment of that index was rewarded."""
    return lambda episode: (int(episode[index].correct), 1)


def made_odd(dimension: str | None = None) -> Measure:
    """Of the experiments that transformed in ``dimension`` (None: in any), those that went on
    to choose what was odd in it: experiments done properly, rewarded or not."""

    def measure(episode: EpisodeRecord) -> tuple[int, int]:
        tried = [t for t in episode[:-1] if t.transformed and dimension in (None, t.transformed)]
        return sum(t.transformed in t.odd_in for t in tried), len(tried)

    return measure


@dataclass(frozen=True, slots=True)
class Evidence:
    """What an agent could know at some time, from its own rewards.

    Attributes:
        open: the dimensions that may still be the rewarded one.
        rewarded: whether one of its experiments was rewarded.
    """

    open: frozenset[str] = _CORE
    rewarded: bool = False

    @property
    def known(self) -> bool:
        return len(self.open) == 1

    def after(self, trial: TrialRecord) -> "Evidence":
        """What is known after an experiment. The chosen object's oddities, and whether it was
        right, say everything: the outcome's sentence is not among the agent's inputs."""
        odd = frozenset(trial.odd_in)
        if not odd:
            return self
        left = self.open & odd if trial.correct else self.open - odd
        return Evidence(left, self.rewarded or trial.correct)


def unfold(episode: EpisodeRecord) -> Iterator[tuple[Evidence, TrialRecord]]:
    """Each trial, with what was known before it."""
    evidence = Evidence()
    for trial in episode:
        yield evidence, trial
        evidence = evidence.after(trial)


def informative(episode: EpisodeRecord) -> tuple[int, int]:
    """Of the experiments before which the dimension was not yet known, those that left fewer
    dimensions open."""
    tries = [(e, t) for e, t in list(unfold(episode))[:-1] if not e.known]
    return sum(e.after(t).open < e.open for e, t in tries), len(tries)


def repeated(episode: EpisodeRecord) -> tuple[int, int]:
    """Of the experiments before which the dimension was known, those that used it."""
    tries = [(e, t) for e, t in list(unfold(episode))[:-1] if e.known]
    return sum(bool(e.open & set(t.odd_in)) for e, t in tries), len(tries)


def found_out(episode: EpisodeRecord) -> tuple[int, int]:
    """At the test, the agent's own experiments had shown the dimension."""
    return int(list(unfold(episode))[-1][0].known), 1


def follows(rewarded: bool | None = None) -> Measure:
    """Of the tests before which the dimension was known, those that chose what is odd in it.

    Args:
        rewarded: only where it was shown by a reward (True), only where it was left over after
            failures (False), or both (None).
    """

    def measure(episode: EpisodeRecord) -> tuple[int, int]:
        evidence, test = list(unfold(episode))[-1]
        if not evidence.known or rewarded not in (None, evidence.rewarded):
            return 0, 0
        return int(bool(evidence.open & set(test.odd_in))), 1

    return measure


def score(episode: EpisodeRecord) -> tuple[int, int]:
    """The share of an intervention's return: experiments count 1 each, the test 10."""
    *experiments, test = episode
    return sum(t.correct for t in experiments) + 10 * test.correct, len(experiments) + 10


def _sums(episodes: Sequence[EpisodeRecord], measure: Measure) -> NDArray[np.float64]:
    return np.array([measure(episode) for episode in episodes], np.float64).reshape(-1, 2)


def _ratio(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    with np.errstate(invalid="ignore", divide="ignore"):
        return sums[..., 0] / sums[..., 1]


def _draws(agents: Sequence[NDArray[np.float64]], seed: int) -> NDArray[np.float64]:
    """Resampled values of the mean over agents, (resamples,)."""
    rng = np.random.default_rng(seed)
    each = np.stack(
        [
            # Twice for each agent, so that an agent drawn twice brings different episodes.
            _ratio(sums[rng.integers(len(sums), size=(2 * _RESAMPLES, len(sums)))].sum(1))
            for sums in agents
        ]
    )
    who = rng.integers(len(agents), size=(_RESAMPLES, len(agents)))
    which = rng.integers(2 * _RESAMPLES, size=who.shape)
    values = each[who, which]
    with np.errstate(invalid="ignore"):
        counted = ~np.isnan(values)
        return np.where(counted, values, 0.0).sum(1) / counted.sum(1)


def _mean(agents: Sequence[NDArray[np.float64]]) -> float:
    values = [float(_ratio(sums.sum(0))) for sums in agents if sums[:, 1].sum() > 0]
    return float(np.mean(values)) if values else float("nan")


def _interval(draws: NDArray[np.float64]) -> tuple[float, float]:
    kept = draws[~np.isnan(draws)]
    if not len(kept):
        return float("nan"), float("nan")
    low, high = np.percentile(kept, (2.5, 97.5))
    return float(low), float(high)


def estimate(agents: Pool, measure: Measure) -> Estimate | None:
    """The mean over agents of the share of each, with its interval; None where the measure
    never applied.

    Raises:
        ValueError: if there is no agent.
    """
    if not agents:
        raise ValueError("an estimate needs at least one agent")
    sums = [_sums(episodes, measure) for episodes in agents]
    value = _mean(sums)
    return None if np.isnan(value) else Estimate(value, *_interval(_draws(sums, _SEED)))


def difference(first: Pool, second: Pool, measure: Measure) -> Estimate | None:
    """The first's mean less the second's; agents are drawn independently."""
    one, two = ([_sums(e, measure) for e in agents] for agents in (first, second))
    value = _mean(one) - _mean(two)
    if np.isnan(value):
        return None
    return Estimate(value, *_interval(_draws(one, _SEED) - _draws(two, _SEED + 1)))
