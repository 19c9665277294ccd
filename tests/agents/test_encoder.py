import pytest
import torch

from agents.encoder import Redrawer, build_encoder
from tests.agents.examples import tiny


def images(count, config, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shape = (count, *config.image_size, 3)
    return torch.randint(256, shape, generator=generator).to(torch.uint8)


@pytest.mark.parametrize("size", [(64, 64), (48, 80), (33, 47)])
@pytest.mark.parametrize("kind", ["conv", "resnet18"])
def test_any_image_size_becomes_one_vector_per_frame(kind, size):
    config = tiny(encoder=kind, image_size=size)
    features = build_encoder(config)(images(2, config))
    assert features.shape == (2, config.width)


def test_frames_do_not_affect_each_other():
    config = tiny()
    encoder = build_encoder(config)
    together = images(3, config)
    alone = torch.cat([encoder(frame[None]) for frame in together])
    torch.testing.assert_close(encoder(together), alone, rtol=1e-5, atol=1e-5)


def test_no_frames_are_no_features():
    config = tiny()
    assert build_encoder(config)(images(0, config)).shape == (0, config.width)


def test_a_moved_picture_is_another_picture():
    config = tiny()
    encoder = build_encoder(config)
    picture = torch.zeros((1, *config.image_size, 3), dtype=torch.uint8)
    picture[:, 4:10, 4:10] = 255
    moved = picture.roll(8, dims=2)
    assert (encoder(picture) - encoder(moved)).abs().max() > 1e-3


def test_pictures_are_left_as_they_were():
    config = tiny()
    given = images(2, config)
    before = given.clone()
    build_encoder(config)(given)
    assert torch.equal(given, before)


def test_autocast_agrees_roughly_with_float32():
    config = tiny()
    encoder, given = build_encoder(config), images(4, config)
    exact = encoder(given)
    with torch.autocast("cpu", torch.bfloat16):
        rough = encoder(given).float()
    assert (exact - rough).abs().max() < 0.05 * exact.abs().max()


@pytest.mark.parametrize("size", [(64, 64), (33, 47)])
def test_redrawn_images_are_small_and_within_range(size):
    config = tiny(image_size=size)
    drawn = Redrawer(config)(torch.randn(2, config.width))
    assert drawn.shape == (2, 3, size[0] // 4, size[1] // 4)
    assert 0 <= drawn.min() <= drawn.max() <= 1
