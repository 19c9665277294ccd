import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import gymnasium
import pytest

from oddoneout.demos.collection import Recipe, make_shard
from oddoneout.demos.manifest import write_manifest
from oddoneout.demos.storage import Dataset
from oddoneout.demos.summary import summary
from oddoneout.rules.levels import CATALOGUE, Level
from tests.demos.fakes import contents, make_set

ROOT = Path(__file__).parents[2]


def script(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "scripts.collect", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_script_collects_resumes_and_describes(tmp_path: Path) -> None:
    out = tmp_path / "set"
    command = ["--env", "OddOneOut/Confounded-v0", "--env-args", '{"dimension": "shape"}']
    command += ["--episodes", "6", "--seed", "2", "--workers", "2", "--shard-episodes", "2"]
    command += ["--expert-args", '{"action_noise": 0.2}', "--out", str(out)]
    first = script(*command)
    assert first.returncode == 0, first.stderr
    assert "6/6 episodes" in first.stderr
    assert "frames/s" in first.stderr
    whole = contents(out)
    for file in (out / "shard-00001").iterdir():
        file.unlink()
    (out / "shard-00001").rmdir()
    again = script(*command)
    assert again.returncode == 0, again.stderr
    assert contents(out) == whole

    described = script("--describe", out)
    assert described.returncode == 0, described.stderr
    for part in (
        "OddOneOut/Confounded-v0 {'dimension': 'shape'}",
        "6 in 3 shards",
        "0.2",
        "success",
    ):
        assert part in described.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "one of --env, --describe and --export is needed"),
        (["--describe", "/nowhere"], "/nowhere/manifest.json: not found"),
        (
            ["--describe", "x", "--episodes", "3", "--expert-args", '{"legible": 2}', "--out", "y"],
            "--episodes, --expert-args, --out would be ignored",
        ),
        (["--env", "OddOneOut/Basic-v0"], "collecting needs --env, --episodes and --out"),
        (
            ["--env", "OddOneOut/Basic-v0", "--episodes", "1", "--out", "x", "--export", "minari"],
            "exporting needs --out DIR (the set) and --out-id ID",
        ),
    ],
)
def test_what_the_user_can_mend_is_one_clear_line(arguments: list[str], said: str) -> None:
    result = script(*arguments)
    assert result.returncode == 2
    assert said in result.stderr
    assert "Traceback" not in result.stderr


def test_of_many_processes_none_exports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    result = script("--env", "OddOneOut/Basic-v0", "--export", "minari")
    assert result.returncode == 2
    assert "--export is for one process" in result.stderr


@pytest.mark.parametrize("level", list(CATALOGUE.values()), ids=lambda level: level.id)
def test_real_rooms_give_the_same_bytes_in_any_order_of_shards(
    level: Level, tmp_path: Path
) -> None:
    recipe = Recipe(level.id, episodes=6, seed=5, shard_episodes=2)
    make_set(tmp_path / "in order", recipe)

    root = tmp_path / "backwards"
    env = recipe.make_env()
    manifest = recipe.manifest(env)
    write_manifest(root, manifest)
    policy = recipe.make_policy({})
    for shard in (2, 0, 1):
        make_shard(root, manifest, shard, policy, lambda: KeptOpen(env))
    env.close()
    assert contents(root) == contents(tmp_path / "in order")


class KeptOpen(gymnasium.Wrapper):
    def close(self) -> None:
        pass


def test_a_summary_counts_choices_and_disturbances(tmp_path: Path) -> None:
    recipe = Recipe("OddOneOut/Intervention-v0", episodes=4, seed=0, shard_episodes=4)
    make_set(tmp_path / "quiet", recipe)
    make_set(tmp_path / "noisy", replace(recipe, policy_args={"action_noise": 0.5}))
    quiet = dict(summary(Dataset(tmp_path / "quiet")))
    noisy = dict(summary(Dataset(tmp_path / "noisy")))
    assert quiet["disturbed actions"] == "0.000"
    assert float(noisy["disturbed actions"]) > 0.2
    assert {"experiment 1 correct", "experiment 2 correct", "experiment 3 correct"} <= set(quiet)
    assert quiet["success"] == "1.000 (scored trial)"
