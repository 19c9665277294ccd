"""Nothing but the objects' looks, compared with each other, tells which one is the answer.

2,000 sampled episodes per level. Every episode gives one observation: the answer or, by a fair
coin, another of its objects. Each property of that object, and of its place, is tested for
independence of the coin: chi-square for counts, two-sample Kolmogorov-Smirnov for measures. The
rewarded dimension is tested likewise against all that stands in the room. A level passes when no
p-value falls below ALPHA / (number of its tests), which a leak-free level does with a chance of
at least 99.9%; seeds are fixed. Planted leaks show that the tests would notice.

Shuffled explanations are held to the same: what they say is independent of the dimension.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from oddoneout.episode import Decoy, Episode, sample_episode
from oddoneout.rules.attributes import CORE_DIMENSIONS, Dimension, Value
from oddoneout.rules.language import outcome, properties
from oddoneout.rules.levels import CATALOGUE, Speech, parse_settings
from oddoneout.rules.sampling import sample_play
from oddoneout.rules.things import odd_one
from oddoneout.world.gaze import sights
from oddoneout.world.layout import Layout

EPISODES = 2000
ALPHA = 1e-3  # per level, shared out among its tests (Bonferroni)
CASES = [
    ("Basic", "all"),
    ("Confounded", "all"),
    ("Deconfounded", "all"),
    ("Intervention", "all"),
    ("Confounded", "train"),
    ("Deconfounded", "eval"),
]
each_case = pytest.mark.parametrize(("level", "split"), CASES)


@cache
def episodes(level: str, split: str = "all", explanations: str = "full") -> tuple[Episode, ...]:
    settings = parse_settings(CATALOGUE[level], {"split": split, "explanations": explanations})
    rng = np.random.default_rng(20220713)
    return tuple(sample_episode(CATALOGUE[level], settings, rng) for _ in range(EPISODES))


def answer(episode: Episode) -> int:
    """Index of the scored trial's answer."""
    trial = episode.trials[-1]
    index = odd_one(trial.things, trial.dimension)
    assert index is not None
    return index


def measures(layout: Layout, index: int) -> dict[str, float]:
    """Where one object stands, and how it stands to the agent."""
    x, y, yaw = layout.objects[index]
    seen = sights(layout.agent, [(ox, oy) for ox, oy, _ in layout.objects])
    sight = seen[index]
    others = [o for i, o in enumerate(layout.objects) if i != index]
    return {
        "x": x,
        "y": y,
        "from the middle": math.hypot(x, y),
        "yaw": yaw,
        "distance": sight.distance,
        "bearing": sight.bearing,
        "off the view's centre": abs(sight.bearing),
        "nearest neighbor": min(math.dist((x, y), other[:2]) for other in others),
    }


def counts(episode: Episode, index: int) -> dict[str, Any]:
    """What can be counted of one object of the scored trial."""
    trial, layout = episode.trials[-1], episode.layouts[-1]
    seen = sights(layout.agent, [(x, y) for x, y, _ in layout.objects])
    thing = trial.things[index]
    rest = [d for d in Dimension if d != trial.dimension]
    return {
        "slot (id, drawing order)": index,
        "rank by distance": sum(s.distance < seen[index].distance for s in seen),
        "rank from left to right": sum(s.bearing > seen[index].bearing for s in seen),
        "visible at the start": seen[index].visible,
        **{f"{d} of the object": thing[d] for d in Dimension},
    } | (
        # In confounded and deconfounded trials twins are what the task is about.
        {"twins but for the answer": sum(all(o[d] == thing[d] for d in rest) for o in trial.things)}
        if len(trial.in_play) == len(Dimension)
        else {}
    )


def surroundings(episode: Episode) -> tuple[dict[str, Any], dict[str, float]]:
    """What stands in the room whichever object is the answer."""
    trial, layout = episode.trials[-1], episode.layouts[-1]
    labels: dict[str, Any] = {f"{d} of object 0": trial.things[0][d] for d in Dimension}
    if len(episode.trials) > 1:
        first = episode.trials[0]
        for d in CORE_DIMENSIONS:
            alike = tuple(thing[d] == first.things[0][d] for thing in first.things)
            labels[f"first experiment's split in {d}"] = alike
            labels[f"first experiment's {d} of object 0"] = first.things[0][d]
    agent = layout.agent
    numbers = {"agent x": agent.x, "agent y": agent.y, "agent heading": agent.heading}
    return labels, numbers | {f"object 0: {k}": v for k, v in measures(layout, 0).items()}


def chi_square(groups: list[Any], labels: list[Any]) -> float:
    """p-value of independence of two labelings, one pair of labels per episode."""
    rows = {group: i for i, group in enumerate(sorted(set(groups)))}
    columns = {label: i for i, label in enumerate(sorted(set(labels), key=repr))}
    if len(rows) < 2 or len(columns) < 2:
        return 1.0
    table = np.zeros((len(rows), len(columns)))
    for group, label in zip(groups, labels, strict=True):
        table[rows[group], columns[label]] += 1
    return float(stats.chi2_contingency(table).pvalue)


def smirnov(groups: list[Any], values: list[float]) -> float:
    """Least p-value of each group against the rest, corrected for the number of groups."""
    kinds = sorted(set(groups))
    kinds = kinds[:1] if len(kinds) == 2 else kinds  # with two groups one test says it all
    if len(set(groups)) < 2:
        return 1.0
    array = np.asarray(values)
    masks = [np.asarray([g == kind for g in groups]) for kind in kinds]
    return min(
        1.0, len(kinds) * min(float(stats.ks_2samp(array[m], array[~m]).pvalue) for m in masks)
    )


def columns(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    return {key: [row[key] for row in rows] for key in rows[0]}


def p_values(sample: tuple[Episode, ...]) -> Mapping[str, float]:
    """Every test of one level."""
    rng = np.random.default_rng(1)
    is_answer = [bool(b) for b in rng.integers(2, size=len(sample))]
    picked = [
        (answer(e) + (0 if yes else int(rng.integers(1, 4)))) % 4
        for e, yes in zip(sample, is_answer, strict=True)
    ]
    labels = columns([counts(e, i) for e, i in zip(sample, picked, strict=True)])
    numbers = columns([measures(e.layouts[-1], i) for e, i in zip(sample, picked, strict=True)])
    dimensions = [e.dimension.value for e in sample]
    around = [surroundings(e) for e in sample]
    room_labels = columns([labels for labels, _ in around])
    room_numbers = columns([numbers for _, numbers in around])
    slots = np.bincount([answer(e) for e in sample], minlength=4)
    return {
        "answer's slot is uniform": float(stats.chisquare(slots).pvalue),
        **{f"answer: {k}": chi_square(is_answer, v) for k, v in labels.items()},
        **{f"answer: {k}": smirnov(is_answer, v) for k, v in numbers.items()},
        **{f"dimension: {k}": chi_square(dimensions, v) for k, v in room_labels.items()},
        **{f"dimension: {k}": smirnov(dimensions, v) for k, v in room_numbers.items()},
    }


def suspicious(sample: tuple[Episode, ...]) -> dict[str, float]:
    found = p_values(sample)
    return {name: p for name, p in found.items() if p < ALPHA / len(found)}


@each_case
def test_nothing_tells_the_answer_or_the_dimension(level: str, split: str) -> None:
    assert suspicious(episodes(level, split)) == {}


def swapped(episode: Episode, first: int, second: int) -> Episode:
    """The episode with two objects of its last trial in each other's slots."""
    trial = episode.trials[-1]
    things = list(trial.things)
    things[first], things[second] = things[second], things[first]
    return replace(episode, trials=(*episode.trials[:-1], replace(trial, things=tuple(things))))


@pytest.mark.parametrize("level", CATALOGUE)
def test_a_favored_slot_would_be_noticed(level: str) -> None:
    leaky = tuple(
        swapped(e, answer(e), 2) if i % 8 == 0 else e for i, e in enumerate(episodes(level))
    )
    assert "answer's slot is uniform" in suspicious(leaky)


@pytest.mark.parametrize("level", CATALOGUE)
def test_a_nearer_answer_would_be_noticed(level: str) -> None:
    def nearest(e: Episode) -> int:
        layout = e.layouts[-1]
        return int(np.argmin([measures(layout, i)["distance"] for i in range(4)]))

    leaky = tuple(
        swapped(e, answer(e), nearest(e)) if i % 5 == 0 else e
        for i, e in enumerate(episodes(level))
    )
    assert "answer: distance" in suspicious(leaky)


def test_a_color_that_the_answer_avoids_would_be_noticed() -> None:
    never_pink = tuple(
        e
        for e in episodes("Confounded")
        if e.trials[-1].things[answer(e)][Dimension.COLOR] != "pink"
    )
    assert "answer: color of the object" in suspicious(never_pink)


def placed_features(episode: Episode) -> np.ndarray:
    """Everything about the four objects and the agent but looks: (4, features), by slot."""
    layout = episode.layouts[-1]
    agent = layout.agent
    seen = sights(agent, [(x, y) for x, y, _ in layout.objects])
    rows = []
    for index, (x, y, yaw) in enumerate(layout.objects):
        bearing, distance = seen[index].bearing, seen[index].distance
        rows.append(
            [
                *(x, y, math.cos(yaw), math.sin(yaw), distance, math.cos(bearing)),
                *(math.sin(bearing), abs(bearing), float(seen[index].visible)),
                *(sum(s.distance < distance for s in seen), sum(s.bearing > bearing for s in seen)),
                *(float(index == slot) for slot in range(4)),
                *(agent.x, agent.y, math.cos(agent.heading), math.sin(agent.heading)),
            ]
        )
    return np.asarray(rows)


def classified(features: np.ndarray, answers: np.ndarray) -> int:
    """Right answers in the second half of the episodes, learned from the first half.

    One logistic regression on the pairwise products of an object's features says how likely it
    is the answer; the likeliest of the four is taken.
    """
    half = len(features) // 2
    n, slots, width = features.shape
    flat = PolynomialFeatures(2, include_bias=False).fit_transform(features.reshape(-1, width))
    flat = StandardScaler().fit_transform(flat)
    targets = (np.arange(slots) == answers[:, None]).reshape(-1)
    model = LogisticRegression(C=0.01, max_iter=200)
    model.fit(flat[: half * slots], targets[: half * slots])
    scores = model.decision_function(flat[half * slots :]).reshape(n - half, slots)
    return int((scores.argmax(1) == answers[half:]).sum())


@each_case
def test_a_classifier_of_everything_but_looks_stays_at_chance(level: str, split: str) -> None:
    sample = episodes(level, split)
    features = np.stack([placed_features(e) for e in sample])
    right = classified(features, np.asarray([answer(e) for e in sample]))
    assert right <= stats.binom.ppf(1 - ALPHA, EPISODES // 2, 0.25), f"{right} right answers"


def test_the_classifier_would_find_a_leak() -> None:
    """One answer in six made the leftmost object lifts it above the bound."""
    sample = episodes("Deconfounded")
    features = np.stack([placed_features(e) for e in sample])
    answers = np.asarray([answer(e) for e in sample])
    leftmost = features[:, :, 10].argmin(1)
    answers = np.where(np.arange(len(sample)) % 6 == 0, leftmost, answers)
    assert classified(features, answers) > stats.binom.ppf(1 - ALPHA, EPISODES // 2, 0.25)


# --- shuffled explanations ---------------------------------------------------------------------


def kinds(values: tuple[Value, ...]) -> tuple[str, ...]:
    return tuple(type(value).__name__ for value in values)


def told(episode: Episode) -> dict[str, Any]:
    """What the sentences of ``explanations="shuffled"`` are about, trial by trial."""
    labels: dict[str, Any] = {}
    for t, decoy in enumerate(episode.decoys):
        said = outcome(decoy.trial, decoy.state)
        labels |= {
            f"{t}: dimension that matters": said.dimension,
            f"{t}: verdict": said.correct,
            f"{t}: verdict and kinds of values": (said.correct, kinds(said.values)),
            f"{t}: kinds described": kinds(properties(decoy.trial, decoy.state, 0).values),
        }
    return labels


def suspicious_speech(sample: tuple[Episode, ...]) -> dict[str, float]:
    dimensions = [e.dimension.value for e in sample]
    found = {k: chi_square(dimensions, v) for k, v in columns([told(e) for e in sample]).items()}
    return {name: p for name, p in found.items() if p < ALPHA / len(found)}


@pytest.mark.parametrize("level", CATALOGUE)
def test_shuffled_sentences_tell_nothing_of_the_dimension(level: str) -> None:
    sample = episodes(level, explanations="shuffled")
    assert suspicious_speech(sample) == {}
    for dimension in CATALOGUE[level].dimensions:
        spoken_of = [e.decoys[-1].trial.dimension for e in sample if e.dimension is dimension]
        counted = [spoken_of.count(d) for d in CATALOGUE[level].dimensions]
        assert stats.chisquare(counted).pvalue > ALPHA / len(counted), (dimension, counted)


@pytest.mark.parametrize("level", CATALOGUE)
def test_shuffled_sentences_of_the_same_dimension_would_be_noticed(level: str) -> None:
    rng = np.random.default_rng(0)
    leaky = tuple(
        replace(e, decoys=tuple(Decoy(t, sample_play(t, rng)) for t in e.trials))
        if i % 4 == 0
        else e
        for i, e in enumerate(episodes(level, explanations="shuffled"))
    )
    assert suspicious_speech(leaky)


@pytest.mark.parametrize("level", CATALOGUE)
def test_shuffled_verdicts_are_those_of_who_does_not_know_the_dimension(level: str) -> None:
    sample = episodes(level, explanations="shuffled")
    for decoys in zip(*(e.decoys for e in sample), strict=True):
        # An experiment shows one of three dimensions; elsewhere one of four objects is right.
        chance = 1 / 3 if decoys[0].trial.transforms else 1 / 4
        right = sum(outcome(decoy.trial, decoy.state).correct for decoy in decoys)
        assert stats.binomtest(right, EPISODES, chance).pvalue > ALPHA / 4


@pytest.mark.parametrize("dimension", CORE_DIMENSIONS)
def test_shuffled_sentences_speak_of_every_dimension_whichever_was_asked_for(
    dimension: Dimension,
) -> None:
    level = CATALOGUE["Confounded"]
    settings = parse_settings(level, {"dimension": dimension, "explanations": "shuffled"})
    rng = np.random.default_rng(0)
    sample = [sample_episode(level, settings, rng) for _ in range(60)]
    assert {e.dimension for e in sample} == {dimension}
    assert {e.decoys[0].trial.spoken for e in sample} == {(d,) for d in CORE_DIMENSIONS}


@pytest.mark.parametrize("level", CATALOGUE)
@pytest.mark.parametrize("speech", Speech)
def test_a_seed_gives_the_same_episode_whichever_explanations_are_given(
    level: str, speech: Speech
) -> None:
    for seed in range(50):
        full, other = (
            sample_episode(
                CATALOGUE[level],
                parse_settings(CATALOGUE[level], {"explanations": kind}),
                np.random.default_rng(seed),
            )
            for kind in (Speech.FULL, speech)
        )
        assert replace(other, decoys=()) == full
        assert bool(other.decoys) == (speech is Speech.SHUFFLED)
