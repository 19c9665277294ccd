"""Cells in processes of their own, and what becomes of their demonstrations."""

import argparse
import dataclasses
from pathlib import Path

import pytest

from oddoneout.demos.collection import Recipe
from scripts import reproduce
from scripts.reproduction import cells, pool
from scripts.reproduction.plan import Cell, matrix
from scripts.reproduction.sizes import PRESETS
from tests.demos.fakes import make_set

PLAN = {cell.name: cell for cell in matrix("basic", PRESETS["tiny"])}


def places_in(folder: Path) -> cells.Places:
    return cells.Places(folder / "out", folder / "work")


def test_a_cell_that_fails_takes_no_other_with_it(tmp_path: Path) -> None:
    places = places_in(tmp_path)
    random = PLAN["basic-random"]
    good = dataclasses.replace(random, rooms=random.rooms[:1], episodes=2)
    bad = dataclasses.replace(good, arm="nobody")
    said: list[str] = []
    assert pool.run_cells([bad, good], places, 2, "cpu", said.append) == [bad.name]
    assert cells.load_finished(bad, places) is None
    kept = cells.load_finished(good, places)
    assert kept is not None
    assert [len(exam["episodes"]) for exam in kept["exams"].values()] == [2]
    log = places.run(bad) / "log.txt"
    assert f"{bad.name}: failed, see {log}: KeyError: 'nobody'" in said
    assert "KeyError: 'nobody'" in log.read_text()


def test_a_cell_is_as_much_work_as_its_training_and_the_trials_of_its_exams() -> None:
    features = {cell.arm: cell for cell in matrix("features", PRESETS["tiny"])}
    exams = cells.work(features["random"])  # nothing to train
    assert cells.training_work(features["random"]) == 0.0
    # Three experiments and a test, twice; one experiment and a test.
    assert exams == pytest.approx((4 + 4 + 2) / 4 * cells.work(PLAN["basic-random"]))
    full = features["full"]
    assert cells.work(full) == pytest.approx(cells.training_work(full) + exams)


def test_a_cell_reports_its_share_up_to_the_end(tmp_path: Path) -> None:
    random = dataclasses.replace(PLAN["basic-random"], episodes=1)
    shares: list[float] = []
    cells.run_cell(random, places_in(tmp_path), "cpu", shares.append, lambda said: None)
    assert shares == [0.0, 0.25, 0.5, 0.75, 1.0]


def test_jobs_share_the_gpus_that_may_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3, GPU-ab12")
    gpus = pool.visible_gpus()
    taken: list[str | None] = []
    for _ in range(4):
        taken.append(pool.least_busy(gpus, taken))
    assert taken == ["3", "GPU-ab12", "3", "GPU-ab12"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert pool.least_busy(pool.visible_gpus(), []) is None


def test_only_demonstrations_that_no_cell_needs_any_more_are_discarded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def collect_here(root: Path, recipe: Recipe, workers: int, report: object) -> None:
        make_set(root, recipe)

    def run_but_one(todo: list[Cell], *_: object) -> list[str]:
        *finished, failing = todo
        for cell in finished:
            exams = {room.name: {"episodes": [""] * cell.episodes} for room in cell.rooms}
            cells.write_json(places.finished(cell), {"digest": cell.digest, "exams": exams})
        return [failing.name]

    places = places_in(tmp_path)
    monkeypatch.setattr(cells, "collect", collect_here)
    monkeypatch.setattr(pool, "run_cells", run_but_one)
    good, bad = PLAN["basic-shuffled-0"], PLAN["basic-outcome-0"]
    assert not {demos.name for demos in good.sets} & {demos.name for demos in bad.sets}
    args = argparse.Namespace(jobs=1, device="cpu", discard_demos=True)
    assert reproduce.carry_out(args, places, [good, bad]) == [bad.name]
    for _ in range(2):  # whoever comes too late finds nothing to discard
        reproduce.discard([good, bad], places)
    assert not any(cells.collected(demos, places) for demos in good.sets)
    assert all(cells.collected(demos, places) for demos in bad.sets)
