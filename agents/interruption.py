"""A run that is asked to stop: heard between two steps, after which all is saved."""

import contextlib
import signal
import threading
from collections.abc import Iterator


class Interrupted(Exception):
    """The run was asked to stop; it is saved and can go on, unless it is finished.

    Attributes:
        signal: by which it was asked; by SIGTERM where another process was.
        finished: whether nothing is left to do.
    """

    def __init__(self, message: str, asked: int, finished: bool = False) -> None:
        super().__init__(message)
        self.signal, self.finished = asked or signal.SIGTERM, finished


class Stop:
    """Whether a run was asked to stop.

    Attributes:
        signal: by which; 0 if it was not.
    """

    def __init__(self) -> None:
        self.signal = 0

    def __bool__(self) -> bool:
        return self.signal != 0

    @contextlib.contextmanager
    def heard(self) -> Iterator[None]:
        """Let SIGINT and SIGTERM ask; then SIGINT ends the run at once.

        A second SIGTERM asks no more than the first: schedulers send it to every process of a
        group, whose parents pass it on. Outside the main thread, signals are left alone.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        earlier = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

        def ask(number: int, frame: object) -> None:
            self.signal = number
            signal.signal(signal.SIGINT, earlier[signal.SIGINT])

        for number in earlier:
            signal.signal(number, ask)
        try:
            yield
        finally:
            for number, handler in earlier.items():
                signal.signal(number, handler)
