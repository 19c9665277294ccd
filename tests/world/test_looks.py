"""Every attribute value has its own look, and every asset file is what its code makes."""

import itertools
import math
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import pytest

from oddoneout.rules.attributes import Color, Shape, Size, Texture
from oddoneout.world import looks
from oddoneout.world.geometry import OBJECT_HEIGHT
from scripts.asset_meshes import MESHES, RADIUS
from scripts.make_assets import make


def corners(shape: Shape):
    """Places (N, 3, 3), normals (N, 3, 3) and texture coordinates (N, 3, 2) of the triangles."""
    triangles = MESHES[shape]()
    return tuple(
        np.array([[getattr(corner, name) for corner in triangle] for triangle in triangles])
        for name in ("place", "normal", "uv")
    )


def test_every_value_has_a_look():
    assert set(looks.RGBA) == set(Color)
    assert set(looks.SCALE) == set(Size)
    assert all(looks.mesh_file(shape).is_file() for shape in Shape)
    for texture in Texture:
        file = looks.texture_file(texture)
        assert (file is None) == (texture is Texture.SOLID)
        assert file is None or file.is_file()


def test_sizes_grow_clearly_and_large_is_the_meshes_own_size():
    scales = [looks.SCALE[size] for size in Size]
    assert scales[-1] == 1.0
    assert all(large / small >= 1.2 for small, large in itertools.pairwise(scales))


def test_no_two_colors_are_close():
    for one, other in itertools.combinations(Color, 2):
        assert math.dist(looks.RGBA[one][:3], looks.RGBA[other][:3]) > 0.3, (one, other)


def test_no_color_is_the_one_that_mujoco_takes_for_unset():
    assert all(rgba[3] == 1.0 and rgba[:3] != (0.5, 0.5, 0.5) for rgba in looks.RGBA.values())


def test_the_files_are_what_the_code_makes(tmp_path: Path):
    committed = looks.assets_dir()
    for path in make(tmp_path):
        kept = committed / path.relative_to(tmp_path)
        if path.suffix == ".png":  # compressors differ, pixels do not
            np.testing.assert_array_equal(imageio.imread(path), imageio.imread(kept))
        else:
            assert path.read_bytes() == kept.read_bytes(), path.name
    for folder in ("meshes", "textures"):
        made = {path.name for path in (tmp_path / folder).iterdir()}
        assert {path.name for path in (committed / folder).iterdir()} == made


@pytest.mark.parametrize("shape", Shape)
def test_a_mesh_is_small_centred_and_stands_on_the_floor(shape: Shape):
    places, _, _ = corners(shape)
    points = places.reshape(-1, 3)
    assert len(places) <= 150
    assert points[:, 2].min() == pytest.approx(0.0, abs=1e-9)
    assert points[:, 2].max() <= OBJECT_HEIGHT + 0.05
    assert np.hypot(points[:, 0], points[:, 1]).max() <= RADIUS + 1e-9
    middle = (points[:, :2].min(0) + points[:, :2].max(0)) / 2
    np.testing.assert_allclose(middle, 0.0, atol=0.02)


@pytest.mark.parametrize("shape", Shape)
def test_triangles_face_outwards_along_their_unit_normals(shape: Shape):
    places, normals, _ = corners(shape)
    faces = np.cross(places[:, 1] - places[:, 0], places[:, 2] - places[:, 0])
    areas = np.linalg.norm(faces, axis=1, keepdims=True)
    assert areas.min() > 1e-6
    np.testing.assert_allclose(np.linalg.norm(normals, axis=2), 1.0, atol=1e-6)
    assert (np.einsum("nk,nck->nc", faces / areas, normals) > 0.5).all()


@pytest.mark.parametrize("shape", Shape)
def test_no_triangle_straddles_the_seam_of_the_texture(shape: Shape):
    _, _, uv = corners(shape)
    assert np.ptp(uv[:, :, 0], axis=1).max() <= 0.5
    assert uv[:, :, 1].min() >= 0.0
    assert uv[:, :, 1].max() <= 1.0 + 1e-9


def test_patterns_are_grey_and_of_strong_contrast():
    for texture in Texture:
        file = looks.texture_file(texture)
        if file is not None:
            image = imageio.imread(file)
            assert (image == image[:, :, :1]).all()
            assert image.max() == 255
            assert image.min() < 90


def test_missing_assets_are_told_of(monkeypatch, tmp_path: Path):
    monkeypatch.setattr(looks, "__file__", str(tmp_path / "oddoneout" / "world" / "looks.py"))
    with pytest.raises(FileNotFoundError, match=r"scripts\.make_assets"):
        looks.assets_dir()
