"""The worker side of the vector environment: several environments in one process.

A worker is started as ``python -m oddoneout.vector_worker`` with two inherited file
descriptors: one end of a socket for commands, and a nameless shared memory for results. So a
user's script needs no ``__main__`` guard, a dead parent ends its workers (the socket closes),
and no shared memory can outlive the processes that use it.
"""

import mmap
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing.connection import Connection
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from oddoneout.rules.attributes import Dimension
from oddoneout.rules.language import INSTRUCTIONS, MAX_WORDS, decode, encode
from oddoneout.rules.trial import Phase

_INSTRUCTIONS: Final = tuple(INSTRUCTIONS.values())
_PHASES: Final = tuple(Phase)
_DIMENSIONS: Final = tuple(Dimension)

#: One environment's step without its image: what ``info`` says, as numbers.
RECORD: Final = np.dtype(
    [
        ("reward", np.float64),
        ("terminated", np.bool_),
        ("truncated", np.bool_),
        ("instruction", np.uint8),
        ("phase", np.uint8),
        ("trial", np.uint8),
        ("explanation", np.uint8, (MAX_WORDS,)),
        ("chose", np.bool_),
        ("test", np.bool_),
        ("correct", np.bool_),
        ("choice_trial", np.uint8),
        ("odd_in", np.uint8),
    ]
)


@lru_cache(maxsize=65536)
def _words(text: str) -> NDArray[np.uint8]:
    return encode(text, MAX_WORDS).astype(np.uint8)


@lru_cache(maxsize=65536)
def _text(words: bytes) -> str:
    return decode(list(words))


def pack_info(info: Mapping[str, Any], record: np.void) -> None:
    """Write one environment's ``info`` into its record."""
    record["instruction"] = _INSTRUCTIONS.index(info["instruction"])
    record["phase"] = _PHASES.index(info["phase"])
    record["trial"] = info["trial"]
    record["explanation"] = _words(info["explanation"])
    choice = info.get("choice")
    record["chose"] = choice is not None
    if choice is not None:
        record["test"] = choice["test"]
        record["correct"] = choice["correct"]
        record["choice_trial"] = choice["trial"]
        record["odd_in"] = sum(1 << _DIMENSIONS.index(Dimension(d)) for d in choice["odd_in"])


def unpack_info(record: np.void) -> dict[str, Any]:
    """The ``info`` that was packed."""
    info: dict[str, Any] = {
        "instruction": _INSTRUCTIONS[record["instruction"]],
        "explanation": _text(record["explanation"].tobytes()),
        "trial": int(record["trial"]),
        "phase": _PHASES[record["phase"]].value,
    }
    if record["chose"]:
        bits = int(record["odd_in"])
        info["choice"] = {
            "trial": int(record["choice_trial"]),
            "test": bool(record["test"]),
            "correct": bool(record["correct"]),
            "odd_in": tuple(d.value for i, d in enumerate(_DIMENSIONS) if bits >> i & 1),
        }
    return info


@dataclass(frozen=True, slots=True)
class Board:
    """The shared memory, as arrays that all processes see.

    Attributes:
        images, final_images: uint8 (N, H, W, 3): what each environment shows now, and what it
            showed when its last episode ended.
        records, final_records: (N,) of ``RECORD``, likewise.
    """

    images: NDArray[np.uint8]
    records: NDArray[np.void]
    final_images: NDArray[np.uint8]
    final_records: NDArray[np.void]

    @staticmethod
    def size(num_envs: int, image_size: tuple[int, int]) -> int:
        """Bytes that the board of so many environments takes."""
        return 2 * num_envs * (image_size[0] * image_size[1] * 3 + RECORD.itemsize)

    @classmethod
    def over(cls, memory: mmap.mmap, num_envs: int, image_size: tuple[int, int]) -> "Board":
        """The arrays, laid over a mapped memory of ``size`` bytes."""
        shape = (num_envs, *image_size, 3)
        pixels = num_envs * image_size[0] * image_size[1] * 3
        records = num_envs * RECORD.itemsize
        return cls(
            np.ndarray(shape, np.uint8, memory, 0),
            np.ndarray(num_envs, RECORD, memory, 2 * pixels),
            np.ndarray(shape, np.uint8, memory, pixels),
            np.ndarray(num_envs, RECORD, memory, 2 * pixels + records),
        )


class Group:
    """Environments ``first`` to ``first + count`` of a board, stepped one after another."""

    def __init__(
        self, board: Board, first: int, count: int, level: str, arguments: Mapping[str, Any]
    ) -> None:
        from oddoneout.env import OddOneOutEnv  # here, so that the parent need not load mujoco

        self._board = board
        self._first = first
        self._envs = [OddOneOutEnv(level, **arguments) for _ in range(count)]

    def reset(self, seeds: Sequence[int | None], mask: Sequence[bool]) -> None:
        """Reset the masked environments, each with its seed."""
        for i, (env, seed, chosen) in enumerate(zip(self._envs, seeds, mask, strict=True)):
            if chosen:
                observation, info = env.reset(seed=seed)
                record = self._board.records[self._first + i]
                record["reward"], record["terminated"], record["truncated"] = 0.0, False, False
                self._board.images[self._first + i] = observation["image"]
                pack_info(info, record)

    def step(self, actions: Sequence[int]) -> None:
        """One step each; an episode that ends leaves its last sight and begins anew."""
        board = self._board
        for i, (env, action) in enumerate(zip(self._envs, actions, strict=True), self._first):
            observation, reward, terminated, truncated, info = env.step(action)
            record = board.records[i]
            if terminated or truncated:
                board.final_images[i] = observation["image"]
                pack_info(info, board.final_records[i])
                observation, info = env.reset()
            record["reward"] = reward
            record["terminated"] = terminated
            record["truncated"] = truncated
            board.images[i] = observation["image"]
            pack_info(info, record)

    def render(self) -> list[NDArray[np.uint8] | None]:
        """Each environment's presentation view."""
        return [env.render() for env in self._envs]

    def snapshots(self) -> list[Any]:
        """Each environment's privileged view."""
        return [env.snapshot() for env in self._envs]

    def close(self) -> None:
        for env in self._envs:
            env.close()


def serve(connection: Connection, memory_fd: int) -> None:
    """Do what the parent asks until it says to close, or is gone."""
    group: Group | None = None
    try:
        num_envs, image_size, first, count, level, arguments = connection.recv()
        memory = mmap.mmap(memory_fd, Board.size(num_envs, image_size))
        board = Board.over(memory, num_envs, image_size)
        group = Group(board, first, count, level, arguments)
        connection.send(("done", None))
        while True:
            name, *operands = connection.recv()
            if name == "close":
                break
            connection.send(("done", getattr(group, name)(*operands)))
    except (EOFError, BrokenPipeError, ConnectionResetError, KeyboardInterrupt):
        pass  # the parent is gone, or going
    except Exception:
        connection.send(("failed", traceback.format_exc()))
    finally:
        if group is not None:
            group.close()


if __name__ == "__main__":
    connection_fd, memory_fd = (int(argument) for argument in sys.argv[1:3])
    with Connection(connection_fd) as parent:
        serve(parent, memory_fd)
    os.close(memory_fd)
