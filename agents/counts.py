"""How many elements each mean of `agents.losses` is over.

With them, batches that are shares of a bigger one (of other processes, or of accumulated
passes) add up to the loss, and the accuracies, of the whole.
"""

from collections.abc import Mapping
from dataclasses import fields

import torch
from torch import Tensor

from agents.batch import Batch
from agents.config import TrainingConfig
from agents.losses import Losses, decisive_steps, weighted
from agents.model import Outputs

#: Every scalar of `Losses` but the total, in the order of `counts`.
NAMES: tuple[str, ...] = tuple(f.name for f in fields(Losses) if f.name != "total")


def counts(batch: Batch, config: TrainingConfig) -> Tensor:
    """Float64 (len(NAMES),): the weight of each of the batch's means in those of the whole."""
    actions, decisive = batch.imitated.sum(), decisive_steps(batch).sum()
    during = (batch.spoken & ~batch.targets.explaining).sum()
    after = (batch.spoken & batch.targets.explaining).sum()
    foretold, searching = batch.awaiting.sum(), batch.searching.sum()
    silent, frames = batch.silent.sum(), batch.inputs.valid.sum()
    found = {
        "action": actions + (config.decisive_weight - 1.0) * decisive,
        "explanation": during + after,
        "silence": silent,
        "foretelling": foretold,
        "recollection": searching,
        "naming": during,
        "reconstruction": frames,
        "reward": frames,
        "action_accuracy": actions,
        "decisive_accuracy": decisive,
        "properties_accuracy": during,
        "outcome_accuracy": after,
        "foretelling_accuracy": foretold,
        "recollection_accuracy": searching,
        "silence_accuracy": silent,
        "naming_accuracy": during,
    }
    return torch.stack([found[name].double() for name in NAMES])


def measured(losses: Losses, outputs: Outputs) -> Mapping[str, Tensor]:
    """The means that say something, in the order of `NAMES`: an agent may lack a head, and its
    encoder have nothing to name."""
    spelling = outputs.spelling
    heads = {
        ("naming", "naming_accuracy"): spelling and spelling.named,
        ("recollection", "recollection_accuracy"): spelling and spelling.recollected,
        ("reconstruction",): outputs.images,
        ("reward",): outputs.rewards,
    }
    absent = {name for names, found in heads.items() if found is None for name in names}
    return {name: getattr(losses, name) for name in NAMES if name not in absent}


def named(values: Tensor) -> Mapping[str, Tensor]:
    """One scalar per name, from a vector in the order of `NAMES`."""
    return dict(zip(NAMES, values, strict=True))


def part(losses: Losses, shares: Mapping[str, Tensor], config: TrainingConfig) -> Tensor:
    """What this batch adds to the total loss of the whole.

    Args:
        losses: of the batch.
        shares: the batch's counts over those of the whole.
        config: the weights.
    """

    terms: dict[str, Tensor] = {name: getattr(losses, name) for name in NAMES}
    return weighted({n: term * shares[n].to(term.dtype) for n, term in terms.items()}, config)
