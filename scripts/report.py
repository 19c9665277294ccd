"""Scores and training curves as markdown and pictures; takes what the scripts write as JSON.

Scores are the values of ``oddoneout.evaluation.Scores.to_json``; runs are the folders that
``scripts.train`` writes.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from oddoneout.evaluation import CHANCE
from scripts import common

Values = Mapping[str, Any]

#: One color per policy, in the order in which they are given; told apart by the color-blind too.
PALETTE: Final = ("#0072b2", "#e69f00", "#009e73", "#999999", "#cc79a7", "#56b4e9")

_ODD_NAMES: Final = {"several": "several", "none": "none", "no_choice": "no choice"}


def load(path: Path) -> dict[str, Any]:
    """Scores from a file."""
    return json.loads(path.read_text(encoding="utf-8"))


def figure(scores: Values, name: str) -> str:
    """One figure with its 95% interval, as "0.93 [0.90, 0.96]"; ``name`` may be "odd_in.color"."""
    value, interval = scores, scores["intervals"]
    for part in name.split("."):
        value, interval = value[part], interval[part]
    return f"{value:.2f} [{interval[0]:.2f}, {interval[1]:.2f}]"


def level(scores: Values) -> str:
    """ "OddOneOut/Basic-v0" -> "Basic"."""
    return scores["env"].rpartition("/")[2].rpartition("-v")[0]


def level_table(results: Sequence[tuple[str, Values]]) -> str:
    """Success, return, length and experiments: a row for each (policy, scores)."""
    header = ("level", "policy", "success [95%]", "return", "steps per trial", "experiments")
    rows = [
        (
            level(scores),
            policy,
            figure(scores, "success"),
            f"{scores['return']:.2f}",
            f"{scores['steps']:.1f}",
            " ".join(f"{share:.2f}" for share in scores["experiments"]),
        )
        for policy, scores in results
    ]
    return common.table(header, rows)


def chosen_table(results: Mapping[str, Values], dimensions: Sequence[str]) -> str:
    """What the chosen object was odd in: a row for each policy."""
    names = [*dimensions, "none", "no_choice"]
    header = ("chose the object odd in", *(_ODD_NAMES.get(name, name) for name in names))
    rows = [
        (policy, *(figure(scores, f"odd_in.{name}") for name in names))
        for policy, scores in results.items()
    ]
    return common.table(header, rows)


def spoken_table(results: Mapping[str, Values]) -> str:
    """How often what a policy says is exactly what was true, beside the commonest answer."""
    rows = []
    for policy, scores in results.items():
        for kind, spoken in scores["says"].items():
            if spoken["accuracy"] is not None:
                low, high = spoken["interval"]
                share = f"{spoken['accuracy']:.2f} [{low:.2f}, {high:.2f}]"
                rows.append((policy, kind, share, f"{spoken['base_rate']:.2f}"))
    return common.table(("policy", "sentence", "exactly right", "always the commonest"), rows)


def draw_chosen(axes: Axes, results: Mapping[str, Values], dimensions: Sequence[str]) -> None:
    """Bars: what the chosen object was odd in, for each policy, with intervals and chance."""
    names = [*dimensions, "none", "no_choice"]
    width = 0.8 / len(results)
    for i, (policy, scores) in enumerate(results.items()):
        shares = [scores["odd_in"][name] for name in names]
        intervals = [scores["intervals"]["odd_in"][name] for name in names]
        errors = [
            [max(0.0, share - low) for share, (low, _) in zip(shares, intervals, strict=True)],
            [max(0.0, high - share) for share, (_, high) in zip(shares, intervals, strict=True)],
        ]
        places = [k - 0.4 + width * (i + 0.5) for k in range(len(names))]
        axes.bar(places, shares, width * 0.92, color=PALETTE[i], label=policy)
        axes.errorbar(places, shares, errors, fmt="none", ecolor="black", elinewidth=1, capsize=2)
    _chance(axes)
    axes.set_xticks(range(len(names)), [_ODD_NAMES.get(name, name) for name in names])
    axes.set(ylim=(0, 1.04), xlabel="chose the object odd in", ylabel="share of episodes")
    axes.legend(frameon=False)


def records(run: Path, kind: str) -> list[dict[str, Any]]:
    """The records of one kind ("train", "validation", "active") of a run, first to last."""
    from agents import progress  # imports torch, which tables do without

    found = progress.records(run / "metrics.jsonl")
    return [record for record in found if record["kind"] == kind]


def draw_curves(
    axes: Axes, runs: Mapping[str, Path], kind: str, measure: str, chance: bool = False
) -> None:
    """A measure over the frames trained on, a line for each run."""
    for i, (policy, run) in enumerate(runs.items()):
        points = [(r["frames"] / 1000, r[measure]) for r in records(run, kind) if measure in r]
        if points:
            x, y = zip(*points, strict=True)
            mark = "o" if kind != "train" else ""
            axes.plot(x, y, color=PALETTE[i], label=policy, marker=mark, markersize=4)
    if chance:
        _chance(axes)
    axes.set(xlim=(0, None), ylim=(0, 1.04), xlabel="thousand frames trained on")


def draw_agents(
    path: Path,
    results: Mapping[str, Values],
    runs: Mapping[str, Path],
    dimensions: Sequence[str],
    active: tuple[str, str],
) -> None:
    """One picture of several agents: what they choose, and how they came to it.

    Args:
        path: of the PNG.
        results: scores in Deconfounded rooms by policy; those that have runs first.
        runs: the folders of the agents' runs, by the same names and in the same order.
        dimensions: in which objects are odd.
        active: a measure of the runs' evaluations, and what it means.
    """
    whole, (left, middle, right) = plt.subplots(
        1, 3, figsize=(15, 4.6), layout="constrained", width_ratios=(1.7, 1, 1)
    )
    draw_chosen(left, results, dimensions)
    left.set_title("Deconfounded rooms: what decides the choice (95% intervals)")
    draw_curves(middle, runs, "active", active[0], chance=True)
    middle.set_title(active[1])
    draw_curves(right, runs, "train", "action_accuracy")
    right.set_title("while training: expert's action predicted")
    for axes in (left, middle, right):
        axes.spines[["top", "right"]].set_visible(False)
    whole.savefig(path, dpi=110)
    plt.close(whole)


def _chance(axes: Axes) -> None:
    axes.axhline(CHANCE, color="black", linestyle=":", linewidth=1, zorder=0)
    axes.annotate(
        "chance", (1.0, CHANCE), (-2, 3), xycoords=("axes fraction", "data"),
        textcoords="offset points", ha="right", fontsize=8,
    )  # fmt: skip
