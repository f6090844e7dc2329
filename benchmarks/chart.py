"""The results as a picture: a panel of bars for each table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.style import context

from benchmarks.report import number

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    from benchmarks.report import Section

INK = "#6e7781"
"""A gray that can be read on white and on black; the background is whatever the page has."""
COLORS = {"tap": "#2f81f7", "floor": "#8b949e", "peer": "#d29922"}
WORDS = {"tap": "the tap", "floor": "the least that a program could do", "peer": "other tools"}
WIDTH, BAR, FRAME = 9.0, 0.27, 0.95
"""Inches: of the picture, and in height of a bar, and of what surrounds the bars of a panel."""
STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "results",
    "font.family": "sans-serif",
    "font.size": 9,
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK),
}


def draw(sections: Sequence[Section], path: Path) -> None:
    """Draw a panel for each section.

    Args:
        sections: The sections, each with its bars.
        path: Where the picture goes, an SVG file.
    """
    with context(STYLE):
        picture(sections).savefig(path, format="svg", transparent=True, metadata={"Date": None})


def picture(sections: Sequence[Section]) -> Figure:
    """The picture of some sections."""
    heights = [FRAME + BAR * len(section.bars) for section in sections]
    figure = Figure(figsize=(WIDTH, sum(heights)), layout="constrained")
    panels = figure.subplots(len(sections), 1, squeeze=False, height_ratios=heights)
    for section, axes in zip(sections, panels[:, 0], strict=True):
        _panel(axes, section)
    kinds = dict.fromkeys(bar.kind for section in sections for bar in section.bars)
    handles = [Patch(color=COLORS[kind], label=WORDS[kind]) for kind in kinds]
    figure.legend(handles=handles, loc="outside upper right", ncols=len(handles), frameon=False)
    return figure


def _panel(axes: Axes, section: Section) -> None:
    bars = section.bars[::-1]
    medians = [bar.median for bar in bars]
    spread = [[bar.median - bar.low for bar in bars], [bar.high - bar.median for bar in bars]]
    drawn = axes.barh(
        [bar.name for bar in bars],
        medians,
        height=0.62,
        color=[COLORS[bar.kind] for bar in bars],
        xerr=spread,
        error_kw={"ecolor": INK, "elinewidth": 1},
    )
    axes.bar_label(drawn, [number(median) for median in medians], padding=6)
    limit = f" (dotted: the limit of {section.limit:,g})" if section.limit else ""
    title = f"{section.number}. {section.title}: {section.unit}{limit}"
    axes.set_title(title, loc="left", fontsize=10, fontweight="bold")
    axes.set_xlim(0, max(*(bar.high for bar in bars), section.limit) * 1.12)
    axes.xaxis.set_visible(False)
    axes.tick_params(length=0)
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    if section.limit:
        axes.axvline(section.limit, color=INK, linestyle=":", linewidth=1)
