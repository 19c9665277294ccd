"""The Gymnasium environment: the only place where rules and world meet."""

from typing import Any, ClassVar, Final

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.utils import EzPickle
from numpy.typing import NDArray

from oddoneout.actions import TRANSFORMS, Action, parse_action
from oddoneout.arguments import (
    RENDER_MODES,
    observation_space,
    parse_image_size,
    parse_seed,
    refuse_other_level,
    refuse_unknown,
    refuse_warp,
)
from oddoneout.episode import Episode, sample_episode
from oddoneout.rules.language import (
    INSTRUCTION_WORDS,
    INSTRUCTIONS,
    Explanation,
    Surroundings,
    encode,
    outcome,
    properties,
    sentence,
)
from oddoneout.rules.levels import CATALOGUE, Describe, Settings, Speech, parse_settings
from oddoneout.rules.trial import (
    Choose,
    Event,
    Pass,
    Result,
    Transform,
    Trial,
    TrialState,
    advance,
    begin,
)
from oddoneout.snapshot import ObjectView, Snapshot
from oddoneout.world.camera import renderer_version
from oddoneout.world.gaze import glance, sights
from oddoneout.world.world import World

_TOKENS: Final = {mode: encode(text, INSTRUCTION_WORDS) for mode, text in INSTRUCTIONS.items()}
_PASS: Final = Pass()


class OddOneOutEnv(gymnasium.Env[dict[str, Any], np.int64], EzPickle):
    """A first-person room in which an agent finds, or makes, the odd one out.

    What is pickled or copied are its arguments, as of Gymnasium's own MuJoCo environments: the
    other one has to be reset first.

    Args:
        level: "Basic", "Confounded", "Deconfounded" or "Intervention".
        dimension: the rewarded (Confounded: the explained) dimension, "color", "shape",
            "texture" or, in Basic, "size"; None draws one per episode.
        difficulty: of experiments: "easy", "hard1", "hard2", "hard3"; None draws per episode.
        hard_dimensions: the dimensions from which those that start 2-2 are drawn; None: all.
        experiments: experiment trials before the test trial.
        explanations: "full", "properties", "outcome", "none", "shuffled" or "irrelevant".
        describe: "gaze" describes the object looked at; "near" only within reach.
        split: which feature combinations occur: "all", "train" or "eval".
        image_size: pixels, one number for a square or (height, width).
        render_mode: None, "rgb_array" or "human" (a window, at ``metadata["render_fps"]``).
        renderer: "classic"; "warp" is for ``gymnasium.make_vec``.

    Raises:
        ValueError: for an argument that is not allowed; the message names what is.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": list(RENDER_MODES), "render_fps": 6}

    def __init__(
        self,
        level: str,
        *,
        dimension: str | None = None,
        difficulty: str | None = None,
        hard_dimensions: tuple[str, ...] | None = None,
        experiments: int = 3,
        explanations: str = "full",
        describe: str = "gaze",
        split: str = "all",
        image_size: int | tuple[int, int] = 64,
        render_mode: str | None = None,
        renderer: str = "classic",
        **unknown: Any,
    ) -> None:
        rules: dict[str, Any] = {
            "dimension": dimension,
            "difficulty": difficulty,
            "hard_dimensions": hard_dimensions,
            "experiments": experiments,
            "explanations": explanations,
            "describe": describe,
            "split": split,
        }
        drawn: dict[str, Any] = {
            "image_size": image_size,
            "render_mode": render_mode,
            "renderer": renderer,
        }
        refuse_unknown(unknown, (*rules, *drawn))
        EzPickle.__init__(self, level, **rules, **drawn)
        if not isinstance(level, str) or level not in CATALOGUE:
            raise ValueError(f"level must be one of {', '.join(CATALOGUE)}, got {level!r}")
        self._level = CATALOGUE[level]
        self._settings: Settings = parse_settings(self._level, rules)
        size = parse_image_size(image_size)
        if render_mode is not None and render_mode not in RENDER_MODES:
            raise ValueError(
                f"render_mode must be None or one of {RENDER_MODES}, got {render_mode!r}"
            )
        refuse_warp(renderer)
        self.render_mode = render_mode
        self.observation_space = observation_space(size)
        self.action_space = spaces.Discrete(len(Action))
        self._near = self._settings.describe is Describe.NEAR
        self._world = World(size)
        self._window = None
        self._windowless = False
        self._episode: Episode | None = None
        self._over = True

    # -- the Gymnasium interface -------------------------------------------------------------

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Begin a new episode, a function of ``seed`` alone when one is given.

        Raises:
            ValueError: for options; there are none; and for what is no seed.
        """
        if options:
            raise ValueError(f"reset takes no options, got {options!r}")
        refuse_other_level(self.spec, self._level)
        super().reset(seed=parse_seed(seed))
        self.play(sample_episode(self._level, self._settings, self.np_random))
        self._show()
        return self._observation(), self._info(None)

    def play(self, episode: Episode) -> None:
        """Put a hand-made or sampled episode on stage, at its beginning.

        For tests and analysis; ``reset`` does this with a sampled one.

        Raises:
            ValueError: without the decoys that ``explanations="shuffled"`` speaks of.
        """
        needed = len(episode.trials) if self._settings.explanations is Speech.SHUFFLED else 0
        if len(episode.decoys) < needed:
            raise ValueError(
                'explanations="shuffled" needs one decoy for each trial of an episode: '
                f"{len(episode.decoys)} for {needed} (see oddoneout.episode.Decoy)"
            )
        self._episode = episode
        self._over = False
        self._reward = 0.0
        self._begin_trial(0)

    def step(
        self, action: np.int64 | int
    ) -> tuple[dict[str, NDArray[Any]], float, bool, bool, dict[str, Any]]:
        """One of the nine actions; see ``oddoneout.actions.Action``.

        Raises:
            ValueError: for anything that is not an action.
            RuntimeError: after the episode's end, or before the first reset.
        """
        if self._over or self._episode is None:
            raise RuntimeError("the episode is over (or never began); call reset() first")
        act = parse_action(action)
        event: Event = _PASS
        if act is Action.CHOOSE:
            event = Choose(self._focus)
        elif act in TRANSFORMS:
            event = Transform(TRANSFORMS[act], self._focus)
        elif act is not Action.NOOP:
            self._world.move(act)
            self._look()

        trial = self._trial
        self._state, result = advance(trial, self._state, event)
        self._reward = result.reward
        choice = self._choice_info(trial) if result.chosen else None
        if result.repainted is not None:
            self._world.repaint(result.repainted, self._state.things[result.repainted])
        terminated = truncated = False
        if result.over:
            terminated, truncated = self._end_trial(result)
        info = self._info(choice)
        self._show()
        return self._observation(), result.reward, terminated, truncated, info

    def render(self) -> NDArray[np.uint8] | None:  # type: ignore[override]
        """The presentation view, uint8 (480, 640, 3), in render mode "rgb_array".

        Raises:
            RuntimeError: before the first reset.
        """
        if self.render_mode is None:
            gymnasium.logger.warn(
                'render() needs render_mode="rgb_array" or "human" when the environment is made'
            )
            return None
        self._require_episode()
        if self.render_mode == "rgb_array":
            return self.present()
        return None

    def close(self) -> None:
        self._world.close()
        if self._window is not None:
            self._window.close()
            self._window = None
        self._episode = None  # closed: nothing can be stepped or rendered before the next reset

    # -- beyond Gymnasium --------------------------------------------------------------------

    @property
    def world(self) -> World:
        """The rendered room itself, for benchmarks and tools."""
        return self._world

    def present(
        self, height: int = 480, width: int = 640, view: str = "overhead"
    ) -> NDArray[np.uint8]:
        """The room for people to look at, uint8 (height, width, 3); see ``World.present``."""
        return self._world.present(height, width, view)

    def renderer_version(self) -> str:
        """What draws the images, for manifests: "classic: llvmpipe (LLVM ...), 4.5 (...)"."""
        return f"classic: {renderer_version()}"

    def snapshot(self) -> Snapshot:
        """The privileged view, for experts, tests and analysis; never for agents.

        Raises:
            RuntimeError: before the first reset.
        """
        trials = self._require_episode().trials
        trial, state = self._trial, self._state
        agent, positions = self._world.pose, self._world.positions
        return Snapshot(
            agent=agent,
            objects=tuple(
                ObjectView(thing, x, y, sight.distance, sight.bearing, sight.visible)
                for thing, (x, y), sight in zip(
                    state.things, positions, sights(agent, positions), strict=True
                )
            ),
            gaze=self._gaze,
            focus=self._focus,
            trial=self._index,
            trials=len(trials),
            mode=trial.mode,
            phase=state.phase,
            transforms_left=state.transforms_left,
            step=state.step,
            test=trial.test,
            dimension=trial.dimension,
            known_dimension=None if self._level.hidden else trial.dimension,
            last_reward=self._reward,
        )

    # -- inside ------------------------------------------------------------------------------

    def _require_episode(self) -> Episode:
        if self._episode is None:
            raise RuntimeError("there is nothing to see yet; call reset() first")
        return self._episode

    def _begin_trial(self, index: int) -> None:
        episode = self._require_episode()
        self._index = index
        self._trial: Trial = episode.trials[index]
        self._state: TrialState = begin(self._trial)
        self._world.place(self._trial.things, episode.layouts[index])
        self._look()

    def _end_trial(self, result: Result) -> tuple[bool, bool]:
        """Go on to the next trial, or end the episode: (terminated, truncated)."""
        if self._index + 1 < len(self._require_episode().trials):
            self._begin_trial(self._index + 1)
            return False, False
        self._over = True
        return not result.timed_out, result.timed_out

    def _look(self) -> None:
        world = self._world
        self._gaze, self._focus = glance(world.pose, world.positions)

    def _explanation(self) -> str:
        """The sentence that stands now, "" when none does."""
        settings = self._settings
        speech = settings.explanations
        if speech is Speech.NONE:
            return ""
        trial, state = self._trial, self._state
        chosen = state.choice is not None
        if speech is Speech.SHUFFLED:
            decoy = self._require_episode().decoys[self._index]
            trial, state = decoy.trial, decoy.state
        explanation: Explanation
        if chosen:
            if speech is Speech.PROPERTIES:
                return ""
            explanation = outcome(trial, state)
        else:
            index = self._focus if self._near else self._gaze
            if index is None or speech is Speech.OUTCOME:
                return ""
            explanation = properties(trial, state, index)
        if speech is Speech.IRRELEVANT:
            explanation = Surroundings(self._world.wall_faced())
        return sentence(explanation)

    def _choice_info(self, trial: Trial) -> dict[str, Any]:
        choice = self._state.choice
        assert choice is not None
        return {
            "trial": self._index,
            "test": trial.test,
            "correct": choice.correct,
            "odd_in": tuple(d.value for d in choice.odd_in),
        }

    def _observation(self) -> dict[str, NDArray[Any]]:
        return {"image": self._world.image(), "instruction": _TOKENS[self._trial.mode].copy()}

    def _info(self, choice: dict[str, Any] | None) -> dict[str, Any]:
        info: dict[str, Any] = {
            "instruction": INSTRUCTIONS[self._trial.mode],
            "explanation": self._explanation(),
            "trial": self._index,
            "phase": "search" if self._state.choice is None else "explain",
        }
        if choice is not None:
            info["choice"] = choice
        return info

    def _show(self) -> None:
        if self.render_mode != "human" or self._windowless:
            return
        if self._window is None:
            from oddoneout.window import NoDisplayError, Window

            try:
                self._window = Window("oddoneout", fps=self.metadata["render_fps"])
            except NoDisplayError as error:
                # A missing screen must not end a run that needs none.
                self._windowless = True
                gymnasium.logger.warn(f'render_mode="human" shows nothing: {error}')
                return
        if not self._window.closed:  # else the picture, which is dear, would be drawn for nobody
            self._window.show(self.present())
