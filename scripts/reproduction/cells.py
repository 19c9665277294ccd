"""Running one cell: train, examine, keep. What is finished is kept, whatever happens next."""

import dataclasses
import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Final

import gymnasium
import torch
from gymnasium.utils.seeding import np_random

import oddoneout  # noqa: F401  (registers the ids)
from agents import checkpoint, progress
from agents.actor import AgentPolicy
from agents.batches import Demonstrations, Several
from agents.curriculum import cost
from agents.exams import Exam, sit
from agents.training import RunOptions, Trainer
from oddoneout.actions import TRANSFORMS, Action
from oddoneout.baselines import RandomObjectPolicy, RandomPolicy
from oddoneout.demos.collection import Progress as Collected
from oddoneout.demos.collection import Recipe, all_expert_options, collect
from oddoneout.demos.manifest import StorageError
from oddoneout.demos.rollout import Policy, Step, rollout
from oddoneout.demos.storage import Dataset
from oddoneout.demos.trajectory import Trajectory
from oddoneout.episode import sample_episode
from oddoneout.evaluation import EpisodeScore, Transcript, spoken
from oddoneout.expert import ExpertPolicy
from oddoneout.processes import holding
from oddoneout.rules.attributes import Dimension
from oddoneout.rules.splits import Stream, episode_seed
from oddoneout.rules.trial import Phase
from scripts import common
from scripts.reproduction.plan import Cell, DemoSet, Room
from scripts.reproduction.records import encode, record
from scripts.reproduction.slots import RepeatSlotPolicy

_SLOTS = 16  # episodes side by side in an exam
_TRIAL_COST = 60.0  # of an exam, in frames whose pictures are trained on (measured)


@dataclass(frozen=True, slots=True)
class Places:
    """Where things lie.

    Attributes:
        out: results to keep: small files.
        work: demonstrations and checkpoints: large, and only needed to go on.
    """

    out: Path
    work: Path

    def finished(self, cell: Cell) -> Path:
        return self.out / "cells" / f"{cell.name}.json"

    def again(self, cell: Cell, seed: int | str) -> Path:
        return self.out / "again" / f"{cell.name}-{seed}.json"

    def demos(self, demos: DemoSet) -> Path:
        return self.work / "demos" / demos.name

    def costs(self, demos: DemoSet) -> Path:
        return self.out / "demos" / f"{demos.name}.json"

    def spent(self, demos: DemoSet) -> Path:
        """What the set has cost, beside it: whoever takes it up copies that."""
        return self.work / "demos" / f"{demos.name}.cost.json"

    def run(self, cell: Cell) -> Path:
        return self.work / "runs" / f"{cell.name}-{cell.digest}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What did the work."""

    name: str
    cores: int

    @classmethod
    def this(cls, device: torch.device | None = None) -> "Machine":
        """This machine, with the GPU if ``device`` is one."""
        name = common.processor()
        if device is not None and device.type == "cuda":
            name = f"{torch.cuda.get_device_name(device)}, {name}"
        return cls(name=name, cores=os.cpu_count() or 1)


#: Hundreds of episodes' codes stand in each: every column of them counts.
write_json: Final = partial(common.write_json, indent=1)


def read_json(path: Path) -> Any:
    """The file's value; None if there is none, or it does not hold JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return None


def load_finished(cell: Cell, places: Places) -> dict[str, Any] | None:
    """The cell's results, if it is finished.

    Raises:
        ValueError: if the file found there was made with another plan, or in rooms as they are
            no longer, or lacks exams.
    """
    path = places.finished(cell)
    found = read_json(path)
    if found is None:
        return None
    if not isinstance(found, dict) or "digest" not in found:
        raise ValueError(f"{path} holds no cell's results: delete it to make it again")
    if found["digest"] != cell.digest:
        raise ValueError(
            f"{path} was made with other sizes or another plan: use the sizes it was made with, "
            "another --out, or delete it to make it again"
        )
    if "rooms" in found and found["rooms"] != _rooms(cell):
        raise ValueError(
            f"{path} was made when the same seeds gave other rooms: use another --out, or delete "
            "it to make it again"
        )
    held = {name: len(exam["episodes"]) for name, exam in found.get("exams", {}).items()}
    if held != (planned := {room.name: cell.episodes for room in cell.rooms}):
        raise ValueError(
            f"{path} is damaged: its exams hold {held} episodes, where {planned} were planned; "
            "delete it to make it again"
        )
    return found


def _rooms(cell: Cell) -> dict[str, str]:
    """Digests of the first rooms of its exams and demonstrations: a plan does not tell what they
    look like."""
    wanted = {f"exam {room.name}": (room.env, room.args) for room in cell.rooms}
    wanted |= {f"demonstrations {d.label}": (d.env, d.env_args) for d in cell.sets}
    return {name: _digest_of_rooms(env, _plain(args)) for name, (env, args) in wanted.items()}


@lru_cache(maxsize=256)
def _digest_of_rooms(env: str, args: str) -> str:
    level, settings = common.level_of(env, json.loads(args))
    stories = (sample_episode(level, settings, np_random(seed)[0]).story for seed in range(3))
    return hashlib.sha256("\n".join(stories).encode()).hexdigest()[:16]


def load_again(cell: Cell, places: Places) -> list[dict[str, Any]]:
    """What the finished cell's agent reached in rooms of other seeds; of this plan only.

    Raises:
        ValueError: if a file found there holds no such results.
    """
    anywhere = places.again(cell, "*")
    found = []
    for path in sorted(anywhere.parent.glob(anywhere.name)):
        values = read_json(path)
        if not isinstance(values, dict) or not {"digest", "exams"} <= values.keys():
            raise ValueError(f"{path} holds no cell's results: delete it, and see --again")
        if values["digest"] == cell.digest:
            found.append(values)
    return found


def collect_set(
    demos: DemoSet, places: Places, workers: int, report: Callable[[Collected], None]
) -> None:
    """Collect one set of demonstrations, or what an interrupted collection lacks of it."""
    costs = {"core_seconds": 0.0}
    if places.demos(demos).exists():  # else what was collected before has been discarded
        costs |= read_json(places.spent(demos)) or {}
    recipe = Recipe(
        env_id=demos.env,
        env_args=demos.env_args,
        episodes=demos.episodes,
        seed=demos.seed,
        policy_args=all_expert_options(demos.expert_args),
    )
    busy = min(workers, -(-recipe.episodes // recipe.shard_episodes))  # no more than shards
    began = time.monotonic()
    try:
        collect(places.demos(demos), recipe, workers, report)
    finally:
        spent = costs["core_seconds"] + busy * (time.monotonic() - began)
        costs["core_seconds"] = round(spent, 1)
        write_json(places.spent(demos), costs)
    write_json(places.spent(demos), {**costs, **asdict(Machine.this())})


def collected(demos: DemoSet, places: Places) -> bool:
    """Whether the set is there, whole."""
    try:
        Dataset(places.demos(demos), verify=False)
    except (StorageError, OSError):
        return False
    return True


def take_up(demos: DemoSet, places: Places) -> None:
    """Check that a whole set is the one that was planned, and note what it holds.

    Raises:
        ValueError: if other demonstrations lie in its place.
    """
    path = places.demos(demos)
    stored = Dataset(path, verify=False)
    found = stored.manifest
    # Options that there were not yet when it was collected were not used.
    did = {**all_expert_options({}), **found.policy_args}
    held = (found.env_id, found.env_args, found.seed, found.episodes, did)
    options = all_expert_options(demos.expert_args)
    wanted = (demos.env, demos.env_args, demos.seed, demos.episodes, options)
    if _plain(held) != _plain(wanted):
        raise ValueError(
            f"{path} holds other demonstrations, {_plain(held)}, than those planned, "
            f"{_plain(wanted)}: delete it, or use another --work"
        )
    holds = {"episodes": len(stored), "frames": int(stored.starts[-1])}
    known = [read_json(path) or {} for path in (places.costs(demos), places.spent(demos))]
    write_json(places.costs(demos), {**known[0], **known[1], **holds})


def _plain(values: Any) -> str:
    return json.dumps(values, sort_keys=True, default=dict)


class Hearing:
    """Demonstrations of which only one kind of sentence is heard."""

    def __init__(self, heard: Demonstrations, kind: str) -> None:
        self._heard, self._outcomes = heard, kind == "outcome"
        self.lengths = heard.lengths

    def __len__(self) -> int:
        return len(self._heard)

    def episode(self, index: int, /) -> Trajectory:
        whole = self._heard.episode(index)
        told = whole.told
        kept = tuple(
            text if bool(explaining) == self._outcomes else ""
            for text, explaining in zip(told.explanations, told.explaining, strict=True)
        )
        return dataclasses.replace(whole, told=dataclasses.replace(told, explanations=kept))


def training_work(cell: Cell) -> float:
    """How much there is to train, in frames whose pictures go through the encoder."""
    return cost(cell.training, 1.0) if cell.training else 0.0


def work(cell: Cell) -> float:
    """How much a cell is to do, training and exams, in the same frames."""
    levels = (common.level_of(room.env, room.args) for room in cell.rooms)
    trials = sum(level.most_trials(settings) for level, settings in levels)
    return training_work(cell) + _TRIAL_COST * cell.episodes * trials


def run_cell(
    cell: Cell,
    places: Places,
    device: str = "auto",
    report: Callable[[float], None] = lambda done: None,
    say: Callable[[str], None] = print,
) -> None:
    """Carry out one cell, or what an interrupted run of it lacks, and keep its results.

    Args:
        cell: what to do; its demonstrations are there.
        places: where things lie.
        device: where to train, "cpu", "cuda" or "auto".
        report: called with the share of the cell that is done.
        say: where lines of progress go.

    Raises:
        agents.interruption.Interrupted: after SIGINT or SIGTERM, once all is saved.
    """
    run = places.run(cell)
    run.mkdir(parents=True, exist_ok=True)
    with holding(run):
        code = common.code_version()  # now: the checkout may change while this trains
        codes = _noted(run / "code.json", code)
        cost: dict[str, Any] = {}
        curve: list[dict[str, float]] = []
        machine = Machine.this()
        if cell.training is None:
            report(0.0)  # nothing was done by an earlier run
            policy = baseline(cell.arm)
        else:
            trainer = _trainer(cell, places, device, report, say)
            agent = trainer.train().eval()
            policy = AgentPolicy(agent, cell.temperature)
            cost = {"frames": trainer.state.frames, "minutes": trainer.state.seconds / 60.0}
            curve = _curve(run / "metrics.jsonl")
            machine = Machine.this(trainer.ranks.device)
        exams = {}
        made_by = {"code": code, "weights": _weights(run)}
        trained = training_work(cell) / work(cell)
        for i, room in enumerate(cell.rooms):
            path = run / f"exam-{room.name}.json"
            exam = read_json(path)
            if not isinstance(exam, dict) or exam.get("made_by") != made_by:
                exam = examine(policy, room, cell.episodes, cell.seed)
                write_json(path, {**exam, "made_by": made_by})
            exams[room.name] = {k: v for k, v in exam.items() if k != "made_by"}
            report(1.0 - (1.0 - trained) * (len(cell.rooms) - i - 1) / len(cell.rooms))
        results = {
            "name": cell.name,
            "digest": cell.digest,
            "plan": cell.plan,
            "made_by": {**made_by, "code": codes},
            "sets": [demos.name for demos in cell.sets],
            "rooms": _rooms(cell),
            "cost": cost,
            "machine": asdict(machine),
            "exams": exams,
            "curve": curve,
        }
        write_json(places.finished(cell), results)


def examine_again(cell: Cell, places: Places, seed: int) -> Path:
    """Examine a finished cell's agent in rooms of another seed, and keep what was found; what the
    same code found of the same agent stays.

    For agents by whose exams something was chosen since: of a method that was changed until these
    went well, they say too much.

    Raises:
        FileNotFoundError: if the agent is not there any more.
        ValueError: if another agent is there than the one that the cell's results are of.
    """
    run, path = places.run(cell), places.again(cell, seed)
    weights = _weights(run)
    if weights is None:
        raise FileNotFoundError(f"{run} holds no finished agent")
    finished = load_finished(cell, places) or {}
    if finished.get("made_by", {}).get("weights", weights) != weights:
        raise ValueError(f"{run} holds another agent than {places.finished(cell)} tells of")
    made_by = {"code": [common.code_version()], "weights": weights}
    before = read_json(path)
    kept = before if isinstance(before, dict) else {}
    if (kept.get("digest"), kept.get("made_by")) == (cell.digest, made_by):
        return path
    agent, _ = checkpoint.load_agent(run)
    policy = AgentPolicy(agent, cell.temperature)
    exams = {room.name: examine(policy, room, cell.episodes, seed) for room in cell.rooms}
    found = {"name": cell.name, "digest": cell.digest, "plan": cell.plan, "made_by": made_by}
    write_json(path, {**found, "exams": exams})
    return path


def _weights(run: Path) -> str | None:
    """Digest of the finished agent's file; None where nothing was trained."""
    path = run / checkpoint.FINAL
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16] if path.exists() else None


def _noted(path: Path, code: str) -> list[str]:
    """Which code has worked on a run so far, this one included."""
    codes: list[str] = [*(read_json(path) or []), code]
    codes = list(dict.fromkeys(codes))
    write_json(path, codes)
    return codes


def baseline(name: str) -> Policy:
    """A policy that needs no training.

    Raises:
        KeyError: if there is none of that name.
    """
    return {
        "expert": ExpertPolicy,
        "random": RandomPolicy,
        "random_object": RandomObjectPolicy,
        "repeat_slot": RepeatSlotPolicy,
    }[name]()


def _trainer(
    cell: Cell,
    places: Places,
    device: str,
    report: Callable[[float], None],
    say: Callable[[str], None],
) -> Trainer:
    config = cell.training
    assert config is not None
    whole = work(cell)
    parts: list[Demonstrations] = []
    for demos in cell.sets:
        stored = Dataset(places.demos(demos), verify=False)
        parts.append(stored if cell.hears == "all" else Hearing(stored, cell.hears))

    def evaluation(agent: Any) -> tuple[Mapping[str, float], float]:
        exams = [Exam(room.env, room.args, room.name) for room in cell.rooms]
        return sit(agent, exams, episodes=cell.curve_episodes, temperature=cell.temperature)

    return Trainer(
        places.run(cell),
        Several(parts),
        cell.agent_config,
        config,
        RunOptions(evaluate_frames=config.frames // max(1, cell.curve_points), device=device),
        evaluation=evaluation,
        on_step=lambda trainer: report(cost(config, trainer.done) / whole),
        say=say,
    )


def examine(policy: Policy, room: Room, episodes: int, seed: int = 0) -> dict[str, Any]:
    """Play a room's test episodes; what is needed of them, as JSON values.

    Args:
        policy: plays.
        room: where.
        episodes: how many.
        seed: names them, within the seeds that are kept for tests.

    Returns:
        "episodes" (see ``records``), mean "steps", and "says": for each kind of sentence, how
        well the policy says it (see ``oddoneout.evaluation.Scores``).
    """
    transforms: dict[int, list[tuple[int, Dimension]]] = {}
    transcript = Transcript()

    def listen(step: Step) -> None:
        transcript.listen(step)
        if (action := Action(step.decision.action)) in TRANSFORMS:
            now = step.moment.snapshot()
            acted = now.phase is Phase.SEARCH  # afterwards, actions do nothing
            if acted and now.focus is not None and now.transforms_left:
                done = transforms.setdefault(step.seed, [])
                done.append((now.trial, TRANSFORMS[action]))

    def make_env() -> gymnasium.Env:
        return gymnasium.make(room.env, disable_env_checker=True, **room.args)

    seeds = [episode_seed(Stream.TEST, seed, i) for i in range(episodes)]
    codes: list[str] = []
    scores: list[EpisodeScore] = []
    for trajectory in rollout(policy, make_env, seeds, min(_SLOTS, episodes), listen):
        codes.append(encode(record(trajectory, transforms.pop(trajectory.seed, []))))
        scores.append(transcript.score(trajectory))
    return {
        "env": room.env,
        "args": dict(room.args),
        "seed": seed,
        "episodes": codes,
        "steps": sum(score.steps for score in scores) / episodes,
        "says": {kind: found.to_json() for kind, found in spoken(scores).items()},
    }


def _curve(metrics: Path) -> list[dict[str, float]]:
    """What the exams on the way found."""
    found = [values for values in progress.records(metrics) if values.get("kind") == "active"]
    return [{k: v for k, v in values.items() if k not in ("kind", "time")} for values in found]
