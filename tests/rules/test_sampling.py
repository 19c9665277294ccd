"""Laws of sampling, over all levels, arguments and seeds."""

from collections import Counter
from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oddoneout.rules.attributes import CORE_DIMENSIONS, VALUES, Dimension
from oddoneout.rules.levels import (
    CATALOGUE,
    Difficulty,
    Level,
    TrialSpec,
    parse_settings,
)
from oddoneout.rules.sampling import sample_play, sample_trial
from oddoneout.rules.splits import (
    Split,
    Stream,
    allows,
    allows_values,
    episode_seed,
    held_out_pair,
)
from oddoneout.rules.things import Thing, is_odd, odd_in, odd_one
from oddoneout.rules.trial import Mode, Trial

SEEDS = st.integers(0, 2**32 - 1)
SPLITS = st.sampled_from(Split)


def counts(trial: Trial, dimension: Dimension) -> list[int]:
    return sorted(Counter(thing[dimension] for thing in trial.things).values())


def draw(level: Level, seed: int, **arguments: object) -> tuple[Dimension, list[Trial]]:
    rng = np.random.default_rng(seed)
    settings = parse_settings(level, arguments)
    dimension, specs = level.draw(settings, rng)
    return dimension, [sample_trial(spec, settings.split, rng) for spec in specs]


@given(SEEDS, SPLITS)
def test_basic_splits_one_dimension_3_1_and_every_other_2_2(seed: int, split: Split) -> None:
    dimension, (trial,) = draw(CATALOGUE["Basic"], seed, split=split)
    for d in Dimension:
        assert counts(trial, d) == ([1, 3] if d == dimension else [2, 2])
    assert odd_one(trial.things, dimension) is not None


@given(SEEDS, SPLITS)
def test_confounded_has_one_object_odd_in_everything_and_three_identical(
    seed: int, split: Split
) -> None:
    dimension, (trial,) = draw(CATALOGUE["Confounded"], seed, split=split)
    odd = odd_one(trial.things, dimension)
    assert odd is not None
    assert odd_in(trial.things, odd) == CORE_DIMENSIONS
    assert len(set(trial.things)) == 2
    assert trial.spoken == (dimension,)


@given(SEEDS, SPLITS)
def test_deconfounded_has_each_core_dimension_unique_on_another_object(
    seed: int, split: Split
) -> None:
    dimension, (trial,) = draw(CATALOGUE["Deconfounded"], seed, split=split)
    odd = [odd_in(trial.things, i) for i in range(4)]
    assert sorted(odd) == sorted([(), *((d,) for d in CORE_DIMENSIONS)])
    assert trial.dimension == dimension


@given(SEEDS, SPLITS, st.sampled_from(Difficulty))
def test_an_experiment_pairs_exactly_as_many_dimensions_as_its_difficulty_says(
    seed: int, split: Split, difficulty: Difficulty
) -> None:
    dimension, trials = draw(CATALOGUE["Intervention"], seed, split=split, difficulty=difficulty)
    *experiments, test = trials
    assert len(experiments) == 3
    for trial in experiments:
        kinds = [counts(trial, d) for d in CORE_DIMENSIONS]
        assert kinds.count([2, 2]) == difficulty.pairs
        assert kinds.count([4]) == 3 - difficulty.pairs
        assert (trial.mode, trial.transforms, trial.test, trial.reward) == (
            Mode.MAKE,
            1,
            False,
            1.0,
        )
        assert not any(odd_in(trial.things, i) for i in range(4))
    assert (test.mode, test.transforms, test.test, test.reward) == (Mode.FIND, 0, True, 10.0)
    assert {trial.dimension for trial in trials} == {dimension}


@given(
    SEEDS, SPLITS, st.sampled_from(Difficulty), st.integers(0, 3), st.sampled_from(CORE_DIMENSIONS)
)
def test_one_transform_of_any_object_makes_exactly_one_odd_in_that_dimension(
    seed: int, split: Split, difficulty: Difficulty, index: int, dimension: Dimension
) -> None:
    _, (trial, *_) = draw(CATALOGUE["Intervention"], seed, split=split, difficulty=difficulty)
    things = list(trial.things)
    paired = counts(trial, dimension) == [2, 2]
    things[index] = trial.switched(things[index], dimension)
    odd = odd_one(things, dimension)
    assert odd is not None
    assert (odd != index) == paired
    assert trial.switched(things[index], dimension) == trial.things[index]


@given(SEEDS, st.sampled_from(sorted(CATALOGUE)))
def test_a_sampled_play_ends_in_a_choice_of_what_was_made_odd(seed: int, name: str) -> None:
    _, trials = draw(CATALOGUE[name], seed)
    for trial in trials:
        state = sample_play(trial, np.random.default_rng(seed))
        assert state.choice is not None
        assert state.choice.odd_in == odd_in(state.things, state.choice.target)
        assert state.choice.correct == (trial.dimension in state.choice.odd_in)
        assert state.transforms_left == 0
        if trial.transforms:
            assert len(state.choice.odd_in) == 1
        else:
            assert state.things == trial.things


@given(SEEDS, st.sampled_from(sorted(CATALOGUE)), SPLITS)
def test_two_values_are_in_play_and_everything_shown_stays_in_its_split(
    seed: int, name: str, split: Split
) -> None:
    _, trials = draw(CATALOGUE[name], seed, split=split)
    for trial in trials:
        pairs = dict(trial.in_play)
        shown = list(trial.things)
        for dimension, pair in pairs.items():
            assert len(set(pair)) == 2
            assert {thing[dimension] for thing in trial.things} <= set(pair)
            if trial.transforms:
                shown += [trial.switched(thing, dimension) for thing in trial.things]
        assert all(allows(split, thing) for thing in shown)
        # What is not shown is allowed, too: else looks that fit the split would mark the odd one.
        core = product(*(pairs[d] for d in CORE_DIMENSIONS))
        assert all(allows_values(split, *values) for values in core)
        if name != "Basic":
            assert len({thing.size for thing in trial.things}) == 1


def test_train_shows_no_held_out_pair_and_eval_nothing_without_one() -> None:
    combos = [
        (color, shape, texture)
        for color in VALUES[Dimension.COLOR]
        for shape in VALUES[Dimension.SHAPE]
        for texture in VALUES[Dimension.TEXTURE]
    ]
    for values in combos:
        held_out = any(held_out_pair(a, b) for a, b in combinations(values, 2))
        assert allows_values(Split.TRAIN, *values) != held_out
        assert allows_values(Split.EVAL, *values) == held_out
    share = sum(allows_values(Split.TRAIN, *values) for values in combos) / len(combos)
    assert 0.45 < share < 0.55
    for position in range(3):
        seen = {values[position] for values in combos if allows_values(Split.TRAIN, *values)}
        assert seen == {values[position] for values in combos}


@given(SEEDS)
def test_the_hard_dimensions_are_drawn_from_those_given_and_fixed_when_as_many(seed: int) -> None:
    level = CATALOGUE["Intervention"]
    _, trials = draw(level, seed, difficulty="hard2", hard_dimensions=("color", "texture"))
    for trial in trials[:-1]:
        assert counts(trial, Dimension.COLOR) == counts(trial, Dimension.TEXTURE) == [2, 2]
        assert counts(trial, Dimension.SHAPE) == [4]
    _, trials = draw(level, seed, hard_dimensions=("color",))
    for trial in trials[:-1]:
        assert counts(trial, Dimension.SHAPE) == counts(trial, Dimension.TEXTURE) == [4]


def test_every_slot_is_odd_equally_often_and_every_value_occurs() -> None:
    rng = np.random.default_rng(0)
    spec = TrialSpec(Dimension.COLOR, odd=CORE_DIMENSIONS)
    trials = [sample_trial(spec, Split.ALL, rng) for _ in range(4000)]
    slots = Counter(odd_one(trial.things, Dimension.COLOR) for trial in trials)
    # Binomial(4000, 1/4) has a standard deviation of 27; five of them would be a one in a million.
    assert all(abs(slots[i] - 1000) < 140 for i in range(4))
    for dimension in CORE_DIMENSIONS:
        assert {t[dimension] for trial in trials for t in trial.things} == set(VALUES[dimension])


def test_the_same_seed_samples_the_same_trials() -> None:
    for name in CATALOGUE:
        assert draw(CATALOGUE[name], 7) == draw(CATALOGUE[name], 7)
        assert draw(CATALOGUE[name], 7) != draw(CATALOGUE[name], 8)


def test_a_dimension_cannot_be_split_in_two_ways() -> None:
    with pytest.raises(ValueError, match="not both"):
        TrialSpec(Dimension.COLOR, odd=(Dimension.COLOR,), pairs=(Dimension.COLOR,))


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("Basic", {"dimension": "colour"}, "dimension must be None or one of 'color'"),
        ("Confounded", {"dimension": "size"}, "dimension must be None or one of 'color', 'shape'"),
        ("Basic", {"difficulty": "easy"}, "does not take difficulty"),
        ("Deconfounded", {"hard_dimensions": ("color",)}, "does not take hard_dimensions"),
        ("Confounded", {"experiments": 2}, "does not take experiments"),
        ("Intervention", {"difficulty": "hard4"}, "difficulty must be None or one of 'easy'"),
        ("Intervention", {"difficulty": 1}, "difficulty must be None or one of 'easy'"),
        ("Intervention", {"experiments": -1}, "experiments must be an integer from 0"),
        ("Intervention", {"experiments": True}, "experiments must be an integer from 0"),
        ("Intervention", {"experiments": 2.0}, "experiments must be an integer from 0"),
        ("Intervention", {"hard_dimensions": "color"}, "a tuple of 'color', 'shape', 'texture'"),
        ("Intervention", {"hard_dimensions": ("size",)}, "hard_dimensions must be one of"),
        ("Intervention", {"hard_dimensions": ()}, "at least one of 'color', 'shape', 'texture'"),
        ("Intervention", {"hard_dimensions": ("color", "color")}, "none twice"),
        (
            "Intervention",
            {"difficulty": "hard2", "hard_dimensions": ("color",)},
            "needs 2 hard_dimensions",
        ),
        ("Basic", {"explanations": "some"}, "explanations must be one of 'full'"),
        ("Basic", {"describe": "far"}, "describe must be one of 'gaze', 'near'"),
        ("Basic", {"split": "test"}, "split must be one of 'all', 'train', 'eval'"),
        ("Basic", {"colour": 1}, "unknown arguments"),
    ],
)
def test_wrong_arguments_are_refused_by_name(name: str, arguments: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_settings(CATALOGUE[name], arguments)


def test_streams_of_seeds_never_meet() -> None:
    seeds = [
        episode_seed(stream, seed, index)
        for stream in Stream
        for seed in (0, 1, 999_999)
        for index in (0, 1, 9_999_999)
    ]
    assert len(set(seeds)) == len(seeds)


@pytest.mark.parametrize(("seed", "index"), [(-1, 0), (10**6, 0), (0, -1), (0, 10**7)])
def test_seeds_outside_their_range_are_refused(seed: int, index: int) -> None:
    with pytest.raises(ValueError, match="must lie in"):
        episode_seed(Stream.TEST, seed, index)


def test_oddness_is_derived_from_the_things() -> None:
    _, (trial,) = draw(CATALOGUE["Confounded"], 0)
    things: tuple[Thing, ...] = trial.things
    for index in range(4):
        for dimension in Dimension:
            others = [t[dimension] for i, t in enumerate(things) if i != index]
            assert is_odd(things, index, dimension) == (things[index][dimension] not in others)
