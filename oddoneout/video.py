"""Episodes as films: mp4, gif, or a contact sheet of the decisive moments as png."""

import contextlib
import importlib.util
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import gymnasium
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from oddoneout.actions import TRANSFORMS, Action
from oddoneout.captions import Caption, compose
from oddoneout.demos.rollout import Policy, Step, rollout
from oddoneout.demos.trajectory import Trajectory
from oddoneout.rules.splits import Stream, episode_seed
from oddoneout.world.geometry import VIEWS

FORMATS: Final = (".mp4", ".gif", ".png")
FPS: Final = 6

# How long a frame stays, in ticks of 1/FPS: long enough to read what matters.
_DECISIVE_TICKS: Final = 4
_OUTCOME_TICKS: Final = 12

_GIF_WIDTH: Final = 720
_SHEET_WIDTH: Final = 640  # of one picture
_SHEET_COLUMNS: Final = 3
_SHEET_PICTURES: Final = 15
_SHEET_LEAST: Final = 6
_SHEET_MEMORY: Final = 200  # pictures kept for the places that decisive ones leave


@dataclass(frozen=True, slots=True)
class Shot:
    """One frame of a film.

    Attributes:
        frame: uint8 (H, W, 3).
        ticks: how long it stays, in ticks of 1/FPS seconds.
        decisive: worth a place on the contact sheet: a beginning, a transform, a choice, an
            outcome.
    """

    frame: NDArray[np.uint8]
    ticks: int
    decisive: bool


class Reel(Protocol):
    """Takes shots and makes a file of them."""

    def add(self, shot: Shot) -> None: ...

    def close(self) -> None:
        """Finish the file.

        Raises:
            OSError: if it could not be written whole.
        """
        ...


class Camera:
    """Turns the steps of a rollout into shots; pass ``see`` as its ``on_step``.

    Args:
        sink: takes every shot as it is made.
        policy_name: written into the picture.
        view: of the room, "overhead" or "shoulder".

    Raises:
        ValueError: for an unknown view.
    """

    def __init__(self, sink: Callable[[Shot], None], policy_name: str, view: str) -> None:
        if view not in VIEWS:
            raise ValueError(f"view must be one of {', '.join(VIEWS)}, got {view!r}")
        self._sink, self._name, self._view = sink, policy_name, view
        self._total = 0.0
        self._won: float | None = None  # the reward of the choice being explained

    def see(self, step: Step) -> None:
        """Draw one step. Steps of several slots must not be mixed in one film."""
        now = step.moment.snapshot()
        action = Action(step.decision.action)
        explaining = step.info["phase"] == "explain"
        if step.time == 0:
            self._total = 0.0
        self._total += step.moment.previous_reward
        outcome = explaining and self._won is None
        if not explaining:
            self._won = None
        elif outcome:
            self._won = step.moment.previous_reward
        caption = Caption(
            policy=self._name,
            instruction=step.info["instruction"],
            explanation=step.info["explanation"],
            says=step.decision.says,
            action=action,
            trial=now.trial,
            trials=now.trials,
            test=now.test,
            explaining=explaining,
            correct=None if self._won is None else self._won > 0,
            reward=self._won or 0.0,
            total=self._total,
            probabilities=step.decision.probabilities,
        )
        room = step.env.unwrapped.present(view=self._view)  # pyright: ignore[reportAttributeAccessIssue]
        usable = now.transforms_left if action in TRANSFORMS else action is Action.CHOOSE
        acts = not explaining and now.focus is not None and bool(usable)
        self._sink(
            Shot(
                frame=compose(step.moment.image, room, caption),
                ticks=_OUTCOME_TICKS if outcome else _DECISIVE_TICKS if acts else 1,
                decisive=outcome or acts or step.time == 0,
            )
        )


class Mp4:
    """H.264 in an mp4 file.

    Raises:
        ModuleNotFoundError: if imageio-ffmpeg, which brings the encoder, is missing.
    """

    def __init__(self, path: Path) -> None:
        if importlib.util.find_spec("imageio_ffmpeg") is None:
            raise ModuleNotFoundError(
                "writing .mp4 needs the package imageio-ffmpeg "
                '(pip install "oddoneout[video]"); .gif and .png need nothing more'
            )
        import imageio.v2 as imageio

        self._path, self._frames = path, 0
        self._writer: Any = imageio.get_writer(
            path, format="FFMPEG", fps=FPS, codec="libx264", quality=8, macro_block_size=2
        )

    def add(self, shot: Shot) -> None:
        for _ in range(shot.ticks):
            try:
                self._writer.append_data(shot.frame)
            except OSError as error:  # which quotes the whole command
                raise self._failure("the encoder has ended") from error
            self._frames += 1

    def close(self) -> None:
        self._writer.close()
        # imageio does not ask the encoder how it ended.
        if self._frames and (found := self._count()) != self._frames:
            raise self._failure(f"{found} of {self._frames} frames are there")

    def _count(self) -> int:
        """The frames of the file."""
        from imageio_ffmpeg import count_frames_and_secs

        try:
            return count_frames_and_secs(self._path)[0] or 0
        except RuntimeError:  # no film at all
            return 0

    def _failure(self, what: str) -> OSError:
        return OSError(f"cannot write {self._path}: {what} (is the disk full?)")


class Gif:
    """An animated gif that loops, small enough for a web page: one palette, no dithering."""

    def __init__(self, path: Path, width: int = _GIF_WIDTH) -> None:
        self._path, self._width = path, width
        self._frames: list[Image.Image] = []
        self._milliseconds: list[int] = []

    def add(self, shot: Shot) -> None:
        self._frames.append(_scaled(shot.frame, self._width))
        self._milliseconds.append(round(1000 * shot.ticks / FPS))

    def close(self) -> None:
        if not self._frames:
            return
        # One palette serves all frames, so that what stands still is the same in every frame and
        # need not be stored again.
        palette, none = _palette(self._frames), Image.Dither.NONE
        first, *rest = (frame.quantize(palette=palette, dither=none) for frame in self._frames)
        first.save(
            self._path,
            format="GIF",
            save_all=True,
            append_images=rest,
            duration=self._milliseconds,
            loop=0,
            optimize=True,
        )


class ContactSheet:
    """The decisive moments on one page, in rows from left to right."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._decisive: list[Image.Image] = []
        self._between: list[tuple[int, Image.Image]] = []  # (decisive ones before it, picture)

    def add(self, shot: Shot) -> None:
        if len(self._decisive) >= _SHEET_PICTURES:
            return
        picture = _scaled(shot.frame, _SHEET_WIDTH)
        if shot.decisive:
            self._decisive.append(picture)
        elif len(self._between) < _SHEET_MEMORY:
            self._between.append((len(self._decisive), picture))

    def _pictures(self) -> list[Image.Image]:
        """The decisive ones; where they are few, others evenly between them."""
        wanted = min(max(0, _SHEET_LEAST - len(self._decisive)), len(self._between))
        places = [(i, picture) for i, picture in enumerate(self._decisive, start=1)]
        for k in range(wanted):
            before, picture = self._between[(2 * k + 1) * len(self._between) // (2 * wanted)]
            places.append((before, picture))
        # Sorting is stable: what came after a decisive picture is set after it.
        return [picture for _, picture in sorted(places, key=lambda place: place[0])]

    def close(self) -> None:
        pictures = self._pictures()
        if not pictures:
            return
        gap = 8
        columns = min(_SHEET_COLUMNS, len(pictures))
        rows = math.ceil(len(pictures) / columns)
        width, height = pictures[0].size
        size = (columns * (width + gap) + gap, rows * (height + gap) + gap)
        page = Image.new("RGB", size, (255, 255, 255))
        for i, picture in enumerate(pictures):
            row, column = divmod(i, columns)
            page.paste(picture, (gap + column * (width + gap), gap + row * (height + gap)))
        page.save(self._path, format="PNG")


def _palette(frames: Sequence[Image.Image]) -> Image.Image:
    """Up to 256 colors for all frames. A color's weight grows with the root of its area: else
    floor and walls would take all the places, and the objects lose their colors."""
    some = frames[:: math.ceil(len(frames) / 80)]
    samples = [np.asarray(frame)[::2, ::2].reshape(-1, 3) // 4 for frame in some]
    packed = [(s.astype(np.int32) << (12, 6, 0)).sum(1) for s in samples]
    colors, areas = np.unique(np.concatenate(packed), return_counts=True)
    weighted = np.repeat(colors, np.ceil(np.sqrt(areas)).astype(np.int64))
    pixels = np.stack([(weighted >> shift) % 64 * 4 + 2 for shift in (12, 6, 0)], axis=-1)
    strip = Image.fromarray(pixels.astype(np.uint8)[None])
    return strip.quantize(256, Image.Quantize.MEDIANCUT)


def _scaled(frame: NDArray[np.uint8], width: int) -> Image.Image:
    height = round(frame.shape[0] * width / frame.shape[1])
    return Image.fromarray(frame).resize((width, height), Image.Resampling.LANCZOS)


def open_reel(path: Path) -> Reel:
    """The reel for a file name: .mp4, .gif or .png.

    Raises:
        ValueError: for another ending.
        FileNotFoundError: if the folder does not exist.
        ModuleNotFoundError: if what an mp4 needs is missing.
    """
    reels: Mapping[str, Callable[[Path], Reel]] = {
        ".mp4": Mp4,
        ".gif": Gif,
        ".png": ContactSheet,
    }
    make = reels.get(path.suffix.lower())
    if make is None:
        raise ValueError(f"a film's name must end in {', '.join(FORMATS)}, got {str(path)!r}")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {str(path.parent)!r} to write into")
    return make(path)


def film(
    policy: Policy,
    make_env: Callable[[], gymnasium.Env],
    seeds: Iterable[int],
    path: Path,
    *,
    policy_name: str,
    view: str = "overhead",
) -> list[Trajectory]:
    """Play one episode per seed, one after the other, and film them into one file.

    The file appears when all is filmed; until then, what was there before stays.

    Args:
        policy: plays.
        make_env: builds the environment; no render mode is needed.
        seeds: of the episodes.
        path: ends in .mp4, .gif or .png (a contact sheet).
        policy_name: written into the picture.
        view: of the room, "overhead" or "shoulder".

    Returns:
        the episodes played.

    Raises:
        ValueError: for an unknown view or file ending.
        FileNotFoundError, ModuleNotFoundError: as in ``open_reel``.
        OSError: if the film cannot be written whole.
    """
    unfinished = path.with_name(f".{os.getpid()}.{path.name}")
    reel = open_reel(unfinished)
    try:
        try:
            camera = Camera(reel.add, policy_name, view)
            played = list(rollout(policy, make_env, seeds, slots=1, on_step=camera.see))
        except BaseException:
            with contextlib.suppress(OSError):  # what went wrong first is to be told
                reel.close()
            raise
        reel.close()
        if played:
            unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return played


def record(
    policy: Policy,
    env_id: str,
    env_args: Mapping[str, Any] | None,
    path: Path,
    *,
    episodes: int,
    seed: int,
    policy_name: str,
    view: str = "overhead",
) -> list[Trajectory]:
    """``film`` of the first episodes that ``evaluation.evaluate`` plays with the same seed.

    Raises:
        ValueError: also for fewer than one episode.
    """
    if episodes < 1:
        raise ValueError(f"episodes must be at least 1, got {episodes}")
    arguments = dict(env_args or {})

    def make_env() -> gymnasium.Env:
        return gymnasium.make(env_id, disable_env_checker=True, **arguments)

    seeds = [episode_seed(Stream.TEST, seed, i) for i in range(episodes)]
    return film(policy, make_env, seeds, path, policy_name=policy_name, view=view)
