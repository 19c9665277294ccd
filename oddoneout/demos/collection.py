"""Collects a set of demonstrations with worker processes, each making whole shards.

Several collections may share the work on one set, on one machine or on many with a common file
system: each is told its rank and makes every ``ranks``-th shard. They need not run at the same
time and never wait for each other. The first to come writes the manifest, which says all there is
to say before the first episode; the set is finished when the last shard stands.
"""

import contextlib
import functools
import hashlib
import importlib.metadata
import multiprocessing
import os
import signal
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from multiprocessing import connection
from pathlib import Path
from typing import Any, Final

import gymnasium

from oddoneout.arguments import parse_count
from oddoneout.demos.manifest import (
    MANIFEST,
    Manifest,
    StorageError,
    remove_leftovers,
    vocabulary_fingerprint,
    write_manifest,
)
from oddoneout.demos.rollout import Policy, rollout
from oddoneout.demos.shards import ShardWriter, finished_shards, shard_folder
from oddoneout.processes import holding, holding_file, signal_name, when_parent_ends
from oddoneout.rules.splits import Stream, episode_seed

SHARD_EPISODES: Final = 256
_RANK: Final = ".rank-"  # and its number: a file that a rank at work holds
_NEWS_SECONDS: Final = 0.2  # least time between two progress reports of a worker


class CollectionError(RuntimeError):
    """A worker failed or died; finished shards are kept, and collecting again resumes."""


def expert(options: Mapping[str, Any]) -> Policy:
    """The scripted expert with options by name (see ``oddoneout.expert.ExpertOptions``)."""
    from oddoneout.expert import ExpertOptions, ExpertPolicy

    return ExpertPolicy(ExpertOptions(**options))


def all_expert_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """``options`` with the defaults filled in, so that a manifest tells all of them."""
    from oddoneout.expert import ExpertOptions

    return asdict(ExpertOptions(**options))


@dataclass(frozen=True, slots=True)
class Recipe:
    """All that decides the content of a set.

    Attributes:
        env_id, env_args: for ``gymnasium.make``; the arguments must be JSON-able.
        episodes: how many.
        seed: in [0, 10**6); episode ``i`` has ``episode_seed(Stream.DEMOS, seed, i)``.
        policy_args: for ``make_policy``; JSON-able.
        make_policy: builds the demonstrator in each worker; a function of a module.
        shard_episodes: episodes per shard.
    """

    env_id: str
    episodes: int
    seed: int
    env_args: Mapping[str, Any] = field(default_factory=dict)
    policy_args: Mapping[str, Any] = field(default_factory=dict)
    make_policy: Callable[[Mapping[str, Any]], Policy] = expert
    shard_episodes: int = SHARD_EPISODES

    def __post_init__(self) -> None:
        for name in ("episodes", "shard_episodes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        episode_seed(Stream.DEMOS, self.seed, self.episodes - 1)  # refuses what does not fit
        for name in ("episodes", "shard_episodes", "seed"):  # JSON knows Python's integers only
            object.__setattr__(self, name, parse_count(name, getattr(self, name), least=0))

    def make_env(self) -> gymnasium.Env:
        return gymnasium.make(self.env_id, disable_env_checker=True, **self.env_args)

    def manifest(self, env: gymnasium.Env) -> Manifest:
        """The manifest of a set made here and now; resets ``env``."""
        first, _ = env.reset(seed=episode_seed(Stream.DEMOS, self.seed, 0))
        height, width, _ = first["image"].shape
        return Manifest(
            env_id=self.env_id,
            env_args=dict(self.env_args),
            # A script that starts workers has another name in these.
            policy=f"{self.make_policy.__module__.replace('__mp_main__', '__main__')}:"
            f"{self.make_policy.__qualname__}",
            policy_args=dict(self.policy_args),
            seed=self.seed,
            episodes=self.episodes,
            shard_episodes=self.shard_episodes,
            image_size=(height, width),
            instruction_words=len(first["instruction"]),
            versions={
                **{name: _version(name) for name in ("oddoneout", "mujoco", "numpy", "gymnasium")},
                "renderer": getattr(env.unwrapped, "renderer_version", lambda: "unknown")(),
                # Two renderers of one version may still draw differently.
                "first_image": hashlib.sha256(first["image"].tobytes()).hexdigest()[:16],
            },
            vocabulary=vocabulary_fingerprint(),
        )


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a collection has come.

    Attributes:
        episodes, total: of this rank: done (found finished at the start included), and wanted.
        episode_rate, frame_rate: per second, of this run.
        seconds_left: estimated; None before the first episode.
    """

    episodes: int
    total: int
    episode_rate: float
    frame_rate: float
    seconds_left: float | None

    def __str__(self) -> str:
        left = "?" if self.seconds_left is None else f"{self.seconds_left:.0f}"
        return (
            f"{self.episodes}/{self.total} episodes, {self.episode_rate:.1f} episodes/s, "
            f"{self.frame_rate:.0f} frames/s, {left} s left"
        )


def make_shard(
    root: Path,
    manifest: Manifest,
    shard: int,
    policy: Policy,
    make_env: Callable[[], gymnasium.Env],
    on_episode: Callable[[int], None] = lambda frames: None,
) -> None:
    """Play and store one shard; ``on_episode`` hears of each episode's length.

    Raises:
        OSError: if the disk is full or fails; nothing of the shard stays.
    """
    seeds = [episode_seed(Stream.DEMOS, manifest.seed, i) for i in manifest.shard_range(shard)]
    with ShardWriter(root, manifest, shard) as writer:
        for trajectory in rollout(policy, make_env, seeds):
            writer.add(trajectory)
            on_episode(len(trajectory))
        writer.finish()


def collect(
    root: str | os.PathLike[str],
    recipe: Recipe,
    workers: int = 1,
    report: Callable[[Progress], None] = lambda progress: None,
    *,
    rank: int = 0,
    ranks: int = 1,
) -> Manifest:
    """Collect a set into ``root``, or finish one that was interrupted.

    The bytes depend on ``recipe`` alone (and on the versions noted in the manifest), not on
    ``workers``, ``ranks`` or interruptions. Workers are spawned: call from under
    ``if __name__ == "__main__"``.

    Args:
        root: the folder.
        recipe: what to collect.
        workers: processes of this collection.
        report: hears of its progress.
        rank, ranks: this collection among those that share the set; it makes the shards
            ``rank``, ``rank + ranks``, and so on. The others' unfinished work is left alone, a
            rank's own is cleared away; so a rank that is at work is refused a second time, as
            far as the file system locks files across machines.

    Raises:
        ValueError: if there is no such rank, or no worker.
        StorageError: if ``root`` holds something else, is damaged, or is being collected into.
        CollectionError: if a worker fails or dies; the message says why.
        OSError: if ``root`` cannot be written.
    """
    if workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}")
    if not 0 <= rank < ranks:
        raise ValueError(f"rank must be one of {ranks} from 0 on, got {rank}")
    root = Path(root)
    root.mkdir(parents=True, exist_ok=True)
    mine = range(rank, -(-recipe.episodes // recipe.shard_episodes), ranks)
    # Of the manifest, others may be at work on a copy; of a rank's shards, only that rank.
    writes = [shard_folder(root, k).name for k in mine] + ([MANIFEST] if ranks == 1 else [])
    size = max(1, min(workers, len(mine)))
    refusal = StorageError(f"{root}: another process is collecting into this folder")
    twice = StorageError(f"{root}: another process is collecting rank {rank} into this folder")
    with (
        holding(root, shared=ranks > 1, refusal=refusal),
        holding_file(root / f"{_RANK}{rank}", twice) if ranks > 1 else contextlib.nullcontext(),
        _Crew(root, recipe, size) as crew,
    ):
        manifest = crew.manifest()
        write_manifest(root, manifest)
        crew.clear(writes)
        if ranks == 1:  # alone here: whatever ranks left these were killed
            for left in root.glob(f"{_RANK}*"):
                left.unlink(missing_ok=True)
        finished = set(finished_shards(root, manifest, mine))
        done = sum(len(manifest.shard_range(k)) for k in finished)
        total = sum(len(manifest.shard_range(k)) for k in mine)
        todo = [k for k in mine if k not in finished]
        crew.work(manifest, todo, _Meter(done, total, report))
    return manifest


class _Meter:
    def __init__(self, done: int, total: int, report: Callable[[Progress], None]) -> None:
        self._before, self._total, self._report = done, total, report
        self._start, self._episodes, self._frames = time.monotonic(), 0, 0

    def add(self, episodes: int, frames: int) -> None:
        self._episodes += episodes
        self._frames += frames
        seconds = max(time.monotonic() - self._start, 1e-9)
        rate = self._episodes / seconds
        done = self._before + self._episodes
        left = (self._total - done) / rate if rate else None
        self._report(Progress(done, self._total, rate, self._frames / seconds, left))


# What a worker says to the parent.


@dataclass(frozen=True, slots=True)
class _News:
    episodes: int
    frames: int


@dataclass(frozen=True, slots=True)
class _Done:
    """The shard is on the disk."""


@dataclass(frozen=True, slots=True)
class _Failure:
    cause: str
    trace: str


class _Worker:
    def __init__(self, number: int, root: Path, recipe: Recipe) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.name = f"worker {number}"
        self.shard: int | None = None
        self.process = context.Process(
            target=_work, args=(theirs, root, recipe), name=f"collect-{number}", daemon=True
        )
        self.process.start()
        theirs.close()  # so that a dead worker is an end of file here

    def hear(self) -> Any:
        """The worker's next message.

        Raises:
            CollectionError: if it failed or died instead.
        """
        place = "" if self.shard is None else f" at shard {self.shard}"
        try:
            message = self.pipe.recv()
        except (EOFError, ConnectionError):
            self.process.join()
            raise CollectionError(
                f"{self.name} died{place}: {_obituary(self.process.exitcode)}. Finished shards "
                "are kept; collect again to resume."
            ) from None
        if isinstance(message, _Failure):
            error = CollectionError(f"{self.name} failed{place}: {message.cause}")
            error.add_note(message.trace)
            raise error
        return message


class _Crew:
    """The worker processes; none outlives the ``with`` block, nor does what they leave behind."""

    def __init__(self, root: Path, recipe: Recipe, size: int) -> None:
        self._root = root
        self._writes: Sequence[str] = ()  # nothing here is ours before the set has taken us in
        self._workers = [_Worker(number, root, recipe) for number in range(size)]

    def __enter__(self) -> "_Crew":
        return self

    def manifest(self) -> Manifest:
        """The manifest on which all workers agree, from what each found when it started."""
        first, *others = [worker.hear() for worker in self._workers]
        if any(other != first for other in others):
            raise CollectionError(f"the workers' machines differ: {[first, *others]}")
        return first

    def clear(self, writes: Sequence[str]) -> None:
        """Remove what killed writers of these files and folders left, now and at the end."""
        self._writes = writes
        remove_leftovers(self._root, writes)

    def work(self, manifest: Manifest, todo: list[int], meter: _Meter) -> None:
        """Hand out the shards in order, until all are done."""
        shards = iter(todo)
        busy: dict[Any, _Worker] = {}

        def hand_out(worker: _Worker) -> None:
            worker.shard = next(shards, None)
            if worker.shard is None:
                busy.pop(worker.pipe, None)
                return
            busy[worker.pipe] = worker
            # A worker that has died meanwhile is found out when it is heard.
            with contextlib.suppress(ConnectionError):
                worker.pipe.send((manifest, worker.shard))

        for worker in self._workers:
            hand_out(worker)
        while busy:
            for pipe in connection.wait(list(busy)):
                worker = busy[pipe]
                match worker.hear():
                    case _News(episodes, frames):
                        meter.add(episodes, frames)
                    case _Done():
                        hand_out(worker)

    def __exit__(self, *error: Any) -> None:
        for worker in self._workers:
            with contextlib.suppress(ConnectionError):
                worker.pipe.send(None)
            worker.pipe.close()
            if error[0] is not None:
                worker.process.terminate()
        for worker in self._workers:
            worker.process.join()
        remove_leftovers(self._root, self._writes)


def _work(pipe: connection.Connection, root: Path, recipe: Recipe) -> None:
    """A worker's life: introduce itself, then make the shards it is told to."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears it, and ends its workers
    when_parent_ends(functools.partial(os._exit, 1))
    try:
        policy = recipe.make_policy(recipe.policy_args)
        with contextlib.closing(recipe.make_env()) as env:
            pipe.send(recipe.manifest(env))
            while (task := pipe.recv()) is not None:
                manifest, shard = task
                news = _Throttle(pipe)
                kept = functools.partial(_KeptOpen, env)
                make_shard(root, manifest, shard, policy, kept, news.add)
                news.flush()
                pipe.send(_Done())
    except (EOFError, ConnectionError):
        pass  # the parent is gone, or wants no more
    except Exception as error:
        cause = str(error) if isinstance(error, OSError | ValueError) else repr(error)
        pipe.send(_Failure(cause, traceback.format_exc()))


class _KeptOpen(gymnasium.Wrapper):
    """Lets one environment serve many rollouts, which close what they are given."""

    def close(self) -> None:
        pass


class _Throttle:
    def __init__(self, pipe: connection.Connection) -> None:
        self._pipe, self._episodes, self._frames = pipe, 0, 0
        self._told = time.monotonic()

    def add(self, frames: int) -> None:
        self._episodes += 1
        self._frames += frames
        if time.monotonic() - self._told > _NEWS_SECONDS:
            self.flush()

    def flush(self) -> None:
        self._pipe.send(_News(self._episodes, self._frames))
        self._episodes, self._frames, self._told = 0, 0, time.monotonic()


def _obituary(exitcode: int | None) -> str:
    if exitcode is not None and exitcode < 0:
        name = signal_name(-exitcode)
        hint = ", as when memory runs out" if name == "SIGKILL" else ""
        return f"killed by {name}{hint}"
    return f"exit code {exitcode}"


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
