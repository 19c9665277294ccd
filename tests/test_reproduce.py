"""The plan of the experiments, the splits in the demonstrations themselves, and the analysis."""

import argparse
import dataclasses
import json
import shutil
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium.utils import seeding

from agents.config import PRESETS as AGENTS
from oddoneout.actions import Action
from oddoneout.demos.rollout import Decision, Moment, rollout
from oddoneout.demos.storage import Dataset
from oddoneout.demos.trajectory import Trajectory
from oddoneout.episode import Episode, sample_episode
from oddoneout.rules.attributes import CORE_DIMENSIONS, VALUES, Dimension
from oddoneout.rules.levels import CATALOGUE, parse_settings
from oddoneout.rules.splits import Stream, episode_seed
from oddoneout.rules.things import Thing
from oddoneout.rules.trial import Phase, Trial
from oddoneout.snapshot import Snapshot
from scripts.common import UserError
from scripts.reproduce import (
    arguments,
    chosen,
    command,
    default_work,
    in_report,
    reproduce,
    sized,
)
from scripts.reproduction import analysis, cells, figures
from scripts.reproduction.plan import BASELINES, Cell, DemoSet, Room, matrix
from scripts.reproduction.records import TrialRecord, decode, record
from scripts.reproduction.sizes import EXPERIMENTS, PRESETS
from scripts.reproduction.slots import RepeatSlotPolicy
from tests.demos.fakes import make_set

TINY = PRESETS["tiny"]
LEVELS = {level.id: level for level in CATALOGUE.values()}
INTERVENTION, BASIC = "OddOneOut/Intervention-v0", "OddOneOut/Basic-v0"


def episodes(env: str, args: dict, seeds: list[int]) -> list[Episode]:
    """The episodes behind reset seeds, as the environment draws them."""
    level = LEVELS[env]
    settings = parse_settings(level, args)
    return [sample_episode(level, settings, seeding.np_random(seed)[0]) for seed in seeds]


def behind(demos: DemoSet, most: int = 250) -> list[Episode]:
    seeds = [episode_seed(Stream.DEMOS, demos.seed, i) for i in range(min(most, demos.episodes))]
    return episodes(demos.env, dict(demos.env_args), seeds)


def shown(trial: Trial) -> set[Thing]:
    """Every look that an object of a trial can have, before and after its transform."""
    things = set(trial.things)
    if trial.transforms:
        things |= {trial.switched(thing, d) for thing in trial.things for d in CORE_DIMENSIONS}
    return things


def pairs(thing: Thing) -> set[frozenset[str]]:
    return {frozenset((thing[a], thing[b])) for a, b in combinations(CORE_DIMENSIONS, 2)}


def sets(experiment: str, preset: str = "cpu") -> dict[str, DemoSet]:
    plan = matrix(experiment, PRESETS[preset])
    return {demos.label: demos for cell in plan for demos in cell.sets}


# The plan


def test_confounded_sets_are_the_same_rooms_whatever_is_explained() -> None:
    rooms = [
        [(trial.things, trial.in_play) for episode in behind(demos, 20) for trial in episode.trials]
        for demos in sets("confounding").values()
    ]
    assert len(rooms) == 3
    assert rooms[0] == rooms[1] == rooms[2]


def test_unknown_experiments_cells_and_sizes_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="alchemy"):
        matrix("alchemy", TINY)
    plans = {"basic": matrix("basic", TINY)}
    with pytest.raises(UserError, match="basic-loud"):
        chosen(plans, ["basic-loud"])
    assert [cell.name for cell in chosen(plans, ["basic-full", "basic-none-0"])] == [
        "basic-full-0",
        "basic-none-0",
    ]
    for changes in (
        {"wings": 2},
        {"basic_frames": 0},
        {"basic_frames": "many"},
        {"staged_training": {"nonsense": 1}},
        {"staged_agent": {"heads": 7}},
        {"seeds": {"baisc": 3}},
        {"seeds": {"hard": 0}},
        {"agent": "gpuu"},
        {"exam_episodes": True},
        {"hard_training": {"seed": 7}},
        {"staged_training": {"frames": 5}},
    ):
        value = next(iter(changes.values()))
        name = next(iter(value if isinstance(value, dict) else changes))
        with pytest.raises(UserError, match=f"{name}|{value}"):
            sized("tiny", changes)
    assert sized("cpu", {"seeds": {"basic": 4}}).seeds == {**PRESETS["cpu"].seeds, "basic": 4}


def test_a_reports_command_makes_as_many_agents_as_it_shows() -> None:
    args = argparse.Namespace(preset="tiny", sizes={}, out=Path("here"))
    for counts, words in (
        ({"basic": 1}, "--preset tiny --out here"),
        ({"basic": 3}, "--preset tiny --seeds 3 --out"),
        ({"basic": 1, "hard": 2}, """--preset tiny --sizes '{"seeds": {"hard": 2}}' --out"""),
    ):
        plans = {name: matrix(name, TINY, count) for name, count in counts.items()}
        assert words in command(args, plans, TINY)


def test_lists_in_sizes_become_what_a_checkpoint_gives_back() -> None:
    changed = sized("tiny", {"staged_agent": {"channels": [8, 16]}})
    (cell,) = (c for c in matrix("features", changed) if c.arm == "opponent")
    assert cell.agent_config.channels == (8, 16)


def test_a_change_within_a_group_of_sizes_leaves_the_rest_of_the_group() -> None:
    changed = sized("tiny", {"staged_training": {"lr": 5e-4}})
    assert changed.staged_training == {**TINY.staged_training, "lr": 5e-4}


def test_a_report_keeps_finished_agents_that_a_command_does_not_ask_for(tmp_path: Path) -> None:
    places = cells.Places(tmp_path / "out", tmp_path / "work")
    asked = {"features": matrix("features", TINY, 1)}
    assert in_report(TINY, asked, places) == asked
    for cell in (*matrix("confounding", TINY, 3), *matrix("features", TINY, 2)):
        places.finished(cell).parent.mkdir(parents=True, exist_ok=True)
        places.finished(cell).write_text("{}")
    assert in_report(TINY, asked, places) == {
        "confounding": matrix("confounding", TINY, 3),
        "features": matrix("features", TINY, 2),
    }
    asked = {"features": matrix("features", TINY, 4)}
    assert in_report(TINY, asked, places)["features"] == asked["features"]


def test_a_cell_of_another_preset_is_another_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    (cell,) = (c for c in matrix("features", TINY) if c.arm == "opponent")
    before, baseline = cell.digest, matrix("features", TINY)[0].digest
    wider = {**AGENTS, "tiny": dataclasses.replace(AGENTS["tiny"], width=64)}
    monkeypatch.setattr("scripts.reproduction.plan.PRESETS", wider)
    assert cell.digest != before
    assert matrix("features", TINY)[0].digest == baseline, "a baseline is no agent"


def test_another_plans_results_are_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also those that only the report would show: after hours of work it could not be written."""
    old = tmp_path / "cells" / f"{matrix('features', TINY)[0].name}.json"
    old.parent.mkdir()
    old.write_text('{"digest": "of another plan"}')
    monkeypatch.setattr("scripts.reproduce.carry_out", lambda *_: pytest.fail("began to work"))
    words = ["reproduce", "--experiments", "basic", "--preset", "tiny", "--out", str(tmp_path)]
    monkeypatch.setattr("sys.argv", words)
    with pytest.raises(ValueError, match="another plan"):
        reproduce(arguments())


# The splits, in the demonstrations themselves


def test_held_out_pairs_never_occur_in_training_and_stand_on_every_held_out_object() -> None:
    """The rule: a pair of values is held out of training when the values' places in the
    vocabulary add up to a multiple of five."""
    trained: set[frozenset[str]] = set()
    values: set[str] = set()
    for demos in sets("features").values():
        assert demos.env_args["split"] == "train"
        for episode in behind(demos):
            for thing in set().union(*map(shown, episode.trials)):
                trained |= pairs(thing)
                values |= {thing[d] for d in CORE_DIMENSIONS}
    assert values == {value for d in CORE_DIMENSIONS for value in VALUES[d]}

    place = {value: i for d in CORE_DIMENSIONS for i, value in enumerate(VALUES[d])}
    held_out = {
        frozenset((a, b))
        for one, two in combinations(CORE_DIMENSIONS, 2)
        for a in VALUES[one]
        for b in VALUES[two]
        if (place[a] + place[b]) % 5 == 0
    }
    assert not trained & held_out

    (room,) = (room for room in matrix("features", TINY)[0].rooms if room.name == "held_out")
    seeds = [episode_seed(Stream.TEST, 0, i) for i in range(100)]
    for episode in episodes(room.env, dict(room.args), seeds):
        for trial in episode.trials:
            assert all(pairs(thing) & held_out for thing in shown(trial))


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_arm_has_a_color_of_its_own_in_an_experiments_figures(experiment: str) -> None:
    arms = {cell.arm for cell in matrix(experiment, TINY)} - set(BASELINES)
    assert arms <= set(figures._ARMS)
    assert len({figures._ARMS[arm] for arm in arms}) == len(arms) or experiment == "confounding"


def test_the_dimension_left_out_is_never_hard_in_training_and_always_in_the_exam() -> None:
    for cell in matrix("hard", TINY):
        if cell.training is None:
            continue
        left_out = Dimension(cell.subject)
        for demos in cell.sets:
            for episode in behind(demos, 60):
                for trial in episode.trials[:-1]:
                    assert len({thing[left_out] for thing in trial.things}) == 1
        room = next(room for room in cell.rooms if room.name == "hard")
        seeds = [episode_seed(Stream.TEST, 0, i) for i in range(20)]
        for episode in episodes(room.env, dict(room.args), seeds):
            assert episode.dimension == left_out
            for trial in episode.trials[:-1]:
                assert len({thing[left_out] for thing in trial.things}) == 2


def collect_here(root: Path, recipe, workers: int, progress) -> None:
    """As `collect`, in this process."""
    make_set(root, recipe)


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> cells.Places:
    monkeypatch.setattr(cells, "collect", collect_here)
    return cells.Places(tmp_path / "out", tmp_path / "work")


def test_recorded_sentences_of_the_training_split_hold_no_held_out_pair(
    places: cells.Places,
) -> None:
    demos = dataclasses.replace(sets("features", "tiny")["features"], episodes=3)
    cells.collect_set(demos, places, 1, lambda progress: None)
    place = {value: i for d in CORE_DIMENSIONS for i, value in enumerate(VALUES[d])}
    described = [s for s in Dataset(places.demos(demos)).sentences if s.startswith("this is")]
    assert len(described) > 5
    for sentence in described:
        seen = [place[word] for word in sentence.split() if word in place]
        assert len(seen) == 3
        assert all((a + b) % 5 for a, b in combinations(seen, 2)), sentence


# Cells


def test_going_back_to_the_rewarded_slot_is_as_blind_as_chance() -> None:
    def make_env() -> gymnasium.Env:
        return gymnasium.make(INTERVENTION, image_size=16, disable_env_checker=True)

    seeds = [episode_seed(Stream.TEST, 1, i) for i in range(6)]
    played = list(rollout(RepeatSlotPolicy(), make_env, seeds, 6))
    made = [choice for trajectory in played for choice in trajectory.choices]
    assert len(made) > 18
    assert {choice.correct for choice in made} == {True, False}


def small(cell: Cell) -> Cell:
    return dataclasses.replace(cell, rooms=cell.rooms[:1], episodes=2, curve_episodes=1)


def test_a_cell_is_trained_examined_and_kept(places: cells.Places) -> None:
    plan = {cell.name: small(cell) for cell in matrix("basic", TINY)}
    cell = plan["basic-outcome-0"]
    for demos in cell.sets:
        assert not cells.collected(demos, places)
        cells.collect_set(demos, places, 1, lambda progress: None)
        assert cells.collected(demos, places)
        cells.take_up(demos, places)
    done: list[float] = []
    cells.run_cell(cell, places, "cpu", done.append, lambda text: None)
    assert done == sorted(done)
    assert done[-1] == 1.0
    kept = cells.load_finished(cell, places)
    assert kept is not None
    assert kept["cost"]["frames"] >= cell.training.frames
    assert [len(exam["episodes"]) for exam in kept["exams"].values()] == [2]
    assert kept["curve"][-1]["frames"] == kept["cost"]["frames"]

    # Again, from what was kept beside the run: nothing is trained or played, and equal.
    places.finished(cell).unlink()
    cells.run_cell(cell, places, "cpu", say=lambda text: None)
    again = cells.load_finished(cell, places)
    assert again is not None
    assert again["exams"] == kept["exams"]

    with pytest.raises(ValueError, match="another plan"):
        cells.load_finished(dataclasses.replace(cell, episodes=5), places)

    # Exams of another agent, or by other code, do not count.
    exam = places.run(cell) / f"exam-{cell.rooms[0].name}.json"
    other = json.loads(exam.read_text()) | {"episodes": ["_c+", "_c+"]}
    exam.write_text(json.dumps(other | {"made_by": {**other["made_by"], "weights": "others"}}))
    cells.run_cell(cell, places, "cpu", say=lambda text: None)
    exam.write_text("[]")
    cells.run_cell(cell, places, "cpu", say=lambda text: None)
    once_more = cells.load_finished(cell, places)
    assert once_more is not None
    assert once_more["exams"] == kept["exams"]

    # In rooms that are no longer those of their seeds.
    there = places.finished(cell)
    whole = there.read_text()
    there.write_text(json.dumps(json.loads(whole) | {"rooms": {}}))
    with pytest.raises(ValueError, match="other rooms"):
        cells.load_finished(cell, places)
    there.write_text(whole)

    # In rooms of another seed.
    path = cells.examine_again(cell, places, 31)
    found = json.loads(path.read_text())
    assert found["made_by"]["weights"] == kept["made_by"]["weights"]
    assert [exam["seed"] for exam in found["exams"].values()] == [31]
    # What was found is kept while plan, code and agent are the same.
    path.write_text(json.dumps(found | {"exams": {}}))
    assert json.loads(cells.examine_again(cell, places, 31).read_text())["exams"] == {}
    for other in ({"made_by": {**found["made_by"], "weights": "others"}}, {"digest": "other"}):
        path.write_text(json.dumps(found | other))
        assert json.loads(cells.examine_again(cell, places, 31).read_text()) == found
    assert cells.load_again(cell, places) == [found]
    for damaged in ("", "[]", "{}"):
        path.write_text(damaged)
        with pytest.raises(ValueError, match="holds no cell's results"):
            cells.load_again(cell, places)


def test_large_files_of_two_outs_lie_apart(tmp_path: Path) -> None:
    one, other = (default_work(tmp_path / name / "cpu") for name in ("a", "b"))
    assert one != other
    assert one == default_work(tmp_path / "b" / ".." / "a" / "cpu")


@pytest.mark.parametrize("text", ["[]", "{}", '{"digest": "DIGEST", "exams": {}}'])
def test_a_damaged_cell_is_refused(places: cells.Places, text: str) -> None:
    cell = matrix("basic", TINY)[0]
    path = places.finished(cell)
    path.parent.mkdir(parents=True)
    path.write_text(text.replace("DIGEST", cell.digest))
    with pytest.raises(ValueError, match="delete it to make it again"):
        cells.load_finished(cell, places)


def test_other_demonstrations_in_a_sets_place_are_refused(places: cells.Places) -> None:
    demos = DemoSet(label="few", env=BASIC, episodes=2)
    cells.collect_set(demos, places, 1, lambda progress: None)
    cells.take_up(demos, places)
    told = json.loads(places.costs(demos).read_text())
    assert told["episodes"] == 2
    assert told["frames"] == int(Dataset(places.demos(demos)).starts[-1])
    others = dataclasses.replace(demos, seed=5)
    places.demos(demos).rename(places.demos(others))
    with pytest.raises(ValueError, match="holds other demonstrations"):
        cells.take_up(others, places)


def test_a_set_that_was_found_collected_can_be_collected_anew(places: cells.Places) -> None:
    demos = matrix("basic", TINY)[-1].sets[0]
    cells.collect_set(demos, places, 1, lambda progress: None)
    places.spent(demos).unlink()
    cells.take_up(demos, places)  # knows nothing of how long it took
    assert "core_seconds" not in json.loads(places.costs(demos).read_text())
    shutil.rmtree(places.demos(demos))
    cells.collect_set(demos, places, 1, lambda progress: None)
    elsewhere = dataclasses.replace(places, out=places.out / "other")
    cells.take_up(demos, elsewhere)  # whoever finds it learns what it has cost
    assert json.loads(elsewhere.costs(demos).read_text())["core_seconds"] > 0.0


class Hasty:
    """Chooses whatever it meets, transforms nothing, and tries to afterwards."""

    def begin(self, slot: int, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def decide(self, moments: Sequence[Moment]) -> Sequence[Decision]:
        actions = [self.act(moment.snapshot()) for moment in moments]
        return [Decision(action=action, label=action) for action in actions]

    def act(self, now: Snapshot) -> int:
        if now.phase is Phase.EXPLAIN:
            return Action.TRANSFORM_COLOR
        moves = (Action.FORWARD, Action.FORWARD, Action.TURN_LEFT)
        return Action.CHOOSE if now.focus is not None else moves[self.rng.integers(3)]


def test_transforms_while_a_choice_is_explained_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[list] = []

    def keep(trajectory: Trajectory, transforms: list) -> tuple[TrialRecord, ...]:
        assert any(choice is not None for choice in trajectory.choices)
        heard.append(transforms)
        return record(trajectory, transforms)

    monkeypatch.setattr(cells, "record", keep)
    cells.examine(Hasty(), Room("any", INTERVENTION, {"image_size": 16}), 3)
    assert len(heard) == 3
    assert heard == [[], [], []]


def test_of_two_kinds_of_sentences_one_can_be_left_unheard(places: cells.Places) -> None:
    demos = DemoSet(label="few", env=BASIC, episodes=2)
    cells.collect_set(demos, places, 1, lambda progress: None)
    heard = Dataset(places.demos(demos))
    for kind, standing in (("properties", False), ("outcome", True)):
        told = cells.Hearing(heard, kind).episode(0).told
        spoken = np.array([bool(text) for text in told.explanations])
        assert spoken.any()
        assert set(told.explaining[spoken].tolist()) == {standing}


def test_the_expert_needs_no_training(places: cells.Places) -> None:
    room = Room("any", INTERVENTION, {"image_size": 16})
    exam = cells.examine(cells.baseline("expert"), room, 2)
    for episode in map(decode, exam["episodes"]):
        assert episode[-1].correct
        assert analysis.follows()(episode) == (1, 1)
        assert all(trial.transformed for trial in episode[:-1])
