"""Sizes of the room and its contents, in metres, radians and seconds; no mujoco."""

import math
from typing import Final

ROOM_HALF: Final = 1.75  # half the inner width of the square room
WALL_HEIGHT: Final = 4.2  # so high that no image, however tall, looks over them
OBJECT_COUNT: Final = 4
OBJECT_RADIUS: Final = 0.34  # of the one hidden collider that all objects share
OBJECT_SPACING: Final = 1.1  # least distance between two objects' centres
WALL_CLEARANCE: Final = 0.7  # least distance from a wall to an object's centre
OBJECT_HEIGHT: Final = 0.68  # of a large object, standing on the floor
OBJECT_BOUND: Final = 0.5  # radius of a sphere, at half an object's height, that holds any of them
AGENT_RADIUS: Final = 0.18
START_FROM_WALL: Final = 0.3  # from the wall behind it to the agent's centre
START_CLEARANCE: Final = 0.1  # least gap between the agent's body and an object's at the start
START_JITTER: Final = math.radians(25.0)  # half range of the start's heading about "inwards"
STEP_LENGTH: Final = 0.3  # of one forward or backward action
TURN_ANGLE: Final = math.radians(22.5)
EYE_HEIGHT: Final = 1.2
EYE_PITCH: Final = math.radians(30.0)  # downwards
FIELD_OF_VIEW: Final = math.radians(80.0)  # horizontal, for every image shape
REACH: Final = 1.2  # from the agent's centre to an object's
GAZE_CONE: Final = math.radians(14.0)  # half angle

#: Of the room, for people.
VIEWS: Final = ("overhead", "shoulder")


def vertical_view(aspect: float) -> float:
    """The vertical field of view, radians, of an image whose height is ``aspect`` times its width.

    The horizontal one is fixed; MuJoCo takes the vertical one.
    """
    return 2 * math.atan(math.tan(FIELD_OF_VIEW / 2) * aspect)
