"""What becomes of a room, as far as pictures and actions tell: where something in it was
transformed, and where its choice was settled. Nothing else tells an agent when to forget.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from oddoneout.actions import TRANSFORMS, Action

#: How many of the latest steps decide what is marked at a step: so long is an outcome explained.
REACH: Final = 3


def stillness(images: NDArray[Any]) -> NDArray[np.bool_]:
    """bool (T,): whether a step's picture, or its features (T, ...), equals the one before; False
    at the first."""
    flat = np.ascontiguousarray(images).reshape(len(images), -1).view(np.uint8)
    still = np.zeros(len(flat), np.bool_)
    still[1:] = (flat[1:] == flat[:-1]).all(1)
    return still


def marks(
    actions: NDArray[np.integer], still: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Where something has just been transformed, and where a choice has just been settled.

    A transform that does something changes the picture though nothing moves. A choice with nothing
    in focus changes nothing either, but the agent goes on its way; after a real one it waits, as
    experts do, while the outcome is explained.

    Args:
        actions: (T,) previous actions.
        still: (T,) of `stillness`.

    Returns:
        bool (T,) twice. A choice is settled at the last step of its explanation.
    """
    transformed = np.isin(actions, list(TRANSFORMS)) & ~still
    settled = np.zeros(len(still), np.bool_)
    if len(still) >= REACH:
        stood = np.lib.stride_tricks.sliding_window_view(still, REACH).all(1)
        settled[REACH - 1 :] = stood & (actions[: 1 - REACH] == Action.CHOOSE)
    return transformed, settled
