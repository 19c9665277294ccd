"""Many environments behind one object: against Gymnasium's own, over their number, over cores."""

import os
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, Final

import gymnasium

from scripts import common
from scripts.benchmarks.rates import (
    SHARED,
    Effort,
    Work,
    measure,
    median,
    ratio,
    stepping,
    vector_stepping,
)

MODES: Final = {"vector_entry_point": "native", "async": "AsyncVectorEnv", "sync": "SyncVectorEnv"}
COUNTS: Final = (1, 8, 32, 128)


def native(num_envs: int, **arguments: Any) -> Any:
    """The package's own vector environment."""
    return gymnasium.make_vec(SHARED, num_envs, "vector_entry_point", **arguments)


def modes(num_envs: int, effort: Effort) -> list[dict[str, Any]]:
    """Steps per second in every mode of ``gymnasium.make_vec``, and ours against each."""
    with ExitStack() as stack:
        works: dict[str, Work] = {}
        for mode in MODES:
            envs = gymnasium.make_vec(SHARED, num_envs=num_envs, vectorization_mode=mode)
            stack.callback(envs.close)
            works[mode] = vector_stepping(envs)
        rates = measure(works, effort)
    ours = rates["vector_entry_point"]
    return [
        {
            "mode": mode,
            "num_envs": num_envs,
            "steps_per_second": median(rates[mode]),
            "native_ratio": ratio(ours, rates[mode]),
        }
        for mode in MODES
    ]


def modes_table(rows: Sequence[dict[str, Any]]) -> str:
    return common.table(
        ("vector environment", "worlds", "steps/s", "native : this"),
        [
            (
                MODES[row["mode"]],
                str(row["num_envs"]),
                f"{row['steps_per_second']:,.0f}",
                f"{row['native_ratio']:.2f}",
            )
            for row in rows
        ],
    )


def scaling(num_envs: int, effort: Effort) -> list[dict[str, Any]]:
    """The native one over the number of worlds, and over the number of worker processes.

    Ratios are to one plain environment in this process, measured in the same rounds.
    """
    cores = len(os.sched_getaffinity(0))
    workers = sorted({2**power for power in range(cores.bit_length()) if 2**power <= cores})
    sizes = [(count, min(count, cores)) for count in COUNTS]
    sizes += [(num_envs, count) for count in workers if (num_envs, count) not in sizes]
    with ExitStack() as stack:
        single = gymnasium.make(SHARED, disable_env_checker=True)
        stack.callback(single.close)
        works = {"single": stepping(single)}
        for count, processes in sizes:
            envs = native(count, workers=processes)
            stack.callback(envs.close)
            works[f"{count} {processes}"] = vector_stepping(envs)
        rates = measure(works, effort)
    return [
        {
            "num_envs": count,
            "workers": processes,
            "steps_per_second": median(rates[f"{count} {processes}"]),
            "single_ratio": ratio(rates[f"{count} {processes}"], rates["single"]),
        }
        for count, processes in sizes
    ]


def scaling_table(rows: Sequence[dict[str, Any]]) -> str:
    return common.table(
        ("worlds", "worker processes", "steps/s", "times one environment"),
        [
            (
                str(row["num_envs"]),
                str(row["workers"]),
                f"{row['steps_per_second']:,.0f}",
                f"{row['single_ratio']:.2f}",
            )
            for row in rows
        ],
    )
