"""The report: rows, what was to be reached, differences and plots, from made-up results."""

import json
from pathlib import Path

import numpy as np
import pytest

from scripts.reproduction import analysis, cells, figures, report
from scripts.reproduction.plan import Cell, matrix
from scripts.reproduction.records import TrialRecord, encode
from scripts.reproduction.sizes import EXPERIMENTS, PRESETS
from scripts.reproduction.tables import SHOWN

TINY = PRESETS["tiny"]
INTERVENTION = "OddOneOut/Intervention-v0"


def made_up(cell: Cell, rng: np.random.Generator) -> dict:
    """A finished cell, as if it had been run."""
    trials = 4 if cell.rooms[0].env == INTERVENTION else 1

    def trial(last: bool) -> TrialRecord:
        odd = str(rng.choice(["color", "shape", "texture"], p=[0.6, 0.2, 0.2]))
        head = None if last else str(rng.choice(["color", "shape", "texture"]))
        return TrialRecord(head, True, (odd,), bool(rng.random() < 0.7))

    codes = {
        room.name: [encode(tuple(trial(i == trials - 1) for i in range(trials))) for _ in range(40)]
        for room in cell.rooms
    }
    points = [
        {"frames": f, **{f"{room}/success": f / 300 for room in codes}} for f in (100, 200, 250)
    ]
    return {
        "plan": cell.plan,
        "sets": [],
        "cost": {"frames": 250, "minutes": 1.5},
        "machine": {"name": "a machine", "cores": 2},
        "exams": {
            name: {"episodes": list_, "says": {"outcome": {"accuracy": 0.75}}}
            for name, list_ in codes.items()
        },
        "curve": points if cell.training else [],
    }


def write_made_up(out: Path, seeds: int = 2) -> Path:
    rng = np.random.default_rng(0)
    places = cells.Places(out, out / "work")
    plans = {name: matrix(name, TINY, seeds) for name in EXPERIMENTS}
    results = {c.name: made_up(c, rng) for plan in plans.values() for c in plan}
    del results["basic-shuffled-1"]
    cell = plans["basic"][0]
    again = made_up(cell, rng) | {"digest": cell.digest}
    for exam in again["exams"].values():
        exam["seed"] = 31
    cells.write_json(places.again(cell, 31), again)
    drawn = {
        name: figures.draw(name, SHOWN[name], report.rows(plan, results), out / "figures")
        for name, plan in plans.items()
    }
    (out / report.NOTES).write_text("## What went wrong\n\nNothing.\n")
    return report.write(places, plans, results, drawn, "a command", TINY)


def test_the_report_shows_rows_targets_differences_plots_and_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(analysis, "_RESAMPLES", 50)
    text = write_made_up(tmp_path).read_text()
    assert "Unfinished: 1 cells:** basic-shuffled-1" in text
    assert "What went wrong" in text
    assert "Made by `a command`" in text
    again = " ".join(text.partition("## Again")[2].split())
    assert again.count("| 31 |") == len(SHOWN["basic"].columns(""))
    for words in ("full - none", "color: full", "one_trial", "repeat_slot", "a machine (2 cores)"):
        assert words in text
    pictures = sorted(path.name for path in (tmp_path / "figures").iterdir())
    assert len(pictures) == 8
    assert all(f"figures/{name}" in text for name in pictures)
    found = json.loads((tmp_path / "results.json").read_text())
    (row,) = [r for r in found["experiments"]["confounding"]["rows"] if r["arm"] == "color"]
    assert row["agents"] == 2
    assert 0.4 < row["estimates"]["chose color"]["value"] < 0.8
