from dataclasses import replace

import numpy as np
import torch

from agents.augment import Changes, change
from agents.batches import Words, collate
from agents.config import TrainingConfig
from oddoneout.actions import Action
from tests.agents.examples import tiny
from tests.agents.made_up import MadeUp

AGENT = tiny(image_size=(16, 24))
DATA = MadeUp(4, (16, 24))


def fresh():
    episodes = [DATA.episode(i) for i in range(3)]
    return collate(episodes, AGENT, Words(AGENT.sentence_words))


def changes(down=(0, 0, 0), right=(0, 0, 0), mirror=(False, False, False)) -> Changes:
    return Changes(np.array(down), np.array(right), np.array(mirror), np.arange(3), 0.0, 0)


def frames(batch):
    return batch.inputs.images.split(batch.inputs.lengths.tolist())


def test_shifting_moves_whole_episodes_and_draws_out_the_edges():
    before, after = frames(fresh()), frames(change(fresh(), changes((2, 0, -1), (0, 3, -2))))
    assert torch.equal(after[0][:, 2:], before[0][:, :-2])
    assert torch.equal(after[0][:, :2], before[0][:, :1].expand(-1, 2, -1, -1))
    assert torch.equal(after[1][:, :, 3:], before[1][:, :, :-3])
    assert torch.equal(after[1][:, :, :3], before[1][:, :, :1].expand(-1, -1, 3, -1))
    assert torch.equal(after[2][:, :-1, :-2], before[2][:, 1:, 2:])
    assert torch.equal(after[2][:, -1, :-2], before[2][:, -1, 2:])
    assert torch.equal(after[2][:, :, -1], after[2][:, :, -3])


def test_mirroring_swaps_left_and_right_in_pictures_labels_and_past_actions():
    plain, mirrored = fresh(), change(fresh(), changes(mirror=(True, False, True)))
    for row, (before, after) in enumerate(zip(frames(plain), frames(mirrored), strict=True)):
        assert torch.equal(after, before if row == 1 else before.flip(2))
    left, right = int(Action.TURN_LEFT), int(Action.TURN_RIGHT)
    for before, after in (
        (plain.targets.labels, mirrored.targets.labels),
        (plain.inputs.previous_actions, mirrored.inputs.previous_actions),
    ):
        assert torch.equal(after[1], before[1])
        for row in (0, 2):
            assert torch.equal(after[row] == left, before[row] == right)
            assert torch.equal(after[row] == right, before[row] == left)
            turns = (before[row] == left) | (before[row] == right)
            assert torch.equal(after[row][~turns], before[row][~turns])


def test_mirroring_twice_changes_nothing():
    both = changes(mirror=(True, True, True))
    once_and_back = change(change(fresh(), both), both)
    for name in ("images", "previous_actions"):
        expected = getattr(fresh().inputs, name)
        assert torch.equal(getattr(once_and_back.inputs, name), expected)
    assert torch.equal(once_and_back.targets.labels, fresh().targets.labels)


def test_sentences_and_everything_else_stay():
    plain = fresh()
    changed = change(fresh(), changes((1, 2, 0), (0, -1, 1), (True, True, False)))
    for name in ("sentences", "told", "explaining", "rewards"):
        assert torch.equal(getattr(changed.targets, name), getattr(plain.targets, name))
    for name in ("lengths", "instructions", "previous_rewards", "trials"):
        assert torch.equal(getattr(changed.inputs, name), getattr(plain.inputs, name))


def test_what_is_drawn_depends_on_seed_and_place_alone():
    config = TrainingConfig(shift=3, mirror=0.5)

    def drawn(seed: int, *key: int) -> list[list[int]]:
        found = Changes.draw(40, TrainingConfig(shift=3, mirror=0.5, seed=seed), key)
        return [found.down.tolist(), found.right.tolist(), found.mirror.tolist()]

    assert drawn(0, 1, 2) == drawn(0, 1, 2)
    assert drawn(0, 1, 2) != drawn(0, 1, 3)
    assert drawn(0, 1, 2) != drawn(1, 1, 2)
    many = Changes.draw(2000, config, (0, 0))
    assert set(many.down) == set(many.right) == set(range(-3, 4))
    assert 0.4 < many.mirror.mean() < 0.6


def test_no_augmentation_leaves_batches_as_they_are():
    nothing = Changes.draw(3, TrainingConfig(shift=0, mirror=0.0), (0,))
    assert torch.equal(change(fresh(), nothing).inputs.images, fresh().inputs.images)


def test_lapses_come_in_searches_only_as_often_as_asked_and_the_same_for_any_share():
    often = replace(TrainingConfig(), lapse=0.3)
    data = MadeUp(200, shortest=30, longest=60)
    config = tiny(image_size=(16, 16), forget_transformed=True)
    episodes = [data.episode(i) for i in range(len(data))]
    words = Words(config.sentence_words)
    plain = collate(episodes, config, words)
    drawn = Changes.draw(len(data), often, (0, 0))
    lapsed = change(collate(episodes, config, words), drawn).inputs.transformed
    assert (lapsed & plain.inputs.transformed).equal(plain.inputs.transformed), "transforms stay"
    more = lapsed & ~plain.inputs.transformed
    assert not more[:, 0].any()
    assert not more[~plain.searching].any()
    share = more.sum() / (plain.searching & ~plain.inputs.transformed)[:, 1:].sum()
    assert 0.27 < share < 0.33
    part = change(collate(episodes[50:90], config, words), drawn[50:90]).inputs.transformed
    assert part.equal(lapsed[50:90, : part.shape[1]])
    never = Changes.draw(len(data), TrainingConfig(), (0, 0))
    untouched = change(collate(episodes, config, words), never).inputs.transformed
    assert untouched.equal(plain.inputs.transformed)
