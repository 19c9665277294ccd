"""Every number of an agent and of its training, as frozen values that refuse contradictions."""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from types import MappingProxyType
from typing import Any, Literal, get_args

from agents.precision import Precision
from oddoneout.actions import Action
from oddoneout.rules import language

#: Stride of the first convolution of all encoders but "resnet18".
STEM = 4

#: A run's seed makes room for its steps and processes in one number of 63 bits.
MOST_SEED = 2**32 - 1

Encoder = Literal["conv", "opponent", "parts", "resnet18"]


def _at_least(config: Any, name: str, lowest: int) -> None:
    if not lowest <= getattr(config, name) < math.inf:  # or no number
        raise ValueError(f"{name} must be at least {lowest}, got {getattr(config, name)}")


def _whole(config: Any, name: str, lowest: int) -> None:
    value = getattr(config, name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"{name} must be an integer, got {value!r}")
    _at_least(config, name, lowest)


def _integers(config: Any, name: str) -> None:
    value = getattr(config, name)
    if not isinstance(value, tuple) or not all(type(part) is int for part in value):
        raise ValueError(f"{name} must be a tuple of integers, got {value!r}")


def _switches(config: Any) -> None:
    """Every setting that is true or false by default is either."""
    for setting in fields(config):
        value = getattr(config, setting.name)
        if isinstance(setting.default, bool) and not isinstance(value, bool):
            raise ValueError(f"{setting.name} must be true or false, got {value!r}")


def _one_of(config: Any, name: str, allowed: tuple[str, ...]) -> None:
    if getattr(config, name) not in allowed:
        raise ValueError(f"{name} must be one of {allowed}, got {getattr(config, name)!r}")


def from_json(value: Any) -> Any:
    """The value with tuples for lists, at any depth: JSON has no tuples, settings no lists."""
    if isinstance(value, Mapping):
        return {key: from_json(part) for key, part in value.items()}
    return tuple(map(from_json, value)) if isinstance(value, list) else value


def vocabulary_fingerprint(words: tuple[str, ...] = language.VOCABULARY) -> str:
    """A short digest of a vocabulary: agents and data agree on word ids iff theirs are equal."""
    return hashlib.sha256("\n".join(words).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentConfig:
    """The shape of an agent.

    Attributes:
        image_size: (height, width) of the observations, in pixels.
        actions: number of actions.
        vocabulary: number of words, the padding word (id 0) included.
        fingerprint: digest of the words, see `vocabulary_fingerprint`.
        sentence_words: length to which explanations are encoded.
        instruction_words: length to which instructions are encoded.
        encoder: "conv" (small residual network), "opponent" (two of them, for brightness and
            for color), "parts" (silhouettes, textures and colors are named each by a network that
            cannot see the others) or "resnet18" (torchvision's, untrained).
        channels: channels of each stage of the "conv" encoder, of both of "opponent", or of the one
            for silhouettes of "parts".
        bleach: probability, in training, that the silhouettes of "parts" see a picture with
            everything painted turned white: white shapes are then known by those of every color.
        width: width of the memory and of the state.
        layers: transformer layers of the memory.
        heads: attention heads of each layer.
        context: longest episode, in steps.
        trial_memory: cut the memory at trial boundaries (a baseline that cannot carry
            what an experiment showed into the next trial).
        forget_transformed: once a transform has changed the picture, forget what was seen since the
            latest choice: it is no longer so (see `agents.memory.forgotten`). For demonstrations by
            an expert that looks at everything again (``look_again``).
        forget_vain: forget at a transform that has changed nothing, too: for demonstrations by an
            expert that does so itself (``start_over``).
        deed_layers: layers of a second memory, a quarter as wide, of what was done and what it
            brought: all episode long, and without a picture. The memory of pictures then ends with
            each room, and is told of the deeds in the rooms before (see `agents.memory`); of those
            in this one, with `forget_transformed`, it knows only that there were some. 0: one
            memory for everything.
        decoder_width: width of the decoder that spells explanations.
        compositional: the decoder knows of earlier words only what kind they were of, so that
            what it says of one dimension cannot depend on what it said of another.
        dropout: probability, within the memory.
        reconstruct: add a head that redraws the image from its features (auxiliary loss).
        predict_reward: add a head that predicts the reward about to come (auxiliary loss).
        recollect: add a head that tells which words of explanations were said in the trial so
            far, once or more often (auxiliary loss, see `agents.recollection`).

    Raises:
        ValueError: if the numbers contradict each other.
    """

    image_size: tuple[int, int] = (64, 64)
    actions: int = len(Action)
    vocabulary: int = len(language.VOCABULARY)
    fingerprint: str = vocabulary_fingerprint()
    sentence_words: int = language.MAX_WORDS
    instruction_words: int = language.INSTRUCTION_WORDS
    encoder: Encoder = "conv"
    channels: tuple[int, ...] = (32, 64)
    bleach: float = 0.0
    width: int = 192
    layers: int = 2
    heads: int = 4
    context: int = 448
    trial_memory: bool = False
    forget_transformed: bool = False
    forget_vain: bool = False
    deed_layers: int = 0
    decoder_width: int = 128
    compositional: bool = True
    dropout: float = 0.0
    reconstruct: bool = False
    predict_reward: bool = False
    recollect: bool = True

    def __post_init__(self) -> None:
        _switches(self)
        for setting in fields(self):
            if type(setting.default) is int:
                _whole(self, setting.name, 0 if setting.name == "deed_layers" else 1)
        for name in ("image_size", "channels"):
            _integers(self, name)
        _one_of(self, "encoder", get_args(Encoder))
        if not self.channels or min(self.channels) < 1:
            raise ValueError(f"channels must name at least one stage, each >= 1: {self.channels}")
        if len(self.image_size) != 2 or min(self.image_size) < self.reduction:
            raise ValueError(
                f"image_size is (height, width), each at least {self.reduction} pixels for the "
                f"{self.encoder!r} encoder, got {self.image_size}"
            )
        if self.width % (2 * self.heads):
            raise ValueError(
                f"width must be a multiple of 2 x heads (rotary positions turn pairs): "
                f"width={self.width}, heads={self.heads}"
            )
        if self.encoder == "parts" and self.width < 8:
            raise ValueError(f"width must be at least 8 for the 'parts' encoder, got {self.width}")
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"dropout must lie in [0, 1), got {self.dropout}")
        if not 0.0 <= self.bleach <= 1.0:
            raise ValueError(f"bleach must lie in [0, 1], got {self.bleach}")
        if self.bleach and self.encoder != "parts":
            raise ValueError(
                f"bleach is for the 'parts' encoder, got bleach={self.bleach} with {self.encoder!r}"
            )
        if self.forget_vain and not self.forget_transformed:
            raise ValueError("forget_vain needs forget_transformed: it adds to what that forgets")
        if self.deed_layers:
            if self.trial_memory:
                raise ValueError(
                    "trial_memory cuts off all that a memory of deeds would tell: "
                    f"deed_layers={self.deed_layers} must be 0 with it"
                )
            _ = self.deeds  # whose width must do, too

    @property
    def deeds(self) -> "AgentConfig":
        """The second memory's own numbers: width, layers and heads."""
        width, heads = self.width // 4, max(1, self.heads // 4)
        if width % (2 * heads):
            raise ValueError(
                "a quarter of width must be a multiple of 2 x a quarter of heads with deed_layers: "
                f"width={self.width}, heads={self.heads}"
            )
        return replace(
            self,
            width=width,
            heads=heads,
            layers=self.deed_layers,
            deed_layers=0,
            forget_transformed=False,
            forget_vain=False,
        )

    @property
    def marks_rooms(self) -> bool:
        """Whether it matters where a room was changed, and where its choice was settled."""
        return self.forget_transformed or self.deed_layers > 0

    @property
    def reduction(self) -> int:
        """By how much the encoder shrinks an image's side."""
        return 32 if self.encoder == "resnet18" else STEM * 2 ** (len(self.channels) - 1)

    @property
    def head_width(self) -> int:
        """Width of one attention head."""
        return self.width // self.heads

    @property
    def no_action(self) -> int:
        """Index that stands for "no previous action" at an episode's first step."""
        return self.actions


#: Sizes to start from: for tests, for training on a few CPU cores, for a GPU.
PRESETS: Mapping[str, AgentConfig] = MappingProxyType(
    {
        "tiny": AgentConfig(channels=(8, 16), width=32, layers=1, heads=2, decoder_width=32),
        "cpu": AgentConfig(),
        "gpu": AgentConfig(
            channels=(64, 128, 128), width=512, layers=4, heads=8, decoder_width=256
        ),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingConfig:
    """How an agent is trained.

    Attributes:
        frames: budget, in frames trained on (padding does not count).
        glimpses: share of that budget that goes, first of all, to single pictures of the
            demonstrations instead of whole episodes (see `agents.glimpses`).
        batch_episodes: most episodes in a batch.
        batch_frames: most frames in a batch; long episodes come in smaller batches.
        batch_glimpses: pictures in a batch of glimpses; 0 for a third of `batch_frames`. From more
            and smaller batches an encoder learns more of as many pictures, and a little slower.
        optimizer: "muon" (for hidden matrices; AdamW for the rest) or "adamw" for all.
        lr: AdamW's peak learning rate.
        muon_lr: Muon's.
        betas: AdamW's two decay rates.
        weight_decay: of matrices (never of biases and norms).
        warmup_steps: steps of linear warm-up.
        schedule: "cosine", or "wsd" (warm up, stay, decay over the last fifth; with `freeze_at`
            once before it and once after).
        grad_clip: largest gradient norm.
        label_smoothing: of the action loss.
        decisive_weight: weight, in the action loss, of the steps whose label is to choose or
            to transform; they are rare and decide everything.
        explanation_weight: of the explanation loss; 0 is the no-explanation arm.
        foretell_weight: within the explanation loss, of predicting during a search how its choice
            will be explained.
        recollect_weight: within the explanation loss, of telling which words were said before,
            if the agent has that head.
        naming_weight: within the explanation loss, of naming what is looked at by a network of
            each dimension's own, if the encoder does ("parts").
        silence_weight: within the explanation loss, of saying nothing where nothing stands.
        reconstruction_weight: of the image loss, if the agent has that head.
        reward_weight: of the reward loss, if the agent has that head.
        mirror: probability that an episode is mirrored, with left and right turns swapped.
        shift: largest random shift of an episode's images, in pixels.
        lapse: probability, at each step of a search, that an agent with `forget_transformed`
            forgets as if something had been transformed; in training only (see `agents.augment`).
        leave_open: do not say of words that they are wrong where the demonstrations never put
            them together with the rest of the sentence (see `agents.unmet`): for rooms that hold
            some combinations only.
        rename: in every batch of features, values take one another's names, in what is seen and in
            what is said (see `agents.renaming`): for an encoder that names them ("parts") and
            stays as it is before the end (`freeze_at`).
        precision: "bf16" (autocast), "float32", or "auto": bf16 where the device computes in it.
        seed: of initialization, order and augmentation, at most `MOST_SEED`.
        start: a run or checkpoint whose weights training begins from; "" begins anew. The agent
            may have more layers than that one, of either memory, the head that recollects or not,
            and forget more or less.
        freeze_at: share of the budget after which the encoder stays as it is: every picture is
            encoded once, with its mirror image where episodes are mirrored, and the rest learns
            on, several times as fast. 1: never; 0: from the beginning, with `start`'s encoder.

    Raises:
        ValueError: if a number is out of its range.
    """

    frames: int = 2_000_000
    glimpses: float = 0.3
    batch_episodes: int = 16
    batch_frames: int = 1024
    batch_glimpses: int = 0
    optimizer: Literal["muon", "adamw"] = "muon"
    lr: float = 1e-3
    muon_lr: float = 4e-3
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = 0.01
    warmup_steps: int = 200
    schedule: Literal["cosine", "wsd"] = "wsd"
    grad_clip: float = 1.0
    label_smoothing: float = 0.0
    decisive_weight: float = 1.0
    explanation_weight: float = 1.0
    silence_weight: float = 0.1
    foretell_weight: float = 0.5
    recollect_weight: float = 0.3
    naming_weight: float = 1.0
    reconstruction_weight: float = 0.1
    reward_weight: float = 0.1
    mirror: float = 0.5
    shift: int = 2
    lapse: float = 0.0
    leave_open: bool = False
    rename: bool = False
    precision: Precision = "auto"
    seed: int = 0
    start: str = ""
    freeze_at: float = 1.0

    def __post_init__(self) -> None:
        for name in ("frames", "batch_episodes", "batch_frames"):
            _whole(self, name, 1)
        for name in ("batch_glimpses", "warmup_steps", "shift", "seed"):
            _whole(self, name, 0)
        if self.seed > MOST_SEED:
            raise ValueError(f"seed must be at most {MOST_SEED}, got {self.seed}")
        for setting in fields(self):
            if setting.name == "weight_decay" or setting.name.endswith("_weight"):
                _at_least(self, setting.name, 0)
        _switches(self)
        _one_of(self, "schedule", ("cosine", "wsd"))
        _one_of(self, "optimizer", ("muon", "adamw"))
        _one_of(self, "precision", get_args(Precision))
        for name in ("lr", "muon_lr", "grad_clip"):
            if not 0.0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        if len(self.betas) != 2 or not all(0.0 <= beta < 1.0 for beta in self.betas):
            raise ValueError(f"betas are two numbers in [0, 1), got {self.betas}")
        if not 0.0 <= self.label_smoothing < 1.0:
            raise ValueError(f"label_smoothing must lie in [0, 1), got {self.label_smoothing}")
        if not 0.0 <= self.glimpses < 1.0:
            raise ValueError(f"glimpses is a share below 1, got {self.glimpses}")
        for name in ("mirror", "lapse"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} is a probability, got {getattr(self, name)}")
        if not self.glimpses <= self.freeze_at <= 1.0:
            raise ValueError(
                "freeze_at is a share of at most 1 and not below glimpses "
                f"({self.glimpses}), got {self.freeze_at}"
            )
        if self.rename and self.freeze_at == 1.0:
            raise ValueError(
                "rename is for features of an encoder that stays: set freeze_at below 1"
            )
        if not isinstance(self.start, str):
            raise ValueError(f"start must be a path, as text, or empty, got {self.start!r}")
        if self.freeze_at == 0.0 and not self.start:
            raise ValueError("freeze_at 0 keeps the encoder of `start`: name one")
