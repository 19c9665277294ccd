"""The Gymnasium contract, held against every id and every argument that matters to it."""

import copy
import hashlib
import json
import pickle
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env
from gymnasium.utils.seeding import np_random
from gymnasium.wrappers import RecordEpisodeStatistics

import oddoneout
from oddoneout.actions import Action
from oddoneout.episode import sample_episode
from oddoneout.rules.attributes import Dimension
from oddoneout.rules.language import decode, outcome, properties, sentence
from oddoneout.rules.levels import CATALOGUE, Describe, Difficulty, Speech, parse_settings
from oddoneout.rules.splits import Split
from oddoneout.rules.trial import TRIAL_STEPS
from tests.wandering import busy

IDS = tuple(level.id for level in CATALOGUE.values())
INTERVENTION = "OddOneOut/Intervention-v0"

#: Every argument at every value, each on an id that takes it.
VARIANTS: tuple[tuple[str, dict[str, Any]], ...] = (
    *((level.id, {"dimension": str(d)}) for level in CATALOGUE.values() for d in level.dimensions),
    *((INTERVENTION, {"difficulty": str(d)}) for d in Difficulty),
    (INTERVENTION, {"difficulty": "hard1", "hard_dimensions": ("shape",)}),
    (INTERVENTION, {"hard_dimensions": ["color", "texture"]}),
    (INTERVENTION, {"experiments": 0}),
    (INTERVENTION, {"experiments": 5}),
    *((id, {"explanations": str(s)}) for id in IDS for s in Speech),
    *((id, {"describe": str(d)}) for id in IDS for d in Describe),
    *((id, {"split": str(s)}) for id in IDS for s in Split),
    ("OddOneOut/Basic-v0", {"image_size": 32}),
    ("OddOneOut/Basic-v0", {"image_size": (48, 80)}),
    ("OddOneOut/Basic-v0", {"image_size": [48, 80], "renderer": "classic"}),
)

each_id = pytest.mark.parametrize("id", IDS)
each_variant = pytest.mark.parametrize(
    ("id", "arguments"), VARIANTS, ids=lambda v: v if isinstance(v, str) else json.dumps(v)
)

Seen = tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]


def play(
    id: str, seed: int, steps: int, eventful: bool = False, **arguments: Any
) -> Iterator[Seen]:
    """Steps from a seed, beginning with the reset; a new episode where one ends.

    They are random; ``eventful`` ones soon meet objects, and transform and choose these.
    """
    env = gymnasium.make(id, disable_env_checker=True, **arguments)
    rng = np.random.default_rng(seed)
    observation, info = env.reset(seed=seed)
    yield observation, 0.0, False, False, info
    for _ in range(steps):
        action = int(rng.integers(len(Action)))
        if eventful:
            at_focus = (Action.CHOOSE, Action.TRANSFORM_COLOR)
            action = busy(env.unwrapped.snapshot(), rng, at_focus)  # type: ignore[attr-defined]
        step = env.step(action)
        yield step  # type: ignore[misc]
        if step[2] or step[3]:
            observation, info = env.reset()
            yield observation, 0.0, False, False, info
    env.close()


@each_id
def test_gymnasium_finds_nothing_to_complain_about(id: str) -> None:
    env = gymnasium.make(id, disable_env_checker=True, render_mode="rgb_array")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # Where there is no display, or no tkinter, "human" says so and goes on without a window.
        no_window = ".*shows nothing: (no window|a window needs tkinter)"
        warnings.filterwarnings("ignore", message=no_window)
        check_env(env.unwrapped)
    env.close()


@each_variant
def test_every_argument_makes_an_environment_that_keeps_the_contract(
    id: str, arguments: dict[str, Any]
) -> None:
    env = gymnasium.make(id, **arguments)
    most = {"OddOneOut/Intervention-v0": (10.0, 1.0, 0.0)}.get(id, (1.0, 0.0))
    choices = 0
    for observation, reward, _, _, info in play(id, 3, 60, eventful=True, **arguments):
        assert observation in env.observation_space
        assert reward in most
        assert set(info) - {"choice"} == {"instruction", "explanation", "trial", "phase"}
        assert info["phase"] in ("search", "explain")
        assert decode(observation["instruction"]) == info["instruction"]
        if "choice" in info:
            choices += 1
            assert set(info["choice"]) == {"trial", "test", "correct", "odd_in"}
            assert set(info["choice"]["odd_in"]) <= {d.value for d in Dimension}
            assert (reward > 0) == info["choice"]["correct"]
            assert info["phase"] == "explain"
        else:
            assert reward == 0
    assert choices, "nothing was chosen, so nothing was shown about choices"
    env.close()


@each_id
def test_observations_say_nothing_of_explanations(id: str) -> None:
    loud, silent = (list(play(id, 5, 150, explanations=e)) for e in ("full", "none"))
    assert any(info["explanation"] for *_, info in loud)
    assert not any(info["explanation"] for *_, info in silent)
    for (mine, *_), (other, *_) in zip(loud, silent, strict=True):
        assert all(np.array_equal(mine[key], other[key]) for key in ("image", "instruction"))


@each_id
def test_shuffled_explanations_stand_when_true_ones_do_and_speak_of_the_decoys(id: str) -> None:
    loud, shuffled = (
        gymnasium.make(id, disable_env_checker=True, explanations=e) for e in ("full", "shuffled")
    )
    level = next(level for level in CATALOGUE.values() if level.id == id)
    settings = parse_settings(level, {"explanations": "shuffled"})
    rng = np.random.default_rng(0)
    outcomes = others = 0
    for seed in range(3):
        decoys = sample_episode(level, settings, np_random(seed)[0]).decoys
        told, true = shuffled.reset(seed=seed)[1], loud.reset(seed=seed)[1]
        over = False
        while not over:
            now = loud.unwrapped.snapshot()  # type: ignore[attr-defined]
            decoy = decoys[told["trial"]]
            assert bool(told["explanation"]) == bool(true["explanation"])
            if told["phase"] == "explain":
                assert told["explanation"] == sentence(outcome(decoy.trial, decoy.state))
                outcomes += 1
            elif told["explanation"]:
                described = properties(decoy.trial, decoy.state, now.gaze)
                assert told["explanation"] == sentence(described)
            others += told["explanation"] != true["explanation"]
            action = busy(now, rng, (Action.CHOOSE, Action.TRANSFORM_COLOR))
            *_, terminated, truncated, told = shuffled.step(action)
            *_, true = loud.step(action)
            over = terminated or truncated
    assert outcomes
    assert others


def fingerprint(id: str, seed: int) -> str:
    """A digest of everything that 120 random steps show."""
    digest = hashlib.sha256()
    for observation, *rest in play(id, seed, 120):
        digest.update(observation["image"].tobytes() + observation["instruction"].tobytes())
        digest.update(repr(rest).encode())
    return digest.hexdigest()


def test_the_same_seed_shows_the_same_bytes_in_another_process() -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parents[1])!r})\n"
        "from tests.test_catalogue import IDS, fingerprint\n"
        "print(*(fingerprint(id, 11) for id in reversed(IDS)))"
    )
    other = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert [fingerprint(id, 11) for id in IDS] == other[::-1]


@each_id
def test_a_reused_environment_shows_the_same_as_a_new_one(id: str) -> None:
    env = gymnasium.make(id)
    env.reset(seed=1)
    for _ in range(30):
        if any(env.step(env.action_space.sample())[2:4]):
            env.reset()
    again, info = env.reset(seed=2)
    fresh, fresh_info = gymnasium.make(id).reset(seed=2)
    assert all(np.array_equal(again[key], fresh[key]) for key in fresh)
    assert info == fresh_info


@each_id
def test_different_seeds_show_different_rooms(id: str) -> None:
    env = gymnasium.make(id)
    images = {env.reset(seed=seed)[0]["image"].tobytes() for seed in range(20)}
    assert len(images) == 20


@each_id
def test_looking_changes_nothing(id: str) -> None:
    """Rendering and snapshots draw no randomness and leave no trace."""
    plain = [s[0]["image"].tobytes() for s in play(id, 4, 40)]
    env = gymnasium.make(id, render_mode="rgb_array")
    rng = np.random.default_rng(4)
    images = [env.reset(seed=4)[0]["image"].tobytes()]
    while len(images) < 20:
        env.render()
        env.unwrapped.snapshot()  # type: ignore[attr-defined]
        observation, _, terminated, truncated, _ = env.step(int(rng.integers(len(Action))))
        images.append(observation["image"].tobytes())
        if terminated or truncated:
            break
    assert images == plain[: len(images)]
    env.close()


@each_id
def test_every_call_returns_fresh_arrays(id: str) -> None:
    observations = [observation for observation, *_ in play(id, 0, 30)]
    for key in ("image", "instruction"):
        arrays = [observation[key] for observation in observations]
        assert all(array.base is None and array.flags.owndata for array in arrays)
        assert len({array.ctypes.data for array in arrays}) == len(arrays)
        assert all(array.flags.writeable and array.flags.c_contiguous for array in arrays)


@each_id
def test_an_idle_episode_is_truncated_and_brings_nothing(id: str) -> None:
    env = gymnasium.make(id, image_size=16)
    env.reset(seed=0)
    trials = env.unwrapped.snapshot().trials  # type: ignore[attr-defined]
    steps = [env.step(Action.NOOP) for _ in range(TRIAL_STEPS * trials)]
    assert [truncated for _, _, _, truncated, _ in steps] == [False] * (len(steps) - 1) + [True]
    assert not any(terminated for _, _, terminated, _, _ in steps)
    assert all(reward == 0 for _, reward, *_ in steps)
    with pytest.raises(RuntimeError, match="reset"):
        env.unwrapped.step(Action.NOOP)


@each_id
def test_render_shows_the_room(id: str) -> None:
    env = gymnasium.make(id, render_mode="rgb_array")
    env.reset(seed=0)
    frame = env.render()
    assert isinstance(frame, np.ndarray)
    assert frame.dtype == np.uint8
    assert frame.shape[0] >= 480
    assert frame.std() > 10
    env.close()
    for act in (env.unwrapped.render, lambda: env.unwrapped.step(Action.NOOP)):
        with pytest.raises(RuntimeError, match="reset"):
            act()


WRONG: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("Basic", {"dimension": "colour"}, "'color', 'shape', 'texture', 'size'"),
    ("Basic", {"dimension": 1}, "'color'"),
    ("Basic", {"dimension": ("color",)}, "'color'"),
    ("Basic", {"dimension": ["color"]}, "'color'"),
    ("Confounded", {"dimension": "size"}, "'color', 'shape', 'texture'"),
    ("Deconfounded", {"dimension": "size"}, "'color', 'shape', 'texture'"),
    ("Intervention", {"dimension": "size"}, "'color', 'shape', 'texture'"),
    ("Intervention", {"dimension": ""}, "'color', 'shape', 'texture'"),
    ("Intervention", {"difficulty": "hard4"}, "'easy', 'hard1', 'hard2', 'hard3'"),
    ("Intervention", {"difficulty": 2}, "'easy', 'hard1', 'hard2', 'hard3'"),
    ("Intervention", {"difficulty": {}}, "'easy'"),
    ("Basic", {"difficulty": "easy"}, "no experiments"),
    ("Basic", {"experiments": 2}, "no experiments"),
    ("Confounded", {"hard_dimensions": ("color",)}, "no experiments"),
    ("Intervention", {"hard_dimensions": "color"}, "tuple"),
    ("Intervention", {"hard_dimensions": ()}, "at least one"),
    ("Intervention", {"hard_dimensions": ("color", "color")}, "twice"),
    ("Intervention", {"hard_dimensions": ("size",)}, "'color', 'shape', 'texture'"),
    ("Intervention", {"hard_dimensions": (3,)}, "'color', 'shape', 'texture'"),
    ("Intervention", {"hard_dimensions": {"color": 1}}, "tuple"),
    ("Intervention", {"hard_dimensions": ("color",), "difficulty": "hard2"}, "hard_dimensions"),
    ("Intervention", {"experiments": -1}, "from 0 to"),
    ("Intervention", {"experiments": 1000}, "from 0 to"),
    ("Intervention", {"experiments": 3.0}, "from 0 to"),
    ("Intervention", {"experiments": "3"}, "from 0 to"),
    ("Intervention", {"experiments": True}, "from 0 to"),
    ("Intervention", {"experiments": None}, "from 0 to"),
    ("Basic", {"explanations": "loud"}, "'full', 'properties', 'outcome', 'none'"),
    ("Basic", {"explanations": None}, "'full'"),
    ("Basic", {"explanations": True}, "'full'"),
    ("Basic", {"describe": "far"}, "'gaze', 'near'"),
    ("Basic", {"describe": None}, "'gaze', 'near'"),
    ("Basic", {"split": "test"}, "'all', 'train', 'eval'"),
    ("Basic", {"split": 0}, "'all', 'train', 'eval'"),
    ("Basic", {"colour": "red"}, "dimension, difficulty, hard_dimensions"),
    ("Basic", {"image_size": 0}, "from"),
    ("Basic", {"image_size": -64}, "from"),
    ("Basic", {"image_size": 100_000}, "from"),
    ("Basic", {"image_size": (31, 64)}, "neither more than 2 times the other"),
    ("Basic", {"image_size": (64, 31)}, "neither more than 2 times the other"),
    ("Basic", {"image_size": 64.0}, "from"),
    ("Basic", {"image_size": float("nan")}, "from"),
    ("Basic", {"image_size": "64"}, "from"),
    ("Basic", {"image_size": True}, "from"),
    ("Basic", {"image_size": None}, "from"),
    ("Basic", {"image_size": (64,)}, "from"),
    ("Basic", {"image_size": (64, 64, 3)}, "from"),
    ("Basic", {"image_size": (64, "64")}, "from"),
    ("Basic", {"image_size": {64, 48}}, "from"),
    ("Basic", {"image_size": np.array([64, 64])}, "from"),
    ("Basic", {"render_mode": "ansi"}, "rgb_array"),
    ("Basic", {"render_mode": 3}, "rgb_array"),
    ("Basic", {"render_mode": ["human"]}, "rgb_array"),
    ("Basic", {"renderer": "vulkan"}, "classic"),
    ("Basic", {"renderer": None}, "classic"),
    ("Basic", {"renderer": ["classic"]}, "classic"),
)


@pytest.mark.parametrize(
    ("level", "arguments", "allowed"), WRONG, ids=[f"{name}-{args}" for name, args, _ in WRONG]
)
def test_a_wrong_argument_is_refused_by_name(
    level: str, arguments: dict[str, Any], allowed: str
) -> None:
    from oddoneout.env import OddOneOutEnv

    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the message is checked below
        OddOneOutEnv(level, **arguments)
    message = str(caught.value)
    assert next(iter(arguments)) in message
    assert allowed in message


def test_an_ids_level_cannot_be_changed() -> None:
    env = gymnasium.make("OddOneOut/Basic-v0", level="Intervention", image_size=16)
    with pytest.raises(ValueError, match="make 'OddOneOut/Intervention-v0' instead"):
        env.reset()
    env.close()
    envs = gymnasium.make_vec("OddOneOut/Basic-v0", level="Confounded", image_size=16)
    with pytest.raises(ValueError, match="make 'OddOneOut/Confounded-v0' instead"):
        envs.reset()
    envs.close()


def test_an_unknown_level_is_refused_by_name() -> None:
    from oddoneout.env import OddOneOutEnv

    for level in ("basic", "", None, 3, ["Basic"]):
        with pytest.raises(ValueError, match="Basic, Confounded, Deconfounded, Intervention"):
            OddOneOutEnv(level)  # type: ignore[arg-type]


@pytest.mark.parametrize("action", [-1, 9, 1.5, True, "choose", None, [1, 2], np.array([3, 4])])
def test_what_is_no_action_is_refused(action: Any) -> None:
    env = gymnasium.make("OddOneOut/Basic-v0", disable_env_checker=True).unwrapped
    env.reset(seed=0)
    with pytest.raises(ValueError, match="action must be an integer from 0 to 8"):
        env.step(action)


@pytest.mark.parametrize("action", [2, np.int64(2), np.uint8(2), np.array(2), Action.BACKWARD])
def test_every_kind_of_integer_is_an_action(action: Any) -> None:
    env = gymnasium.make("OddOneOut/Basic-v0", disable_env_checker=True)
    env.reset(seed=0)
    assert env.step(action)[4]["phase"] == "search"


def test_nothing_works_before_the_first_reset() -> None:
    env = gymnasium.make("OddOneOut/Basic-v0", disable_env_checker=True).unwrapped
    with pytest.raises(RuntimeError, match="reset"):
        env.step(0)
    with pytest.raises(RuntimeError, match="reset"):
        env.snapshot()  # type: ignore[attr-defined]
    with pytest.raises(RuntimeError, match="reset"):
        gymnasium.make(
            "OddOneOut/Basic-v0", disable_env_checker=True, render_mode="rgb_array"
        ).unwrapped.render()


@pytest.mark.parametrize("seed", [-1, True, 1.0, "1"])
def test_what_is_no_seed_is_refused(seed: Any) -> None:
    env = gymnasium.make("OddOneOut/Basic-v0")
    with pytest.raises(ValueError, match="seed must be None or an integer from 0 up"):
        env.reset(seed=seed)


def test_numpys_integers_are_seeds() -> None:
    env = gymnasium.make("OddOneOut/Basic-v0")
    first = env.reset(seed=3)[0]["image"]
    np.testing.assert_array_equal(env.reset(seed=np.int64(3))[0]["image"], first)


def test_nothing_is_drawn_for_a_window_that_was_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Closed:
        closed = True

        def __init__(self, *_: Any, **__: Any) -> None: ...

        def close(self) -> None: ...

    monkeypatch.setattr("oddoneout.window.Window", Closed)
    env = gymnasium.make("OddOneOut/Basic-v0", render_mode="human")
    monkeypatch.setattr(env.unwrapped, "present", lambda: pytest.fail("drawn for nobody"))
    env.reset(seed=0)
    env.step(Action.FORWARD)
    env.close()


def test_a_copy_is_made_of_the_same_arguments_and_has_to_be_reset() -> None:
    env = gymnasium.make("OddOneOut/Basic-v0", dimension="size", image_size=32)
    first, _ = env.reset(seed=3)
    for other in (copy.deepcopy(env.unwrapped), pickle.loads(pickle.dumps(env.unwrapped))):
        with pytest.raises(RuntimeError, match="reset"):
            other.step(0)
        again, _ = other.reset(seed=3)
        assert np.array_equal(first["image"], again["image"])
        other.close()
    env.close()


def test_closing_twice_is_harmless() -> None:
    env = gymnasium.make("OddOneOut/Basic-v0")
    env.reset(seed=0)
    env.close()
    env.close()


@each_variant
def test_specs_survive_json_and_pickle(id: str, arguments: dict[str, Any]) -> None:
    spec = gymnasium.make(id, **arguments).spec
    assert spec is not None
    for again in (EnvSpec.from_json(spec.to_json()), pickle.loads(pickle.dumps(spec))):
        twin = gymnasium.make(again)
        assert twin.spec is not None
        assert json.dumps(twin.spec.kwargs) == json.dumps(spec.kwargs)
        twin.close()


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_gymnasiums_own_vectors_show_what_single_environments_show(mode: str) -> None:
    singles = [gymnasium.make(INTERVENTION) for _ in range(2)]
    envs = gymnasium.make_vec(INTERVENTION, num_envs=2, vectorization_mode=mode)
    try:
        batch, infos = envs.reset(seed=[7, 8])
        alone = [env.reset(seed=seed) for env, seed in zip(singles, (7, 8), strict=True)]
        for action in (0, 1, 3, 5, 4, 1):
            for i, (observation, info, *_) in enumerate(alone):
                assert np.array_equal(batch["image"][i], observation["image"])
                assert decode(batch["instruction"][i]) == info["instruction"]
                assert infos["explanation"][i] == info["explanation"]
            batch, _, _, _, infos = envs.step(np.array([action, action]))
            alone = [(step[0], step[4]) for step in (env.step(action) for env in singles)]
    finally:
        envs.close()


def test_episode_statistics_are_recorded() -> None:
    env = RecordEpisodeStatistics(gymnasium.make("OddOneOut/Basic-v0", image_size=16))
    env.reset(seed=0)
    for _ in range(TRIAL_STEPS - 1):
        env.step(Action.NOOP)
    *_, info = env.step(Action.NOOP)
    assert info["episode"]["l"] == TRIAL_STEPS
    assert info["episode"]["r"] == 0


def test_videos_are_recorded(tmp_path: Path) -> None:
    pytest.importorskip("moviepy")
    from gymnasium.wrappers import RecordVideo

    env = RecordVideo(
        gymnasium.make("OddOneOut/Basic-v0", render_mode="rgb_array"),
        str(tmp_path),
        video_length=5,
        disable_logger=True,
    )
    env.reset(seed=0)
    for _ in range(6):
        env.step(Action.TURN_LEFT)
    env.close()
    (film,) = tmp_path.glob("*.mp4")
    assert film.stat().st_size > 1000


@each_id
def test_thousands_of_random_steps_pass_without_an_error(id: str) -> None:
    ends = 0
    for observation, reward, terminated, truncated, _ in play(id, 1, 2500, image_size=16):
        assert np.isfinite(reward)
        assert observation["image"].any()
        ends += terminated or truncated
    assert ends > 5


def test_the_package_knows_its_version() -> None:
    assert oddoneout.__version__
