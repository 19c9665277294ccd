"""What a choice tells of the rewarded dimension."""

from collections.abc import Collection
from typing import Final

from oddoneout.rules.attributes import CORE_DIMENSIONS, Dimension

#: What can be the rewarded dimension before anything has been chosen.
UNTRIED: Final = frozenset(CORE_DIMENSIONS)


def still_possible(
    possible: frozenset[Dimension], odd_in: Collection[str], rewarded: bool
) -> frozenset[Dimension]:
    """The dimensions that can be the rewarded one after one more choice: what was rewarded was
    odd in it, what was not was not.

    Args:
        possible: before the choice.
        odd_in: the dimensions in which the chosen object was odd.
        rewarded: whether the choice was.
    """
    return frozenset(d for d in possible if (d in odd_in) is rewarded)
