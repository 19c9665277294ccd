"""One picture for people: the agent's eye, the room, and below them what is said and done."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from oddoneout.actions import Action

EYE_SIDE: Final = 480  # the eye's image is fitted into this square
BAR_HEIGHT: Final = 176  # of the captions below

_Color = tuple[int, int, int]
_PAPER: Final[_Color] = (22, 24, 29)
_PANEL: Final[_Color] = (36, 39, 46)
_INK: Final[_Color] = (236, 238, 242)
_FAINT: Final[_Color] = (148, 154, 166)
_GOOD: Final[_Color] = (98, 206, 128)
_BAD: Final[_Color] = (242, 112, 96)
_BUSY: Final[_Color] = (86, 156, 246)

_MARGIN: Final = 16
_NAMES: Final = {
    Action.NOOP: "wait",
    Action.FORWARD: "forward",
    Action.BACKWARD: "back",
    Action.TURN_LEFT: "left",
    Action.TURN_RIGHT: "right",
    Action.CHOOSE: "choose",
    Action.TRANSFORM_COLOR: "color",
    Action.TRANSFORM_SHAPE: "shape",
    Action.TRANSFORM_TEXTURE: "texture",
}


@dataclass(frozen=True, slots=True)
class Caption:
    """What stands below one frame.

    Attributes:
        policy: who plays.
        instruction: as the environment words it.
        explanation: the true sentence standing now, "" when none does.
        says: the sentence the policy predicts; None if it does not speak.
        action: the action decided on.
        trial, trials: index of the trial, and how many there are.
        test: whether this is the scored trial.
        explaining: whether the trial's choice has been made.
        correct: whether that choice was right; None while there is none.
        reward: brought by the choice that is being explained, else 0.
        total: return so far.
        probabilities: float (9,) over actions, None if the policy has none.
        note: one more remark on how things stand.
    """

    policy: str
    instruction: str
    explanation: str
    says: str | None
    action: Action
    trial: int
    trials: int
    test: bool
    explaining: bool
    correct: bool | None
    reward: float
    total: float
    probabilities: NDArray[np.floating] | None = None
    note: str = ""


@lru_cache(maxsize=32)
def _font(size: int) -> Any:
    return ImageFont.load_default(size=size)


def fit(image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """``image``, uint8 (h, w, 3), as large as fits a square of ``side`` pixels.

    A small one is enlarged by a whole factor, every pixel a square; one that is larger than the
    square is shrunk, in proportion.
    """
    longest = max(image.shape[:2])
    if longest > side:
        height, width = (max(1, round(n * side / longest)) for n in image.shape[:2])
        small = Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS)
        return np.asarray(small)
    factor = side // longest
    return image.repeat(factor, axis=0).repeat(factor, axis=1)


def compose(eye: NDArray[np.uint8], room: NDArray[np.uint8], caption: Caption) -> NDArray[np.uint8]:
    """The eye beside the room above the captions.

    Args:
        eye: what the agent sees, uint8 (h, w, 3).
        room: the presentation view, uint8 (H, W, 3).
        caption: what to write below.

    Returns:
        uint8 (max(480, H) + 176, 480 + W, 3); both sides even for even H and W, as video
        formats ask.
    """
    big = Image.fromarray(fit(eye, EYE_SIDE - 2 * _MARGIN))
    top = max(EYE_SIDE, room.shape[0])
    page = Image.new("RGB", (EYE_SIDE + room.shape[1], top + BAR_HEIGHT), _PAPER)
    page.paste(big, ((EYE_SIDE - big.width) // 2, (top - big.height) // 2))
    page.paste(Image.fromarray(room), (EYE_SIDE, (top - room.shape[0]) // 2))
    draw = ImageDraw.Draw(page)
    height, width = eye.shape[:2]
    _tag(
        draw, ((EYE_SIDE - big.width) // 2, (top - big.height) // 2), f"it sees {width} x {height}"
    )
    _tag(draw, (EYE_SIDE + 8, (top - room.shape[0]) // 2 + 8), caption.policy)
    _bar(draw, caption, top, page.width)
    return np.asarray(page)


def _tag(draw: ImageDraw.ImageDraw, corner: tuple[int, int], text: str) -> None:
    x, y = corner
    font = _font(15)
    width = draw.textlength(text, font)
    draw.rectangle((x, y, x + width + 14, y + 23), fill=_PAPER)
    draw.text((x + 7, y + 12), text, _FAINT, font, anchor="lm")


def _bar(draw: ImageDraw.ImageDraw, caption: Caption, top: int, width: int) -> None:
    y = top + 20
    _status(draw, caption, y, width)
    heard = _INK
    if caption.correct is not None:
        heard = _GOOD if caption.correct else _BAD
    lines: list[tuple[str, str, _Color]] = [
        ("asked", caption.instruction, _INK),
        ("told", caption.explanation, heard),
    ]
    if caption.says is not None:
        agrees = caption.says == caption.explanation
        # Where nothing stands, nothing is asked of the agent either.
        color = _FAINT if not caption.explanation else _GOOD if agrees else _BAD
        lines.append(("it says", caption.says, color))
    for label, text, color in lines:
        y += 28
        draw.text((_MARGIN, y), label, _FAINT, _font(16), anchor="lm")
        room = width - _MARGIN - 92
        draw.text((92, y), text, color, _fitting(draw, text, room), anchor="lm")
    _keys(draw, caption, top + BAR_HEIGHT - 46, width)


def _fitting(draw: ImageDraw.ImageDraw, text: str, width: float) -> Any:
    """The largest font in which the text fits on its line."""
    size = 21
    while size > 11 and draw.textlength(text, _font(size)) > width:
        size -= 1
    return _font(size)


def _status(draw: ImageDraw.ImageDraw, caption: Caption, y: int, width: int) -> None:
    pieces: list[tuple[str, _Color]] = []
    if caption.trials > 1:
        kind = "test" if caption.test else "experiment"
        pieces.append((f"trial {caption.trial + 1} of {caption.trials}: {kind}", _INK))
    if caption.correct is not None:
        right = caption.correct
        pieces.append(("CORRECT" if right else "INCORRECT", _GOOD if right else _BAD))
    else:
        pieces.append(("searching", _FAINT))
    if caption.note:
        pieces.append((caption.note, _BUSY))
    x = float(_MARGIN)
    for text, color in pieces:
        draw.text((x, y), text, color, _font(18), anchor="lm")
        x += draw.textlength(text, _font(18)) + 24
    money = f"return {caption.total:g}"
    draw.text((width - _MARGIN, y), money, _INK, _font(18), anchor="rm")
    if caption.reward:
        left = width - _MARGIN - draw.textlength(money, _font(18)) - 24
        draw.text((left, y), f"+{caption.reward:g}", _GOOD, _font(18), anchor="rm")


def _keys(draw: ImageDraw.ImageDraw, caption: Caption, y: int, width: int) -> None:
    """The nine actions as keys: the one decided on lit, its probability as a bar."""
    gap = 6
    label = draw.textlength("transform", _font(14)) + 14  # before the last three keys
    key = (width - 2 * _MARGIN - label - gap * (len(Action) - 1)) / len(Action)
    x = float(_MARGIN)
    for action in Action:
        if action is Action.TRANSFORM_COLOR:
            draw.text((x + label - 10, y + 16), "transform", _FAINT, _font(14), anchor="rm")
            x += label
        lit = action is caption.action
        fill = _BUSY if lit else _PANEL
        draw.rounded_rectangle((x, y, x + key, y + 32), 6, fill=fill)
        ink = _PAPER if lit else _FAINT
        draw.text((x + key / 2, y + 14), _NAMES[action], ink, _font(16), anchor="mm")
        if caption.probabilities is not None:
            length = (key - 12) * float(np.clip(caption.probabilities[action], 0.0, 1.0))
            draw.rectangle((x + 6, y + 26, x + key - 6, y + 28), fill=_PAPER)
            if length >= 1:
                draw.rectangle((x + 6, y + 26, x + 6 + length, y + 28), fill=_INK)
        x += key + gap


def notice(
    rows: Sequence[tuple[str, str]], height: int = 480, width: int = 640
) -> NDArray[np.uint8]:
    """A panel of text in two columns in place of the room, uint8 (height, width, 3)."""
    page = Image.new("RGB", (width, height), _PANEL)
    draw = ImageDraw.Draw(page)
    y = (height - 38 * len(rows)) / 2 + 19
    for left, right in rows:
        draw.text((190, y), left, _BUSY, _font(20), anchor="rm")
        draw.text((214, y), right, _INK, _font(20), anchor="lm")
        y += 38
    return np.asarray(page)
