"""Behavioral cloning with explanations: the loop that turns demonstrations into an agent.

Everything drawn while training is a function of the seed and of the place in the data, so a run
that was interrupted goes on as if it had not been: bit for bit on a CPU.
"""

import contextlib
import itertools
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from agents import checkpoint, progress
from agents.allocation import keep_memory
from agents.batch import Batch
from agents.batches import Batches, Demonstrations, Portion, Position, check_length
from agents.config import AgentConfig, TrainingConfig
from agents.counts import counts, measured, named, part
from agents.curriculum import Curriculum, Stage, cost, latest, stage_at
from agents.interruption import Interrupted, Stop
from agents.losses import losses
from agents.model import Agent
from agents.optimization import optimizer, share_of_peak, trained
from agents.precision import autocast
from agents.ranks import Ranks
from agents.renaming import Renaming
from oddoneout.rules import language


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How a run is carried out. None of it changes what is learnt, except `max_minutes` where it is
    the tighter budget; but `passes`, `device` and `compile` round differently (and so does another
    number of threads), and what is drawn while a batch passes, dropout and how the encoder "parts"
    shuffles colors, is drawn differently with other `passes`.

    Attributes:
        max_minutes: of wall clock, over all resumptions; the schedule then ends by the clock.
        log_seconds: between lines of progress.
        save_seconds: between checkpoints; also saved at the end and when interrupted.
        evaluate_frames: frames between evaluations; 0 for at the end only.
        passes: batches into which each process cuts its share, to save memory.
        device: "cpu", "cuda", or "auto".
        compile: let torch compile the encoder.
    """

    max_minutes: float | None = None
    log_seconds: float = 10.0
    save_seconds: float = 60.0
    evaluate_frames: int = 0
    passes: int = 1
    device: str = "auto"
    compile: bool = False

    def __post_init__(self) -> None:
        if self.max_minutes is not None and not self.max_minutes > 0:  # or no number
            raise ValueError(f"max_minutes must be above 0, got {self.max_minutes}")
        for name, least in (
            ("log_seconds", 0), ("save_seconds", 0), ("evaluate_frames", 0), ("passes", 1)
        ):  # fmt: skip
            if not getattr(self, name) >= least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")
        for name in ("evaluate_frames", "passes"):
            if not isinstance(getattr(self, name), int):
                raise ValueError(f"{name} must be an integer, got {getattr(self, name)!r}")


@dataclass(slots=True)
class State:
    """How far a run has come.

    Attributes:
        step: optimizer steps done.
        frames: frames trained on.
        seconds: of wall clock spent.
        stage: of the batch to come.
        position: of that batch, in its stage.
        best: the best score of an evaluation so far; None before the first.
        judged: what that evaluation was, as `Trainer` was told.
        finished: whether the run has reached its end.
    """

    step: int = 0
    frames: int = 0
    seconds: float = 0.0
    stage: Stage = Stage.EPISODES
    position: Position = field(default_factory=Position)
    best: float | None = None
    judged: str = ""
    finished: bool = False

    @classmethod
    def from_json(cls, values: Mapping[str, Any], stage: Stage) -> "State":
        """What was saved; earlier versions had one ``stage`` only and did not name it."""
        stage = Stage(values.get("stage", stage))
        return cls(**{**values, "stage": stage, "position": Position(**values["position"])})


#: Plays the agent: a name to each score, and the one number that the best agent is picked by.
Evaluation = Callable[[Agent], tuple[Mapping[str, float], float]]


class Trainer:
    """One run, in one directory.

    Args:
        run: the directory; a run found there goes on.
        demonstrations: what to learn from.
        agent: the agent's shape.
        training: how to train it.
        options: how to go about it.
        summaries: what to remember of the demonstrations (JSON values).
        evaluation: plays the agent; called by every process, heard from the first one.
        judged: what the evaluation is, where it may differ when a run goes on: which agent was best
            is then asked anew.
        validation: held-out demonstrations, measured at every evaluation.
        on_step: called after every optimizer step; whatever it raises ends the run there.
        say: where lines of progress go.

    Raises:
        CheckpointError: if the run found there is of another shape or other settings.
        ValueError: for settings that contradict each other, or episodes that outgrow the agent's
            context; if values are to be renamed that the encoder does not name.
    """

    def __init__(
        self,
        run: Path,
        demonstrations: Demonstrations,
        agent: AgentConfig,
        training: TrainingConfig,
        options: RunOptions = RunOptions(),
        *,
        summaries: Sequence[Mapping[str, Any]] = (),
        evaluation: Evaluation | None = None,
        judged: str = "",
        validation: Demonstrations | None = None,
        on_step: Callable[["Trainer"], None] | None = None,
        say: Callable[[str], None] = print,
    ) -> None:
        self.run, self.options, self.config = run, options, training
        self.evaluation, self.on_step, self.say = evaluation, on_step, say
        self.ranks = Ranks.join(options.device)
        torch.manual_seed(training.seed)
        _check(agent, training, [demonstrations, *([validation] if validation else [])])
        self.agent = Agent(agent).to(self.ranks.device)
        if training.rename:
            Renaming(self.agent.encoder)  # hours before it is wanted: can it be done?
        if options.compile:
            self.agent.encoder.compile(dynamic=True)
        self.optimizer = optimizer(self.agent, training)
        self.stop = Stop()
        self.state = State(stage=stage_at(training, 0.0))
        self.meta = checkpoint.Meta(agent, training, tuple(summaries))
        if (run / checkpoint.LAST).exists():
            self._restore()
        elif training.start:
            self._begin_from(Path(training.start))
        if self.state.judged != judged:
            self.state.judged, self.state.best = judged, None
        self._enter(self.state.stage)
        self.curriculum = Curriculum(
            demonstrations, self.agent, training, run, self.ranks, options.passes, self.stop, say
        )
        self.validation = validation
        self.means = progress.Means()

    @property
    def done(self) -> float:
        """Share of the budget that is spent, the tighter one if there are two."""
        share = self.state.frames / self.config.frames
        if self.options.max_minutes is not None:
            share = max(share, self.state.seconds / (60.0 * self.options.max_minutes))
        return min(1.0, share)

    def train(self) -> Agent:
        """Train to the end of the budget. On a CPU the process keeps, from then on, memory that it
        frees (`agents.allocation`).

        Returns:
            The trained agent, on the run's device.

        Raises:
            Interrupted: after SIGINT or SIGTERM, once all is saved.
            FloatingPointError: if a loss or a weight is no finite number any more; what was saved
                before stays.
            OSError: if the disk cannot hold what is written.
        """
        if self.state.finished:
            self.say(f"{self.run} is finished: {self.state.frames:,} frames")
            self.curriculum.clean()  # it may have been killed before it could
            return self.agent
        record = None
        if self.state.step == 0:
            self.curriculum.clean()  # features of another encoder, of a run that was never saved
        if self.ranks.first:
            checkpoint.sweep(self.run)
            checkpoint.describe(self.run, self.meta)
            record = progress.Record(self.run, self.state.step, examined=self.done < 1.0)
        if self.ranks.device.type == "cpu":
            keep_memory()
        portions = self._portions()
        try:
            with self.stop.heard(), contextlib.closing(portions):
                self._loop(portions, record)
        finally:
            if record is not None:
                record.close()
        return self.agent

    def _enter(self, stage: Stage) -> None:
        """Train what that stage trains."""
        self.agent.encoder.requires_grad_(stage is not Stage.FEATURES)
        self.agent.memory.learn(stage is not Stage.GLIMPSES)
        self.network: nn.Module = self.agent
        if self.ranks.ranks > 1:
            self.network = nn.parallel.DistributedDataParallel(
                self.agent, gradient_as_bucket_view=True
            )

    def _portions(self) -> Generator[Portion, None, None]:
        """What every step takes, stage after stage."""
        while True:
            stage = self.state.stage
            stream = self.curriculum.stream(stage, self.state.position)
            with contextlib.closing(stream) as portions:
                while self.state.stage is stage:
                    yield next(portions)

    def _loop(self, portions: Iterator[Portion], record: progress.Record | None) -> None:
        self._saved = clock = time.monotonic()
        self._since = (clock, self.state.frames)
        while self.done < 1.0:
            before = self.state.frames
            self._advance(next(portions))
            now = time.monotonic()
            talk = now - self._since[0] > self.options.log_seconds
            seconds, talk, stop = self.ranks.agree(now - clock, talk, bool(self.stop))
            self.state.seconds += seconds
            clock = now
            if talk:
                self._log(record)
            # A budget of minutes that was raised in between does not lead back.
            stage = latest(stage_at(self.config, self.done), self.state.stage)
            if turned := stage is not self.state.stage:
                if self.state.stage is Stage.GLIMPSES:
                    self.state.position = Position()  # features go on among the same episodes
                self.state.stage = stage
                self._enter(stage)
            if self.on_step is not None:
                self.on_step(self)
            every = self.options.evaluate_frames
            due = every > 0 and self.state.frames // every > before // every
            if due and self.done < 1.0:
                self._log(record)
                self._evaluate(record)
            # A stage may begin with minutes of encoding; exams come first, so that none is skipped.
            if stop or due or turned or now - self._saved > self.options.save_seconds:
                self._save(checkpoint.LAST)
            if stop:
                saved = f"stopped and saved at {self.state.frames:,} frames"
                raise Interrupted(saved, self.stop.signal)
        self._log(record)
        self._save(checkpoint.LAST)  # what was learnt stays, whatever becomes of the exams
        self._evaluate(record)
        self.state.finished = True
        self._save(checkpoint.FINAL)
        self._save(checkpoint.LAST)
        self.curriculum.clean()
        if self.ranks.agree(0.0, False, bool(self.stop))[-1]:
            frames = f"{self.state.frames:,} frames"
            raise Interrupted(
                f"stopped, and finished, at {frames}", self.stop.signal, finished=True
            )

    def _advance(self, portion: Portion) -> None:
        """One optimizer step."""
        self.agent.train()
        # What dropout draws at this step does not depend on earlier interruptions.
        torch.manual_seed((self.config.seed * 2**20 + self.state.step) * 64 + self.ranks.rank)
        batches = [b.to(self.ranks.device, non_blocking=True) for b in portion.batches]
        sizes = torch.stack([counts(batch, self.config) for batch in batches])
        sizes[torch.tensor(portion.idle, device=sizes.device)] = 0.0
        whole = self.ranks.total(sizes.sum(0)).clamp_min(1e-6)
        self.optimizer.zero_grad()
        for i, (batch, size) in enumerate(zip(batches, sizes, strict=True)):
            with self._synchronized(i == len(batches) - 1):
                self._descend(batch, size, whole)
        norm = nn.utils.clip_grad_norm_(
            self.agent.parameters(), self.config.grad_clip, foreach=True
        )
        self.means.add({"gradient_norm": norm}, {"gradient_norm": torch.ones(())})
        self.optimizer.step(self._share_of_peak())
        self.state.step += 1
        self.state.frames += portion.frames
        self.state.position = portion.next

    def _share_of_peak(self) -> float:
        frozen = self.state.stage is Stage.FEATURES
        return share_of_peak(self.config, self.state.step, self.done, frozen)

    def _descend(self, batch: Batch, size: Tensor, whole: Tensor) -> None:
        """Add the gradient of one batch's part of the whole loss."""
        with autocast(self.config.precision, self.ranks.device):
            # A single picture leaves nothing to remember.
            outputs = self.network(batch, remember=self.state.stage is not Stage.GLIMPSES)
        found = losses(outputs, batch, self.config)
        # Data parallelism takes the mean over processes of what here must be a sum.
        (part(found, named(size / whole), self.config) * self.ranks.ranks).backward()
        self.means.add(measured(found, outputs), named(size))

    def _synchronized(self, last: bool) -> contextlib.AbstractContextManager[None]:
        """Processes exchange gradients once per step, on its last pass."""
        if last or not isinstance(self.network, nn.parallel.DistributedDataParallel):
            return contextlib.nullcontext()
        return self.network.no_sync()

    def _log(self, record: progress.Record | None) -> None:
        began, frames = self._since
        self._since = (time.monotonic(), self.state.frames)
        values = self.means.take(self.ranks.total)
        if not all(np.isfinite(value) for value in values.values()):
            raise FloatingPointError(f"training diverged at step {self.state.step}: {values}")
        if record is None or self.state.frames == frames:
            return
        seconds = self._since[0] - began
        rate = (self.state.frames - frames) / seconds
        before, now, whole = (
            cost(self.config, at / self.config.frames)
            for at in (frames, self.state.frames, self.config.frames)
        )
        left = (whole - now) / (now - before) * seconds
        if self.options.max_minutes is not None:
            left = min(left, 60.0 * self.options.max_minutes - self.state.seconds)
        values |= {
            "frames_per_second": rate,
            "learning_rate": self.config.lr * self._share_of_peak(),
        }
        record.write("train", self.state.step, self.state.frames, values)
        self.say(progress.line(self.state.step, self.state.frames, self.done, rate, left, values))

    def _evaluate(self, record: progress.Record | None) -> None:
        """Measure held-out demonstrations, and let the agent act."""
        self.agent.eval()
        if self.validation is not None and record is not None:
            values = measure(
                self.agent,
                self.validation,
                self.config,
                self.ranks.device,
                apart=self.curriculum.apart,
            )
            record.write("validation", self.state.step, self.state.frames, values)
            self.say("held out: " + _listed(values))
        if self.evaluation is not None:
            values, score = self.evaluation(self.agent)
            if record is not None:
                record.write("active", self.state.step, self.state.frames, values)
                self.say("acting: " + _listed(values))
            if self.state.best is None or score >= self.state.best:
                self.state.best = score
                self._save(checkpoint.BEST)
        self.ranks.wait()
        self._since = (time.monotonic(), self.state.frames)

    def _save(self, name: str) -> None:
        """The whole run as `last`, or just the agent under another name."""
        if not self.ranks.first:
            return
        if not all(bool(torch.isfinite(p).all()) for p in self.agent.parameters()):
            raise FloatingPointError(
                f"training diverged by step {self.state.step}: weights are not finite; "
                f"{self.run} keeps what was saved before"
            )
        tensors = {f"agent.{k}": v for k, v in self.agent.state_dict().items()}
        if name == checkpoint.LAST:
            for parameter_name, parameter in trained(self.agent).items():
                for k, v in self.optimizer.state(parameter).items():
                    tensors[f"optimizer.{k}.{parameter_name}"] = v
            self._saved = time.monotonic()
        checkpoint.save(self.run / name, tensors, replace(self.meta, state=asdict(self.state)))

    def _begin_from(self, path: Path) -> None:
        """Take over another run's weights, and nothing else of it."""
        other, meta = checkpoint.load_agent(path)
        theirs, ours = asdict(meta.agent), asdict(self.meta.agent)
        free = {"dropout", "bleach", "recollect", "trial_memory", "context"}
        free |= {"forget_transformed", "forget_vain"}
        free |= {of for of in ("layers", "deed_layers") if theirs[of] <= ours[of]}
        differences = [
            f"{name} {theirs[name]!r} instead of {ours[name]!r}"
            for name in ours
            if theirs[name] != ours[name] and name not in free
        ]
        if differences:
            raise checkpoint.CheckpointError(
                f"{path} holds an agent of another shape: {'; '.join(differences)}"
            )
        # Layers that the other lacks begin as the identity: at first nothing changes.
        weights = self.agent.state_dict()
        known = {name: value for name, value in other.state_dict().items() if name in weights}
        checkpoint.fill(path, self.agent, {**weights, **known})

    def _restore(self) -> None:
        path = self.run / checkpoint.LAST
        tensors, meta = checkpoint.read(path)
        checkpoint.check(path, meta)
        checkpoint.check_same_run(path, meta, self.meta)
        checkpoint.fill(path, self.agent, checkpoint.weights(tensors))
        remembered: dict[str, dict[str, Tensor]] = {}
        for key, value in tensors.items():
            kind, _, rest = key.partition(".")
            if kind == "optimizer":
                what, _, name = rest.partition(".")
                remembered.setdefault(name, {})[what] = value
        for name, parameter in trained(self.agent).items():
            self.optimizer.restore(parameter, remembered.get(name, {}))
        try:
            self.state = State.from_json(meta.state, self.state.stage)
        except (TypeError, ValueError, KeyError) as error:
            raise checkpoint.CheckpointError(
                f"{path} says what is unknown to this version of how far it came: {error}"
            ) from error
        self.say(f"going on with {self.run} at {self.state.frames:,} frames")


def _check(
    agent: AgentConfig, training: TrainingConfig, demonstrations: Sequence[Demonstrations]
) -> None:
    """What would otherwise come to light hours later, or never."""
    if training.freeze_at < 1.0 and agent.reconstruct:
        raise ValueError("an agent that redraws pictures needs them: freeze_at must be 1")
    if training.shift >= min(agent.image_size):
        raise ValueError(
            f"shift moves pictures by up to {training.shift} pixels, and they have a side of "
            f"{min(agent.image_size)}: it must be less"
        )
    for name, least in (
        ("sentence_words", language.MAX_WORDS), ("instruction_words", language.INSTRUCTION_WORDS)
    ):  # fmt: skip
        if getattr(agent, name) < least:
            raise ValueError(
                f"{name} must be at least {least}, as some sentences are as long, got "
                f"{getattr(agent, name)}"
            )
    if training.lapse and not agent.forget_transformed:
        raise ValueError("lapse is for an agent that can forget: set forget_transformed of it")
    check_length(max(int(np.max(part.lengths)) for part in demonstrations), agent)


@torch.no_grad()
def measure(
    agent: Agent,
    demonstrations: Demonstrations,
    config: TrainingConfig,
    device: torch.device | str = "cpu",
    most: int = 64,
    apart: Tensor | None = None,
) -> dict[str, float]:
    """Losses and accuracies on demonstrations, unchanged, over at most that many batches.

    Args:
        agent: in evaluation mode; else its dropout would count.
        demonstrations: what it is measured by.
        config: weights, precision and batches; nothing is shifted or mirrored.
        device: the agent's.
        most: batches.
        apart: which words training leaves open (see `agents.unmet`), with `leave_open`.

    Returns:
        The means of `Losses` that say something, by name.
    """
    plain = replace(config, shift=0, mirror=0.0, lapse=0.0, seed=0)
    batches = Batches(demonstrations, agent.config, plain, apart=apart)
    means = progress.Means()
    for portion in itertools.islice(batches.stream(), min(most, len(batches.order.epoch(0)))):
        batch = portion.batches[0].to(device)
        size = named(counts(batch, config))
        with autocast(config.precision, torch.device(device)):
            outputs = agent(batch)
        found = losses(outputs, batch, config)
        means.add(measured(found, outputs), size)
    return means.take()


def _listed(values: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.3f}" for name, value in values.items())
