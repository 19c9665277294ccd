"""The nine actions, the same for every level."""

import operator
from enum import IntEnum
from types import MappingProxyType
from typing import Any

from oddoneout.rules.attributes import Dimension


class Action(IntEnum):
    NOOP = 0
    FORWARD = 1
    BACKWARD = 2
    TURN_LEFT = 3
    TURN_RIGHT = 4
    CHOOSE = 5
    TRANSFORM_COLOR = 6
    TRANSFORM_SHAPE = 7
    TRANSFORM_TEXTURE = 8


#: The dimension that each transform action switches.
TRANSFORMS: MappingProxyType[Action, Dimension] = MappingProxyType(
    {
        Action.TRANSFORM_COLOR: Dimension.COLOR,
        Action.TRANSFORM_SHAPE: Dimension.SHAPE,
        Action.TRANSFORM_TEXTURE: Dimension.TEXTURE,
    }
)

_ACTIONS = tuple(Action)


def parse_action(action: Any, name: str = "action") -> Action:
    """The action of that number.

    Raises:
        ValueError: for anything but an integer from 0 to 8; the message calls it ``name``.
    """
    try:
        number = -1 if isinstance(action, bool) else operator.index(action)
    except TypeError:
        number = -1
    if not 0 <= number < len(_ACTIONS):
        raise ValueError(f"{name} must be an integer from 0 to {len(_ACTIONS) - 1}, got {action!r}")
    return _ACTIONS[number]
