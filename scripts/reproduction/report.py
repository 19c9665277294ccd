"""`report.md` and `results.json`: what was found, beside what it cost."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from oddoneout.evaluation import Estimate
from scripts.common import table
from scripts.reproduction.cells import Places, load_again, read_json, write_json
from scripts.reproduction.plan import Cell
from scripts.reproduction.sizes import Sizes
from scripts.reproduction.tables import SHOWN, TERMS, Column, Experiment, Row, differences

NOTES: Final = "notes.md"  # an author's own words, kept beside the report and put into it
_NONE: Final = "-"
_MAIN: Final = 4  # how many of an experiment's columns are listed for every agent: the first
#: What is reported of speaking: the outcome as foretold at the step of choosing, before the reward.
_SAID: Final = ("properties", "outcome", "foretold")


def rows(cells: Sequence[Cell], results: Mapping[str, Mapping[str, Any]]) -> list[Row]:
    """Finished cells by subject and arm, in the order of the plan."""
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for cell in cells:
        if cell.name in results:
            groups.setdefault((cell.subject, cell.arm), []).append(results[cell.name])
    order = {cell.subject: None for cell in cells}
    return [
        Row(subject, arm, tuple(group))
        for of in order
        for (subject, arm), group in sorted(groups.items(), key=lambda item: not _trained(item[1]))
        if subject == of
    ]


def _trained(group: Sequence[Mapping[str, Any]]) -> bool:
    return group[0]["plan"]["training"] is not None


def shown(estimate: Estimate | None) -> str:
    """As "0.93 [0.89, 0.96]"."""
    if estimate is None:
        return _NONE
    return f"{estimate.value:.2f} [{estimate.low:.2f}, {estimate.high:.2f}]"


def write(
    places: Places,
    plans: Mapping[str, Sequence[Cell]],
    results: Mapping[str, Mapping[str, Any]],
    figures: Mapping[str, Sequence[Path]],
    command: str,
    sizes: Sizes,
) -> Path:
    """Write the report of what is finished so far.

    Args:
        places: the report goes into ``places.out``.
        plans: the cells of each experiment.
        results: of the finished cells, by name.
        figures: the plots of each experiment, within ``places.out``.
        command: that makes it.
        sizes: how much of everything.
    """
    done = {name: rows(cells, results) for name, cells in plans.items()}
    parts = [_head(command, sizes, plans, results), _targets(done)]
    notes = places.out / NOTES
    if notes.exists():
        parts.append(notes.read_text(encoding="utf-8").strip())
    for name, found in done.items():
        parts.append(_section(SHOWN[name], found, places, figures.get(name, ())))
    parts += [_again(plans, results, places), _cells(plans, results, places)]
    path = places.out / "report.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n\n".join(part for part in parts if part) + "\n", encoding="utf-8")
    write_json(places.out / "results.json", _json(done, command, sizes))
    return path


def _temperatures(plans: Mapping[str, Sequence[Cell]]) -> str:
    """As "0.5 (confounding)", of the cells that act by a trained agent."""
    found = {
        name: {cell.temperature for cell in plan if cell.training is not None}
        for name, plan in plans.items()
    }
    return ", ".join(
        f"{' and '.join(f'{t:g}' for t in sorted(of))} ({name})" for name, of in found.items()
    )


def _head(
    command: str,
    sizes: Sizes,
    plans: Mapping[str, Sequence[Cell]],
    results: Mapping[str, Mapping[str, Any]],
) -> str:
    cells = [cell for plan in plans.values() for cell in plan]
    missing = [cell.name for cell in cells if cell.name not in results]
    machines = sorted({_machine(cell["machine"]) for cell in results.values()})
    minutes = sum(cell["cost"].get("minutes", 0.0) for cell in results.values())
    lines = [
        "# Reproduction",
        "",
        f"Made by `{command}`; with `--cells NAME` and a fresh folder it makes one cell alone. "
        "Agents act in fresh rooms, whose seeds no demonstration and no exam on the way ever "
        f"had, at temperature {_temperatures(plans)}; one core and one torch thread each.",
        "",
        f"Machine: {'; '.join(machines) or 'none yet'}. Training took {minutes / 60.0:.1f} hours "
        "of one process each, in all; an agent's minutes are those of its training with the exams "
        "on the way, not with those at its end.",
        "",
        "Brackets are 95% intervals: Student's t over the agents of a row (wide where they are "
        "two); with one agent, a bootstrap over its episodes, which says nothing of other seeds; "
        "where all episodes agree, Wilson's. Of differences: Welch's, with the other arm's spread "
        "between agents for an agent that stands alone; where both do, a bootstrap over both's "
        "episodes (Newcombe's where all of one agree), which says nothing of other seeds. "
        "Agents of one row share their demonstrations and differ in initialization, order and "
        "the rooms of their exams. Told and untold arms get the same frames of the same rooms "
        "(Basic: *full_whole* and untold ones do), with the same moves where the arms' expert is "
        "the same. Claims are judged by "
        "their point estimates. Rows of what an agent says are of the first room only. "
        "*repeat_slot* goes to the object of that number which brought the last reward, and at "
        "random before there was any. (That numbers do not tell of answers is tested by counting: "
        "tests/test_leaks.py.)",
        "",
        "Sizes: " + ", ".join(f"{k} {v}" for k, v in asdict(sizes).items()) + ".",
    ]
    if missing:
        lines += ["", f"**Unfinished: {len(missing)} cells:** {', '.join(missing)}."]
    return "\n".join(lines)


def _machine(machine: Mapping[str, Any]) -> str:
    return f"{machine['name']} ({machine['cores']} cores)"


def _targets(done: Mapping[str, Sequence[Row]]) -> str:
    lines = []
    for name, found in done.items():
        for target in SHOWN[name].targets:
            value = target.found(found)
            verdict = _NONE if value is None else "yes" if target.reached(value) else "**no**"
            lines.append((name, target.claim, _NONE if value is None else f"{value:.3f}", verdict))
    return "## What was to be reached\n\n" + table(
        ("experiment", "claim", "found", "reached"), lines
    )


def _section(
    experiment: Experiment, found: Sequence[Row], places: Places, figures: Iterable[Path]
) -> str:
    parts = [f"## {experiment.title}", experiment.text]
    if not found:
        return "\n\n".join([*parts, "Nothing is finished yet."])
    names = [column.name for column in experiment.columns(found[0].subject)]
    if len(names) > 7:
        parts.append(TERMS)
    # The measures stand side by side where they are few, below each other where they are many.
    body = [[row.name, *_estimates(row, experiment), *_cost(row, places)] for row in found]
    header = ["arm", *names, *(f"says {kind}" for kind in _SAID), "agents", "cost of each"]
    if len(names) > 7:
        for subject in dict.fromkeys(row.subject for row in found):
            these = [line for row, line in zip(found, body, strict=True) if row.subject == subject]
            turned = [list(line) for line in zip(header, *these, strict=True)]
            parts.append(table(turned[0], turned[1:]))
    else:
        parts.append(table(header, body))
    lines = [(which, what, shown(by)) for which, what, by in differences(found, experiment)]
    if lines:
        parts.append(table(("difference", "in", "by"), lines))
    parts += [
        f"![{path.stem.replace('-', ' ')}]({path.relative_to(places.out)})" for path in figures
    ]
    return "\n\n".join(parts)


def _estimates(row: Row, experiment: Experiment) -> list[str]:
    columns = experiment.columns(row.subject)
    said = [row.says(kind) for kind in _SAID]
    return [
        *(shown(row.estimate(column)) for column in columns),
        *(_NONE if share is None else f"{share:.2f}" for share in said),
    ]


def _cost(row: Row, places: Places) -> tuple[str, str]:
    if not row.trained:
        return _NONE, _NONE
    episodes, _, time = _demonstrations(row.results[0], places)
    frames = sum(cell["cost"]["frames"] for cell in row.results) / len(row.results)
    trained = sum(cell["cost"]["minutes"] for cell in row.results) / len(row.results)
    return str(len(row.results)), (
        f"{episodes:,} episodes ({time}), {_short(frames)} frames ({trained:.0f} min)"
    )


def _demonstrations(cell: Mapping[str, Any], places: Places) -> tuple[int, int, str]:
    """Episodes, frames and core-minutes of the demonstrations that a cell was trained on; "?"
    where some set's are not known."""
    costs = [read_json(places.out / "demos" / f"{name}.json") or {} for name in cell["sets"]]
    seconds = [cost["core_seconds"] for cost in costs if cost.get("core_seconds")]
    return (
        sum(cost.get("episodes", 0) for cost in costs),
        sum(cost.get("frames", 0) for cost in costs),
        f"{sum(seconds) / 60.0:.0f} min" if len(seconds) == len(costs) else "?",
    )


def _short(frames: float) -> str:
    return f"{frames / 1e6:.1f}M" if frames >= 1e5 else f"{frames:,.0f}"


def _cells(
    plans: Mapping[str, Sequence[Cell]], results: Mapping[str, Mapping[str, Any]], places: Places
) -> str:
    lines = []
    for name, cells in plans.items():
        for cell in cells:
            found = results.get(cell.name)
            if found is None or cell.training is None:
                continue
            row = Row(cell.subject, cell.arm, (found,))
            columns = SHOWN[name].columns(cell.subject)
            episodes, frames, time = _demonstrations(found, places)
            lines.append(
                (
                    cell.name,
                    _listed(row, columns[:_MAIN]),
                    f"{episodes:,} episodes, {_short(frames)} frames, {time}",
                    _short(found["cost"]["frames"]),
                    f"{found['cost']['minutes']:.1f}",
                    _machine(found["machine"]),
                    ", ".join(found.get("made_by", {}).get("code", ())) or "not noted",
                )
            )
    if not lines:
        return ""
    header = ("cell", "found", "demonstrations", "frames", "minutes", "machine", "code")
    return "## Every agent\n\n" + table(header, lines)


def _again(
    plans: Mapping[str, Sequence[Cell]], results: Mapping[str, Mapping[str, Any]], places: Places
) -> str:
    """What agents reached in rooms of other seeds, beside what they had reached before."""
    lines = []
    for name, cells in plans.items():
        for cell in [cell for cell in cells if cell.name in results]:
            for found in load_again(cell, places):
                (seed,) = {exam["seed"] for exam in found["exams"].values()}
                first, again = (
                    Row(cell.subject, cell.arm, (of,)) for of in (results[cell.name], found)
                )
                for column in SHOWN[name].columns(cell.subject)[:_MAIN]:
                    values = (shown(row.estimate(column)) for row in (first, again))
                    lines.append((cell.name, column.name, *values, str(seed)))
    if not lines:
        return ""
    return (
        "## Again, in other rooms\n\nBy the exams above, choices may have been made (the notes "
        "say which): these agents were examined once more, in rooms of a seed that nobody had "
        "looked at.\n\n" + table(("cell", "in", "above", "again", "seed"), lines)
    )


def _listed(row: Row, columns: Sequence[Column]) -> str:
    values = ((column.name, row.estimate(column)) for column in columns)
    return ", ".join(f"{name} {e.value:.2f}" for name, e in values if e is not None)


def _json(done: Mapping[str, Sequence[Row]], command: str, sizes: Sizes) -> dict[str, Any]:
    return {
        "command": command,
        "sizes": asdict(sizes),
        "interval_method": "95%; Student's t over agents; of one agent, bootstrap over episodes; "
        "at 0 and 1, Wilson's; of differences Welch's, a lone agent with the other arm's spread; "
        "of two lone agents, bootstrap over episodes, or Newcombe's where all of one agree",
        "experiments": {
            name: {
                "rows": [
                    {
                        "subject": row.subject,
                        "arm": row.arm,
                        "agents": len(row.results) if row.trained else 0,
                        "estimates": {
                            column.name: (e := row.estimate(column)) and asdict(e)
                            for column in SHOWN[name].columns(row.subject)
                        },
                        "says": {kind: row.says(kind) for kind in _SAID},
                    }
                    for row in found
                ],
                "differences": [
                    {"arms": which, "in": what, **asdict(by)}
                    for which, what, by in differences(found, SHOWN[name])
                ],
                "targets": [
                    {
                        "claim": target.claim,
                        "found": (value := target.found(found)),
                        "reached": None if value is None else target.reached(value),
                    }
                    for target in SHOWN[name].targets
                ],
            }
            for name, found in done.items()
        },
    }
