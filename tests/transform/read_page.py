"""A page of `./run report`, taken apart."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

VOID = frozenset({"meta"})
Attributes = dict[str, str | None]


@dataclass
class Table:
    """A table: its heads, and its rows as text, without the rows of totals."""

    heads: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    totals: list[list[str]] = field(default_factory=list)

    def column(self, head: str) -> list[str]:
        return [row[self.heads.index(head)] for row in self.rows]


@dataclass
class Part:
    """A section: its text, its tables, and the captions and widths of its charts."""

    text: str = ""
    tables: list[Table] = field(default_factory=list)
    captions: list[str] = field(default_factory=list)
    widths: list[tuple[str, float]] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)


class Page(HTMLParser):
    """The parts of a page by name, and its tiles: where each leads, its value and its text.

    Attributes:
        ids: All ids.
        tags: All kinds of tags.
    """

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: dict[str, Part] = {"": Part()}
        self.tiles: list[tuple[str, str, str]] = []
        self.ids: list[str] = []
        self.tags: set[str] = set()
        self._part = self.parts[""]
        self._open: list[tuple[str, Attributes]] = []
        self.feed(html)
        self.close()
        assert not self._open, self._open

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.tags.add(tag)
        self.ids += [attributes["id"] or ""] if "id" in attributes else []
        if tag == "section":
            self._part = self.parts[attributes["id"] or ""] = Part()
        elif tag == "table":
            self._part.tables.append(Table())
        elif tag == "tr":
            is_head = any(outer == "thead" for outer, _ in self._open)
            table = self._part.tables[-1]
            rows = table.totals if attributes.get("class") == "total" else table.rows
            rows += [] if is_head else [[]]
        elif tag == "th":
            self._part.tables[-1].heads.append("")
        elif tag == "td":
            assert attributes["data-label"] == self._part.tables[-1].heads[len(self._row())]
            self._row().append("")
        elif tag == "a" and attributes.get("class") == "tile":
            self.tiles.append(((attributes["href"] or "").lstrip("#"), "", ""))
        elif tag == "figcaption":
            self._part.captions.append("")
        elif tag == "svg":
            self._part.widths.append(self._chart(attributes))
        if tag not in VOID:
            self._open.append((tag, attributes))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            opened, _ = self._open.pop()
            assert opened == tag
        if tag == "section":
            self._part = self.parts[""]

    def handle_data(self, data: str) -> None:
        tags = [tag for tag, _ in self._open]
        text = data.strip()
        if "style" in tags:
            return
        if "td" in tags:
            self._row()[-1] += text
        elif "th" in tags:
            self._part.tables[-1].heads[-1] += text
        elif "figcaption" in tags:
            self._part.captions[-1] += text
        elif "svg" in tags:
            self._part.labels += [text] if text else []
        elif text and any(attributes.get("class") == "tile" for _, attributes in self._open):
            place, value, words = self.tiles[-1]
            self.tiles[-1] = (place, value + text, words) if tags[-1] == "b" else (place, value, words + text)
        elif text:
            self._part.text += f" {text}"

    def _row(self) -> list[str]:
        table = self._part.tables[-1]
        is_total = any(attributes.get("class") == "total" for tag, attributes in self._open if tag == "tr")
        return (table.totals if is_total else table.rows)[-1]

    def _chart(self, attributes: Attributes) -> tuple[str, float]:
        _, outer = self._open[-1]
        size = (outer["class"] or "").removeprefix("chart ")
        width = (attributes["style"] or "").removeprefix("max-width:").removesuffix("px")
        return size, float(width)
