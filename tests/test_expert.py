"""What the expert must reach, and what it must not know."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
import pytest

from oddoneout.actions import TRANSFORMS, Action
from oddoneout.demos.rollout import Decision, Moment, Step, rollout
from oddoneout.demos.trajectory import Trajectory
from oddoneout.expert import ExpertOptions, ExpertPolicy
from oddoneout.rules.attributes import CORE_DIMENSIONS
from oddoneout.rules.levels import TrialSpec
from oddoneout.rules.sampling import sample_trial
from oddoneout.rules.splits import Split
from oddoneout.rules.trial import Mode, Phase
from oddoneout.snapshot import Snapshot
from oddoneout.world.geometry import OBJECT_COUNT
from tests.expert_world import sketch

CASES: list[tuple[str, dict[str, Any]]] = [
    ("Basic", {}),
    ("Confounded", {}),
    ("Deconfounded", {}),
    *(("Intervention", {"difficulty": d}) for d in ("easy", "hard1", "hard2", "hard3")),
]
LEVELS = [("Basic", {}), ("Confounded", {}), ("Deconfounded", {}), ("Intervention", {})]


def play(
    level: str,
    arguments: dict[str, Any],
    seeds: Sequence[int],
    options: ExpertOptions | None = None,
    on_step: Callable[[Step], None] | None = None,
) -> Iterator[Trajectory]:
    return rollout(ExpertPolicy(options), sketch(level, **arguments), seeds, on_step=on_step)


def success(trajectories: Iterator[Trajectory]) -> float:
    return float(np.mean([any(c.test and c.correct for c in t.choices) for t in trajectories]))


def search_lengths(trajectory: Trajectory) -> list[int]:
    trials = trajectory.told.trials[~trajectory.told.explaining]
    return [int(n) for n in np.bincount(trials)]


@pytest.mark.parametrize(("level", "arguments"), CASES)
def test_the_expert_succeeds_in_few_steps(level: str, arguments: dict[str, Any]) -> None:
    trajectories = list(play(level, arguments, range(100, 130)))
    lengths = [n for trajectory in trajectories for n in search_lengths(trajectory)]
    assert success(iter(trajectories)) == 1.0
    assert np.mean(lengths) < 30
    assert max(lengths) < 50


@pytest.mark.parametrize(("level", "arguments"), LEVELS)
def test_it_succeeds_in_the_real_rooms_too(level: str, arguments: dict[str, Any]) -> None:
    def make() -> gymnasium.Env:
        return gymnasium.make(f"OddOneOut/{level}-v0", image_size=16, **arguments)

    assert success(rollout(ExpertPolicy(), make, range(10))) == 1.0


def test_experiments_are_as_good_as_they_can_be() -> None:
    """A third hit at once; of the rest half at the second try; the third is always right."""
    hits = np.zeros(3)
    seeds = range(200, 260)
    for trajectory in play("Intervention", {}, seeds):
        for choice in trajectory.choices:
            if not choice.test:
                hits[choice.trial] += choice.correct
                assert len(choice.odd_in) == 1, "an experiment makes one thing odd in one way"
    rates = hits / len(seeds)
    assert rates[0] == pytest.approx(1 / 3, abs=0.16)
    assert rates[1] == pytest.approx(2 / 3, abs=0.16)
    assert rates[2] == 1.0


def test_order_of_dimensions_is_drawn_unless_fixed() -> None:
    def first_tests(options: ExpertOptions) -> set[str]:
        return {t.choices[0].odd_in[0] for t in play("Intervention", {}, range(20), options)}

    assert first_tests(ExpertOptions()) == {d.value for d in CORE_DIMENSIONS}
    assert first_tests(ExpertOptions(random_order=False)) == {CORE_DIMENSIONS[0].value}


@pytest.mark.parametrize("count", [0, 1, 5])
def test_it_copes_with_any_number_of_experiments(count: int) -> None:
    rate = success(play("Intervention", {"experiments": count}, range(30)))
    if count > 2:
        assert rate == 1.0
    else:  # what one experiment can tell is worth two thirds, none is worth one third
        assert 0.1 < rate < 0.9


def test_without_transforms_it_falls_to_chance() -> None:
    options = ExpertOptions(use_transforms=False)
    rate = success(play("Intervention", {}, range(300, 360), options))
    assert rate < 0.55, "three objects are odd in some way; chance is a third"


@pytest.mark.parametrize(("level", "arguments"), LEVELS)
def test_blind_it_falls_to_chance(level: str, arguments: dict[str, Any]) -> None:
    options = ExpertOptions(blind=True)
    assert success(play(level, arguments, range(24), options)) <= 0.4


def test_in_a_black_room_it_turns_to_see_all_of_it_and_then_acts_at_random() -> None:
    turns = {Action.TURN_LEFT, Action.TURN_RIGHT}
    late: set[int] = set()
    for trajectory in play("Basic", {}, range(4), ExpertOptions(blind=True)):
        actions = trajectory.seen.actions.tolist()
        assert set(actions[:2]) <= turns
        late.update(actions[20:])
    assert late == set(Action)


def test_the_same_seed_brings_the_same_actions() -> None:
    options = ExpertOptions(action_noise=0.2, mistaken_experiments=0.5)
    runs = [list(play("Intervention", {}, range(4), options)) for _ in range(2)]
    for one, other in zip(*runs, strict=True):
        np.testing.assert_array_equal(one.seen.actions, other.seen.actions)
        np.testing.assert_array_equal(one.told.labels, other.told.labels)


def test_an_episode_does_not_depend_on_the_slots_beside_it() -> None:
    alone = list(rollout(ExpertPolicy(), sketch("Intervention"), range(5)))
    beside = list(rollout(ExpertPolicy(), sketch("Intervention"), range(5), slots=3))
    for one, other in zip(alone, beside, strict=True):
        np.testing.assert_array_equal(one.seen.actions, other.seen.actions)


# -- imitable ------------------------------------------------------------------------------------


class Rumors:
    """Plays the expert, and asks a second one that is told lies about all that is out of sight:
    things never in view in this trial look different and stand elsewhere, and so does whatever
    the camera cannot show. Their decisions must agree."""

    def __init__(self) -> None:
        self.expert, self.misled = ExpertPolicy(), ExpertPolicy()
        self.lies = 0

    def begin(self, slot: int, seed: int) -> None:
        self.expert.begin(slot, seed)
        self.misled.begin(slot, seed)
        self._rng = np.random.default_rng(seed)
        self._seen: set[tuple[int, int]] = set()

    def decide(self, moments: Sequence[Moment]) -> Sequence[Decision]:
        (moment,) = moments
        now = moment.snapshot()
        lie = self._twisted(now)
        decisions = self.expert.decide(moments)
        assert self.misled.decide([replace(moment, snapshot=lambda: lie)]) == decisions
        return decisions

    def _twisted(self, now: Snapshot) -> Snapshot:
        spec = TrialSpec(CORE_DIMENSIONS[0], pairs=CORE_DIMENSIONS)
        others = sample_trial(spec, Split.ALL, self._rng).things
        objects = []
        for i, view in enumerate(now.objects):
            if view.visible:
                self._seen.add((now.trial, i))
            if (now.trial, i) in self._seen:
                objects.append(view)
                continue
            self.lies += 1
            x, y = self._rng.uniform(-1.5, 1.5, 2).tolist()
            objects.append(replace(view, thing=others[i], x=x, y=y, distance=1.0, bearing=0.1))
        hidden = {}
        if now.known_dimension is None:
            hidden["dimension"] = CORE_DIMENSIONS[self._rng.integers(len(CORE_DIMENSIONS))]
        return replace(now, objects=tuple(objects), **hidden)


@pytest.mark.parametrize(("level", "arguments"), LEVELS)
def test_what_was_never_in_view_does_not_matter(level: str, arguments: dict[str, Any]) -> None:
    policy = Rumors()
    assert success(rollout(policy, sketch(level, **arguments), range(25))) == 1.0
    assert policy.lies > 25


@pytest.mark.parametrize(("level", "arguments"), LEVELS)
def test_every_object_is_looked_at_before_anything_is_changed_or_chosen(
    level: str, arguments: dict[str, Any]
) -> None:
    read: set[tuple[int, int, int]] = set()

    def watch(step: Step) -> None:
        now = step.moment.snapshot()
        if now.gaze is not None and now.objects[now.gaze].distance <= ExpertOptions().legible:
            read.add((step.seed, now.trial, now.gaze))
        if step.decision.action >= Action.CHOOSE:
            assert {(step.seed, now.trial, i) for i in range(OBJECT_COUNT)} <= read

    for _ in play(level, arguments, range(30), on_step=watch):
        pass


def test_it_never_comes_back_to_where_it_was_knowing_no_more() -> None:
    """No dithering: within a trial no situation (pose, knowledge) occurs twice, and a turn is
    never taken back before it has shown something."""
    policy = ExpertPolicy()
    situations: set[object] = set()
    latest: tuple[object, Action] = (None, Action.NOOP)
    turns = {Action.TURN_LEFT, Action.TURN_RIGHT}

    def watch(step: Step) -> None:
        nonlocal latest
        belief = policy._slots[0].belief
        assert belief is not None
        if belief.phase is Phase.EXPLAIN:
            return
        trial, agent = belief.trial, belief.agent
        searching = len(trial.seen) < OBJECT_COUNT
        knows = (step.seed, trial.index, trial.known, trial.spots if searching else None)
        situation = (knows, round(agent.x, 3), round(agent.y, 3), round(agent.heading, 3))
        assert situation not in situations
        situations.add(situation)
        action = Action(step.decision.label)
        if knows == latest[0]:
            assert {action, latest[1]} != turns
        latest = knows, action

    for level, seeds in (("Basic", range(1000, 1080)), ("Intervention", range(20))):
        for _ in rollout(policy, sketch(level), seeds, on_step=watch):
            pass


def test_it_waits_while_it_is_told_why() -> None:
    for trajectory in play("Intervention", {}, range(5)):
        assert set(trajectory.seen.actions[trajectory.told.explaining].tolist()) == {Action.NOOP}


# -- imperfect on purpose ------------------------------------------------------------------------


def test_noise_disturbs_what_is_executed_and_the_expert_recovers() -> None:
    trajectories = list(play("Deconfounded", {}, range(60), ExpertOptions(action_noise=0.2)))
    actions = np.concatenate([t.seen.actions for t in trajectories])
    labels = np.concatenate([t.told.labels for t in trajectories])
    disturbed = actions != labels
    assert 0.1 < disturbed.mean() < 0.2
    assert set(actions[disturbed].tolist()) <= {1, 2, 3, 4}
    assert Action.BACKWARD not in labels
    assert success(iter(trajectories)) >= 0.98


def test_vain_actions_do_nothing_and_the_expert_goes_on() -> None:
    seen: set[tuple[Action, bool]] = set()

    def watch(step: Step) -> None:
        now, action = step.moment.snapshot(), Action(step.decision.action)
        if action != step.decision.label:
            assert action in TRANSFORMS or action is Action.CHOOSE
            assert now.focus is None or (action in TRANSFORMS and not now.transforms_left)
            seen.add((action, now.focus is None))

    options = ExpertOptions(vain_actions=0.2)
    list(play("Basic", {}, range(20), replace(options, blind=True), on_step=watch))
    seen.clear()
    spoiled = list(play("Intervention", {}, range(40), options, on_step=watch))
    assert seen == {(Action.CHOOSE, True)} | {(a, far) for a in TRANSFORMS for far in (True, False)}
    assert success(iter(spoiled)) == 1.0
    for one, other in zip(spoiled, play("Intervention", {}, range(40)), strict=True):
        assert one.choices[0].correct == other.choices[0].correct


def test_who_looks_again_reads_all_objects_between_transform_and_choice() -> None:
    read: set[int] = set()
    counts: list[int] = []

    def watch(step: Step) -> None:
        now, action = step.moment.snapshot(), step.decision.action
        if now.mode is Mode.MAKE and not now.transforms_left and now.phase is Phase.SEARCH:
            if now.gaze is not None and now.objects[now.gaze].distance <= options.legible:
                read.add(now.gaze)
            if action == Action.CHOOSE:
                counts.append(len(read))
                read.clear()

    options = ExpertOptions(look_again=True)
    slow = list(play("Intervention", {}, range(20), options, on_step=watch))
    assert counts == [OBJECT_COUNT] * 60
    for one, other in zip(slow, play("Intervention", {}, range(20)), strict=True):
        assert [replace(c, step=0) for c in one.choices] == [
            replace(c, step=0) for c in other.choices
        ]
    noisy = ExpertOptions(look_again=True, action_noise=0.1, vain_actions=0.05)
    assert success(play("Intervention", {}, range(60), noisy)) >= 0.98


def test_who_starts_over_has_looked_at_all_that_it_goes_by_since_its_latest_transform() -> None:
    """Also where that was not its own, or did nothing: imitators may forget what was before."""
    read: set[int] = set()
    rooms: set[tuple[int, int]] = set()
    wrong, done = [], 0

    def watch(step: Step) -> None:
        nonlocal done
        now, action = step.moment.snapshot(), Action(step.decision.action)
        label = Action(step.decision.label)
        if now.phase is Phase.EXPLAIN:
            return
        room = (step.seed, now.trial)
        if step.moment.previous_action in [*TRANSFORMS] or room not in rooms:
            read.clear()
        rooms.add(room)
        if now.gaze is not None and now.objects[now.gaze].distance <= options.legible:
            read.add(now.gaze)
        if label is Action.CHOOSE or label in TRANSFORMS:
            done += 1
            wrong.extend([] if len(read) == OBJECT_COUNT else [(step.seed, now.trial, action)])

    disturbed = {"action_noise": 0.1, "vain_actions": 0.02, "rash_actions": 0.03}
    options = ExpertOptions(start_over=True, **disturbed)
    played = list(play("Intervention", {}, range(60), options, on_step=watch))
    assert done > 60 * 7
    assert wrong == []
    assert success(iter(played)) >= 0.95  # some searches outlast their time, or learn nothing


def test_after_a_rash_action_it_makes_of_the_experiment_what_there_is() -> None:
    rash: set[tuple[Action, Mode]] = set()
    spoiled: set[tuple[int, int]] = set()  # episodes and trials in which it chose rashly

    def watch(step: Step) -> None:
        now, action = step.moment.snapshot(), Action(step.decision.action)
        if action != step.decision.label:
            assert now.focus is not None
            assert action is Action.CHOOSE or (action in TRANSFORMS and now.transforms_left)
            rash.add((action, now.mode))
            if action is Action.CHOOSE:
                spoiled.add((step.seed, now.trial))

    for arguments in ({"difficulty": "easy"}, {"difficulty": "hard2"}):
        rash.clear()
        played = list(
            play("Intervention", arguments, range(60), ExpertOptions(rash_actions=0.05), watch)
        )
        assert rash == {(action, Mode.MAKE) for action in (*TRANSFORMS, Action.CHOOSE)}
        chosen = [(t.seed, choice) for t in played for choice in t.choices]
        assert all(choice.odd_in for seed, choice in chosen if (seed, choice.trial) not in spoiled)
        assert any(not choice.odd_in for seed, choice in chosen)
        # Three experiments are many: two failures tell as much as a reward.
        assert success(iter(played)) >= 0.95
        assert not all(any(c.correct and not c.test for c in t.choices) for t in played)
        spoiled.clear()


def test_mistaken_experiments_are_fewer_rewarded_and_their_labels_are_what_was_done() -> None:
    def rewards(options: ExpertOptions) -> float:
        total = 0.0
        for trajectory in play("Intervention", {}, range(24), options):
            np.testing.assert_array_equal(trajectory.seen.actions, trajectory.told.labels)
            total += sum(c.correct for c in trajectory.choices if not c.test)
        return total

    assert rewards(ExpertOptions(mistaken_experiments=1.0)) < 0.6 * rewards(ExpertOptions())


def test_random_mix_plays_whole_episodes_at_random() -> None:
    options = ExpertOptions(random_mix=0.5)
    noops = [
        bool((t.seen.actions[~t.told.explaining] == Action.NOOP).any())
        for t in play("Basic", {}, range(40), options)
    ]
    assert 8 <= sum(noops) <= 32


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("action_noise", -0.1),
        ("vain_actions", 2),
        ("mistaken_experiments", 1.5),
        ("rash_actions", -0.1),
        ("random_mix", math.nan),
        ("random_mix", True),
        ("action_noise", "much"),
        ("use_transforms", 1),
        ("blind", None),
        ("legible", 0.2),
        ("legible", float("inf")),
    ],
)
def test_options_that_are_not_allowed_are_named(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=name):
        ExpertOptions(**{name: value})  # type: ignore[arg-type]
