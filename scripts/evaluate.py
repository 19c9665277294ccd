"""Play fresh episodes with any policy and score them.

python -m scripts.evaluate --policy expert --env OddOneOut/Basic-v0 --episodes 300 --seed 1
"""

import argparse
from pathlib import Path

from oddoneout.evaluation import CHANCE, Scores, evaluate
from scripts import common


def report(scores: Scores) -> str:
    """The scores as a table for reading."""
    rows = [
        ("success", str(scores.success)),
        ("  chance (any object)", f"{CHANCE:.3f}"),
        ("return", str(scores.mean_return)),
        ("steps per trial", str(scores.steps)),
        ("steps per episode", str(scores.episode_steps)),
        *((f"experiment {i + 1} correct", str(e)) for i, e in enumerate(scores.experiments)),
        *((f"chose odd in: {name}", str(e)) for name, e in scores.odd_in.items()),
    ]
    for kind, spoken in scores.says.items():
        if spoken.accuracy is not None:
            rows.append((f"says right: {kind}", str(spoken.accuracy)))
            rows.append(("  always the commonest", f"{spoken.base_rate:.3f}"))
    arguments = ", ".join(f"{name}={value!r}" for name, value in scores.env_args.items())
    title = f"{scores.policy} in {scores.env}({arguments}), {scores.episodes} episodes"
    return f"{title}\n\n{common.table(('', 'mean [95% interval]'), rows)}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m scripts.evaluate", description=__doc__)
    common.add_policy_arguments(parser)
    common.add_env_arguments(parser)
    parser.add_argument("--episodes", type=common.positive, default=300)
    parser.add_argument("--seed", type=common.seed_number, default=0)
    parser.add_argument("--slots", type=common.positive, default=8, help="episodes side by side")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the scores here too")
    args = parser.parse_args()

    out = common.writable(args.json)
    policy = common.make_policy(args)
    scores = evaluate(
        policy.policy,
        args.env,
        common.env_arguments(args, policy),
        episodes=args.episodes,
        seed=args.seed,
        slots=args.slots,
        policy_name=args.policy,
        progress=common.Progress(args.episodes),
    )
    print(report(scores))
    if out is not None:
        options = {"temperature": args.temperature, "expert_args": args.expert_args}
        common.write_json(out, {**scores.to_json(), "policy_args": options})


if __name__ == "__main__":
    common.run(main)
