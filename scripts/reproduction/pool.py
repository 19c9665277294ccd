"""Several cells at once, a process each; one that fails or is killed takes no other with it."""

import contextlib
import multiprocessing
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing import connection
from typing import Any

import torch

from agents.interruption import Interrupted
from agents.progress import duration
from oddoneout.processes import when_parent_ends
from scripts.reproduction.cells import Places, run_cell, work
from scripts.reproduction.plan import Cell

_NEWS_SECONDS = 1.0  # least time between two reports of a cell
_LINE_SECONDS = 15.0  # between lines of progress


@dataclass(slots=True)
class _Running:
    cell: Cell
    process: Any
    pipe: connection.Connection
    gpu: str | None
    done: float = 0.0
    first: float | None = None  # the share that an earlier run had done
    why: str = ""  # it failed


def run_cells(
    cells: Sequence[Cell],
    places: Places,
    jobs: int,
    device: str = "auto",
    say: Callable[[str], None] = print,
) -> list[str]:
    """Carry out cells, at most ``jobs`` at once.

    Returns:
        The names of the cells that failed; what each one said lies in its run's "log.txt".

    Raises:
        KeyboardInterrupt: after every cell at work has saved what it has.
    """
    context = multiprocessing.get_context("spawn")
    waiting, running, failed = list(cells), list[_Running](), list[str]()
    meter = _Meter(cells)
    gpus = visible_gpus()
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                cell = waiting.pop(0)
                gpu = least_busy(gpus, [one.gpu for one in running])
                pipe, theirs = context.Pipe(duplex=False)
                process = context.Process(
                    target=_work, args=(cell, places, device, gpu, theirs), name=cell.name
                )
                process.start()
                theirs.close()
                running.append(_Running(cell, process, pipe, gpu))
            _hear(running)
            for one in [one for one in running if not one.process.is_alive()]:
                running.remove(one)
                one.process.join()
                _take(one)
                one.pipe.close()
                good = one.process.exitcode == 0
                meter.end(one)
                if not good:
                    failed.append(one.cell.name)
                log = places.run(one.cell) / "log.txt"
                ended = "finished" if good else f"failed, see {log}"
                say(f"{one.cell.name}: {ended}{one.why and f': {one.why}'}")
            if line := meter.line(running, len(waiting)):
                say(line)
    finally:
        for one in running:
            one.process.terminate()  # asks it to save and stop
        for one in running:
            one.process.join()
    return failed


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, by the names that CUDA_VISIBLE_DEVICES takes."""
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if listed is None:
        return [str(index) for index in range(torch.cuda.device_count())]
    return [name.strip() for name in listed.split(",") if name.strip()]


def least_busy(gpus: Sequence[str], taken: Sequence[str | None]) -> str | None:
    """The GPU that the fewest jobs have taken."""
    return min(gpus, key=taken.count, default=None)


def _hear(running: Sequence[_Running]) -> None:
    """Wait a moment for news, and take them in."""
    for pipe in connection.wait([one.pipe for one in running], timeout=1.0):
        (one,) = (one for one in running if one.pipe is pipe)
        if not _take(one):
            one.process.join()


def _take(one: _Running) -> bool:
    """Take in what a process has sent; whether more may come."""
    try:
        while one.pipe.poll():
            match one.pipe.recv():
                case str(why):
                    one.why = why
                case done:
                    one.done = done
                    one.first = done if one.first is None else one.first
    except (EOFError, OSError):
        return False
    return True


class _Meter:
    """How far all cells together have come, and how long the rest will take."""

    def __init__(self, cells: Sequence[Cell]) -> None:
        self._total = sum(map(work, cells))
        self._count, self._ended = len(cells), 0
        self._past = 0.0  # work of the cells that have ended
        self._spared = 0.0  # of what earlier runs had done of them
        self._start = self._told = time.monotonic()

    def end(self, one: _Running) -> None:
        self._ended += 1
        self._past += work(one.cell)
        self._spared += (one.first or 0.0) * work(one.cell)

    def line(self, running: Sequence[_Running], waiting: int) -> str | None:
        """A line of progress, now and then."""
        now = time.monotonic()
        if now - self._told < _LINE_SECONDS:
            return None
        self._told = now
        done = self._past + sum(one.done * work(one.cell) for one in running)
        spared = self._spared + sum((one.first or 0.0) * work(one.cell) for one in running)
        rate = (done - spared) / (now - self._start)
        left = duration((self._total - done) / rate) if rate > 0.0 else "?"
        at_work = ", ".join(f"{one.cell.name} {one.done:.0%}" for one in running)
        return (
            f"{done / self._total:6.1%} of the work, {self._ended} of {self._count} cells, "
            f"{left} left | {at_work} | {waiting} waiting"
        )


def _work(
    cell: Cell, places: Places, device: str, gpu: str | None, pipe: connection.Connection
) -> None:
    """A process's life: one cell, on one GPU if there are any, with its words in a file."""
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu  # read when CUDA is first used, which is not yet
    torch.set_num_threads(1)
    when_parent_ends(partial(os.kill, os.getpid(), signal.SIGTERM))
    run = places.run(cell)
    run.mkdir(parents=True, exist_ok=True)
    told = 0.0

    def report(done: float) -> None:
        nonlocal told
        if time.monotonic() - told > _NEWS_SECONDS:
            told = time.monotonic()
            try:
                pipe.send(done)
            except OSError:
                os.kill(os.getpid(), signal.SIGTERM)  # nobody listens any more: save and stop

    with (run / "log.txt").open("a", buffering=1, encoding="utf-8") as log:
        sys.stdout = sys.stderr = log
        try:
            run_cell(cell, places, device, report, partial(print, file=log))
        except Interrupted as stopped:
            print(stopped)
            sys.exit(1)
        except BaseException as error:
            with contextlib.suppress(OSError):
                # Where the disk is full, the log will not have it.
                pipe.send("".join(traceback.format_exception_only(error)).strip())
            traceback.print_exc()
            sys.exit(1)
