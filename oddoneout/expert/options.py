"""How the expert can be made less than an expert, on purpose."""

import math
from dataclasses import dataclass
from typing import Final

from oddoneout.rules.attributes import CORE_DIMENSIONS
from oddoneout.world.geometry import REACH

#: Metres from which it takes looks to be told apart: within reach, where the camera shows them
#: all (docs/perception.md). And who imitates an expert that walks up to nothing but what it
#: chooses learns to choose whatever is near.
LEGIBLE: Final = REACH
_SHARES: Final = (
    "action_noise",
    "vain_actions",
    "rash_actions",
    "mistaken_experiments",
    "random_mix",
)
_SWITCHES: Final = ("use_transforms", "blind", "random_order", "look_again", "start_over")


@dataclass(frozen=True, slots=True)
class ExpertOptions:
    """Options of the expert, for imperfect data and ablations. All values are JSON-able.

    Attributes:
        action_noise: probability, per step of a search, that a random movement is executed
            while the label stays the expert's own action.
        vain_actions: probability, per step of a search, that a transform or a choice is executed
            where it does nothing, for want of an object in focus or of transforms left; the label
            stays. Imitators are late or early now and then, and must notice that nothing happened.
        rash_actions: probability, per step of an experiment with an object in focus, that a
            transform is executed, while one is left, or a choice; the label stays. What it does
            then is made of what there is: it chooses what has become odd. Imitators' experiments
            go wrong now and then, and they must know what is still known.
        mistaken_experiments: probability, per experiment, that it tests another dimension than
            it should, or chooses another object. Labels follow the mistake.
        random_mix: probability, per episode, that all of it is played uniformly at random.
        use_transforms: False: it experiments without making anything odd.
        blind: True: it sees nothing.
        random_order: whether an untested dimension is drawn at random, or taken in order.
        first: the dimension that its first experiment tests; None leaves it to ``random_order``.
            Where it is the rewarded one, episodes of one experiment are short and complete
            lessons in using what an experiment showed.
        legible: metres from which it can tell looks apart; objects farther off it approaches.
        look_again: whether it looks at every object once more after it has transformed one, as
            if it did not know what that made odd. Who imitates an expert that goes straight on
            may learn for each dimension where to go, and never what it means to be odd.
        start_over: whether it knows, once a transform has been executed, its own or not and even in
            vain, no more of the room than what it sees from then on: it looks for every object
            again, and settles again what to do, mistaken or not (``look_again`` then adds nothing).
            For imitators that forget at the same moments (``forget_vain`` of agents).

    Raises:
        ValueError: for a value that is not allowed; the message names what is.
    """

    action_noise: float = 0.0
    vain_actions: float = 0.0
    rash_actions: float = 0.0
    mistaken_experiments: float = 0.0
    random_mix: float = 0.0
    use_transforms: bool = True
    blind: bool = False
    random_order: bool = True
    first: str | None = None
    legible: float = LEGIBLE
    look_again: bool = False
    start_over: bool = False

    def __post_init__(self) -> None:
        for name in _SHARES:
            value = getattr(self, name)
            if not _is_number(value) or not 0.0 <= value <= 1.0:
                raise ValueError(_refusal(name, "a probability from 0 to 1", value))
        for name in _SWITCHES:
            value = getattr(self, name)
            if not isinstance(value, bool):
                raise ValueError(_refusal(name, "True or False", value))
        if self.first is not None and self.first not in list(CORE_DIMENSIONS):
            names = ", ".join(repr(d.value) for d in CORE_DIMENSIONS)
            raise ValueError(_refusal("first", f"None or one of {names}", self.first))
        if not _is_number(self.legible) or not 1.0 <= self.legible < math.inf:
            raise ValueError(_refusal("legible", "a number of metres, at least 1", self.legible))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _refusal(name: str, allowed: str, value: object) -> str:
    return f"the expert's {name} must be {allowed}, got {value!r}; see ExpertOptions"
