"""The native vector environment: many rooms behind one object, on all cores."""

import mmap
import os
import pickle
import subprocess
import weakref
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, ClassVar, Final

import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from oddoneout.actions import Action
from oddoneout.arguments import (
    observation_space,
    parse_count,
    parse_image_size,
    parse_renderer,
    parse_reset,
    refuse_other_level,
    refuse_unknown,
    refuse_warp,
)
from oddoneout.processes import GONE, death, end, start, usable_cores
from oddoneout.rules.language import INSTRUCTION_WORDS, INSTRUCTIONS, encode
from oddoneout.rules.levels import CATALOGUE, Settings, parse_settings
from oddoneout.snapshot import Snapshot
from oddoneout.vector_worker import STEP, STEPPED, Board, unpack_infos

_TOKENS: Final = np.stack([encode(text, INSTRUCTION_WORDS) for text in INSTRUCTIONS.values()])


def make(
    level: str, num_envs: int = 1, *, renderer: str = "classic", **arguments: Any
) -> VectorEnv[Any, Any, Any]:
    """The vector environment of this renderer: what ``gymnasium.make_vec`` gives.

    Raises:
        ValueError: for an argument that is not allowed; the message names what is.
        ModuleNotFoundError: if what the renderer needs is not installed; the message says what.
    """
    if parse_renderer(renderer) == "classic":
        return OddOneOutVectorEnv(level, num_envs, **arguments)
    try:
        from oddoneout.warp.vector import OddOneOutWarpEnv
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f'renderer="warp" needs {error.name}, which is not installed: '
            'pip install ".[warp]" in a checkout',
            name=error.name,
        ) from error
    return OddOneOutWarpEnv(level, num_envs, **arguments)


@dataclass(frozen=True, slots=True)
class _Worker:
    process: subprocess.Popen[bytes]
    connection: Connection
    first: int
    count: int

    @property
    def rows(self) -> slice:
        return slice(self.first, self.first + self.count)

    def death(self) -> str:
        """How it died, in words."""
        last = self.first + self.count - 1
        name = f"the worker of environments {self.first} to {last} (pid {self.process.pid})"
        return f"{name} {death(self.process)}"


class OddOneOutVectorEnv(VectorEnv[dict[str, NDArray[Any]], NDArray[np.int64], NDArray[Any]]):
    """``num_envs`` environments of one level and one set of arguments, in worker processes.

    Results equal those of as many single environments with the same seeds, byte for byte. An
    episode that ends is followed at once by the next (autoreset SAME_STEP): the returned
    observation is the new episode's first, and ``infos["final_obs"]`` and
    ``infos["final_info"]`` hold the old one's last.

    Workers are processes of their own, so a script needs no ``__main__`` guard. They end with
    ``close()``, with the last reference to this object, and with the process that made it. When
    one dies or fails, or Ctrl-C falls into a call, all are shut down, and an error tells why. A
    fork of that process can neither use them nor keep them running.

    Args:
        level: as for the single environment; so are all arguments not named here.
        num_envs: how many environments.
        workers: processes to share them; None takes one per usable core. Results do not
            depend on it.
        reuse_buffers: return the same image array after every step, overwritten in place,
            instead of a fresh one. Saves a copy; an array kept from an earlier step changes.

    Raises:
        ValueError: for an argument that is not allowed; the message names what is.
    """

    metadata: ClassVar[dict[str, Any]] = {
        "render_modes": ["rgb_array"],
        "render_fps": 6,
        "autoreset_mode": AutoresetMode.SAME_STEP,
    }

    def __init__(
        self,
        level: str,
        num_envs: int = 1,
        *,
        workers: int | None = None,
        reuse_buffers: bool = False,
        **arguments: Any,
    ) -> None:
        self._workers: list[_Worker] = []
        num_envs = parse_count("num_envs", num_envs, least=1)
        workers = usable_cores() if workers is None else parse_count("workers", workers, least=1)
        if not isinstance(level, str) or level not in CATALOGUE:
            raise ValueError(f"level must be one of {', '.join(CATALOGUE)}, got {level!r}")
        if not isinstance(reuse_buffers, bool):
            raise ValueError(f"reuse_buffers must be True or False, got {reuse_buffers!r}")
        self._level = CATALOGUE[level]
        # Checked here, so that a wrong argument is refused before any process is started.
        image_size = parse_image_size(arguments.get("image_size", 64))
        refuse_warp(arguments.get("renderer", "classic"))
        presentation = ("image_size", "render_mode", "renderer")
        known = (*Settings.__dataclass_fields__, *presentation, "workers", "reuse_buffers")
        refuse_unknown(arguments, known)
        parse_settings(self._level, {k: v for k, v in arguments.items() if k not in presentation})
        self.render_mode = arguments.get("render_mode")
        if self.render_mode not in (None, *self.metadata["render_modes"]):
            raise ValueError(
                f"render_mode must be None or 'rgb_array' here, got {self.render_mode!r}"
            )
        self.num_envs = num_envs
        self.single_observation_space = observation_space(image_size)
        self.single_action_space = spaces.Discrete(len(Action))
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._reuse_buffers = reuse_buffers
        self._began = np.zeros(num_envs, np.bool_)
        self._owner = os.getpid()
        self._finalizer = weakref.finalize(self, end, self._workers, self._owner)

        size = Board.size(num_envs, image_size)
        memory_fd = os.memfd_create("oddoneout")
        try:
            os.ftruncate(memory_fd, size)
            self._board = Board.over(mmap.mmap(memory_fd, size), num_envs, image_size)
            shares = np.array_split(np.arange(num_envs), min(num_envs, workers))
            for share in shares:
                self._workers.append(_start(memory_fd, int(share[0]), len(share)))
        except BaseException:
            self.close()
            raise
        finally:
            os.close(memory_fd)
        self._exchange(
            pickle.dumps((num_envs, image_size, worker.first, worker.count, level, arguments))
            for worker in self._workers
        )

    # -- the Gymnasium interface -------------------------------------------------------------

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Begin new episodes: with ``seed``, ``seed + 1``, ..., or with a list of seeds.

        ``options={"reset_mask": bool (N,)}`` resets only some.

        Raises:
            ValueError: for what is no seed, a list of the wrong length, a wrong mask, or other
                options.
        """
        refuse_other_level(self.spec, self._level)
        seeds, mask = parse_reset(seed, options, self._began)
        self._exchange(
            pickle.dumps(("reset", seeds[worker.rows], mask[worker.rows].tolist()))
            for worker in self._workers
        )
        self._began |= mask
        return self._observation(), unpack_infos(self._board.records, mask)

    def step(
        self, actions: NDArray[np.int64]
    ) -> tuple[
        dict[str, NDArray[Any]],
        NDArray[np.float64],
        NDArray[np.bool_],
        NDArray[np.bool_],
        dict[str, Any],
    ]:
        """One action for each environment, int (N,).

        Raises:
            ValueError: if the actions are not N valid ones.
            RuntimeError: before the first reset; and if a worker died or failed: everything
                has been shut down then.
        """
        acts = np.asarray(actions)
        if (
            acts.shape != (self.num_envs,)
            or not np.issubdtype(acts.dtype, np.integer)
            or acts.min() < 0
            or acts.max() >= len(Action)
        ):
            raise ValueError(
                f"actions must be {self.num_envs} integers from 0 to {len(Action) - 1}, "
                f"got {actions!r}"
            )
        self._require_ours()
        self._require_episodes()
        board = self._board
        board.actions[:] = acts
        self._exchange([STEP] * len(self._workers))
        records = board.records
        terminated, truncated = records["terminated"].copy(), records["truncated"].copy()
        infos = unpack_infos(records, np.ones(self.num_envs, np.bool_))
        ended = terminated | truncated
        if ended.any():
            final_obs = np.full(self.num_envs, None, object)
            for i in np.flatnonzero(ended):
                final_obs[i] = {
                    "image": board.final_images[i].copy(),
                    "instruction": _TOKENS[board.final_records["instruction"][i]].copy(),
                }
            infos["final_obs"], infos["_final_obs"] = final_obs, ended.copy()
            infos["final_info"] = unpack_infos(board.final_records, ended)
            infos["_final_info"] = ended
        return self._observation(), records["reward"].copy(), terminated, truncated, infos

    def render(self) -> tuple[NDArray[np.uint8] | None, ...] | None:
        """The presentation view of each environment, in render mode "rgb_array".

        Raises:
            RuntimeError: before the first reset.
        """
        if self.render_mode is None:
            return None
        self._require_episodes()
        return tuple(self._ask("render"))

    def snapshots(self) -> tuple[Snapshot, ...]:
        """The privileged view of each environment; for experts and analysis only.

        Raises:
            RuntimeError: before the first reset.
        """
        self._require_episodes()
        return tuple(self._ask("snapshots"))

    def close_extras(self, **kwargs: Any) -> None:
        """End the workers; one that does not end in time is killed."""
        self._finalizer()

    # -- inside ------------------------------------------------------------------------------

    def _require_ours(self) -> None:
        if self.closed:
            raise RuntimeError("the vector environment is closed")
        if os.getpid() != self._owner:
            raise RuntimeError(
                "this vector environment belongs to the process that made it "
                f"({self._owner}); a fork ({os.getpid()}) has to make its own"
            )

    def _require_episodes(self) -> None:
        if not self._began.all():
            raise RuntimeError("the episodes never began; call reset() first")

    def _observation(self) -> dict[str, NDArray[Any]]:
        images = self._board.images
        return {
            "image": images if self._reuse_buffers else images.copy(),
            "instruction": _TOKENS[self._board.records["instruction"]],
        }

    def _ask(self, name: str) -> list[Any]:
        answers = self._exchange([pickle.dumps((name,))] * len(self._workers))
        return [item for answer in answers for item in answer]

    def _exchange(self, messages: Iterable[bytes]) -> list[Any]:
        """Send every worker its message; their answers, in order. A failure ends them all."""
        self._require_ours()
        answers = []
        worker = self._workers[0]
        try:
            for worker, message in zip(self._workers, messages, strict=True):
                worker.connection.send_bytes(message)
            for worker in self._workers:
                message = worker.connection.recv_bytes()
                status, answer = ("done", None) if message == STEPPED else pickle.loads(message)
                if status == "failed":
                    raise RuntimeError(f"a worker of the vector environment failed:\n{answer}")
                answers.append(answer)
        except GONE:
            try:
                message = f"{worker.death()}. All workers were shut down."
            finally:  # a signal may end the wait for its death
                self.close()
            raise RuntimeError(message) from None
        except BaseException:  # also Ctrl-C: an answer left unread would be taken for the next
            self.close()
            raise
        return answers


def _start(memory_fd: int, first: int, count: int) -> _Worker:
    return _Worker(*start("oddoneout.vector_worker", memory_fd), first, count)
