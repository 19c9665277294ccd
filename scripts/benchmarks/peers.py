"""Against environments of the same kind: MiniWorld's rooms, when MiniWorld is installed.

One process, 64x64 pixels, llvmpipe without threads of its own, interleaved rounds. Our actions
are drawn from the four movements: others would leave the picture as it is, and cost less.
"""

import importlib
import importlib.util
import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, Final

import gymnasium

from scripts import common
from scripts.benchmarks.rates import (
    MOVEMENTS,
    SHARED,
    Effort,
    Work,
    measure,
    median,
    ratio,
    stepping,
)

#: And how many times as fast we mean to be.
PEERS: Final = {"MiniWorld-OneRoom-v0": 1.7, "MiniWorld-PickupObjects-v0": 2.8}
_SIZE: Final = 64


def peers(effort: Effort) -> list[dict[str, Any]]:
    """Steps per second of each peer, and ours against it; nothing where they are missing."""
    if importlib.util.find_spec("miniworld") is None:
        return []
    # The same terms for all, and before any of them starts GL.
    os.environ.setdefault("LP_NUM_THREADS", "0")
    try:
        _start_without_a_window()
        with ExitStack() as stack:
            ours = gymnasium.make(SHARED, image_size=_SIZE, disable_env_checker=True)
            stack.callback(ours.close)
            works: dict[str, Work] = {SHARED: stepping(ours, MOVEMENTS)}
            for name in PEERS:
                env = gymnasium.make(
                    name, obs_width=_SIZE, obs_height=_SIZE, disable_env_checker=True
                )
                stack.callback(env.close)
                works[name] = stepping(env)
            rates = measure(works, effort)
    except Exception as error:  # pyglet has errors of its own for what is missing
        print(f"MiniWorld left out: {type(error).__name__}: {error}", file=sys.stderr)
        return []
    return [
        {
            "env": name,
            "steps_per_second": median(rates[name]),
            "ours_steps_per_second": median(rates[SHARED]),
            "ours_ratio": ratio(rates[SHARED], rates[name]),
            "mark": mark,
        }
        for name, mark in PEERS.items()
    ]


def _start_without_a_window() -> None:
    importlib.import_module("pyglet").options["headless"] = True
    importlib.import_module("miniworld")


def peers_table(rows: Sequence[dict[str, Any]]) -> str:
    if not rows:
        return 'peers left out: pip install -e ".[peers]"'
    return common.table(
        ("peer, 64x64", "steps/s", "ours", "ours : peer", "mark"),
        [
            (
                row["env"],
                f"{row['steps_per_second']:,.0f}",
                f"{row['ours_steps_per_second']:,.0f}",
                f"{row['ours_ratio']:.2f}",
                f"{row['mark']:.1f}",
            )
            for row in rows
        ],
    )
