"""Two agents, one told of a dimension and one of nothing: what do they learn?

    python -m scripts.demo --out demo [--dimension color] [--minutes 12]

In Confounded rooms one object is odd in color, shape and texture at once. Two agents learn from the
same demonstrations there: one also learns to predict explanations, which speak of one dimension
only; the other is told nothing. Deconfounded rooms, where the three dimensions point at different
objects, then show what each has learned to look for. The same command again goes on where it was
interrupted. Results: report.md, with numbers, curves and films.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from oddoneout.demos.rollout import Policy
from oddoneout.evaluation import evaluate
from oddoneout.processes import usable_cores
from oddoneout.rules.levels import CATALOGUE
from oddoneout.video import record
from scripts import common, demo_report, side_by_side
from scripts.demo_report import CONFOUNDED, DECONFOUNDED, DIMENSIONS, NOTHING, label, scores_path

INTERVENTION: Final = "OddOneOut/Intervention-v0"
BASELINES: Final = ("expert", "random_object", "random")

#: Minutes kept for evaluating and filming the trained agents.
AFTERWARDS: Final = 2.0
#: Colors are told apart from afar: walking up to every object would only lengthen the lessons.
EXPERT: Final = {"action_noise": 0.1, "legible": 2.5}

#: What is still to be made -> how.
Tasks = dict[Path, Callable[[], None]]


@dataclass(frozen=True)
class Sizes:
    """How much is done of everything."""

    demonstrations: int
    shard_episodes: int
    test_episodes: int
    level_episodes: int
    film_episodes: int
    preset: str
    agent: Mapping[str, Any]
    frames: int
    curve_frames: int
    curve_episodes: int


# Half of the "cpu" preset's filters: twice as many frames in the same time, and as much learnt
# from each, where a color is all that has to be seen.
_AGENT: Final = {"channels": (16, 32), "recollect": False}
FULL: Final = Sizes(8000, 250, 300, 100, 5, "cpu", _AGENT, 4_000_000, 150_000, 64)
QUICK: Final = Sizes(16, 8, 3, 1, 1, "tiny", {}, 400, 0, 2)


@dataclass(frozen=True)
class Settings:
    """What a demo is made of; one folder holds one demo.

    Attributes:
        dimension: the one that explanations speak of.
        minutes: budget of the whole.
        seed: of demonstrations, training and test rooms (which never coincide).
        quick: just see whether everything works.
    """

    dimension: str
    minutes: float
    seed: int
    quick: bool


def score(
    policy: str, name: str, env: str, env_args: dict[str, Any], episodes: int, seed: int, out: Path
) -> None:
    """Evaluate a policy (one with a name, or the folder of a run) and write its scores."""
    player = _player(policy)
    scores = evaluate(player, env, env_args, episodes=episodes, seed=seed, policy_name=name)
    common.write_json(out, scores.to_json())


def film(
    policy: str, name: str, env: str, env_args: dict[str, Any], episodes: int, seed: int, out: Path
) -> None:
    """Film the first episodes that ``score`` plays with the same seed."""
    partly = out.with_name(f".{out.name}")
    record(_player(policy), env, env_args, partly, episodes=episodes, seed=seed, policy_name=name)
    partly.replace(out)


def _player(policy: str) -> Policy:
    arguments = argparse.Namespace(policy=policy, temperature=None, expert_args={})
    return common.make_policy(arguments).policy


class Demo:
    """One demo in one folder; every stage does what is not done yet.

    Args:
        out: the folder; what is found there goes on.
        settings: what to make.

    Raises:
        UserError: if the folder holds a demo of other settings or a damaged one, or cannot be made.
    """

    def __init__(self, out: Path, settings: Settings) -> None:
        self.out, self.settings, self.start = out, settings, time.monotonic()
        self.data, self.runs, self._file = out / "data", out / "runs", out / "state.json"
        self._told = (settings.dimension, NOTHING)
        self._sizes = QUICK if settings.quick else FULL
        self.state = self._found() or {"settings": asdict(settings), "seconds": {}}
        if self.state["settings"] != asdict(settings):
            raise common.UserError(
                f"{out}/ holds a demo of other settings, {self.state['settings']}: "
                "remove it, or name another folder with --out"
            )
        try:
            for folder in (out, self.runs, out / "scores"):
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise common.UserError(f"cannot make the folder {str(out)!r}: {error}") from error

    def _found(self) -> dict[str, Any] | None:
        """The state of the demo in the folder, if there is one."""
        if not self._file.exists():
            return None
        try:
            state = json.loads(self._file.read_text(encoding="utf-8"))
        except ValueError:
            state = None
        if not isinstance(state, dict) or not state.keys() >= {"settings", "seconds"}:
            # Without it nobody knows what the rest of the folder was made with.
            raise common.UserError(
                f"{self._file} is damaged: remove {self.out}/, or name another folder with --out"
            )
        return state

    def run(self) -> None:
        """All stages, one after the other."""
        cores = usable_cores()
        with self._stage("1/5 expert and chance", "in every level"):
            side_by_side.calls(self._to_do(self._baselines()), min(cores, 4))
        with self._stage("2/5 demonstrations", f"in Confounded, explaining {self._told[0]}"):
            self._collect(cores)
        with self._stage("3/5 training", " and ".join(map(label, self._told)) + " side by side"):
            self._train(max(1, min(4, cores // 2)))
        with self._stage("4/5 agents at work", "in rooms that neither has seen"):
            side_by_side.calls(self._to_do(self._exams()), min(cores, 4))
        with self._stage("5/5 report", "numbers, curves, films"):
            print(demo_report.write(self.out, self.state))

    @contextmanager
    def _stage(self, name: str, what: str) -> Iterator[None]:
        start = time.monotonic()
        gone = (start - self.start) / 60.0
        print(f"[{name}] {what} ({gone:.1f} of {self.settings.minutes:g} minutes gone)", flush=True)
        try:
            yield
        finally:
            seconds, stage = self.state["seconds"], name.partition(" ")[2]
            seconds[stage] = round(seconds.get(stage, 0.0) + time.monotonic() - start, 1)
            self._save()

    def _save(self) -> None:
        common.write_json(self._file, self.state)

    def _to_do(self, tasks: Tasks) -> Tasks:
        return {path: task for path, task in tasks.items() if not path.exists()}

    def _scoring(self, name: str, policy: str, env: str, episodes: int) -> Tasks:
        args = {"dimension": self._told[0]} if env in (CONFOUNDED, DECONFOUNDED) else {}
        path = scores_path(self.out, name, env)
        seed = self.settings.seed
        return {path: partial(score, policy, name, env, args, episodes, seed, path)}

    def _baselines(self) -> Tasks:
        """Everything that needs no training."""
        tasks: Tasks = {}
        for name in BASELINES:
            for level in CATALOGUE.values():
                tasks |= self._scoring(name, name, level.id, self._sizes.level_episodes)
        path = self.out / "expert.mp4"
        args, seed = {"difficulty": "hard1"}, self.settings.seed
        tasks[path] = partial(film, "expert", "expert", INTERVENTION, args, 1, seed, path)
        return tasks

    def _exams(self) -> Tasks:
        """Everything that the trained agents are asked to do."""
        sizes, args = self._sizes, {"dimension": self._told[0]}
        tasks: Tasks = {}
        for told in self._told:
            run = str(self.runs / told)
            for env in (CONFOUNDED, DECONFOUNDED):
                tasks |= self._scoring(told, run, env, sizes.test_episodes)
        for path in (self.out / "agent.mp4", self.out / "agent.png"):
            run, name = str(self.runs / self._told[0]), label(self._told[0])
            tasks[path] = partial(
                film, run, name, DECONFOUNDED, args, sizes.film_episodes, self.settings.seed, path
            )
        return tasks

    def _untrained(self) -> list[str]:
        return [t for t in self._told if not (self.runs / t / "final.safetensors").exists()]

    def _collect(self, workers: int) -> None:
        if not self._untrained() or (self.state.get("collected") and self.data.exists()):
            return
        sizes = self._sizes
        collecting = (
            "scripts.collect", "--env", CONFOUNDED, "--out", str(self.data),
            "--env-args", json.dumps({"dimension": self._told[0]}),
            "--expert-args", json.dumps(EXPERT),
            "--episodes", str(sizes.demonstrations), "--seed", str(self.settings.seed),
            "--shard-episodes", str(sizes.shard_episodes), "--workers", str(workers),
        )  # fmt: skip
        side_by_side.commands({"collect": collecting})
        self.state["collected"] = True

    def _train(self, threads: int) -> None:
        """As long as the budget allows; how long is settled once, for both agents."""
        gone = (time.monotonic() - self.start) / 60.0
        minutes = max(self.settings.minutes - gone - AFTERWARDS, self.settings.minutes / 4.0)
        minutes = self.state.setdefault("training_minutes", round(minutes, 2))
        self._save()
        todo = self._untrained()
        if todo:
            side_by_side.commands({told: self._training(told, minutes, threads) for told in todo})

    def _training(self, told: str, minutes: float, threads: int) -> tuple[str, ...]:
        sizes, args = self._sizes, json.dumps({"dimension": self._told[0]})
        return (
            "scripts.train", "--data", str(self.data), "--out", str(self.runs / told),
            "--preset", sizes.preset, "--agent", json.dumps(sizes.agent),
            "--seed", str(self.settings.seed),
            "--frames", str(sizes.frames), "--max-minutes", str(minutes),
            "--explanation-weight", "0" if told == NOTHING else "1",
            "--evaluate", f"deconfounded={DECONFOUNDED}:{args}",
            "--evaluate-frames", str(sizes.curve_frames),
            "--evaluate-episodes", str(sizes.curve_episodes),
            "--threads", str(threads), "--save-seconds", "30",
        )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.demo",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, default=Path("demo"), metavar="DIR")
    parser.add_argument("--dimension", choices=DIMENSIONS, default=DIMENSIONS[0], help="explained")
    parser.add_argument("--minutes", type=float, default=12.0, help="for everything together")
    parser.add_argument("--seed", type=common.seed_number, default=1)
    parser.add_argument("--quick", action="store_true", help="see in seconds whether all works")
    args = parser.parse_args()
    common.one_process(parser.prog)
    if not args.minutes > 0.0:
        raise common.UserError(f"--minutes must be positive, got {args.minutes:g}")
    Demo(args.out, Settings(args.dimension, args.minutes, args.seed, args.quick)).run()


if __name__ == "__main__":
    common.run(main)
