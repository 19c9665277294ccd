"""Values renamed: striped things become dotted ones, and whoever speaks of them says so.

A memory that learns from some combinations of values only comes to expect these: of what its
encoder calls a swirled ring, though not for certain, it will say that it is striped, if rings were
never swirled. Where an encoder passes on the words that it would say, and is no longer trained
(`PartsEncoder` in the stage of features), values can change their names: in every batch each of a
dimension's takes another's, in what is seen and in what is said. Every combination of names then
comes as often as any other, and what is left to learn is what does not depend on names.

After B. M. Lake & M. Baroni, "Human-like systematic generalization through a meta-learning neural
network", Nature 623, 2023, where words mean something else in every episode.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from agents.batch import Inputs, Targets
from agents.encoder import PartsEncoder


@dataclass(frozen=True, slots=True)
class _Dimension:
    """Which part of the features holds a dimension's words, and how.

    Attributes:
        where: the features that are the words' vectors, as likely as each word is.
        words: int64 (K,), ids.
        symbols: float32 (K, D), the words' vectors.
        read: float32 (D, K), from features to how likely each word is.
    """

    where: slice
    words: Tensor
    symbols: Tensor
    read: Tensor


class Renaming:
    """Renames the values of whole batches of features.

    Args:
        encoder: has made the features and stays as it is.

    Raises:
        ValueError: for an encoder that names nothing, or whose words' vectors are so short that
            how likely each word is cannot be read from them.
    """

    def __init__(self, encoder: torch.nn.Module) -> None:
        if not isinstance(encoder, PartsEncoder):
            raise ValueError("rename is for an encoder that names what it sees: 'parts'")
        self._dimensions: list[_Dimension] = []
        for where, words, vectors in encoder.spoken():
            symbols = vectors.detach().float().cpu()
            if symbols.shape[0] > symbols.shape[1]:
                least = PartsEncoder.SHARE * len(words)
                raise ValueError(
                    f"{len(words)} words in vectors of {symbols.shape[1]} cannot be told apart, "
                    f"and so not be renamed: width must be {least} or more"
                )
            read = torch.linalg.pinv(symbols)
            self._dimensions.append(_Dimension(where, words.cpu(), symbols, read))

    def __call__(self, inputs: Inputs, targets: Targets, seed: int) -> tuple[Inputs, Targets]:
        """A batch with its values renamed, in its features and in its sentences.

        Args:
            inputs: on the CPU; the images are features (F, width).
            targets: of the same batch.
            seed: decides which value takes which name.
        """
        rng = np.random.default_rng(seed)
        names = torch.arange(len(targets.apart))
        features = inputs.images.to(torch.float32, copy=True)
        for dimension in self._dimensions:
            order = torch.from_numpy(rng.permutation(len(dimension.words)))
            names[dimension.words] = dimension.words[order]
            turn = dimension.read @ dimension.symbols[order]
            features[:, dimension.where] = features[:, dimension.where] @ turn
        apart = torch.empty_like(targets.apart)
        apart[names[:, None], names] = targets.apart
        told = replace(targets, sentences=names[targets.sentences], apart=apart)
        return replace(inputs, images=features), told
