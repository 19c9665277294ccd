"""A trained agent as a policy: it acts, and may say what it thinks it is being told."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from agents.checkpoint import load_agent
from agents.marks import Mark, RoomWatch, stillness
from agents.memory import Cache
from agents.model import Agent
from oddoneout.demos.rollout import Decision, Moment
from oddoneout.rules import language

#: Keeps the draws of acting apart from the environment's, which start from the same seed.
_ACTING = 0xAC7


class _Eye:
    """Watches the rooms of one episode by its pictures."""

    def __init__(self) -> None:
        self._watch = RoomWatch()
        self._image: NDArray[np.uint8] | None = None

    def see(self, action: int, image: NDArray[np.uint8]) -> Mark:
        """As `RoomWatch.see`, of the previous action and the picture."""
        still = self._image is not None and bool(stillness(np.stack((self._image, image)))[1])
        self._image = image
        return self._watch.see(int(action), still)


class AgentPolicy:
    """Plays several episodes side by side, remembering each in a row of one cache.

    It acts on image, instruction, previous action and previous reward. (The one exception is an
    agent with `trial_memory`, a baseline that has to be told when a trial ends.)

    Args:
        agent: used as it is, on its device; put it into evaluation mode first.
        temperature: of the actions drawn; 0 takes the likeliest.
        speak: whether decisions carry the sentences that the agent predicts.
    """

    def __init__(self, agent: Agent, temperature: float = 0.5, speak: bool = True) -> None:
        if not temperature >= 0.0:  # no number is not at least 0 either
            raise ValueError(f"temperature must be at least 0, got {temperature}")
        self.agent, self.temperature, self.speak = agent, temperature, speak
        self.device = agent.policy.weight.device
        self._cache: Cache = agent.begin(0, self.device)
        self._fresh: set[int] = set()
        self._trials: dict[int, int] = {}
        self._eyes: dict[int, _Eye] = {}
        self._generators: dict[int, np.random.Generator] = {}

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) of the images that it expects."""
        return self.agent.config.image_size

    def begin(self, slot: int, seed: int) -> None:
        """Forget the slot's past; ``seed`` feeds what is drawn there."""
        self._generators[slot] = np.random.default_rng((_ACTING, seed))
        self._fresh.add(slot)
        self._eyes.pop(slot, None)
        self._trials[slot] = 0

    @torch.inference_mode()
    def decide(self, moments: Sequence[Moment]) -> list[Decision]:
        """One decision per moment; slots that are not named here are taken to be over, but for
        those that have begun and have not been named yet.

        Raises:
            ValueError: for an image of another size, or an episode that outgrows the context.
        """
        if not moments:
            return []
        config = self.agent.config
        rows = [moment.slot for moment in moments]
        self._make_room(max(rows) + 1)
        self._forget(moments)
        count = len(self._cache.lengths)
        images = np.zeros((count, *config.image_size, 3), np.uint8)
        instructions = np.zeros((count, config.instruction_words), np.int64)
        actions = np.full(count, config.no_action, np.int64)
        rewards = np.zeros(count, np.float32)
        transformed = np.zeros(count, np.bool_)
        changed = np.zeros(count, np.bool_)
        settled = np.zeros(count, np.bool_)
        for moment in moments:
            if moment.image.shape != images.shape[1:]:
                raise ValueError(
                    f"the agent expects images of {images.shape[1:]}, got {moment.image.shape}: "
                    f"make the environment with image_size={config.image_size}"
                )
            images[moment.slot] = moment.image
            instructions[moment.slot] = moment.instruction
            rewards[moment.slot] = moment.previous_reward
            if moment.previous_action is not None:
                actions[moment.slot] = moment.previous_action
            if config.marks_rooms:
                eye = self._eyes.setdefault(moment.slot, _Eye())
                mark = eye.see(actions[moment.slot], moment.image)
                transformed[moment.slot], changed[moment.slot], settled[moment.slot] = mark
        logits, states, self._cache = self.agent.step(
            torch.from_numpy(images).to(self.device),
            torch.from_numpy(instructions).to(self.device),
            torch.from_numpy(actions).to(self.device),
            torch.from_numpy(rewards).to(self.device),
            torch.from_numpy(transformed).to(self.device),
            torch.from_numpy(changed).to(self.device),
            torch.from_numpy(settled).to(self.device),
            self._cache,
        )
        said = foretold = None
        if self.speak:
            said, foretold = self.agent.speak(states[rows]).cpu().numpy()
        likely = logits[rows].double().softmax(-1).cpu().numpy()
        decisions = []
        for i, moment in enumerate(moments):
            action = self._draw(likely[i], self._generators[moment.slot])
            decisions.append(
                Decision(
                    action=action,
                    label=action,
                    says=None if said is None else language.decode(said[i]),
                    probabilities=likely[i].astype(np.float32),
                    foretells=None if foretold is None else language.decode(foretold[i]),
                )
            )
        return decisions

    def _draw(self, likely: NDArray[np.float64], rng: np.random.Generator) -> int:
        if self.temperature == 0.0:
            return int(likely.argmax())
        sharp = (likely / likely.max()) ** (1.0 / self.temperature)
        return int(np.searchsorted(sharp.cumsum(), rng.random() * sharp.sum(), side="right"))

    def _make_room(self, rows: int) -> None:
        """Let the cache have that many rows at least."""
        if (more := rows - len(self._cache.lengths)) > 0:
            self._cache = self._cache.joined(self.agent.begin(more, self.device))

    def _forget(self, moments: Sequence[Moment]) -> None:
        """Empty the rows of new episodes, of episodes that are over, and of forgotten trials."""
        reset = torch.ones(len(self._cache.lengths), dtype=torch.bool)
        for moment in moments:
            reset[moment.slot] = moment.slot in self._fresh
            self._fresh.discard(moment.slot)
            if self.agent.config.trial_memory:
                trial = moment.snapshot().trial
                reset[moment.slot] |= trial != self._trials[moment.slot]
                self._trials[moment.slot] = trial
        if reset.any():
            self._cache = self._cache.reset(reset)


def load_policy(
    path: Path | str, temperature: float = 0.5, speak: bool = True, device: str = "cpu"
) -> AgentPolicy:
    """The policy of a checkpoint file or a run directory.

    Raises:
        FileNotFoundError: if there is no checkpoint.
        CheckpointError: if it cannot be used.
    """
    agent, _ = load_agent(path)
    return AgentPolicy(agent.to(device), temperature, speak)
