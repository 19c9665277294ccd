"""Pixels -> features, and back for the auxiliary reconstruction."""

from collections.abc import Iterator
from typing import Literal, overload

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from agents.config import STEM, AgentConfig
from oddoneout.rules.language import VALUE_WORDS

#: What is added to brightness, of 255, so that black has a logarithm and noise in the dark none.
_DARK = 6.0
#: How far the channels of what is painted, white apart, lie from one another in `to_opponents`'
#: color, of 3: in rooms at most 0.6, in objects from 0.9 (pink).
_PAINTED = 0.75


def build_encoder(config: AgentConfig) -> nn.Module:
    """The encoder that the config names: uint8 (N, H, W, 3) -> (N, width)."""
    encoders = {
        "conv": ConvEncoder,
        "opponent": OpponentEncoder,
        "parts": PartsEncoder,
        "resnet18": ResNetEncoder,
    }
    return encoders[config.encoder](config)


def to_pixels(images: Tensor) -> Tensor:
    """uint8 (N, H, W, 3) -> float in [-2, 2), (N, 3, H, W) in channels-last memory.

    The permuted view of packed RGB bytes already *is* channels-last: nothing is shuffled. Both
    steps are exact even in bfloat16, and in place, on the converted copy.
    """
    return images.permute(0, 3, 1, 2).to(_compute_dtype(images)).sub_(128.0).div_(64.0)


def to_opponents(images: Tensor) -> tuple[Tensor, Tensor]:
    """uint8 (N, H, W, 3) -> logarithm of brightness (N, 1, H, W) and color (N, 3, H, W).

    Brightness is that of the brightest of red, green and blue; color is each one's share of it.
    A pattern, a shadow or a darker paint multiplies all three: it adds one number to the logarithm
    and leaves the color alone. Both are about as large as `to_pixels`.

    That light and paint part in logarithms: E. H. Land & J. J. McCann, "Lightness and Retinex
    Theory", 1971. That eyes send on brightness and color apart: E. Hering's opponent process.
    """
    dtype, levels = _compute_dtype(images), torch.arange(256.0, device=images.device) + _DARK
    red, green, blue = images.unbind(-1)
    brightest = torch.maximum(torch.maximum(red, green), blue)[:, None]
    # Of 256 levels: looked up.
    place = brightest.flatten().int()
    brightness = (levels.log2() - 5.3).to(dtype).index_select(0, place).view(brightest.shape)
    scale = (3.0 / levels).to(dtype).index_select(0, place).view(brightest.shape)
    return brightness, images.permute(0, 3, 1, 2).to(dtype).mul_(scale).sub_(1.8)


class Standardized(nn.Conv2d):
    """A convolution whose filters are standardized, each with a gain of its own.

    Features then vary between images from the start, as loud as whatever they meet, and
    learning is as fast as with normalized activations at none of their cost per pixel. (With
    torch's own initialization, features vary 300 times less than the embeddings that they are
    added to, and nothing is learnt from the picture for most of a run.)
    """

    def __init__(self, before: int, after: int, kernel: int, stride: int = 1, gain: float = 1.0):
        super().__init__(before, after, kernel, stride, padding=(kernel - 1) // 2)
        assert self.bias is not None
        nn.init.zeros_(self.bias)
        # The root makes up for what the rectifier that follows takes away.
        self.gain = nn.Parameter(torch.full((after,), gain * 2.0**0.5))

    def forward(self, input: Tensor) -> Tensor:
        variance, mean = torch.var_mean(self.weight, dim=(1, 2, 3), keepdim=True)
        scale = self.gain[:, None, None, None] * torch.rsqrt(
            variance * self.weight[0].numel() + 1e-4
        )
        return self._conv_forward(input, (self.weight - mean) * scale, self.bias)


class Residual(nn.Module):
    """relu(x + conv(relu(conv(x)))), begun as the identity plus a little."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = Standardized(channels, channels, 3)
        self.second = Standardized(channels, channels, 3, gain=0.5)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.second(F.relu(self.first(x), inplace=True)), inplace=True)


class Stages(nn.Sequential):
    """A coarse first convolution, then IMPALA-style stages of stride 2; a residual block each.

    A plain encoder spends its time on its first, finest maps; a first convolution of stride
    `STEM` spends it where it teaches most. There is no pooling over places: where an object
    stands steers the agent, so the last map, still fine, is to be flattened whole.

    Args:
        before: channels that come in.
        config: `channels` and `image_size` count.

    Attributes:
        outputs: numbers in the last map.
    """

    def __init__(self, before: int, config: AgentConfig) -> None:
        stages: list[nn.Module] = []
        kernel, stride = STEM + 2, STEM
        height, width = config.image_size
        for channels in config.channels:
            stages.append(Standardized(before, channels, kernel, stride))
            stages += [nn.ReLU(inplace=True), Residual(channels)]
            height, width = (
                (side + 2 * ((kernel - 1) // 2) - kernel) // stride + 1 for side in (height, width)
            )
            before, kernel, stride = channels, 3, 2
        super().__init__(*stages)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.outputs = before * height * width


class ConvEncoder(nn.Module):
    """`Stages` over the three colors."""

    def __init__(self, config: AgentConfig) -> None:
        super().__init__()
        self.stages = Stages(3, config)
        self.out = nn.Linear(self.stages.outputs, config.width)
        self.norm = nn.LayerNorm(config.width)

    def forward(self, images: Tensor) -> Tensor:
        return self.norm(self.out(self.stages(to_pixels(images)).flatten(1)))


class OpponentEncoder(nn.Module):
    """`Stages` over brightness and others over color, which meet at the end only.

    What is seen in brightness, textures above all, is then the same on every color, and what is
    seen in color, silhouettes too, the same under every texture: an agent recognizes combinations
    that it was never shown (docs/training.md has the measurement).
    """

    def __init__(self, config: AgentConfig) -> None:
        super().__init__()
        self.brightness, self.color = Stages(1, config), Stages(3, config)
        outputs = self.brightness.outputs + self.color.outputs
        self.out = nn.Linear(outputs, config.width)
        self.norm = nn.LayerNorm(config.width)

    def forward(self, images: Tensor) -> Tensor:
        brightness, color = to_opponents(images)
        maps = self.brightness(brightness).flatten(1), self.color(color).flatten(1)
        return self.norm(self.out(torch.cat(maps, 1)))


class Keyholes(nn.Sequential):
    """What is seen through a keyhole of `side` pixels, one at every second place.

    Local features: W. Brendel & M. Bethge, "Approximating CNNs with bag-of-local-features models
    works surprisingly well on ImageNet", ICLR 2019.
    """

    def __init__(self, before: int, after: int, side: int) -> None:
        super().__init__(
            Standardized(before, after, side, 2),
            nn.ReLU(inplace=True),
            Standardized(after, after, 1),
            nn.ReLU(inplace=True),
        )
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


class PartsEncoder(nn.Module):
    """Shape, color and texture, each named by a network that cannot see the other two.

    Who sees a whole object sees a texture *on a shape*, in a color, and learns just that where
    demonstrations hold some combinations only. So `Stages` see silhouettes: shares of color, which
    hold no texture, and in training with red, green and blue in an order of each picture's own, as
    no shape should be known by its color; with `bleach`, in some pictures with everything painted
    turned white, as no order of colors makes it that, and no other color stands out so little. They
    say which places are looked at, `READERS` at a time. What is there is seen through keyholes,
    which show of a shape no more than an edge: textures through `TEXTURE_SIDE` pixels of
    brightness, colors through `COLOR_SIDE` pixels of color.

    What each of them tells is the word that it would say, and nothing else: a `SHARE`th of the
    features for each is its words' vectors, as likely as it takes each to be. So none can tell in
    passing what another should have learnt to see. What is left of the features are places
    (docs/training.md has the measurement). Words between pictures and what is made of them: P. W.
    Koh et al., "Concept Bottleneck Models", ICML 2020.
    """

    TEXTURE_SIDE = 7
    COLOR_SIDE = 3
    READERS = 4
    SHARE = 8

    def __init__(self, config: AgentConfig) -> None:
        super().__init__()
        seen, small = config.channels[-1], config.width // self.SHARE
        self.vocabulary, self.bleach = config.vocabulary, config.bleach
        self.silhouettes = Stages(3, config)
        self.textures = Keyholes(1, seen, self.TEXTURE_SIDE)
        # Of three numbers there is less to tell.
        few = -(-seen // 3)
        self.colors = Keyholes(3, few, self.COLOR_SIDE)
        self.where = nn.Conv2d(seen, self.READERS, 1)
        # As a vector, which the optimizer takes for the bias that it is.
        self.usual = nn.Parameter(torch.zeros(self.READERS * (self.silhouettes.outputs // seen)))
        told = {
            "shape": self.silhouettes.outputs,
            "texture": self.READERS * seen,
            "color": self.READERS * few,
        }
        words = {name: VALUE_WORDS[name] for name in told}
        self.names = nn.ModuleDict(
            {name: _namer(told[name], config.width // 2, len(words[name])) for name in told}
        )
        self.symbols = nn.ModuleDict({name: nn.Embedding(len(words[name]), small) for name in told})
        for name in told:
            self.register_buffer(f"{name}_words", torch.tensor(words[name]), persistent=False)
        self.out = nn.Linear(self.silhouettes.outputs, config.width - len(told) * small)
        self.norm = nn.LayerNorm(config.width - len(told) * small)

    @overload
    def forward(self, images: Tensor, named: Literal[False] = False) -> Tensor: ...

    @overload
    def forward(self, images: Tensor, named: Literal[True]) -> tuple[Tensor, Tensor]: ...

    def forward(self, images: Tensor, named: bool = False) -> Tensor | tuple[Tensor, Tensor]:
        """What is seen, and perhaps how it would be named.

        Args:
            images: uint8 (N, H, W, 3).
            named: whether the names are asked for.

        Returns:
            Features (N, width), and if asked scores of every word, float32 (N, vocabulary), -inf
            for those that name no shape, color or texture; a dimension's are to be compared.
        """
        brightness, color = to_opponents(images)
        seen = self.silhouettes(_repainted(color, self.bleach) if self.training else color)
        places = self.where(seen).flatten(2) + self.usual.view(self.READERS, -1)
        weights = places.float().softmax(-1).to(seen.dtype)

        def read(maps: Tensor) -> Tensor:
            shown = F.adaptive_avg_pool2d(maps, seen.shape[2:]).flatten(2)
            return (weights @ shown.mT).flatten(1)

        told = {
            "shape": seen.flatten(1),
            "texture": read(self.textures(brightness)),
            "color": read(self.colors(color)),
        }
        features = [self.norm(self.out(seen.flatten(1)))]
        scores = seen.new_full((len(images), self.vocabulary), -torch.inf, dtype=torch.float32)
        for name, of in told.items():
            found = self.names[name](of).float()
            likely = found.softmax(-1).to(seen.dtype)
            features.append(likely @ self.symbols[name].weight.to(seen.dtype))
            scores = scores.index_copy(1, self.get_buffer(f"{name}_words"), found)
        whole = torch.cat(features, 1)
        return (whole, scores) if named else whole

    def spoken(self) -> Iterator[tuple[slice, Tensor, Tensor]]:
        """Of each dimension, which of the features are its words' vectors, the ids of the K words
        and their vectors (K, D)."""
        begin = len(self.norm.bias)
        for name, symbols in self.symbols.items():
            vectors = symbols.get_parameter("weight")
            end = begin + vectors.shape[1]
            yield slice(begin, end), self.get_buffer(f"{name}_words"), vectors
            begin = end


def _namer(seen: int, hidden: int, words: int) -> nn.Sequential:
    return nn.Sequential(
        nn.LayerNorm(seen),
        nn.Linear(seen, hidden),
        nn.ReLU(inplace=True),
        nn.Linear(hidden, words),
    )


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


def _repainted(color: Tensor, bleach: float) -> Tensor:
    """Color (N, 3, H, W), see `to_opponents`, as silhouettes meet it in training.

    Its channels come in another order for every picture. With probability `bleach`, whatever is
    painted in a picture turns white; the room stays as it is. Drawn by torch.
    """
    order = torch.rand(color.shape[:2], device=color.device).argsort(1)[:, :, None, None]
    moved = color.gather(1, order.expand_as(color))
    if bleach:
        chosen = torch.rand(len(color), device=color.device) < bleach
        most = moved.amax(1, keepdim=True)
        painted = most - moved.amin(1, keepdim=True) > _PAINTED
        moved = torch.where(chosen[:, None, None, None] & painted, most, moved)
    return moved.contiguous(memory_format=torch.channels_last)


def _compute_dtype(images: Tensor) -> torch.dtype:
    kind = images.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else torch.float32
