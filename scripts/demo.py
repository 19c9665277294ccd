"""Watch the package at work: films of the expert in every level, and what it and chance reach.

python -m scripts.demo --out demo
"""

import argparse
import json
import time
from pathlib import Path

from oddoneout.baselines import RandomObjectPolicy, RandomPolicy
from oddoneout.demos.rollout import Policy
from oddoneout.evaluation import Scores, evaluate
from oddoneout.rules.levels import CATALOGUE, Level
from oddoneout.video import record
from scripts import common


def films(out: Path, seed: int) -> list[Path]:
    """The expert in every level: an mp4 and a contact sheet each."""
    made = []
    for level in CATALOGUE.values():
        episodes = 1 if level.experiments else 3
        for ending in ("mp4", "png"):
            path = out / f"expert_{level.name.lower()}.{ending}"
            record(
                common.expert_policy({}),
                level.id,
                None,
                path,
                episodes=episodes,
                seed=seed,
                policy_name="expert",
            )
            made.append(path)
            print(f"wrote {path}", flush=True)
    return made


def scores(level: Level, episodes: int, seed: int) -> list[Scores]:
    """Expert and chance in one level."""
    policies: dict[str, Policy] = {
        "expert": common.expert_policy({}),
        "random_object": RandomObjectPolicy(),
        "random": RandomPolicy(),
    }
    return [
        evaluate(policy, level.id, episodes=episodes, seed=seed, policy_name=name)
        for name, policy in policies.items()
    ]


def score_table(results: list[Scores]) -> str:
    rows = [
        (
            result.env,
            result.policy,
            str(result.success),
            f"{result.mean_return.value:.2f}",
            f"{result.steps.value:.1f}",
            " ".join(f"{e.value:.2f}" for e in result.experiments),
        )
        for result in results
    ]
    header = ("level", "policy", "success [95%]", "return", "steps per trial", "experiments")
    return common.table(header, rows)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m scripts.demo", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("demo"), metavar="DIR")
    parser.add_argument("--episodes", type=common.positive, default=100, help="per level")
    parser.add_argument("--seed", type=common.seed_number, default=1)
    args = parser.parse_args()
    start = time.monotonic()
    try:
        args.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise common.UserError(f"cannot make the folder {str(args.out)!r}: {error}") from error

    films(args.out, args.seed)
    results = []
    for level in CATALOGUE.values():
        results += scores(level, args.episodes, args.seed)
        print(f"scored {level.id}", flush=True)
    table = score_table(results)
    (args.out / "scores.md").write_text(
        f"{args.episodes} fresh episodes each. Steps include the explaining phase.\n\n{table}\n"
    )
    values = [result.to_json() for result in results]
    (args.out / "scores.json").write_text(json.dumps(values, indent=2) + "\n")
    print(f"\n{table}\n\nfilms, contact sheets and scores are in {args.out}/", end=" ")
    print(f"({time.monotonic() - start:.0f} s)")


if __name__ == "__main__":
    common.run(main)
