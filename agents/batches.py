"""From demonstrations to batches: which episodes come when, and how they become tensors.

The order is a pure function of the seed and the position, so that a run can go on from any
step, on any number of processes, with the batches it would have seen anyway.
"""

import itertools
import queue
import threading
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Final, Protocol, TypeVar, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray

from agents.augment import Changes, change
from agents.batch import IGNORED, Batch, Inputs, Targets
from agents.config import AgentConfig, TrainingConfig
from agents.marks import marks, stillness
from agents.renaming import Renaming
from agents.unmet import nothing_unmet
from oddoneout.demos.trajectory import Trajectory
from oddoneout.rules import language

T = TypeVar("T")

#: How many batches ahead demonstrations are told what will be asked of them.
_NOTICE: Final = 4


class Demonstrations(Protocol):
    """Episodes by number, as `oddoneout.demos.storage.Dataset` gives them."""

    @property
    def lengths(self) -> NDArray[np.integer]:
        """(N,) steps of each episode."""
        ...

    def __len__(self) -> int: ...

    def episode(self, index: int, /) -> Trajectory:
        """One episode; its arrays may be views of files."""
        ...


@runtime_checkable
class Forewarned(Protocol):
    """Demonstrations that fetch faster what they know will be asked for."""

    def expect(self, indices: NDArray[np.int64], /) -> None:
        """These episodes come soon."""
        ...


class Several:
    """Several sets of demonstrations, one after another, as one."""

    def __init__(self, parts: Sequence[Demonstrations]) -> None:
        if not parts:
            raise ValueError("no demonstrations: name at least one directory")
        self.parts = tuple(parts)
        self.lengths = np.concatenate([np.asarray(part.lengths, np.int64) for part in parts])
        self._ends = np.cumsum([len(part) for part in parts])

    def __len__(self) -> int:
        return len(self.lengths)

    def episode(self, index: int, /) -> Trajectory:
        part = int(np.searchsorted(self._ends, index, side="right"))
        return self.parts[part].episode(index - (self._ends[part - 1] if part else 0))


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A place in the order: the batch about to come."""

    epoch: int = 0
    batch: int = 0


class Order:
    """Which episodes form which batch, epoch after epoch.

    Every epoch shuffles all episodes. Within windows of some batches they are sorted by length,
    which saves the memory padding, then cut into batches whose order is shuffled again. What
    does not fill a batch joins the next window; an epoch's last batch may be small.

    Args:
        lengths: (N,) steps of each episode.
        episodes: most episodes in a batch.
        frames: most frames in a batch; an episode longer than that comes alone.
        seed: of the shuffles.
        window: how many batches are sorted together.
    """

    def __init__(
        self,
        lengths: NDArray[np.integer],
        episodes: int,
        frames: int,
        seed: int,
        window: int = 8,
    ) -> None:
        self.lengths = np.asarray(lengths, np.int64)
        self.episodes, self.frames, self.seed = episodes, frames, seed
        self.window = window * episodes
        self._latest: tuple[int, list[NDArray[np.int64]]] = (-1, [])

    def epoch(self, number: int) -> list[NDArray[np.int64]]:
        """The batches of one epoch, each the numbers of its episodes."""
        if self._latest[0] != number:
            self._latest = (number, self._draw(np.random.default_rng((self.seed, number))))
        return self._latest[1]

    def walk(self, position: Position) -> Iterator[tuple[Position, NDArray[np.int64], Position]]:
        """(position, episodes, next position) from there on, without end."""
        epoch, batch = position.epoch, position.batch
        while True:
            batches = self.epoch(epoch)
            while batch < len(batches):
                here, ids, batch = Position(epoch, batch), batches[batch], batch + 1
                last = batch == len(batches)
                yield here, ids, Position(epoch + 1, 0) if last else Position(epoch, batch)
            epoch, batch = epoch + 1, 0

    def _draw(self, rng: np.random.Generator) -> list[NDArray[np.int64]]:
        order = rng.permutation(len(self.lengths))
        batches: list[NDArray[np.int64]] = []
        rest = order[:0]
        for start in range(0, len(order), self.window):
            window = np.concatenate((rest, order[start : start + self.window]))
            window = window[np.argsort(self.lengths[window], kind="stable")]
            cuts = self._cuts(window)
            whole = [window[a:b] for a, b in itertools.pairwise(cuts)]
            rest = window[cuts[-1] :]
            batches += [whole[i] for i in rng.permutation(len(whole))]
        return [*batches, rest] if len(rest) else batches

    def _cuts(self, window: NDArray[np.int64]) -> list[int]:
        """Where full batches begin and end; what stands behind the last cut fills no batch."""
        cuts, held = [0], 0
        for i, length in enumerate(self.lengths[window].tolist()):
            if i > cuts[-1] and (i - cuts[-1] == self.episodes or held + length > self.frames):
                cuts.append(i)
                held = 0
            held += length
        if len(window) - cuts[-1] == self.episodes:
            cuts.append(len(window))
        return cuts


class Words:
    """Sentences to word ids, each encoded once."""

    def __init__(self, length: int) -> None:
        self.length = length
        self._known: dict[str, NDArray[np.int32]] = {}

    def __getitem__(self, sentence: str) -> NDArray[np.int32]:
        if sentence not in self._known:
            self._known[sentence] = language.encode(sentence, self.length)
        return self._known[sentence]


def collate(
    episodes: Sequence[Trajectory],
    config: AgentConfig,
    words: Words,
    apart: torch.Tensor | None = None,
) -> Batch:
    """One batch of those episodes, in that order.

    Args:
        episodes: at least one.
        config: the shape that the batch must have.
        words: encodes their sentences.
        apart: bool (V, V), see `agents.unmet`; None for nothing that is left open.

    Raises:
        ValueError: if the images or instructions are not of the size that the agent expects,
            or an episode outgrows its context.
    """
    lengths = np.array([len(episode) for episode in episodes], np.int64)
    rows, steps = len(episodes), int(lengths.max())
    _check(episodes, steps, config)
    frames = episodes[0].seen.images
    images = np.empty((int(lengths.sum()), *frames.shape[1:]), frames.dtype)
    instructions = np.zeros((rows, steps, config.instruction_words), np.int64)
    previous_actions = np.full((rows, steps), config.no_action, np.int64)
    previous_rewards = np.zeros((rows, steps), np.float32)
    transformed = np.zeros((rows, steps), np.bool_)
    changed = np.zeros((rows, steps), np.bool_)
    settled = np.zeros((rows, steps), np.bool_)
    trials = np.zeros((rows, steps), np.int64)
    labels = np.full((rows, steps), IGNORED, np.int64)
    told = np.zeros((rows, steps), np.int64)
    coming = np.zeros((rows, steps), np.int64)
    explaining = np.zeros((rows, steps), np.bool_)
    rewards = np.zeros((rows, steps), np.float32)
    numbers: dict[str, int] = {"": 0}
    begin = 0
    for row, (episode, n) in enumerate(zip(episodes, lengths.tolist(), strict=True)):
        seen, said = episode.seen, episode.told
        images[begin : begin + n] = seen.images
        instructions[row, :n] = seen.instructions
        previous_actions[row, 1:n] = seen.actions[:-1]
        previous_rewards[row, 1:n] = seen.rewards[:-1]
        if config.marks_rooms:
            found = marks(previous_actions[row, :n], stillness(seen.images))
            transformed[row, :n], changed[row, :n], settled[row, :n] = found
        trials[row, :n] = said.trials
        trials[row, n:] = said.trials[-1]
        labels[row, :n] = said.labels
        told[row, :n] = [numbers.setdefault(text, len(numbers)) for text in said.explanations]
        explaining[row, :n] = said.explaining
        coming[row, :n] = _coming(told[row, :n], said.trials, said.explaining)
        rewards[row, :n] = seen.rewards
        begin += n
    sentences = np.stack([words[text] for text in numbers]).astype(np.int64)
    tensor = torch.from_numpy
    return Batch(
        Inputs(
            images=tensor(images),
            lengths=tensor(lengths),
            instructions=tensor(instructions),
            previous_actions=tensor(previous_actions),
            previous_rewards=tensor(previous_rewards),
            transformed=tensor(transformed),
            changed=tensor(changed),
            settled=tensor(settled),
            trials=tensor(trials),
        ),
        Targets(
            labels=tensor(labels),
            sentences=tensor(sentences),
            told=tensor(told),
            coming=tensor(coming),
            explaining=tensor(explaining),
            rewards=tensor(rewards),
            apart=nothing_unmet(config.vocabulary) if apart is None else apart,
        ),
    )


def _coming(
    told: NDArray[np.int64], trials: NDArray[np.uint8], explaining: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """(n,) at each step of a search what its trial's choice will be explained with."""
    outcomes = np.zeros(int(trials.max()) + 1, np.int64)
    outcomes[trials[explaining]] = told[explaining]
    return np.where(explaining, 0, outcomes[trials])


def _check(episodes: Sequence[Trajectory], steps: int, config: AgentConfig) -> None:
    wanted = (*config.image_size, 3)
    features = ((1, config.width), (2, config.width))
    for episode in episodes:
        if episode.seen.images.shape[1:] not in (wanted, *features):
            raise ValueError(
                f"the agent expects images of {wanted}, the demonstrations hold "
                f"{episode.seen.images.shape[1:]}: set AgentConfig.image_size"
            )
        if episode.seen.instructions.shape[1] != config.instruction_words:
            raise ValueError(
                f"the agent expects instructions of {config.instruction_words} words, the "
                f"demonstrations hold {episode.seen.instructions.shape[1]}"
            )
    check_length(steps, config)


def check_length(steps: int, config: AgentConfig) -> None:
    """Refuse an episode that the agent cannot remember.

    Raises:
        ValueError: if it is longer than the agent's context.
    """
    if steps > config.context:
        raise ValueError(
            f"an episode of {steps} steps outgrows the agent's context of {config.context}: "
            "set AgentConfig.context higher"
        )


@dataclass(frozen=True, slots=True)
class Portion:
    """What one optimizer step takes.

    Attributes:
        batches: this process's share, one batch per accumulated pass.
        idle: which of them do not count: the whole had fewer episodes than there are shares.
        frames: of the whole, over all shares of all processes.
        next: where the order goes on.
    """

    batches: tuple[Batch, ...]
    idle: tuple[bool, ...]
    frames: int
    next: Position


class Batches:
    """Portions of demonstrations, step by step.

    Args:
        demonstrations: where episodes come from.
        agent: the shape that batches must have.
        training: batch size, augmentation and seed.
        rank, ranks: this process and how many there are; each takes its share of every batch.
        passes: into how many batches a process cuts its share.
        pin: put tensors into page-locked memory, for copies beside the computation.
        apart: as in `collate`.
        renaming: of values in features, if they are to be renamed.
    """

    def __init__(
        self,
        demonstrations: Demonstrations,
        agent: AgentConfig,
        training: TrainingConfig,
        *,
        rank: int = 0,
        ranks: int = 1,
        passes: int = 1,
        pin: bool = False,
        apart: torch.Tensor | None = None,
        renaming: Renaming | None = None,
    ) -> None:
        self.demonstrations, self.agent, self.training = demonstrations, agent, training
        self.order = Order(
            demonstrations.lengths, training.batch_episodes, training.batch_frames, training.seed
        )
        self.words = Words(agent.sentence_words)
        self.shares = tuple(rank + ranks * i for i in range(passes))
        self.cut, self.pin, self.apart = ranks * passes, pin, apart
        self.renaming = renaming

    def portion(self, position: Position, ids: NDArray[np.int64], following: Position) -> Portion:
        """What is trained on at that position."""
        changes = Changes.draw(len(ids), self.training, (position.epoch, position.batch))
        idle = tuple(share >= len(ids) for share in self.shares)
        rows = [
            slice(0, 1) if none else slice(share, None, self.cut)
            for share, none in zip(self.shares, idle, strict=True)
        ]
        batches = tuple(self._batch(ids[row], changes[row]) for row in rows)
        return Portion(batches, idle, int(self.order.lengths[ids].sum()), following)

    def stream(self, position: Position = Position()) -> Iterator[Portion]:
        """Portions from that position on, without end."""
        steps = self.order.walk(position)
        coming: deque[tuple[Position, NDArray[np.int64], Position]] = deque()
        while True:
            while len(coming) <= _NOTICE:
                coming.append(next(steps))
                if isinstance(self.demonstrations, Forewarned):
                    self.demonstrations.expect(coming[-1][1])
            yield self.portion(*coming.popleft())

    def _batch(self, ids: NDArray[np.int64], changes: Changes) -> Batch:
        episodes = [self.demonstrations.episode(int(i)) for i in ids]
        plain = collate(episodes, self.agent, self.words, self.apart)
        batch = change(plain, changes, self.renaming)
        return pinned(batch) if self.pin else batch


def pinned(batch: Batch) -> Batch:
    """The same batch in page-locked memory."""
    inputs = (getattr(batch.inputs, field.name).pin_memory() for field in fields(Inputs))
    targets = (getattr(batch.targets, field.name).pin_memory() for field in fields(Targets))
    return Batch(Inputs(*inputs), Targets(*targets))


def prefetch(items: Iterator[T], depth: int = 2) -> Generator[T, None, None]:
    """The same items, made up to ``depth`` ahead by a thread. Close it to end the thread.

    It computes with one core. Given more, PyTorch would keep a second team of threads for it,
    too many for the cores, and both teams would sleep between operations: training steps, which
    go on meanwhile, took 1.5 times as long on two cores.
    """
    torch.get_num_threads()  # settles what the calling thread has, before another sets its own
    ready: queue.Queue[tuple[T | None, BaseException | None]] = queue.Queue(depth)
    stop = threading.Event()

    def put(item: T | None, error: BaseException | None = None) -> None:
        while not stop.is_set():
            try:
                return ready.put((item, error), timeout=0.1)
            except queue.Full:
                continue

    def work() -> None:
        torch.set_num_threads(1)
        try:
            for item in items:
                put(item)
                if stop.is_set():
                    return
            put(None, StopIteration())
        except BaseException as error:  # handed to whoever waits for the next item
            put(None, error)

    thread = threading.Thread(target=work, name="prefetch", daemon=True)
    thread.start()
    try:
        while True:
            item, error = ready.get()
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            yield item  # type: ignore[misc]
    finally:
        stop.set()
        thread.join()
