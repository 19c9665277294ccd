"""Objects as the rules see them: four attribute values, no place in space."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

from oddoneout.rules.attributes import VALUES, Color, Dimension, Shape, Size, Texture, Value


@dataclass(frozen=True, slots=True)
class Thing:
    """One object: a value in each dimension (field names are dimension names).

    Raises:
        TypeError: if a field is not a value of its dimension.
    """

    color: Color
    shape: Shape
    texture: Texture
    size: Size

    def __post_init__(self) -> None:
        for field in fields(self):
            allowed = VALUES[Dimension(field.name)]
            value = getattr(self, field.name)
            if not isinstance(value, type(allowed[0])):
                names = ", ".join(allowed)
                raise TypeError(f"{field.name} must be one of {names} as an enum, got {value!r}")

    def __getitem__(self, dimension: Dimension) -> Value:
        return getattr(self, dimension.value)

    def with_value(self, dimension: Dimension, value: Value) -> "Thing":
        """The same thing with another value in one dimension."""
        return replace(self, **{dimension.value: value})


def is_odd(things: Sequence[Thing], index: int, dimension: Dimension) -> bool:
    """Whether no other thing shares the value of ``things[index]`` in ``dimension``."""
    value = things[index][dimension]
    return all(other[dimension] != value for i, other in enumerate(things) if i != index)


def odd_in(things: Sequence[Thing], index: int) -> tuple[Dimension, ...]:
    """The dimensions in which ``things[index]`` is odd, in declaration order."""
    return tuple(d for d in Dimension if is_odd(things, index, d))


def odd_one(things: Sequence[Thing], dimension: Dimension) -> int | None:
    """Index of the only odd thing in ``dimension``; None when there is none or several."""
    odd = [i for i in range(len(things)) if is_odd(things, i, dimension)]
    return odd[0] if len(odd) == 1 else None
