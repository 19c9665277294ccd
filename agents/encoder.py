"""Pixels -> features, and back for the auxiliary reconstruction."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from agents.config import STEM, AgentConfig


def build_encoder(config: AgentConfig) -> nn.Module:
    """The encoder that the config names: uint8 (N, H, W, 3) -> (N, width)."""
    return ConvEncoder(config) if config.encoder == "conv" else ResNetEncoder(config)


def to_pixels(images: Tensor) -> Tensor:
    """uint8 (N, H, W, 3) -> float in [-2, 2], (N, 3, H, W) in channels-last memory.

    The permuted view of packed RGB bytes already *is* channels-last: nothing is shuffled.
    """
    return images.permute(0, 3, 1, 2).to(_compute_dtype(images)) / 64.0 - 2.0


def keep_scale(convolution: nn.Conv2d) -> nn.Conv2d:
    """He initialization: what the picture varies must reach the memory as loud as the rest.

    With torch's default, features vary 300 times less between images than the embeddings that
    they are added to, and nothing is learnt from the picture for most of a run.
    """
    nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
    assert convolution.bias is not None
    nn.init.zeros_(convolution.bias)
    return convolution


class Residual(nn.Module):
    """x + conv(relu(conv(relu(x)))), begun as the identity plus a little."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        for convolution in (self.first, self.second):
            keep_scale(convolution)
        with torch.no_grad():
            self.second.weight.mul_(0.5)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(F.relu(self.first(F.relu(x))))


class ConvEncoder(nn.Module):
    """A coarse first convolution, then IMPALA-style stages of stride 2 with a residual block.

    Nine tenths of a plain encoder's time go into its first, finest maps; a first convolution of
    stride 4 makes the whole agent half as fast again, and learns more per frame besides. There
    is no pooling over places: where an object stands steers the agent, so the last map is
    flattened whole.
    """

    def __init__(self, config: AgentConfig) -> None:
        super().__init__()
        first, *others = config.channels
        stages: list[nn.Module] = [
            keep_scale(nn.Conv2d(3, first, 2 * STEM, stride=STEM, padding=STEM // 2)),
            nn.ReLU(),
        ]
        before = first
        for channels in others:
            stages.append(keep_scale(nn.Conv2d(before, channels, 3, stride=2, padding=1)))
            stages.append(Residual(channels))
            before = channels
        self.stages = nn.Sequential(*stages).to(memory_format=torch.channels_last)
        height, width = (_halved(side // STEM, len(others)) for side in config.image_size)
        self.out = nn.Linear(before * height * width, config.width)
        self.norm = nn.LayerNorm(config.width)

    def forward(self, images: Tensor) -> Tensor:
        return self.norm(self.out(F.relu(self.stages(to_pixels(images))).flatten(1)))


class ResNetEncoder(nn.Module):
    """torchvision's ResNet-18, untrained, without its pooling (see `ConvEncoder`).

    Its batch normalization becomes group normalization: steps of one episode are anything but
    independent, and acting sees one frame at a time.
    """

    def __init__(self, config: AgentConfig) -> None:
        super().__init__()
        from torchvision.models import resnet18  # heavy, and wanted here only

        network = resnet18(weights=None, norm_layer=lambda channels: nn.GroupNorm(16, channels))
        self.body = nn.Sequential(*list(network.children())[:-2])
        self.body.to(memory_format=torch.channels_last)
        height, width = (_halved(side, 5) for side in config.image_size)
        self.out = nn.Linear(512 * height * width, config.width)
        self.norm = nn.LayerNorm(config.width)

    def forward(self, images: Tensor) -> Tensor:
        return self.norm(self.out(self.body(to_pixels(images)).flatten(1)))


class Redrawer(nn.Module):
    """Redraws a small image from features; its loss is auxiliary, so it is cheap and blurred.

    Features (N, width) -> (N, 3, h, w) in [0, 1], where (h, w) is the image size over
    `SHRUNK`; compare with the observation shrunk likewise.
    """

    #: How much smaller than the observation the redrawn image is.
    SHRUNK = 4

    def __init__(self, config: AgentConfig) -> None:
        super().__init__()
        self.size = tuple(max(1, side // self.SHRUNK) for side in config.image_size)
        self.seed_size = tuple(-(-side // 4) for side in self.size)
        self.seed = nn.Linear(config.width, 32 * self.seed_size[0] * self.seed_size[1])
        self.grow = nn.ConvTranspose2d(32, 16, 4, stride=2, padding=1)
        self.draw = nn.ConvTranspose2d(16, 3, 4, stride=2, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        maps = self.seed(F.relu(features)).unflatten(1, (32, *self.seed_size))
        images = self.draw(F.relu(self.grow(F.relu(maps))))
        return torch.sigmoid(images[..., : self.size[0], : self.size[1]].float())


def _halved(side: int, times: int) -> int:
    """Side of a map after that many stride-2 convolutions with padding."""
    for _ in range(times):
        side = (side + 1) // 2
    return side


def _compute_dtype(images: Tensor) -> torch.dtype:
    kind = images.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else torch.float32
