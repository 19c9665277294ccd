import contextlib
import itertools
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch

from agents.batch import IGNORED
from agents.batches import Batches, Order, Position, Several, Words, collate, prefetch
from agents.config import TrainingConfig
from oddoneout.actions import TRANSFORMS, Action
from oddoneout.demos.trajectory import Told
from oddoneout.rules import language
from tests.agents.examples import tiny
from tests.agents.made_up import MadeUp

AGENT = tiny(image_size=(16, 16))
PLAIN = TrainingConfig(batch_episodes=4, batch_frames=40, shift=0, mirror=0.0)


@pytest.mark.parametrize(("count", "episodes", "frames"), [(50, 4, 40), (7, 16, 999), (33, 8, 12)])
def test_every_epoch_shows_every_episode_once_within_the_budget(count, episodes, frames):
    lengths = MadeUp(count).lengths
    order = Order(lengths, episodes, frames, seed=3)
    for epoch in range(3):
        batches = order.epoch(epoch)
        assert sorted(np.concatenate(batches).tolist()) == list(range(count))
        for ids in batches:
            assert 1 <= len(ids) <= episodes
            assert len(ids) == 1 or lengths[ids].sum() <= frames


def test_epochs_and_seeds_shuffle_differently():
    lengths = MadeUp(50).lengths
    drawn = [
        np.concatenate(Order(lengths, 4, 40, seed).epoch(epoch)).tolist()
        for seed, epoch in ((0, 0), (0, 1), (1, 0))
    ]
    assert drawn[0] != drawn[1] != drawn[2] != drawn[0]


def test_the_order_goes_on_from_any_position():
    lengths = MadeUp(20).lengths
    whole = list(itertools.islice(Order(lengths, 4, 40, 0).walk(Position()), 25))
    assert whole[-1][0].epoch >= 2
    for start in (1, 4, 17):
        position = whole[start - 1][2]
        assert position == whole[start][0]
        rest = itertools.islice(Order(lengths, 4, 40, 0).walk(position), 25 - start)
        for (here, ids, after), (there, expected, later) in zip(rest, whole[start:], strict=True):
            assert (here, after) == (there, later)
            assert ids.tolist() == expected.tolist()


def test_rows_of_a_batch_are_the_episodes_step_for_step():
    data = MadeUp(5)
    episodes = [data.episode(i) for i in (3, 0, 4)]
    batch = collate(episodes, AGENT, Words(AGENT.sentence_words))
    inputs, targets = batch.inputs, batch.targets
    frames = inputs.images.split(inputs.lengths.tolist())
    for row, (episode, images) in enumerate(zip(episodes, frames, strict=True)):
        n = len(episode)
        assert int(inputs.lengths[row]) == n
        assert np.array_equal(images, episode.seen.images)
        assert np.array_equal(inputs.instructions[row, :n], episode.seen.instructions)
        assert inputs.previous_actions[row, 0] == AGENT.no_action
        assert np.array_equal(inputs.previous_actions[row, 1:n], episode.seen.actions[:-1])
        assert inputs.previous_rewards[row, 0] == 0
        assert np.array_equal(inputs.previous_rewards[row, 1:n], episode.seen.rewards[:-1])
        assert np.array_equal(targets.labels[row, :n], episode.told.labels)
        assert (targets.labels[row, n:] == IGNORED).all()
        assert np.array_equal(targets.explaining[row, :n], episode.told.explaining)
        assert np.array_equal(targets.rewards[row, :n], episode.seen.rewards)
        assert np.array_equal(inputs.trials[row, :n], episode.told.trials)
        assert inputs.trials[row].diff().ge(0).all()
        said = [language.decode(targets.sentences[i].numpy()) for i in targets.told[row, :n]]
        assert said == list(episode.told.explanations)
        assert (targets.told[row, n:] == 0).all()
    assert len(targets.sentences.unique(dim=0)) == len(targets.sentences)
    assert not targets.sentences[0].any()


def test_a_search_is_told_how_its_own_trials_choice_will_be_explained():
    episode = MadeUp(1, shortest=6, longest=6).episode(0)
    told = Told(
        labels=episode.told.labels,
        explanations=("this is red", "", "correct it is uniquely red", "", "this is red", ""),
        trials=np.array([0, 0, 0, 1, 1, 1], np.uint8),
        explaining=np.array([False, False, True, False, False, False]),
    )
    targets = collate([replace(episode, told=told)], AGENT, Words(AGENT.sentence_words)).targets
    foretold = [language.decode(targets.sentences[i].numpy()) for i in targets.coming[0]]
    # Nothing once it stands, and nothing in a trial that never comes to a choice.
    assert foretold == ["correct it is uniquely red"] * 2 + [""] * 4


def test_a_transform_that_changes_nothing_to_be_seen_has_transformed_nothing():
    config = tiny(image_size=(16, 16), forget_transformed=True)
    episode = MadeUp(1, shortest=8, longest=8).episode(0)
    moves = [Action.FORWARD, *TRANSFORMS, Action.CHOOSE, Action.TRANSFORM_COLOR, *[Action.NOOP] * 2]
    episode.seen.actions[:] = moves
    episode.seen.images[3] = episode.seen.images[2]  # after the second of four transforms
    words = Words(config.sentence_words)
    inputs = collate([episode], config, words).inputs
    assert torch.nonzero(inputs.transformed[0]).flatten().tolist() == [2, 4, 6]
    remembers = replace(config, forget_transformed=False)
    assert not collate([episode], remembers, words).inputs.transformed.any()


def test_shares_of_all_processes_make_up_the_batch():
    data = MadeUp(20)
    training = replace(PLAIN, shift=2, mirror=0.5)
    (whole,) = next(Batches(data, AGENT, training).stream()).batches
    shares = [
        next(Batches(data, AGENT, training, rank=rank, ranks=3, passes=2).stream())
        for rank in range(3)
    ]
    assert {share.frames for share in shares} == {whole.frames}
    used = [
        batch
        for share in shares
        for batch, idle in zip(share.batches, share.idle, strict=True)
        if not idle
    ]
    assert sum(batch.frames for batch in used) == whole.frames
    assert sum(sum(share.idle) for share in shares) == 6 - len(used)

    def contents(batches):
        return sorted(
            images.numpy().tobytes()
            for batch in batches
            for images in batch.inputs.images.split(batch.inputs.lengths.tolist())
        )

    assert contents(used) == contents([whole]), "augmented alike, however it is shared out"


def test_several_sets_are_one_after_another():
    parts = [MadeUp(3, seed=1), MadeUp(5, seed=2)]
    both = Several(parts)
    assert len(both) == 8
    assert both.lengths.tolist() == [*parts[0].lengths, *parts[1].lengths]
    for index, (part, at) in {2: (0, 2), 3: (1, 0), 7: (1, 4)}.items():
        expected = parts[part].episode(at).seen.images
        assert np.array_equal(both.episode(index).seen.images, expected)
    with pytest.raises(ValueError, match="no demonstrations"):
        Several([])


def test_demonstrations_that_do_not_fit_the_agent_are_refused():
    words = Words(AGENT.sentence_words)
    with pytest.raises(ValueError, match="images of"):
        collate([MadeUp(1, (16, 24)).episode(0)], AGENT, words)
    with pytest.raises(ValueError, match="context"):
        collate([MadeUp(1, shortest=70, longest=70).episode(0)], AGENT, words)
    with pytest.raises(ValueError, match="instructions of"):
        collate([MadeUp(1).episode(0)], replace(AGENT, instruction_words=3), words)


def test_prefetching_keeps_order_and_hands_on_errors():
    def items():
        yield from range(5)
        raise KeyError("gone")

    ahead = prefetch(items())
    assert [next(ahead) for _ in range(5)] == list(range(5))
    with pytest.raises(KeyError, match="gone"):
        next(ahead)
    assert list(prefetch(iter("abc"))) == ["a", "b", "c"]


def test_prefetching_ends_its_thread_when_closed():
    before = threading.active_count()
    ahead = prefetch(itertools.count())
    assert next(ahead) == 0
    ahead.close()
    assert threading.active_count() == before


def test_prefetching_computes_with_one_core_and_leaves_the_others_to_who_waits():
    def numbers():
        while True:
            yield torch.get_num_threads()

    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with contextlib.closing(prefetch(numbers())) as ahead:
            assert [next(ahead) for _ in range(4)] == [1] * 4
            assert torch.get_num_threads() == 3
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_batches_are_made_without_touching_torchs_random_state():
    state = torch.get_rng_state()
    next(Batches(MadeUp(9), AGENT, replace(PLAIN, shift=2, mirror=0.5)).stream())
    assert torch.equal(torch.get_rng_state(), state)
