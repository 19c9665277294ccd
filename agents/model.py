"""The agent: pixels, instruction, last action and reward in; an action and a sentence out.

One state per step decides both what is done and what is said. Sentences are outputs only:
nothing that the agent was told, or said, ever comes back in.
"""

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from agents.batch import IGNORED, Batch, Inputs
from agents.config import AgentConfig
from agents.encoder import PartsEncoder, Redrawer, build_encoder
from agents.memory import Cache, Memory, remembered
from agents.recollection import KINDS, recollections
from oddoneout.actions import TRANSFORMS
from oddoneout.rules.language import WORD_KINDS

_CHANGING = tuple(map(int, TRANSFORMS))


@dataclass(frozen=True, slots=True)
class Spelling:
    """What the decoder made of the steps where a sentence stands, and of those where none does.

    Attributes:
        logits: (N, W, V) next-word scores at the N spoken steps, given the true earlier words.
        words: int64 (N, W) the true words; 0 ends a sentence, `IGNORED` stands after its end.
        explaining: bool (N,) whether the step lies in an explaining phase.
        silent: (M, V) first-word scores at the M valid steps where nothing stands.
        foretold: (K, W, V) next-word scores of the outcome to come, at the K steps of searches
            that end in a choice.
        coming: int64 (K, W) the true words of those outcomes, likewise.
        recollected: (R, V, KINDS) scores of how often each word was said in the trial so far, at
            the R steps of searches, with `recollect`; else None.
        said: int64 (R, V), how often it was; None without that head.
        named: float32 (N, V) scores by which an encoder names what is seen at the N spoken steps,
            -inf for words that name nothing; None of an encoder that does not, or of features.
    """

    logits: Tensor
    words: Tensor
    explaining: Tensor
    silent: Tensor
    foretold: Tensor
    coming: Tensor
    recollected: Tensor | None = None
    said: Tensor | None = None
    named: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Outputs:
    """A pass over whole episodes.

    Attributes:
        logits: float32 (B, T, A) action scores; meaningless at padding.
        states: (B, T, D), in the precision of the pass, from which actions and sentences are read.
        features: (F, D) image features of the valid frames.
        named: (F, V) how the encoder names what is seen, see `Spelling`; else None.
        spelling: what was spelled, given targets; None without.
        images: (F, 3, h, w) redrawn small images, with `reconstruct` (see `Redrawer`); else None.
        rewards: (B, T) predicted reward of each step, with `predict_reward`; else None.
    """

    logits: Tensor
    states: Tensor
    features: Tensor
    named: Tensor | None = None
    spelling: Spelling | None = None
    images: Tensor | None = None
    rewards: Tensor | None = None


class Agent(nn.Module):
    """Encoder, memory, policy head and explanation decoder.

    Args:
        config: the agent's shape.
    """

    def __init__(self, config: AgentConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = build_encoder(config)
        self.instruction = nn.Embedding(config.vocabulary, config.width, padding_idx=0)
        self.previous_action = nn.Embedding(config.actions + 1, config.width)
        self.previous_reward = nn.Linear(2, config.width, bias=False)
        self.memory = Memory(config)
        hides = config.deed_layers > 0 and config.forget_transformed
        self.changed = nn.Parameter(torch.zeros(config.width)) if hides else None
        self.policy = nn.Linear(config.width, config.actions)
        self.decoder = Decoder(config)
        self.redrawer = Redrawer(config) if config.reconstruct else None
        self.reward = nn.Linear(config.width, 1) if config.predict_reward else None
        self.recollection = (
            nn.Linear(config.width, config.vocabulary * KINDS) if config.recollect else None
        )
        for embedding in (self.instruction, self.previous_action):
            nn.init.normal_(embedding.weight, std=0.2)
        # A nearly uniform first policy: the loss starts at log(actions), not above it.
        nn.init.normal_(self.policy.weight, std=0.01)
        nn.init.zeros_(self.policy.bias)
        with torch.no_grad():
            self.instruction.weight[0].zero_()
            if self.recollection is not None:
                # At first as if nothing had been said, which is true of most words.
                nothing = torch.tensor([3.0, 0.0, 0.0])
                self.recollection.weight.zero_()
                self.recollection.bias.copy_(nothing.repeat(config.vocabulary))

    def forward(self, batch: Batch | Inputs, remember: bool = True) -> Outputs:
        """Whole episodes at once, with the spelling (teacher-forced) where targets are given.

        The one entry for training, so that data-parallel wrappers see every parameter used.

        Args:
            batch: what is seen, perhaps with targets.
            remember: False leaves the memory's layers out, which begin as the identity: every
                step is then read from what is seen at that step alone.
        """
        if isinstance(batch, Inputs):
            return self.act(batch, remember)
        outputs = self.act(batch.inputs, remember)
        return dataclasses.replace(
            outputs,
            spelling=self._spell(outputs, batch),
            images=None if self.redrawer is None else self.redrawer(outputs.features),
            rewards=None if self.reward is None else self.reward(outputs.states)[..., 0].float(),
        )

    def act(self, inputs: Inputs, remember: bool = True) -> Outputs:
        """Actions and states of whole episodes, from what the agent sees and nothing else.

        Args:
            inputs: B episodes, padded to T steps, with F valid frames.
            remember: as of `forward`.

        Returns:
            Outputs without spelling, images and rewards.

        Raises:
            ValueError: for episodes that outgrow the context.
        """
        features, named = self._features(inputs.images)
        forgets = self._forgets(inputs.previous_actions, inputs.transformed)
        context, shown = self._context(
            inputs.instructions,
            inputs.previous_actions,
            inputs.previous_rewards,
            forgets,
            inputs.changed,
        )
        tokens = shown + self._placed(inputs, features.to(shown.dtype))
        if remember:
            states = self.memory(
                tokens, context, inputs.trials, inputs.transformed, inputs.settled, forgets
            )
        else:
            states = self.memory.norm(tokens)
        return Outputs(self.policy(states).float(), states, features, named)

    def begin(self, rows: int, device: torch.device | str | None = None) -> Cache:
        """An empty memory for that many episodes side by side."""
        return self.memory.begin(rows, device or self.policy.weight.device)

    def step(
        self,
        images: Tensor,
        instructions: Tensor,
        previous_actions: Tensor,
        previous_rewards: Tensor,
        transformed: Tensor,
        changed: Tensor,
        settled: Tensor,
        cache: Cache,
    ) -> tuple[Tensor, Tensor, Cache]:
        """One step of B episodes, each at its own length.

        Args:
            images: uint8 (B, H, W, 3).
            instructions: int64 (B, L).
            previous_actions: int64 (B,), `config.no_action` at an episode's first step.
            previous_rewards: float32 (B,).
            transformed, changed, settled: bool (B,), as in `Inputs`.
            cache: from `begin` or the previous step, which it takes over: do not use it again.
                Rows whose episode begins anew must be reset first (`Cache.reset`), and with
                `trial_memory` also rows whose trial does.

        Returns:
            Action scores float32 (B, A), states (B, D), and the grown cache.

        Raises:
            ValueError: for an episode that outgrows the context.
        """
        forgets = self._forgets(previous_actions, transformed)
        context, shown = self._context(
            instructions, previous_actions, previous_rewards, forgets, changed
        )
        token = self.encoder(images) + shown
        states, cache = self.memory.step(token, context, cache, transformed, settled, forgets)
        return self.policy(states).float(), states, cache

    def speak(self, states: Tensor) -> Tensor:
        """The likeliest sentences, word by word: states (N, D) -> int64 (2, N, W), 0 = padding.

        Of each state what is said now, and then the explanation of the choice to come.
        """
        decoder = self.decoder
        both = torch.cat([decoder.state(states), decoder.ahead(states)])
        return decoder.speak(both).unflatten(0, (2, -1))

    def _features(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Of pictures, and how they are named; what has been encoded before passes."""
        if images.ndim == 2:
            return images.float(), None
        if isinstance(self.encoder, PartsEncoder):
            return self.encoder(images, named=True)
        return self.encoder(images), None

    def _placed(self, inputs: Inputs, features: Tensor) -> Tensor:
        """The features of the F valid frames, each at its step: (F, D) -> (B, T, D)."""
        valid = inputs.valid
        return features.new_zeros(*valid.shape, features.shape[-1]).masked_scatter(
            valid[..., None], features
        )

    def _forgets(self, actions: Tensor, transformed: Tensor) -> Tensor:
        """Where pictures are forgotten, as far as the agent forgets at all; like ``transformed``.

        The memory of deeds is still told which transforms did something.
        """
        if not self.config.forget_vain:
            return transformed
        return transformed | torch.isin(actions, torch.tensor(_CHANGING, device=actions.device))

    def _context(
        self,
        instructions: Tensor,
        actions: Tensor,
        rewards: Tensor,
        forgets: Tensor,
        changed: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """What of each step is no picture, and what of that goes with the pictures.

        That is all of it, unless transforms are forgotten and another memory is there for deeds.
        Then that of pictures knows that the room has been changed, but not how, and at the step of
        a transform no more than at a lapse: else its first picture would tell which object it was.
        """
        said = self.instruction(instructions).sum(-2)
        # Rewards are 0, 1 or 10: whether any came, and how much, kept to one scale.
        brought = self.previous_reward(torch.stack((rewards.sign(), rewards / 10.0), dim=-1))
        context = said + self.previous_action(actions) + brought
        if self.changed is None:
            return context, context
        hidden = actions.masked_fill(forgets, self.config.no_action)
        shown = said + self.previous_action(hidden) + brought + self.changed * changed[..., None]
        return context, shown

    def _spell(self, outputs: Outputs, batch: Batch) -> Spelling:
        states, named = outputs.states, outputs.named
        spoken, awaiting = batch.spoken, batch.awaiting
        sentences, rows = batch.targets.sentences, batch.targets.told[spoken]
        outcomes = batch.targets.coming[awaiting]
        recollected = said = None
        if self.recollection is not None:
            inputs = batch.inputs
            forgets = self._forgets(inputs.previous_actions, inputs.transformed)
            known = remembered(self.config, inputs.trials, forgets, inputs.settled)
            asked, said = recollections(batch, self.config.vocabulary, known)
            recollected = self.recollection(states[asked]).unflatten(-1, (-1, KINDS))
        decoder = self.decoder
        return Spelling(
            logits=decoder(decoder.state(states[spoken]), sentences, rows),
            words=_scored(sentences[rows]),
            explaining=batch.targets.explaining[spoken],
            silent=decoder.first(decoder.state(states[batch.silent])),
            foretold=decoder(decoder.ahead(states[awaiting]), sentences, outcomes),
            coming=_scored(sentences[outcomes]),
            recollected=recollected,
            said=said,
            named=None if named is None else named[spoken[batch.inputs.valid]],
        )


def _scored(words: Tensor) -> Tensor:
    """Words (N, W) up to and with the first 0, `IGNORED` after it."""
    ended = F.pad((words == 0).cumsum(-1)[:, :-1], (1, 0)) > 0
    return words.masked_fill(ended, IGNORED)


class Decoder(nn.Module):
    """Spells a sentence from one state, word by word; weak on purpose.

    Two readings of the state can be spelled: `state`, what is being said now, and `ahead`, what
    will be said of the choice to come.

    A recurrent cell follows the words so far; the state joins only where the next word is
    scored, as in a transducer's joint network. So the content must stand in the state, no gate
    can shut it out, and the words so far are followed once per different sentence of a batch.
    Word 0 both begins a sentence and ends it.

    With `compositional`, the cell follows kinds of words: that a color has been said, not which.
    Otherwise it can learn which values never go together, and lean on that.
    """

    def __init__(self, config: AgentConfig) -> None:
        super().__init__()
        self.length = config.sentence_words
        self.state = nn.Linear(config.width, config.decoder_width)
        self.ahead = nn.Linear(config.width, config.decoder_width)
        self.word = nn.Embedding(config.vocabulary, config.decoder_width)
        words = torch.arange(config.vocabulary)
        self.kinds: Tensor
        self.register_buffer(
            "kinds", torch.tensor(WORD_KINDS) if config.compositional else words, persistent=False
        )
        self.cell = nn.GRU(config.decoder_width, config.decoder_width, batch_first=True)
        self.scores = nn.Linear(config.decoder_width, config.vocabulary)

    def forward(self, content: Tensor, sentences: Tensor, rows: Tensor) -> Tensor:
        """Scores of every word given the earlier ones.

        Args:
            content: (N, C), readings of states.
            sentences: int64 (S, W), different sentences.
            rows: int64 (N,), which of them each reading is to spell.

        Returns:
            (N, W, V).
        """
        before, _ = self._after(F.pad(sentences[:, :-1], (1, 0)))
        return self._next(before[rows], content[:, None])

    def first(self, content: Tensor) -> Tensor:
        """Scores of the first word: (N, C) -> (N, V)."""
        start = self.word.weight.new_zeros(1, 1, dtype=torch.int64)
        before, _ = self._after(start)
        return self._next(before[:, 0], content)

    @torch.no_grad()
    def speak(self, content: Tensor) -> Tensor:
        """The likeliest words one after another: (N, C) -> int64 (N, W), 0 after the end."""
        hidden: Tensor | None = None
        word = torch.zeros(len(content), dtype=torch.int64, device=content.device)
        going = torch.ones_like(word, dtype=torch.bool)
        spoken: list[Tensor] = []
        for _ in range(self.length):
            before, hidden = self._after(word[:, None], hidden)
            word = torch.where(going, self._next(before[:, 0], content).argmax(-1), 0)
            going = word != 0
            spoken.append(word)
        return torch.stack(spoken, dim=1)

    def _after(self, words: Tensor, hidden: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """What the cell holds after each word, and at last: int64 (N, W) -> (N, W, C)."""
        # On GPUs it would run in float16 whatever autocast says, where small gradients vanish.
        with torch.autocast(words.device.type, enabled=False):
            return self.cell(self.word(self.kinds[words]).float(), hidden)

    def _next(self, before: Tensor, content: Tensor) -> Tensor:
        return self.scores(F.gelu(before + content))
