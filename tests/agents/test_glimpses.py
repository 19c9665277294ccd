from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from agents.batches import Batches, Several
from agents.config import TrainingConfig
from agents.curriculum import Stage
from agents.glimpses import Glimpses
from agents.training import RunOptions, Trainer
from tests.agents.examples import tiny
from tests.agents.made_up import MadeUp

GLIMPSES = Stage.GLIMPSES


class Retold:
    """Made-up episodes with other sentences."""

    def __init__(self, whole: MadeUp, texts: tuple[str, ...], explaining: tuple[bool, ...]) -> None:
        self.whole, self.texts, self.explaining = whole, texts, explaining
        self.lengths = whole.lengths

    def __len__(self) -> int:
        return len(self.whole)

    def episode(self, index: int, /):
        episode = self.whole.episode(index)
        told = replace(episode.told, explanations=self.texts, explaining=np.array(self.explaining))
        return replace(episode, told=told)


def retold(*steps: tuple[str, bool], episodes: int = 1) -> Retold:
    """Episodes in each of whose steps that is said, and explained or not."""
    whole = MadeUp(episodes, shortest=len(steps), longest=len(steps))
    texts, explaining = zip(*steps, strict=True)
    return Retold(whole, texts, explaining)


TRIAL = (
    ("", False),
    ("this is red", False),
    ("", False),
    ("this is blue", False),
    ("correct it is uniquely blue", True),
)


def test_glimpses_are_the_steps_of_searches_at_which_something_is_said():
    whole = retold(*TRIAL, episodes=2)
    glimpses = Glimpses(whole)
    assert len(glimpses) == 4
    assert glimpses.lengths.tolist() == [1, 1, 1, 1]
    for index, (episode, step) in enumerate([(0, 1), (0, 3), (1, 1), (1, 3)]):
        seen, told = whole.episode(episode).seen, whole.episode(episode).told
        glimpse = glimpses.episode(index)
        assert (glimpse.seen.images[0] == seen.images[step]).all()
        assert glimpse.told.labels.tolist() == [told.labels[step]]
        assert glimpse.told.explanations == (TRIAL[step][0],)


def test_where_nothing_is_said_during_searches_all_their_steps_are_glimpses():
    silent = Glimpses(retold(("", False), ("correct it is uniquely red", True), ("", False)))
    assert len(silent) == 2
    several = Glimpses(Several([retold(*TRIAL), retold(("", False))]))
    assert len(several) == 2, "silent episodes among told ones give none"


def test_demonstrations_without_searches_are_refused():
    with pytest.raises(ValueError, match="hold none"):
        Glimpses(retold(("correct it is uniquely red", True)))


class Stored:
    """Episodes whose pictures lie in a mapped file, and what the system was told of it."""

    def __init__(self, whole: Retold, path: Path) -> None:
        self.whole, self.lengths = whole, whole.lengths
        images = np.concatenate([whole.episode(i).seen.images for i in range(len(whole))])
        np.save(path, images)
        self.images = np.load(path, mmap_mode="r")
        self.ends = np.cumsum(self.lengths)

    def __len__(self) -> int:
        return len(self.whole)

    def episode(self, index: int, /):
        episode = self.whole.episode(index)
        images = self.images[self.ends[index] - len(episode) : self.ends[index]]
        return replace(episode, seen=replace(episode.seen, images=images))


def test_pictures_in_files_are_read_alone_until_the_glimpses_are_closed(tmp_path):
    whole = retold(*TRIAL, episodes=3)
    stored = Stored(whole, tmp_path / "images.npy")

    def scattered() -> bool:
        lines = Path("/proc/self/smaps").read_text().splitlines()
        (start,) = (i for i, line in enumerate(lines) if line.endswith("images.npy"))
        flags = next(line for line in lines[start:] if line.startswith("VmFlags"))
        return " rr" in flags  # "random read advise provided", see proc(5)

    assert not scattered()
    glimpses = Glimpses(stored)
    assert scattered()
    assert (glimpses.episode(5).seen.images == whole.episode(2).seen.images[3]).all()
    glimpses.close()
    assert not scattered()


def test_what_is_expected_is_what_is_read(tmp_path):
    whole = retold(*TRIAL, episodes=3)
    for demonstrations in (whole, Stored(whole, tmp_path / "images.npy")):
        glimpses = Glimpses(demonstrations)
        glimpses.expect(np.array([5, 0]))
        assert (glimpses.episode(5).seen.images == whole.episode(2).seen.images[3]).all()
        glimpses.close()


class Warned(MadeUp):
    """Keeps what it is told of, and what is asked of it."""

    def __init__(self, episodes: int) -> None:
        super().__init__(episodes)
        self.expected: list[int] = []
        self.asked: list[int] = []

    def expect(self, indices, /) -> None:
        self.expected += indices.tolist()

    def episode(self, index: int, /):
        self.asked.append(index)
        return super().episode(index)


def test_demonstrations_hear_in_time_and_in_order_what_will_be_asked_of_them():
    warned = Warned(40)
    training = TrainingConfig(batch_episodes=4, batch_frames=60)
    stream = Batches(warned, tiny(image_size=(16, 16)), training).stream()
    for _ in range(3):
        next(stream)
    assert warned.expected[: len(warned.asked)] == warned.asked
    assert len(warned.expected) > len(warned.asked)


@pytest.mark.parametrize(
    ("share", "asked", "pictures"),
    [
        (0.0, 0, 0),
        pytest.param(0.5, 0, 20, id="a third as many pictures as frames in a batch of episodes"),
        pytest.param(0.5, 8, 8, id="as many as are asked for"),
    ],
)
def test_a_run_takes_glimpses_first_and_episodes_then(tmp_path, share, asked, pictures):
    taken: list[tuple[int, bool]] = []
    config = TrainingConfig(
        frames=400,
        glimpses=share,
        batch_episodes=6,
        batch_frames=60,
        batch_glimpses=asked,
        warmup_steps=2,
    )
    run = Trainer(
        tmp_path,
        MadeUp(40),
        tiny(image_size=(16, 16)),
        config,
        RunOptions(device="cpu"),
        on_step=lambda trainer: taken.append(
            (trainer.state.frames, trainer.state.stage is GLIMPSES)
        ),
        say=lambda line: None,
    )
    assert (run.state.stage is GLIMPSES) == (share > 0.0)
    run.train()
    assert [more for _, more in taken] == [frames < share * 400 for frames, _ in taken]
    if share:
        assert taken[0][0] == pictures
