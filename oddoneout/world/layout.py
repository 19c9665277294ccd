"""Where the agent and the objects stand when a trial begins; no mujoco."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pose:
    """Where the agent stands: metres from the room's centre, radians anticlockwise from +x."""

    x: float
    y: float
    heading: float
