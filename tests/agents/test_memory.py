import pytest
import torch

from agents.memory import Memory, forgotten
from tests.agents.examples import tiny


def memory_of(**overrides):
    torch.manual_seed(0)
    return Memory(tiny(**overrides)).eval()


def stream(rows, steps, config, seed=0):
    return torch.randn(rows, steps, config.width, generator=torch.Generator().manual_seed(seed))


def nothing(x):
    return torch.zeros(x.shape[:2], dtype=torch.bool)


def whole(memory, x, trials=None, transformed=None, settled=None):
    trials = torch.zeros(x.shape[:2], dtype=torch.int64) if trials is None else trials
    transformed = nothing(x) if transformed is None else transformed
    return memory(x, x, trials, transformed, nothing(x) if settled is None else settled)


@torch.no_grad()
def stepped(memory, x, cache, transformed=None, settled=None):
    transformed = nothing(x) if transformed is None else transformed
    settled = nothing(x) if settled is None else settled
    states = []
    for t in range(x.shape[1]):
        state, cache = memory.step(x[:, t], x[:, t], cache, transformed[:, t], settled[:, t])
        states.append(state)
    return torch.stack(states, dim=1), cache


@torch.no_grad()
def test_step_by_step_equals_all_at_once_over_a_whole_intervention_episode():
    memory = memory_of(context=448)
    x = stream(2, 412, memory.config)
    slow, _ = stepped(memory, x, memory.begin(2, "cpu"))
    torch.testing.assert_close(slow, whole(memory, x), rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_rows_begin_anew_at_different_times():
    memory = memory_of()
    x = stream(3, 30, memory.config)
    starts = (0, 7, 19)  # where each row's latest episode begins
    cache, states = memory.begin(3, "cpu"), []
    for t in range(30):
        cache = cache.reset(torch.tensor([t == start for start in starts]))
        state, cache = memory.step(x[:, t], x[:, t], cache, nothing(x)[:, t], nothing(x)[:, t])
        states.append(state)
    slow = torch.stack(states, dim=1)
    for row, start in enumerate(starts):
        alone = x[row : row + 1, start:]
        all_at_once = whole(memory, alone)[0]
        torch.testing.assert_close(slow[row, start:], all_at_once, rtol=1e-4, atol=1e-4)
    assert cache.lengths.tolist() == [30, 23, 11]


@torch.no_grad()
def test_the_past_does_not_know_the_future():
    memory = memory_of()
    x = stream(1, 20, memory.config)
    changed = x.clone()
    changed[:, 12:] *= -1.0
    before, after = whole(memory, x), whole(memory, changed)
    assert torch.equal(before[:, :12], after[:, :12])
    assert not torch.allclose(before[:, 12:], after[:, 12:])


@torch.no_grad()
def test_a_late_step_depends_on_the_first():
    memory = memory_of()
    x = stream(1, 60, memory.config)
    changed = x.clone()
    changed[:, 0] *= -1.0
    last = whole(memory, x)[:, -1] - whole(memory, changed)[:, -1]
    assert last.abs().max() > 1e-5


@torch.no_grad()
def test_trial_memory_forgets_at_trial_boundaries():
    memory = memory_of(trial_memory=True)
    x = stream(2, 24, memory.config)
    trials = torch.tensor([[0] * 10 + [1] * 14, [0] * 5 + [1] * 9 + [2] * 10])
    together = whole(memory, x, trials)
    alone = whole(memory, x[:1, 10:])
    torch.testing.assert_close(together[:1, 10:], alone, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_trial_memory_step_by_step_equals_all_at_once_when_rows_are_reset():
    memory = memory_of(trial_memory=True)
    x = stream(2, 24, memory.config)
    trials = torch.tensor([[0] * 10 + [1] * 14, [0] * 5 + [1] * 9 + [2] * 10])
    cache, states = memory.begin(2, "cpu"), []
    for t in range(24):
        if t:
            cache = cache.reset(trials[:, t] != trials[:, t - 1])
        state, cache = memory.step(x[:, t], x[:, t], cache, nothing(x)[:, t], nothing(x)[:, t])
        states.append(state)
    slow = torch.stack(states, dim=1)
    torch.testing.assert_close(slow, whole(memory, x, trials), rtol=1e-4, atol=1e-4)


def test_episodes_beyond_the_context_are_refused():
    memory = memory_of(context=8)
    x = stream(1, 9, memory.config)
    with pytest.raises(ValueError, match="context"):
        whole(memory, x)
    with pytest.raises(ValueError, match="context"):
        stepped(memory, x, memory.begin(1, "cpu"))


def test_a_transform_takes_what_was_seen_since_the_latest_choice():
    transformed, settled = torch.zeros(2, 1, 11, dtype=torch.bool)
    transformed[0, [5, 9]] = True
    settled[0, [2, 7]] = True
    gone = forgotten(transformed, settled)[0]
    remembered = [[s for s in range(t + 1) if not gone[t, s]] for t in range(11)]
    assert remembered[4] == [0, 1, 2, 3, 4]
    assert remembered[5] == [0, 1, 2, 5]  # what the choice brought has been seen by then, and stays
    # What followed a transform stays, too.
    assert remembered[8] == [0, 1, 2, 5, 6, 7, 8]
    assert remembered[10] == [0, 1, 2, 5, 6, 7, 9, 10]


@torch.no_grad()
def test_what_is_forgotten_changes_nothing_any_more():
    memory = memory_of(forget_transformed=True, layers=2)
    x = stream(1, 20, memory.config)
    other = x.clone()
    other[:, :12] *= -1.0
    transformed = nothing(x)
    assert not torch.allclose(whole(memory, x)[:, 12:], whole(memory, other)[:, 12:])
    transformed[0, 12] = True
    one, two = (whole(memory, seen, transformed=transformed) for seen in (x, other))
    assert torch.equal(one[:, 12:], two[:, 12:])
    assert not torch.allclose(one[:, :12], two[:, :12])


@torch.no_grad()
@pytest.mark.parametrize("trial_memory", [False, True])
def test_forgetting_step_by_step_equals_all_at_once(trial_memory):
    memory = memory_of(forget_transformed=True, trial_memory=trial_memory)
    x = stream(4, 60, memory.config)
    draws = torch.randint(9, (4, 60), generator=torch.Generator().manual_seed(1))
    transformed, settled = draws == 0, draws == 1
    assert forgotten(transformed, settled).any((1, 2)).all()
    slow, _ = stepped(memory, x, memory.begin(4, "cpu"), transformed, settled)
    fast = whole(memory, x, None, transformed, settled)
    torch.testing.assert_close(slow, fast, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_who_begins_anew_has_forgotten_nothing():
    memory = memory_of(forget_transformed=True)
    x = stream(1, 12, memory.config)
    _, spent = stepped(memory, x, memory.begin(1, "cpu"), ~nothing(x))
    again, _ = stepped(memory, x, spent.reset(torch.tensor([True])))
    torch.testing.assert_close(again, whole(memory, x), rtol=1e-4, atol=1e-4)


def with_context(memory, x, context, transformed, settled):
    trials = torch.zeros(x.shape[:2], dtype=torch.int64)
    return memory(x, context, trials, transformed, settled)


@torch.no_grad()
def test_with_a_memory_of_deeds_no_picture_outlives_its_room():
    memory = memory_of(deed_layers=1, layers=2)
    x, context = (stream(1, 20, memory.config, seed) for seed in (0, 1))
    settled = nothing(x)
    settled[0, 11] = True  # the last step of its room
    before = with_context(memory, x, context, nothing(x), settled)
    other = x.clone()
    other[:, :12] *= -1.0
    after = with_context(memory, other, context, nothing(x), settled)
    assert torch.equal(before[:, 12:], after[:, 12:])
    assert not torch.allclose(before[:, :12], after[:, :12])


@torch.no_grad()
@pytest.mark.parametrize("mark", ["context", "transformed"])
def test_deeds_are_told_when_their_room_has_ended_and_not_before(mark):
    memory = memory_of(deed_layers=1)
    memory.deeds.given.weight.normal_()  # at first next to nothing comes from there
    x, context = (stream(1, 20, memory.config, seed) for seed in (0, 1))
    settled = nothing(x)
    settled[0, 11] = True
    seen = {"context": context, "transformed": nothing(x), "settled": settled}
    other = {**seen, mark: seen[mark].clone()}
    other[mark][0, 5] = -context[0, 5] if mark == "context" else True
    one, two = (with_context(memory, x, **of) for of in (seen, other))
    assert torch.equal(one[:, :12], two[:, :12])
    assert not torch.isclose(one[:, 12:], two[:, 12:]).all(-1).any()


@torch.no_grad()
@pytest.mark.parametrize("forget_transformed", [False, True])
def test_deeds_step_by_step_equal_all_at_once(forget_transformed):
    memory = memory_of(deed_layers=2, forget_transformed=forget_transformed)
    memory.deeds.given.weight.normal_()
    x = stream(4, 60, memory.config)
    draws = torch.randint(9, (4, 60), generator=torch.Generator().manual_seed(1))
    transformed, settled = draws == 0, draws == 1
    slow, spent = stepped(memory, x, memory.begin(4, "cpu"), transformed, settled)
    fast = whole(memory, x, None, transformed, settled)
    torch.testing.assert_close(slow, fast, rtol=1e-4, atol=1e-4)
    # Whoever begins anew remembers neither pictures nor deeds.
    again, _ = stepped(memory, x, spent.reset(torch.ones(4, dtype=torch.bool)))
    torch.testing.assert_close(again, whole(memory, x), rtol=1e-4, atol=1e-4)
