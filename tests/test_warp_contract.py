"""The contract of the batch renderer's vector environment: what goes in, what comes out."""

import signal
import sys
from collections.abc import Callable, Iterator
from typing import Any

import gymnasium
import numpy as np
import pytest

from oddoneout.actions import Action
from oddoneout.arguments import RENDERERS
from oddoneout.rules.language import MAX_WORDS, encode
from oddoneout.rules.trial import TRIAL_STEPS
from tests.test_warp import BASIC, OddOneOutWarpEnv, make, torch


@pytest.fixture(scope="module")
def shared() -> Iterator[OddOneOutWarpEnv]:
    envs = make(BASIC, 3, image_size=16)
    envs.reset(seed=0)
    yield envs
    envs.close()


def test_episodes_do_not_depend_on_who_draws_them() -> None:
    def run(workers: int) -> list[Any]:
        envs = make(BASIC, 3, image_size=16, workers=workers)
        envs.reset(seed=1)
        seen: list[Any] = []
        for _ in range(TRIAL_STEPS):
            envs.step(np.zeros(3, np.int64))  # until time is out
        seen.append(envs.snapshots())
        envs.reset(seed=[9, None, 4], options={"reset_mask": np.array([True, False, True])})
        seen.append(envs.snapshots())
        envs.close()
        return seen

    assert run(0) == run(2)


def test_a_mask_is_the_callers_again_after_reset(shared: OddOneOutWarpEnv) -> None:
    shared.reset(seed=0)
    mask = np.arange(shared.num_envs) == 1
    _, infos = shared.reset(options={"reset_mask": mask})
    mask[:] = True
    assert infos["_trial"].tolist() == [False, True, *[False] * (shared.num_envs - 2)]


def test_a_mask_may_be_a_tensor(shared: OddOneOutWarpEnv) -> None:
    shared.reset(seed=0)
    mask = torch.arange(shared.num_envs) == 1
    _, infos = shared.reset(options={"reset_mask": mask})
    assert infos["_trial"].tolist() == mask.tolist()


def test_rewards_may_be_changed_in_place(shared: OddOneOutWarpEnv) -> None:
    shared.reset(seed=0)
    _, reward, *_ = shared.step(np.zeros(shared.num_envs, np.int64))
    reward += 5.0
    assert {snapshot.last_reward for snapshot in shared.snapshots()} == {0.0}


def test_what_infos_hold_may_be_changed_in_place(shared: OddOneOutWarpEnv) -> None:
    def step(action: Action) -> dict[str, Any]:
        return shared.step(np.full(shared.num_envs, action))[-1]

    def all_of(envs_infos: dict[str, Any]) -> list[Any]:
        texts = [list(envs_infos[name]) for name in ("instruction", "explanation", "phase")]
        return [*texts, *(envs_infos["choice"][name].tolist() for name in ("correct", "odd_in"))]

    shared.reset(seed=0)
    step(Action.CHOOSE)
    expected = all_of(step(Action.NOOP))
    for masks in (["_explanation"], ["_phase"], ["_explanation", "_instruction", "_phase"]):
        shared.reset(seed=0)
        infos = step(Action.CHOOSE)
        infos["choice"]["correct"].logical_not_()
        infos["choice"]["odd_in"].logical_not_()
        infos = step(Action.NOOP)
        for mask in masks:
            infos[mask][:] = False
        changed = {name for name in infos if name[1:] in infos and not infos[name].all()}
        assert changed - {"_choice"} == set(masks)
        assert all_of(infos) == expected  # read only now


def test_pictures_do_not_depend_on_the_callers_precision(shared: OddOneOutWarpEnv) -> None:
    plain = shared.reset(seed=0)[0]["image"]
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(shared.reset(seed=0)[0]["image"], plain)


def test_texts_are_read_like_arrays(shared: OddOneOutWarpEnv) -> None:
    _, infos = shared.reset(seed=0)
    texts = infos["explanation"]
    words = list(texts)
    assert len(texts) == 3
    assert np.array_equal(np.asarray(texts), np.array(words, object))
    assert [texts[i] for i in range(3)] == words == texts[:]
    assert texts[np.int64(1)] == texts[torch.tensor(1)] == words[1]
    for chosen in (np.array([True, False, True]), np.array([0, 2]), [0, 2]):
        assert texts[chosen].tolist() == [words[0], words[2]]
        assert texts[torch.as_tensor(chosen)].tolist() == [words[0], words[2]]
    ids = texts.ids
    assert ids.dtype == torch.int32
    assert np.array_equal(ids.numpy(), np.stack([encode(w, MAX_WORDS) for w in words]))


def test_wrong_actions_and_resets_are_refused(shared: OddOneOutWarpEnv) -> None:
    for actions in ([0, 0], [0, 0, 9], [0, -1, 0], [0.0, 1.0, 2.0], [True, False, True]):
        with pytest.raises(ValueError, match="actions must be 3 integers from 0 to 8"):
            shared.step(np.array(actions))
    for actions in ("ab", None, [2**70] * 3, torch.tensor([0.0, 1.0, 2.0]), torch.ones(3) > 0):
        with pytest.raises(ValueError, match="actions must be 3 integers from 0 to 8"):
            shared.step(actions)
    with pytest.raises(ValueError, match="3 seeds"):
        shared.reset(seed=[1, 2])
    for seed in (-1, True, 1.5, [1, None, -2]):
        with pytest.raises(ValueError, match="seed must be None or an integer from 0 up"):
            shared.reset(seed=seed)
    shared.step(np.zeros(3, np.int64))
    fresh = make(BASIC, 2, image_size=16)
    with pytest.raises(RuntimeError, match="reset"):
        fresh.step(np.zeros(2, np.int64))
    with pytest.raises(RuntimeError, match="reset"):
        fresh.snapshots()
    fresh.close()


@pytest.mark.parametrize("kind", ["int8", "uint8", "uint16", "uint32", "int32", "int64", "uint64"])
def test_actions_are_integers_of_any_type(shared: OddOneOutWarpEnv, kind: str) -> None:
    for actions in (np.full(3, 1, kind), torch.full((3,), 1, dtype=getattr(torch, kind))):
        shared.step(actions)
        actions[0] = 9
        with pytest.raises(ValueError, match="actions must be 3 integers from 0 to 8"):
            shared.step(actions)


@pytest.mark.parametrize("workers", [0, 2])
def test_nothing_goes_on_after_closing(workers: int) -> None:
    envs = make(BASIC, 2, image_size=16, workers=workers)
    envs.reset(seed=0)
    envs.close()
    envs.close()
    with pytest.raises(RuntimeError, match="the vector environment is closed"):
        envs.step(np.zeros(2, np.int64))
    with pytest.raises(RuntimeError, match="the vector environment is closed"):
        envs.reset(seed=0)
    with pytest.raises(RuntimeError, match="the vector environment is closed"):
        envs.snapshots()


def test_rendering_shows_nothing_as_there_is_no_render_mode(shared: OddOneOutWarpEnv) -> None:
    assert shared.render_mode is None
    assert shared.render() is None  # type: ignore[func-returns-value]


def idle(envs: OddOneOutWarpEnv) -> None:
    for _ in range(TRIAL_STEPS + 1):  # until time is out, and the next episode is needed
        envs.step(np.zeros(2, np.int64))


@pytest.mark.parametrize(
    "go_on",
    [idle, lambda envs: envs.reset(seed=1), lambda envs: envs.reset()],
    ids=["step", "reset with a seed", "reset"],
)
def test_a_killed_writer_is_reported_and_ends_everything(
    go_on: Callable[[OddOneOutWarpEnv], Any],
) -> None:
    envs = make(BASIC, 2, image_size=16, workers=2)
    envs.reset(seed=0)
    processes = [writer.process for writer in envs._writers._writers]
    processes[1].kill()
    processes[1].wait()
    with pytest.raises(RuntimeError, match=rf"pid {processes[1].pid}\) was killed by SIGKILL"):
        go_on(envs)
    assert all(process.poll() is not None for process in processes)
    assert envs.closed
    with pytest.raises(RuntimeError, match="the vector environment is closed"):
        envs.step(np.zeros(2, np.int64))


def test_an_error_of_the_callers_own_signal_handler_is_not_a_writers_death() -> None:
    envs = make(BASIC, 2, image_size=16, workers=2)
    envs.reset(seed=0)
    processes = [writer.process for writer in envs._writers._writers]
    processes[1].send_signal(signal.SIGSTOP)  # so that a reset waits

    def give_up(*_: Any) -> None:
        processes[1].send_signal(signal.SIGCONT)
        raise TimeoutError("my own deadline")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        with pytest.raises(TimeoutError, match="my own deadline"):
            envs.reset(seed=1)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert all(process.poll() is not None for process in processes)
    assert envs.closed


@pytest.mark.parametrize(
    "arguments",
    [
        {"num_envs": 0},
        {"workers": -1},
        {"level": "Basal"},
        {"image_size": 4},
        {"render_mode": "rgb_array"},
        {"renderer": "classic"},
        {"renderer": "crayon"},
        {"device": "mps"},
        {"device": "banana"},
        {"device": "cuda:99"},
        {"surprise": 1},
        {"dimension": "weight"},
        {"experiments": 2},
    ],
    ids=str,
)
def test_wrong_arguments_are_refused_by_name(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(arguments))):
        OddOneOutWarpEnv(**{"level": "Basic", **arguments})


def test_the_renderer_may_be_named_here_too() -> None:
    OddOneOutWarpEnv("Basic", renderer="warp", device="cpu", workers=0).close()


def test_a_single_environment_says_where_to_go() -> None:
    assert "warp" in RENDERERS
    with pytest.raises(ValueError, match=r"make_vec\(id, num_envs=N, renderer=\"warp\"\)"):
        gymnasium.make(BASIC, renderer="warp")


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "oddoneout.warp.vector")
    monkeypatch.setitem(sys.modules, "mujoco_warp", None)
    with pytest.raises(ImportError, match=r"needs mujoco_warp.*pip install \"\.\[warp\]\""):
        gymnasium.make_vec(BASIC, num_envs=2, renderer="warp")


def test_the_renderer_names_itself(shared: OddOneOutWarpEnv) -> None:
    assert shared.renderer_version().startswith("warp: cpu, mujoco_warp ")
