"""How much of everything: demonstrations, frames, exams, seeds."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

EXPERIMENTS: Final = ("confounding", "features", "hard", "basic")

#: How agents for Intervention learn: first to see, then the memory alone, for which most of the
#: budget is. All arms alike.
_STAGES: Final = {
    "decisive_weight": 3.0,
    "foretell_weight": 0.3,
    "glimpses": 0.26,
    "freeze_at": 0.26,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How much of everything. "single" is for levels of one trial.

    Attributes:
        single_episodes, intervention_episodes: of each set of demonstrations.
        practice_episodes: of each of the three sets of short intervention episodes.
        single_frames, intervention_frames: that every agent is trained on.
        single_agent, intervention_agent: changes to the ``agent`` preset.
        single_training, intervention_training: changes to the training's defaults.
        agent: the agent's preset.
        exam_episodes: of every exam at the end, per seed.
        curve_points, curve_episodes: exams on the way, and the episodes of each.
        seeds: trained agents per arm, by experiment.
    """

    single_episodes: int
    intervention_episodes: int
    practice_episodes: int
    single_frames: int
    intervention_frames: int
    exam_episodes: int
    curve_points: int
    curve_episodes: int
    seeds: Mapping[str, int]
    agent: str = "cpu"
    single_agent: Mapping[str, Any] = field(default_factory=dict)
    intervention_agent: Mapping[str, Any] = field(
        default_factory=lambda: {"layers": 3, "width": 256, "heads": 8}
    )
    single_training: Mapping[str, Any] = field(default_factory=dict)
    intervention_training: Mapping[str, Any] = field(
        default_factory=lambda: {**_STAGES, "batch_episodes": 24, "batch_frames": 1536}
    )


#: One table of all sizes. Both presets train the same agents, the GPU's in larger batches.
PRESETS: Final[Mapping[str, Sizes]] = MappingProxyType(
    {
        "tiny": Sizes(
            single_episodes=6,
            intervention_episodes=4,
            practice_episodes=2,
            single_frames=120,
            intervention_frames=200,
            exam_episodes=3,
            curve_points=2,
            curve_episodes=2,
            seeds=dict.fromkeys(EXPERIMENTS, 1),
            agent="tiny",
            intervention_agent={},
            single_training={"batch_episodes": 2, "warmup_steps": 1},
            intervention_training={**_STAGES, "batch_episodes": 2, "warmup_steps": 1},
        ),
        "cpu": Sizes(
            single_episodes=16_000,
            intervention_episodes=6_000,
            practice_episodes=3_000,
            single_frames=900_000,
            intervention_frames=4_600_000,
            exam_episodes=300,
            curve_points=3,
            curve_episodes=50,
            seeds={"confounding": 3, "features": 2, "hard": 2, "basic": 1},
        ),
        "gpu": Sizes(
            single_episodes=16_000,
            intervention_episodes=10_000,
            practice_episodes=4_000,
            single_frames=4_000_000,
            intervention_frames=16_000_000,
            exam_episodes=500,
            curve_points=12,
            curve_episodes=100,
            seeds=dict.fromkeys(EXPERIMENTS, 5),
            single_training={"batch_episodes": 48, "batch_frames": 1536},
            intervention_training={**_STAGES, "batch_episodes": 32, "batch_frames": 2048},
        ),
    }
)
