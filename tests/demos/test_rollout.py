import numpy as np
import pytest

from oddoneout.demos.rollout import Decision, Step, rollout
from oddoneout.demos.trajectory import Trajectory
from tests.demos.fakes import FakeEnv, FakePolicy

SEEDS = tuple(range(100, 123))


def same(a: Trajectory, b: Trajectory) -> bool:
    return (
        a.seed == b.seed
        and a.choices == b.choices
        and a.told.explanations == b.told.explanations
        and all(np.array_equal(getattr(a.seen, n), getattr(b.seen, n)) for n in a.seen.__slots__)
        and np.array_equal(a.told.labels, b.told.labels)
        and np.array_equal(a.told.trials, b.told.trials)
        and np.array_equal(a.told.explaining, b.told.explaining)
    )


@pytest.mark.parametrize("slots", [2, 5, 64])
def test_episodes_are_the_same_and_in_seed_order_for_any_number_of_slots(slots: int) -> None:
    alone = list(rollout(FakePolicy(), FakeEnv, SEEDS))
    side_by_side = list(rollout(FakePolicy(), FakeEnv, SEEDS, slots=slots))
    assert [t.seed for t in alone] == list(SEEDS)
    assert len(side_by_side) == len(alone)
    assert all(same(a, b) for a, b in zip(alone, side_by_side, strict=True))


def test_rows_follow_the_time_alignment_of_trajectories() -> None:
    (episode,) = rollout(FakePolicy(), FakeEnv, [7])
    env, policy_rng = FakeEnv(), np.random.default_rng(8)
    observation, info = env.reset(seed=7)
    for t in range(len(episode)):
        assert np.array_equal(episode.seen.images[t], observation["image"])
        assert episode.told.explanations[t] == info["explanation"]
        assert episode.told.explaining[t] == (info["phase"] == "explain")
        label = int(policy_rng.integers(9))
        action = int(policy_rng.integers(9)) if policy_rng.random() < 0.3 else label
        assert (episode.seen.actions[t], episode.told.labels[t]) == (action, label)
        observation, reward, terminated, _, info = env.step(action)
        assert episode.seen.rewards[t] == reward
        assert [c for c in episode.choices if c.step == t] == [
            c for c in episode.choices if "choice" in info
        ]
        assert terminated == (t == len(episode) - 1)
    assert len(episode.choices) == 1


def test_the_hook_sees_every_decision_before_it_is_executed() -> None:
    steps: list[Step] = []

    def watch(step: Step) -> None:
        assert step.moment.snapshot() == ("snapshot", step.seed, step.time)
        assert step.env.unwrapped.snapshot() == step.moment.snapshot()  # pyright: ignore
        steps.append(step)

    episodes = {t.seed: t for t in rollout(FakePolicy(), FakeEnv, SEEDS, slots=3, on_step=watch)}
    assert len(steps) == sum(len(t) for t in episodes.values())
    for step in steps:
        episode, t = episodes[step.seed], step.time
        assert np.array_equal(step.moment.image, episode.seen.images[t])
        assert step.info["explanation"] == episode.told.explanations[t]
        assert step.decision.action == episode.seen.actions[t]
        assert step.moment.previous_action == (episode.seen.actions[t - 1] if t else None)
        assert step.moment.previous_reward == (episode.seen.rewards[t - 1] if t else 0.0)


@pytest.mark.parametrize("name", ["image", "instruction"])
def test_a_policy_cannot_change_what_is_recorded(name: str) -> None:
    class Painter(FakePolicy):
        def decide(self, moments):
            getattr(moments[0], name)[...] = 0
            return super().decide(moments)

    with pytest.raises(ValueError, match="read-only"):
        next(rollout(Painter(), FakeEnv, SEEDS))


def test_environments_are_few_and_closed_even_when_the_consumer_stops_early() -> None:
    made: list[FakeEnv] = []

    def make() -> FakeEnv:
        made.append(FakeEnv())
        return made[-1]

    episodes = rollout(FakePolicy(), make, iter(range(1000)), slots=4)
    next(episodes)
    episodes.close()  # pyright: ignore[reportAttributeAccessIssue]
    assert len(made) == 4
    assert all(env.closed for env in made)


def test_fewer_seeds_than_slots_make_no_idle_environments() -> None:
    made: list[FakeEnv] = []

    def make() -> FakeEnv:
        made.append(FakeEnv())
        return made[-1]

    assert len(list(rollout(FakePolicy(), make, [1, 2], slots=8))) == 2
    assert len(made) == 2
    assert list(rollout(FakePolicy(), make, [], slots=8)) == []


def test_wrong_calls_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="slots must be at least 1, got 0"):
        rollout(FakePolicy(), FakeEnv, SEEDS, slots=0)

    class Mute(FakePolicy):
        def decide(self, moments):
            return []

    with pytest.raises(ValueError, match=r"one Decision for each moment \(1\), got 0"):
        next(rollout(Mute(), FakeEnv, SEEDS))


@pytest.mark.parametrize(
    ("decided", "words"),
    [
        (None, "one Decision for each moment"),
        ([3], "one Decision for each moment"),
        ([Decision(action=1.0)], "action must be an integer from 0 to 8, got 1.0"),
        ([Decision(action=1, label=99)], "label must be an integer from 0 to 8, got 99"),
    ],
)
def test_what_is_no_decision_is_refused(decided, words: str) -> None:
    class Odd(FakePolicy):
        def decide(self, moments):
            return decided

    with pytest.raises(ValueError, match=words):
        next(rollout(Odd(), FakeEnv, SEEDS))


def test_who_names_no_label_is_to_be_imitated_as_it_acts() -> None:
    class Plain(FakePolicy):
        def decide(self, moments):
            return [Decision(np.int64(4)) for _ in moments]

    played = next(rollout(Plain(), FakeEnv, SEEDS))
    assert played.told.labels.tolist() == played.seen.actions.tolist() == [4] * len(played)
