"""The batch renderer is held to the classic one: same rules, same poses, pictures that look alike.

Everything runs on the CPU, with few rooms; a GPU runs the same kernels and tensors.
"""

import math
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import oddoneout  # noqa: F401
from oddoneout.actions import TRANSFORMS, Action
from oddoneout.env import OddOneOutEnv
from oddoneout.episode import Episode, sample_episode
from oddoneout.rules.levels import CATALOGUE, parse_settings
from oddoneout.rules.trial import (
    TRIAL_STEPS,
    Choose,
    Event,
    Pass,
    Result,
    Transform,
    TrialState,
    advance,
    begin,
)
from oddoneout.world.gaze import glance
from oddoneout.world.layout import sample_layouts
from oddoneout.world.world import World
from tests.wandering import busy

pytest.importorskip("mujoco_warp", reason='needs the extra: pip install ".[warp]"')
torch = pytest.importorskip("torch", reason='needs the extra: pip install ".[warp]"')

import warp  # noqa: E402

from oddoneout.warp import motion, rules, script  # noqa: E402
from oddoneout.warp.vector import OddOneOutWarpEnv  # noqa: E402

BASIC = "OddOneOut/Basic-v0"
INTERVENTION = "OddOneOut/Intervention-v0"
#: What the wandering policy does to objects.
AT_FOCUS = (Action.CHOOSE, Action.FORWARD, *TRANSFORMS)
#: Bounds that docs/warp.md states.
POSE_BOUND = 1e-9  # metres and radians
PIXEL_BOUND = 2.0  # mean absolute difference of a channel, of 255, over many pictures
CORRELATION_BOUND = 0.97  # of a picture's channels, over many pictures


def make(level: str, num_envs: int, **arguments: Any) -> OddOneOutWarpEnv:
    envs = gymnasium.make_vec(
        level, num_envs=num_envs, renderer="warp", **{"device": "cpu", "workers": 0, **arguments}
    )
    assert isinstance(envs, OddOneOutWarpEnv)
    return envs


# --- the same episodes ------------------------------------------------------------------------


def assert_same_infos(ours: dict[str, Any], theirs: dict[str, Any], where: str) -> None:
    mask = theirs["_trial"]
    for name in ("instruction", "explanation", "phase", "trial"):
        assert [x for x, m in zip(ours[name], mask, strict=True) if m] == [
            x for x, m in zip(theirs[name], mask, strict=True) if m
        ], (where, name)
        assert ours[f"_{name}"].tolist() == mask.tolist(), (where, name)
    chose = theirs.get("_choice", np.zeros(len(mask), np.bool_))
    if "choice" in ours:
        assert ours["_choice"].tolist() == chose.tolist(), where
    for i in np.flatnonzero(chose):
        mine, other = ours["choice"], theirs["choice"]
        for name in ("trial", "test", "correct"):
            assert mine[name][i].item() == other[name][i], (where, name)
        odd = [d for d, is_odd in zip(script.DIMENSIONS, mine["odd_in"][i], strict=True) if is_odd]
        assert tuple(odd) == other["odd_in"][i], where


@pytest.mark.parametrize(
    ("level", "steps", "arguments"),
    [
        (INTERVENTION, 210, {"experiments": 1}),
        (BASIC, 104, {"explanations": "shuffled", "describe": "near"}),
        (INTERVENTION, 60, {"explanations": "shuffled", "experiments": 2}),
        ("OddOneOut/Confounded-v0", 30, {"explanations": "shuffled", "dimension": "shape"}),
        ("OddOneOut/Deconfounded-v0", 30, {"explanations": "irrelevant"}),
        ("OddOneOut/Confounded-v0", 30, {"explanations": "outcome"}),
        (INTERVENTION, 30, {"explanations": "properties", "split": "train"}),
    ],
)
def test_episodes_equal_those_of_single_environments(
    level: str, steps: int, arguments: dict[str, Any]
) -> None:
    ours = make(level, 4, image_size=16, **arguments)
    theirs = SyncVectorEnv(
        [
            lambda: gymnasium.make(level, disable_env_checker=True, image_size=16, **arguments)
            for _ in range(4)
        ],
        autoreset_mode=AutoresetMode.SAME_STEP,
    )
    seeds: list[int | None] = [5, 2**31, 7, 8]
    got, expected = ours.reset(seed=seeds), theirs.reset(seed=seeds)
    assert_same_infos(got[1], expected[1], "reset")
    rng = np.random.default_rng(0)
    ends = rewards = 0.0
    for t in range(steps):
        snapshots = [env.unwrapped.snapshot() for env in theirs.envs]  # type: ignore[attr-defined]
        acts = np.array([busy(snapshot, rng, AT_FOCUS) for snapshot in snapshots])
        mine, reward, terminated, truncated, infos = ours.step(acts)
        observation, *rest, their_infos = theirs.step(acts)
        for name, a, b in zip(
            ("reward", "terminated", "truncated"),
            (reward, terminated, truncated),
            rest,
            strict=True,
        ):
            assert a.tolist() == b.tolist(), (t, name)
        assert np.array_equal(mine["instruction"].numpy(), observation["instruction"])
        assert_same_infos(infos, their_infos, f"step {t}")
        assert ("final_info" in infos) == ("final_info" in their_infos)
        if "final_info" in infos:
            assert_same_infos(infos["final_info"], their_infos["final_info"], f"end {t}")
            ends += 1
            last = zip(infos["final_obs"], their_infos["final_obs"], strict=True)
            for a, b in last:
                assert (a is None) == (b is None)
                if a is not None:
                    difference = np.abs(a["image"].numpy().astype(int) - b["image"])
                    assert difference.mean() < 20  # that of another room is far more
        rewards += float(reward.sum())
    if steps > 100:
        assert ends
        assert rewards
    ours.close()
    theirs.close()


def test_snapshots_are_those_of_single_environments() -> None:
    ours = make(INTERVENTION, 2, image_size=16)
    ours.reset(seed=3)
    single = OddOneOutEnv("Intervention")
    for i, snapshot in enumerate(ours.snapshots()):
        single.reset(seed=3 + i)
        assert snapshot == single.snapshot()
    single.close()
    ours.close()


# --- the twins of what is written once elsewhere -----------------------------------------------


def event(action: Action, focus: int | None) -> Event:
    if action is Action.CHOOSE:
        return Choose(focus)
    return Transform(TRANSFORMS[action], focus) if action in TRANSFORMS else Pass()


def test_rules_in_tensors_are_the_rules() -> None:
    rng = np.random.default_rng(0)
    rooms, steps = 60, 2 * TRIAL_STEPS
    trials = []
    for i in range(rooms):
        level = CATALOGUE[list(CATALOGUE)[i % len(CATALOGUE)]]
        trials.append(sample_episode(level, parse_settings(level, {}), rng).trials[0])
    scripts = script.Scripts.blank(rooms, 1)
    layout = sample_layouts(1, rng)[0]
    for i, trial in enumerate(trials):
        scripts.write(i, Episode(trial.dimension, (trial,), (layout,)))
    numbers = torch.from_numpy(scripts.numbers[:, 0])
    rewards = torch.from_numpy(scripts.measures[:, 0, script.REWARD])
    start = rules.begin(numbers, rewards)
    states, mine = start, [begin(trial) for trial in trials]
    seen = dict.fromkeys(("chosen", "over", "timed_out", "repainted", "correct"), 0)
    for _ in range(steps):
        # Rarely in focus, so that some searches run out of time.
        focus = rng.integers(4, size=rooms)
        focus[rng.random(rooms) < 0.9] = -1
        acts = rng.integers(len(Action), size=rooms)
        states, results = rules.advance(states, torch.from_numpy(acts), torch.from_numpy(focus))
        outcomes: list[tuple[TrialState, Result]] = [
            advance(trial, state, event(Action(int(a)), None if f < 0 else int(f)))
            for trial, state, a, f in zip(trials, mine, acts, focus, strict=True)
        ]
        mine = [state for state, _ in outcomes]
        for i, (state, result) in enumerate(outcomes):
            assert results.reward[i].item() == result.reward
            for name in ("chosen", "over", "timed_out"):
                assert getattr(results, name)[i].item() == getattr(result, name)
                seen[name] += getattr(result, name)
            seen["repainted"] += result.repainted is not None
            seen["correct"] += result.reward > 0
            assert tuple(map(script.thing, states.things[i].numpy())) == state.things
            assert states.transforms_left[i].item() == state.transforms_left
            assert states.step[i].item() == state.step
            assert states.choice[i].item() == (-1 if state.choice is None else state.choice.target)
        states = states.where(results.over, start)
        mine = [
            begin(trial) if result.over else state
            for trial, state, (_, result) in zip(trials, mine, outcomes, strict=True)
        ]
    assert min(seen.values()) > 20, seen


def test_motion_and_gaze_are_those_of_the_classic_world() -> None:
    warp.init()
    rng = np.random.default_rng(1)
    rooms, steps = 40, 120
    layouts = sample_layouts(rooms, rng)
    things = (
        sample_episode(CATALOGUE["Basic"], parse_settings(CATALOGUE["Basic"], {}), rng)
        .trials[0]
        .things
    )
    worlds = [World((16, 16)) for _ in layouts]
    for world, layout in zip(worlds, layouts, strict=True):
        world.place(things, layout)
    poses = torch.tensor(
        [[x.agent.x, x.agent.y, x.agent.heading] for x in layouts], dtype=torch.float64
    )
    places = torch.tensor([x.objects for x in layouts], dtype=torch.float64)
    gaze, focus = (torch.empty(rooms, dtype=torch.int32) for _ in range(2))
    moves = [Action.FORWARD, Action.BACKWARD, Action.TURN_LEFT, Action.TURN_RIGHT, Action.CHOOSE]
    touched = focused = 0
    for _ in range(steps):
        # Mostly forward: along walls, around objects, into corners.
        acts = rng.choice(moves, size=rooms, p=[0.7, 0.08, 0.1, 0.1, 0.02])
        tensors = (torch.from_numpy(acts).int(), places, poses)
        warp.launch(motion.move, rooms, [warp.from_torch(x) for x in tensors], device="cpu")
        tensors = (places, poses, gaze, focus)
        warp.launch(motion.look, rooms, [warp.from_torch(x) for x in tensors], device="cpu")
        for i, world in enumerate(worlds):
            before = world.pose
            world.move(Action(int(acts[i])))
            pose = world.pose
            x, y, heading = poses[i].tolist()
            assert max(abs(pose.x - x), abs(pose.y - y)) < POSE_BOUND
            assert abs(math.remainder(pose.heading - heading, math.tau)) < POSE_BOUND
            expected = glance(pose, world.positions)
            assert (gaze[i].item(), focus[i].item()) == tuple(
                -1 if index is None else index for index in expected
            )
            moved = math.hypot(pose.x - before.x, pose.y - before.y)
            touched += acts[i] == Action.FORWARD and moved < 0.299
            focused += expected[1] is not None
    assert touched > 500
    assert focused > 50


# --- pictures --------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(64, 64), (48, 80)], ids=str)
def test_pictures_look_like_the_classic_ones(size: tuple[int, int]) -> None:
    rooms = 48
    ours = make(BASIC, rooms, image_size=size)
    theirs = gymnasium.make(BASIC, disable_env_checker=True, image_size=size).unwrapped
    assert isinstance(theirs, OddOneOutEnv)
    images = ours.reset(seed=0)[0]["image"]
    assert images.dtype == torch.uint8
    assert images.shape == (rooms, *size, 3)
    differences, correlations = [], []
    for i, image in enumerate(images.numpy()):
        classic = theirs.reset(seed=i)[0]["image"]
        differences.append(np.abs(image.astype(int) - classic).mean())
        correlations.append(np.corrcoef(image.ravel(), classic.ravel())[0, 1])
    assert np.mean(differences) < PIXEL_BOUND
    assert np.mean(correlations) > CORRELATION_BOUND
    ours.close()
    theirs.close()


def test_images_are_fresh_memory_of_torch() -> None:
    envs = make(BASIC, 2, image_size=16)
    first = envs.reset(seed=0)[0]["image"]
    kept = first.clone()
    second = envs.step(torch.full((2,), int(Action.TURN_LEFT)))[0]["image"]
    assert first.untyped_storage().data_ptr() != second.untyped_storage().data_ptr()
    assert torch.equal(first, kept)
    assert not torch.equal(second, kept)
    assert envs.metadata["torch"] is True
    assert second._base is not None  # a view of what the renderer wrote: no copy
    envs.close()


def test_pictures_follow_the_classic_ones_through_transforms_and_trials() -> None:
    rooms = 6
    ours = make(INTERVENTION, rooms)
    singles = [OddOneOutEnv("Intervention") for _ in range(rooms)]
    ours.reset(seed=0)
    for i, single in enumerate(singles):
        single.reset(seed=i)
    rng = np.random.default_rng(0)
    found: dict[str, list[float]] = {"a step": [], "a transform": [], "a new trial": []}
    for _ in range(60):
        befores = [single.snapshot() for single in singles]
        acts = [busy(before, rng, AT_FOCUS) for before in befores]
        images = ours.step(np.array(acts))[0]["image"].numpy()
        for image, single, act, before in zip(images, singles, acts, befores, strict=True):
            observation, _, terminated, truncated, _ = single.step(act)
            if terminated or truncated:  # ours has begun anew by itself
                observation, _ = single.reset()
            now = single.snapshot()
            spent = now.transforms_left < before.transforms_left
            after = "a new trial" if now.step == 0 else "a transform" if spent else "a step"
            found[after].append(np.abs(image.astype(float) - observation["image"]).mean())
    for after, differences in found.items():
        assert len(differences) > 10, after
        assert np.mean(differences) < PIXEL_BOUND, after
    for single in singles:
        single.close()
    ours.close()
