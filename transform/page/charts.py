"""Charts as SVG, in colors that the page's style sheet sets, so that they follow light and dark."""

from __future__ import annotations

import json
import re
from html import escape
from itertools import count
from typing import TYPE_CHECKING, Any

import altair as alt
import vl_convert

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
BAR_STEP = 26
_LABELS = {"wide": 170, "narrow": 110}
_NUMBERS = {"wide": 120, "narrow": 96}
_svgs = count(1)


def render(chart: Callable[[str], Any], label: str) -> str:
    """Return a chart as HTML, once in each size.

    Args:
        chart: Makes the chart for the name of a size.
        label: What it shows, for those who do not see it.
    """
    return "".join(
        f'<div class="chart {size}" role="img" aria-label="{escape(label)}">{_svg(chart(size))}</div>' for size in SIZES
    )


def stacked_days(rows: Sequence[Row], groups: Sequence[str], unit: str) -> Callable[[str], Any]:
    """Return a chart of bars by day, stacked by group.

    Args:
        rows: `day`, `group` and `value`.
        groups: The groups in their order, at most nine; the last color is for the ninth.
        unit: The unit of the values.
    """
    colors = [*COLORS[: len(groups)]]
    if groups and groups[-1] == OTHERS:
        colors[-1] = COLORS[-1]

    def make(size: str) -> Any:  # noqa: ANN401 - Altair's chart
        wide = size == "wide"
        return (
            alt.Chart(_data(rows))
            .mark_bar()
            .encode(
                x=alt.X("day:O", axis=_day_axis(rows, every=5 if wide else 10), title=None),
                y=alt.Y("value:Q", title=unit, axis=alt.Axis(format="~s", tickCount=5)),
                color=alt.Color(
                    "group:N",
                    sort=list(groups),
                    scale=alt.Scale(domain=list(groups), range=colors),
                    legend=alt.Legend(title=None, orient="bottom", columns=4 if wide else 2, symbolType="square"),
                ),
                order=alt.Order("rank:Q"),
            )
            .properties(width=SIZES[size] - 70, height=260 if wide else 220)
        )

    return make


OTHERS = "others"


def bars(rows: Sequence[Row]) -> Callable[[str], Any]:
    """Return a chart of horizontal bars with their numbers.

    Args:
        rows: `name`, `value` and `text`, in their order.
    """

    def make(size: str) -> Any:  # noqa: ANN401 - Altair's chart
        base = alt.Chart(_data(rows)).encode(y=_names(size), x=alt.X("value:Q", axis=None))
        return (
            base.mark_bar(color=COLORS[0], height=16)
            + base.mark_text(align="left", dx=5, color=INK).encode(text="text:N")
        ).properties(width=SIZES[size] - _LABELS[size] - _NUMBERS[size], height=alt.Step(BAR_STEP))

    return make


def rates(rows: Sequence[Row]) -> Callable[[str], Any]:
    """Return a chart of shares from 0 to 100%, with their numbers.

    Args:
        rows: `name`, `value` (0 to 1) and `text`, in their order.
    """

    def make(size: str) -> Any:  # noqa: ANN401 - Altair's chart
        scale = alt.Scale(domain=[0, 1])
        axis = alt.Axis(format=".0%", values=[0, 0.25, 0.5, 0.75, 1], title=None, grid=True)
        base = alt.Chart(_data(rows)).encode(y=_names(size))
        return (
            base.mark_bar(color=COLORS[0], height=16).encode(x=alt.X("value:Q", scale=scale, axis=axis))
            + base.mark_text(align="left", dx=5, color=INK).encode(x=alt.datum(1), text="text:N")
        ).properties(width=SIZES[size] - _LABELS[size] - _NUMBERS[size] - 30, height=alt.Step(BAR_STEP))

    return make


def parts(rows: Sequence[Row], groups: dict[str, str]) -> Callable[[str], Any]:
    """Return a chart of horizontal bars, each divided into shares.

    Args:
        rows: `name`, `group` and `value`, in their order.
        groups: The colors of the groups, in their order.
    """
    ranks = {group: rank for rank, group in enumerate(groups)}

    def make(size: str) -> Any:  # noqa: ANN401 - Altair's chart
        ranked = [row | {"rank": ranks[row["group"]]} for row in rows]
        return (
            alt.Chart(_data(ranked))
            .mark_bar(height=18)
            .encode(
                y=_names(size),
                x=alt.X("value:Q", stack="normalize", axis=alt.Axis(format=".0%", title=None, tickCount=5)),
                color=alt.Color(
                    "group:N",
                    scale=alt.Scale(domain=list(groups), range=list(groups.values())),
                    legend=alt.Legend(title=None, orient="bottom", columns=4 if size == "wide" else 2),
                ),
                order=alt.Order("rank:Q"),
            )
            .properties(width=SIZES[size] - _LABELS[size] - 30, height=alt.Step(BAR_STEP))
        )

    return make


def ranges(rows: Sequence[Row]) -> Callable[[str], Any]:
    """Return a chart of ranges from a short to a long time, on a logarithmic scale.

    Args:
        rows: `name`, `low` and `high` in seconds, and `text`, in their order.
    """
    least = min((row["low"] for row in rows), default=1) / 2
    most = max((row["high"] for row in rows), default=1)
    ticks = {
        0.1: "0.1 s",
        1: "1 s",
        10: "10 s",
        60: "1 min",
        600: "10 min",
        3600: "1 h",
        36_000: "10 h",
        360_000: "100 h",
    }
    shown = {seconds: text for seconds, text in ticks.items() if least <= seconds <= most}

    def make(size: str) -> Any:  # noqa: ANN401 - Altair's chart
        scale = alt.Scale(type="log", nice=False, domain=[least, most])
        axis = alt.Axis(title=None, values=list(shown), labelExpr=f"({json.dumps(shown)})[datum.value]")
        base = alt.Chart(_data(rows)).encode(y=_names(size))
        low = base.encode(x=alt.X("low:Q", scale=scale, axis=axis))
        high = base.encode(x=alt.X("high:Q", scale=scale, axis=axis))
        return (
            low.mark_rule(color=GRID, strokeWidth=6).encode(x2="high:Q")
            + low.mark_point(filled=True, size=90, opacity=1, color=COLORS[0])
            + high.mark_point(filled=True, size=90, opacity=1, color=COLORS[1])
            + high.mark_text(align="left", dx=9, color=INK).encode(text="text:N")
        ).properties(width=SIZES[size] - _LABELS[size] - _NUMBERS[size], height=alt.Step(BAR_STEP))

    return make


def _names(size: str) -> alt.Y:
    limit = _LABELS[size] - 12
    axis = alt.Axis(title=None, labelLimit=limit, minExtent=limit, domain=False, labelColor=INK, ticks=False)
    return alt.Y("name:N", sort=None, axis=axis)


def _day_axis(rows: Sequence[Row], every: int) -> alt.Axis:
    """Return an axis with a label on some days, the last one among them."""
    days = sorted({row["day"] for row in rows})
    return alt.Axis(values=days[::-1][::every], labelAngle=0, ticks=False, labelExpr="slice(datum.value, 5)")


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
