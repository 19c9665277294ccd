"""The shards of a set of demonstrations: their files, written whole or not at all.

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
import io
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np

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
    sha256,
    sync_folder,
    to_bytes,
    write_file,
)
from oddoneout.demos.trajectory import Trajectory

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
            self._images = open(self._folder / "images.bin", "wb")
            stack.callback(self._close)
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
        with self._explained():
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
        with self._explained():
            self._flush()
        sync_folder(self._root)  # the shard is there; whether for good, a failure here leaves open

    def _close(self) -> None:
        # After a failed write, closing tries and fails once more: the first failure is the one
        # to be told.
        with contextlib.suppress(OSError):
            self._images.close()

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OSError(
                error.errno,
                f"cannot write {self._target} ({error.strerror}); nothing of this shard is kept",
            ) from error

    def _flush(self) -> None:
        self._images.flush()
        os.fsync(self._images.fileno())
        self._images.close()
        instructions = np.frombuffer(b"".join(self._instructions), "<i4")
        small = {
            "steps.npy": _npy(np.concatenate(self._steps)),
            "episodes.npy": _npy(np.array(self._episodes, EPISODE)),
            "instructions.npy": _npy(instructions.reshape(-1, self._manifest.instruction_words)),
            "texts.json": to_bytes(
                {"sentences": list(self._sentences), "choices": self._choices}, indent=None
            ),
        }
        files = {"images.bin": {"size": self._size, "sha256": self._hash.hexdigest()}}
        for name, content in small.items():
            write_file(self._folder / name, content)
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
        try:
            os.rename(self._folder, self._target)
        except OSError:
            # A shard of this set is always the same: where one already stands, ours is superfluous.
            if not self._target.exists():
                raise


def _npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def finished_shards(root: Path, manifest: Manifest, shards: Iterable[int]) -> list[int]:
    """Those ``shards`` that are there, checked for completeness but not for every byte.

    Raises:
        StorageError: if one of them is damaged, truncated or foreign.
    """
    present = [k for k in shards if shard_folder(root, k).exists()]
    for shard in present:
        try:
            check_shard(root, manifest, shard, verify=False)
        except StorageError as error:
            raise StorageError(
                f"{error}; remove {shard_folder(root, shard)} and collect again to replace it"
            ) from error
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
    if path.read_bytes() != to_bytes(header):
        raise StorageError(f"{path}: damaged, not as it was written")
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
