"""Hand-made rooms for the world's tests."""

import math

import numpy as np

from oddoneout.rules.attributes import Color, Shape, Size, Texture
from oddoneout.rules.things import Thing
from oddoneout.world.layout import Layout, Pose

FOUR = (
    Thing(Color.RED, Shape.CUBE, Texture.SOLID, Size.LARGE),
    Thing(Color.BLUE, Shape.MUSHROOM, Texture.STRIPED, Size.SMALL),
    Thing(Color.LIME, Shape.RING, Texture.DOTTED, Size.MEDIUM),
    Thing(Color.WHITE, Shape.CONE, Texture.HALVED, Size.LARGE),
)

#: Objects in the room's corners: the agent has the middle to itself.
CORNERS = ((1.0, 1.0, 0.3), (-1.0, 1.0, 0.0), (-1.0, -1.0, 2.0), (1.0, -1.0, -1.0))


def room(x: float = 0.0, y: float = 0.0, heading: float = 0.0) -> Layout:
    return Layout(Pose(x, y, heading), CORNERS)


def watching() -> Layout:
    """All four objects ahead of the agent, none hidden."""
    return Layout(
        Pose(-1.4, 0.0, 0.0),
        ((0.0, 0.3, 0.5), (0.9, -0.5, 1.0), (0.9, 0.9, 0.0), (-0.2, -0.8, math.pi / 3)),
    )


def random_thing(rng: np.random.Generator) -> Thing:
    color, shape, texture, size = (
        tuple(values)[rng.integers(len(values))] for values in (Color, Shape, Texture, Size)
    )
    return Thing(color, shape, texture, size)
