"""How fast everything runs here, and where the time goes.

Rounds are interleaved, so that a busy machine slows everything alike; figures are medians over
rounds, ratios are taken round by round. What compares a figure with another is a ratio within
this run: trust it on any machine. Parts: training (needs the extra "agents"), make, levels,
shares, memory, vector, scaling, collection, peers (needs the extra "peers").

python -m scripts.benchmark --json speed.json
python -m scripts.benchmark --only vector scaling --rounds 9
"""

import argparse
import contextlib
import importlib.metadata
import platform
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import gymnasium

import oddoneout  # noqa: F401  (registers the ids)
from oddoneout.processes import usable_cores
from scripts import common
from scripts.benchmarks import demonstrations, peers, rooms, training, vectors
from scripts.benchmarks.rates import Effort

_NEEDED: Final = ("oddoneout", "mujoco", "gymnasium", "numpy")
_PACKAGES: Final = (*_NEEDED, "mujoco_warp", "torch", "miniworld")


class Part(NamedTuple):
    """One thing to measure, and how to word what was found."""

    run: Callable[[argparse.Namespace, Effort], Any]
    text: Callable[[Any], str]


PARTS: Final[dict[str, Part]] = {
    "training": Part(
        lambda args, effort: training.training(effort, args.preset, args.device),
        training.training_table,
    ),
    "make": Part(lambda args, effort: rooms.making(), rooms.making_line),
    "levels": Part(
        lambda args, effort: [row for size in args.sizes for row in rooms.levels(size, effort)],
        rooms.levels_table,
    ),
    "shares": Part(lambda args, effort: rooms.shares(effort), rooms.shares_line),
    "memory": Part(lambda args, effort: rooms.memory(), rooms.memory_line),
    "vector": Part(lambda args, effort: vectors.modes(args.num_envs, effort), vectors.modes_table),
    "scaling": Part(
        lambda args, effort: vectors.scaling(args.num_envs, effort), vectors.scaling_table
    ),
    "collection": Part(
        lambda args, effort: demonstrations.collection(effort), demonstrations.collection_line
    ),
    "peers": Part(lambda args, effort: peers.peers(effort), peers.peers_table),
}


def machine() -> dict[str, Any]:
    """What the figures were taken on."""
    return {
        "system": platform.platform(),
        "processor": common.processor(),
        "cores": usable_cores(),
        "python": platform.python_version(),
        "versions": dict(_versions()),
    }


def drawn_by() -> str:
    """What draws for OpenGL here, and its version."""
    with contextlib.closing(gymnasium.make("OddOneOut/Basic-v0")) as env:
        env.reset(seed=0)
        return getattr(env.unwrapped, "renderer_version", lambda: "unknown")()


def _versions() -> Iterator[tuple[str, str]]:
    for name in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            yield name, importlib.metadata.version(name)


def machine_line(of: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in of["versions"].items())
    return f"{of['processor']}, {of['cores']} cores, Python {of['python']}, {versions}"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.benchmark",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the figures here too")
    parser.add_argument("--only", nargs="+", choices=PARTS, metavar="PART")
    parser.add_argument("--sizes", type=common.image_side, nargs="+", default=[64, 128])
    parser.add_argument("--rounds", type=common.positive, default=5)
    parser.add_argument(
        "--seconds", type=common.duration, default=0.4, help="of one round of one figure"
    )
    parser.add_argument("--num-envs", type=common.positive, default=32, help="of vector, scaling")
    parser.add_argument(
        "--preset", choices=["tiny", "cpu", "gpu"], default="cpu", help="of training: the agent's"
    )
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    args = parser.parse_args()
    out = common.writable(args.json)

    result: dict[str, Any] = {"machine": machine()}
    print(machine_line(result["machine"]))
    effort = Effort(args.rounds, args.seconds)
    for name, part in PARTS.items():
        if name in (args.only or PARTS):
            result[name] = part.run(args, effort)
            print(f"\n{part.text(result[name])}", flush=True)
    result["machine"]["renderer"] = drawn_by()  # last: it opens OpenGL, which parts measure
    print(f"\ndrawn by {result['machine']['renderer']}")
    if out is not None:
        common.write_json(out, result)
        print(f"wrote {out}")
    if lacking := [name for name in args.only or () if not result[name]]:
        raise common.UserError(f"asked for and not measured, see above: {', '.join(lacking)}")


if __name__ == "__main__":
    common.run(main)
