"""Play fresh episodes with any policy and score them.

python -m scripts.evaluate --policy expert --env OddOneOut/Basic-v0 --episodes 300 --seed 1

Under torchrun the processes share the episodes, and the scores are the same: see docs/cluster.md.
"""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from oddoneout.evaluation import CHANCE, Scores, Stream, Team, evaluate
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


@contextmanager
def team(place: common.Place) -> Iterator[Team | None]:
    """The processes that torchrun started together with this one, if any.

    Raises:
        UserError: if it was not torchrun, so that they cannot meet.
    """
    if place.ranks == 1:
        yield None
        return
    from agents.ranks import Ranks  # it is torch that lets them talk to each other

    try:
        ranks = Ranks.join("cpu")
    except ValueError as error:
        raise common.UserError(str(error)) from error
    try:
        yield ranks
    finally:
        ranks.leave()


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.evaluate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    common.add_policy_arguments(parser)
    common.add_env_arguments(parser)
    parser.add_argument("--episodes", type=common.positive, default=300, help="how many (300)")
    parser.add_argument("--seed", type=common.seed_number, default=0, help="of the rooms (0)")
    parser.add_argument(
        "--stream",
        choices=["test", "validation"],
        default="test",
        help="rooms that settings may be chosen by (validation), or that judge them (test)",
    )
    parser.add_argument(
        "--slots", type=common.positive, default=8, help="episodes side by side (8)"
    )
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the scores here too")
    args = parser.parse_args()

    out = common.writable(args.json)
    place = common.place()
    with team(place) as others:
        policy = common.make_policy(args)
        env_args = common.env_arguments(args, policy)
        with common.playing():
            scores = evaluate(
                policy.policy,
                args.env,
                env_args,
                episodes=args.episodes,
                seed=args.seed,
                slots=args.slots,
                stream=Stream[args.stream.upper()],
                policy_name=args.policy,
                progress=common.Progress(args.episodes) if place.ranks == 1 else None,
                team=others,
            )
    if not place.first:
        return
    print(report(scores))
    if out is not None:
        options = {"temperature": policy.temperature, "expert_args": args.expert_args}
        common.write_json(out, {**scores.to_json(), "policy_args": options})
        print(f"wrote {out}")


if __name__ == "__main__":
    common.run(main)
