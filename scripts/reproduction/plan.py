"""The matrix of cells: what is trained on what, how much of it, and where it is examined.

A cell is one trained agent, or one policy that needs no training, with its exams. Everything
is decided here, as frozen values; nothing here runs anything.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from types import MappingProxyType
from typing import Any, Final

from agents.config import PRESETS, AgentConfig, TrainingConfig
from oddoneout.rules.attributes import CORE_DIMENSIONS, Dimension
from oddoneout.rules.splits import Split
from scripts.reproduction.sizes import EXPERIMENTS, Sizes

#: Policies that need no training, played in every exam.
BASELINES: Final = ("expert", "random", "random_object", "repeat_slot")

_BASIC, _CONFOUNDED = "OddOneOut/Basic-v0", "OddOneOut/Confounded-v0"
_DECONFOUNDED, _INTERVENTION = "OddOneOut/Deconfounded-v0", "OddOneOut/Intervention-v0"
_CORE: Final = tuple(d.value for d in CORE_DIMENSIONS)
_NOISE: Final = {"action_noise": 0.1}
#: An imitator that acts too early must know an action that did nothing.
_VAIN: Final = {**_NOISE, "vain_actions": 0.05}
#: What was made odd is looked for, and not just gone to.
_CAREFUL: Final = {**_VAIN, "look_again": True}
#: An imitator's experiments go wrong, too: what is known after that, and what then?
_RASH: Final = {"rash_actions": 0.03}
#: All that it does follows from what was seen since the latest transform, in vain or not. (Every
#: one costs a search, so there are fewer in vain.)
_ANEW: Final = {**_NOISE, "vain_actions": 0.02, "start_over": True}
#: As what was seen before a transform is no longer so, it need not be remembered.
_FORGETFUL: Final = {"forget_transformed": True}
#: And what was seen at the very moment of it must not do instead.
_LAPSING: Final = {"lapse": 0.03}
#: What was tried in earlier rooms is known by what was done there, not by what they looked like.
_DEEDS: Final = {"deed_layers": 2}
#: Values change their names, so that none is expected with any other.
_RENAMED: Final = {"rename": True}
#: White stands out so little that its shapes would be learnt apart from all others.
_BLEACHED: Final = {"bleach": 0.25}
#: Arms that only led to others, and the one dimension for which they were made.
_ABANDONED: Final = ("one_memory_none", "forgetting", "straight")
_FIRST_TRIED: Final = Dimension.COLOR.value
#: Options that earlier plans did not have: part of a plan where they are used.
_LATER: Final = {
    "forget_transformed": False,
    "forget_vain": False,
    "lapse": 0.0,
    "deed_layers": 0,
    "naming_weight": 1.0,  # no encoder named anything
    "rename": False,
    "batch_glimpses": 0,
    "bleach": 0.0,
}
#: An encoder that is told nothing learns little from single pictures; here nothing is frozen.
_WHOLE: Final = {"glimpses": 0.0, "freeze_at": 1.0, "rename": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoSet:
    """One set of demonstrations by the noisy expert.

    Attributes:
        label: for people; with a digest of all the rest it makes the ``name``.
        env, env_args: the environment.
        expert_args: options of the expert.
        episodes, seed: as in ``oddoneout.demos.collection.Recipe``.
    """

    label: str
    env: str
    episodes: int
    env_args: Mapping[str, Any] = field(default_factory=dict)
    expert_args: Mapping[str, Any] = field(default_factory=lambda: dict(_NOISE))
    seed: int = 0

    @property
    def name(self) -> str:
        return f"{self.label}-{_digest(asdict(self))}"


@dataclass(frozen=True, slots=True)
class Room:
    """An environment in which policies are examined, on seeds kept for tests.

    Attributes:
        name: within an experiment, e.g. "held_out".
        env, args: the environment.
    """

    name: str
    env: str
    args: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One agent to train and examine, or one baseline to examine.

    Attributes:
        experiment: one of ``EXPERIMENTS``.
        arm: what the agent is told, or the baseline's name.
        subject: the dimension that the experiment leaves out ("hard"); "" elsewhere.
        seed: of training: initialization, order and augmentation.
        rooms: where it is examined.
        episodes: of each exam.
        training: None for a baseline.
        sets: demonstrations; those of an experiment's arms differ in their sentences only, but for
            arms of another expert.
        hears: of the sentences in ``sets``, "all", "properties" or "outcome".
        agent, agent_changes: preset and changes to it.
        curve_points, curve_episodes: exams on the way.
        temperature: of acting in exams.
    """

    experiment: str
    arm: str
    rooms: tuple[Room, ...]
    episodes: int
    subject: str = ""
    seed: int = 0
    training: TrainingConfig | None = None
    sets: tuple[DemoSet, ...] = ()
    hears: str = "all"
    agent: str = "cpu"
    agent_changes: Mapping[str, Any] = field(default_factory=dict)
    temperature: float = 0.5
    curve_points: int = 0
    curve_episodes: int = 0

    @property
    def name(self) -> str:
        """Unique in the matrix, and the name of the cell's files."""
        parts = [self.experiment, self.subject, self.arm]
        numbered = [str(self.seed)] if self.training is not None else []
        return "-".join([*(part for part in parts if part), *numbered])

    @property
    def agent_config(self) -> AgentConfig:
        """The agent that is trained."""
        return replace(PRESETS[self.agent], **self.agent_changes)

    @property
    def plan(self) -> dict[str, Any]:
        """All that decides what the cell finds, presets and defaults included."""
        if self.training is None:
            return asdict(self)
        plan = {**asdict(self), "agent_config": asdict(self.agent_config)}
        for part in ("training", "agent_config"):
            used = {k: v for k, v in plan[part].items() if (k, v) not in _LATER.items()}
            plan[part] = used
        return plan

    @property
    def digest(self) -> str:
        """Tells cells of one name apart that were planned differently."""
        return _digest(self.plan)


def _digest(values: Mapping[str, Any]) -> str:
    text = json.dumps(values, sort_keys=True, default=list)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def matrix(experiment: str, sizes: Sizes, seeds: int | None = None) -> tuple[Cell, ...]:
    """All cells of one experiment: baselines first, then agents, seed by seed.

    Args:
        experiment: one of ``EXPERIMENTS``.
        sizes: how much of everything.
        seeds: trained agents per arm; None for as many as ``sizes`` say.

    Raises:
        ValueError: for an unknown experiment.
    """
    if experiment not in EXPERIMENTS:
        names = ", ".join(EXPERIMENTS)
        raise ValueError(f"no experiment {experiment!r}; there are {names}")
    count = sizes.seeds[experiment] if seeds is None else seeds
    cells: list[Cell] = []
    for seed in range(count):
        cells += _CELLS[experiment](sizes, seed)
    rooms = {(cell.subject, room.name): room for cell in cells for room in cell.rooms}
    subjects = list(dict.fromkeys(subject for subject, _ in rooms))
    baselines = [
        Cell(
            experiment=experiment,
            arm=arm,
            subject=subject,
            rooms=tuple(room for (of, _), room in rooms.items() if of == subject),
            episodes=sizes.exam_episodes,
        )
        for subject in subjects
        for arm in BASELINES
    ]
    return (*baselines, *cells)


def _cell(
    sizes: Sizes,
    seed: int,
    *,
    frames: int,
    explained: bool,
    trained: Mapping[str, Any],
    **given: Any,
) -> Cell:
    weight = trained.get("explanation_weight", 1.0) if explained else 0.0
    return Cell(
        seed=seed,
        training=TrainingConfig(
            **{**trained, "frames": frames, "explanation_weight": weight, "seed": seed}
        ),
        agent=sizes.agent,
        episodes=sizes.exam_episodes,
        curve_points=sizes.curve_points,
        curve_episodes=sizes.curve_episodes,
        **given,
    )


def _staged(
    sizes: Sizes,
    seed: int,
    *,
    trained: Mapping[str, Any] = MappingProxyType({}),
    agent_changes: Mapping[str, Any] = MappingProxyType({}),
    **given: Any,
) -> Cell:
    """A cell whose sentences speak of all dimensions."""
    return _cell(
        sizes,
        seed,
        trained={**sizes.staged_training, **trained},
        agent_changes={**sizes.staged_agent, **agent_changes},
        # Chosen for Intervention on other seeds than any exam's (docs/training.md).
        temperature=0.25,
        **given,
    )


def _confounding(sizes: Sizes, seed: int) -> list[Cell]:
    def demos(dimension: str) -> tuple[DemoSet, ...]:
        # Equal seeds: the three sets are the same rooms and moves, told differently.
        args = {"dimension": dimension}
        return (
            DemoSet(
                label=f"confounded-{dimension}",
                env=_CONFOUNDED,
                env_args=args,
                episodes=sizes.confounded_episodes,
            ),
        )

    def rooms(dimension: str) -> tuple[Room, ...]:
        # Neither level tells which dimension counts, so the rooms serve any arm.
        args = {"dimension": dimension}
        return (
            Room("deconfounded", _DECONFOUNDED, args),
            Room("confounded", _CONFOUNDED, args),
        )

    arms = [(d, d, True) for d in _CORE] + [("none", _CORE[0], False)]
    return [
        _cell(
            sizes,
            seed,
            experiment="confounding",
            arm=arm,
            sets=demos(dimension),
            rooms=rooms(dimension),
            explained=explained,
            # One dimension is soon told apart: glimpses gained little here. And three of four
            # objects are described alike: how often a word was said does not tell who is odd.
            trained={**sizes.confounded_training, "glimpses": 0.0},
            agent_changes={"recollect": False, "compositional": False},
            frames=sizes.confounded_frames,
        )
        for arm, dimension, explained in arms
    ]


def _features(sizes: Sizes, seed: int) -> list[Cell]:
    sets = _lessons(sizes, "features", {"split": Split.TRAIN.value}, besides=_RASH)
    rooms = (
        Room("held_out", _INTERVENTION, {"split": Split.EVAL.value}),
        Room("train", _INTERVENTION, {"split": Split.TRAIN.value}),
        # Its only experiment may fail, which no demonstration's last one does.
        Room("one_try", _INTERVENTION, {"split": Split.TRAIN.value, "experiments": 1}),
    )
    # Shapes, colors and textures are seen apart, so that each is known with any of the others.
    parts = {**sizes.parts_agent, **_BLEACHED}
    arms = [
        ("full", True, {**parts, **_DEEDS}, {}),
        ("none", False, {**parts, **_DEEDS}, {}),
        ("none_whole", False, {**parts, **_DEEDS}, _WHOLE),
        # Values keep their names: what goes with what is learnt, too.
        ("named", True, {**parts, **_DEEDS}, {"rename": False}),
        # Whole objects are seen, in brightness and in color; nothing is named.
        ("opponent", True, _DEEDS, {"rename": False}),
        # What was done in earlier rooms is remembered like what was seen there.
        ("one_memory", True, parts, {}),
        # No memory across trials: what an experiment showed cannot be used in the test.
        ("one_trial", True, {**parts, "trial_memory": True}, {}),
    ]
    return [
        _staged(
            sizes,
            seed,
            experiment="features",
            arm=arm,
            sets=sets,
            rooms=rooms,
            explained=explained,
            agent_changes=changes,
            # Half of all combinations are never shown: no reason to learn that there are none.
            trained={"leave_open": True, **_RENAMED, **sizes.features_training, **trained},
            frames=sizes.features_frames,
        )
        for arm, explained, changes, trained in arms
        if seed == 0 or arm in ("full", "none")
    ]


def _hard(sizes: Sizes, seed: int) -> list[Cell]:
    # What was seen before the latest transform is gone for expert and agent alike.
    anew = {**sizes.parts_agent, **_BLEACHED, **_FORGETFUL, **_DEEDS, "forget_vain": True}
    learning = {**_RENAMED, "lapse": 0.01, **sizes.hard_training}
    more, fewer = sizes.hard_frames, sizes.intervention_frames
    cells: list[Cell] = []
    for left_out in _CORE:
        others = [d for d in _CORE if d != left_out]
        args = {"hard_dimensions": others}
        hard = {"difficulty": "hard1", "hard_dimensions": [left_out]}
        seen = {"difficulty": "hard1", "hard_dimensions": others[:1], "dimension": others[0]}
        rooms = (
            Room("hard", _INTERVENTION, {**hard, "dimension": left_out}),
            Room("hard_seen", _INTERVENTION, seen),
            Room("hard_any", _INTERVENTION, hard),
            Room("train", _INTERVENTION, args),
        )
        cells += [
            _staged(
                sizes,
                seed,
                experiment="hard",
                arm=arm,
                subject=left_out,
                sets=_lessons(sizes, f"hard-{left_out}", args, expert, besides=besides),
                rooms=rooms,
                explained=explained,
                agent_changes=changes,
                trained=trained,
                frames=frames,
            )
            for arm, explained, (expert, besides), changes, trained, frames in (
                ("full", True, (_ANEW, _RASH), anew, learning, more),
                ("none", False, (_ANEW, _RASH), anew, learning, more),
                ("none_whole", False, (_ANEW, _RASH), anew, {**learning, **_WHOLE}, more),
                # Who sees that a dimension varied in an earlier room may take it for tried.
                ("one_memory", True, (_CAREFUL, {}), _FORGETFUL, _LAPSING, fewer),
                ("one_memory_none", False, (_CAREFUL, {}), _FORGETFUL, _LAPSING, fewer),
                # Who knows which object was changed need not look what has become odd: it is the
                # first that is seen after a transform.
                ("forgetting", True, (_CAREFUL, {}), _FORGETFUL, {}, fewer),
                # Who goes straight on after a transform never shows what makes it right.
                ("straight", True, (_VAIN, {}), {}, {}, fewer),
            )
            if (seed == 0 or arm in ("full", "none"))
            and (arm not in _ABANDONED or left_out == _FIRST_TRIED)
        ]
    return cells


def _basic(sizes: Sizes, seed: int) -> list[Cell]:
    rooms = tuple(Room(d.value, _BASIC, {"dimension": d.value}) for d in Dimension)
    more, fewer = sizes.basic_frames, sizes.basic_whole_frames
    arms = (
        ("full", "full", "all", True, {}, more),
        # Explains, but neither foretells nor recollects: as the source's agents.
        ("plain", "full", "all", True, {"foretell_weight": 0.0, "recollect_weight": 0.0}, more),
        ("properties", "full", "properties", True, {}, more),
        # An encoder that is frozen after pictures of which it was told nothing, or nothing true,
        # would be what these are judged by: they learn as a whole, as does whom they are held to.
        ("full_whole", "full", "all", True, _WHOLE, fewer),
        ("outcome", "full", "outcome", True, _WHOLE, fewer),
        ("none", "full", "all", False, _WHOLE, fewer),
        ("shuffled", "shuffled", "all", True, _WHOLE, fewer),
        ("irrelevant", "irrelevant", "all", True, _WHOLE, fewer),
    )
    return [
        _staged(
            sizes,
            seed,
            experiment="basic",
            arm=arm,
            sets=(
                DemoSet(
                    label=f"basic-{told}",
                    env=_BASIC,
                    env_args={"explanations": told},
                    expert_args=_VAIN,
                    episodes=sizes.basic_episodes,
                ),
            ),
            hears=hears,
            rooms=rooms,
            explained=explained,
            # A trial has more to see than to remember.
            trained={"glimpses": 0.3, "freeze_at": 0.3, **sizes.basic_training, **trained},
            frames=frames,
        )
        for arm, told, hears, explained, trained, frames in arms
    ]


_CELLS: Final = {
    "confounding": _confounding,
    "features": _features,
    "hard": _hard,
    "basic": _basic,
}


def _lessons(
    sizes: Sizes,
    label: str,
    args: Mapping[str, Any],
    expert: Mapping[str, Any] = _VAIN,
    *,
    besides: Mapping[str, Any] = MappingProxyType({}),
) -> tuple[DemoSet, ...]:
    """Whole intervention episodes, and short ones of an experiment that works and its test:
    lessons in using what an experiment showed.

    Args:
        besides: further options of the expert in whole episodes.
    """
    whole = DemoSet(
        label=label,
        env=_INTERVENTION,
        env_args=args,
        expert_args={**expert, **besides},
        episodes=sizes.intervention_episodes,
    )
    practice = (
        DemoSet(
            label=f"{label}-practice-{d}",
            env=_INTERVENTION,
            env_args={**args, "dimension": d, "experiments": 1},
            expert_args={**expert, "first": d},
            episodes=sizes.practice_episodes,
            seed=1 + i,
        )
        for i, d in enumerate(_CORE)
    )
    return (whole, *practice)
