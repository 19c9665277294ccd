"""Muon for hidden matrices, AdamW for the rest, and how their rates rise and fall."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from agents.config import TrainingConfig
from agents.model import Agent
from agents.muon import Muon
from agents.precision import arithmetic

#: Modules whose matrices are tables or scales: AdamW's, and they do not decay.
_TABLES = (nn.Embedding, nn.LayerNorm, nn.GroupNorm)


def share_of_peak(config: TrainingConfig, step: int, done: float, frozen: bool) -> float:
    """The share of the peak rates at a step, given the share of the budget done before it, and
    whether the encoder stays as it is.

    "cosine" falls from the peak to nothing all along; "wsd" stays and falls in the last fifth.
    Where the encoder is to stay as it is, what comes before that is a run of its own, in which
    "wsd" falls too: an encoder at its peak rate is not at its best. Then rates rise again.
    """
    warm = min(1.0, (step + 1) / max(1, config.warmup_steps))
    if config.schedule == "cosine":
        return warm * max(0.0, 0.5 * (1.0 + math.cos(math.pi * done)))
    if frozen and done < config.freeze_at:
        return 1.0  # a budget of minutes was raised
    begin, end = (config.freeze_at, 1.0) if frozen else (0.0, config.freeze_at)
    gone = (done - begin) / (end - begin) if done < end else 1.0
    if begin > 0.0:
        warm = min(1.0, gone / 0.02)
    return warm * max(0.0, min(1.0, (1.0 - gone) / 0.2))


def trained(agent: Agent) -> dict[str, nn.Parameter]:
    """The parameters that are trained, by name: all but those that were frozen."""
    return {name: p for name, p in agent.named_parameters() if p.requires_grad}


@dataclass(frozen=True, slots=True)
class Optimizers:
    """Optimizers side by side, each with parameters of its own."""

    parts: tuple[torch.optim.Optimizer, ...]

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for part in self.parts:
            part.zero_grad(set_to_none=True)

    def step(self, share: float) -> None:
        """Apply the gradients, at that share of each peak rate."""
        for part in self.parts:
            for group in part.param_groups:
                group["lr"] = share * group["initial_lr"]
            part.step()

    def state(self, parameter: nn.Parameter) -> Mapping[str, Tensor]:
        """What is remembered of a parameter; nothing before its first step."""
        return next((p.state[parameter] for p in self.parts if parameter in p.state), {})

    def restore(self, parameter: nn.Parameter, state: Mapping[str, Tensor]) -> None:
        """Put back what `state` told."""
        for part in self.parts:
            if any(parameter is p for group in part.param_groups for p in group["params"]):
                part.state[parameter] = {
                    name: torch.empty_like(parameter).copy_(value)
                    # Laid out as the parameter is, so that steps are the same to the last bit.
                    if value.shape == parameter.shape
                    else value.to(parameter.device)
                    for name, value in state.items()
                }


def optimizer(agent: Agent, config: TrainingConfig) -> Optimizers:
    """The optimizers of the agent's trained parameters.

    Matrices and filters decay; biases, norms and tables do not. With "muon" those that decay are
    Muon's, but for the heads (actions, words, pixels, rewards) and the reward's way in. The head of
    recollection is Muon's: all that was measured with it was.
    """
    spared = {
        id(p)
        for module in agent.modules()
        if isinstance(module, _TABLES)
        for p in module.parameters(recurse=False)
    }
    heads = {
        id(p)
        for module in (
            agent.previous_reward,
            agent.policy,
            agent.decoder.scores,
            agent.redrawer,
            agent.reward,
        )
        if module is not None
        for p in module.parameters()
    }
    hidden: list[nn.Parameter] = []
    decaying: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for parameter in trained(agent).values():
        if parameter.ndim < 2 or id(parameter) in spared:
            others.append(parameter)
        elif config.optimizer == "muon" and id(parameter) not in heads:
            hidden.append(parameter)
        else:
            decaying.append(parameter)
    decay = config.weight_decay
    groups: list[dict[str, Any]] = [
        {"params": decaying, "weight_decay": decay, "initial_lr": config.lr},
        {"params": others, "weight_decay": 0.0, "initial_lr": config.lr},
    ]
    parts: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(groups, lr=config.lr, betas=config.betas, fused=True)
    ]
    if hidden:
        group = {"params": hidden, "initial_lr": config.muon_lr}
        dtype = arithmetic(config.precision, hidden[0].device)
        parts.append(Muon([group], lr=config.muon_lr, weight_decay=decay, dtype=dtype))
    return Optimizers(tuple(parts))
