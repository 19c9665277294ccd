"""How attribute values look: color -> rgba, size -> scale, shape -> mesh, texture -> grey pattern.

Asset files are named by attribute value: ``meshes/{shape}.obj``, ``textures/{texture}.png``.
Meshes are in metres at size large, centred in x and y, with the origin at the centre of the base:
scaled about their origin they keep standing on the floor.
"""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from oddoneout.rules.attributes import Color, Shape, Size, Texture

#: Linear factor on a mesh and on nothing else; all objects share one collider.
SCALE: Final[Mapping[Size, float]] = MappingProxyType(
    {Size.SMALL: 0.66, Size.MEDIUM: 0.82, Size.LARGE: 1.0}
)

#: Red, green, blue, alpha in [0, 1], as a fully lit bright part of the object shows them.
RGBA: Final[Mapping[Color, tuple[float, float, float, float]]] = MappingProxyType(
    {
        Color.RED: (0.90, 0.05, 0.05, 1.0),
        Color.ORANGE: (1.00, 0.50, 0.00, 1.0),
        Color.YELLOW: (1.00, 0.92, 0.05, 1.0),
        Color.LIME: (0.60, 1.00, 0.10, 1.0),
        Color.GREEN: (0.00, 0.50, 0.10, 1.0),
        Color.CYAN: (0.05, 0.90, 0.90, 1.0),
        Color.BLUE: (0.10, 0.15, 1.00, 1.0),
        Color.PURPLE: (0.42, 0.10, 0.70, 1.0),
        Color.MAGENTA: (1.00, 0.05, 0.80, 1.0),
        Color.PINK: (1.00, 0.62, 0.72, 1.0),
        Color.BROWN: (0.42, 0.22, 0.10, 1.0),
        Color.WHITE: (1.00, 1.00, 1.00, 1.0),
    }
)


def assets_dir() -> Path:
    """The folder of the assets: the installed package's own copy, or else the checkout's.

    Raises:
        FileNotFoundError: if neither is there.
    """
    package = Path(__file__).resolve().parent.parent
    candidates = (package / "assets", package.parent / "assets")
    for folder in candidates:
        if (folder / "meshes").is_dir():
            return folder
    looked = " nor ".join(str(folder) for folder in candidates)
    raise FileNotFoundError(
        f"no assets in {looked}; make them with `python -m scripts.make_assets` in a checkout"
    )


def mesh_file(shape: Shape) -> Path:
    """The OBJ file of a shape."""
    return assets_dir() / "meshes" / f"{shape.value}.obj"


def texture_file(texture: Texture) -> Path | None:
    """The PNG file of a texture's grey pattern; None for solid, which has no pattern."""
    if texture is Texture.SOLID:
        return None
    return assets_dir() / "textures" / f"{texture.value}.png"
