"""The ten shapes as low-polygon triangle soups, in metres.

Frame: x and y centred on the axis, z up, the origin at the centre of the base, so that a shape
scaled about its origin keeps standing on the floor. No point is further than 0.36 from the axis.
Every corner carries a normal (flat for faceted shapes) and texture coordinates: u = azimuth / 2 pi,
v = length along the profile, 0 at the bottom, 1 at the centre of the top.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from oddoneout.rules.attributes import Shape

RADIUS = 0.36
HEIGHT = 0.68

Vec: TypeAlias = tuple[float, float, float]
Profile: TypeAlias = Sequence[tuple[float, float]]  # (radius, z), from bottom to top


@dataclass(frozen=True, slots=True)
class Corner:
    """One corner of one triangle: its place, normal and texture coordinates."""

    place: Vec
    normal: Vec
    uv: tuple[float, float]


Triangle: TypeAlias = tuple[Corner, Corner, Corner]


def _unit(v: NDArray[np.float64]) -> Vec:
    x, y, z = v / np.linalg.norm(v)
    return (float(x), float(y), float(z))


def _profile_normals(run: Profile) -> list[list[tuple[float, float]]]:
    """(outward, up) normals at both ends of every segment of a run, smooth within the run."""
    points = np.asarray(run, dtype=float)
    along = np.diff(points, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    across = np.stack([along[:, 1], -along[:, 0]], axis=1)
    ends = []
    for i, own in enumerate(across):
        before = own + (across[i - 1] if i > 0 else own)
        after = own + (across[i + 1] if i + 1 < len(across) else own)
        ends.append([tuple(before / np.linalg.norm(before)), tuple(after / np.linalg.norm(after))])
    return ends


def lathe(
    runs: Sequence[Profile],
    sides: int,
    *,
    flat: bool = False,
    turn: float = 0.0,
    base: Profile = (),
    v: Sequence[float] = (0.0, 1.0),
) -> list[Triangle]:
    """A solid of revolution with ``sides`` sides.

    Args:
        runs: the profile in pieces; smooth within a piece, an edge between pieces.
        flat: give every face its own normal.
        turn: azimuth of the first edge, in radians.
        base: an underside before the profile, hardly ever seen, so it takes no texture height.
        v: texture heights of the profile's two ends, or of all its points.
    """
    lengths = [math.dist(a, b) for run in runs for a, b in pairwise(run)]
    along = np.cumsum([0.0, *lengths]) / sum(lengths)
    heights = np.interp(along, along if len(v) > 2 else (0.0, 1.0), v)
    if base:
        heights = np.concatenate([[v[0]], heights])
    triangles: list[Triangle] = []
    segment = 0
    for run in [base, *runs] if base else runs:
        normals = _profile_normals(run)
        for (low, high), ends in zip(pairwise(run), normals, strict=True):
            for side in range(sides):
                quad = []
                for end, (radius, z) in enumerate((low, high)):
                    for step in (0, 1):
                        # On the axis both corners fall together, half-way around.
                        part = side + (step if radius > 0 else 0.5)
                        facing = (side + 0.5) if flat else part
                        angle = turn + 2 * math.pi * part / sides
                        normal_angle = turn + 2 * math.pi * facing / sides
                        out, up = ends[end]
                        if flat:  # the slope at mid-side is steeper than along an edge
                            out, up = out, up * math.cos(math.pi / sides)
                        normal = _unit(
                            np.array(
                                [out * math.cos(normal_angle), out * math.sin(normal_angle), up]
                            )
                        )
                        place = (radius * math.cos(angle), radius * math.sin(angle), z)
                        u = turn / (2 * math.pi) + part / sides
                        quad.append(Corner(place, normal, (u, float(heights[segment + end]))))
                a, b, c, d = quad  # low left, low right, high left, high right
                if low[0] > 0:
                    triangles.append((a, b, d))
                if high[0] > 0:
                    triangles.append((a, d, c))
            segment += 1
    return triangles


def box(
    low: Vec, high: Vec, texture_height: Callable[[float, float], float], skip: str = ""
) -> list[Triangle]:
    """An upright box with flat normals.

    Args:
        texture_height: v for a corner's distance from the axis and z.
        skip: faces left out because they are never seen, such as "-z" or "+x".
    """
    triangles: list[Triangle] = []
    bounds = (low, high)
    for axis, name in enumerate("xyz"):
        for end, sign in enumerate("-+"):
            if sign + name in skip.split():
                continue
            first, second = [(1, 2), (2, 0), (0, 1)][axis]
            corners = []
            for i, j in ((0, 0), (1, 0), (1, 1), (0, 1)):
                place = [0.0, 0.0, 0.0]
                place[axis] = bounds[end][axis]
                place[first] = bounds[i][first]
                place[second] = bounds[j][second]
                corners.append(place)
            if end == 0:
                corners.reverse()
            normal = [0.0, 0.0, 0.0]
            normal[axis] = -1.0 if end == 0 else 1.0
            azimuths = np.unwrap([math.atan2(y, x) for x, y, _ in corners])
            azimuths -= 2 * math.pi * math.floor(float(azimuths.min()) / (2 * math.pi))
            quad = [
                Corner(
                    (x, y, z),
                    (normal[0], normal[1], normal[2]),
                    (float(azimuth) / (2 * math.pi), texture_height(math.hypot(x, y), z)),
                )
                for (x, y, z), azimuth in zip(corners, azimuths, strict=True)
            ]
            triangles += [(quad[0], quad[1], quad[2]), (quad[0], quad[2], quad[3])]
    return triangles


def cube() -> list[Triangle]:
    r, h = 0.34, 0.46
    sides = [[(r, 0), (r, h)], [(r, h), (0, h)]]
    return lathe(sides, 4, flat=True, turn=math.pi / 4, base=[(0, 0), (r, 0)])


def ball() -> list[Triangle]:
    r, bands = 0.34, 6
    angles = [math.pi * i / bands for i in range(bands + 1)]
    profile = [(r * math.sin(a), r - r * math.cos(a)) for a in angles]
    profile[0], profile[-1] = (0.0, 0.0), (0.0, 2 * r)
    return lathe([profile], 12)


def cylinder() -> list[Triangle]:
    r, h = 0.27, HEIGHT
    return lathe([[(r, 0), (r, h)], [(r, h), (0, h)]], 16, base=[(0, 0), (r, 0)])


def cone() -> list[Triangle]:
    r, h = RADIUS, HEIGHT
    # Little is left near the tip: the pattern starts part of the way up.
    side = [(r, 0), (r / 2, h / 2), (0, h)]
    return lathe([side], 16, base=[(0, 0), (r, 0)], v=(0.36, 1.0))


def diamond() -> list[Triangle]:
    r, h, belt = RADIUS, HEIGHT, 0.25
    # From above the lower half is hardly seen: the pattern is mostly on the upper one.
    return lathe([[(0, 0), (r, belt)], [(r, belt), (0, h)]], 4, flat=True, v=(0.0, 0.35, 1.0))


def ring() -> list[Triangle]:
    """A tyre lying flat: its hole is seen from above."""
    tube, section = 0.13, 6
    profile = []
    for i in range(section + 1):
        angle = -math.pi / 2 + 2 * math.pi * i / section
        profile.append((RADIUS - tube + tube * math.cos(angle), tube + tube * math.sin(angle)))
    # The profile ends where it began, underneath: most of the pattern is on the outer side.
    return lathe([profile], 12, v=(0.0, 0.23, 0.46, 0.68, 0.79, 0.9, 1.0))


def cross() -> list[Triangle]:
    """Three bars crossing at right angles, one of them upright."""
    half, arm, h = 0.12, RADIUS - 0.025, HEIGHT
    low, high = h / 2 - half, h / 2 + half
    r = half * math.sqrt(2)

    def height(radius: float, z: float) -> float:  # the profile goes along the arms, and inwards
        if z < h / 2:
            return 0.2
        return 0.45 if radius > 1.01 * r else 0.8

    def bar(runs: Sequence[Profile], v: tuple[float, float]) -> list[Triangle]:
        base = runs[0][0]
        return lathe(runs, 4, flat=True, turn=math.pi / 4, base=[(0, base[1]), base], v=v)

    triangles = bar([[(r, 0), (r, low)]], (0.0, 0.2))
    triangles += bar([[(r, high), (r, h)], [(r, h), (0, h)]], (0.8, 1.0))
    for sign in (-1, 1):
        ends = sorted((sign * half, sign * arm))
        inner = "-x" if sign > 0 else "+x"
        triangles += box((ends[0], -half, low), (ends[1], half, high), height, inner)
        inner = inner.replace("x", "y")
        triangles += box((-half, ends[0], low), (half, ends[1], high), height, inner)
    return triangles


def hourglass() -> list[Triangle]:
    r, waist, h = 0.34, 0.09, HEIGHT
    cones = [[(r, 0), (waist, h / 2)], [(waist, h / 2), (r, h)]]
    return lathe([*cones, [(r, h), (0, h)]], 16, base=[(0, 0), (r, 0)])


def mushroom() -> list[Triangle]:
    stem, r, h = 0.12, RADIUS, HEIGHT
    rim = 0.46
    cap = [(r, rim), (0.97 * r, rim + 0.08), (0.65 * r, h - 0.04), (0, h)]
    return lathe([[(stem, 0), (stem, rim)], [(stem, rim), (r, rim)], cap], 14)


def table() -> list[Triangle]:
    half, leg, h, slab = RADIUS / math.sqrt(2), 0.12, HEIGHT, 0.12
    under = h - slab
    r = RADIUS
    top = [[(r, under), (r, h)], [(r, h), (0, h)]]
    triangles = lathe(
        top, 4, flat=True, turn=math.pi / 4, base=[(0, under), (r, under)], v=(0.4, 1.0)
    )
    for x in (-half, half - leg):
        for y in (-half, half - leg):
            triangles += box(
                (x, y, 0.0), (x + leg, y + leg, under), lambda _, z: 0.4 * z / under, "+z"
            )
    return triangles


MESHES: dict[Shape, Callable[[], list[Triangle]]] = {
    Shape.CUBE: cube,
    Shape.BALL: ball,
    Shape.CYLINDER: cylinder,
    Shape.CONE: cone,
    Shape.DIAMOND: diamond,
    Shape.RING: ring,
    Shape.CROSS: cross,
    Shape.HOURGLASS: hourglass,
    Shape.MUSHROOM: mushroom,
    Shape.TABLE: table,
}


def obj_text(name: str, triangles: Sequence[Triangle]) -> str:
    """Triangles as the text of a Wavefront OBJ file, equal rows written once."""
    tables: dict[str, dict[str, int]] = {"v": {}, "vt": {}, "vn": {}}
    faces = []

    def index(kind: str, row: Sequence[float]) -> int:
        text = " ".join(f"{x + 0.0:.5f}" for x in np.round(row, 5))
        return tables[kind].setdefault(text, len(tables[kind]) + 1)

    for triangle in triangles:
        corners = [
            f"{index('v', c.place)}/{index('vt', c.uv)}/{index('vn', c.normal)}" for c in triangle
        ]
        faces.append("f " + " ".join(corners))
    lines = [f"# {name}, made by scripts/make_assets.py", f"o {name}"]
    for kind, rows in tables.items():
        lines += [f"{kind} {row}" for row in rows]
    return "\n".join([*lines, *faces]) + "\n"
