"""Collect demonstrations, say what a set of them holds, or export it.

python -m scripts.collect --env OddOneOut/Confounded-v0 --episodes 1000 --seed 0 --workers 2 \\
    --out data/confounded
python -m scripts.collect --describe data/confounded
python -m scripts.collect --out data/confounded --export minari --out-id oddoneout/confounded-v0

Interrupted, run the same command again: it resumes, and ends with the same bytes. Under torchrun
or srun the processes share the work, and the bytes are the same too: see docs/cluster.md.
"""

import argparse
import sys
import time
from pathlib import Path

from oddoneout.demos.collection import (
    SHARD_EPISODES,
    CollectionError,
    Progress,
    Recipe,
    all_expert_options,
    collect,
)
from oddoneout.demos.manifest import StorageError
from oddoneout.demos.storage import Dataset
from oddoneout.demos.summary import summary
from scripts import common

#: What tells how to collect, and is read for nothing else.
_COLLECTING = ("episodes", "seed", "workers", "env_args", "expert_args", "shard_episodes")


class Reporter:
    """The progress: a line that is rewritten on a terminal, a line now and then elsewhere."""

    def __init__(self, place: common.Place) -> None:
        self._live = sys.stderr.isatty() and place.ranks == 1
        self._who = f"{place}: " if place.ranks > 1 else ""
        self._every = 0.2 if self._live else 10.0
        self._shown = time.monotonic()

    def __call__(self, progress: Progress) -> None:
        now, finished = time.monotonic(), progress.episodes == progress.total
        if now - self._shown < self._every and not finished:
            return
        self._shown = now
        start = "\r" if self._live else ""
        end = "  " if self._live and not finished else "\n"
        print(f"{start}{self._who}{progress}", end=end, file=sys.stderr, flush=True)


def collect_into(args: argparse.Namespace) -> None:
    if args.episodes is None or args.out is None:
        raise common.UserError("collecting needs --env, --episodes and --out")
    common.expert_policy(args.expert_args)  # refuses unknown options by name
    recipe = Recipe(
        env_id=args.env,
        env_args=common.env_arguments(args),
        episodes=args.episodes,
        seed=args.seed,
        policy_args=all_expert_options(args.expert_args),
        shard_episodes=args.shard_episodes,
    )
    place = common.place()
    manifest = collect(
        args.out, recipe, args.workers, Reporter(place), rank=place.rank, ranks=place.ranks
    )
    if place.ranks == 1:
        print(f"collected {args.episodes} episodes into {args.out}")
    else:
        there = sum(1 for _ in args.out.glob("shard-*"))
        print(f"{place} is done: {args.out} holds {there} of {manifest.shards} shards")


def describe(path: Path) -> None:
    rows = summary(Dataset(path))
    width = max(len(name) for name, _ in rows)
    print("\n".join(f"{name.ljust(width)}  {value}" for name, value in rows))


def export(args: argparse.Namespace) -> None:
    from oddoneout.demos.export import export_minari

    try:
        exported = export_minari(Dataset(args.out), args.out_id)
    except ModuleNotFoundError as error:
        raise common.UserError(
            f'the export needs {error.name}, which is missing: pip install -e ".[minari]"'
        ) from error
    print(f"exported {exported.total_episodes} episodes as Minari's {args.out_id}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.collect",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    task = parser.add_mutually_exclusive_group()
    task.add_argument("--env", metavar="ID", help="collect in this environment")
    task.add_argument("--describe", type=Path, metavar="DIR", help="print what a set holds")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder of the set")
    parser.add_argument("--episodes", type=common.positive, help="how many")
    parser.add_argument("--seed", type=common.seed_number, default=0, help="names the episodes (0)")
    parser.add_argument("--workers", type=common.positive, default=1, help="processes (1)")
    for name, help_text in (
        ("--env-args", 'keyword arguments of the environment, e.g. \'{"dimension": "shape"}\''),
        ("--expert-args", "options of the expert, e.g. '{\"action_noise\": 0.1}'"),
    ):
        parser.add_argument(
            name, type=common.json_object, default={}, metavar="JSON", help=help_text
        )
    parser.add_argument(
        "--shard-episodes",
        type=common.positive,
        default=SHARD_EPISODES,
        help=f"episodes per shard ({SHARD_EPISODES})",
    )
    parser.add_argument("--export", choices=["minari"], help="export the set in --out")
    parser.add_argument("--out-id", metavar="ID", help="Minari's name for it, e.g. rooms/basic-v0")
    args = parser.parse_args()
    if args.env is None and args.describe is None and args.export is None:
        parser.error("one of --env, --describe and --export is needed")
    if args.env is None:
        unread = [*_COLLECTING, *(() if args.export is not None else ("out", "out_id"))]
        given = [name for name in unread if getattr(args, name) != parser.get_default(name)]
        if given:
            flags = ", ".join(f"--{name.replace('_', '-')}" for name in given)
            parser.error(f"{flags} would be ignored: without --env nothing is collected")
    if args.export is not None and common.place().ranks > 1:
        parser.error("--export is for one process: run it without torchrun, after all ranks")
    if args.export is not None and (args.out is None or args.out_id is None):
        parser.error("exporting needs --out DIR (the set) and --out-id ID (Minari's name for it)")
    return args


def main() -> None:
    args = arguments()
    try:
        if args.env is not None:
            collect_into(args)
        if args.describe is not None:
            describe(args.describe)
        if args.export is not None:
            export(args)
    except (StorageError, CollectionError, ValueError, OSError) as error:
        raise common.UserError(str(error)) from error


if __name__ == "__main__":
    common.run(main)
