"""Batches of random numbers, shaped like demonstrations."""

import torch
from torch import Tensor

from agents.batch import IGNORED, Batch, Inputs, Targets
from agents.config import AgentConfig
from agents.unmet import nothing_unmet


def tiny(**overrides: object) -> AgentConfig:
    """An agent small enough to train within a test."""
    settings: dict[str, object] = {
        "image_size": (24, 32),
        "channels": (8, 16, 16),
        "width": 32,
        "layers": 2,
        "heads": 2,
        "context": 64,
        "decoder_width": 32,
    }
    return AgentConfig(**{**settings, **overrides})  # type: ignore[arg-type]


def random_batch(
    config: AgentConfig, lengths: tuple[int, ...] = (9, 14, 5), seed: int = 0
) -> Batch:
    """Episodes of the given lengths; about half their steps have a sentence standing."""
    generator = torch.Generator().manual_seed(seed)

    def draw(high: int, *shape: int) -> Tensor:
        return torch.randint(high, shape, generator=generator)

    rows, steps, frames = len(lengths), max(lengths), sum(lengths)
    inputs = Inputs(
        images=draw(256, frames, *config.image_size, 3).to(torch.uint8),
        lengths=torch.tensor(lengths),
        instructions=draw(config.vocabulary, rows, steps, config.instruction_words),
        previous_actions=draw(config.actions + 1, rows, steps),
        previous_rewards=draw(2, rows, steps).float(),
        transformed=draw(4, rows, steps) == 0,
        changed=draw(2, rows, steps) == 0,
        settled=draw(8, rows, steps) == 0,
        trials=torch.arange(steps).div(4, rounding_mode="floor").expand(rows, steps),
    )
    valid = inputs.valid
    sentences = 1 + draw(config.vocabulary - 1, 6, config.sentence_words)
    for row in range(6):
        sentences[row, 2 * row :] = 0
    return Batch(
        inputs,
        Targets(
            labels=torch.where(valid, draw(config.actions, rows, steps), IGNORED),
            sentences=sentences,
            told=torch.where(valid & (draw(2, rows, steps) > 0), draw(6, rows, steps), 0),
            coming=torch.where(valid & (draw(2, rows, steps) > 0), draw(6, rows, steps), 0),
            explaining=draw(2, rows, steps) > 0,
            rewards=draw(2, rows, steps).float(),
            apart=nothing_unmet(config.vocabulary),
        ),
    )
