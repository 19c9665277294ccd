"""The privileged view of an environment: for experts, tests and analysis, never for agents."""

from dataclasses import dataclass

from oddoneout.rules.attributes import Dimension
from oddoneout.rules.things import Thing
from oddoneout.rules.trial import Mode, Phase
from oddoneout.world.layout import Pose


@dataclass(frozen=True, slots=True)
class ObjectView:
    """One object as placed in the room, and as it stands to the agent's eye.

    Attributes:
        thing: its attribute values now.
        x, y: its centre, metres.
        distance: from the agent's centre to the object's, metres, in the plane.
        bearing: of the object's centre, radians in [-pi, pi], positive to the left.
        visible: its centre is inside the horizontal field of view, and nearer objects cover at
            most half of it.
    """

    thing: Thing
    x: float
    y: float
    distance: float
    bearing: float
    visible: bool


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything there is to know about an environment between two steps.

    Attributes:
        agent: the agent's pose.
        objects: the four objects; the index is the object's identity within the trial.
        gaze: index of the object looked at, or None.
        focus: index of the object in focus (looked at and within reach), or None.
        trial, trials: index of the current trial; how many the episode has.
        mode: what the instruction asks: make or find an odd one out.
        phase: searching, or hearing the explanation of a choice.
        transforms_left: transforms that this trial still allows.
        step: steps taken in the current phase of this trial.
        test: whether this is the scored trial.
        dimension: the rewarded dimension; hidden from agents in Intervention.
        known_dimension: the rewarded dimension where the level itself tells it (single-trial
            levels); None in Intervention, where it must be found out by experiment.
        last_reward: reward of the step just taken (0.0 after a reset).
    """

    agent: Pose
    objects: tuple[ObjectView, ...]
    gaze: int | None
    focus: int | None
    trial: int
    trials: int
    mode: Mode
    phase: Phase
    transforms_left: int
    step: int
    test: bool
    dimension: Dimension
    known_dimension: Dimension | None
    last_reward: float
