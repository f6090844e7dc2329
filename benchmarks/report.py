"""The results as text: figures in cells, a section for each table, and the page of all sections."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from benchmarks.measure import Figure, Sample

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from benchmarks.measure import Outcome

HEAD = """\
# Results

How the tap compares with the least that a program could do, and with other tools, on one machine. `./run bench`
measures all of it anew and writes this page, `./run bench --table N` one section. What counts are the ratios:
another machine has other seconds.

The subjects of a table ran by turns, one at a time. A figure is the median of all runs, with the lowest and the
highest in parentheses. Time is from the start of a process to its end, CPU the user and system time of all its
processes, memory the peak resident size of its largest process. Servers (the API, the database) run on the same
machine and do not count. Every run was checked for having written all rows, each once, unless the table says
otherwise."""


class Bar(msgspec.Struct):
    """A bar of the chart.

    Attributes:
        name: What it stands for.
        kind: ``tap``, ``floor`` or ``peer``.
        median: How long it is.
        low: The lowest of the runs.
        high: The highest of the runs.
    """

    name: str
    kind: str
    median: float
    low: float
    high: float


class Section(msgspec.Struct, kw_only=True):
    """The results of a table.

    Attributes:
        number: The table's number.
        title: Its title.
        about: What was measured.
        head: The titles of its columns.
        rows: Its cells.
        notes: What follows from it.
        unit: What the bars show.
        bars: The main figure of each subject.
        limit: A line across the bars; 0 for none.
        measured: When, on what and with what it was measured.
        samples: All runs, by subject.
    """

    number: int
    title: str
    about: str
    head: list[str]
    rows: list[list[str]]
    notes: list[str]
    unit: str
    bars: list[Bar]
    limit: float = 0
    measured: str = ""
    samples: dict[str, list[Sample]] = {}


class Results(msgspec.Struct):
    """All sections that were ever measured, by number; the file of them lies beside the page."""

    sections: dict[str, Section] = {}

    def replace(self, section: Section) -> None:
        """Put a section in the place of the one of its number."""
        self.sections[str(section.number)] = section

    @property
    def ordered(self) -> list[Section]:
        """The sections, in order."""
        return sorted(self.sections.values(), key=lambda section: section.number)


class Column(NamedTuple):
    """A column of a table: its title, its figure of a subject, and how that is written."""

    title: str
    figure: Callable[[Outcome], Figure]
    form: Callable[[float], str]


def number(value: float) -> str:
    """A number with three or more digits that count, and no more than two behind the point."""
    if math.isnan(value):
        return "-"
    for least, digits in ((100, 0), (10, 1)):
        if abs(value) >= least:
            return f"{value:,.{digits}f}"
    return f"{value:.2f}"


def whole(value: float) -> str:
    """A number of things."""
    return "-" if math.isnan(value) else f"{value:,.0f}"


def share(value: float) -> str:
    """A part of a whole."""
    return f"{value:.0%}" if value >= 0.1 or not value else f"{value:.1%}"  # noqa: PLR2004 - two digits that count


def times(value: float) -> str:
    """A ratio."""
    return "-" if math.isnan(value) else f"{number(value)} x"


def cell(figure: Figure, form: Callable[[float], str]) -> str:
    """A figure in a cell: the median, and in parentheses what the runs lie between, where that differs."""
    median, low, high = map(form, figure)
    return median if low == median == high else f"{median} ({low} to {high})"


def ratio(of: Callable[[Outcome], Figure], reference: Outcome) -> Callable[[Outcome], Figure]:
    """The ratio of a figure's median to that of another subject."""

    def divided(outcome: Outcome) -> Figure:
        value = of(outcome).median / of(reference).median
        return Figure(value, value, value)

    return divided


def seconds_columns() -> list[Column]:
    """The columns that all tables have."""
    return [
        Column("Seconds", lambda outcome: outcome.wall, number),
        Column("CPU seconds", lambda outcome: outcome.cpu, number),
        Column("Peak MB", lambda outcome: outcome.megabytes, whole),
    ]


def section(  # noqa: PLR0913 - what a section is made of
    number: int,
    title: str,
    *,
    about: str,
    outcomes: Iterable[Outcome],
    columns: Sequence[Column],
    main: Column,
    notes: Sequence[str] = (),
    limit: float = 0,
) -> Section:
    """Make a section of what was measured.

    Args:
        number: The table's number.
        title: Its title.
        about: What was measured.
        outcomes: The subjects and their runs.
        columns: Its columns, the subjects' names apart.
        main: The figure for the chart.
        notes: What follows from it.
        limit: A line across the bars.
    """
    outcomes = list(outcomes)
    shown = [outcome for outcome in outcomes if outcome.subject.shown]
    return Section(
        number=number,
        title=title,
        about=about,
        head=["", *(column.title for column in columns)],
        rows=[
            [outcome.subject.name, *(cell(column.figure(outcome), column.form) for column in columns)]
            for outcome in shown
        ],
        notes=list(notes),
        unit=main.title,
        bars=[Bar(outcome.subject.name, outcome.subject.kind, *main.figure(outcome)) for outcome in shown],
        limit=limit,
        samples={outcome.subject.name: outcome.samples for outcome in outcomes},
    )


def text_of(section: Section) -> str:
    """A section as Markdown."""
    table = [section.head, ["---", *["---:"] * (len(section.head) - 1)], *section.rows]
    return "\n\n".join(
        [
            f"## {section.number}. {section.title}",
            section.about,
            "\n".join(f"| {' | '.join(cells)} |" for cells in table),
            *(["\n".join(f"* {note}" for note in section.notes)] if section.notes else []),
            section.measured,
        ]
    )


def page_of(results: Results, chart: str) -> str:
    """The page of all sections, with a chart."""
    picture = f"![The main figure of each table]({chart})"
    return "\n\n".join([HEAD, picture, *map(text_of, results.ordered)]) + "\n"


def load(path: Path) -> Results:
    """The results that were kept in a file; none if it is not there."""
    return msgspec.json.decode(path.read_bytes(), type=Results) if path.exists() else Results()


def save(results: Results, path: Path) -> None:
    """Keep results in a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1) + b"\n")
