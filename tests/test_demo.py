"""The demo as a user meets it: one command, a report, and going on where it was interrupted."""

import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from scripts import report, side_by_side
from scripts.common import UserError
from scripts.demo import Demo, Settings
from scripts.demo_report import DIMENSIONS

ROOT = Path(__file__).resolve().parents[1]


def demo(out: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "scripts.demo", "--quick", "--out", str(out)]
    command += ["--dimension", "shape"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_a_demo_reports_what_it_did_and_does_nothing_twice(tmp_path: Path) -> None:
    done = demo(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    text = (tmp_path / "report.md").read_text()
    for words in ("agent told of shape", "agent told of nothing", "random object", "expert"):
        assert words in text
    assert "A trial of the machinery (`--quick`)" in text
    for name in ("results.png", "agent.png", "agent.mp4", "expert.mp4"):
        assert f"({name})" in text
        assert (tmp_path / name).stat().st_size > 5_000
    found = json.loads((tmp_path / "report.json").read_text())
    assert found["deconfounded"]["agent told of shape"]["env_args"] == {"dimension": "shape"}
    assert len(found["levels"]) == 12
    settings = [
        json.loads((tmp_path / "runs" / name / "config.json").read_text())
        for name in ("shape", "nothing")
    ]
    assert [s["training"].pop("explanation_weight") for s in settings] == [1.0, 0.0]
    assert settings[0] == settings[1]  # they differ in nothing else

    made = [*tmp_path.glob("scores/*"), *tmp_path.glob("runs/*/*.safetensors")]
    made += [*tmp_path.glob("*.mp4"), *tmp_path.glob("data/*")]
    before = {path: path.stat().st_mtime_ns for path in made}
    (tmp_path / "agent.png").unlink()
    again = demo(tmp_path)
    assert again.returncode == 0, again.stdout + again.stderr
    assert {path: path.stat().st_mtime_ns for path in made} == before
    assert (tmp_path / "agent.png").exists()


def test_a_folder_holds_one_demo(tmp_path: Path) -> None:
    first = Settings("color", 12.0, 1, False)
    Demo(tmp_path, first)._save()
    Demo(tmp_path, first)
    with pytest.raises(UserError, match=r"other settings.*'color'"):
        Demo(tmp_path, Settings("shape", 12.0, 1, False))


def test_a_folder_that_is_refused_is_left_as_it_was(tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    for damaged in ("", '{"settings": {"dim', "[]", "{}"):
        state.write_text(damaged)
        with pytest.raises(UserError, match=r"state\.json is damaged: remove .*--out"):
            Demo(tmp_path, Settings("color", 12.0, 1, False))
    assert list(tmp_path.iterdir()) == [state]


def test_commands_side_by_side_end_together(capsys: pytest.CaptureFixture[str]) -> None:
    side_by_side.commands({"b": ("json.tool", "--help"), "long name": ("json.tool", "--help")})
    said = capsys.readouterr().out
    assert "  b         | usage" in said
    assert "  long name | usage" in said
    with pytest.raises(UserError, match=r"bad failed \(exit code 2"):
        side_by_side.commands({"bad": ("json.tool", "--no"), "server": ("http.server", "0")})
    with pytest.raises(UserError, match=r"bad failed \(exit code 2"):
        side_by_side.commands({"server": ("http.server", "0"), "bad": ("json.tool", "--no")})


def test_calls_side_by_side_tell_what_failed() -> None:
    with pytest.raises(UserError, match=r"here: .*nowhere"):
        side_by_side.calls({"here": partial(os.rmdir, "/nowhere")}, 2)
    side_by_side.calls({}, 2)


SCORES = {
    "env": "OddOneOut/Deconfounded-v0",
    "success": 0.9,
    "return": 0.9,
    "steps": 17.25,
    "experiments": [],
    "odd_in": {"color": 0.9, "shape": 0.0, "texture": 0.0, "none": 0.1, "no_choice": 0.0},
    "says": {
        "properties": {"accuracy": 0.5, "interval": [0.4, 0.6], "base_rate": 0.125, "steps": 9},
        "outcome": {"accuracy": None, "interval": None, "base_rate": 0.2, "steps": 9},
    },
    "intervals": {
        "success": [0.8, 0.95],
        "odd_in": {
            "color": [0.8, 0.95],
            **{name: [0.0, 0.2] for name in ("shape", "texture", "none", "no_choice")},
        },
    },
}


def test_tables_give_figures_with_intervals() -> None:
    chosen = report.chosen_table({"somebody": SCORES}, DIMENSIONS)
    header = [cell.strip() for cell in chosen.splitlines()[0].split("|")]
    assert "no choice" in header
    assert "| 0.90 [0.80, 0.95] | 0.00 [0.00, 0.20] |" in chosen
    assert "| Deconfounded | somebody | 0.90 [0.80, 0.95] |   0.90 |" in report.level_table(
        [("somebody", SCORES)]
    )
    spoken = report.spoken_table({"somebody": SCORES})
    assert "| somebody | properties | 0.50 [0.40, 0.60] |" in spoken
    assert "outcome" not in spoken


def test_a_picture_is_drawn_even_of_a_run_without_records(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    records = [
        {"kind": "train", "frames": 1000, "action_accuracy": 0.5},
        {"kind": "active", "frames": 2000, "x/success": 0.25},
    ]
    torn = '{"kind": "act'  # as a run leaves it that is killed while it writes
    (tmp_path / "run/metrics.jsonl").write_text("\n".join([*map(json.dumps, records), torn]))
    assert report.records(tmp_path / "run", "active") == records[1:]
    runs = {"a": tmp_path / "run", "b": tmp_path / "none"}
    path = tmp_path / "picture.png"
    results = {"a": SCORES, "b": SCORES, "c": SCORES}
    report.draw_agents(path, results, runs, DIMENSIONS, ("x/success", "success"))
    assert path.stat().st_size > 10_000
