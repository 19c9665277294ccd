"""What has been said so far in a trial, as a target: memory taught by the explanations themselves.

To be odd is to be the only one of its kind: the words of an odd object's odd value stand in one
description of its trial and in no other. Whoever knows which words were said once, and which in
several descriptions, knows what is odd. That is asked at every step of a search, long before an
outcome tells whether it was understood; it is worked out from the sentences that the agent is
trained to predict anyway, and from nothing else.
"""

from typing import Final

from torch import Tensor

from agents.batch import Batch

#: A word has stood in no sentence of the trial so far, in one, or in several different ones.
KINDS: Final = 3


def recollections(
    batch: Batch, vocabulary: int, known: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """At which steps to recollect, and what.

    Args:
        batch: whole episodes, or parts of them.
        vocabulary: number of words.
        known: bool (B, T, T), at which step which earlier one is still known (see
            `agents.memory.remembered`); None: all.

    Returns:
        bool (B, T), the steps of searches; and of those N steps, row by row, int64 (N,
        vocabulary): in how many different sentences of the trial's search each word has stood up
        to and with that step, counted to ``KINDS`` - 1; of those that are still known.
    """
    told, trials = batch.targets.told, batch.inputs.trials
    searching = batch.searching
    heard = searching & (told > 0)
    so_far = (trials[:, :, None] == trials[:, None, :]).tril()  # of each step's trial
    if known is not None:
        so_far &= known
    same = so_far & (told[:, :, None] == told[:, None, :]) & heard[:, None, :]
    again = same.tril(-1).any(-1)
    words = batch.targets.sentences
    bags = words.new_zeros(len(words), vocabulary).scatter_(1, words, 1)
    bags[:, 0] = 0
    said = bags[told] * (heard & ~again)[..., None]
    counts = (so_far.float() @ said.float()).long().clamp(max=KINDS - 1)
    return searching, counts[searching]
