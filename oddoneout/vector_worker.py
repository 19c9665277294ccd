"""The worker side of the vector environment: several environments in one process.

A worker is started as ``python -m oddoneout.vector_worker`` with two inherited file
descriptors: one end of a socket for commands, and a nameless shared memory for results. So a
user's script needs no ``__main__`` guard, a dead parent ends its workers (the socket closes),
and no shared memory can outlive the processes that use it.
"""

import contextlib
import mmap
import os
import pickle
import select
import struct
import sys
import time
import traceback
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing.connection import Connection
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from oddoneout.processes import GONE, leave_interrupts_to_parent
from oddoneout.rules.attributes import Dimension
from oddoneout.rules.language import INSTRUCTIONS, MAX_WORDS, decode, encode
from oddoneout.rules.trial import Phase

#: One environment's step without its image: reward, flags, and what ``info`` says, as numbers.
RECORD: Final = np.dtype(
    [
        ("reward", np.float64),
        ("terminated", np.bool_),
        ("truncated", np.bool_),
        ("instruction", np.uint8),
        ("phase", np.uint8),
        ("trial", np.uint8),
        ("explanation", f"S{MAX_WORDS}"),  # word ids; trailing zeros are padding to numpy too
        ("chose", np.bool_),
        ("test", np.bool_),
        ("correct", np.bool_),
        ("choice_trial", np.uint8),
        ("odd_in", np.uint8),  # one bit for each dimension
    ]
)
# The same layout: packing all fields at once costs a tenth of writing them by name.
_PACKER: Final = struct.Struct(f"=d??BBB{MAX_WORDS}s???BB")
assert _PACKER.size == RECORD.itemsize

#: The message that asks for a step; the actions lie on the board. Anything else is pickled.
STEP: Final = b"step"
#: The answer to it.
STEPPED: Final = b"stepped"


def _objects(values: Iterable[Any]) -> NDArray[np.object_]:
    """An array of just these objects, tuples included."""
    items = list(values)
    array = np.empty(len(items), object)
    for i, item in enumerate(items):
        array[i] = item
    return array


#: How long a worker stays awake for the next message. A processor that has gone to sleep takes
#: longer to wake up than a vector step of a few rooms takes.
_AWAKE_SECONDS: Final = 1e-3


_BITS: Final = {dimension.value: 1 << i for i, dimension in enumerate(Dimension)}
_INSTRUCTIONS: Final = {text: i for i, text in enumerate(INSTRUCTIONS.values())}
_PHASES: Final = {phase.value: i for i, phase in enumerate(Phase)}
# What the numbers stand for.
_INSTRUCTION_OF: Final = _objects(_INSTRUCTIONS)
_PHASE_OF: Final = _objects(_PHASES)
_ODD_IN_OF: Final = _objects(
    tuple(name for name, bit in _BITS.items() if bits & bit) for bits in range(1 << len(_BITS))
)


@lru_cache(maxsize=65536)
def _words(text: str) -> bytes:
    return bytes(encode(text, MAX_WORDS).tolist())


@lru_cache(maxsize=65536)
def _text(words: bytes) -> str:
    return decode(list(words))


def pack(
    place: memoryview,
    info: Mapping[str, Any],
    reward: float = 0.0,
    terminated: bool = False,
    truncated: bool = False,
) -> None:
    """Write one environment's step into the bytes of its record."""
    choice = info.get("choice")
    _PACKER.pack_into(
        place,
        0,
        reward,
        terminated,
        truncated,
        _INSTRUCTIONS[info["instruction"]],
        _PHASES[info["phase"]],
        info["trial"],
        _words(info["explanation"]),
        choice is not None,
        choice is not None and choice["test"],
        choice is not None and choice["correct"],
        0 if choice is None else choice["trial"],
        0 if choice is None else sum(_BITS[name] for name in choice["odd_in"]),
    )


def unpack_infos(records: NDArray[np.void], mask: NDArray[np.bool_]) -> dict[str, Any]:
    """What the records in ``mask`` say, as Gymnasium lays out the infos of a vector.

    Each key holds an array over all environments (None, 0 or False outside the mask), and the
    key with an underscore the mask. ``choice`` is there only if one of them chose.
    """
    texts = _objects(map(_text, records["explanation"].tolist()))
    infos = _columns(
        mask,
        instruction=_INSTRUCTION_OF[records["instruction"]],
        explanation=texts,
        trial=records["trial"].astype(np.int64),
        phase=_PHASE_OF[records["phase"]],
    )
    chose = records["chose"] & mask
    if chose.any():
        infos["choice"] = _columns(
            chose,
            trial=records["choice_trial"].astype(np.int64),
            test=records["test"],
            correct=records["correct"],
            odd_in=_ODD_IN_OF[records["odd_in"]],
        )
        infos["_choice"] = chose
    return infos


def _columns(mask: NDArray[np.bool_], **columns: NDArray[Any]) -> dict[str, Any]:
    whole = bool(mask.all())
    infos: dict[str, Any] = {}
    for name, values in columns.items():
        blank: Any = None if values.dtype == object else values.dtype.type(0)
        infos[name] = values.copy() if whole else np.where(mask, values, blank)
        infos[f"_{name}"] = mask.copy()
    return infos


@dataclass(frozen=True, slots=True)
class Board:
    """The shared memory, as arrays that all processes see.

    Attributes:
        images, final_images: uint8 (N, H, W, 3): what each environment shows now, and what it
            showed when its last episode ended.
        records, final_records: (N,) of ``RECORD``, likewise.
        actions: uint8 (N,), for the next step.
    """

    images: NDArray[np.uint8]
    records: NDArray[np.void]
    final_images: NDArray[np.uint8]
    final_records: NDArray[np.void]
    actions: NDArray[np.uint8]

    @staticmethod
    def size(num_envs: int, image_size: tuple[int, int]) -> int:
        """Bytes that the board of so many environments takes."""
        return num_envs * (2 * image_size[0] * image_size[1] * 3 + 2 * RECORD.itemsize + 1)

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
            np.ndarray(num_envs, np.uint8, memory, 2 * (pixels + records)),
        )


def _places(records: NDArray[np.void]) -> list[memoryview]:
    """The bytes of each record."""
    rows = records.view(np.uint8).reshape(len(records), RECORD.itemsize)
    return [memoryview(row) for row in rows]  # pyright: ignore[reportArgumentType]


class Group:
    """Environments ``first`` to ``first + count`` of a board, stepped one after another."""

    def __init__(
        self, board: Board, first: int, count: int, level: str, arguments: Mapping[str, Any]
    ) -> None:
        from oddoneout.env import OddOneOutEnv  # here, so that the parent need not load mujoco

        rows = slice(first, first + count)
        self._actions = board.actions[rows]
        self._images, self._final_images = board.images[rows], board.final_images[rows]
        self._places = _places(board.records[rows])
        self._final_places = _places(board.final_records[rows])
        self._envs = [OddOneOutEnv(level, **arguments) for _ in range(count)]

    def reset(self, seeds: Sequence[int | None], mask: Sequence[bool]) -> None:
        """Reset the masked environments, each with its seed."""
        for i, env in enumerate(self._envs):
            if mask[i]:
                observation, info = env.reset(seed=seeds[i])
                self._images[i] = observation["image"]
                pack(self._places[i], info)

    def step(self) -> None:
        """One step each; an episode that ends leaves its last sight and begins anew."""
        for i, (env, action) in enumerate(zip(self._envs, self._actions.tolist(), strict=True)):
            observation, reward, terminated, truncated, info = env.step(action)
            if terminated or truncated:
                self._final_images[i] = observation["image"]
                pack(self._final_places[i], info)
                observation, info = env.reset()
            self._images[i] = observation["image"]
            pack(self._places[i], info, reward, terminated, truncated)

    def render(self) -> list[NDArray[np.uint8] | None]:
        """Each environment's presentation view."""
        return [env.render() for env in self._envs]

    def snapshots(self) -> list[Any]:
        """Each environment's privileged view."""
        return [env.snapshot() for env in self._envs]

    def close(self) -> None:
        for env in self._envs:
            env.close()


class _Listener:
    """Waits a moment for a message without going to sleep, and lets others run meanwhile."""

    def __init__(self, connection: Connection) -> None:
        self._poll = select.poll()
        self._poll.register(connection.fileno(), select.POLLIN)

    def __call__(self) -> None:
        end = time.perf_counter() + _AWAKE_SECONDS
        while not self._poll.poll(0) and time.perf_counter() < end:
            os.sched_yield()


def serve(connection: Connection, memory_fd: int) -> None:
    """Do what the parent asks until it says to close, or is gone."""
    group: Group | None = None
    try:
        num_envs, image_size, first, count, level, arguments = connection.recv()
        memory = mmap.mmap(memory_fd, Board.size(num_envs, image_size))
        board = Board.over(memory, num_envs, image_size)
        group = Group(board, first, count, level, arguments)
        connection.send(("done", None))
        listen = _Listener(connection)
        while True:
            listen()
            message = connection.recv_bytes()
            if message == STEP:
                group.step()
                connection.send_bytes(STEPPED)
                continue
            name, *operands = pickle.loads(message)
            if name == "close":
                break
            connection.send(("done", getattr(group, name)(*operands)))
    except GONE:
        pass  # the parent is gone, or going
    except Exception:
        with contextlib.suppress(OSError):
            connection.send(("failed", traceback.format_exc()))
    finally:
        if group is not None:
            group.close()


if __name__ == "__main__":
    leave_interrupts_to_parent()
    connection_fd, memory_fd = (int(argument) for argument in sys.argv[1:3])
    with Connection(connection_fd) as parent:
        serve(parent, memory_fd)
    os.close(memory_fd)
