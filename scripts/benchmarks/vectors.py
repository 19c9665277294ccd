"""Many environments behind one object: against Gymnasium's own, over their number, over cores."""

import multiprocessing
from collections.abc import Sequence
from contextlib import ExitStack
from multiprocessing.connection import Connection
from typing import Any, Final

import gymnasium

from oddoneout.processes import usable_cores
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

    Ratios are to one plain environment in this process, measured in the same rounds. The last row
    is what the machine itself allows: a process for each core, with one environment each, that
    have nothing to do with one another.
    """
    cores = usable_cores()
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
        works["apart"] = _apart(cores, stack)
        rates = measure(works, effort)
    named = [(f"{count} {processes}", count, processes) for count, processes in sizes]
    return [
        {
            "num_envs": count,
            "workers": processes,
            "apart": name == "apart",
            "steps_per_second": median(rates[name]),
            "single_ratio": ratio(rates[name], rates["single"]),
        }
        for name, count, processes in [*named, ("apart", cores, cores)]
    ]


def _apart(count: int, stack: ExitStack) -> Work:
    """Random steps in ``count`` processes at once, each with an environment of its own."""
    context = multiprocessing.get_context("spawn")
    connections: list[Connection] = []
    for _ in range(count):
        ours, theirs = context.Pipe()
        process = context.Process(target=_alone, args=(theirs,), daemon=True)
        process.start()
        theirs.close()
        stack.callback(process.join)
        stack.callback(ours.close)  # which ends the process
        connections.append(ours)

    def work() -> int:
        for connection in connections:
            connection.send(None)
        return sum(connection.recv() for connection in connections)

    return work


def _alone(connection: Connection) -> None:
    """Step an environment of one's own whenever asked to, until nobody asks any more."""
    env = gymnasium.make(SHARED, disable_env_checker=True)
    work = stepping(env)
    try:
        while True:
            connection.recv()
            connection.send(sum(work() for _ in range(10)))
    except EOFError:
        env.close()


def scaling_table(rows: Sequence[dict[str, Any]]) -> str:
    return common.table(
        ("worlds", "worker processes", "steps/s", "times one environment"),
        [
            (
                str(row["num_envs"]),
                f"{row['workers']}{', apart' if row['apart'] else ''}",
                f"{row['steps_per_second']:,.0f}",
                f"{row['single_ratio']:.2f}",
            )
            for row in rows
        ],
    )
