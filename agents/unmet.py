"""What demonstrations leave open: words that none of their sentences puts together.

Who has never heard of a striped sphere does not know that there are none. Yet each sentence that
calls a sphere dotted says in passing that it is not striped; where stripes are never said of a
sphere, those lessons are never balanced, and a striped sphere will be called anything but striped.
A word that the rest of a sentence has never met can therefore be left out of what competes there.

In the way of logit adjustment (A. K. Menon et al., "Long-tail learning via logit adjustment",
arXiv 2007.07314), with a prior of zero where nothing was ever said.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

from oddoneout.rules import language


def nothing_unmet(vocabulary: int = len(language.VOCABULARY)) -> Tensor:
    """bool (V, V), False: all words compete everywhere."""
    return torch.zeros(vocabulary, vocabulary, dtype=torch.bool)


def unmet(sentences: Iterable[str]) -> Tensor:
    """bool (V, V): values of different dimensions, both said, but in no sentence together.

    Args:
        sentences: all that are said; how often one comes makes no difference.
    """
    kinds = torch.tensor(language.WORD_KINDS)
    values = torch.bincount(kinds, minlength=len(kinds))[kinds] > 1
    met = nothing_unmet()
    for sentence in set(sentences):
        words = torch.from_numpy(language.encode(sentence, language.MAX_WORDS)).long()
        met[words[:, None], words] = True
    said = values & met.diagonal()
    return ~met & (kinds[:, None] != kinds) & said[:, None] & said


def left_open(words: Tensor, apart: Tensor) -> Tensor:
    """Which other words could as well stand, for all that was ever said.

    Args:
        words: int64 (N, W), sentences; anything below 0 is no word.
        apart: bool (V, V), from `unmet`.

    Returns:
        bool (N, W, V): words of the same kind as the one that stands there, which have never met
        one of the others in that sentence. Never that one itself: in a sentence that training
        does not hold, it may not have met them either.
    """
    kinds = torch.tensor(language.WORD_KINDS, device=words.device)
    true = words.clamp_min(0)
    found = apart[true].any(1)[:, None] & (kinds[true][..., None] == kinds)
    return found.scatter(-1, true[..., None], False)
