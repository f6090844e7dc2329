"""Charts as SVG, in colors that the page's style sheet sets, so that they follow light and dark."""

from __future__ import annotations

import json
import math
import re
from html import escape
from itertools import count
from typing import TYPE_CHECKING, Any

import altair as alt
import vl_convert

from transform.page.words import pixels, shortened

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from transform.page.marts import Row

COLORS = [f"#00fa0{number}" for number in range(1, 10)]
"""Stand-ins, which become ``var(--c1)`` to ``var(--c9)``; the last one is for others."""
MUTED, GRID, INK = "#00fa10", "#00fa11", "#00fa12"
_VARIABLES = {color: f"var(--c{number})" for number, color in enumerate(COLORS, 1)} | {
    MUTED: "var(--muted)",
    GRID: "var(--grid)",
    INK: "var(--ink)",
}
FONT = "Arial, Helvetica, Liberation Sans, sans-serif"
"""Fonts of the same widths, for the width of a text is measured before it is known where it is shown."""
SIZES = {"wide": 720, "narrow": 340}
"""Widths in pixels, for screens and paper, and for phones."""
OTHERS = "others"
BESIDE_STEP, ABOVE_STEP = 26, 44
"""The height of a row, with its name beside the bar and above it."""
MAX_BESIDE = 190
"""The widest name in pixels that stands beside a bar."""
MAX_DAY_WIDTH = 80
_TEXT_SPACE = 124
_EDGE, _PADDING = 20, 8
_MAX_LEGEND = 140
_LARGE = 10_000
_svgs = count(1)


def render(chart: Callable[[str], Any], label: str, window: str, note: str = "") -> str:
    """Return a chart as HTML, once in each size.

    Args:
        chart: Makes the chart for the name of a size.
        label: What it shows, for those who do not see it.
        window: The time that it is about, with its time zone.
        note: What it leaves out.
    """
    sizes = "".join(
        f'<div class="chart {size}" role="img" aria-label="{escape(label)}">{_svg(chart(size))}</div>' for size in SIZES
    )
    return f"<figure>{sizes}<figcaption>{escape(f'{window}. {note}'.strip())}</figcaption></figure>"


def stacked_days(rows: Sequence[Row], groups: dict[str, str], unit: str) -> Callable[[str], Any]:
    """Return a chart of bars by day, stacked by group.

    Args:
        rows: `day`, `group`, `rank` and `value`.
        groups: The colors of the groups, in their order.
        unit: The unit of the values.
    """
    days = sorted({row["day"] for row in rows})
    axis = alt.Axis(labelExpr=_amounts([row["value"] for row in rows]), tickCount=5)

    def make(size: str) -> Any:  # noqa: ANN401 - Altair's chart
        wide = size == "wide"
        room = SIZES[size] - 70
        columns = 4 if wide else 2 if max(map(pixels, groups), default=0) < _MAX_LEGEND else 1
        return (
            alt.Chart(_data(rows))
            .mark_bar()
            .encode(
                x=alt.X("day:O", axis=_day_axis(days, every=5 if wide else 10), title=None),
                y=alt.Y("value:Q", title=unit, axis=axis),
                color=alt.Color(
                    "group:N",
                    sort=list(groups),
                    scale=alt.Scale(domain=list(groups), range=list(groups.values())),
                    legend=alt.Legend(title=None, orient="bottom", columns=columns, symbolType="square"),
                ),
                order=alt.Order("rank:Q"),
            )
            .properties(width=min(room, MAX_DAY_WIDTH * len(days)), height=260 if wide else 220)
        )

    return make


class _Rows:
    """A chart of rows with names: beside the bars where all are short, else above them."""

    def __init__(self, rows: Sequence[Row], size: str) -> None:
        """Lay the rows out.

        Args:
            rows: `name` and `text`, in their order. Rows of one name stay apart.
            size: The name of the size.
        """
        widest = max((pixels(row["name"]) for row in rows), default=0)
        self.is_above = size == "narrow" or widest > MAX_BESIDE
        self._step = ABOVE_STEP if self.is_above else BESIDE_STEP
        self.width = SIZES[size] - (_EDGE if self.is_above else widest + _PADDING + _TEXT_SPACE)
        self.offset = 9 if self.is_above else 0
        labels = [shortened(row["name"], self.width - pixels(row.get("text", "")) - 12) for row in rows]
        if not self.is_above:
            labels = [row["name"] for row in rows]
        self.rows = [
            row | {"key": key, "label": label} for key, (row, label) in enumerate(zip(rows, labels, strict=True))
        ]
        self._labels = json.dumps(labels)

    def chart(self, rows: Sequence[Row] | None = None) -> alt.Chart:
        """Return a chart of the rows, or of parts of them, without marks."""
        axis: Any = None
        if not self.is_above:
            axis = alt.Axis(
                title=None,
                labelExpr=f"({self._labels})[datum.value]",
                labelLimit=0,
                labelPadding=_PADDING,
                domain=False,
                labelColor=INK,
                ticks=False,
            )
        chart: alt.Chart = alt.Chart(_data(self.rows if rows is None else rows))
        return chart.encode(y=alt.Y("key:O", axis=axis))

    def texts(self, after: str | Any) -> list[Any]:  # noqa: ANN401 - Altair's value
        """Return the texts: behind the bars, or at the right above them, with the names at the left.

        Args:
            after: Where the bars end: an encoding.
        """
        if not self.is_above:
            return [self.chart().mark_text(align="left", dx=6, color=INK).encode(x=after, text="text:N")]
        texts = self.chart().mark_text(align="right", dy=-9, color=INK).encode(x=alt.value("width"), text="text:N")
        return [self.names(), texts]

    def names(self) -> Any:  # noqa: ANN401 - Altair's chart
        """Return the names above the bars."""
        return self.chart().mark_text(align="left", dy=-9, color=INK).encode(x=alt.value(0), text="label:N")

    def sized(self, *layers: Any) -> Any:  # noqa: ANN401 - Altair's chart
        """Return layers in the size of the rows."""
        return alt.layer(*layers).properties(width=self.width, height=alt.Step(self._step))


def bars(rows: Sequence[Row]) -> Callable[[str], Any]:
    """Return a chart of horizontal bars with their numbers. Negative ones go to the left.

    Args:
        rows: `name`, `value` and `text`, in their order.
    """
    plain: Any = {"axis": None, "scale": alt.Scale(nice=False)}
    ended = [row | {"end": max(row["value"], 0)} for row in rows]

    def make(size: str) -> Any:  # noqa: ANN401 - Altair's chart
        laid = _Rows(ended, size)
        bar = laid.chart().mark_bar(color=COLORS[0], height=14, yOffset=laid.offset)
        return laid.sized(bar.encode(x=alt.X("value:Q", **plain)), *laid.texts(alt.X("end:Q", **plain)))

    return make


def rates(rows: Sequence[Row]) -> Callable[[str], Any]:
    """Return a chart of shares from 0 to 100%, with their numbers.

    Args:
        rows: `name`, `value` (0 to 1) and `text`, in their order.
    """
    axis = alt.Axis(format=".0%", values=[0, 0.25, 0.5, 0.75, 1], title=None, grid=True)
    x = alt.X("value:Q", scale=alt.Scale(domain=[0, 1]), axis=axis)

    def make(size: str) -> Any:  # noqa: ANN401 - Altair's chart
        laid = _Rows(rows, size)
        bar = laid.chart().mark_bar(color=COLORS[0], height=14, yOffset=laid.offset)
        return laid.sized(bar.encode(x=x), *laid.texts(alt.datum(1)))

    return make


def parts(rows: Sequence[Row], groups: dict[str, str]) -> Callable[[str], Any]:
    """Return a chart of horizontal bars, each divided into shares.

    Args:
        rows: `name`, and a number for each group, in their order.
        groups: The colors of the groups, in their order.
    """

    def make(size: str) -> Any:  # noqa: ANN401 - Altair's chart
        laid = _Rows(rows, size)
        values = [
            {"key": row["key"], "group": group, "rank": rank, "value": row[group]}
            for row in laid.rows
            for rank, group in enumerate(groups)
        ]
        bar = (
            laid.chart(values)
            .mark_bar(height=16, yOffset=laid.offset)
            .encode(
                x=alt.X("value:Q", stack="normalize", axis=alt.Axis(format=".0%", title=None, tickCount=5)),
                color=alt.Color(
                    "group:N",
                    scale=alt.Scale(domain=list(groups), range=list(groups.values())),
                    legend=alt.Legend(title=None, orient="bottom", columns=4 if size == "wide" else 2),
                ),
                order=alt.Order("rank:Q"),
            )
        )
        return laid.sized(bar, *([laid.names()] if laid.is_above else []))

    return make


TICKS = {
    0.1: "0.1 s",
    1: "1 s",
    10: "10 s",
    60: "1 min",
    600: "10 min",
    3600: "1 h",
    36_000: "10 h",
    360_000: "100 h",
}


def ranges(rows: Sequence[Row]) -> Callable[[str], Any]:
    """Return a chart of ranges from a short to a long time, on a logarithmic scale.

    Args:
        rows: `name`, `low` and `high` in seconds, and `text`, in their order.
    """
    least = min((row["low"] for row in rows), default=1) / 2
    most = max((row["high"] for row in rows), default=1) * 1.1
    shown = {seconds: text for seconds, text in TICKS.items() if least <= seconds <= most}
    scale = alt.Scale(type="log", nice=False, domain=[least, most])
    axis = alt.Axis(title=None, values=list(shown), labelExpr=f"({json.dumps(shown)})[datum.value]")

    def make(size: str) -> Any:  # noqa: ANN401 - Altair's chart
        laid = _Rows(rows, size)
        low = laid.chart().encode(x=alt.X("low:Q", scale=scale, axis=axis))
        high = laid.chart().encode(x=alt.X("high:Q", scale=scale, axis=axis))
        point: Any = {"filled": True, "size": 90, "opacity": 1, "yOffset": laid.offset}
        return laid.sized(
            low.mark_rule(color=GRID, strokeWidth=6, yOffset=laid.offset).encode(x2="high:Q"),
            low.mark_point(color=COLORS[0], **point),
            high.mark_point(color=COLORS[1], **point),
            *laid.texts(alt.X("high:Q", scale=scale, axis=axis)),
        )

    return make


def _amounts(values: Sequence[float]) -> str:
    """Return an expression for the labels of an axis with amounts. Vega would write 0.5 as 500m."""
    most = max(map(abs, values), default=0)
    if most >= _LARGE:
        return "replace(format(datum.value, '~s'), 'G', 'bn')"
    digits = 2 if most >= 1 or not most else 2 - math.floor(math.log10(most))
    return f"format(datum.value, ',.{digits}~f')"


def _day_axis(days: Sequence[str], every: int) -> alt.Axis:
    """Return an axis with a label on some days, the last one among them."""
    label = "utcFormat(toDate(datum.value), '%b %-d')"
    return alt.Axis(values=days[::-1][::every], labelAngle=0, ticks=False, labelExpr=label)


def _data(rows: Sequence[Row]) -> alt.Data:
    data: alt.Data = alt.InlineData(values=[dict(row) for row in rows])
    return data


def _svg(chart: Any) -> str:  # noqa: ANN401 - Altair's chart
    """Return a chart as SVG that scales, with names of its own and the style sheet's colors."""
    styled = chart.configure(
        aria=False,  # the page says what a chart shows, and has its numbers as a table
        background="transparent",
        font=FONT,
        view=alt.ViewConfig(stroke=None),
        axis=alt.AxisConfig(
            labelColor=MUTED,
            titleColor=MUTED,
            gridColor=GRID,
            domainColor=GRID,
            tickColor=GRID,
            labelFontSize=12,
            titleFontSize=12,
            titleFontWeight="normal",
        ),
        legend=alt.LegendConfig(labelColor=INK, labelFontSize=12, labelLimit=200, symbolSize=120),
        text=alt.MarkConfig(fontSize=12),
    )
    svg = vl_convert.vegalite_to_svg(styled.to_dict())
    number = next(_svgs)
    svg = re.sub(r'(id="|url\(#)(clip|gradient)', rf"\g<1>s{number}-\g<2>", svg)
    svg = re.sub(
        r'<svg ([^>]*?)width="(\d+(?:\.\d+)?)" height="\d+(?:\.\d+)?"', r'<svg \1style="max-width:\2px"', svg, count=1
    )
    for color, variable in _VARIABLES.items():
        svg = svg.replace(color, variable)
    return svg
