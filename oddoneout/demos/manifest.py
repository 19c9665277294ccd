"""What a set of demonstrations was collected with, and how its files are written safely."""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final

from oddoneout.actions import Action
from oddoneout.rules.language import VOCABULARY

FORMAT: Final = 1
KIND: Final = "oddoneout demonstrations"
MANIFEST: Final = "manifest.json"
_PREFIX: Final = ".unfinished-"


class StorageError(ValueError):
    """A set that cannot be used; the message names the file and the cause."""


def vocabulary_fingerprint() -> str:
    """Changes whenever token ids or action numbers change their meaning."""
    return sha256(to_bytes([list(VOCABULARY), [action.name for action in Action]]))


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a set holds; the data are a function of it.

    Attributes:
        env_id, env_args: of the environment, as given to ``gymnasium.make``.
        policy, policy_args: who demonstrated.
        seed: of the collection; the episodes' own seeds follow from it.
        episodes: how many the whole set has.
        shard_episodes: episodes per shard; the last shard may have fewer.
        image_size: (height, width).
        instruction_words: L, the length of an encoded instruction.
        versions: of oddoneout, mujoco, numpy, gymnasium and the renderer, and "first_image".
        vocabulary: ``vocabulary_fingerprint()`` when it was collected.
    """

    env_id: str
    env_args: Mapping[str, Any]
    policy: str
    policy_args: Mapping[str, Any]
    seed: int
    episodes: int
    shard_episodes: int
    image_size: tuple[int, int]
    instruction_words: int
    versions: Mapping[str, str]
    vocabulary: str

    def __post_init__(self) -> None:
        for name in ("episodes", "shard_episodes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")

    @property
    def shards(self) -> int:
        return -(-self.episodes // self.shard_episodes)

    @property
    def renderer(self) -> str:
        """Which renderer drew the images; ``versions["renderer"]`` says more precisely."""
        return str(self.env_args.get("renderer", "classic"))

    def shard_range(self, shard: int) -> range:
        """Indices of the episodes in a shard."""
        first = shard * self.shard_episodes
        return range(first, min(first + self.shard_episodes, self.episodes))

    def to_json(self) -> bytes:
        return to_bytes({"kind": KIND, "format": FORMAT, **asdict(self)})

    @property
    def fingerprint(self) -> str:
        return sha256(self.to_json())


def read_manifest(root: Path) -> Manifest:
    """The manifest of the set in ``root``.

    Raises:
        StorageError: if there is none, or it is damaged, foreign, or of a newer format.
    """
    path = root / MANIFEST
    if not path.is_file():
        raise StorageError(f"{path}: not found, so {root} is not a set of demonstrations")
    content = read_json(path)
    if not isinstance(content, dict) or content.get("kind") != KIND:
        raise StorageError(f"{path}: foreign file, not a manifest of {KIND}")
    check_format(path, content)
    body = {name: value for name, value in content.items() if name not in ("kind", "format")}
    names = {field.name for field in fields(Manifest)}
    if set(body) != names:
        odd = ", ".join(sorted(set(body) ^ names))
        raise StorageError(f"{path}: damaged, unexpected or missing entries: {odd}")
    try:
        manifest = Manifest(**{**body, "image_size": tuple(body["image_size"])})
        damaged = manifest.to_json() != path.read_bytes()
    except (TypeError, ValueError) as error:
        raise StorageError(f"{path}: damaged, {error}") from error
    if damaged:
        raise StorageError(f"{path}: damaged, not as it was written")
    return manifest


def write_manifest(root: Path, manifest: Manifest) -> None:
    """Start a set, or go on with one; ``root`` is made if it is missing.

    Several processes may do so at once: one of them writes, and the others compare.

    Raises:
        StorageError: if ``root`` already holds something else; the message says what differs.
    """
    root.mkdir(parents=True, exist_ok=True)
    path = root / MANIFEST
    if not path.exists():
        strangers = [entry.name for entry in root.iterdir() if not entry.name.startswith(".")]
        if strangers and not path.exists():  # else another process has started the set meanwhile
            raise StorageError(f"{root}: holds other files ({strangers[0]}, ...) and no {MANIFEST}")
        with placed(root, path) as folder:
            write_file(folder / MANIFEST, manifest.to_json())
            _publish(folder / MANIFEST, path)
        sync_folder(root)
    _refuse_other(path, read_manifest(root), manifest)


#: What file systems without hard links answer.
_NO_LINKS: Final = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK)


def _publish(source: Path, target: Path) -> None:
    """Give a finished file its name, unless another process was first."""
    try:
        os.link(source, target)
    except FileExistsError:
        pass
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        os.replace(source, target)


def _refuse_other(path: Path, there: Manifest, wanted: Manifest) -> None:
    # Compared as JSON, where a tuple and a list are one.
    old, new = json.loads(there.to_json()), json.loads(wanted.to_json())
    differing = [
        f"{name} is {old[name]!r} there and {new[name]!r} here"
        for name in old
        if old[name] != new[name]
    ]
    if differing:
        raise StorageError(
            f"{path}: the folder holds another configuration: {'; '.join(differing)}. "
            "Choose another folder, or collect with the same configuration."
        )


def remove_leftovers(root: Path, targets: Iterable[str]) -> None:
    """Delete what killed writers of these files and folders left behind; call only while no one
    writes them."""
    names = set(targets)
    for folder in root.glob(f"{_PREFIX}*"):
        if folder.name.removeprefix(_PREFIX).rpartition("-")[0] in names:
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def placed(root: Path, target: Path) -> Iterator[Path]:
    """A hidden folder beside ``target``; what is still in it at the end is removed."""
    folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{target.name}-", dir=root))
    try:
        folder.chmod(0o755)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_file(path: Path, content: bytes) -> None:
    with open(path, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def to_bytes(content: Any, indent: int | None = 2) -> bytes:
    return (json.dumps(content, indent=indent, sort_keys=True, allow_nan=False) + "\n").encode()


def read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except ValueError as error:
        raise StorageError(f"{path}: damaged, not JSON ({error})") from error


def check_format(path: Path, content: Mapping[str, Any]) -> None:
    version = content.get("format")
    if not isinstance(version, int) or version < 1:
        raise StorageError(f"{path}: damaged, format {version!r}")
    if version > FORMAT:
        raise StorageError(
            f"{path}: format {version} is newer than the {FORMAT} that this version of oddoneout "
            "reads; upgrade oddoneout"
        )


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def file_sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
