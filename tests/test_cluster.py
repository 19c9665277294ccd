"""The commands of docs/cluster.md, under the real launcher with two local processes."""

import json
import subprocess
import sys
from pathlib import Path

from tests.demos.fakes import contents

ROOT = Path(__file__).resolve().parents[1]
BASIC = "OddOneOut/Basic-v0"
LAUNCHER = ("torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m")


def run(*command: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_two_processes_collect_the_bytes_that_one_would(tmp_path: Path) -> None:
    command = ("scripts.collect", "--env", BASIC, "--episodes", "5", "--seed", "1")
    command = (*command, "--shard-episodes", "2", "--out")
    said = run(*LAUNCHER, *command, str(tmp_path / "two"))
    assert "rank 0 of 2 is done" in said
    assert "rank 1 of 2 is done" in said
    assert "holds 3 of 3 shards" in said
    run(*command, str(tmp_path / "one"))
    assert contents(tmp_path / "two") == contents(tmp_path / "one")


def test_two_processes_score_what_one_would_and_say_it_once(tmp_path: Path) -> None:
    command = ("scripts.evaluate", "--policy", "random_object", "--env", BASIC)
    command = (*command, "--episodes", "5", "--json")
    two = run(*LAUNCHER, *command, str(tmp_path / "two.json"))
    one = run(*command, str(tmp_path / "one.json"))
    assert two.replace("two.json", "one.json") == one
    scores = json.loads((tmp_path / "two.json").read_text())
    assert scores["episodes"] == 5
    assert scores == json.loads((tmp_path / "one.json").read_text())
