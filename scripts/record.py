"""Film a policy: the agent's eye beside the room, with what is asked, told, said and done.

python -m scripts.record --policy expert --env OddOneOut/Intervention-v0 --out expert.gif
"""

import argparse
from pathlib import Path

from oddoneout.video import FORMATS, record
from oddoneout.world.geometry import VIEWS
from scripts import common


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.record",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    common.add_policy_arguments(parser)
    common.add_env_arguments(parser)
    parser.add_argument("--episodes", type=common.positive, default=1, help="how many (1)")
    parser.add_argument("--seed", type=common.seed_number, default=0, help="of the rooms (0)")
    parser.add_argument("--view", choices=VIEWS, default=VIEWS[0], help="of the room")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help=f"ends in {', '.join(FORMATS)}"
    )
    args = parser.parse_args()

    common.one_process(parser.prog)
    if args.out.suffix.lower() not in FORMATS:
        raise common.UserError(f"--out must end in {', '.join(FORMATS)}, got {str(args.out)!r}")
    common.writable(args.out)
    policy = common.make_policy(args)
    env_args = common.env_arguments(args, policy)
    with common.playing():
        played = record(
            policy.policy,
            args.env,
            env_args,
            args.out,
            episodes=args.episodes,
            seed=args.seed,
            policy_name=policy.name,
            view=args.view,
        )
    for trajectory in played:
        scored = next((c for c in trajectory.choices if c.test), None)
        result = "no choice" if scored is None else "correct" if scored.correct else "incorrect"
        print(f"seed {trajectory.seed}: {len(trajectory)} steps, scored choice {result}")
    print(f"wrote {args.out}")


if __name__ == "__main__":
    common.run(main)
