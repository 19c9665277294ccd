"""What a run says while it goes: a line, a file of records, TensorBoard curves."""

import contextlib
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


class Means:
    """Running means of named scalars, kept on their device until they are asked for."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._weights: dict[str, Tensor] = {}

    def add(self, values: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> None:
        """Count each value with its weight (a value of weight 0 not at all)."""
        for name, value in values.items():
            weight = weights[name].to(value.device, torch.float64)
            value = torch.where(weight > 0, value.detach().double(), 0.0) * weight
            self._sums[name] = self._sums.get(name, 0.0) + value
            self._weights[name] = self._weights.get(name, 0.0) + weight

    def take(self, total: Callable[[Tensor], Tensor] = lambda mine: mine) -> dict[str, float]:
        """The means since the last call; names that never counted are left out.

        Args:
            total: adds up what several processes have counted; they all call, at one time.
        """
        if not self._sums:
            return {}
        mine = torch.stack([torch.stack([self._sums[n], self._weights[n]]) for n in self._sums])
        found = zip(self._sums, total(mine).tolist(), strict=True)
        self._sums, self._weights = {}, {}
        return {name: value / weight for name, (value, weight) in found if weight > 0}


def records(path: Path) -> list[dict[str, Any]]:
    """The records of a ``metrics.jsonl``, first to last; none if there is no such file.

    The last line of a run that was killed while it wrote is no JSON; such lines are passed over.
    """
    if not path.exists():
        return []
    found = []
    for line in path.read_text().splitlines():
        with contextlib.suppress(json.JSONDecodeError):
            found.append(json.loads(line))
    return found


class Record:
    """The numbers of a run: ``metrics.jsonl``, and TensorBoard curves in ``curves``.

    Args:
        run: the run's directory.
        step: where the run goes on; what was recorded after it is forgotten.
        examined: whether the exams of that step itself, if there were any, count; else they will
            be held again.
    """

    def __init__(self, run: Path, step: int = 0, examined: bool = True) -> None:
        from torch.utils.tensorboard import SummaryWriter  # slow to import

        self.file = run / "metrics.jsonl"
        if self.file.exists():
            kept = [record for record in records(self.file) if _stays(record, step, examined)]
            beside = self.file.with_name(f".{self.file.name}")
            beside.write_text("".join(f"{json.dumps(record)}\n" for record in kept))
            beside.replace(self.file)
        self.curves = SummaryWriter(str(run / "curves"), purge_step=step + 1)

    def write(self, kind: str, step: int, frames: int, values: Mapping[str, float]) -> None:
        """One record; ``kind`` is "train" or "validation" or "active"."""
        record = {"kind": kind, "step": step, "frames": frames, "time": round(time.time(), 1)}
        with self.file.open("a") as file:
            file.write(json.dumps({**record, **values}) + "\n")
        for name, value in values.items():
            self.curves.add_scalar(f"{kind}/{name}", value, step)
        self.curves.flush()

    def close(self) -> None:
        self.curves.close()


def _stays(record: Mapping[str, Any], step: int, examined: bool) -> bool:
    if record["step"] == step and record["kind"] != "train":
        return examined
    return record["step"] <= step


def line(
    step: int, frames: int, share: float, rate: float, left: float, values: Mapping[str, float]
) -> str:
    """One line of progress: how far, how fast, how long yet, how good."""

    def shown(name: str) -> str:
        return f"{values[name]:.3f}" if name in values else "-"

    return (
        f"{share:6.1%} {frames:,} frames, step {step:,}, {rate:,.0f} frames/s, "
        f"{duration(left)} left | action {shown('action')} right {shown('action_accuracy')} "
        f"decisive {shown('decisive_accuracy')} | explanation {shown('explanation')} "
        f"properties {shown('properties_accuracy')} outcome {shown('outcome_accuracy')}"
    )


def duration(seconds: float) -> str:
    """As "1h02m" or "3m05s"."""
    whole = int(max(0.0, seconds))
    if whole >= 3600:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    return f"{whole // 60}m{whole % 60:02d}s"
