"""Make every file under ``assets/``: ten shape meshes and six grey textures.

    python -m scripts.make_assets [--out assets]

The same code gives the same bytes. Meshes are described in ``scripts/asset_meshes.py``; textures
here. A texture is a grey pattern that an object's color multiplies. Its u runs once around the
object, its v from the bottom to the centre of the top. Patterns are coarse on purpose: at choosing
distance a large object is some twenty pixels wide, a small one a dozen.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
from numpy.typing import NDArray

from oddoneout.rules.attributes import Shape, Texture
from scripts import common
from scripts.asset_meshes import MESHES, obj_text

WIDTH, HEIGHT = 128, 128  # texels around, and from bottom to top
BRIGHT, DARK = 1.0, 0.25  # what a pattern multiplies an object's color by
OVERSAMPLING = 4  # edges fall between texels

Field = NDArray[np.float64]
Pattern = Callable[[Field, Field], NDArray[np.bool_]]


def _cell(x: Field, periods: float) -> NDArray[np.bool_]:
    """Bright in every first half of a period."""
    return np.mod(x * periods, 1.0) < 0.5


def _dotted(u: Field, v: Field) -> NDArray[np.bool_]:
    across, along = 5, 3  # dots around, rows from bottom to top; every second row is shifted
    row = np.floor(v * along)
    x = np.mod(u * across + 0.5 * np.mod(row, 2), 1.0) - 0.5
    y = np.mod(v * along, 1.0) - 0.5
    return np.hypot(x, y) > 0.33


#: Where each pattern is bright, for u and v in [0, 1). Solid needs no file.
PATTERNS: dict[Texture, Pattern] = {
    Texture.STRIPED: lambda u, v: ~_cell(v, 3.0),
    Texture.BARRED: lambda u, v: _cell(u, 4.0),
    Texture.CHECKERED: lambda u, v: _cell(u, 4.0) ^ _cell(v, 2.5),
    Texture.DOTTED: _dotted,
    Texture.SWIRLED: lambda u, v: _cell(2.0 * u + 1.5 * v, 1.0),
    Texture.HALVED: lambda u, v: v > 0.68,
}


def texture_image(texture: Texture) -> NDArray[np.uint8]:
    """A texture's grey image, uint8 (HEIGHT, WIDTH, 3), its first row at the top (v = 1)."""
    fine_u = (np.arange(WIDTH * OVERSAMPLING) + 0.5) / (WIDTH * OVERSAMPLING)
    fine_v = (np.arange(HEIGHT * OVERSAMPLING) + 0.5) / (HEIGHT * OVERSAMPLING)
    u, v = np.meshgrid(fine_u, fine_v[::-1])
    bright = PATTERNS[texture](u, v).astype(np.float64)
    blocks = bright.reshape(HEIGHT, OVERSAMPLING, WIDTH, OVERSAMPLING).mean(axis=(1, 3))
    grey = np.round(255 * (DARK + (BRIGHT - DARK) * blocks)).astype(np.uint8)
    return np.repeat(grey[:, :, None], 3, axis=2)


def make(out: Path) -> list[Path]:
    """Write all assets under ``out``; returns the files written."""
    written: list[Path] = []
    (out / "meshes").mkdir(parents=True, exist_ok=True)
    (out / "textures").mkdir(parents=True, exist_ok=True)
    for shape in Shape:
        path = out / "meshes" / f"{shape.value}.obj"
        path.write_text(obj_text(shape.value, MESHES[shape]()), encoding="ascii", newline="\n")
        written.append(path)
    for texture in PATTERNS:
        path = out / "textures" / f"{texture.value}.png"
        imageio.imwrite(path, texture_image(texture))
        written.append(path)
    return written


def main() -> None:
    parser = argparse.ArgumentParser(description="Make every file under assets/.")
    default = Path(__file__).resolve().parent.parent / "assets"
    parser.add_argument("--out", type=Path, default=default, help="where to write (assets)")
    for path in make(parser.parse_args().out):
        print(path)


if __name__ == "__main__":
    common.run(main)
