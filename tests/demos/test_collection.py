import contextlib
import errno
import json
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from oddoneout.baselines import RandomPolicy
from oddoneout.demos.collection import CollectionError, Progress, Recipe, collect
from oddoneout.demos.manifest import StorageError, read_manifest, write_manifest
from oddoneout.demos.rollout import Policy
from oddoneout.demos.storage import Dataset
from oddoneout.rules.splits import Stream, episode_seed
from tests.demos import fakes
from tests.demos.fakes import RECIPE, STOP_AT, contents, make_set


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("undisturbed")
    make_set(root, RECIPE)
    return root


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_the_bytes_do_not_depend_on_the_number_of_workers(
    workers: int, tmp_path: Path, undisturbed: Path
) -> None:
    reports: list[Progress] = []
    collect(tmp_path, RECIPE, workers, reports.append)
    assert contents(tmp_path) == contents(undisturbed)
    assert reports[-1].episodes == reports[-1].total == 22
    assert "22/22 episodes" in str(reports[-1])


def test_a_set_holds_the_episodes_of_its_seeds_in_order(undisturbed: Path) -> None:
    dataset = Dataset(undisturbed)
    assert len(dataset) == 22
    assert dataset.seeds.tolist() == [episode_seed(Stream.DEMOS, 3, i) for i in range(22)]


def _collect_with_workers(root: Path, recipe: Recipe) -> None:
    collect(root, recipe, workers=2)


def _wait_for(root: Path, pattern: str) -> None:
    deadline = time.monotonic() + 60
    while not any(root.glob(pattern)):
        assert time.monotonic() < deadline, f"{pattern} never came"
        time.sleep(0.002)


@pytest.mark.parametrize(
    ("decision", "moment"),
    [("10", ".unfinished-shard-*/images.bin"), ("60", "shard-0000[1-9]")],  # of 137 in six shards
)
def test_killed_and_run_again_it_ends_with_the_same_bytes(
    decision: str, moment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undisturbed: Path
) -> None:
    root = tmp_path / "killed"
    root.mkdir()
    # Not a daemon: a collection has worker processes of its own.
    process = multiprocessing.get_context("spawn").Process(
        target=_collect_with_workers, args=(root, RECIPE)
    )
    monkeypatch.setenv(STOP_AT, decision)  # of each worker: together they cannot finish
    process.start()
    _wait_for(root, moment)
    monkeypatch.delenv(STOP_AT)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    finished = {path.name for path in root.glob("shard-*")}
    assert len(finished) < 6
    before = contents(root / "shard-00001") if "shard-00001" in finished else None
    with pytest.raises(StorageError, match=r"unfinished, \d of 6 shards are there"):
        Dataset(root)
    collect(root, RECIPE, workers=2)
    assert contents(root) == contents(undisturbed)
    assert before is None or before == contents(root / "shard-00001")


def test_collecting_again_when_all_is_done_changes_nothing(tmp_path: Path) -> None:
    make_set(tmp_path, RECIPE)
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    reports: list[Progress] = []
    collect(tmp_path, RECIPE, report=reports.append)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == times
    assert reports == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"seed": 4}, "seed is 3 there and 4 here"),
        ({"episodes": 23}, "episodes is 22 there and 23 here"),
        ({"env_args": {"size": 9}}, "env_args is {} there and {'size': 9} here"),
        ({"policy_args": {"noise": 1}}, "policy_args is {} there and {'noise': 1} here"),
        ({"shard_episodes": 5}, "shard_episodes is 4 there and 5 here"),
    ],
)
def test_a_folder_of_another_configuration_is_refused_naming_the_difference(
    change: dict, said: str, tmp_path: Path
) -> None:
    make_set(tmp_path, RECIPE)
    before = contents(tmp_path)
    other = replace(RECIPE, **change)
    wanted = replace(
        read_manifest(tmp_path),
        **{name: getattr(other, name) for name in change},
    )
    with pytest.raises(StorageError) as refusal:
        write_manifest(tmp_path, wanted)
    assert said in str(refusal.value)
    assert "manifest.json" in str(refusal.value)
    assert contents(tmp_path) == before


def test_a_folder_of_something_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("chapter 1")
    with pytest.raises(StorageError, match=r"holds other files \(thesis.txt"):
        collect(tmp_path, RECIPE)
    assert list(tmp_path.iterdir()) == [tmp_path / "thesis.txt"]


def test_resuming_onto_a_damaged_shard_is_refused_and_says_what_to_remove(tmp_path: Path) -> None:
    make_set(tmp_path, RECIPE)
    os.truncate(tmp_path / "shard-00002" / "images.bin", 100)
    with pytest.raises(StorageError, match=r"images.bin: truncated, .*; remove .*shard-00002 and"):
        collect(tmp_path, RECIPE)


def test_a_full_disk_is_an_error_and_leaves_whole_shards_only(tmp_path: Path) -> None:
    small = replace(
        RECIPE, make_policy=fakes.make_policy_on_a_small_disk, policy_args={"bytes": 3000}
    )
    with pytest.raises(CollectionError) as error:
        collect(tmp_path, small)
    assert "cannot write" in str(error.value)
    assert "shard-00000 (File too large)" in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.json"]


def test_a_killed_worker_is_reported_and_finished_shards_are_kept(
    tmp_path: Path, undisturbed: Path
) -> None:
    mortal = replace(RECIPE, make_policy=fakes.make_mortal_policy, policy_args={"life": 60})
    with pytest.raises(CollectionError, match="worker 0 died at shard 2: killed by SIGKILL"):
        collect(tmp_path, mortal)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["manifest.json", "shard-00000", "shard-00001"]
    kept, whole = tmp_path / "shard-00001", undisturbed / "shard-00001"
    assert contents(kept)["images.bin"] == contents(whole)["images.bin"]


def test_a_failing_worker_says_why(tmp_path: Path) -> None:
    faulty = replace(RECIPE, make_policy=fakes.make_faulty_policy)
    with pytest.raises(CollectionError, match="worker 0 failed: this policy cannot be made"):
        collect(tmp_path, faulty)


@contextlib.contextmanager
def at_work(work: Callable[..., None], root: Path, pattern: str, *given: object) -> Iterator[None]:
    """Another process that collects, stands still at its tenth decision, and is killed at last."""
    process = multiprocessing.get_context("spawn").Process(target=work, args=(root, *given))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(STOP_AT, "10")
        process.start()
    try:
        _wait_for(root, pattern)
        yield
    finally:
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join()


def test_two_collections_into_one_folder_at_once_are_refused(tmp_path: Path) -> None:
    with (
        at_work(_collect_with_workers, tmp_path, "manifest.json", RECIPE),
        pytest.raises(StorageError, match="another process is collecting into this folder"),
    ):
        collect(tmp_path, RECIPE)


# Several ranks, one set.


@pytest.mark.parametrize("ranks", [2, 7])  # of 6 shards
def test_the_bytes_do_not_depend_on_the_number_of_ranks(
    ranks: int, tmp_path: Path, undisturbed: Path
) -> None:
    for rank in reversed(range(ranks)):
        with pytest.raises(StorageError, match=r"not a set|unfinished"):
            Dataset(tmp_path)
        collect(tmp_path, RECIPE, rank=rank, ranks=ranks)
    assert contents(tmp_path) == contents(undisturbed)


def test_a_rank_makes_its_own_shards_and_counts_its_own_episodes(tmp_path: Path) -> None:
    reports: list[Progress] = []
    collect(tmp_path, RECIPE, report=reports.append, rank=1, ranks=4)
    assert sorted(path.name for path in tmp_path.glob("shard-*")) == ["shard-00001", "shard-00005"]
    assert reports[-1].episodes == reports[-1].total == 4 + 2


def test_a_rank_clears_away_what_it_left_itself_and_nothing_of_the_others(tmp_path: Path) -> None:
    names = ("shard-00002", "shard-00001", "manifest.json")  # the last: another may be at work on
    mine, *others = (tmp_path / f".unfinished-{name}-abc_def" for name in names)
    for folder in (mine, *others):
        folder.mkdir(parents=True)
    collect(tmp_path, RECIPE, rank=0, ranks=2)
    assert not mine.exists()
    assert all(other.exists() for other in others)


def test_a_rank_that_is_refused_touches_nothing(tmp_path: Path, undisturbed: Path) -> None:
    write_manifest(tmp_path, read_manifest(undisturbed))
    running = tmp_path / ".unfinished-shard-00000-abc_def"
    running.mkdir()
    with pytest.raises(StorageError, match="seed is 3 there and 4 here"):
        collect(tmp_path, replace(RECIPE, seed=4), rank=0, ranks=2)
    assert running.exists()


def _collect_a_share(root: Path, recipe: Recipe, rank: int) -> None:
    collect(root, recipe, rank=rank, ranks=2)


def test_a_rank_that_is_at_work_is_refused_a_second_time(tmp_path: Path, undisturbed: Path) -> None:
    unfinished = ".unfinished-shard-00000*/images.bin"
    with at_work(_collect_a_share, tmp_path, unfinished, RECIPE, 0):
        with pytest.raises(StorageError, match="another process is collecting rank 0 into this"):
            collect(tmp_path, RECIPE, rank=0, ranks=2)
        assert any(tmp_path.glob(unfinished))
        collect(tmp_path, RECIPE, rank=1, ranks=2)
    collect(tmp_path, RECIPE, rank=0, ranks=2)
    assert contents(tmp_path) == contents(undisturbed)


def test_ranks_work_at_once_and_a_killed_one_is_made_up_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undisturbed: Path
) -> None:
    root = tmp_path / "shared"
    context = multiprocessing.get_context("spawn")
    ranks = [context.Process(target=_collect_a_share, args=(root, RECIPE, rank)) for rank in (0, 1)]
    ranks[0].start()
    monkeypatch.setenv(STOP_AT, "40")  # in rank 1's second shard
    ranks[1].start()
    _wait_for(root, ".unfinished-shard-00003*/images.bin")
    assert ranks[1].pid is not None
    os.kill(ranks[1].pid, signal.SIGKILL)
    for process in ranks:
        process.join()
    assert (ranks[0].exitcode, ranks[1].exitcode) == (0, -signal.SIGKILL)
    monkeypatch.delenv(STOP_AT)
    assert {path.name for path in root.glob("shard-*")} == {f"shard-0000{k}" for k in (0, 1, 2, 4)}
    with pytest.raises(StorageError, match=r"unfinished, 4 of 6 shards are there"):
        Dataset(root)
    collect(root, RECIPE)  # by any number of ranks
    assert contents(root) == contents(undisturbed)


@pytest.mark.parametrize("theirs", [3, 4])
def test_of_two_that_start_a_set_at_once_one_writes_and_the_other_compares(
    theirs: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undisturbed: Path
) -> None:
    mine = read_manifest(undisturbed)

    def link(source: Path, target: Path) -> None:
        """The other one is first, by a hair's breadth."""
        monkeypatch.undo()
        write_manifest(tmp_path, replace(mine, seed=theirs))
        os.link(source, target)

    monkeypatch.setattr(os, "link", link)
    if theirs == mine.seed:
        write_manifest(tmp_path, mine)
    else:
        with pytest.raises(StorageError, match="seed is 4 there and 3 here"):
            write_manifest(tmp_path, mine)
    assert read_manifest(tmp_path).seed == theirs
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.json"]


def _links_fail(monkeypatch: pytest.MonkeyPatch, cause: int) -> None:
    def link(source: Path, target: Path) -> None:
        raise OSError(cause, os.strerror(cause))

    monkeypatch.setattr(os, "link", link)


def test_a_manifest_that_cannot_be_linked_is_the_disks_own_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undisturbed: Path
) -> None:
    _links_fail(monkeypatch, errno.ENOSPC)
    with pytest.raises(OSError, match="No space left on device"):
        write_manifest(tmp_path, read_manifest(undisturbed))
    assert not list(tmp_path.iterdir())


def test_a_file_system_without_hard_links_will_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undisturbed: Path
) -> None:
    _links_fail(monkeypatch, errno.EOPNOTSUPP)
    write_manifest(tmp_path, read_manifest(undisturbed))
    assert read_manifest(tmp_path) == read_manifest(undisturbed)


def test_wrong_arguments_are_refused(tmp_path: Path) -> None:
    for rank, ranks in ((2, 2), (-1, 2), (0, 0)):
        with pytest.raises(ValueError, match=f"rank must be one of {ranks} from 0 on, got {rank}"):
            collect(tmp_path, RECIPE, rank=rank, ranks=ranks)
    with pytest.raises(ValueError, match="workers must be at least 1, got 0"):
        collect(tmp_path, RECIPE, workers=0)
    with pytest.raises(ValueError, match="episodes must be at least 1, got 0"):
        replace(RECIPE, episodes=0)
    with pytest.raises(ValueError, match=r"episodes must be an integer .*, got 1\.5"):
        replace(RECIPE, episodes=1.5)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="seed must lie in"):
        replace(RECIPE, seed=-1)


def test_numpys_integers_will_do_and_a_scripts_own_policy_keeps_its_name() -> None:
    def mine(options: Mapping[str, Any]) -> Policy:
        return RandomPolicy()

    mine.__module__, mine.__qualname__ = "__mp_main__", "mine"  # as in a worker of a script
    recipe = replace(RECIPE, seed=np.int64(3), make_policy=mine)
    with contextlib.closing(recipe.make_env()) as env:
        manifest = recipe.manifest(env)
    assert json.dumps(manifest.seed) == "3"
    assert manifest.policy == "__main__:mine"
