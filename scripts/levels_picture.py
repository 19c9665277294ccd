"""One page with a moment of every level: the picture at the head of the README.

python -m scripts.levels_picture --out docs/images/levels.png
"""

import argparse
from pathlib import Path

import gymnasium
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from oddoneout.demos.rollout import rollout
from oddoneout.rules.levels import CATALOGUE
from oddoneout.rules.splits import Stream, episode_seed
from oddoneout.video import Camera, Shot
from scripts import common

WIDTH = 720  # pixels of one picture
GAP = 8


def first_outcome(env_id: str, seed: int) -> NDArray[np.uint8]:
    """The frame in which the expert's first choice is explained, uint8 (H, W, 3)."""
    outcomes: list[Shot] = []
    camera = Camera(outcomes.append, f"expert in {env_id}", "overhead")

    def make_env() -> gymnasium.Env:
        return gymnasium.make(env_id, disable_env_checker=True)

    seeds = [episode_seed(Stream.TEST, seed, 0)]
    list(rollout(common.expert_policy({}), make_env, seeds, on_step=camera.see))
    return max(outcomes, key=lambda shot: shot.ticks).frame  # the first of those that stay longest


def page(pictures: list[NDArray[np.uint8]]) -> Image.Image:
    """The pictures in two columns."""
    height = round(WIDTH * pictures[0].shape[0] / pictures[0].shape[1])
    rows = -(-len(pictures) // 2)
    sheet = Image.new("RGB", (2 * WIDTH + GAP, rows * (height + GAP) - GAP), (255, 255, 255))
    for i, picture in enumerate(pictures):
        row, column = divmod(i, 2)
        small = Image.fromarray(picture).resize((WIDTH, height), Image.Resampling.LANCZOS)
        sheet.paste(small, (column * (WIDTH + GAP), row * (height + GAP)))
    return sheet


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seed", type=common.seed_number, default=3)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.png")
    arguments = parser.parse_args()
    if arguments.out.suffix.lower() != ".png":
        raise common.UserError(f"--out must end in .png, got {str(arguments.out)!r}")
    common.writable(arguments.out)
    levels = enumerate(CATALOGUE.values(), start=arguments.seed)
    pictures = [first_outcome(level.id, seed % 10**6) for seed, level in levels]
    page(pictures).quantize(256).save(arguments.out, optimize=True)
    print(f"wrote {arguments.out}")


if __name__ == "__main__":
    common.run(main)
