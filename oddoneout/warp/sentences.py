"""What is said in many rooms, put into words only when somebody reads it."""

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any, Final, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from oddoneout.rules.attributes import VALUES
from oddoneout.rules.language import (
    INSTRUCTIONS,
    MAX_WORDS,
    WALLS,
    Explanation,
    Outcome,
    Properties,
    Surroundings,
    encode,
    sentence,
)
from oddoneout.rules.trial import Phase
from oddoneout.warp.rules import CORRECT, PROPERTIES, SILENCE, SURROUNDINGS, UNSAID
from oddoneout.warp.script import DIMENSIONS, MODES

_Code: TypeAlias = tuple[int, ...]
_PHASES: Final = tuple(Phase)


class Texts(Sequence[str | None]):
    """A text for each room, read like an array of strings.

    Nothing leaves the device until one is read; then all are fetched at once.

    Attributes:
        codes: int (N, columns), on the device: what ``read`` makes texts of.

    Args:
        codes: the attribute.
        read: a row of codes -> the text.
        mask: bool (N,); None stands where it is not set. None: all are there.
    """

    def __init__(
        self, codes: Tensor, read: Callable[[_Code], str], mask: Tensor | None = None
    ) -> None:
        self.codes = codes
        self._read = read
        self._mask = None if mask is None else mask.clone()  # the caller's may be changed
        self._rows: list[_Code | None] | None = None

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return list(self)[index]
        if isinstance(index, int | np.integer):
            return self._text(self._fetched()[index])
        return np.asarray(self)[index.cpu().numpy() if isinstance(index, Tensor) else index]

    def __iter__(self) -> Iterator[str | None]:
        return map(self._text, self._fetched())

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[np.object_]:
        return np.array(list(self), object)

    def __repr__(self) -> str:
        return f"Texts({list(self)!r})"

    @property
    def ids(self) -> Tensor:
        """Token ids, int32 (N, ``MAX_WORDS``), padded with 0, on the device.

        Raises:
            ValueError: for texts in other words than those of ``rules.language``.
        """
        rows = np.stack([_ids(text or "") for text in self])
        return torch.from_numpy(rows).to(self.codes.device)

    def _text(self, row: _Code | None) -> str | None:
        return None if row is None else self._read(row)

    def _fetched(self) -> list[_Code | None]:
        if self._rows is None:
            rows = [tuple(row) for row in self.codes.tolist()]
            there = [True] * len(rows) if self._mask is None else self._mask.tolist()
            self._rows = [row if here else None for row, here in zip(rows, there, strict=True)]
        return self._rows


def instruction(row: _Code) -> str:
    """The instruction of a mode, given by its position in ``Mode``."""
    return INSTRUCTIONS[MODES[row[0]]]


def phase(row: _Code) -> str:
    """The name of a phase, given by its position in ``Phase``."""
    return _PHASES[row[0]].value


@lru_cache(maxsize=65536)
def explanation(row: _Code) -> str:
    """The sentence that a row of ``rules.utterances`` is about, "" for silence."""
    kind, *values, matters = row
    if kind == SILENCE:
        return ""
    meant: Explanation
    if kind == SURROUNDINGS:
        meant = Surroundings(WALLS[matters])
    else:
        named = tuple(
            VALUES[d][value] for d, value in zip(DIMENSIONS, values, strict=True) if value != UNSAID
        )
        if kind == PROPERTIES:
            meant = Properties(named)
        else:
            dimension = None if matters == UNSAID else DIMENSIONS[matters]
            meant = Outcome(kind == CORRECT, named, dimension)
    return sentence(meant)


@lru_cache(maxsize=65536)
def _ids(text: str) -> NDArray[np.int32]:
    return encode(text, MAX_WORDS)
