"""A causal transformer over an episode's steps, whole at once or one step at a time.

An agent may have two of them (`AgentConfig.deed_layers`). The one of `Deeds` never gets to see a
picture, and keeps the whole episode: what was done, and what it brought. The one of pictures then
ends with each room, and is told what the other made of all rooms before. So what was tried in
earlier rooms is known from what was done there, and not guessed from what they looked like; and
what a transform did to the present room is seen, and not reckoned from the moves since. (With
`forget_transformed` it knows of that room only whether something was transformed in it, see
`agents.model.Agent`.)
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from agents.config import AgentConfig


@dataclass(frozen=True, slots=True)
class Cache:
    """What B episodes have left in the memory so far, each at its own length.

    `Memory.step` writes into the buffers of the cache it is given and hands back a longer one:
    treat the old one as spent.

    Attributes:
        keys, values: (layers, B, heads, context, head width).
        lengths: int64 (B,), steps taken.
        kept: bool (B, context), the steps that are not forgotten (see `forgotten`).
        begun: int64 (B,), the first step that a transform would take.
        longest: the largest of `lengths`, kept apart so that no device is asked for it.
        told: (B, D), what the second memory made of the rooms before this one, zeros in an
            episode's first; (B, 0) where there is no second memory.
        deeds: of the second memory, if there is one.
    """

    keys: Tensor
    values: Tensor
    lengths: Tensor
    kept: Tensor
    begun: Tensor
    longest: int
    told: Tensor
    deeds: "Cache | None" = None

    def reset(self, rows: Tensor) -> "Cache":
        """Forget some episodes: bool (B,), True where a new one begins."""
        rows = rows.to(self.lengths.device)
        lengths, begun = (torch.where(rows, 0, old) for old in (self.lengths, self.begun))
        return replace(
            self,
            lengths=lengths,
            kept=self.kept | rows[:, None],
            begun=begun,
            longest=int(lengths.max()),
            told=self.told.masked_fill(rows[:, None], 0.0),
            deeds=self.deeds and self.deeds.reset(rows),
        )

    def joined(self, more: "Cache") -> "Cache":
        """This one's rows, then those of another."""
        return Cache(
            keys=torch.cat((self.keys, more.keys), dim=1),
            values=torch.cat((self.values, more.values), dim=1),
            lengths=torch.cat((self.lengths, more.lengths)),
            kept=torch.cat((self.kept, more.kept)),
            begun=torch.cat((self.begun, more.begun)),
            longest=max(self.longest, more.longest),
            told=torch.cat((self.told, more.told)),
            deeds=self.deeds and more.deeds and self.deeds.joined(more.deeds),
        )

    def after(self, transformed: Tensor) -> "Cache":
        """Without what a transform takes now: bool (B,)."""
        steps = torch.arange(self.kept.shape[1], device=self.kept.device)
        past = (steps >= self.begun[:, None]) & (steps < self.lengths[:, None])
        return replace(
            self,
            kept=self.kept & ~(past & transformed[:, None]),
            begun=torch.where(transformed, self.lengths, self.begun),
        )

    def longer(self, settled: Tensor, ends: bool) -> "Cache":
        """One step later: bool (B,), whether that step settled a choice; which, if a room ``ends``
        by it, takes all that was before."""
        lengths = self.lengths + 1
        kept = self.kept
        if ends:
            steps = torch.arange(kept.shape[1], device=kept.device)
            kept = kept & ~((steps < lengths[:, None]) & settled[:, None])
        begun = torch.where(settled, lengths, self.begun)
        return replace(self, lengths=lengths, kept=kept, begun=begun, longest=self.longest + 1)


def forgotten(transformed: Tensor, settled: Tensor) -> Tensor:
    """What a transform leaves behind: all since the latest choice or transform before it.

    A room is not what it was once something in it has been transformed; who goes by what was seen
    before can learn what to do after which transform without ever looking at what it made. What a
    choice brought stays: it is seen before the choice is settled.

    Args:
        transformed, settled: bool (B, T), as in `agents.batch.Inputs`.

    Returns:
        bool (B, T, T): whether at a step (second axis) an earlier one (third axis) is forgotten.
    """
    steps = torch.arange(transformed.shape[1], device=transformed.device)
    never = len(steps)
    # The next choice or transform decides what becomes of a step, and only a transform takes it.
    ends = torch.where(settled | transformed, steps, never)
    coming = F.pad(ends[:, 1:], (0, 1), value=never).flip(1).cummin(1).values.flip(1)
    taken = F.pad(transformed, (0, 1)).gather(1, coming) & ~settled
    until = torch.where(taken, coming, never)
    return until[:, None, :] <= steps[None, :, None]


def remembered(
    config: AgentConfig, trials: Tensor, transformed: Tensor, settled: Tensor
) -> Tensor | None:
    """Which earlier steps an agent's memory of pictures still holds at each step.

    Args:
        config: reads trial_memory, forget_transformed and deed_layers.
        trials: int64 (B, T), never falling within a row; read only with `trial_memory`.
        transformed, settled: bool (B, T), as in `agents.batch.Inputs`.

    Returns:
        bool (B, T, T), at a step (second axis) of earlier ones and itself (third axis); None: all.
    """
    known: Tensor | None = None
    if config.forget_transformed:
        known = ~forgotten(transformed, settled)
    ends = [trials] if config.trial_memory else []
    if config.deed_layers:
        ends.append(_rooms_began(settled)[..., 0])  # a room ends with its choice
    for of in ends:
        same = of[:, :, None] == of[:, None, :]
        known = same if known is None else known & same
    return None if known is None else known.tril()


class Memory(nn.Module):
    """Pre-norm causal transformer with rotary positions.

    Positions are relative, so an episode cut at its trials equals each trial remembered alone.

    Args:
        config: reads width, layers, heads, context, dropout, trial_memory, forget_transformed and
            deed_layers.
    """

    def __init__(self, config: AgentConfig) -> None:
        super().__init__()
        self.config = config
        self.stack = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width)
        self.deeds = Deeds(config) if config.deed_layers else None
        self.turns: Tensor
        self.register_buffer("turns", _rotary_turns(config), persistent=False)

    @property
    def layers(self) -> Iterable["Layer"]:
        """The layers, first to last."""
        return cast("Iterable[Layer]", self.stack)

    def forward(
        self,
        x: Tensor,
        context: Tensor,
        trials: Tensor,
        transformed: Tensor,
        settled: Tensor,
        forgets: Tensor | None = None,
    ) -> Tensor:
        """Whole episodes.

        Args:
            x: (B, T, D); padding on the right.
            context: (B, T, D), what of each step is no picture; read only with `deed_layers`.
            trials: int64 (B, T), as `remembered` takes them.
            transformed, settled: bool (B, T), likewise; read only with `forget_transformed` or
                `deed_layers`.
            forgets: bool (B, T), where what was seen is forgotten; None: where transformed.

        Returns:
            (B, T, D): each step's state, from the steps up to it.

        Raises:
            ValueError: if T exceeds the context.
        """
        self._check(x.shape[1])
        if self.deeds is not None:
            x = x + self.deeds(context, trials, transformed, settled)
        forgets = transformed if forgets is None else forgets
        known = remembered(self.config, trials, forgets, settled)
        mask = None if known is None else known[:, None]
        turns = self.turns[: x.shape[1]]
        for layer in self.layers:
            x = layer(x, turns, mask)
        return self.norm(x)

    def learn(self, on: bool) -> None:
        """Let gradients reach what remembers, or not."""
        for part in (self.stack, self.deeds):
            if part is not None:
                part.requires_grad_(on)

    def begin(self, rows: int, device: torch.device | str) -> Cache:
        """An empty cache for B episodes."""
        config = self.config
        shape = (config.layers, rows, config.heads, config.context, config.head_width)
        # Float32 whatever the precision: `step` equals `forward` and rounds only once.
        return Cache(
            keys=torch.zeros(shape, device=device),
            values=torch.zeros(shape, device=device),
            lengths=torch.zeros(rows, dtype=torch.int64, device=device),
            kept=torch.ones(rows, config.context, dtype=torch.bool, device=device),
            begun=torch.zeros(rows, dtype=torch.int64, device=device),
            longest=0,
            told=torch.zeros(rows, config.width if self.deeds else 0, device=device),
            deeds=self.deeds and self.deeds.memory.begin(rows, device),
        )

    def step(
        self,
        x: Tensor,
        context: Tensor,
        cache: Cache,
        transformed: Tensor,
        settled: Tensor,
        forgets: Tensor | None = None,
    ) -> tuple[Tensor, Cache]:
        """One step of each episode: (B, D) -> (B, D) and the longer cache.

        Args:
            x: (B, D).
            context: (B, D), as in `forward`.
            cache: of the steps before; spent.
            transformed, settled, forgets: bool (B,), of this step, as in `forward`.

        Raises:
            ValueError: if an episode outgrows the context.
        """
        longest = cache.longest + 1
        self._check(longest)
        if self.deeds is not None:
            x, cache = x + cache.told, self.deeds.step(context, cache, transformed, settled)
        if self.config.forget_transformed:
            cache = cache.after(transformed if forgets is None else forgets)
        turns = self.turns[cache.lengths][:, None, None]
        seen = torch.arange(longest, device=x.device) <= cache.lengths[:, None]
        seen &= cache.kept[:, :longest]
        x = x[:, None]
        for index, layer in enumerate(self.layers):
            x = layer.step(
                x,
                turns,
                seen[:, None, None],
                cache.keys[index, :, :, :longest],
                cache.values[index, :, :, :longest],
                cache.lengths,
            )
        return self.norm(x)[:, 0], cache.longer(settled, ends=self.deeds is not None)

    def _check(self, steps: int) -> None:
        if steps > self.config.context:
            raise ValueError(
                f"an episode of {steps} steps outgrows the memory's context of "
                f"{self.config.context}: train with a higher AgentConfig.context, or let the agent "
                "act in episodes of fewer experiments"
            )


class Deeds(nn.Module):
    """What was done and what it brought, all episode long: a small memory without pictures.

    Args:
        config: the whole agent's.
    """

    def __init__(self, config: AgentConfig) -> None:
        super().__init__()
        small = config.deeds
        self.taken = nn.Linear(config.width, small.width)
        self.marked = nn.Linear(2, small.width, bias=False)
        self.memory = Memory(small)
        self.given = nn.Linear(small.width, config.width, bias=False)
        nn.init.normal_(self.given.weight, std=1e-3)  # as the last weights of each layer

    def forward(
        self, context: Tensor, trials: Tensor, transformed: Tensor, settled: Tensor
    ) -> Tensor:
        """What the memory of pictures is told at each step, of the rooms before that step's: (B, T,
        D) as in `Memory`, zeros in the first."""
        deeds = self._deeds(context, transformed, settled)
        states = self.given(self.memory(deeds, deeds, trials, transformed, settled))
        return F.pad(states, (0, 0, 1, 0)).gather(1, _rooms_began(settled).expand_as(states))

    def step(self, context: Tensor, cache: Cache, transformed: Tensor, settled: Tensor) -> Cache:
        """The same, one step later: ``cache`` with more deeds, told anew where a room ended."""
        assert cache.deeds is not None
        deeds = self._deeds(context, transformed, settled)
        states, longer = self.memory.step(deeds, deeds, cache.deeds, transformed, settled)
        told = torch.where(settled[:, None], self.given(states), cache.told)
        return replace(cache, deeds=longer, told=told)

    def _deeds(self, context: Tensor, transformed: Tensor, settled: Tensor) -> Tensor:
        marks = torch.stack((transformed, settled), dim=-1).to(context.dtype)
        return self.taken(context) + self.marked(marks)


def _rooms_began(settled: Tensor) -> Tensor:
    """int64 (B, T, 1): the first step of each step's room, which is the one after a choice."""
    after = torch.arange(1, 1 + settled.shape[1], device=settled.device)
    latest = torch.where(settled, after, 0).cummax(1).values
    return F.pad(latest, (1, -1))[..., None]


class Layer(nn.Module):
    """Attention, then a feed-forward net, each on a normalized copy of the stream."""

    def __init__(self, config: AgentConfig) -> None:
        super().__init__()
        self.heads, self.dropout = config.heads, config.dropout
        self.before_attention = nn.LayerNorm(config.width)
        self.qkv = nn.Linear(config.width, 3 * config.width, bias=False)
        self.attended = nn.Linear(config.width, config.width, bias=False)
        self.before_feed = nn.LayerNorm(config.width)
        self.feed = nn.Sequential(
            nn.Linear(config.width, 4 * config.width),
            nn.GELU(),
            nn.Linear(4 * config.width, config.width),
            nn.Dropout(config.dropout),
        )
        # Begun as the identity: at first the picture reaches the heads undisturbed. A tiny
        # rather than no weight, so that gradients pass from the first step.
        for last in (self.attended, self.feed[2]):
            nn.init.normal_(cast("nn.Linear", last).weight, std=1e-3)

    def forward(self, x: Tensor, turns: Tensor, mask: Tensor | None) -> Tensor:
        query, key, value = self._project(x, turns)
        drop = self.dropout if self.training else 0.0
        return self._finish(x, _attend(query, key, value, mask, drop))

    def step(
        self, x: Tensor, turns: Tensor, seen: Tensor, keys: Tensor, values: Tensor, at: Tensor
    ) -> Tensor:
        query, key, value = self._project(x, turns)
        rows = torch.arange(len(x), device=x.device)
        keys[rows, :, at] = key[:, :, 0].to(keys.dtype)
        values[rows, :, at] = value[:, :, 0].to(values.dtype)
        y = F.scaled_dot_product_attention(
            query, keys.to(query.dtype), values.to(query.dtype), attn_mask=seen
        )
        return self._finish(x, y)

    def _project(self, x: Tensor, turns: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        parts = self.qkv(self.before_attention(x)).unflatten(-1, (3, self.heads, -1))
        query, key, value = parts.movedim(-3, 0).transpose(2, 3)
        return _turn(query, turns), _turn(key, turns), value

    def _finish(self, x: Tensor, attended: Tensor) -> Tensor:
        x = x + self.attended(attended.transpose(1, 2).flatten(2))
        return x + self.feed(self.before_feed(x))


def _attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, drop: float) -> Tensor:
    """Attention over whole episodes, (B, heads, T, head width); no mask means causal."""
    if query.device.type != "cpu":
        return F.scaled_dot_product_attention(
            query, key, value, attn_mask=mask, dropout_p=drop, is_causal=mask is None
        )
    # On CPUs the fused kernel's backward pass takes three times as long as this in bfloat16.
    if mask is None:
        mask = torch.ones(query.shape[-2], key.shape[-2], dtype=torch.bool).tril()
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
    weights = scores.masked_fill(~mask, -torch.inf).softmax(-1)
    return F.dropout(weights, drop) @ value


def _rotary_turns(config: AgentConfig) -> Tensor:
    """(context, 2, head width / 2): cosines and sines of each position's angles."""
    half = config.head_width // 2
    speeds = 1000.0 ** (-torch.arange(half) / half)
    angles = torch.arange(config.context)[:, None] * speeds
    return torch.stack((angles.cos(), angles.sin()), dim=1)


def _turn(x: Tensor, turns: Tensor) -> Tensor:
    """Turn the pairs of x (..., T, width) by each position's angles (..., T, 2, width / 2)."""
    cos, sin = turns.to(x.dtype).unbind(-2)
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, first * sin + second * cos), dim=-1)
