"""What single and vector environments share of their contract: arguments and spaces."""

from typing import Any, Final

import numpy as np
from gymnasium import spaces

from oddoneout.rules.language import INSTRUCTION_WORDS, VOCABULARY

RENDERERS: Final = ("classic",)
RENDER_MODES: Final = ("rgb_array", "human")
IMAGE_SIDES: Final = (16, 512)  # least and most pixels of an image's side


def parse_image_size(image_size: Any) -> tuple[int, int]:
    """``image_size`` as (height, width).

    Raises:
        ValueError: unless it is an integer or a pair of integers within ``IMAGE_SIDES``.
    """
    pair: Any = (image_size, image_size) if np.isscalar(image_size) else image_size
    low, high = IMAGE_SIDES
    if (
        isinstance(pair, tuple | list)
        and len(pair) == 2
        and all(isinstance(n, int | np.integer) and not isinstance(n, bool) for n in pair)
        and all(low <= n <= high for n in pair)
    ):
        return int(pair[0]), int(pair[1])
    raise ValueError(
        f"image_size must be an integer or (height, width), each from {low} to {high} pixels, "
        f"got {image_size!r}"
    )


def parse_renderer(renderer: Any) -> str:
    """``renderer`` if it is one of ``RENDERERS``.

    Raises:
        ValueError: if it is not.
    """
    if renderer not in RENDERERS:
        raise ValueError(f"renderer must be one of {RENDERERS}, got {renderer!r}")
    return renderer


def observation_space(image_size: tuple[int, int]) -> spaces.Dict:
    """``image`` uint8 (H, W, 3) and ``instruction`` int32 (L,), token ids with 0 = padding."""
    return spaces.Dict(
        {
            "image": spaces.Box(0, 255, (*image_size, 3), np.uint8),
            "instruction": spaces.Box(0, len(VOCABULARY) - 1, (INSTRUCTION_WORDS,), np.int32),
        }
    )
