"""What single and vector environments share of their contract: arguments and spaces."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec
from numpy.typing import NDArray

from oddoneout.rules.language import INSTRUCTION_WORDS, VOCABULARY
from oddoneout.rules.levels import CATALOGUE, Level

RENDERERS: Final = ("classic", "warp")
RENDER_MODES: Final = ("rgb_array", "human")
IMAGE_SIDES: Final = (16, 512)  # least and most pixels of an image's side
#: Of an image's longer side over the shorter. The horizontal field of view is fixed, so that wide
#: images are low: beyond 1.5 the camera passes over small objects that the agent touches, beyond 2
#: over many that it could choose. Taller ones would look over the walls.
SLIMMEST: Final = 2


def refuse_unknown(given: Iterable[str], known: Iterable[str]) -> None:
    """For arguments that an environment does not have.

    Raises:
        ValueError: if there is one; the message names all that there are.
    """
    if unknown := sorted(set(given) - set(known)):
        raise ValueError(
            f"unknown arguments {unknown}; there are {', '.join(known)}: see the arguments of "
            "oddoneout's environments in README.md"
        )


def refuse_other_level(spec: EnvSpec | None, level: Level) -> None:
    """For ``gymnasium.make(id, level=...)``: the id alone says which level it is.

    Raises:
        ValueError: if the environment was made under another level's id.
    """
    ids = {known.id for known in CATALOGUE.values()}
    if spec is not None and spec.id in ids - {level.id}:
        raise ValueError(
            f"{spec.id} takes no argument level, got {level.name!r}; make {level.id!r} instead"
        )


def parse_image_size(image_size: Any) -> tuple[int, int]:
    """``image_size`` as (height, width).

    Raises:
        ValueError: unless it is an integer or a pair of integers within ``IMAGE_SIDES``, neither
            more than ``SLIMMEST`` times the other.
    """
    pair: Any = (image_size, image_size) if np.isscalar(image_size) else image_size
    low, high = IMAGE_SIDES
    if (
        isinstance(pair, tuple | list)
        and len(pair) == 2
        and all(isinstance(n, int | np.integer) and not isinstance(n, bool) for n in pair)
        and all(low <= n <= high for n in pair)
        and max(pair) <= SLIMMEST * min(pair)
    ):
        return int(pair[0]), int(pair[1])
    raise ValueError(
        f"image_size must be an integer or (height, width), each from {low} to {high} pixels and "
        f"neither more than {SLIMMEST} times the other, got {image_size!r}"
    )


def parse_count(name: str, value: Any, *, least: int) -> int:
    """``value``, a number of things; numpy's integers become Python's.

    Raises:
        ValueError: unless it is an integer from ``least`` up.
    """
    if isinstance(value, int | np.integer) and not isinstance(value, bool) and value >= least:
        return int(value)
    raise ValueError(f"{name} must be an integer from {least} up, got {value!r}")


def parse_renderer(renderer: Any) -> str:
    """``renderer`` if it is one of ``RENDERERS``.

    Raises:
        ValueError: if it is not.
    """
    if not isinstance(renderer, str) or renderer not in RENDERERS:
        raise ValueError(f"renderer must be one of {RENDERERS}, got {renderer!r}")
    return renderer


def refuse_warp(renderer: Any) -> None:
    """For what draws one room at a time.

    Raises:
        ValueError: unless ``renderer`` is "classic".
    """
    if parse_renderer(renderer) == "warp":
        raise ValueError(
            'renderer "warp" draws many rooms at once: '
            'gymnasium.make_vec(id, num_envs=N, renderer="warp"); this takes renderer "classic"'
        )


def parse_seed(seed: Any) -> int | None:
    """One environment's ``seed``: numpy's integers become Python's.

    Raises:
        ValueError: unless it is None or an integer from 0 up.
    """
    if seed is None:
        return None
    if isinstance(seed, int | np.integer) and not isinstance(seed, bool) and seed >= 0:
        return int(seed)
    raise ValueError(
        f"seed must be None or an integer from 0 up (of a vector: or a list of these), got {seed!r}"
    )


def parse_reset(
    seed: int | Sequence[int | None] | None,
    options: dict[str, Any] | None,
    began: NDArray[np.bool_],
) -> tuple[list[int | None], NDArray[np.bool_]]:
    """The arguments of a vector's ``reset`` as one seed for each environment, and the mask.

    Args:
        seed: one that counts upwards, one each, or None.
        options: ``{"reset_mask": bool (N,)}``, or nothing.
        began: bool (N,), which environments have been reset before.

    Raises:
        ValueError: for what is no seed, a list of the wrong length, a wrong mask, or other
            options.
    """
    num_envs = len(began)
    seeds: list[int | None]
    if isinstance(seed, Iterable) and not (isinstance(seed, np.ndarray) and seed.ndim == 0):
        seeds = [parse_seed(one) for one in seed]
        if len(seeds) != num_envs:
            raise ValueError(f"seed must list {num_envs} seeds, got {len(seeds)}")
    else:
        first = parse_seed(seed)
        seeds = [None if first is None else first + i for i in range(num_envs)]
    options = dict(options or {})
    mask = np.asarray(options.pop("reset_mask", np.ones(num_envs, np.bool_)))
    if options:
        raise ValueError(f"the only option of reset is 'reset_mask', got {sorted(options)}")
    if mask.shape != (num_envs,) or mask.dtype != np.bool_ or not mask.any():
        raise ValueError(
            f"reset_mask must be a bool array of shape ({num_envs},), not all False, got {mask!r}"
        )
    if not (mask | began).all():
        raise ValueError("the first reset must be of all environments, without a reset_mask")
    return seeds, mask


def observation_space(image_size: tuple[int, int]) -> spaces.Dict:
    """``image`` uint8 (H, W, 3) and ``instruction`` int32 (L,), token ids with 0 = padding."""
    return spaces.Dict(
        {
            "image": spaces.Box(0, 255, (*image_size, 3), np.uint8),
            "instruction": spaces.Box(0, len(VOCABULARY) - 1, (INSTRUCTION_WORDS,), np.int32),
        }
    )
