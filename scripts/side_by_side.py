"""Work done side by side: commands with their output named, and calls in a few processes."""

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from typing import IO, Any

from oddoneout.processes import when_parent_ends
from scripts.common import UserError

_PATIENCE = 30.0  # seconds a command has to end by itself when asked to


def commands(scripts: Mapping[str, Sequence[str]]) -> None:
    """Run ``python -m ...`` commands side by side, each line of their output after their name.

    None outlives the call: when one fails, or this process is interrupted, the others are asked
    to end (and save what they have).

    Args:
        scripts: by name, a module and its arguments.

    Raises:
        UserError: if one fails.
    """
    width = max(map(len, scripts))
    with contextlib.ExitStack() as stack:
        running = {
            name: stack.enter_context(_running(script, name.ljust(width)))
            for name, script in scripts.items()
        }
        while None in [process.poll() for process in running.values()]:  # asks every one
            _complain(running)
            time.sleep(0.1)
    _complain(running)


def _complain(running: Mapping[str, subprocess.Popen[str]]) -> None:
    for name, process in running.items():
        if process.returncode:
            raise UserError(f"{name} failed (exit code {process.returncode}; see above)")


@contextlib.contextmanager
def _running(script: Sequence[str], name: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", *script],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    reader = threading.Thread(target=_relay, args=(process.stdout, name), daemon=True)
    reader.start()
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        reader.join(1.0)
        process.stdout.close()


def _relay(lines: IO[str], name: str) -> None:
    for line in lines:
        print(f"  {name} | {line.rstrip()}", flush=True)


def calls(tasks: Mapping[Any, Callable[[], None]], workers: int) -> None:
    """Make calls in worker processes, and tell of each when it is done.

    Args:
        tasks: by what they make; picklable (as a ``functools.partial`` of a module's function).
        workers: processes.

    Raises:
        UserError: if one of them fails.
    """
    if not tasks:
        return
    start = time.monotonic()
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(workers, len(tasks)), context, initializer=_settle)
    try:
        futures = {pool.submit(task): name for name, task in tasks.items()}
        for done, future in enumerate(as_completed(futures), start=1):
            try:
                future.result()
            except (UserError, ValueError, OSError, ImportError, BrokenProcessPool) as error:
                raise UserError(f"{futures[future]}: {error}") from error
            left = (time.monotonic() - start) / done * (len(tasks) - done)
            print(f"  {done}/{len(tasks)} done: {futures[future]}, {left:.0f} s left", flush=True)
    finally:
        pool.shutdown(cancel_futures=True)


def _settle() -> None:
    """A worker keeps to one core; it ends at once when interrupted, and with its parent, even if
    that is killed."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # heard when PyTorch is imported, later
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    when_parent_ends(partial(os._exit, 1))
