"""A policy that soon meets objects, for tests that want eventful episodes."""

from collections.abc import Sequence

import numpy as np

from oddoneout.actions import Action
from oddoneout.snapshot import Snapshot
from oddoneout.world.geometry import TURN_ANGLE


def busy(snapshot: Snapshot, rng: np.random.Generator, at_focus: Sequence[Action]) -> int:
    """An action that soon leads to an object, and there does one of `at_focus`, evenly drawn."""
    seen = [view for view in snapshot.objects if view.visible]
    if rng.random() < 0.1:
        return int(rng.integers(len(Action)))
    if snapshot.focus is not None:
        return int(rng.choice([int(action) for action in at_focus]))
    if not seen:
        return Action.TURN_LEFT
    bearing = min(seen, key=lambda view: view.distance).bearing
    if abs(bearing) > TURN_ANGLE / 2:
        return Action.TURN_LEFT if bearing > 0 else Action.TURN_RIGHT
    return Action.FORWARD
