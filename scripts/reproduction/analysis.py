"""From records of episodes to figures with intervals.

Intervals are 95%. Of several agents: Student's t over what each reached, which holds whatever
agents (seeds) and their episodes differ in, and is wide where they are two. Of one agent: a
bootstrap over its episodes, which says nothing of how another seed would have done. Where all
episodes agree, nothing varies: Wilson's interval for as many episodes, whichever agent's.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from oddoneout.evaluation import Estimate, unanimous
from oddoneout.rules.attributes import Dimension
from oddoneout.rules.evidence import UNTRIED, still_possible
from scripts.reproduction.records import EpisodeRecord, TrialRecord, decode

_RESAMPLES: Final = 1000
_SEED: Final = 20_230_516
# Student's t, two-sided 95%, by degrees of freedom from 1; the last serves beyond, a little wide.
_T: Final = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)

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


def rewarded(episode: EpisodeRecord) -> tuple[int, int]:
    """Of all experiments, those that were rewarded."""
    return sum(trial.correct for trial in episode[:-1]), len(episode) - 1


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

    open: frozenset[Dimension] = UNTRIED
    rewarded: bool = False

    @property
    def known(self) -> bool:
        return len(self.open) == 1

    def after(self, trial: TrialRecord) -> "Evidence":
        """What is known after an experiment. The chosen object's oddities, and whether it was
        right, say everything: the outcome's sentence is not among the agent's inputs."""
        left = still_possible(self.open, trial.odd_in, trial.correct)
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


def after_failure(stays: bool) -> Measure:
    """Of the tests after a last experiment that failed with something odd: those that chose what
    is odd in a dimension that failure ruled out (``stays``), or in one still open (else)."""

    def measure(episode: EpisodeRecord) -> tuple[int, int]:
        evidence, test = list(unfold(episode))[-1]
        last = episode[-2]
        if last.correct or not last.odd_in:
            return 0, 0
        wanted = frozenset(last.odd_in) if stays else evidence.open
        return int(bool(wanted & set(test.odd_in))), 1

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


@dataclass(frozen=True, slots=True)
class _Shares:
    """What each of an arm's agents reached, as far as a measure applied to it."""

    agents: tuple[NDArray[np.float64], ...]

    @classmethod
    def of(cls, pool: Pool, measure: Measure) -> "_Shares":
        sums = (_sums(episodes, measure) for episodes in pool)
        return cls(tuple(each for each in sums if each[:, 1].sum() > 0))

    @property
    def values(self) -> NDArray[np.float64]:
        return np.array([float(_ratio(each.sum(0))) for each in self.agents])

    @property
    def spread(self) -> float:
        """Standard deviation between agents; of one, unknown, 0."""
        return float(self.values.std(ddof=1)) if len(self.agents) > 1 else 0.0

    @property
    def agreed(self) -> Estimate | None:
        """Wilson's interval where all episodes of all agents agree."""
        right, due = np.concatenate(self.agents).T
        return unanimous(right.tolist(), due.tolist())

    @property
    def interval(self) -> Estimate:
        """The mean over agents, who are taken as they are: only their episodes vary."""
        return self.agreed or _percentiles(float(self.values.mean()), self.resampled(_SEED))

    def error(self, spread: float) -> float:
        """Standard error of the mean over agents that differ by ``spread``; no less than what
        their episodes alone account for."""
        sure = self.agreed
        alone = np.nanstd(self.resampled(_SEED)) if sure is None else (sure.high - sure.low) / 3.92
        return float(max(spread / np.sqrt(len(self.agents)), alone))

    def resampled(self, seed: int) -> NDArray[np.float64]:
        """The mean over agents, (resamples,), their episodes drawn anew."""
        rng = np.random.default_rng(seed)
        picks = (rng.integers(len(each), size=(_RESAMPLES, len(each))) for each in self.agents)
        drawn = (_ratio(each[pick].sum(1)) for each, pick in zip(self.agents, picks, strict=True))
        return np.mean(list(drawn), axis=0)


def _student(value: float, error: float, freedom: int, least: float) -> Estimate:
    half = _T[min(freedom, len(_T)) - 1] * error
    return Estimate(value, max(least, value - half), min(1.0, value + half))


def _percentiles(value: float, draws: NDArray[np.float64]) -> Estimate:
    kept = draws[~np.isnan(draws)]
    low, high = np.percentile(kept, (2.5, 97.5)) if len(kept) else (np.nan, np.nan)
    return Estimate(value, float(low), float(high))


def estimate(agents: Pool, measure: Measure) -> Estimate | None:
    """The mean over agents of the share of each, with its interval; None where the measure
    never applied.

    Raises:
        ValueError: if there is no agent.
    """
    if not agents:
        raise ValueError("an estimate needs at least one agent")
    shares = _Shares.of(agents, measure)
    if not shares.agents:
        return None
    if shares.agreed is None and len(shares.agents) > 1:
        value = float(shares.values.mean())
        return _student(value, shares.error(shares.spread), len(shares.agents) - 1, 0.0)
    return shares.interval


def difference(first: Pool, second: Pool, measure: Measure) -> Estimate | None:
    """The first's mean less the second's, as of independent agents; None where the measure never
    applied to one of the two.

    An agent that stands alone is taken to vary between seeds as much as those of the other arm;
    where both stand alone, only their episodes vary. If all episodes of one of these agree, the
    two intervals are put together by Newcombe's method (Statistics in Medicine 17, 1998, p. 873).
    """
    one, two = _Shares.of(first, measure), _Shares.of(second, measure)
    counts = len(one.agents), len(two.agents)
    if min(counts) == 0:
        return None
    value = float(one.values.mean() - two.values.mean())
    if max(counts) > 1:
        first_spread = one.spread if counts[0] > 1 else two.spread
        second_spread = two.spread if counts[1] > 1 else one.spread
        # Welch's error, with the fewest degrees of freedom that it may have.
        error = float(np.hypot(one.error(first_spread), two.error(second_spread)))
        return _student(value, error, min(n for n in counts if n > 1) - 1, -1.0)
    if one.agreed or two.agreed:
        a, b = one.interval, two.interval
        below = float(np.hypot(a.value - a.low, b.high - b.value))
        above = float(np.hypot(a.high - a.value, b.value - b.low))
        return Estimate(value, value - below, value + above)
    return _percentiles(value, one.resampled(_SEED) - two.resampled(_SEED + 1))
