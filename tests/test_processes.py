"""Processes that work for this one: how many there may be, how they start, and how they end."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from oddoneout import processes


@pytest.fixture
def affinity(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    return 8


@pytest.mark.parametrize(
    ("told", "cores"),
    [
        (["max 100000\n"], 8),
        (["400000 100000\n"], 4),
        (["250000 100000\n"], 3),  # two and a half
        (["50000 100000\n"], 1),
        (["6400000 100000\n"], 8),
        (["-1\n", "100000\n"], 8),
        (["200000\n", "100000\n"], 2),
        (["nonsense"], 8),
    ],
    ids=str,
)
def test_a_container_is_granted_a_share_of_the_machine(
    told: list[str], cores: int, affinity: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [tmp_path / str(number) for number in range(len(told))]
    for file, text in zip(files, told, strict=True):
        file.write_text(text)
    nowhere = (str(tmp_path / "nowhere"),)
    monkeypatch.setattr(processes, "_QUOTAS", (nowhere, tuple(map(str, files))))
    assert processes.usable_cores() == cores


def test_where_nothing_is_told_of_shares_all_cores_may_be_used(
    affinity: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "_QUOTAS", ())
    assert processes.usable_cores() == affinity


@pytest.mark.parametrize(("number", "name"), [(9, "SIGKILL"), (35, "signal 35")])
def test_a_dead_process_is_told_by_the_signal_that_killed_it(number: int, name: str) -> None:
    process = subprocess.Popen(["sleep", "60"])
    process.send_signal(number)
    assert processes.death(process) == f"was killed by {name}"


@pytest.mark.parametrize("module", ["oddoneout.vector_worker", "oddoneout.warp.writers"])
def test_ctrl_c_while_a_worker_starts_is_left_to_its_parent(
    module: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with open(os.devnull) as file:  # in place of the shared memory
        process, connection = processes.start(module, file.fileno())
    process.send_signal(signal.SIGINT)
    connection.close()  # after which it ends by itself
    assert process.wait(60) == 0
    assert capfd.readouterr().err == ""
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())  # heard here again


def test_what_is_no_string_in_the_search_path_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.py").write_text("import sys; sys.exit(7)")
    monkeypatch.setattr(sys, "path", [tmp_path, *sys.path, str(tmp_path)])
    process, connection = processes.start("mine")
    connection.close()
    assert process.wait(60) == 7


def test_of_those_that_ask_for_a_file_one_has_it_and_its_end_frees_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.touch()  # left by one that was killed
    refusal = RuntimeError("taken")
    for _ in range(2):
        with processes.holding_file(path, refusal):
            with pytest.raises(RuntimeError, match="taken"), processes.holding_file(path, refusal):
                raise AssertionError("two have it")
            assert path.exists()
        assert not path.exists()


def test_a_file_that_its_holder_removes_just_now_is_not_taken_for_a_free_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, flock = tmp_path / "lock", processes.fcntl.flock

    def late(descriptor: int, kind: int) -> None:
        path.unlink()
        flock(descriptor, kind)

    monkeypatch.setattr(processes.fcntl, "flock", late)
    with (
        pytest.raises(RuntimeError, match="taken"),
        processes.holding_file(path, RuntimeError("taken")),
    ):
        raise AssertionError("it has the wrong file")


def test_where_files_cannot_be_locked_nobody_is_kept_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(descriptor: int, kind: int) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(processes.fcntl, "flock", flock)
    with processes.holding_file(tmp_path / "lock", RuntimeError("taken")):
        pass
