"""Runs and agents on disk: safetensors for numbers, JSON for everything else, no code.

One checkpoint is one ``.safetensors`` file with its description as JSON in the header. It is
written beside its name and then renamed, so a file that can be seen is whole. A run directory
holds ``last.safetensors`` (all that a run needs to go on), ``final.safetensors`` and, where the
run was evaluated, ``best.safetensors`` (weights only), ``config.json`` and ``metrics.jsonl``.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Final, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from agents.config import AgentConfig, TrainingConfig, from_json
from agents.model import Agent
from oddoneout.actions import Action
from oddoneout.rules import language

#: Raised when the layout changes in a way that older readers would misread.
FORMAT = 1
_HEADER = "oddoneout"
LAST, FINAL, BEST = "last.safetensors", "final.safetensors", "best.safetensors"

C = TypeVar("C")


class CheckpointError(ValueError):
    """A checkpoint that cannot be used; says which file and why."""


@dataclass(frozen=True, slots=True)
class Meta:
    """What a checkpoint says of itself.

    Attributes:
        agent: the agent's shape.
        training: how it was trained.
        demonstrations: one summary per set that it was trained on (level, arguments, seeds).
        state: how far training had come; numbers and strings only.
        vocabulary: the words, in the order of their ids.
        actions: the actions' names, in their order.
    """

    agent: AgentConfig
    training: TrainingConfig
    demonstrations: Sequence[Mapping[str, Any]] = ()
    state: Mapping[str, Any] = field(default_factory=dict)
    vocabulary: tuple[str, ...] = language.VOCABULARY
    actions: tuple[str, ...] = tuple(action.name for action in Action)


def save(path: Path, tensors: Mapping[str, Tensor], meta: Meta) -> None:
    """Write one checkpoint; it appears under ``path`` whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    description = json.dumps({"format": FORMAT, **asdict(meta)})
    try:
        save_file(
            {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()},
            temporary,
            metadata={_HEADER: description},
        )
        temporary.chmod(0o644)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except SafetensorError as error:  # its own word for a disk that is full
        raise OSError(f"{path} could not be written: {error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def sweep(run: Path) -> None:
    """Remove what processes that were killed while they saved have left half-written."""
    for temporary in run.glob(".*.safetensors.*"):
        temporary.unlink(missing_ok=True)


def describe(run: Path, meta: Meta) -> None:
    """Write ``config.json``, for people to read; nothing reads it back."""
    run.mkdir(parents=True, exist_ok=True)
    shown = {k: v for k, v in asdict(meta).items() if k != "state"}
    (run / "config.json").write_text(json.dumps(shown, indent=2) + "\n")


def read(path: Path) -> tuple[dict[str, Tensor], Meta]:
    """The tensors and the description of one checkpoint; nothing in it is executed.

    Raises:
        FileNotFoundError: if there is none.
        CheckpointError: if the file is damaged, foreign or of a newer format.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint at {path}")
    try:
        with safe_open(path, framework="pt") as file:
            header = (file.metadata() or {}).get(_HEADER)
            if header is None:
                raise CheckpointError(f"{path} is not a checkpoint of this package")
            meta = _meta(path, json.loads(header))
            return {name: file.get_tensor(name) for name in file.keys()}, meta  # noqa: SIM118
    except CheckpointError:
        raise
    # What is not there, of another type or out of range, at any depth.
    except (
        SafetensorError,
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        RecursionError,
    ) as error:
        raise CheckpointError(
            f"{path} is damaged, or no checkpoint: {type(error).__name__}: {error}"
        ) from error


def load_agent(path: Path | str, image_size: tuple[int, int] | None = None) -> tuple[Agent, Meta]:
    """An agent ready to act (float32, CPU, evaluation mode), and where it comes from.

    Args:
        path: a checkpoint file, or a run directory (its final checkpoint, else its last).
        image_size: (height, width) that it will be shown, if known.

    Raises:
        FileNotFoundError: if there is no checkpoint.
        CheckpointError: if it is damaged, or of another vocabulary, action set or image size.
    """
    path = _file_of(Path(path))
    tensors, meta = read(path)
    check(path, meta, image_size)
    agent = Agent(meta.agent)
    fill(path, agent, weights(tensors))
    return agent.eval(), meta


def _file_of(path: Path) -> Path:
    """The checkpoint that a run directory stands for; a file stands for itself."""
    if not path.is_dir():
        return path
    found = next((file for name in (FINAL, LAST) if (file := path / name).exists()), None)
    if found is None:
        others = ", ".join(sorted(file.name for file in path.glob("*.safetensors")))
        raise FileNotFoundError(
            f"{path} is no run: it holds neither {FINAL} nor {LAST}"
            + (f"; name one of {others} in it" if others else "")
        )
    return found


def weights(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The agent's own tensors in a checkpoint, under the agent's own names."""
    start = "agent."
    return {k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)}


def fill(path: Path, agent: Agent, values: Mapping[str, Tensor]) -> None:
    """Put weights into an agent.

    Raises:
        CheckpointError: if they do not fit.
    """
    try:
        agent.load_state_dict(values)
    except RuntimeError as error:
        raise CheckpointError(f"{path} does not hold the weights of its agent: {error}") from error


def export_pretrained(
    run: Path | str, file: Path | str, dtype: torch.dtype = torch.float16
) -> Path:
    """A run's agent as one small file: weights at half precision, and the description.

    Args:
        run: a run directory or a checkpoint.
        file: where to write, ending in ``.safetensors``.
        dtype: of the weights on disk; they are float32 again once loaded.
    """
    file = Path(file)
    if file.suffix != ".safetensors":
        raise ValueError(f"a pretrained agent is a .safetensors file, got {file}")
    agent, meta = load_agent(run)
    save(file, {f"agent.{k}": v.to(dtype) for k, v in agent.state_dict().items()}, meta)
    return file


def check(path: Path, meta: Meta, image_size: tuple[int, int] | None = None) -> None:
    """Refuse a checkpoint of another vocabulary, action set or image size.

    Raises:
        CheckpointError: naming the difference.
    """
    _same(path, "words", meta.vocabulary, language.VOCABULARY)
    _same(path, "actions", meta.actions, tuple(action.name for action in Action))
    if image_size is not None and tuple(image_size) != meta.agent.image_size:
        raise CheckpointError(
            f"{path} sees images of {meta.agent.image_size} (height, width), "
            f"not of {tuple(image_size)}"
        )


def check_same_run(path: Path, found: Meta, wanted: Meta) -> None:
    """Refuse to go on with a run of another shape, other settings or other demonstrations.

    Raises:
        CheckpointError: naming the difference.
    """
    for kind in ("agent", "training"):
        old, new = (asdict(getattr(meta, kind)) for meta in (found, wanted))
        changed = [f"{k} was {old[k]!r}, is {new[k]!r}" for k in new if old[k] != new[k]]
        if changed:
            raise CheckpointError(
                f"{path} was begun with other settings: {'; '.join(changed)}. "
                "Give the old settings, or another directory for a new run"
            )
    if json.dumps(found.demonstrations) != json.dumps(wanted.demonstrations):
        raise CheckpointError(
            f"{path} was begun with other demonstrations: {json.dumps(found.demonstrations)}"
        )


def _same(path: Path, what: str, theirs: Sequence[str], ours: Sequence[str]) -> None:
    if tuple(theirs) == tuple(ours):
        return
    missing = [x for x in ours if x not in theirs]
    extra = [x for x in theirs if x not in ours]
    difference = "; ".join(
        f"{name} {', '.join(map(repr, found))}"
        for name, found in (("it lacks", missing), ("it has besides", extra))
        if found
    )
    raise CheckpointError(
        f"{path} knows other {what} than this version: {difference or 'in another order'}"
    )


def _meta(path: Path, values: Mapping[str, Any]) -> Meta:
    if values.get("format") != FORMAT:
        raise CheckpointError(
            f"{path} has format {values.get('format')!r}, this version reads {FORMAT}"
        )
    return Meta(
        agent=_config(path, AgentConfig, {**_BEFORE, **values["agent"]}),
        training=_config(path, TrainingConfig, _today(values["training"])),
        demonstrations=tuple(values["demonstrations"]),
        state=values["state"],
        vocabulary=tuple(values["vocabulary"]),
        actions=tuple(values["actions"]),
    )


#: What earlier versions' agents were, which did not say so.
_BEFORE: Final[Mapping[str, Any]] = {"recollect": False, "compositional": False}


def _today(training: Mapping[str, Any]) -> dict[str, Any]:
    """Earlier versions' training, in today's words."""
    # Before there was a choice, the optimizer was AdamW, and all frames came in episodes.
    values = {"optimizer": "adamw", "glimpses": 0.0, **training}
    if values.pop("frozen_encoder", False):
        values["freeze_at"] = 0.0
    values.pop("recolor", None)  # glimpses in other colors, which there are no more
    return values


def _config(path: Path, kind: type[C], values: Mapping[str, Any]) -> C:
    """A configuration from JSON, where tuples have become lists."""
    known = {f.name for f in fields(kind)}  # type: ignore[arg-type]
    if unknown := sorted(set(values) - known):
        raise CheckpointError(f"{path} has settings unknown to this version: {unknown}")
    return kind(**from_json(values))
