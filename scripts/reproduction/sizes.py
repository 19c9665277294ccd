"""How much of everything: demonstrations, frames, exams, seeds."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

EXPERIMENTS: Final = ("confounding", "features", "hard", "basic")

#: How agents learn where sentences speak of all dimensions: first to see, then the memory alone,
#: for which most of the budget is. All arms alike. Explanations weigh less than they do by default,
#: so that the policy keeps up with what is known.
_STAGES: Final = {
    "decisive_weight": 3.0,
    "explanation_weight": 0.33,
    "foretell_weight": 0.3,
    "glimpses": 0.2,
    "freeze_at": 0.2,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How much of everything, by level.

    Attributes:
        confounded_episodes, basic_episodes, intervention_episodes: of each set of demonstrations.
        practice_episodes: of each of the three sets of short intervention episodes.
        confounded_frames, basic_frames, intervention_frames: that every agent is trained on.
        basic_whole_frames: in place of ``basic_frames`` for arms that have no stages, whose frames
            cost three times as much.
        features_frames: in place of ``intervention_frames`` where combinations are held out: there
            is more to see, and a memory of names that change comes late.
        hard_frames: in place of ``intervention_frames`` where hard experiments are left out of a
            dimension; not of the arms by which that was found out, with a single memory.
        confounded_training: changes to the training's defaults, where one dimension is explained.
        staged_training: where all are, in Basic and Intervention.
        features_training, hard_training: changes to that where ``features_frames`` or
            ``hard_frames`` count.
        basic_training: changes to that in Basic, whose episodes are short.
        staged_agent: changes to the ``agent`` preset there.
        parts_agent: changes to that for agents whose encoder names what it sees.
        agent: the agent's preset.
        exam_episodes: of every exam at the end, per seed.
        curve_points, curve_episodes: exams on the way, and the episodes of each.
        seeds: trained agents per arm, by experiment.
    """

    confounded_episodes: int
    basic_episodes: int
    intervention_episodes: int
    practice_episodes: int
    confounded_frames: int
    basic_frames: int
    basic_whole_frames: int
    intervention_frames: int
    features_frames: int
    hard_frames: int
    exam_episodes: int
    curve_points: int
    curve_episodes: int
    seeds: Mapping[str, int]
    agent: str = "cpu"
    staged_agent: Mapping[str, Any] = field(
        default_factory=lambda: {
            "layers": 3,
            "width": 256,
            "heads": 8,
            "encoder": "opponent",
            "channels": (16, 48),
        }
    )
    parts_agent: Mapping[str, Any] = field(
        default_factory=lambda: {"encoder": "parts", "channels": (24, 48)}
    )
    confounded_training: Mapping[str, Any] = field(default_factory=dict)
    staged_training: Mapping[str, Any] = field(
        default_factory=lambda: {**_STAGES, "batch_episodes": 24, "batch_frames": 1536}
    )
    features_training: Mapping[str, Any] = field(default_factory=dict)
    hard_training: Mapping[str, Any] = field(default_factory=dict)
    basic_training: Mapping[str, Any] = field(default_factory=lambda: {"batch_episodes": 48})


#: One table of all sizes. Both presets train the same agents, the GPU's in larger batches.
PRESETS: Final[Mapping[str, Sizes]] = MappingProxyType(
    {
        "tiny": Sizes(
            confounded_episodes=6,
            basic_episodes=6,
            intervention_episodes=4,
            practice_episodes=2,
            confounded_frames=120,
            basic_frames=120,
            basic_whole_frames=120,
            intervention_frames=200,
            features_frames=200,
            hard_frames=200,
            exam_episodes=3,
            curve_points=2,
            curve_episodes=2,
            seeds=dict.fromkeys(EXPERIMENTS, 1),
            agent="tiny",
            staged_agent={"encoder": "opponent"},
            # Words can change their names where their vectors are longer than their number.
            parts_agent={"encoder": "parts", "width": 96},
            confounded_training={"batch_episodes": 2, "warmup_steps": 1},
            staged_training={**_STAGES, "batch_episodes": 2, "warmup_steps": 1},
            basic_training={},
        ),
        "cpu": Sizes(
            confounded_episodes=16_000,
            basic_episodes=48_000,
            intervention_episodes=6_000,
            practice_episodes=3_000,
            confounded_frames=900_000,
            basic_frames=12_000_000,
            basic_whole_frames=7_000_000,
            intervention_frames=7_000_000,
            features_frames=11_000_000,
            hard_frames=11_000_000,
            exam_episodes=300,
            curve_points=3,
            curve_episodes=50,
            seeds={"confounding": 3, "features": 2, "hard": 2, "basic": 1},
            # Smaller batches of pictures teach an encoder faster (docs/training.md).
            features_training={"glimpses": 0.18, "freeze_at": 0.18, "batch_glimpses": 192},
            hard_training={"glimpses": 0.18, "freeze_at": 0.18, "batch_glimpses": 192},
            # Four dimensions at once take longer to see than three.
            basic_training={"batch_episodes": 48, "glimpses": 0.25, "freeze_at": 0.25},
        ),
        "gpu": Sizes(
            confounded_episodes=16_000,
            basic_episodes=48_000,
            intervention_episodes=10_000,
            practice_episodes=4_000,
            confounded_frames=4_000_000,
            basic_frames=12_000_000,
            basic_whole_frames=12_000_000,
            intervention_frames=16_000_000,
            features_frames=16_000_000,
            hard_frames=16_000_000,
            exam_episodes=500,
            curve_points=12,
            curve_episodes=100,
            seeds=dict.fromkeys(EXPERIMENTS, 5),
            confounded_training={"batch_episodes": 48, "batch_frames": 1536},
            staged_training={**_STAGES, "batch_episodes": 32, "batch_frames": 2048},
            basic_training={"batch_episodes": 64},
        ),
    }
)
