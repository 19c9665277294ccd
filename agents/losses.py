"""What is minimized: plain functions of predictions, targets and masks.

Nothing is ever lost or gained at padding. Every mean is over the elements that count; where
none does it is zero, with a gradient of zero.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from agents.batch import IGNORED, Batch
from agents.config import TrainingConfig
from agents.encoder import Redrawer
from agents.model import Outputs, Spelling
from agents.unmet import left_open
from oddoneout.actions import TRANSFORMS, Action
from oddoneout.rules.language import WORD_KINDS

#: The actions that decide a trial: rare, and worth more than a step of walking.
DECISIVE: tuple[Action, ...] = (Action.CHOOSE, *TRANSFORMS)


@dataclass(frozen=True, slots=True)
class Losses:
    """Scalars of one batch. Only `total` is weighted; training weighs the terms of a batch's shares
    itself (`agents.counts`), so that each of them needs its gradient.

    Attributes:
        total: the weighted sum, of this batch alone.
        action: cross-entropy of the labels.
        explanation: cross-entropy per standing sentence, summed over its words.
        silence: cross-entropy of saying nothing where nothing stands.
        foretelling: cross-entropy per outcome to come, at every step of its search.
        recollection: cross-entropy per step of a search, summed over all words, 0 without that
            head.
        naming: cross-entropy per description, summed over the values that the encoder names by
            itself, 0 where it names none.
        reconstruction: mean squared error of redrawn images, 0 without that head.
        reward: mean squared error of predicted rewards, 0 without that head.
        action_accuracy: share of labels that are the likeliest action.
        decisive_accuracy: the same where the label is to choose or transform.
        properties_accuracy: share of sentences during the search with every word predicted.
        outcome_accuracy: the same after a choice.
        foretelling_accuracy: share of outcomes to come with every word predicted.
        recollection_accuracy: share of a search's steps at which it is known of every word how
            often it was said.
        silence_accuracy: share of silent steps at which nothing would be said.
        naming_accuracy: share of descriptions of which the encoder names every value right.
    """

    total: Tensor
    action: Tensor
    explanation: Tensor
    silence: Tensor
    foretelling: Tensor
    recollection: Tensor
    naming: Tensor
    reconstruction: Tensor
    reward: Tensor
    action_accuracy: Tensor
    decisive_accuracy: Tensor
    properties_accuracy: Tensor
    outcome_accuracy: Tensor
    foretelling_accuracy: Tensor
    recollection_accuracy: Tensor
    silence_accuracy: Tensor
    naming_accuracy: Tensor


def decisive_steps(batch: Batch) -> Tensor:
    """bool (B, T): the steps to imitate at which a trial is decided."""
    labels = batch.targets.labels
    return batch.imitated & torch.isin(labels, labels.new_tensor(DECISIVE))


def losses(outputs: Outputs, batch: Batch, config: TrainingConfig) -> Losses:
    """All losses of a batch.

    Args:
        outputs: of `Agent.forward(batch)`.
        batch: the same batch.
        config: reads the weights and the label smoothing.
    """
    spelling = outputs.spelling
    if spelling is None:
        raise ValueError("outputs carry no spelling: call the agent with a Batch, not Inputs")
    labels, imitated, decisive = batch.targets.labels, batch.imitated, decisive_steps(batch)
    right = outputs.logits.argmax(-1) == labels

    apart = batch.targets.apart if config.leave_open else None
    explanation, silence = explanation_losses(spelling, apart)
    recollection, recollected = recollection_losses(spelling)
    naming, named = naming_losses(spelling, apart)
    terms = {
        "action": action_loss(outputs.logits, labels, imitated, decisive, config),
        "explanation": explanation,
        "silence": silence,
        "foretelling": spelled_loss(spelling.foretold, spelling.coming, apart),
        "recollection": recollection,
        "naming": naming,
        "reconstruction": reconstruction_loss(outputs, batch),
        "reward": reward_loss(outputs, batch),
    }
    spelled = all_right(spelling.logits, spelling.words)
    outcome = spelling.explaining
    return Losses(
        **terms,
        total=weighted(terms, config),
        action_accuracy=mean(right, imitated),
        decisive_accuracy=mean(right, decisive),
        properties_accuracy=mean(spelled, ~outcome),
        outcome_accuracy=mean(spelled, outcome),
        foretelling_accuracy=all_right(spelling.foretold, spelling.coming).float().sum()
        / max(1, len(spelling.coming)),
        recollection_accuracy=recollected,
        silence_accuracy=spelling.silent.argmax(-1).eq(0).float().sum()
        / max(1, len(spelling.silent)),
        naming_accuracy=named,
    )


def weighted(terms: Mapping[str, Tensor], config: TrainingConfig) -> Tensor:
    """What is minimized, of the terms of `Losses` by name, or of a batch's shares of them."""
    told = (
        terms["explanation"]
        + config.silence_weight * terms["silence"]
        + config.foretell_weight * terms["foretelling"]
        + config.recollect_weight * terms["recollection"]
        + config.naming_weight * terms["naming"]
    )
    return (
        terms["action"]
        + config.explanation_weight * told
        + config.reconstruction_weight * terms["reconstruction"]
        + config.reward_weight * terms["reward"]
    )


def action_loss(
    logits: Tensor, labels: Tensor, imitated: Tensor, decisive: Tensor, config: TrainingConfig
) -> Tensor:
    """Cross-entropy (B, T, A) against (B, T), averaged with weights over the imitated steps."""
    each = F.cross_entropy(
        logits.flatten(0, 1),
        torch.where(imitated, labels, 0).flatten(),
        label_smoothing=config.label_smoothing,
        reduction="none",
    )
    weights = imitated + (config.decisive_weight - 1.0) * decisive
    return (each.view_as(weights) * weights).sum() / weights.sum().clamp_min(1e-6)


def all_right(scores: Tensor, truth: Tensor) -> Tensor:
    """bool (N,): of every row's scores (N, M, K) the truth (N, M) is the likeliest."""
    return ((scores.argmax(-1) == truth) | (truth == IGNORED)).all(-1)


def summed(scores: Tensor, truth: Tensor) -> Tensor:
    """Cross-entropy (N, M, K) against (N, M) per row, of all that stands in it.

    A sentence's words are summed, not averaged: the few words that say something must not be
    diluted by those that every sentence shares.
    """
    each = F.cross_entropy(
        scores.float().flatten(0, 1), truth.flatten(), ignore_index=IGNORED, reduction="sum"
    )
    return each / max(1, len(truth))


def spelled_loss(scores: Tensor, words: Tensor, apart: Tensor | None) -> Tensor:
    """`summed`, but for words that are left open: scores (N, W, V), words (N, W), apart (V, V)."""
    if apart is None:
        return summed(scores, words)
    return summed(scores.masked_fill(left_open(words, apart), -torch.inf), words)


def explanation_losses(spelling: Spelling, apart: Tensor | None) -> tuple[Tensor, Tensor]:
    """Per sentence where one stands, and of the immediate end where none does."""
    silent = spelling.silent.float()
    silence = F.cross_entropy(
        silent, torch.zeros(len(silent), dtype=torch.int64, device=silent.device), reduction="sum"
    ) / max(1, len(silent))
    return spelled_loss(spelling.logits, spelling.words, apart), silence


def recollection_losses(spelling: Spelling) -> tuple[Tensor, Tensor]:
    """Cross-entropy (R, V, KINDS) against (R, V) per step, and the share of steps all right."""
    logits, said = spelling.recollected, spelling.said
    if logits is None or said is None:
        zero = spelling.logits.new_zeros((), dtype=torch.float32)
        return zero, zero
    return summed(logits, said), all_right(logits, said).float().sum() / max(1, len(said))


def naming_losses(spelling: Spelling, apart: Tensor | None) -> tuple[Tensor, Tensor]:
    """Of the values that an encoder names: their cross-entropy per description, each among the
    words of its kind, and the share of descriptions with all right."""
    if spelling.named is None:
        zero = spelling.logits.new_zeros((), dtype=torch.float32)
        return zero, zero
    described = ~spelling.explaining
    words, scores = spelling.words[described], spelling.named[described]
    kinds = torch.tensor(WORD_KINDS, device=words.device)
    true = words.clamp_min(0)
    told = scores.gather(1, true).isfinite() & (words != IGNORED)  # a value that can be named
    each = scores[:, None].masked_fill(kinds[true][..., None] != kinds, -torch.inf)[told]
    right = torch.ones_like(told).masked_scatter(told, each.argmax(-1) == true[told])
    if apart is not None:
        each = each.masked_fill(left_open(words, apart)[told], -torch.inf)
    loss = F.cross_entropy(each, true[told], reduction="sum") / max(1, len(words))
    return loss, right.all(-1).float().sum() / max(1, len(words))


def reconstruction_loss(outputs: Outputs, batch: Batch) -> Tensor:
    """Mean squared error of the redrawn images against the shrunk observations, in [0, 1]."""
    if outputs.images is None:
        return outputs.logits.new_zeros(())
    truth = batch.inputs.images.permute(0, 3, 1, 2).float() / 255.0
    truth = F.avg_pool2d(truth, Redrawer.SHRUNK)
    return F.mse_loss(outputs.images, truth)


def reward_loss(outputs: Outputs, batch: Batch) -> Tensor:
    """Mean squared error of the predicted rewards over valid steps."""
    if outputs.rewards is None:
        return outputs.logits.new_zeros(())
    return mean((outputs.rewards - batch.targets.rewards).square(), batch.inputs.valid)


def mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of the values where the mask is True; 0 where it never is."""
    # Not values * mask: what stands at padding may be anything, even not a number.
    kept = torch.where(mask, values.float(), 0.0)
    return kept.sum() / mask.sum().clamp_min(1)
