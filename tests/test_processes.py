"""Processes that work for this one: how many there may be, and what is said of dead ones."""

import os
import subprocess
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
