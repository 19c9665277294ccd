from dataclasses import replace
from typing import get_args

import pytest
import torch

from agents.config import Encoder
from agents.encoder import PartsEncoder, Redrawer, build_encoder, to_opponents
from oddoneout.rules.language import VALUE_WORDS
from tests.agents.examples import tiny


def images(count, config, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shape = (count, *config.image_size, 3)
    return torch.randint(256, shape, generator=generator).to(torch.uint8)


@pytest.mark.parametrize("size", [(64, 64), (48, 80), (33, 47)])
@pytest.mark.parametrize("kind", get_args(Encoder))
def test_any_image_size_becomes_one_vector_per_frame(kind, size):
    config = tiny(encoder=kind, image_size=size)
    features = build_encoder(config)(images(2, config))
    assert features.shape == (2, config.width)


@pytest.mark.parametrize("kind", ["conv", "opponent", "parts"])
def test_frames_do_not_affect_each_other(kind):
    config = tiny(encoder=kind)
    encoder = build_encoder(config).eval()
    together = images(3, config)
    alone = torch.cat([encoder(frame[None]) for frame in together])
    torch.testing.assert_close(encoder(together), alone, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["conv", "opponent", "parts"])
def test_no_frames_are_no_features(kind):
    config = tiny(encoder=kind)
    assert build_encoder(config)(images(0, config)).shape == (0, config.width)


@pytest.mark.parametrize("kind", ["conv", "opponent", "parts"])
def test_a_moved_picture_is_another_picture(kind):
    config = tiny(encoder=kind)
    encoder = build_encoder(config).eval()
    picture = torch.zeros((1, *config.image_size, 3), dtype=torch.uint8)
    picture[:, 4:10, 4:10] = 255
    moved = picture.roll(8, dims=2)
    assert (encoder(picture) - encoder(moved)).abs().max() > 1e-3


@pytest.mark.parametrize("kind", ["conv", "opponent", "parts"])
def test_pictures_are_left_as_they_were(kind):
    config = tiny(encoder=kind)
    given = images(2, config)
    before = given.clone()
    build_encoder(config)(given)
    assert torch.equal(given, before)


@pytest.mark.parametrize("kind", ["conv", "opponent", "parts"])
def test_autocast_agrees_roughly_with_float32(kind):
    torch.manual_seed(0)
    config = tiny(encoder=kind, width=96)  # the fewer, the likelier that all are nearly the same
    encoder, given = build_encoder(config).eval(), images(4, config)
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


def painted(color, pattern):
    """One uint8 picture (1, H, W, 3) of a color in [0, 1] under a grey pattern (H, W) in [0, 1]."""
    return (255 * pattern[..., None] * torch.tensor(color)).round().to(torch.uint8)[None]


STRIPES = torch.tensor([1.0, 0.5]).repeat(8)[:, None].expand(16, 16)
DOTS = torch.where(torch.eye(16).bool(), 1.0, 0.5)
PINK, CYAN = (1.0, 0.62, 0.72), (0.05, 0.9, 0.9)


def test_a_pattern_is_as_strong_in_brightness_on_every_color():
    on_pink, on_cyan = (to_opponents(painted(color, STRIPES))[0] for color in (PINK, CYAN))
    for brightness in (on_pink, on_cyan):
        assert brightness.shape == (1, 1, 16, 16)
        assert (brightness[0, 0, 0] - brightness[0, 0, 1]).min() > 0.9  # nearly an octave
    difference = on_pink - on_cyan
    assert difference.max() - difference.min() < 0.02


def test_color_is_the_same_under_every_pattern():
    striped, dotted = (to_opponents(painted(PINK, pattern))[1] for pattern in (STRIPES, DOTS))
    assert striped.shape == (1, 3, 16, 16)
    assert (striped - dotted).abs().max() < 0.25
    other = to_opponents(painted(CYAN, STRIPES))[1]
    assert (striped - other).abs().amax(1).min() > 0.8


def places(features, config):
    """All but the vectors of words, as `PartsEncoder` lays them side by side."""
    return features[:, : config.width - 3 * (config.width // PartsEncoder.SHARE)]


def scores(encoder, picture):
    """Of the words of each dimension, by its name."""
    _, found = encoder(picture, named=True)
    named = {word for words in VALUE_WORDS.values() for word in words} - {*VALUE_WORDS["size"]}
    assert found.isfinite().any(0).nonzero()[:, 0].tolist() == sorted(named)
    return {name: found[:, words] for name, words in VALUE_WORDS.items() if name != "size"}


def test_shapes_are_named_whatever_the_texture_and_colors_too():
    torch.manual_seed(0)
    encoder = build_encoder(tiny(encoder="parts", image_size=(16, 16))).eval()
    striped, dotted = (scores(encoder, painted(PINK, pattern)) for pattern in (STRIPES, DOTS))
    for name in ("shape", "color"):
        change = (striped[name] - dotted[name]).abs().max()
        assert change < 0.3 * striped[name].std()
    assert (striped["texture"] - dotted["texture"]).abs().max() > 0.3 * striped["texture"].std()


def test_textures_are_named_whatever_the_color():
    torch.manual_seed(0)
    encoder = build_encoder(tiny(encoder="parts", image_size=(16, 16))).eval()
    with torch.no_grad():
        encoder.where.weight.zero_()  # looked at alike, wherever the silhouette stands
    pink, cyan = (scores(encoder, painted(color, STRIPES)) for color in (PINK, CYAN))
    assert (pink["texture"] - cyan["texture"]).abs().max() < 0.1 * pink["texture"].std()
    assert (pink["color"] - cyan["color"]).abs().max() > 0.3 * pink["color"].std()


def test_only_words_pass_from_keyholes():
    """Two pictures that are named alike differ in their features by places at most."""
    torch.manual_seed(0)
    config = tiny(encoder="parts", image_size=(16, 16))
    encoder = build_encoder(config).eval()
    for namer in encoder.names.values():
        with torch.no_grad():
            namer[-1].weight.zero_()
    pink, cyan = (encoder(painted(color, STRIPES)) for color in (PINK, CYAN))
    least = places(pink, config).shape[1]
    assert torch.equal(pink[:, least:], cyan[:, least:])
    assert not torch.equal(pink, cyan)


def test_only_in_training_silhouettes_come_in_orders_of_colors_that_torch_draws():
    config = tiny(encoder="parts")
    encoder, given = build_encoder(config), images(1, config).expand(12, -1, -1, -1)
    torch.manual_seed(0)
    found = places(encoder(given), config)
    kinds = (found[:, None] - found).abs().amax(-1) < 1e-4
    assert 1 < len(kinds.unique(dim=0)) <= 6
    torch.manual_seed(0)
    assert torch.equal(places(encoder(given), config), found)
    plain = places(encoder.eval()(given), config)
    torch.testing.assert_close(plain, plain[:1].expand_as(plain))


WHITE, FLOOR = (1.0, 1.0, 1.0), (0.45, 0.42, 0.38)


def on_the_floor(color):
    """A uint8 picture of something in the middle of the floor."""
    middle = torch.zeros(16, 16)
    middle[4:12, 4:12] = 1.0
    return painted(FLOOR, 1.0 - middle) + painted(color, middle * STRIPES)


def test_bleached_silhouettes_of_any_color_are_those_of_white_ones():
    """In training only; what is white already, and the room, stay as they are."""
    torch.manual_seed(0)
    given = torch.cat([on_the_floor(color) for color in (PINK, CYAN, WHITE)])
    config = tiny(encoder="parts", image_size=(16, 16))
    encoders = {bleach: build_encoder(replace(config, bleach=bleach)) for bleach in (0.0, 1)}
    encoders[1].load_state_dict(encoders[0].state_dict())
    seen = {}
    for bleach, encoder in encoders.items():
        encoder.silhouettes.register_forward_pre_hook(
            lambda _, args, bleach=bleach: seen.update({bleach: args[0]})
        )
        torch.manual_seed(1)
        encoder(given)
    white = to_opponents(given[2:])[1]
    floor = (white - white.amax(1, keepdim=True)).abs().amax(1)[0] > 0
    for found, order in zip(seen[1], seen[0], strict=True):
        close = {"atol": 0.05, "rtol": 0.0}  # the darker, the less of it is color
        torch.testing.assert_close(found[:, ~floor], white[0][:, ~floor], **close)
        assert torch.equal(found[:, floor], order[:, floor]), "in whatever order its channels came"
    assert (seen[0][:2] - seen[1][:2]).abs().amax((1, 2, 3)).min() > 0.75, "both were painted"
    for encoder in encoders.values():
        encoder.eval()(given)
    assert torch.equal(seen[0], seen[1])


def test_only_some_pictures_are_bleached():
    torch.manual_seed(0)
    encoder = build_encoder(tiny(encoder="parts", image_size=(16, 16), bleach=0.25))
    encoder.silhouettes.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    seen = []
    encoder(on_the_floor(CYAN).expand(400, -1, -1, -1))
    middle = seen[0][:, :, 8, 8]
    white = (middle == middle[:, :1]).all(1)
    assert 0.17 < white.float().mean() < 0.33


def test_black_has_a_brightness_and_all_is_about_as_large_as_pixels():
    greys = torch.arange(256, dtype=torch.uint8)[None, :, None, None].expand(1, 256, 1, 3)
    for signal in to_opponents(greys):
        assert signal.isfinite().all()
        assert signal.abs().max() < 3
