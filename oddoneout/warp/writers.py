"""Who draws the episodes: processes that write each room's next one while this one is played.

Drawing an episode takes longer than many steps of a room on a GPU. So it is done ahead, and on
all cores. A desk holds the random generators of its rooms: which episodes a room gets depends on
its seed alone, not on how many desks there are.
"""

import contextlib
import os
import subprocess
import sys
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Final

import numpy as np
from gymnasium.utils import seeding
from numpy.typing import NDArray

from oddoneout.episode import sample_episode
from oddoneout.processes import GONE, death, end, leave_interrupts_to_parent, start
from oddoneout.rules.levels import CATALOGUE, Settings
from oddoneout.warp.script import Scripts

_MODULE: Final = "oddoneout.warp.writers"


class Desk:
    """Draws the episodes of some rooms, each from its own random generator."""

    def __init__(self, level: str, settings: Settings) -> None:
        self._level, self._settings = CATALOGUE[level], settings
        self._generators: dict[int, np.random.Generator] = {}

    def seed(self, rooms: Sequence[int], seeds: Sequence[int | None]) -> None:
        """Begin anew, as ``env.reset(seed=...)`` does; None goes on, or begins at random."""
        for room, seed in zip(rooms, seeds, strict=True):
            if seed is not None or room not in self._generators:
                self._generators[room] = seeding.np_random(seed)[0]

    def write(self, rooms: Sequence[int]) -> Scripts:
        """The next episode of each of these rooms."""
        scripts = Scripts.blank(len(rooms), self._level.most_trials(self._settings))
        for index, room in enumerate(rooms):
            episode = sample_episode(self._level, self._settings, self._generators[room])
            scripts.write(index, episode)
        return scripts


@dataclass(eq=False, slots=True)
class _Writer:
    """A process with a desk, and the rooms whose next episode was asked for, in order."""

    process: subprocess.Popen[bytes]
    connection: Connection
    asked: list[list[int]] = field(default_factory=list)


class Writers:
    """The next episode of every room, drawn ahead.

    Args:
        level: its name.
        settings: of the episodes.
        rooms: how many.
        processes: that share the drawing; 0 draws here, when an episode is needed.
    """

    def __init__(self, level: str, settings: Settings, rooms: int, processes: int) -> None:
        self._desk = Desk(level, settings)
        self._writers: list[_Writer] = []
        self._finalizer = weakref.finalize(self, end, self._writers, os.getpid())
        self._ahead = Scripts.blank(rooms, CATALOGUE[level].most_trials(settings))
        self._ready = np.zeros(rooms, np.bool_)
        for _ in range(min(processes, rooms)):
            self._writers.append(_Writer(*start(_MODULE)))
            self._writers[-1].connection.send((level, settings))

    def seed(self, rooms: NDArray[np.integer], seeds: Sequence[int | None]) -> None:
        """Begin these rooms anew; a room without a seed goes on with what is drawn already.

        Raises:
            RuntimeError: if a writer died; all are ended then.
        """
        if not self._writers:
            self._desk.seed(rooms.tolist(), seeds)
            return
        self._receive(rooms, everything=True)
        anew = [
            (room, seed)
            for room, seed in zip(rooms.tolist(), seeds, strict=True)
            if seed is not None or not self._ready[room]
        ]
        self._ready[[room for room, _ in anew]] = False
        for k, writer in enumerate(self._writers):
            mine = [pair for pair in anew if pair[0] % len(self._writers) == k]
            if mine:
                with self._alive(writer):
                    writer.connection.send(("seed", [r for r, _ in mine], [s for _, s in mine]))
        self._ask([room for room, _ in anew])

    def take(self, rooms: NDArray[np.integer]) -> Scripts:
        """The next episode of each of these rooms, int (n,).

        Raises:
            RuntimeError: if a writer died; all are ended then.
        """
        if not self._writers:
            return self._desk.write(rooms.tolist())
        self._receive(rooms)
        ahead = self._ahead
        taken = Scripts(ahead.numbers[rooms], ahead.measures[rooms], ahead.lengths[rooms])
        self._ready[rooms] = False
        self._ask(rooms.tolist())
        return taken

    def close(self) -> None:
        """End the processes."""
        self._finalizer()

    def _ask(self, rooms: Sequence[int]) -> None:
        for k, writer in enumerate(self._writers):
            mine = [room for room in rooms if room % len(self._writers) == k]
            if mine:
                with self._alive(writer):
                    writer.connection.send(("write", mine))
                writer.asked.append(mine)

    def _receive(self, rooms: NDArray[np.integer], everything: bool = False) -> None:
        """Read what has come, and wait for these rooms, or for all that was asked for."""
        ahead = self._ahead
        for k, writer in enumerate(self._writers):
            mine = rooms[rooms % len(self._writers) == k]
            with self._alive(writer):
                while writer.asked and (
                    everything or not self._ready[mine].all() or writer.connection.poll()
                ):
                    scripts = writer.connection.recv()
                    written = writer.asked.pop(0)
                    ahead.numbers[written] = scripts.numbers
                    ahead.measures[written] = scripts.measures
                    ahead.lengths[written] = scripts.lengths
                    self._ready[written] = True

    @contextlib.contextmanager
    def _alive(self, writer: _Writer) -> Iterator[None]:
        """Talk to a writer; if it died, end all and say how it did."""
        try:
            yield
        except GONE as error:
            pid, how = writer.process.pid, death(writer.process)
            self.close()
            raise RuntimeError(
                f"a process that draws episodes (pid {pid}) {how}. All were ended."
            ) from error


def serve(connection: Connection) -> None:
    """Do what the parent asks until it says to close, or is gone."""
    try:
        desk = Desk(*connection.recv())
        while True:
            name, *operands = connection.recv()
            if name == "close":
                return
            if name == "seed":
                desk.seed(*operands)
            else:
                connection.send(desk.write(*operands))
    except GONE:
        pass  # the parent is gone, or going


if __name__ == "__main__":
    leave_interrupts_to_parent()
    with Connection(int(sys.argv[1])) as parent:
        serve(parent)
