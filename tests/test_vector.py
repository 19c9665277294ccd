"""The native vector environment: the same as single environments, and gone when it should be."""

import gc
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.vector.utils import batch_space

import oddoneout
from oddoneout.actions import Action
from oddoneout.rules.trial import TRIAL_STEPS
from oddoneout.vector import OddOneOutVectorEnv
from tests.wandering import busy

ROOT = Path(oddoneout.__file__).parents[1]
BASIC = "OddOneOut/Basic-v0"
#: What the wandering policy does to objects.
AT_FOCUS = (Action.CHOOSE, Action.TRANSFORM_COLOR)
N = 3


def make(level: str = BASIC, num_envs: int = N, **arguments: Any) -> OddOneOutVectorEnv:
    envs = gymnasium.make_vec(level, num_envs=num_envs, **arguments)
    assert isinstance(envs, OddOneOutVectorEnv)
    return envs


def pids(envs: OddOneOutVectorEnv) -> list[int]:
    return [worker.process.pid for worker in envs._workers]


def is_running(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def mapped_boards() -> int:
    gc.collect()
    return Path("/proc/self/maps").read_text().count("memfd:oddoneout")


def assert_all_gone(workers: list[int]) -> None:
    deadline = time.monotonic() + 60  # generous: only a failure waits that long
    while any(map(is_running, workers)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(is_running, workers))


def assert_same(ours: Any, theirs: Any, where: str = "") -> None:
    """Equal in type, dtype, shape and every byte, all the way down."""
    assert type(ours) is type(theirs), where
    if isinstance(ours, dict):
        assert set(ours) == set(theirs), where
        for key in ours:
            assert_same(ours[key], theirs[key], f"{where}[{key!r}]")
    elif isinstance(ours, np.ndarray):
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape), where
        if ours.dtype == object:
            for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
                assert_same(a, b, f"{where}[{i}]")
        else:
            assert np.array_equal(ours, theirs), where
    elif isinstance(ours, tuple):
        for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            assert_same(a, b, f"{where}[{i}]")
    else:
        assert ours == theirs, where


@pytest.fixture(scope="module")
def shared() -> Iterator[OddOneOutVectorEnv]:
    envs = make(workers=2)
    envs.reset(seed=0)
    yield envs
    envs.close()


@pytest.mark.parametrize(
    ("level", "workers", "arguments"),
    [
        ("Basic", 1, {}),
        ("Confounded", 2, {"image_size": (32, 48)}),
        ("Deconfounded", 3, {"dimension": "color"}),
        ("Intervention", 2, {"experiments": 1}),
    ],
)
def test_results_equal_those_of_single_environments_byte_for_byte(
    level: str, workers: int, arguments: dict[str, Any]
) -> None:
    level = f"OddOneOut/{level}-v0"
    ours = make(level, workers=workers, **arguments)
    theirs = SyncVectorEnv(
        [lambda: gymnasium.make(level, disable_env_checker=True, **arguments)] * N,
        autoreset_mode=AutoresetMode.SAME_STEP,
    )
    seeds = [5, 2**31, 7]
    assert_same(ours.reset(seed=seeds), theirs.reset(seed=seeds))
    rng = np.random.default_rng(0)
    ends = choices = 0
    for t in range(2 * TRIAL_STEPS + 10):
        acts = np.array([busy(env.unwrapped.snapshot(), rng, AT_FOCUS) for env in theirs.envs])
        got, expected = ours.step(acts), theirs.step(acts)
        assert_same(got, expected, f"step {t}: ")
        ends += "final_obs" in got[4]
        choices += "choice" in got[4] or "choice" in got[4].get("final_info", {})
    assert ends
    assert choices
    mask = np.array([False, True, False])
    options = {"reset_mask": mask}
    assert_same(ours.reset(seed=3, options=options), theirs.reset(seed=3, options=dict(options)))
    ours.close()
    theirs.close()


def test_make_vec_gives_it_with_gymnasiums_attributes(shared: OddOneOutVectorEnv) -> None:
    single = gymnasium.make(BASIC)
    assert shared.spec is not None
    assert shared.spec.id == BASIC
    assert shared.num_envs == N
    assert shared.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    assert shared.single_observation_space == single.observation_space
    assert shared.single_action_space == single.action_space
    assert shared.observation_space == batch_space(single.observation_space, N)
    observation, _ = shared.reset(seed=0)
    assert shared.observation_space.contains(observation)
    single.close()


def test_one_seed_counts_upwards_and_no_seed_is_new(shared: OddOneOutVectorEnv) -> None:
    counted, _ = shared.reset(seed=4)
    listed, _ = shared.reset(seed=[4, 5, 6])
    assert np.array_equal(counted["image"], listed["image"])
    for numpys in (np.int64(4), np.array([4, 5, 6]), [np.int64(4), np.uint8(5), 6]):
        assert np.array_equal(shared.reset(seed=numpys)[0]["image"], listed["image"])
    partly, _ = shared.reset(seed=[4, None, 6])
    same = [np.array_equal(a, b) for a, b in zip(listed["image"], partly["image"], strict=True)]
    assert same == [True, False, True]
    unseeded, _ = shared.reset()
    assert not np.array_equal(unseeded["image"], partly["image"])


def test_every_step_returns_fresh_arrays(shared: OddOneOutVectorEnv) -> None:
    first, _ = shared.reset(seed=0)
    kept = first["image"].copy()
    second, *_ = shared.step(np.full(N, Action.TURN_LEFT))
    assert not np.shares_memory(first["image"], second["image"])
    assert not np.shares_memory(first["instruction"], second["instruction"])
    assert np.array_equal(first["image"], kept)
    assert not np.array_equal(second["image"], kept)


def test_buffers_are_reused_only_when_asked_for() -> None:
    envs = make(workers=1, num_envs=2, reuse_buffers=True)
    first, _ = envs.reset(seed=0)
    kept = first["image"].copy()
    second, *_ = envs.step(np.full(2, Action.TURN_LEFT))
    assert np.shares_memory(first["image"], second["image"])
    assert not np.array_equal(first["image"], kept)
    envs.close()
    assert second["image"].any()  # still readable


def test_snapshots_are_those_of_single_environments(shared: OddOneOutVectorEnv) -> None:
    shared.reset(seed=10)
    single = gymnasium.make(BASIC).unwrapped
    for i, snapshot in enumerate(shared.snapshots()):
        single.reset(seed=10 + i)
        assert snapshot == single.snapshot()  # pyright: ignore[reportAttributeAccessIssue]
    single.close()


@pytest.mark.parametrize(
    "actions",
    [[0, 0], [0, 0, 9], [0, -1, 0], [0.0, 1.0, 2.0], [[0, 0, 0]], 0, [True, False, True]],
    ids=str,
)
def test_wrong_actions_are_refused_and_break_nothing(
    shared: OddOneOutVectorEnv, actions: Any
) -> None:
    shared.reset(seed=0)
    with pytest.raises(ValueError, match="actions must be 3 integers from 0 to 8"):
        shared.step(np.array(actions))
    shared.step(np.zeros(N, np.int64))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seed": [1, 2]}, "3 seeds"),
        ({"seed": -1}, "seed must be None or an integer from 0 up.* got -1"),
        ({"seed": True}, "seed must be None or an integer from 0 up.* got True"),
        ({"seed": 1.5}, "seed must be None or an integer from 0 up.* got 1.5"),
        ({"seed": [1, None, -2]}, "seed must be None or an integer from 0 up.* got -2"),
        ({"seed": np.array([0.0, 1.0, 2.0])}, "seed must be None or an integer from 0 up"),
        ({"options": {"reset_mask": np.zeros(N, np.bool_)}}, "reset_mask"),
        ({"options": {"reset_mask": np.ones(2, np.bool_)}}, "reset_mask"),
        ({"options": {"reset_mask": np.ones(N)}}, "reset_mask"),
        ({"options": {"surprise": 1}}, "surprise"),
    ],
)
def test_wrong_resets_are_refused_by_name_and_break_nothing(
    shared: OddOneOutVectorEnv, arguments: dict[str, Any], message: str
) -> None:
    shared.reset(seed=0)
    with pytest.raises(ValueError, match=message):
        shared.reset(**arguments)
    shared.step(np.zeros(N, np.int64))


@pytest.mark.parametrize(
    "arguments",
    [
        {"num_envs": 0},
        {"num_envs": True},
        {"workers": 0},
        {"workers": 1.5},
        {"level": "Basal"},
        {"image_size": 4},
        {"renderer": "crayon"},
        {"render_mode": "human"},
        {"dimension": "weight"},
        {"experiments": 2},
        {"surprise": 1},
    ],
    ids=str,
)
def test_wrong_arguments_are_refused_by_name_before_any_process_starts(
    arguments: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(*_: Any) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr("oddoneout.vector._start", start)
    with pytest.raises(ValueError, match=next(iter(arguments))):
        OddOneOutVectorEnv(**{"level": "Basic", **arguments})


def test_nothing_works_before_the_first_reset() -> None:
    envs = make(workers=np.int64(1), num_envs=np.int64(2), render_mode="rgb_array")
    with pytest.raises(RuntimeError, match="reset"):
        envs.step(np.zeros(2, np.int64))
    with pytest.raises(RuntimeError, match="reset"):
        envs.snapshots()
    with pytest.raises(RuntimeError, match="reset"):
        envs.render()
    with pytest.raises(ValueError, match="first reset"):
        envs.reset(options={"reset_mask": np.array([True, False])})
    envs.reset(seed=0)
    envs.step(np.zeros(2, np.int64))
    envs.close()


def test_a_killed_worker_is_reported_and_ends_everything() -> None:
    before = mapped_boards()
    envs = make(workers=3)
    envs.reset(seed=0)
    workers = pids(envs)
    os.kill(workers[1], signal.SIGKILL)
    with pytest.raises(RuntimeError, match=r"environments 1 to 1 .* killed by SIGKILL"):
        envs.step(np.zeros(N, np.int64))
    assert_all_gone(workers)
    assert envs.closed
    with pytest.raises(RuntimeError, match="closed"):
        envs.step(np.zeros(N, np.int64))
    envs.close()
    del envs
    # The shared memory has no name, and lasts as long as somebody has it open or mapped.
    assert mapped_boards() == before


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_cannot_use_the_workers_and_does_not_keep_them() -> None:
    envs = make(workers=2)
    envs.reset(seed=0)
    stay, end = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        os.close(end)
        refused = 1
        try:
            envs.step(np.full(N, Action.TURN_LEFT))
        except RuntimeError as error:
            refused = 0 if "belongs to the process that made it" in str(error) else 2
        refused += bool(envs._board.actions.any()) * 4  # its parent may be in the midst of a step
        os.read(stay, 1)  # until the parent has seen its workers end
        os._exit(refused)
    os.close(stay)
    envs.step(np.zeros(N, np.int64))
    assert [snapshot.step for snapshot in envs.snapshots()] == [1] * N
    workers = pids(envs)
    for worker in envs._workers:
        worker.connection.close()  # as when this process dies
    assert_all_gone(workers)
    envs.close()
    os.close(end)
    assert os.waitpid(child, 0)[1] == 0


def test_every_room_is_rendered_as_if_it_were_alone() -> None:
    envs = make(num_envs=2, workers=2, render_mode="rgb_array")
    envs.reset(seed=3)
    frames = envs.render()
    assert frames is not None
    for i, frame in enumerate(frames):
        alone = gymnasium.make(BASIC, render_mode="rgb_array", disable_env_checker=True)
        alone.reset(seed=3 + i)
        assert np.array_equal(frame, alone.render())
        alone.close()
    envs.close()


def test_ctrl_c_leaves_no_workers_behind() -> None:
    code = (
        "import os, signal, threading, numpy as np, gymnasium, oddoneout\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # ignored in the background
        f"envs = gymnasium.make_vec({BASIC!r}, num_envs=2, workers=2)\n"
        "envs.reset(seed=0)\n"
        "print(*(worker.process.pid for worker in envs._workers), flush=True)\n"
        "threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()\n"
        "while True: envs.step(np.full(2, 3))\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert "KeyboardInterrupt" in run.stderr
    assert_all_gone([int(pid) for pid in run.stdout.split()])


def test_an_error_of_the_callers_own_signal_handler_is_not_a_workers_death() -> None:
    envs = make(workers=2)
    envs.reset(seed=0)
    workers = pids(envs)
    os.kill(workers[1], signal.SIGSTOP)  # so that a step waits

    def give_up(*_: Any) -> None:
        os.kill(workers[1], signal.SIGCONT)
        raise TimeoutError("my own deadline")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        with pytest.raises(TimeoutError, match="my own deadline"):
            envs.step(np.zeros(N, np.int64))
    finally:
        signal.signal(signal.SIGALRM, before)
    assert envs.closed
    assert_all_gone(workers)


def test_an_exception_in_a_worker_comes_with_its_traceback() -> None:
    envs = make(workers=2)
    workers = pids(envs)
    with pytest.raises(RuntimeError, match=r"(?s)Traceback.*AttributeError.*nonsense"):
        envs._exchange([pickle.dumps(("nonsense",))] * 2)
    assert_all_gone(workers)


def test_closing_twice_is_fine_and_leaves_no_process() -> None:
    envs = make(workers=2)
    workers = pids(envs)
    assert all(map(is_running, workers))
    envs.close()
    envs.close()
    assert_all_gone(workers)


def test_the_last_reference_closes_it() -> None:
    envs = make(workers=2)
    workers = pids(envs)
    del envs
    gc.collect()
    assert_all_gone(workers)


def test_workers_draw_without_threads_of_the_renderer(shared: OddOneOutVectorEnv) -> None:
    shared.reset(seed=0)
    names = [
        (task / "comm").read_text().strip()
        for pid in pids(shared)
        for task in Path(f"/proc/{pid}/task").iterdir()
    ]
    if os.environ.get("LP_NUM_THREADS", "0") == "0":
        assert not [name for name in names if name.startswith("llvmpipe")]


SCRIPT = """
import sys, time
import gymnasium, oddoneout
envs = gymnasium.make_vec("OddOneOut/Basic-v0", num_envs=2, workers=2)
envs.reset(seed=0)
print(*(worker.process.pid for worker in envs._workers), flush=True)
if "wait" in sys.argv:
    time.sleep(600)
"""


@pytest.mark.parametrize("ends", ["by itself", "killed"])
def test_a_script_needs_no_main_guard_and_leaves_no_workers(ends: str, tmp_path: Path) -> None:
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    process = subprocess.Popen(
        [sys.executable, str(path), *(["wait"] if ends == "killed" else [])],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
    )
    assert process.stdout is not None
    workers = [int(pid) for pid in process.stdout.readline().split()]
    assert len(workers) == 2
    if ends == "killed":
        process.kill()
        process.wait()
    else:
        assert process.wait() == 0
    process.stdout.close()
    assert_all_gone(workers)
