"""What the scripts share: policies and environments by name, arguments, clear errors."""

import argparse
import contextlib
import dataclasses
import importlib.metadata
import inspect
import json
import math
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import gymnasium

import oddoneout  # noqa: F401  (registers the ids)
from oddoneout.arguments import parse_image_size
from oddoneout.demos.manifest import write_file
from oddoneout.demos.rollout import Policy
from oddoneout.processes import holding
from oddoneout.rules.levels import CATALOGUE, Level, Settings, parse_settings

NAMED_POLICIES = ("expert", "random", "random_object")


class UserError(Exception):
    """Something the user can mend; shown without a traceback."""


def run(main: Callable[[], None]) -> None:
    """Run a script's main; what the user can mend is one line on stderr and exit code 2.

    SIGTERM ends it in order, as Ctrl-C does: files that are half-written go, workers end.
    """
    before = signal.signal(signal.SIGTERM, _terminated)
    try:
        main()
    except (UserError, OSError, ModuleNotFoundError) as error:
        sys.exit(_complain(error))
    except KeyboardInterrupt:
        sys.exit(_complain("interrupted", code=130))
    finally:
        signal.signal(signal.SIGTERM, before)


def _terminated(number: int, frame: object) -> None:
    sys.exit(128 + number)


def _complain(error: object, code: int = 2) -> int:
    print(f"error: {error}", file=sys.stderr)
    return code


@contextlib.contextmanager
def alone(folder: Path, doing: str) -> Iterator[None]:
    """Make the folder, and keep other processes out of it; if nothing came into it, it goes again.

    Args:
        doing: what they cannot do there two at a time, e.g. "training".

    Raises:
        UserError: if another process is at it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with holding(folder, refusal=UserError(f"another process is {doing} in {str(folder)!r}")):
        try:
            yield
        finally:
            with contextlib.suppress(OSError):  # as it holds something
                folder.rmdir()


def level_of(env: str, args: Mapping[str, Any]) -> tuple[Level, Settings]:
    """The level of that id, and its settings; ``args`` are the level's own."""
    (level,) = (level for level in CATALOGUE.values() if level.id == env)
    return level, parse_settings(level, args)


@dataclass(frozen=True, slots=True)
class Place:
    """This process among those that one launcher (torchrun, srun) has started together."""

    rank: int = 0
    ranks: int = 1

    @property
    def first(self) -> bool:
        return self.rank == 0

    def __str__(self) -> str:
        return f"rank {self.rank} of {self.ranks}"


def place() -> Place:
    """What the launcher says: ``RANK`` and ``WORLD_SIZE``; without them there is one process.

    Raises:
        UserError: if they make no sense.
    """
    rank, ranks = os.environ.get("RANK", "0"), os.environ.get("WORLD_SIZE", "1")
    if not (rank.isdecimal() and ranks.isdecimal() and int(rank) < int(ranks)):
        raise UserError(
            f"RANK={rank} and WORLD_SIZE={ranks}: the first must be an integer from 0 on, and "
            "below the second"
        )
    return Place(int(rank), int(ranks))


def one_process(name: str) -> None:
    """Called by what does not share its work: several processes would all do the same.

    Raises:
        UserError: if a launcher has started several, saying that ``name`` runs as one.
    """
    if (ranks := place().ranks) > 1:
        raise UserError(f"{name} runs as one process: start it without torchrun, not {ranks} times")


def json_object(text: str) -> dict[str, Any]:
    """An argparse type: a JSON object as a dict."""
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise argparse.ArgumentTypeError(f"not JSON ({error}): {text}") from error
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(
            f"a JSON object is needed, like '{{\"a\": 1}}', got {text}"
        )
    return value


def positive(text: str) -> int:
    """An argparse type: an integer of at least 1."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"an integer of at least 1 is needed, got {text}")
    return value


def duration(text: str) -> float:
    """An argparse type: a number of seconds above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.0 < value < math.inf:  # nor is what is no number
        raise argparse.ArgumentTypeError(f"a number of seconds above 0 is needed, got {text}")
    return value


def image_side(text: str) -> int:
    """An argparse type: the side of square images that an environment draws."""
    try:
        return parse_image_size(int(text) if text.isdecimal() else text)[0]
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def seed_number(text: str) -> int:
    """An argparse type: a seed that ``episode_seed`` takes."""
    try:
        value = int(text)
    except ValueError:
        value = -1
    if not 0 <= value < 10**6:
        raise argparse.ArgumentTypeError(f"a seed is an integer in [0, 1000000), got {text}")
    return value


def add_env_arguments(parser: argparse.ArgumentParser) -> None:
    ids = ", ".join(level.id for level in CATALOGUE.values())
    parser.add_argument("--env", required=True, metavar="ID", help=ids)
    parser.add_argument(
        "--env-args",
        type=json_object,
        default={},
        metavar="JSON",
        help='keyword arguments of the environment, e.g. \'{"dimension": "shape"}\'',
    )


def add_policy_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--policy",
        required=True,
        metavar="NAME",
        help=f"{', '.join(NAMED_POLICIES)}, or a checkpoint (file or run folder)",
    )
    parser.add_argument(
        "--temperature",
        type=float,
        default=None,
        help="of a checkpoint's actions: 0 takes the likeliest (default: 0.5)",
    )
    parser.add_argument(
        "--expert-args",
        type=json_object,
        default={},
        metavar="JSON",
        help="options of the expert, e.g. '{\"action_noise\": 0.1}'",
    )


@dataclass(frozen=True)
class NamedPolicy:
    """A policy, the name to show, and of an agent the image size that it needs and the temperature
    at which it acts (None of others, which have none)."""

    policy: Policy
    name: str
    image_size: tuple[int, int] | None = None
    temperature: float | None = None


def expert_policy(options: dict[str, Any]) -> Policy:
    """The expert with options by name.

    Raises:
        UserError: for an unknown option or a value that is not allowed.
    """
    from oddoneout.expert import ExpertOptions, ExpertPolicy

    known = [field.name for field in dataclasses.fields(ExpertOptions)]
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise UserError(f"the expert has no option {unknown}; it has {', '.join(known)}")
    try:
        return ExpertPolicy(ExpertOptions(**options))
    except (ValueError, TypeError) as error:
        raise UserError(f"--expert-args: {error}") from error


def make_policy(args: argparse.Namespace) -> NamedPolicy:
    """The policy that ``--policy`` and its companions name.

    Raises:
        UserError: if there is none, or its options do not fit.
    """
    name: str = args.policy
    if args.expert_args and name != "expert":
        raise UserError(f"--expert-args are for --policy expert, not for {name!r}")
    if name in NAMED_POLICIES and args.temperature is not None:
        raise UserError(f"--temperature is for checkpoints, not for {name!r}")
    if name == "expert":
        return NamedPolicy(expert_policy(args.expert_args), name)
    if name == "random":
        from oddoneout.baselines import RandomPolicy

        return NamedPolicy(RandomPolicy(), name)
    if name == "random_object":
        from oddoneout.baselines import RandomObjectPolicy

        return NamedPolicy(RandomObjectPolicy(), name)
    return _checkpoint(name, args.temperature)


def _checkpoint(name: str, temperature: float | None) -> NamedPolicy:
    path = Path(name)
    if not path.exists():
        raise UserError(
            f"no policy {name!r}: it is neither one of {', '.join(NAMED_POLICIES)} "
            "nor a checkpoint that exists"
        )
    if temperature is not None and not temperature >= 0:  # no number is not at least 0 either
        raise UserError(f"--temperature must be at least 0, got {temperature:g}")
    try:
        from agents.actor import load_policy
    except ModuleNotFoundError as error:
        raise UserError(
            f"a checkpoint needs the agents' packages, and {error.name!r} is missing: "
            'pip install -e ".[agents]"'
        ) from error
    try:
        policy = load_policy(path) if temperature is None else load_policy(path, temperature)
    except (ValueError, OSError) as error:
        raise UserError(f"--policy: {error}") from error
    run = path if path.is_dir() else path.parent
    name = run.resolve().name if path.is_dir() or path.stem in ("final", "last") else path.stem
    return NamedPolicy(policy, name, policy.image_size, policy.temperature)


def env_arguments(args: argparse.Namespace, policy: NamedPolicy | None = None) -> dict[str, Any]:
    """The environment's arguments, with the image size the policy needs, tried out once.

    Raises:
        UserError: for an unknown id or arguments that the environment refuses.
    """
    arguments = dict(args.env_args)
    needed = policy.image_size if policy is not None else None
    if needed is not None:
        arguments.setdefault("image_size", list(needed))
    seen = tried(args.env, arguments, "--env-args")
    if needed is not None and seen != tuple(needed):
        raise UserError(
            f"the checkpoint sees images of {tuple(needed)} (height, width), not {seen}"
        )
    return arguments


def tried(env_id: str, arguments: Mapping[str, Any], option: str) -> tuple[int, int]:
    """The (height, width) of what an environment shows, after making and resetting it once.

    Raises:
        UserError: for an unknown id or arguments that the environment refuses, after the name of
            the ``option`` that gave them.
    """
    try:
        from oddoneout.env import OddOneOutEnv
    except RuntimeError as error:  # MuJoCo cannot be imported; the message says what to install
        raise UserError(error) from error
    settable = set(inspect.signature(OddOneOutEnv).parameters)
    settable -= {"level", "render_mode", "unknown"}
    refused = sorted(set(arguments) - settable)
    if refused:
        raise UserError(
            f"{option}: {', '.join(refused)} cannot be set here; {', '.join(sorted(settable))} can"
        )
    known = [level.id for level in CATALOGUE.values()]
    if env_id not in known:
        flag = "--env" if option == "--env-args" else option
        raise UserError(f"{flag}: no environment {env_id!r}; there are {', '.join(known)}")
    try:
        env = gymnasium.make(env_id, disable_env_checker=True, **arguments)
    except (ValueError, TypeError) as error:
        raise UserError(f"{option}: {error}") from error
    try:
        height, width = env.reset(seed=0)[0]["image"].shape[:2]
    except RuntimeError as error:  # OpenGL cannot start; the message says what to install
        raise UserError(error) from error
    finally:
        env.close()
    return height, width


@contextlib.contextmanager
def playing() -> Iterator[None]:
    """While a policy plays: what it cannot do, like remembering so long an episode, is told in a
    line."""
    try:
        yield
    except ValueError as error:
        raise UserError(str(error)) from error


def writable(path: Path | None) -> Path | None:
    """``path``, after seeing that a file can be written there; asked before long work, not after.

    Raises:
        UserError: if none can.
    """
    if path is not None and not path.parent.is_dir():
        raise UserError(f"there is no folder {str(path.parent)!r} to write {path.name!r} into")
    if path is not None and path.is_dir():
        raise UserError(f"{str(path)!r} is a folder; the name of a file is needed")
    if path is not None:
        try:
            with tempfile.TemporaryFile(dir=path.parent):
                pass
        except OSError as error:
            raise UserError(f"{str(path.parent)!r} cannot be written into: {error}") from error
    return path


def write_json(path: Path, value: Any, indent: int = 2) -> None:
    """Write a file that appears whole or not at all, with the folders that it needs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write_file(temporary, (json.dumps(value, indent=indent) + "\n").encode())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def code_version() -> str:
    """Which code this is: the checkout's commit, "+" and a digest of what differs from it; of an
    installed package, its version."""
    here = Path(__file__).parents[1]
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        git = partial(subprocess.run, cwd=here, capture_output=True, check=True)
        if Path(git(["git", "rev-parse", "--show-toplevel"]).stdout.decode().strip()).samefile(
            here
        ):
            commit = git(["git", "rev-parse", "--short=12", "HEAD"]).stdout.decode().strip()
            changes = git(["git", "diff", "HEAD", "--", "*.py"]).stdout
            new = git(["git", "ls-files", "--others", "--exclude-standard", "--", "*.py"]).stdout
            for name in new.decode().splitlines():
                changes += (here / name).read_bytes()
            return f"{commit}+{sha256(changes).hexdigest()[:6]}" if changes else commit
    return f"oddoneout {importlib.metadata.version('oddoneout')}"


def processor() -> str:
    """The name of this machine's processor."""
    names: list[str] = []
    with contextlib.suppress(OSError):  # only Linux tells it there
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        names = [line.split(":", 1)[1].strip() for line in lines if "model name" in line]
    return names[0] if names else platform.processor() or platform.machine()


class Progress:
    """Episodes done, rate and time left on one line of a terminal; silent elsewhere."""

    def __init__(self, total: int) -> None:
        self._total, self._start, self._shown = total, time.monotonic(), 0.0

    def __call__(self, done: int) -> None:
        now = time.monotonic()
        if not sys.stderr.isatty() or (now - self._shown < 0.2 and done < self._total):
            return
        self._shown = now
        rate = done / max(now - self._start, 1e-9)
        left = (self._total - done) / rate
        line = f"\r{done}/{self._total} episodes, {rate:.1f}/s, {left:.0f} s left  "
        print(line, end="\n" if done == self._total else "", file=sys.stderr, flush=True)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A markdown table, aligned for reading as it is: first column left, others right."""
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        first = cells[0].ljust(widths[0])
        others = [cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True)]
        return f"| {' | '.join([first, *others])} |"

    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join([line(header), line(rule), *(line(row) for row in rows)])
