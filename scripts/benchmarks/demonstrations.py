"""Collecting demonstrations on all cores, against the native vector environment's own rate."""

import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from oddoneout.demos.collection import Progress, Recipe, all_expert_options, collect
from oddoneout.processes import usable_cores
from scripts.benchmarks.rates import MOVEMENTS, SHARED, Effort, median, rate, ratio, vector_stepping
from scripts.benchmarks.vectors import native

SHARD_EPISODES: Final = 64
_WORLDS_PER_CORE: Final = 16


def collection(effort: Effort) -> dict[str, Any]:
    """Frames collected per second, random steps and random movements per second, in turns.

    Of random steps most leave the picture as it is and need not draw it; movements do, as nearly
    all of an expert's steps. A round collects a small set: experts that decide, rooms that are
    drawn, shards that are written and flushed to the disk. Starting the workers does not count.
    """
    cores = usable_cores()
    collected, stepped, moved = [], [], []
    with closing(native(_WORLDS_PER_CORE * cores)) as envs, tempfile.TemporaryDirectory() as folder:
        step, move = vector_stepping(envs), vector_stepping(envs, MOVEMENTS)
        step()
        for number in range(effort.rounds):
            recipe = Recipe(
                SHARED,
                episodes=2 * SHARD_EPISODES * cores,
                seed=number,
                policy_args=all_expert_options({}),
                shard_episodes=SHARD_EPISODES,
            )
            reports: list[Progress] = []
            collect(Path(folder) / str(number), recipe, cores, reports.append)
            collected.append(reports[-1].frame_rate)
            stepped.append(rate(step, effort.seconds))
            moved.append(rate(move, effort.seconds))
    return {
        "processes": cores,
        "frames_per_second": median(collected),
        "vector_steps_per_second": median(stepped),
        "vector_ratio": ratio(collected, stepped),
        "vector_movements_per_second": median(moved),
        "movements_ratio": ratio(collected, moved),
    }


def collection_line(of: dict[str, Any]) -> str:
    return (
        f"collecting with {of['processes']} processes: {of['frames_per_second']:,.0f} frames/s, "
        f"{of['vector_ratio']:.2f} of the native vector environment's "
        f"{of['vector_steps_per_second']:,.0f} random steps/s, {of['movements_ratio']:.2f} of its "
        f"{of['vector_movements_per_second']:,.0f} random movements/s"
    )
