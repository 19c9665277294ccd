import dataclasses
from typing import get_args

import pytest
import torch

from agents.batch import Batch, Inputs
from agents.config import AgentConfig, Encoder, TrainingConfig
from agents.losses import losses
from agents.model import Agent, Decoder
from oddoneout.actions import Action
from oddoneout.rules import language
from tests.agents.examples import random_batch, tiny


def agent_of(**overrides):
    torch.manual_seed(0)
    return Agent(tiny(**overrides)).eval()


def test_outputs_have_one_row_per_step():
    agent = agent_of(reconstruct=True, predict_reward=True)
    batch = random_batch(agent.config)
    outputs = agent(batch)
    rows, steps = batch.targets.labels.shape
    assert outputs.logits.shape == (rows, steps, agent.config.actions)
    assert outputs.states.shape == (rows, steps, agent.config.width)
    assert outputs.features.shape == (batch.frames, agent.config.width)
    assert outputs.images.shape[0] == batch.frames
    assert outputs.rewards.shape == (rows, steps)
    spoken = int((batch.targets.told > 0).sum())
    words, vocabulary = agent.config.sentence_words, agent.config.vocabulary
    assert outputs.spelling.logits.shape == (spoken, words, vocabulary)
    assert outputs.spelling.silent.shape == (batch.frames - spoken, vocabulary)


@torch.no_grad()
def test_actions_and_states_do_not_depend_on_explanations():
    agent = agent_of()
    batch = random_batch(agent.config)
    others = random_batch(agent.config, seed=1).targets
    told, untold = agent(batch), agent(batch.inputs)
    retold = agent(Batch(batch.inputs, others))
    for outputs in (untold, retold):
        assert torch.equal(told.logits, outputs.logits)
        assert torch.equal(told.states, outputs.states)


@torch.no_grad()
def test_padding_changes_nothing():
    agent = agent_of()
    batch = random_batch(agent.config, lengths=(9, 14, 5))
    logits = agent(batch.inputs).logits
    first = 0
    for row, length in enumerate((9, 14, 5)):
        kept = {
            field.name: getattr(batch.inputs, field.name)[row : row + 1]
            for field in dataclasses.fields(batch.inputs)
        }
        for name in ("instructions", "previous_actions", "previous_rewards", "trials"):
            kept[name] = kept[name][:, :length]
        kept["images"] = batch.inputs.images[first : first + length]
        first += length
        alone = agent(dataclasses.replace(batch.inputs, **kept)).logits
        torch.testing.assert_close(alone[0], logits[row, :length], rtol=1e-4, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("forget", [(), ("transformed",), ("transformed", "vain")])
@pytest.mark.parametrize("deeds", [0, 1])
def test_acting_step_by_step_equals_the_whole_pass(forget, deeds):
    agent = agent_of(deed_layers=deeds, **{f"forget_{what}": True for what in forget})
    inputs = random_batch(agent.config, lengths=(12, 12)).inputs
    whole = agent(inputs)
    images = inputs.images.unflatten(0, (2, 12))
    cache = agent.begin(2)
    for t in range(12):
        logits, states, cache = agent.step(
            images[:, t],
            inputs.instructions[:, t],
            inputs.previous_actions[:, t],
            inputs.previous_rewards[:, t],
            inputs.transformed[:, t],
            inputs.changed[:, t],
            inputs.settled[:, t],
            cache,
        )
        torch.testing.assert_close(logits, whole.logits[:, t], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(states, whole.states[:, t], rtol=1e-4, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize(
    "field", ["images", "instructions", "previous_actions", "previous_rewards"]
)
def test_every_input_matters(field):
    agent = agent_of()
    inputs = random_batch(agent.config).inputs
    other = random_batch(agent.config, seed=1).inputs
    changed = dataclasses.replace(inputs, **{field: getattr(other, field)})
    assert not torch.allclose(agent(inputs).states, agent(changed).states, atol=1e-3)


def one_room_and_the_next(config: AgentConfig, action: Action = Action.TRANSFORM_COLOR) -> Inputs:
    """Twelve steps: something is transformed by the fourth, and the room settled by the ninth."""
    inputs = random_batch(config, lengths=(12,)).inputs
    steps = torch.arange(12)[None]
    return dataclasses.replace(
        inputs,
        previous_actions=torch.where(steps == 4, int(action), int(Action.FORWARD)),
        transformed=steps == 4,
        changed=(steps >= 4) & (steps <= 9),
        settled=steps == 9,
    )


@torch.no_grad()
@pytest.mark.parametrize("forget", [False, True])
def test_who_forgets_transforms_is_told_what_they_were_once_the_room_has_ended(forget):
    agent = agent_of(deed_layers=1, forget_transformed=forget)
    agent.memory.deeds.given.weight.normal_()  # at first next to nothing comes from there
    one, other = (
        agent(one_room_and_the_next(agent.config, action)).logits
        for action in (Action.TRANSFORM_COLOR, Action.TRANSFORM_SHAPE)
    )
    told = 10 if forget else 4
    assert torch.equal(one[:, :told], other[:, :told])
    assert not torch.isclose(one[:, told:], other[:, told:]).all(-1).any()


@torch.no_grad()
@pytest.mark.parametrize("deeds", [0, 1])
def test_who_forgets_at_vain_transforms_has_not_seen_what_was_before(deeds):
    agent = agent_of(deed_layers=deeds, forget_transformed=True, forget_vain=True)
    inputs = one_room_and_the_next(agent.config)
    vain = dataclasses.replace(
        inputs,
        transformed=torch.zeros_like(inputs.transformed),
        changed=torch.zeros_like(inputs.changed),
    )
    other = vain.images.clone()
    other[:4] = random_batch(agent.config, lengths=(12,), seed=1).inputs.images[:4]
    one, two = (agent(dataclasses.replace(vain, images=of)).logits for of in (vain.images, other))
    assert torch.equal(one[:, 4:], two[:, 4:])
    assert not torch.isclose(one[:, :4], two[:, :4]).all(-1).any()


@torch.no_grad()
def test_who_forgets_at_vain_transforms_is_still_told_which_were_real_once_the_room_has_ended():
    """Two transforms of different dimensions, of which one, or the other, did nothing."""
    agent = agent_of(deed_layers=1, forget_transformed=True, forget_vain=True)
    agent.memory.deeds.given.weight.normal_()
    inputs = one_room_and_the_next(agent.config)
    inputs.previous_actions[0, 6] = int(Action.TRANSFORM_SHAPE)
    steps = torch.arange(12)[None]
    one, other = (
        agent(dataclasses.replace(inputs, transformed=steps == real)).logits for real in (4, 6)
    )
    assert torch.equal(one[:, :10], other[:, :10]), "the same has been forgotten"
    assert not torch.isclose(one[:, 10:], other[:, 10:]).all(-1).any()


@torch.no_grad()
def test_a_transform_looks_like_a_lapse_but_for_the_room_being_changed():
    agent = agent_of(deed_layers=1, forget_transformed=True)
    inputs = one_room_and_the_next(agent.config)
    moved = torch.full_like(inputs.previous_actions, int(Action.FORWARD))
    lapse = dataclasses.replace(inputs, previous_actions=moved)
    assert torch.equal(agent(inputs).logits[:, :10], agent(lapse).logits[:, :10])
    agent.changed.normal_()
    unchanged = dataclasses.replace(inputs, changed=torch.zeros_like(inputs.changed))
    same = torch.isclose(agent(inputs).logits, agent(unchanged).logits).all(-1)[0]
    assert same.tolist() == [step < 4 or step > 9 for step in range(12)]


@torch.no_grad()
def test_the_memory_of_deeds_never_gets_a_picture():
    agent = agent_of(deed_layers=1)
    inputs = random_batch(agent.config).inputs
    other = dataclasses.replace(inputs, images=random_batch(agent.config, seed=1).inputs.images)
    deeds: list[torch.Tensor] = []
    agent.memory.deeds.register_forward_hook(lambda *call: deeds.append(call[-1]))
    assert not torch.allclose(agent(inputs).states, agent(other).states, atol=1e-3)
    assert torch.equal(*deeds)


@pytest.mark.parametrize(
    "memory", [{}, {"deed_layers": 1}, {"deed_layers": 1, "forget_transformed": True}]
)
@pytest.mark.parametrize("encoder", get_args(Encoder))
def test_gradients_reach_every_parameter(encoder, memory):
    auxiliary = {"reconstruct": True, "predict_reward": True}
    agent = agent_of(encoder=encoder, image_size=(32, 32), **memory, **auxiliary)
    batch = random_batch(agent.config)
    losses(agent(batch), batch, TrainingConfig()).total.backward()
    still = [
        name
        for name, parameter in agent.named_parameters()
        if parameter.grad is None or parameter.grad.abs().max() == 0
    ]
    assert still == []


def test_explanations_alone_teach_the_encoder():
    agent = agent_of()
    batch = random_batch(agent.config)
    result = losses(agent(batch), batch, TrainingConfig())
    result.explanation.backward()
    assert all(p.grad.abs().max() > 0 for p in agent.encoder.parameters())
    assert agent.policy.weight.grad is None


def test_one_batch_is_learnt_by_heart_and_then_spoken():
    agent = agent_of(predict_reward=True).train()
    batch = random_batch(agent.config)
    training = TrainingConfig(explanation_weight=1.0, silence_weight=1.0)
    optimizer = torch.optim.AdamW(agent.parameters(), lr=3e-3)
    for _ in range(150):
        result = losses(agent(batch), batch, training)
        optimizer.zero_grad()
        result.total.backward()
        torch.nn.utils.clip_grad_norm_(agent.parameters(), 1.0)
        optimizer.step()
    assert result.total < 0.1
    assert result.action_accuracy == result.silence_accuracy == 1.0
    with torch.no_grad():
        states = agent.eval()(batch.inputs).states
    valid = batch.inputs.valid
    said, _ = agent.speak(states[valid])
    assert torch.equal(said, batch.targets.sentences[batch.targets.told[valid]])


def test_nothing_is_said_after_the_end():
    agent = agent_of()
    said = agent.speak(torch.randn(50, agent.config.width, generator=torch.Generator()))
    assert said.shape == (2, 50, agent.config.sentence_words)
    ended = (said == 0).cummax(dim=2).values
    assert said[ended].eq(0).all()


def test_autocast_agrees_roughly_with_float32():
    agent = agent_of()
    batch = random_batch(agent.config)
    exact = losses(agent(batch), batch, TrainingConfig()).total
    with torch.autocast("cpu", torch.bfloat16):
        outputs = agent(batch)
    rough = losses(outputs, batch, TrainingConfig()).total
    assert outputs.logits.dtype == rough.dtype == torch.float32
    assert (exact - rough).abs() < 0.02 * exact


def test_the_first_policy_is_nearly_uniform():
    agent = agent_of()
    odds = agent(random_batch(agent.config).inputs).logits.softmax(-1)
    assert odds.max() < 0.2


def test_batches_move_as_a_whole():
    batch = random_batch(tiny()).to("meta")
    assert batch.inputs.images.device.type == batch.targets.sentences.device.type == "meta"


@pytest.mark.parametrize("compositional", [True, False])
def test_a_compositional_decoder_lets_no_value_depend_on_another(compositional):
    torch.manual_seed(0)
    config = tiny(compositional=compositional)
    decoder = Decoder(config)
    texts = ("this is a red striped cube", "this is a blue solid ball")
    ids = [language.encode(text, config.sentence_words) for text in texts]
    sentences = torch.stack([torch.from_numpy(row).long() for row in ids])
    content = torch.randn(1, config.decoder_width).expand(2, -1)
    red, blue = decoder(content, sentences, torch.arange(2))
    # What follows a color, a texture, a shape, whichever they were.
    assert torch.equal(red, blue) == compositional
    assert torch.equal(red[:4], blue[:4])
