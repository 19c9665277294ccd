import dataclasses
import math

import pytest
import torch

from agents.batch import IGNORED
from agents.config import TrainingConfig
from agents.losses import action_loss, all_right, losses, mean, naming_losses, summed
from agents.model import Agent, Spelling
from agents.unmet import nothing_unmet
from oddoneout.actions import Action
from oddoneout.rules.language import VALUE_WORDS, VOCABULARY, encode
from tests.agents.examples import random_batch, tiny


@pytest.fixture(scope="module")
def case():
    torch.manual_seed(0)
    agent = Agent(tiny(encoder="parts", reconstruct=True, predict_reward=True)).eval()
    batch = random_batch(agent.config)
    with torch.no_grad():
        return agent(batch), batch


def test_an_undecided_policy_costs_the_logarithm_of_the_actions():
    labels = torch.tensor([[0, 3]])
    everywhere = torch.ones(1, 2, dtype=torch.bool)
    loss = action_loss(torch.zeros(1, 2, 9), labels, everywhere, ~everywhere, TrainingConfig())
    assert loss.item() == pytest.approx(math.log(9))


def test_what_stands_at_padding_counts_nowhere(case):
    outputs, batch = case
    before = losses(outputs, batch, TrainingConfig())
    padding = ~batch.inputs.valid
    spoiled = dataclasses.replace(
        outputs,
        logits=outputs.logits.masked_fill(padding[..., None], 1e4),
        rewards=outputs.rewards.masked_fill(padding, float("nan")),
    )
    after = losses(spoiled, batch, TrainingConfig())
    for field in dataclasses.fields(before):
        assert torch.equal(getattr(before, field.name), getattr(after, field.name)), field.name


def test_ignored_labels_count_nowhere(case):
    outputs, batch = case
    labels = batch.targets.labels.clone()
    labels[1, 3] = IGNORED
    ignoring = dataclasses.replace(batch, targets=dataclasses.replace(batch.targets, labels=labels))
    spoiled = outputs.logits.clone()
    spoiled[1, 3] = 1e4 * torch.arange(spoiled.shape[-1])
    spoiled = dataclasses.replace(outputs, logits=spoiled)
    kept, changed = (losses(o, ignoring, TrainingConfig()) for o in (outputs, spoiled))
    assert torch.equal(kept.action, changed.action)
    assert torch.equal(kept.action_accuracy, changed.action_accuracy)


def test_decisive_steps_weigh_as_told():
    labels = torch.tensor([[Action.FORWARD, Action.CHOOSE]])
    decisive = torch.tensor([[False, True]])
    logits = torch.zeros(1, 2, 9)
    logits[0, 0, Action.FORWARD] = 3.0
    everywhere = torch.ones_like(decisive)
    each = -logits.log_softmax(-1).gather(-1, labels[..., None])[0, :, 0]
    loss = action_loss(logits, labels, everywhere, decisive, TrainingConfig(decisive_weight=4.0))
    assert loss.item() == pytest.approx((each[0] + 4 * each[1]).item() / 5)


def test_label_smoothing_punishes_certainty():
    labels = torch.tensor([[0]])
    logits = 50.0 * torch.nn.functional.one_hot(labels, 9).float()
    everywhere = torch.ones_like(labels, dtype=torch.bool)
    sharp, smooth = (
        action_loss(logits, labels, everywhere, ~everywhere, TrainingConfig(label_smoothing=s))
        for s in (0.0, 0.1)
    )
    assert sharp < 1e-6 < smooth


def spell(*sentences: list[int]) -> list[list[int]]:
    """The words to be said, in one episode in which those sentences stand one after another."""
    agent = Agent(tiny(sentence_words=4)).eval()
    batch = random_batch(agent.config, lengths=(len(sentences),))
    told = 1 + torch.arange(len(sentences))[None]
    told_that = torch.tensor([[0, 0, 0, 0], *sentences])
    nothing = torch.zeros_like(told)
    targets = dataclasses.replace(batch.targets, sentences=told_that, told=told, coming=nothing)
    with torch.no_grad():
        spelling = agent(dataclasses.replace(batch, targets=targets)).spelling
    return spelling.words.tolist()


def test_a_sentence_counts_its_words_and_one_end():
    found = spell([5, 7, 0, 0], [3, 0, 0, 0], [1, 2, 3, 4])
    assert found == [[5, 7, 0, IGNORED], [3, 0, IGNORED, IGNORED], [1, 2, 3, 4]]


def test_what_stands_after_the_end_costs_nothing_and_is_never_wrong():
    words = torch.tensor([[5, 0, IGNORED]])
    logits = torch.zeros(1, 3, 8)
    spoiled = logits.clone()
    spoiled[:, 2] = 1e4 * torch.arange(8)
    first, second = (summed(values, words) for values in (logits, spoiled))
    assert first.item() == second.item() == pytest.approx(2 * math.log(8))
    right = torch.nn.functional.one_hot(torch.tensor([[5, 0, 3]]), 8).float()
    assert all_right(right, words).tolist() == [True]
    assert all_right(right.roll(1, -1), words).tolist() == [False]


def test_the_total_is_the_weighted_sum_and_no_explanations_is_weight_zero(case):
    outputs, batch = case
    config = TrainingConfig(
        explanation_weight=0.5,
        silence_weight=0.2,
        foretell_weight=0.3,
        recollect_weight=0.7,
        naming_weight=0.9,
        reconstruction_weight=3.0,
        reward_weight=2.0,
    )
    result = losses(outputs, batch, config)
    expected = (
        result.action
        + 0.5
        * (
            result.explanation
            + 0.2 * result.silence
            + 0.3 * result.foretelling
            + 0.7 * result.recollection
            + 0.9 * result.naming
        )
        + 3.0 * result.reconstruction
        + 2.0 * result.reward
    )
    assert result.naming > 0.0
    assert result.total.item() == pytest.approx(expected.item())
    without = TrainingConfig(explanation_weight=0.0, reconstruction_weight=0.0, reward_weight=0.0)
    assert torch.equal(losses(outputs, batch, without).total, result.action)


def test_kinds_of_explanation_are_scored_apart(case):
    outputs, batch = case
    spelling = outputs.spelling
    said = spelling.words.clamp_min(0)  # after an end anything may be said
    truth = 100.0 * torch.nn.functional.one_hot(said, spelling.logits.shape[-1])
    right_outcomes = torch.where(spelling.explaining[:, None, None], truth, -truth)
    result = losses(
        dataclasses.replace(outputs, spelling=dataclasses.replace(spelling, logits=right_outcomes)),
        batch,
        TrainingConfig(),
    )
    assert result.outcome_accuracy == 1.0
    assert result.properties_accuracy == 0.0


def naming(named: dict[str, float], *sentences: str, explaining: bool = False, apart=None):
    """Loss and share all right, where words are scored as told and other namable ones 0."""
    words = torch.stack([torch.from_numpy(encode(text, 8)).long() for text in sentences])
    scores = torch.full((len(words), len(VOCABULARY)), -math.inf)
    for name in ("color", "shape", "texture"):
        scores[:, VALUE_WORDS[name]] = 0.0
    for word, score in named.items():
        scores[:, VOCABULARY.index(word)] = score
    spelling = Spelling(
        logits=torch.zeros(*words.shape, len(VOCABULARY)),
        words=words.masked_fill(words == 0, IGNORED),
        explaining=torch.full((len(words),), explaining),
        silent=torch.zeros(0, len(VOCABULARY)),
        foretold=torch.zeros(0, 8, len(VOCABULARY)),
        coming=torch.zeros(0, 8, dtype=torch.long),
        named=scores.requires_grad_(),
    )
    loss, right = naming_losses(spelling, apart)
    loss.backward()
    assert spelling.named.grad.isfinite().all()
    return loss.item(), right.item()


def test_each_value_is_named_among_those_of_its_dimension():
    values = {"color": 12, "shape": 10, "texture": 7}
    for text, of in (
        ("this is a cyan barred cone", ("color", "shape", "texture")),
        ("this is barred", ("texture",)),
        ("this is a large cyan striped cube", ("color", "shape", "texture")),  # no size is named
        ("you face the north wall", ()),
    ):
        loss, _ = naming({}, text)
        assert loss == pytest.approx(sum(math.log(values[name]) for name in of)), text
    known = {"cyan": 50.0, "barred": 50.0, "cone": 50.0}
    assert naming(known, "this is a cyan barred cone") == (pytest.approx(0.0), 1.0)
    wrong = {**known, "ball": 60.0}
    texts = "this is a cyan barred cone", "this is barred"
    assert naming(wrong, *texts) == (pytest.approx(10.0 / 2, rel=1e-3), 0.5)


def test_outcomes_are_not_named():
    assert naming({}, "incorrect others share cyan barred cone", explaining=True) == (0.0, 0.0)


def test_a_value_that_never_stood_with_the_others_does_not_compete_with_the_right_one():
    apart = nothing_unmet()
    ball, cyan = VOCABULARY.index("ball"), VOCABULARY.index("cyan")
    apart[ball, cyan] = apart[cyan, ball] = True
    named = {"cyan": 50.0, "barred": 50.0, "cone": 50.0, "ball": 60.0}
    text = "this is a cyan barred cone"
    assert naming(named, text, apart=apart) == (pytest.approx(0.0), 0.0), "free, and yet wrong"
    assert naming(named, text, apart=nothing_unmet())[0] == pytest.approx(10.0, rel=1e-3)
    held_out = "this is a cyan barred ball"
    assert naming(named, held_out, apart=apart) == (pytest.approx(0.0, abs=1e-3), 1.0), "unmet"


def test_a_batch_without_any_sentence_has_a_loss_and_gradients():
    agent = Agent(tiny(encoder="parts"))
    batch = random_batch(agent.config)
    silent = dataclasses.replace(
        batch,
        targets=dataclasses.replace(batch.targets, told=torch.zeros_like(batch.targets.told)),
    )
    result = losses(agent(silent), silent, TrainingConfig())
    result.total.backward()
    assert result.explanation == 0.0
    assert math.isfinite(result.total.item())


def test_a_batch_full_of_sentences_has_a_loss():
    agent = Agent(tiny())
    batch = random_batch(agent.config)
    told = torch.where(batch.inputs.valid, 1, 0)
    full = dataclasses.replace(batch, targets=dataclasses.replace(batch.targets, told=told))
    result = losses(agent(full), full, TrainingConfig())
    result.total.backward()
    assert result.silence == 0.0


def test_losses_want_a_spelling(case):
    outputs, batch = case
    with pytest.raises(ValueError, match="Batch"):
        losses(dataclasses.replace(outputs, spelling=None), batch, TrainingConfig())


def test_the_mean_of_nothing_is_zero():
    nothing = torch.zeros(3, dtype=torch.bool)
    assert mean(torch.full((3,), float("nan")), nothing) == 0.0
