"""Train an agent on demonstrations. The same command again goes on where the run stopped.

python -m scripts.train --data DEMOS --out RUN --preset cpu --frames 1000000

torchrun --nproc-per-node 2 -m scripts.train --data DEMOS --out RUN --preset gpu
"""

import argparse
import contextlib
import dataclasses
import json
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
import tyro

from agents.batches import Several
from agents.checkpoint import CheckpointError
from agents.config import PRESETS, AgentConfig, TrainingConfig, from_json
from agents.exams import Exam, sit
from agents.interruption import Interrupted
from agents.training import RunOptions, Trainer
from oddoneout.demos.manifest import StorageError
from oddoneout.demos.storage import Dataset
from oddoneout.rules.levels import Settings
from scripts import common


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Train an agent on demonstrations; the same command again goes on where the run stopped."""

    data: tuple[Path, ...]
    """Sets of demonstrations, all used together."""
    out: Path
    """The run's directory."""
    preset: Literal["tiny", "cpu", "gpu"] = "cpu"
    """Size of the agent."""
    agent: str = "{}"
    """Changes to the preset, as JSON: '{"layers": 3}' (see AgentConfig in agents/config.py)."""
    validation: tuple[Path, ...] = ()
    """Held-out sets of demonstrations, of other seeds, measured at every evaluation."""
    verify: bool = True
    """Compare the checksums of all pictures first, which reads them once (1 to 2 GB/s)."""
    max_minutes: float | None = None
    """Budget in minutes; the run ends when this or --frames is spent."""
    evaluate: tuple[str, ...] = ()
    """Environments to act in, each [NAME=]ID[:JSON], and no two of one name."""
    evaluate_frames: int = 0
    """Frames between evaluations; 0 evaluates at the end only."""
    evaluate_episodes: int = 100
    """Episodes of each environment per evaluation."""
    temperature: float = 0.5
    """Of acting during evaluations."""
    passes: int = 1
    """Batches into which each process cuts its share of a step, to save memory."""
    threads: int = 0
    """CPU threads, from 0 up; 0 leaves torch's own choice."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to train."""
    compile: bool = False
    """Compile the encoder."""
    log_seconds: float = 10.0
    """Between lines of progress."""
    save_seconds: float = 60.0
    """Between checkpoints."""
    training: tyro.conf.OmitArgPrefixes[TrainingConfig] = field(default_factory=TrainingConfig)


def summary(data: Dataset) -> dict[str, Any]:
    """What a checkpoint remembers of a set of demonstrations."""
    manifest = data.manifest
    names = ("env_id", "env_args", "policy", "policy_args", "seed", "episodes", "versions")
    values = {name: getattr(manifest, name) for name in names}
    return json.loads(json.dumps({**values, "fingerprint": manifest.fingerprint}))


def check_renderers(sets: Sequence[Dataset]) -> None:
    """Sets of one renderer only; its versions may differ, which is worth a warning.

    Raises:
        UserError: if the images of the sets were drawn by several renderers.
    """
    drawn = {part.manifest.renderer for part in sets}
    if len(drawn) > 1:
        raise common.UserError(
            f"the sets of demonstrations were drawn by different renderers: "
            f"{' and '.join(sorted(drawn))}; train on those of one"
        )
    versions = {part.manifest.versions.get("renderer", "unknown") for part in sets}
    if len(versions) > 1:
        warnings.warn(
            f"the sets of demonstrations were drawn by {len(versions)} versions of the "
            f"{drawn.pop()} renderer: {'; '.join(sorted(versions))}",
            stacklevel=2,
        )


def check_held_out(sets: Sequence[Dataset], held_out: Sequence[Dataset]) -> None:
    """Held-out demonstrations are not those that are learnt from.

    Raises:
        UserError: if any were collected on the same level with the same seed: episode i's rooms
            then are the same, or differ in what the arguments change alone.
    """
    for other in held_out:
        for one in sets:
            level, seed = other.manifest.env_id, other.manifest.seed
            if (one.manifest.env_id, one.manifest.seed) == (level, seed):
                raise common.UserError(
                    f"--validation {other.path} is of the same level and seed ({level}, {seed}) as "
                    f"--data {one.path}, and so of the same rooms: collect it with another --seed"
                )


def agent_config(preset: str, changes: str, sets: Sequence[Dataset]) -> AgentConfig:
    """The preset with changes, for the images that the sets hold.

    Raises:
        UserError: if the changes cannot be made, or the sets disagree.
    """
    sizes = {tuple(part.manifest.image_size) for part in sets}
    if len(sizes) > 1:
        raise common.UserError(f"the sets of demonstrations differ in image size: {sizes}")
    known = [field.name for field in dataclasses.fields(AgentConfig)]
    try:
        values = common.json_object(changes)
        if unknown := sorted(values.keys() - set(known)):
            raise ValueError(f"an agent has no {unknown}; it has {', '.join(known)}")
        if fixed := sorted(values.keys() & {"actions", "vocabulary", "fingerprint"}):
            raise ValueError(f"{', '.join(fixed)} are the demonstrations', and cannot be changed")
        return dataclasses.replace(
            PRESETS[preset], **{"image_size": sizes.pop(), **from_json(values)}
        )
    except (ValueError, TypeError, argparse.ArgumentTypeError) as error:
        raise common.UserError(f"--agent {changes}: {error}") from error


def check_room(exam: Exam, agent: AgentConfig) -> None:
    """An exam's episodes may not outgrow what the agent remembers.

    Raises:
        UserError: if they may; it would come to light after all the training.
    """
    rules = {k: v for k, v in exam.args.items() if k in Settings.__dataclass_fields__}
    level, settings = common.level_of(exam.env, rules)
    most = level.most_steps(settings)
    if most > agent.context:
        raise common.UserError(
            f"--evaluate: an episode of {exam.env} may take {most} steps, and the agent remembers "
            f'{agent.context}: add "context": {most} to --agent, or let it act in fewer experiments'
        )


def check_names(exams: Sequence[Exam]) -> None:
    """No two exams of one name, by which their curves are told apart.

    Raises:
        UserError: if there are.
    """
    names = [exam.name for exam in exams]
    if twice := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        raise common.UserError(
            f"--evaluate: several environments are named {', '.join(map(repr, twice))}: give each "
            "a name of its own, as in NAME=ID"
        )


@contextlib.contextmanager
def refusals(*kinds: type[Exception]) -> Iterator[None]:
    """Errors of these kinds are the user's to mend."""
    try:
        yield
    except kinds as error:
        raise common.UserError(str(error)) from error


def train(args: Arguments) -> None:
    """Carry out one run.

    Raises:
        UserError: for arguments, demonstrations or a run that will not do; if training diverges.
        Interrupted: after a signal, once all is saved.
    """
    with (
        contextlib.ExitStack() as held,
        refusals(StorageError, CheckpointError, FloatingPointError),
    ):
        with refusals(ValueError):  # what training itself raises may be a fault of the program's
            trainer = prepared(args, held)
        held.callback(trainer.ranks.leave)
        trainer.train()


def prepared(args: Arguments, held: contextlib.ExitStack) -> Trainer:
    """The run, checked as far as can be before it begins; its directory is held."""
    if args.threads < 0:
        raise common.UserError(f"--threads must be at least 0, got {args.threads}")
    if args.threads:
        torch.set_num_threads(args.threads)
    sets = [Dataset(path, verify=args.verify) for path in args.data]
    held_out = [Dataset(path, verify=args.verify) for path in args.validation]
    check_renderers([*sets, *held_out])
    check_held_out(sets, held_out)
    agent = agent_config(args.preset, args.agent, [*sets, *held_out])
    exams = [Exam.parse(text) for text in args.evaluate]
    check_names(exams)
    for exam in exams:
        if "image_size" in exam.args:
            raise common.UserError(
                f"--evaluate: {exam.env} is shown in the size that the agent sees, whatever "
                f"image_size says: leave it out, got {exam.args['image_size']!r}"
            )
        common.tried(exam.env, exam.args, "--evaluate")
        check_room(exam, agent)
    if args.evaluate_episodes < 1 or not args.temperature >= 0:  # no number is not either
        raise common.UserError(
            "--evaluate-episodes must be at least 1 and --temperature at least 0, "
            f"got {args.evaluate_episodes} and {args.temperature:g}"
        )
    if args.evaluate_frames and not exams and not held_out:
        raise common.UserError(
            "--evaluate-frames wants something to evaluate by: environments (--evaluate) or "
            "held-out demonstrations (--validation)"
        )
    options = {option.name: getattr(args, option.name) for option in dataclasses.fields(RunOptions)}
    manner = {"episodes": args.evaluate_episodes, "temperature": args.temperature}
    evaluation = partial(sit, exams=exams, **manner)
    if common.place().first:
        held.enter_context(common.alone(args.out, "training"))
    return Trainer(
        args.out,
        Several(sets),
        agent,
        args.training,
        RunOptions(**options),
        summaries=[summary(part) for part in sets],
        validation=Several(held_out) if held_out else None,
        evaluation=evaluation if exams else None,
        judged=json.dumps({"exams": args.evaluate, **manner}),
        say=partial(print, flush=True),
    )


def main() -> None:
    args = tyro.cli(Arguments, prog="python -m scripts.train", description=__doc__)
    try:
        train(args)
    except Interrupted as error:
        # As of any program that a signal ends, so that a scheduler knows to start it again.
        print(error if error.finished else f"{error}; the same command goes on", file=sys.stderr)
        sys.exit(0 if error.finished else 128 + error.signal)


if __name__ == "__main__":
    common.run(main)
