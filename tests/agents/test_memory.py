import pytest
import torch

from agents.memory import Memory
from tests.agents.examples import tiny


def memory_of(**overrides):
    torch.manual_seed(0)
    return Memory(tiny(**overrides)).eval()


def stream(rows, steps, config, seed=0):
    return torch.randn(rows, steps, config.width, generator=torch.Generator().manual_seed(seed))


def one_trial(x):
    return torch.zeros(x.shape[:2], dtype=torch.int64)


@torch.no_grad()
def stepped(memory, x, cache):
    states = []
    for t in range(x.shape[1]):
        state, cache = memory.step(x[:, t], cache)
        states.append(state)
    return torch.stack(states, dim=1), cache


@torch.no_grad()
def test_step_by_step_equals_all_at_once_over_a_whole_intervention_episode():
    memory = memory_of(context=448)
    x = stream(2, 412, memory.config)
    slow, _ = stepped(memory, x, memory.begin(2, "cpu"))
    torch.testing.assert_close(slow, memory(x, one_trial(x)), rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_rows_begin_anew_at_different_times():
    memory = memory_of()
    x = stream(3, 30, memory.config)
    starts = (0, 7, 19)  # where each row's latest episode begins
    cache, states = memory.begin(3, "cpu"), []
    for t in range(30):
        cache = cache.reset(torch.tensor([t == start for start in starts]))
        state, cache = memory.step(x[:, t], cache)
        states.append(state)
    slow = torch.stack(states, dim=1)
    for row, start in enumerate(starts):
        alone = x[row : row + 1, start:]
        whole = memory(alone, one_trial(alone))[0]
        torch.testing.assert_close(slow[row, start:], whole, rtol=1e-4, atol=1e-4)
    assert cache.lengths.tolist() == [30, 23, 11]


@torch.no_grad()
def test_the_past_does_not_know_the_future():
    memory = memory_of()
    x = stream(1, 20, memory.config)
    changed = x.clone()
    changed[:, 12:] *= -1.0
    before, after = memory(x, one_trial(x)), memory(changed, one_trial(x))
    assert torch.equal(before[:, :12], after[:, :12])
    assert not torch.allclose(before[:, 12:], after[:, 12:])


@torch.no_grad()
def test_a_late_step_depends_on_the_first():
    memory = memory_of()
    x = stream(1, 60, memory.config)
    changed = x.clone()
    changed[:, 0] *= -1.0
    last = memory(x, one_trial(x))[:, -1] - memory(changed, one_trial(x))[:, -1]
    assert last.abs().max() > 1e-5


@torch.no_grad()
def test_trial_memory_forgets_at_trial_boundaries():
    memory = memory_of(trial_memory=True)
    x = stream(2, 24, memory.config)
    trials = torch.tensor([[0] * 10 + [1] * 14, [0] * 5 + [1] * 9 + [2] * 10])
    whole = memory(x, trials)
    alone = memory(x[:1, 10:], trials[:1, 10:])
    torch.testing.assert_close(whole[:1, 10:], alone, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_trial_memory_step_by_step_equals_all_at_once_when_rows_are_reset():
    memory = memory_of(trial_memory=True)
    x = stream(2, 24, memory.config)
    trials = torch.tensor([[0] * 10 + [1] * 14, [0] * 5 + [1] * 9 + [2] * 10])
    cache, states = memory.begin(2, "cpu"), []
    for t in range(24):
        if t:
            cache = cache.reset(trials[:, t] != trials[:, t - 1])
        state, cache = memory.step(x[:, t], cache)
        states.append(state)
    slow = torch.stack(states, dim=1)
    torch.testing.assert_close(slow, memory(x, trials), rtol=1e-4, atol=1e-4)


def test_episodes_beyond_the_context_are_refused():
    memory = memory_of(context=8)
    x = stream(1, 9, memory.config)
    with pytest.raises(ValueError, match="context"):
        memory(x, one_trial(x))
    with pytest.raises(ValueError, match="context"):
        stepped(memory, x, memory.begin(1, "cpu"))
