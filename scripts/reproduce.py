"""The experiments of the papers in one command: collect, train, examine, report.

python -m scripts.reproduce --preset cpu --jobs 2 --out results/cpu
python -m scripts.reproduce --experiments features --preset gpu --jobs 14 --out results/gpu
python -m scripts.reproduce --preset cpu --out results/cpu --cells confounding-color-0
python -m scripts.reproduce --preset cpu --out results/cpu --list
python -m scripts.reproduce --preset cpu --out results/cpu --again 31

Interrupted or killed, the same command goes on: finished cells are kept, demonstrations and
training go on where they stopped. --out takes small files (report, figures, JSON), --work the
demonstrations and checkpoints (tens of GB in the large presets). --again examines finished
agents in rooms of a seed that nobody has looked at: by the report's, choices may have been made.
"""

import argparse
import dataclasses
import hashlib
import json
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from agents.config import PRESETS as AGENTS
from agents.config import from_json
from agents.progress import duration
from oddoneout.demos.collection import CollectionError
from oddoneout.demos.collection import Progress as Collected
from oddoneout.demos.manifest import StorageError
from scripts import common
from scripts.reproduction import figures, pool, report
from scripts.reproduction.cells import (
    Places,
    collect_set,
    collected,
    examine_again,
    load_again,
    load_finished,
    take_up,
)
from scripts.reproduction.plan import Cell, matrix
from scripts.reproduction.sizes import EXPERIMENTS, PRESETS, Sizes
from scripts.reproduction.tables import SHOWN

_LINE_SECONDS = 15.0


def say(text: str) -> None:
    print(text, flush=True)


class Reporter:
    """A line now and then while a set of demonstrations is collected."""

    def __init__(self, label: str) -> None:
        self._label, self._told = label, time.monotonic()

    def __call__(self, progress: Collected) -> None:
        if time.monotonic() - self._told > _LINE_SECONDS:
            self._told = time.monotonic()
            say(f"collecting {self._label}: {progress}")


def sized(preset: str, changes: Mapping[str, Any]) -> Sizes:
    """The preset's sizes with changes.

    Raises:
        UserError: for a size that there is not, or of another type.
    """
    sizes = PRESETS[preset]
    known = {f.name: type(getattr(sizes, f.name)) for f in dataclasses.fields(sizes)}
    for name, value in changes.items():
        if name not in known:
            raise common.UserError(f"--sizes: no {name!r}; there are {', '.join(known)}")
        if not _fits(value, known[name]):
            raise common.UserError(
                f"--sizes: {name} must be of type {known[name].__name__} (numbers at least 1), "
                f"got {value!r}"
            )
    merged = {
        name: {**getattr(sizes, name), **value} if isinstance(value, dict) else value
        for name, value in changes.items()
    }
    changed = dataclasses.replace(sizes, **from_json(merged))
    _check_groups(changed)
    try:
        for cell in (cell for name in EXPERIMENTS for cell in matrix(name, changed)):
            _ = cell.plan  # which makes the agent's and the training's settings, and checks them
    except (TypeError, ValueError) as error:
        raise common.UserError(f"--sizes: {error}") from error
    return changed


def _fits(value: Any, kind: type) -> bool:
    """Whether a size of that type may have that value."""
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool) and value >= 1
    return isinstance(value, kind)


def _check_groups(sizes: Sizes) -> None:
    """What no cell's plan would refuse, or not by its name.

    Raises:
        UserError: for seeds that are no numbers from 1 up, or of experiments that there are not; an
            agent's preset that there is not; frames and seeds of training, which are no changes.
    """
    if unknown := sorted(set(sizes.seeds) - set(EXPERIMENTS)):
        raise common.UserError(f"--sizes: seeds of {unknown}; there are {', '.join(EXPERIMENTS)}")
    if wrong := {name: n for name, n in sizes.seeds.items() if not _fits(n, int)}:
        raise common.UserError(f"--sizes: seeds must be integers from 1 up, got {wrong}")
    if sizes.agent not in AGENTS:
        raise common.UserError(f"--sizes: no agent {sizes.agent!r}; there are {', '.join(AGENTS)}")
    groups = [f.name for f in dataclasses.fields(sizes) if f.name.endswith("_training")]
    for group in groups:
        if fixed := {"frames", "seed"} & set(getattr(sizes, group)):
            raise common.UserError(
                f"--sizes: {group} cannot change {', '.join(sorted(fixed))}; see the sizes of that "
                "name, and --seeds"
            )


def chosen(plans: Mapping[str, Sequence[Cell]], names: Sequence[str]) -> list[Cell]:
    """The cells to be made: those named (a name without a seed: all of its arm), or all.

    Raises:
        UserError: for a name that no cell has.
    """
    cells = [cell for plan in plans.values() for cell in plan]
    if not names:
        return cells
    found = []
    for name in names:
        these = [c for c in cells if c.name == name or c.name == f"{name}-{c.seed}"]
        if not these:
            raise common.UserError(f"--cells: no cell {name!r}; --list shows them")
        found += [cell for cell in these if cell not in found]
    return found


def in_report(
    sizes: Sizes, plans: Mapping[str, Sequence[Cell]], places: Places
) -> dict[str, Sequence[Cell]]:
    """What the folder's one report shows: the plans, and all that was finished there before."""

    def finished(cells: Sequence[Cell]) -> bool:
        return any(places.finished(cell).exists() for cell in cells)

    shown: dict[str, Sequence[Cell]] = {}
    for name in EXPERIMENTS:
        plan = plans.get(name) or matrix(name, sizes)
        if name not in plans and not finished(plan):
            continue
        seeds = 1 + max(cell.seed for cell in plan)
        while finished([c for c in matrix(name, sizes, seeds + 1) if c.seed == seeds]):
            seeds += 1
        shown[name] = matrix(name, sizes, seeds)
    return shown


def missing(cells: Sequence[Cell], places: Places) -> list[Cell]:
    return [cell for cell in cells if load_finished(cell, places) is None]


def write_report(
    args: argparse.Namespace, places: Places, plans: Mapping[str, Sequence[Cell]], sizes: Sizes
) -> Path:
    results = {
        cell.name: found
        for plan in plans.values()
        for cell in plan
        if (found := load_finished(cell, places)) is not None
    }
    drawn = {
        name: figures.draw(name, SHOWN[name], report.rows(plan, results), places.out / "figures")
        for name, plan in plans.items()
    }
    return report.write(places, plans, results, drawn, command(args, plans, sizes), sizes)


def command(args: argparse.Namespace, plans: Mapping[str, Sequence[Cell]], sizes: Sizes) -> str:
    """The command line that makes all that a report shows."""
    words = ["python -m scripts.reproduce", "--experiments", ",".join(plans)]
    words += ["--preset", args.preset]
    made = {name: 1 + max(cell.seed for cell in plan) for name, plan in plans.items()}
    other = {name: count for name, count in made.items() if count != sizes.seeds[name]}
    changes = dict(args.sizes)
    if other and len(set(made.values())) == 1:
        words += ["--seeds", str(next(iter(other.values())))]
    elif other:
        changes["seeds"] = {**changes.get("seeds", {}), **other}
    if changes:
        words += ["--sizes", f"'{json.dumps(changes)}'"]
    return " ".join([*words, "--out", str(args.out)])


def carry_out(args: argparse.Namespace, places: Places, todo: Sequence[Cell]) -> list[str]:
    """Collect what is needed and run the cells; the names of those that failed."""
    sets = {demos.name: demos for cell in todo for demos in cell.sets}
    lacking = [demos for demos in sets.values() if not collected(demos, places)]
    for i, demos in enumerate(lacking):
        say(f"collecting {demos.label}, {demos.episodes} episodes ({i + 1} of {len(lacking)} sets)")
        collect_set(demos, places, args.jobs, Reporter(demos.label))
    for demos in sets.values():
        take_up(demos, places)
    return pool.run_cells(todo, places, args.jobs, args.device, say)


def discard(plan: Sequence[Cell], places: Places) -> None:
    """Delete the sets that no cell of the plan needs any more."""
    needed = {demos.name for cell in missing(plan, places) for demos in cell.sets}
    for name, demos in {demos.name: demos for cell in plan for demos in cell.sets}.items():
        if name not in needed and places.demos(demos).exists():
            shutil.rmtree(places.demos(demos))
            say(f"discarded {demos.label}")


def default_work(out: Path) -> Path:
    """Where large files go: of every --out its own, though two may have the same last name."""
    digest = hashlib.sha256(str(out.resolve()).encode()).hexdigest()[:6]
    return Path("runs") / f"reproduce-{out.resolve().name}-{digest}"


def reproduce(args: argparse.Namespace) -> None:
    sizes = sized(args.preset, args.sizes)
    common.one_process("scripts.reproduce")
    places = Places(args.out, args.work or default_work(args.out))
    plans = {name: matrix(name, sizes, args.seeds) for name in args.experiments}
    shown = in_report(sizes, plans, places)
    # Also what only the report needs, before any work is done for it.
    every = [cell for plan in shown.values() for cell in plan]
    lacking = missing(every, places)
    for cell in every:
        load_again(cell, places)
    todo = [cell for cell in chosen(plans, args.cells) if cell in lacking]
    if args.list:
        waiting = {cell.name for cell in todo}
        for cell in chosen(plans, args.cells):
            say(f"{cell.name:32} {'to do' if cell.name in waiting else 'finished'}")
        return
    began = time.monotonic()
    for folder in (places.out, places.work):
        folder.mkdir(parents=True, exist_ok=True)
        common.writable(folder / "report.md")
    if args.again is not None:
        if args.again in (used := {cell.seed for cell in every}):
            raise common.UserError(f"--again: exams are of seeds {sorted(used)}: name another")
        look_again(args.again, [c for c in chosen(plans, args.cells) if c not in lacking], places)
        todo = []
    failed: list[str] = []
    for name, plan in plans.items():
        these = [cell for cell in todo if cell.experiment == name]
        if these:
            say(f"{name}: {len(these)} of {len(plan)} cells to do")
            failed += carry_out(args, places, these)
            write_report(args, places, shown, sizes)
        if args.discard_demos:
            discard(plan, places)
    path = write_report(args, places, shown, sizes)
    say(f"wrote {path} after {duration(time.monotonic() - began)}")
    if failed:
        raise common.UserError(
            f"{len(failed)} cells failed: {', '.join(failed)}; the same command tries them again"
        )


def look_again(seed: int, cells: Sequence[Cell], places: Places) -> None:
    """Examine these cells' agents in rooms of that seed.

    Raises:
        UserError: if there is no such agent.
    """
    trained = [cell for cell in cells if cell.training is not None]
    if not trained:
        raise common.UserError("--again: no agent is finished among these cells")
    torch.set_num_threads(1)  # as in the exams before
    for i, cell in enumerate(trained):
        say(f"examining {cell.name} again ({i + 1} of {len(trained)})")
        say(f"found in {examine_again(cell, places, seed)}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.reproduce",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )

    def experiments(text: str) -> list[str]:
        names = [name for name in text.split(",") if name]
        wrong = [name for name in names if name not in EXPERIMENTS]
        if wrong or not names:
            raise argparse.ArgumentTypeError(f"no {wrong}; there are {', '.join(EXPERIMENTS)}")
        return names

    parser.add_argument(
        "--experiments",
        type=experiments,
        default=list(EXPERIMENTS),
        metavar="LIST",
        help=f"comma-separated, of {', '.join(EXPERIMENTS)} (all)",
    )
    parser.add_argument("--preset", choices=list(PRESETS), default="cpu", help="sizes (cpu)")
    parser.add_argument(
        "--sizes",
        type=common.json_object,
        default={},
        metavar="JSON",
        help="changes to the preset's sizes, e.g. '{\"basic_frames\": 600000}'",
    )
    parser.add_argument("--seeds", type=common.positive, help="agents per arm (the preset's)")
    parser.add_argument(
        "--jobs", type=common.positive, default=1, help="cells at once, a core each"
    )
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="results to keep")
    parser.add_argument(
        "--work",
        type=Path,
        metavar="DIR",
        help="large files (runs/reproduce-<name and digest of --out>)",
    )
    parser.add_argument(
        "--cells",
        type=lambda text: text.split(","),
        default=[],
        metavar="LIST",
        help="only these cells, or arms without their seed's number",
    )
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--list", action="store_true", help="say which cells there are, and stop")
    instead.add_argument(
        "--again",
        type=common.seed_number,
        metavar="SEED",
        help="examine finished agents again, in rooms of this seed; train nothing",
    )
    parser.add_argument(
        "--discard-demos",
        action="store_true",
        help="delete an experiment's demonstrations once all of its cells are finished",
    )
    return parser.parse_args()


def main() -> None:
    args = arguments()
    try:
        reproduce(args)
    except (StorageError, CollectionError, ValueError, OSError) as error:
        raise common.UserError(str(error)) from error


if __name__ == "__main__":
    common.run(main)
