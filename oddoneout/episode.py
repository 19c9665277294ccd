"""What one episode decided before it began, as one frozen value."""

from dataclasses import dataclass, replace

import numpy as np

from oddoneout.rules.attributes import Dimension
from oddoneout.rules.levels import Level, Settings, Speech
from oddoneout.rules.sampling import sample_play, sample_trial
from oddoneout.rules.trial import Trial, TrialState
from oddoneout.world.layout import Layout, sample_layouts


@dataclass(frozen=True, slots=True)
class Decoy:
    """A trial that somebody else played elsewhere, as it stood after the choice."""

    trial: Trial
    state: TrialState


@dataclass(frozen=True, slots=True)
class Episode:
    """One episode: the rules and the rooms of its trials.

    Attributes:
        dimension: the rewarded dimension.
        trials, layouts: one each per trial.
        decoys: one each per trial, of another episode of the level; ``explanations="shuffled"``
            speaks of these. Empty otherwise.
    """

    dimension: Dimension
    trials: tuple[Trial, ...]
    layouts: tuple[Layout, ...]
    decoys: tuple[Decoy, ...] = ()

    def __post_init__(self) -> None:
        if not self.trials or len(self.trials) != len(self.layouts):
            raise ValueError(
                f"an episode needs at least one trial and a layout for each, got "
                f"{len(self.trials)} trials and {len(self.layouts)} layouts"
            )

    @property
    def story(self) -> str:
        """All that decides the episode, in words and rounded numbers: the same on any machine."""
        parts = [self.dimension.value]
        for trial in self.trials:
            parts += [thing[d].value for thing in trial.things for d in Dimension]
            parts += [value.value for _, values in trial.in_play for value in values]
        for layout in self.layouts:
            poses = (*layout.objects, (layout.agent.x, layout.agent.y, layout.agent.heading))
            parts += [f"{number:.6f}" for pose in poses for number in pose]
        return " ".join(parts)


def sample_episode(level: Level, settings: Settings, rng: np.random.Generator) -> Episode:
    """Draw an episode: first its rules, then its rooms, so that neither tells of the other.

    Decoys have a generator of their own, so that a seed gives the same episodes, one after the
    other, whichever explanations are given.
    """
    dimension, specs = level.draw(settings, rng)
    trials = tuple(sample_trial(spec, settings.split, rng) for spec in specs)
    layouts = sample_layouts(len(specs), rng)
    if settings.explanations is not Speech.SHUFFLED:
        return Episode(dimension, trials, layouts)
    return Episode(dimension, trials, layouts, _sample_decoys(level, settings, rng.spawn(1)[0]))


def _sample_decoys(level: Level, settings: Settings, rng: np.random.Generator) -> tuple[Decoy, ...]:
    """Drawn with a dimension of their own, so that they tell nothing of the episode's."""
    _, specs = level.draw(replace(settings, dimension=None), rng)
    trials = [sample_trial(spec, settings.split, rng) for spec in specs]
    return tuple(Decoy(trial, sample_play(trial, rng)) for trial in trials)
