"""What stands at every step, held against what the arguments ask for."""

import gymnasium
import numpy as np
import pytest

import oddoneout  # noqa: F401  (registers the ids)
from oddoneout.actions import Action
from oddoneout.env import OddOneOutEnv
from oddoneout.episode import sample_episode
from oddoneout.rules.language import outcome, properties, sentence
from oddoneout.rules.levels import CATALOGUE, Describe, Speech, parse_settings
from oddoneout.world.geometry import REACH
from tests.wandering import busy


def expected(env: OddOneOutEnv, speech: Speech, describe: Describe) -> str:
    """The sentence by the words of README's table of arguments."""
    now, trial, state = env.snapshot(), env._trial, env._state
    if state.choice is not None:
        truth = sentence(outcome(trial, state))
        silent = speech in (Speech.NONE, Speech.PROPERTIES)
    else:
        looked_at = now.gaze if describe is Describe.GAZE else now.focus
        truth = "" if looked_at is None else sentence(properties(trial, state, looked_at))
        silent = speech in (Speech.NONE, Speech.OUTCOME)
        if looked_at is not None and describe is Describe.NEAR:
            assert now.objects[looked_at].distance <= REACH
    if silent or not truth:
        return ""
    if speech is Speech.IRRELEVANT:
        return f"you face the {env.world.wall_faced()} wall"
    return truth


def test_one_seed_gives_the_same_episodes_whatever_is_said() -> None:
    envs = [
        OddOneOutEnv("Intervention", image_size=16, explanations=speech)
        for speech in (Speech.FULL, Speech.SHUFFLED)
    ]
    for seed in (1, None, None):
        plain, shuffled = (env.reset(seed=seed)[0]["image"] for env in envs)
        assert np.array_equal(plain, shuffled), "decoys must not draw from the rooms' generator"
    for env in envs:
        env.close()


@pytest.mark.parametrize("id", [level.id for level in CATALOGUE.values()])
@pytest.mark.parametrize("describe", Describe)
@pytest.mark.parametrize("speech", [s for s in Speech if s is not Speech.SHUFFLED])
def test_what_stands_is_what_the_arguments_ask_for(
    id: str, describe: Describe, speech: Speech
) -> None:
    outer = gymnasium.make(
        id, disable_env_checker=True, image_size=16, explanations=speech, describe=describe
    )
    env = outer.unwrapped
    assert isinstance(env, OddOneOutEnv)
    rng = np.random.default_rng(0)
    stood = {"search": 0, "explain": 0}
    choices = 0
    for seed in range(3):
        _, info = env.reset(seed=seed)
        over = False
        while not over:
            assert info["explanation"] == expected(env, speech, describe)
            stood[info["phase"]] += info["explanation"] != ""
            action = busy(env.snapshot(), rng, (Action.CHOOSE, Action.TRANSFORM_COLOR))
            *_, terminated, truncated, info = env.step(action)
            choices += "choice" in info
            over = terminated or truncated
    outer.close()
    assert choices
    assert bool(stood["search"]) == (speech not in (Speech.NONE, Speech.OUTCOME))
    assert bool(stood["explain"]) == (speech not in (Speech.NONE, Speech.PROPERTIES))


def test_shuffled_explanations_need_decoys() -> None:
    env = OddOneOutEnv("Basic", image_size=16, explanations="shuffled")
    level = CATALOGUE["Basic"]
    plain = sample_episode(level, parse_settings(level, {}), np.random.default_rng(0))
    with pytest.raises(ValueError, match="one decoy for each trial of an episode: 0 for 1"):
        env.play(plain)
    env.close()
