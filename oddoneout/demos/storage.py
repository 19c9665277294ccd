"""Sets of demonstrations, read through memory maps.

How a set lies on the disk is told in ``oddoneout.demos.shards``; how one is made, in
``oddoneout.demos.collection``.
"""

import math
import operator
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oddoneout.demos.manifest import (
    MANIFEST,
    Manifest,
    StorageError,
    read_json,
    read_manifest,
    vocabulary_fingerprint,
)
from oddoneout.demos.shards import EPISODE, STEP, check_shard, shard_folder
from oddoneout.demos.trajectory import Choice, Seen, Told, Trajectory
from oddoneout.processes import usable_cores


class Dataset:
    """A finished set, read through memory maps; nothing but the index is loaded.

    Frame ``starts[i] + t`` of the per-frame arrays is row ``t`` of episode ``i``; see
    ``oddoneout.demos.trajectory`` for what a row means. All arrays are read-only. Pickling
    (for the worker processes of a loader) sends the path only.

    Attributes:
        path: the folder, absolute: a pickled set is found from anywhere.
        manifest: what was collected.
        seeds, lengths: int64 (N,), of each episode.
        starts: int64 (N + 1,), the first frame of each episode; the last entry is F.
        actions, labels, trials: uint8 (F,).
        rewards: float32 (F,).
        explaining: bool (F,).
        explanation_ids: int32 (F,), into ``sentences``.
        sentences: the distinct explanations of the set; the first is "".
        instruction_ids: int32 (F,), into ``instructions``.
        instructions: int32 (K, L), the distinct encoded instructions of the set.
        choices: of each episode.

    Args:
        path: the folder.
        verify: compare the checksums of the images too (about 2 GB/s); sizes and the
            checksums of everything else are always compared.

    Raises:
        StorageError: if the set is unfinished, damaged, foreign, of a newer format or of
            another vocabulary; the message names the file and the cause.
    """

    def __init__(self, path: str | os.PathLike[str], verify: bool = True) -> None:
        self.path = Path(path).absolute()
        self.manifest = read_manifest(self.path)
        if self.manifest.vocabulary != vocabulary_fingerprint():
            raise StorageError(
                f"{self.path / MANIFEST}: collected with another vocabulary or action set than "
                f"this version of oddoneout has (collected by {self.manifest.versions}); "
                "collect it again"
            )
        count = self.manifest.shards
        expected = {shard_folder(self.path, k).name for k in range(count)}
        present = {entry.name for entry in self.path.glob("shard-*")}
        if present - expected:
            strange = self.path / min(present - expected)
            raise StorageError(f"{strange}: foreign, the set has {count} shards")
        if present != expected:
            raise StorageError(
                f"{self.path}: unfinished, {len(present)} of {count} shards are there (first "
                f"missing: {min(expected - present)}); run the same collection again to finish it"
            )
        pool = ThreadPoolExecutor(usable_cores())
        try:
            checks = [
                pool.submit(check_shard, self.path, self.manifest, k, verify) for k in range(count)
            ]
            for check in checks:
                check.result()
        finally:  # after the first refusal, or Ctrl-C, the others need not be read
            pool.shutdown(cancel_futures=True)
        self._load([_Shard(self.path, self.manifest, k) for k in range(count)])

    def _load(self, shards: list["_Shard"]) -> None:
        self._images = [shard.images for shard in shards]
        steps = np.concatenate([shard.steps for shard in shards])
        self.actions, self.labels, self.trials, self.rewards, self.explaining = (
            np.ascontiguousarray(steps[name])
            for name in ("action", "label", "trial", "reward", "explaining")
        )
        episodes = np.concatenate([shard.episodes for shard in shards])
        self.seeds = np.ascontiguousarray(episodes["seed"])
        self.lengths = np.ascontiguousarray(episodes["length"])
        self.starts = np.concatenate([[0], np.cumsum(self.lengths)])
        self.choices = tuple(choices for shard in shards for choices in shard.choices)

        sentences: dict[str, int] = {"": 0}
        instructions: dict[bytes, int] = {}
        self.explanation_ids = np.concatenate(
            [_merge(sentences, s.sentences)[s.steps["explanation"]] for s in shards]
        )
        self.instruction_ids = np.concatenate(
            [
                _merge(instructions, [row.tobytes() for row in s.instructions])[
                    s.steps["instruction"]
                ]
                for s in shards
            ]
        )
        self.sentences = tuple(sentences)
        self.instructions = (
            np.frombuffer(b"".join(instructions), "<i4")
            .reshape(-1, self.manifest.instruction_words)
            .astype(np.int32)
        )
        for array in vars(self).values():
            if isinstance(array, np.ndarray):
                array.flags.writeable = False

    def __len__(self) -> int:
        return len(self.lengths)

    def __reduce__(self) -> tuple[Any, ...]:
        return Dataset, (self.path, False)

    def images(self, index: int) -> NDArray[np.uint8]:
        """The frames of an episode: uint8 (T, H, W, 3), a view into the file."""
        index = self._index(index)
        shard = index // self.manifest.shard_episodes
        offset = self.starts[shard * self.manifest.shard_episodes]
        return self._images[shard][self.starts[index] - offset : self.starts[index + 1] - offset]

    def episode(self, index: int) -> Trajectory:
        """The ``index``-th episode; its arrays are views.

        Raises:
            IndexError: if there is no such episode.
        """
        index = self._index(index)
        rows = slice(self.starts[index], self.starts[index + 1])
        return Trajectory(
            seed=int(self.seeds[index]),
            seen=Seen(
                images=self.images(index),
                instructions=self.instructions[self.instruction_ids[rows]],
                actions=self.actions[rows],
                rewards=self.rewards[rows],
            ),
            told=Told(
                labels=self.labels[rows],
                explanations=tuple(self.sentences[i] for i in self.explanation_ids[rows]),
                trials=self.trials[rows],
                explaining=self.explaining[rows],
            ),
            choices=self.choices[index],
        )

    def __iter__(self) -> Iterator[Trajectory]:
        return (self.episode(i) for i in range(len(self)))

    def __getitem__(self, index: int) -> Trajectory:
        """The same as ``episode``, so that a set is a sequence, as a torch ``DataLoader`` needs."""
        return self.episode(index)

    def _index(self, index: int) -> int:
        index = operator.index(index)
        if not -len(self) <= index < len(self):
            raise IndexError(f"episode {index} of {len(self)} in {self.path}")
        return index % len(self)


class _Shard:
    """One shard's files, opened."""

    def __init__(self, root: Path, manifest: Manifest, shard: int) -> None:
        folder = shard_folder(root, shard)
        self.steps = np.load(folder / "steps.npy", allow_pickle=False)
        self.episodes = np.load(folder / "episodes.npy", allow_pickle=False)
        self.instructions = np.load(folder / "instructions.npy", allow_pickle=False)
        texts = read_json(folder / "texts.json")
        self.sentences: list[str] = texts["sentences"]
        self.choices = [
            tuple(Choice(**{**choice, "odd_in": tuple(choice["odd_in"])}) for choice in episode)
            for episode in texts["choices"]
        ]
        if self.steps.dtype != STEP or self.episodes.dtype != EPISODE:
            raise StorageError(f"{folder}: foreign, steps.npy or episodes.npy has other columns")
        shape = (len(self.steps), *manifest.image_size, 3)
        images = folder / "images.bin"
        wanted = len(manifest.shard_range(shard))
        if (
            len(self.episodes) != wanted
            or self.episodes["length"].sum() != len(self.steps)
            or images.stat().st_size != math.prod(shape)
        ):
            raise StorageError(f"{folder}: damaged, its files disagree about episodes and frames")
        self.images = np.memmap(images, np.uint8, "r", shape=shape).view(np.ndarray)


def _merge(table: dict[Any, int], entries: list[Any]) -> NDArray[np.int32]:
    """Where each entry stands in ``table``, after adding what it lacks."""
    return np.array([table.setdefault(entry, len(table)) for entry in entries], np.int32)
