"""The scripts as a user meets them: flags, files, and errors without tracebacks."""

import argparse
import errno
import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import gymnasium
import numpy as np
import pytest

from agents import checkpoint
from agents.config import PRESETS, TrainingConfig
from agents.model import Agent
from scripts import common, probe_perception
from scripts.play import KEYS, Game, play

ROOT = Path(__file__).resolve().parents[1]
BASIC = "OddOneOut/Basic-v0"


def run(script: str, *flags: str) -> subprocess.CompletedProcess[str]:
    env = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY")}
    command = [sys.executable, "-m", f"scripts.{script}", *flags]
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=120)


def test_a_checkout_names_its_commit() -> None:
    assert re.fullmatch(r"[0-9a-f]{12}(\+[0-9a-f]{6})?|oddoneout [\w.]+", common.code_version())


def test_evaluate_prints_a_table_and_writes_json(tmp_path: Path) -> None:
    out = tmp_path / "scores.json"
    done = run(
        "evaluate", "--policy", "expert", "--env", BASIC, "--env-args", '{"dimension": "shape"}',
        "--episodes", "3", "--seed", "1", "--json", str(out),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "success" in done.stdout
    assert "chance" in done.stdout
    found = json.loads(out.read_text())
    assert (found["episodes"], found["success"], found["odd_in"]["shape"]) == (3, 1.0, 1.0)
    assert found["env_args"] == {"dimension": "shape"}


def test_episodes_that_outgrow_an_agents_memory_are_told_in_a_line(tmp_path: Path) -> None:
    agent = Agent(replace(PRESETS["tiny"], context=8))
    tensors = {f"agent.{k}": v for k, v in agent.state_dict().items()}
    path = tmp_path / "forgetful.safetensors"
    checkpoint.save(path, tensors, checkpoint.Meta(agent.config, TrainingConfig(), ()))
    for script in (["evaluate"], ["record", "--out", str(tmp_path / "film.png")]):
        done = run(*script, "--policy", str(path), "--env", "OddOneOut/Intervention-v0")
        assert done.returncode == 2
        assert "outgrows the memory's context of 8" in done.stderr
        assert "Traceback" not in done.stderr


def test_the_rooms_that_settings_are_chosen_by_are_not_those_that_judge_them(
    tmp_path: Path,
) -> None:
    found = []
    for stream in ("test", "validation"):
        out = tmp_path / f"{stream}.json"
        done = run(
            "evaluate", "--policy", "random", "--env", BASIC, "--episodes", "4",
            "--stream", stream, "--json", str(out),
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        found.append(json.loads(out.read_text()))
    assert [scores["stream"] for scores in found] == ["test", "validation"]
    assert found[0]["episode_steps"] != found[1]["episode_steps"]


def test_record_writes_a_contact_sheet(tmp_path: Path) -> None:
    out = tmp_path / "sheet.png"
    done = run("record", "--policy", "random_object", "--env", BASIC, "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert out.stat().st_size > 10_000


def test_playing_without_a_display_says_so() -> None:
    done = run("play", "--env", BASIC)
    assert done.returncode != 0
    assert "window" in done.stderr
    assert "Traceback" not in done.stderr


EVALUATE = ("evaluate", "--policy", "random", "--env", BASIC)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("evaluate", "--policy", "random", "--env", "Nowhere-v0"), "OddOneOut/Basic-v0"),
        (("evaluate", "--policy", "no/such.safetensors", "--env", BASIC), "no/such.safetensors"),
        (("evaluate", "--policy", "random", "--env", BASIC, "--temperature", "1"), "temperature"),
        ((*EVALUATE, "--expert-args", '{"action_noise": 0.1}'), "expert"),
        ((*EVALUATE, "--env-args", "{dimension"), "not JSON"),
        ((*EVALUATE, "--env-args", "[1]"), "JSON object"),
        ((*EVALUATE, "--env-args", '{"dimension": "smell"}'), "smell"),
        ((*EVALUATE, "--env-args", '{"smell": 1}'), "smell"),
        ((*EVALUATE, "--episodes", "0"), "at least 1"),
        ((*EVALUATE, "--seed", "-1"), "seed"),
        ((*EVALUATE, "--env-args", '{"level": "Intervention"}'), "level cannot be set"),
        ((*EVALUATE, "--json", "no/such/folder/out.json"), "no/such/folder"),
        ((*EVALUATE, "--json", "/proc/out.json"), "cannot be written into"),
        (
            ("evaluate", "--policy", "expert", "--env", BASIC, "--expert-args", '{"luck": 1}'),
            "luck",
        ),
        (("record", "--policy", "random", "--env", BASIC, "--out", "film.avi"), "avi"),
        (("benchmark", "--sizes", "8"), "from 16 to 512 pixels"),
        (("benchmark", "--sizes", "wide"), "wide"),
        (("benchmark", "--seconds", "nan"), "a number of seconds above 0"),
        (("benchmark_warp", "--size", "1024"), "from 16 to 512 pixels"),
        (("benchmark_warp", "--env", "OddOneOut/Nope-v0"), "Nope"),
        (("soak", "--seed", "-1"), "seed"),
        (("probe_perception", "--test", "0"), "at least 1"),
        (("probe_perception", "--frames", "255"), "--frames must be at least --batch, 256"),
        (("levels_picture", "--seed", "-1", "--out", "levels.png"), "seed"),
        (("levels_picture", "--out", "levels.jpg"), "must end in .png"),
        (("levels_picture", "--out", "no/such/folder/levels.png"), "no/such/folder"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_mistakes_are_one_clear_line(
    flags: tuple[str, ...], words: str, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    script = __import__(f"scripts.{flags[0]}", fromlist=["main"])
    monkeypatch.setattr(sys, "argv", [flags[0], *flags[1:]])
    with pytest.raises(SystemExit) as stopped:
        common.run(script.main)
    assert stopped.value.code == 2
    assert words in capsys.readouterr().err


def test_a_film_that_is_ended_by_sigterm_leaves_nothing_behind(tmp_path: Path) -> None:
    flags = ["--policy", "expert", "--env", BASIC, "--episodes", "500"]
    command = [sys.executable, "-m", "scripts.record", *flags, "--out", str(tmp_path / "film.mp4")]
    filming = subprocess.Popen(command, cwd=ROOT)
    try:
        for _ in range(600):
            if list(tmp_path.iterdir()) or filming.poll() is not None:
                break
            time.sleep(0.1)
        filming.terminate()
        assert filming.wait(60) == 128 + signal.SIGTERM
    finally:
        filming.kill()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("rank", "ranks"), [("2", "2"), ("-1", "2"), ("one", "2"), ("0", "")])
def test_a_launcher_that_makes_no_sense_is_refused(
    rank: str, ranks: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert common.place() == common.Place(0, 1)
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setenv("WORLD_SIZE", ranks)
    with pytest.raises(common.UserError, match=f"RANK={rank} and WORLD_SIZE={ranks}"):
        common.place()


@pytest.mark.parametrize(
    "flags",
    [("demo",), ("record", "--policy", "random", "--env", BASIC, "--out", "film.png")],
    ids=lambda flags: flags[0],
)
def test_what_does_not_share_its_work_refuses_to_be_several_processes(
    flags: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    test_mistakes_are_one_clear_line(
        flags, f"scripts.{flags[0]} runs as one process", monkeypatch, capsys
    )


def test_processes_that_cannot_meet_are_told_of_torchrun(
    monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    test_mistakes_are_one_clear_line(EVALUATE, "Start them by torchrun", monkeypatch, capsys)


def test_json_that_does_not_fit_on_the_disk_leaves_what_was_there_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = tmp_path / "scores.json"
    common.write_json(path, {"success": 1.0})
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        common.write_json(path, {"success": 0.5})
    assert list(tmp_path.iterdir()) == [path]
    assert json.loads(path.read_text()) == {"success": 1.0}


def test_the_page_of_perception_tells_how_it_was_made_and_of_what_there_is_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = probe_perception.Frames(
        np.zeros((2, 64, 64, 3), np.uint8), np.zeros((2, 4), np.int64), np.array([1.0, 1.5])
    )
    monkeypatch.setattr(probe_perception, "render", lambda *args, **kwargs: few)
    monkeypatch.setattr(probe_perception, "train", lambda *args: None)
    monkeypatch.setattr(probe_perception, "read", lambda *args: few.labels)
    flags = ["--batch", "2", "--frames", "2", "--threads", "1", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["probe_perception", *flags])
    probe_perception.main()
    text = (tmp_path / "perception.md").read_text()
    assert "`python -m scripts.probe_perception --frames 2 --batch 2`" in text
    assert "| 1.20-1.60 | 1 | 1.0000 |" in text
    assert "| 1.60-2.00 | 0 | - | - | - | - | - |" in text
    assert "nan" not in text


class FakeScreen:
    """Presses one key after the other, then closes."""

    def __init__(self, *keys: str) -> None:
        self.waiting, self.frames, self.closed = list(keys), [], False

    def show(self, frame: np.ndarray) -> None:
        self.frames.append(frame)

    def keys(self) -> list[str]:
        if not self.waiting:
            self.closed = True
            return []
        return [self.waiting.pop(0)]


def test_a_person_can_play_with_every_key() -> None:
    env = gymnasium.make("OddOneOut/Intervention-v0")
    screen = FakeScreen(*KEYS, "v", "v", "n", "x", "q", "up")
    play(Game(env, seed=0), screen, pause=0.0)
    env.close()
    assert screen.waiting == ["up"]  # q ends it
    assert len({frame.shape for frame in screen.frames}) == 1
    assert (screen.frames[0] != screen.frames[1]).any()


def test_after_the_episode_only_a_new_one_can_begin() -> None:
    env = gymnasium.make(BASIC)
    game = Game(env, seed=0)
    for _ in range(105):
        game.press("period")
    over = game.picture()
    game.press("up")
    np.testing.assert_array_equal(game.picture(), over)
    game.press("n")
    assert (game.picture() != over).any()
    env.close()


@pytest.mark.parametrize(("asked", "acts"), [(None, 0.5), (0.25, 0.25)])
def test_it_is_known_at_which_temperature_an_agent_acts(asked: float | None, acts: float) -> None:
    pytest.importorskip("torch")
    path = str(ROOT / "agents" / "pretrained" / "confounded-color.safetensors")
    args = argparse.Namespace(policy=path, expert_args={}, temperature=asked)
    assert common.make_policy(args).temperature == acts


def test_tables_are_markdown() -> None:
    lines = common.table(("a", "b"), [("x", "1.0"), ("longer", "2")]).splitlines()
    assert lines == ["| a      |   b |", "| ------ | --: |", "| x      | 1.0 |", "| longer |   2 |"]


def test_argument_types_refuse_with_what_is_needed() -> None:
    assert common.json_object('{"a": [1]}') == {"a": [1]}
    assert common.positive("3") == 3
    for check, text in ((common.positive, "x"), (common.seed_number, "1000000")):
        with pytest.raises(argparse.ArgumentTypeError, match=text):
            check(text)
