"""What one episode decided before it began, as one frozen value."""

from dataclasses import dataclass

import numpy as np

from oddoneout.rules.attributes import Dimension
from oddoneout.rules.levels import Level, Settings, Speech
from oddoneout.rules.sampling import sample_trial
from oddoneout.rules.trial import Trial
from oddoneout.world.layout import Layout, sample_layouts


@dataclass(frozen=True, slots=True)
class Episode:
    """One episode: the rules and the rooms of its trials.

    Attributes:
        dimension: the rewarded dimension.
        trials, layouts: one each per trial.
        decoys: trials of the same kinds that nobody plays; ``explanations="shuffled"`` speaks
            of these. Empty otherwise.
    """

    dimension: Dimension
    trials: tuple[Trial, ...]
    layouts: tuple[Layout, ...]
    decoys: tuple[Trial, ...] = ()

    def __post_init__(self) -> None:
        if not self.trials or len(self.trials) != len(self.layouts):
            raise ValueError(
                f"an episode needs at least one trial and a layout for each, got "
                f"{len(self.trials)} trials and {len(self.layouts)} layouts"
            )


def sample_episode(level: Level, settings: Settings, rng: np.random.Generator) -> Episode:
    """Draw an episode: first its rules, then its rooms, so that neither tells of the other."""
    dimension, specs = level.draw(settings, rng)
    trials = tuple(sample_trial(spec, settings.split, rng) for spec in specs)
    layouts = sample_layouts(len(specs), rng)
    decoys = (
        tuple(sample_trial(spec, settings.split, rng) for spec in specs)
        if settings.explanations is Speech.SHUFFLED
        else ()
    )
    return Episode(dimension, trials, layouts, decoys)
