"""The nine actions, the same for every level."""

from enum import IntEnum
from types import MappingProxyType

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
