from dataclasses import replace

import numpy as np
import pytest
import torch

from agents import checkpoint
from agents.actor import AgentPolicy, load_policy
from agents.batches import Words, collate
from agents.config import TrainingConfig
from agents.model import Agent
from oddoneout.actions import Action
from oddoneout.demos.rollout import Moment
from oddoneout.demos.trajectory import Trajectory
from tests.agents.examples import tiny
from tests.agents.made_up import MadeUp

CONFIG = tiny(image_size=(16, 16))
DATA = MadeUp(6, shortest=5)


@pytest.fixture(scope="module")
def agent() -> Agent:
    torch.manual_seed(0)
    agent = Agent(CONFIG).eval()
    with torch.no_grad():
        agent.policy.weight.normal_(std=0.3)  # far from uniform, so that mistakes show
    return agent


def peek():
    raise AssertionError("an agent must not look at the privileged view")


def moment(slot: int, episode: Trajectory, t: int) -> Moment:
    seen = episode.seen
    return Moment(
        slot=slot,
        image=seen.images[t],
        instruction=seen.instructions[t],
        previous_action=int(seen.actions[t - 1]) if t else None,
        previous_reward=float(seen.rewards[t - 1]) if t else 0.0,
        snapshot=peek,
    )


def watch(policy: AgentPolicy, index: int, slot: int = 0, seed: int = 5):
    """The decisions of a policy that is shown a recorded episode."""
    episode = DATA.episode(index)
    policy.begin(slot, seed)
    return [policy.decide([moment(slot, episode, t)])[0] for t in range(len(episode))]


def test_decisions_are_those_of_the_pass_over_the_whole_episode(agent):
    decisions = watch(AgentPolicy(agent, temperature=0.0), 2)
    batch = collate([DATA.episode(2)], CONFIG, Words(CONFIG.sentence_words))
    with torch.no_grad():
        logits = agent(batch.inputs).logits[0]
    seen = np.stack([decision.probabilities for decision in decisions])
    np.testing.assert_allclose(seen, logits.softmax(-1).numpy(), atol=1e-5)
    assert [decision.action for decision in decisions] == logits.argmax(-1).tolist()
    assert all(decision.label == decision.action for decision in decisions)


@pytest.mark.parametrize(
    "changes",
    [{}, {"deed_layers": 1}, {"forget_vain": True}, {"deed_layers": 1, "forget_vain": True}],
)
def test_an_agent_that_forgets_acts_as_it_was_trained(agent, changes):
    forgetful = Agent(replace(CONFIG, forget_transformed=True, **changes)).eval()
    forgetful.load_state_dict(agent.state_dict(), strict="deed_layers" not in changes)
    episode = MadeUp(1, shortest=40, longest=40).episode(0)
    # Transforms that do something, and one that does not; a choice between them that is settled.
    for step in (10, 20, 32):
        episode.seen.actions[step] = Action.TRANSFORM_TEXTURE
    episode.seen.images[21] = episode.seen.images[20]
    episode.seen.actions[25] = Action.CHOOSE
    episode.seen.images[26:29] = episode.seen.images[25]
    batch = collate([episode], forgetful.config, Words(CONFIG.sentence_words))
    assert batch.inputs.transformed[0, 11]
    assert not batch.inputs.transformed[0, 21]
    assert batch.inputs.settled[0, 28]
    policy = AgentPolicy(forgetful, temperature=0.0)
    policy.begin(0, 0)
    seen = [policy.decide([moment(0, episode, t)])[0].probabilities for t in range(40)]
    with torch.no_grad():
        likely, remembered = (a(batch.inputs).logits[0].softmax(-1) for a in (forgetful, agent))
    np.testing.assert_allclose(np.stack(seen), likely.numpy(), atol=1e-5)
    assert (likely - remembered).abs().max() > 1e-4


def test_a_slot_begun_anew_has_forgotten_its_past(agent):
    policy = AgentPolicy(agent, temperature=1.0)
    watch(policy, 0)
    again = watch(policy, 1)
    fresh = watch(AgentPolicy(agent, temperature=1.0), 1)
    for one, other in zip(again, fresh, strict=True):
        assert (one.action, one.says) == (other.action, other.says)
        np.testing.assert_array_equal(one.probabilities, other.probabilities)


def test_a_slot_begun_anew_may_wait_for_its_first_moment(agent):
    policy = AgentPolicy(agent, temperature=1.0)
    watch(policy, 0)
    policy.begin(1, seed=0)
    policy.begin(0, seed=5)
    assert policy.decide([]) == []
    late = policy.decide([moment(1, DATA.episode(0), 0)])
    late += policy.decide([moment(0, DATA.episode(2), 0)])
    for found, (index, seed) in zip(late, ((0, 0), (2, 5)), strict=True):
        (alone, *_) = watch(AgentPolicy(agent, temperature=1.0), index, seed=seed)
        np.testing.assert_allclose(found.probabilities, alone.probabilities, atol=1e-6)
        assert found.action == alone.action


def test_slots_side_by_side_do_not_see_each_other(agent):
    """Episodes of different lengths in three slots; the shortest makes room for another."""
    policy = AgentPolicy(agent, temperature=1.0)
    playing = {slot: (slot, 0) for slot in range(3)}
    waiting = [3, 4, 5]
    made: dict[int, list] = {i: [] for i in range(6)}
    for slot in playing:
        policy.begin(slot, seed=slot)
    while playing:
        order = sorted(playing, reverse=True)
        decisions = policy.decide(
            [moment(s, DATA.episode(i), t) for s, (i, t) in ((s, playing[s]) for s in order)]
        )
        for slot, decision in zip(order, decisions, strict=True):
            index, t = playing[slot]
            made[index].append(decision)
            playing[slot] = (index, t + 1)
            if t + 1 < len(DATA.episode(index)):
                continue
            del playing[slot]
            if waiting:
                playing[slot] = (waiting.pop(0), 0)
                policy.begin(slot, seed=playing[slot][0])
    for index, decisions in made.items():
        alone = watch(AgentPolicy(agent, temperature=1.0), index, seed=index)
        assert [d.action for d in decisions] == [d.action for d in alone]
        for one, other in zip(decisions, alone, strict=True):
            np.testing.assert_allclose(one.probabilities, other.probabilities, atol=1e-5)


def test_draws_are_a_function_of_the_episodes_seed(agent):
    policy = AgentPolicy(agent, temperature=1.0)
    actions = [[d.action for d in watch(policy, 1, seed=seed)] for seed in (1, 1, 2, 3, 4)]
    assert actions[0] == actions[1]
    assert len({tuple(drawn) for drawn in actions}) > 1


def test_temperature_sharpens_what_is_drawn(agent):
    likely = np.array([0.1, 0.2, 0.7, 0, 0, 0, 0, 0, 0])
    rng = np.random.default_rng(0)
    shares = {}
    for temperature in (0.0, 0.5, 1.0):
        policy = AgentPolicy(agent, temperature)
        drawn = [policy._draw(likely, rng) for _ in range(4000)]
        shares[temperature] = np.bincount(drawn, minlength=9) / 4000
    assert shares[0.0][2] == 1.0
    np.testing.assert_allclose(shares[1.0], likely, atol=0.03)
    np.testing.assert_allclose(shares[0.5], likely**2 / (likely**2).sum(), atol=0.03)
    with pytest.raises(ValueError, match="temperature"):
        AgentPolicy(agent, -1.0)


def test_speaking_changes_nothing_but_the_sentences(agent):
    loud, mute = (watch(AgentPolicy(agent, 1.0, speak=speak), 0) for speak in (True, False))
    assert [d.action for d in loud] == [d.action for d in mute]
    assert all(isinstance(d.says, str) and isinstance(d.foretells, str) for d in loud)
    assert all(d.says is None and d.foretells is None for d in mute)


def test_images_of_another_size_are_refused(agent):
    policy = AgentPolicy(agent)
    policy.begin(0, 0)
    wrong = MadeUp(1, (16, 24)).episode(0)
    with pytest.raises(ValueError, match=r"image_size=\(16, 16\)"):
        policy.decide([moment(0, wrong, 0)])


def test_only_an_agent_of_single_trials_is_told_when_a_trial_ends(agent):
    class Told:
        trial = 0

    forgetful = Agent(replace(CONFIG, trial_memory=True)).eval()
    forgetful.load_state_dict(agent.state_dict())
    policy = AgentPolicy(forgetful, temperature=0.0)
    episode = DATA.episode(0)
    policy.begin(0, 0)
    for t in range(4):
        Told.trial = t // 2
        shown = replace(moment(0, episode, t), snapshot=lambda: Told)
        (after,) = policy.decide([shown])
    fresh = AgentPolicy(agent, temperature=0.0)
    fresh.begin(0, 0)
    for t in (2, 3):
        (alone,) = fresh.decide([moment(0, episode, t)])
    np.testing.assert_allclose(after.probabilities, alone.probabilities, atol=1e-5)


def test_a_checkpoint_becomes_a_policy(tmp_path, agent):
    tensors = {f"agent.{k}": v for k, v in agent.state_dict().items()}
    path = tmp_path / "a.safetensors"
    checkpoint.save(path, tensors, checkpoint.Meta(CONFIG, TrainingConfig()))
    policy = load_policy(path, temperature=0.0)
    assert policy.image_size == (16, 16)
    assert [d.action for d in watch(policy, 3)] == [
        d.action for d in watch(AgentPolicy(agent, 0.0), 3)
    ]
