"""The published reports: of today's plans, and of the files that lie beside them."""

import json
from pathlib import Path

import pytest

from scripts.reproduction.plan import matrix
from scripts.reproduction.sizes import EXPERIMENTS, PRESETS

RESULTS = Path(__file__).parents[1] / "results"
pytestmark = pytest.mark.skipif(
    not RESULTS.exists(), reason="source distributions come without the results"
)


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_published_cells_are_what_the_plan_would_make(experiment: str) -> None:
    planned = {cell.name: cell.digest for cell in matrix(experiment, PRESETS["cpu"])}
    for file in (RESULTS / experiment / "cells").glob("*.json"):
        cell = json.loads(file.read_text())
        assert cell["name"] == file.stem
        assert planned.get(cell["name"]) == cell["digest"], f"{file} is of another plan"


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_a_published_report_is_of_its_cells_and_holds_its_notes(experiment: str) -> None:
    folder = RESULTS / experiment
    report = (folder / "report.md").read_text()
    assert (folder / "notes.md").read_text().strip() in report
    found = {file.stem for file in (folder / "cells").glob("*.json")}
    unfinished = {cell.name for cell in matrix(experiment, PRESETS["cpu"])} - found
    for name in unfinished:
        assert name in report.partition("**Unfinished:")[2].split("\n")[0], f"{name} is unfinished"
    if not unfinished:
        assert "**Unfinished:" not in report
