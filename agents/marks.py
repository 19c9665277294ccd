"""What becomes of a room, as far as pictures and actions tell: where something in it was
transformed, and where it ended. Nothing else tells an agent when to forget.
"""

from collections import deque
from itertools import starmap, takewhile
from operator import itemgetter
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from oddoneout.actions import TRANSFORMS, Action

#: How many steps an outcome is explained, and after how many a search without a choice is over.
EXPLAINED: Final = 3
SEARCHED: Final = 100

_CHANGING: Final = frozenset(map(int, TRANSFORMS))


def stillness(images: NDArray[Any]) -> NDArray[np.bool_]:
    """bool (T,): whether a step's picture, or its features (T, ...), equals the one before; False
    at the first."""
    flat = np.ascontiguousarray(images).reshape(len(images), -1).view(np.uint8)
    still = np.zeros(len(flat), np.bool_)
    still[1:] = (flat[1:] == flat[:-1]).all(1)
    return still


class RoomWatch:
    """Follows one episode, step by step.

    A transform that does something changes the picture though nothing moves. A choice with nothing
    in focus changes nothing either, but the agent goes on its way; after a real one it waits, as
    experts do, while the outcome is explained.
    """

    def __init__(self) -> None:
        self._latest: deque[tuple[int, bool]] = deque(maxlen=EXPLAINED)
        self._searched = -1  # actions since the room began, which one step's picture precedes

    def see(self, action: int, still: bool) -> tuple[bool, bool]:
        """Whether something has just been transformed, and whether the room is settled.

        It is at the last step of its choice's explanation; or, if the time ran out before there was
        a choice, at the next room's first, as nothing tells so earlier.

        Args:
            action: the previous one.
            still: of this step, as in `stillness`.
        """
        self._searched += 1
        self._latest.append((action, still))
        stood = [act for act, _ in takewhile(itemgetter(1), reversed(self._latest))]
        chosen = len(stood) == EXPLAINED and stood[-1] == Action.CHOOSE
        late = self._searched >= SEARCHED and Action.CHOOSE not in stood
        if chosen or late:
            self._searched = -1 if chosen else 0
        return action in _CHANGING and not still, chosen or late


def marks(
    actions: NDArray[np.integer], still: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """What a `RoomWatch` tells of each step of an episode: two of bool (T,).

    Args:
        actions: (T,) previous actions.
        still: (T,) of `stillness`.
    """
    steps = zip(actions.tolist(), still.tolist(), strict=True)
    found = list(starmap(RoomWatch().see, steps))
    transformed, settled = np.array(found, np.bool_).reshape(-1, 2).T
    return transformed, settled
