"""Processes that work for this one: started without a ``__main__`` guard, and gone with it.

One is started as ``python -m MODULE FD ...`` with inherited file descriptors, of which the first
is one end of a socket for commands. So a dead parent ends its processes: the socket closes.
And folders and shares of work that one process has at a time.
"""

import contextlib
import errno
import fcntl
import math
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from functools import cache
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Final, Protocol, TypeVar

_CLOSING_SECONDS: Final = 5.0  # that a process gets to close before it is killed
_DYING_SECONDS: Final = 5.0  # that a process whose connection broke gets to end
#: Where Linux tells a container how much of each period, in microseconds, it may compute.
_QUOTAS: Final = (
    ("/sys/fs/cgroup/cpu.max",),
    ("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "/sys/fs/cgroup/cpu/cpu.cfs_period_us"),
)
#: What a connection says whose other end is gone. Any other error is somebody else's, such as the
#: TimeoutError of a user's own signal handler.
GONE: Final = (EOFError, BrokenPipeError, ConnectionResetError)
#: What file systems that cannot lock files answer.
_NO_LOCKS: Final = (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK)


class Worker(Protocol):
    """A process and our end of its socket."""

    @property
    def process(self) -> subprocess.Popen[bytes]: ...

    @property
    def connection(self) -> Connection: ...


_W = TypeVar("_W", bound=Worker)

_ours: "weakref.WeakSet[Connection]" = weakref.WeakSet()  # ends of workers' sockets


def _let_go() -> None:
    """In a fork: a copy of a socket would keep its worker alive, and could take its answers."""
    for connection in _ours:
        connection.close()


@cache
def _mind_forks() -> None:
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_let_go)


def start(module: str, *descriptors: int) -> tuple[subprocess.Popen[bytes], Connection]:
    """Start ``module`` with its end of a new socket and more file descriptors.

    The module has to call ``leave_interrupts_to_parent``.
    """
    ours, theirs = socket.socketpair()
    connection = Connection(ours.detach())
    command = [sys.executable, "-P", "-X", "faulthandler", "-m", module]
    # As Python's imports do, what is no string is passed over.
    path = os.pathsep.join(entry or os.getcwd() for entry in sys.path if isinstance(entry, str))
    # A worker is one of many already: numpy needs no threads there.
    environment = {"OPENBLAS_NUM_THREADS": "1", **os.environ, "PYTHONPATH": path}
    try:
        with theirs, _interrupts_later():
            inherited = (theirs.fileno(), *descriptors)
            process = subprocess.Popen(
                [*command, *map(str, inherited)],
                pass_fds=inherited,
                stdin=subprocess.DEVNULL,
                env=environment,
            )
    except BaseException:
        connection.close()  # which ends a process that was started before Ctrl-C was heard
        raise
    _mind_forks()
    _ours.add(connection)
    return process, connection


@contextlib.contextmanager
def _interrupts_later() -> Iterator[None]:
    """Ctrl-C waits: here until the end, in a process that is started here until it is ready."""
    if not hasattr(signal, "pthread_sigmask"):  # as on Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def leave_interrupts_to_parent() -> None:
    """In a process started here: a terminal's Ctrl-C goes to all, the parent says what it means."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # drops one that waited
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def end(workers: list[_W], owner: int) -> None:
    """Tell all to close and wait, unless this is a fork of the process that owns them."""
    for worker in workers:
        if os.getpid() == owner:
            with contextlib.suppress(OSError):
                worker.connection.send(("close",))
        worker.connection.close()
    if os.getpid() == owner:
        deadline = time.monotonic() + _CLOSING_SECONDS
        for worker in workers:
            try:
                worker.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                worker.process.kill()
                worker.process.wait()
    workers.clear()


def death(process: subprocess.Popen[bytes]) -> str:
    """How a process whose connection broke died, in words that follow its name."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_DYING_SECONDS)
    code = process.returncode
    if code is None:
        return "closed its connection"
    if code < 0:
        return f"was killed by {signal_name(-code)}"
    return f"ended with exit status {code}"


def signal_name(number: int) -> str:
    """ "SIGKILL" for 9; real-time signals have no name in Python."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def when_parent_ends(act: Callable[[], object]) -> None:
    """In a process of ``multiprocessing``: call that, in a thread, once its parent is gone.

    A killed parent cannot end its processes, so they watch it themselves.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        wait([parent.sentinel])
        act()

    threading.Thread(target=watch, daemon=True).start()


def usable_cores() -> int:
    """How many cores this process may use: by its affinity, and by a container's share of time."""
    here = hasattr(os, "sched_getaffinity")
    cores = len(os.sched_getaffinity(0)) if here else os.cpu_count() or 1
    return min(cores, _cores_granted())


def _cores_granted() -> int:
    """What the control group lets this process use, rounded up; many where it sets no limit."""
    for files in _QUOTAS:  # version 2 has both numbers in one file, version 1 a file for each
        with contextlib.suppress(OSError, ValueError):
            quota, period = " ".join(Path(name).read_text() for name in files).split()
            if int(quota) > 0:  # "max" is no number, and version 1 says -1
                return max(1, math.ceil(int(quota) / int(period)))
    return sys.maxsize


@contextlib.contextmanager
def holding(
    folder: str | os.PathLike[str], *, shared: bool = False, refusal: Exception | None = None
) -> Iterator[None]:
    """Keep other processes that ask for the same folder out of it, as far as one machine can see.

    Args:
        folder: one that exists.
        shared: with others that share it.
        refusal: raised if another process holds it; None: wait until that is done.
    """
    kind = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (fcntl.LOCK_NB if refusal else 0)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, kind)
        except BlockingIOError as error:
            raise refusal or error from None
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def holding_file(path: str | os.PathLike[str], refusal: Exception) -> Iterator[None]:
    """Keep others that ask for the same file out of what it stands for; at the end it is removed.

    Other machines, too, if their common file system locks for all of them. Where it cannot lock,
    nobody is kept out.

    Args:
        path: of a file that may exist: who is killed leaves one behind.
        refusal: raised if another process holds it.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)  # NFS locks only what can be written
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise refusal from None
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
        if not os.fstat(descriptor).st_nlink:  # removed by its holder since it was opened
            raise refusal
        try:
            yield
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
    finally:
        os.close(descriptor)
