"""The processes that train one agent together, started by torchrun; usually there is just one."""

import os
from dataclasses import dataclass

import torch
from torch import Tensor
from torch import distributed as dist


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process among those that train together."""

    rank: int
    ranks: int
    device: torch.device

    @classmethod
    def join(cls, device: str) -> "Ranks":
        """Meet the other processes that torchrun started, if any."""
        ranks = int(os.environ.get("WORLD_SIZE", "1"))
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        if device == "cuda":
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
            device = f"cuda:{torch.cuda.current_device()}"
        if ranks > 1 and not dist.is_initialized():
            dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")
        return cls(dist.get_rank() if ranks > 1 else 0, ranks, torch.device(device))

    @property
    def first(self) -> bool:
        return self.rank == 0

    def total(self, values: Tensor) -> Tensor:
        """The sum over all processes, in place."""
        if self.ranks > 1:
            dist.all_reduce(values)
        return values

    def agree(self, seconds: float, stop: bool) -> tuple[float, bool]:
        """The first process's seconds, and whether any process was asked to stop."""
        if self.ranks == 1:
            return seconds, stop
        mine = torch.tensor([seconds if self.first else 0.0, float(stop)], device=self.device)
        first, stops = self.total(mine).tolist()
        return first, stops > 0

    def wait(self) -> None:
        if self.ranks > 1:
            dist.barrier()

    def leave(self) -> None:
        """Say goodbye to the others, at the very end."""
        if self.ranks > 1:
            dist.destroy_process_group()
