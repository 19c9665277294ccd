"""AdamW with the right weights decaying, and how its rate rises and falls."""

import math

import torch
from torch import nn

from agents.config import TrainingConfig
from agents.model import Agent

#: Modules whose matrices are tables or scales, and do not decay.
_UNDECAYED = (nn.Embedding, nn.LayerNorm, nn.GroupNorm)


def learning_rate(config: TrainingConfig, step: int, done: float) -> float:
    """The rate of a step, given the share of the budget that was done before it.

    "cosine" falls from the peak to nothing all along; "wsd" stays and falls in the last fifth.
    """
    warm = min(1.0, (step + 1) / max(1, config.warmup_steps))
    if config.schedule == "cosine":
        fall = 0.5 * (1.0 + math.cos(math.pi * done))
    else:
        fall = min(1.0, (1.0 - done) / 0.2)
    return config.lr * warm * max(0.0, fall)


def trained(agent: Agent) -> dict[str, nn.Parameter]:
    """The parameters that are trained, by name: all but those that were frozen."""
    return {name: p for name, p in agent.named_parameters() if p.requires_grad}


def optimizer(agent: Agent, config: TrainingConfig) -> torch.optim.AdamW:
    """AdamW that lets matrices and filters decay, but no biases, norms or embeddings."""
    spared = {
        id(p)
        for module in agent.modules()
        if isinstance(module, _UNDECAYED)
        for p in module.parameters(recurse=False)
    }
    groups: tuple[list[nn.Parameter], list[nn.Parameter]] = ([], [])
    for parameter in trained(agent).values():
        groups[parameter.ndim < 2 or id(parameter) in spared].append(parameter)
    return torch.optim.AdamW(
        [
            {"params": groups[0], "weight_decay": config.weight_decay},
            {"params": groups[1], "weight_decay": 0.0},
        ],
        lr=config.lr,
        betas=config.betas,
        fused=True,
    )
