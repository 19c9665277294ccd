"""Active evaluation while training: the agent plays rooms that it was not trained on."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from agents.actor import AgentPolicy
from agents.model import Agent
from agents.ranks import Ranks
from oddoneout.evaluation import Scores, Stream, evaluate


@dataclass(frozen=True, slots=True)
class Exam:
    """One environment to be played.

    Attributes:
        env: a registered id.
        args: its arguments.
        name: how it is called in curves.
    """

    env: str
    args: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""

    @classmethod
    def parse(cls, text: str) -> "Exam":
        """From "ID" or "ID:JSON", optionally "NAME=" before it.

        Raises:
            ValueError: if it reads otherwise.
        """
        head, _, arguments = text.partition(":")
        name, _, env = head.rpartition("=")
        try:
            values = json.loads(arguments) if arguments else {}
        except json.JSONDecodeError as error:
            raise ValueError(f"{text!r}: the arguments are not JSON ({error})") from error
        if not env or not isinstance(values, dict):
            raise ValueError(f'{text!r} should read [NAME=]ID[:{{"argument": value, ...}}]')
        level = env.rpartition("/")[2].rpartition("-v")[0].lower() or env
        return cls(env, values, name or "-".join([level, *map(str, values.values())]))


def sit(
    agent: Agent,
    exams: Sequence[Exam],
    *,
    episodes: int,
    seed: int = 0,
    slots: int = 16,
    temperature: float = 0.5,
) -> tuple[dict[str, float], float]:
    """Play every exam. Processes that train together share the episodes, and each gets all scores.

    Args:
        agent: in evaluation mode.
        exams: what to play; each in the image size that the agent sees.
        episodes: of each exam; always the same ones for the same seed, of the stream that is
            kept for validation.
        seed, slots: as in `oddoneout.evaluation.evaluate`.
        temperature: of acting.

    Returns:
        Scores by name, as "exam/measure", and the mean success.
    """
    values: dict[str, float] = {}
    successes = []
    for exam in exams:
        scores = evaluate(
            AgentPolicy(agent, temperature),
            exam.env,
            {**exam.args, "image_size": list(agent.config.image_size)},
            episodes=episodes,
            seed=seed,
            slots=slots,
            stream=Stream.VALIDATION,
            team=Ranks.met(agent.policy.weight.device),
        )
        successes.append(scores.success.value)
        values |= {f"{exam.name}/{name}": value for name, value in summary(scores).items()}
    return values, float(np.mean(successes))


def summary(scores: Scores) -> dict[str, float]:
    """The figures worth a curve."""
    values = {"success": scores.success.value}
    if scores.experiments:
        values["return"] = scores.mean_return.value
        values |= {f"experiment{i + 1}": e.value for i, e in enumerate(scores.experiments)}
    values |= {f"odd_in_{name}": share.value for name, share in scores.odd_in.items()}
    values |= {
        f"says_{kind}": spoken.accuracy.value
        for kind, spoken in scores.says.items()
        if spoken.accuracy is not None
    }
    return values
