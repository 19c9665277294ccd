"""The trainer's whole loop against the bare model: what loading and optimizing cost."""

import importlib.util
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from oddoneout.demos.collection import Recipe, all_expert_options, make_shard
from oddoneout.demos.manifest import write_manifest
from oddoneout.demos.storage import Dataset
from scripts import common
from scripts.benchmarks.rates import Effort, median, ratio

if TYPE_CHECKING:
    from agents.batches import Portion
    from agents.training import Trainer

#: What optimizing costs is paid once a step: long episodes make large batches, short ones small.
LEVELS: Final = ("OddOneOut/Confounded-v0", "OddOneOut/Intervention-v0")
EPISODES: Final = 192
_PACKAGES: Final = ("torch", "torchvision", "safetensors")
_AHEAD: Final = 3  # batches that the loader makes while the bare model is measured
_STEPS: Final = 8  # of a round, at least: single steps differ by a third


def training(
    effort: Effort, preset: str, device: Literal["auto", "cpu", "cuda"]
) -> list[dict[str, Any]]:
    """A row of figures for each of `LEVELS`; nothing where packages are missing."""
    if not all(map(importlib.util.find_spec, _PACKAGES)):
        return []
    return [_training(effort, preset, device, level) for level in LEVELS]


def _training(
    effort: Effort, preset: str, device: Literal["auto", "cpu", "cuda"], level: str
) -> dict[str, Any]:
    """Frames per second of training and of forward and backward alone, in turns.

    In every round the real trainer takes steps: it reads demonstrations from the disk, collates,
    augments, goes forward and backward, clips and optimizes. Then it is held up while the same
    model goes forward and backward on the very same batches, already on the device.
    """
    from agents.config import PRESETS, TrainingConfig
    from agents.training import RunOptions, Trainer

    with tempfile.TemporaryDirectory() as folder:
        demonstrations = _collect(Path(folder) / "demos", level)
        rounds = _Rounds(effort)
        trainer = Trainer(
            Path(folder) / "run",
            demonstrations,
            PRESETS[preset],
            TrainingConfig(frames=10**12, glimpses=0.0),
            RunOptions(log_seconds=1e9, save_seconds=1e9, device=device),
            on_step=rounds,
        )
        try:
            trainer.train()
        except _EnoughError:
            pass
        finally:
            trainer.ranks.leave()
    return {
        "preset": preset,
        "level": level,
        "frames_per_step": median(rounds.step),
        "device": str(trainer.ranks.device),
        "frames_per_second": median(rounds.whole),
        "bare_frames_per_second": median(rounds.bare),
        "bare_ratio": ratio(rounds.whole, rounds.bare),
    }


def training_table(rows: list[dict[str, Any]]) -> str:
    if not rows:
        return 'training left out: pip install -e ".[agents]"'
    return common.table(
        ("training", "agent", "device", "frames a step", "frames/s", "bare model/s", "share"),
        [
            (
                row["level"],
                row["preset"],
                row["device"],
                f"{row['frames_per_step']:,.0f}",
                f"{row['frames_per_second']:,.0f}",
                f"{row['bare_frames_per_second']:,.0f}",
                f"{row['bare_ratio']:.2f}",
            )
            for row in rows
        ],
    )


def _collect(root: Path, level: str) -> Dataset:
    """A small set of an expert's episodes."""
    recipe = Recipe(
        level, EPISODES, seed=0, policy_args=all_expert_options({}), shard_episodes=EPISODES
    )
    with closing(recipe.make_env()) as env:
        manifest = recipe.manifest(env)
    write_manifest(root, manifest)
    make_shard(root, manifest, 0, recipe.make_policy(recipe.policy_args), recipe.make_env)
    return Dataset(root, verify=False)


class _EnoughError(Exception):
    """All rounds are measured."""


class _Rounds:
    """Called by the trainer after every step: times the steps, and now and then the bare model."""

    def __init__(self, effort: Effort) -> None:
        self.step: list[float] = []
        self.whole: list[float] = []
        self.bare: list[float] = []
        self._effort = effort
        self._skip = 2 * _AHEAD  # the first steps warm up

    def __call__(self, trainer: "Trainer") -> None:
        if self._skip:
            self._skip -= 1
            if not self._skip:
                self._begin(trainer)
            return
        seconds = _now(trainer) - self._start
        frames, steps = trainer.state.frames - self._frames, trainer.state.step - self._step
        if seconds < self._effort.seconds or steps < _STEPS:
            return
        self.step.append(frames / steps)
        self.whole.append(frames / seconds)
        episodes = trainer.curriculum.episodes
        order = episodes.order.walk(self._position)
        portions = [episodes.portion(*next(order)) for _ in range(steps)]
        self.bare.append(frames / _bare(trainer, portions))
        if len(self.bare) == self._effort.rounds:
            raise _EnoughError
        self._skip = _AHEAD

    def _begin(self, trainer: "Trainer") -> None:
        state = trainer.state
        self._frames, self._step, self._position = state.frames, state.step, state.position
        self._start = _now(trainer)


def _bare(trainer: "Trainer", portions: "list[Portion]") -> float:
    """Seconds of forward and backward on those batches, loaded before."""
    from agents.losses import losses
    from agents.precision import autocast

    device = trainer.ranks.device
    batches = [batch.to(device) for portion in portions for batch in portion.batches]
    start = _now(trainer)
    for batch in batches:
        trainer.optimizer.zero_grad()
        with autocast(trainer.config.precision, device):
            outputs = trainer.network(batch)
        losses(outputs, batch, trainer.config).total.backward()
    return _now(trainer) - start


def _now(trainer: "Trainer") -> float:
    """Seconds, once the device has done all that it was asked to."""
    if trainer.ranks.device.type == "cuda":
        import torch

        torch.cuda.synchronize()
    return time.perf_counter()
