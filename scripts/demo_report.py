"""The demo's report: what two agents learned from the same demonstrations."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from oddoneout.rules.levels import CATALOGUE
from scripts import common, report

CONFOUNDED: Final = "OddOneOut/Confounded-v0"
DECONFOUNDED: Final = "OddOneOut/Deconfounded-v0"
DIMENSIONS: Final = ("color", "shape", "texture")
NOTHING: Final = "nothing"

#: Share of choices that the explained dimension should decide.
MARK: Final = 0.85

_BASELINES: Final = {
    "expert": "expert",
    "random_object": "random object",
    "random": "random actions",
}


def label(told: str) -> str:
    """What an agent is called that was told about ``told``."""
    return f"agent told of {told}"


def scores_path(out: Path, name: str, env: str) -> Path:
    """Where the scores of a policy in an environment are kept."""
    return out / "scores" / f"{name}-{env.rpartition('/')[2].rpartition('-v')[0].lower()}.json"


def write(out: Path, state: Mapping[str, Any]) -> str:
    """Write report.md, report.json and results.png from what the demo has made.

    Returns:
        the outcome in a few lines.
    """
    settings = state["settings"]
    told = (settings["dimension"], NOTHING)
    runs = {label(name): out / "runs" / name for name in told}
    names = {**{name: label(name) for name in told}, **_BASELINES}
    confounded, deconfounded = (
        {shown: report.load(scores_path(out, name, env)) for name, shown in names.items()}
        for env in (CONFOUNDED, DECONFOUNDED)
    )
    levels = [
        (shown, report.load(scores_path(out, name, level.id)))
        for level in CATALOGUE.values()
        for name, shown in _BASELINES.items()
    ]
    pictured = {shown: deconfounded[shown] for shown in (*runs, "random object", "expert")}
    report.draw_agents(
        out / "results.png",
        pictured,
        runs,
        DIMENSIONS,
        ("deconfounded/success", f"while training: chose the object odd in {told[0]}"),
    )
    agents = {shown: deconfounded[shown] for shown in runs}
    outcome = _outcome(told[0], agents)
    text = _TEXT.format(
        dimension=told[0],
        trial=_TRIAL if settings["quick"] else "",
        outcome=outcome,
        chosen=report.chosen_table(deconfounded, DIMENSIONS),
        confounded=report.level_table(list(confounded.items())),
        spoken=report.spoken_table({label(told[0]): agents[label(told[0])]}),
        levels=report.level_table(levels),
        level_episodes=levels[0][1]["episodes"],
        test_episodes=agents[label(NOTHING)]["episodes"],
        baseline_episodes=deconfounded["expert"]["episodes"],
        training=_training(runs, state),
        spent=_spent(state),
        seed=settings["seed"],
    )
    (out / "report.md").write_text(text, encoding="utf-8")
    values = {
        **state,
        "mark": MARK,
        "explained_decides": agents[label(told[0])]["odd_in"][told[0]],
        "confounded": confounded,
        "deconfounded": deconfounded,
        "levels": [scores for _, scores in levels],
    }
    common.write_json(out / "report.json", values)
    return f"\n{outcome}\n\nThe whole story is in {out}/report.md; watch {out}/agent.mp4"


def _outcome(dimension: str, agents: Mapping[str, report.Values]) -> str:
    told, untold = (agents[label(name)] for name in (dimension, NOTHING))
    share = told["odd_in"][dimension]
    reached = "reached" if share >= MARK else "missed"
    odd = f"odd_in.{dimension}"
    return (
        f"In deconfounded rooms the agent told of {dimension} chose the object odd in {dimension} "
        f"in {report.figure(told, odd)} of the episodes\n(the mark of {MARK} is {reached}), "
        f"the one told of nothing in {report.figure(untold, odd)}; chance is {told['chance']:.2f}."
    )


def _training(runs: Mapping[str, Path], state: Mapping[str, Any]) -> str:
    parts = []
    for shown, run in runs.items():
        records = report.records(run, "train")
        if records:
            rate = sum(record["frames_per_second"] for record in records) / len(records)
            parts.append(f"{shown}: {records[-1]['frames']:,} frames at {rate:,.0f} frames/s")
    return f"{state['training_minutes']:g} minutes each ({'; '.join(parts)})"


def _spent(state: Mapping[str, Any]) -> str:
    stages = [f"{name} {seconds / 60:.1f}" for name, seconds in state["seconds"].items()]
    return ", ".join(stages)


_TRIAL: Final = """
A trial of the machinery (`--quick`): so little was learned from so few episodes that the figures
below mean nothing.
"""

_TEXT: Final = """# What the explanations speak of, and what the agent learns
{trial}
{outcome}

Two agents learned to imitate the same demonstrations in Confounded rooms, where one object is odd
in color, shape and texture at once: nothing in the demonstrations tells which of the three matters.
One agent also learned to predict explanations that speak of {dimension} only; the other predicted
nothing. Both had equal minutes, and all other settings are the same. Explanations are never an
input. Then both act in rooms they have never seen, where color, shape and texture point at three
different objects.

![What each agent chooses, and how it came to it](results.png)

## Deconfounded rooms

{chosen}

{test_episodes} fresh episodes for each agent, {baseline_episodes} for expert and chance; 95%
intervals. The expert knows which dimension is rewarded.

## Confounded rooms, as in training

{confounded}

## What the agent told of {dimension} says

While it acts, in deconfounded rooms, beside what always saying the commonest sentence would reach.
An outcome sentence follows the reward; properties are said while an object is looked at.

{spoken}

## Watch

- [agent.mp4](agent.mp4): the agent told of {dimension} in Deconfounded rooms, with the sentence it
  predicts; the decisive moments:

  ![Contact sheet](agent.png)
- [expert.mp4](expert.mp4): the expert finds out by experiment what matters (Intervention, hard1).

## Expert and chance in every level

{levels}

{level_episodes} fresh episodes each.

## How it was made

Trained {training}. Minutes spent: {spent}.
Seed {seed}. Raw figures: report.json, runs/*/metrics.jsonl; curves: `tensorboard --logdir` this
folder. The data folder holds the demonstrations and may be removed.
"""
