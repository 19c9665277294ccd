"""Scores: hand-made episodes first, then the real loop."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from oddoneout.actions import Action
from oddoneout.baselines import RandomObjectPolicy, RandomPolicy
from oddoneout.demos.rollout import Decision, Moment
from oddoneout.demos.trajectory import Choice, Seen, Told, Trajectory
from oddoneout.evaluation import (
    ODD_IN,
    EpisodeScore,
    accuracy,
    evaluate,
    mean,
    ratio,
    score_episode,
    share,
    summarize,
)
from oddoneout.rules.splits import Stream

BASIC = "OddOneOut/Basic-v0"
INTERVENTION = "OddOneOut/Intervention-v0"


def episode(
    explanations: list[str],
    explaining: list[int],
    trials: list[int] | None = None,
    choices: tuple[Choice, ...] = (),
    rewards: dict[int, float] | None = None,
) -> Trajectory:
    length = len(explanations)
    gains = np.zeros(length, np.float32)
    for row, reward in (rewards or {}).items():
        gains[row] = reward
    return Trajectory(
        seed=0,
        seen=Seen(
            images=np.zeros((length, 2, 2, 3), np.uint8),
            instructions=np.zeros((length, 4), np.int32),
            actions=np.zeros(length, np.uint8),
            rewards=gains,
        ),
        told=Told(
            labels=np.zeros(length, np.uint8),
            explanations=tuple(explanations),
            trials=np.array(trials or [0] * length, np.uint8),
            explaining=np.array(explaining, np.bool_),
        ),
        choices=choices,
    )


def choice(step: int, *, trial: int = 0, test: bool = True, odd: tuple[str, ...] = ()) -> Choice:
    return Choice(step=step, trial=trial, test=test, correct=bool(odd), odd_in=odd)


def pooled(*scores: EpisodeScore):
    return summarize(scores, policy="p", env="e", env_args={}, seed=0, stream=Stream.TEST)


@pytest.mark.parametrize(
    ("choices", "kind"),
    [
        ((choice(0, odd=("texture",)),), "texture"),
        ((choice(0, odd=("color", "shape")),), "several"),
        ((choice(0),), "none"),
        ((), "no_choice"),
        ((choice(0, test=False, odd=("color",)),), "no_choice"),
    ],
)
def test_the_scored_choice_counts_in_exactly_one_way(choices, kind) -> None:
    scores = pooled(score_episode(episode([""], [0], choices=choices)))
    assert tuple(scores.odd_in) == ODD_IN
    assert {name: e.value for name, e in scores.odd_in.items() if e.value} == {kind: 1.0}


def test_experiments_without_a_choice_are_not_correct() -> None:
    played = episode(
        [""] * 4,
        [0] * 4,
        trials=[0, 1, 2, 3],
        choices=(
            choice(0, trial=0, test=False, odd=("color",)),
            choice(2, trial=2, test=False),
            choice(3, trial=3, odd=("color",)),
        ),
        rewards={0: 1.0, 3: 10.0},
    )
    scores = pooled(score_episode(played))
    assert [e.value for e in scores.experiments] == [1.0, 0.0, 0.0]
    assert scores.success.value == 1.0
    assert scores.mean_return.value == 11.0
    assert (scores.steps.value, scores.episode_steps.value) == (1.0, 4.0)


def test_what_is_said_is_compared_word_for_word_where_something_stands() -> None:
    played = episode(
        ["", "this is a red cube", "this is a red cube", "correct it is uniquely red"],
        [0, 0, 0, 1],
        choices=(choice(2, odd=("color",)),),
    )
    says = ["this is a ball", "this is a red cube", "this is a red ball", "incorrect"]
    scores = pooled(score_episode(played, says, {2: "correct it is uniquely blue"}))
    found = {kind: s.accuracy and s.accuracy.value for kind, s in scores.says.items()}
    assert found == {"properties": 0.5, "outcome": 0.0, "foretold": 0.0, "verdict": 1.0}
    assert scores.says["properties"].steps == 2
    assert scores.says["properties"].base_rate == 1.0


def test_outcomes_that_name_a_hidden_dimension_are_also_scored_where_it_can_be_known() -> None:
    truths = [
        "incorrect others share red cube shape matters",  # color is out: shape or texture
        "incorrect others share blue cube shape matters",  # texture is out, too
        "incorrect others share red cube shape matters",  # says nothing new
        "correct it is uniquely a ring shape matters",
    ]
    played = episode(
        [word for truth in truths for word in ("", truth)],
        [0, 1] * 4,
        trials=[0, 0, 1, 1, 2, 2, 3, 3],
        choices=(
            Choice(0, trial=0, test=False, correct=False, odd_in=("color",)),
            Choice(2, trial=1, test=False, correct=False, odd_in=("texture",)),
            Choice(4, trial=2, test=False, correct=False, odd_in=()),
            Choice(6, trial=3, test=True, correct=True, odd_in=("shape",)),
        ),
    )
    says = ["", truths[0], "", "incorrect others share", "", truths[2], "", truths[3]]
    scores = pooled(score_episode(played, says))
    assert scores.says["outcome"].steps == 4
    assert scores.says["outcome"].accuracy == ratio([3], [4])
    assert scores.says["outcome_known"].steps == 3
    assert scores.says["outcome_known"].accuracy == ratio([2], [3])


def test_a_policy_that_does_not_speak_has_base_rates_but_no_accuracy() -> None:
    played = episode(["this is a red cube"], [0])
    scores = pooled(score_episode(played, [None]))
    assert scores.says["properties"].accuracy is None
    assert scores.to_json()["says"]["properties"]["interval"] is None
    assert "outcome" not in scores.says


def test_the_interval_of_a_share_holds_it_and_stays_within_0_and_1() -> None:
    assert (share(0, 10).low, share(10, 10).high) == (0.0, 1.0)
    assert share(0, 10).high == pytest.approx(0.2775, abs=1e-3)  # Wilson, worked by hand
    for hits in range(11):
        e = share(hits, 10)
        assert 0.0 <= e.low <= e.value <= e.high <= 1.0
    with pytest.raises(ValueError, match="got 3 of 2"):
        share(3, 2)


def test_an_accuracy_of_which_all_episodes_agree_is_as_sure_as_their_number_allows() -> None:
    for right in (0, 1):
        few, many = (accuracy([5.0 * right] * n + [0], [5.0] * n + [0]) for n in (10, 300))
        assert few == share(10 * right, 10)
        assert many == share(300 * right, 300)
        assert few.high - few.low > 0.2 > many.high - many.low > 0.0
    assert accuracy([1, 3], [2, 4]) == ratio([1, 3], [2, 4])


def test_bootstrap_intervals_are_the_same_every_time_and_shrink() -> None:
    rng = np.random.default_rng(0)
    few, many = rng.normal(5, 1, 20).tolist(), rng.normal(5, 1, 500).tolist()
    assert mean(few) == mean(few)
    assert mean(many).high - mean(many).low < mean(few).high - mean(few).low
    assert ratio([1, 3], [2, 4]).value == pytest.approx(4 / 6)
    with pytest.raises(ValueError, match="positive sum"):
        ratio([0.0], [0.0])


def test_scores_do_not_depend_on_the_number_of_slots() -> None:
    one, four = (
        evaluate(RandomObjectPolicy(), INTERVENTION, episodes=6, seed=3, slots=slots)
        for slots in (1, 4)
    )
    assert one.to_json() == four.to_json()


class Threads:
    """A team of threads: all wait for each other, as processes do."""

    def __init__(self, rank: int, ranks: int, barrier: threading.Barrier, values: list) -> None:
        self.rank, self.ranks, self.barrier, self.values = rank, ranks, barrier, values

    def everyone(self, value):
        self.values[self.rank] = value
        self.barrier.wait(60)
        return list(self.values)


@pytest.mark.parametrize("ranks", [2, 6])  # of 5 episodes
def test_scores_do_not_depend_on_the_number_of_processes(ranks: int) -> None:
    barrier, values, played = threading.Barrier(ranks), [None] * ranks, [0] * ranks

    def work(rank: int):
        team = Threads(rank, ranks, barrier, values)

        def count(done: int) -> None:
            played[rank] = done

        return evaluate(
            RandomObjectPolicy(), BASIC, episodes=5, seed=3, team=team, progress=count
        ).to_json()

    with ThreadPoolExecutor(ranks) as pool:
        shared = list(pool.map(work, range(ranks)))
    alone = evaluate(RandomObjectPolicy(), BASIC, episodes=5, seed=3).to_json()
    assert shared == [alone] * ranks
    assert played == [len(range(rank, 5, ranks)) for rank in range(ranks)]


def test_scores_are_plain_json_with_every_promised_key() -> None:
    scores = evaluate(RandomPolicy(), INTERVENTION, {"experiments": 2}, episodes=2, seed=0)
    found = json.loads(json.dumps(scores.to_json(), allow_nan=False))
    promised = {"episodes", "success", "return", "steps", "experiments", "odd_in", "intervals"}
    assert promised <= set(found)
    assert len(found["experiments"]) == len(found["intervals"]["experiments"]) == 2
    assert found["env_args"] == {"experiments": 2}
    assert sum(found["odd_in"].values()) == pytest.approx(1.0)


def test_levels_of_one_trial_have_no_experiments() -> None:
    assert evaluate(RandomPolicy(), BASIC, episodes=1, seed=0).to_json()["experiments"] == []


def test_choosing_any_object_is_chance() -> None:
    scores = evaluate(RandomObjectPolicy(), "OddOneOut/Deconfounded-v0", episodes=300, seed=0)
    assert scores.odd_in["no_choice"].value <= 0.01
    for name in ("color", "shape", "texture", "none"):
        assert scores.odd_in[name].low <= 0.25 <= scores.odd_in[name].high
    assert scores.success.low <= 0.25 <= scores.success.high


class Waiting:
    """Never moves."""

    def begin(self, slot: int, seed: int) -> None: ...

    def decide(self, moments: list[Moment]) -> list[Decision]:
        return [Decision(Action.NOOP, Action.NOOP) for _ in moments]


def test_running_out_of_steps_is_no_choice_and_no_success() -> None:
    scores = evaluate(Waiting(), BASIC, episodes=1, seed=0)
    assert scores.odd_in["no_choice"].value == 1.0
    assert scores.success.value == 0.0
    assert scores.mean_return.value == 0.0


def test_episodes_that_are_cut_short_had_fewer_experiments() -> None:
    env = "OddOneOut/Intervention-v0"
    cut = evaluate(RandomPolicy(), env, {"max_episode_steps": 150}, episodes=4, seed=0)
    assert [len(cut.experiments), cut.success.value] == [2, 0.0]


def test_progress_counts_every_episode() -> None:
    done: list[int] = []
    evaluate(RandomObjectPolicy(), BASIC, episodes=3, seed=0, slots=2, progress=done.append)
    assert done == [1, 2, 3]


@pytest.mark.parametrize("wrong", [{"episodes": 0}, {"slots": 0}])
def test_nothing_to_play_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="at least 1, got 0"):
        evaluate(RandomPolicy(), BASIC, **{"episodes": 1, "seed": 0, **wrong})
