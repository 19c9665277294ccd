"""What has been said so far, as a target: memory taught by the explanations themselves.

To be odd is to be the only one of its kind: the words of an odd object's odd value stand in one
description of its trial and in no other. Whoever knows which words were said once, and which in
several descriptions, knows what is odd. Whoever knows which outcomes earlier trials had knows
what matters, as far as it can be known. Both are asked at every step of a search, long before an
outcome tells whether they were understood; they are worked out from the sentences that the agent
is trained to predict anyway, and from nothing else.
"""

from typing import Final

import torch
from torch import Tensor

from agents.batch import IGNORED, Batch
from oddoneout.rules.language import WORD_KINDS

#: A word has stood in no sentence, in one, or in several different ones.
KINDS: Final = 3
#: What is asked of every word: how often it was said of this trial, and how earlier ones ended.
QUESTIONS: Final = 2


def recollections(batch: Batch, vocabulary: int) -> tuple[Tensor, Tensor]:
    """At which steps to recollect, and what.

    Args:
        batch: whole episodes, or parts of them.
        vocabulary: number of words.

    Returns:
        bool (B, T), the steps of searches; and of those N steps, row by row, int64 (N,
        QUESTIONS x vocabulary): in how many different sentences of the trial's search each word
        has stood up to and with that step, then in the outcomes of how many earlier trials,
        counted to ``KINDS`` - 1. `IGNORED` for words that do not count; in outcomes the values of
        objects do not: they are gone.
    """
    told, trials, explaining = batch.targets.told, batch.inputs.trials, batch.targets.explaining
    searching = batch.searching
    heard = batch.inputs.valid & (told > 0)
    words = batch.targets.sentences
    bags = words.new_zeros(len(words), vocabulary).scatter_(1, words, 1)
    bags[:, 0] = 0
    together = trials[:, :, None] == trials[:, None, :]
    same = together & (told[:, :, None] == told[:, None, :]) & heard[:, None, :]
    # A sentence counts where it is new to its trial.
    said = (bags[told] * (heard & ~same.tril(-1).any(-1))[..., None]).float()
    of_this = (together.tril() & searching[:, None, :]).float() @ said
    of_earlier = (~together.tril() & explaining[:, None, :]).tril().float() @ said
    counts = torch.cat((of_this, of_earlier), dim=-1).long().clamp(max=KINDS - 1)
    uncounted = batch.targets.uncounted
    uncounted = torch.cat((uncounted, uncounted | _values(vocabulary, words.device)), dim=-1)
    return searching, counts.masked_fill(uncounted[:, None], IGNORED)[searching]


def _values(vocabulary: int, device: torch.device) -> Tensor:
    """bool (V,): words that share their kind with others."""
    kinds = torch.tensor(WORD_KINDS[:vocabulary], device=device)
    return torch.bincount(kinds)[kinds] > 1
