"""The closed vocabulary of object attributes: dimensions and their values.

Adding a value is one enum member here, one entry in ``oddoneout/world/looks.py``
and, for a shape or texture, one file under ``assets/`` named by the value.
"""

from enum import StrEnum
from types import MappingProxyType
from typing import TypeAlias


class Dimension(StrEnum):
    """A dimension in which objects differ; the value is its name everywhere."""

    COLOR = "color"
    SHAPE = "shape"
    TEXTURE = "texture"
    SIZE = "size"


class Color(StrEnum):
    RED = "red"
    ORANGE = "orange"
    YELLOW = "yellow"
    LIME = "lime"
    GREEN = "green"
    CYAN = "cyan"
    BLUE = "blue"
    PURPLE = "purple"
    MAGENTA = "magenta"
    PINK = "pink"
    BROWN = "brown"
    WHITE = "white"


class Shape(StrEnum):
    CUBE = "cube"
    BALL = "ball"
    CYLINDER = "cylinder"
    CONE = "cone"
    DIAMOND = "diamond"
    RING = "ring"
    CROSS = "cross"
    HOURGLASS = "hourglass"
    MUSHROOM = "mushroom"
    TABLE = "table"


class Texture(StrEnum):
    SOLID = "solid"
    STRIPED = "striped"
    BARRED = "barred"
    CHECKERED = "checkered"
    DOTTED = "dotted"
    SWIRLED = "swirled"
    HALVED = "halved"


class Size(StrEnum):
    SMALL = "small"
    MEDIUM = "medium"
    LARGE = "large"


Value: TypeAlias = Color | Shape | Texture | Size

#: Every value of every dimension, in the order of declaration.
VALUES: MappingProxyType[Dimension, tuple[Value, ...]] = MappingProxyType(
    {
        Dimension.COLOR: tuple(Color),
        Dimension.SHAPE: tuple(Shape),
        Dimension.TEXTURE: tuple(Texture),
        Dimension.SIZE: tuple(Size),
    }
)

#: The dimensions that confounded, deconfounded and intervention levels play with.
CORE_DIMENSIONS: tuple[Dimension, ...] = (Dimension.COLOR, Dimension.SHAPE, Dimension.TEXTURE)
