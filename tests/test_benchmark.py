"""The benchmark's parts work, and its ratios are what they are said to be. No times here."""

import importlib.util
import sys

import pytest

import agents.training  # noqa: F401  (PyTorch's compiler has to be loaded before GL is)
from scripts import benchmark, common
from scripts.benchmarks import demonstrations, peers, training, vectors
from scripts.benchmarks.rates import Effort, ratio

QUICK = Effort(rounds=1, seconds=0.001)


def test_ratios_are_taken_round_by_round() -> None:
    # The second round fell on a busy moment, which slowed both; medians' ratio would be 1.
    assert ratio([20.0, 2.0, 10.0], [10.0, 1.0, 20.0]) == 2.0


def test_scaling_covers_numbers_of_worlds_and_of_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors, "COUNTS", (1, 2))
    rows = vectors.scaling(4, QUICK)
    assert {row["num_envs"] for row in rows} == {1, 2, 4}
    assert 1 in {row["workers"] for row in rows if row["num_envs"] == 4}
    assert [row["apart"] for row in rows] == [False] * (len(rows) - 1) + [True]
    assert all(row["single_ratio"] > 0 for row in rows)
    assert len(vectors.scaling_table(rows).splitlines()) == 2 + len(rows)


def test_training_is_timed_against_the_bare_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "EPISODES", 8)
    monkeypatch.setattr(training, "_STEPS", 1)
    rows = training.training(Effort(rounds=2, seconds=0.001), "tiny", "cpu")
    assert [row["level"] for row in rows] == list(training.LEVELS)
    assert all(row["bare_ratio"] > 0 for row in rows)
    short, long = rows
    assert short["frames_per_step"] < long["frames_per_step"]
    assert len(training.training_table(rows).splitlines()) == 2 + len(rows)


def test_collecting_is_timed_against_the_vector_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(demonstrations, "SHARD_EPISODES", 1)
    found = demonstrations.collection(QUICK)
    assert found["vector_ratio"] > 0
    assert "frames/s" in demonstrations.collection_line(found)


@pytest.mark.parametrize("part", ["training", "peers"])
def test_what_was_asked_for_and_cannot_be_measured_is_an_error(
    part: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(sys, "argv", ["benchmark", "--only", part])
    with pytest.raises(common.UserError, match=f"not measured.*: {part}"):
        benchmark.main()
    assert f"{part} left out: pip install" in capsys.readouterr().out


def test_missing_peers_are_left_out_and_the_table_says_how_to_get_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(peers.importlib.util, "find_spec", lambda name: None)
    assert peers.peers(QUICK) == []
    assert '".[peers]"' in peers.peers_table([])
