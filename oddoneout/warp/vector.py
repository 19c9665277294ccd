"""The vector environment of ``renderer="warp"``: thousands of rooms, everything on one device."""

import contextlib
from collections.abc import Sequence
from typing import Any, ClassVar, Final

import mujoco_warp
import numpy as np
import torch
import warp
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray
from torch import Tensor

from oddoneout.actions import Action
from oddoneout.arguments import (
    observation_space,
    parse_count,
    parse_image_size,
    parse_renderer,
    parse_reset,
    refuse_other_level,
    refuse_unknown,
)
from oddoneout.processes import usable_cores
from oddoneout.rules.language import INSTRUCTION_WORDS, INSTRUCTIONS, WALLS, encode
from oddoneout.rules.levels import CATALOGUE, Describe, Settings, Speech, parse_settings
from oddoneout.rules.trial import Phase
from oddoneout.snapshot import ObjectView, Snapshot
from oddoneout.warp import motion, rules, script, sentences
from oddoneout.warp.painter import Painter, on
from oddoneout.warp.sentences import Texts
from oddoneout.warp.writers import Writers
from oddoneout.world.gaze import sights, wall_faced
from oddoneout.world.geometry import OBJECT_COUNT
from oddoneout.world.layout import Pose

_TOKENS: Final = np.stack([encode(INSTRUCTIONS[m], INSTRUCTION_WORDS) for m in script.MODES])
_SEARCH, _EXPLAIN = (list(Phase).index(phase) for phase in (Phase.SEARCH, Phase.EXPLAIN))


class OddOneOutWarpEnv(VectorEnv[dict[str, Tensor], Tensor, Tensor]):
    """``num_envs`` rooms of one level and one set of arguments, drawn by ``mujoco_warp``.

    The same seeds and actions give the same episodes, poses, rewards and explanations as the
    classic environments; pictures look alike, but are not the same bytes (see docs/warp.md).
    Observations, rewards and flags are torch tensors on the device; an image is fresh memory,
    never copied. As in the native vector environment, the next episode follows at once
    (autoreset SAME_STEP), with ``infos["final_obs"]`` and ``infos["final_info"]``.

    In ``infos``, texts are ``sentences.Texts``: read like arrays of strings, and made only when
    read. ``choice`` is always there, ``_choice`` says where it counts; its ``odd_in`` is bool
    (N, dimensions), in the order of ``Dimension``.

    Args:
        level: as for the single environment; so are all arguments not named here.
        num_envs: how many rooms.
        renderer: "warp".
        device: of torch and of Warp; None: "cuda" if there is one, else "cpu".
        workers: processes that draw episodes ahead; None takes one per usable core, 0 draws
            them in this process. Results do not depend on it.

    Raises:
        ValueError: for an argument that is not allowed; the message names what is.
    """

    metadata: ClassVar[dict[str, Any]] = {
        "render_modes": [],
        "autoreset_mode": AutoresetMode.SAME_STEP,
        "torch": True,
    }

    def __init__(
        self,
        level: str,
        num_envs: int = 1,
        *,
        renderer: str = "warp",
        device: str | torch.device | None = None,
        workers: int | None = None,
        render_mode: str | None = None,
        image_size: int | tuple[int, int] = 64,
        **arguments: Any,
    ) -> None:
        num_envs = parse_count("num_envs", num_envs, least=1)
        workers = usable_cores() if workers is None else parse_count("workers", workers, least=0)
        if not isinstance(level, str) or level not in CATALOGUE:
            raise ValueError(f"level must be one of {', '.join(CATALOGUE)}, got {level!r}")
        drawn = ("image_size", "render_mode", "renderer", "device", "workers")
        refuse_unknown(arguments, (*Settings.__dataclass_fields__, *drawn))
        if parse_renderer(renderer) != "warp":
            raise ValueError(f'renderer must be "warp" here, got {renderer!r}')
        self._settings = parse_settings(CATALOGUE[level], arguments)
        if render_mode is not None:
            raise ValueError(f'render_mode must be None with renderer="warp", got {render_mode!r}')
        size = parse_image_size(image_size)
        if warp.config.log_level == warp.LOG_INFO:  # what nobody asked for: no banner
            warp.config.log_level = warp.LOG_WARNING
        warp.init()
        self.device = _device(device)
        self._level = CATALOGUE[level]
        self.num_envs = num_envs
        self.single_observation_space = observation_space(size)
        self.single_action_space = spaces.Discrete(len(Action))
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)

        self._began = np.zeros(num_envs, np.bool_)
        self._rows = torch.arange(num_envs, device=self.device)
        self._tokens = torch.from_numpy(_TOKENS).to(self.device)
        self._painter = Painter(num_envs, size, self.device)
        trials = self._level.most_trials(self._settings)
        blank = script.Scripts.blank(num_envs, trials)
        self._numbers, self._measures, self._lengths = map(
            self._put, (blank.numbers, blank.measures, blank.lengths)
        )
        self._trial = torch.zeros_like(self._rows)
        self._states = rules.begin(self._numbers[:, 0], self._measures[:, 0, script.REWARD])
        self._poses = self._measures[:, 0, script.AGENT].contiguous()
        self._places = self._measures[:, 0, script.PLACES].unflatten(1, (OBJECT_COUNT, 3))
        self._reward = torch.zeros(num_envs, device=self.device)
        self._gaze = self._focus = torch.full_like(self._rows, -1)
        self._writers = Writers(level, self._settings, num_envs, workers)

    # -- the Gymnasium interface -------------------------------------------------------------

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Begin new episodes: with ``seed``, ``seed + 1``, ..., or with a list of seeds.

        ``options={"reset_mask": bool (N,)}``, an array or a tensor on any device, resets only
        some.

        Raises:
            ValueError: for what is no seed, a list of the wrong length, a wrong mask, or other
                options.
            RuntimeError: if it is closed, and if a process that draws episodes died: it is
                closed then.
        """
        self._require_open()
        refuse_other_level(self.spec, self._level)
        given = {k: v.cpu() if isinstance(v, Tensor) else v for k, v in (options or {}).items()}
        seeds, mask = parse_reset(seed, given, self._began)
        rooms = np.flatnonzero(mask)
        self._begin_episodes(rooms, [seeds[room] for room in rooms])
        self._began |= mask
        self._look()
        return self._observation(), self._infos(self._put(mask.copy()))

    def step(
        self, actions: Tensor | NDArray[np.integer]
    ) -> tuple[dict[str, Tensor], Tensor, Tensor, Tensor, dict[str, Any]]:
        """One action for each room, int (N,), a tensor on any device or an array.

        Returns:
            The observation; reward float32 (N,); terminated and truncated bool (N,); infos.

        Raises:
            ValueError: if the actions are not N valid ones.
            RuntimeError: before the first reset; if it is closed; and if a process that draws
                episodes died: it is closed then.
        """
        self._require_open()
        acts = self._parse(actions)
        self._require_episodes()
        with on(self.device):
            warp.launch(
                motion.move,
                self.num_envs,
                [warp.from_torch(x) for x in (acts.int(), self._places, self._poses)],
                device=warp.device_from_torch(self.device),
            )
        self._states, results = rules.advance(self._states, acts, self._focus)
        self._reward = results.reward.clone()  # the caller's may be changed in place
        choice = {
            "trial": self._trial.clone(),
            "test": self._states.numbers[:, script.TEST] > 0,
            "correct": self._states.correct.clone(),
            "odd_in": self._states.odd.clone(),
        }
        goes_on = results.over & (self._trial + 1 < self._lengths)
        ended = results.over & ~goes_on
        self._begin_trials(goes_on, self._trial + 1)
        self._look()
        infos: dict[str, Any] = {}
        rooms = ended.nonzero().squeeze(1).cpu()  # waits for the device
        if len(rooms):
            infos["final_obs"] = self._final_observations(rooms)
            infos["final_info"] = self._infos(ended)
            infos["_final_obs"], infos["_final_info"] = ended.clone(), ended.clone()
            self._begin_episodes(rooms.numpy())
            self._look()
        infos |= self._infos(torch.ones_like(ended))
        infos |= {"choice": choice, "_choice": results.chosen}
        terminated, truncated = ended & ~results.timed_out, ended & results.timed_out
        return self._observation(), results.reward, terminated, truncated, infos

    def render(self) -> None:
        """Nothing: there is no render mode."""

    def close_extras(self, **kwargs: Any) -> None:
        """End the processes that draw episodes."""
        self._writers.close()

    # -- beyond Gymnasium --------------------------------------------------------------------

    def draw(self) -> Tensor:
        """The pictures of this moment, uint8 (N, H, W, 3), drawn anew; for benchmarks."""
        return self._painter.paint(self._poses, self._places, self._states.things)

    def renderer_version(self) -> str:
        """What draws the images, for manifests."""
        name = "cpu"
        if self.device.type == "cuda":
            name = torch.cuda.get_device_name(self.device)
        return f"warp: {name}, mujoco_warp {mujoco_warp.__version__}, warp {warp.__version__}"

    def snapshots(self) -> tuple[Snapshot, ...]:
        """The privileged view of each room; for experts and analysis only.

        Raises:
            RuntimeError: before the first reset, and if it is closed.
        """
        self._require_open()
        self._require_episodes()
        return tuple(map(self._snapshot, range(self.num_envs)))

    # -- inside ------------------------------------------------------------------------------

    def _require_open(self) -> None:
        if self.closed:
            raise RuntimeError("the vector environment is closed")

    def _require_episodes(self) -> None:
        if not self._began.all():
            raise RuntimeError("the episodes never began; call reset() first")

    def _put(self, array: NDArray[Any]) -> Tensor:
        return torch.from_numpy(array).to(self.device)

    def _parse(self, actions: Tensor | NDArray[np.integer]) -> Tensor:
        acts = _integers(actions)
        if (
            acts is None
            or acts.shape != (self.num_envs,)
            or bool(((acts < 0) | (acts >= len(Action))).any())
        ):
            raise ValueError(
                f"actions must be {self.num_envs} integers from 0 to {len(Action) - 1}, "
                f"got {actions!r}"
            )
        return acts.to(self.device)

    def _begin_episodes(
        self, rooms: NDArray[np.integer], seeds: Sequence[int | None] | None = None
    ) -> None:
        """Put the next episode of each of these rooms on stage, or the first of a seed."""
        try:
            if seeds is not None:
                self._writers.seed(rooms, seeds)
            scripts = self._writers.take(rooms)
        except BaseException:  # also Ctrl-C: an episode left unread would be taken for the next
            self.close()
            raise
        rows = self._put(rooms)
        self._numbers[rows] = self._put(scripts.numbers)
        self._measures[rows] = self._put(scripts.measures)
        self._lengths[rows] = self._put(scripts.lengths)
        mask = torch.zeros(self.num_envs, dtype=torch.bool, device=self.device)
        mask[rows] = True
        self._begin_trials(mask, torch.zeros_like(self._trial))
        self._reward = torch.where(mask, 0.0, self._reward)

    def _begin_trials(self, mask: Tensor, trial: Tensor) -> None:
        """Where the mask is set, go to the trial of this index."""
        self._trial = torch.where(mask, trial, self._trial)
        numbers = self._numbers[self._rows, self._trial]
        measures = self._measures[self._rows, self._trial]
        fresh = rules.begin(numbers, measures[:, script.REWARD])
        self._states = self._states.where(mask, fresh)
        self._poses = torch.where(mask[:, None], measures[:, script.AGENT], self._poses)
        self._places = measures[:, script.PLACES].reshape(-1, OBJECT_COUNT, 3)

    def _look(self) -> None:
        gaze = torch.empty(self.num_envs, dtype=torch.int32, device=self.device)
        focus = torch.empty_like(gaze)
        with on(self.device):
            warp.launch(
                motion.look,
                self.num_envs,
                [warp.from_torch(x) for x in (self._places, self._poses, gaze, focus)],
                device=warp.device_from_torch(self.device),
            )
        self._gaze, self._focus = gaze.long(), focus.long()

    def _observation(self) -> dict[str, Tensor]:
        mode = self._states.numbers[:, script.MODE].long()
        return {"image": self.draw(), "instruction": self._tokens[mode]}

    def _final_observations(self, rooms: Tensor) -> NDArray[np.object_]:
        rows = rooms.to(self.device)
        images = self._painter.paint(
            self._poses[rows], self._places[rows], self._states.things[rows]
        )
        tokens = self._tokens[self._states.numbers[rows, script.MODE].long()]
        final = np.full(self.num_envs, None, object)
        for room, image, instruction in zip(rooms.tolist(), images, tokens, strict=True):
            final[room] = {"image": image, "instruction": instruction}
        return final

    def _infos(self, mask: Tensor) -> dict[str, Any]:
        states = self._states
        explaining = torch.where(states.choice < 0, _SEARCH, _EXPLAIN).unsqueeze(1)
        mode = states.numbers[:, script.MODE].unsqueeze(1)
        infos: dict[str, Any] = {
            "instruction": Texts(mode, sentences.instruction, mask),
            "explanation": Texts(self._utterances(), sentences.explanation, mask),
            "trial": torch.where(mask, self._trial, 0),
            "phase": Texts(explaining, sentences.phase, mask),
        }
        return infos | {f"_{name}": mask.clone() for name in infos}  # the caller may change one

    def _utterances(self) -> Tensor:
        states, speech = self._states, self._settings.explanations
        described = self._focus if self._settings.describe is Describe.NEAR else self._gaze
        if speech is Speech.SHUFFLED:
            states = rules.as_decoys(states)
        about = rules.utterances(states, described)
        explaining = (states.choice >= 0).unsqueeze(1)
        if speech is Speech.NONE:
            return torch.zeros_like(about)
        if speech is Speech.PROPERTIES:
            return torch.where(explaining, rules.SILENCE, about)
        if speech is Speech.OUTCOME:
            return torch.where(explaining, about, rules.SILENCE)
        if speech is Speech.IRRELEVANT:
            walls = [WALLS.index(wall_faced(Pose(*pose))) for pose in self._poses.tolist()]
            return rules.surroundings(about, torch.tensor(walls, device=self.device))
        return about

    def _snapshot(self, room: int) -> Snapshot:
        states, trial = self._states, int(self._trial[room])
        numbers = states.numbers[room].cpu().numpy()
        agent = Pose(*self._poses[room].tolist())
        places = [(x, y) for x, y, _ in self._places[room].tolist()]
        things = map(script.thing, states.things[room].cpu().numpy())
        gaze, focus = (None if i < 0 else int(i) for i in (self._gaze[room], self._focus[room]))
        dimension = script.DIMENSIONS[numbers[script.DIMENSION]]
        return Snapshot(
            agent=agent,
            objects=tuple(
                ObjectView(thing, x, y, sight.distance, sight.bearing, sight.visible)
                for thing, (x, y), sight in zip(things, places, sights(agent, places), strict=True)
            ),
            gaze=gaze,
            focus=focus,
            trial=trial,
            trials=int(self._lengths[room]),
            mode=script.MODES[numbers[script.MODE]],
            phase=Phase.SEARCH if states.choice[room] < 0 else Phase.EXPLAIN,
            transforms_left=int(states.transforms_left[room]),
            step=int(states.step[room]),
            test=bool(numbers[script.TEST]),
            dimension=dimension,
            known_dimension=None if self._level.hidden else dimension,
            last_reward=float(self._reward[room]),
        )


def _integers(numbers: Any) -> Tensor | None:
    """A tensor, or what is like an array, as int64: torch computes with few of the others. None
    for what is no integers."""
    if isinstance(numbers, Tensor):
        real = numbers.is_floating_point() or numbers.is_complex()
        return None if real or numbers.dtype == torch.bool else numbers.long()
    array = np.asarray(numbers)
    if not np.issubdtype(array.dtype, np.integer):
        return None
    return torch.from_numpy(array.astype(np.int64))


def _device(name: str | torch.device | None) -> torch.device:
    """The torch device of this name, or the best there is; of several GPUs a certain one.

    Raises:
        ValueError: if it is neither the CPU nor a GPU that is there.
    """
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name is None:
        name = "cuda" if gpus else "cpu"
    allowed = {torch.device("cpu"), *(torch.device("cuda", i) for i in range(gpus))}
    with contextlib.suppress(RuntimeError, TypeError):  # of what is no device at all
        device = torch.device(name)
        if device.type == "cuda" and device.index is None and gpus:
            device = torch.device("cuda", torch.cuda.current_device())
        if device in allowed:
            return device
    names = ", ".join(sorted(map(str, allowed)))
    raise ValueError(f'device must be "cuda" for the current GPU or one of {names}, got {name!r}')
