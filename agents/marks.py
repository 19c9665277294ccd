"""What becomes of a room, as far as pictures and actions tell: where something in it was
transformed, and where it ended. Nothing else tells an agent when to forget.
"""

from collections import deque
from itertools import starmap, takewhile
from operator import itemgetter
from typing import Any, Final, NamedTuple

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


class Mark(NamedTuple):
    """What is to be said of one step, or in arrays of several.

    Attributes:
        transformed: the previous action has transformed something.
        changed: so has it, or an earlier one in the same room.
        settled: the room is settled: at the last step of its choice's explanation; or, if the time
            ran out before there was a choice, at the next room's first, as nothing tells so
            earlier.
    """

    transformed: Any
    changed: Any
    settled: Any


class RoomWatch:
    """Follows one episode, step by step.

    A transform that does something changes the picture though nothing moves. A choice with nothing
    in focus changes nothing either, but the agent goes on its way; after a real one it waits, as
    experts do, while the outcome is explained.
    """

    def __init__(self) -> None:
        self._latest: deque[tuple[int, bool]] = deque(maxlen=EXPLAINED)
        self._searched = -1  # actions since the room began, which one step's picture precedes
        self._changed = False

    def see(self, action: int, still: bool) -> Mark:
        """The next step's.

        Args:
            action: the previous one.
            still: of this step, as in `stillness`.
        """
        self._searched += 1
        self._latest.append((action, still))
        stood = [act for act, _ in takewhile(itemgetter(1), reversed(self._latest))]
        chosen = len(stood) == EXPLAINED and stood[-1] == Action.CHOOSE
        late = self._searched >= SEARCHED and Action.CHOOSE not in stood
        transformed = action in _CHANGING and not still
        mark = Mark(transformed, self._changed or transformed, chosen or late)
        if mark.settled:
            self._searched = -1 if chosen else 0
        self._changed = mark.changed and not mark.settled
        return mark


def marks(actions: NDArray[np.integer], still: NDArray[np.bool_]) -> Mark:
    """What a `RoomWatch` tells of each step of an episode, each bool (T,).

    Args:
        actions: (T,) previous actions.
        still: (T,) of `stillness`.
    """
    steps = zip(actions.tolist(), still.tolist(), strict=True)
    found = list(starmap(RoomWatch().see, steps))
    return Mark(*np.array(found, np.bool_).reshape(-1, 3).T)
