"""Play with the keyboard, in a window.

python -m scripts.play --env OddOneOut/Basic-v0
"""

import argparse
import time
from typing import Final, Protocol

import gymnasium
import numpy as np
from numpy.typing import NDArray

from oddoneout.actions import Action
from oddoneout.captions import Caption, compose, notice
from oddoneout.rules.splits import Stream, episode_seed
from oddoneout.window import NoDisplayError, Window
from scripts import common

KEYS: Final = {
    "up": Action.FORWARD,
    "w": Action.FORWARD,
    "down": Action.BACKWARD,
    "s": Action.BACKWARD,
    "left": Action.TURN_LEFT,
    "a": Action.TURN_LEFT,
    "right": Action.TURN_RIGHT,
    "d": Action.TURN_RIGHT,
    "space": Action.CHOOSE,
    "1": Action.TRANSFORM_COLOR,
    "2": Action.TRANSFORM_SHAPE,
    "3": Action.TRANSFORM_TEXTURE,
    "period": Action.NOOP,
}
HELP: Final = (
    ("arrows or w a s d", "walk and turn"),
    ("space", "choose the object in focus"),
    ("1  2  3", "transform its color, shape, texture"),
    (".", "wait"),
    ("v", "change this view"),
    ("n", "new episode"),
    ("q or escape", "quit"),
    ("", ""),
    ("in focus", "is what you look straight at, near by"),
)
VIEWS: Final = ("help", "overhead", "shoulder")


class Screen(Protocol):
    """What playing needs of a window."""

    closed: bool

    def show(self, frame: NDArray[np.uint8]) -> None: ...

    def keys(self) -> list[str]: ...


class Game:
    """One person in one environment; ``press`` takes a key, ``picture`` shows how things stand."""

    def __init__(self, env: gymnasium.Env, seed: int) -> None:
        self._env, self._seed = env, seed
        self._episode = -1
        self._view = 0
        self.quit = False
        self._begin()

    def _begin(self) -> None:
        self._episode += 1
        seed = episode_seed(Stream.VALIDATION, self._seed, self._episode)
        self._observation, self._info = self._env.reset(seed=seed)
        self._action = Action.NOOP
        self._total, self._won = 0.0, None
        self._over = False

    def press(self, key: str) -> None:
        if key in ("q", "escape"):
            self.quit = True
        elif key == "v":
            self._view = (self._view + 1) % len(VIEWS)
        elif key == "n":
            self._begin()
        elif key in KEYS and not self._over:
            self._step(KEYS[key])

    def _step(self, action: Action) -> None:
        self._action = action
        self._observation, reward, terminated, truncated, self._info = self._env.step(action)
        self._total += float(reward)
        if "choice" in self._info:
            self._won = float(reward)
        elif self._info["phase"] == "search":
            self._won = None
        self._over = terminated or truncated

    def picture(self) -> NDArray[np.uint8]:
        unwrapped = self._env.unwrapped
        now = unwrapped.snapshot()  # pyright: ignore[reportAttributeAccessIssue]
        note = "in focus" if now.focus is not None and self._info["phase"] == "search" else ""
        caption = Caption(
            policy=VIEWS[self._view],
            instruction=self._info["instruction"],
            explanation=self._info["explanation"],
            says=None,
            action=self._action,
            trial=now.trial,
            trials=now.trials,
            test=now.test,
            explaining=self._info["phase"] == "explain",
            correct=None if self._won is None else self._won > 0,
            reward=self._won or 0.0,
            total=self._total,
            note="episode over: n for another, q to quit" if self._over else note,
        )
        if VIEWS[self._view] == "help":
            room = notice(HELP)
        else:
            room = unwrapped.present(view=VIEWS[self._view])  # pyright: ignore[reportAttributeAccessIssue]
        return compose(self._observation["image"], room, caption)


def play(game: Game, screen: Screen, pause: float = 0.01) -> None:
    """Until the person quits or closes the window."""
    screen.show(game.picture())
    while not (screen.closed or game.quit):
        pressed = screen.keys()
        for key in pressed:
            game.press(key)
        if pressed and not game.quit:
            screen.show(game.picture())
        time.sleep(pause)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.play",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Keys: " + "; ".join(f"{key}: {use}" for key, use in HELP if key),
    )
    common.add_env_arguments(parser)
    parser.add_argument("--seed", type=common.seed_number, default=0)
    args = parser.parse_args()

    args.env_args.setdefault("image_size", 448)  # a person may see sharper than an agent
    arguments = common.env_arguments(args)
    try:
        window = Window(f"{args.env}  (arrows, space, 1 2 3, v, n, q)")
    except NoDisplayError as error:
        raise common.UserError(error) from error
    env = gymnasium.make(args.env, disable_env_checker=True, **arguments)
    try:
        play(Game(env, args.seed), window)
    finally:
        env.close()
        window.close()


if __name__ == "__main__":
    common.run(main)
