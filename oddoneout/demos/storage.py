"""Sets of demonstrations on disk: raw memory-mapped shards under one manifest.

A set is a folder::

    manifest.json        what was collected and with what; never changes once written
    shard-00000/         episodes 0 .. S-1 (S = the manifest's shard_episodes)
        images.bin       uint8 (F, H, W, 3), all frames of the shard one after another
        steps.npy        STEP (F,), one row per frame
        episodes.npy     EPISODE (E,), seed and length of each episode
        instructions.npy int32 (K, L), the distinct instructions in order of first use
        texts.json       the distinct sentences in order of first use; the choices
        shard.json       sizes and SHA-256 checksums of these files; fingerprint of the manifest
    shard-00001/ ...

A shard is written into a hidden folder, flushed to the disk, and renamed: it is there whole or
not at all. Nothing in a set is executed or unpickled when it is read.
"""

import contextlib
import hashlib
import math
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from oddoneout.demos.manifest import (
    FORMAT,
    KIND,
    MANIFEST,
    Manifest,
    StorageError,
    check_format,
    file_sha256,
    placed,
    read_json,
    read_manifest,
    sha256,
    sync_folder,
    to_bytes,
    vocabulary_fingerprint,
    write_file,
)
from oddoneout.demos.trajectory import Choice, Seen, Told, Trajectory

SHARD: Final = "shard.json"
_DATA_FILES: Final = (
    "images.bin",
    "steps.npy",
    "episodes.npy",
    "instructions.npy",
    "texts.json",
)

#: One frame; ``explanation`` and ``instruction`` point into the shard's tables.
STEP: Final = np.dtype(
    [
        ("action", "u1"),
        ("label", "u1"),
        ("reward", "<f4"),
        ("trial", "u1"),
        ("explaining", "?"),
        ("explanation", "<u4"),
        ("instruction", "<u4"),
    ]
)
#: One episode.
EPISODE: Final = np.dtype([("seed", "<i8"), ("length", "<i8")])


def shard_folder(root: Path, shard: int) -> Path:
    return root / f"shard-{shard:05d}"


class ShardWriter:
    """Writes one shard; nothing is visible until ``finish``, and nothing stays after an error.

    Use as a context manager: ``with ShardWriter(root, manifest, k) as w: w.add(...); w.finish()``.

    Raises:
        OSError: if the disk is full or fails; the unfinished shard is removed.
    """

    def __init__(self, root: Path, manifest: Manifest, shard: int) -> None:
        self._root, self._manifest, self._shard = root, manifest, shard
        self._steps: list[np.ndarray] = []
        self._episodes: list[tuple[int, int]] = []
        self._sentences: dict[str, int] = {}
        self._instructions: dict[bytes, int] = {}
        self._choices: list[list[dict[str, Any]]] = []
        self._hash, self._size = hashlib.sha256(), 0
        self._exits = contextlib.ExitStack()

    def __enter__(self) -> "ShardWriter":
        with contextlib.ExitStack() as stack:
            self._target = shard_folder(self._root, self._shard)
            self._folder = stack.enter_context(placed(self._root, self._target))
            self._images = stack.enter_context(open(self._folder / "images.bin", "wb"))
            self._exits = stack.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        self._exits.__exit__(*error)

    def add(self, trajectory: Trajectory) -> None:
        """Append an episode.

        Raises:
            ValueError: if its image or instruction size is not the manifest's.
        """
        seen, told = trajectory.seen, trajectory.told
        frame = (*self._manifest.image_size, 3)
        if seen.images.shape[1:] != frame or seen.images.dtype != np.uint8:
            raise ValueError(
                f"images must be uint8 (T, {', '.join(map(str, frame))}), "
                f"got {seen.images.dtype} {seen.images.shape}"
            )
        if seen.instructions.shape[1:] != (self._manifest.instruction_words,):
            raise ValueError(
                f"instructions must be (T, {self._manifest.instruction_words}), "
                f"got {seen.instructions.shape}"
            )
        images = np.ascontiguousarray(seen.images)
        self._images.write(images.data)
        self._hash.update(images.data)
        self._size += images.nbytes

        steps = np.zeros(len(trajectory), STEP)
        steps["action"], steps["label"] = seen.actions, told.labels
        steps["reward"], steps["trial"] = seen.rewards, told.trials
        steps["explaining"] = told.explaining
        steps["explanation"] = [
            self._sentences.setdefault(text, len(self._sentences)) for text in told.explanations
        ]
        steps["instruction"] = [
            self._instructions.setdefault(row.tobytes(), len(self._instructions))
            for row in np.ascontiguousarray(seen.instructions, "<i4")
        ]
        self._steps.append(steps)
        self._episodes.append((trajectory.seed, len(trajectory)))
        self._choices.append([asdict(choice) for choice in trajectory.choices])

    def finish(self) -> None:
        """Flush everything to the disk and make the shard visible.

        Raises:
            ValueError: if the number of episodes is not what the manifest asks of this shard.
        """
        wanted = len(self._manifest.shard_range(self._shard))
        if len(self._episodes) != wanted:
            raise ValueError(
                f"shard {self._shard} must have {wanted} episodes, got {len(self._episodes)}"
            )
        self._images.flush()
        os.fsync(self._images.fileno())
        self._images.close()
        files = {"images.bin": {"size": self._size, "sha256": self._hash.hexdigest()}}
        instructions = np.frombuffer(b"".join(self._instructions), "<i4")
        arrays = {
            "steps.npy": np.concatenate(self._steps),
            "episodes.npy": np.array(self._episodes, EPISODE),
            "instructions.npy": instructions.reshape(-1, self._manifest.instruction_words),
        }
        for name, array in arrays.items():
            with open(self._folder / name, "wb") as file:
                np.save(file, array, allow_pickle=False)
        texts = {"sentences": list(self._sentences), "choices": self._choices}
        (self._folder / "texts.json").write_bytes(to_bytes(texts, indent=None))
        for name in _DATA_FILES[1:]:
            with open(self._folder / name, "rb+") as file:
                content = file.read()
                os.fsync(file.fileno())
            files[name] = {"size": len(content), "sha256": sha256(content)}
        header = {
            "kind": KIND,
            "format": FORMAT,
            "set": self._manifest.fingerprint,
            "shard": self._shard,
            "files": files,
        }
        write_file(self._folder / SHARD, to_bytes(header))
        sync_folder(self._folder)
        # A shard of this set is always the same: where one already stands, ours is superfluous.
        if not self._target.exists():
            os.rename(self._folder, self._target)
        sync_folder(self._root)


def finished_shards(root: Path, manifest: Manifest) -> list[int]:
    """The shards of the set that are there, checked for completeness but not for every byte.

    Raises:
        StorageError: if one of them is damaged, truncated or foreign.
    """
    present = [k for k in range(manifest.shards) if shard_folder(root, k).exists()]
    for shard in present:
        check_shard(root, manifest, shard, verify=False)
    return present


def check_shard(root: Path, manifest: Manifest, shard: int, verify: bool) -> None:
    """Refuse a shard that is not whole, or not of this set.

    Sizes are always compared, and the checksums of all files but the images; ``verify`` adds
    the images.

    Raises:
        StorageError: naming the file and the cause.
    """
    folder = shard_folder(root, shard)
    path = folder / SHARD
    if not path.is_file():
        raise StorageError(f"{path}: missing")
    header = read_json(path)
    if not isinstance(header, dict) or header.get("kind") != KIND:
        raise StorageError(f"{path}: foreign file, not a shard of {KIND}")
    check_format(path, header)
    if header.get("set") != manifest.fingerprint or header.get("shard") != shard:
        raise StorageError(
            f"{path}: foreign shard, it does not belong here according to {root / MANIFEST} "
            "(another collection, another place, or a changed manifest)"
        )
    listed = header.get("files")
    if not isinstance(listed, dict) or set(listed) != set(_DATA_FILES):
        raise StorageError(f"{path}: damaged, it does not list {', '.join(_DATA_FILES)}")
    for name in _DATA_FILES:
        file = folder / name
        size = file.stat().st_size if file.is_file() else None
        wanted = listed[name].get("size") if isinstance(listed[name], dict) else None
        if size is None:
            raise StorageError(f"{file}: missing")
        if size != wanted:
            cut = "truncated" if isinstance(wanted, int) and size < wanted else "damaged"
            raise StorageError(f"{file}: {cut}, {size} bytes where {path} lists {wanted}")
        if (verify or name != "images.bin") and file_sha256(file) != listed[name].get("sha256"):
            raise StorageError(f"{file}: damaged, its SHA-256 is not the one listed in {path}")


class Dataset:
    """A finished set, read through memory maps; nothing but the index is loaded.

    Frame ``starts[i] + t`` of the per-frame arrays is row ``t`` of episode ``i``; see
    ``oddoneout.demos.trajectory`` for what a row means. All arrays are read-only. Pickling
    (for the worker processes of a loader) sends the path only.

    Attributes:
        path: the folder.
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
        self.path = Path(path)
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
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            checks = [
                pool.submit(check_shard, self.path, self.manifest, k, verify) for k in range(count)
            ]
            for check in checks:
                check.result()
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

    def _index(self, index: int) -> int:
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
