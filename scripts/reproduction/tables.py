"""The experiments' tables: which measure in which room, and what was to be reached."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from oddoneout.evaluation import Estimate
from oddoneout.rules.attributes import CORE_DIMENSIONS, Dimension
from scripts.reproduction import analysis
from scripts.reproduction.analysis import Measure

_CORE: Final = tuple(d.value for d in CORE_DIMENSIONS)


@dataclass(frozen=True, slots=True)
class Column:
    """One measure in one room."""

    name: str
    room: str
    measure: Measure


@dataclass(frozen=True, slots=True)
class Row:
    """All finished agents of one arm (or one baseline), pooled.

    Attributes:
        subject, arm: which.
        results: of each agent's cell.
    """

    subject: str
    arm: str
    results: tuple[Mapping[str, Any], ...]

    @property
    def name(self) -> str:
        return f"{self.subject}: {self.arm}" if self.subject else self.arm

    @property
    def trained(self) -> bool:
        return self.results[0]["plan"]["training"] is not None

    def estimate(self, column: Column) -> Estimate | None:
        return analysis.estimate(analysis.pool(self.results, column.room), column.measure)

    def says(self, kind: str) -> float | None:
        """How often a kind of thing was said rightly while acting, in the first of the rooms."""
        found = [next(iter(cell["exams"].values()))["says"].get(kind) for cell in self.results]
        shares = [each["accuracy"] for each in found if each and each["accuracy"] is not None]
        return sum(shares) / len(shares) if shares else None


@dataclass(frozen=True, slots=True)
class Target:
    """Something that was to be reached.

    Attributes:
        claim: in words.
        found: from the rows, the value; None if rows are missing.
        reached: whether a value is good enough.
    """

    claim: str
    found: Callable[[Sequence[Row]], float | None]
    reached: Callable[[float], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """How one experiment is shown.

    Attributes:
        title, text: what it asks, and how.
        columns: given the row's subject (the dimension left out; "" where there is none).
        targets: what was to be reached.
        against: pairs of arms whose difference is shown, with the columns' names.
        curves: rooms of the learning curves.
        blind: rooms in which each of three objects is odd in one dimension: who picks any odd
            object out, without a notion of which dimension counts, reaches a third.
        bars: names of the columns that are drawn.
        titles: what these, and the rooms of curves, are called in plots.
    """

    title: str
    text: str
    columns: Callable[[str], tuple[Column, ...]]
    targets: tuple[Target, ...]
    against: tuple[tuple[str, str, tuple[str, ...]], ...]
    curves: tuple[str, ...]
    bars: tuple[str, ...] = ()
    titles: Mapping[str, str] = field(default_factory=dict)
    blind: frozenset[str] = frozenset()


def find(rows: Sequence[Row], arm: str, subject: str = "") -> Row | None:
    return next((row for row in rows if (row.arm, row.subject) == (arm, subject)), None)


def _value(
    arm: str, room: str, measure: Measure, subject: str = ""
) -> Callable[[Sequence[Row]], float | None]:
    def found(rows: Sequence[Row]) -> float | None:
        row = find(rows, arm, subject)
        estimate = row and row.estimate(Column("", room, measure))
        return estimate.value if estimate else None

    return found


def _at_least(least: float) -> Callable[[float], bool]:
    return lambda value: value >= least


def _within(most: float) -> Callable[[float], bool]:
    return lambda value: value <= most


def _gap(rows: Sequence[Row]) -> float | None:
    inside = _value("full", "train", analysis.success)(rows)
    outside = _value("full", "held_out", analysis.success)(rows)
    return None if inside is None or outside is None else inside - outside


def _others(explained: str) -> Callable[[Sequence[Row]], float | None]:
    """The largest share of choices odd in a dimension that was not explained."""

    def found(rows: Sequence[Row]) -> float | None:
        shares = [
            _value(explained, "deconfounded", analysis.chose(d))(rows)
            for d in _CORE
            if d != explained
        ]
        known = [share for share in shares if share is not None]
        return max(known) if known else None

    return found


def _interventions(room: str, other: str) -> tuple[Column, ...]:
    return (
        Column(f"{room}: test", room, analysis.success),
        Column(f"{other}: test", other, analysis.success),
        *(Column(f"{room}: exp. {i + 1}", room, analysis.experiment(i)) for i in range(3)),
        Column(f"{room}: share of return", room, analysis.score),
        Column(f"{room}: made odd", room, analysis.made_odd()),
        Column(f"{room}: informative", room, analysis.informative),
        Column(f"{room}: goes on with it", room, analysis.repeated),
        Column(f"{room}: found out", room, analysis.found_out),
        Column(f"{room}: test follows", room, analysis.follows()),
        Column(f"{room}: ... a reward", room, analysis.follows(True)),
        Column(f"{room}: ... two failures", room, analysis.follows(False)),
    )


def _hard_columns(subject: str) -> tuple[Column, ...]:
    first, *rest = _interventions("hard", "train")
    return (
        first,
        Column("hard_seen: test", "hard_seen", analysis.success),
        Column("hard_any: test", "hard_any", analysis.success),
        Column("hard: made odd in it", "hard", analysis.made_odd(subject)),
        Column("hard: rewarded", "hard", analysis.rewarded),
        *rest,
    )


PRACTICE: Final = (
    "All that are trained also watch practice episodes: one experiment, in the dimension that "
    "counts, then the test. Each expert episode ends in a test of what its last experiment showed."
)

TERMS: Final = (
    "*exp. k*: the k-th experiment was rewarded (who tests one dimension after the other "
    "reaches 0.33, 0.67, 1.00). *share of return*: of the 13 that an episode can bring. *made "
    "odd*: of the experiments that transformed an object, those that chose what was odd by it; "
    "*in it*: of transforms in the row's dimension only. *rewarded*: of all experiments, those "
    "that were (an expert's: 0.67, as it does not know the dimension at first). *informative*: of "
    "the experiments before which the agent's own rewards had not yet shown the dimension, those "
    "that ruled one out. *goes on with it*: of the experiments after that, those that used it. "
    "*found out*: they had shown it before the test. *test follows*: of these tests, those that "
    "chose by what had been shown: by *a reward*, or by *two failures* that left one dimension. "
    "The expert's last experiment always succeeds, so that imitators might merely repeat it; hence "
    "*one try*, an exam with a single experiment: after it failed, does the test avoid what "
    "failed?"
)

#: In which explanations should tell, of experiments and tests with held-out combinations.
_TOLD_APART: Final = (
    "held_out: test",
    "train: test",
    "held_out: informative",
    "one try: avoids what failed",
)

SHOWN: Final[Mapping[str, Experiment]] = MappingProxyType(
    {
        "confounding": Experiment(
            title="Confounding: is what is explained what is learnt?",
            text="Trained on Confounded rooms only, where one object is unique in color, shape "
            "and texture at once; explanations speak of one dimension. Examined in Deconfounded "
            "rooms, where the three are unique on three objects: which one is chosen? All arms "
            "see the same rooms and moves. Chance: 0.25 for each object, 0.33 for who picks any "
            "unique one. *none*: its success in Confounded rooms tells whether it learnt the task "
            "that it was shown; the arms told of different dimensions are each other's controls. "
            "Baselines play rooms in which color is rewarded.",
            columns=lambda _: (
                *(Column(f"chose {d}", "deconfounded", analysis.chose(d)) for d in _CORE),
                Column("none of them", "deconfounded", analysis.chose("none")),
                Column("no choice", "deconfounded", analysis.chose("no_choice")),
                Column("Confounded", "confounded", analysis.success),
            ),
            targets=tuple(
                target
                for d in _CORE
                for target in (
                    Target(
                        f"{d} explained, {d} chosen: at least 0.90",
                        _value(d, "deconfounded", analysis.chose(d)),
                        _at_least(0.90),
                    ),
                    Target(
                        f"{d} explained, another dimension chosen: at most 0.07 each",
                        _others(d),
                        _within(0.07),
                    ),
                )
            ),
            against=(
                *((d, other, (f"chose {d}",)) for d in _CORE for other in _CORE if d != other),
                *((d, "none", (f"chose {d}", "Confounded")) for d in _CORE),
            ),
            curves=("deconfounded", "confounded"),
            titles={
                "deconfounded": "Deconfounded rooms (none: mean of the three)",
                "confounded": "Confounded rooms",
            },
            blind=frozenset({"deconfounded"}),
        ),
        "features": Experiment(
            title="Features: interventions with combinations never seen",
            text="Trained on Intervention rooms of all difficulties with the training half of "
            "the feature combinations; examined with held-out combinations only (every object "
            "holds a pair of values that no object of the training rooms ever shows, before or "
            "after a transform; every single value does appear there). Encoders learn from single "
            "pictures and then stay as they are, but for none_whole's. They see shapes, colors and "
            "textures apart, and from then on these change their names in training; in *named* "
            "they keep them, and in *opponent* an encoder sees whole objects, in brightness and in "
            "color. All remember pictures of the present room only, and of earlier ones what was "
            "done there and what it brought; but *one_memory* remembers all that it saw, "
            "*one_trial* what it saw in the present trial. " + PRACTICE,
            columns=lambda _: (
                *_interventions("held_out", "train"),
                Column("one try: test", "one_try", analysis.success),
                Column("one try: avoids what failed", "one_try", analysis.after_failure(False)),
                Column("one try: repeats what failed", "one_try", analysis.after_failure(True)),
            ),
            targets=(
                Target(
                    "explained, held-out combinations, test: at least 0.85",
                    _value("full", "held_out", analysis.success),
                    _at_least(0.85),
                ),
                Target(
                    "training less held-out combinations, explained: at most 0.05",
                    _gap,
                    _within(0.05),
                ),
            ),
            against=(
                ("full", "none", _TOLD_APART),
                ("full", "none_whole", ("held_out: test", "train: test")),
                ("full", "named", ("held_out: test", "train: test")),
                ("named", "opponent", ("held_out: test", "train: test")),
                ("full", "one_memory", ("held_out: test", "train: test")),
                ("one_memory", "one_trial", ("held_out: test", "held_out: test follows")),
            ),
            curves=("held_out", "train"),
            bars=("held_out: test", "train: test"),
            titles={
                "held_out: test": "tests with\nheld-out combinations",
                "train: test": "tests with\ntraining's combinations",
                "held_out": "held-out combinations",
                "train": "training's combinations",
            },
            blind=frozenset({"held_out", "train", "one_try"}),
        ),
        "hard": Experiment(
            title="Hard: experiments hard in a dimension that was only ever easy",
            text="Trained on Intervention rooms in which the dimension named in the row never "
            "starts 2-2, while the two others may. Examined in rooms whose experiments start "
            "2-2 in exactly that dimension, which is also the rewarded one (*hard*; in "
            "*hard_any* any dimension is rewarded). *hard_seen* is the control: as hard, in a "
            "dimension that was hard in training too. For *full*, *none* and *none_whole* the "
            "expert starts over at every transform, in vain or not, and so do they; their "
            "shapes, colors and textures are seen apart, and change their names in training; they "
            "have a second memory, of what was done and what it brought, and forget a room once "
            "its choice is explained. The other arms, by which some of that was found, have one "
            "memory, another encoder and fewer frames: for them the expert looks at all objects "
            "again after a transform, but for *straight*, where it goes on at once to what it "
            "made odd. At a transform, all but *straight* forget what they saw of the room before; "
            "all but *straight* and *forgetting* do so in training at any step of a search, with "
            "a probability of 0.01 (*one_memory*, *one_memory_none*: 0.03). Encoders learn "
            "from single pictures and then stay as they are, but for none_whole's. " + PRACTICE,
            columns=_hard_columns,
            targets=tuple(
                target
                for d in _CORE
                for target in (
                    Target(
                        f"explained, {d} hard, test: at least 0.80",
                        _value("full", "hard", analysis.success, d),
                        _at_least(0.80),
                    ),
                    Target(
                        f"explained, {d} hard, made odd in it: at least 0.80",
                        _value("full", "hard", analysis.made_odd(d), d),
                        _at_least(0.80),
                    ),
                )
            ),
            against=tuple(
                (one, other, ("hard: test", "hard_any: test", "hard: made odd in it"))
                for one, other in (
                    ("full", "none"),
                    ("full", "none_whole"),
                    ("full", "one_memory"),
                    ("one_memory", "one_memory_none"),
                    ("one_memory", "forgetting"),
                    ("one_memory", "straight"),
                )
            ),
            curves=("hard", "train"),
            bars=("hard: test", "hard_seen: test", "hard: made odd in it", "train: test"),
            titles={
                "hard: test": "test after\nhard exp.",
                "hard_seen: test": "the same,\ndimension\nseen hard",
                "hard: made odd in it": "hard exp.\nthat make\nit odd",
                "train: test": "test, as\nin training",
                "hard": "hard experiments",
                "train": "as in training",
            },
            blind=frozenset({"hard", "hard_seen", "train"}),
        ),
        "basic": Experiment(
            title="Basic: which explanations help",
            text="Trained on Basic rooms of all four dimensions under six kinds of explanation, "
            "and (plain) with full ones that are neither foretold nor recollected; all arms see "
            "the same rooms and moves. *full*, *plain* and *properties* first learn to see from "
            "single pictures and what is said of them, and then leave their encoder as it is; "
            "the others, to whom nothing true is said of pictures, and *full_whole*, which they "
            "are held against, learn everything from whole episodes, which takes longer, and of "
            "fewer frames. Examined in fresh rooms, per dimension in which one object is odd.",
            columns=lambda _: tuple(Column(d.value, d.value, analysis.success) for d in Dimension),
            targets=tuple(
                Target(
                    f"full explanations, {d.value}: at least 0.90",
                    _value("full", d.value, analysis.success),
                    _at_least(0.90),
                )
                for d in Dimension
            ),
            against=tuple(
                (told, arm, tuple(d.value for d in Dimension))
                for told, arms in (
                    ("full", ("plain", "properties", "full_whole")),
                    ("full_whole", ("outcome", "none", "shuffled", "irrelevant")),
                )
                for arm in arms
            ),
            curves=tuple(d.value for d in Dimension),
            bars=tuple(d.value for d in Dimension),
        ),
    }
)


def differences(rows: Sequence[Row], shown: Experiment) -> list[tuple[str, str, Estimate]]:
    """First arm less second: which, in what, and how much; subjects apart."""
    found = []
    for subject in dict.fromkeys(row.subject for row in rows):
        columns = {column.name: column for column in shown.columns(subject)}
        for first, second, names in shown.against:
            one, two = find(rows, first, subject), find(rows, second, subject)
            if one is None or two is None:
                continue
            prefix = f"{subject}: " if subject else ""
            for name in names:
                column = columns[name]
                estimate = analysis.difference(
                    analysis.pool(one.results, column.room),
                    analysis.pool(two.results, column.room),
                    column.measure,
                )
                if estimate is not None:
                    found.append((f"{prefix}{first} - {second}", name, estimate))
    return found
