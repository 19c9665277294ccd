import errno
import json
import os
import pickle
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from oddoneout.demos import manifest as manifest_module
from oddoneout.demos import storage
from oddoneout.demos.manifest import (
    Manifest,
    StorageError,
    read_manifest,
    remove_leftovers,
    vocabulary_fingerprint,
    write_manifest,
)
from oddoneout.demos.rollout import rollout
from oddoneout.demos.shards import ShardWriter
from oddoneout.demos.storage import Dataset
from oddoneout.demos.trajectory import Choice, Seen, Told, Trajectory
from tests.demos.fakes import RECIPE, FakePolicy, contents, make_set

MANIFEST = Manifest(
    env_id="Fake/Room-v0",
    env_args={"size": 3},
    policy="nobody",
    policy_args={},
    seed=0,
    episodes=1,
    shard_episodes=3,
    image_size=(2, 3),
    instruction_words=4,
    versions={"oddoneout": "0"},
    vocabulary=vocabulary_fingerprint(),
)


def assert_same(a: Trajectory, b: Trajectory) -> None:
    assert (a.seed, a.choices, a.told.explanations) == (b.seed, b.choices, b.told.explanations)
    for one, other in ((a.seen, b.seen), (a.told, b.told)):
        for name in one.__slots__:
            left, right = getattr(one, name), getattr(other, name)
            if isinstance(left, np.ndarray):
                assert left.dtype == right.dtype, name
                assert np.array_equal(left, right), name


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("set")
    make_set(root, RECIPE)
    return root


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "copy"))


@st.composite
def trajectories(draw: st.DrawFn) -> Trajectory:
    steps = draw(st.integers(1, 6))

    def array(dtype: Any, *shape: int, **limits: Any) -> np.ndarray:
        elements = npst.from_dtype(np.dtype(dtype), **limits)
        return draw(npst.arrays(dtype, (steps, *shape), elements=elements))

    sentences = st.sampled_from(["", "this is a red cube", "you face the north wall"]) | st.text()
    choice = st.builds(
        Choice,
        step=st.integers(0, steps - 1),
        trial=st.integers(0, 255),
        test=st.booleans(),
        correct=st.booleans(),
        odd_in=st.lists(st.sampled_from(["color", "shape", "size"])).map(tuple),
    )
    return Trajectory(
        seed=draw(st.integers(0, 2**62)),
        seen=Seen(
            images=array(np.uint8, 2, 3, 3),
            instructions=array(np.int32, 4),
            actions=array(np.uint8),
            rewards=array(np.float32, allow_nan=False),
        ),
        told=Told(
            labels=array(np.uint8),
            explanations=tuple(draw(st.lists(sentences, min_size=steps, max_size=steps))),
            trials=array(np.uint8),
            explaining=array(np.bool_),
        ),
        choices=tuple(draw(st.lists(choice, max_size=3))),
    )


@settings(max_examples=40, deadline=None, derandomize=True)
@given(episodes=st.lists(trajectories(), min_size=1, max_size=7))
def test_whatever_is_written_is_read_again(
    episodes: list[Trajectory], tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("random")
    manifest = replace(MANIFEST, episodes=len(episodes))
    write_manifest(root, manifest)
    for shard in range(manifest.shards):
        with ShardWriter(root, manifest, shard) as writer:
            for index in manifest.shard_range(shard):
                writer.add(episodes[index])
            writer.finish()
    dataset = Dataset(root)
    assert read_manifest(root) == manifest
    assert dataset.lengths.tolist() == [len(episode) for episode in episodes]
    for read, written in zip(dataset, episodes, strict=True):
        assert_same(read, written)


def test_a_set_gives_back_what_the_rollout_played(made: Path) -> None:
    dataset = Dataset(made)
    played = rollout(FakePolicy(), RECIPE.make_env, dataset.seeds.tolist(), slots=4)
    for index, episode in enumerate(played):
        assert_same(dataset.episode(index), episode)
    assert_same(dataset.episode(-1), dataset.episode(21))
    with pytest.raises(IndexError, match="episode 22 of 22"):
        dataset.episode(22)
    assert_same(dataset[3], dataset.episode(3))
    assert len(list(dataset)) == 22
    with pytest.raises(TypeError, match="integer"):
        dataset[0:2]  # type: ignore[index]


def test_images_are_views_of_the_files_and_nothing_can_be_written(made: Path) -> None:
    dataset = Dataset(made)
    images = dataset.images(5)
    assert type(images) is np.ndarray
    assert images.base is not None
    for array in (images, dataset.actions, dataset.episode(5).seen.rewards):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_the_flat_arrays_agree_with_the_episodes(made: Path) -> None:
    dataset = Dataset(made)
    assert dataset.sentences[0] == ""
    assert len(set(dataset.sentences)) == len(dataset.sentences)
    for i, episode in enumerate(dataset):
        rows = slice(dataset.starts[i], dataset.starts[i + 1])
        said = tuple(dataset.sentences[k] for k in dataset.explanation_ids[rows])
        assert said == episode.told.explanations
        assert np.array_equal(dataset.actions[rows], episode.seen.actions)


def test_a_pickled_dataset_is_a_path_and_not_the_data(made: Path) -> None:
    dataset = Dataset(made)
    message = pickle.dumps(dataset)
    assert len(message) < 1000
    assert_same(pickle.loads(message).episode(3), dataset.episode(3))


def test_a_pickled_dataset_is_found_from_another_folder(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(made.parent)
    dataset = Dataset(made.name)
    monkeypatch.chdir(tmp_path)
    assert_same(pickle.loads(pickle.dumps(dataset)).episode(3), dataset.episode(3))


def _flip(path: Path, position: int) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 0x01
    path.write_bytes(content)


FILES = [
    "manifest.json",
    *(
        f"shard-00002/{name}"
        for name in (
            "shard.json",
            "images.bin",
            "steps.npy",
            "episodes.npy",
            "instructions.npy",
            "texts.json",
        )
    ),
]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("share", [0.0, 0.37, 0.71, 0.999])
def test_one_flipped_bit_anywhere_is_refused_naming_the_file(
    name: str, share: float, copy: Path
) -> None:
    path = copy / name
    _flip(path, int(share * path.stat().st_size))
    with pytest.raises(StorageError) as refusal:
        Dataset(copy)
    assert path.name in str(refusal.value)


@pytest.mark.parametrize("error", [StorageError("damaged"), KeyboardInterrupt()], ids=repr)
def test_after_the_first_refusal_no_more_shards_are_read(
    error: BaseException, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused, read = threading.Event(), []

    def check(root: Path, manifest: Manifest, shard: int, verify: bool) -> None:
        read.append(shard)
        if shard == 0:
            refused.set()
            raise error
        refused.wait()
        time.sleep(0.3)  # a large shard

    monkeypatch.setattr(storage, "check_shard", check)
    monkeypatch.setattr(storage, "usable_cores", lambda: 2)
    with pytest.raises(type(error)):
        Dataset(made)
    assert 0 in read
    assert len(read) < 5  # of 6


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("kept", [0, 1, -1])
def test_a_truncated_file_is_refused_by_name_even_without_checksums(
    name: str, kept: int, copy: Path
) -> None:
    path = copy / name
    os.truncate(path, kept % path.stat().st_size)
    with pytest.raises(StorageError) as refusal:
        Dataset(copy, verify=False)
    assert path.name in str(refusal.value)
    assert any(word in str(refusal.value) for word in ("truncated", "damaged"))


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_refused_by_name(name: str, copy: Path) -> None:
    (copy / name).unlink()
    with pytest.raises(StorageError, match=f"{name}: (missing|not found)"):
        Dataset(copy)


def _edit(path: Path, **changes: Any) -> None:
    content = json.loads(path.read_text())
    content.update(changes)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize("name", ["manifest.json", "shard-00001/shard.json"])
def test_newer_and_foreign_files_are_refused_as_such(name: str, copy: Path) -> None:
    _edit(copy / name, format=2, surprise=True)
    with pytest.raises(StorageError, match=f"{name}: format 2 is newer than the 1 .* upgrade"):
        Dataset(copy)
    _edit(copy / name, kind="something else", format=1)
    with pytest.raises(StorageError, match=f"{name}: foreign file"):
        Dataset(copy)


def test_shards_of_other_sets_and_other_places_are_refused(
    copy: Path, made: Path, tmp_path: Path
) -> None:
    make_set(tmp_path / "other", replace(RECIPE, seed=9))
    shutil.rmtree(copy / "shard-00001")
    shutil.copytree(tmp_path / "other" / "shard-00001", copy / "shard-00001")
    with pytest.raises(StorageError, match=r"shard-00001/shard.json: foreign shard"):
        Dataset(copy)
    shutil.rmtree(copy / "shard-00001")
    shutil.copytree(made / "shard-00000", copy / "shard-00001")
    with pytest.raises(StorageError, match=r"shard-00001/shard.json: foreign shard"):
        Dataset(copy)
    shutil.rmtree(copy / "shard-00001")
    with pytest.raises(StorageError, match=r"5 of 6 shards are there \(first missing: shard-00001"):
        Dataset(copy)
    shutil.copytree(made / "shard-00001", copy / "shard-00001")
    shutil.copytree(made / "shard-00001", copy / "shard-00006")
    with pytest.raises(StorageError, match=r"shard-00006: foreign, the set has 6 shards"):
        Dataset(copy)


def test_a_set_of_another_vocabulary_is_refused(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = (*manifest_module.VOCABULARY, "teapot")
    monkeypatch.setattr(manifest_module, "VOCABULARY", words)
    with pytest.raises(StorageError, match=r"manifest.json: collected with another vocabulary"):
        Dataset(made)


def test_a_folder_that_is_no_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="not a set of demonstrations"):
        Dataset(tmp_path)


def test_an_episode_of_another_image_size_is_not_stored(made: Path, tmp_path: Path) -> None:
    write_manifest(tmp_path, MANIFEST)
    with (
        ShardWriter(tmp_path, MANIFEST, 0) as writer,
        pytest.raises(ValueError, match=r"images must be uint8 \(T, 2, 3, 3\), got"),
    ):
        writer.add(Dataset(made).episode(0))
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.json"]


class Killed(BaseException):
    """Stands for the end of the process: nothing cleans up after it."""


def _interrupted(monkeypatch: pytest.MonkeyPatch, at: int, error: BaseException) -> list[str]:
    """Raise at the ``at``-th call that reaches for the disk; returns the calls as they come."""
    calls: list[str] = []

    def counted(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            calls.append(name)
            if len(calls) == at:
                raise error
            return real(*args, **kwargs)

        return call

    for name in ("fsync", "rename", "replace", "link"):
        monkeypatch.setattr(os, name, counted(name, getattr(os, name)))
    return calls


def test_killed_at_any_moment_it_resumes_to_the_same_bytes(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = replace(RECIPE, episodes=7)
    make_set(tmp_path / "whole", recipe)
    at = 0
    while True:
        at += 1
        root = tmp_path / f"killed-{at}"
        with monkeypatch.context() as patch:
            patch.setattr(shutil, "rmtree", lambda *args, **kwargs: None)
            _interrupted(patch, at, Killed())
            try:
                make_set(root, recipe)
            except Killed:
                pass
            else:
                break
        for name, content in contents(root).items():  # what is visible is final
            if not name.startswith("."):
                assert content == contents(tmp_path / "whole")[name]
        remove_leftovers(root, ["manifest.json", "shard-00000", "shard-00001"])
        make_set(root, recipe)
        assert contents(root) == contents(tmp_path / "whole")
    assert at > 15  # every file of both shards, their folders, and the manifest


def test_a_full_disk_leaves_no_half_shard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = replace(RECIPE, episodes=4)
    full = OSError(errno.ENOSPC, "No space left on device")
    for at in range(4, 11):  # after those of the manifest
        root = tmp_path / str(at)
        with monkeypatch.context() as patch:
            calls = _interrupted(patch, at, full)
            with pytest.raises(OSError, match=r"cannot write .*No space left on device") as error:
                make_set(root, recipe)
            assert len(calls) == at
        assert error.value.errno == errno.ENOSPC
        assert [path.name for path in root.iterdir()] == ["manifest.json"]
    # The last call, after the shard has its name: whether that will last is all that is open.
    root = tmp_path / "named"
    with monkeypatch.context() as patch:
        calls = _interrupted(patch, 12, full)
        with pytest.raises(OSError, match=r"^\[Errno \d+\] No space left on device"):
            make_set(root, recipe)
        assert len(calls) == 12
    make_set(tmp_path / "whole", recipe)
    assert contents(root) == contents(tmp_path / "whole")
