"""How fast many rooms run on one device: ``renderer="warp"``.

python -m scripts.benchmark_warp --num-envs 256 1024 4096 8192
"""

import argparse
import time
from pathlib import Path
from typing import Any, Final

import gymnasium
import torch

from oddoneout.actions import Action
from scripts import common

_WARM_UP: Final = 3  # steps not counted: kernels are loaded, memory is fetched


def measure(
    level: str, num_envs: int, image_size: int, device: str | None, steps: int
) -> dict[str, Any]:
    """Pictures and full steps per second of ``num_envs`` rooms under random actions."""
    envs: Any = gymnasium.make_vec(
        level, num_envs=num_envs, renderer="warp", image_size=image_size, device=device
    )
    started = time.perf_counter()
    envs.reset(seed=0)
    reset = time.perf_counter() - started
    acts = torch.randint(len(Action), (_WARM_UP + steps, num_envs), device=envs.device)
    for t in range(_WARM_UP):
        envs.step(acts[t])
    began = _synchronized(envs.device)
    episodes = torch.zeros((), device=envs.device)
    for t in range(_WARM_UP, len(acts)):
        _, _, terminated, truncated, _ = envs.step(acts[t])
        episodes += (terminated | truncated).sum()
    stepping = _synchronized(envs.device) - began
    for _ in range(_WARM_UP):
        envs.draw()
    began = _synchronized(envs.device)
    for _ in range(steps):
        envs.draw()
    drawing = _synchronized(envs.device) - began
    version = envs.renderer_version()
    envs.close()
    return {
        "renderer": version,
        "env": level,
        "num_envs": num_envs,
        "image_size": image_size,
        "steps": steps,
        "frames_per_second": steps * num_envs / drawing,
        "steps_per_second": steps * num_envs / stepping,
        "episodes_per_second": float(episodes) / stepping,
        "first_reset_s": reset,
    }


def _synchronized(device: torch.device) -> float:
    """The time when the device has done all that it was asked for."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def report(rows: list[dict[str, Any]]) -> str:
    """The figures as a table, under the name of what drew."""
    header = ("rooms", "pixels", "frames/s", "steps/s", "episodes/s", "first reset s")
    cells = [
        (
            f"{row['num_envs']:,}",
            str(row["image_size"]),
            f"{row['frames_per_second']:,.0f}",
            f"{row['steps_per_second']:,.0f}",
            f"{row['episodes_per_second']:,.0f}",
            f"{row['first_reset_s']:.1f}",
        )
        for row in rows
    ]
    return f"{rows[0]['renderer']}, {rows[0]['env']}\n\n{common.table(header, cells)}"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.benchmark_warp",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--num-envs", type=common.positive, nargs="+", default=[16, 64])
    parser.add_argument("--env", default="OddOneOut/Basic-v0", metavar="ID")
    parser.add_argument("--size", type=common.image_side, default=64, help="of the square images")
    parser.add_argument("--steps", type=common.positive, default=200, help="counted, per figure")
    parser.add_argument("--device", help='of torch: "cuda" or "cpu"; default: the best there is')
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the figures here too")
    args = parser.parse_args()
    out = common.writable(args.json)
    try:
        rows = [measure(args.env, n, args.size, args.device, args.steps) for n in args.num_envs]
    except (ValueError, gymnasium.error.Error) as error:
        raise common.UserError(str(error)) from error
    print(report(rows))
    if out is not None:
        common.write_json(out, rows)
        print(f"wrote {out}")


if __name__ == "__main__":
    common.run(main)
