"""The plots: which object was chosen, how success grew, and where it ended."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from oddoneout.evaluation import CHANCE, Estimate
from oddoneout.rules.attributes import CORE_DIMENSIONS
from scripts.reproduction.analysis import chose, success
from scripts.reproduction.plan import BASELINES
from scripts.reproduction.tables import Column, Experiment, Row, find

_CORE: Final = tuple(d.value for d in CORE_DIMENSIONS)
_ARMS: Final = {
    "full": "#0b6e99",
    "none": "#b0413e",
    "one_trial": "#8a6fb0",
    "forgetting": "#8a6fb0",
    "one_memory": "#c0853a",
    "one_memory_none": "#c9bfae",
    "straight": "#4d9a9a",
    "named": "#74a9cf",
    "opponent": "#4d9a9a",
    "none_whole": "#d98880",
    "full_whole": "#74a9cf",
    "plain": "#8a6fb0",
    "properties": "#4c9f70",
    "outcome": "#d08c2f",
    "shuffled": "#7f7f7f",
    "irrelevant": "#c49a9a",
    # Told apart by whoever does not tell red from green, too (Okabe & Ito).
    "color": "#d55e00",
    "shape": "#0072b2",
    "texture": "#009e73",
}
#: Success of who picks any of three odd objects, where one of them is right.
ANY_ODD: Final = 1.0 / 3.0
_SILENT: Final = "#333333"  # the arm without explanations, among those named by dimensions
_CHANCE: Final = {"color": "#999999", "linewidth": 1.0, "linestyle": "--"}
_BLIND: Final = {"color": "#999999", "linewidth": 1.0, "linestyle": ":"}
_EXPERT: Final = {"color": "#c9a227", "linewidth": 1.5, "linestyle": "-"}


def draw(name: str, shown: Experiment, rows: Sequence[Row], out: Path) -> list[Path]:
    """Draw one experiment.

    Returns:
        The files, PNG, in ``out``; none where nothing is finished.
    """
    if not any(row.trained for row in rows):
        return []
    out.mkdir(parents=True, exist_ok=True)
    files = []
    if name == "confounding":
        files.append(_matrix(rows, out / "confounding-matrix.png"))
    if shown.bars:
        files.append(_bars(shown, rows, out / f"{name}-bars.png"))
    if any(cell["curve"] for row in rows for cell in row.results):
        files.append(_curves(name, shown, rows, out / f"{name}-curves.png"))
    return files


def _figure(rows: int, columns: int, width: float, height: float) -> tuple[Any, Any]:
    # Without pyplot: no global state, no display.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False)


def _plain(axes: Any) -> None:
    axes.spines[["top", "right"]].set_visible(False)


def _color(arm: str, rows: Sequence[Row]) -> str:
    if arm == "none" and any(row.arm in _CORE for row in rows):
        return _SILENT
    return _ARMS[arm]


def _matrix(rows: Sequence[Row], path: Path) -> Path:
    """Explained x chosen."""
    kinds = (*_CORE, "none", "no_choice")
    arms = [row for row in rows if row.trained]
    found = [
        [row.estimate(Column(kind, "deconfounded", chose(kind))) for kind in kinds] for row in arms
    ]
    values = np.array([[e.value if e else np.nan for e in line] for line in found])
    figure, grid = _figure(1, 1, 6.6, 1.5 + 0.72 * len(arms))
    axes = grid[0, 0]
    picture = axes.imshow(values, vmin=0.0, vmax=1.0, cmap="Blues", aspect="auto")
    for (i, j), value in np.ndenumerate(values):
        e = found[i][j]
        if e is not None:
            text = f"{value:.2f}\n[{e.low:.2f}, {e.high:.2f}]"
            dark = "white" if value > 0.55 else "black"
            axes.text(j, i, text, ha="center", va="center", color=dark, fontsize=8)
    labels = [*_CORE, "odd in none", "no choice"]
    axes.set_xticks(range(len(kinds)), labels)
    axes.set_yticks(range(len(arms)), ["nothing" if row.arm == "none" else row.arm for row in arms])
    axes.set_xlabel("the chosen object is odd in")
    axes.set_ylabel("explained in training")
    axes.set_title("Deconfounded rooms, after training on Confounded ones", fontsize=10)
    label = "share of episodes (any object: 0.25, any unique one: 0.33)"
    figure.colorbar(picture, ax=axes, label=label)
    figure.savefig(path)
    return path


def _bars(shown: Experiment, rows: Sequence[Row], path: Path) -> Path:
    """Where every arm ended, with intervals, agents as dots, chance and the expert."""
    subjects = list(dict.fromkeys(row.subject for row in rows if row.trained))
    figure, grid = _figure(1, len(subjects), 2.4 + 3.2 * max(len(subjects), 1.6), 3.8)
    for axes, subject in zip(grid[0], subjects, strict=True):
        columns = {c.name: c for c in shown.columns(subject) if c.name in shown.bars}
        arms = [row for row in rows if row.trained and row.subject == subject]
        wide = 0.8 / len(arms)
        for i, row in enumerate(arms):
            for j, name in enumerate(shown.bars):
                e = row.estimate(columns[name])
                if e is None:
                    continue
                x = j + (i - (len(arms) - 1) / 2) * wide
                style = {"label": _worded(row.arm)} if j == 0 else {}
                axes.bar(x, e.value, 0.9 * wide, color=_color(row.arm, rows), **style)
                _agents(axes, x, 0.5 * wide, row, columns[name], e)
        expert = find(rows, "expert", subject)
        for j, name in enumerate(shown.bars):
            ends = (j - 0.45, j + 0.45)
            if expert and (e := expert.estimate(columns[name])):
                style = {"label": "expert"} if j == 0 else {}
                axes.plot(ends, (e.value, e.value), **_EXPERT, **style)
            if "made odd" not in name:  # a measure without a chance level of its own
                style = {"label": "chance"} if j == 0 else {}
                axes.plot(ends, (CHANCE, CHANCE), **_CHANCE, **style)
                if columns[name].room in shown.blind:
                    style = {"label": "any odd object"} if j == 0 else {}
                    axes.plot(ends, (ANY_ODD, ANY_ODD), **_BLIND, **style)
        titles = [shown.titles.get(name, name) for name in shown.bars]
        axes.set_xticks(range(len(titles)), titles)
        axes.tick_params(axis="x", labelsize=8)
        axes.set_ylim(0.0, 1.05)
        axes.set_title(f"{subject} was only ever easy" if subject else "", fontsize=10)
        _plain(axes)
    made = any("made odd" in name for name in shown.bars)
    grid[0, 0].set_ylabel(
        "share of episodes (made odd: of such transforms)" if made else "share of episodes",
        fontsize=8,
    )
    _legend(figure, grid)
    figure.savefig(path)
    return path


def _agents(axes: Any, x: float, wide: float, row: Row, column: Column, e: Estimate) -> None:
    """Each agent as a dot, and the interval of their mean; of two agents, which tell little of
    what others would do, each one's own."""
    found = [Row(row.subject, row.arm, (cell,)).estimate(column) for cell in row.results]
    each = [alone for alone in found if alone is not None]
    apart = np.linspace(-0.5, 0.5, len(each)) * wide if len(each) > 1 else [0.0]
    shown = zip(x + np.array(apart), each, strict=True) if len(each) == 2 else [(x, e)]
    for at, of in shown:
        error = [[max(0.0, of.value - of.low)], [max(0.0, of.high - of.value)]]
        axes.errorbar(at, of.value, yerr=error, capsize=2, color="black", linewidth=1.2)
    for at, alone in zip(apart, each, strict=True):
        axes.plot(x + at, alone.value, "o", color="black", markersize=2.5)


def _worded(name: str) -> str:
    return name.replace("_", " ")


def _curves(name: str, shown: Experiment, rows: Sequence[Row], path: Path) -> Path:
    """Success against training frames: the mean of the agents, and each of them."""
    subjects = list(dict.fromkeys(row.subject for row in rows if row.trained))
    across = len(shown.curves)
    figure, grid = _figure(len(subjects), across, 3.1 * across + 0.6, 2.7 * len(subjects) + 0.5)
    for i, subject in enumerate(subjects):
        for j, room in enumerate(shown.curves):
            axes = grid[i, j]
            for row in rows:
                if row.trained and row.subject == subject:
                    measure = _measure(name, room, row.arm)
                    _lines(axes, row, measure, _color(row.arm, rows))
            _levels(axes, rows, subject, room, room in shown.blind)
            axes.set_ylim(0.0, 1.05)
            title = shown.titles.get(room, room)
            axes.set_title(f"{subject}: {title}" if subject else title, fontsize=10)
            _plain(axes)
            if i == len(subjects) - 1:
                axes.set_xlabel("training frames (millions)")
            if j == 0:
                axes.set_ylabel(f"success in {_episodes(rows)} validation rooms", fontsize=9)
    _legend(figure, grid)
    figure.savefig(path)
    return path


def _episodes(rows: Sequence[Row]) -> str:
    """Of every exam on the way."""
    found = {cell["plan"]["curve_episodes"] for row in rows for cell in row.results if row.trained}
    return " or ".join(map(str, sorted(found)))


def _legend(figure: Any, grid: Any) -> None:
    """Below all plots, what stands in any of them; in as many columns as there is room for."""
    named = {
        label: handle
        for axes in grid.flat
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    columns = min(len(named), max(1, int(figure.get_figwidth() / 1.3)))
    figure.legend(
        named.values(),
        named.keys(),
        frameon=False,
        fontsize=8,
        loc="outside lower center",
        ncols=columns,
    )


def _measure(name: str, room: str, arm: str) -> tuple[str, ...]:
    """The scores of a curve that are added up: for an arm without a dimension of its own, in
    deconfounded rooms, the mean over the three is as good as any."""
    if name == "confounding" and room == "deconfounded" and arm not in _CORE:
        return tuple(f"{room}/odd_in_{d}" for d in _CORE)
    return (f"{room}/success",)


def _lines(axes: Any, row: Row, measure: Sequence[str], color: str) -> None:
    curves = [cell["curve"] for cell in row.results if cell["curve"]]
    frames = [np.array([point["frames"] for point in curve]) / 1e6 for curve in curves]
    values = [
        np.array([np.mean([point.get(m, 0.0) for m in measure]) for point in curve])
        for curve in curves
    ]
    for x, y in zip(frames, values, strict=True):
        axes.plot(x, y, color=color, linewidth=0.7, alpha=0.4)
    if curves:
        shortest = min(len(y) for y in values)
        x = np.mean([x[:shortest] for x in frames], axis=0)
        y = np.mean([y[:shortest] for y in values], axis=0)
        axes.plot(x, y, color=color, linewidth=2.0, marker=".", label=_worded(row.arm))


def _levels(axes: Any, rows: Sequence[Row], subject: str, room: str, blind: bool) -> None:
    axes.axhline(CHANCE, **_CHANCE, label="chance")
    if blind:
        axes.axhline(ANY_ODD, **_BLIND, label="any odd object")
    expert = find(rows, BASELINES[0], subject)
    if expert is not None:
        e = expert.estimate(Column("", room, success))
        if e is not None:
            axes.axhline(e.value, **_EXPERT, label="expert")
