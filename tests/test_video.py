"""Films: the picture, the three kinds of file, and that watching changes nothing."""

import os
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import gymnasium
import imageio.v3 as imageio
import numpy as np
import pytest
from PIL import Image

import oddoneout.video as video
from oddoneout.actions import Action
from oddoneout.baselines import RandomObjectPolicy
from oddoneout.captions import BAR_HEIGHT, EYE_SIDE, Caption, compose, fit
from oddoneout.demos.rollout import Decision, Moment, rollout

BASIC = "OddOneOut/Basic-v0"
SHOT = np.zeros((96, 160, 3), np.uint8)


def caption(**changes) -> Caption:
    values = {
        "policy": "expert",
        "instruction": "find the odd one out",
        "explanation": "this is a large red striped cube",
        "says": None,
        "action": Action.FORWARD,
        "trial": 0,
        "trials": 1,
        "test": True,
        "explaining": False,
        "correct": None,
        "reward": 0.0,
        "total": 0.0,
    }
    return Caption(**{**values, **changes})


def picture(**changes) -> np.ndarray:
    eye, room = np.full((48, 80, 3), 7, np.uint8), np.full((480, 640, 3), 99, np.uint8)
    return compose(eye, room, caption(**changes))


def test_the_picture_has_the_eye_the_room_and_the_captions() -> None:
    frame = picture()
    assert frame.dtype == np.uint8
    assert frame.shape == (480 + BAR_HEIGHT, EYE_SIDE + 640, 3)
    assert not frame.shape[0] % 2
    assert not frame.shape[1] % 2
    assert (frame[240, 200] == 7).all()
    assert (frame[240, 800] == 99).all()


def test_everything_a_caption_says_shows() -> None:
    changes = [
        {},
        {"instruction": "make an odd one out"},
        {"explanation": ""},
        {"says": "this is a large red striped cube"},
        {"says": "this is a small red striped cube"},
        {"action": Action.CHOOSE},
        {"trials": 4},
        {"trials": 4, "trial": 1},
        {"trials": 4, "test": False},
        {"correct": True, "explaining": True},
        {"correct": False, "explaining": True},
        {"total": 3.0},
        {"total": 3.0, "reward": 1.0},
        {"probabilities": np.full(9, 1 / 9, np.float32)},
        {"note": "in focus"},
        {"policy": "random"},
    ]
    frames = [picture(**change) for change in changes]
    for a, b in pairwise(frames):
        assert (a != b).any()
    assert len({frame.tobytes() for frame in frames}) == len(frames)


def test_the_longest_sentence_stays_within_the_picture() -> None:
    text = "incorrect others share medium magenta checkered hourglass texture matters " * 2
    frame = picture(explanation=text)
    assert (frame[480:, -8:] == frame[-1, -1]).all()


def test_enlarging_makes_whole_squares() -> None:
    image = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    big = fit(image, 10)
    assert big.shape == (6, 9, 3)
    assert (big[::3, ::3] == image).all()
    assert (big[2, 2] == image[0, 0]).all()
    assert (fit(big, 9) == big).all()


@pytest.mark.parametrize(
    ("size", "fitted"), [((20, 20), (10, 10)), ((512, 256), (10, 5)), ((16, 512), (1, 10))]
)
def test_what_is_larger_than_the_square_is_shrunk(size, fitted) -> None:
    small = fit(np.full((*size, 3), 7, np.uint8), 10)
    assert small.dtype == np.uint8
    assert small.shape == (*fitted, 3)
    assert (small == 7).all()


@pytest.mark.parametrize("size", [(512, 512), (480, 480), (512, 300), (16, 512)], ids=str)
def test_the_largest_eye_leaves_the_room_and_the_captions_alone(size) -> None:
    room = np.full((480, 640, 3), 99, np.uint8)
    dark, bright = (compose(np.full((*size, 3), v, np.uint8), room, caption()) for v in (7, 250))
    differs = (dark != bright).any(2)
    assert differs.any()
    assert not differs[480:].any()
    assert not differs[:, EYE_SIDE:].any()
    rows, columns = np.nonzero(differs)
    height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
    assert max(height, width) < EYE_SIDE  # whole, with a margin


@pytest.fixture(params=["gif", "mp4"])
def film(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / f"film.{request.param}"
    video.record(
        RandomObjectPolicy(), BASIC, None, path, episodes=2, seed=0, policy_name="random_object"
    )
    return path


def test_films_can_be_read_back(film: Path) -> None:
    frames = imageio.imread(film, index=None)
    assert frames.ndim == 4
    assert frames.shape[3] == 3
    assert len(frames) > 5
    assert frames[0].std() > 5


def test_a_gif_holds_outcomes_longer_than_steps(tmp_path: Path) -> None:
    reel = video.Gif(tmp_path / "a.gif", width=80)
    for value, ticks in ((0, 1), (120, 12), (240, 1)):
        reel.add(video.Shot(np.full_like(SHOT, value), ticks, False))
    reel.close()
    with Image.open(tmp_path / "a.gif") as gif:
        durations = []
        for index in range(gif.n_frames):  # type: ignore[attr-defined]
            gif.seek(index)
            durations.append(gif.info["duration"])
    assert durations[1] == 2000
    assert durations[0] == durations[2] < 200


def test_a_gif_keeps_the_colors_of_small_things(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    bright = [(255, 255, 0), (0, 255, 255), (255, 0, 0), (255, 0, 255)]
    reel = video.Gif(tmp_path / "a.gif", width=160)
    for color in bright:  # one small bright thing in a room of many grays
        frame = np.repeat(rng.integers(0, 256, (96, 160, 1), np.uint8), 3, axis=2)
        frame[40:50, 40:50] = color
        reel.add(video.Shot(frame, 1, False))
    reel.close()
    frames = imageio.imread(tmp_path / "a.gif", index=None).astype(int)
    for frame, color in zip(frames, bright, strict=True):
        assert abs(frame[45, 45] - color).max() < 16


def test_a_contact_sheet_shows_decisive_moments_and_fills_up_with_others(tmp_path: Path) -> None:
    reel = video.ContactSheet(tmp_path / "a.png")
    for step in range(30):
        reel.add(video.Shot(np.full_like(SHOT, 8 * step), 1, step in (0, 28, 29)))
    reel.close()
    with Image.open(tmp_path / "a.png") as sheet:
        page = np.asarray(sheet)
    shades = [int(page[y, x, 0]) for y in (100, 500) for x in (100, 800, 1400)]
    assert len(shades) == 6
    assert shades == sorted(shades)
    assert (shades[0], *shades[-2:]) == (0, 8 * 28, 8 * 29)


def test_filming_changes_nothing_of_what_is_played() -> None:
    def make_env() -> gymnasium.Env:
        return gymnasium.make(BASIC)

    shots: list[video.Shot] = []
    camera = video.Camera(shots.append, "random_object", "shoulder")
    (unseen,) = rollout(RandomObjectPolicy(), make_env, [5])
    (filmed,) = rollout(RandomObjectPolicy(), make_env, [5], on_step=camera.see)
    assert len(shots) == len(filmed)
    np.testing.assert_array_equal(unseen.seen.actions, filmed.seen.actions)
    np.testing.assert_array_equal(unseen.seen.images, filmed.seen.images)
    outcomes = [i for i, shot in enumerate(shots) if shot.ticks > 6]
    assert outcomes == [choice.step + 1 for choice in filmed.choices]


class Quitter(RandomObjectPolicy):
    """Fails at its third decision."""

    def decide(self, moments: Sequence[Moment]) -> Sequence[Decision]:
        self.left = getattr(self, "left", 3) - 1
        if not self.left:
            raise ArithmeticError("enough")
        return super().decide(moments)


@pytest.mark.parametrize("ending", video.FORMATS)
def test_a_film_that_fails_leaves_the_one_that_was_there(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"film{ending}"
    path.write_bytes(b"good")
    with pytest.raises(ArithmeticError):
        video.record(Quitter(), BASIC, None, path, episodes=1, seed=0, policy_name="quitter")
    assert path.read_bytes() == b"good"
    assert list(tmp_path.iterdir()) == [path]


def test_an_mp4_on_a_full_disk_is_an_error_and_leaves_the_one_that_was_there(
    tmp_path: Path,
) -> None:
    path = tmp_path / "film.mp4"
    path.write_bytes(b"good")
    (tmp_path / f".{os.getpid()}.film.mp4").symlink_to("/dev/full")
    with pytest.raises(OSError, match=r"cannot write .*film\.mp4: .*disk full"):
        video.record(
            RandomObjectPolicy(), BASIC, None, path, episodes=1, seed=0, policy_name="random"
        )
    assert path.read_bytes() == b"good"
    assert list(tmp_path.iterdir()) == [path]


def test_an_mp4_that_lacks_frames_is_not_taken_for_whole(tmp_path: Path) -> None:
    (tmp_path / "film.mp4").symlink_to("/dev/full")
    reel = video.Mp4(tmp_path / "film.mp4")
    reel.add(video.Shot(SHOT, 1, False))  # which the encoder still takes
    with pytest.raises(OSError, match=r"cannot write .*film\.mp4: 0 of 1 frames are there"):
        reel.close()


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        ("film.avi", ValueError, "mp4, .gif, .png"),
        ("film", ValueError, "mp4, .gif, .png"),
        ("nowhere/film.gif", FileNotFoundError, "no folder"),
    ],
)
def test_wrong_file_names_are_refused(tmp_path: Path, name: str, error, words: str) -> None:
    with pytest.raises(error, match=words):
        video.open_reel(tmp_path / name)


def test_a_missing_encoder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match="imageio-ffmpeg"):
        video.open_reel(tmp_path / "film.mp4")


def test_unknown_views_and_no_episodes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="overhead, shoulder"):
        video.Camera(lambda shot: None, "expert", "sideways")
    with pytest.raises(ValueError, match="at least 1"):
        video.record(
            RandomObjectPolicy(), BASIC, None, tmp_path / "a.gif", episodes=0, seed=0,
            policy_name="",
        )  # fmt: skip
