"""The processes that train one agent together, started by torchrun; usually there is just one."""

import os
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, TypeVar

import torch
from torch import Tensor
from torch import distributed as dist

T = TypeVar("T")

#: The slowest process may take so long over its share; a dead one is noticed by the launcher.
_PATIENCE: Final = timedelta(hours=2)


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process among those that train together."""

    rank: int
    ranks: int
    device: torch.device

    @classmethod
    def join(cls, device: str) -> "Ranks":
        """Meet the other processes that torchrun started, if any.

        Raises:
            ValueError: for a GPU where there is none, or fewer than processes; or if no launcher
                says where to meet.
        """
        ranks = int(os.environ.get("WORLD_SIZE", "1"))
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        if device.startswith("cuda") and not torch.cuda.is_available():
            raise ValueError(f"device {device!r}: PyTorch finds no GPU here; there is 'cpu'")
        if device == "cuda":
            mine, there = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
            if mine >= there:
                raise ValueError(
                    f"process {mine} of this machine (counted from 0) finds no GPU of its own: "
                    f"there are {there}; start at most as many (--nproc-per-node)"
                )
            torch.cuda.set_device(mine)
            device = f"cuda:{torch.cuda.current_device()}"
        if ranks > 1 and not dist.is_initialized():
            backend = "nccl" if device.startswith("cuda") else "gloo"
            try:
                dist.init_process_group(backend, timeout=_PATIENCE)
            except ValueError as error:
                raise ValueError(
                    f"{ranks} processes cannot meet: {error}. Start them by torchrun, see "
                    "docs/cluster.md"
                ) from error
        return cls(dist.get_rank() if ranks > 1 else 0, ranks, torch.device(device))

    @classmethod
    def met(cls, device: torch.device) -> "Ranks":
        """The processes that have joined already; this one alone if none have."""
        if not dist.is_initialized():
            return cls(0, 1, device)
        return cls(dist.get_rank(), dist.get_world_size(), device)

    @property
    def first(self) -> bool:
        return self.rank == 0

    def total(self, values: Tensor) -> Tensor:
        """The sum over all processes, in place."""
        if self.ranks > 1:
            dist.all_reduce(values)
        return values

    def agree(self, seconds: float, talk: bool, stop: bool) -> tuple[float, bool, bool]:
        """The first process's seconds, and whether it will talk; whether any was asked to stop."""
        if self.ranks == 1:
            return seconds, talk, stop
        mine = [seconds, float(talk)] if self.first else [0.0, 0.0]
        first, talks, stops = self.total(torch.tensor([*mine, stop], device=self.device)).tolist()
        return first, talks > 0, stops > 0

    def everyone(self, value: T) -> list[T]:
        """The values that all processes hand in, by rank; each of them gets all."""
        if self.ranks == 1:
            return [value]
        values: list[T | None] = [None] * self.ranks
        dist.all_gather_object(values, value)
        return values  # type: ignore[return-value]

    def wait(self) -> None:
        if self.ranks > 1:
            dist.barrier()

    def leave(self) -> None:
        """Say goodbye to the others, at the very end."""
        if self.ranks > 1:
            dist.destroy_process_group()
